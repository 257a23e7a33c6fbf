//! uniform for members that want different topics: what a member has it keeps while it wants it, the rest goes to whoever
//! has least, and then topic after topic gives from those who have most to those who have least.

use crate::group::consumer::assignors::Wishes;
use crate::group::consumer::places::{Place, Places, in_order};
use std::cmp::Ordering;
use std::collections::BTreeSet;

/// Rounds over all topics. Where topics share some of their members, one more move can always help a little.
const ROUNDS_MAX: usize = 16;

/// A good balance, not always the best: that would take far longer.
pub(super) fn assign(group: &Wishes) -> Vec<Places> {
    let mut shares = Shares::of(group);
    let order = shares.order();
    for topic in &order {
        shares.hand_out(*topic);
    }
    shares.balance(&order);
    shares.told(group.members.len())
}

struct Shares<'a> {
    group: &'a Wishes<'a>,
    /// The members that want a topic, in order.
    subscribers: Vec<Vec<usize>>,
    /// Who has each partition of a topic.
    owners: Vec<Vec<Option<usize>>>,
    /// How many partitions each member has.
    counts: Vec<usize>,
}

impl<'a> Shares<'a> {
    /// With what members keep.
    fn of(group: &'a Wishes<'a>) -> Shares<'a> {
        let mut subscribers = vec![Vec::new(); group.topics.len()];
        let owners = group.topics.iter();
        let owners = owners.map(|topic| vec![None; usize::try_from(topic.partitions).unwrap_or(0)]);
        let mut owners: Vec<Vec<Option<usize>>> = owners.collect();
        let mut counts = vec![0; group.members.len()];
        for (at, member) in group.members.iter().enumerate() {
            for topic in &member.topics {
                subscribers[*topic].push(at);
            }
            for place in member.target {
                let Some(topic) = group.topic_of(*place) else {
                    continue;
                };
                let place = usize::try_from(place.partition).unwrap_or(usize::MAX);
                if let Some(owner) = owners[topic].get_mut(place)
                    && member.topics.contains(&topic)
                {
                    *owner = Some(at);
                    counts[at] += 1;
                }
            }
        }
        Shares {
            group,
            subscribers,
            owners,
            counts,
        }
    }

    /// The topics that somebody wants; first those of which each member has to take most.
    fn order(&self) -> Vec<usize> {
        let wanted =
            (0..self.group.topics.len()).filter(|topic| !self.subscribers[*topic].is_empty());
        let mut order: Vec<usize> = wanted.collect();
        order.sort_by(|one, other| self.compare(*one, *other));
        order
    }

    fn compare(&self, one: usize, other: usize) -> Ordering {
        let of = |topic: usize| (self.owners[topic].len(), self.subscribers[topic].len());
        let ((partitions, members), (other_partitions, other_members)) = (of(one), of(other));
        // The greater quotient first, without a division.
        let quotients = (other_partitions * members).cmp(&(partitions * other_members));
        quotients
            .then(members.cmp(&other_members))
            .then(self.group.topics[one].id.cmp(&self.group.topics[other].id))
    }

    /// The topic's members by what they have, the least first; whoever is earlier in this list is earlier among equals.
    fn by_count(&self, topic: usize) -> Vec<usize> {
        let mut members = self.subscribers[topic].clone();
        members.sort_by_key(|member| (self.counts[*member], *member));
        members
    }

    /// Gives what nobody has to whoever has least.
    fn hand_out(&mut self, topic: usize) {
        if self.owners[topic].iter().all(Option::is_some) {
            return;
        }
        let members = self.by_count(topic);
        let mut queue = self.queue(&members);
        for owner in &mut self.owners[topic] {
            if owner.is_some() {
                continue;
            }
            let Some((count, at)) = queue.pop_first() else {
                return;
            };
            *owner = Some(members[at]);
            self.counts[members[at]] += 1;
            queue.insert((count + 1, at));
        }
    }

    fn queue(&self, members: &[usize]) -> BTreeSet<(usize, usize)> {
        let members = members.iter().enumerate();
        members
            .map(|(at, member)| (self.counts[*member], at))
            .collect()
    }

    /// Goes through the topics until a whole round has moved nothing.
    fn balance(&mut self, order: &[usize]) {
        let shared = order
            .iter()
            .filter(|topic| self.subscribers[**topic].len() > 1);
        let shared: Vec<usize> = shared.copied().collect();
        let mut last_moved = None;
        for _ in 0..ROUNDS_MAX {
            for topic in &shared {
                if last_moved == Some(*topic) {
                    return;
                }
                if self.balance_topic(*topic) || last_moved.is_none() {
                    last_moved = Some(*topic);
                }
            }
        }
    }

    /// Moves partitions of one topic from those who have most to those who have least. Whether any was moved.
    fn balance_topic(&mut self, topic: usize) -> bool {
        let members = self.by_count(topic);
        let mut least = self.queue(&members);
        let mut most = least.clone();
        // Of each member the partitions of this topic, the last one to be given first.
        let mut held = vec![Vec::new(); members.len()];
        for (at, member) in members.iter().enumerate() {
            let owned = self.owners[topic].iter().enumerate();
            let owned = owned.filter(|(_, owner)| **owner == Some(*member));
            held[at] = owned.map(|(partition, _)| partition).collect();
        }
        let mut moved = false;
        while let (Some((count, from)), Some((least_count, to))) =
            (most.last().copied(), least.first().copied())
        {
            if count <= least_count + 1 {
                break;
            }
            most.remove(&(count, from));
            // Who has none of this topic left to give stays as it is.
            let Some(partition) = held[from].pop() else {
                continue;
            };
            least.remove(&(count, from));
            least.insert((count - 1, from));
            most.insert((count - 1, from));
            least.remove(&(least_count, to));
            least.insert((least_count + 1, to));
            if most.remove(&(least_count, to)) {
                most.insert((least_count + 1, to));
            }
            self.owners[topic][partition] = Some(members[to]);
            self.counts[members[from]] -= 1;
            self.counts[members[to]] += 1;
            moved = true;
        }
        moved
    }

    fn told(&self, members: usize) -> Vec<Places> {
        let mut shares = vec![Vec::new(); members];
        for (topic, owners) in self.group.topics.iter().zip(&self.owners) {
            for (place, owner) in topic.places().zip(owners) {
                if let Some(owner) = owner {
                    shares[*owner].push(place);
                }
            }
        }
        let shares = shares.into_iter();
        shares.map(|share: Vec<Place>| in_order(share)).collect()
    }
}
