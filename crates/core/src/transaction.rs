//! The transaction coordinator of one `__transaction_state` partition: who produces under which transactional id, and
//! what becomes of each transaction. A machine without I/O; markers are written by whoever drives it.

pub mod command;
mod decide;
pub mod record;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::account::{Account, Share, Weight};
use crate::error::ErrorCode;
use crate::group::partition_for;
use crate::machine::{self, Held, Machine, Ticket, Undo, Unsettled};
use crate::small_map::SmallMap;
use crate::sync::Rank;
use crate::time::Now;

use command::{Command, Event, Name, Reply, Speaker};
use record::{Phase, Record, Transaction};

/// Everything one call asks for.
pub type Effects = machine::Effects<TransactionShard>;

/// Ids forgotten by one entry.
const TOMBSTONES_PER_CHECK_MAX: usize = 10_000;
/// An id counts once more towards their limit for every so many bytes of its name.
const ID_BYTES: usize = 256;
/// A transaction whose abort could not be written is aborted again after this long.
const ABORT_RETRY_MS: i64 = 1_000;

/// The `__transaction_state` partition that a transactional id belongs to, by Java's string hash as in Kafka.
pub fn shard_for(id: &str, partitions: u32) -> u32 {
    partition_for(id, partitions)
}

/// What the configs say about transactions.
#[derive(Clone, Debug)]
pub struct TransactionOptions {
    /// `transaction.max.timeout.ms`.
    pub timeout_ms_max: i32,
    /// `transactional.id.expiration.ms`.
    pub id_expiration_ms: i64,
    /// `transaction.remove.expired.transaction.cleanup.interval.ms`.
    pub id_check_interval_ms: i64,
    /// `transaction.abort.timed.out.transaction.cleanup.interval.ms` where timeouts are looked for in rounds, as Kafka
    /// does; else each transaction ends at its deadline.
    pub timeout_round_ms: Option<i64>,
    /// This shard's part of the ids that there may be; those with long names count for more.
    pub ids_max: usize,
    /// What the partitions of one transaction may take in the journal.
    pub record_bytes_max: usize,
    /// What ids and transactions take, and how much that may be.
    pub account: Arc<Account>,
}

impl Default for TransactionOptions {
    /// Kafka's defaults, without rounds.
    fn default() -> Self {
        TransactionOptions {
            timeout_ms_max: 900_000,
            id_expiration_ms: 604_800_000,
            id_check_interval_ms: 3_600_000,
            timeout_round_ms: None,
            ids_max: 100_000,
            record_bytes_max: 1_048_588,
            account: Arc::default(),
        }
    }
}

/// What was known of an id before a record replaced it.
#[derive(Debug)]
struct Replaced {
    current: Option<Arc<Transaction>>,
    last_epoch: Option<i16>,
}

impl Undo for Replaced {
    fn is_of_same_place(&self, _: &Replaced) -> bool {
        true
    }
}

/// A step that waits for its record.
#[derive(Debug)]
enum After {
    /// Its end is decided once this is durable.
    Decided,
}

/// One transactional id.
#[derive(Debug)]
struct Id {
    current: Option<Arc<Transaction>>,
    unsettled: Unsettled<Replaced, After>,
    /// The epoch before the last one, if a client that still takes itself for it may have missed an answer.
    last_epoch: Option<i16>,
    /// When the open transaction is aborted, on the monotonic clock.
    deadline_ms: Option<i64>,
    /// What it takes.
    bytes: Weight,
}

/// What an id takes with its place among the others, beside its name and its transaction.
const ID_OVERHEAD_BYTES: usize = size_of::<Id>() + 250;

impl Id {
    fn new(account: &Arc<Account>) -> Id {
        Id {
            current: None,
            unsettled: Unsettled::default(),
            last_epoch: None,
            deadline_ms: None,
            bytes: Weight::new(account, Share::Transactions),
        }
    }

