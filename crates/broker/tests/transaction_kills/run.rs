//! What the clients of a run share: where the broker is in this life, what is written down, and chance.

use crate::process::server::client;
use rustka_client::{Address, Answer, Channel};
use rustka_history::history::{History, Outcome, Transaction};
use rustka_storage::testing::Random;
use rustka_wire::Request;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use tokio::sync::watch;

/// What plain producers write, and transactions copy from.
pub const SOURCE: &str = "source";
/// What transactions write.
pub const TARGET: &str = "target";
/// Of each topic.
pub const PARTITIONS: i32 = 2;
/// The transactional id that copies, in a group of that name.
pub const COPY: &str = "copy";
/// An answer that takes longer will not come.
const ANSWER_MS: i64 = 10_000;

/// See the head of this file.
pub struct Run {
    pub history: RefCell<History>,
    random: RefCell<Random>,
    tick: watch::Sender<u64>,
    /// How many commits have been asked for.
    commits: watch::Sender<u64>,
    value: Cell<u64>,
    /// Where the broker is, and in which life.
    place: watch::Sender<Option<(u64, Address)>>,
    stops: Cell<bool>,
}

impl Run {
    pub fn new(seed: u64) -> Rc<Run> {
        Rc::new(Run {
            history: RefCell::default(),
            random: RefCell::new(Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)),
            tick: watch::Sender::new(0),
            commits: watch::Sender::new(0),
            value: Cell::new(0),
            place: watch::Sender::new(None),
            stops: Cell::new(false),
        })
    }

    /// The broker has begun a life, at this address.
    pub fn lives(&self, address: Address) {
        self.place.send_modify(|place| {
            let life = place.as_ref().map_or(1, |(life, _)| life + 1);
            *place = Some((life, address));
        });
    }

    /// Nobody begins anything any more.
    pub fn stop(&self) {
        self.stops.set(true);
        self.tick();
    }

    pub fn is_stopping(&self) -> bool {
        self.stops.get()
    }

    pub fn tick(&self) -> u64 {
        self.tick.send_modify(|tick| *tick += 1);
        self.now()
    }

    pub fn now(&self) -> u64 {
        *self.tick.borrow()
    }

    /// Waits for a moment, or for the end of the run.
    pub async fn reaches(&self, tick: u64) {
        let mut ticks = self.tick.subscribe();
        let reached = ticks.wait_for(|now| *now >= tick || self.is_stopping());
        reached.await.expect("the run is there");
    }

    /// Somebody asks for a commit.
    pub fn commits(&self) {
        self.commits.send_modify(|commits| *commits += 1);
    }

    /// Waits until somebody has asked for a commit and a few more things have happened.
    pub async fn is_committing(&self, ticks: u64) {
        let mut commits = self.commits.subscribe();
        commits.changed().await.expect("the run is there");
        self.reaches(self.now() + ticks).await;
    }

    /// Leaves the field to whoever has fenced this one.
    pub async fn rest(&self) {
        let ticks = self.below(400);
        self.reaches(self.now() + ticks).await;
    }

    /// Lets others go on.
    pub async fn pause(&self) {
        let ticks = self.below(20);
        self.reaches(self.now() + ticks).await;
    }

    pub fn below(&self, n: u64) -> u64 {
        self.random.borrow_mut().below(n)
    }

    pub fn one_in(&self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub fn partition(&self) -> i32 {
        self.below(PARTITIONS as u64) as i32
    }

    /// A value that no other record has.
    pub fn value(&self) -> u64 {
        self.value.set(self.value.get() + 1);
        self.value.get()
    }

    /// A transaction begins; its place in the history.
    pub fn begin(&self, id: Option<&str>, instance: u64) -> usize {
        let began = self.tick();
        let transactions = &mut self.history.borrow_mut().transactions;
        transactions.push(Transaction::begun(id, instance, began));
        transactions.len() - 1
    }

    pub fn note<T>(&self, at: usize, note: impl FnOnce(&mut Transaction) -> T) -> T {
        note(&mut self.history.borrow_mut().transactions[at])
    }

    pub fn over(&self, at: usize, outcome: Outcome) {
        let tick = self.tick();
        self.note(at, |it| (it.outcome, it.ended) = (outcome, Some(tick)));
    }
}

/// The number of a partition in the history.
pub fn place(topic: &str, partition: i32) -> u32 {
    let first = if topic == TARGET { 0 } else { PARTITIONS };
    (first + partition) as u32
}

/// A connection that is made again in each life.
pub struct Line {
    pub run: Rc<Run>,
    channel: Option<(u64, Channel)>,
}

impl Line {
    pub fn new(run: Rc<Run>) -> Line {
        Line { run, channel: None }
    }

    /// A connection to the broker of this life, which may be over already.
    async fn channel(&mut self) -> Result<(u64, Channel), u64> {
        if let Some(known) = &self.channel {
            return Ok(known.clone());
        }
        let mut places = self.run.place.subscribe();
        let place = places.wait_for(Option::is_some).await;
        let (life, address) = place.expect("the run is there").clone().expect("one");
        let opened = client(address.clone()).open(&address).await;
        let channel = opened.map_err(|_| life)?;
        self.channel = Some((life, channel.clone()));
        Ok((life, channel))
    }

    /// The answer, if it comes in this life of the broker. The request may have been heard in any case.
    pub async fn try_ask<R: Request>(&mut self, version: i16, request: &R) -> Option<Answer<R>> {
        let life = match self.channel().await {
            Ok((life, channel)) => match channel.call_in(version, request, ANSWER_MS).await {
                Ok(answer) => return Some(answer),
                Err(_) => life,
            },
            Err(life) => life,
        };
        self.channel = None;
        let mut places = self.run.place.subscribe();
        let is_next = |place: &Option<(u64, Address)>| {
            place.as_ref().is_some_and(|(another, _)| *another > life)
        };
        places.wait_for(is_next).await.expect("the run is there");
        None
    }

    /// Asks in one life after the other until there is an answer; and whether an answer may have been lost before.
    pub async fn ask<R: Request>(&mut self, version: i16, request: &R) -> (Answer<R>, bool) {
        let mut is_repeated = false;
        loop {
            if let Some(answer) = self.try_ask(version, request).await {
                return (answer, is_repeated);
            }
            is_repeated = true;
        }
    }
}
