//! Transactions of a broker whose records lie in files: what was decided about them in one life is done in the next.

mod common;
mod process;

use common::producer::{NEWER, OLDER, Producer, Versions, stable};
use common::{Client, World};
use rustka_core::batch::BatchHeader;
use rustka_storage::testing::Folder;
use std::fs;
use std::time::Duration;

/// A marker that could not be written is tried again after this long.
const RETRY: Duration = Duration::from_millis(100);
/// Reached only by tests that fail.
const DEADLINE: Duration = Duration::from_secs(60);

fn start(folder: &Folder) -> World {
    World::with(|options| {
        let options = options.data_dir(&folder.0);
        options.config("transaction.state.log.num.partitions", "1")
    })
}

/// A transaction with a record in both partitions of a topic.
async fn begin(client: &mut Client, versions: Versions) -> Producer {
    client.create_topic("t", 2).await;
    let me = Producer::init(client, "x", 60_000).await;
    if versions.produce < NEWER.produce {
        assert_eq!(me.add(client, "t", &[0, 1]).await, 0);
    }
    for at in 0..2 {
        assert_eq!(me.produce(client, versions, ("t", at), 0).await, (0, 0));
    }
    me
}

/// Waits until the producer's transaction is over as it was decided.
async fn is_over(world: &World, client: &mut Client, me: &Producer, commit: bool) {
    let over = if commit {
        "CompleteCommit"
    } else {
        "CompleteAbort"
    };
    let is_over = async {
        while me.state(client).await != over {
            world.clock.advance(RETRY);
        }
    };
    let in_time = tokio::time::timeout(DEADLINE, is_over).await;
    in_time.expect("it is over in time");
}

/// The producer's transaction is over as it was decided: each partition has its record and its marker, perhaps once more
/// when a coordinator began anew, as in Kafka. Its producer may go on.
async fn is_finished(world: &World, me: &Producer, commit: bool) {
    let mut client = world.connect();
    is_over(world, &mut client, me, commit).await;
    let mut ends = Vec::new();
    for at in 0..2 {
        let (end, stable) = stable(&mut client, "t", at).await;
        assert!((2..=3).contains(&end), "{at} {end} {me:?} {commit}");
        assert_eq!(stable, end, "{at} {me:?} {commit}");
        ends.push(end);
        let partition = world.broker.node().partition("t", at).expect("there");
        let aborted = partition.with_state(|state| state.aborted_between(0, end).len());
        assert_eq!(aborted, Ok(usize::from(!commit)));
    }
    let next = Producer::init(&mut client, "x", 60_000).await;
    assert_eq!(next.epoch, me.epoch + 1);
    let written = next.produce(&mut client, NEWER, ("t", 0), 0).await;
    assert_eq!(written, (0, ends[0]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_marker_that_could_not_be_written_is_written_in_the_next_life() {
    for (versions, commit) in [(NEWER, true), (OLDER, true), (NEWER, false), (OLDER, false)] {
        let folder = Folder::new("transaction-directory");
        let world = start(&folder);
        let mut client = world.connect();
        let me = begin(&mut client, versions).await;
        let partition = world.broker.node().partition("t", 0).expect("there");
        partition.write_failed(partition.offsets().log_end);
        let (code, me) = me.end(&mut client, versions, commit).await;
        assert_eq!(code, 0);
        let decided = if commit {
            "PrepareCommit"
        } else {
            "PrepareAbort"
        };
        assert_eq!(me.state(&mut client).await, decided);
        world.broker.stop().await;
        let world = start(&folder);
        is_finished(&world, &me, commit).await;
        world.broker.stop().await;
    }
}

/// Loses the last batch of a log, as a cut of the power does before it is synced.
fn lose_last_batch(folder: &Folder, log: &str) {
    let path = folder.0.join(log).join("00000000000000000000.log");
    let bytes = fs::read(&path).expect("a log");
    let (mut at, mut last) = (0, 0);
    while let Ok(header) = BatchHeader::parse(&bytes[at..]) {
        (at, last) = (at + header.total_bytes(), at);
    }
    fs::write(&path, &bytes[..last]).expect("written");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn markers_that_were_lost_with_the_power_are_written_again() {
    let everything = ["t-0", "t-1"];
    for lost in [&everything[..], &everything[..1], &[]] {
        for (versions, commit) in [(NEWER, true), (OLDER, true), (NEWER, false), (OLDER, false)] {
            let folder = Folder::new("transaction-power");
            let world = start(&folder);
            let mut client = world.connect();
            let me = begin(&mut client, versions).await;
            let (code, me) = me.end(&mut client, versions, commit).await;
            assert_eq!(code, 0);
            is_over(&world, &mut client, &me, commit).await;
            world.broker.stop().await;
            // That it is over was noted last.
            lose_last_batch(&folder, "__transaction_state-0");
            for log in lost {
                lose_last_batch(&folder, log);
            }
            for mark in [".kafka_cleanshutdown", "recovery-point-offset-checkpoint"] {
                fs::remove_file(folder.0.join(mark)).expect("removed");
            }
            let world = start(&folder);
            is_finished(&world, &me, commit).await;
            world.broker.stop().await;
        }
    }
}
