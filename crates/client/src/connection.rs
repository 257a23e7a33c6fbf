//! One connection that one owner uses: requests go out in a row, answers come back in the same order.
//!
//! Nothing is lost when a future of it is dropped: what was being sent or received goes on with the next call. Whatever
//! waits also sends, so that neither side can wait for the other to read first.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustka_wire::Request;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::error::{Error, Problem, Reason, Result};
use crate::frame::{self, Answer, Frame, Head, RawAnswer, name_of};
use crate::incoming::{ANSWER_BYTES_MAX, Incoming};
use crate::versions::Versions;

/// A request whose answer is to come.
#[derive(Clone, Copy, Debug)]
struct Pending {
    key: i16,
    version: i16,
    correlation: i32,
}

/// One connection to a broker.
pub struct Connection<S> {
    stream: S,
    address: Arc<str>,
    client_id: String,
    versions: Versions,
    incoming: Incoming,
    outgoing: Vec<u8>,
    sent: usize,
    correlation: i32,
    pending: VecDeque<Pending>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// The client's end of a stream that leads to this address, which is told in errors.
    pub fn over(stream: S, address: impl Into<Arc<str>>, client_id: impl Into<String>) -> Self {
        Connection {
            stream,
            address: address.into(),
            client_id: client_id.into(),
            versions: Versions::default(),
            incoming: Incoming::new(ANSWER_BYTES_MAX),
            outgoing: Vec::new(),
            sent: 0,
            correlation: 0,
            pending: VecDeque::new(),
        }
    }

    /// The stream, to look at.
    pub fn stream(&self) -> &S {
        &self.stream
    }

    /// Where it leads.
    pub fn address(&self) -> &Arc<str> {
        &self.address
    }

    /// What the broker speaks, once that was asked.
    pub fn versions(&self) -> &Versions {
        &self.versions
    }

    /// Bytes that have come and were not taken yet.
    pub fn buffered(&self) -> usize {
        self.incoming.buffered()
    }

    /// Requests whose answers are to come.
    pub fn in_flight(&self) -> usize {
        self.pending.len()
    }

    /// Asks what the broker speaks; later requests are in the newest version that both know.
    pub async fn negotiate(&mut self) -> Result<()> {
        self.versions = Versions::ask(self).await?;
        Ok(())
    }

    /// Sends a request in the newest version that both sides know, and waits for its answer.
    pub async fn call<R: Request>(&mut self, request: &R) -> Result<Answer<R>> {
        let version = self.versions.pick(R::KEY, 0, i16::MAX);
        let version = version.map_err(|reason| Error::from(reason).at(&self.address))?;
        self.call_in(version, request).await
    }

    /// The same in this version. Answers of earlier requests that nobody has taken are dropped.
    pub async fn call_in<R: Request>(&mut self, version: i16, request: &R) -> Result<Answer<R>> {
        let correlation = self.queue(version, request);
        loop {
            let (of, answer) = poll_fn(|cx| self.poll_answer(cx)).await?;
            if of == correlation {
                return Ok(Answer::of(answer));
            }
        }
    }

    /// Puts a request behind those to be sent; its number, which its answer repeats.
    pub fn queue<R: Request>(&mut self, version: i16, request: &R) -> i32 {
        let correlation = self.queue_unanswered(version, request);
        self.pending.push_back(Pending {
            key: R::KEY,
            version,
            correlation,
        });
        correlation
    }

    /// The same for a request that has no answer: a Produce with acks 0.
    pub fn queue_unanswered<R: Request>(&mut self, version: i16, request: &R) -> i32 {
        self.correlation = self.correlation.wrapping_add(1) & i32::MAX;
        let head = Head::of::<R>(version, self.correlation, &self.client_id);
        let bytes = frame::encode(&head, request);
        self.queue_bytes(bytes);
        self.correlation
    }

    /// Puts bytes behind those to be sent, as they are.
    pub fn queue_bytes(&mut self, bytes: Vec<u8>) {
        match self.has_unsent() {
            true => self.outgoing.extend_from_slice(&bytes),
            false => (self.outgoing, self.sent) = (bytes, 0),
        }
    }

    /// Whether something is queued that the stream has not taken.
    pub fn has_unsent(&self) -> bool {
        self.sent < self.outgoing.len()
    }

