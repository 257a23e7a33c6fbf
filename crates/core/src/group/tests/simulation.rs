//! Random members, crashes, time and journal failures, from a seed. A failure names its seed:
//! `RUSTKA_SIMULATION_SEED=17 cargo test -p rustka-core simulation` plays that one alone.

use std::collections::BTreeMap;

use super::world::*;
use crate::error::ErrorCode;
use crate::group::command::*;
use crate::group::effects::*;
use crate::group::{GroupOptions, GroupShard};

const PARTITIONS: u8 = 6;
const STEPS: usize = 2_000;
const SEEDS: std::ops::Range<u64> = 0..40;

/// SplitMix64: small, and the same everywhere.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Doing {
    Nothing,
    Joining(Ticket),
    /// Generation, and all members if it leads.
    Joined(i32, Vec<Name>),
    Syncing(Ticket, i32),
    Member(i32),
}

struct Client {
    group: Name,
    instance_id: Option<Name>,
    member_id: Name,
    doing: Doing,
}

enum Question {
    Commit(u8, i64),
    Fetch(u8, i64),
    /// Of which client.
    Heartbeat(usize),
    Leave,
}

struct Simulation {
    w: World,
    chance: Chance,
    clients: Vec<Client>,
    questions: BTreeMap<Ticket, (Name, Question)>,
    /// Who was told to own a partition in a generation.
    owners: BTreeMap<(Name, i32, u8), Name>,
    /// Per group and partition: the highest offset tried, and the highest acknowledged.
    offsets: BTreeMap<(Name, u8), (i64, i64)>,
    options: GroupOptions,
    shares: usize,
    trace: Vec<String>,
}

impl Simulation {
    fn new(seed: u64) -> Simulation {
        let mut chance = Chance(seed);
        let options = GroupOptions {
            strict: chance.one_in(2),
            initial_rebalance_delay_ms: [None, Some(0), Some(1_000)][chance.below(3)],
            ..GroupOptions::default()
        };
        let clients = (0..8).map(|at: usize| Client {
            group: n(["g", "h"][at % 2]),
            instance_id: at.is_multiple_of(3).then(|| n(&format!("i{at}"))),
            member_id: n(""),
            doing: Doing::Nothing,
        });
        let mut w = World::with(options.clone());
        w.journal = [Journal::AtOnce, Journal::Later][chance.below(2)];
        Simulation {
            w,
            clients: clients.collect(),
            chance,
            questions: BTreeMap::new(),
            owners: BTreeMap::new(),
            offsets: BTreeMap::new(),
            options,
            shares: 0,
            trace: Vec::new(),
        }
    }

    fn run(mut self) -> Vec<String> {
        for _ in 0..STEPS {
            self.step();
            self.hear();
        }
        for at in 0..self.clients.len() {
            self.fetch(at);
        }
        // Everybody stops; what was asked must end.
        self.w.settle_all();
        for _ in 0..200 {
            self.w.advance(10_000);
            self.w.settle_all();
        }
        self.hear();
        for client in &self.clients {
            let waits = matches!(client.doing, Doing::Joining(_) | Doing::Syncing(..));
            assert!(
                !waits,
                "{:?} of {} never ended",
                client.doing, client.member_id
            );
        }
        assert!(self.questions.is_empty(), "a question never ended");
        let mut replayed = GroupShard::new(self.options.clone());
        for entry in self.w.durable.values() {
            for record in &entry.records {
                replayed.apply(record.clone());
            }
        }
        let remembered: Vec<_> = self.w.shard.live().collect();
        let on_record: Vec<_> = replayed.live().collect();
        assert_eq!(remembered, on_record, "memory and journal differ");
        let counts = self.w.shard.soft_counts();
        assert_eq!((counts.pending, counts.parked), (0, 0));
        self.trace.push(format!("{} shares", self.shares));
        self.trace
    }

    fn step(&mut self) {
        let at = self.chance.below(self.clients.len());
        match self.chance.below(1_000) {
            0..550 => self.act(at),
            550..700 => {
                let ms = self.chance.below(600) as i64;
                self.w.advance(ms);
            }
            700..900 => {
                if !self.w.open.is_empty() {
                    let at = self.chance.below(self.w.open.len());
                    if self.chance.one_in(25) {
                        let position = self.w.open[at].position;
                        self.w.failing.insert(position);
                    }
                    self.w.settle(at);
                }
            }
            900..975 => self.fetch(at),
            975..983 => self.crash(at),
            983..993 => self.leave(at),
            993..997 => {
                // The next entry will be lost.
                let position = self.w.shard.position() + 1;
                self.w.failing.insert(position);
            }
            _ => self.restart(),
        }
    }