    /// Makes another value of it true; the one before.
    fn put(&mut self, id: &str, value: Option<Arc<Transaction>>) -> Option<Arc<Transaction>> {
        let value_bytes = value.as_ref().map_or(0, |value| value.bytes());
        self.bytes.set(bytes_of_new(id) + value_bytes);
        std::mem::replace(&mut self.current, value)
    }
}

/// What an id takes that has no transaction.
fn bytes_of_new(id: &str) -> usize {
    ID_OVERHEAD_BYTES + id.len()
}

/// All transactional ids of one `__transaction_state` partition.
#[derive(Debug)]
pub struct TransactionShard {
    options: TransactionOptions,
    ids: BTreeMap<Name, Id>,
    /// Of all ids together, see [`weight`].
    weight: usize,
    /// In which version values are written.
    value_version: i16,
    deadlines: BTreeSet<(i64, Name)>,
    position: u64,
    unsettled: SmallMap<u64, Name>,
    /// When expired ids are next looked for; only while there are ids.
    check_due_ms: Option<i64>,
}

impl TransactionShard {
    /// A shard that knows no ids.
    pub fn new(options: TransactionOptions) -> TransactionShard {
        TransactionShard {
            options,
            ids: BTreeMap::new(),
            weight: 0,
            value_version: record::VALUE_VERSION_TAGGED,
            deadlines: BTreeSet::new(),
            position: 0,
            unsettled: SmallMap::default(),
            check_due_ms: None,
        }
    }

    /// Forgets everything, for a journal that begins anew.
    pub fn clear(&mut self) {
        *self = TransactionShard::new(self.options.clone());
    }

    /// The finalized level of `transaction.version`: by it values are written. What clients may do rests on the versions
    /// of their requests alone.
    pub fn set_transaction_version(&mut self, level: i16) {
        self.value_version = match level {
            ..=0 => record::VALUE_VERSION_FIRST,
            1.. => record::VALUE_VERSION_TAGGED,
        };
    }

    /// How many ids there are, and how many transactions are open.
    pub fn counts(&self) -> (usize, usize) {
        let open = self.ids.values().filter_map(|id| id.current.as_ref());
        let open = open.filter(|it| it.phase == Phase::Ongoing).count();
        (self.ids.len(), open)
    }

    fn get(&self, id: &str) -> Option<&Arc<Transaction>> {
        self.ids.get(id)?.current.as_ref()
    }

    /// Answers on the ground of everything that is remembered of the id.
    fn reply(&self, ticket: Ticket, id: &Name, reply: Reply, out: &mut Effects) {
        out.replies.push(Held {
            ticket,
            owner: Some(id.clone()),
            position: self.position,
            reply,
        });
    }

    /// Makes a new value of an id true and has it written.
    fn write(&mut self, now: Now, id: &Name, value: Option<Transaction>, out: &mut Effects) {
        let decided = value.as_ref().is_some_and(|it| it.phase.is_ending());
        let record = Record {
            id: id.clone(),
            value: value.map(Arc::new),
            value_version: self.value_version,
        };
        self.position += 1;
        let position = self.position;
        let known = self.known(id);
        let before = Replaced {
            current: known.put(id, record.value.clone()),
            last_epoch: known.last_epoch,
        };
        let after = decided.then_some(After::Decided);
        known.unsettled.appended(position, vec![before], after);
        self.unsettled.insert(position, id.clone());
        out.entries.push(machine::Entry {
            position,
            owner: id.clone(),
            records: vec![record],
        });
        self.arm(now, id, 0);
        self.arm_check(now);
    }

    /// The epoch from which a client that missed an answer may still come.
    fn remember(&mut self, id: &Name, last_epoch: Option<i16>) {
        if let Some(known) = self.ids.get_mut(id) {
            known.last_epoch = last_epoch;
        }
    }

