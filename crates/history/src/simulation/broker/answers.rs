//! What machines have said, and what follows from it: appends, markers, answers.

use super::super::fault::Fault;
use super::super::partition::Partition;
use super::super::request::{OFFSETS, Response};
use super::{Broker, Ending, Waiting};
use crate::history::Place;
use rustka_core::batch::{BatchBuilder, NewRecord};
use rustka_core::error::ErrorCode;
use rustka_core::group::GroupShard;
use rustka_core::group::command::Command as GroupCommand;
use rustka_core::group::effects::Reply as GroupReply;
use rustka_core::log::{Marker, Origin};
use rustka_core::machine::{Entry, JournalRecord, Standing, Ticket};
use rustka_core::time::Now;
use rustka_core::transaction::command::{Command, End, Event, Reply};

impl Broker {
    /// What groups have just written is admitted at once.
    fn admit_all(&mut self, now: Now) {
        while let Some(entry) = self.groups.unadmitted.pop_front() {
            self.admit(now, entry);
        }
    }

    /// An entry of the groups is admitted in their partition.
    pub(super) fn admit(&mut self, now: Now, entry: Entry<GroupShard>) {
        let mut builder = BatchBuilder::new();
        for record in &entry.records {
            record.encode(&mut |key, value| {
                builder.push(&NewRecord {
                    timestamp: now.wall_ms,
                    key,
                    value,
                    ..NewRecord::default()
                });
            });
        }
        let standing = entry
            .records
            .first()
            .map_or(Standing::Plain, JournalRecord::standing);
        let partition = self.partition(OFFSETS);
        let appended = match standing {
            Standing::Plain => partition.append_other(builder, Origin::Coordinator, now),
            Standing::Open {
                producer_id,
                epoch,
                since,
            } => {
                let builder = builder.producer(producer_id, epoch, 0).transactional();
                partition.append_other(builder, Origin::Offsets { since }, now)
            }
            Standing::Marker {
                producer_id,
                epoch,
                marker,
            } => partition.mark((producer_id, epoch), &marker, now),
        };
        self.groups.admitted(now, entry, appended.is_ok());
    }

    pub(super) fn confirmed(&mut self, now: Now, ticket: Ticket, reply: Reply) {
        let Some(waiting) = self.waiting.remove(&ticket) else {
            return;
        };
        match (waiting, reply) {
            (
                Waiting::Init {
                    token,
                    id,
                    expected,
                },
                Reply::NeedsId,
            ) => {
                let new_id = self.new_id();
                self.init(now, token, id, expected, Some(new_id));
            }
            (Waiting::Init { token, .. }, Reply::Producer(result)) => {
                self.answer(token, Response::Producer(result));
            }
            (Waiting::End { token, end }, Reply::NeedsId) => {
                let end = End {
                    new_id: Some(self.new_id()),
                    ..end
                };
                let waiting = Waiting::End {
                    token,
                    end: end.clone(),
                };
                self.command(now, Command::End(end), waiting);
            }
            (Waiting::End { token, .. }, Reply::Producer(result)) => {
                self.answer(token, Response::Producer(result));
            }
            (Waiting::Add { token }, Reply::Added(result)) => {
                self.answer(token, Response::Done(result));
            }
            (
                Waiting::Produce {
                    token,
                    newer,
                    batch,
                    since,
                },
                reply,
            ) => {
                let origin = Origin::Verified {
                    epoch_bumps: newer,
                    since: Some(since),
                };
                match is_confirmed(reply) {
                    Ok(()) => self.append(now, token, &batch, origin),
                    Err(code) => self.answer(token, Response::Produced(Err(code))),
                }
                self.partition(batch.place).state.end_verification(since);
            }
            (Waiting::Offsets { token, commit }, reply) => {
                let since = commit.since;
                match is_confirmed(reply) {
                    Ok(()) => {
                        let ticket = self.ticket();
                        self.waiting_in_groups.insert(ticket, token);
                        let command = GroupCommand::TransactionCommit(commit);
                        self.groups.handle(now, ticket, command);
                        self.admit_all(now);
                    }
                    Err(code) => self.answer(token, Response::Done(Err(code))),
                }
                if let Some(since) = since {
                    self.partition(OFFSETS).state.end_verification(since);
                }
            }
            _ => {}
        }
    }

