//! Random histories at the memory limit, against a model that knows no chunks: a write is refused only if no order of
//! dropping, closing and compacting could have made room for it, and is taken again as soon as something has.

use rustka_core::account::{Share, Weight};
use rustka_core::batch::{BatchBuilder, BatchHeader, NewRecord};
use rustka_core::config::{BrokerConfig, Overrides, Scope, SharedConfig, TopicConfig};
use rustka_core::log::Origin;
use rustka_core::time::Now;
use rustka_storage::buffer::Slice;
use rustka_storage::engine::{Content, Engine, Incoming};
use rustka_storage::memory::MemoryEngine;
use rustka_storage::{Memory, Partition};
use rustka_wire::codec::Uuid;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

const LIMIT: usize = 2 << 20;
const NOW: Now = Now::new(0, 1_000_000);
/// With few keys compaction makes room for everything, with many of them not always.
const KEYS: [u64; 2] = [12, 100];
/// What chunks may take beyond the batches in them, and what lies between two sizes of blocks.
const ROUNDING_PART: usize = 16;
/// Records that stay leave so much to coordinators.
const KEPT_PART: usize = 8;

struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = self.0.wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// A log with the size of what each key said last.
struct Log {
    partition: Arc<Partition>,
    /// Whether the limit may drop its records.
    may_go: bool,
    live: BTreeMap<u64, usize>,
}

struct World {
    dice: Dice,
    memory: Arc<Memory>,
    engine: MemoryEngine,
    logs: Vec<Log>,
    /// What readers hold, of whichever log.
    held: Vec<Slice>,
    groups: Weight,
    /// Writes that were refused until compaction had made room, and those that were refused even then.
    refused: (usize, usize),
    keys: u64,
}

fn config(policy: &str) -> Arc<SharedConfig> {
    let broker = BrokerConfig::new([], false).expect("a config");
    // Nothing is compacted before memory is full.
    let configs = [
        ("cleanup.policy", Some(policy)),
        ("min.cleanable.dirty.ratio", Some("1.0")),
    ];
    let overrides = Overrides::parse(Scope::Topic, configs).expect("a policy");
    let config = TopicConfig::resolve(&broker, &overrides);
    Arc::new(SharedConfig::new(Arc::new(config)))
}

impl World {
    fn new(seed: u64) -> World {
        let memory = Memory::new(LIMIT);
        let engine = MemoryEngine::new(memory.clone());
        let policies = ["delete", "compact", "compact", "delete", "compact,delete"];
        let logs = (0..).zip(policies).map(|(index, policy)| {
            let may_go = policy.contains("delete");
            let partition = Partition::new(&engine as &dyn Engine, Uuid([1; 16]), index, may_go);
            partition.obey(&config(policy));
            Log {
                partition,
                may_go,
                live: BTreeMap::new(),
            }
        });
        World {
            dice: Dice(seed),
            logs: logs.collect(),
            held: Vec::new(),
            groups: Weight::new(&memory.account, Share::Groups),
            refused: (0, 0),
            keys: KEYS[(seed % 2) as usize],
            memory,
            engine,
        }
    }

    /// The least that could be taken after all dropping, closing and compacting. What readers hold counts whole.
    fn least_bytes(&self) -> usize {
        let logs = self.logs.iter().filter(|log| !log.may_go);
        let live: usize = logs.map(|log| log.live.values().sum::<usize>()).sum();
        let mut blocks: Vec<_> = self.held.iter().map(Slice::block_ref).collect();
        blocks.sort_unstable_by_key(|block| block.address());
        blocks.dedup_by_key(|block| block.address());
        let held: usize = blocks.iter().map(|block| block.bytes()).sum();
        live + live / ROUNDING_PART + held + self.memory.account.total()
    }

    /// What each log holds, and what of it has to stay.
    fn told(&self) -> Vec<(u64, usize)> {
        let logs = self.logs.iter();
        logs.map(|log| (log.partition.bytes(), log.live.values().sum()))
            .collect()
    }

