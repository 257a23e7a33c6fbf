//! Consumer groups with everything that can go wrong, from a seed: members that come, fall silent, lose answers, leave and
//! come back, topics that grow, a journal that fails, restarts. In half of the seeds some members speak the classic protocol,
//! and whoever comes back may speak the other one, so that groups change between the kinds (`classic_clients`). No partition ever has two owners in one epoch, and once
//! all is calm every group settles. `RUSTKA_SIMULATION_SEED=7 cargo test -p rustka-core consumer_simulation` plays one.

mod classic_clients;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::world::*;
use crate::error::ErrorCode;
use crate::group::GroupOptions;
use crate::group::command::*;
use crate::group::consumer::places::{Place, Places};
use crate::group::consumer::topics::{Topic, Topics};
use crate::group::consumer::{Beat, Settings};
use crate::group::effects::*;
use classic_clients::Classic;

const SEEDS: std::ops::Range<u64> = 0..120;
const CLIENTS: u64 = 6;
const STEPS: usize = 400;
/// Heartbeats until a group that nothing happens to any more must have settled.
const CALM_ROUNDS: usize = 60;

struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

#[derive(Default)]
struct Client {
    number: u64,
    /// How often it was started: its member id is another each time.
    life: u64,
    instance: Option<Name>,
    is_member: bool,
    epoch: i32,
    owned: BTreeSet<Place>,
    assignor: Option<&'static str>,
    wants_more: bool,
    /// What it has to tell: it has given something up, or got something.
    has_news: bool,
    /// It has not heard what became of its last heartbeat, and says everything in the next one.
    is_unsure: bool,
    waiting: Option<(Ticket, i32)>,
    /// The group's when it last asked: an answer that comes late is of that one.
    era: usize,
    /// Where it stands, if it speaks the classic protocol.
    classic: Option<Classic>,
}

impl Client {
    fn id(&self) -> Name {
        n(&format!("c{}-{}", self.number, self.life))
    }

    /// Who it is to the outside, whatever its member id.
    fn owner(&self) -> Name {
        self.instance.clone().unwrap_or_else(|| self.id())
    }

    fn forget(&mut self) {
        self.is_member = false;
        self.epoch = 0;
        self.owned.clear();
        self.has_news = false;
        self.is_unsure = false;
        self.waiting = None;
        if let Some(classic) = &mut self.classic {
            *classic = Classic::new(self.number);
        }
    }

    /// Whatever was asked is not answered any more.
    fn hear_nothing(&mut self) {
        self.is_unsure |= self.waiting.take().is_some();
    }
}

struct Simulation {
    w: World,
    chance: Chance,
    clients: Vec<Client>,
    sizes: [i32; 2],
    topics: Arc<Topics>,
    version: u64,
    owners: BTreeMap<(usize, i32, Place), Name>,
    /// How often the group was without members. It begins anew then, with epochs that were used before.
    era: usize,
    shares: usize,
    /// How often the group has changed from one kind to the other with members inside.
    migrations: usize,
    was_classic: bool,
    /// Whether clients speak either protocol.
    is_mixed: bool,
}

impl Simulation {
    fn new(seed: u64) -> Simulation {
        let is_mixed = !seed.is_multiple_of(2);
        let client = |number: u64| Client {
            classic: (is_mixed && number % 4 >= 2).then(|| Classic::new(number)),
            number,
            instance: (number.is_multiple_of(3)).then(|| n(&format!("i{number}"))),
            assignor: (number % 4 == 1).then_some("range"),
            wants_more: number.is_multiple_of(2),
            ..Client::default()
        };
        let mut simulation = Simulation {
            w: World::strict(),
            chance: Chance(seed),
            clients: (0..CLIENTS).map(client).collect(),
            sizes: [4, 3],
            topics: Arc::default(),
            version: 0,
            owners: BTreeMap::new(),
            era: 0,
            shares: 0,
            migrations: 0,
            was_classic: true,
            is_mixed,
        };
        simulation.show_topics();
        simulation
    }

    fn show_topics(&mut self) {
        self.version += 1;
        let topics = ["t", "u"].iter().zip(self.sizes).zip([1u8, 2]);
        let topics = topics.map(|((name, partitions), id)| {
            let id = [id; 16];
            (n(name), Topic { id, partitions })
        });
        let topics = Arc::new(Topics::new(self.version, topics));
        self.w.shard.set_topics(&topics);
        self.topics = topics;
    }

