//! The broker: what lies between requests and machines.

use super::chance::Chance;
use super::fault::Fault;
use super::host::Host;
use super::partition::Partition;
use super::request::{Batch, OFFSETS, Request, Response};
use crate::history::Place;
use rustka_core::batch::{BatchBuilder, NewRecord};
use rustka_core::error::ErrorCode;
use rustka_core::group::command::{
    Command as GroupCommand, CommitPartition, CommitTopic, OffsetCommit, OffsetFetch,
    TopicPartitions, TransactionCommit,
};
use rustka_core::group::effects::Reply as GroupReply;
use rustka_core::group::{GroupOptions, GroupShard};
use rustka_core::log::{Marker, Origin, Verification};
use rustka_core::machine::{Entry, JournalRecord, Standing, Ticket};
use rustka_core::time::Now;
use rustka_core::transaction::command::{
    Add, Command, End, Event, Init, Name, Producer, Reply, Speaker,
};
use rustka_core::transaction::record::Phase;
use rustka_core::transaction::{TransactionOptions, TransactionShard};
use std::collections::BTreeMap;

/// After this long a transaction is aborted.
const TIMEOUT_MS: i32 = 400;

/// Whoever waits for an answer.
pub(super) type Token = u64;

/// A request whose coordinator has been asked.
enum Waiting {
    Init {
        token: Token,
        id: Name,
        expected: Option<Producer>,
    },
    Add {
        token: Token,
    },
    Produce {
        token: Token,
        newer: bool,
        batch: Batch,
        since: Verification,
    },
    Offsets {
        token: Token,
        commit: TransactionCommit,
    },
    End {
        token: Token,
        end: End,
        answers_old: bool,
    },
    Markers,
}

/// A write that its producer waits for.
struct Written {
    token: Token,
    place: Place,
    until: i64,
    offset: i64,
}

/// A transaction whose markers are being written.
struct Ending {
    speaker: Speaker,
    /// Where, up to where it has to be durable.
    left: Vec<(Place, i64)>,
    /// The groups' part.
    groups: Option<Ticket>,
}

pub(super) struct Broker {
    fault: Option<Fault>,
    transactions: Host<TransactionShard>,
    groups: Host<GroupShard>,
    pub(super) partitions: Vec<Partition>,
    waiting: BTreeMap<Ticket, Waiting>,
    waiting_in_groups: BTreeMap<Ticket, Token>,
    /// Batches that were confirmed a moment ago: whoever serves their connection has not got its turn yet.
    confirmed: Vec<(Ticket, Reply)>,
    written: Vec<Written>,
    ending: Vec<Ending>,
    ended_in_groups: Vec<Ticket>,
    tickets: u64,
    next_producer_id: i64,
    answers: Vec<(Token, Response)>,
    old_offsets: BTreeMap<(Name, Place), Option<i64>>,
}

fn topic_of(place: Place) -> Name {
    match place {
        OFFSETS => "offsets".into(),
        _ => "data".into(),
    }
}

fn places(places: &[Place]) -> Vec<(Name, i32)> {
    places
        .iter()
        .map(|at| (topic_of(*at), *at as i32))
        .collect()
}

fn machine() -> TransactionShard {
    TransactionShard::new(TransactionOptions::default())
}

fn group_machine() -> GroupShard {
    GroupShard::new(GroupOptions::default())
}

