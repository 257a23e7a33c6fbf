//! Connections to the broker, and the frames that come over them.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};

use rustka_client::frame::Frame;
use rustka_client::incoming::Incoming;

use crate::schema::Error;

/// How often a read may find nothing before the answer counts as missing.
const IDLE_MAX: usize = 1500;

/// One connection to the broker. A read that finds nothing for a moment fails with `WouldBlock` or `TimedOut`.
pub trait Line: Read + Write {}

impl<T: Read + Write> Line for T {}

/// A connection and the answers it owes.
pub(crate) struct Connection {
    pub(crate) stream: Box<dyn Line>,
    pub(crate) incoming: Incoming,
    pub(crate) pending: VecDeque<Pending>,
}

/// A request that waits for its answer.
pub(crate) struct Pending {
    pub(crate) api: String,
    pub(crate) version: i16,
    pub(crate) correlation: Option<i32>,
}

impl Connection {
    pub(crate) fn over(stream: Box<dyn Line>) -> Connection {
        Connection {
            stream,
            incoming: Incoming::default(),
            pending: VecDeque::new(),
        }
    }

    /// Reads once; how many bytes came, 0 for a hang-up.
    pub(crate) fn read(&mut self) -> std::io::Result<usize> {
        self.incoming.read(&mut self.stream)
    }

    /// The next frame; None when the broker closed the connection instead.
    pub(crate) fn next_frame(&mut self, idle: &mut dyn FnMut()) -> Result<Option<Frame>, Error> {
        let mut waits = 0;
        loop {
            let taken = self.incoming.take().map_err(|reason| reason.to_string())?;
            if taken.is_some() {
                return Ok(taken);
            }
            match self.read() {
                Ok(0) if self.incoming.buffered() >= 4 => return Err("half an answer".into()),
                Ok(0) => return Ok(None),
                Ok(_) => {}
                Err(e) if is_hang_up(&e) => return Ok(None),
                Err(e) if is_silence(&e) && waits < IDLE_MAX => {
                    waits += 1;
                    idle();
                }
                Err(e) => return Err(format!("no answer: {e}")),
            }
        }
    }
}

/// Whether a read only found nothing for the moment.
pub(crate) fn is_silence(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// Whether the broker closed the connection with our bytes unread.
pub(crate) fn is_hang_up(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
    )
}
