//! Fetch (key 1): batches from many partitions, now or as soon as there are enough.
//! v5 log start offset · v7 sessions (KIP-227) · v9 current leader epoch · v11 rack · v12 flexible, last fetched epoch
//! v13 topic ids · v15 replica state · v16 node endpoints

use crate::broker::{Shared, State, reached};
use crate::buffer::Slice;
use crate::out::Reply;
use crate::request::{Outcome, Request, Respond};
use crate::storage::memory::{Offsets, Partition};
use crate::storage::waiters::Waiter;
use rustka_core::epochs::check_current_leader_epoch;
use rustka_core::error::ErrorCode;
use rustka_wire::codec::{Reader, Records, Uuid};
use rustka_wire::fetch_request::FetchRequest;
use rustka_wire::fetch_response::{
    EpochEndOffset, FetchResponse, FetchableTopicResponse, PartitionData,
};
use std::borrow::Cow;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// One partition that a fetch wants.
struct Wanted {
    /// Place in [`Plan::topics`].
    topic: usize,
    index: i32,
    offset: i64,
    max_bytes: usize,
    current_leader_epoch: i32,
    last_fetched_epoch: i32,
    /// Resolved when the fetch arrives; a topic made later is found by the next fetch.
    partition: Result<Arc<Partition>, ErrorCode>,
}

struct Plan {
    topics: Vec<(String, Uuid)>,
    wanted: Vec<Wanted>,
    min_bytes: usize,
    max_bytes: usize,
    deadline_ms: i64,
    committed_only: bool,
    respond: Respond,
}

struct Fetched {
    error: ErrorCode,
    offsets: Option<Offsets>,
    diverging: Option<(i32, i64)>,
    slices: Vec<Slice>,
}

/// Reads what is there; waits if that is too little and the client has time.
pub fn handle(request: Request<'_>) -> Outcome {
    let plan = match plan(&request) {
        Ok(plan) => plan,
        Err(outcome) => return outcome,
    };
    let shared = request.shared;
    let read = read(&plan);
    if read.is_enough(&plan) || shared.clock.now().monotonic_ms >= plan.deadline_ms {
        return Outcome::Reply(encode(shared, &plan, read));
    }
    Outcome::Park(Box::pin(wait(shared.clone(), plan)))
}

fn plan(request: &Request<'_>) -> Result<Plan, Outcome> {
    let version = request.header.version;
    let asked = FetchRequest::decode(&mut Reader::new(request.body()), version)?;
    let shared = request.shared;
    let size = |bytes: i32| usize::try_from(bytes).unwrap_or(0);
    let max_bytes = size(asked.max_bytes).min(size(shared.config.settings().fetch_bytes_max));
    let mut topics = Vec::with_capacity(asked.topics.len());
    let mut wanted = Vec::with_capacity(asked.topics.len());
    for (at, topic) in asked.topics.iter().enumerate() {
        let found = shared
            .topics
            .named(version >= 13, &topic.topic, topic.topic_id);
        for partition in &topic.partitions {
            let resolved = match &found {
                Ok(found) => found
                    .partition(partition.partition)
                    .cloned()
                    .ok_or(ErrorCode::UnknownTopicOrPartition),
                Err(code) => Err(*code),
            };
            wanted.push(Wanted {
                topic: at,
                index: partition.partition,
                offset: partition.fetch_offset,
                max_bytes: size(partition.partition_max_bytes),
                current_leader_epoch: partition.current_leader_epoch,
                last_fetched_epoch: partition.last_fetched_epoch,
                partition: resolved,
            });
        }
        topics.push((topic.topic.to_string(), topic.topic_id));
    }
    let wait_ms = if wanted.is_empty() {
        0
    } else {
        i64::from(asked.max_wait_ms.max(0))
    };
    Ok(Plan {
        topics,
        wanted,
        min_bytes: size(asked.min_bytes).min(max_bytes),
        max_bytes,
        deadline_ms: shared.clock.now().monotonic_ms.saturating_add(wait_ms),
        committed_only: asked.isolation_level == 1,
        respond: request.respond(),
    })
}

struct Read {
    fetched: Vec<Fetched>,
    bytes: usize,
    /// An error or a diverging epoch: the client should hear of it at once.
    urgent: bool,
}

impl Read {
    fn is_enough(&self, plan: &Plan) -> bool {
        self.urgent || self.bytes >= plan.min_bytes
    }
}

fn read(plan: &Plan) -> Read {
    let mut read = Read {
        fetched: Vec::with_capacity(plan.wanted.len()),
        bytes: 0,
        urgent: false,
    };
    for wanted in &plan.wanted {
        let left = plan.max_bytes.saturating_sub(read.bytes);
        let fetched = read_one(wanted, plan, left, read.bytes == 0);
        read.bytes += fetched
            .slices
            .iter()
            .map(|slice| slice.len())
            .sum::<usize>();
        read.urgent |= fetched.error != ErrorCode::None || fetched.diverging.is_some();
        read.fetched.push(fetched);
    }
    read
}

fn failed(error: ErrorCode) -> Fetched {
    Fetched {
        error,
        offsets: None,
        diverging: None,
        slices: Vec::new(),
    }
}

