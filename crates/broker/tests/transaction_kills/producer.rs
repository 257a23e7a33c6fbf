//! A producer of transactions that goes on over the deaths of its broker, and writes down what it was told.

use crate::common::{START_MS, produce_request};
use crate::run::{Line, Run, SOURCE, TARGET, place};
use rustka_core::batch::{BatchBuilder, NewRecord};
use rustka_history::history::{Arrival, OffsetWrite, Outcome, Write};
use rustka_wire::add_offsets_to_txn_request::AddOffsetsToTxnRequest;
use rustka_wire::add_partitions_to_txn_request::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnTopic,
};
use rustka_wire::end_txn_request::EndTxnRequest;
use rustka_wire::init_producer_id_request::InitProducerIdRequest;
use rustka_wire::produce_request::ProduceRequest;
use rustka_wire::txn_offset_commit_request::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use std::collections::BTreeMap;
use std::rc::Rc;

/// What a client is told that has to ask again.
pub const PASSING: [i16; 5] = [14, 15, 16, 19, 51];
/// A transaction that nobody ends is aborted after this long.
const TIMEOUT_MS: i32 = 2_000;
/// Versions in which the older protocol (KIP-98) speaks, and the newer one (KIP-890).
struct Versions {
    produce: i16,
    commit: i16,
    end: i16,
}

const OLDER: Versions = Versions {
    produce: 11,
    commit: 4,
    end: 4,
};
const NEWER: Versions = Versions {
    produce: 12,
    commit: 5,
    end: 5,
};

/// A producer of a transactional id that was let in.
pub struct Producer {
    pub line: Line,
    id: &'static str,
    newer: bool,
    pub instance: u64,
    producer: (i64, i16),
    sequences: BTreeMap<i32, i32>,
}

/// The transaction cannot go on; somebody else has come, or it took too long.
pub struct Refused;

impl Producer {
    pub async fn arrive(run: Rc<Run>, id: &'static str, newer: bool) -> Producer {
        let mut line = Line::new(run);
        let request = InitProducerIdRequest {
            transactional_id: Some(id.into()),
            transaction_timeout_ms: TIMEOUT_MS,
            producer_id: -1,
            producer_epoch: -1,
            ..Default::default()
        };
        let producer = loop {
            let (answer, _) = line.ask(4, &request).await;
            let body = answer.body().expect("an answer");
            if body.error_code == 0 {
                break (body.producer_id, body.producer_epoch);
            }
            assert!(PASSING.contains(&body.error_code), "{}", body.error_code);
            line.run.pause().await;
        };
        let instance = (producer.0 as u64) << 16 | producer.1 as u64;
        let at = line.run.tick();
        line.run.history.borrow_mut().arrivals.push(Arrival {
            id: id.to_owned(),
            instance,
            at,
        });
        Producer {
            line,
            id,
            newer,
            instance,
            producer,
            sequences: BTreeMap::new(),
        }
    }

    fn versions(&self) -> Versions {
        if self.newer { NEWER } else { OLDER }
    }

