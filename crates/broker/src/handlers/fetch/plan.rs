//! What a Fetch asks for: its partitions, from itself and from its session, and what its client may read of them.

use super::{FetchPlan, failed, size};
use crate::api::parts::SessionPartition;
use crate::api::request::{Outcome, Request};
use crate::base::hooks::{Operation, Resource};
use rustka_core::error::ErrorCode;
use rustka_core::fetch::{self, FetchContext, RequestedPartition, SessionRequest, TopicKey};
use rustka_storage::cold::Form;
use rustka_wire::codec::Uuid;
use rustka_wire::fetch_request::FetchRequest;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::atomic::Ordering::Relaxed;

/// Fetch knows sessions from this version on.
const SESSIONS_FROM: i16 = 7;
/// Under Kafka's own rules everybody is one owner of sessions until clients can log in.
const ANONYMOUS: u64 = 0;

/// Reads a request and begins its session's next round.
pub fn plan(request: &Request<'_>) -> Result<(FetchPlan, FetchContext<SessionPartition>), Outcome> {
    let version = request.header.version;
    let asked: FetchRequest<'_> = request.decode()?;
    let node = request.node;
    let now_ms = node.clock.monotonic_ms();
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
    let mut context = request.parts.sessions.begin(session, partitions, forgotten);
    if let Some(code) = context.error() {
        return Err(failed(&request.respond(), code));
    }
    let denied = match denied(request, &mut context) {
        Ok(denied) => denied,
        Err(code) => return Err(failed(&request.respond(), code)),
    };
    let mut max_bytes = size(asked.max_bytes).min(size(node.config.fixed().fetch_bytes_max));
    if let Some(quota_bytes) = request.fetch_bytes_max() {
        max_bytes = max_bytes.min(quota_bytes);
    }
    let plan = FetchPlan {
        min_bytes: size(asked.min_bytes).min(max_bytes),
        max_bytes,
        deadline_ms: now_ms.saturating_add(i64::from(asked.max_wait_ms.max(0))),
        committed_only: asked.isolation_level == 1,
        denied,
        batch_bytes_max: node.request_bytes_max,
        form: match request.peer().takes_files.load(Relaxed) {
            true => Form::Files,
            false => Form::Memory,
        },
        respond: request.respond(),
        caller: request.caller.clone(),
    };
    Ok((plan, context))
}

/// Topics of the request and of its session that the client may not read.
fn denied(
    request: &Request<'_>,
    context: &mut FetchContext<SessionPartition>,
) -> Result<Vec<TopicKey>, ErrorCode> {
    if request.may_do_everything() {
        return Ok(Vec::new());
    }
    // The session is let go before topics are looked up and the authorizer is asked: it is the other way round while
    // partitions are read.
    let mut topics = BTreeSet::new();
    context.view()?.for_each(|_, entry| {
        let key = &entry.requested.topic;
        if !topics.contains(key) {
            topics.insert(key.clone());
        }
    });
    let is_denied = |key: &TopicKey| match key {
        TopicKey::Name(name) => !request.may(Operation::Read, Resource::Topic(name)),
        // Nothing is told about an id that is not there but that.
        TopicKey::Id(id) => request
            .node
            .topics
            .by_id(*id)
            .is_some_and(|topic| !request.may(Operation::Read, Resource::Topic(&topic.name))),
    };
    Ok(topics.into_iter().filter(is_denied).collect())
}

/// Whose session it is: where addresses share fairly, the address's.
fn owner(request: &Request<'_>) -> u64 {
    if !request.node.config.fixed().fetch_sessions_fair_share {
        return ANONYMOUS;
    }
    match request.peer().address.ip().to_canonical() {
        IpAddr::V4(ip) => u64::from(ip.to_bits()),
        // Who has one IPv6 address has the rest of its network too.
        IpAddr::V6(ip) => (ip.to_bits() >> 64) as u64 | 1 << 63,
    }
}
