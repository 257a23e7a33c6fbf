//! Rebalances as stories: what was asked (>), what happened (*), what was written (+), what was answered (<).
//! `RUSTKA_TRANSCRIPTS=write cargo test -p rustka-core transcripts` writes them anew; read the difference.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::consumer;
use super::world::*;
use crate::group::command::*;
use crate::group::consumer::places::{Held, Place};
use crate::group::consumer::records::ConsumerRecord;
use crate::group::effects::*;
use crate::group::records::Record;

struct Story {
    w: World,
    text: String,
    askers: BTreeMap<Ticket, String>,
    /// Member ids by the name of their client.
    ids: BTreeMap<String, Name>,
    told_events: usize,
    told_sent: usize,
    told_entries: usize,
}

impl Story {
    fn new(title: &str) -> Story {
        Story {
            w: World::new(),
            text: format!("{title}\n"),
            askers: BTreeMap::new(),
            ids: BTreeMap::new(),
            told_events: 0,
            told_sent: 0,
            told_entries: 0,
        }
    }

    fn line(&mut self, sign: char, line: &str) {
        // Test ids are a client's name and a counted UUID: show the count.
        let mut line = line.replace("-00000000-0000-0000-0000-0000000000", "#");
        for (long, short) in [("#0", "#"), ("\"", "")] {
            line = line.replace(long, short);
        }
        let at_ms = self.w.now.monotonic_ms;
        self.text.push_str(&format!("{at_ms:>7} {sign} {line}\n"));
    }

    fn wait(&mut self, ms: i64) {
        let end_ms = self.w.now.monotonic_ms + ms;
        while self.w.now.monotonic_ms < end_ms {
            let next_ms = self.w.shard.next_deadline().unwrap_or(end_ms).min(end_ms);
            self.w.advance((next_ms - self.w.now.monotonic_ms).max(0));
            self.tell();
        }
    }

    fn ask(&mut self, who: &str, what: &str, command: Command) {
        self.line('>', &format!("{who} {what}"));
        let ticket = self.w.send(command);
        self.askers.insert(ticket, who.to_owned());
        self.tell();
    }

    fn tell(&mut self) {
        let entries = self.w.durable.values().skip(self.told_entries);
        let records = entries.flat_map(|entry| &entry.records).map(record_text);
        for text in records.collect::<Vec<_>>() {
            self.line('+', &text);
        }
        self.told_entries = self.w.durable.len();
        for event in self.w.events.clone().split_off(self.told_events) {
            self.line('*', &event_text(&event));
        }
        self.told_events = self.w.events.len();
        for (ticket, reply) in self.w.sent.clone().split_off(self.told_sent) {
            let who = self.askers[&ticket].clone();
            if let Reply::Join(Ok(Joined { member_id, .. }) | Err(JoinRefused { member_id, .. })) =
                &reply
            {
                self.ids.insert(who.clone(), member_id.clone());
            }
            self.line('<', &format!("{who}: {}", reply_text(&reply)));
        }
        self.told_sent = self.w.sent.len();
    }

    fn id(&self, who: &str) -> Name {
        self.ids.get(who).cloned().unwrap_or_default()
    }

    fn join(&mut self, who: &str) {
        let id = self.id(who);
        let what = if id.is_empty() {
            "wants to join".into()
        } else {
            format!("joins as {id}")
        };
        let join = self.w.join_of(who, &id);
        self.ask(who, &what, Command::Join(join));
    }

    /// A new process of a static member: it does not know its old member id.
    fn join_static(&mut self, who: &str) {
        let mut join = self.w.join_of(who, "");
        join.instance_id = Some(n(who));
        self.ask(
            who,
            &format!("joins as instance {who}"),
            Command::Join(join),
        );
    }

    fn sync(&mut self, who: &str, generation: i32, shares: &[(&str, &str)]) {
        let mut what = format!("asks for its share of generation {generation}");
        for (whose, share) in shares {
            what.push_str(&format!(", gives {whose} {share}"));
        }
        let share = |(whose, share): &(&str, &str)| (self.id(whose), share.as_bytes().into());
        let sync = Sync {
            group: n("g"),
            member_id: self.id(who),
            instance_id: None,
            generation,
            protocol_type: Some(n("consumer")),
            protocol_name: Some(n("range")),
            assignments: shares.iter().map(share).collect(),
        };
        self.ask(who, &what, Command::Sync(sync));
    }

