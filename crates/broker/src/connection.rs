//! One client's connection: frames in, answers out in the same order.
//!
//! A connection is one small future. Requests are handled inline as their bytes arrive in a buffer of the thread;
//! a request that waits stops the reading, as in Kafka, and its socket is watched for hang-up meanwhile.

use crate::apis::{self, Dispatched};
use crate::broker::{Shared, State};
use crate::budget::Charge;
use crate::buffer::{BlockRef, BufMut};
use crate::fault::Point;
use crate::hooks::{Event, Software};
use crate::out::{Out, Reply};
use crate::request::{Frame, Header, Later, Outcome, Parked, Request};
use crate::transport::Transport;
use rustka_core::sync::lock;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker, ready};
use tokio::io::ReadBuf;

/// Bytes read at once while no frame has begun.
const READ_BYTES: usize = 32 << 10;
/// Largest block allocated for a frame before its bytes are here; larger frames double up to their length.
const FRAME_BYTES_AT_ONCE: usize = 1 << 20;
/// First block of a frame for which the budget has no room: no more than what has arrived already, but this.
const FRAME_BYTES_MIN_BLOCK: usize = 4 << 10;
/// A frame may take this long whatever its size.
const FRAME_GRACE_MS: i64 = 30_000;
/// After that its bytes have to have come at least at this pace: no client waits longer for its answer.
const FRAME_BYTES_PER_MS: i64 = 64;
/// No frame has begun.
const NOTHING: i64 = -1;
/// The shortest request: key, version, correlation id.
const FRAME_BYTES_MIN: usize = 8;

/// Writes of one connection that wait for durability before its socket is not read any more.
pub const IN_FLIGHT_WRITES_MAX: usize = 64;
/// Bytes of answers that wait, for such a write or for the socket, before the next request may begin.
const UNSENT_BYTES_MAX: usize = 1 << 20;

thread_local! {
    static READ: RefCell<Box<[MaybeUninit<u8>]>> = RefCell::new(Box::new_uninit_slice(READ_BYTES));
}

/// What is known of a connection's far end, shared with those who watch over connections.
pub struct Peer {
    /// Number of the connection in this broker's life.
    pub id: u64,
    /// The far end's address.
    pub address: SocketAddr,
    /// The client's software, once it has said it.
    software: Mutex<Option<Arc<Software>>>,
    /// When the last bytes came or went, in monotonic milliseconds.
    pub active_ms: AtomicI64,
    busy: AtomicBool,
    parked: AtomicBool,
    /// When the frame that is being received began, or [`NOTHING`]; also while it is we who do not read on.
    receiving_since_ms: AtomicI64,
    received_bytes: AtomicUsize,
    held: Mutex<Option<Held>>,
    closed: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

/// Record memory that unsent answers hold, and since when.
struct Held {
    since_ms: i64,
    blocks: Vec<BlockRef>,
}

/// Why somebody who watches over connections wants one closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overdue {
    /// Nothing has come or gone for too long.
    Idle,
    /// A frame comes in too slowly to be of use to anybody.
    SlowFrame,
}

impl Peer {
    /// A connection from `address`.
    pub fn new(id: u64, address: SocketAddr, now_ms: i64) -> Arc<Peer> {
        Arc::new(Peer {
            id,
            address,
            software: Mutex::default(),
            active_ms: AtomicI64::new(now_ms),
            busy: AtomicBool::new(false),
            parked: AtomicBool::new(false),
            receiving_since_ms: AtomicI64::new(NOTHING),
            received_bytes: AtomicUsize::new(0),
            held: Mutex::default(),
            closed: AtomicBool::new(false),
            waker: Mutex::default(),
        })
    }

    /// The far end's address as Kafka's tools show it.
    pub fn host(&self) -> Arc<str> {
        format!("/{}", self.address.ip()).into()
    }

    /// The client's software (KIP-511), once it has said it.
    pub fn software(&self) -> Option<Arc<Software>> {
        lock(&self.software).clone()
    }

    /// The client has said what it is.
    pub fn introduce(&self, software: Software) {
        *lock(&self.software) = Some(Arc::new(software));
    }

    /// Whether a request waits for its answer, or a frame or an answer for its rest.
    pub fn is_busy(&self) -> bool {
        self.busy.load(Relaxed)
    }

