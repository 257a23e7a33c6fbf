//! Heartbeat (key 12): keeps a member alive and tells it to join again (E100).
//! v1 throttle time · v3 group_instance_id (KIP-345) · v4 flexible

use crate::api::request::{Handled, Request};
use crate::base::hooks::{Operation, Resource};
use crate::coordinators::groups::Answer;
use crate::handlers::answer;
use rustka_core::error::ErrorCode;
use rustka_core::group::effects::Reply;
use rustka_wire::heartbeat_request::HeartbeatRequest;
use rustka_wire::heartbeat_response::HeartbeatResponse;

/// Answers from the member's state.
pub fn handle(request: Request<'_>) -> Handled {
    let asked: HeartbeatRequest<'_> = request.decode()?;
    let respond = request.respond();
    let instance_id = asked.group_instance_id.as_deref();
    let member = (&*asked.member_id, instance_id, asked.generation_id);
    let answer = match request.check(Operation::Read, Resource::Group(&asked.group_id)) {
        Ok(()) => request.parts.groups.heartbeat(&asked.group_id, member),
        Err(code) => Answer::Now(Reply::Heartbeat(code)),
    };
    answer::respond(respond.clone(), answer, move |reply, w, version| {
        let code = match reply {
            Some(Reply::Heartbeat(code)) => code,
            _ => ErrorCode::NotCoordinator,
        };
        let response = HeartbeatResponse {
            error_code: code.code(),
            throttle_time_ms: respond.throttle_time_ms(),
        };
        response.encode(w, version);
    })
}
