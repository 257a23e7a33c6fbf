//! One client's connection: frames in, answers out in the same order.
//!
//! A connection is one small future. Requests are handled inline as their bytes arrive in a buffer of the thread;
//! a request that waits stops the reading, as in Kafka, and its socket is watched for hang-up meanwhile.

mod answers;
mod frames;
mod stage;

use crate::api::parts::Parts;
use crate::api::request::{Frame, Parked};
use crate::base::hooks::Event;
use crate::net::out::Out;
use crate::net::transport::Transport;
use crate::node::{Identity, Listener, NOTHING, Peer};
use answers::Behind;
pub use answers::IN_FLIGHT_WRITES_MAX;
use frames::Partial;
use rustka_core::sync::lock;
use rustka_storage::buffer::BufMut;
use stage::Stage;
use std::collections::VecDeque;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{Ordering::Relaxed, Ordering::Release};
use std::task::{Context, Poll, ready};

/// The future that serves one connection until either side closes it.
pub struct Connection<T> {
    transport: T,
    parts: Arc<Parts>,
    peer: Arc<Peer>,
    stage: Stage,
    partial: Partial,
    /// The last frame did not fit into what is read at once.
    sends_large: bool,
    /// Pipelined bytes behind a request that waits.
    stash: Option<BufMut>,
    out: Out,
    parked: Option<Parked>,
    /// Answers that wait for a write to become durable, and those that wait behind them.
    later: VecDeque<Behind>,
    /// Bytes of the complete ones among them.
    later_bytes: usize,
    /// Over quota: nothing is read until this has passed.
    muted: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    muted_until_ms: i64,
    /// Nothing more is read; what was asked before is still answered.
    closing: bool,
    /// The client is no longer there.
    gone: bool,
    watched: bool,
    /// When the request at hand was whole, and those before it no longer held it up.
    received_ms: i64,
    /// When the frame that is being received began.
    frame_since_ms: i64,
    /// Whether the peer is told of record memory that unsent answers hold.
    holding: bool,
}

impl<T: Transport> Connection<T> {
    /// Serves whoever is at the far end of `transport`.
    pub fn new(transport: T, parts: Arc<Parts>, peer: Arc<Peer>, listener: Arc<Listener>) -> Self {
        let stage = Stage::first(&peer, listener);
        Connection::at(stage, transport, parts, peer)
    }

    /// Serves somebody who is known already.
    pub fn known(transport: T, parts: Arc<Parts>, identity: Identity) -> Self {
        let peer = identity.peer.clone();
        Connection::at(Stage::known(identity), transport, parts, peer)
    }

    fn at(stage: Stage, transport: T, parts: Arc<Parts>, peer: Arc<Peer>) -> Self {
        let partial = Partial::Prefix {
            bytes: [0; 4],
            count: 0,
        };
        peer.takes_files.store(T::SENDS_FILES, Relaxed);
        Connection {
            transport,
            parts,
            stage,
            peer,
            partial,
            sends_large: false,
            stash: None,
            out: Out::default(),
            parked: None,
            later: VecDeque::new(),
            later_bytes: 0,
            muted: None,
            muted_until_ms: 0,
            closing: false,
            gone: false,
            watched: false,
            received_ms: NOTHING,
            frame_since_ms: NOTHING,
            holding: false,
        }
    }

    /// The same, reading nothing before `parked` is done.
    pub fn held(self, parked: Option<Parked>) -> Self {
        Connection { parked, ..self }
    }

    /// Closes the connection for a mistake of ours.
    fn fail(&mut self, reason: &str) {
        self.close(reason);
        self.parts.node.hooks.saw(|| Event::Failed(reason));
    }

    fn close(&mut self, reason: &str) {
        self.closing = true;
        self.parts.node.closes(self.peer.address, reason);
    }

    /// Reads no further for so long, 0 for not at all; of two such times the later end holds.
    fn mute(&mut self, mute_ms: u32) {
        if mute_ms == 0 {
            return;
        }
        let clock = self.parts.node.clock.clone();
        let until_ms = clock.monotonic_ms().saturating_add(i64::from(mute_ms));
        let until_ms = until_ms.max(self.muted_until_ms);
        self.muted_until_ms = until_ms;
        self.muted = Some(Box::pin(async move { clock.sleep_until(until_ms).await }));
    }

    fn handle(&mut self, frame: Frame<'_>) {
        let received_ms = self.received_ms;
        let dispatched = catch_unwind(AssertUnwindSafe(|| {
            self.stage.take(&self.parts, frame, received_ms)
        }));
        match dispatched {
            Ok(outcome) => self.outcome(outcome),
            Err(_) => self.fail("a request failed unexpectedly; this is a bug in Rustka"),
        }
    }

