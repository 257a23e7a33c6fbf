//! Connections to the broker, and the frames that come over them.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};

use crate::schema::Error;

/// How often a read may find nothing before the answer counts as missing.
const IDLE_MAX: usize = 1500;
/// One connection to the broker. A read that finds nothing for a moment fails with `WouldBlock` or `TimedOut`.
pub trait Line: Read + Write {}

impl<T: Read + Write> Line for T {}

/// A connection and the answers it owes.
pub(crate) struct Connection {
    pub(crate) stream: Box<dyn Line>,
    /// What came in while there was a look whether anything does.
    pub(crate) early: Vec<u8>,
    pub(crate) pending: VecDeque<Pending>,
}

/// A request that waits for its answer.
pub(crate) struct Pending {
    pub(crate) api: String,
    pub(crate) version: i16,
    pub(crate) correlation: Option<i32>,
}

/// Whether a read only found nothing for the moment.
pub(crate) fn is_silence(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// A frame without its length; None when the broker closed the connection instead.
pub(crate) fn read_frame(
    connection: &mut Connection,
    idle: &mut dyn FnMut(),
) -> Result<Option<Vec<u8>>, Error> {
    let Some(length) = read_bytes(connection, 4, idle)? else {
        return Ok(None);
    };
    let length = length
        .try_into()
        .map(u32::from_be_bytes)
        .map_err(|_| "half a length")?;
    let frame = read_bytes(connection, length as usize, idle)?;
    frame.map(Some).ok_or_else(|| "half an answer".into())
}

fn read_bytes(
    connection: &mut Connection,
    wanted: usize,
    idle: &mut dyn FnMut(),
) -> Result<Option<Vec<u8>>, Error> {
    let early = connection.early.len().min(wanted);
    let mut out: Vec<u8> = connection.early.drain(..early).collect();
    let mut part = vec![0; wanted.min(65_536)];
    let mut waits = 0;
    while out.len() < wanted {
        let room = part.len().min(wanted - out.len());
        match connection.stream.read(&mut part[..room]) {
            Ok(0) => return Ok(None),
            Ok(length) => out.extend_from_slice(&part[..length]),
            Err(e) if matches!(e.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                return Ok(None);
            }
            Err(e) if is_silence(&e) && waits < IDLE_MAX => {
                waits += 1;
                idle();
            }
            Err(e) => return Err(format!("no answer: {e}")),
        }
    }
    Ok(Some(out))
}
