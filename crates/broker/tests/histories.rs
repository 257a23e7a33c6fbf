//! Transactional clients of a broker whose storage takes its time, whose connections break and whose coordinator is made
//! anew from its journal, judged by what they have seen. A failure names its seed.

mod common;
mod reading;

use common::producer::{NEWER, OLDER, Producer, added, produced};
use common::{Client, World, fetch_request};
use rustka::fault::{Fault, Point};
use rustka_core::names::TRANSACTION_STATE;
use rustka_core::transaction::command::Command;
use rustka_history::check;
use rustka_history::history::{Arrival, History, Outcome, Transaction, Write};
use rustka_storage::testing::{PLENTY, Random, TestEngine};
use rustka_wire::fetch_request::FetchRequest;
use rustka_wire::fetch_response::FetchResponse;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{JoinSet, LocalSet, yield_now};

const SEEDS: u64 = 12;
const PARTITIONS: i32 = 2;
/// Producers that each writer becomes, and transactions of each.
const LIVES: u64 = 6;
const TRANSACTIONS_PER_LIFE: u64 = 4;
/// A transaction that nobody ends is aborted after this long.
const TIMEOUT_MS: i32 = 200;
/// What a client is told that has to ask again.
const PASSING: [i16; 5] = [14, 15, 16, 19, 51];
/// So often it does.
const TRIES_MAX: usize = 400;

struct Run {
    world: World,
    engine: Arc<TestEngine>,
    random: RefCell<Random>,
    history: RefCell<History>,
    tick: Cell<u64>,
    value: Cell<u64>,
    writers: Cell<usize>,
}

impl Run {
    fn tick(&self) -> u64 {
        self.tick.set(self.tick.get() + 1);
        self.tick.get()
    }

    fn one_in(&self, n: u64) -> bool {
        self.random.borrow_mut().below(n) == 0
    }

    fn note<T>(&self, at: usize, note: impl FnOnce(&mut Transaction) -> T) -> T {
        note(&mut self.history.borrow_mut().transactions[at])
    }

    fn over(&self, at: usize, outcome: Outcome) {
        let tick = self.tick();
        self.note(at, |it| (it.outcome, it.ended) = (outcome, Some(tick)));
    }
}

/// Lets others go on.
async fn pause(run: &Run) {
    let turns = 1 + run.random.borrow_mut().below(40);
    for _ in 0..turns {
        yield_now().await;
    }
}

/// Writes under an id, as one producer after the other. Two do under the same.
async fn writer(run: Rc<Run>, id: &'static str, newer: bool) {
    for _ in 0..LIVES {
        let mut client = run.world.connect();
        let mut me = loop {
            let (code, me) = Producer::try_init(&mut client, id, TIMEOUT_MS).await;
            if code == 0 {
                break me;
            }
            pause(&run).await;
        };
        let instance = (me.producer_id as u64) << 16 | me.epoch as u64;
        let at = run.tick();
        run.history.borrow_mut().arrivals.push(Arrival {
            id: id.to_owned(),
            instance,
            at,
        });
        let mut sequences = BTreeMap::new();
        for _ in 0..TRANSACTIONS_PER_LIFE {
            let Some(next) =
                transaction(&run, &mut client, &me, instance, newer, &mut sequences).await
            else {
                break;
            };
            if next != me {
                sequences.clear();
            }
            me = next;
        }
        drop(client);
        pause(&run).await;
    }
    run.writers.set(run.writers.get() - 1);
}

