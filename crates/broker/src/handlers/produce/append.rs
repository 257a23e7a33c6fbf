//! One batch into its partition, or why not.

use super::Bytes;
use super::plan::{ProducePlan, TopicPlan};
use crate::base::fault::Point;
use crate::node::Node;
use crate::node::topics::TopicRef;
use rustka_core::error::{ErrorCode, Refusal};
use rustka_core::log::Origin;
use rustka_core::time::Now;
use rustka_core::validate::{Invalid, Validated, validate_shape, validate_shaped};
use rustka_storage::buffer::BufMut;
use rustka_storage::{Appended, Durability, Incoming, Partition};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// A batch that was taken.
pub struct Accepted {
    /// The offset of its first record.
    pub base_offset: i64,
    /// The time that its records got, -1 where they keep their own.
    pub log_append_time_ms: i64,
    /// Where the partition's log starts.
    pub log_start: i64,
    /// Where it becomes as safe as its producer asked, if it is not yet.
    pub awaits: Option<(Arc<Partition>, i64)>,
}

/// A batch that was refused.
pub struct RefusedBatch {
    /// Why, for the batch and for single records.
    pub invalid: Invalid,
    /// Where the partition's log starts, told with some errors.
    pub log_start: i64,
    /// Another node that leads the partition, and the leader epoch.
    pub leader: Option<(i32, i32)>,
}

impl From<Refusal> for RefusedBatch {
    fn from(refusal: Refusal) -> Self {
        RefusedBatch {
            invalid: refusal.into(),
            log_start: -1,
            leader: None,
        }
    }
}

impl RefusedBatch {
    /// Before the partition was looked at. A batch that cannot be delimited is the one error told in words.
    fn early(mut invalid: Invalid) -> Self {
        if invalid.refusal.code != ErrorCode::CorruptMessage {
            invalid.refusal.message = None;
        }
        RefusedBatch {
            invalid,
            log_start: -1,
            leader: None,
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
        let leader = match invalid.refusal.code {
            ErrorCode::NotLeaderOrFollower => partition.leader_elsewhere(),
            _ => None,
        };
        RefusedBatch {
            invalid,
            log_start,
            leader,
        }
    }
}

/// What is told of a batch whose transaction its coordinator did not confirm. Two codes come with words (E67, E69).
fn unconfirmed(code: ErrorCode) -> Refusal {
    match code {
        ErrorCode::InvalidTxnState => Refusal::new(code, "the partition is not in the transaction"),
        ErrorCode::NotEnoughReplicas => Refusal::new(code, "the coordinator cannot be asked now"),
        other => other.into(),
    }
}

/// A batch that the rules of its topic allow.
struct Checked {
    topic: TopicRef,
    partition: Arc<Partition>,
    valid: Validated,
    now: Now,
}

/// Finds the partition and checks the batch by its topic's rules.
fn checked(
    node: &Node,
    plan: &ProducePlan,
    topic: &TopicPlan,
    index: i32,
    records: &mut [u8],
    version: i16,
) -> Result<Checked, RefusedBatch> {
    if topic.denied {
        return Err(Refusal::from(ErrorCode::TopicAuthorizationFailed).into());
    }
    let (found, partition) = topic.find(node, index, version).map_err(Refusal::from)?;
    let header = validate_shape(records, version).map_err(RefusedBatch::early)?;
    if !plan.has_valid_acks() {
        return Err(Refusal::from(ErrorCode::InvalidRequiredAcks).into());
    }
    if found.internal && !plan.admin {
        return Err(Refusal::from(ErrorCode::InvalidTopicException).into());
    }
    let rules = plan.rules(&found.config.now(), version);
    let now = node.clock.now();
    let valid = validate_shaped(records, &header, &rules, now);
    plan.looked_into(&valid);
    let valid = valid.map_err(|invalid| RefusedBatch::late(invalid, &partition))?;
    Ok(Checked {
        topic: found,
        partition,
        valid,
        now,
    })
}

/// Appends a copy of a batch.
pub fn append_copied(
    node: &Arc<Node>,
    plan: &ProducePlan,
    topic: &TopicPlan,
    index: i32,
    range: Option<Range<usize>>,
    bytes: &mut Bytes<'_>,
    version: i16,
) -> Result<Accepted, RefusedBatch> {
    let records = &mut bytes.get()[range.unwrap_or_default()];
    let checked = checked(node, plan, topic, index, records, version)?;
    let origin = topic.origin(index, version).map_err(unconfirmed)?;
    append(node, plan, checked, Incoming::Copied(records), origin)
}

/// Appends a batch that stays where it is.
pub fn append_kept(
    node: &Arc<Node>,
    plan: &ProducePlan,
    topic: &TopicPlan,
    index: i32,
    mut batch: BufMut,
    version: i16,
) -> Result<Accepted, RefusedBatch> {
    let checked = checked(node, plan, topic, index, &mut batch, version)?;
    let origin = topic.origin(index, version).map_err(unconfirmed)?;
    append(node, plan, checked, Incoming::Kept(batch), origin)
}

/// Where a batch becomes as safe as these acks ask, if it is not yet.
fn awaited(acks: i16, appended: &Appended) -> Option<i64> {
    let awaited = match acks {
        0 => Durability::Done,
        1 => appended.written,
        _ => appended.durability,
    };
    match awaited {
        Durability::Done => None,
        Durability::At(position) => Some(position),
    }
}

fn append(
    node: &Arc<Node>,
    plan: &ProducePlan,
    checked: Checked,
    sent: Incoming<'_>,
    origin: Origin,
) -> Result<Accepted, RefusedBatch> {
    let Checked {
        topic,
        partition,
        mut valid,
        now,
    } = checked;
    let topic = &topic.name;
    let faults = &node.faults;
    faults.refusal(Point::Admit, topic).map_err(Refusal::from)?;
    node.make_room()?;
    let incoming = match &mut valid.rebuilt {
        Some(rebuilt) => Incoming::Copied(rebuilt),
        None => sent,
    };
    let header = &valid.header;
    let appended =
        partition
            .append(incoming, header, origin, now)
            .map_err(|refusal| match refusal.code {
                // An old epoch is noticed before anything else about a transaction.
                ErrorCode::InvalidProducerEpoch if header.is_transactional() => {
                    Refusal::from(refusal.code).into()
                }
                _ => RefusedBatch::late(refusal.into(), &partition),
            })?;
    // Whatever becomes of the batch: nobody else is told that it is due.
    if appended.compaction_due {
        node.compactor.submit(&partition);
    }
    if let Err(code) = faults.refusal(Point::Append, topic) {
        partition.lose_writes(appended.base_offset);
        return Err(Refusal::from(code).into());
    }
    node.metrics
        .bytes_in
        .fetch_add(header.total_bytes() as u64, Relaxed);
    node.metrics.batches_in.fetch_add(1, Relaxed);
    let records = u64::try_from(header.record_count).unwrap_or(0);
    node.metrics.records_in.fetch_add(records, Relaxed);
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
        awaits: awaited(plan.acks, &appended).map(|position| (partition, position)),
    })
}
