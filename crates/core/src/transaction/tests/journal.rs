//! The journal is slow, fails, or is all that is left: nobody hears of what is not durable, and what is decided is done.

use super::world::*;
use crate::error::ErrorCode;
use crate::machine::Machine;
use crate::machine::tests::encoded;
use crate::transaction::command::{Command, Event, Producer, Reply};
use crate::transaction::record::{Phase, Record};
use crate::transaction::{Effects, TransactionShard};

#[test]
fn nobody_hears_of_what_is_not_durable() {
    let mut w = World::new();
    let me = w.init(None).unwrap();
    w.holds = true;
    let add = w.send(w.add_command(me, &[0], true));
    assert!(w.is_waiting(add));
    // The same once more is known already, and yet not durable.
    let again = w.send(w.add_command(me, &[0], true));
    assert!(w.is_waiting(again));
    w.settle(0);
    assert_eq!(added(w.answer(add)), Ok(()));
    assert_eq!(added(w.answer(again)), Ok(()));
    let end = w.send(w.end_command(me, true, true));
    assert!(w.is_waiting(end));
    assert_eq!(w.decided, [], "no marker before that");
    w.settle(0);
    assert!(matches!(w.answer(end), Reply::Producer(Ok(_))));
    assert_eq!(w.decided.len(), 1);
}

#[test]
fn a_lost_beginning_is_no_transaction() {
    let mut w = World::new();
    let me = w.init(None).unwrap();
    w.fail_next();
    assert_eq!(w.write(me, &[0]), Err(ErrorCode::NotCoordinator));
    assert_eq!(w.phase(), Phase::Empty);
    assert_eq!(w.verify(me, &[0]), Ok(vec![false]));
    assert_eq!(w.events, [Event::RolledBack { id: n("x") }]);
    w.write(me, &[0]).unwrap();
    w.advance(60_000);
    assert_eq!(w.phase(), Phase::PrepareAbort, "it has its timeout");
}

#[test]
fn a_lost_end_leaves_the_transaction_open() {
    let mut w = World::new();
    let me = w.open_one();
    w.fail_next();
    assert_eq!(w.end_raising(me, true), Err(ErrorCode::NotCoordinator));
    assert_eq!(w.decided, []);
    assert_eq!(w.phase(), Phase::Ongoing);
    w.write(me, &[1]).unwrap();
    assert_eq!(w.end_raising(me, true), Ok(producer(me.id, 1)));
    assert_eq!(w.write_markers()[0].places.len(), 2);
}

#[test]
fn a_lost_first_record_of_an_id_leaves_nothing_of_it() {
    let mut w = World::new();
    w.fail_next();
    assert_eq!(w.init(None), Err(ErrorCode::NotCoordinator));
    assert_eq!(w.shard.counts(), (0, 0));
    assert_eq!(w.init(None), Ok(producer(1_001, 0)));
}

// An InitProducerId whose record was lost moved the epoch from which a client may come back. One that had missed an
// answer was fenced by an answer that nobody ever got.
#[test]
fn a_lost_record_does_not_shut_out_a_client_that_has_missed_an_answer() {
    let mut w = World::new();
    let first = w.init(None).unwrap();
    let second = w.init(Some(first)).unwrap();
    w.fail_next();
    assert_eq!(w.init(None), Err(ErrorCode::NotCoordinator));
    assert_eq!(w.init(Some(first)), Ok(second));
    w.fail_next();
    assert_eq!(w.init(Some(second)), Err(ErrorCode::NotCoordinator));
    assert_eq!(w.init(Some(first)), Ok(second));
}

#[test]
fn a_lost_end_does_not_shut_out_a_client_that_has_missed_an_answer() {
    let mut w = World::new();
    let first = w.init(None).unwrap();
    let second = w.init(Some(first)).unwrap();
    w.fail_next();
    assert_eq!(w.end_raising(second, false), Err(ErrorCode::NotCoordinator));
    assert_eq!(w.init(Some(first)), Ok(second));
}

#[test]
fn records_that_are_lost_in_any_order_leave_what_is_durable() {
    // Two adds are under way: each may be durable or lost, and the journal learns of them in either order.
    for (lost, first) in [(1, 0), (1, 1), (2, 0), (2, 1), (3, 0), (3, 1)] {
        let mut w = World::new();
        let me = w.init(None).unwrap();
        w.holds = true;
        let position = w.shard.position;
        w.send(w.add_command(me, &[0], true));
        w.send(w.add_command(me, &[1], true));
        let is_lost = |at: u64| lost & (1 << at) != 0;
        w.failing = (0..2)
            .filter(|at| is_lost(*at))
            .map(|at| position + 1 + at)
            .collect();
        w.settle(first);
        w.settle_all();
        let expected = match lost {
            // The second says what the first said, and more.
            1 => vec![true, true],
            2 => vec![true, false],
            _ => vec![false, false],
        };
        w.holds = false;
        assert_eq!(
            w.verify(me, &[0, 1]),
            Ok(expected.clone()),
            "{lost} {first}"
        );
        w.restart();
        assert_eq!(w.verify(me, &[0, 1]), Ok(expected), "{lost} {first}");
    }
}

