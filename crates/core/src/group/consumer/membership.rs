//! What members of both protocols have in common: they say what they want, the group takes note, and leads each to its
//! share.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::deadlines::Task;
use super::places::{Place, Places};
use super::reconcile::Step;
use super::records::{ConsumerRecord, Current, Member, MemberState};
use super::{Draft, Group};
use crate::group::command::{Name, TopicId};
use crate::group::desk::Desk;
use crate::group::effects::{Cause, Event};

/// The epoch of a member that joins.
pub(super) const JOINS: i32 = 0;

/// Who sends a request.
#[derive(Debug)]
pub(super) enum Sender {
    /// A member.
    Known,
    /// Nobody yet.
    New,
    /// A static member comes back; this was its id.
    Returns(Name),
}

/// What a member has said about itself that matters to others.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct News {
    /// It wants other topics than before.
    pub(super) wants_other: bool,
    /// A new target is due for it.
    pub(super) is_changed: bool,
}

impl Group {
    /// Lets the sender in, if it is new, or takes over what a static member had that it replaces. Its name, as it is shared.
    pub(super) fn enter(
        &mut self,
        d: &mut Desk,
        draft: &mut Draft,
        sender: &Sender,
        member_id: &Name,
        (client_id, client_host): (&Name, &Name),
    ) -> Name {
        if let Sender::Returns(old_id) = sender {
            self.replace(d, draft, old_id, member_id);
        }
        let known = self.roster().name(member_id);
        let id = known.unwrap_or(member_id).clone();
        if matches!(sender, Sender::New) {
            let group = &self.id;
            d.event(|| Event::MemberJoins {
                group: group.clone(),
                member: id.clone(),
                client_id: client_id.clone(),
                client_host: client_host.clone(),
            });
        }
        id
    }

    /// Takes over what the member says about itself.
    pub(super) fn describe_member(&mut self, draft: &mut Draft, id: &Name, member: Member) -> News {
        let roster = self.roster();
        let known = match roster.member(id) {
            Some(known) if **known == member => return News::default(),
            Some(known) => known.clone(),
            None => Arc::default(),
        };
        // What an expression matches is not known at once, unless another member has asked for it.
        let is_known =
            member.expression.is_empty() || roster.expressions.contains_key(&member.expression);
        let news = News {
            wants_other: member.topics != known.topics || member.expression != known.expression,
            is_changed: member.topics != known.topics
                || member.expression != known.expression && is_known
                || member.assignor != known.assignor,
        };
        let value = Some(Arc::new(member));
        self.put(draft, ConsumerRecord::Member(id.clone(), value));
        self.forget_unused(draft, &known.expression);
        news
    }

    /// Raises the epoch if the member wants something else, or if topics that the group wants have changed.
    pub(super) fn look_at_topics(
        &mut self,
        d: &mut Desk,
        draft: &mut Draft,
        sender: &Sender,
        news: News,
    ) {
        let is_stale = self.seen_version != Some(d.topics.version);
        let cause = match sender {
            Sender::New if news.is_changed => Some(Cause::Joined),
            _ if news.is_changed => Some(Cause::SubscriptionChanged),
            _ if is_stale && self.metadata_hash(d.topics) != self.roster().metadata_hash() => {
                Some(Cause::TopicsChanged)
            }
            _ => None,
        };
        self.seen_version = Some(d.topics.version);
        if let Some(cause) = cause {
            self.raise_epoch(d, draft, cause);
        }
    }

    /// One step of a member towards what it shall have.
    pub(super) fn lead_on(
        &mut self,
        d: &mut Desk,
        draft: &mut Draft,
        id: &Name,
        owned: Option<&[Place]>,
        wants_other: bool,
    ) -> Arc<Current> {
        let joins = Current {
            epoch: JOINS,
            previous_epoch: JOINS,
            state: MemberState::Stable,
            assigned: Box::default(),
            revoking: Box::default(),
        };
        let roster = self.roster();
        let before = roster.current(id);
        let now = before.map_or(&joins, |before| before);
        let wanted: BTreeSet<TopicId> = roster
            .wanted_by(id)
            .filter_map(|name| d.topics.get(name).map(|topic| topic.id))
            .collect();
        let wants = |place: Place| wanted.contains(&place.topic);
        let step = Step {
            target_epoch: roster.target_epoch().epoch,
            target: roster.target(id),
            owned,
            wants: &wants,
            is_taken: &|place| roster.owner(place).is_some(),
            wants_nothing: wanted.is_empty(),
            drops_unwanted: wants_other || now.assigned.iter().any(|held| !wants(held.place)),
        };
        let after = step.of(now);
        if let Some(before) = before
            && **before == after
        {
            return before.clone();
        }
        let member = roster.member(id);
        let timeout_ms = member.map_or(0, |member| member.rebalance_timeout_ms);
        let after = Arc::new(after);
        let value = Some(after.clone());
        self.put(draft, ConsumerRecord::Current(id.clone(), value));
        match after.state {
            MemberState::Unrevoked => self.await_task(d, id, Task::Revoke, timeout_ms),
            _ => self.forgive(d, id, Task::Revoke),
        }
        after
    }

    /// A static member came back under its instance id: the new member id takes the old one's place.
    fn replace(&mut self, d: &mut Desk, draft: &mut Draft, old_id: &Name, new_id: &Name) {
        let roster = self.roster();
        let member = roster.member(old_id).cloned();
        let target = Arc::new(Places::from(roster.target(old_id)));
        let current = roster.current(old_id).map(|current| {
            Arc::new(Current {
                epoch: JOINS,
                previous_epoch: JOINS,
                ..(**current).clone()
            })
        });
        self.forget_deadlines(d, old_id);
        self.put(draft, ConsumerRecord::Current(old_id.clone(), None));
        self.put(draft, ConsumerRecord::Target(old_id.clone(), None));
        self.put(draft, ConsumerRecord::Member(old_id.clone(), None));
        self.put(draft, ConsumerRecord::Member(new_id.clone(), member));
        self.put(draft, ConsumerRecord::Target(new_id.clone(), Some(target)));
        self.put(draft, ConsumerRecord::Current(new_id.clone(), current));
    }
}
