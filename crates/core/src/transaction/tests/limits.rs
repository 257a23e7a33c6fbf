//! Nothing that clients name grows without a limit.

use super::world::*;
use crate::account::{Account, Share};
use crate::error::ErrorCode;
use crate::transaction::TransactionOptions;
use crate::transaction::command::{Add, Command, Event};
use std::sync::Arc;

#[test]
fn a_new_id_beyond_the_limit_is_refused_and_the_others_go_on() {
    let mut w = World::with(TransactionOptions {
        ids_max: 3,
        id_expiration_ms: 5_000,
        id_check_interval_ms: 1_000,
        ..TransactionOptions::default()
    });
    for id in ["a", "b", "c"] {
        w.id = n(id);
        w.open_one();
    }
    w.id = n("d");
    assert_eq!(w.init(None), Err(ErrorCode::CoordinatorNotAvailable));
    assert_eq!(w.events, [Event::Full]);
    w.id = n("a");
    assert_eq!(w.end(producer(1_000, 0), true), Ok(producer(1_000, 0)));
    w.write_markers();
    assert_eq!(w.init(None), Ok(producer(1_000, 1)));
    // What has grown old makes room.
    w.advance(7_000);
    w.id = n("d");
    assert_eq!(w.init(None), Ok(producer(1_003, 0)));
}

// The limit counted ids of a few letters and ids of 32 KB alike: a flood of the latter took all memory there was.
#[test]
fn ids_with_long_names_count_for_more() {
    let mut w = World::with(TransactionOptions {
        ids_max: 1_000,
        ..TransactionOptions::default()
    });
    let mut taken = 0;
    for at in 0..1_000 {
        w.id = n(&format!("{at}{}", "x".repeat(32_000)));
        match w.init(None) {
            Ok(_) => taken += 1,
            Err(code) => assert_eq!(code, ErrorCode::CoordinatorNotAvailable),
        }
    }
    assert_eq!(taken, 7);
}

#[test]
fn a_lost_or_forgotten_id_gives_its_place_back() {
    let mut w = World::with(TransactionOptions {
        ids_max: 1,
        ..TransactionOptions::default()
    });
    for _ in 0..10 {
        w.fail_next();
        assert_eq!(w.init(None), Err(ErrorCode::NotCoordinator));
    }
    w.init(None).unwrap();
    w.shard.clear();
    w.init(None).unwrap();
}

// Each partition was compared with every one before it: a transaction with many made its coordinator busy for seconds.
#[test]
fn a_transaction_over_many_partitions_ends_where_a_record_ends() {
    let mut w = World::new();
    let me = w.init(None).unwrap();
    let all: Vec<i32> = (0..200_000).rev().collect();
    w.write(me, &all).unwrap();
    w.write(me, &all).unwrap();
    let places = w.state().places.clone().unwrap();
    assert_eq!(places.len(), 200_000);
    assert!(places.has(&(n("t"), 77)) && !places.has(&(n("t"), 200_000)));
    let records = w.durable.len();
    let more: Vec<i32> = (200_000..270_000).collect();
    assert_eq!(w.write(me, &more), Err(ErrorCode::UnknownServerError));
    assert_eq!(w.durable.len(), records, "nothing of it was added");
    let names = (0..5_000).map(|at| (n(&format!("{at:0>249}")), 0));
    let add = Command::Add(Add {
        speaker: w.speaker(me),
        places: names.collect(),
        raises_epoch: true,
    });
    let ticket = w.send(add);
    assert_eq!(added(w.answer(ticket)), Err(ErrorCode::UnknownServerError));
    assert!(w.end_raising(me, true).is_ok());
}

// Ids were bounded by their number, whatever a broker with little memory could hold of them and of their partitions.
#[test]
fn ids_and_partitions_are_refused_at_their_share_of_memory_and_taken_again_once_there_is_room() {
    let account = Arc::new(Account::new(32 * 10_000));
    let mut w = World::with(TransactionOptions {
        id_expiration_ms: 5_000,
        id_check_interval_ms: 1_000,
        account: account.clone(),
        ..TransactionOptions::default()
    });
    let made = (0..1_000).find(|at| {
        w.id = n(&format!("id-{at}"));
        w.init(None).is_err()
    });
    let made = made.expect("a limit");
    assert!(made > 10, "{made}");
    assert!(
        matches!(w.events.last(), Some(Event::OutOfMemory(full)) if full.share == Share::Transactions)
    );
    assert!(account.bytes(Share::Transactions) <= 10_000);
    w.advance(7_000);
    assert_eq!(account.bytes(Share::Transactions), 0);
    assert!(w.init(None).is_ok());
}
