//! Produce (key 0): appends one record batch to each partition named.
//! v5 log start offset · v7 zstd · v8 errors of single records · v9 flexible · v10 current leader · v13 topic ids

use crate::broker::Shared;
use crate::buffer::BufMut;
use crate::fault::Point;
use crate::hooks::{Event, Operation, Resource};
use crate::out::Reply;
use crate::request::{Frame, Outcome, Request, Respond};
use crate::storage::{Durability, Fate, Incoming, Partition};
use crate::topics::TopicRef;
use rustka_core::batch::BatchHeader;
use rustka_core::compression::{Codec, INFLATE_BYTES_MAX};
use rustka_core::config::TopicConfig;
use rustka_core::error::{ErrorCode, Refusal};
use rustka_core::log::Origin;
use rustka_core::validate::{
    Inflate, Invalid, Rules, Validated, needs_inflate, needs_rebuild, validate_produce,
    validate_shape,
};
use rustka_wire::codec::{Reader, Records, Uuid};
use rustka_wire::produce_request::ProduceRequest;
use rustka_wire::produce_response::{
    BatchIndexAndErrorMessage, PartitionProduceResponse, ProduceResponse, TopicProduceResponse,
};
use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

/// A batch at least this large may stay in the frame it arrived in.
const KEEP_BYTES_MIN: usize = 16 << 10;
/// Compressed batches above this size are validated on the work pool instead of the connection's thread.
const INLINE_INFLATE_BYTES_MAX: usize = 16 << 10;
/// Batches that have to be compressed go to the work pool above this size, with a codec that takes its time.
const INLINE_SLOW_DEFLATE_BYTES_MAX: usize = 16 << 10;
/// The same for a codec that is about as fast as memory.
const INLINE_FAST_DEFLATE_BYTES_MAX: usize = 256 << 10;
/// Told to whoever observes.
const WRITE_FAILED: &str = "a batch could not be written, and its partition is read-only";
/// The client id that may write to internal topics, as in Kafka.
const ADMIN_CLIENT: &str = "__admin_client";

/// What a request asks for, as places in its frame.
struct Plan {
    acks: i16,
    /// When acks=all is given up on.
    deadline_ms: i64,
    transactional_id: Option<Box<str>>,
    admin: bool,
    topics: Vec<TopicPlan>,
}

struct TopicPlan {
    name: String,
    id: Uuid,
    denied: bool,
    partitions: Vec<(i32, Option<Range<usize>>)>,
}

/// Validates and appends. Batches that have to be inflated at length go to the work pool.
pub fn handle(mut request: Request<'_>) -> Outcome {
    let mut plan = match plan(&request) {
        Ok(plan) => plan,
        Err(outcome) => return outcome,
    };
    authorize(&request, &mut plan);
    let respond = request.respond();
    if long(&request, &plan) {
        let shared = request.shared.clone();
        let mut frame = match request.frame {
            Frame::Owned(buffer) => buffer,
            Frame::Borrowed(bytes) => {
                let mut buffer = shared.pool.take(bytes.len());
                buffer.push(bytes);
                buffer
            }
        };
        return Outcome::Park(Box::pin(async move {
            let work = shared.work.clone();
            let done = work.run(move || run(&shared, plan, Bytes::Owned(&mut frame), respond));
            done.await.unwrap_or_else(|| {
                Outcome::Close("validating a batch failed unexpectedly".to_owned())
            })
        }));
    }
    match &mut request.frame {
        Frame::Borrowed(bytes) => run(request.shared, plan, Bytes::Borrowed(bytes), respond),
        Frame::Owned(buffer) => run(request.shared, plan, Bytes::Owned(buffer), respond),
    }
}

