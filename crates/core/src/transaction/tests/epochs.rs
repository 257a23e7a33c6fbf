//! Epochs are 16 bits: what happens where they end.

use super::world::*;
use crate::error::ErrorCode;
use crate::transaction::command::Producer;
use crate::transaction::record::{NONE, Phase};

/// The last epoch that a producer gets.
const LAST: i16 = i16::MAX - 1;

/// An id whose producer is in the last epoch.
fn at_the_end() -> (World, Producer) {
    let mut w = World::new();
    let mut me = w.init(None).unwrap();
    while me.epoch < LAST {
        me = w.init(Some(me)).unwrap();
    }
    w.durable.drain(..w.durable.len() - 1);
    (w, me)
}

#[test]
fn an_init_in_the_last_epoch_gives_a_new_producer_id() {
    let (mut w, last) = at_the_end();
    let before = producer(last.id, LAST - 1);
    assert_eq!(w.init(Some(before)), Ok(last), "the last one is handed out");
    let new = w.init(Some(last)).unwrap();
    assert_eq!(new, producer(last.id + 1, 0));
    assert_eq!(w.state().previous_id, last.id);
    assert_eq!(w.init(Some(last)), Ok(new), "its answer was lost");
    assert_eq!(w.init(Some(before)), Err(ErrorCode::ProducerFenced));
    assert_eq!(
        w.write(last, &[0]),
        Err(ErrorCode::InvalidProducerIdMapping)
    );
}

#[test]
fn an_end_in_the_last_epoch_gives_a_new_producer_id_and_can_be_repeated() {
    let (mut w, last) = at_the_end();
    w.write(last, &[0]).unwrap();
    let new = w.end_raising(last, true).unwrap();
    assert_eq!(new, producer(last.id + 1, 0));
    assert_eq!(w.state().next_id, new.id);
    let decided = w.write_markers();
    let marker = decided[0].speaker.producer;
    assert_eq!(marker, producer(last.id, i16::MAX), "only markers have it");
    let state = w.state();
    assert_eq!((state.producer, state.previous_id), (new, last.id));
    assert_eq!((state.next_id, state.phase), (NONE, Phase::CompleteCommit));
    assert_eq!(w.end_raising(last, true), Ok(new));
    assert_eq!(w.end_raising(last, false), Err(ErrorCode::InvalidTxnState));
    let older = producer(last.id, LAST - 1);
    assert_eq!(
        w.end_raising(older, true),
        Err(ErrorCode::InvalidProducerIdMapping)
    );
    w.write(new, &[0]).unwrap();
    assert_eq!(
        w.end_raising(last, true),
        Err(ErrorCode::InvalidProducerIdMapping)
    );
}

#[test]
fn an_end_in_the_last_epoch_survives_a_restart_before_its_markers() {
    let (mut w, last) = at_the_end();
    w.write(last, &[0]).unwrap();
    let new = w.end_raising(last, true).unwrap();
    w.restart();
    assert_eq!(w.write_markers()[0].speaker.producer.epoch, i16::MAX);
    assert_eq!(w.state().producer, new);
    assert_eq!(w.end_raising(last, true), Ok(new));
}

// After a timeout in the last epoch the client was handed the epoch of the abort's marker. What it wrote then could not be
// ended: its partitions took the next marker for a repeat, and hid everything behind it from readers for good.
#[test]
fn a_client_whose_last_epoch_timed_out_goes_on_under_a_new_producer_id() {
    for by_init in [true, false] {
        let (mut w, last) = at_the_end();
        w.write(last, &[0]).unwrap();
        w.advance(60_000);
        assert_eq!(w.write_markers()[0].speaker.producer.epoch, i16::MAX);
        let new = match by_init {
            true => w.init(Some(last)).unwrap(),
            false => w.end_raising(last, false).unwrap(),
        };
        assert_eq!(new, producer(last.id + 1, 0));
        if !by_init {
            assert_eq!(w.end_raising(last, false), Ok(new), "its answer was lost");
        }
        assert_eq!(w.init(Some(last)), Ok(new), "so was this one");
        w.write(new, &[0]).unwrap();
        assert_eq!(w.end_raising(new, true), Ok(producer(new.id, 1)));
    }
}

#[test]
fn the_older_protocol_goes_on_in_the_last_epoch() {
    let (mut w, last) = at_the_end();
    for _ in 0..3 {
        w.add(last, &[0]).unwrap();
        assert_eq!(w.end(last, true), Ok(last));
        w.write_markers();
    }
}
