//! A run: everybody's messages in the order that chance gives them.

use super::broker::{Broker, Token};
use super::chance::Chance;
use super::client::{Client, Context, Next};
use super::fault::Fault;
use super::reader::Reader;
use super::request::{IN, OUT, Request, Response};
use crate::check::{Anomaly, check};
use crate::history::{History, OffsetRead, Poll, Value};
use rustka_core::time::Now;
use std::collections::BTreeMap;

/// How long clients begin transactions.
const BUSY_MS: u64 = 2_500;
/// How long they may go on with what they have begun, and transactions have to end.
const CALM_MS: u64 = 3_000;
/// After this long a client does not wait for an answer any more.
const PATIENCE_MS: u64 = 60;
/// Between two deaths of the broker, on average.
const LIFE_MS: u64 = 600;
/// How long it takes to start again.
const DOWN_MS: u64 = 15;
/// What can become durable in a millisecond.
const WRITES_PER_MS: u64 = 6;

/// What came of a seed.
#[derive(Debug)]
pub struct Run {
    /// What the clients wrote down.
    pub history: History,
    /// What is wrong with it.
    pub anomalies: Vec<Anomaly>,
}

enum Actor {
    Client(Box<Client>),
    Reader(Reader),
}

enum Event {
    Wake(usize),
    Deliver(usize, Token, Request),
    Answer(usize, Token, Option<Response>),
    Tick,
    Crash,
}

struct World {
    broker: Broker,
    chance: Chance,
    actors: Vec<Actor>,
    /// The request that each of them waits for.
    waits: Vec<Option<Token>>,
    /// Who has sent what.
    senders: BTreeMap<Token, (usize, Request)>,
    queue: BTreeMap<(u64, u64), Event>,
    now_ms: u64,
    tick: u64,
    tokens: Token,
    down_until_ms: u64,
    history: History,
    next_value: Value,
}

/// Runs the clients of a seed against a broker that makes one mistake, or none.
pub fn run(seed: u64, fault: Option<Fault>) -> Run {
    let mut world = World::new(seed, fault);
    world.play();
    world.read_everything();
    let anomalies = check(&world.history);
    Run {
        history: world.history,
        anomalies,
    }
}

impl World {
    fn new(seed: u64, fault: Option<Fault>) -> World {
        let mut chance = Chance(seed);
        let newer = [chance.one_in(2), chance.one_in(2), true, chance.one_in(2)];
        let actors = vec![
            Actor::Client(Box::new(Client::new("w0", newer[0], None))),
            Actor::Client(Box::new(Client::new("w1", !newer[0], None))),
            Actor::Client(Box::new(Client::new("w1", !newer[0], None))),
            Actor::Client(Box::new(Client::new("c0", newer[2], Some(IN[0])))),
            // Two that take each other for dead.
            Actor::Client(Box::new(Client::new("c1", newer[3], Some(IN[1])))),
            Actor::Client(Box::new(Client::new("c1", newer[3], Some(IN[1])))),
            Actor::Reader(Reader::new(true)),
            Actor::Reader(Reader::new(true)),
            Actor::Reader(Reader::new(false)),
        ];
        let mut world = World {
            broker: Broker::new(fault),
            waits: actors.iter().map(|_| None).collect(),
            actors,
            chance,
            senders: BTreeMap::new(),
            queue: BTreeMap::new(),
            now_ms: 0,
            tick: 0,
            tokens: 0,
            down_until_ms: 0,
            history: History::default(),
            next_value: 0,
        };
        for at in 0..world.actors.len() {
            let at_ms = world.chance.below(200);
            world.push(at_ms, Event::Wake(at));
        }
        world.push(1, Event::Tick);
        let at_ms = world.chance.below(LIFE_MS * 2);
        world.push(at_ms, Event::Crash);
        world
    }

    fn now(&self) -> Now {
        Now::new(self.now_ms as i64, 1_700_000_000_000 + self.now_ms as i64)
    }

    fn push(&mut self, in_ms: u64, event: Event) {
        self.tick += 1;
        self.queue.insert((self.now_ms + in_ms, self.tick), event);
    }

    fn play(&mut self) {
        while let Some(((at_ms, _), event)) = self.queue.pop_first() {
            if at_ms > BUSY_MS + CALM_MS {
                break;
            }
            self.now_ms = at_ms;
            self.tick += 1;
            self.step(event);
            for (token, response) in self.broker.take_answers() {
                self.answer(token, response);
            }
        }
    }

    fn is_busy(&self) -> bool {
        self.now_ms < BUSY_MS
    }

