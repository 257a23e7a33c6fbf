//! Fetch (key 1): batches from many partitions, now or as soon as there are enough.
//! v5 log start offset · v7 sessions (KIP-227) · v9 current leader epoch · v11 rack · v12 flexible, last fetched epoch
//! v13 topic ids · v15 replica state · v16 node endpoints

use crate::broker::{Shared, State, reached};
use crate::budget::Charge;
use crate::buffer::Slice;
use crate::hooks::{Operation, Resource};
use crate::out::Reply;
use crate::random;
use crate::request::{Outcome, Request, Respond};
use crate::storage::waiters::Waiter;
use crate::storage::{Offsets, Partition};
use rustka_core::catalog::Catalog;
use rustka_core::epochs::check_current_leader_epoch;
use rustka_core::error::{ErrorCode, Refusal};
use rustka_core::fetch::{self, Entry, FetchContext, RequestedPartition, SessionRequest, TopicKey};
use rustka_wire::codec::{Reader, Records, Uuid};
use rustka_wire::fetch_request::FetchRequest;
use rustka_wire::fetch_response::{
    EpochEndOffset, FetchResponse, FetchableTopicResponse, PartitionData,
};
use std::borrow::Cow;
use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Fetch knows sessions from this version on.
const SESSIONS_FROM: i16 = 7;
/// Under Kafka's own rules everybody is one owner of sessions until clients can log in.
const ANONYMOUS: u64 = 0;

/// A session's partition as it was found last, good as long as the catalog does not change.
#[derive(Default)]
pub struct Handle {
    catalog_version: u64,
    found: Option<Result<Arc<Partition>, ErrorCode>>,
    /// The topic's name, once it was found.
    name: Option<Arc<str>>,
}

/// What a fetch wants apart from its partitions.
struct Plan {
    min_bytes: usize,
    max_bytes: usize,
    deadline_ms: i64,
    committed_only: bool,
    /// Topics of this fetch that its client may not read.
    denied: Vec<TopicKey>,
    respond: Respond,
}

struct Fetched {
    position: usize,
    topic: TopicKey,
    index: i32,
    error: ErrorCode,
    offsets: Offsets,
    diverging: Option<(i32, i64)>,
    bytes: usize,
    /// What counts towards the client's minimum: `bytes`, or the limit that kept more from being read.
    counted: usize,
    slices: Vec<Slice>,
}

impl Fetched {
    fn outcome(&self) -> fetch::Outcome {
        fetch::Outcome {
            position: self.position,
            error: self.error,
            high_watermark: self.offsets.high_watermark,
            log_start: self.offsets.log_start,
            records_bytes: self.bytes,
            is_forced: self.diverging.is_some(),
        }
    }
}

/// Reads what is there; waits if that is too little and the client has time.
pub fn handle(request: Request<'_>) -> Outcome {
    let (plan, mut context) = match plan(&request) {
        Ok(planned) => planned,
        Err(outcome) => return outcome,
    };
    let shared = request.shared;
    let read = match read(shared, &plan, &mut context) {
        Ok(read) => read,
        Err(code) => return failed(&plan.respond, code),
    };
    if read.is_enough(&plan) || shared.clock.monotonic_ms() >= plan.deadline_ms {
        return Outcome::Reply(answer(shared, &plan, context, read));
    }
    // At the cap a fetch is answered with what is there; others would have to be answered early instead.
    let Some(place) = shared.parked.try_take(1 + read.asked) else {
        return Outcome::Reply(answer(shared, &plan, context, read));
    };
    Outcome::Park(Box::pin(wait(shared.clone(), plan, context, place)))
}

/// An answer that concerns the whole session.
fn failed(respond: &Respond, code: ErrorCode) -> Outcome {
    let response = FetchResponse {
        error_code: code.code(),
        throttle_time_ms: respond.throttle_time_ms(),
        ..Default::default()
    };
    Outcome::Reply(respond.encode(&[], |w| response.encode(w, respond.version())))
}