    fn known(&mut self, id: &Name) -> &mut Id {
        match self.ids.entry(id.clone()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                self.weight += weight(id);
                place.insert(Id::new(&self.options.account))
            }
        }
    }

    fn forget(&mut self, id: &Name) {
        let Some(known) = self.ids.remove(id) else {
            return;
        };
        self.weight -= weight(id);
        if let Some(deadline_ms) = known.deadline_ms {
            self.deadlines.remove(&(deadline_ms, id.clone()));
        }
    }

    /// Sets when the id's open transaction times out, not before so many milliseconds from now.
    fn arm(&mut self, now: Now, id: &Name, least_ms: i64) {
        let round_ms = self.options.timeout_round_ms;
        let Some(known) = self.ids.get_mut(id) else {
            return;
        };
        let open = known.current.as_ref();
        let open = open.filter(|it| it.phase == Phase::Ongoing);
        let deadline_ms = open.map(|it| {
            // As much of its time as is left, whatever the wall clock has done meanwhile.
            let timeout_ms = i64::from(it.timeout_ms);
            let passed_ms = now.wall_ms.saturating_sub(it.started_ms);
            let left_ms = timeout_ms
                .saturating_sub(passed_ms)
                .clamp(0, timeout_ms.max(0))
                .max(least_ms);
            let due_ms = now.monotonic_ms.saturating_add(left_ms);
            match round_ms {
                Some(round_ms) => due_ms.saturating_add(round_ms - due_ms.rem_euclid(round_ms)),
                None => due_ms,
            }
        });
        let armed = known.deadline_ms;
        // What was armed once stays: the start of a transaction does not move.
        if deadline_ms.is_some() == armed.is_some() {
            return;
        }
        if let Some(armed) = armed {
            self.deadlines.remove(&(armed, id.clone()));
        }
        if let Some(deadline_ms) = deadline_ms {
            self.deadlines.insert((deadline_ms, id.clone()));
        }
        known.deadline_ms = deadline_ms;
    }

    fn arm_check(&mut self, now: Now) {
        if self.check_due_ms.is_none() && !self.ids.is_empty() {
            let interval_ms = self.options.id_check_interval_ms.max(1);
            self.check_due_ms = Some(now.monotonic_ms.saturating_add(interval_ms));
        }
    }

    /// Forgets ids that nobody has used for long. One with an open transaction never is.
    fn forget_expired(&mut self, now: Now, out: &mut Effects) {
        let expiration_ms = self.options.id_expiration_ms;
        let is_expired = |it: &Transaction| {
            let is_idle = it.phase != Phase::Ongoing && !it.phase.is_ending();
            is_idle && now.aging_ms.saturating_sub(it.updated_ms) >= expiration_ms
        };
        let expired = self.ids.iter().filter(|(_, known)| {
            let current = known.current.as_deref();
            known.unsettled.is_empty() && current.is_some_and(is_expired)
        });
        let expired = expired.map(|(id, _)| id.clone());
        let expired: Vec<Name> = expired.take(TOMBSTONES_PER_CHECK_MAX).collect();
        for id in expired {
            self.write(now, &id, None, out);
        }
    }

    fn drop_if_gone(&mut self, id: &Name) {
        let is_gone = |known: &Id| known.current.is_none() && known.unsettled.is_empty();
        if self.ids.get(id).is_some_and(is_gone) {
            self.forget(id);
        }
    }
}

impl Machine for TransactionShard {
    const RANK: Rank = Rank::Transactions;
    type Command = Command;
    type Reply = Reply;
    type Record = Record;
    type Event = Event;
    type Owner = Name;