fn plan(request: &Request<'_>) -> Result<Plan, Outcome> {
    let frame = request.frame.bytes();
    let asked = ProduceRequest::decode(&mut Reader::new(request.body()), request.header.version)?;
    let place = |records: &Records<'_>| {
        let bytes = records.as_bytes();
        let from = bytes.as_ptr() as usize - frame.as_ptr() as usize;
        from..from + bytes.len()
    };
    let topics = asked.topic_data.iter().map(|topic| TopicPlan {
        name: topic.name.to_string(),
        id: topic.topic_id,
        denied: false,
        partitions: topic
            .partition_data
            .iter()
            .map(|partition| {
                let records = partition
                    .records
                    .as_ref()
                    .filter(|records| !records.is_empty());
                (partition.index, records.map(place))
            })
            .collect(),
    });
    Ok(Plan {
        acks: asked.acks,
        deadline_ms: request
            .received_ms
            .saturating_add(i64::from(asked.timeout_ms.max(0))),
        transactional_id: asked.transactional_id.as_deref().map(Box::from),
        admin: request.client_id() == ADMIN_CLIENT,
        topics: topics.collect(),
    })
}

fn has_transactional_batch(plan: &Plan, frame: &[u8]) -> bool {
    let partitions = plan.topics.iter().flat_map(|topic| &topic.partitions);
    let mut ranges = partitions.filter_map(|(_, range)| range.clone());
    ranges.any(|range| {
        BatchHeader::parse(&frame[range]).is_ok_and(|header| header.is_transactional())
    })
}

/// Marks what the client may not write. Who may not use a transactional id has none.
fn authorize(request: &Request<'_>, plan: &mut Plan) {
    if request.may_do_everything() {
        return;
    }
    if has_transactional_batch(plan, request.frame.bytes()) {
        let id = plan.transactional_id.as_deref();
        if !id.is_some_and(|id| request.may(Operation::Write, Resource::TransactionalId(id))) {
            plan.transactional_id = None;
            return;
        }
    }
    for topic in &mut plan.topics {
        topic.denied = is_denied(request, &topic.name, topic.id);
    }
}

/// Whether the client may not write to the topic it names in either way.
fn is_denied(request: &Request<'_>, name: &str, id: Uuid) -> bool {
    if request.header.version < 13 {
        return !request.may(Operation::Write, Resource::Topic(name));
    }
    let known = request.shared.topics.by_id(id);
    known.is_some_and(|topic| !request.may(Operation::Write, Resource::Topic(&topic.name)))
}

fn long(request: &Request<'_>, plan: &Plan) -> bool {
    let frame = request.frame.bytes();
    let by_id = request.header.version >= 13;
    plan.topics.iter().any(|topic| {
        topic.partitions.iter().any(|(index, range)| {
            let Some(range) = range else { return false };
            if range.len() <= INLINE_INFLATE_BYTES_MAX.min(INLINE_SLOW_DEFLATE_BYTES_MAX) {
                return false;
            }
            let Ok(header) = BatchHeader::parse(&frame[range.clone()]) else {
                return false;
            };
            find(request.shared, topic, *index, by_id).is_ok_and(|(topic, _)| {
                let rules = rules(&topic.config, request.header.version, request.shared);
                takes_long(&header, &rules, range.len())
            })
        })
    })
}

fn takes_long(header: &BatchHeader, rules: &Rules, bytes: usize) -> bool {
    let inflates = needs_inflate(header, rules) && bytes > INLINE_INFLATE_BYTES_MAX;
    let codec = rules.storage.map_or(Codec::None, |storage| storage.codec);
    let deflate_bytes_max = match codec {
        Codec::Gzip | Codec::Zstd => INLINE_SLOW_DEFLATE_BYTES_MAX,
        Codec::None | Codec::Snappy | Codec::Lz4 => INLINE_FAST_DEFLATE_BYTES_MAX,
    };
    inflates || needs_rebuild(header, rules) && bytes > deflate_bytes_max
}

fn rules(config: &TopicConfig, produce_version: i16, shared: &Shared) -> Rules {
    let size = |bytes: i32| usize::try_from(bytes).unwrap_or(usize::MAX);
    Rules {
        produce_version,
        max_message_bytes: size(config.max_message_bytes),
        segment_bytes: size(config.segment_bytes),
        compacted: config.compact,
        log_append_time: config.log_append_time,
        before_max_ms: config.timestamp_before_max_ms,
        after_max_ms: config.timestamp_after_max_ms,
        storage: config.storage(),
        inflate: if shared.config.fixed().validate_compressed {
            Inflate::Always
        } else {
            Inflate::Never
        },
        inflate_bytes_max: INFLATE_BYTES_MAX,
    }
}

