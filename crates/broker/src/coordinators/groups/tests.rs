//! Shards with journals that answer at once, later, out of step, or not at all. The machine's own seeded simulation
//! is in core; here it is about who is told what, and when.

use super::*;
use crate::base::clock::Clock;
use crate::base::fault::Fault;
use crate::broker::Broker;
use crate::coordinators::answer::Waiting;
use rustka_core::batch::{BatchHeader, Records, record_bytes};
use rustka_core::error::ErrorCode;
use rustka_core::group::command::{
    CommitPartition, CommitTopic, Heartbeat, Join, NO_TOPIC_ID, OffsetCommit, OffsetFetch,
    Protocol, Sync,
};
use rustka_core::group::effects::{Effects, Synced};
use rustka_core::machine::{Machine as _, Ticket};
use rustka_storage::Durability;
use rustka_storage::partition::Fate;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};

const START_MS: i64 = 1_760_000_000_000;

/// What a journal is told to do, and what it has learnt.
#[derive(Default)]
struct Script {
    /// Whether entries wait for their fate to be told.
    later: bool,
    /// Entries that are refused, by their number from 1 on.
    refused: BTreeSet<i64>,
    appended: i64,
    /// What was appended, by its number.
    written: BTreeMap<i64, Vec<Record>>,
    fates: BTreeMap<i64, Fate>,
}

struct Scripted(Arc<Mutex<Script>>);

impl Writes<Record> for Scripted {
    fn append(&mut self, records: &[Record], _: Now) -> Result<Durability, ErrorCode> {
        let mut script = self.0.lock().unwrap();
        script.appended += 1;
        let at = script.appended;
        if !script.refused.contains(&at) {
            script.written.insert(at, records.to_vec());
        }
        match script.later {
            _ if script.refused.contains(&at) => Err(ErrorCode::KafkaStorageError),
            true => Ok(Durability::At(at)),
            false => Ok(Durability::Done),
        }
    }

    fn replay(&mut self, _: Now, apply: &mut dyn FnMut(Record)) -> Result<(), ErrorCode> {
        let script = self.0.lock().unwrap();
        let is_lost = |at: &i64| script.fates.get(at) == Some(&Fate::Failed);
        let kept = script.written.iter().filter(|(at, _)| !is_lost(at));
        kept.flat_map(|(_, records)| records.clone())
            .for_each(apply);
        Ok(())
    }

    fn fate(&self, at: i64) -> Fate {
        let script = self.0.lock().unwrap();
        script.fates.get(&at).copied().unwrap_or(Fate::Pending)
    }
}

/// A broker with one group shard.
struct World {
    broker: Broker,
    clock: Clock,
    script: Arc<Mutex<Script>>,
}

impl World {
    fn start(script: Script) -> World {
        let world = World::with_partition();
        let script = Arc::new(Mutex::new(script));
        let (shards, at) = world.broker.parts().groups.of("g");
        shards[at].write_to(Box::new(Scripted(script.clone())));
        World { script, ..world }
    }

    /// The real journal: a partition.
    fn with_partition() -> World {
        World::with_options(|options| options)
    }

    fn with_options(options: impl FnOnce(crate::Options) -> crate::Options) -> World {
        let clock = Clock::manual(START_MS);
        let base = Broker::builder()
            .sockets(false)
            .clock(clock.clone())
            .config("offsets.topic.num.partitions", "1")
            .config("group.initial.rebalance.delay.ms", "0");
        let broker = options(base).start().expect("a broker");
        World {
            broker,
            clock,
            script: Arc::default(),
        }
    }

    fn call(&self, command: Command) -> Pending {
        match self.broker.parts().groups.call("g", command) {
            Answer::Now(reply) => Pending(None, Some(reply)),
            Answer::Later(waiting) => Pending(Some(waiting), None),
            Answer::Never => panic!("the shard has a journal"),
        }
    }

