//! One connection that many share: each waits for its own answer, and whoever waits moves the bytes of all.
//!
//! The stream wakes only the task that looked at it last. Whoever stops waiting, with an answer or without, therefore wakes
//! another, which looks at the stream in its place.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use crate::sync::lock;
use rustka_wire::Request;

use crate::clock::Clock;
use crate::connection::Connection;
use crate::dial::BoxStream;
use crate::error::{Error, Reason, Result};
use crate::frame::{Answer, RawAnswer, name_of};
use crate::versions::Versions;

/// A connection that many share. It ends with its first error: later calls tell that one.
#[derive(Clone)]
pub struct Channel {
    state: Arc<Mutex<State>>,
    versions: Arc<Versions>,
    address: Arc<str>,
    clock: Arc<dyn Clock>,
}

struct State {
    connection: Connection<BoxStream>,
    /// Who waits, by number of the request.
    waiting: BTreeMap<i32, Place>,
    /// Who waits only until everything is sent.
    telling: Vec<Waker>,
    ended: Option<Error>,
}

/// One who waits.
#[derive(Default)]
struct Place {
    waker: Option<Waker>,
    answer: Option<RawAnswer>,
}

impl State {
    /// Sends and receives what can be without waiting, and gives each answer to who waits for it.
    fn drive(&mut self, cx: &mut Context<'_>) {
        while self.ended.is_none() && !self.waiting.is_empty() {
            match self.connection.poll_answer(cx) {
                Poll::Pending => break,
                Poll::Ready(Ok((correlation, answer))) => {
                    // Whoever asked may have stopped waiting.
                    if let Some(place) = self.waiting.get_mut(&correlation) {
                        place.answer = Some(answer);
                        wake(&mut place.waker);
                    }
                }
                Poll::Ready(Err(error)) => self.end(error),
            }
        }
        if !self.connection.has_unsent() {
            self.telling.drain(..).for_each(Waker::wake);
        }
    }

    fn end(&mut self, error: Error) {
        self.ended.get_or_insert(error);
        for place in self.waiting.values_mut() {
            wake(&mut place.waker);
        }
        self.telling.drain(..).for_each(Waker::wake);
    }

    /// Somebody else looks at the stream from now on.
    fn pass_on(&mut self) {
        if let Some(place) = self
            .waiting
            .values_mut()
            .find(|place| place.answer.is_none())
        {
            wake(&mut place.waker);
        }
        self.telling.drain(..).for_each(Waker::wake);
    }

    fn place(&mut self, correlation: i32) -> Option<&mut Place> {
        self.waiting.get_mut(&correlation)
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

/// A place among those who wait; dropping it gives it up.
struct Waiting<'a> {
    state: &'a Mutex<State>,
    correlation: i32,
}

impl Waiting<'_> {
    fn poll(&self, cx: &mut Context<'_>) -> Poll<Result<RawAnswer>> {
        let mut state = lock(self.state);
        if state
            .place(self.correlation)
            .is_some_and(|place| place.answer.is_none())
        {
            state.drive(cx);
        }
        let ended = state.ended.clone();
        let Some(place) = state.place(self.correlation) else {
            let never = Reason::HungUp { doing: "waiting" };
            return Poll::Ready(Err(ended.unwrap_or_else(|| never.into())));
        };
        match (place.answer.take(), ended) {
            (Some(answer), _) => Poll::Ready(Ok(answer)),
            (None, Some(error)) => Poll::Ready(Err(error)),
            (None, None) => {
                place.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = lock(self.state);
        state.waiting.remove(&self.correlation);
        state.pass_on();
    }
}

/// One who looks at the stream without waiting for an answer.
struct Looking<'a>(&'a Mutex<State>);

impl Drop for Looking<'_> {
    fn drop(&mut self) {
        lock(self.0).pass_on();
    }
}

impl Channel {
    /// Shares a connection.
    pub fn over(connection: Connection<BoxStream>, clock: Arc<dyn Clock>) -> Channel {
        Channel {
            versions: Arc::new(connection.versions().clone()),
            address: connection.address().clone(),
            clock,
            state: Arc::new(Mutex::new(State {
                connection,
                waiting: BTreeMap::new(),
                telling: Vec::new(),
                ended: None,
            })),
        }
    }

    /// Where it leads.
    pub fn address(&self) -> &Arc<str> {
        &self.address
    }

    /// What the broker speaks.
    pub fn versions(&self) -> &Versions {
        &self.versions
    }

    /// Whether no call can succeed any more.
    pub fn has_ended(&self) -> bool {
        lock(&self.state).ended.is_some()
    }

    /// The newest version from `low` to `high` that both sides know.
    pub fn pick<R: Request>(&self, low: i16, high: i16) -> Result<i16> {
        let picked = self.versions.pick(R::KEY, low, high);
        picked.map_err(|reason| Error::from(reason).at(&self.address))
    }

    /// Sends a request in the newest version that both know, and waits for its answer.
    pub async fn call<R: Request>(&self, request: &R, limit_ms: i64) -> Result<Answer<R>> {
        let version = self.pick::<R>(0, i16::MAX)?;
        self.call_in(version, request, limit_ms).await
    }

    /// The same in this version. An answer that takes longer than the limit ends the channel, as in Kafka's own clients: all
    /// that was asked later waits behind it.
    pub async fn call_in<R: Request>(
        &self,
        version: i16,
        request: &R,
        limit_ms: i64,
    ) -> Result<Answer<R>> {
        let waiting = self.send(version, request)?;
        let due_ms = self.clock.monotonic_ms().saturating_add(limit_ms);
        let mut late = pin!(self.clock.sleep_until(due_ms));
        poll_fn(|cx| {
            if let Poll::Ready(outcome) = waiting.poll(cx) {
                return Poll::Ready(outcome.map(Answer::of));
            }
            if late.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let doing = name_of(R::KEY);
            let error = Error::from(Reason::TimedOut { doing, limit_ms }).at(&self.address);
            lock(&self.state).end(error.clone());
            Poll::Ready(Err(error))
        })
        .await
    }

    /// Sends a request that has no answer, a Produce with acks 0, as far as the stream takes it.
    pub async fn tell<R: Request>(&self, version: i16, request: &R) -> Result<()> {
        {
            let mut state = lock(&self.state);
            if let Some(error) = &state.ended {
                return Err(error.clone());
            }
            state.connection.queue_unanswered(version, request);
        }
        let _looking = Looking(&self.state);
        poll_fn(|cx| {
            let mut state = lock(&self.state);
            if let Some(error) = &state.ended {
                return Poll::Ready(Err(error.clone()));
            }
            let sent = state.connection.poll_flush(cx);
            match &sent {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => state.end(error.clone()),
                Poll::Pending => state.telling.push(cx.waker().clone()),
            }
            sent
        })
        .await
    }

    fn send<R: Request>(&self, version: i16, request: &R) -> Result<Waiting<'_>> {
        let mut state = lock(&self.state);
        if let Some(error) = &state.ended {
            return Err(error.clone());
        }
        let correlation = state.connection.queue(version, request);
        state.waiting.insert(correlation, Place::default());
        Ok(Waiting {
            state: &self.state,
            correlation,
        })
    }
}