    fn poll_parked(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(parked) = &mut self.parked else {
            return Poll::Ready(());
        };
        match catch_unwind(AssertUnwindSafe(|| parked.as_mut().poll(cx))) {
            Ok(Poll::Pending) => {
                ready!(self.poll_hangup(cx));
                self.parked = None;
                Poll::Ready(())
            }
            Ok(Poll::Ready(outcome)) => {
                self.parked = None;
                self.outcome(outcome);
                Poll::Ready(())
            }
            Err(_) => {
                self.parked = None;
                self.fail("a waiting request failed unexpectedly; this is a bug in Rustka");
                Poll::Ready(())
            }
        }
    }

    /// Nothing is read now, but a client that has gone is noticed.
    fn poll_hangup(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.transport.poll_hangup(cx).is_ready() {
            self.gone = true;
            return Poll::Ready(());
        }
        Poll::Pending
    }

    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<bool>> {
        self.poll_later(cx);
        let (loads, turns) = (&self.parts.node.loads, &self.parts.node.turns);
        let sent = self.out.poll_flush(cx, &mut self.transport, loads, turns);
        ready!(sent)?;
        if self.holding {
            self.peer.holds(NOTHING, Vec::new());
            self.holding = false;
        }
        if self.gone || self.closing && self.later.is_empty() {
            return Poll::Ready(Ok(false));
        }
        if self.closing {
            // The last answer that is still to come wakes this task.
            return Poll::Pending;
        }
        if self.parked.is_some() {
            ready!(self.poll_parked(cx));
            return Poll::Ready(Ok(true));
        }
        if self.parts.node.peers.reading_has_ended() {
            ready!(self.poll_hangup(cx));
            return Poll::Ready(Ok(true));
        }
        if let Some(muted) = &mut self.muted {
            match muted.as_mut().poll(cx) {
                Poll::Ready(()) => self.muted = None,
                Poll::Pending => ready!(self.poll_hangup(cx)),
            }
            return Poll::Ready(Ok(true));
        }
        if self.is_full() {
            ready!(self.poll_hangup(cx));
            return Poll::Ready(Ok(true));
        }
        if let Some(stash) = self.stash.take() {
            self.unstash(stash);
            return Poll::Ready(Ok(true));
        }
        let n = match &self.partial {
            Partial::Prefix { .. } => ready!(self.poll_read(cx))?,
            Partial::Frame(_) => {
                let n = ready!(self.poll_frame(cx))?;
                self.note_active();
                self.take_frame_if_complete();
                n
            }
        };
        // The client may have closed its half only, and wait for its answers.
        self.closing |= n == 0;
        Poll::Ready(Ok(true))
    }

    /// Tells those who watch over connections where this one stands, before it waits.
    fn note_state(&mut self) {
        let ended = self.parts.node.peers.reading_has_ended();
        let received = match &self.partial {
            _ if ended => 0,
            Partial::Prefix { count, .. } => usize::from(*count),
            Partial::Frame(frame) => frame.buffer.len(),
        };
        let unsent = !self.out.is_empty();
        let peer = &self.peer;
        if received == 0 {
            self.frame_since_ms = NOTHING;
        } else if self.frame_since_ms == NOTHING {
            self.frame_since_ms = self.parts.node.clock.monotonic_ms();
        }
        peer.received_bytes.store(received, Relaxed);
        peer.receiving_since_ms.store(self.frame_since_ms, Relaxed);
        let waits = self.parked.is_some() || !self.later.is_empty() || self.muted.is_some();
        peer.parked.store(waits && !unsent, Relaxed);
        if unsent {
            let now_ms = self.parts.node.clock.monotonic_ms();
            if self.out.take_moved() {
                peer.active_ms.store(now_ms, Relaxed);
            }
            if !self.holding {
                self.holding = true;
                peer.holds(now_ms, self.out.blocks());
            }
        }
        let waiting = self.parked.is_some() || !self.later.is_empty();
        let busy = unsent || received > 0 || waiting;
        let was_busy = peer.busy.swap(busy, Relaxed);
        let has_news = was_busy && !busy || !peer.ended.load(Relaxed);
        if ended && has_news {
            // Seen here, it will be seen before the next request.
            peer.ended.store(true, Release);
            self.parts.node.quiet.notify_one();
        }
    }

    fn watch(&mut self, cx: &mut Context<'_>) {
        let mut waker = lock(&self.peer.waker);
        if !self.watched || !waker.as_ref().is_some_and(|old| old.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
            self.watched = true;
        }
    }
}

impl<T: Transport> Future for Connection<T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        loop {
            if this.peer.closed.load(Relaxed) {
                this.transport.part(cx);
                return Poll::Ready(());
            }
            match this.poll_step(cx) {
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(ended) => {
                    if ended.is_ok() {
                        this.transport.part(cx);
                    }
                    return Poll::Ready(());
                }
                Poll::Pending => {
                    this.note_state();
                    if !this.watched {
                        this.watch(cx);
                        continue;
                    }
                    return Poll::Pending;
                }
            }
        }
    }
}