fn plan(request: &Request<'_>) -> Result<(Plan, FetchContext<Handle>), Outcome> {
    let version = request.header.version;
    let asked = FetchRequest::decode(&mut Reader::new(request.body()), version)?;
    let shared = request.shared;
    let now_ms = shared.clock.monotonic_ms();
    let uses_ids = version >= 13;
    let key = |name: &str, id: Uuid| {
        if uses_ids {
            TopicKey::Id(id)
        } else {
            TopicKey::Name(name.into())
        }
    };
    let mut partitions = Vec::new();
    for topic in &asked.topics {
        let topic_key = key(&topic.topic, topic.topic_id);
        partitions.extend(topic.partitions.iter().map(|partition| RequestedPartition {
            topic: topic_key.clone(),
            partition: partition.partition,
            fetch_offset: partition.fetch_offset,
            max_bytes: partition.partition_max_bytes,
            log_start: partition.log_start_offset,
            leader_epoch: partition.current_leader_epoch,
            last_fetched_epoch: partition.last_fetched_epoch,
        }));
    }
    let forgotten = asked.forgotten_topics_data.iter().flat_map(|topic| {
        let topic_key = key(&topic.topic, topic.topic_id);
        topic
            .partitions
            .iter()
            .map(move |partition| (topic_key.clone(), *partition))
    });
    let (session_id, epoch) = match version {
        SESSIONS_FROM.. => (asked.session_id, asked.session_epoch),
        _ => (fetch::NO_SESSION, fetch::FINAL_EPOCH),
    };
    let session = SessionRequest {
        session_id,
        epoch,
        uses_ids,
        owner: owner(request),
        now_ms,
    };
    let mut context = shared.sessions.begin(session, partitions, forgotten);
    if let Some(code) = context.error() {
        return Err(failed(&request.respond(), code));
    }
    let denied = match denied(request, &mut context) {
        Ok(denied) => denied,
        Err(code) => return Err(failed(&request.respond(), code)),
    };
    let max_bytes = size(asked.max_bytes).min(size(shared.config.fixed().fetch_bytes_max));
    let plan = Plan {
        min_bytes: size(asked.min_bytes).min(max_bytes),
        max_bytes,
        deadline_ms: now_ms.saturating_add(i64::from(asked.max_wait_ms.max(0))),
        committed_only: asked.isolation_level == 1,
        denied,
        respond: request.respond(),
    };
    Ok((plan, context))
}

/// Topics of the request and of its session that the client may not read.
fn denied(
    request: &Request<'_>,
    context: &mut FetchContext<Handle>,
) -> Result<Vec<TopicKey>, ErrorCode> {
    let mut denied = Vec::new();
    if request.shared.hooks.authorizer.is_none() {
        return Ok(denied);
    }
    context.view()?.for_each(|_, entry| {
        let key = &entry.requested.topic;
        if denied.contains(key) {
            return;
        }
        let allowed = match key {
            TopicKey::Name(name) => request.may(Operation::Read, Resource::Topic(name)),
            // Nothing is told about an id that is not there but that.
            TopicKey::Id(id) => request
                .shared
                .topics
                .by_id(*id)
                .is_none_or(|topic| request.may(Operation::Read, Resource::Topic(&topic.name))),
        };
        if !allowed {
            denied.push(key.clone());
        }
    });
    Ok(denied)
}

/// Whose session it is: where addresses share fairly, the address's.
fn owner(request: &Request<'_>) -> u64 {
    if !request.shared.config.fixed().fetch_sessions_fair_share {
        return ANONYMOUS;
    }
    match request.peer.address.ip().to_canonical() {
        IpAddr::V4(ip) => u64::from(ip.to_bits()),
        // Who has one IPv6 address has the rest of its network too.
        IpAddr::V6(ip) => (ip.to_bits() >> 64) as u64 | 1 << 63,
    }
}

fn size(bytes: i32) -> usize {
    usize::try_from(bytes).unwrap_or(0)
}

#[derive(Default)]
struct Read {
    fetched: Vec<Fetched>,
    bytes: usize,
    counted: usize,
    /// Partitions the request is about.
    asked: usize,
    /// Something the client should hear of at once: an error, a diverging epoch, nothing to wait for.
    urgent: bool,
    /// The request has waited.
    waited: bool,
}