    /// Whether the connection should be closed for what it did not do, `idle_max_ms` being negative for never.
    /// A request that waits for its answer is never overdue.
    pub fn overdue(&self, now_ms: i64, idle_max_ms: i64) -> Option<Overdue> {
        if self.parked.load(Relaxed) {
            return None;
        }
        let since_ms = self.receiving_since_ms.load(Relaxed);
        if since_ms != NOTHING {
            let late_ms = now_ms
                .saturating_sub(since_ms)
                .saturating_sub(FRAME_GRACE_MS);
            let due = late_ms.saturating_mul(FRAME_BYTES_PER_MS);
            let received = i64::try_from(self.received_bytes.load(Relaxed)).unwrap_or(i64::MAX);
            if late_ms >= 0 && received <= due {
                return Some(Overdue::SlowFrame);
            }
        }
        let silent_ms = now_ms.saturating_sub(self.active_ms.load(Relaxed));
        (idle_max_ms >= 0 && silent_ms > idle_max_ms).then_some(Overdue::Idle)
    }

    /// Notes what record memory the connection's unsent answers hold.
    pub fn holds(&self, since_ms: i64, blocks: Vec<BlockRef>) {
        let held = (!blocks.is_empty()).then_some(Held { since_ms, blocks });
        *lock(&self.held) = held;
    }

    /// Since when, and which blocks, it holds that the log has dropped.
    pub fn dropped_but_held(&self) -> Option<(i64, Vec<BlockRef>)> {
        if self.closed.load(Relaxed) {
            return None;
        }
        let held = lock(&self.held);
        let held = held.as_ref()?;
        let mut blocks: Vec<BlockRef> = held
            .blocks
            .iter()
            .filter(|block| block.is_abandoned())
            .cloned()
            .collect();
        blocks.sort_by_key(BlockRef::address);
        blocks.dedup_by_key(|block| block.address());
        (!blocks.is_empty()).then_some((held.since_ms, blocks))
    }

