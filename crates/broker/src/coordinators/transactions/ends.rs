//! Ending transactions: a marker in every partition, then the coordinator's record that it is done.

use super::Transactions;
use crate::coordinators::groups;
use rustka_core::error::{ErrorCode, Refusal};
use rustka_core::group::effects::Reply;
use rustka_core::log::Marker;
use rustka_core::names::CONSUMER_OFFSETS;
use rustka_core::sync::lock;
use rustka_core::transaction::command::{Command, Event, Name, Place, Speaker};
use rustka_storage::{Durability, Fate, Partition, Safety};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::thread::ThreadId;
use tokio::sync::{Notify, futures::Notified};

/// A marker that could not be written is tried again after this long.
const RETRY_MS: i64 = 100;

/// Transactions whose end is decided and not yet written everywhere.
#[derive(Default)]
pub(super) struct Ends {
    /// By the thread that has decided it and holds the shard.
    decided: Mutex<Vec<(ThreadId, Event)>>,
    later: Mutex<Vec<End>>,
    /// Whose markers are being written. Two at it would be one too many: the slower could end the next transaction.
    under_way: Mutex<BTreeSet<(Name, i64, i16)>>,
    /// Tells whoever waits for a transaction to end.
    over: Notify,
}

/// A transaction that ends, and where it still has to.
pub(super) struct End {
    speaker: Speaker,
    marker: Marker,
    left: Vec<Left>,
}

/// A partition without its marker.
enum Left {
    /// It has to be written.
    Unwritten(Place),
    /// The same, once the partition is open.
    Unopened(Place, Arc<Partition>),
    /// It has to become durable.
    Written(Place, Arc<Partition>, i64),
    /// The groups of that partition have it.
    Asked(Place, groups::Answer),
}

impl Ends {
    pub(super) fn push(&self, event: Event) {
        lock(&self.decided).push((std::thread::current().id(), event));
    }

    /// What this thread has been told since it locked a shard.
    pub(super) fn take_own(&self) -> Vec<Event> {
        let mut decided = lock(&self.decided);
        if decided.is_empty() {
            return Vec::new();
        }
        let own = std::thread::current().id();
        let taken = decided.extract_if(.., |(thread, _)| *thread == own);
        taken.map(|(_, event)| event).collect()
    }

    /// Whether nobody is at it yet.
    fn begin(&self, speaker: &Speaker) -> bool {
        lock(&self.under_way).insert(key(speaker))
    }

    pub(super) fn take_later(&self) -> Vec<End> {
        std::mem::take(&mut lock(&self.later))
    }
}

fn key(speaker: &Speaker) -> (Name, i64, i16) {
    let producer = speaker.producer;
    (speaker.id.clone(), producer.id, producer.epoch)
}