/// One transaction; who the producer is afterwards, if it may go on.
async fn transaction(
    run: &Run,
    client: &mut Client,
    me: &Producer,
    instance: u64,
    newer: bool,
    sequences: &mut BTreeMap<i32, i32>,
) -> Option<Producer> {
    let versions = if newer { NEWER } else { OLDER };
    let at = run.history.borrow().transactions.len();
    let began = run.tick();
    let begun = Transaction::begun(Some(&me.id), instance, began);
    run.history.borrow_mut().transactions.push(begun);
    if !newer {
        let mut code = 51;
        for _ in 0..TRIES_MAX {
            me.send_add(client, "t", &[0, 1]).await;
            code = added(client).await;
            if !PASSING.contains(&code) {
                break;
            }
            pause(run).await;
        }
        if code != 0 {
            run.over(at, Outcome::NotDone);
            return None;
        }
    }
    let batches = 1 + run.random.borrow_mut().below(3);
    for _ in 0..batches {
        let partition = run.random.borrow_mut().below(PARTITIONS as u64) as i32;
        if !write(
            run,
            client,
            me,
            at,
            versions.produce >= NEWER.produce,
            partition,
            sequences,
        )
        .await
        {
            run.over(at, Outcome::NotDone);
            return None;
        }
    }
    let commit = !run.one_in(4);
    if commit {
        let tick = run.tick();
        run.note(at, |it| it.commit_asked = Some(tick));
    }
    for tried in 0..TRIES_MAX {
        me.send_end(client, versions, commit).await;
        if run.one_in(12) {
            // The connection breaks, and nobody will hear the answer.
            *client = run.world.connect();
            let outcome = if commit {
                Outcome::Unknown
            } else {
                Outcome::NotDone
            };
            run.over(at, outcome);
            return None;
        }
        let (code, next) = me.ended(client, versions).await;
        match (code, commit) {
            (0, true) => run.over(at, Outcome::Done),
            (0, false) => run.over(at, Outcome::NotDone),
            _ if PASSING.contains(&code) => {
                pause(run).await;
                continue;
            }
            // A try before may have been heard.
            (_, true) if tried > 0 => {
                run.over(at, Outcome::Unknown);
                return None;
            }
            _ => {
                run.over(at, Outcome::NotDone);
                return None;
            }
        }
        return Some(next);
    }
    run.over(at, Outcome::Unknown);
    None
}

/// A batch of a few records; whether it was answered.
async fn write(
    run: &Run,
    client: &mut Client,
    me: &Producer,
    at: usize,
    newer: bool,
    partition: i32,
    sequences: &mut BTreeMap<i32, i32>,
) -> bool {
    let versions = if newer { NEWER } else { OLDER };
    let count = 1 + run.random.borrow_mut().below(3);
    let values: Vec<u64> = (0..count)
        .map(|_| {
            run.value.set(run.value.get() + 1);
            run.value.get()
        })
        .collect();
    let first = run.note(at, |it| {
        let first = it.writes.len();
        it.writes.extend(values.iter().map(|value| Write {
            value: *value,
            source: None,
            place: partition as u32,
            outcome: Outcome::Unknown,
            offset: None,
        }));
        first
    });
    let bytes: Vec<[u8; 8]> = values.iter().map(|value| value.to_be_bytes()).collect();
    let records: Vec<&[u8]> = bytes.iter().map(|value| value.as_slice()).collect();
    let sequence = sequences.entry(partition).or_insert(0);
    for _ in 0..TRIES_MAX {
        let place = ("t", partition);
        me.send_records(client, versions, place, *sequence, &records)
            .await;
        if run.one_in(25) {
            *client = run.world.connect();
            return false;
        }
        let (code, offset) = produced(client, versions).await;
        if code == 0 {
            *sequence += values.len() as i32;
            run.note(at, |it| {
                for (n, write) in it.writes.iter_mut().skip(first).enumerate() {
                    write.outcome = Outcome::Done;
                    write.offset = Some(offset + n as i64);
                }
            });
            return true;
        }
        if !PASSING.contains(&code) {
            return false;
        }
        pause(run).await;
    }
    false
}

