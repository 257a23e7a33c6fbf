//! Two producers of one transactional id: the newer one wins, and nothing of the older one is committed by accident.

use super::world::*;
use crate::error::ErrorCode;
use crate::transaction::record::Phase;

#[test]
fn a_new_producer_fences_the_one_before() {
    let mut w = World::new();
    let old = w.init(None).unwrap();
    let new = w.init(None).unwrap();
    assert_eq!(new, producer(old.id, 1));
    let fenced = ErrorCode::ProducerFenced;
    assert_eq!(w.write(old, &[0]), Err(fenced));
    assert_eq!(w.verify(old, &[0]), Err(fenced));
    assert_eq!(w.end(old, true), Err(fenced));
    assert_eq!(w.init(Some(old)), Err(fenced));
    // An epoch that nobody was given is no better.
    assert_eq!(w.write(producer(old.id, 5), &[0]), Err(fenced));
    let stranger = ErrorCode::InvalidProducerIdMapping;
    assert_eq!(w.write(producer(7, 1), &[0]), Err(stranger));
    assert_eq!(w.init(Some(producer(7, 1))), Err(fenced));
}

#[test]
fn a_new_producer_has_the_open_transaction_of_the_one_before_aborted() {
    let mut w = World::new();
    let zombie = w.open_one();
    assert_eq!(w.init(None), Err(ErrorCode::ConcurrentTransactions));
    assert_eq!(w.phase(), Phase::PrepareAbort);
    assert_eq!(w.end(zombie, true), Err(ErrorCode::ProducerFenced));
    assert_eq!(w.write(zombie, &[1]), Err(ErrorCode::ProducerFenced));
    let decided = w.write_markers();
    assert!(!decided[0].commit && decided[0].epoch_raised);
    assert_eq!(decided[0].speaker.producer, producer(zombie.id, 1));
    // One epoch is spent on the abort, the next one is the new producer's.
    assert_eq!(w.init(None), Ok(producer(zombie.id, 2)));
    assert_eq!(w.init(Some(zombie)), Err(ErrorCode::ProducerFenced));
}

#[test]
fn a_client_that_missed_the_answer_to_its_init_gets_the_same_one_again() {
    let mut w = World::new();
    let first = w.init(None).unwrap();
    let second = w.init(Some(first)).unwrap();
    assert_eq!(second, producer(first.id, 1));
    assert_eq!(w.init(Some(first)), Ok(second));
    assert_eq!(w.init(Some(first)), Ok(second));
    // Whoever begins without saying who it was shuts that door.
    assert_eq!(w.init(None), Ok(producer(first.id, 2)));
    assert_eq!(w.init(Some(second)), Err(ErrorCode::ProducerFenced));
}

#[test]
fn a_client_may_keep_its_id_when_it_goes_on_after_its_transactions() {
    let mut w = World::new();
    let me = w.open_one();
    let next = w.end_raising(me, true).unwrap();
    w.write_markers();
    // It has missed the answer, and goes on by InitProducerId instead (KIP-360).
    assert_eq!(w.init(Some(me)), Ok(next));
    assert_eq!(w.phase(), Phase::Empty);
}

// Kafka lets a producer whose transaction was aborted by a newcomer's InitProducerId go on, as long as the newcomer has not
// come back for its epoch. We fenced it, and two that started at once could fence each other.
#[test]
fn a_producer_that_was_fenced_may_come_back_before_its_successor() {
    let mut w = World::new();
    let me = w.open_one();
    assert_eq!(w.init(None), Err(ErrorCode::ConcurrentTransactions));
    w.write_markers();
    assert_eq!(w.init(Some(me)), Ok(producer(me.id, 1)));
    assert_eq!(w.init(None), Ok(producer(me.id, 2)));
    assert_eq!(w.init(Some(me)), Err(ErrorCode::ProducerFenced));
}

#[test]
fn an_init_of_an_unknown_id_takes_no_notice_of_who_the_client_was() {
    let mut w = World::new();
    assert_eq!(w.init(Some(producer(77, 12))), Ok(producer(1_000, 0)));
}