    /// A fate is known; the task of the groups takes note of it.
    async fn tell(&self, at: i64, fate: Fate) {
        self.script.lock().unwrap().fates.insert(at, fate);
        let groups = &self.broker.parts().groups;
        groups.shard(0).expect("a shard").journal_told();
        groups.wake(Some(i64::MIN));
        for _ in 0..16 {
            tokio::task::yield_now().await;
        }
    }

    fn journal_partition(&self) -> Option<Arc<Partition>> {
        self.broker.parts().groups.journal_partition(0)
    }

    /// Does what is due.
    fn expire(&self) {
        let groups = &self.broker.parts().groups;
        groups.shards.made()[0].expire(&**groups, self.clock.now());
    }

    fn appended(&self) -> i64 {
        self.script.lock().unwrap().appended
    }

    fn commit(&self, group: &str, offset: i64) -> Pending {
        self.call(commit(group, "", -1, offset))
    }

    /// The committed offset, once that may be told.
    fn fetch(&self, group: &str) -> Pending {
        self.call(Command::OffsetFetch(OffsetFetch {
            group: group.into(),
            topics: None,
            member: (None, -1),
            require_stable: false,
        }))
    }
}

/// An answer that may still be on its way.
struct Pending(Option<Waiting<Machine>>, Option<Reply>);

impl Pending {
    fn poll(&mut self) -> Option<&Reply> {
        if let Some(waiting) = &mut self.0 {
            let mut cx = Context::from_waker(Waker::noop());
            if let Poll::Ready(reply) = pin!(&mut *waiting).poll(&mut cx) {
                self.0 = None;
                self.1 = Some(reply.expect("the coordinator is here"));
            }
        }
        self.1.as_ref()
    }

    fn is_here(&mut self) -> bool {
        self.poll().is_some()
    }

    fn get(mut self) -> Reply {
        self.poll().expect("the answer is here").clone()
    }

    fn commit_code(self) -> ErrorCode {
        match self.get() {
            Reply::OffsetCommit(topics) => topics[0].partitions[0].1,
            other => panic!("{other:?}"),
        }
    }

    fn offset(self) -> Option<i64> {
        match self.get() {
            Reply::OffsetFetch(Ok(topics)) => topics.first().map(|t| t.partitions[0].offset),
            other => panic!("{other:?}"),
        }
    }
}

fn commit(group: &str, member: &str, generation: i32, offset: i64) -> Command {
    Command::OffsetCommit(OffsetCommit {
        group: group.into(),
        member_id: member.into(),
        instance_id: None,
        generation,
        retention_ms: None,
        knows_epochs: true,
        topics: vec![CommitTopic {
            topic: "t".into(),
            topic_id: NO_TOPIC_ID,
            partitions: vec![CommitPartition {
                partition: 0,
                offset,
                leader_epoch: -1,
                metadata: "".into(),
            }],
        }],
    })
}

fn join(group: &str, id: u8) -> Command {
    Command::Join(Join {
        group: group.into(),
        member_id: "".into(),
        instance_id: None,
        client_id: "c".into(),
        client_host: "/127.0.0.1".into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 60_000,
        protocol_type: "consumer".into(),
        protocols: vec![Protocol {
            name: "range".into(),
            metadata: vec![1, 2, 3].into(),
        }],
        member_id_required: false,
        skip_assignment: false,
        uuid: [id; 16],
        assignment_interval_ms: 0,
    })
}

fn sync(group: &str, member: &str, generation: i32) -> Command {
    Command::Sync(Sync {
        group: group.into(),
        member_id: member.into(),
        instance_id: None,
        generation,
        protocol_type: None,
        protocol_name: None,
        assignments: vec![(member.into(), vec![7].into())],
    })
}

#[tokio::test]
async fn a_journal_that_answers_at_once_holds_nothing_back() {
    let w = World::start(Script::default());
    assert_eq!(w.commit("g", 5).commit_code(), ErrorCode::None);
    assert_eq!(w.fetch("g").offset(), Some(5));
}

