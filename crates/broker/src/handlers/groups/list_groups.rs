//! ListGroups (key 16): the groups of this broker (E113).
//! v1 throttle time · v3 flexible · v4 states (KIP-518) · v5 types (KIP-848)

use crate::api::request::{Handled, Request};
use crate::base::hooks::{Operation, Resource};
use crate::handlers::answer;
use rustka_core::group::command::{Command, ListGroups};
use rustka_core::group::effects::{Listed, Reply};
use rustka_wire::list_groups_request::ListGroupsRequest;
use rustka_wire::list_groups_response::{ListGroupsResponse, ListedGroup};
use std::borrow::Cow;

/// Lists what passes the filters.
pub fn handle(request: Request<'_>) -> Handled {
    let asked: ListGroupsRequest<'_> = request.decode()?;
    let respond = request.respond();
    // Whoever may know the cluster knows its groups.
    let knows_all = request.may(Operation::Describe, Resource::Cluster);
    let access = request.access();
    let names = |names: &[Cow<'_, str>]| names.iter().map(|name| (&**name).into()).collect();
    let command = Command::ListGroups(ListGroups {
        states: names(&asked.states_filter),
        types: names(&asked.types_filter),
    });
    let answers = request.parts.groups.call_all(&command);
    answer::respond_all(respond.clone(), answers, move |replies, w, version| {
        let listed = replies.iter().flatten().flat_map(|reply| match reply {
            Reply::ListGroups(groups) => groups.as_slice(),
            _ => &[],
        });
        let known = listed.filter(|listed| {
            let group = Resource::Group(&listed.group);
            knows_all || access.may(Operation::Describe, group)
        });
        let response = ListGroupsResponse {
            groups: known.map(group).collect(),
            throttle_time_ms: respond.throttle_time_ms(),
            ..Default::default()
        };
        response.encode(w, version);
    })
}

fn group(listed: &Listed) -> ListedGroup<'_> {
    ListedGroup {
        group_id: Cow::Borrowed(&*listed.group),
        protocol_type: Cow::Borrowed(&*listed.protocol_type),
        group_state: Cow::Borrowed(listed.state),
        group_type: Cow::Borrowed(listed.kind),
    }
}
