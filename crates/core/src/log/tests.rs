use super::*;
use crate::batch::{BatchBuilder, NewRecord};

const NOW: Now = Now::new(0, 50);

fn header(builder: BatchBuilder, count: usize) -> BatchHeader {
    let mut builder = builder;
    for _ in 0..count {
        builder.push(&NewRecord::default());
    }
    BatchHeader::parse(&builder.build().unwrap()).unwrap()
}

fn plain(count: usize) -> BatchHeader {
    header(BatchBuilder::new(), count)
}

fn appended(state: &mut PartitionState, header: &BatchHeader) -> Result<i64, ErrorCode> {
    match admit(state, header, Origin::Client, NOW) {
        Ok(Admitted::Append { base_offset, .. }) => Ok(base_offset),
        Ok(Admitted::Duplicate(original)) => Ok(original.base_offset),
        Err(refusal) => Err(refusal.code),
    }
}

#[test]
fn batches_get_consecutive_offsets_and_the_leaders_epoch() {
    let mut log = PartitionState::new(3);
    let first = admit(&mut log, &plain(5), Origin::Client, NOW);
    assert_eq!(
        first,
        Ok(Admitted::Append {
            base_offset: 0,
            last_offset: 4,
            leader_epoch: 3
        })
    );
    assert_eq!(appended(&mut log, &plain(1)), Ok(5));
    assert_eq!(log.high_watermark(), 6);
    assert_eq!(log.last_stable_offset(), 6);
    assert_eq!(log.epochs.end_offset_for(3, log.log_end()).end_offset, 6);
    log.lead(4);
    assert_eq!(log.epochs.end_offset_for(3, log.log_end()).end_offset, 6);
}

#[test]
fn a_repeat_changes_nothing() {
    let mut log = PartitionState::new(0);
    let batch = header(BatchBuilder::new().producer(1, 0, 0), 3);
    assert_eq!(appended(&mut log, &batch), Ok(0));
    assert_eq!(appended(&mut log, &plain(1)), Ok(3));
    assert!(matches!(
        admit(&mut log, &batch, Origin::Client, NOW),
        Ok(Admitted::Duplicate(Duplicate {
            base_offset: 0,
            last_offset: 2,
            ..
        }))
    ));
    assert_eq!(log.log_end(), 4);
}

#[test]
fn a_read_only_partition_refuses() {
    let mut log = PartitionState::new(0);
    log.fail_from(0);
    assert_eq!(
        appended(&mut log, &plain(1)),
        Err(ErrorCode::KafkaStorageError)
    );
    assert_eq!(log.log_end(), 0);
}

/// Attacks, row 46: no offset is past the end of its range.
#[test]
fn the_last_offset_is_the_last() {
    let mut log = PartitionState::new(0);
    log.next_offset = i64::MAX - 2;
    let batch = header(BatchBuilder::new().producer(1, 0, 0), 3);
    assert_eq!(
        appended(&mut log, &batch),
        Err(ErrorCode::UnknownServerError)
    );
    assert_eq!(log.producers().count(), 0);
    assert_eq!(appended(&mut log, &plain(2)), Ok(i64::MAX - 2));
    assert_eq!(
        appended(&mut log, &plain(1)),
        Err(ErrorCode::UnknownServerError)
    );
    let mut lie = plain(1);
    lie.last_offset_delta = -1;
    assert_eq!(appended(&mut log, &lie), Err(ErrorCode::InvalidRecord));
}

#[test]
fn clients_write_no_markers_and_no_transaction_of_nobody() {
    let mut log = PartitionState::new(0);
    let control = header(BatchBuilder::new().control(), 1);
    assert_eq!(appended(&mut log, &control), Err(ErrorCode::InvalidRecord));
    let nobody = header(BatchBuilder::new().transactional(), 1);
    assert_eq!(appended(&mut log, &nobody), Err(ErrorCode::InvalidTxnState));
}

#[test]
fn an_open_transaction_holds_the_last_stable_offset_until_its_marker() {
    let mut log = PartitionState::new(0);
    assert_eq!(appended(&mut log, &plain(4)), Ok(0));
    let batch = header(BatchBuilder::new().producer(1, 0, 0).transactional(), 2);
    assert!(log.needs_verification(&batch));
    assert_eq!(appended(&mut log, &batch), Err(ErrorCode::InvalidTxnState));
    let verified = Origin::Verified {
        epoch_bumps: false,
        since: None,
    };
    admit(&mut log, &batch, verified, NOW).unwrap();
    assert_eq!(appended(&mut log, &plain(1)), Ok(6));
    assert_eq!(log.last_stable_offset(), 4);
    assert_eq!(log.high_watermark(), 7);

    let marker = Marker {
        commit: false,
        coordinator_epoch: 0,
        epoch_bumped: false,
    };
    let batch = header(
        BatchBuilder::new()
            .producer(1, 0, -1)
            .transactional()
            .control(),
        1,
    );
    admit_marker(&mut log, &batch, &marker, NOW).unwrap();
    assert_eq!(log.last_stable_offset(), 8);
    assert_eq!(
        log.aborted_between(0, 8),
        [AbortedTransaction {
            producer_id: 1,
            first_offset: 4,
            last_offset: 7
        }]
    );
}

