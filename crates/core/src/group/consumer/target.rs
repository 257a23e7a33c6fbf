//! What members shall have: computed when the group's epoch has risen, by the assignor that most members wish for.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::assignors::{Assignor, DEFAULT, Wish, Wishes};
use super::records::{ConsumerRecord, TargetEpoch};
use super::topics::Topic;
use super::{Draft, Group, is_over};
use crate::group::command::Name;
use crate::group::desk::Desk;

impl Group {
    /// Computes the target anew if it is due and the last one is old enough.
    pub(super) fn assign(&mut self, d: &Desk, draft: &mut Draft, interval_ms: i32) {
        let roster = self.roster();
        let (epoch, target_epoch) = (roster.epoch(), roster.target_epoch());
        let is_due = epoch > target_epoch.epoch;
        if !is_due || !is_over(target_epoch.computed_ms, interval_ms, d.now) {
            return;
        }
        for record in self.changes(d) {
            self.put(draft, record);
        }
        let value = TargetEpoch {
            epoch,
            computed_ms: d.now.wall_ms,
        };
        self.put(draft, ConsumerRecord::TargetEpoch(Some(value)));
    }

    /// The new target of each member whose target changes.
    fn changes(&self, d: &Desk) -> Vec<ConsumerRecord> {
        let roster = self.roster();
        let mut topics: BTreeMap<&Name, Topic> = BTreeMap::new();
        for (id, _) in roster.members() {
            for name in roster.wanted_by(id) {
                topics.extend(d.topics.get(name).map(|topic| (name, topic)));
            }
        }
        let places: BTreeMap<&Name, usize> = topics.keys().copied().zip(0..).collect();
        let wish = |(id, member)| {
            let (id, member): (&Name, &Arc<super::records::Member>) = (id, member);
            let wanted = roster.wanted_by(id);
            let mut topics: Vec<usize> = wanted
                .filter_map(|name| places.get(name).copied())
                .collect();
            topics.sort_unstable();
            topics.dedup();
            Wish {
                id,
                instance_id: member.instance_id.as_ref(),
                topics,
                target: roster.target(id),
            }
        };
        let members: Vec<Wish> = roster.members().map(wish).collect();
        let wishes = Wishes::new(topics.into_values().collect(), members);
        let shares = self.assignor().assign(&wishes);
        let changed = roster.members().zip(shares).filter_map(|((id, _), share)| {
            let changes = !roster.has_target(id) || *roster.target(id) != *share;
            changes.then(|| ConsumerRecord::Target(id.clone(), Some(Arc::new(share))))
        });
        changed.collect()
    }

    /// What most members wish for, of those who wish for any.
    pub(super) fn assignor(&self) -> Assignor {
        let mut votes: BTreeMap<Assignor, usize> = BTreeMap::new();
        for (_, member) in self.roster().members() {
            let wish = member.assignor.as_deref().and_then(Assignor::named);
            if let Some(wish) = wish {
                *votes.entry(wish).or_default() += 1;
            }
        }
        let most = votes.values().copied().max();
        let first = votes.into_iter().find(|(_, count)| Some(*count) == most);
        first.map_or(DEFAULT, |(assignor, _)| assignor)
    }
}
