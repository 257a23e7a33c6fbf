//! What a connection needs of its socket, so that tests can do without one.

mod memory;
mod tls;

pub use memory::{MemoryStream, pair};

use rustka_storage::cold::FileSpan;
#[cfg(target_os = "linux")]
use socket2::SockRef;
use std::io::{self, IoSlice};
#[cfg(target_os = "linux")]
use std::os::fd::AsFd;
use std::pin::Pin;
#[cfg(target_os = "linux")]
use std::task::ready;
use std::task::{Context, Poll};
#[cfg(target_os = "linux")]
use tokio::io::Interest;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// A byte stream whose far end can be watched for hang-up without reading from it.
pub trait Transport: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Ready once the far end has gone away; bytes waiting to be read do not count.
    fn poll_hangup(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Takes leave, where that takes words; whoever does not listen goes without them.
    fn part(&mut self, _cx: &mut Context<'_>) {}

    /// Whether spans of files are sent as they lie there, by [`Transport::poll_send`]. Else answers have all in memory.
    const SENDS_FILES: bool = false;

    /// Writes what a span of a file follows, so that the beginning of that leaves together with it.
    fn poll_write_before_file(
        &mut self,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(self).poll_write_vectored(cx, parts)
    }

    /// Sends at most so many bytes of a span from `from` on; how many were taken. Whoever calls it has made sure that they
    /// are at hand.
    fn poll_send(
        &mut self,
        _cx: &mut Context<'_>,
        _span: &FileSpan,
        _from: usize,
        _bytes: usize,
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::Unsupported.into()))
    }
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

    #[cfg(target_os = "linux")]
    const SENDS_FILES: bool = true;

    #[cfg(target_os = "linux")]
    fn poll_write_before_file(
        &mut self,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let socket = &*self;
        poll_out(socket, cx, || {
            SockRef::from(socket).send_vectored_with_flags(parts, libc::MSG_MORE)
        })
    }

    #[cfg(target_os = "linux")]
    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        span: &FileSpan,
        from: usize,
        bytes: usize,
    ) -> Poll<io::Result<usize>> {
        let socket = &*self;
        poll_out(socket, cx, || span.send(socket.as_fd(), from, bytes))
    }
}

/// Does something with a socket that takes bytes, once it does.
#[cfg(target_os = "linux")]
fn poll_out(
    socket: &TcpStream,
    cx: &mut Context<'_>,
    mut send: impl FnMut() -> io::Result<usize>,
) -> Poll<io::Result<usize>> {
    loop {
        ready!(socket.poll_write_ready(cx))?;
        match socket.try_io(Interest::WRITABLE, &mut send) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            done => return Poll::Ready(done),
        }
    }
}
