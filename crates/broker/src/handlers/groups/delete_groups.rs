//! DeleteGroups (key 42): forgets groups without members, and all they committed (E110).
//! v1 throttle time · v2 flexible · v3 error messages

use crate::api::request::{Handled, Request};
use crate::base::hooks::{Operation, Resource};
use crate::coordinators::groups::Answer;
use crate::handlers::answer;
use rustka_core::error::ErrorCode;
use rustka_core::group::command::Command;
use rustka_core::group::effects::{Deleted, Reply};
use rustka_wire::delete_groups_request::DeleteGroupsRequest;
use rustka_wire::delete_groups_response::{DeletableGroupResult, DeleteGroupsResponse};
use std::borrow::Cow;
use std::collections::BTreeSet;

/// Deletes each group once, however often it is named. Consumer groups in use come first in the answer.
pub fn handle(request: Request<'_>) -> Handled {
    let asked: DeleteGroupsRequest<'_> = request.decode()?;
    let mut seen = BTreeSet::new();
    let ids = asked.groups_names.iter().map(|id| &**id);
    let ids: Vec<Box<str>> = ids.filter(|id| seen.insert(*id)).map(Box::from).collect();
    let respond = request.respond();
    let answers = ids.iter().map(|id| {
        if let Err(code) = request.check(Operation::Delete, Resource::Group(id)) {
            return Answer::Now(Reply::DeleteGroup(code.into()));
        }
        let group = (&**id).into();
        request
            .parts
            .groups
            .call(id, Command::DeleteGroup { group })
    });
    let answers = answers.collect();
    answer::respond_all(respond.clone(), answers, move |replies, w, version| {
        let deleted = replies.iter().map(|reply| match reply {
            Some(Reply::DeleteGroup(deleted)) => *deleted,
            _ => ErrorCode::NotCoordinator.into(),
        });
        let mut results: Vec<(&str, Deleted)> = ids.iter().map(|id| &**id).zip(deleted).collect();
        results.sort_by_key(|(_, deleted)| !deleted.is_told_first);
        let results = results
            .into_iter()
            .map(|(id, deleted)| DeletableGroupResult {
                group_id: Cow::Borrowed(id),
                error_code: deleted.code.code(),
                ..Default::default()
            });
        let response = DeleteGroupsResponse {
            results: results.collect(),
            throttle_time_ms: respond.throttle_time_ms(),
        };
        response.encode(w, version);
    })
}
