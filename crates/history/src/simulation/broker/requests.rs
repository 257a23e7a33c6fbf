//! What clients ask, up to what a machine or a partition is asked for it.

use super::super::chance::Chance;
use super::super::fault::Fault;
use super::super::request::{Batch, OFFSETS, Request, Response};
use super::{Broker, Token, Waiting, Written};
use crate::history::Place;
use rustka_core::batch::{BatchBuilder, BatchHeader, NewRecord};
use rustka_core::group::command::{
    Command as GroupCommand, CommitPartition, CommitTopic, OffsetCommit, OffsetFetch,
    TopicPartitions, TransactionCommit,
};
use rustka_core::log::{Marker, Origin};
use rustka_core::time::Now;
use rustka_core::transaction::command::{Add, Command, End, Init, Name, Producer, Speaker};
use rustka_core::transaction::record::Phase;

/// After this long a transaction is aborted.
const TIMEOUT_MS: i32 = 400;

impl Broker {
    pub(in crate::simulation) fn request(
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

    pub(super) fn init(
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

    pub(super) fn produce(&mut self, now: Now, token: Token, newer: bool, batch: Batch) {
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

    pub(super) fn append(&mut self, now: Now, token: Token, batch: &Batch, origin: Origin) {
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

    pub(super) fn offsets(
        &mut self,
        now: Now,
        token: Token,
        newer: bool,
        speaker: Speaker,
        at: (Place, i64),
    ) {
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

    pub(super) fn end(&mut self, now: Now, token: Token, end: End) {
        let mut end = end;
        end.raises_epoch &= !self.has(Fault::ForgetsBump);
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

    pub(super) fn offset(&mut self, now: Now, token: Token, group: Name, place: Place) {
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

    /// The offset of a group as it was told a while ago.
    pub(in crate::simulation) fn old_offset(
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

fn header_of(batch: &Batch) -> BatchHeader {
    let producer = batch.producer;
    let mut builder = BatchBuilder::new().producer(producer.id, producer.epoch, batch.sequence);
    if batch.id.is_some() {
        builder = builder.transactional();
    }
    for _ in &batch.values {
        builder.push(&NewRecord::default());
    }
    let bytes = builder.build().expect("a batch of a few records");
    BatchHeader::parse(&bytes).expect("it was just built")
}
