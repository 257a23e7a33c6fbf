//! What a Produce asks for, found out before any of it is done.

use super::verify::Verifying;
use crate::api::access::Caller;
use crate::api::request::{Outcome, Request};
use crate::api::twins::fold_twins;
use crate::base::hooks::{Operation, Resource};
use crate::node::Node;
use crate::node::topics::TopicRef;
use rustka_core::batch::BatchHeader;
use rustka_core::config::TopicConfig;
use rustka_core::error::{ErrorCode, Refusal};
use rustka_core::log::Origin;
use rustka_core::validate::{
    BatchRules, Inflate, Invalid, Validated, needs_inflate, needs_rebuild,
};
use rustka_storage::Partition;
use rustka_wire::codec::{Records, Uuid};
use rustka_wire::produce_request::ProduceRequest;
use std::ops::Range;
use std::sync::Arc;

/// Compressed batches above this size are validated on the work pool instead of the connection's thread.
const INLINE_INFLATE_BYTES_MAX: usize = 16 << 10;
/// Batches that have to be compressed go to the work pool above this size, with a codec that takes its time.
const INLINE_SLOW_DEFLATE_BYTES_MAX: usize = 16 << 10;
/// The same for a codec that is about as fast as memory.
const INLINE_FAST_DEFLATE_BYTES_MAX: usize = 256 << 10;
/// The client id that may write to internal topics, as in Kafka.
const ADMIN_CLIENT: &str = "__admin_client";

/// What a request asks for, as places in its frame.
pub struct ProducePlan {
    /// None (0), the leader's (1) or everybody's (-1).
    pub acks: i16,
    /// When waiting for its writes is given up on.
    pub deadline_ms: i64,
    /// Whether the client may write to internal topics.
    pub admin: bool,
    /// What is asked for.
    pub topics: Vec<TopicPlan>,
    /// Who asks, where a hook wants to know that later.
    pub caller: Caller,
    /// Whether compressed batches are looked into.
    inflate: Inflate,
    transactional_id: Option<Box<str>>,
    /// Whether any of its batches is part of a transaction.
    is_transactional: bool,
}

/// The batches for one topic.
pub struct TopicPlan {
    /// Its name, "" where it is named by its id.
    pub name: String,
    /// Its id, or zero.
    pub id: Uuid,
    /// The client may not write to it.
    pub denied: bool,
    /// Each partition with the place of its batch.
    pub partitions: Vec<(i32, Option<Range<usize>>)>,
    /// Batches whose transactions have to be confirmed.
    pub verifying: Vec<Verifying>,
    /// The topic, where it was looked up already.
    found: Option<TopicRef>,
}

impl ProducePlan {
    /// Reads a request and finds out what its client may do.
    pub fn of(request: &Request<'_>) -> Result<ProducePlan, Outcome> {
        let mut plan = read(request)?;
        let mut is_compressed = false;
        for header in headers(plan.topics.iter(), request.frame.bytes()) {
            is_compressed |= header.is_compressed();
            plan.is_transactional |= header.is_transactional();
        }
        if !request.may_do_everything() {
            authorize(request, &mut plan);
        }
        if is_compressed && request.peer().header_trust.doubts() {
            plan.inflate = Inflate::ToProve;
        }
        if request.node.config.fixed().validate_compressed {
            plan.inflate = Inflate::Always;
        }
        Ok(plan)
    }

    /// An error that concerns every partition: transactional records without an id, or of several producers (E68).
    pub fn whole_request_error(&self, frame: &[u8]) -> Option<Refusal> {
        if self.transactional_id.is_none() {
            let forbidden = self.is_transactional;
            return forbidden.then(|| ErrorCode::TransactionalIdAuthorizationFailed.into());
        }
        self.has_many_producers(frame).then(|| {
            let what = "the request has transactional records of more than one producer";
            Refusal::new(ErrorCode::InvalidProducerIdMapping, what)
        })
    }

    fn has_many_producers(&self, frame: &[u8]) -> bool {
        let allowed = self.topics.iter().filter(|topic| !topic.denied);
        let mut producers = headers(allowed, frame)
            .filter(|header| header.is_transactional() && header.has_producer_id())
            .map(|header| (header.producer_id, header.producer_epoch));
        let first = producers.next();
        producers.any(|producer| Some(producer) != first)
    }

    /// Under which transactional id it writes, if it may.
    pub fn transactional_id(&self) -> Option<&str> {
        self.transactional_id.as_deref()
    }

    /// Whether there is such a thing as these acks (E50).
    pub fn has_valid_acks(&self) -> bool {
        (-1..=1).contains(&self.acks)
    }

    /// A batch was looked into, or was not: who does not say the truth in a header is not believed again.
    pub fn looked_into(&self, outcome: &Result<Validated, Invalid>) {
        let untrue = match outcome {
            Ok(valid) => valid.untrue,
            // What cannot be read is not blamed on single records.
            Err(invalid) => {
                let unreadable = [ErrorCode::InvalidRecord, ErrorCode::UnknownServerError];
                invalid.record_errors.is_empty() && unreadable.contains(&invalid.refusal.code)
            }
        };
        if untrue {
            self.caller.peer().header_trust.caught();
        }
    }

    /// What a topic demands of this request's batches.
    pub fn rules(&self, config: &TopicConfig, produce_version: i16) -> BatchRules {
        rules(config, produce_version, self.inflate)
    }

