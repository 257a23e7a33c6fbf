//! Transactional clients of both protocols: writers, and copiers that read, write and commit the offset in one transaction.
//! They do what Kafka's own clients do about errors: try again, abort, or begin anew as a newer producer.

use super::chance::Chance;
use super::request::{Batch, IN, Made, OFFSETS, OUT, Request, Response};
use crate::history::{
    Arrival, History, OffsetRead, OffsetWrite, Outcome, Place, Poll, Transaction, Value, Write,
};
use rustka_core::error::ErrorCode;
use rustka_core::transaction::command::{Name, Producer, Speaker};
use std::collections::{BTreeMap, VecDeque};

/// A request that is not answered is tried so often.
const TRIES_MAX: u32 = 4;
/// How long a client rests that has nothing to do or was told to wait.
const PAUSE_MS: u64 = 20;

/// What a client has at hand while it acts.
pub(super) struct Context<'a> {
    pub(super) tick: u64,
    pub(super) chance: &'a mut Chance,
    pub(super) history: &'a mut History,
    pub(super) next_value: &'a mut Value,
}

/// What a client does next.
pub(super) enum Next {
    Send(Request),
    /// So many milliseconds later.
    Wake(u64),
}

/// A step of a transaction.
#[derive(Clone, Debug)]
enum Step {
    Init,
    Offset,
    Fetch(i64),
    Add(Vec<Place>),
    /// Records with their places among the transaction's writes.
    Produce(Place, Vec<Made>, usize),
    Offsets(i64),
    End(bool),
}

/// A transactional client.
pub(super) struct Client {
    id: Name,
    pub(super) newer: bool,
    /// The partition that it copies from.
    copies: Option<Place>,
    me: Option<Producer>,
    /// Whom it takes itself for when it begins anew.
    before: Option<Producer>,
    instance: u64,
    sequences: BTreeMap<Place, i32>,
    transaction: Option<usize>,
    plan: VecDeque<Step>,
    doing: Option<(Step, u64)>,
    tries: u32,
    /// A try of this step may have been heard although nobody was told.
    is_unsure: bool,
}

impl Client {
    pub(super) fn new(id: &str, newer: bool, copies: Option<Place>) -> Client {
        Client {
            id: id.into(),
            newer,
            copies,
            me: None,
            before: None,
            instance: 0,
            sequences: BTreeMap::new(),
            transaction: None,
            plan: VecDeque::new(),
            doing: None,
            tries: 0,
            is_unsure: false,
        }
    }

    /// Begins its next step.
    pub(super) fn wake(&mut self, cx: &mut Context<'_>) -> Next {
        if let Some((step, _)) = self.doing.clone() {
            return self.send(&step, cx);
        }
        (self.tries, self.is_unsure) = (0, false);
        if self.me.is_none() {
            return self.start(Step::Init, cx);
        }
        if self.plan.is_empty() {
            match self.copies {
                Some(_) => self.plan.push_back(Step::Offset),
                None => self.plan_writes(cx),
            }
        }
        match self.plan.pop_front() {
            Some(step) => self.start(step, cx),
            None => Next::Wake(PAUSE_MS),
        }
    }

    fn start(&mut self, step: Step, cx: &mut Context<'_>) -> Next {
        self.doing = Some((step.clone(), cx.tick));
        self.send(&step, cx)
    }

    fn speaker(&self) -> Speaker {
        let nobody = Producer { id: -1, epoch: -1 };
        Speaker {
            id: self.id.clone(),
            producer: self.me.unwrap_or(nobody),
        }
    }

    fn send(&mut self, step: &Step, cx: &mut Context<'_>) -> Next {
        let (newer, speaker) = (self.newer, self.speaker());
        Next::Send(match step {
            Step::Init => Request::Init {
                id: self.id.clone(),
                expected: self.before,
            },
            Step::Offset => Request::Offset {
                group: self.id.clone(),
                place: self.copies.unwrap_or_default(),
            },
            Step::Fetch(from) => Request::Fetch {
                place: self.copies.unwrap_or_default(),
                from: *from,
                committed: true,
            },
            Step::Add(places) => Request::Add {
                speaker,
                places: places.clone(),
            },
            Step::Produce(place, values, _) => Request::Produce {
                newer,
                batch: Batch {
                    id: Some(self.id.clone()),
                    producer: speaker.producer,
                    place: *place,
                    sequence: self.sequences.get(place).copied().unwrap_or(0),
                    values: values.clone(),
                },
            },
            Step::Offsets(offset) => Request::Offsets {
                newer,
                speaker,
                place: self.copies.unwrap_or_default(),
                offset: *offset,
            },
            Step::End(commit) => {
                let tick = cx.tick;
                if *commit && let Some(transaction) = self.transaction(cx) {
                    transaction.commit_asked.get_or_insert(tick);
                }
                Request::End {
                    newer,
                    speaker,
                    commit: *commit,
                }
            }
        })
    }