fn find(
    shared: &Shared,
    topic: &TopicPlan,
    index: i32,
    by_id: bool,
) -> Result<(TopicRef, Arc<Partition>), ErrorCode> {
    let found = shared.topics.named(by_id, &topic.name, topic.id)?;
    let partition = found
        .partition(index)
        .cloned()
        .ok_or(ErrorCode::UnknownTopicOrPartition)?;
    Ok((found, partition))
}

/// The request's bytes, in either place.
enum Bytes<'a> {
    Borrowed(&'a mut [u8]),
    Owned(&'a mut BufMut),
}

impl Bytes<'_> {
    fn get(&mut self) -> &mut [u8] {
        match self {
            Bytes::Borrowed(bytes) => bytes,
            Bytes::Owned(buffer) => buffer,
        }
    }

    /// The one batch that may stay where it is: large, and most of its frame.
    fn keeps(&self, range: &Range<usize>) -> bool {
        matches!(self, Bytes::Owned(buffer) if range.len() >= KEEP_BYTES_MIN && range.len() * 2 >= buffer.len())
    }
}

type PartitionAnswer = PartitionProduceResponse<'static>;

fn run(shared: &Arc<Shared>, plan: Plan, mut bytes: Bytes<'_>, respond: Respond) -> Outcome {
    let mut answers: Vec<Vec<PartitionAnswer>> = Vec::with_capacity(plan.topics.len());
    let mut kept = None;
    let mut pending = Vec::new();
    let whole = whole_request_error(&plan, &mut bytes);
    for (t, topic) in plan.topics.iter().enumerate() {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for (p, (index, range)) in topic.partitions.iter().enumerate() {
            if whole.is_none()
                && kept.is_none()
                && range.as_ref().is_some_and(|range| bytes.keeps(range))
            {
                // Its buffer is cut apart when everybody else has been served from it.
                kept = Some((t, p));
                partitions.push(PartitionAnswer {
                    index: *index,
                    ..Default::default()
                });
                continue;
            }
            let result = match whole {
                Some(code) => Err(Refusal::from(code).into()),
                None => append_copied(
                    shared,
                    &plan,
                    topic,
                    *index,
                    range.clone(),
                    &mut bytes,
                    respond.version(),
                ),
            };
            partitions.push(answer(*index, result, (t, p), &mut pending));
        }
        answers.push(partitions);
    }
    if let (Some((t, p)), Bytes::Owned(buffer)) = (kept, &mut bytes) {
        let topic = &plan.topics[t];
        let (index, range) = &topic.partitions[p];
        let range = range.clone().unwrap_or_default();
        drop(buffer.split_to(range.start));
        let batch = buffer.split_to(range.len());
        let result = append_kept(shared, &plan, topic, *index, batch, respond.version());
        answers[t][p] = answer(*index, result, (t, p), &mut pending);
    }
    if plan.acks == 0 {
        return match answers
            .iter()
            .flatten()
            .find(|partition| partition.error_code != 0)
        {
            Some(failed) => Outcome::Close(format!(
                "a Produce with acks=0 failed with error {}",
                failed.error_code
            )),
            None => Outcome::Nothing,
        };
    }
    if plan.acks == -1 && !pending.is_empty() {
        let shared = shared.clone();
        return Outcome::Later(Box::pin(commit(shared, plan, answers, pending, respond)));
    }
    Outcome::Reply(encode(&plan, answers, respond))
}

/// A write that is not durable yet: its place in the answer, and in its partition.
struct Pending {
    topic: usize,
    place: usize,
    partition: Arc<Partition>,
    position: i64,
}

