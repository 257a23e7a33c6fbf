//! Reads what a Fetch asks for.

use super::{FetchPlan, size};
use crate::api::parts::SessionPartition;
use crate::node::Node;
use crate::node::topics::TopicIndex;
use rustka_core::epochs::check_current_leader_epoch;
use rustka_core::error::{ErrorCode, Refusal};
use rustka_core::fetch::{self, Entry, FetchContext, RequestedPartition, TopicKey};
use rustka_core::producers::AbortedTransaction;
use rustka_storage::cold::{Form, Load, Loaded, Piece};
use rustka_storage::engine::{Found, ReadFailed};
use rustka_storage::{Offsets, Partition};
use std::ops::Range;
use std::sync::Arc;

/// Partitions of one fetch of which a thread that serves others looks whether what is not in memory is at hand.
const AT_HAND_MAX: usize = 64;

/// What one partition gave.
pub struct Fetched {
    /// Which of its session's partitions it is.
    pub position: usize,
    /// Its topic.
    pub topic: TopicKey,
    /// Its number.
    pub index: i32,
    /// What went wrong.
    pub error: ErrorCode,
    /// It is unknown or refused and was not read at all; `error` says why.
    pub refused: bool,
    /// Its offsets at that moment.
    pub offsets: Offsets,
    /// Where the client's log is another one: the epoch and its end.
    pub diverging: Option<(i32, i64)>,
    /// Another node that leads it, and the leader epoch.
    pub leader: Option<(i32, i32)>,
    /// Bytes of `pieces`; about, as long as they are to be loaded.
    pub bytes: usize,
    /// What counts towards the client's minimum: `bytes`, or the limit that kept more from being read.
    counted: usize,
    /// Aborted transactions whose records may be among them.
    pub aborted: Vec<AbortedTransaction>,
    /// Whole batches.
    pub pieces: Vec<Piece>,
    /// Where they are not at hand: what brings them.
    cold: Option<Cold>,
}

/// Batches that are to be loaded.
struct Cold {
    load: Load,
    from: Source,
}

/// What was read there.
struct Source {
    partition: Arc<Partition>,
    /// The first offset that was asked for.
    offset: i64,
    /// Whether the client wants to know what was aborted.
    committed_only: bool,
}

impl Fetched {
    /// The same for the session.
    pub fn outcome(&self) -> fetch::PartitionOutcome {
        fetch::PartitionOutcome {
            position: self.position,
            error: self.error,
            high_watermark: self.offsets.high_watermark,
            log_start: self.offsets.log_start,
            records_bytes: self.bytes,
            is_forced: self.diverging.is_some(),
        }
    }

    /// Has what was loaded, or what kept it from being.
    fn take(&mut self, from: &Source, loaded: Result<Loaded, ReadFailed>) {
        match loaded {
            Ok(loaded) => {
                self.bytes = loaded.bytes();
                if from.committed_only && self.bytes > 0 {
                    self.aborted = aborted(&from.partition, from.offset..loaded.next_offset);
                }
                self.pieces = loaded.pieces;
            }
            Err(ReadFailed) => (self.error, self.bytes) = (ErrorCode::KafkaStorageError, 0),
        }
    }
}

/// What all of them gave.
#[derive(Default)]
pub struct Read {
    /// The partitions to be told of.
    pub fetched: Vec<Fetched>,
    /// Bytes of all.
    pub bytes: usize,
    /// What counts towards the client's minimum.
    pub counted: usize,
    /// Partitions the request is about.
    pub asked: usize,
    /// Something the client should hear of at once: an error found while reading, a diverging epoch, nothing to wait for.
    urgent: bool,
}

impl Read {
    /// Takes what is at hand after all of what is to be loaded; whether nothing is left to be.
    pub fn take_at_hand(&mut self, form: Form) -> bool {
        let cold = self.fetched.iter().filter(|one| one.cold.is_some());
        let mut left = cold.count();
        if left == 0 {
            return true;
        }
        let cold = self.fetched.iter_mut().filter(|one| one.cold.is_some());
        for fetched in cold.take(AT_HAND_MAX) {
            let Some(Cold { load, from }) = fetched.cold.take() else {
                continue;
            };
            match load.at_hand(form) {
                Some(loaded) => {
                    fetched.take(&from, Ok(loaded));
                    left -= 1;
                }
                None => fetched.cold = Some(Cold { load, from }),
            }
        }
        self.count_again();
        left == 0
    }

