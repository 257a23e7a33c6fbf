//! DescribeGroups (key 15): state and members of groups (E112).
//! v1 throttle time · v3 authorized operations · v4 group_instance_id · v5 flexible · v6 GROUP_ID_NOT_FOUND (KIP-1043)

use crate::api::request::{Handled, Request};
use crate::base::hooks::{Operation, Resource};
use crate::coordinators::groups::Answer;
use crate::handlers::answer;
use rustka_core::error::ErrorCode;
use rustka_core::group::command::Command;
use rustka_core::group::effects::{Described, DescribedMember, Reply};
use rustka_wire::describe_groups_request::DescribeGroupsRequest;
use rustka_wire::describe_groups_response::{
    DescribeGroupsResponse, DescribedGroup, DescribedGroupMember,
};
use std::borrow::Cow;

/// An absent group is an error from this version on.
const NOT_FOUND_FROM: i16 = 6;

/// Describes each group. An absent one is "Dead".
pub fn handle(request: Request<'_>) -> Handled {
    let asked: DescribeGroupsRequest<'_> = request.decode()?;
    let (respond, access) = (request.respond(), request.access());
    let answers = asked.groups.iter().map(|id| {
        if let Err(code) = request.check(Operation::Describe, Resource::Group(id)) {
            return Answer::Now(Reply::DescribeGroup(Err(code)));
        }
        let group = (&**id).into();
        request
            .parts
            .groups
            .call(id, Command::DescribeGroup { group })
    });
    let answers = answers.collect();
    let asked = asked.into_owned();
    answer::respond_all(respond.clone(), answers, move |replies, w, version| {
        let wants_operations = asked.include_authorized_operations;
        let groups = asked.groups.iter().zip(&replies).map(|(id, reply)| {
            let mut group = match reply {
                Some(Reply::DescribeGroup(Ok(Some(described)))) => describe(described),
                Some(Reply::DescribeGroup(Ok(None))) => absent(id, version),
                Some(Reply::DescribeGroup(Err(code))) => failed(*code),
                _ => failed(ErrorCode::NotCoordinator),
            };
            group.group_id = Cow::Borrowed(&**id);
            if group.error_code == 0 && wants_operations {
                group.authorized_operations = access.operations(Resource::Group(id));
            }
            group
        });
        let response = DescribeGroupsResponse {
            groups: groups.collect(),
            throttle_time_ms: respond.throttle_time_ms(),
        };
        response.encode(w, version);
    })
}

fn describe(group: &Described) -> DescribedGroup<'_> {
    DescribedGroup {
        group_state: Cow::Borrowed(group.state.name()),
        protocol_type: Cow::Borrowed(&*group.protocol_type),
        protocol_data: Cow::Borrowed(&*group.protocol_data),
        members: group.members.iter().map(member).collect(),
        ..Default::default()
    }
}

fn member(member: &DescribedMember) -> DescribedGroupMember<'_> {
    DescribedGroupMember {
        member_id: Cow::Borrowed(&*member.member_id),
        group_instance_id: member.instance_id.as_deref().map(Cow::Borrowed),
        client_id: Cow::Borrowed(&*member.client_id),
        client_host: Cow::Borrowed(&*member.client_host),
        member_metadata: Cow::Borrowed(&*member.metadata),
        member_assignment: Cow::Borrowed(&*member.assignment),
    }
}

fn absent(id: &str, version: i16) -> DescribedGroup<'static> {
    let mut group = DescribedGroup {
        group_state: Cow::Borrowed("Dead"),
        ..Default::default()
    };
    if version >= NOT_FOUND_FROM {
        group.error_code = ErrorCode::GroupIdNotFound.code();
        group.error_message = Some(Cow::Owned(format!("Group {id} not found.")));
    }
    group
}

fn failed(code: ErrorCode) -> DescribedGroup<'static> {
    DescribedGroup {
        error_code: code.code(),
        ..Default::default()
    }
}
