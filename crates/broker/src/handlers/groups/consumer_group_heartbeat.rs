//! ConsumerGroupHeartbeat (key 68): a member of a consumer group says what it wants and holds, and hears what it gets
//! (KIP-848).
//! v1 regular expressions, member ids of the client's own choice

use crate::api::request::{Handled, Request, Respond};
use crate::base::hooks::{Operation, Resource};
use crate::base::random;
use crate::handlers::answer;
use rustka_core::cluster::features::GROUP_VERSION;
use rustka_core::error::{ErrorCode, Refusal};
use rustka_core::group::command::{Command, Name};
use rustka_core::group::consumer::places::{Place, Places, by_topic};
use rustka_core::group::consumer::{Beat, Beaten, check_lists};
use rustka_core::group::effects::Reply;
use rustka_wire::codec::Uuid;
use rustka_wire::consumer_group_heartbeat_request::ConsumerGroupHeartbeatRequest;
use rustka_wire::consumer_group_heartbeat_response::{
    Assignment, ConsumerGroupHeartbeatResponse, TopicPartitions,
};
use std::borrow::Cow;

/// The epoch of a member that joins.
const JOINS: i32 = 0;
/// Clients name themselves from this version on.
const NAMES_FROM: i16 = 1;

/// Answers from the member's state.
pub fn handle(request: Request<'_>) -> Handled {
    let version = request.header.version;
    let asked: ConsumerGroupHeartbeatRequest<'_> = request.decode()?;
    let respond = request.respond();
    if let Err(refusal) = check(&request, &asked) {
        return Ok(request.reply(|w| encode(Err(refusal), &respond).encode(w, version)));
    }
    let says_nothing = asked.instance_id.is_none()
        && asked.rack_id.is_none()
        && asked.rebalance_timeout_ms < 0
        && asked.subscribed_topic_names.is_none()
        && asked.subscribed_topic_regex.is_none()
        && asked.server_assignor.is_none()
        && asked.topic_partitions.is_none();
    let groups = &request.parts.groups;
    if says_nothing {
        let client_host = request.peer().host();
        let client = (request.client_id(), &*client_host);
        let member = (&*asked.member_id, asked.member_epoch);
        if let Some(beaten) = groups.consumer_beat(&asked.group_id, member, client) {
            return Ok(request.reply(|w| encode(Ok(&beaten), &respond).encode(w, version)));
        }
    }
    let answer = groups.consumer_call(&asked.group_id, |settings| {
        Command::ConsumerBeat(Box::new(beat(&request, &asked, settings)))
    });
    let (groups, access) = (groups.clone(), request.access());
    let group: Name = (&*asked.group_id).into();
    answer::respond(respond.clone(), answer, move |mut reply, w, version| {
        if let Some(Reply::ConsumerBeat(Ok(beaten))) = &mut reply
            && !beaten.unresolved.is_empty()
        {
            let expressions = std::mem::take(&mut beaten.unresolved);
            let may_see =
                move |topic: &str| access.may(Operation::Describe, Resource::Topic(topic));
            groups.resolve(group, expressions, may_see);
        }
        let result = match &reply {
            Some(Reply::ConsumerBeat(Ok(beaten))) => Ok(beaten),
            Some(Reply::ConsumerBeat(Err(refusal))) => Err(refusal.clone()),
            _ => Err(ErrorCode::NotCoordinator.into()),
        };
        encode(result, &respond).encode(w, version);
    })
}

/// What can be said without asking the group.
fn check(request: &Request<'_>, asked: &ConsumerGroupHeartbeatRequest<'_>) -> Result<(), Refusal> {
    if request.node.features.level(GROUP_VERSION) == 0 {
        return Err(ErrorCode::UnsupportedVersion.into());
    }
    request.check(Operation::Read, Resource::Group(&asked.group_id))?;
    let topics = asked.subscribed_topic_names.as_deref().unwrap_or_default();
    let owned = asked.topic_partitions.as_deref().unwrap_or_default();
    check_lists(
        topics.len(),
        owned.iter().map(|of| of.partitions.len()).sum(),
    )?;
    let is_named = request.header.version < NAMES_FROM || !asked.member_id.trim().is_empty();
    if !is_named {
        let message = "The member id is empty.";
        return Err(Refusal::new(ErrorCode::InvalidRequest, message));
    }
    // All of them are asked for, also behind one that is denied.
    let mut checked = Ok(());
    for topic in topics {
        checked = checked.and(request.check(Operation::Describe, Resource::Topic(topic)));
    }
    Ok(checked?)
}

fn beat(
    request: &Request<'_>,
    asked: &ConsumerGroupHeartbeatRequest<'_>,
    settings: rustka_core::group::consumer::Settings,
) -> Beat {
    let owned = |name: &Option<Cow<'_, str>>| -> Option<Name> { name.as_deref().map(Name::from) };
    let names = |names: &Vec<Cow<'_, str>>| names.iter().map(|name| Name::from(&**name)).collect();
    let needs_name = request.header.version < NAMES_FROM
        && asked.member_epoch == JOINS
        && asked.member_id.is_empty();
    Beat {
        group: (&*asked.group_id).into(),
        member_id: match needs_name {
            true => random::uuid().to_string().into(),
            false => (&*asked.member_id).into(),
        },
        epoch: asked.member_epoch,
        instance_id: owned(&asked.instance_id),
        rack_id: owned(&asked.rack_id),
        rebalance_timeout_ms: asked.rebalance_timeout_ms,
        topics: asked.subscribed_topic_names.as_ref().map(names),
        expression: owned(&asked.subscribed_topic_regex),
        assignor: owned(&asked.server_assignor),
        owned: asked.topic_partitions.as_ref().map(|topics| {
            let mut places: Vec<Place> = topics
                .iter()
                .flat_map(|of| {
                    let topic = of.topic_id.0;
                    let partitions = of.partitions.iter().copied();
                    partitions.map(move |partition| Place { topic, partition })
                })
                .collect();
            places.sort_unstable();
            places.dedup();
            Places::from(places)
        }),
        client_id: request.client_id().into(),
        client_host: request.peer().host(),
        settings,
    }
}

fn encode<'a>(
    result: Result<&'a Beaten, Refusal>,
    respond: &Respond,
) -> ConsumerGroupHeartbeatResponse<'a> {
    let throttle_time_ms = respond.throttle_time_ms();
    let beaten = match result {
        Ok(beaten) => beaten,
        Err(refusal) => {
            return ConsumerGroupHeartbeatResponse {
                throttle_time_ms,
                error_code: refusal.code.code(),
                error_message: refusal.message,
                ..Default::default()
            };
        }
    };
    let assignment = beaten.assignment.as_deref().map(|places| {
        let topics = by_topic(places.iter().copied());
        let topics = topics.map(|(topic, partitions)| TopicPartitions {
            topic_id: Uuid(topic),
            partitions,
        });
        Assignment {
            topic_partitions: topics.collect(),
        }
    });
    ConsumerGroupHeartbeatResponse {
        throttle_time_ms,
        member_id: Some(Cow::Borrowed(&*beaten.member_id)),
        member_epoch: beaten.epoch,
        heartbeat_interval_ms: beaten.heartbeat_interval_ms,
        assignment,
        ..Default::default()
    }
}
