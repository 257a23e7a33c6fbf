//! What time does: transactions end at their timeout, ids that nobody uses are forgotten.

use super::world::*;
use crate::error::ErrorCode;
use crate::machine::Machine;
use crate::transaction::TransactionOptions;
use crate::transaction::command::{Command, Event, Reply};
use crate::transaction::record::Phase;

#[test]
fn a_transaction_ends_at_its_timeout_and_not_before() {
    let mut w = World::new();
    let me = w.init_for(4_000, None).unwrap();
    w.advance(10_000);
    w.write(me, &[0]).unwrap();
    w.advance(3_000);
    // More of it does not make it younger.
    w.write(me, &[1]).unwrap();
    w.advance(999);
    assert_eq!(w.phase(), Phase::Ongoing);
    w.advance(1);
    assert_eq!(w.phase(), Phase::PrepareAbort);
    assert_eq!(w.events, [Event::TimedOut { id: n("x") }]);
    let decided = w.write_markers();
    assert!(!decided[0].commit && decided[0].epoch_raised);
    assert_eq!(decided[0].speaker.producer, producer(me.id, 1));
}

#[test]
fn kafka_looks_for_timeouts_in_rounds() {
    let mut w = World::with(TransactionOptions {
        timeout_round_ms: Some(10_000),
        ..TransactionOptions::default()
    });
    let me = w.init_for(4_000, None).unwrap();
    w.advance(1_000);
    w.write(me, &[0]).unwrap();
    w.advance(8_999);
    assert_eq!(w.phase(), Phase::Ongoing);
    w.advance(1);
    assert_eq!(w.phase(), Phase::PrepareAbort);
}

#[test]
fn a_client_may_go_on_after_its_transaction_timed_out() {
    for by_init in [true, false] {
        let mut w = World::new();
        let me = w.open_one();
        w.advance(60_000);
        w.write_markers();
        assert_eq!(w.write(me, &[0]), Err(ErrorCode::ProducerFenced));
        assert_eq!(w.end(me, false), Err(ErrorCode::ProducerFenced));
        assert_eq!(w.end_raising(me, true), Err(ErrorCode::InvalidTxnState));
        let next = match by_init {
            true => w.init(Some(me)),
            false => w.end_raising(me, false),
        };
        assert_eq!(next, Ok(producer(me.id, 1)));
        assert_eq!(w.write(next.unwrap(), &[0]), Ok(()));
    }
}

#[test]
fn an_end_that_comes_with_the_timeout_is_decided_once() {
    let mut w = World::new();
    let me = w.open_one();
    w.holds = true;
    let end = w.send(w.end_command(me, true, true));
    // Its record is not durable yet, but what it says is decided.
    w.advance(120_000);
    assert!(w.is_waiting(end));
    w.settle_all();
    let Reply::Producer(Ok(next)) = w.answer(end) else {
        panic!("it was committed")
    };
    let decided = w.write_markers();
    assert_eq!(decided.len(), 1);
    assert!(decided[0].commit);
    assert_eq!(decided[0].speaker.producer, next);
}

#[test]
fn an_open_transaction_has_the_time_that_it_had_left_after_a_restart() {
    let mut w = World::new();
    let me = w.init_for(10_000, None).unwrap();
    w.write(me, &[0]).unwrap();
    w.advance(4_000);
    w.restart();
    w.advance(5_999);
    assert_eq!(w.phase(), Phase::Ongoing);
    w.advance(1);
    assert_eq!(w.phase(), Phase::PrepareAbort);
    let mut w = World::new();
    w.open_one();
    // The wall clock was set back by a day: it has its whole time, and no more.
    w.now.wall_ms -= 86_400_000;
    w.restart();
    w.advance(60_000);
    assert_eq!(w.phase(), Phase::PrepareAbort);
}

#[test]
fn an_id_that_nobody_uses_is_forgotten() {
    let options = TransactionOptions {
        id_expiration_ms: 5_000,
        id_check_interval_ms: 1_000,
        ..TransactionOptions::default()
    };
    let mut w = World::with(options);
    let me = w.init(None).unwrap();
    w.advance(4_999);
    assert_eq!(w.phase(), Phase::Empty);
    w.advance(1_001);
    assert_eq!(w.shard.counts(), (0, 0));
    assert_eq!(w.shard.next_deadline(), None, "nothing is left to do");
    assert!(w.durable.last().unwrap().value.is_none(), "a tombstone");
    let unknown = ErrorCode::InvalidProducerIdMapping;
    assert_eq!(w.end(me, false), Err(unknown));
    assert_eq!(w.write(me, &[0]), Err(unknown));
    w.restart();
    assert_eq!(w.init(Some(me)), Ok(producer(1_001, 0)), "somebody else");
}

#[test]
fn an_id_with_an_open_or_ending_transaction_is_never_forgotten() {
    let options = TransactionOptions {
        id_expiration_ms: 5_000,
        id_check_interval_ms: 1_000,
        ..TransactionOptions::default()
    };
    let mut w = World::with(options);
    let me = w.open_one();
    w.advance(59_000);
    assert_eq!(w.phase(), Phase::Ongoing);
    w.end_raising(me, true).unwrap();
    w.advance(60_000);
    assert_eq!(
        w.phase(),
        Phase::PrepareCommit,
        "its markers are not written"
    );
    w.write_markers();
    w.advance(7_000);
    assert_eq!(w.shard.counts(), (0, 0));
}

#[test]
fn ids_grow_old_by_the_clock_that_nobody_sets() {
    let mut w = World::with(TransactionOptions {
        id_expiration_ms: 5_000,
        id_check_interval_ms: 1_000,
        ..TransactionOptions::default()
    });
    w.init(None).unwrap();
    // The wall clock jumps ahead by a year, and whoever drives the machine does not believe it yet.
    w.now.monotonic_ms += 1_000;
    w.now.wall_ms += 31_536_000_000;
    w.now.aging_ms += 1_000;
    w.expire();
    assert_eq!(w.shard.counts(), (1, 0));
}

#[test]
fn a_look_at_an_id_leaves_it_as_old_as_it_is() {
    let mut w = World::with(TransactionOptions {
        id_expiration_ms: 5_000,
        id_check_interval_ms: 1_000,
        ..TransactionOptions::default()
    });
    w.init(None).unwrap();
    for _ in 0..6 {
        w.advance(900);
        w.send(Command::Describe { id: n("x") });
        w.send(Command::List);
    }
    w.advance(1_000);
    assert_eq!(w.shard.counts(), (0, 0));
}
