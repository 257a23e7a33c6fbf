//! LeaveGroup (key 13): says goodbye, or lets an administrator say it for others (E102).
//! v1 throttle time · v3 many members, instance ids (KIP-345) · v4 flexible · v5 reason (KIP-800)

use crate::api::request::{Handled, Request};
use crate::base::hooks::{Operation, Resource};
use crate::coordinators::groups::Answer;
use crate::handlers::answer;
use rustka_core::error::ErrorCode;
use rustka_core::group::command::{Command, Leave, Leaver};
use rustka_core::group::effects::{Left, Reply};
use rustka_wire::leave_group_request::LeaveGroupRequest;
use rustka_wire::leave_group_response::{LeaveGroupResponse, MemberResponse};
use std::borrow::Cow;

/// Removes the members. Up to v2 there is exactly one, and its error is the answer's.
pub fn handle(request: Request<'_>) -> Handled {
    let version = request.header.version;
    let asked: LeaveGroupRequest<'_> = request.decode()?;
    let respond = request.respond();
    let members = if version < 3 {
        vec![Leaver {
            member_id: (&*asked.member_id).into(),
            instance_id: None,
        }]
    } else {
        let leavers = asked.members.iter().map(|member| Leaver {
            member_id: (&*member.member_id).into(),
            instance_id: member.group_instance_id.as_deref().map(Into::into),
        });
        leavers.collect()
    };
    let group = (&*asked.group_id).into();
    let leave = Leave { group, members };
    let answer = match request.check(Operation::Read, Resource::Group(&asked.group_id)) {
        Ok(()) => {
            let groups = &request.parts.groups;
            groups.classic_call(&asked.group_id, |_| Command::Leave(leave))
        }
        Err(code) => Answer::Now(Reply::Leave(Err(code))),
    };
    answer::respond(respond.clone(), answer, move |reply, w, version| {
        let refused = |code: ErrorCode| LeaveGroupResponse {
            error_code: code.code(),
            throttle_time_ms: respond.throttle_time_ms(),
            ..Default::default()
        };
        let response = match &reply {
            Some(Reply::Leave(Ok(left))) if version < 3 => {
                refused(left.first().map_or(ErrorCode::None, |only| only.code))
            }
            Some(Reply::Leave(Ok(left))) => LeaveGroupResponse {
                members: left.iter().map(member).collect(),
                throttle_time_ms: respond.throttle_time_ms(),
                ..Default::default()
            },
            Some(Reply::Leave(Err(code))) => refused(*code),
            _ => refused(ErrorCode::NotCoordinator),
        };
        response.encode(w, version);
    })
}

fn member(left: &Left) -> MemberResponse<'_> {
    MemberResponse {
        member_id: Cow::Borrowed(&*left.member_id),
        group_instance_id: left.instance_id.as_deref().map(Cow::Borrowed),
        error_code: left.code.code(),
    }
}