    fn transaction<'a>(&self, cx: &'a mut Context<'_>) -> Option<&'a mut Transaction> {
        cx.history.transactions.get_mut(self.transaction?)
    }

    /// What it has just sent is under way twice: one of both may be heard, and the other refused after it.
    pub(super) fn is_doubled(&mut self) {
        self.is_unsure = true;
    }

    // Plans.

    fn plan_writes(&mut self, cx: &mut Context<'_>) {
        let mut batches = Vec::new();
        for _ in 0..1 + cx.chance.below(3) {
            let place = IN[cx.chance.below(2) as usize];
            let values = (0..1 + cx.chance.below(3)).map(|_| {
                *cx.next_value += 1;
                (*cx.next_value, None)
            });
            batches.push((place, values.collect()));
        }
        let commit = !cx.chance.one_in(3);
        self.plan(batches, Vec::new(), None, commit, cx);
    }

    fn plan_copies(&mut self, records: &[(i64, Value)], next: i64, cx: &mut Context<'_>) {
        let mut batches: Vec<(Place, Vec<Made>)> = Vec::new();
        for (_, value) in records {
            *cx.next_value += 1;
            let made = (*cx.next_value, Some(*value));
            let place = OUT[cx.chance.below(2) as usize];
            match batches.last_mut().filter(|last| last.0 == place) {
                Some(last) => last.1.push(made),
                None => batches.push((place, vec![made])),
            }
        }
        let reads = records.iter().map(|(_, value)| *value).collect();
        let commit = !cx.chance.one_in(6);
        self.plan(batches, reads, Some(next), commit, cx);
    }

    fn plan(
        &mut self,
        batches: Vec<(Place, Vec<Made>)>,
        reads: Vec<Value>,
        offset: Option<i64>,
        commit: bool,
        cx: &mut Context<'_>,
    ) {
        let mut places: Vec<Place> = batches.iter().map(|(place, _)| *place).collect();
        if offset.is_some() {
            places.push(OFFSETS);
        }
        places.sort_unstable();
        places.dedup();
        if !self.newer {
            self.plan.push_back(Step::Add(places));
        }
        let mut writes = Vec::new();
        for (place, values) in batches {
            self.plan
                .push_back(Step::Produce(place, values.clone(), writes.len()));
            writes.extend(values.into_iter().map(|(value, source)| Write {
                value,
                source,
                place,
                outcome: Outcome::NotDone,
                offset: None,
            }));
        }
        let place = self.copies.unwrap_or_default();
        self.plan.extend(offset.map(Step::Offsets));
        self.plan.push_back(Step::End(commit));
        self.transaction = Some(cx.history.transactions.len());
        cx.history.transactions.push(Transaction {
            writes,
            reads,
            offsets: offset
                .into_iter()
                .map(|offset| OffsetWrite { place, offset })
                .collect(),
            ..Transaction::begun(Some(&self.id), self.instance, cx.tick)
        });
    }

    // Answers.

    /// The broker has answered, or will not any more.
    pub(super) fn hear(&mut self, response: Option<Response>, cx: &mut Context<'_>) -> Next {
        let Some((step, began)) = self.doing.take() else {
            return Next::Wake(PAUSE_MS);
        };
        let Some(response) = response else {
            self.is_unsure = true;
            self.note_unsure(&step, cx);
            return self.again(step, began, cx);
        };
        match (&step, response) {
            (Step::Init, Response::Producer(result)) => self.inited(step, began, result, cx),
            (Step::Offset, Response::Offset(Ok(offset))) => {
                cx.history.offset_reads.push(OffsetRead {
                    began,
                    ended: cx.tick,
                    group: self.id.to_string(),
                    place: self.copies.unwrap_or_default(),
                    offset,
                });
                self.plan.push_back(Step::Fetch(offset.unwrap_or(0)));
                self.wake(cx)
            }
            (Step::Fetch(from), Response::Fetched(fetched)) => {
                let (from, place) = (*from, self.copies.unwrap_or_default());
                cx.history.polls.push(Poll {
                    began,
                    ended: cx.tick,
                    place,
                    committed: true,
                    from,
                    next: fetched.next,
                    stable: fetched.stable,
                    high: fetched.high,
                    records: fetched.records.clone(),
                });
                if fetched.records.is_empty() {
                    return Next::Wake(PAUSE_MS);
                }
                self.plan_copies(&fetched.records, fetched.next, cx);
                self.wake(cx)
            }
            (Step::Produce(place, values, first), Response::Produced(Ok(offset))) => {
                let (place, count, first) = (*place, values.len(), *first);
                *self.sequences.entry(place).or_default() += count as i32;
                if let Some(transaction) = self.transaction(cx) {
                    let writes = transaction.writes.iter_mut().skip(first).take(count);
                    for (at, write) in writes.enumerate() {
                        write.outcome = Outcome::Done;
                        write.offset = Some(offset + at as i64);
                    }
                }
                self.wake(cx)
            }
            (Step::Add(_) | Step::Offsets(_), Response::Done(Ok(()))) => self.wake(cx),
            (Step::End(commit), Response::Producer(Ok(producer))) => {
                let outcome = match commit {
                    true => Outcome::Done,
                    false => Outcome::NotDone,
                };
                if self.me != Some(producer) {
                    self.sequences.clear();
                }
                self.me = Some(producer);
                self.over(outcome, cx);
                Next::Wake(1)
            }
            (
                _,
                Response::Produced(Err(code))
                | Response::Done(Err(code))
                | Response::Producer(Err(code))
                | Response::Offset(Err(code)),
            ) => self.refused(step, began, code, cx),
            _ => self.begin_anew(cx),
        }
    }