    /// Loads the rest, away from the threads that serve others.
    pub async fn load(&mut self, node: &Node, form: Form) {
        let (mut loads, mut sources) = (Vec::new(), Vec::new());
        for (at, fetched) in self.fetched.iter_mut().enumerate() {
            if let Some(Cold { load, from }) = fetched.cold.take() {
                loads.push(load);
                sources.push((at, from));
            }
        }
        let all = move || -> Vec<_> { loads.into_iter().map(|one| one.run_as(form)).collect() };
        let mut loaded = node.loads.run(all).await.unwrap_or_default().into_iter();
        for (at, from) in sources {
            // Nothing came where loading has failed unexpectedly.
            let loaded = loaded.next().unwrap_or(Err(ReadFailed));
            if let Some(fetched) = self.fetched.get_mut(at) {
                fetched.take(&from, loaded);
            }
        }
        self.count_again();
    }

    /// What was expected of loads was not exact.
    fn count_again(&mut self) {
        self.bytes = self.fetched.iter().map(|one| one.bytes).sum();
    }

    /// How much of it lies in files.
    pub fn bytes_in_files(&self) -> usize {
        let pieces = self.fetched.iter().flat_map(|one| &one.pieces);
        let in_files = pieces.filter(|piece| matches!(piece, Piece::File(_)));
        in_files.map(Piece::bytes).sum()
    }

    /// Whether there is no reason to wait.
    pub fn is_enough(&self, plan: &FetchPlan) -> bool {
        self.urgent || self.counted >= plan.min_bytes
    }
}

/// When in a request's life its partitions are read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// On arrival. What is unknown or refused now stays so for the whole request, and is answered along with the rest.
    First,
    /// After something has changed, or when the time is over. What was there and has gone is an error found while reading.
    Later,
}

/// Reads all partitions in fetch order; of a session's keeps only those that are news.
pub fn read(
    node: &Node,
    plan: &FetchPlan,
    context: &mut FetchContext<SessionPartition>,
    pass: Pass,
) -> Result<Read, ErrorCode> {
    let incremental = context.is_incremental();
    let catalog = node.topics.read();
    let mut view = context.view()?;
    let mut read = Read::default();
    let mut refused = 0;
    view.for_each(|position, entry| {
        read.asked += 1;
        let left = plan.max_bytes.saturating_sub(read.bytes);
        let first = read.bytes == 0;
        let fetched = read_one(&catalog, plan, pass, position, entry, left, first);
        read.bytes += fetched.bytes;
        read.counted += fetched.counted;
        if fetched.refused {
            refused += 1;
        } else {
            read.urgent |= fetched.error != ErrorCode::None || fetched.diverging.is_some();
        }
        if !incremental || entry.is_news(&fetched.outcome()) {
            read.fetched.push(fetched);
        }
    });
    read.urgent |= refused == read.asked;
    Ok(read)
}

/// An entry's partition, or why there is none. What a request did not find it does not find later either: nothing
/// would wake it.
fn found(
    catalog: &TopicIndex,
    entry: &mut Entry<SessionPartition>,
    pass: Pass,
) -> Result<Arc<Partition>, ErrorCode> {
    let version = catalog.version();
    let Entry {
        requested, handle, ..
    } = entry;
    let is_settled = pass == Pass::Later && matches!(handle.found, Some(Err(_)));
    if handle.catalog_version != version && !is_settled {
        (handle.catalog_version, handle.found) = (version, None);
    }
    match &handle.found {
        Some(Err(code)) => return Err(*code),
        Some(Ok(partition)) => {
            if let Some(partition) = partition.upgrade() {
                return Ok(partition);
            }
        }
        None => {}
    }
    let mut find = || {
        let topic = match &requested.topic {
            TopicKey::Id(id) => catalog.by_id(*id).ok_or_else(|| match &handle.name {
                // What was found by its id is missed by its name (E82).
                Some(name) if catalog.by_name(name).is_some() => ErrorCode::InconsistentTopicId,
                Some(_) => ErrorCode::UnknownTopicOrPartition,
                None => ErrorCode::UnknownTopicId,
            })?,
            TopicKey::Name(name) => catalog
                .by_name(name)
                .ok_or(ErrorCode::UnknownTopicOrPartition)?,
        };
        if handle.name.is_none() {
            handle.name = Some(topic.name.clone());
        }
        let partition = topic.partition(requested.partition);
        partition.cloned().ok_or(ErrorCode::UnknownTopicOrPartition)
    };
    let found = find();
    handle.found = Some(found.as_ref().map(Arc::downgrade).map_err(|code| *code));
    found
}

const OFFSETS_UNKNOWN: Offsets = Offsets {
    log_start: -1,
    high_watermark: -1,
    log_end: -1,
    last_stable: -1,
    leader_epoch: -1,
};