impl Read {
    fn is_enough(&self, plan: &Plan) -> bool {
        self.urgent || self.counted >= plan.min_bytes
    }
}

/// Reads all partitions in fetch order; of a session's keeps only those that are news.
fn read(
    shared: &Shared,
    plan: &Plan,
    context: &mut FetchContext<Handle>,
) -> Result<Read, ErrorCode> {
    let incremental = context.is_incremental();
    let catalog = shared.topics.read();
    let mut view = context.view()?;
    let mut read = Read {
        urgent: view.is_empty(),
        ..Read::default()
    };
    view.for_each(|position, entry| {
        read.asked += 1;
        let left = plan.max_bytes.saturating_sub(read.bytes);
        let fetched = read_one(&catalog, plan, position, entry, left, read.bytes == 0);
        read.bytes += fetched.bytes;
        read.counted += fetched.counted;
        read.urgent |= fetched.error != ErrorCode::None || fetched.diverging.is_some();
        if !incremental || entry.is_news(&fetched.outcome()) {
            read.fetched.push(fetched);
        }
    });
    Ok(read)
}

fn found<'e>(
    catalog: &Catalog<Arc<Partition>>,
    entry: &'e mut Entry<Handle>,
) -> &'e Result<Arc<Partition>, ErrorCode> {
    let version = catalog.version();
    let Entry {
        requested, handle, ..
    } = entry;
    if handle.catalog_version != version {
        (handle.catalog_version, handle.found) = (version, None);
    }
    handle.found.get_or_insert_with(|| {
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
    })
}

const OFFSETS_UNKNOWN: Offsets = Offsets {
    log_start: -1,
    high_watermark: -1,
    last_stable: -1,
    leader_epoch: -1,
};