    /// Sends bytes behind what is queued without keeping a copy of them; what is left of them is lost if this is dropped.
    pub async fn send_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.flush().await?;
        let mut rest = bytes;
        poll_fn(|cx| {
            while !rest.is_empty() {
                let written = ready!(Pin::new(&mut self.stream).poll_write(cx, rest));
                match written {
                    Ok(0) => return Poll::Ready(Err(self.broken(io::ErrorKind::WriteZero.into()))),
                    Ok(bytes) => rest = rest.get(bytes..).unwrap_or_default(),
                    Err(error) => return Poll::Ready(Err(self.broken(error))),
                }
            }
            Poll::Ready(Ok(()))
        })
        .await?;
        self.flush().await
    }

    /// Sends what is queued.
    pub async fn flush(&mut self) -> Result<()> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// Sends what is queued, as far as the stream takes it.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        while self.sent < self.outgoing.len() {
            let rest = &self.outgoing[self.sent..];
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, rest));
            match written {
                Ok(0) => return Poll::Ready(Err(self.broken(io::ErrorKind::WriteZero.into()))),
                Ok(bytes) => self.sent += bytes,
                Err(error) => return Poll::Ready(Err(self.broken(error))),
            }
        }
        (self.outgoing, self.sent) = (Vec::new(), 0);
        match ready!(Pin::new(&mut self.stream).poll_flush(cx)) {
            Ok(()) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(self.broken(error))),
        }
    }

    /// The next frame, whatever it answers; none when the broker has hung up between two of them.
    pub async fn next_frame(&mut self) -> Result<Option<Frame>> {
        poll_fn(|cx| self.poll_frame(cx)).await
    }

    /// See [`Connection::next_frame`].
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame>>> {
        // A broker that refuses a request hangs up while we send; what it had to say is still there to be read.
        let unsent = match self.poll_flush(cx) {
            Poll::Ready(Err(error)) => Some(error),
            _ => None,
        };
        loop {
            let taken = self.incoming.take();
            if let Some(frame) = taken.map_err(|reason| Error::from(reason).at(&self.address))? {
                return Poll::Ready(Ok(Some(frame)));
            }
            let mut room = ReadBuf::new(self.incoming.room());
            let outcome = Pin::new(&mut self.stream).poll_read(cx, &mut room);
            let bytes = room.filled().len();
            match (outcome, unsent.as_ref()) {
                (Poll::Pending, None) => return Poll::Pending,
                (Poll::Pending, Some(error)) => return Poll::Ready(Err(error.clone())),
                (Poll::Ready(Ok(())), _) if bytes > 0 => self.incoming.filled(bytes),
                (Poll::Ready(Ok(())), _) if self.incoming.buffered() == 0 => {
                    return Poll::Ready(Ok(None));
                }
                (Poll::Ready(Ok(())), _) => {
                    return Poll::Ready(Err(self.broken(io::ErrorKind::UnexpectedEof.into())));
                }
                (Poll::Ready(Err(error)), _) => return Poll::Ready(Err(self.broken(error))),
            }
        }
    }

    /// The answer to the oldest request that has none yet, and that request's number.
    pub fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<(i32, RawAnswer)>> {
        let frame = ready!(self.poll_frame(cx))?;
        let error = |reason: Reason| Err(Error::from(reason).at(&self.address));
        let Some(frame) = frame else {
            let doing = self.doing();
            return Poll::Ready(error(Reason::HungUp { doing }));
        };
        let Some(pending) = self.pending.pop_front() else {
            let problem = Problem::Unasked;
            let doing = self.doing();
            return Poll::Ready(error(Reason::Malformed { doing, problem }));
        };
        let Pending {
            key,
            version,
            correlation,
        } = pending;
        let answer = RawAnswer::read(frame, key, version, Some(correlation));
        let answer = answer.map_err(|error| error.at(&self.address))?;
        Poll::Ready(Ok((correlation, answer)))
    }

    /// What the connection is at, for errors.
    fn doing(&self) -> &'static str {
        self.pending
            .front()
            .map_or("waiting", |pending| name_of(pending.key))
    }

    fn broken(&self, error: io::Error) -> Error {
        let reason = Reason::Broken {
            doing: self.doing(),
            error: Arc::new(error),
        };
        Error::from(reason).at(&self.address)
    }
}
