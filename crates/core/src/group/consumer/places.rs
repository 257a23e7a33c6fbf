//! Partitions of many topics, in order: what members shall have, and what they hold.

use crate::group::command::TopicId;

/// One partition of one topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The topic's id.
    pub topic: TopicId,
    /// The partition.
    pub partition: i32,
}

/// Partitions, each once and in order.
pub type Places = Box<[Place]>;

/// A partition that a member holds, and the epoch in which it got it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Held {
    /// The partition.
    pub place: Place,
    /// The target's epoch when the member got it.
    pub since_epoch: i32,
}

/// Whether `places`, in order, has this one.
pub(super) fn has(places: &[Place], place: Place) -> bool {
    places.binary_search(&place).is_ok()
}

/// Whether `held`, in order, has this one.
pub(super) fn holds(held: &[Held], place: Place) -> bool {
    held.binary_search_by_key(&place, |held| held.place).is_ok()
}

/// The partitions of what a member holds.
pub(super) fn places(held: &[Held]) -> Places {
    held.iter().map(|held| held.place).collect()
}

/// In order, and each once.
pub(in crate::group) fn in_order(mut places: Vec<Place>) -> Places {
    places.sort_unstable();
    places.dedup();
    places.into()
}

/// Places by topic: every topic with its partitions.
pub fn by_topic(
    places: impl IntoIterator<Item = Place>,
) -> impl Iterator<Item = (TopicId, Vec<i32>)> {
    let mut places = places.into_iter().peekable();
    std::iter::from_fn(move || {
        let Place { topic, partition } = places.next()?;
        let mut partitions = vec![partition];
        while let Some(next) = places.next_if(|next| next.topic == topic) {
            partitions.push(next.partition);
        }
        Some((topic, partitions))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_topic_by_topic() {
        let place = |topic: u8, partition| Place {
            topic: [topic; 16],
            partition,
        };
        let places = in_order(vec![place(2, 0), place(1, 3), place(1, 0), place(1, 3)]);
        let told: Vec<_> = by_topic(places.iter().copied()).collect();
        assert_eq!(told, [([1; 16], vec![0, 3]), ([2; 16], vec![0])]);
    }
}
