//! Assignments from nothing and one after the other, as Kafka makes them (the tables of its facts).

use super::*;
use crate::group::consumer::places::{by_topic, in_order};
use std::sync::Arc;

/// Topics by one letter and their size, such as "t3".
struct Story {
    topics: Vec<(String, Topic)>,
    members: Vec<(Name, Vec<usize>, Places)>,
}

impl Story {
    fn new(topics: &[&str]) -> Story {
        let topic = |text: &&str| {
            let (name, size) = text.split_at(1);
            let id = [name.as_bytes()[0]; 16];
            let partitions = size.parse().unwrap();
            (name.to_owned(), Topic { id, partitions })
        };
        Story {
            topics: topics.iter().map(topic).collect(),
            members: Vec::new(),
        }
    }

    /// A member that wants these topics; all of them where none is named.
    fn join(&mut self, id: &str, wants: &str) {
        let wanted = |at: &usize| wants.is_empty() || wants.contains(&self.topics[*at].0);
        let wanted = (0..self.topics.len()).filter(wanted).collect();
        self.members
            .push((Arc::from(id), wanted, Places::default()));
        self.members.sort_by(|one, other| one.0.cmp(&other.0));
    }

    fn leave(&mut self, id: &str) {
        self.members.retain(|member| *member.0 != *id);
    }

    fn assign(&mut self, assignor: Assignor) -> String {
        let wish = |member| {
            let (id, topics, target): &(Name, Vec<usize>, Places) = member;
            Wish {
                id,
                instance_id: None,
                topics: topics.clone(),
                target,
            }
        };
        let topics = self.topics.iter().map(|(_, topic)| *topic);
        let members = self.members.iter().map(wish);
        let wishes = Wishes::new(topics.collect(), members.collect());
        let shares = assignor.assign(&wishes);
        let mut told = Vec::new();
        for (member, share) in self.members.iter_mut().zip(shares) {
            let topics = by_topic(share.iter().copied()).map(|(id, partitions)| {
                let (name, topic) = self
                    .topics
                    .iter()
                    .find(|(_, topic)| topic.id == id)
                    .unwrap();
                match i32::try_from(partitions.len()).unwrap() == topic.partitions {
                    true => name.clone(),
                    false => format!("{name}{partitions:?}").replace(' ', ""),
                }
            });
            let topics: Vec<String> = topics.collect();
            told.push(
                format!("{}: {}", member.0, topics.join(" "))
                    .trim()
                    .to_owned(),
            );
            member.2 = share;
        }
        told.join("; ")
    }
}

/// What `members` members get that all want all topics.
fn from_nothing(assignor: Assignor, topics: &[&str], members: usize) -> String {
    let mut story = Story::new(topics);
    for number in 1..=members {
        story.join(&format!("m{number}"), "");
    }
    story.assign(assignor)
}

#[test]
fn range_cuts_each_topic_into_pieces_of_which_the_first_are_larger() {
    let range = |topics: &[&str], members| from_nothing(Assignor::Range, topics, members);
    assert_eq!(
        range(&["t3", "u4"], 2),
        "m1: t[0,1] u[0,1]; m2: t[2] u[2,3]"
    );
    assert_eq!(
        range(&["w9", "t3", "u4"], 4),
        "m1: t[0] u[0] w[0,1,2]; m2: t[1] u[1] w[3,4]; m3: t[2] u[2] w[5,6]; m4: u[3] w[7,8]"
    );
    assert_eq!(
        range(&["x1", "y2"], 5),
        "m1: x y[0]; m2: y[1]; m3:; m4:; m5:"
    );
}

#[test]
fn range_cuts_a_topic_among_those_who_want_it() {
    let mut story = Story::new(&["t3", "u4", "w9"]);
    story.join("m1", "t");
    story.join("m2", "tu");
    story.join("m3", "uw");
    let told = story.assign(Assignor::Range);
    assert_eq!(told, "m1: t[0,1]; m2: t[2] u[0,1]; m3: u[2,3] w");
}

#[test]
fn uniform_fills_members_across_topics_and_the_last_get_one_more() {
    let uniform = |topics: &[&str], members| from_nothing(Assignor::Uniform, topics, members);
    assert_eq!(uniform(&["t3", "u4"], 2), "m1: t; m2: u");
    assert_eq!(
        uniform(&["t3", "u4"], 3),
        "m1: t[0,1]; m2: t[2] u[0]; m3: u[1,2,3]"
    );
    assert_eq!(
        uniform(&["t3", "u4"], 4),
        "m1: t[0]; m2: t[1,2]; m3: u[0,1]; m4: u[2,3]"
    );
    assert_eq!(
        uniform(&["x1", "y2"], 5),
        "m1:; m2:; m3: x; m4: y[0]; m5: y[1]"
    );
}

