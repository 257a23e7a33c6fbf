//! One session: its partitions in fetch order, and what the client was last told about each.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustka_wire::codec::Uuid;

use super::INITIAL_EPOCH;
use crate::error::ErrorCode;

/// How a request names a topic: by id from Fetch v13 on, by name before.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum TopicKey {
    Id(Uuid),
    Name(Arc<str>),
}

/// A partition as a Fetch request asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestedPartition {
    /// The topic.
    pub topic: TopicKey,
    /// The partition.
    pub partition: i32,
    /// The first offset wanted.
    pub fetch_offset: i64,
    /// Bytes wanted at most.
    pub max_bytes: i32,
    /// Where the fetcher's own log starts; -1 from consumers.
    pub log_start: i64,
    /// The leader epoch the fetcher knows, or -1.
    pub leader_epoch: i32,
    /// The epoch of the last record the fetcher has, or -1.
    pub last_fetched_epoch: i32,
}

/// A partition of a fetch, with what the client was told and a place for the broker's own handle.
#[derive(Clone, Debug)]
pub struct Entry<H> {
    /// What is asked for.
    pub requested: RequestedPartition,
    /// Whatever the broker wants to keep with the partition between requests; starts as its default.
    pub handle: H,
    /// Told last; -1 when the next answer must tell it again.
    high_watermark: i64,
    log_start: i64,
}

/// What a fetch found in one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionOutcome {
    /// The partition's place in fetch order.
    pub position: usize,
    /// How reading it went.
    pub error: ErrorCode,
    /// The high watermark as answered (-1 with an error).
    pub high_watermark: i64,
    /// The log start as answered (-1 with an error).
    pub log_start: i64,
    /// Bytes of records in the answer.
    pub records_bytes: usize,
    /// Whether the answer must name it anyway: a preferred replica or a diverging epoch.
    pub is_forced: bool,
}

impl<H: Default> Entry<H> {
    pub(super) fn new(requested: RequestedPartition) -> Self {
        Entry {
            requested,
            handle: H::default(),
            high_watermark: -1,
            log_start: -1,
        }
    }
}

impl<H> Entry<H> {
    /// Whether an incremental answer must name this partition.
    pub fn is_news(&self, outcome: &PartitionOutcome) -> bool {
        outcome.records_bytes > 0
            || outcome.error != ErrorCode::None
            || outcome.high_watermark != self.high_watermark
            || outcome.log_start != self.log_start
            || outcome.is_forced
    }

    /// Remembers what the client is being told.
    pub(super) fn tell(&mut self, outcome: &PartitionOutcome) {
        self.log_start = outcome.log_start;
        self.high_watermark = match outcome.error {
            ErrorCode::None => outcome.high_watermark,
            // So that the recovery is news even if nothing else changed.
            _ => -1,
        };
    }

    /// The high watermark and the log start the client was told last; -1 before.
    pub fn told(&self) -> (i64, i64) {
        (self.high_watermark, self.log_start)
    }
}

/// The partitions of a session. `order` holds indices of `entries`, whose places never change while in use.
#[derive(Debug)]
pub(super) struct Session<H> {
    pub(super) epoch: i32,
    entries: Vec<Option<Entry<H>>>,
    free: Vec<u32>,
    order: Vec<u32>,
    index: BTreeMap<(TopicKey, i32), u32>,
}

impl<H: Default> Session<H> {
    pub(super) fn new(entries: Vec<Entry<H>>) -> Self {
        let key = |entry: &Entry<H>| (entry.requested.topic.clone(), entry.requested.partition);
        let index = entries.iter().map(key).zip(0..).collect();
        let order = (0..).take(entries.len()).collect();
        Session {
            epoch: super::next_epoch(INITIAL_EPOCH),
            entries: entries.into_iter().map(Some).collect(),
            free: Vec::new(),
            order,
            index,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    pub(super) fn entry(&mut self, position: usize) -> Option<&mut Entry<H>> {
        let slot = *self.order.get(position)?;
        self.entries.get_mut(slot as usize)?.as_mut()
    }

    /// Adds new partitions at the end and updates known ones in place.
    pub(super) fn add(&mut self, requested: &[RequestedPartition]) {
        for partition in requested {
            let key = (partition.topic.clone(), partition.partition);
            if let Some(slot) = self.index.get(&key) {
                if let Some(Some(entry)) = self.entries.get_mut(*slot as usize) {
                    entry.requested.clone_from(partition);
                }
                continue;
            }
            let entry = Some(Entry::new(partition.clone()));
            let slot = match self.free.pop() {
                Some(slot) => {
                    self.entries[slot as usize] = entry;
                    slot
                }
                None => {
                    self.entries.push(entry);
                    // Sessions are bounded far below this.
                    u32::try_from(self.entries.len() - 1).expect("a bounded session")
                }
            };
            self.order.push(slot);
            self.index.insert(key, slot);
        }
    }

    /// Takes partitions out of the session.
    pub(super) fn forget(&mut self, forgotten: impl IntoIterator<Item = (TopicKey, i32)>) {
        let mut any = false;
        for key in forgotten {
            if let Some(slot) = self.index.remove(&key) {
                self.entries[slot as usize] = None;
                self.free.push(slot);
                any = true;
            }
        }
        if any {
            let entries = &self.entries;
            self.order.retain(|slot| entries[*slot as usize].is_some());
        }
    }

    /// Puts the partitions at these places, in rising order, behind all others, so that everyone gets a turn.
    pub(super) fn rotate(&mut self, positions: &[usize]) {
        let Some(first) = positions.first() else {
            return;
        };
        let moved: Vec<u32> = positions
            .iter()
            .map(|position| self.order[*position])
            .collect();
        let mut write = *first;
        let mut next = 0;
        for read in *first..self.order.len() {
            if positions.get(next) == Some(&read) {
                next += 1;
            } else {
                self.order[write] = self.order[read];
                write += 1;
            }
        }
        self.order[write..].copy_from_slice(&moved);
    }
}

impl<H> Session<H> {
    /// The partitions of a session that nothing was forgotten from, in the order in which they came.
    pub(super) fn into_entries(self) -> Vec<Entry<H>> {
        self.entries.into_iter().flatten().collect()
    }
}
