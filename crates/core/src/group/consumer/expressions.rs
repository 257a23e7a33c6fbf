//! Which topics the expressions of a group match. The broker looks beside the heartbeats and tells the group; here is when
//! it has to look, and what follows from what it has found.

use std::sync::Arc;

use super::records::{ConsumerRecord, Matched};
use super::{Draft, Group};
use crate::group::command::Name;
use crate::group::desk::Desk;
use crate::group::effects::Cause;
use crate::time::Now;

/// Expressions are looked at again after this long at the earliest, when topics were created or there is a new one.
const REFRESH_INTERVAL_MIN_MS: i64 = 10_000;
/// Whoever was to look and has not told anything by then does not any more: its client has hung up.
const LOOK_MAX_MS: i64 = 10_000;

/// When expressions are and were resolved, on the monotonic clock.
#[derive(Debug, Default)]
pub(super) struct Resolving {
    /// Somebody is looking since then.
    since_ms: Option<i64>,
    /// When somebody has looked last.
    last_ms: Option<i64>,
    /// Which topics had been created by then.
    version: Option<u64>,
    /// Which have been created by now.
    created_version: u64,
}

/// What expressions match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The group.
    pub group: Name,
    /// Each expression with the names of its topics, in order.
    pub matches: Vec<(Name, Box<[Name]>)>,
    /// The version at which the last of the topics that were looked at was created.
    pub version: u64,
}

impl Resolving {
    /// Nobody is looking, and nobody has of late.
    fn is_due(&self, now: Now, is_new: bool, interval_ms: i64) -> bool {
        let passed = |since_ms: i64| now.monotonic_ms.saturating_sub(since_ms);
        if self
            .since_ms
            .is_some_and(|since_ms| passed(since_ms) < LOOK_MAX_MS)
        {
            return false;
        }
        let Some(last_ms) = self.last_ms else {
            return true;
        };
        let changes = is_new || self.version != Some(self.created_version);
        changes && passed(last_ms) > REFRESH_INTERVAL_MIN_MS || passed(last_ms) >= interval_ms
    }

    /// Whether somebody is looking.
    pub(super) fn is_running(&self) -> bool {
        self.since_ms.is_some()
    }

    /// Whether nothing has to be looked at for a while.
    pub(super) fn is_at_rest(&self, now: Now, interval_ms: i64) -> bool {
        !self.is_due(now, false, interval_ms)
    }
}

impl Group {
    /// The expressions that somebody has to look at now; empty if there are none.
    pub(super) fn expressions_due(&mut self, d: &Desk) -> Vec<Name> {
        self.resolving.created_version = d.topics.created_version;
        let roster = self.durable.consumer();
        let used: Vec<Name> = roster.used_expressions().cloned().collect();
        let is_new = used
            .iter()
            .any(|expression| !roster.expressions.contains_key(expression));
        let interval_ms = d.options.expression_refresh_interval_ms;
        if used.is_empty() || !self.resolving.is_due(d.now, is_new, interval_ms) {
            return Vec::new();
        }
        self.resolving.since_ms = Some(d.now.monotonic_ms);
        used
    }

    /// Somebody has looked.
    pub(in crate::group) fn resolved(&mut self, d: &mut Desk, resolved: Resolved) {
        self.resolving = Resolving {
            since_ms: None,
            last_ms: Some(d.now.monotonic_ms),
            version: Some(resolved.version),
            created_version: d.topics.created_version,
        };
        let mut draft = Draft::default();
        let mut changes = false;
        for (expression, topics) in resolved.matches {
            let roster = self.roster();
            // Nobody wants to know any more.
            if roster.expression_users(&expression) == 0 {
                continue;
            }
            let known = roster.expressions.get(&expression);
            let known_topics = known.map_or(&[][..], |known| &*known.topics);
            changes |= *known_topics != *topics;
            let matched = Matched {
                topics,
                version: i64::try_from(resolved.version).unwrap_or(i64::MAX),
                at_ms: d.now.wall_ms,
            };
            let value = Some(Arc::new(matched));
            self.put(&mut draft, ConsumerRecord::Expression(expression, value));
        }
        if changes {
            self.raise_epoch(d, &mut draft, Cause::TopicsChanged);
        }
        self.commit(d, draft);
        self.tell_state(d);
    }
}