    fn act(&mut self, at: usize) {
        let group = self.clients[at].group.clone();
        let member_id = self.clients[at].member_id.clone();
        let instance_id = self.clients[at].instance_id.clone();
        match self.clients[at].doing.clone() {
            Doing::Nothing => self.join(at),
            Doing::Joined(generation, members) => {
                let share = |(at, id): (usize, &Name)| {
                    let mine = (0..PARTITIONS).filter(|p| usize::from(*p) % members.len() == at);
                    (id.clone(), mine.collect::<Vec<u8>>().into())
                };
                let ticket = self.w.send(Command::Sync(Sync {
                    group,
                    member_id,
                    instance_id,
                    generation,
                    protocol_type: None,
                    protocol_name: None,
                    assignments: members.iter().enumerate().map(share).collect(),
                }));
                self.clients[at].doing = Doing::Syncing(ticket, generation);
            }
            Doing::Member(_) if self.chance.one_in(30) => self.join(at),
            Doing::Member(generation) if self.chance.one_in(2) => {
                let partition = self.chance.below(PARTITIONS.into()) as u8;
                let key = (group.clone(), partition);
                let tried = self.offsets.entry(key).or_insert((-1, -1));
                tried.0 += 1;
                let offset = tried.0;
                let mut commit = self.w.commit_of(&member_id, generation, offset);
                commit.group = group.clone();
                commit.instance_id = instance_id;
                commit.topics[0].partitions[0].partition = partition.into();
                let ticket = self.w.send(Command::OffsetCommit(commit));
                let question = Question::Commit(partition, offset);
                self.questions.insert(ticket, (group, question));
            }
            Doing::Member(generation) => {
                let ticket = self.w.send(Command::Heartbeat(Heartbeat {
                    group: group.clone(),
                    member_id,
                    instance_id,
                    generation,
                }));
                self.questions
                    .insert(ticket, (group, Question::Heartbeat(at)));
            }
            Doing::Joining(_) | Doing::Syncing(..) => {}
        }
    }

    fn join(&mut self, at: usize) {
        let mut join = self.w.join_of("c", "");
        let client = &mut self.clients[at];
        join.group = client.group.clone();
        join.member_id = client.member_id.clone();
        join.instance_id = client.instance_id.clone();
        join.rebalance_timeout_ms = [5_000, 20_000, 60_000][self.chance.below(3)];
        join.member_id_required = self.chance.below(4) > 0;
        join.skip_assignment = self.chance.one_in(2);
        let topics: &[&str] = if self.chance.one_in(2) {
            &["t"]
        } else {
            &["t", "u"]
        };
        join.protocols = vec![protocol("range", topics), protocol("robin", topics)];
        if self.chance.one_in(2) {
            join.protocols.swap(0, 1);
        }
        client.doing = Doing::Joining(self.w.send(Command::Join(join)));
    }

    fn fetch(&mut self, at: usize) {
        let group = self.clients[at].group.clone();
        let partition = self.chance.below(PARTITIONS.into()) as u8;
        let known = self.offsets.get(&(group.clone(), partition));
        let acknowledged = known.map_or(-1, |known| known.1);
        let ticket = self.w.send(Command::OffsetFetch(OffsetFetch {
            group: group.clone(),
            topics: Some(vec![TopicPartitions {
                topic: n("t"),
                topic_id: NO_TOPIC_ID,
                partitions: vec![partition.into()],
            }]),
            member: (None, -1),
            require_stable: false,
        }));
        let question = Question::Fetch(partition, acknowledged);
        self.questions.insert(ticket, (group, question));
    }

    fn crash(&mut self, at: usize) {
        let client = &mut self.clients[at];
        if let Doing::Joining(ticket) | Doing::Syncing(ticket, _) = client.doing {
            self.w.disconnect(ticket);
            self.w.answers.remove(&ticket);
        }
        client.member_id = n("");
        client.doing = Doing::Nothing;
    }

    fn leave(&mut self, at: usize) {
        let client = &mut self.clients[at];
        if !matches!(client.doing, Doing::Member(_) | Doing::Joined(..)) {
            return;
        }
        let group = client.group.clone();
        let leaver = Leaver {
            member_id: std::mem::replace(&mut client.member_id, n("")),
            instance_id: client.instance_id.clone(),
        };
        client.doing = Doing::Nothing;
        let ticket = self.w.send(Command::Leave(Leave {
            group: group.clone(),
            members: vec![leaver],
        }));
        self.questions.insert(ticket, (group, Question::Leave));
    }