/// Reads one partition; the first with data always gives at least one whole batch (E73).
fn read_one(
    catalog: &TopicIndex,
    plan: &FetchPlan,
    pass: Pass,
    position: usize,
    entry: &mut Entry<SessionPartition>,
    left: usize,
    first: bool,
) -> Fetched {
    let mut fetched = Fetched {
        position,
        topic: entry.requested.topic.clone(),
        index: entry.requested.partition,
        error: ErrorCode::None,
        refused: false,
        offsets: OFFSETS_UNKNOWN,
        diverging: None,
        leader: None,
        bytes: 0,
        counted: 0,
        aborted: Vec::new(),
        pieces: Vec::new(),
        cold: None,
    };
    if plan.denied.contains(&fetched.topic) {
        (fetched.error, fetched.refused) = (ErrorCode::TopicAuthorizationFailed, true);
        return fetched;
    }
    let was_found = matches!(entry.handle.found, Some(Ok(_)));
    let partition = match found(catalog, entry, pass) {
        Ok(partition) => partition,
        Err(code) => {
            fetched.error = code;
            // Only reading finds out that another topic has this name by now.
            fetched.refused = match pass {
                Pass::First => code != ErrorCode::InconsistentTopicId,
                Pass::Later => !was_found,
            };
            return fetched;
        }
    };
    let requested = &entry.requested;
    match check_epochs(&partition, requested) {
        Err(refusal) => {
            fetched.error = refusal.code;
            return fetched;
        }
        Ok(Some(diverging)) => {
            fetched.offsets = partition.offsets();
            fetched.diverging = Some(diverging);
            return fetched;
        }
        Ok(None) => {}
    }
    let max_bytes = size(requested.max_bytes).min(left);
    match partition.fetch(
        requested.fetch_offset,
        plan.committed_only,
        max_bytes,
        first,
    ) {
        (offsets, Ok(found)) => {
            fetched.offsets = offsets;
            fetched.bytes = found.bytes();
            fetched.counted = fetched.bytes;
            match found {
                Found::Here {
                    slices,
                    next_offset,
                } => {
                    if plan.committed_only && fetched.bytes > 0 {
                        let upper = offsets.last_stable.min(next_offset);
                        fetched.aborted = aborted(&partition, requested.fetch_offset..upper);
                    }
                    fetched.pieces = slices.into_iter().map(Piece::Memory).collect();
                }
                Found::Cold(load) => {
                    let from = Source {
                        partition: partition.clone(),
                        offset: requested.fetch_offset,
                        committed_only: plan.committed_only,
                    };
                    fetched.cold = Some(Cold { load, from });
                }
            }
            // Kafka reads up to the limit whether or not a batch ends there, so that a limit never makes a client wait.
            if (1..plan.min_bytes.min(max_bytes)).contains(&fetched.bytes) {
                let (offset, committed) = (requested.fetch_offset, plan.committed_only);
                // The next batch does not fit: with it the limit is passed.
                let more = max_bytes.saturating_add(plan.batch_bytes_max);
                let (_, all) = partition.fetch(offset, committed, more, true);
                fetched.counted = all.map_or(0, |all| all.bytes()).min(max_bytes);
            }
        }
        (_, Err(code)) => {
            fetched.error = code;
            if code == ErrorCode::NotLeaderOrFollower {
                fetched.leader = partition.leader_elsewhere();
            }
        }
    }
    fetched
}

/// Aborted transactions that a read of these offsets can meet.
fn aborted(partition: &Partition, read: Range<i64>) -> Vec<AbortedTransaction> {
    let aborted = partition.with_state(|state| state.aborted_between(read.start, read.end));
    aborted.unwrap_or_default()
}

/// Whether the client's epochs fit the log: E49a, and where the logs part ways (KIP-595) if they do.
fn check_epochs(
    partition: &Partition,
    requested: &RequestedPartition,
) -> Result<Option<(i32, i64)>, Refusal> {
    if requested.leader_epoch < 0 && requested.last_fetched_epoch < 0 {
        return Ok(None);
    }
    partition.with_state(|state| {
        check_current_leader_epoch(state.leader_epoch, requested.leader_epoch.max(-1))?;
        if requested.last_fetched_epoch < 0 {
            return Ok(None);
        }
        let end = state.end_offset_for(requested.last_fetched_epoch);
        let parted =
            end.epoch < requested.last_fetched_epoch || end.end_offset < requested.fetch_offset;
        Ok(parted.then_some((end.epoch, end.end_offset)))
    })?
}