    fn handle(&mut self, now: Now, ticket: Ticket, command: Command, out: &mut Effects) {
        let (id, reply) = match command {
            Command::Init(init) => (init.id.clone(), self.init(now, init, out)),
            Command::Add(add) => {
                let id = add.speaker.id.clone();
                (id, Reply::Added(self.add(now, add, out)))
            }
            Command::Verify { speaker, places } => {
                let verified = self.verify(&speaker, &places);
                (speaker.id, Reply::Verified(verified))
            }
            Command::End(end) => (end.speaker.id.clone(), self.end(now, end, out)),
            Command::MarkersWritten(speaker) => {
                self.complete(now, &speaker, out);
                (speaker.id, Reply::Noted)
            }
            Command::Describe { id } => {
                let described = self.get(&id).cloned();
                (id, Reply::Described(Ok(described)))
            }
            Command::List => {
                let ids = self.ids.iter();
                let listed =
                    ids.filter_map(|(id, known)| Some((id.clone(), known.current.clone()?)));
                let reply = Reply::Listed(listed.collect());
                let position = self.position;
                return out.replies.push(Held {
                    ticket,
                    owner: None,
                    position,
                    reply,
                });
            }
        };
        self.reply(ticket, &id, reply, out);
        self.drop_if_gone(&id);
    }

    fn expire(&mut self, now: Now, out: &mut Effects) {
        while let Some((due_ms, _)) = self.deadlines.first()
            && *due_ms <= now.monotonic_ms
        {
            let Some((_, id)) = self.deadlines.pop_first() else {
                break;
            };
            if let Some(known) = self.ids.get_mut(&id) {
                known.deadline_ms = None;
            }
            self.time_out(now, &id, out);
        }
        if self
            .check_due_ms
            .is_some_and(|due_ms| due_ms <= now.monotonic_ms)
        {
            self.check_due_ms = None;
            self.forget_expired(now, out);
            self.arm_check(now);
        }
    }

    fn next_deadline(&self) -> Option<i64> {
        let timeout = self.deadlines.first().map(|(due_ms, _)| *due_ms);
        timeout.into_iter().chain(self.check_due_ms).min()
    }

    fn apply(&mut self, record: Record) {
        match record.value {
            Some(value) => {
                self.known(&record.id).put(&record.id, Some(value));
            }
            None => self.forget(&record.id),
        }
    }

    fn loaded(&mut self, now: Now, out: &mut Effects) {
        let ids: Vec<Name> = self.ids.keys().cloned().collect();
        for id in ids {
            self.arm(now, &id, 0);
            // What was decided before is done now.
            let decided = self.get(&id).and_then(|it| Event::decided(&id, it));
            out.events.extend(decided);
        }
        self.arm_check(now);
    }

    fn committed(
        &mut self,
        now: Now,
        position: u64,
        result: Result<(), ErrorCode>,
        out: &mut Effects,
    ) {
        let Some(id) = self.unsettled.remove(&position) else {
            return;
        };
        let Some(known) = self.ids.get_mut(&id) else {
            return;
        };
        match result {
            Ok(()) => {
                if let Some(After::Decided) = known.unsettled.durable(position) {
                    let decided = self.get(&id).and_then(|it| Event::decided(&id, it));
                    out.events.extend(decided);
                }
            }
            Err(_) => {
                for before in known.unsettled.lost(position) {
                    known.put(&id, before.current);
                    known.last_epoch = before.last_epoch;
                }
                // A journal that refuses everything is not asked again at once.
                self.arm(now, &id, ABORT_RETRY_MS);
                out.events.push(Event::RolledBack { id: id.clone() });
            }
        }
        self.drop_if_gone(&id);
    }

    fn is_settled(&self) -> bool {
        self.unsettled.is_empty()
    }

    fn live(&self) -> impl Iterator<Item = Record> {
        self.ids.iter().map(|(id, known)| Record {
            id: id.clone(),
            value: known.current.clone(),
            value_version: self.value_version,
        })
    }

    fn refuse(reply: Reply) -> Reply {
        reply.failed(ErrorCode::NotCoordinator)
    }
}

/// What an id counts towards the limit on ids.
fn weight(id: &str) -> usize {
    1 + id.len() / ID_BYTES
}

/// Whether two name the same producer of the same id.
fn is_same(speaker: &Speaker, transaction: &Transaction) -> bool {
    transaction.producer == speaker.producer
}

#[cfg(test)]
mod tests;
