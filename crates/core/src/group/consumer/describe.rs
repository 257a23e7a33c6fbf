//! A consumer group as ConsumerGroupDescribe shows it.

use std::sync::Arc;

use super::places::Places;
use super::records::Member;
use super::{ConsumerState, Group};
use crate::group::command::Name;

/// A consumer group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerDescribed {
    /// The state.
    pub state: ConsumerState,
    /// The group's epoch.
    pub epoch: i32,
    /// Of which group epoch the target is.
    pub target_epoch: i32,
    /// The assignor that would be taken now.
    pub assignor: &'static str,
    /// The members, by id.
    pub members: Vec<ConsumerMember>,
}

/// One member of a consumer group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerMember {
    /// The member.
    pub id: Name,
    /// As it describes itself.
    pub member: Arc<Member>,
    /// Its epoch.
    pub epoch: i32,
    /// What it holds, with what it has to give up.
    pub assignment: Places,
    /// What it shall have.
    pub target: Places,
}

impl Group {
    pub(in crate::group) fn describe(&self) -> ConsumerDescribed {
        let roster = self.roster();
        let members = roster.members().map(|(id, member)| {
            let current = roster.current(id);
            let mut assignment: Vec<_> = current
                .into_iter()
                .flat_map(|current| current.all())
                .map(|held| held.place)
                .collect();
            assignment.sort_unstable();
            ConsumerMember {
                id: id.clone(),
                member: member.clone(),
                epoch: current.map_or(0, |current| current.epoch),
                assignment: assignment.into(),
                target: roster.target(id).into(),
            }
        });
        ConsumerDescribed {
            state: self.state(),
            epoch: roster.epoch(),
            target_epoch: roster.target_epoch().epoch,
            assignor: self.assignor().name(),
            members: members.collect(),
        }
    }
}
