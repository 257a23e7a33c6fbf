//! A transaction from its beginning to its end, by the older protocol (KIP-98) and by the newer one (KIP-890).

use super::world::*;
use crate::error::ErrorCode;
use crate::transaction::record::Phase;

#[test]
fn a_producer_of_the_older_protocol_keeps_its_epoch_from_transaction_to_transaction() {
    let mut w = World::new();
    let me = w.init(None).unwrap();
    assert_eq!(me, producer(1_000, 0));
    for commit in [true, false] {
        assert_eq!(w.verify(me, &[0]), Ok(vec![false]));
        w.add(me, &[0, 1]).unwrap();
        assert_eq!(w.verify(me, &[1, 2]), Ok(vec![true, false]));
        assert_eq!(w.end(me, commit), Ok(me));
        let decided = w.write_markers();
        assert_eq!(decided.len(), 1);
        assert_eq!(
            (decided[0].commit, decided[0].epoch_raised),
            (commit, false)
        );
        assert_eq!(decided[0].places, [("t".into(), 0), ("t".into(), 1)]);
        assert_eq!(decided[0].speaker.producer, me);
    }
    assert_eq!(w.phase(), Phase::CompleteAbort);
}

#[test]
fn a_producer_of_the_newer_protocol_gets_the_next_epoch_with_each_end() {
    let mut w = World::new();
    let me = w.open_one();
    let next = w.end_raising(me, true).unwrap();
    assert_eq!(next, producer(me.id, 1));
    let decided = w.write_markers();
    assert!(decided[0].epoch_raised);
    assert_eq!(
        decided[0].speaker.producer, next,
        "the marker has the next epoch"
    );
    // What comes late from the transaction before belongs to no transaction any more.
    assert_eq!(w.write(me, &[0]), Err(ErrorCode::ProducerFenced));
    w.write(next, &[0]).unwrap();
    assert_eq!(w.end_raising(next, false), Ok(producer(me.id, 2)));
}

#[test]
fn no_transaction_begins_while_the_one_before_is_told_to_its_partitions() {
    for raises in [false, true] {
        let mut w = World::new();
        let me = w.open_one();
        let next = match raises {
            true => w.end_raising(me, true).unwrap(),
            false => w.end(me, true).unwrap(),
        };
        assert_eq!(w.phase(), Phase::PrepareCommit);
        let busy = Err(ErrorCode::ConcurrentTransactions);
        assert_eq!(w.write(next, &[0]), busy);
        assert_eq!(w.verify(next, &[0]), Err(ErrorCode::ConcurrentTransactions));
        assert_eq!(w.init(None), Err(ErrorCode::ConcurrentTransactions));
        w.write_markers();
        assert_eq!(w.write(next, &[0]), Ok(()));
    }
}

#[test]
fn an_end_of_the_older_protocol_is_answered_by_state() {
    let mut w = World::new();
    let me = w.init(None).unwrap();
    let invalid = Err(ErrorCode::InvalidTxnState);
    assert_eq!(w.end(me, true), invalid, "nothing to commit");
    assert_eq!(w.end(me, false), invalid, "nothing to abort");
    w.add(me, &[0]).unwrap();
    w.end(me, true).unwrap();
    assert_eq!(w.end(me, true), Err(ErrorCode::ConcurrentTransactions));
    assert_eq!(w.end(me, false), invalid, "it commits");
    w.write_markers();
    assert_eq!(w.end(me, true), Ok(me), "the answer was lost");
    assert_eq!(w.end(me, false), invalid, "it has committed");
}

#[test]
fn an_end_of_the_newer_protocol_whose_answer_was_lost_can_be_repeated() {
    for commit in [true, false] {
        let mut w = World::new();
        let me = w.open_one();
        let next = w.end_raising(me, commit).unwrap();
        assert_eq!(
            w.end_raising(me, commit),
            Err(ErrorCode::ConcurrentTransactions)
        );
        w.write_markers();
        assert_eq!(w.end_raising(me, commit), Ok(next));
        assert_eq!(
            w.end_raising(me, !commit),
            Err(ErrorCode::InvalidTxnState),
            "it was not what was asked for first"
        );
        // A repeat decides nothing anew.
        assert_eq!(w.decided, []);
        w.write(next, &[0]).unwrap();
        assert_eq!(w.end_raising(me, commit), Err(ErrorCode::ProducerFenced));
        assert_eq!(w.phase(), Phase::Ongoing, "the next transaction goes on");
    }
}

#[test]
fn the_newer_protocol_aborts_without_a_transaction_and_does_not_commit_without_one() {
    let mut w = World::new();
    let me = w.init(None).unwrap();
    assert_eq!(w.end_raising(me, true), Err(ErrorCode::InvalidTxnState));
    let next = w.end_raising(me, false).unwrap();
    assert_eq!(next, producer(me.id, 1));
    assert_eq!(w.write_markers()[0].places, [], "no partition hears of it");
    assert_eq!(w.end_raising(next, false), Ok(producer(me.id, 2)));
}

#[test]
fn the_last_request_that_adds_decides_by_which_protocol_the_transaction_is_ended() {
    let mut w = World::new();
    let me = w.open_one();
    assert!(w.state().raises_epoch);
    w.add(me, &[1]).unwrap();
    assert!(!w.state().raises_epoch);
    assert_eq!(w.end(me, true), Ok(me));
}

#[test]
fn a_partition_that_is_added_again_costs_no_record() {
    let mut w = World::new();
    let me = w.open_one();
    let records = w.durable.len();
    w.write(me, &[0, 0]).unwrap();
    assert_eq!(w.durable.len(), records);
    w.write(me, &[1, 0, 1]).unwrap();
    assert_eq!(w.durable.len(), records + 1);
    assert_eq!(w.state().places.as_ref().unwrap().len(), 2);
}

#[test]
fn what_is_asked_of_an_id_without_a_name_or_without_a_producer_is_refused() {
    let mut w = World::new();
    let nobody = producer(7, 0);
    let unknown = ErrorCode::InvalidProducerIdMapping;
    assert_eq!(w.write(nobody, &[0]), Err(unknown));
    assert_eq!(w.verify(nobody, &[0]), Err(unknown));
    assert_eq!(w.end(nobody, true), Err(unknown));
    assert_eq!(
        w.init_for(0, None),
        Err(ErrorCode::InvalidTransactionTimeout)
    );
    assert_eq!(
        w.init_for(900_001, None),
        Err(ErrorCode::InvalidTransactionTimeout)
    );
    w.id = n("");
    assert_eq!(w.init(None), Err(ErrorCode::InvalidRequest));
    assert_eq!(w.end(nobody, true), Err(ErrorCode::InvalidRequest));
    assert_eq!(w.write(nobody, &[0]), Err(ErrorCode::InvalidRequest));
    assert_eq!(w.shard.counts(), (0, 0), "nothing is left of them");
}