    fn heartbeat(&mut self, who: &str, generation: i32) {
        let beat = Heartbeat {
            group: n("g"),
            member_id: self.id(who),
            instance_id: None,
            generation,
        };
        let what = format!("heartbeats in generation {generation}");
        self.ask(who, &what, Command::Heartbeat(beat));
    }

    fn leave(&mut self, who: &str) {
        let leaver = Leaver {
            member_id: self.id(who),
            instance_id: None,
        };
        let leave = Leave {
            group: n("g"),
            members: vec![leaver],
        };
        self.ask(who, "leaves", Command::Leave(leave));
        self.ids.remove(who);
    }

    fn commit(&mut self, who: &str, generation: i32, offset: i64) {
        let commit = self.w.commit_of(&self.id(who), generation, offset);
        self.ask(
            who,
            &format!("commits {offset}"),
            Command::OffsetCommit(commit),
        );
    }

    /// A member of the new protocol says what it holds, or nothing but its epoch.
    fn beat(&mut self, who: &str, epoch: i32, holds: Option<&[i32]>) {
        let beat = match holds {
            Some(partitions) => consumer::owning(who, epoch, partitions),
            None => consumer::beat(who, epoch),
        };
        let what = match (epoch, holds) {
            (0, _) => "wants to join".to_owned(),
            (-1, _) => "leaves".to_owned(),
            (_, None) => format!("is in epoch {epoch}"),
            (_, Some(partitions)) => format!("is in epoch {epoch} and holds {partitions:?}"),
        };
        self.ask(who, &what, Command::ConsumerBeat(Box::new(beat)));
    }

    fn chapter(&mut self, title: &str) {
        self.text.push_str(&format!("\n{title}\n"));
    }

    fn check(self, name: &str) {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/group/transcripts");
        let path = folder.join(format!("{name}.txt"));
        if std::env::var_os("RUSTKA_TRANSCRIPTS").is_some() {
            std::fs::write(&path, &self.text).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            written == self.text,
            "{name} is another story now; RUSTKA_TRANSCRIPTS=write accepts it:\n{}",
            self.text
        );
    }
}

fn event_text(event: &Event) -> String {
    match event {
        Event::Rebalance { cause, .. } => format!("a rebalance begins: {cause:?}"),
        Event::State {
            state, generation, ..
        } => format!("the group is {state} in generation {generation}"),
        Event::MemberJoins { member, .. } => format!("{member} joins"),
        Event::MemberGone { member, cause, .. } => format!("{member} is out: {cause:?}"),
        Event::Refused { code, limit, .. } => format!("refused by {limit}: {}", code.name()),
        Event::RolledBack { .. } => "the group is back at what is durable".into(),
    }
}

fn record_text(record: &Record) -> String {
    match record {
        Record::Consumer { value, .. } => consumer_record_text(value),
        Record::Group { value: None, .. } => "the group is deleted".into(),
        Record::Group {
            value: Some(value), ..
        } => {
            let mut text = format!("generation {}", value.generation);
            for member in &value.members {
                let share = String::from_utf8_lossy(&member.assignment);
                text.push_str(&format!(", {} has {share:?}", member.member_id));
            }
            text
        }
        Record::Offset {
            topic,
            partition,
            value,
            ..
        } => match value {
            Some(value) => format!("{topic}-{partition} is read up to {}", value.offset),
            None => format!("{topic}-{partition} is forgotten"),
        },
        Record::Pending {
            topic,
            partition,
            value,
            ..
        } => format!("{topic}-{partition} may be read up to {}", value.offset),
        Record::End { marker, .. } => match marker.commit {
            true => "a transaction is committed".into(),
            false => "a transaction is aborted".into(),
        },
    }
}

