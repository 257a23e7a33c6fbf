//! What happens in groups, told to the observer and to the log.

use super::Groups;
use crate::base::hooks;
use crate::base::metrics::printable;
use rustka_core::group::effects::Event;
use rustka_core::time::Now;
use tracing::Level;

/// Whether anybody wants to hear all of it.
pub fn is_wanted(groups: &Groups) -> bool {
    groups.node.hooks.has_observers() || tracing::enabled!(Level::DEBUG)
}

/// Tells it.
pub fn tell(groups: &Groups, event: &Event, now: Now) {
    log(groups, event, now);
    groups.node.hooks.saw(|| match event {
        Event::Rebalance { group, cause } => hooks::Event::GroupRebalances {
            group,
            cause: *cause,
        },
        Event::State {
            group,
            state,
            generation,
        } => hooks::Event::GroupState {
            group,
            state: state.name(),
            generation: *generation,
        },
        Event::MemberGone {
            group,
            member,
            cause,
        } => hooks::Event::MemberGone {
            group,
            member,
            cause: *cause,
        },
        Event::Refused {
            group,
            client_host,
            code,
            limit,
        } => hooks::Event::GroupRefused {
            group,
            client_host,
            code: *code,
            limit,
        },
        Event::RolledBack { .. } => hooks::Event::Failed(ROLLED_BACK),
    });
}

const ROLLED_BACK: &str = "a record of a group could not be written";

fn log(groups: &Groups, event: &Event, now: Now) {
    match event {
        Event::Refused {
            group,
            client_host,
            code,
            limit,
        } => groups.refused(now, || {
            let (group, code) = (printable(group), code.name());
            format!("group {group}: {code} for {client_host}, see {limit}")
        }),
        Event::RolledBack { group } => {
            tracing::error!(target: "rustka::groups", "group {group:?}: {ROLLED_BACK}");
        }
        Event::Rebalance { group, cause } => {
            tracing::debug!(target: "rustka::groups", "group {group:?} rebalances: {cause:?}");
        }
        Event::State {
            group,
            state,
            generation,
        } => {
            tracing::debug!(target: "rustka::groups", "group {group:?} is {} at {generation}", state.name())
        }
        Event::MemberGone {
            group,
            member,
            cause,
        } => {
            tracing::debug!(target: "rustka::groups", "group {group:?}: {member} is gone: {cause:?}")
        }
    }
}
