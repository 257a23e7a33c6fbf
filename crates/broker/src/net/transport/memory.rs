//! A connection without sockets: two ends of a pair of pipes in memory, each of bounded length.

use super::Transport;
use rustka_core::sync::lock;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes on their way in one direction.
#[derive(Default)]
struct Pipe {
    bytes: VecDeque<u8>,
    bytes_max: usize,
    /// Nobody will write, or nobody will read, any more.
    closed: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// One end of a connection in memory. Dropping it hangs up.
pub struct MemoryStream {
    incoming: Arc<Mutex<Pipe>>,
    outgoing: Arc<Mutex<Pipe>>,
}

impl MemoryStream {
    /// Bytes that can be read without waiting.
    pub fn readable(&self) -> usize {
        lock(&self.incoming).bytes.len()
    }
}

/// Two ends that hear each other; each direction holds at most `bytes_max` unread bytes.
pub fn pair(bytes_max: usize) -> (MemoryStream, MemoryStream) {
    let pipe = || {
        Arc::new(Mutex::new(Pipe {
            bytes_max,
            ..Pipe::default()
        }))
    };
    let (there, back) = (pipe(), pipe());
    let near = MemoryStream {
        incoming: back.clone(),
        outgoing: there.clone(),
    };
    let far = MemoryStream {
        incoming: there,
        outgoing: back,
    };
    (near, far)
}

/// Keeps the newest waker; a pipe has one reader and one writer.
fn wait<T>(place: &mut Option<Waker>, cx: &Context<'_>) -> Poll<T> {
    *place = Some(cx.waker().clone());
    Poll::Pending
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl AsyncRead for MemoryStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let writer = {
            let mut pipe = lock(&self.incoming);
            if pipe.bytes.is_empty() {
                if pipe.closed {
                    return Poll::Ready(Ok(()));
                }
                return wait(&mut pipe.reader, cx);
            }
            let (front, _) = pipe.bytes.as_slices();
            let n = front.len().min(into.remaining());
            into.put_slice(&front[..n]);
            pipe.bytes.drain(..n);
            pipe.writer.take()
        };
        wake(writer);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for MemoryStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let (written, reader) = {
            let mut pipe = lock(&self.outgoing);
            if pipe.closed {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            let room = pipe.bytes_max.saturating_sub(pipe.bytes.len());
            let wanted: usize = parts.iter().map(|part| part.len()).sum();
            if room == 0 && wanted > 0 {
                return wait(&mut pipe.writer, cx);
            }
            let mut left = room;
            for part in parts {
                let n = part.len().min(left);
                pipe.bytes.extend(&part[..n]);
                left -= n;
            }
            (room - left, pipe.reader.take())
        };
        wake(reader);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        hang_up(&self.outgoing);
        Poll::Ready(Ok(()))
    }
}

impl Transport for MemoryStream {
    fn poll_hangup(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut pipe = lock(&self.incoming);
        // Unread bytes mean a pipelined request: the far end is there, as far as we know.
        if pipe.closed && pipe.bytes.is_empty() {
            return Poll::Ready(Ok(()));
        }
        wait(&mut pipe.reader, cx)
    }
}

fn hang_up(pipe: &Mutex<Pipe>) {
    let (reader, writer) = {
        let mut pipe = lock(pipe);
        pipe.closed = true;
        (pipe.reader.take(), pipe.writer.take())
    };
    wake(reader);
    wake(writer);
}

impl Drop for MemoryStream {
    fn drop(&mut self) {
        hang_up(&self.outgoing);
        hang_up(&self.incoming);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn a_full_pipe_waits_for_its_reader() {
        let (mut near, mut far) = pair(4);
        let writing = tokio::spawn(async move {
            near.write_all(b"abcdefghij").await.unwrap();
            near
        });
        let mut got = [0; 10];
        far.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"abcdefghij");
        drop(writing.await.unwrap());
        assert_eq!(far.read(&mut got).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_hang_up_is_seen_without_reading() {
        let (near, mut far) = pair(4);
        let watching = tokio::spawn(async move { poll_fn(|cx| far.poll_hangup(cx)).await });
        tokio::task::yield_now().await;
        assert!(!watching.is_finished());
        drop(near);
        watching.await.unwrap().unwrap();
    }
}