    fn restart(&mut self) {
        self.w.restart(self.options.clone());
        self.questions.clear();
        for client in &mut self.clients {
            if matches!(client.doing, Doing::Joining(_) | Doing::Syncing(..)) {
                client.doing = Doing::Nothing;
            }
        }
        self.trace.push("restart".into());
    }

    fn hear(&mut self) {
        for (ticket, reply) in std::mem::take(&mut self.w.sent) {
            self.trace.push(format!("{ticket:?} {reply:?}"));
            self.w.answers.remove(&ticket);
            if let Some((group, question)) = self.questions.remove(&ticket) {
                self.hear_answer(group, question, reply);
                continue;
            }
            let asked = |client: &&mut Client| matches!(client.doing, Doing::Joining(t) | Doing::Syncing(t, _) if t == ticket);
            let Some(client) = self.clients.iter_mut().find(asked) else {
                continue;
            };
            match reply {
                Reply::Join(Ok(joined)) => {
                    client.member_id = joined.member_id.clone();
                    let leads = joined.leader == joined.member_id && !joined.skip_assignment;
                    let members = joined.members.into_iter().map(|m| m.member_id);
                    let members = if leads { members.collect() } else { Vec::new() };
                    client.doing = Doing::Joined(joined.generation, members);
                }
                Reply::Join(Err(refused)) => {
                    let comes_back = [ErrorCode::MemberIdRequired, ErrorCode::RebalanceInProgress];
                    client.member_id = if comes_back.contains(&refused.code) {
                        refused.member_id
                    } else {
                        n("")
                    };
                    client.doing = Doing::Nothing;
                }
                Reply::Sync(Ok(synced)) => {
                    let Doing::Syncing(_, generation) = client.doing else {
                        panic!("a sync was answered that nobody asked");
                    };
                    client.doing = Doing::Member(generation);
                    self.shares += 1;
                    let me = client.instance_id.clone();
                    let me = me.unwrap_or_else(|| client.member_id.clone());
                    for partition in synced.assignment.iter() {
                        let key = (client.group.clone(), generation, *partition);
                        let owner = self.owners.entry(key.clone()).or_insert_with(|| me.clone());
                        assert_eq!(*owner, me, "{key:?} has two owners");
                    }
                }
                Reply::Sync(Err(_)) => client.doing = Doing::Nothing,
                other => panic!("{other:?}"),
            }
        }
    }

    fn hear_answer(&mut self, group: Name, question: Question, reply: Reply) {
        match (question, reply) {
            (Question::Commit(partition, offset), reply @ Reply::OffsetCommit(_)) => {
                if first_code(reply) == ErrorCode::None {
                    let known = self.offsets.get_mut(&(group, partition)).unwrap();
                    known.1 = known.1.max(offset);
                }
            }
            (Question::Fetch(partition, at_least), Reply::OffsetFetch(Ok(topics))) => {
                let offset = topics[0].partitions[0].offset;
                let tried = self.offsets.get(&(group.clone(), partition));
                let tried = tried.map_or(-1, |known| known.0);
                assert!(
                    (at_least..=tried).contains(&offset),
                    "{group} {partition}: {offset} is not in {at_least}..={tried}"
                );
            }
            (Question::Heartbeat(at), Reply::Heartbeat(code)) => {
                let client = &mut self.clients[at];
                let is_member = matches!(client.doing, Doing::Member(_));
                if is_member && code != ErrorCode::None {
                    if code != ErrorCode::RebalanceInProgress {
                        client.member_id = n("");
                    }
                    client.doing = Doing::Nothing;
                }
            }
            (Question::Leave, _) | (_, Reply::OffsetFetch(Err(_))) => {}
            (_, other) => panic!("{other:?} answers another question"),
        }
    }
}

fn seeds() -> Vec<u64> {
    match std::env::var("RUSTKA_SIMULATION_SEED") {
        Ok(seed) => vec![seed.parse().expect("RUSTKA_SIMULATION_SEED is a number")],
        Err(_) => SEEDS.collect(),
    }
}

#[test]
fn whatever_happens_partitions_have_one_owner_offsets_do_not_go_back_and_joins_end() {
    let mut shares = 0;
    for seed in seeds() {
        println!("RUSTKA_SIMULATION_SEED={seed}");
        let trace = Simulation::new(seed).run();
        let last = trace.last().unwrap();
        shares += last.trim_end_matches(" shares").parse::<usize>().unwrap();
    }
    assert!(
        shares > 20 * seeds().len(),
        "members did get to work: {shares}"
    );
}

#[test]
fn the_same_seed_is_the_same_story() {
    for seed in seeds().into_iter().take(5) {
        let (first, second) = (Simulation::new(seed).run(), Simulation::new(seed).run());
        assert!(first == second, "seed {seed} tells two stories");
    }
}