// A transaction whose abort could not be written was due again at once. On a broken disk its coordinator did nothing else
// any more, and took a whole core for it.
#[test]
fn an_abort_that_cannot_be_written_is_tried_once_a_second() {
    let mut w = World::new();
    w.open_one();
    w.broken = true;
    w.advance(65_000);
    let tries = w.events.iter();
    let tries = tries.filter(|event| matches!(event, Event::TimedOut { .. }));
    assert_eq!(tries.count(), 6);
    assert_eq!(w.phase(), Phase::Ongoing);
    w.broken = false;
    w.advance(1_000);
    assert_eq!(w.phase(), Phase::PrepareAbort);
}

/// Both ways of ending; which the client does, in steps.
fn story(w: &mut World, commit: bool) -> Producer {
    let me = w.init(None).unwrap();
    w.write(me, &[0]).unwrap();
    w.write(me, &[1]).unwrap();
    w.end_raising(me, commit).unwrap();
    w.write_markers();
    me
}

#[test]
fn after_each_record_a_restart_goes_on_where_it_was() {
    for commit in [true, false] {
        let mut whole = World::new();
        story(&mut whole, commit);
        let records: Vec<Record> = whole.durable.clone();
        assert_eq!(records.len(), 5);
        for count in 0..=records.len() {
            let mut w = World::new();
            w.durable = records[..count].to_vec();
            w.restart();
            let me = producer(1_000, 0);
            match count {
                0 => assert_eq!(w.write(me, &[0]), Err(ErrorCode::InvalidProducerIdMapping)),
                1 => assert_eq!(w.phase(), Phase::Empty),
                2 | 3 => {
                    assert_eq!(w.verify(me, &[0, 1]), Ok(vec![true, count == 3]));
                    w.advance(60_000);
                    assert!(!w.write_markers()[0].commit, "nobody ended it");
                }
                4 => {
                    // It was decided, and is done.
                    let decided = w.write_markers();
                    assert_eq!(decided.len(), 1);
                    assert_eq!((decided[0].commit, decided[0].places.len()), (commit, 2));
                    assert_eq!(w.end_raising(me, commit), Ok(producer(me.id, 1)));
                }
                _ => {
                    assert_eq!(w.decided, [], "it is over");
                    assert_eq!(w.end_raising(me, commit), Ok(producer(me.id, 1)));
                }
            }
        }
    }
}

#[test]
fn a_shortened_journal_says_the_same() {
    let mut w = World::new();
    for id in ["a", "b", "c"] {
        w.id = n(id);
        let me = story(&mut w, true);
        if id == "b" {
            w.write(producer(me.id, 1), &[3]).unwrap();
        }
    }
    assert!(w.shard.is_settled());
    let live: Vec<Record> = w.shard.live().collect();
    assert_eq!(live.len(), 3);
    let mut again = TransactionShard::new(w.options.clone());
    live.iter().for_each(|record| again.apply(record.clone()));
    again.loaded(w.now, &mut Effects::default());
    assert_eq!(again.live().collect::<Vec<_>>(), live);
    assert_eq!(again.next_deadline(), w.shard.next_deadline());
}

// With transaction.version 0 records were written in a version that brokers at that level cannot read.
#[test]
fn values_are_written_in_the_version_that_the_feature_says() {
    let mut w = World::new();
    for (level, version) in [(0, 0), (1, 1), (2, 1)] {
        w.shard.set_transaction_version(level);
        let me = w.open_one();
        let value = encoded(w.durable.last().unwrap())[0].1.clone().unwrap();
        assert_eq!(value[..2], i16::to_be_bytes(version));
        w.end_raising(me, true).unwrap();
        w.write_markers();
        w.restart();
        assert_eq!(w.phase(), Phase::CompleteCommit);
        assert_eq!(w.state().producer, producer(me.id, me.epoch + 1));
    }
}

#[test]
fn markers_that_are_told_twice_or_too_late_end_nothing_else() {
    let mut w = World::new();
    let me = w.open_one();
    w.end_raising(me, true).unwrap();
    let decided = w.write_markers();
    let next = decided[0].speaker.producer;
    w.write(next, &[0]).unwrap();
    w.send(Command::MarkersWritten(decided[0].speaker.clone()));
    assert_eq!(w.phase(), Phase::Ongoing);
    w.end_raising(next, false).unwrap();
    w.send(Command::MarkersWritten(decided[0].speaker.clone()));
    assert_eq!(w.phase(), Phase::PrepareAbort);
}
