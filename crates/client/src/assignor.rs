//! Who of a group reads what: the `range` assignor, which the group's leader runs, and the bytes that members exchange.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use rustka_wire::consumer_protocol_assignment::{
    ConsumerProtocolAssignment, TopicPartition as Assigned,
};
use rustka_wire::consumer_protocol_subscription::ConsumerProtocolSubscription;
use rustka_wire::{DecodeError, Reader, Writer};

/// The assignor's name among protocols.
pub const RANGE: &str = "range";
/// The version we write; later ones add what `range` does not look at.
const VERSION: i16 = 0;

/// Partitions by topic.
pub type Partitions = BTreeMap<String, Vec<i32>>;

/// A member of a group as its leader sees it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    /// Static members come first, in the order of the ids that do not change.
    order: (bool, String),
    /// Its id.
    pub id: String,
    /// The topics it reads.
    pub topics: BTreeSet<String>,
}

impl Member {
    /// A member with this id, perhaps a static one.
    pub fn new(id: &str, instance_id: Option<&str>, topics: BTreeSet<String>) -> Member {
        Member {
            order: (instance_id.is_none(), instance_id.unwrap_or(id).to_owned()),
            id: id.to_owned(),
            topics,
        }
    }
}

/// Each topic's partitions in order, cut into ranges for the members that read it: the first ones get one more if it does not
/// come out even.
pub fn range(
    mut members: Vec<Member>,
    counts: &BTreeMap<String, i32>,
) -> BTreeMap<String, Partitions> {
    members.sort();
    let mut out: BTreeMap<String, Partitions> = BTreeMap::new();
    for member in &members {
        out.insert(member.id.clone(), Partitions::new());
    }
    for (topic, &count) in counts {
        let readers: Vec<&Member> = members
            .iter()
            .filter(|m| m.topics.contains(topic))
            .collect();
        let (mut from, partitions) = (0, i64::from(count));
        let readers_count = readers.len() as i64;
        for (place, member) in (0_i64..).zip(readers) {
            let more = i64::from(place < partitions % readers_count);
            let to = from + partitions / readers_count + more;
            if to > from
                && let Some(of) = out.get_mut(&member.id)
            {
                of.insert(topic.clone(), (from as i32..to as i32).collect());
            }
            from = to;
        }
    }
    out
}

/// What a member says when it joins.
pub fn subscription(topics: &BTreeSet<String>) -> Vec<u8> {
    let message = ConsumerProtocolSubscription {
        topics: topics.iter().map(|topic| Cow::Borrowed(&**topic)).collect(),
        user_data: None,
        ..Default::default()
    };
    let mut w = Writer::new();
    w.i16(VERSION);
    message.encode(&mut w, VERSION);
    w.buf
}

/// The topics in what a member said when it joined, in whatever version.
pub fn subscribed(bytes: &[u8]) -> Result<BTreeSet<String>, DecodeError> {
    let mut reader = Reader::new(bytes);
    let version = reader
        .i16()?
        .clamp(0, ConsumerProtocolSubscription::MAX_VERSION);
    let message = ConsumerProtocolSubscription::decode(&mut reader, version)?;
    Ok(message.topics.into_iter().map(Cow::into_owned).collect())
}

/// What the leader says to a member.
pub fn assignment(partitions: &Partitions) -> Vec<u8> {
    let assigned = partitions.iter().map(|(topic, partitions)| Assigned {
        topic: Cow::Borrowed(&**topic),
        partitions: partitions.clone(),
    });
    let message = ConsumerProtocolAssignment {
        assigned_partitions: assigned.collect(),
        user_data: None,
    };
    let mut w = Writer::new();
    w.i16(VERSION);
    message.encode(&mut w, VERSION);
    w.buf
}

/// The partitions in what the leader said; none where it said nothing.
pub fn assigned(bytes: &[u8]) -> Result<Partitions, DecodeError> {
    if bytes.is_empty() {
        return Ok(Partitions::new());
    }
    let mut reader = Reader::new(bytes);
    let version = reader
        .i16()?
        .clamp(0, ConsumerProtocolAssignment::MAX_VERSION);
    let message = ConsumerProtocolAssignment::decode(&mut reader, version)?;
    let rows = message.assigned_partitions.into_iter();
    Ok(rows
        .map(|row| (row.topic.into_owned(), row.partitions))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn of(out: &BTreeMap<String, Partitions>, id: &str) -> Vec<(String, Vec<i32>)> {
        out[id].clone().into_iter().collect()
    }

    #[test]
    fn ranges_are_cut_from_each_topic_for_those_who_read_it() {
        let members = vec![
            Member::new("b", None, topics(&["t", "u"])),
            Member::new("a", None, topics(&["t"])),
            Member::new("z", Some("static"), topics(&["t"])),
        ];
        let counts = BTreeMap::from([
            ("t".to_owned(), 7),
            ("u".to_owned(), 1),
            ("v".to_owned(), 3),
        ]);
        let out = range(members, &counts);
        assert_eq!(of(&out, "z"), [("t".to_owned(), vec![0, 1, 2])]);
        assert_eq!(of(&out, "a"), [("t".to_owned(), vec![3, 4])]);
        let both = [("t".to_owned(), vec![5, 6]), ("u".to_owned(), vec![0])];
        assert_eq!(of(&out, "b"), both);
    }

    #[test]
    fn more_members_than_partitions_leave_the_last_ones_without() {
        let members = ["a", "b", "c"].map(|id| Member::new(id, None, topics(&["t"])));
        let out = range(members.into(), &BTreeMap::from([("t".to_owned(), 2)]));
        assert_eq!(of(&out, "b"), [("t".to_owned(), vec![1])]);
        assert!(of(&out, "c").is_empty());
    }

    #[test]
    fn what_is_said_is_understood() {
        let names = topics(&["one", "two"]);
        assert_eq!(subscribed(&subscription(&names)), Ok(names));
        let partitions = Partitions::from([("t".to_owned(), vec![1, 2])]);
        assert_eq!(assigned(&assignment(&partitions)), Ok(partitions));
        assert_eq!(assigned(&[]), Ok(Partitions::new()));
        // A version from the future begins like the newest we know.
        let mut later = subscription(&topics(&["t"]));
        later[1] = 9;
        later.extend([0, 0, 0, 0, 0, 0, 0, 1, 255, 255, 1]);
        assert_eq!(subscribed(&later), Ok(topics(&["t"])));
        assert!(subscribed(&[0]).is_err());
    }
}