#[tokio::test]
async fn no_answer_leaves_before_its_position_is_durable() {
    let w = World::start(Script {
        later: true,
        ..Script::default()
    });
    let mut committed = w.commit("g", 5);
    // It has nothing to write, but what it says is not durable yet.
    let mut fetched = w.fetch("g");
    let mut beat = w.call(Command::Heartbeat(Heartbeat {
        group: "g".into(),
        member_id: "nobody".into(),
        instance_id: None,
        generation: 1,
    }));
    assert!(!committed.is_here() && !fetched.is_here() && !beat.is_here());
    w.tell(1, Fate::Durable).await;
    assert_eq!(committed.commit_code(), ErrorCode::None);
    assert_eq!(fetched.offset(), Some(5));
    assert_eq!(beat.get(), Reply::Heartbeat(ErrorCode::UnknownMemberId));
}

#[tokio::test]
async fn a_share_is_handed_out_when_the_assignment_is_durable() {
    let w = World::start(Script {
        later: true,
        ..Script::default()
    });
    let mut joined = w.call(join("g", 1));
    assert!(!joined.is_here(), "the group is not on record yet");
    for at in 1..=w.appended() {
        w.tell(at, Fate::Durable).await;
    }
    let Reply::Join(Ok(joined)) = joined.get() else {
        panic!("joined");
    };
    let before = w.appended();
    let mut share = w.call(sync("g", &joined.member_id, joined.generation));
    assert!(!share.is_here());
    for at in before + 1..=w.appended() {
        w.tell(at, Fate::Durable).await;
    }
    let assigned: Box<[u8]> = vec![7].into();
    assert!(matches!(share.get(),
        Reply::Sync(Ok(Synced { assignment, .. })) if *assignment == *assigned));
}

#[tokio::test]
async fn entries_settled_out_of_step_hold_up_their_own_group_alone() {
    let w = World::start(Script {
        later: true,
        ..Script::default()
    });
    let (mut first, mut second) = (w.commit("g", 1), w.commit("h", 2));
    let (mut third, mut fourth) = (w.commit("g", 3), w.fetch("g"));
    w.tell(2, Fate::Durable).await;
    assert!(second.is_here() && !first.is_here());
    w.tell(3, Fate::Durable).await;
    assert!(!first.is_here() && !third.is_here() && !fourth.is_here());
    w.tell(1, Fate::Durable).await;
    assert_eq!(first.commit_code(), ErrorCode::None);
    assert_eq!(third.commit_code(), ErrorCode::None);
    assert_eq!(fourth.offset(), Some(3));
}

#[tokio::test]
async fn a_lost_entry_costs_its_group_alone() {
    let w = World::start(Script {
        later: true,
        ..Script::default()
    });
    let before = w.commit("g", 1);
    w.tell(1, Fate::Durable).await;
    assert_eq!(before.commit_code(), ErrorCode::None);
    let lost = w.commit("g", 2);
    let mut hearsay = w.fetch("g");
    let other = w.commit("h", 3);
    w.tell(3, Fate::Durable).await;
    assert!(!hearsay.is_here());
    w.tell(2, Fate::Failed).await;
    assert_eq!(lost.commit_code(), ErrorCode::NotCoordinator);
    assert_eq!(
        hearsay.get(),
        Reply::OffsetFetch(Err(ErrorCode::NotCoordinator))
    );
    assert_eq!(other.commit_code(), ErrorCode::None);
    assert_eq!(w.fetch("g").offset(), Some(1));
    assert_eq!(w.fetch("h").offset(), Some(3));
}

