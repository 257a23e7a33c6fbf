//! ConsumerGroupDescribe (key 69): state and members of consumer groups (KIP-848).
//! v1 member type (KIP-1099)

use crate::api::access::{Access, OPERATIONS_UNASKED};
use crate::api::request::{Handled, Request};
use crate::base::hooks::{Operation, Resource};
use crate::coordinators::groups::Answer;
use crate::handlers::answer;
use crate::node::Node;
use rustka_core::cluster::features::GROUP_VERSION;
use rustka_core::error::{ErrorCode, Refusal};
use rustka_core::group::command::Command;
use rustka_core::group::consumer::places::{Place, by_topic};
use rustka_core::group::consumer::{ConsumerDescribed, ConsumerMember};
use rustka_core::group::effects::Reply;
use rustka_wire::codec::Uuid;
use rustka_wire::consumer_group_describe_request::ConsumerGroupDescribeRequest;
use rustka_wire::consumer_group_describe_response::{
    Assignment, ConsumerGroupDescribeResponse, DescribedGroup, Member, TopicPartitions,
};
use std::borrow::Cow;
use std::collections::BTreeSet;

/// What the type of a member says.
const CLASSIC: i8 = 0;
const CONSUMER: i8 = 1;

/// Describes each group. One with a topic that the client may not know is not shown to it.
pub fn handle(request: Request<'_>) -> Handled {
    let asked: ConsumerGroupDescribeRequest<'_> = request.decode()?;
    let (respond, access) = (request.respond(), request.access());
    let is_off = request.node.features.level(GROUP_VERSION) == 0;
    let answers = asked.group_ids.iter().map(|id| {
        let refused = |refusal| Answer::Now(Reply::DescribeConsumerGroup(Err(refusal)));
        if is_off {
            return refused(ErrorCode::UnsupportedVersion.into());
        }
        if let Err(code) = request.check(Operation::Describe, Resource::Group(id)) {
            return refused(code.into());
        }
        if id.is_empty() {
            return refused(ErrorCode::InvalidGroupId.into());
        }
        let group = (&**id).into();
        let groups = &request.parts.groups;
        groups.call(id, Command::DescribeConsumerGroup { group })
    });
    let answers = answers.collect();
    let asked = asked.into_owned();
    let node = request.node.clone();
    answer::respond_all(respond.clone(), answers, move |replies, w, version| {
        let groups = asked.group_ids.iter().zip(&replies).map(|(id, reply)| {
            let shown = match reply {
                Some(Reply::DescribeConsumerGroup(Ok(group))) => show(&node, &access, group),
                Some(Reply::DescribeConsumerGroup(Err(refusal))) => Err(refusal.clone()),
                _ => Err(ErrorCode::NotCoordinator.into()),
            };
            let mut shown = shown.unwrap_or_else(|refusal| DescribedGroup {
                error_code: refusal.code.code(),
                error_message: refusal.message,
                ..Default::default()
            });
            shown.group_id = Cow::Borrowed(&**id);
            shown.authorized_operations = OPERATIONS_UNASKED;
            let is_found = matches!(reply, Some(Reply::DescribeConsumerGroup(Ok(_))));
            if asked.include_authorized_operations && is_found {
                // Asked for, also where a topic in it is denied.
                let operations = access.operations(Resource::Group(id));
                if shown.error_code == 0 {
                    shown.authorized_operations = operations;
                }
            }
            shown
        });
        let response = ConsumerGroupDescribeResponse {
            groups: groups.collect(),
            throttle_time_ms: respond.throttle_time_ms(),
        };
        response.encode(w, version);
    })
}

fn show<'a>(
    node: &Node,
    access: &Access,
    group: &'a ConsumerDescribed,
) -> Result<DescribedGroup<'a>, Refusal> {
    let members = group.members.iter().map(|member| show_member(node, member));
    let members: Vec<Member<'a>> = members.collect();
    let shown = members.iter().flat_map(|member| {
        let all = [&member.assignment, &member.target_assignment];
        all.into_iter()
            .flat_map(|assignment| &assignment.topic_partitions)
    });
    let names: BTreeSet<&str> = shown.map(|topic| &*topic.topic_name).collect();
    // All of them are asked for, also behind one that is denied.
    let may_know = |name: &&str| access.may(Operation::Describe, Resource::Topic(name));
    if names.iter().filter(|name| !may_know(name)).count() > 0 {
        let message = "Members of the group read topics that you may not know.";
        return Err(Refusal::new(ErrorCode::TopicAuthorizationFailed, message));
    }
    drop(names);
    Ok(DescribedGroup {
        group_state: Cow::Borrowed(group.state.name()),
        group_epoch: group.epoch,
        assignment_epoch: group.target_epoch,
        assignor_name: Cow::Borrowed(group.assignor),
        members,
        ..Default::default()
    })
}

fn show_member<'a>(node: &Node, member: &'a ConsumerMember) -> Member<'a> {
    let told = &member.member;
    Member {
        member_id: Cow::Borrowed(&*member.id),
        instance_id: told.instance_id.as_deref().map(Cow::Borrowed),
        rack_id: told.rack_id.as_deref().map(Cow::Borrowed),
        member_epoch: member.epoch,
        client_id: Cow::Borrowed(&*told.client_id),
        client_host: Cow::Borrowed(&*told.client_host),
        subscribed_topic_names: told
            .topics
            .iter()
            .map(|name| Cow::Borrowed(&**name))
            .collect(),
        subscribed_topic_regex: Some(Cow::Borrowed(&*told.expression)),
        assignment: assignment(node, &member.assignment),
        target_assignment: assignment(node, &member.target),
        member_type: match told.classic {
            Some(_) => CLASSIC,
            None => CONSUMER,
        },
    }
}

/// Without topics that are gone: they have no name any more.
fn assignment(node: &Node, places: &[Place]) -> Assignment<'static> {
    let topics = by_topic(places.iter().copied()).filter_map(|(topic, partitions)| {
        let found = node.topics.by_id(Uuid(topic))?;
        Some(TopicPartitions {
            topic_id: Uuid(topic),
            topic_name: Cow::Owned(found.name.to_string()),
            partitions,
        })
    });
    Assignment {
        topic_partitions: topics.collect(),
    }
}