    /// Ends the connection from outside.
    pub fn close(&self) {
        self.closed.store(true, Relaxed);
        let waker = lock(&self.waker).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

enum Partial {
    /// Fewer than the four bytes of a length.
    Prefix { bytes: [u8; 4], count: u8 },
    /// A frame of `length` bytes whose beginning is here, and its part of the budget for such frames.
    Frame {
        buffer: BufMut,
        length: usize,
        charge: Option<Charge>,
    },
}

/// An answer in the queue behind a write.
enum Behind {
    /// Waits itself.
    Waiting(Later),
    /// Waits for its turn.
    Complete(Reply),
}

/// The future that serves one connection until either side closes it.
pub struct Connection<T> {
    transport: T,
    shared: Arc<Shared>,
    peer: Arc<Peer>,
    partial: Partial,
    /// Pipelined bytes behind a request that waits.
    stash: Vec<u8>,
    out: Out,
    parked: Option<Parked>,
    /// Answers that wait for a write to become durable, and those that wait behind them.
    later: VecDeque<Behind>,
    /// Bytes of the complete ones among them.
    later_bytes: usize,
    /// Over quota: nothing is read until this has passed.
    muted: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    closing: bool,
    watched: bool,
    /// When the frame that is being received began.
    frame_since_ms: i64,
    /// Whether the peer is told of record memory that unsent answers hold.
    holding: bool,
}

impl<T: Transport> Connection<T> {
    /// Serves `transport` on behalf of `peer`.
    pub fn new(transport: T, shared: Arc<Shared>, peer: Arc<Peer>) -> Self {
        let partial = Partial::Prefix {
            bytes: [0; 4],
            count: 0,
        };
        let (stash, out) = (Vec::new(), Out::default());
        Connection {
            transport,
            shared,
            peer,
            partial,
            stash,
            out,
            parked: None,
            later: VecDeque::new(),
            later_bytes: 0,
            muted: None,
            closing: false,
            watched: false,
            frame_since_ms: NOTHING,
            holding: false,
        }
    }

    /// Closes the connection for a mistake of ours.
    fn fail(&mut self, reason: &str) {
        self.close(reason);
        self.shared.hooks.saw(|| Event::Failed(reason));
    }

    fn close(&mut self, reason: &str) {
        self.closing = true;
        let now_ms = self.shared.clock.monotonic_ms();
        self.shared
            .metrics
            .connection_closed(self.peer.address, reason, now_ms);
        self.shared
            .hooks
            .saw(|| Event::Refused(self.peer.address, reason));
    }

    fn outcome(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Reply(reply) => self.reply(reply),
            Outcome::Nothing => {}
            Outcome::Later(later) => self.later.push_back(Behind::Waiting(later)),
            Outcome::Park(parked) => self.parked = Some(parked),
            Outcome::Close(reason) => self.close(&reason),
        }
    }

    /// Answers leave in the order of their requests.
    fn reply(&mut self, reply: Reply) {
        if self.later.is_empty() {
            self.send(reply);
        } else {
            self.later_bytes += reply.bytes();
            self.later.push_back(Behind::Complete(reply));
        }
    }

    fn send(&mut self, reply: Reply) {
        if self.shared.faults.strikes(Point::Reply) {
            return self.close("a fault was armed at reply");
        }
        self.out.push(reply);
    }

    /// Whether so much is unanswered that nothing more is read.
    fn is_full(&self) -> bool {
        self.later.len() >= IN_FLIGHT_WRITES_MAX || self.later_bytes >= UNSENT_BYTES_MAX
    }

    /// Whether the next request may begin.
    fn may_begin(&self) -> bool {
        let has_room = self.out.unsent() < UNSENT_BYTES_MAX && !self.is_full();
        has_room && self.parked.is_none() && self.muted.is_none() && !self.closing
    }

    /// Sends what has become durable, in order.
    fn poll_later(&mut self, cx: &mut Context<'_>) {
        while let Some(front) = self.later.front_mut() {
            if let Behind::Waiting(later) = front {
                match catch_unwind(AssertUnwindSafe(|| later.as_mut().poll(cx))) {
                    Ok(Poll::Pending) => return,
                    Ok(Poll::Ready(reply)) => {
                        self.later.pop_front();
                        self.send(reply);
                    }
                    Err(_) => {
                        self.later.clear();
                        self.fail("a write failed unexpectedly; this is a bug in Rustka");
                    }
                }
            } else if let Some(Behind::Complete(reply)) = self.later.pop_front() {
                self.later_bytes -= reply.bytes();
                self.send(reply);
            }
        }
        // An idle connection holds no memory for answers.
        self.later.shrink_to(0);
    }

    fn mute(&mut self, mute_ms: u32) {
        let clock = self.shared.clock.clone();
        let until_ms = clock.monotonic_ms().saturating_add(i64::from(mute_ms));
        self.muted = Some(Box::pin(async move { clock.sleep_until(until_ms).await }));
    }

    fn handle(&mut self, frame: Frame<'_>) {
        let received_ms = self.peer.active_ms.load(Relaxed);
        let dispatched = catch_unwind(AssertUnwindSafe(|| {
            let header = match Header::parse(frame.bytes()) {
                Ok(header) => header,
                Err(error) => {
                    let reason = format!("malformed request header: {error}");
                    return Dispatched::now(Outcome::Close(reason));
                }
            };
            apis::dispatch(Request {
                shared: &self.shared,
                peer: &self.peer,
                header,
                frame,
                received_ms,
                throttle_ms: 0,
            })
        }));
        match dispatched {
            Ok(Dispatched { outcome, mute_ms }) => {
                self.outcome(outcome);
                if mute_ms > 0 {
                    self.mute(mute_ms);
                }
            }
            Err(_) => self.fail("a request failed unexpectedly; this is a bug in Rustka"),
        }
    }

    /// Handles whole frames at the front of `data` and begins the last, partial one; the bytes used.
    fn process(&mut self, data: &mut [u8]) -> usize {
        let mut at = 0;
        while at < data.len() && self.may_begin() {
            let Partial::Prefix { bytes, count } = &mut self.partial else {
                break;
            };
            while usize::from(*count) < 4 && at < data.len() {
                bytes[usize::from(*count)] = data[at];
                *count += 1;
                at += 1;
            }
            if *count < 4 {
                break;
            }
            let length = i32::from_be_bytes(*bytes);
            *count = 0;
            let length = match usize::try_from(length) {
                Ok(length)
                    if (FRAME_BYTES_MIN..=self.shared.request_bytes_max).contains(&length) =>
                {
                    length
                }
                _ => {
                    self.close(&bad_length(length));
                    break;
                }
            };
            if data.len() - at >= length {
                self.frame_since_ms = NOTHING;
                self.handle(Frame::Borrowed(&mut data[at..at + length]));
                at += length;
            } else {
                let at_once = length.min(FRAME_BYTES_AT_ONCE);
                let charge = self.shared.receiving.try_take(at_once);
                let block = match charge {
                    Some(_) => at_once,
                    None => (data.len() - at).clamp(FRAME_BYTES_MIN_BLOCK, READ_BYTES),
                };
                let mut buffer = self.shared.pool.take(block);
                let here = (data.len() - at).min(buffer.room());
                buffer.push(&data[at..at + here]);
                at += here;
                self.partial = Partial::Frame {
                    buffer,
                    length,
                    charge,
                };
                // More is here than a first block holds only when READ_BYTES exceeds it, which it does not.
                debug_assert!(at == data.len());
            }
        }
        at
    }

    /// Receives more of a frame that has begun; true when it is complete.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<usize>> {
        let Partial::Frame {
            buffer,
            length,
            charge,
        } = &mut self.partial
        else {
            return Poll::Ready(Ok(0));
        };
        if buffer.room() == 0 {
            let bytes = (buffer.len() * 2).min(*length);
            if self
                .shared
                .receiving
                .poll_grow(charge, bytes, cx)
                .is_pending()
            {
                // It is we who do not read on.
                self.frame_since_ms = self.shared.clock.monotonic_ms();
                return Poll::Pending;
            }
            let mut larger = self.shared.pool.take(bytes);
            larger.push(buffer);
            *buffer = larger;
        }
        let missing = *length - buffer.len();
        buffer.poll_fill(cx, &mut self.transport, missing)
    }