/// A member joins, takes its share and commits 9. Whoever is sent away begins anew, as clients do.
fn story(w: &World, group: &str) -> usize {
    let mut sent_away = 0;
    for attempt in 1..=8 {
        let joined = w.call(join(group, attempt));
        w.expire();
        let Reply::Join(Ok(joined)) = joined.get() else {
            sent_away += 1;
            continue;
        };
        let (member, generation) = (joined.member_id, joined.generation);
        if !matches!(
            w.call(sync(group, &member, generation)).get(),
            Reply::Sync(Ok(_))
        ) {
            sent_away += 1;
            w.clock.advance(std::time::Duration::from_secs(61));
            w.expire();
            continue;
        }
        let code = w.call(commit(group, &member, generation, 9)).commit_code();
        if code == ErrorCode::None {
            return sent_away;
        }
        assert_eq!(code, ErrorCode::NotCoordinator);
        assert_eq!(
            w.call(commit(group, &member, generation, 9)).commit_code(),
            ErrorCode::None
        );
        return sent_away + 1;
    }
    panic!("{group} never settles");
}

#[tokio::test]
async fn whichever_append_fails_the_group_recovers_and_others_do_not_notice() {
    let plain = World::start(Script::default());
    assert_eq!(story(&plain, "g"), 0);
    let appends = plain.appended();
    assert!(appends >= 3, "{appends}");
    for nth in 1..=appends {
        let w = World::start(Script {
            refused: [nth + 1].into(),
            ..Script::default()
        });
        assert_eq!(w.commit("h", 4).commit_code(), ErrorCode::None);
        assert_eq!(story(&w, "g"), 1, "append {nth}");
        assert_eq!(w.fetch("g").offset(), Some(9), "append {nth}");
        assert_eq!(w.fetch("h").offset(), Some(4), "append {nth}");
    }
}

#[tokio::test]
async fn who_hangs_up_is_forgotten() {
    let w = World::start(Script {
        later: true,
        ..Script::default()
    });
    let (gone, stays) = (w.commit("g", 1), w.commit("g", 2));
    drop(gone);
    w.tell(1, Fate::Durable).await;
    w.tell(2, Fate::Durable).await;
    assert_eq!(stays.commit_code(), ErrorCode::None);
}

/// Everything in the journal's partition, as a machine that starts anew would read it.
fn replay(w: &World) -> Machine {
    let mut machine = Machine::new(GroupOptions::default());
    let partition = w.journal_partition().expect("a journal");
    let start = partition.offsets().log_start;
    let read = partition.each_batch(start, i64::MAX, |batch| {
        let header = BatchHeader::parse(batch).expect("a batch");
        let bytes = record_bytes(batch, &header, usize::MAX).expect("records");
        for record in Records::new(&bytes, header.record_count) {
            let record = record.expect("a record");
            let key = record.key.expect("a key");
            let record = Record::decode(key, record.value).expect("well-formed");
            machine.apply(record.expect("of a kind that is known"));
        }
        true
    });
    read.expect("readable");
    machine
}

fn live(machine: &Machine) -> Vec<Record> {
    machine.live().collect()
}

/// Attack 42, the groups' part: whenever the coordinator is replaced by one that has read the journal, committed
/// offsets are there, and the members of a rebalance under way are still members and can go on.
#[tokio::test]
async fn a_coordinator_that_restarts_in_the_middle_of_a_rebalance_forgets_nothing() {
    let w = World::with_partition();
    story(&w, "g");
    let mut second = w.call(join("g", 200));
    assert!(!second.is_here(), "waits for the first member");
    let mut machine = replay(&w);
    let now = w.clock.now();
    let mut out = Effects::default();
    machine.loaded(now, &mut out);
    let ticket = Ticket(1);
    let fetch = OffsetFetch {
        group: "g".into(),
        topics: None,
        member: (None, -1),
        require_stable: false,
    };
    machine.handle(now, ticket, Command::OffsetFetch(fetch), &mut out);
    let fetched = out.replies.pop().expect("an answer").reply;
    assert!(matches!(fetched,
        Reply::OffsetFetch(Ok(topics)) if topics[0].partitions[0].offset == 9));
    let group = "g".into();
    machine.handle(now, ticket, Command::DescribeGroup { group }, &mut out);
    let described = out.replies.pop().expect("an answer").reply;
    assert!(matches!(described,
        Reply::DescribeGroup(Ok(Some(group))) if group.members.len() == 1));
}