#[test]
fn records_are_deleted_up_to_the_high_watermark_and_never_return() {
    let mut log = PartitionState::new(0);
    appended(&mut log, &plain(10)).unwrap();
    assert_eq!(log.delete_records(4), Ok(4));
    assert_eq!(log.delete_records(2), Ok(4));
    for outside in [11, -2, i64::MIN, i64::MAX] {
        let refusal = log.delete_records(outside).unwrap_err();
        assert_eq!(refusal.code, ErrorCode::OffsetOutOfRange);
    }
    assert_eq!(log.delete_records(-1), Ok(10));
    assert_eq!(appended(&mut log, &plain(1)), Ok(10));
    assert!(!log.advance_log_start(3));
    assert!(log.advance_log_start(i64::MAX));
    assert_eq!(log.log_start, 11);
}

#[test]
fn the_last_stable_offset_does_not_fall_below_the_log_start() {
    let mut log = PartitionState::new(0);
    let batch = header(BatchBuilder::new().producer(1, 0, 0).transactional(), 4);
    admit(
        &mut log,
        &batch,
        Origin::Verified {
            epoch_bumps: false,
            since: None,
        },
        NOW,
    )
    .unwrap();
    log.delete_records(2).unwrap();
    assert_eq!(log.last_stable_offset(), 2);
}

#[test]
fn expired_producers_leave_nothing_behind() {
    let mut log = PartitionState::new(0);
    let batch = header(BatchBuilder::new().producer(1, 0, 0), 1);
    appended(&mut log, &batch).unwrap();
    assert_eq!(log.producers().count(), 1);
    let later = Now::new(0, 1050);
    assert_eq!(log.expire_producers(later, 1000), 1);
    assert!(log.producers.is_none());
}

#[test]
fn an_idle_partition_is_small() {
    assert!(size_of::<PartitionState>() <= 96);
}

/// A generator of numbers that is the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// The same rules over plain lists that forget nothing.
#[derive(Default)]
struct Naive {
    log_start: i64,
    /// (base, last, producer, epoch, first sequence, last sequence) of every batch.
    batches: Vec<(i64, i64, i64, i16, i32, i32)>,
    /// (producer, first offset) of open transactions.
    open: Vec<(i64, i64)>,
    aborted: Vec<AbortedTransaction>,
    /// (producer, newest epoch).
    epochs: Vec<(i64, i16)>,
    end: i64,
}

impl Naive {
    fn epoch(&self, producer: i64) -> Option<i16> {
        let newest = self.epochs.iter().rev().find(|(id, _)| *id == producer);
        newest.map(|(_, epoch)| *epoch)
    }

    fn is_open(&self, producer: i64) -> bool {
        self.open.iter().any(|(id, _)| *id == producer)
    }

    fn admit(&mut self, batch: &BatchHeader) -> Result<i64, ErrorCode> {
        let (id, epoch) = (batch.producer_id, batch.producer_epoch);
        let (first, last) = (batch.base_sequence, batch.last_sequence());
        if id >= 0 {
            let mine = |b: &&(i64, i64, i64, i16, i32, i32)| b.2 == id && b.3 == epoch;
            let newest = self.epoch(id);
            if newest == Some(epoch)
                && let Some(original) = self
                    .batches
                    .iter()
                    .rev()
                    .filter(mine)
                    .take(5)
                    .find(|b| b.4 == first && b.5 == last)
            {
                return Ok(original.0);
            }
            if newest.is_some_and(|newest| epoch < newest) {
                return Err(ErrorCode::InvalidProducerEpoch);
            }
            let expected = match newest {
                None => first,
                Some(newest) if newest != epoch => 0,
                Some(_) => match self.batches.iter().rev().find(mine) {
                    None => 0,
                    Some(b) if b.5 == i32::MAX => 0,
                    Some(b) => b.5 + 1,
                },
            };
            if first != expected {
                return Err(ErrorCode::OutOfOrderSequenceNumber);
            }
            if self.is_open(id) && !batch.is_transactional() {
                return Err(ErrorCode::InvalidTxnState);
            }
            if batch.is_transactional() && !self.is_open(id) {
                self.open.push((id, self.end));
            }
            self.epochs.push((id, epoch));
        }
        let base = self.end;
        self.end += i64::from(batch.record_count);
        self.batches
            .push((base, self.end - 1, id, epoch, first, last));
        Ok(base)
    }