fn consumer_record_text(record: &ConsumerRecord) -> String {
    let numbers =
        |places: &[Place]| -> Vec<i32> { places.iter().map(|place| place.partition).collect() };
    let held = |held: &[Held]| -> Vec<String> {
        let told = held.iter();
        told.map(|held| format!("{} since {}", held.place.partition, held.since_epoch))
            .collect()
    };
    match record {
        ConsumerRecord::Group(Some(group)) => format!("the group is in epoch {}", group.epoch),
        ConsumerRecord::Group(None) => "the group is deleted".into(),
        ConsumerRecord::Metadata => "its metadata is forgotten".into(),
        ConsumerRecord::Member(id, Some(member)) => {
            format!("{id} wants {}", member.topics.join(" "))
        }
        ConsumerRecord::TargetEpoch(Some(target)) => {
            format!("the assignment is of epoch {}", target.epoch)
        }
        ConsumerRecord::TargetEpoch(None) => "there is no assignment".into(),
        ConsumerRecord::Target(id, Some(target)) => {
            format!("{id} shall have {:?}", numbers(target))
        }
        ConsumerRecord::Current(id, Some(current)) => format!(
            "{id} has {:?} in epoch {}, gives up {:?}, {:?}",
            held(&current.assigned),
            current.epoch,
            held(&current.revoking),
            current.state
        ),
        ConsumerRecord::Expression(expression, Some(matched)) => {
            format!("{expression} matches {}", matched.topics.join(" "))
        }
        ConsumerRecord::Member(id, None) => format!("{id} is no member"),
        ConsumerRecord::Target(id, None) => format!("{id} shall have nothing"),
        ConsumerRecord::Current(id, None) => format!("{id} has nothing"),
        ConsumerRecord::Expression(expression, None) => format!("{expression} is forgotten"),
    }
}

fn reply_text(reply: &Reply) -> String {
    match reply {
        Reply::Join(Ok(joined)) => {
            let mut text = format!(
                "{} is in generation {}",
                joined.member_id, joined.generation
            );
            if joined.leader != joined.member_id {
                text.push_str(&format!(", led by {}", joined.leader));
            } else {
                let members: Vec<&str> = joined.members.iter().map(|m| &*m.member_id).collect();
                text.push_str(&format!(", leads {}", members.join(" ")));
            }
            if joined.skip_assignment {
                text.push_str(", skips the assignment");
            }
            text
        }
        Reply::Join(Err(refused)) => format!("{} {}", refused.code.name(), refused.member_id),
        Reply::Sync(Ok(synced)) => {
            format!("share {:?}", String::from_utf8_lossy(&synced.assignment))
        }
        Reply::Sync(Err(code)) | Reply::Heartbeat(code) => code.name().into(),
        Reply::Leave(Ok(left)) => left[0].code.name().into(),
        Reply::OffsetCommit(topics) => topics[0].partitions[0].1.name().into(),
        Reply::ConsumerBeat(Ok(beaten)) => {
            let mut text = format!("epoch {}", beaten.epoch);
            if let Some(places) = &beaten.assignment {
                let places: Vec<i32> = places.iter().map(|place| place.partition).collect();
                text.push_str(&format!(", holds {places:?}"));
            }
            text
        }
        Reply::ConsumerBeat(Err(refusal)) => refusal.code.name().into(),
        other => format!("{other:?}"),
    }
}

#[test]
fn the_broker_assigns() {
    let mut s = Story::new(
        "Two consumers of the new protocol: the second one gets a partition once the first has given it up.",
    );
    consumer::with_topics(&mut s.w, 1, &[("t", 1, 3)]);
    s.beat("anna", 0, None);
    s.wait(1_100);
    s.beat("bert", 0, None);
    s.chapter("Anna hears of it with her next heartbeat.");
    s.beat("anna", 2, None);
    s.beat("bert", 3, None);
    s.beat("anna", 2, Some(&[0, 1]));
    s.beat("bert", 3, None);
    s.chapter("Anna's answer was lost; she says again what she knows.");
    s.beat("anna", 2, Some(&[0, 1]));
    s.chapter("Bert falls silent, and Anna takes over.");
    s.wait(40_000);
    s.beat("anna", 3, None);
    s.wait(5_000);
    s.beat("anna", 3, None);
    s.chapter("Bert was only slow, and starts over.");
    s.beat("bert", 3, None);
    s.beat("bert", 0, None);
    s.chapter("Both leave.");
    s.beat("anna", -1, None);
    s.beat("bert", -1, None);
    s.check("the_broker_assigns");
}

#[test]
fn a_member_does_not_revoke() {
    let mut s =
        Story::new("A member of the new protocol goes on working on what it was asked to give up.");
    consumer::with_topics(&mut s.w, 1, &[("t", 1, 2)]);
    s.beat("anna", 0, None);
    s.wait(1_100);
    s.beat("bert", 0, None);
    for _ in 0..6 {
        s.beat("anna", 2, None);
        s.beat("bert", 3, None);
        s.wait(10_000);
    }
    s.chapter("Her rebalance timeout is over.");
    s.beat("anna", 2, None);
    s.beat("bert", 3, None);
    s.check("a_member_does_not_revoke");
}

