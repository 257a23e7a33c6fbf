//! SyncGroup (key 14): the leader hands in the assignment, everybody gets its share (E98, E99).
//! v1 throttle time · v3 group_instance_id (KIP-345) · v4 flexible · v5 protocol type and name (KIP-559)

use crate::api::request::{Handled, Request};
use crate::base::hooks::{Operation, Resource};
use crate::coordinators::groups::Answer;
use crate::handlers::answer;
use rustka_core::error::ErrorCode;
use rustka_core::group::command::{Command, Sync};
use rustka_core::group::effects::Reply;
use rustka_wire::sync_group_request::SyncGroupRequest;
use rustka_wire::sync_group_response::SyncGroupResponse;
use std::borrow::Cow;

/// Waits until the leader's assignment is there.
pub fn handle(request: Request<'_>) -> Handled {
    let version = request.header.version;
    let asked: SyncGroupRequest<'_> = request.decode()?;
    let respond = request.respond();
    let names_protocol = asked.protocol_type.is_some() && asked.protocol_name.is_some();
    let answer = if version >= 5 && !names_protocol {
        Answer::Now(Reply::Sync(Err(ErrorCode::InconsistentGroupProtocol)))
    } else if let Err(code) = request.check(Operation::Read, Resource::Group(&asked.group_id)) {
        Answer::Now(Reply::Sync(Err(code)))
    } else {
        let assignments = asked.assignments.iter().map(|share| {
            let member_id = (&*share.member_id).into();
            (member_id, (&*share.assignment).into())
        });
        let sync = Sync {
            group: (&*asked.group_id).into(),
            member_id: (&*asked.member_id).into(),
            instance_id: asked.group_instance_id.as_deref().map(Into::into),
            generation: asked.generation_id,
            protocol_type: asked.protocol_type.as_deref().map(Into::into),
            protocol_name: asked.protocol_name.as_deref().map(Into::into),
            assignments: assignments.collect(),
        };
        let groups = &request.parts.groups;
        groups.classic_call(&asked.group_id, |_| Command::Sync(sync))
    };
    answer::respond(respond.clone(), answer, move |reply, w, version| {
        let refused = |code: ErrorCode| SyncGroupResponse {
            error_code: code.code(),
            throttle_time_ms: respond.throttle_time_ms(),
            ..Default::default()
        };
        let response = match &reply {
            Some(Reply::Sync(Ok(share))) => SyncGroupResponse {
                protocol_type: share.protocol_type.as_deref().map(Cow::Borrowed),
                protocol_name: share.protocol_name.as_deref().map(Cow::Borrowed),
                assignment: Cow::Borrowed(&*share.assignment),
                throttle_time_ms: respond.throttle_time_ms(),
                ..Default::default()
            },
            Some(Reply::Sync(Err(code))) => refused(*code),
            _ => refused(ErrorCode::NotCoordinator),
        };
        response.encode(w, version);
    })
}