    fn step(&mut self, event: Event) {
        let now = self.now();
        match event {
            Event::Wake(at) => {
                let may_stop = match &self.actors[at] {
                    Actor::Client(client) => client.is_idle(),
                    Actor::Reader(_) => true,
                };
                if self.is_busy() || !may_stop {
                    self.act(at, |actor, cx| match actor {
                        Actor::Client(client) => client.wake(cx),
                        Actor::Reader(reader) => reader.wake(cx),
                    });
                }
            }
            Event::Deliver(at, token, request) => {
                if self.now_ms < self.down_until_ms {
                    return;
                }
                self.senders.insert(token, (at, request.clone()));
                self.broker.request(now, token, request, &mut self.chance);
            }
            Event::Answer(at, token, response) => {
                if self.waits[at] != Some(token) {
                    return;
                }
                self.waits[at] = None;
                self.act(at, |actor, cx| match actor {
                    Actor::Client(client) => client.hear(response, cx),
                    Actor::Reader(reader) => reader.hear(response, cx),
                });
            }
            Event::Tick => {
                if self.now_ms >= self.down_until_ms {
                    for _ in 0..self.chance.below(WRITES_PER_MS * 2) {
                        let may_fail = self.is_busy();
                        self.broker.settle(now, &mut self.chance, may_fail);
                    }
                    self.broker.expire(now);
                }
                self.push(1, Event::Tick);
            }
            Event::Crash => {
                if !self.is_busy() {
                    return;
                }
                self.broker.crash(now);
                self.down_until_ms = self.now_ms + DOWN_MS;
                let at_ms = 1 + self.chance.below(LIFE_MS * 2);
                self.push(at_ms, Event::Crash);
            }
        }
    }

    fn act(&mut self, at: usize, act: impl FnOnce(&mut Actor, &mut Context<'_>) -> Next) {
        let mut cx = Context {
            tick: self.tick,
            chance: &mut self.chance,
            history: &mut self.history,
            next_value: &mut self.next_value,
        };
        match act(&mut self.actors[at], &mut cx) {
            Next::Wake(in_ms) => self.push(in_ms, Event::Wake(at)),
            Next::Send(request) => self.send(at, request),
        }
    }

    /// Puts a request on its way. One of the newer protocol may come late, when its client has long gone on, and twice;
    /// the older one is not safe from that, in Kafka either.
    fn send(&mut self, at: usize, request: Request) {
        self.tokens += 1;
        let token = self.tokens;
        self.waits[at] = Some(token);
        self.push(PATIENCE_MS, Event::Answer(at, token, None));
        let newer = matches!(&self.actors[at], Actor::Client(client) if client.newer);
        if self.chance.one_in(50) {
            return;
        }
        let delay_ms = match newer && self.chance.one_in(20) {
            true => self.chance.below(500),
            false => 1 + self.chance.below(8),
        };
        if newer && self.chance.one_in(15) {
            self.tokens += 1;
            let (again, late_ms) = (self.tokens, self.chance.below(300));
            self.push(late_ms, Event::Deliver(at, again, request.clone()));
            if let Actor::Client(client) = &mut self.actors[at] {
                client.is_doubled();
            }
        }
        self.push(delay_ms, Event::Deliver(at, token, request));
    }

    fn answer(&mut self, token: Token, response: Response) {
        let Some((at, request)) = self.senders.remove(&token) else {
            return;
        };
        let response = match (response, request) {
            (Response::Offset(Ok(told)), Request::Offset { group, place }) => {
                Response::Offset(Ok(self.broker.old_offset(&group, place, told)))
            }
            (response, _) => response,
        };
        if self.chance.one_in(50) {
            return;
        }
        let delay_ms = 1 + self.chance.below(8);
        self.push(delay_ms, Event::Answer(at, token, Some(response)));
    }

    /// When all is over: every partition from its first record to its end, and every group.
    fn read_everything(&mut self) {
        self.tick += 1;
        self.history.quiet_from = Some(self.tick);
        for place in [IN, OUT].concat() {
            for committed in [true, false] {
                let Some(partition) = self.broker.partitions.get_mut(place as usize) else {
                    continue;
                };
                let fetched = partition.fetch(0, committed, usize::MAX);
                self.tick += 2;
                self.history.polls.push(Poll {
                    began: self.tick - 1,
                    ended: self.tick,
                    place,
                    committed,
                    from: 0,
                    next: fetched.next,
                    stable: fetched.stable,
                    high: fetched.high,
                    records: fetched.records,
                });
            }
        }
        for (group, place) in [("c0", IN[0]), ("c1", IN[1])] {
            self.tick += 1;
            let began = self.tick;
            self.tokens += 1;
            let request = Request::Offset {
                group: group.into(),
                place,
            };
            self.broker
                .request(self.now(), self.tokens, request, &mut self.chance);
            for (_, response) in self.broker.take_answers() {
                let Response::Offset(Ok(offset)) = response else {
                    continue;
                };
                self.tick += 1;
                let (ended, group) = (self.tick, group.to_owned());
                self.history.offset_reads.push(OffsetRead {
                    began,
                    ended,
                    group,
                    place,
                    offset,
                });
            }
        }
    }
}
