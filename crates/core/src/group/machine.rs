//! A shard as a machine: its journal, the fate of what it wrote, and time.

use super::command::{Command, Name};
use super::effects::{Effects, Event, Reply};
use super::kinds::Group;
use super::records::Record;
use super::{GroupShard, desk, existing, refusal};
use crate::error::ErrorCode;
use crate::machine::{Machine, Ticket};
use crate::sync::Rank;
use crate::time::Now;

impl Machine for GroupShard {
    const RANK: Rank = Rank::Groups;
    type Command = Command;
    type Reply = Reply;
    type Record = Record;
    type Event = Event;
    type Owner = Name;

    fn apply(&mut self, record: Record) {
        let Some(id) = record.group().cloned() else {
            if let Record::End { producer, marker } = record {
                self.ended(producer.0, marker.commit);
            }
            return;
        };
        let group = self
            .groups
            .entry(id.clone())
            .or_insert_with(|| Box::new(Group::new(id.clone(), 0, &self.account)));
        group.durable_mut().apply(record);
        group.weigh();
        match group.exists() {
            true => group.follow_records(0),
            false => drop(self.groups.remove(&id)),
        }
    }

    fn loaded(&mut self, now: Now, out: &mut Effects) {
        let (mut d, groups) = desk(self, now, out);
        for group in groups.values_mut() {
            group.resume(&mut d);
            group.weigh();
        }
        self.arm_offsets(now);
    }

    fn handle(&mut self, now: Now, ticket: Ticket, command: Command, out: &mut Effects) {
        if let Some(reply) = refusal(&command, &self.options) {
            return desk(self, now, out).0.reply_at_once(ticket, reply);
        }
        let changed = command.changes().cloned();
        self.decide(now, ticket, command, out);
        let (mut d, groups) = desk(self, now, out);
        if let Some(group) = changed.and_then(|id| groups.get_mut(&id)) {
            group.changed(&mut d);
        }
    }

    fn disconnect(&mut self, ticket: Ticket) {
        let Some((group, member_id)) = self.parked.remove(&ticket) else {
            return;
        };
        match existing(&mut self.groups, &group) {
            Some(Group::Classic(group)) => group.disconnect(&member_id, ticket),
            Some(Group::Consumer(group)) => group.disconnect(&member_id, ticket),
            None => {}
        }
    }

    fn expire(&mut self, now: Now, out: &mut Effects) {
        let (mut d, groups) = desk(self, now, out);
        while let Some((id, timer)) = d.timers.pop_due(now.monotonic_ms) {
            if let Some(group) = groups.get_mut(&id) {
                group.due(&mut d, timer);
            }
        }
        if self
            .offsets_due_ms
            .is_some_and(|at_ms| at_ms <= now.monotonic_ms)
        {
            self.expire_offsets(now, out);
        }
    }

    fn next_deadline(&self) -> Option<i64> {
        let timer = self.timers.next().into_iter();
        timer.chain(self.offsets_due_ms).min()
    }

    fn committed(
        &mut self,
        now: Now,
        position: u64,
        result: Result<(), ErrorCode>,
        out: &mut Effects,
    ) {
        if let Some((producer_id, commit)) = self.ending.remove(&position) {
            self.unsettled.remove(&position);
            if result.is_ok() {
                self.ended(producer_id, commit);
            }
            return;
        }
        let Some(id) = self.unsettled.remove(&position) else {
            return;
        };
        let (mut d, groups) = desk(self, now, out);
        let Some(group) = groups.get_mut(&id) else {
            return;
        };
        match result {
            Ok(()) => {
                if let Some(assigned) = group.durable_mut().durable(position)
                    && let Group::Classic(group) = &mut **group
                {
                    group.assigned(&mut d, &assigned);
                }
            }
            Err(code) => {
                group.roll_back(&mut d, position);
                // A producer that was fenced on its way here is no failure of ours.
                if code != ErrorCode::InvalidProducerEpoch {
                    d.warn(Event::RolledBack { group: id.clone() });
                }
            }
        }
        group.weigh();
        self.drop_if_gone(&id);
    }

    fn is_settled(&self) -> bool {
        self.unsettled.is_empty()
    }

    fn live(&self) -> impl Iterator<Item = Record> {
        self.groups.iter().flat_map(|(id, group)| {
            let durable = group.durable();
            let consumer = durable.consumer().live().map(|value| Record::Consumer {
                group: id.clone(),
                value,
            });
            let metadata = durable.metadata.iter().map(|value| Record::Group {
                group: id.clone(),
                value: Some(value.clone()),
            });
            let offsets = durable.offsets.topics();
            let offsets = offsets.flat_map(|(topic, partitions)| {
                partitions.map(|(partition, value)| Record::Offset {
                    group: id.clone(),
                    topic: topic.clone(),
                    partition,
                    value: Some(value),
                })
            });
            let pending = durable.pending.iter();
            let pending = pending.flat_map(|(producer_id, places)| {
                // What another commit has overtaken is of no use to anybody.
                let places = places.iter().filter(|(_, pending)| !pending.is_outdated);
                places.map(|((topic, partition), pending)| Record::Pending {
                    producer: (*producer_id, pending.epoch),
                    since: None,
                    group: id.clone(),
                    topic: topic.clone(),
                    partition: *partition,
                    value: pending.value.clone(),
                })
            });
            metadata.chain(consumer).chain(offsets).chain(pending)
        })
    }

    fn refuse(reply: Reply) -> Reply {
        reply.failed(ErrorCode::NotCoordinator)
    }
}