    /// Whether a batch will take so long to validate that the connection's thread is not the place for it.
    pub fn takes_long(&mut self, request: &Request<'_>) -> bool {
        let (node, version, inflate) = (request.node, request.header.version, self.inflate);
        let frame = request.frame.bytes();
        self.topics
            .iter_mut()
            .any(|topic| topic.takes_long(node, version, inflate, frame))
    }
}

fn read(request: &Request<'_>) -> Result<ProducePlan, Outcome> {
    let frame = request.frame.bytes();
    let asked: ProduceRequest<'_> = request.decode()?;
    let place = |records: &Records<'_>| {
        let bytes = records.as_bytes();
        let from = bytes.as_ptr() as usize - frame.as_ptr() as usize;
        from..from + bytes.len()
    };
    let topics = asked.topic_data.iter().map(|topic| TopicPlan {
        name: topic.name.to_string(),
        id: topic.topic_id,
        denied: false,
        found: None,
        verifying: Vec::new(),
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
    let mut topics = fold_twins(
        topics.collect(),
        |a, b| (a.id, &a.name).cmp(&(b.id, &b.name)),
        |first, later| first.partitions.extend(later.partitions),
    );
    topics.iter_mut().for_each(TopicPlan::fold);
    Ok(ProducePlan {
        acks: asked.acks,
        deadline_ms: request
            .caller
            .received_ms
            .saturating_add(i64::from(asked.timeout_ms.max(0))),
        caller: request.caller.clone(),
        inflate: Inflate::IfNeeded,
        transactional_id: asked.transactional_id.as_deref().map(Box::from),
        admin: request.client_id() == ADMIN_CLIENT,
        topics,
        is_transactional: false,
    })
}

/// The headers of the batches that these topics are to get, as far as they can be read.
fn headers<'a>(
    topics: impl Iterator<Item = &'a TopicPlan>,
    frame: &'a [u8],
) -> impl Iterator<Item = BatchHeader> {
    let ranges = topics.flat_map(|topic| &topic.partitions);
    let batches = ranges.filter_map(|(_, range)| frame.get(range.clone()?));
    batches.filter_map(|batch| BatchHeader::parse(batch).ok())
}

/// Marks what the client may not write. Who may not use a transactional id has none.
fn authorize(request: &Request<'_>, plan: &mut ProducePlan) {
    if plan.is_transactional {
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
    let known = request.node.topics.by_id(id);
    known.is_some_and(|topic| !request.may(Operation::Write, Resource::Topic(&topic.name)))
}

impl TopicPlan {
    /// With what right the batch for this partition is appended.
    pub fn origin(&self, index: i32, version: i16) -> Result<Origin, ErrorCode> {
        let verifying = self.verifying.iter().find(|it| it.index == index);
        verifying.map_or(Ok(Origin::Client), |it| it.origin(version))
    }

    /// Has each partition once: of batches for the same one only the last counts, as in Kafka.
    fn fold(&mut self) {
        self.partitions = fold_twins(
            std::mem::take(&mut self.partitions),
            |a, b| a.0.cmp(&b.0),
            |first, later| *first = later,
        );
    }

    fn takes_long(&mut self, node: &Node, version: i16, inflate: Inflate, frame: &[u8]) -> bool {
        let inline_bytes_max = INLINE_INFLATE_BYTES_MAX.min(INLINE_SLOW_DEFLATE_BYTES_MAX);
        let batches = self
            .partitions
            .iter()
            .filter_map(|(_, range)| range.clone());
        let mut large = batches
            .filter(|batch| batch.len() > inline_bytes_max)
            .peekable();
        if large.peek().is_none() {
            return false;
        }
        self.found = node.topics.named(version >= 13, &self.name, self.id).ok();
        let Some(topic) = &self.found else {
            return false;
        };
        let rules = rules(&topic.config.now(), version, inflate);
        large.any(|batch| {
            BatchHeader::parse(&frame[batch.clone()])
                .is_ok_and(|header| takes_long(&header, &rules, batch.len()))
        })
    }

    /// The topic and one of its partitions.
    pub fn find(
        &self,
        node: &Node,
        index: i32,
        version: i16,
    ) -> Result<(TopicRef, Arc<Partition>), ErrorCode> {
        let found = match &self.found {
            Some(found) => found.clone(),
            None => node.topics.named(version >= 13, &self.name, self.id)?,
        };
        let partition = found
            .partition(index)
            .cloned()
            .ok_or(ErrorCode::UnknownTopicOrPartition)?;
        Ok((found, partition))
    }
}

fn takes_long(header: &BatchHeader, rules: &BatchRules, bytes: usize) -> bool {
    let inflates = needs_inflate(header, rules) && bytes > INLINE_INFLATE_BYTES_MAX;
    let deflate_bytes_max = match rules.storage {
        Some(storage) if storage.is_slow() => INLINE_SLOW_DEFLATE_BYTES_MAX,
        _ => INLINE_FAST_DEFLATE_BYTES_MAX,
    };
    inflates || needs_rebuild(header, rules) && bytes > deflate_bytes_max
}

fn rules(config: &TopicConfig, produce_version: i16, inflate: Inflate) -> BatchRules {
    let size = |bytes: i32| usize::try_from(bytes).unwrap_or(usize::MAX);
    BatchRules {
        produce_version,
        max_message_bytes: size(config.max_message_bytes),
        segment_bytes: size(config.segment_bytes),
        compacted: config.compact,
        log_append_time: config.log_append_time,
        before_max_ms: config.timestamp_before_max_ms,
        after_max_ms: config.timestamp_after_max_ms,
        storage: config.storage(),
        inflate,
        limits: config.inflate_limits(),
    }
}