/// Reads one partition; the first with data always gives at least one whole batch (E73).
fn read_one(
    catalog: &Catalog<Arc<Partition>>,
    plan: &Plan,
    position: usize,
    entry: &mut Entry<Handle>,
    left: usize,
    first: bool,
) -> Fetched {
    let mut fetched = Fetched {
        position,
        topic: entry.requested.topic.clone(),
        index: entry.requested.partition,
        error: ErrorCode::None,
        offsets: OFFSETS_UNKNOWN,
        diverging: None,
        bytes: 0,
        counted: 0,
        slices: Vec::new(),
    };
    if plan.denied.contains(&fetched.topic) {
        fetched.error = ErrorCode::TopicAuthorizationFailed;
        return fetched;
    }
    let partition = match found(catalog, entry) {
        Ok(partition) => partition.clone(),
        Err(code) => {
            fetched.error = *code;
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
        (offsets, Ok(slices)) => {
            fetched.offsets = offsets;
            fetched.bytes = length(&slices);
            fetched.counted = fetched.bytes;
            fetched.slices = slices;
            // Kafka reads up to the limit whether or not a batch ends there, so that a limit never makes a client wait.
            if (1..plan.min_bytes.min(max_bytes)).contains(&fetched.bytes) {
                let (offset, committed) = (requested.fetch_offset, plan.committed_only);
                let (_, all) = partition.fetch(offset, committed, usize::MAX, true);
                fetched.counted = all.map_or(0, |all| length(&all)).min(max_bytes);
            }
        }
        (_, Err(code)) => fetched.error = code,
    }
    fetched
}

fn length(slices: &[Slice]) -> usize {
    slices.iter().map(|slice| slice.len()).sum()
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

/// A waiting fetch's places on its partitions, given up when it ends in whatever way.
struct Places {
    waiter: Arc<Waiter>,
    partitions: Vec<Arc<Partition>>,
}

impl Places {
    fn take(context: &mut FetchContext<Handle>) -> Result<Places, ErrorCode> {
        let mut partitions = Vec::new();
        context.view()?.for_each(|_, entry| {
            if let Some(Ok(partition)) = &entry.handle.found {
                partitions.push(partition.clone());
            }
        });
        let waiter = Waiter::new(i64::MAX);
        for partition in &partitions {
            partition.register(&waiter);
        }
        Ok(Places { waiter, partitions })
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        for partition in &self.partitions {
            partition.unregister(&self.waiter);
        }
    }
}

async fn wait(
    shared: Arc<Shared>,
    plan: Plan,
    mut context: FetchContext<Handle>,
    _place: Charge,
) -> Outcome {
    let places = match Places::take(&mut context) {
        Ok(places) => places,
        Err(code) => return failed(&plan.respond, code),
    };
    let mut state = shared.state.subscribe();
    let mut last = false;
    loop {
        // Armed before the read, so that what is appended in between is not missed.
        places.waiter.rearm();
        let missing = {
            let mut read = match read(&shared, &plan, &mut context) {
                Ok(read) => read,
                Err(code) => return failed(&plan.respond, code),
            };
            read.waited = true;
            if read.is_enough(&plan) || last {
                return Outcome::Reply(answer(&shared, &plan, context, read));
            }
            plan.min_bytes - read.counted
        };
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

fn answer(shared: &Shared, plan: &Plan, context: FetchContext<Handle>, mut read: Read) -> Reply {
    let version = plan.respond.version();
    let now_ms = shared.clock.monotonic_ms();
    let responded = shared.sessions.respond(
        context,
        &mut read.fetched,
        Fetched::outcome,
        now_ms,
        random::u32,
    );
    shared
        .metrics
        .bytes_out
        .fetch_add(read.bytes as u64, Relaxed);
    let mut slots: Vec<Vec<Slice>> = Vec::new();
    let mut responses: Vec<FetchableTopicResponse<'_>> = Vec::new();
    let mut current: Option<TopicKey> = None;
    let waited = read.waited;
    for mut fetched in read.fetched {
        if current.as_ref() != Some(&fetched.topic) {
            responses.push(topic_response(&fetched.topic));
            current = Some(fetched.topic.clone());
        }
        let slices = std::mem::take(&mut fetched.slices);
        let records = if fetched.bytes == 0 {
            Records::from(Vec::new())
        } else {
            slots.push(slices);
            Records::Spliced {
                slot: (slots.len() - 1) as u32,
                len: fetched.bytes as u32,
            }
        };
        if let Some(topic) = responses.last_mut() {
            topic.partitions.push(partition_data(
                &fetched,
                records,
                plan.committed_only,
                waited,
                version,
            ));
        }
    }
    let response = FetchResponse {
        error_code: responded.error.code(),
        session_id: responded.session_id,
        throttle_time_ms: plan.respond.throttle_time_ms(),
        responses,
        ..Default::default()
    };
    plan.respond.encode(&slots, |w| response.encode(w, version))
}

fn topic_response(topic: &TopicKey) -> FetchableTopicResponse<'static> {
    match topic {
        TopicKey::Id(id) => FetchableTopicResponse {
            topic_id: *id,
            ..Default::default()
        },
        TopicKey::Name(name) => FetchableTopicResponse {
            topic: Cow::Owned(name.to_string()),
            ..Default::default()
        },
    }
}

fn partition_data(
    fetched: &Fetched,
    records: Records<'static>,
    committed_only: bool,
    waited: bool,
    version: i16,
) -> PartitionData<'static> {
    // Before v6 clients do not know KAFKA_STORAGE_ERROR (E83).
    let error = match fetched.error {
        ErrorCode::KafkaStorageError if version <= 5 => ErrorCode::NotLeaderOrFollower,
        other => other,
    };
    let mut data = PartitionData {
        partition_index: fetched.index,
        error_code: error.code(),
        high_watermark: fetched.offsets.high_watermark,
        last_stable_offset: fetched.offsets.last_stable,
        log_start_offset: fetched.offsets.log_start,
        aborted_transactions: match error {
            ErrorCode::None => committed_only.then(Vec::new),
            ErrorCode::TopicAuthorizationFailed => Some(Vec::new()),
            // A partition that was not there to begin with keeps the field's default, an empty list (E76).
            ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId => {
                (!waited).then(Vec::new)
            }
            _ => None,
        },
        preferred_read_replica: -1,
        records: Some(records),
        ..Default::default()
    };
    if let Some((epoch, end_offset)) = fetched.diverging {
        data.diverging_epoch = EpochEndOffset { epoch, end_offset };
    }
    data
}
