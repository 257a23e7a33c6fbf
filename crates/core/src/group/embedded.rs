//! What consumers of the classic protocol tell each other through the broker, in bytes: subscriptions and assignments
//! (Kafka's ConsumerProtocol). The broker reads them where members of both protocols share a group.

use std::borrow::Cow;

use rustka_wire::consumer_protocol_assignment::{
    ConsumerProtocolAssignment, TopicPartition as WireAssigned,
};
use rustka_wire::consumer_protocol_subscription::ConsumerProtocolSubscription;
use rustka_wire::{Reader, Writer};

use super::command::{Bytes, Name};
use super::consumer::places::{Place, Places, by_topic, in_order};
use super::consumer::topics::Topics;

/// The protocol type of those who speak it.
pub(super) const CONSUMER: &str = "consumer";

/// The newest version whose fields are known; later ones only add to it.
const VERSION_MAX: i16 = 3;

/// What a member says with an assignor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Subscription {
    /// The topics it wants, in order and each once.
    pub(super) topics: Box<[Name]>,
    /// What it works on, of topics that exist; nothing up to version 0, which does not say.
    pub(super) owned: Places,
    /// Where it is, from version 3 on.
    pub(super) rack_id: Option<Name>,
}

impl Subscription {
    /// Reads one; `None` if these bytes are none.
    pub(super) fn read(bytes: &[u8], topics: &Topics) -> Option<Subscription> {
        let mut r = Reader::new(bytes);
        let version = version_of(&mut r)?;
        let wire = ConsumerProtocolSubscription::decode(&mut r, version).ok()?;
        let owned = wire.owned_partitions.iter();
        let owned = owned.flat_map(|of| places(topics, &of.topic, &of.partitions));
        let mut names: Vec<Name> = wire.topics.iter().map(|name| (&**name).into()).collect();
        names.sort_unstable();
        names.dedup();
        Some(Subscription {
            topics: names.into(),
            owned: in_order(owned.collect()),
            rack_id: wire.rack_id.as_deref().map(Into::into),
        })
    }
}

/// The topics that a subscription of any version is about, and nothing else of it: what follows may be the assignors' own
/// business. `None` if these bytes are none.
pub(super) fn topics(subscription: &[u8]) -> Option<Vec<Cow<'_, str>>> {
    let mut r = Reader::new(subscription);
    version_of(&mut r)?;
    let wire = ConsumerProtocolSubscription::decode(&mut r, 0).ok()?;
    Some(wire.topics)
}

/// The version in which a member speaks, and in which it is answered.
pub(super) fn version(subscription: &[u8]) -> Option<i16> {
    version_of(&mut Reader::new(subscription))
}

fn version_of(r: &mut Reader) -> Option<i16> {
    let version = r.i16().ok()?;
    (version >= 0).then_some(version.min(VERSION_MAX))
}

/// What a share says of which the broker has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Assignment {
    /// The partitions, of topics that exist.
    pub(super) places: Places,
    /// Whether an assignor has added something of its own.
    pub(super) has_more: bool,
}

impl Assignment {
    /// Reads one; `None` if these bytes are none. A member that has not got any has an empty one.
    pub(super) fn read(bytes: &[u8], topics: &Topics) -> Option<Assignment> {
        if bytes.is_empty() {
            return Some(Assignment {
                places: Places::default(),
                has_more: false,
            });
        }
        let mut r = Reader::new(bytes);
        let version = version_of(&mut r)?;
        let wire = ConsumerProtocolAssignment::decode(&mut r, version).ok()?;
        let assigned = wire.assigned_partitions.iter();
        let assigned = assigned.flat_map(|of| places(topics, &of.topic, &of.partitions));
        Some(Assignment {
            places: in_order(assigned.collect()),
            has_more: wire.user_data.is_some_and(|data| !data.is_empty()),
        })
    }
}

/// These partitions as a share, in a version that `version` has told; without topics that are gone.
pub(super) fn share(
    places: impl IntoIterator<Item = Place>,
    topics: &Topics,
    version: i16,
) -> Bytes {
    let assigned = by_topic(places).filter_map(|(id, partitions)| {
        Some(WireAssigned {
            topic: Cow::Borrowed(&**topics.name(&id)?),
            partitions,
        })
    });
    let wire = ConsumerProtocolAssignment {
        assigned_partitions: assigned.collect(),
        user_data: None,
    };
    let mut w = Writer::new();
    w.i16(version);
    wire.encode(&mut w, version);
    w.buf.into()
}

fn places<'a>(
    topics: &Topics,
    topic: &str,
    partitions: &'a [i32],
) -> impl Iterator<Item = Place> + use<'a> {
    let known = topics.get(topic);
    let partitions = partitions.iter().copied();
    partitions.filter_map(move |partition| {
        Some(Place {
            topic: known?.id,
            partition,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::consumer::topics::Topic;

    fn topics() -> Topics {
        let topic = |id: u8| Topic {
            id: [id; 16],
            partitions: 4,
        };
        Topics::new(1, [("t".into(), topic(1)), ("u".into(), topic(2))])
    }

    fn place(id: u8, partition: i32) -> Place {
        Place {
            topic: [id; 16],
            partition,
        }
    }

    #[test]
    fn a_share_is_read_as_it_was_written_in_every_version() {
        let topics = topics();
        for version in 0..=VERSION_MAX {
            let bytes = share([place(1, 0), place(1, 2), place(2, 3)], &topics, version);
            let read = Assignment::read(&bytes, &topics).unwrap();
            assert_eq!(*read.places, [place(1, 0), place(1, 2), place(2, 3)]);
            assert!(!read.has_more);
        }
    }

    #[test]
    fn topics_that_are_gone_are_left_out() {
        let bytes = share([place(1, 0), place(9, 0)], &topics(), 0);
        let read = Assignment::read(&bytes, &topics()).unwrap();
        assert_eq!(*read.places, [place(1, 0)]);
    }

    #[test]
    fn a_subscription_of_a_later_version_is_read_as_the_newest_known() {
        let wire = ConsumerProtocolSubscription {
            topics: vec!["u".into(), "t".into(), "u".into()],
            rack_id: Some("r".into()),
            ..Default::default()
        };
        let mut w = Writer::new();
        w.i16(VERSION_MAX + 1);
        wire.encode(&mut w, VERSION_MAX);
        w.i32(7);
        let read = Subscription::read(&w.buf, &topics()).unwrap();
        assert_eq!(*read.topics, [Name::from("t"), Name::from("u")]);
        assert_eq!(read.rack_id, Some("r".into()));
        assert_eq!(version(&w.buf), Some(VERSION_MAX));
    }

    #[test]
    fn the_topics_of_a_subscription_are_known_whatever_follows_them() {
        let wire = ConsumerProtocolSubscription {
            topics: vec!["u".into(), "t".into()],
            ..Default::default()
        };
        let mut w = Writer::new();
        w.i16(1);
        wire.encode(&mut w, 0);
        w.i32(i32::MAX);
        assert_eq!(super::topics(&w.buf), Some(vec!["u".into(), "t".into()]));
        assert_eq!(Subscription::read(&w.buf, &topics()), None);
        assert_eq!(super::topics(&[0xff, 0xff, 0, 0, 0, 0]), None);
    }

    #[test]
    fn bytes_that_are_no_subscription_are_none() {
        for bytes in [&[][..], &[0], &[0xff, 0xff], &[0, 0, 0, 0, 0, 2]] {
            assert_eq!(Subscription::read(bytes, &topics()), None);
        }
    }
}
