//! Transactions on storage that takes its time and fails: no write without an open transaction, whatever comes late on
//! whatever connection, and what is decided is done.

mod common;

use common::producer::{NEWER, OLDER, Producer, added, produced, stable};
use common::{Client, World};
use rustka::coordinators::transactions::TASK;
use rustka::fault::{Fault, Point};
use rustka_core::names::TRANSACTION_STATE;
use rustka_storage::Partition;
use rustka_storage::testing::{PLENTY, TestEngine};
use rustka_wire::delete_topics_request::DeleteTopicsRequest;
use std::sync::Arc;

const INVALID_PRODUCER_EPOCH: i16 = 47;
const INVALID_TXN_STATE: i16 = 48;
const CONCURRENT_TRANSACTIONS: i16 = 51;
/// A marker that could not be written is tried again after this long.
const RETRY_MS: u64 = 100;

/// A broker with a topic of two partitions, and one journal for all transactional ids.
async fn world() -> (World, Arc<TestEngine>, Client) {
    let engine = TestEngine::new(PLENTY);
    let world = World::with(|options| {
        let options = options.engine(engine.clone());
        options.config("transaction.state.log.num.partitions", "1")
    });
    let mut client = world.connect();
    client.create_topic("t", 2).await;
    (world, engine, client)
}

fn partition(world: &World, topic: &str, index: i32) -> Arc<Partition> {
    let partition = world.broker.node().partition(topic, index);
    partition.expect("a partition")
}

fn journal(world: &World) -> Arc<Partition> {
    partition(world, TRANSACTION_STATE, 0)
}

/// A broker that has answered a commit of one record, and whose storage holds up the marker; with the producer as it is then.
async fn decided() -> (World, Arc<TestEngine>, Client, Producer) {
    let (world, engine, mut client) = world().await;
    let me = Producer::init(&mut client, "x", 60_000).await;
    assert_eq!(me.produce(&mut client, NEWER, ("t", 0), 0).await, (0, 0));
    engine.hold_durability();
    me.send_end(&mut client, NEWER, true).await;
    world.settle().await;
    assert!(engine.settle(&journal(&world)));
    world.settle().await;
    let (_, next) = me.ended(&mut client, NEWER).await;
    (world, engine, client, next)
}

#[tokio::test]
async fn an_answered_commit_can_be_read_in_both_protocols() {
    let (_world, _, mut client) = world().await;
    let mut me = Producer::init(&mut client, "x", 60_000).await;
    assert_eq!(me.add(&mut client, "t", &[0]).await, 0);
    assert_eq!(me.produce(&mut client, OLDER, ("t", 0), 0).await, (0, 0));
    assert_eq!(stable(&mut client, "t", 0).await, (1, 0));
    assert_eq!(me.end(&mut client, OLDER, true).await.0, 0);
    assert_eq!(stable(&mut client, "t", 0).await, (2, 2));
    // One sequence goes on where the epoch stays.
    assert_eq!(me.produce(&mut client, NEWER, ("t", 0), 1).await, (0, 2));
    me = me.end(&mut client, NEWER, true).await.1;
    assert_eq!(me.epoch, 1);
    assert_eq!(stable(&mut client, "t", 0).await, (4, 4));
    assert_eq!(me.produce(&mut client, NEWER, ("t", 0), 0).await, (0, 4));
    assert_eq!(me.state(&mut client).await, "Ongoing");
}

#[tokio::test]
async fn a_batch_is_admitted_once_the_transaction_is_durable_and_not_before() {
    let (world, engine, mut client) = world().await;
    let me = Producer::init(&mut client, "x", 60_000).await;
    engine.hold_durability();
    me.send_produce(&mut client, NEWER, ("t", 0), 0).await;
    world.settle().await;
    assert_eq!(partition(&world, "t", 0).offsets().log_end, 0);
    assert!(engine.settle(&journal(&world)));
    world.settle().await;
    assert_eq!(partition(&world, "t", 0).offsets().log_end, 1);
    assert!(!client.has_answer(), "the batch itself is not durable");
    engine.settle_all(1);
    assert_eq!(produced(&mut client, NEWER).await, (0, 0));
}