#[tokio::test]
async fn the_journal_says_what_the_shard_knows_also_once_it_is_compacted() {
    let w = World::with_partition();
    story(&w, "g");
    let offsets = || w.journal_partition().expect("a journal").offsets();
    for offset in 0..30_000 {
        let group = if offset % 3 == 0 { "h" } else { "i" };
        assert_eq!(w.commit(group, offset).commit_code(), ErrorCode::None);
    }
    assert!(offsets().log_start > 0, "compacted");
    let partition = w.journal_partition().expect("a journal");
    assert!(partition.bytes() < 3 << 20, "{}", partition.bytes());
    let machine = replay(&w);
    assert_eq!(
        live(&machine).len(),
        4,
        "a group with members, three offsets"
    );
    let shards = w.broker.parts().groups.shards.made();
    assert_eq!(live(&machine), shards[0].look(live));
}

/// Where the limit is large, a journal below a MiB was never written down anew: fifty of them kept what they said of ten
/// thousand groups that were deleted.
#[tokio::test]
async fn little_is_left_of_a_journal_whose_groups_are_gone() {
    let w = World::with_partition();
    let groups = &w.broker.parts().groups;
    let bytes = || w.journal_partition().expect("a journal").bytes();
    for number in 0..200 {
        let code = w.commit(&format!("group-{number}"), 1).commit_code();
        assert_eq!(code, ErrorCode::None);
    }
    let full = bytes();
    groups.shorten_journals();
    assert!(bytes() < full, "batches of one are written as one");
    assert_eq!(live(&replay(&w)).len(), 200);
    let shortened = bytes();
    groups.shorten_journals();
    assert_eq!(bytes(), shortened, "all of it is needed");
    for number in 1..200 {
        let group = format!("group-{number}").into();
        w.call(Command::DeleteGroup { group }).get();
    }
    assert!(bytes() > shortened);
    groups.shorten_journals();
    assert!(bytes() < shortened / 50, "{} of {shortened}", bytes());
    assert_eq!(live(&replay(&w)).len(), 1);
}

/// Once `__consumer_offsets` had been deleted, each of its shards took as many groups as the whole broker may have.
#[tokio::test]
async fn a_shard_that_lost_its_journal_keeps_its_limits() {
    let world = World::with_options(|options| {
        let options = options.config("offsets.topic.num.partitions", "4");
        options.config("rustka.groups.count.max", "4")
    });
    let accepted = || {
        let commits = (0..10).map(|n| world.commit(&format!("group-{n}"), 1).commit_code());
        commits.filter(|code| *code == ErrorCode::None).count()
    };
    // Every call goes to the shard of "g": twice its even share of the four.
    assert_eq!(accepted(), 2);
    let groups = &world.broker.parts().groups;
    groups.topic_deleted(&groups.offsets_topic().expect("a topic"));
    assert_eq!(world.fetch("group-0").offset(), None, "all groups are gone");
    assert_eq!(accepted(), 2);
}

/// Has the shard panic in the middle of this command, as the connection that asks would see it.
fn panics_in(w: &World, command: Command) {
    let faults = &w.broker.node().faults;
    faults
        .arm(Fault::within(Point::Decide, CONSUMER_OFFSETS))
        .expect("it fits");
    let groups = &w.broker.parts().groups;
    let call = AssertUnwindSafe(|| drop(groups.call("g", command)));
    assert!(catch_unwind(call).is_err(), "a fault was armed");
}

