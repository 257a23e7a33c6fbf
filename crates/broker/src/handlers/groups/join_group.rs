//! JoinGroup (key 11): enters a group, or comes back for its next generation (E85–E97, E103).
//! v1 rebalance timeout · v2 throttle time · v4 MEMBER_ID_REQUIRED (KIP-394) · v5 group_instance_id (KIP-345)
//! v6 flexible · v7 protocol type and null names · v8 reason (KIP-800) · v9 skip_assignment (KIP-814)

use crate::api::request::{Handled, Request, Respond};
use crate::base::hooks::{Operation, Resource};
use crate::base::random;
use crate::handlers::answer;
use rustka_core::error::ErrorCode;
use rustka_core::group::command::{Command, Join, Protocol};
use rustka_core::group::effects::{JoinRefused, Joined, Reply};
use rustka_wire::join_group_request::JoinGroupRequest;
use rustka_wire::join_group_response::{JoinGroupResponse, JoinGroupResponseMember};
use std::borrow::Cow;

/// Waits until the group's rebalance is complete.
pub fn handle(request: Request<'_>) -> Handled {
    let version = request.header.version;
    let asked: JoinGroupRequest<'_> = request.decode()?;
    let respond = request.respond();
    if let Err(code) = request.check(Operation::Read, Resource::Group(&asked.group_id)) {
        let response = refused(code, "", respond);
        return Ok(request.reply(|w| response.encode(w, version)));
    }
    let rebalance_timeout_ms = if version == 0 {
        asked.session_timeout_ms
    } else {
        asked.rebalance_timeout_ms
    };
    let protocols = asked.protocols.iter().map(|protocol| Protocol {
        name: (&*protocol.name).into(),
        metadata: (&*protocol.metadata).into(),
    });
    let groups = &request.parts.groups;
    let answer = groups.classic_call(&asked.group_id, |settings| {
        Command::Join(Join {
            group: (&*asked.group_id).into(),
            member_id: (&*asked.member_id).into(),
            instance_id: asked.group_instance_id.as_deref().map(Into::into),
            client_id: request.client_id().into(),
            client_host: request.peer().host(),
            session_timeout_ms: asked.session_timeout_ms,
            rebalance_timeout_ms,
            protocol_type: (&*asked.protocol_type).into(),
            protocols: protocols.collect(),
            member_id_required: version >= 4,
            skip_assignment: version >= 9,
            uuid: random::uuid().0,
            assignment_interval_ms: settings.assignment_interval_ms,
        })
    });
    answer::respond(respond.clone(), answer, move |reply, w, version| {
        let response = match &reply {
            Some(Reply::Join(Ok(joined))) => joined_response(joined, respond),
            Some(Reply::Join(Err(JoinRefused { code, member_id }))) => {
                refused(*code, member_id, respond)
            }
            // Nobody here knows the member, whatever it calls itself.
            _ => refused(ErrorCode::NotCoordinator, "", respond),
        };
        response.encode(w, version);
    })
}

fn joined_response(joined: &Joined, respond: Respond) -> JoinGroupResponse<'_> {
    let members = joined.members.iter().map(|member| JoinGroupResponseMember {
        member_id: Cow::Borrowed(&*member.member_id),
        group_instance_id: member.instance_id.as_deref().map(Cow::Borrowed),
        metadata: Cow::Borrowed(&*member.metadata),
    });
    JoinGroupResponse {
        generation_id: joined.generation,
        protocol_type: joined.protocol_type.as_deref().map(Cow::Borrowed),
        protocol_name: joined.protocol_name.as_deref().map(Cow::Borrowed),
        leader: Cow::Borrowed(&*joined.leader),
        skip_assignment: joined.skip_assignment,
        member_id: Cow::Borrowed(&*joined.member_id),
        members: members.collect(),
        throttle_time_ms: respond.throttle_time_ms(),
        ..Default::default()
    }
}

fn refused(code: ErrorCode, member_id: &str, respond: Respond) -> JoinGroupResponse<'_> {
    JoinGroupResponse {
        error_code: code.code(),
        // Null, or "" before v7 (E92).
        protocol_name: None,
        member_id: Cow::Borrowed(member_id),
        throttle_time_ms: respond.throttle_time_ms(),
        ..Default::default()
    }
}