    fn beat(&self, at: usize, epoch: i32) -> Beat {
        let client = &self.clients[at];
        let joins = epoch == 0;
        let is_full = joins || client.is_unsure && epoch > 0;
        let topics = match client.wants_more {
            true => vec![n("t"), n("u")],
            false => vec![n("t")],
        };
        Beat {
            group: n("g"),
            member_id: client.id(),
            epoch,
            instance_id: client.instance.clone(),
            rack_id: None,
            rebalance_timeout_ms: if is_full { 8_000 } else { -1 },
            topics: is_full.then_some(topics),
            expression: None,
            assignor: client.assignor.filter(|_| joins).map(n),
            owned: match (joins, client.has_news || client.is_unsure) {
                (true, _) => Some(Places::default()),
                (false, true) => Some(client.owned.iter().copied().collect()),
                (false, false) => None,
            },
            client_id: n("c"),
            client_host: n("/127.0.0.1"),
            settings: Settings {
                session_timeout_ms: 10_000,
                heartbeat_interval_ms: 1_000,
                assignment_interval_ms: 500,
                refresh_interval_ms: 600_000,
                hurries: true,
            },
        }
    }

    fn heartbeat(&mut self, at: usize) {
        if self.clients[at].waiting.is_some() {
            return;
        }
        self.clients[at].era = self.era;
        if self.clients[at].classic.is_some() {
            return self.ask_as_classic(at);
        }
        let epoch = match self.clients[at].is_member {
            true => self.clients[at].epoch,
            false => {
                self.clients[at].owned.clear();
                0
            }
        };
        let beat = self.beat(at, epoch);
        let ticket = self.w.send(Command::ConsumerBeat(Box::new(beat)));
        self.clients[at].waiting = Some((ticket, epoch));
    }

    fn leave(&mut self, at: usize) {
        let client = &self.clients[at];
        if !client.is_member || client.waiting.is_some() {
            return;
        }
        if client.classic.is_some() {
            return self.leave_as_classic(at);
        }
        let epoch = match client.instance.is_some() && self.chance.below(2) == 0 {
            true => -2,
            false => -1,
        };
        let beat = self.beat(at, epoch);
        self.w.send(Command::ConsumerBeat(Box::new(beat)));
        self.live_anew(at);
    }

    /// The client begins another life, of which the former one's end is not always told.
    fn live_anew(&mut self, at: usize) {
        let changes = self.is_mixed && self.chance.below(2) == 0;
        let client = &mut self.clients[at];
        if changes {
            client.classic = match client.classic {
                None => Some(Classic::new(client.number)),
                Some(_) => None,
            };
        }
        client.forget();
        client.life += 1;
    }

    /// Everybody reads the answers that are there.
    fn hear(&mut self) {
        for at in 0..self.clients.len() {
            let Some((ticket, _)) = self.clients[at].waiting else {
                continue;
            };
            let Some(reply) = self.w.answers.remove(&ticket) else {
                continue;
            };
            self.clients[at].waiting = None;
            let is_lost = self.chance.below(12) == 0;
            self.clients[at].is_unsure = is_lost;
            match reply {
                // The client never sees it.
                _ if is_lost => {}
                Reply::ConsumerBeat(Ok(beaten)) => self.take(at, beaten.epoch, beaten.assignment),
                Reply::ConsumerBeat(Err(refusal)) => self.refused(at, refusal.code),
                reply => self.hear_as_classic(at, reply),
            }
        }
    }

    /// A group without members begins anew as one of either kind.
    fn look_at_news(&mut self) {
        let is_empty = |event: Event| matches!(event, Event::State { state: "Empty", .. });
        let began_anew = std::mem::take(&mut self.w.events).into_iter().any(is_empty);
        self.era += usize::from(began_anew);
        let is_classic = self.w.shard.consumer_groups() == 0;
        let changed = std::mem::replace(&mut self.was_classic, is_classic) != is_classic;
        if changed && !began_anew {
            self.migrations += 1;
        }
    }

    /// The client works on what it owns, in this epoch.
    fn work(&mut self, at: usize, epoch: i32) {
        let client = &self.clients[at];
        let owner = client.owner();
        for place in client.owned.clone() {
            self.shares += 1;
            let known = self.owners.entry((client.era, epoch, place));
            let known = known.or_insert_with(|| owner.clone());
            assert_eq!(*known, owner, "{place:?} has two owners in epoch {epoch}");
        }
    }

    fn take(&mut self, at: usize, epoch: i32, assignment: Option<Places>) {
        let client = &mut self.clients[at];
        client.is_member = true;
        client.epoch = epoch;
        client.has_news = false;
        if let Some(assignment) = assignment {
            let now: BTreeSet<Place> = assignment.iter().copied().collect();
            client.has_news = now != client.owned;
            client.owned = now;
        }
        self.work(at, epoch);
    }

