use super::*;

fn attempt(epoch: i16, first_sequence: i32, count: i32) -> Attempt {
    let last = i64::from(first_sequence) + i64::from(count) - 1;
    Attempt {
        producer_id: 7,
        epoch,
        first_sequence,
        last_sequence: i32::try_from(last % (1 << 31)).unwrap(),
        offset_delta: count - 1,
        transactional: false,
    }
}

fn transactional(epoch: i16, first_sequence: i32) -> Attempt {
    Attempt {
        transactional: true,
        ..attempt(epoch, first_sequence, 1)
    }
}

/// Checks an attempt and, if it is new, appends it at `offset`.
fn write(producers: &mut Producers, attempt: &Attempt, offset: i64) -> Result<Check, ErrorCode> {
    write_from(producers, attempt, offset, Origin::Client)
}

fn write_from(
    producers: &mut Producers,
    attempt: &Attempt,
    offset: i64,
    origin: Origin,
) -> Result<Check, ErrorCode> {
    let check = producers
        .check(attempt, origin)
        .map_err(|refusal| refusal.code)?;
    if check == Check::New {
        producers.appended(attempt, offset, offset * 10, offset);
    }
    Ok(check)
}

const VERIFIED: Origin = Origin::Verified {
    epoch_bumps: false,
    since: None,
};
const GAP: Result<Check, ErrorCode> = Err(ErrorCode::OutOfOrderSequenceNumber);
const FENCED: Result<Check, ErrorCode> = Err(ErrorCode::InvalidProducerEpoch);

#[test]
fn sequences_have_no_gaps_and_repeats_get_their_first_answer() {
    let mut p = Producers::default();
    assert_eq!(write(&mut p, &attempt(0, 0, 5), 100), Ok(Check::New));
    assert_eq!(write(&mut p, &attempt(0, 5, 2), 105), Ok(Check::New));
    assert_eq!(write(&mut p, &attempt(0, 8, 1), 107), GAP);
    let original = Duplicate {
        base_offset: 100,
        last_offset: 104,
        timestamp: 1000,
    };
    assert_eq!(
        write(&mut p, &attempt(0, 0, 5), 107),
        Ok(Check::Duplicate(original))
    );
    // Part of a batch is no repeat of it.
    assert_eq!(write(&mut p, &attempt(0, 0, 4), 107), GAP);
    assert_eq!(write(&mut p, &attempt(0, 7, 1), 107), Ok(Check::New));
}

#[test]
fn only_the_last_five_batches_are_remembered() {
    let mut p = Producers::default();
    for sequence in 0..6 {
        write(&mut p, &attempt(0, sequence, 1), sequence.into()).unwrap();
    }
    assert_eq!(write(&mut p, &attempt(0, 0, 1), 6), GAP);
    for sequence in 1..6 {
        assert!(matches!(
            write(&mut p, &attempt(0, sequence, 1), 6),
            Ok(Check::Duplicate(found)) if found.base_offset == i64::from(sequence)
        ));
    }
}

/// Attacks, row 44.
#[test]
fn after_the_last_sequence_comes_zero() {
    let mut p = Producers::default();
    write(&mut p, &attempt(0, i32::MAX - 1, 2), 0).unwrap();
    assert_eq!(write(&mut p, &attempt(0, 0, 1), 2), Ok(Check::New));

    let mut p = Producers::default();
    let across = attempt(0, i32::MAX, 3);
    assert_eq!(across.last_sequence, 1);
    write(&mut p, &across, 0).unwrap();
    assert!(matches!(write(&mut p, &across, 3), Ok(Check::Duplicate(_))));
    assert_eq!(write(&mut p, &attempt(0, 2, 1), 3), Ok(Check::New));
}

#[test]
fn a_new_epoch_begins_at_zero_and_the_old_one_is_over() {
    let mut p = Producers::default();
    write(&mut p, &attempt(0, 0, 3), 0).unwrap();
    assert_eq!(write(&mut p, &attempt(1, 3, 1), 3), GAP);
    assert_eq!(write(&mut p, &attempt(1, 0, 1), 3), Ok(Check::New));
    assert_eq!(write(&mut p, &attempt(0, 3, 1), 4), FENCED);
    assert_eq!(write(&mut p, &attempt(0, 0, 3), 4), FENCED);
}

