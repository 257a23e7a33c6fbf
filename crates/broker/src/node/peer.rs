//! What is known of a connection's far end by those who watch over connections.

use crate::base::hooks::Software;
use crate::node::Listener;
use rustka_core::sync::lock;
use rustka_core::validate::HeaderTrust;
use rustka_storage::buffer::BlockRef;
use std::net::SocketAddr;
use std::sync::atomic::{
    AtomicBool, AtomicI16, AtomicI64, AtomicU64, AtomicUsize, Ordering::Relaxed,
};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::Waker;

/// A frame may take this long whatever its size.
const FRAME_GRACE_MS: i64 = 30_000;
/// After that its bytes have to have come at least at this pace: no client waits longer for its answer.
const FRAME_BYTES_PER_MS: i64 = 64;
/// A connection is worth this much time before it is known who is there.
const LOGIN_MS_MAX: i64 = 10_000;
/// No frame has begun.
pub const NOTHING: i64 = -1;

/// What is known of a connection's far end, node with those who watch over connections.
pub struct Peer {
    /// Number of the connection in this broker's life.
    pub id: u64,
    /// The far end's address.
    pub address: SocketAddr,
    /// Our own end's, where there is a socket.
    pub local: Option<SocketAddr>,
    /// Whether the broker made the connection itself, for its pages: it is in no list, limit, quota or counter.
    pub is_own: bool,
    /// When the connection began, in monotonic milliseconds.
    pub since_ms: i64,
    /// Whether it is known who is there.
    pub(crate) inside: AtomicBool,
    /// Whether it has asked for something for which it had to come to where it was told to.
    came: AtomicBool,
    /// Where it came in and who that was.
    entry: OnceLock<(Arc<Listener>, Arc<str>)>,
    /// The client's name for itself, as in its last request.
    client_id: Mutex<Arc<str>>,
    /// Requests so far. Only the connection itself counts.
    requests: AtomicU64,
    /// The largest of them, in bytes.
    largest_bytes: AtomicUsize,
    /// API of the last one.
    last_api: AtomicI16,
    /// The client's software, once it has said it.
    software: Mutex<Option<Arc<Software>>>,
    /// When the last bytes came or went, in monotonic milliseconds.
    pub active_ms: AtomicI64,
    pub(crate) busy: AtomicBool,
    pub(crate) parked: AtomicBool,
    /// When the frame that is being received began, or [`NOTHING`]; also while it is we who do not read on.
    pub(crate) receiving_since_ms: AtomicI64,
    pub(crate) received_bytes: AtomicUsize,
    held: Mutex<Option<Held>>,
    /// The broker stops, and no further request is taken from this connection.
    pub(crate) ended: AtomicBool,
    /// Whether it is taken at its word for what its compressed batches hold.
    pub header_trust: HeaderTrust,
    /// Whether it is sent spans of files as they lie there.
    pub(crate) takes_files: AtomicBool,
    pub(crate) closed: AtomicBool,
    pub(crate) waker: Mutex<Option<Waker>>,
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
    /// Nobody has logged in for too long.
    NoLogin,
}

impl Peer {
    /// A connection from `address` to `local`.
    pub fn new(id: u64, address: SocketAddr, local: Option<SocketAddr>, now_ms: i64) -> Arc<Peer> {
        Arc::new(Peer::at(id, address, local, now_ms))
    }

    /// A connection that the broker makes to itself for somebody at this address.
    pub fn own(id: u64, address: SocketAddr, now_ms: i64) -> Arc<Peer> {
        Arc::new(Peer {
            is_own: true,
            inside: AtomicBool::new(true),
            ..Peer::at(id, address, None, now_ms)
        })
    }