    fn inited(
        &mut self,
        step: Step,
        began: u64,
        result: Result<Producer, ErrorCode>,
        cx: &mut Context<'_>,
    ) -> Next {
        match result {
            Ok(producer) => {
                self.me = Some(producer);
                self.before = None;
                self.sequences.clear();
                self.instance = (producer.id as u64) << 16 | producer.epoch as u64;
                cx.history.arrivals.push(Arrival {
                    id: self.id.to_string(),
                    instance: self.instance,
                    at: cx.tick,
                });
                Next::Wake(1)
            }
            Err(code) if is_passing(code) => {
                self.doing = Some((step, began));
                Next::Wake(PAUSE_MS)
            }
            Err(_) => {
                self.before = None;
                // A zombie comes back after a while.
                Next::Wake(PAUSE_MS * (1 + cx.chance.below(20)))
            }
        }
    }

    fn refused(&mut self, step: Step, began: u64, code: ErrorCode, cx: &mut Context<'_>) -> Next {
        if is_passing(code) {
            self.tries += 1;
            if self.tries < TRIES_MAX * 4 || matches!(step, Step::Offset) {
                self.doing = Some((step, began));
                return Next::Wake(PAUSE_MS / 4);
            }
        }
        self.give_up(&step, cx)
    }

    /// Nobody has answered: the same once more, a few times.
    fn again(&mut self, step: Step, began: u64, cx: &mut Context<'_>) -> Next {
        self.tries += 1;
        if self.tries < TRIES_MAX {
            self.doing = Some((step.clone(), began));
            return self.send(&step, cx);
        }
        self.give_up(&step, cx)
    }

    fn note_unsure(&mut self, step: &Step, cx: &mut Context<'_>) {
        let Step::Produce(_, values, first) = step else {
            return;
        };
        let (count, first) = (values.len(), *first);
        if let Some(transaction) = self.transaction(cx) {
            let writes = transaction.writes.iter_mut().skip(first).take(count);
            writes.for_each(|write| write.outcome = Outcome::Unknown);
        }
    }

    fn give_up(&mut self, step: &Step, cx: &mut Context<'_>) -> Next {
        let asked = self
            .transaction(cx)
            .is_some_and(|it| it.commit_asked.is_some());
        match step {
            Step::End(_) if asked && self.is_unsure => self.over(Outcome::Unknown, cx),
            // Refused at the first try, or never asked for.
            _ => {
                let may_abort = self.newer && self.transaction.is_some() && !asked;
                if may_abort && !matches!(step, Step::End(_)) && cx.chance.one_in(2) {
                    self.plan = VecDeque::from([Step::End(false)]);
                    return self.wake(cx);
                }
                self.over(Outcome::NotDone, cx);
            }
        }
        self.begin_anew(cx)
    }

    fn begin_anew(&mut self, cx: &mut Context<'_>) -> Next {
        self.before = self.me.take().filter(|_| cx.chance.one_in(2));
        self.plan.clear();
        (self.doing, self.transaction) = (None, None);
        Next::Wake(PAUSE_MS * cx.chance.below(10))
    }

    fn over(&mut self, outcome: Outcome, cx: &mut Context<'_>) {
        let tick = cx.tick;
        if let Some(transaction) = self.transaction(cx) {
            transaction.outcome = outcome;
            transaction.ended = Some(tick);
        }
        self.transaction = None;
        self.plan.clear();
    }

    /// Whether it may stop here, between two transactions.
    pub(super) fn is_idle(&self) -> bool {
        self.transaction.is_none()
    }
}

/// Whether the same request may be answered otherwise in a while.
fn is_passing(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::ConcurrentTransactions
            | ErrorCode::NotCoordinator
            | ErrorCode::CoordinatorNotAvailable
            | ErrorCode::CoordinatorLoadInProgress
            | ErrorCode::NotEnoughReplicas
            | ErrorCode::UnstableOffsetCommit
    )
}