#[test]
fn an_unknown_producer_may_begin_anywhere_unless_it_bumps_epochs() {
    let mut p = Producers::default();
    let bumps = Origin::Verified {
        epoch_bumps: true,
        since: None,
    };
    assert_eq!(write_from(&mut p, &attempt(3, 9, 1), 0, bumps), GAP);
    assert_eq!(write(&mut p, &attempt(3, 9, 1), 0), Ok(Check::New));
}

#[test]
fn a_transaction_begins_only_when_verified_and_holds_back_readers() {
    let mut p = Producers::default();
    let first = transactional(0, 0);
    assert!(p.needs_verification(&first));
    assert_eq!(write(&mut p, &first, 10), Err(ErrorCode::InvalidTxnState));
    assert_eq!(write_from(&mut p, &first, 10, VERIFIED), Ok(Check::New));
    assert_eq!(p.first_unstable_offset(i64::MAX), Some(10));
    assert!(!p.needs_verification(&transactional(0, 1)));
    assert_eq!(write(&mut p, &transactional(0, 1), 11), Ok(Check::New));
    assert_eq!(
        write(&mut p, &attempt(0, 2, 1), 12),
        Err(ErrorCode::InvalidTxnState)
    );
}

/// KAFKA-19690: a zombie must hear that its epoch is over, not that its transaction is in a wrong state.
#[test]
fn an_old_epoch_is_noticed_before_the_transaction() {
    let mut p = Producers::default();
    write(&mut p, &attempt(5, 0, 1), 0).unwrap();
    let zombie = transactional(4, 0);
    assert!(!p.needs_verification(&zombie));
    assert_eq!(write(&mut p, &zombie, 1), FENCED);
}

#[test]
fn a_marker_ends_the_transaction_and_aborts_are_listed() {
    let mut p = Producers::default();
    let marker = |commit| Marker {
        commit,
        coordinator_epoch: 2,
        epoch_bumped: false,
    };
    write_from(&mut p, &transactional(0, 0), 10, VERIFIED).unwrap();
    p.check_marker(7, 0, &marker(false)).unwrap();
    p.ended((7, 0), &marker(false), 11, 0, 0);
    assert_eq!(p.first_unstable_offset(i64::MAX), None);
    write_from(&mut p, &transactional(0, 1), 12, VERIFIED).unwrap();
    p.ended((7, 0), &marker(true), 13, 0, 0);
    let aborted = |start, end| {
        let all: Vec<_> = p.aborted_between(start, end).collect();
        all.len()
    };
    assert_eq!(aborted(0, 100), 1);
    assert_eq!(aborted(11, 12), 1);
    assert_eq!(aborted(12, 100), 0);
    assert_eq!(aborted(0, 10), 0);
    p.truncate_from_start(12);
    assert_eq!(p.aborted_between(0, 100).count(), 0);
}

/// A reader of what is committed was told of every transaction that was aborted anywhere behind what it got: each read of
/// a long log took a list of them all.
#[test]
fn a_read_is_told_of_the_aborted_transactions_that_it_can_meet_and_of_no_others() {
    let (mut p, mut dice) = (Producers::default(), 11_u64);
    let (mut all, mut began) = (Vec::new(), [None; 6]);
    for offset in 0..3_000 {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let number = (dice >> 33) as usize;
        let producer_id = number as i64 % 6;
        let commit = (number >> 8).is_multiple_of(3);
        match began[number % 6].take() {
            None => {
                let open = Attempt {
                    producer_id,
                    first_sequence: -1,
                    last_sequence: -1,
                    ..transactional(0, 0)
                };
                p.appended(&open, offset, 0, 0);
                began[number % 6] = Some(offset);
            }
            // Some stay open for long.
            Some(first) if producer_id == 0 && !number.is_multiple_of(11) => {
                began[0] = Some(first);
            }
            Some(first_offset) => {
                let marker = Marker {
                    commit,
                    coordinator_epoch: 0,
                    epoch_bumped: false,
                };
                p.ended((producer_id, 0), &marker, offset, 0, 0);
                all.extend((!commit).then_some(AbortedTransaction {
                    producer_id,
                    first_offset,
                    last_offset: offset,
                }));
            }
        }
    }
    assert!(all.len() > 500, "{}", all.len());
    let again = Producers::of_snapshot(&p.snapshot(), all.clone(), 0).expect("whole");
    for start in (0..3_000).step_by(37) {
        for end in (start..3_100).step_by(91) {
            let met = |it: &&AbortedTransaction| it.last_offset >= start && it.first_offset < end;
            let expected: Vec<_> = all.iter().filter(met).copied().collect();
            assert!(p.aborted_between(start, end).eq(expected.iter().copied()));
            assert!(again.aborted_between(start, end).eq(expected));
        }
    }
}