    fn at(id: u64, address: SocketAddr, local: Option<SocketAddr>, now_ms: i64) -> Peer {
        Peer {
            id,
            address,
            local,
            is_own: false,
            since_ms: now_ms,
            inside: AtomicBool::new(false),
            came: AtomicBool::new(false),
            entry: OnceLock::new(),
            client_id: Mutex::new("".into()),
            requests: AtomicU64::new(0),
            largest_bytes: AtomicUsize::new(0),
            last_api: AtomicI16::new(-1),
            software: Mutex::default(),
            active_ms: AtomicI64::new(now_ms),
            busy: AtomicBool::new(false),
            parked: AtomicBool::new(false),
            receiving_since_ms: AtomicI64::new(NOTHING),
            received_bytes: AtomicUsize::new(0),
            held: Mutex::default(),
            ended: AtomicBool::new(false),
            header_trust: HeaderTrust::default(),
            takes_files: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            waker: Mutex::default(),
        }
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

    /// Whether it has asked for something for which it had to come to where it was told to.
    pub fn has_come(&self) -> bool {
        self.came.load(Relaxed)
    }

    /// It asks for that.
    pub(super) fn comes(&self) {
        self.came.store(true, Relaxed);
    }

    /// It is known who is there. Only the first time counts: a login that is repeated changes nothing.
    pub fn enters(&self, listener: &Arc<Listener>, principal: &Arc<str>) {
        self.entry
            .get_or_init(|| (listener.clone(), principal.clone()));
    }

    /// The listener's name and who came in there, once that is known.
    pub fn entry(&self) -> Option<(&str, &str)> {
        let (listener, principal) = self.entry.get()?;
        Some((&listener.name, principal))
    }

    /// The client's name for itself.
    pub fn client_id(&self) -> Arc<str> {
        lock(&self.client_id).clone()
    }

    /// The client calls itself otherwise from now on.
    pub fn is_called(&self, client_id: &Arc<str>) {
        *lock(&self.client_id) = client_id.clone();
    }

    /// Takes note of a request. Only the connection itself does, so that no two add at a time.
    pub fn asks(&self, api: i16, bytes: usize) {
        self.requests.store(self.requests() + 1, Relaxed);
        self.last_api.store(api, Relaxed);
        if bytes > self.largest_bytes() {
            self.largest_bytes.store(bytes, Relaxed);
        }
    }

    /// Requests so far.
    pub fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    /// The largest request so far.
    pub fn largest_bytes(&self) -> usize {
        self.largest_bytes.load(Relaxed)
    }

    /// API key of the last request, -1 before the first.
    pub fn last_api(&self) -> i16 {
        self.last_api.load(Relaxed)
    }

    /// Whether a request waits for something before its answer.
    pub fn is_waiting(&self) -> bool {
        self.parked.load(Relaxed)
    }

    /// Whether a request waits for its answer, or a frame or an answer for its rest.
    pub fn is_busy(&self) -> bool {
        self.busy.load(Relaxed)
    }

    /// Whether the connection should be closed for what it did not do, `idle_max_ms` being negative for never.
    /// A request that waits for its answer excuses the frame behind it, which nobody reads yet, but no silent client.
    pub fn overdue(&self, now_ms: i64, idle_max_ms: i64) -> Option<Overdue> {
        let since_ms = self.receiving_since_ms.load(Relaxed);
        if since_ms != NOTHING && !self.parked.load(Relaxed) {
            let late_ms = now_ms
                .saturating_sub(since_ms)
                .saturating_sub(FRAME_GRACE_MS);
            let due = late_ms.saturating_mul(FRAME_BYTES_PER_MS);
            let received = i64::try_from(self.received_bytes.load(Relaxed)).unwrap_or(i64::MAX);
            if late_ms >= 0 && received <= due {
                return Some(Overdue::SlowFrame);
            }
        }
        let outside_ms = now_ms.saturating_sub(self.since_ms);
        if outside_ms > LOGIN_MS_MAX && !self.inside.load(Relaxed) {
            return Some(Overdue::NoLogin);
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

    /// Has the connection look around.
    pub fn wake(&self) {
        if let Some(waker) = &*lock(&self.waker) {
            waker.wake_by_ref();
        }
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
