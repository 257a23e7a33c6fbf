//! Requests and their answers as they were, for whoever looks; connections that the broker closed. Requests are recorded
//! only while somebody watches or has switched it on, and only so many bytes of them.

use rustka_core::sync::lock;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

/// Bytes of all that is kept.
pub const LOG_BYTES_MAX: usize = 4 << 20;
/// Bytes that are kept of a request, and of its answer.
pub const MESSAGE_BYTES_MAX: usize = 16 << 10;
/// Whoever watches asks again within this time.
const WATCHED_MS: i64 = 10_000;
/// Closed connections that are remembered.
const CLOSINGS_MAX: usize = 100;
/// Characters of a reason that are remembered.
const REASON_MAX: usize = 500;
/// What an entry costs besides its bytes.
const ENTRY_BYTES: usize = 256;
/// Recording goes on until it is switched off.
const ALWAYS: i64 = i64::MAX;

/// The log of one broker.
#[derive(Default)]
pub struct RequestLog {
    /// Looked at by every request.
    on: AtomicBool,
    /// Until when somebody watches, in monotonic milliseconds.
    until_ms: AtomicI64,
    kept: Mutex<Kept>,
    closings: Mutex<VecDeque<Closing>>,
}

#[derive(Default)]
struct Kept {
    next: u64,
    bytes: usize,
    entries: VecDeque<Arc<Entry>>,
}

/// A request with its answer.
pub struct Entry {
    /// Its number in the log.
    pub number: u64,
    /// What was noted.
    pub noted: Noted,
}

/// What is noted of a request.
pub struct Noted {
    /// When it was complete, in milliseconds since the Unix epoch.
    pub wall_ms: i64,
    /// How long its answer took, in microseconds.
    pub took_us: u64,
    /// The connection.
    pub connection: u64,
    /// The far end.
    pub address: SocketAddr,
    /// Who asked.
    pub principal: Arc<str>,
    /// The client's name for itself.
    pub client_id: Arc<str>,
    /// Which request, in which version.
    pub api: (i16, i16),
    /// Its body.
    pub request: Message,
    /// The answer's body, or why there is none.
    pub answer: Result<Message, String>,
}

/// A message, or the beginning of a long one.
#[derive(Clone, Debug, Default)]
pub struct Message {
    /// What is kept of it.
    pub kept: Box<[u8]>,
    /// How long it was.
    pub bytes: usize,
}

impl Message {
    /// Keeps what may be kept of it.
    pub fn of(bytes: &[u8]) -> Message {
        let kept = bytes.get(..MESSAGE_BYTES_MAX).unwrap_or(bytes);
        Message {
            kept: kept.into(),
            bytes: bytes.len(),
        }
    }

    /// All of it, if all was kept.
    pub fn whole(&self) -> Option<&[u8]> {
        (self.kept.len() == self.bytes).then_some(&self.kept)
    }
}

/// A connection that the broker closed.
#[derive(Clone, Debug)]
pub struct Closing {
    /// When, in milliseconds since the Unix epoch.
    pub wall_ms: i64,
    /// The far end.
    pub address: SocketAddr,
    /// Why.
    pub reason: String,
}

impl RequestLog {
    /// Whether requests are recorded.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.on.load(Relaxed)
    }

    /// Somebody watches, and will ask again soon.
    pub fn watched(&self, now_ms: i64) {
        let until_ms = now_ms.saturating_add(WATCHED_MS);
        self.until_ms.fetch_max(until_ms, Relaxed);
        self.on.store(true, Relaxed);
    }

    /// Records until it is switched off, whoever watches; or no more unless somebody does.
    pub fn switch(&self, on: bool, now_ms: i64) {
        let until_ms = if on { ALWAYS } else { now_ms };
        self.until_ms.store(until_ms, Relaxed);
        self.on.store(on, Relaxed);
    }

    /// Whether it was switched on.
    pub fn is_switched_on(&self) -> bool {
        self.is_on() && self.until_ms.load(Relaxed) == ALWAYS
    }

    /// Records a request, unless nobody watches any more.
    pub fn note(&self, noted: Noted, now_ms: i64) {
        if now_ms > self.until_ms.load(Relaxed) {
            self.on.store(false, Relaxed);
            return;
        }
        let mut kept = lock(&self.kept);
        let number = kept.next;
        kept.next += 1;
        let entry = Entry { number, noted };
        kept.bytes += entry.cost();
        kept.entries.push_back(Arc::new(entry));
        while kept.bytes > LOG_BYTES_MAX {
            let Some(oldest) = kept.entries.pop_front() else {
                break;
            };
            kept.bytes -= oldest.cost();
        }
    }

    /// Everything that is kept, the oldest first.
    pub fn entries(&self) -> Vec<Arc<Entry>> {
        lock(&self.kept).entries.iter().cloned().collect()
    }

    /// The entry with this number, if it is still kept.
    pub fn entry(&self, number: u64) -> Option<Arc<Entry>> {
        let kept = lock(&self.kept);
        let first = kept.entries.front()?.number;
        let at = usize::try_from(number.checked_sub(first)?).ok()?;
        kept.entries.get(at).cloned()
    }

    /// Takes note of a connection that the broker closed.
    pub fn closed(&self, address: SocketAddr, reason: &str, wall_ms: i64) {
        let mut closings = lock(&self.closings);
        if closings.len() == CLOSINGS_MAX {
            closings.pop_front();
        }
        closings.push_back(Closing {
            wall_ms,
            address,
            reason: reason.chars().take(REASON_MAX).collect(),
        });
    }

    /// The connections that were closed last, the last first.
    pub fn closings(&self) -> Vec<Closing> {
        lock(&self.closings).iter().rev().cloned().collect()
    }
}

impl Entry {
    fn cost(&self) -> usize {
        let answer = self.noted.answer.as_ref();
        let answer = answer.map_or_else(String::len, |answer| answer.kept.len());
        ENTRY_BYTES + self.noted.request.kept.len() + answer + self.noted.client_id.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(bytes: usize) -> Noted {
        Noted {
            wall_ms: 0,
            took_us: 0,
            connection: 1,
            address: ([127, 0, 0, 1], 1).into(),
            principal: "".into(),
            client_id: "".into(),
            api: (0, 0),
            request: Message::of(&vec![0; bytes]),
            answer: Ok(Message::of(&[])),
        }
    }

    #[test]
    fn it_records_while_somebody_watches_and_keeps_so_many_bytes() {
        let log = RequestLog::default();
        assert!(!log.is_on());
        log.watched(0);
        for _ in 0..1_000 {
            assert!(log.is_on());
            log.note(noted(1 << 20), WATCHED_MS);
        }
        let entries = log.entries();
        let bytes: usize = entries.iter().map(|entry| entry.cost()).sum();
        assert!(
            bytes <= LOG_BYTES_MAX && bytes > LOG_BYTES_MAX / 2,
            "{bytes}"
        );
        assert!(entries[0].noted.request.whole().is_none());
        let last = entries.last().map(|entry| entry.number);
        assert_eq!(
            (last, log.entry(999).map(|entry| entry.number)),
            (Some(999), Some(999))
        );
        assert!(log.entry(0).is_none() && log.entry(1_000).is_none());
        log.note(noted(1), WATCHED_MS + 1);
        assert!(!log.is_on(), "nobody has asked for so long");
        log.switch(true, 0);
        log.note(noted(1), i64::MAX - 1);
        assert!(log.is_switched_on());
    }
}