/// Reads a partition from an offset on; where it goes on.
async fn poll(run: &Run, client: &mut Client, partition: i32, from: i64, committed: bool) -> i64 {
    let request = FetchRequest {
        isolation_level: committed.into(),
        ..fetch_request("t", partition, from, 0)
    };
    let began = run.tick();
    let answer = client.ask(FetchRequest::KEY, 12, &request).await;
    let body: FetchResponse<'_> = answer.body();
    let told = &body.responses[0].partitions[0];
    assert_eq!(told.error_code, 0);
    let poll = reading::poll((began, run.tick()), partition as u32, from, committed, told);
    let next = poll.next;
    run.history.borrow_mut().polls.push(poll);
    next
}

async fn reader(run: Rc<Run>, committed: bool) {
    let mut client = run.world.connect();
    let (mut partition, mut from) = (0, 0);
    while run.writers.get() > 0 {
        from = poll(&run, &mut client, partition, from, committed).await;
        if run.one_in(6) {
            (partition, from) = (run.random.borrow_mut().below(2) as i32, 0);
        }
        pause(&run).await;
    }
}

/// Writes become durable one by one, time passes, and once in a while the coordinator is made anew.
async fn fate(run: Rc<Run>) {
    let faults = &run.world.broker.node().faults;
    while run.writers.get() > 0 {
        let draw = run.random.borrow_mut().draw();
        run.engine.settle_one(draw);
        if run.one_in(4) {
            run.world.clock.advance(Duration::from_millis(1));
        }
        if run.one_in(2_000) {
            let fault = Fault::within(Point::Decide, TRANSACTION_STATE);
            faults.arm(fault).expect("it fits");
            let transactions = &run.world.broker.parts().transactions;
            let ask = || drop(transactions.call("a", Command::List));
            assert!(catch_unwind(AssertUnwindSafe(ask)).is_err());
        }
        yield_now().await;
    }
}

async fn play(seed: u64) -> History {
    let engine = TestEngine::new(PLENTY);
    let world = World::with(|options| {
        let options = options.engine(engine.clone());
        options.config("transaction.state.log.num.partitions", "1")
    });
    let mut client = world.connect();
    client.create_topic("t", PARTITIONS).await;
    // The journal has to be there before anything is held back.
    Producer::init(&mut client, "a", TIMEOUT_MS).await;
    engine.hold_durability();
    let writers = [
        ("a", true),
        ("a", true),
        ("b", false),
        ("b", false),
        ("c", true),
    ];
    let run = Rc::new(Run {
        world,
        engine,
        random: RefCell::new(Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)),
        history: RefCell::default(),
        tick: Cell::new(0),
        value: Cell::new(0),
        writers: Cell::new(writers.len()),
    });
    let mut tasks = JoinSet::new();
    for (id, newer) in writers {
        tasks.spawn_local(writer(run.clone(), id, newer));
    }
    for committed in [true, false] {
        tasks.spawn_local(reader(run.clone(), committed));
    }
    tasks.spawn_local(fate(run.clone()));
    while let Some(ended) = tasks.join_next().await {
        ended.expect("nobody panics");
    }
    // What is open takes too long, and everything becomes durable.
    for _ in 0..20 {
        run.engine.settle_all(seed);
        run.world.advance_ms(100).await;
    }
    let quiet = run.tick();
    run.history.borrow_mut().quiet_from = Some(quiet);
    for partition in 0..PARTITIONS {
        for committed in [true, false] {
            poll(&run, &mut client, partition, 0, committed).await;
        }
    }
    run.history.take()
}

#[tokio::test]
async fn no_promise_is_broken_by_slow_storage_broken_connections_and_coordinators_made_anew() {
    let (mut committed, mut others) = (0, 0);
    for seed in 0..SEEDS {
        let history = LocalSet::new().run_until(play(seed)).await;
        let anomalies = check(&history);
        assert!(anomalies.is_empty(), "seed {seed}: {anomalies:?}");
        let done = history.transactions.iter();
        let done = done.filter(|it| it.outcome == Outcome::Done).count();
        committed += done;
        others += history.transactions.len() - done;
    }
    let least = SEEDS as usize * 4;
    assert!(committed > least && others > least, "{committed} {others}");
}
