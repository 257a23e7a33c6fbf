//! Which topics the regular expressions of consumer groups match: looked up beside the requests, as there may be many of
//! both.

use super::Groups;
use crate::base::metrics::printable;
use crate::base::work::Work;
use rustka_core::expression::Expression;
use rustka_core::group::command::{Command, Name};
use rustka_core::group::consumer::Resolved;
use rustka_core::names::is_internal;
use std::sync::Arc;

/// One look takes no longer. Expressions that are left keep what they have matched before, and are looked at next time.
const LOOK_MS_MAX: i64 = 500;

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
    let clock = groups.node.clock.clone();
    let count = expressions.len();
    let looked = work.run(move || {
        let end_ms = clock.monotonic_ms().saturating_add(LOOK_MS_MAX);
        let names = topics.names();
        let seen: Vec<&Name> = names
            .filter(|name| with_internal || !is_internal(name))
            .collect();
        look_through(&expressions, &seen, may_see, || {
            clock.monotonic_ms() > end_ms
        })
    });
    let Some(matches) = looked.await else {
        return;
    };
    if matches.len() < count {
        groups.refused(groups.node.clock.now(), || {
            let group = printable(&group);
            format!("group {group}: its regular expressions take longer than {LOOK_MS_MAX} ms to be matched")
        });
    }
    let resolved = Resolved {
        group: group.clone(),
        matches,
        version,
    };
    // Nobody waits for it: the next heartbeat finds what has changed.
    drop(groups.consumer_call(&group, |_| Command::ExpressionsResolved(resolved)));
}

/// The expressions with the topics that they match, as far as there is time.
fn look_through(
    expressions: &[Name],
    topics: &[&Name],
    may_see: impl Fn(&str) -> bool,
    is_over: impl Fn() -> bool,
) -> Vec<(Name, Box<[Name]>)> {
    let look = |text: &Name| {
        // What was accepted once is read again; nothing else comes here.
        let expression = Expression::parse(text).ok()?;
        let mut matched: Vec<Name> = Vec::new();
        for name in topics.iter().copied() {
            if is_over() {
                return None;
            }
            if expression.matches(name) && may_see(name) {
                matched.push(name.clone());
            }
        }
        Some((text.clone(), matched.into()))
    };
    expressions.iter().filter_map(look).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    // An expression of twenty characters took minutes with ten thousand topics, on the only thread for long work.
    #[test]
    fn what_is_not_looked_through_in_time_is_left_as_it_was() {
        let expressions: Vec<Name> = vec!["t.*".into(), ".*".into()];
        let names: Vec<Name> = vec!["t1".into(), "t2".into(), "u".into()];
        let topics: Vec<&Name> = names.iter().collect();
        let looked = |steps: usize| {
            let left = Cell::new(steps);
            let is_over = || left.replace(left.get().saturating_sub(1)) == 0;
            look_through(&expressions, &topics, |name| name != "t2", is_over)
        };
        let first = ("t.*".into(), ["t1".into()].into());
        assert_eq!(
            looked(6),
            [
                first.clone(),
                (".*".into(), ["t1".into(), "u".into()].into())
            ]
        );
        assert_eq!(looked(5), [first]);
        assert_eq!(looked(2), []);
    }
}