impl Broker {
    pub(super) fn new(fault: Option<Fault>) -> Broker {
        Broker {
            fault,
            transactions: Host::new(machine(), false),
            groups: Host::new(group_machine(), true),
            partitions: (0..=OFFSETS).map(|_| Partition::new(fault)).collect(),
            waiting: BTreeMap::new(),
            waiting_in_groups: BTreeMap::new(),
            confirmed: Vec::new(),
            written: Vec::new(),
            ending: Vec::new(),
            ended_in_groups: Vec::new(),
            tickets: 0,
            next_producer_id: 1_000,
            answers: Vec::new(),
            old_offsets: BTreeMap::new(),
        }
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    fn new_id(&mut self) -> i64 {
        self.next_producer_id += 1;
        self.next_producer_id
    }

    fn partition(&mut self, place: Place) -> &mut Partition {
        let at = usize::try_from(place).unwrap_or(usize::MAX);
        self.partitions.get_mut(at).expect("a partition of the run")
    }

    /// What has been answered since.
    pub(super) fn take_answers(&mut self) -> Vec<(Token, Response)> {
        std::mem::take(&mut self.answers)
    }

    fn answer(&mut self, token: Token, response: Response) {
        self.answers.push((token, response));
    }

    fn command(&mut self, now: Now, command: Command, waiting: Waiting) {
        let ticket = self.ticket();
        self.waiting.insert(ticket, waiting);
        self.transactions.handle(now, ticket, command);
        self.go_on(now);
    }

    pub(super) fn request(
        &mut self,
        now: Now,
        token: Token,
        request: Request,
        chance: &mut Chance,
    ) {
        match request {
            Request::Init { id, expected } => self.init(now, token, id, expected, None),
            Request::Add {
                speaker,
                places: added,
            } => {
                let speaker = self.confirmed_speaker(speaker);
                let add = Add {
                    speaker,
                    places: self.remembered(&added),
                    raises_epoch: false,
                };
                self.command(now, Command::Add(add), Waiting::Add { token });
            }
            Request::Produce { newer, batch } => self.produce(now, token, newer, batch),
            Request::Offsets {
                newer,
                speaker,
                place,
                offset,
            } => {
                self.offsets(now, token, newer, speaker, (place, offset));
            }
            Request::End {
                newer,
                speaker,
                commit,
            } => {
                let end = End {
                    speaker,
                    commit,
                    raises_epoch: newer,
                    new_id: None,
                };
                self.end(now, token, end);
            }
            Request::Fetch {
                place,
                from,
                committed,
            } => {
                let batches_max = 1 + chance.below(30) as usize;
                let fetched = self.partition(place).fetch(from, committed, batches_max);
                self.answer(token, Response::Fetched(fetched));
            }
            Request::Offset { group, place } => self.offset(now, token, group, place),
        }
    }

    /// The coordinator's own mistake: it takes whoever asks for the one it knows.
    fn confirmed_speaker(&mut self, speaker: Speaker) -> Speaker {
        let is_lax = self.has(Fault::ConfirmsOldEpochs)
            || self.has(Fault::TakesOldEpochs)
            || self.has(Fault::EndsByOldEpoch);
        match self.known(&speaker.id).filter(|_| is_lax) {
            Some((producer, _)) => Speaker {
                producer,
                ..speaker
            },
            None => speaker,
        }
    }

    /// The partitions that the coordinator takes note of.
    fn remembered(&self, added: &[Place]) -> Vec<(Name, i32)> {
        match self.has(Fault::ForgetsPartition) {
            true => Vec::new(),
            false => places(added),
        }
    }

    fn known(&self, id: &Name) -> Option<(Producer, Phase)> {
        use rustka_core::machine::Machine;
        let live = self.transactions.machine.live();
        let mut of_id = live.filter(|record| record.id == *id);
        let value = of_id.next()?.value?;
        Some((value.producer, value.phase))
    }

    fn init(
        &mut self,
        now: Now,
        token: Token,
        id: Name,
        expected: Option<Producer>,
        new_id: Option<i64>,
    ) {
        if let Some((producer, phase)) = self.known(&id) {
            let is_open = phase == Phase::Ongoing && self.has(Fault::LetsInBeforeAbort);
            if self.has(Fault::FencesNobody) || is_open {
                return self.answer(token, Response::Producer(Ok(producer)));
            }
        }
        let init = Init {
            id: id.clone(),
            timeout_ms: TIMEOUT_MS,
            expected,
            new_id,
        };
        self.command(
            now,
            Command::Init(init),
            Waiting::Init {
                token,
                id: id.clone(),
                expected,
            },
        );
        if self.has(Fault::LetsInBeforeDurable)
            && let Some((producer, Phase::Empty)) = self.known(&id)
        {
            self.answer(token, Response::Producer(Ok(producer)));
        }
    }

    fn produce(&mut self, now: Now, token: Token, newer: bool, batch: Batch) {
        let mut batch = batch;
        if self.has(Fault::WritesElsewhere) {
            batch.place ^= 1;
        }
        if self.has(Fault::AcksBeforeAppend) && batch.sequence > 0 {
            let end = self.partition(batch.place).state.log_end();
            return self.answer(token, Response::Produced(Ok(end)));
        }
        let Some(id) = batch.id.clone() else {
            return self.append(now, token, &batch, Origin::Client);
        };
        let needs = {
            let header = header_of(&batch);
            self.partition(batch.place)
                .state
                .await_verification(&header)
        };
        let Some(since) = needs else {
            return self.append(now, token, &batch, Origin::Client);
        };
        if self.has(Fault::SkipsVerification) {
            self.partition(batch.place).state.end_verification(since);
            let origin = Origin::Verified {
                epoch_bumps: newer,
                since: None,
            };
            return self.append(now, token, &batch, origin);
        }
        let speaker = self.confirmed_speaker(Speaker {
            id,
            producer: batch.producer,
        });
        let at = self.remembered(&[batch.place]);
        let command = match newer {
            true => Command::Add(Add {
                speaker,
                places: at,
                raises_epoch: true,
            }),
            false => Command::Verify {
                speaker,
                places: at,
            },
        };
        if self.has(Fault::AdmitsBeforeDurable) {
            self.command(now, command, Waiting::Markers);
            let origin = Origin::Verified {
                epoch_bumps: newer,
                since: None,
            };
            self.partition(batch.place).state.end_verification(since);
            return self.append(now, token, &batch, origin);
        }
        self.command(
            now,
            command,
            Waiting::Produce {
                token,
                newer,
                batch,
                since,
            },
        );
    }

    fn append(&mut self, now: Now, token: Token, batch: &Batch, origin: Origin) {
        let place = batch.place;
        match self.partition(place).append(batch, origin, now) {
            Err(code) => self.answer(token, Response::Produced(Err(code))),
            Ok((offset, until)) => {
                let offset = offset + i64::from(self.has(Fault::AnswersWrongOffset));
                if self.has(Fault::AcksBeforeDurable) {
                    return self.answer(token, Response::Produced(Ok(offset)));
                }
                self.written.push(Written {
                    token,
                    place,
                    until,
                    offset,
                });
            }
        }
    }

    fn offsets(&mut self, now: Now, token: Token, newer: bool, speaker: Speaker, at: (Place, i64)) {
        let producer = (speaker.producer.id, speaker.producer.epoch);
        let since = self
            .partition(OFFSETS)
            .state
            .await_verification_of(producer.0);
        let commit = OffsetCommit {
            group: speaker.id.clone(),
            member_id: "".into(),
            instance_id: None,
            generation: -1,
            retention_ms: None,
            knows_epochs: false,
            topics: vec![CommitTopic {
                topic: "data".into(),
                topic_id: [1; 16],
                partitions: vec![CommitPartition {
                    partition: at.0 as i32,
                    offset: at.1,
                    leader_epoch: -1,
                    metadata: "".into(),
                }],
            }],
        };
        if self.has(Fault::CommitsOffsetsAtOnce) {
            self.partition(OFFSETS).state.end_verification(since);
            let ticket = self.ticket();
            self.waiting_in_groups.insert(ticket, token);
            self.groups
                .handle(now, ticket, GroupCommand::OffsetCommit(commit));
            return self.go_on(now);
        }
        let speaker = self.confirmed_speaker(speaker);
        let places = places(&[OFFSETS]);
        let command = match newer {
            true => Command::Add(Add {
                speaker,
                places,
                raises_epoch: true,
            }),
            false => Command::Verify { speaker, places },
        };
        let commit = TransactionCommit {
            producer,
            since: Some(since),
            commit,
        };
        self.command(now, command, Waiting::Offsets { token, commit });
    }

    fn end(&mut self, now: Now, token: Token, end: End) {
        let mut end = end;
        let mut answers_old = false;
        if self.has(Fault::ForgetsBump) && end.raises_epoch {
            (end.raises_epoch, answers_old) = (false, true);
        }
        if self.has(Fault::EndsByOldEpoch) {
            let open = self.known(&end.speaker.id);
            if let Some((producer, Phase::Ongoing)) = open {
                end.speaker.producer = producer;
            }
        }
        let before = self.known(&end.speaker.id);
        self.command(
            now,
            Command::End(end.clone()),
            Waiting::End {
                token,
                end: end.clone(),
                answers_old,
            },
        );
        let after = self.known(&end.speaker.id);
        let is_decided = before.is_some_and(|it| it.1 == Phase::Ongoing)
            && after.is_some_and(|it| it.1.is_ending());
        if let Some((producer, _)) = after.filter(|_| is_decided) {
            if self.has(Fault::AnswersEndBeforeDurable) {
                self.answer(token, Response::Producer(Ok(producer)));
            }
            if self.has(Fault::MarksBeforeDecided) {
                let marker = Marker {
                    commit: end.commit,
                    coordinator_epoch: 0,
                    epoch_bumped: false,
                };
                for place in 0..OFFSETS {
                    let open = self.partition(place).state.producers();
                    let open = open.filter(|it| it.txn_first_offset.is_some());
                    if open.map(|it| it.producer_id).any(|id| id == producer.id) {
                        let _refused =
                            self.partition(place)
                                .mark((producer.id, producer.epoch), &marker, now);
                    }
                }
            }
        }
    }

    fn offset(&mut self, now: Now, token: Token, group: Name, place: Place) {
        let ticket = self.ticket();
        self.waiting_in_groups.insert(ticket, token);
        let fetch = OffsetFetch {
            group,
            topics: Some(vec![TopicPartitions {
                topic: "data".into(),
                topic_id: [1; 16],
                partitions: vec![place as i32],
            }]),
            require_stable: !self.has(Fault::ServesUnstableOffsets),
            member: (None, -1),
        };
        self.groups
            .handle(now, ticket, GroupCommand::OffsetFetch(fetch));
        self.go_on(now);
    }

    /// Does what follows from what the machines have said, until nothing does.
    fn go_on(&mut self, now: Now) {
        loop {
            let answers = std::mem::take(&mut self.transactions.answers);
            let events = std::mem::take(&mut self.transactions.events);
            let entries = std::mem::take(&mut self.groups.unadmitted);
            let told = std::mem::take(&mut self.groups.answers);
            self.groups.events.clear();
            if answers.is_empty() && events.is_empty() && entries.is_empty() && told.is_empty() {
                return;
            }
            for entry in entries {
                self.admit(now, entry);
            }
            // Markers come before answers, as in the broker.
            for event in events {
                self.decided(now, event);
            }
            for (ticket, reply) in answers {
                match self.waiting.get(&ticket) {
                    Some(Waiting::Produce { .. }) => self.confirmed.push((ticket, reply)),
                    _ => self.confirmed(now, ticket, reply),
                }
            }
            for (ticket, reply) in told {
                self.told_by_groups(ticket, reply);
            }
        }
    }

    /// An entry of the groups is admitted in their partition.
    fn admit(&mut self, now: Now, entry: Entry<GroupShard>) {
        let mut builder = BatchBuilder::new();
        for record in &entry.records {
            let encoded = record.encode();
            builder.push(&NewRecord {
                timestamp: now.wall_ms,
                key: encoded.key.as_deref(),
                value: encoded.value.as_deref(),
                ..NewRecord::default()
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

    fn confirmed(&mut self, now: Now, ticket: Ticket, reply: Reply) {
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
            (
                Waiting::End {
                    token,
                    end,
                    answers_old,
                },
                Reply::NeedsId,
            ) => {
                let end = End {
                    new_id: Some(self.new_id()),
                    ..end
                };
                let waiting = Waiting::End {
                    token,
                    end: end.clone(),
                    answers_old,
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
                        while let Some(entry) = self.groups.unadmitted.pop_front() {
                            self.admit(now, entry);
                        }
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

    fn told_by_groups(&mut self, ticket: Ticket, reply: GroupReply) {
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

    /// The offset of a group as it was told a while ago.
    pub(super) fn old_offset(
        &mut self,
        group: &Name,
        place: Place,
        told: Option<i64>,
    ) -> Option<i64> {
        match self.has(Fault::TellsOldGroupOffsets) {
            true => self
                .old_offsets
                .insert((group.clone(), place), told)
                .unwrap_or(told),
            false => told,
        }
    }

    /// How a transaction ends is decided: its markers are written.
    fn decided(&mut self, now: Now, event: Event) {
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
            let place = *place as Place;
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
                    while let Some(entry) = self.groups.unadmitted.pop_front() {
                        self.admit(now, entry);
                    }
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
    fn finish(&mut self, now: Now) {
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

    // Time and mishaps.

    /// Something becomes durable: the journal of transactions, or a partition.
    pub(super) fn settle(&mut self, now: Now, chance: &mut Chance, may_fail: bool) {
        if !self.confirmed.is_empty() && chance.one_in(4) {
            let (ticket, reply) = self.confirmed.remove(0);
            self.confirmed(now, ticket, reply);
        }
        let at = chance.below(u64::from(OFFSETS) + 2) as Place;
        if at > OFFSETS {
            let fails = may_fail && chance.one_in(100);
            self.transactions.settle(now, !fails);
        } else {
            self.settle_partition(now, at);
        }
        self.go_on(now);
        self.finish(now);
    }

    fn settle_partition(&mut self, now: Now, place: Place) {
        if !self.partition(place).settle() {
            return;
        }
        if place == OFFSETS {
            self.groups.settle(now, true);
        }
        let durable = self.partition(place).durable();
        let is_durable = |it: &mut Written| it.place == place && it.until <= durable;
        let done: Vec<Written> = self.written.extract_if(.., is_durable).collect();
        for it in done {
            self.answer(it.token, Response::Produced(Ok(it.offset)));
        }
    }

    /// What is due happens.
    pub(super) fn expire(&mut self, now: Now) {
        if self.has(Fault::NeverTimesOut) {
            return;
        }
        if self.has(Fault::CommitsOnTimeout) {
            self.commit_overdue(now);
        }
        self.transactions.expire(now);
        self.go_on(now);
    }

    fn commit_overdue(&mut self, now: Now) {
        use rustka_core::machine::Machine;
        let live: Vec<_> = self.transactions.machine.live().collect();
        for record in live {
            let Some(value) = record.value else {
                continue;
            };
            let is_overdue = now.wall_ms - value.started_ms >= i64::from(value.timeout_ms);
            if value.phase == Phase::Ongoing && is_overdue {
                let speaker = Speaker {
                    id: record.id,
                    producer: value.producer,
                };
                let end = End {
                    speaker,
                    commit: true,
                    raises_epoch: true,
                    new_id: Some(self.new_id()),
                };
                self.command(now, Command::End(end), Waiting::Markers);
            }
        }
    }

    /// The process dies and starts again with what was durable.
    pub(super) fn crash(&mut self, now: Now) {
        self.waiting.clear();
        self.waiting_in_groups.clear();
        self.confirmed.clear();
        self.written.clear();
        self.ending.clear();
        self.ended_in_groups.clear();
        self.answers.clear();
        for partition in &mut self.partitions {
            partition.restart(now);
        }
        self.groups.restart(now, group_machine());
        self.transactions.restart(now, machine());
        if self.has(Fault::ForgetsPrepared) {
            self.transactions.events.clear();
        }
        if self.has(Fault::AbortsPrepared) {
            for event in &mut self.transactions.events {
                if let Event::Decided { commit, .. } = event {
                    *commit = false;
                }
            }
        }
        self.go_on(now);
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

fn header_of(batch: &Batch) -> rustka_core::batch::BatchHeader {
    let producer = batch.producer;
    let mut builder = BatchBuilder::new().producer(producer.id, producer.epoch, batch.sequence);
    if batch.id.is_some() {
        builder = builder.transactional();
    }
    for _ in &batch.values {
        builder.push(&NewRecord::default());
    }
    let bytes = builder.build().expect("a batch of a few records");
    rustka_core::batch::BatchHeader::parse(&bytes).expect("it was just built")
}