/// Waits until every write is durable, is lost, or its time is over.
async fn commit(
    shared: Arc<Shared>,
    plan: Plan,
    mut answers: Vec<Vec<PartitionAnswer>>,
    pending: Vec<Pending>,
    respond: Respond,
) -> Reply {
    for write in pending {
        let fate = tokio::select! {
            biased;
            fate = write.partition.settled(write.position) => fate,
            () = shared.clock.sleep_until(plan.deadline_ms) => write.partition.fate(write.position),
        };
        let answer = &mut answers[write.topic][write.place];
        match fate {
            Fate::Durable => {}
            // It may still become durable, so the answer keeps its offset, as in Kafka.
            Fate::Pending => answer.error_code = ErrorCode::RequestTimedOut.code(),
            Fate::Failed => {
                shared.hooks.saw(|| Event::Failed(WRITE_FAILED));
                *answer = PartitionAnswer {
                    index: answer.index,
                    error_code: ErrorCode::KafkaStorageError.code(),
                    base_offset: -1,
                    log_append_time_ms: -1,
                    log_start_offset: -1,
                    ..Default::default()
                };
            }
        }
    }
    encode(&plan, answers, respond)
}

fn encode(plan: &Plan, answers: Vec<Vec<PartitionAnswer>>, respond: Respond) -> Reply {
    let responses = plan
        .topics
        .iter()
        .zip(answers)
        .map(|(topic, partition_responses)| TopicProduceResponse {
            name: Cow::Borrowed(&topic.name),
            topic_id: topic.id,
            partition_responses,
        });
    let response = ProduceResponse {
        responses: responses.collect(),
        throttle_time_ms: respond.throttle_time_ms(),
        ..Default::default()
    };
    respond.encode(&[], |w| response.encode(w, respond.version()))
}

/// Errors that concern every partition: acks (E50), transactional records without an id (E68).
fn whole_request_error(plan: &Plan, bytes: &mut Bytes<'_>) -> Option<ErrorCode> {
    if plan.transactional_id.is_none() && has_transactional_batch(plan, bytes.get()) {
        return Some(ErrorCode::TransactionalIdAuthorizationFailed);
    }
    (!(-1..=1).contains(&plan.acks)).then_some(ErrorCode::InvalidRequiredAcks)
}

struct Accepted {
    base_offset: i64,
    log_append_time_ms: i64,
    log_start: i64,
    /// Where it becomes durable, if it is not yet.
    awaits: Option<(Arc<Partition>, i64)>,
}

/// A batch that was refused.
struct Refused {
    invalid: Invalid,
    /// Where the partition's log starts, told with some errors.
    log_start: i64,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Refused {
            invalid: refusal.into(),
            log_start: -1,
        }
    }
}

impl Refused {
    /// Before the partition was looked at. A batch that cannot be delimited is the one error told in words.
    fn early(mut invalid: Invalid) -> Self {
        if invalid.refusal.code != ErrorCode::CorruptMessage {
            invalid.refusal.message = None;
        }
        Refused {
            invalid,
            log_start: -1,
        }
    }

    /// By the partition's rules or its log. Only errors of single records come with words, and some tell no log start.
    fn late(mut invalid: Invalid, partition: &Partition) -> Self {
        if invalid.record_errors.is_empty() {
            invalid.refusal.message = None;
        }
        let log_start = match invalid.refusal.code {
            ErrorCode::CorruptMessage
            | ErrorCode::MessageTooLarge
            | ErrorCode::RecordListTooLarge
            | ErrorCode::UnknownTopicOrPartition
            | ErrorCode::NotLeaderOrFollower
            | ErrorCode::KafkaStorageError => -1,
            _ => partition.offsets().log_start,
        };
        Refused { invalid, log_start }
    }
}

fn answer(
    index: i32,
    result: Result<Accepted, Refused>,
    (topic, place): (usize, usize),
    pending: &mut Vec<Pending>,
) -> PartitionAnswer {
    match result {
        Ok(accepted) => {
            if let Some((partition, position)) = accepted.awaits {
                pending.push(Pending {
                    topic,
                    place,
                    partition,
                    position,
                });
            }
            PartitionAnswer {
                index,
                base_offset: accepted.base_offset,
                log_append_time_ms: accepted.log_append_time_ms,
                log_start_offset: accepted.log_start,
                ..Default::default()
            }
        }
        Err(Refused {
            invalid: Invalid {
                refusal,
                record_errors,
            },
            log_start,
        }) => PartitionAnswer {
            index,
            error_code: refusal.code.code(),
            base_offset: -1,
            log_append_time_ms: -1,
            log_start_offset: log_start,
            record_errors: record_errors
                .into_iter()
                .map(|(batch_index, message)| BatchIndexAndErrorMessage {
                    batch_index,
                    batch_index_error_message: message.map(Cow::Owned),
                })
                .collect(),
            error_message: refusal.message,
            ..Default::default()
        },
    }
}