    fn mark(&mut self, id: i64, epoch: i16, commit: bool) -> Result<i64, ErrorCode> {
        if self.epoch(id).is_some_and(|newest| epoch < newest) {
            return Err(ErrorCode::InvalidProducerEpoch);
        }
        if let Some(at) = self.open.iter().position(|(open, _)| *open == id) {
            let (producer_id, first_offset) = self.open.remove(at);
            if !commit {
                self.aborted.push(AbortedTransaction {
                    producer_id,
                    first_offset,
                    last_offset: self.end,
                });
            }
        }
        self.epochs.push((id, epoch));
        self.end += 1;
        Ok(self.end - 1)
    }

    fn last_stable(&self) -> i64 {
        let first = self.open.iter().map(|(_, first)| *first).min();
        first.map_or(self.end, |first| first.max(self.log_start))
    }
}

#[test]
fn random_histories_agree_with_a_naive_log() {
    for seed in 1..300 {
        let mut random = Random(0x9e37_79b9_7f4a_7c15u64.wrapping_mul(seed));
        let mut log = PartitionState::new(0);
        let mut naive = Naive::default();
        let verified = Origin::Verified {
            epoch_bumps: false,
            since: None,
        };
        for step in 0..200 {
            let id = i64::try_from(random.below(3)).unwrap();
            let epoch = i16::try_from(random.below(2 + step / 60)).unwrap();
            let (real, model) = match random.below(20) {
                0..2 => {
                    let commit = random.below(2) == 0;
                    let marker = Marker {
                        commit,
                        coordinator_epoch: 0,
                        epoch_bumped: false,
                    };
                    let batch = BatchBuilder::new().producer(id, epoch, -1).control();
                    let real = admit_marker(&mut log, &header(batch, 1), &marker, NOW);
                    (real, naive.mark(id, epoch, commit))
                }
                2 => {
                    let to = i64::try_from(random.below(300)).unwrap();
                    if log.delete_records(to).is_ok() {
                        naive.log_start = naive.log_start.max(to);
                    }
                    continue;
                }
                3..5 => {
                    let batch = plain(1 + usize::try_from(random.below(3)).unwrap());
                    let real = admit(&mut log, &batch, verified, NOW);
                    (real, naive.admit(&batch))
                }
                _ => {
                    let newest = naive.batches.iter().rev().filter(|b| b.2 == id);
                    let again = usize::try_from(random.below(8)).unwrap();
                    let known: Vec<_> = newest.take(8).collect();
                    let (epoch, first, count) = match known.get(again) {
                        // Often a repeat, else the next, sometimes a gap.
                        Some(b) if random.below(2) == 0 => (b.3, b.4, b.1 - b.0 + 1),
                        _ => {
                            let next = known.first().map_or(i32::MAX - 2, |b| {
                                if b.3 == epoch {
                                    b.5.wrapping_add(1) & i32::MAX
                                } else {
                                    0
                                }
                            });
                            let gap = i32::from(random.below(10) == 0);
                            (
                                epoch,
                                next.wrapping_add(gap) & i32::MAX,
                                1 + i64::try_from(random.below(3)).unwrap(),
                            )
                        }
                    };
                    let mut batch = BatchBuilder::new().producer(id, epoch, first);
                    if naive.is_open(id) != (random.below(10) == 0) {
                        batch = batch.transactional();
                    }
                    let batch = header(batch, usize::try_from(count).unwrap());
                    let real = admit(&mut log, &batch, verified, NOW);
                    (real, naive.admit(&batch))
                }
            };
            let real = match real {
                Ok(Admitted::Append { base_offset, .. }) => Ok(base_offset),
                Ok(Admitted::Duplicate(original)) => Ok(original.base_offset),
                Err(refusal) => Err(refusal.code),
            };
            assert_eq!(real, model, "seed {seed}, step {step}");
            assert_eq!(log.log_end(), naive.end, "seed {seed}, step {step}");
            assert_eq!(log.log_start, naive.log_start);
            assert_eq!(log.last_stable_offset(), naive.last_stable());
            let from = log.log_start;
            let listed: Vec<_> = naive
                .aborted
                .iter()
                .filter(|txn| txn.last_offset >= from && txn.first_offset < naive.end)
                .copied()
                .collect();
            assert_eq!(log.aborted_between(from, naive.end), listed);
        }
    }
}
