//! Which topics the regular expressions of consumer groups match: looked up beside the requests, as there may be many of
//! both.

use super::Groups;
use crate::base::work::Work;
use rustka_core::expression::Expression;
use rustka_core::group::command::{Command, Name};
use rustka_core::group::consumer::Resolved;
use rustka_core::names::is_internal;
use std::sync::Arc;

/// Looks once it is the group's turn, and tells it.
pub async fn look(
    groups: Arc<Groups>,
    work: Work,
    group: Name,
    expressions: Vec<Name>,
    may_see: impl Fn(&str) -> bool + Send + 'static,
) {
    let topics = groups.topics_now();
    let version = topics.created_version;
    // Nobody who asks for everything means the broker's own records, but Kafka hands them out.
    let with_internal = groups.node.strict;
    let looked = work.run(move || {
        let names = topics.names();
        let seen: Vec<&Name> = names
            .filter(|name| with_internal || !is_internal(name))
            .collect();
        let look = |text: &Name| {
            // What was accepted once is read again; nothing else comes here.
            let expression = Expression::parse(text).ok()?;
            let matched = seen.iter().copied().filter(|name| expression.matches(name));
            let told = matched.filter(|name| may_see(name)).cloned();
            Some((text.clone(), told.collect()))
        };
        expressions.iter().filter_map(look).collect()
    });
    let Some(matches) = looked.await else {
        return;
    };
    let resolved = Resolved {
        group: group.clone(),
        matches,
        version,
    };
    // Nobody waits for it: the next heartbeat finds what has changed.
    drop(groups.consumer_call(&group, |_| Command::ExpressionsResolved(resolved)));
}