// Kafka's own first protocol lets a late write begin a transaction that nobody ends.
#[tokio::test]
async fn no_marker_slips_in_between_a_confirmation_and_its_batch() {
    for fenced in [false, true] {
        let (world, engine, mut client) = world().await;
        let me = Producer::init(&mut client, "x", 60_000).await;
        assert_eq!(me.add(&mut client, "t", &[0]).await, 0);
        let (mut other, mut late) = (world.connect(), world.connect());
        engine.hold_durability();
        // The confirmation of partition 0 waits for the record that adds partition 1.
        me.send_add(&mut other, "t", &[1]).await;
        world.settle().await;
        me.send_produce(&mut late, OLDER, ("t", 0), 0).await;
        world.settle().await;
        let mut ends = world.connect();
        match fenced {
            true => Producer::send_init(&mut ends, "x", 60_000).await,
            false => me.send_end(&mut ends, OLDER, true).await,
        }
        world.settle().await;
        // Both records are durable before the batch's connection gets its turn: the end comes first.
        engine.settle_all(1);
        world.settle().await;
        engine.settle_all(1);
        world.settle().await;
        assert_eq!(added(&mut other).await, 0);
        if fenced {
            let code = Producer::inited(&mut ends, "x").await.0;
            assert_eq!(code, CONCURRENT_TRANSACTIONS);
        }
        let code = produced(&mut late, OLDER).await.0;
        match fenced {
            true => assert_eq!(code, INVALID_PRODUCER_EPOCH),
            false => assert_eq!(code, INVALID_TXN_STATE),
        }
        engine.settle_all(1);
        world.settle().await;
        let (high_watermark, stable) = stable(&mut client, "t", 0).await;
        assert_eq!(high_watermark, 1, "the marker and nothing else");
        assert_eq!(stable, high_watermark, "nothing is open");
        let state = me.state(&mut client).await;
        assert_eq!(
            state,
            if fenced {
                "CompleteAbort"
            } else {
                "CompleteCommit"
            }
        );
    }
}

#[tokio::test]
async fn a_late_end_of_an_older_transaction_does_not_end_the_next_one() {
    let (_world, _, mut client) = world().await;
    let me = Producer::init(&mut client, "x", 60_000).await;
    assert_eq!(me.produce(&mut client, NEWER, ("t", 0), 0).await, (0, 0));
    let (_, next) = me.end(&mut client, NEWER, true).await;
    assert_eq!(next.produce(&mut client, NEWER, ("t", 0), 0).await, (0, 2));
    // The same EndTxn once more, late on another connection: in the newer protocol it is known to be old.
    const PRODUCER_FENCED: i16 = 90;
    assert_eq!(me.end(&mut client, NEWER, true).await.0, PRODUCER_FENCED);
    assert_eq!(me.end(&mut client, NEWER, false).await.0, PRODUCER_FENCED);
    assert_eq!(stable(&mut client, "t", 0).await, (3, 2));
    assert_eq!(
        me.produce(&mut client, NEWER, ("t", 1), 0).await.0,
        INVALID_PRODUCER_EPOCH
    );
    assert_eq!(next.state(&mut client).await, "Ongoing");
}

#[tokio::test]
async fn a_commit_is_answered_once_it_is_decided_and_read_once_its_markers_are_durable() {
    let (world, engine, mut client) = world().await;
    let me = Producer::init(&mut client, "x", 60_000).await;
    for at in 0..2 {
        assert_eq!(me.produce(&mut client, NEWER, ("t", at), 0).await, (0, 0));
    }
    engine.hold_durability();
    me.send_end(&mut client, NEWER, true).await;
    world.settle().await;
    assert!(!client.has_answer());
    assert_eq!(partition(&world, "t", 0).offsets().log_end, 1, "no marker");
    assert!(engine.settle(&journal(&world)));
    world.settle().await;
    let (code, next) = me.ended(&mut client, NEWER).await;
    assert_eq!(code, 0);
    assert_eq!(next.state(&mut client).await, "PrepareCommit");
    for at in 0..2 {
        assert_eq!(stable(&mut client, "t", at).await, (1, 0));
    }
    for at in [1, 0] {
        assert!(engine.settle(&partition(&world, "t", at)));
        world.settle().await;
        assert_eq!(stable(&mut client, "t", at).await, (2, 2));
    }
    engine.settle_all(1);
    world.settle().await;
    assert_eq!(next.state(&mut client).await, "CompleteCommit");
}

// A producer of the newer protocol that goes on at once was sent away with CONCURRENT_TRANSACTIONS, and its client waited
// longer than the end took.
#[tokio::test]
async fn a_write_waits_for_the_end_of_the_transaction_before() {
    let (world, engine, mut client, next) = decided().await;
    next.send_produce(&mut client, NEWER, ("t", 0), 0).await;
    world.settle().await;
    assert!(!client.has_answer());
    for _ in 0..4 {
        engine.settle_all(1);
        world.settle().await;
    }
    assert_eq!(produced(&mut client, NEWER).await, (0, 2));
    assert_eq!(stable(&mut client, "t", 0).await, (3, 2));
}

// E69
#[tokio::test]
async fn a_write_does_not_wait_for_long_and_in_the_older_protocol_not_at_all() {
    let (world, _, mut client, next) = decided().await;
    const NOT_ENOUGH_REPLICAS: i16 = 19;
    let code = next.produce(&mut client, OLDER, ("t", 0), 0).await.0;
    assert_eq!(code, NOT_ENOUGH_REPLICAS);
    next.send_produce(&mut client, NEWER, ("t", 0), 0).await;
    world.advance_ms(99).await;
    assert!(!client.has_answer());
    world.advance_ms(1).await;
    assert_eq!(
        produced(&mut client, NEWER).await.0,
        CONCURRENT_TRANSACTIONS
    );
    assert_eq!(next.state(&mut client).await, "PrepareCommit");
}

