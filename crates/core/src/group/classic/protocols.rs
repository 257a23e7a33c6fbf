//! Which assignor a group uses, and what its members subscribe to.

use std::collections::{BTreeMap, BTreeSet};

use super::members::{Member, Members};
use crate::group::command::{Name, Protocol};

/// The protocol type of consumers, the only one whose subscriptions a broker reads.
pub(super) const CONSUMER: &str = "consumer";

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
        read_topics(member.metadata(protocol_name)?, &mut topics)?;
    }
    Some(topics)
}

/// Reads version and topics of a ConsumerProtocolSubscription; what follows them is the assignors' business.
fn read_topics(subscription: &[u8], topics: &mut BTreeSet<Box<str>>) -> Option<()> {
    let (version, rest) = subscription.split_first_chunk::<2>()?;
    let (count, mut rest) = rest.split_first_chunk::<4>()?;
    if i16::from_be_bytes(*version) < 0 {
        return None;
    }
    for _ in 0..u32::try_from(i32::from_be_bytes(*count)).ok()? {
        let (length, tail) = rest.split_first_chunk::<2>()?;
        let length = usize::try_from(i16::from_be_bytes(*length)).ok()?;
        let (topic, tail) = tail.split_at_checked(length)?;
        let topic = std::str::from_utf8(topic).ok()?;
        if !topics.contains(topic) {
            topics.insert(topic.into());
        }
        rest = tail;
    }
    Some(())
}

/// What a list of protocols weighs against the limits.
pub(super) fn weight(protocols: &[Protocol]) -> usize {
    protocols
        .iter()
        .map(|protocol| protocol.name.len() + protocol.metadata.len())
        .sum()
}