    fn refused(&mut self, at: usize, code: ErrorCode) {
        match code {
            ErrorCode::NotCoordinator => self.clients[at].is_unsure = true,
            ErrorCode::FencedMemberEpoch
            | ErrorCode::UnknownMemberId
            | ErrorCode::FencedInstanceId
            | ErrorCode::GroupIdNotFound => self.clients[at].forget(),
            // Its former life has not ended for the group yet.
            ErrorCode::UnreleasedInstanceId => {}
            // A classic group in which nobody has chosen an assignor cannot change yet.
            ErrorCode::UnknownServerError => {}
            other => panic!("{other:?}"),
        }
    }

    fn step(&mut self) {
        let at = usize::try_from(self.chance.below(CLIENTS)).unwrap();
        match self.chance.below(100) {
            0..=59 => self.heartbeat(at),
            60..=64 => self.leave(at),
            65..=67 => {
                // A crash: the next life knows nothing.
                if let Some((ticket, _)) = self.clients[at].waiting {
                    self.w.disconnect(ticket);
                }
                self.live_anew(at);
            }
            68..=72 => {
                let ms = i64::try_from(self.chance.below(6_000)).unwrap();
                self.w.advance(ms);
            }
            73..=74 => {
                let which = usize::try_from(self.chance.below(2)).unwrap();
                self.sizes[which] = (self.sizes[which] + 1).min(12);
                self.show_topics();
            }
            75..=79 => self.w.journal = Journal::Later,
            80..=84 => {
                self.w.journal = Journal::AtOnce;
                self.w.settle_all();
            }
            85..=87 => {
                // As partitions do, the journal loses with an entry all that stand behind it.
                let open = self.w.open.iter().map(|entry| entry.position);
                let open: Vec<u64> = open.collect();
                let kept = self.chance.below(open.len() as u64 + 1);
                let kept = usize::try_from(kept).unwrap();
                self.w.failing.extend(&open[kept..]);
                self.w.settle_all();
            }
            88 => {
                self.w.settle_all();
                self.hear();
                self.w.restart(GroupOptions::default());
                self.show_topics();
                self.clients.iter_mut().for_each(Client::hear_nothing);
            }
            _ => self.w.advance(300),
        }
        self.look_at_news();
        self.hear();
    }

    /// The group's state, of whatever kind it is.
    fn state(&mut self) -> &'static str {
        let reply = self.w.ask(Command::ListGroups(ListGroups::default()));
        let Reply::ListGroups(groups) = reply else {
            panic!("{reply:?}");
        };
        groups.first().expect("the group").state
    }

    /// Nothing happens any more but heartbeats.
    fn calm(&mut self) {
        self.w.journal = Journal::AtOnce;
        self.w.settle_all();
        self.hear();
        self.clients.iter_mut().for_each(Client::hear_nothing);
        for _ in 0..CALM_ROUNDS {
            for at in 0..self.clients.len() {
                self.heartbeat(at);
                self.look_at_news();
                self.hear();
            }
            self.w.advance(1_000);
        }
        assert_eq!(self.state(), "Stable");
        let mut held = BTreeSet::new();
        for client in &self.clients {
            for place in &client.owned {
                assert!(held.insert(*place), "{place:?} is held twice");
            }
        }
        let all = usize::try_from(self.sizes[0] + self.sizes[1]).unwrap();
        assert_eq!(held.len(), all, "somebody holds each partition");
    }
}

fn seeds() -> Vec<u64> {
    match std::env::var("RUSTKA_SIMULATION_SEED") {
        Ok(seed) => vec![seed.parse().expect("RUSTKA_SIMULATION_SEED is a number")],
        Err(_) => SEEDS.collect(),
    }
}

#[test]
fn whatever_happens_a_partition_has_one_owner_in_an_epoch_and_groups_settle() {
    let (mut shares, mut migrations) = (0, 0);
    for seed in seeds() {
        println!("RUSTKA_SIMULATION_SEED={seed}");
        let mut simulation = Simulation::new(seed);
        for _ in 0..STEPS {
            simulation.step();
        }
        simulation.calm();
        shares += simulation.shares;
        migrations += simulation.migrations;
    }
    assert!(
        shares > 100 * seeds().len(),
        "members did get to work: {shares}"
    );
    // A single seed may have members of one kind alone.
    if seeds().len() > 1 {
        assert!(
            migrations > seeds().len(),
            "groups did change: {migrations}"
        );
    }
}