#[tokio::test]
async fn a_client_that_hangs_up_while_its_write_waits_leaves_nothing_open() {
    let (world, engine, mut client) = world().await;
    let me = Producer::init(&mut client, "x", 60_000).await;
    engine.hold_durability();
    let mut gone = world.connect();
    me.send_produce(&mut gone, NEWER, ("t", 0), 0).await;
    world.settle().await;
    drop(gone);
    world.settle().await;
    engine.settle_all(1);
    world.settle().await;
    assert_eq!(partition(&world, "t", 0).offsets().log_end, 0);
    world.advance_ms(60_000).await;
    for _ in 0..4 {
        engine.settle_all(1);
        world.settle().await;
    }
    assert_eq!(me.state(&mut client).await, "CompleteAbort");
    assert_eq!(stable(&mut client, "t", 0).await, (1, 1), "a marker alone");
}

#[tokio::test]
async fn a_marker_that_cannot_be_written_holds_up_no_other_and_ends_with_its_topic() {
    let (world, engine, mut client) = world().await;
    client.create_topic("u", 1).await;
    let me = Producer::init(&mut client, "x", 60_000).await;
    assert_eq!(me.produce(&mut client, NEWER, ("t", 0), 0).await, (0, 0));
    assert_eq!(me.produce(&mut client, NEWER, ("u", 0), 0).await, (0, 0));
    engine.fail_next_write(&partition(&world, "t", 0));
    let (code, next) = me.end(&mut client, NEWER, true).await;
    assert_eq!(code, 0);
    world.settle().await;
    assert_eq!(stable(&mut client, "u", 0).await, (2, 2));
    for _ in 0..3 {
        world.advance_ms(RETRY_MS).await;
        assert_eq!(next.state(&mut client).await, "PrepareCommit");
    }
    // What is deleted has no open transactions.
    let request = DeleteTopicsRequest {
        topic_names: vec!["t".into()],
        timeout_ms: 1_000,
        ..Default::default()
    };
    client.ask(DeleteTopicsRequest::KEY, 4, &request).await;
    world.advance_ms(RETRY_MS).await;
    assert_eq!(next.state(&mut client).await, "CompleteCommit");
}

/// The coordinator of "x" panics in the middle of a request, and is made anew from its journal.
async fn panic_of_the_coordinator(world: &World, me: &Producer) {
    let faults = &world.broker.node().faults;
    let fault = Fault::within(Point::Decide, TRANSACTION_STATE);
    faults.arm(fault).expect("it fits");
    let mut unlucky = world.connect();
    me.send_end(&mut unlucky, NEWER, false).await;
    assert!(unlucky.is_closed().await);
}

#[tokio::test]
async fn a_coordinator_made_anew_finishes_what_was_decided_once() {
    let (world, engine, mut client, next) = decided().await;
    // Its marker is on its way when the coordinator is made anew and reads that it is to be written.
    panic_of_the_coordinator(&world, &next).await;
    assert_eq!(next.state(&mut client).await, "PrepareCommit");
    for _ in 0..4 {
        engine.settle_all(1);
        world.settle().await;
        world.advance_ms(RETRY_MS).await;
    }
    assert_eq!(next.state(&mut client).await, "CompleteCommit");
    assert_eq!(stable(&mut client, "t", 0).await, (2, 2), "one marker");
}

#[tokio::test]
async fn a_coordinator_made_anew_knows_open_transactions_and_when_they_time_out() {
    let (world, _, mut client) = world().await;
    let me = Producer::init(&mut client, "x", 10_000).await;
    assert_eq!(me.produce(&mut client, NEWER, ("t", 0), 0).await, (0, 0));
    panic_of_the_coordinator(&world, &me).await;
    assert_eq!(me.state(&mut client).await, "Ongoing");
    assert_eq!(me.produce(&mut client, NEWER, ("t", 0), 1).await, (0, 1));
    world.advance_ms(9_999).await;
    assert_eq!(me.state(&mut client).await, "Ongoing");
    world.advance_ms(1).await;
    assert_eq!(me.state(&mut client).await, "CompleteAbort");
    assert_eq!(stable(&mut client, "t", 0).await, (3, 3));
}

// A panic in the task that writes markers lost every end that was under way: the partitions hid everything behind those
// transactions from readers until the broker was started again.
#[tokio::test]
async fn ends_that_are_under_way_survive_a_panic_of_their_task() {
    let (world, engine, mut client, next) = decided().await;
    let faults = &world.broker.node().faults;
    faults
        .arm(Fault::within(Point::Task, TASK))
        .expect("it fits");
    // Something of another id wakes the task.
    let mut other = world.connect();
    Producer::send_init(&mut other, "y", 1_000).await;
    world.settle().await;
    for _ in 0..4 {
        world.advance_ms(1_000).await;
        engine.settle_all(1);
    }
    assert_eq!(next.state(&mut client).await, "CompleteCommit");
    assert_eq!(stable(&mut client, "t", 0).await, (2, 2));
}
