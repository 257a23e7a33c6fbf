//! One Fetch request between its arrival and its answer. Owned and `Send`, so that it can wait while no lock is held.

use std::sync::Arc;

use super::cache::SharedSession;
use super::session::{Entry, PartitionOutcome, RequestedPartition, Session};
use super::{NO_SESSION, next_epoch};
use crate::error::ErrorCode;
use crate::sync::Guard;

/// What a Fetch request turned out to be.
#[derive(Debug)]
pub struct FetchContext<H> {
    pub(super) kind: Kind<H>,
}

#[derive(Debug)]
pub(super) enum Kind<H> {
    /// Answered without a session.
    Sessionless(Vec<Entry<H>>),
    /// Becomes a session when it is answered, if there is room.
    Full {
        entries: Vec<Entry<H>>,
        owner: u64,
        uses_ids: bool,
    },
    /// The next request of a session.
    Incremental {
        session: Arc<SharedSession<H>>,
        epoch: i32,
    },
    /// Answered with this error and nothing else.
    Error(ErrorCode),
}

/// The session part of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Responded {
    /// The session id to answer with; 0 for none.
    pub session_id: i32,
    /// The error of the whole answer, which then names no partitions.
    pub error: ErrorCode,
}

/// The partitions of a fetch, in fetch order. Holds the session's lock: read what is needed, then let go.
pub struct View<'a, H> {
    entries: Entries<'a, H>,
}

enum Entries<'a, H> {
    Own(&'a mut [Entry<H>]),
    Session(Guard<'a, Session<H>>),
}

impl<H: Default> View<'_, H> {
    /// How many partitions there are.
    pub fn len(&self) -> usize {
        match &self.entries {
            Entries::Own(entries) => entries.len(),
            Entries::Session(session) => session.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The partition at this place.
    pub fn get(&mut self, position: usize) -> Option<&mut Entry<H>> {
        match &mut self.entries {
            Entries::Own(entries) => entries.get_mut(position),
            Entries::Session(session) => session.entry(position),
        }
    }

    /// Visits every partition with its place.
    pub fn for_each(&mut self, mut visit: impl FnMut(usize, &mut Entry<H>)) {
        match &mut self.entries {
            Entries::Own(entries) => {
                for (position, entry) in entries.iter_mut().enumerate() {
                    visit(position, entry);
                }
            }
            Entries::Session(session) => {
                for position in 0..session.len() {
                    if let Some(entry) = session.entry(position) {
                        visit(position, entry);
                    }
                }
            }
        }
    }
}

impl<H: Default> FetchContext<H> {
    /// The error to answer at once, if the request does not fit its session.
    pub fn error(&self) -> Option<ErrorCode> {
        match &self.kind {
            Kind::Error(code) => Some(*code),
            _ => None,
        }
    }

    /// The session that goes on, if there is one; for an answer that says nothing else.
    pub fn session_id(&self) -> i32 {
        match &self.kind {
            Kind::Incremental { session, .. } => session.id,
            _ => NO_SESSION,
        }
    }

    /// Whether the answer names only what changed.
    pub fn is_incremental(&self) -> bool {
        matches!(self.kind, Kind::Incremental { .. })
    }

    /// The partitions. Fails when another request of the same session came meanwhile.
    pub fn view(&mut self) -> Result<View<'_, H>, ErrorCode> {
        let entries = match &mut self.kind {
            Kind::Sessionless(entries) | Kind::Full { entries, .. } => Entries::Own(entries),
            Kind::Incremental { session, epoch } => {
                let session = session.lock()?;
                if session.epoch != *epoch {
                    return Err(ErrorCode::InvalidFetchSessionEpoch);
                }
                Entries::Session(session)
            }
            Kind::Error(code) => return Err(*code),
        };
        Ok(View { entries })
    }
}

/// Answers within a session: leaves in `results` what must be told, and turns the order.
pub(super) fn respond_incremental<H: Default, R>(
    shared: &SharedSession<H>,
    epoch: i32,
    results: &mut Vec<R>,
    outcome: impl Fn(&R) -> PartitionOutcome,
) -> Responded {
    let refused = |error| Responded {
        session_id: shared.id,
        error,
    };
    let mut session = match shared.lock() {
        Ok(session) if session.epoch == epoch => session,
        Ok(_) => {
            results.clear();
            return refused(ErrorCode::InvalidFetchSessionEpoch);
        }
        Err(code) => {
            results.clear();
            return refused(code);
        }
    };
    let mut with_data = Vec::new();
    results.retain(|result| {
        let outcome = outcome(result);
        let Some(entry) = session.entry(outcome.position) else {
            return false;
        };
        if !entry.is_news(&outcome) {
            return false;
        }
        entry.tell(&outcome);
        if outcome.records_bytes > 0 {
            with_data.push(outcome.position);
        }
        true
    });
    with_data.sort_unstable();
    with_data.dedup();
    session.rotate(&with_data);
    Responded {
        session_id: shared.id,
        error: ErrorCode::None,
    }
}

/// The entries of a session that begins, told what this first answer says.
pub(super) fn tell_all<H, R>(
    entries: &mut [Entry<H>],
    results: &[R],
    outcome: impl Fn(&R) -> PartitionOutcome,
) {
    for result in results {
        let outcome = outcome(result);
        if let Some(entry) = entries.get_mut(outcome.position) {
            entry.tell(&outcome);
        }
    }
}

/// The answer without a session.
pub(super) fn no_session(error: ErrorCode) -> Responded {
    Responded {
        session_id: NO_SESSION,
        error,
    }
}

/// A request's partitions, each once: of one that comes twice the later stands in the earlier's place.
pub(super) fn distinct<H: Default>(requested: Vec<RequestedPartition>) -> Vec<Entry<H>> {
    /// Up to here comparing all pairs is cheaper than sorting.
    const PAIRS_MAX: usize = 8;
    let same = |a: &RequestedPartition, b: &RequestedPartition| {
        a.partition == b.partition && a.topic == b.topic
    };
    let has_twins = match requested.len() {
        0..=PAIRS_MAX => requested.iter().enumerate().any(|(i, partition)| {
            let later = &requested[i + 1..];
            later.iter().any(|other| same(partition, other))
        }),
        _ => {
            let mut sorted: Vec<&RequestedPartition> = requested.iter().collect();
            sorted.sort_unstable_by(|a, b| {
                (a.partition.cmp(&b.partition)).then_with(|| a.topic.cmp(&b.topic))
            });
            sorted.windows(2).any(|pair| same(pair[0], pair[1]))
        }
    };
    if !has_twins {
        return requested.into_iter().map(Entry::new).collect();
    }
    let mut session = Session::new(Vec::new());
    session.add(&requested);
    session.into_entries()
}

/// Moves a session to its next epoch; what it answers then is checked against it.
pub(super) fn advance<H>(session: &mut Session<H>) -> i32 {
    session.epoch = next_epoch(session.epoch);
    session.epoch
}