    fn append(&mut self) {
        let at = self.dice.below(self.logs.len() as u64) as usize;
        let key = self.dice.below(self.keys);
        let (least, most) = [(50, 500), (500, 5_000), (5_000, 60_000)][self.dice.below(3) as usize];
        let value = vec![b'v'; (least + self.dice.below(most - least)) as usize];
        let record = NewRecord {
            timestamp: NOW.wall_ms,
            key: Some(&key.to_be_bytes()),
            value: Some(&value),
            ..NewRecord::default()
        };
        let batch = BatchBuilder::new().record(&record).build();
        let mut batch = batch.expect("a batch");
        if self.engine.make_room().is_err() {
            self.press();
            self.refused.0 += 1;
            if let Err(refusal) = self.engine.make_room() {
                self.refused.1 += 1;
                let least = self.least_bytes();
                let reserve = LIMIT / KEPT_PART;
                let kept = self.memory.account.kept().min(reserve);
                assert!(
                    least + reserve - kept > LIMIT - LIMIT / ROUNDING_PART,
                    "refused although {least} bytes would do: {:?}, {:?}",
                    refusal.message,
                    self.told()
                );
                return;
            }
        }
        // Dropped records that a reader still holds may take a little more.
        let taken = self.memory.bytes_taken();
        assert!(taken <= LIMIT + LIMIT / 16, "{taken} bytes are taken");
        let header = BatchHeader::parse(&batch).expect("a header");
        let bytes = header.total_bytes();
        let incoming = Incoming::Copied(&mut batch);
        let log = &mut self.logs[at];
        let appended = log.partition.append(incoming, &header, Origin::Client, NOW);
        let appended = appended.expect("there is room");
        log.live.insert(key, bytes);
        // Who is told so has to see to it.
        if appended.compaction_due {
            while log.partition.compact(NOW, 1).again {}
        }
    }

    /// What a broker does in the background once a write was refused, in any order.
    fn press(&mut self) {
        let mut order: Vec<usize> = (0..self.logs.len()).collect();
        for at in (1..order.len()).rev() {
            order.swap(at, self.dice.below(at as u64 + 1) as usize);
        }
        for at in order {
            let partition = &self.logs[at].partition;
            while partition.press_compaction() {
                if !partition.compact(NOW, 1).again {
                    break;
                }
            }
        }
    }

    fn read(&mut self) {
        let at = self.dice.below(self.logs.len() as u64) as usize;
        let partition = &self.logs[at].partition;
        let closed = partition.closed();
        if closed.is_empty() {
            return;
        }
        let one = self.dice.below(closed.len() as u64) as usize;
        if let Content::Here(bytes) = &closed[one].content {
            self.held.push(bytes.clone());
        }
    }

    fn step(&mut self) {
        match self.dice.below(100) {
            0..90 => self.append(),
            90..94 => self.read(),
            94..98 => self.held.clear(),
            98 => {
                let most = self.memory.account.bytes_max(Share::Groups) as u64;
                let bytes = self.dice.below(most);
                self.groups.set(bytes as usize);
            }
            _ => {
                let at = self.dice.below(self.logs.len() as u64) as usize;
                self.logs[at].partition.roll();
            }
        }
    }
}

/// Writes were refused for good although compaction could have made room.
#[test]
fn a_write_is_refused_only_if_nothing_could_have_made_room() {
    let (mut evicted, mut at_first, mut for_good) = (0, 0, 0);
    for seed in 0..8 {
        let mut world = World::new(seed);
        for _ in 0..2_000 {
            world.step();
        }
        // Whatever filled it: once what stays is gone, everything is taken again.
        world.held.clear();
        world.groups.set(0);
        world.logs.retain(|log| log.may_go);
        for _ in 0..100 {
            world.append();
            assert!(world.engine.make_room().is_ok());
        }
        at_first += world.refused.0;
        for_good += world.refused.1;
        evicted += world.memory.evicted.load(Relaxed);
    }
    assert!(evicted > 0, "the limit was reached");
    assert!(at_first > for_good && for_good > 0, "{at_first} {for_good}");
}