/// After a panic in the middle of a commit, the next request of any group of the shard told an offset that nobody had
/// acknowledged, and wrote it down.
#[tokio::test]
async fn what_was_decided_before_a_panic_is_neither_told_nor_written_down() {
    let w = World::with_partition();
    assert_eq!(w.commit("g", 5).commit_code(), ErrorCode::None);
    panics_in(&w, commit("g", "", -1, 7));
    assert_eq!(w.fetch("g").offset(), Some(5));
    assert_eq!(w.commit("h", 1).commit_code(), ErrorCode::None);
    assert_eq!(live(&replay(&w)).len(), 2, "an offset of each group");
    assert_eq!(w.commit("g", 8).commit_code(), ErrorCode::None);
    assert_eq!(
        (w.fetch("g").offset(), w.fetch("h").offset()),
        (Some(8), Some(1))
    );
}

#[tokio::test]
async fn a_panic_sends_away_who_waits_and_costs_no_group_its_members() {
    let w = World::with_partition();
    let joined = w.call(join("g", 1));
    w.expire();
    let Reply::Join(Ok(joined)) = joined.get() else {
        panic!("joined");
    };
    let (member, generation) = (joined.member_id, joined.generation);
    assert!(matches!(
        w.call(sync("g", &member, generation)).get(),
        Reply::Sync(Ok(_))
    ));
    let Answer::Later(second) = w.broker.parts().groups.call("g", join("g", 3)) else {
        panic!("waits for the first member");
    };
    panics_in(&w, commit("g", "", -1, 7));
    let beat = || {
        w.call(Command::Heartbeat(Heartbeat {
            group: "g".into(),
            member_id: member.clone(),
            instance_id: None,
            generation,
        }))
    };
    assert_eq!(beat().get(), Reply::Heartbeat(ErrorCode::None));
    assert_eq!(second.await, None, "it asks its coordinator again");
    // Sessions count from the panic on.
    w.clock.advance(std::time::Duration::from_millis(9_999));
    w.expire();
    assert_eq!(beat().get(), Reply::Heartbeat(ErrorCode::None));
}

#[tokio::test]
async fn a_panic_in_the_timers_of_one_group_is_not_served_on_either() {
    let w = World::with_partition();
    assert_eq!(w.commit("g", 5).commit_code(), ErrorCode::None);
    w.broker
        .node()
        .faults
        .arm(Fault::within(Point::Decide, CONSUMER_OFFSETS))
        .expect("it fits");
    // All offsets expire with it, and nothing of that is on record.
    w.clock.advance(std::time::Duration::from_secs(8 * 86_400));
    assert!(catch_unwind(AssertUnwindSafe(|| w.expire())).is_err());
    assert_eq!(w.fetch("g").offset(), Some(5));
}

/// Where writing takes time, a machine made anew also knows what is not durable yet. If that is lost it is made again.
#[tokio::test]
async fn what_is_lost_after_a_panic_is_forgotten_by_the_new_machine_too() {
    let w = World::start(Script {
        later: true,
        ..Script::default()
    });
    let first = w.commit("g", 5);
    w.tell(1, Fate::Durable).await;
    assert_eq!(first.commit_code(), ErrorCode::None);
    let _sent_away = w.commit("g", 6);
    panics_in(&w, commit("g", "", -1, 7));
    assert_eq!(w.fetch("g").offset(), Some(6));
    w.script.lock().unwrap().fates.insert(2, Fate::Failed);
    assert_eq!(w.fetch("g").offset(), Some(5));
}

/// The panic may have happened in the partition that is the journal: that comes back first.
#[tokio::test]
async fn a_journal_that_a_panic_took_offline_comes_back_with_its_groups() {
    let w = World::with_partition();
    assert_eq!(w.commit("g", 5).commit_code(), ErrorCode::None);
    let partition = w.journal_partition().expect("a journal");
    let panics = || partition.with_state(|_| panic!("on purpose"));
    assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
    panics_in(&w, commit("g", "", -1, 7));
    assert_eq!(w.fetch("g").offset(), Some(5));
    assert_eq!(w.commit("g", 6).commit_code(), ErrorCode::None);
}
