//! Which assignor a group uses, and what its members subscribe to.

use std::collections::{BTreeMap, BTreeSet};

use super::members::{Member, Members};
use crate::group::command::{Name, Protocol};
use crate::group::embedded::{self, CONSUMER};

/// The assignor that every member supports and most members like best.
/// Between equals the one the leader prefers, so that the choice does not depend on member ids.
pub(super) fn select(members: &Members, leader: Option<&Member>) -> Option<Name> {
    let mut votes: BTreeMap<&Name, usize> = BTreeMap::new();
    for member in members.iter() {
        let choice = member
            .protocols
            .iter()
            .find(|protocol| members.all_support(&protocol.name));
        if let Some(choice) = choice {
            *votes.entry(&choice.name).or_default() += 1;
        }
    }
    let rank = |name: &Name| {
        leader
            .and_then(|leader| leader.protocols.iter().position(|p| p.name == *name))
            .unwrap_or(usize::MAX)
    };
    votes
        .into_iter()
        .max_by_key(|(name, count)| (*count, std::cmp::Reverse(rank(name))))
        .map(|(name, _)| name.clone())
}

/// The topics the members of a consumer group subscribe to; `None` if that cannot be known.
pub(super) fn subscribed_topics(
    members: &Members,
    protocol_type: Option<&Name>,
    protocol_name: Option<&Name>,
) -> Option<BTreeSet<Box<str>>> {
    if protocol_type.is_none_or(|name| &**name != CONSUMER) {
        return None;
    }
    let mut topics = BTreeSet::new();
    if members.is_empty() {
        return Some(topics);
    }
    let protocol_name = protocol_name?;
    for member in members.iter() {
        let wanted = embedded::topics(member.metadata(protocol_name)?)?;
        topics.extend(wanted.into_iter().map(|topic| Box::from(&*topic)));
    }
    Some(topics)
}

/// What a list of protocols weighs against the limits.
pub(in crate::group) fn weight(protocols: &[Protocol]) -> usize {
    protocols
        .iter()
        .map(|protocol| protocol.name.len() + protocol.metadata.len())
        .sum()
}
