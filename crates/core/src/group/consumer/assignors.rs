//! Who shall have which partition. The broker knows two ways; a group takes the one that most of its members wish for.

mod range;
mod uniform;

use std::collections::BTreeMap;

use super::places::{Place, Places};
use super::topics::Topic;
use crate::group::command::{Name, TopicId};

/// The one that is taken where nobody wishes for any.
pub(super) const DEFAULT: Assignor = Assignor::Uniform;

/// A way to assign partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Assignor {
    /// The same number for everybody, and as few moves as possible.
    Uniform,
    /// Neighbouring partitions, and the same of every topic.
    Range,
}

impl Assignor {
    /// All of them, the default first.
    pub(super) const ALL: [Assignor; 2] = [Assignor::Uniform, Assignor::Range];

    /// Kafka's name.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Assignor::Uniform => "uniform",
            Assignor::Range => "range",
        }
    }

    /// The assignor of this name, in this spelling.
    pub(super) fn named(name: &str) -> Option<Assignor> {
        Assignor::ALL
            .into_iter()
            .find(|assignor| assignor.name() == name)
    }

    /// What each member shall have, in the order of `group.members`.
    pub(super) fn assign(self, group: &Wishes) -> Vec<Places> {
        if group.members.is_empty() {
            return Vec::new();
        }
        match self {
            Assignor::Uniform => uniform::assign(group),
            Assignor::Range => range::assign(group),
        }
    }
}

/// What an assignment is made from.
pub(super) struct Wishes<'a> {
    /// Every topic that exists and that a member wants, in the order of their names.
    topics: Vec<Topic>,
    by_id: BTreeMap<TopicId, usize>,
    /// The members, in the order of their ids.
    members: Vec<Wish<'a>>,
}

/// One member.
pub(super) struct Wish<'a> {
    pub(super) id: &'a Name,
    pub(super) instance_id: Option<&'a Name>,
    /// Places in the list of topics, in order.
    pub(super) topics: Vec<usize>,
    /// What it should have had so far, in order.
    pub(super) target: &'a [Place],
}

impl<'a> Wishes<'a> {
    pub(super) fn new(topics: Vec<Topic>, members: Vec<Wish<'a>>) -> Wishes<'a> {
        let by_id = topics.iter().enumerate().map(|(at, topic)| (topic.id, at));
        Wishes {
            by_id: by_id.collect(),
            topics,
            members,
        }
    }

    /// Whether all members want the same.
    fn is_homogeneous(&self) -> bool {
        self.members
            .windows(2)
            .all(|pair| pair[0].topics == pair[1].topics)
    }

    /// The place of a topic among the topics.
    fn topic_of(&self, place: Place) -> Option<usize> {
        let at = *self.by_id.get(&place.topic)?;
        (place.partition < self.topics[at].partitions).then_some(at)
    }
}

#[cfg(test)]
mod tests;