fn checked_target(
    shared: &Shared,
    plan: &Plan,
    topic: &TopicPlan,
    index: i32,
    records: &[u8],
    version: i16,
) -> Result<(TopicRef, Arc<Partition>), Refused> {
    if topic.denied {
        return Err(Refusal::from(ErrorCode::TopicAuthorizationFailed).into());
    }
    let (found, partition) = find(shared, topic, index, version >= 13).map_err(Refusal::from)?;
    validate_shape(records, version).map_err(Refused::early)?;
    if found.internal && !plan.admin {
        return Err(Refusal::from(ErrorCode::InvalidTopicException).into());
    }
    Ok((found, partition))
}

fn append_copied(
    shared: &Arc<Shared>,
    plan: &Plan,
    topic: &TopicPlan,
    index: i32,
    range: Option<Range<usize>>,
    bytes: &mut Bytes<'_>,
    version: i16,
) -> Result<Accepted, Refused> {
    let records = &mut bytes.get()[range.unwrap_or_default()];
    let (found, partition) = checked_target(shared, plan, topic, index, records, version)?;
    let valid = validate_produce(
        records,
        &rules(&found.config, version, shared),
        shared.clock.now(),
    )
    .map_err(|invalid| Refused::late(invalid, &partition))?;
    append(shared, &partition, Incoming::Copied(records), valid)
}

fn append_kept(
    shared: &Arc<Shared>,
    plan: &Plan,
    topic: &TopicPlan,
    index: i32,
    mut batch: BufMut,
    version: i16,
) -> Result<Accepted, Refused> {
    let (found, partition) = checked_target(shared, plan, topic, index, &batch, version)?;
    let valid = validate_produce(
        &mut batch,
        &rules(&found.config, version, shared),
        shared.clock.now(),
    )
    .map_err(|invalid| Refused::late(invalid, &partition))?;
    append(shared, &partition, Incoming::Kept(batch), valid)
}

fn append(
    shared: &Arc<Shared>,
    partition: &Arc<Partition>,
    sent: Incoming<'_>,
    mut valid: Validated,
) -> Result<Accepted, Refused> {
    use std::sync::atomic::Ordering::Relaxed;
    if shared.faults.strikes(Point::Admit) {
        return Err(Refusal::from(ErrorCode::KafkaStorageError).into());
    }
    shared.make_room()?;
    let incoming = match &mut valid.rebuilt {
        Some(rebuilt) => Incoming::Copied(rebuilt),
        None => sent,
    };
    let header = &valid.header;
    let appended = partition
        .append(incoming, header, Origin::Client, shared.clock.now())
        .map_err(|refusal| Refused::late(refusal.into(), partition))?;
    if shared.faults.strikes(Point::Append) {
        partition.lose_writes(appended.base_offset);
        return Err(Refusal::from(ErrorCode::KafkaStorageError).into());
    }
    if appended.compaction_due {
        shared.compactor.submit(partition);
    }
    shared
        .metrics
        .bytes_in
        .fetch_add(header.total_bytes() as u64, Relaxed);
    shared.metrics.batches_in.fetch_add(1, Relaxed);
    // A duplicate tells the time of its original, also where the topic keeps the producers' own times (E63).
    let log_append_time_ms = match (appended.duplicate_timestamp, appended.append_time_ms) {
        (Some(original), _) => original,
        (None, Some(stamped)) => stamped,
        (None, None) => valid.log_append_time_ms,
    };
    Ok(Accepted {
        base_offset: appended.base_offset,
        log_append_time_ms,
        log_start: appended.log_start,
        awaits: match appended.durability {
            Durability::Done => None,
            Durability::At(position) => Some((partition.clone(), position)),
        },
    })
}