impl Transactions {
    /// Resolves when a transaction has ended since this was called.
    pub fn next_end(&self) -> Notified<'_> {
        self.ends.over.notified()
    }

    /// Writes the markers; what takes time is left to the task.
    pub(super) fn end(&self, event: Event) {
        let Event::Decided {
            speaker,
            commit,
            epoch_raised,
            places,
        } = event
        else {
            return;
        };
        let Some(me) = self.me.upgrade() else {
            return;
        };
        let marker = Marker {
            commit,
            coordinator_epoch: self.coordinator_epoch(&speaker.id),
            epoch_bumped: epoch_raised,
        };
        let producer = (speaker.producer.id, speaker.producer.epoch);
        if !me.ends.begin(&speaker) {
            // A shard that was made anew tells again what is under way already.
            return;
        }
        let places = places.iter();
        let left = places.filter_map(|place| me.write(place, producer, &marker));
        let left: Vec<Left> = left.collect();
        let end = End {
            speaker,
            marker,
            left,
        };
        if end.left.is_empty() {
            me.ended(end);
            return;
        }
        lock(&self.ends.later).push(end);
        self.shards.wake();
    }

    /// Every marker is there.
    fn ended(self: &Arc<Self>, end: End) {
        let id = end.speaker.id.clone();
        lock(&self.ends.under_way).remove(&key(&end.speaker));
        // Nobody waits for the record that says so.
        drop(self.call(&id, Command::MarkersWritten(end.speaker)));
        self.ends.over.notify_waiters();
    }

    /// Writes one marker; what is left to be done about it.
    fn write(
        self: &Arc<Self>,
        place: Place,
        producer: (i64, i16),
        marker: &Marker,
    ) -> Option<Left> {
        let (topic, index) = (&place.0, place.1);
        // What is deleted has no open transactions any more.
        let partition = self.node.partition(topic, index)?;
        if &**topic == CONSUMER_OFFSETS {
            let checked = partition.with_state(|state| state.check_marker(producer, marker));
            if matches!(checked, Ok(Err(refusal)) if is_over(&refusal)) {
                return None;
            }
            let at = usize::try_from(place.1).unwrap_or(usize::MAX);
            let command = rustka_core::group::command::Command::EndTransaction {
                producer,
                marker: *marker,
            };
            return match self.groups.call_at(at, command) {
                groups::Answer::Now(Reply::Ended(Ok(()))) => None,
                groups::Answer::Now(_) | groups::Answer::Never => Some(Left::Unwritten(place)),
                later => Some(Left::Asked(place, later)),
            };
        }
        if self.node.opener.left() > 0 && partition.is_opening() {
            partition.hurry();
            return Some(Left::Unopened(place, partition));
        }
        match self.node.append_marker(&partition, producer, marker) {
            Ok(appended) => match appended.durability {
                Durability::Done => None,
                Durability::At(position) => Some(Left::Written(place, partition, position)),
            },
            Err(refusal) if is_over(&refusal) => None,
            Err(refusal) => {
                let code = refusal.code.name();
                self.failed(|| format!("cannot end a transaction in {topic}-{index}: {code}"));
                Some(Left::Unwritten(place))
            }
        }
    }
}

/// The marker was written before, or a later one was.
fn is_over(refusal: &Refusal) -> bool {
    refusal.code == ErrorCode::InvalidProducerEpoch
}

/// An end that goes back to the others if its task ends before it.
struct Unfinished {
    transactions: Arc<Transactions>,
    end: Option<End>,
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(end) = self.end.take() {
            lock(&self.transactions.ends.later).push(end);
            self.transactions.shards.wake();
        }
    }
}

/// Goes on with it until it is done.
pub(super) async fn finish(transactions: Arc<Transactions>, end: End) {
    let mut unfinished = Unfinished {
        transactions: transactions.clone(),
        end: Some(end),
    };
    while let Some(end) = &mut unfinished.end {
        let producer = (end.speaker.producer.id, end.speaker.producer.epoch);
        let mut unwritten = Vec::new();
        while let Some(left) = end.left.last_mut() {
            if let Left::Unopened(place, partition) = left {
                partition.opened().await;
                let written = transactions.write(place.clone(), producer, &end.marker);
                end.left.pop();
                end.left.extend(written);
                continue;
            }
            if !left.is_written().await {
                unwritten.push(left.place().clone());
            }
            end.left.pop();
        }
        if unwritten.is_empty() {
            break;
        }
        end.left = unwritten.into_iter().map(Left::Unwritten).collect();
        let clock = &transactions.node.clock;
        let again_ms = clock.monotonic_ms().saturating_add(RETRY_MS);
        clock.sleep_until(again_ms).await;
        let again = std::mem::take(&mut end.left).into_iter();
        let again = again.filter_map(|left| match left {
            Left::Unwritten(place) => transactions.write(place, producer, &end.marker),
            asked => Some(asked),
        });
        end.left = again.collect();
    }
    if let Some(end) = unfinished.end.take() {
        transactions.ended(end);
    }
}

impl Left {
    fn place(&self) -> &Place {
        match self {
            Left::Unwritten(place)
            | Left::Unopened(place, _)
            | Left::Written(place, ..)
            | Left::Asked(place, _) => place,
        }
    }

    /// Waits for what becomes of it. Asked once more after it was dropped halfway, it has to be written again.
    async fn is_written(&mut self) -> bool {
        match self {
            Left::Unwritten(_) | Left::Unopened(..) => false,
            Left::Written(_, partition, position) => {
                partition.settled(*position, Safety::Durable).await != Fate::Failed
            }
            Left::Asked(_, answer) => {
                let answer = std::mem::replace(answer, groups::Answer::Never);
                matches!(answer.get().await, Some(Reply::Ended(Ok(()))))
            }
        }
    }
}