    pub(super) fn told_by_groups(&mut self, ticket: Ticket, reply: GroupReply) {
        if let GroupReply::Ended(_) = reply {
            return self.ended_in_groups.push(ticket);
        }
        let Some(token) = self.waiting_in_groups.remove(&ticket) else {
            return;
        };
        let response = match reply {
            GroupReply::TransactionCommit(topics) | GroupReply::OffsetCommit(topics) => {
                let code = topics
                    .iter()
                    .flat_map(|topic| &topic.partitions)
                    .map(|it| it.1)
                    .next();
                match code {
                    Some(ErrorCode::None) => Response::Done(Ok(())),
                    Some(code) => Response::Done(Err(code)),
                    None => Response::Done(Err(ErrorCode::UnknownServerError)),
                }
            }
            GroupReply::OffsetFetch(Ok(topics)) => {
                let found = topics.iter().flat_map(|topic| &topic.partitions).next();
                match found {
                    Some(found) if found.code != ErrorCode::None => {
                        Response::Offset(Err(found.code))
                    }
                    Some(found) => {
                        Response::Offset(Ok((found.offset >= 0).then_some(found.offset)))
                    }
                    None => Response::Offset(Ok(None)),
                }
            }
            _ => Response::Offset(Err(ErrorCode::NotCoordinator)),
        };
        self.answer(token, response);
    }

    /// How a transaction ends is decided: its markers are written.
    pub(super) fn decided(&mut self, now: Now, event: Event) {
        let Event::Decided {
            speaker,
            commit,
            epoch_raised,
            places,
        } = event
        else {
            return;
        };
        let producer = (speaker.producer.id, speaker.producer.epoch);
        let marker = Marker {
            commit,
            coordinator_epoch: 0,
            epoch_bumped: epoch_raised,
        };
        let mut ending = Ending {
            speaker,
            left: Vec::new(),
            groups: None,
        };
        for (at, (_, place)) in places.iter().enumerate() {
            let place = place as Place;
            let mut marker = marker;
            if place == OFFSETS {
                marker.commit = match self.fault {
                    Some(Fault::KeepsAbortedOffsets) => true,
                    Some(Fault::DropsCommittedOffsets) => false,
                    _ => marker.commit,
                };
                let checked = self
                    .partition(OFFSETS)
                    .state
                    .check_marker(producer, &marker);
                if checked.is_ok() {
                    let ticket = self.ticket();
                    ending.groups = Some(ticket);
                    self.groups.handle(
                        now,
                        ticket,
                        GroupCommand::EndTransaction { producer, marker },
                    );
                    self.admit_all(now);
                }
                continue;
            }
            let is_last = at + 1 == places.len();
            if is_last && self.has(Fault::DropsMarker) {
                continue;
            }
            if is_last && self.has(Fault::SwapsMarker) {
                marker.commit = !marker.commit;
            }
            if let Ok(until) = self.partition(place).mark(producer, &marker, now) {
                ending.left.push((place, until));
            }
        }
        if self.has(Fault::CompletesBeforeMarkers) {
            (ending.left, ending.groups) = (Vec::new(), None);
        }
        self.ending.push(ending);
        self.finish(now);
    }

    /// Transactions whose markers are all durable are over.
    pub(super) fn finish(&mut self, now: Now) {
        let durable: Vec<i64> = self.partitions.iter().map(Partition::durable).collect();
        let told = &self.ended_in_groups;
        let is_over = |ending: &mut Ending| {
            let left = ending.left.iter();
            let mut left = left
                .filter(|(place, until)| durable.get(*place as usize).is_some_and(|at| at < until));
            left.next().is_none() && ending.groups.is_none_or(|ticket| told.contains(&ticket))
        };
        let over: Vec<Ending> = self.ending.extract_if(.., is_over).collect();
        for ending in over {
            self.command(
                now,
                Command::MarkersWritten(ending.speaker),
                Waiting::Markers,
            );
        }
    }
}

fn is_confirmed(reply: Reply) -> Result<(), ErrorCode> {
    match reply {
        Reply::Added(result) => result,
        Reply::Verified(Ok(each)) if each.iter().all(|is_added| *is_added) => Ok(()),
        Reply::Verified(Ok(_)) => Err(ErrorCode::TransactionAbortable),
        Reply::Verified(Err(code)) => Err(code),
        _ => Err(ErrorCode::NotCoordinator),
    }
}
