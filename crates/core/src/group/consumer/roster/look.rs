//! What may be asked of what is on record: the epochs, the members, who holds and who wants what.

use std::sync::Arc;

use super::{EPOCH_FIRST, Roster};
use crate::group::command::Name;
use crate::group::consumer::places::{Place, holds};
use crate::group::consumer::records::{Current, Matched, Member, MemberState, TargetEpoch};

impl Roster {
    /// The group's epoch.
    pub(in crate::group::consumer) fn epoch(&self) -> i32 {
        self.epoch.map_or(EPOCH_FIRST, |epoch| epoch.epoch)
    }

    /// What the topics in use looked like when the epoch began.
    pub(in crate::group::consumer) fn metadata_hash(&self) -> i64 {
        self.epoch.map_or(0, |epoch| epoch.metadata_hash)
    }

    /// Of which group epoch the target is.
    pub(in crate::group::consumer) fn target_epoch(&self) -> TargetEpoch {
        self.target_epoch.unwrap_or(TargetEpoch {
            epoch: EPOCH_FIRST,
            computed_ms: 0,
        })
    }

    /// Every member, by id.
    pub(in crate::group::consumer) fn members(
        &self,
    ) -> impl Iterator<Item = (&Name, &Arc<Member>)> {
        let entries = self.entries.iter();
        entries.filter_map(|(id, entry)| Some((id, entry.member.as_ref()?)))
    }

    /// How many members there are.
    pub(in crate::group::consumer) fn len(&self) -> usize {
        self.members
    }

    /// How many members speak the classic protocol.
    pub(in crate::group::consumer) fn classic_len(&self) -> usize {
        self.classic_members
    }

    /// Whether this is a member that speaks the classic protocol.
    pub(in crate::group::consumer) fn is_classic(&self, id: &str) -> bool {
        self.member(id)
            .is_some_and(|member| member.classic.is_some())
    }

    /// Of whom anything is on record.
    pub(in crate::group::consumer) fn ids(&self) -> impl Iterator<Item = &Name> {
        self.entries.keys()
    }

    /// Whether there is no member.
    pub(in crate::group::consumer) fn has_no_members(&self) -> bool {
        self.members == 0
    }

    /// One member.
    pub(in crate::group::consumer) fn member(&self, id: &str) -> Option<&Arc<Member>> {
        self.entries.get(id)?.member.as_ref()
    }

    /// The name of this member as it is shared.
    pub(in crate::group::consumer) fn name(&self, id: &str) -> Option<&Name> {
        self.entries.get_key_value(id).map(|(name, _)| name)
    }

    /// The member of this instance.
    pub(in crate::group::consumer) fn instance(&self, instance_id: &str) -> Option<&Name> {
        self.instances.get(instance_id)
    }

    /// What a member has.
    pub(in crate::group::consumer) fn current(&self, id: &str) -> Option<&Arc<Current>> {
        self.entries.get(id)?.current.as_ref()
    }

    /// What a member shall have.
    pub(in crate::group::consumer) fn target(&self, id: &str) -> &[Place] {
        let target = self
            .entries
            .get(id)
            .and_then(|entry| entry.target.as_deref());
        target.map_or(&[], |target| target)
    }

    /// The topics that a member wants: by name, and as far as it is known by its expression.
    pub(in crate::group::consumer) fn wanted_by(&self, id: &str) -> impl Iterator<Item = &Name> {
        let member = self.member(id);
        let matched = member.and_then(|member| self.expressions.get(&member.expression));
        let named = member.into_iter().flat_map(|member| &member.topics);
        named.chain(matched.into_iter().flat_map(|matched| &matched.topics))
    }

    /// Whether it was ever said what the member shall have.
    pub(in crate::group::consumer) fn has_target(&self, id: &str) -> bool {
        let entry = self.entries.get(id);
        entry.is_some_and(|entry| entry.target.is_some())
    }

    /// Who holds a partition.
    pub(in crate::group::consumer) fn owner(&self, place: Place) -> Option<&Name> {
        self.owners.get(&place)
    }

    /// Whether others hold something that the member shall have and does not hold.
    pub(in crate::group::consumer) fn waits_for_others(&self, id: &str) -> bool {
        let assigned = self
            .current(id)
            .map_or(&[][..], |current| &current.assigned);
        let mut missing = self
            .target(id)
            .iter()
            .filter(|place| !holds(assigned, **place));
        missing.any(|place| self.owner(*place).is_some())
    }

    /// Topics that members want by name, without those that only expressions match.
    pub(in crate::group::consumer) fn subscribed(&self) -> impl Iterator<Item = &Name> {
        self.subscribers.keys()
    }

    /// Whether a member wants this topic by name or by an expression that was resolved.
    pub(in crate::group::consumer) fn wants(&self, topic: &str) -> bool {
        let matches = |matched: &Arc<Matched>| matched.topics.iter().any(|it| **it == *topic);
        self.subscribers.contains_key(topic)
            || self.expressions.iter().any(|(expression, matched)| {
                self.expression_users.contains_key(expression) && matches(matched)
            })
    }

    /// How many members use an expression.
    pub(in crate::group::consumer) fn expression_users(&self, expression: &str) -> u32 {
        self.expression_users.get(expression).copied().unwrap_or(0)
    }

    /// Expressions in use.
    pub(in crate::group::consumer) fn used_expressions(&self) -> impl Iterator<Item = &Name> {
        self.expression_users.keys()
    }

    /// Whether a member has what it shall have and knows it.
    pub(in crate::group::consumer) fn is_settled(&self, id: &str) -> bool {
        let target_epoch = self.target_epoch().epoch;
        self.current(id).is_some_and(|current| {
            current.state == MemberState::Stable && current.epoch == target_epoch
        })
    }

    /// Whether every member is.
    pub(in crate::group::consumer) fn is_all_settled(&self) -> bool {
        let target_epoch = self.target_epoch().epoch;
        self.entries
            .values()
            .filter(|entry| entry.member.is_some())
            .all(|entry| {
                entry.current.as_ref().is_some_and(|current| {
                    current.state == MemberState::Stable && current.epoch == target_epoch
                })
            })
    }
}
