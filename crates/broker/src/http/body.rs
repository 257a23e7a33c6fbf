//! Bodies of answers: bytes that are there, or a stream whose maker waits for its reader.

use super::places::Usage;
use crate::base::clock::Clock;
use hyper::body::{Body as HttpBody, Bytes, Frame, SizeHint};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::sync::mpsc;

/// Pieces of a stream that wait for its reader.
const PIECES_MAX: usize = 4;

/// The body of an answer.
pub enum Body {
    /// All of it.
    Whole(Option<Bytes>),
    /// Pieces as they come.
    Stream(Stream),
}

/// The reader's end of a stream.
pub struct Stream {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    /// A connection that takes pieces is alive.
    connection: Option<(Arc<Usage>, Clock)>,
}

/// The maker's end of a stream.
#[derive(Clone)]
pub struct Pieces(mpsc::Sender<io::Result<Bytes>>);

impl Pieces {
    /// Sends a piece once there is room for it; false when nobody reads any more.
    pub async fn send(&self, piece: impl Into<Bytes>) -> bool {
        self.0.send(Ok(piece.into())).await.is_ok()
    }

    /// Breaks the answer off in a way that its reader notices.
    pub async fn fail(self, why: &str) {
        // Whoever has gone does not need to know.
        let _told = self.0.send(Err(io::Error::other(why.to_owned()))).await;
    }

    /// Waits until nobody reads any more.
    pub async fn closed(&self) {
        self.0.closed().await;
    }
}

impl Body {
    /// A stream, and who fills it.
    pub fn stream() -> (Body, Pieces) {
        let (sender, pieces) = mpsc::channel(PIECES_MAX);
        let connection = None;
        (Body::Stream(Stream { pieces, connection }), Pieces(sender))
    }

    /// Has each piece that is taken count as news of the connection that takes it.
    pub fn of_connection(mut self, usage: &Arc<Usage>, clock: &Clock) -> Body {
        if let Body::Stream(stream) = &mut self {
            stream.connection = Some((usage.clone(), clock.clone()));
        }
        self
    }
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(bytes: T) -> Body {
        Body::Whole(Some(bytes.into()))
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let bytes = match &mut *self {
            Body::Whole(bytes) => bytes.take().map(Ok),
            Body::Stream(stream) => {
                let piece = ready!(stream.pieces.poll_recv(cx));
                if let Some((usage, clock)) = &stream.connection {
                    usage.asks(clock.monotonic_ms());
                }
                piece
            }
        };
        Poll::Ready(bytes.map(|bytes| bytes.map(Frame::data)))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Whole(Some(bytes)) => SizeHint::with_exact(bytes.len() as u64),
            Body::Whole(None) => SizeHint::with_exact(0),
            Body::Stream(_) => SizeHint::default(),
        }
    }
}