#[test]
fn uniform_moves_no_more_than_it_must() {
    let mut story = Story::new(&["t3", "u4"]);
    story.join("m1", "");
    assert_eq!(story.assign(Assignor::Uniform), "m1: t u");
    story.join("m2", "");
    assert_eq!(story.assign(Assignor::Uniform), "m1: t u[0]; m2: u[1,2,3]");
    story.join("m3", "");
    assert_eq!(
        story.assign(Assignor::Uniform),
        "m1: t; m2: u[1,2]; m3: u[0,3]"
    );
    story.join("m4", "");
    assert_eq!(
        story.assign(Assignor::Uniform),
        "m1: t[0,1]; m2: u[1,2]; m3: u[0,3]; m4: t[2]"
    );
    story.leave("m1");
    assert_eq!(
        story.assign(Assignor::Uniform),
        "m2: u[1,2]; m3: u[0,3]; m4: t"
    );
}

#[test]
fn uniform_balances_members_that_want_different_topics() {
    let mut story = Story::new(&["t3", "u4", "w9"]);
    story.join("m1", "t");
    story.join("m2", "tu");
    story.join("m3", "uw");
    assert_eq!(story.assign(Assignor::Uniform), "m1: t; m2: u; m3: w");
    story.leave("m1");
    assert_eq!(story.assign(Assignor::Uniform), "m2: t u; m3: w");
}

/// What Kafka's own classes have given, line by line: topics, members, what these should have had so far, what range gave,
/// what uniform gave. Written by `cargo xtask oracle assignments`.
const RECORDED: &str = include_str!("recorded.txt");

/// Topics "a", "b" and so on.
fn recorded_id(name: &str) -> TopicId {
    let mut id = [0; 16];
    id[15] = name.as_bytes()[0] - b'a' + 1;
    id
}

/// Shares by member, such as "m1=a0,b1 m2=a1".
fn recorded_shares(text: &str) -> BTreeMap<&str, Places> {
    let share = |text| {
        let (member, places): (&str, &str) = str::split_once(text, '=').unwrap();
        let place = |place: &str| Place {
            topic: recorded_id(&place[..1]),
            partition: place[1..].parse().unwrap(),
        };
        (member, in_order(places.split(',').map(place).collect()))
    };
    text.split_whitespace().map(share).collect()
}

#[test]
fn kafkas_own_assignors_give_the_same_to_two_thousand_groups() {
    let mut count = 0;
    for line in RECORDED.lines() {
        let parts: Vec<&str> = line.split('|').collect();
        let names: Vec<&str> = parts[0]
            .split_whitespace()
            .map(|topic| &topic[..1])
            .collect();
        let topics = parts[0].split_whitespace().map(|topic| Topic {
            id: recorded_id(topic),
            partitions: topic[1..].parse().unwrap(),
        });
        let topics: Vec<Topic> = topics.collect();
        let before = recorded_shares(parts[2]);
        let nothing = Places::default();
        let said: Vec<(Name, Option<Name>, Vec<usize>)> = parts[1]
            .split_whitespace()
            .map(|member| {
                let said: Vec<&str> = member.split(':').collect();
                let instance = (!said[1].is_empty()).then(|| Arc::from(said[1]));
                let wants = (0..names.len()).filter(|at| said[2].contains(names[*at]));
                (Arc::from(said[0]), instance, wants.collect())
            })
            .collect();
        for (assignor, expected) in [(Assignor::Range, parts[3]), (Assignor::Uniform, parts[4])] {
            let members = said.iter().map(|(id, instance, topics)| Wish {
                id,
                instance_id: instance.as_ref(),
                topics: topics.clone(),
                target: before.get(&**id).unwrap_or(&nothing),
            });
            let wishes = Wishes::new(topics.clone(), members.collect());
            let shares = assignor.assign(&wishes);
            let shares = said
                .iter()
                .zip(shares)
                .filter(|(_, share)| !share.is_empty());
            let shares: BTreeMap<&str, Places> =
                shares.map(|((id, _, _), share)| (&**id, share)).collect();
            assert_eq!(
                shares,
                recorded_shares(expected),
                "{}: {line}",
                assignor.name()
            );
            count += 1;
        }
    }
    assert_eq!(count, 4_000);
}