#[test]
fn two_consumers_meet_work_and_part() {
    let mut s =
        Story::new("Two consumers start together, share a topic, and leave one after the other.");
    s.join("anna");
    s.join("anna");
    s.wait(40);
    s.join("bert");
    s.join("bert");
    s.wait(100);
    s.sync("bert", 1, &[]);
    s.sync("anna", 1, &[("anna", "t-0"), ("bert", "t-1")]);
    s.wait(3_000);
    s.heartbeat("anna", 1);
    s.heartbeat("bert", 1);
    s.commit("bert", 1, 17);
    s.chapter("Bert leaves.");
    s.leave("bert");
    s.wait(3_000);
    s.heartbeat("anna", 1);
    s.join("anna");
    s.sync("anna", 2, &[("anna", "t-0 t-1")]);
    s.chapter("Anna leaves too; the offset stays.");
    s.leave("anna");
    s.check("two_consumers");
}

#[test]
fn a_consumer_arrives_late() {
    let mut s = Story::new("A second consumer arrives while the first one works.");
    s.join("anna");
    s.join("anna");
    s.wait(100);
    s.sync("anna", 1, &[("anna", "t-0 t-1")]);
    s.wait(1_000);
    s.chapter("Bert arrives; Anna hears of it with her next heartbeat and commits before she gives up her share.");
    s.join("bert");
    s.join("bert");
    s.wait(2_000);
    s.heartbeat("anna", 1);
    s.commit("anna", 1, 5);
    s.join("anna");
    s.sync("anna", 2, &[("anna", "t-0"), ("bert", "t-1")]);
    s.sync("bert", 2, &[]);
    s.check("a_late_consumer");
}

#[test]
fn a_consumer_crashes() {
    let mut s =
        Story::new("One of two consumers crashes; its session ends and the other takes over.");
    for who in ["anna", "bert"] {
        s.join(who);
        s.join(who);
    }
    s.wait(100);
    s.sync("anna", 1, &[("anna", "t-0"), ("bert", "t-1")]);
    s.sync("bert", 1, &[]);
    s.chapter("Anna falls silent.");
    for _ in 0..4 {
        s.wait(3_000);
        s.heartbeat("bert", 1);
    }
    s.join("bert");
    s.sync("bert", 2, &[("bert", "t-0 t-1")]);
    s.chapter("Anna was only slow, and starts over.");
    s.heartbeat("anna", 1);
    s.ids.remove("anna");
    s.join("anna");
    s.join("anna");
    s.wait(1_000);
    s.heartbeat("bert", 2);
    s.join("bert");
    s.check("a_crash");
}

#[test]
fn a_consumer_dies_between_join_and_sync() {
    let mut s =
        Story::new("The leader dies after the join: nobody has a share until it is removed.");
    for who in ["anna", "bert"] {
        s.join(who);
        s.join(who);
    }
    s.wait(100);
    s.sync("bert", 1, &[]);
    s.chapter("Anna, who leads, is gone for good.");
    s.wait(10_000);
    s.join("bert");
    s.sync("bert", 2, &[("bert", "t-0 t-1")]);
    s.check("a_leader_dies");
}

#[test]
fn static_members_come_back() {
    let mut s = Story::new("Static members are restarted one by one, and nobody else notices.");
    s.join_static("x");
    s.join_static("y");
    s.wait(100);
    s.sync("x", 1, &[("x", "t-0"), ("y", "t-1")]);
    s.sync("y", 1, &[]);
    s.chapter("The follower is restarted.");
    s.join_static("y");
    s.sync("y", 1, &[]);
    s.heartbeat("x", 1);
    s.chapter("The leader is restarted.");
    s.join_static("x");
    s.sync("x", 1, &[]);
    s.chapter("One of them never comes back.");
    for _ in 0..4 {
        s.wait(3_000);
        s.heartbeat("x", 1);
    }
    s.check("static_members");
}

#[test]
fn company_for_the_first_rebalance() {
    let mut s = Story::new(
        "Members arrive one after the other; each gives the next one 100 ms, all in all 500 ms.",
    );
    for who in ["anna", "bert", "carl", "dora", "emil", "fred", "gina"] {
        s.join(who);
        s.join(who);
        s.wait(90);
    }
    s.chapter("Gina came too late; she is in the next generation, as soon as the others have heard of it.");
    for who in ["anna", "bert", "carl", "dora", "emil", "fred"] {
        s.join(who);
    }
    s.check("the_first_rebalance");
}
