//! What a connection needs of its socket, so that tests can do without one.

mod memory;
mod tls;

pub use memory::{MemoryStream, pair};

use std::io;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// A byte stream whose far end can be watched for hang-up without reading from it.
pub trait Transport: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Ready once the far end has gone away; bytes waiting to be read do not count.
    fn poll_hangup(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Takes leave, where that takes words; whoever does not listen goes without them.
    fn part(&mut self, _cx: &mut Context<'_>) {}
}

impl Transport for TcpStream {
    fn poll_hangup(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut byte = [0u8; 1];
        let mut into = tokio::io::ReadBuf::new(&mut byte);
        // A peeked byte means a pipelined request: the far end is there, and we are not to read on yet.
        match self.poll_peek(cx, &mut into) {
            Poll::Ready(Ok(0)) => Poll::Ready(Ok(())),
            Poll::Ready(Ok(_)) => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    }
}