#[test]
fn a_marker_with_a_bumped_epoch_makes_the_next_transaction_begin_at_zero() {
    let mut p = Producers::default();
    let marker = Marker {
        commit: true,
        coordinator_epoch: 0,
        epoch_bumped: true,
    };
    write_from(&mut p, &transactional(0, 0), 0, VERIFIED).unwrap();
    let stale = p.check_marker(7, 0, &marker).unwrap_err();
    assert_eq!(stale.code, ErrorCode::InvalidProducerEpoch);
    p.check_marker(7, 1, &marker).unwrap();
    p.ended((7, 1), &marker, 1, 0, 0);
    assert_eq!(write_from(&mut p, &transactional(1, 1), 2, VERIFIED), GAP);
    assert_eq!(
        write_from(&mut p, &transactional(1, 0), 2, VERIFIED),
        Ok(Check::New)
    );
}

#[test]
fn a_deposed_coordinator_is_fenced() {
    let mut p = Producers::default();
    let marker = |coordinator_epoch| Marker {
        commit: true,
        coordinator_epoch,
        epoch_bumped: false,
    };
    p.ended((7, 0), &marker(5), 0, 0, 0);
    let refusal = p.check_marker(7, 0, &marker(4)).unwrap_err();
    assert_eq!(refusal.code, ErrorCode::TransactionCoordinatorFenced);
    assert_eq!(p.check_marker(7, 0, &marker(5)), Ok(()));
}

#[test]
fn coordinators_write_without_sequences() {
    let mut p = Producers::default();
    let offsets = Attempt {
        first_sequence: -1,
        last_sequence: -1,
        ..transactional(0, 0)
    };
    for offset in 0..3 {
        assert_eq!(
            write_from(&mut p, &offsets, offset, Origin::Coordinator),
            Ok(Check::New)
        );
    }
    assert_eq!(p.first_unstable_offset(i64::MAX), Some(0));
    assert_eq!(p.iter().next().unwrap().last_sequence, -1);
}

#[test]
fn silent_producers_expire_but_not_inside_a_transaction() {
    let mut p = Producers::default();
    write(&mut p, &attempt(0, 0, 1), 100).unwrap();
    let open = Attempt {
        producer_id: 8,
        ..transactional(0, 0)
    };
    write_from(&mut p, &open, 101, VERIFIED).unwrap();
    assert_eq!(p.expire(1099, 1000), 0);
    assert_eq!(p.expire(1100, 1000), 1);
    assert_eq!(p.expire(i64::MAX, 1000), 0);
    assert_eq!(p.len(), 1);
    // A clock that jumps back expires nobody.
    assert_eq!(p.expire(i64::MIN, 1000), 0);
}

/// Attacks, row 24.
#[test]
fn a_flood_of_producers_forgets_the_oldest_idle_ones() {
    let mut p = Producers::default();
    let id = |producer_id| Attempt {
        producer_id,
        ..attempt(0, 0, 1)
    };
    let open = Attempt {
        transactional: true,
        ..id(0)
    };
    write_from(&mut p, &open, 0, VERIFIED).unwrap();
    for producer_id in 1..30_000 {
        write(&mut p, &id(producer_id), producer_id).unwrap();
        assert!(p.len() <= PRODUCERS_MAX + 1, "beside the open transaction");
    }
    assert!(p.len() > PRODUCERS_MAX / 2);
    let mut ids = p.iter().map(|producer| producer.producer_id);
    assert_eq!(ids.next(), Some(0));
    assert!(ids.next().unwrap() > 15_000);
}

// Where that many transactions were open, each further one looked at all of them in search of an idle producer.
#[test]
fn many_open_transactions_are_all_kept_and_cost_no_search() {
    let mut p = Producers::default();
    for producer_id in 0..100_000 {
        let open = Attempt {
            producer_id,
            transactional: true,
            ..attempt(0, 0, 1)
        };
        write_from(&mut p, &open, producer_id, VERIFIED).unwrap();
    }
    assert_eq!(p.len(), 100_000);
    assert_eq!(p.first_unstable_offset(i64::MAX), Some(0));
}