    /// In the older protocol partitions are added before they are written to.
    pub async fn add(&mut self, partitions: Vec<i32>) -> Result<(), Refused> {
        if self.newer {
            return Ok(());
        }
        let request = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: self.id.into(),
            v3_and_below_producer_id: self.producer.0,
            v3_and_below_producer_epoch: self.producer.1,
            v3_and_below_topics: vec![AddPartitionsToTxnTopic {
                name: TARGET.into(),
                partitions,
            }],
            ..Default::default()
        };
        loop {
            let (answer, _) = self.line.ask(3, &request).await;
            let body = answer.body().expect("an answer");
            let result = &body.results_by_topic_v3_and_below[0].results_by_partition[0];
            if !self.is_passing(result.partition_error_code).await? {
                return Ok(());
            }
        }
    }

    /// Whether to ask once more.
    async fn is_passing(&self, code: i16) -> Result<bool, Refused> {
        match code {
            0 => Ok(false),
            code if PASSING.contains(&code) => {
                self.line.run.pause().await;
                Ok(true)
            }
            _ => Err(Refused),
        }
    }

    /// Writes records in one batch, each with what it was made from.
    pub async fn write(
        &mut self,
        at: usize,
        partition: i32,
        sources: &[Option<u64>],
    ) -> Result<(), Refused> {
        let run = self.line.run.clone();
        let writes = sources.iter().map(|source| Write {
            value: run.value(),
            source: *source,
            place: place(TARGET, partition),
            outcome: Outcome::Unknown,
            offset: None,
        });
        let writes: Vec<Write> = writes.collect();
        let values: Vec<u64> = writes.iter().map(|write| write.value).collect();
        let first = run.note(at, |it| {
            it.writes.extend(writes);
            it.writes.len() - values.len()
        });
        let sequence = self.sequences.entry(partition).or_insert(0);
        let batch = batch(&values, Some((self.producer, *sequence)));
        *sequence += values.len() as i32;
        let request = ProduceRequest {
            transactional_id: Some(self.id.into()),
            ..produce_request(TARGET, partition, batch)
        };
        let version = self.versions().produce;
        let offset = loop {
            let (answer, _) = self.line.ask(version, &request).await;
            let body = answer.body().expect("an answer");
            let told = &body.responses[0].partition_responses[0];
            if !self.is_passing(told.error_code).await? {
                break told.base_offset;
            }
        };
        run.note(at, |it| {
            for (n, write) in it.writes.iter_mut().skip(first).enumerate() {
                (write.outcome, write.offset) = (Outcome::Done, Some(offset + n as i64));
            }
        });
        Ok(())
    }

    /// Has its group go on from there, if the transaction is committed.
    pub async fn commit_offset(
        &mut self,
        at: usize,
        partition: i32,
        offset: i64,
    ) -> Result<(), Refused> {
        if !self.newer {
            let request = AddOffsetsToTxnRequest {
                transactional_id: self.id.into(),
                producer_id: self.producer.0,
                producer_epoch: self.producer.1,
                group_id: self.id.into(),
            };
            loop {
                let (answer, _) = self.line.ask(3, &request).await;
                let code = answer.body().expect("an answer").error_code;
                if !self.is_passing(code).await? {
                    break;
                }
            }
        }
        self.line.run.note(at, |it| {
            let place = place(SOURCE, partition);
            it.offsets.push(OffsetWrite { place, offset });
        });
        let request = TxnOffsetCommitRequest {
            transactional_id: self.id.into(),
            group_id: self.id.into(),
            producer_id: self.producer.0,
            producer_epoch: self.producer.1,
            generation_id_or_member_epoch: -1,
            topics: vec![TxnOffsetCommitRequestTopic {
                name: SOURCE.into(),
                partitions: vec![TxnOffsetCommitRequestPartition {
                    partition_index: partition,
                    committed_offset: offset,
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        };
        let version = self.versions().commit;
        loop {
            let (answer, _) = self.line.ask(version, &request).await;
            let body = answer.body().expect("an answer");
            let code = body.topics[0].partitions[0].error_code;
            if !self.is_passing(code).await? {
                return Ok(());
            }
        }
    }

    /// Commits or aborts, and learns how it ended, over as many lives as that takes.
    async fn end(&mut self, at: usize, commit: bool) -> Result<(), Refused> {
        let run = self.line.run.clone();
        if commit {
            let tick = run.tick();
            run.note(at, |it| it.commit_asked = Some(tick));
            run.commits();
        }
        let request = EndTxnRequest {
            transactional_id: self.id.into(),
            producer_id: self.producer.0,
            producer_epoch: self.producer.1,
            committed: commit,
        };
        let mut is_heard = false;
        loop {
            let (answer, is_repeated) = self.line.ask(self.versions().end, &request).await;
            is_heard |= is_repeated;
            let body = answer.body().expect("an answer");
            match self.is_passing(body.error_code).await {
                Ok(true) => {}
                Ok(false) => {
                    run.over(
                        at,
                        if commit {
                            Outcome::Done
                        } else {
                            Outcome::NotDone
                        },
                    );
                    if self.newer {
                        self.producer = (body.producer_id, body.producer_epoch);
                        self.sequences.clear();
                    }
                    return Ok(());
                }
                // One whose answer was lost may have been heard.
                Err(Refused) => {
                    let is_unknown = commit && is_heard;
                    run.over(
                        at,
                        if is_unknown {
                            Outcome::Unknown
                        } else {
                            Outcome::NotDone
                        },
                    );
                    return Err(Refused);
                }
            }
        }
    }

    /// Ends what was begun: mostly by a commit, unless it is refused already.
    pub async fn finish(&mut self, at: usize, written: Result<(), Refused>) -> Result<(), Refused> {
        match written {
            Ok(()) => {
                let commit = !self.line.run.one_in(4);
                self.end(at, commit).await
            }
            Err(Refused) => {
                self.line.run.over(at, Outcome::NotDone);
                Err(Refused)
            }
        }
    }
}

/// A batch of values, of a transaction or of nobody.
pub fn batch(values: &[u64], within: Option<((i64, i16), i32)>) -> Vec<u8> {
    let mut batch = BatchBuilder::new();
    if let Some(((producer_id, epoch), sequence)) = within {
        batch = batch.producer(producer_id, epoch, sequence).transactional();
    }
    for value in values {
        batch.push(&NewRecord {
            timestamp: START_MS,
            value: Some(&value.to_be_bytes()),
            ..NewRecord::default()
        });
    }
    batch.build().expect("a batch")
}