/// Reads one partition; the first with data always gives at least one whole batch (E73).
fn read_one(wanted: &Wanted, plan: &Plan, left: usize, first: bool) -> Fetched {
    let partition = match &wanted.partition {
        Ok(partition) => partition,
        Err(code) => return failed(*code),
    };
    if wanted.current_leader_epoch >= 0 || wanted.last_fetched_epoch >= 0 {
        let checked = partition.with_state(|state| {
            check_current_leader_epoch(state.leader_epoch, wanted.current_leader_epoch)?;
            let end = (wanted.last_fetched_epoch >= 0).then(|| {
                state
                    .epochs
                    .end_offset_for(wanted.last_fetched_epoch, state.next_offset)
            });
            Ok::<_, rustka_core::error::Refusal>(end)
        });
        match checked {
            Err(refusal) => return failed(refusal.code),
            Ok(Some(end))
                if end.epoch < wanted.last_fetched_epoch || end.end_offset < wanted.offset =>
            {
                let diverging = Some((end.epoch, end.end_offset));
                return Fetched {
                    error: ErrorCode::None,
                    offsets: Some(partition.offsets()),
                    diverging,
                    slices: Vec::new(),
                };
            }
            Ok(_) => {}
        }
    }
    let max_bytes = wanted.max_bytes.min(left);
    match partition.fetch(wanted.offset, plan.committed_only, max_bytes, first) {
        (offsets, Some(slices)) => Fetched {
            error: ErrorCode::None,
            offsets: Some(offsets),
            diverging: None,
            slices,
        },
        (_, None) => failed(ErrorCode::OffsetOutOfRange),
    }
}

/// A waiting fetch's places on its partitions, given up when it ends in whatever way.
struct Places {
    waiter: Arc<Waiter>,
    partitions: Vec<Arc<Partition>>,
}

impl Drop for Places {
    fn drop(&mut self) {
        for partition in &self.partitions {
            partition.unregister(&self.waiter);
        }
    }
}

async fn wait(shared: Arc<Shared>, plan: Plan) -> Outcome {
    let waiter = Waiter::new(i64::MAX);
    let partitions: Vec<_> = plan
        .wanted
        .iter()
        .filter_map(|wanted| wanted.partition.as_ref().ok().cloned())
        .collect();
    for partition in &partitions {
        partition.register(&waiter);
    }
    let places = Places { waiter, partitions };
    let mut state = shared.state.subscribe();
    let mut last = false;
    loop {
        // Armed before the read, so that what is appended in between is not missed.
        places.waiter.rearm(1);
        let read = read(&plan);
        if read.is_enough(&plan) || last {
            return Outcome::Reply(encode(&shared, &plan, read));
        }
        let missing = plan.min_bytes - read.bytes;
        drop(read);
        places
            .waiter
            .want(i64::try_from(missing).unwrap_or(i64::MAX));
        last = tokio::select! {
            () = poll_fn(|cx| places.waiter.poll_fired(cx)) => false,
            () = shared.clock.sleep_until(plan.deadline_ms) => true,
            () = reached(&mut state, |state| state >= State::Stopping) => true,
        };
    }
}

fn encode(shared: &Shared, plan: &Plan, read: Read) -> Reply {
    let version = plan.respond.version();
    let mut slots: Vec<Vec<Slice>> = Vec::new();
    let mut responses: Vec<FetchableTopicResponse<'_>> = Vec::with_capacity(plan.topics.len());
    let mut current = usize::MAX;
    shared
        .metrics
        .bytes_out
        .fetch_add(read.bytes as u64, Relaxed);
    for (wanted, fetched) in plan.wanted.iter().zip(read.fetched) {
        if wanted.topic != current {
            current = wanted.topic;
            let (name, topic_id) = &plan.topics[current];
            responses.push(FetchableTopicResponse {
                topic: Cow::Borrowed(name),
                topic_id: *topic_id,
                partitions: Vec::new(),
            });
        }
        let data = partition_data(wanted, fetched, plan.committed_only, &mut slots, version);
        if let Some(topic) = responses.last_mut() {
            topic.partitions.push(data);
        }
    }
    let response = FetchResponse {
        responses,
        ..Default::default()
    };
    plan.respond.encode(&slots, |w| response.encode(w, version))
}

fn partition_data(
    wanted: &Wanted,
    fetched: Fetched,
    committed_only: bool,
    slots: &mut Vec<Vec<Slice>>,
    version: i16,
) -> PartitionData<'static> {
    let unknown = Offsets {
        log_start: -1,
        high_watermark: -1,
        last_stable: -1,
        leader_epoch: -1,
    };
    let offsets = fetched.offsets.unwrap_or(unknown);
    let length: usize = fetched.slices.iter().map(|slice| slice.len()).sum();
    let records = if length == 0 {
        Records::from(Vec::new())
    } else {
        slots.push(fetched.slices);
        Records::Spliced {
            slot: (slots.len() - 1) as u32,
            len: length as u32,
        }
    };
    // Before v6 clients do not know KAFKA_STORAGE_ERROR (E83).
    let error = match fetched.error {
        ErrorCode::KafkaStorageError if version <= 5 => ErrorCode::NotLeaderOrFollower,
        other => other,
    };
    let mut data = PartitionData {
        partition_index: wanted.index,
        error_code: error.code(),
        high_watermark: offsets.high_watermark,
        last_stable_offset: offsets.last_stable,
        log_start_offset: offsets.log_start,
        aborted_transactions: (committed_only && error == ErrorCode::None).then(Vec::new),
        preferred_read_replica: -1,
        records: Some(records),
        ..Default::default()
    };
    if let Some((epoch, end_offset)) = fetched.diverging {
        data.diverging_epoch = EpochEndOffset { epoch, end_offset };
    }
    data
}