    fn take_frame_if_complete(&mut self) {
        if matches!(&self.partial, Partial::Frame { buffer, length, .. } if buffer.len() == *length)
        {
            let prefix = Partial::Prefix {
                bytes: [0; 4],
                count: 0,
            };
            let frame = std::mem::replace(&mut self.partial, prefix);
            if let Partial::Frame { buffer, charge, .. } = frame {
                self.frame_since_ms = NOTHING;
                self.handle(Frame::Owned(buffer));
                drop(charge);
            }
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<usize>> {
        READ.with_borrow_mut(|memory| {
            let mut into = ReadBuf::uninit(memory);
            ready!(Pin::new(&mut self.transport).poll_read(cx, &mut into))?;
            self.note_active();
            let data = into.filled_mut();
            let n = data.len();
            let used = self.process(data);
            if used < n && !self.closing {
                self.stash.extend_from_slice(&data[used..]);
            }
            Poll::Ready(Ok(n))
        })
    }

    fn note_active(&self) {
        let now_ms = self.shared.clock.monotonic_ms();
        self.peer.active_ms.store(now_ms, Relaxed);
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
            self.closing = true;
            return Poll::Ready(());
        }
        Poll::Pending
    }

    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<bool>> {
        self.poll_later(cx);
        ready!(self.out.poll_flush(cx, &mut self.transport))?;
        if self.holding {
            self.peer.holds(NOTHING, Vec::new());
            self.holding = false;
        }
        if self.closing {
            return Poll::Ready(Ok(false));
        }
        if self.parked.is_some() {
            ready!(self.poll_parked(cx));
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
        if !self.stash.is_empty() {
            let mut stash = std::mem::take(&mut self.stash);
            let used = self.process(&mut stash);
            stash.drain(..used);
            self.stash = stash;
            return Poll::Ready(Ok(true));
        }
        let n = match &self.partial {
            Partial::Prefix { .. } => ready!(self.poll_read(cx))?,
            Partial::Frame { .. } => {
                let n = ready!(self.poll_frame(cx))?;
                self.note_active();
                self.take_frame_if_complete();
                n
            }
        };
        Poll::Ready(Ok(n > 0))
    }

    /// Tells those who watch over connections where this one stands, before it waits.
    fn note_state(&mut self) {
        let received = match &self.partial {
            Partial::Prefix { count, .. } => usize::from(*count),
            Partial::Frame { buffer, .. } => buffer.len(),
        };
        let unsent = !self.out.is_empty();
        let peer = &self.peer;
        if received == 0 {
            self.frame_since_ms = NOTHING;
        } else if self.frame_since_ms == NOTHING {
            self.frame_since_ms = self.shared.clock.monotonic_ms();
        }
        peer.received_bytes.store(received, Relaxed);
        peer.receiving_since_ms.store(self.frame_since_ms, Relaxed);
        let waits = self.parked.is_some() || !self.later.is_empty() || self.muted.is_some();
        peer.parked.store(waits && !unsent, Relaxed);
        if unsent {
            let now_ms = self.shared.clock.monotonic_ms();
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
        if peer.busy.swap(busy, Relaxed) && !busy && *self.shared.state.borrow() != State::Serving {
            self.shared.quiet.notify_one();
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
                return Poll::Ready(());
            }
            match this.poll_step(cx) {
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(_) => return Poll::Ready(()),
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

fn bad_length(length: i32) -> String {
    match &length.to_be_bytes() {
        b"GET " | b"POST" | b"HEAD" | b"PUT " | b"OPTI" => {
            "an HTTP request on the Kafka port".to_owned()
        }
        [0x16, 3, ..] => "a TLS handshake on a port without TLS".to_owned(),
        _ => {
            format!("a request of {length} bytes, outside of what socket.request.max.bytes allows")
        }
    }
}
