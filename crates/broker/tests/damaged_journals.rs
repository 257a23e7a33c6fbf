//! What groups and transactions have on record is damaged in one file: those who stand there are not served, and all
//! others are.

mod common;

use common::producer::Producer;
use common::{NOT_COORDINATOR, World, batch, flip_bit, folder_of_group};
use rustka_core::transaction::shard_for;
use rustka_storage::testing::Folder;
use std::fs;
use std::path::PathBuf;

const FIRST_LOG: &str = "00000000000000000000.log";
/// A byte of the first batch's first record.
const AT: usize = 70;
const TRANSACTION_PARTITIONS: u32 = 50;
const TIMEOUT_MS: i32 = 60_000;

fn start(folder: &Folder) -> World {
    World::with(|options| options.data_dir(&folder.0))
}

fn log_of_transactions(folder: &Folder, id: &str) -> PathBuf {
    let at = shard_for(id, TRANSACTION_PARTITIONS);
    let name = format!("__transaction_state-{at}");
    folder.0.join(name).join(FIRST_LOG)
}

/// One flipped bit had kept the whole broker from starting.
#[tokio::test]
async fn whoever_stands_in_a_damaged_journal_waits_and_all_others_are_served() {
    let folder = Folder::new("journals");
    let world = start(&folder);
    let mut client = world.connect();
    client.create_topic("t", 1).await;
    client.commit("lost", "t", 5).await;
    client.commit("whole", "t", 6).await;
    Producer::init(&mut client, "whole", TIMEOUT_MS).await;
    let (code, lost) = Producer::try_init(&mut client, "lost", TIMEOUT_MS).await;
    assert_eq!(code, 0);
    world.broker.stop().await;
    let logs = [
        folder_of_group(&folder.0, "lost").join(FIRST_LOG),
        log_of_transactions(&folder, "lost"),
    ];
    logs.iter().for_each(|log| flip_bit(log, AT));

    let world = start(&folder);
    let mut client = world.connect();
    assert_eq!(client.committed("whole", "t", 0).await, (0, Some(6)));
    assert_eq!(client.committed("lost", "t", 0).await.0, NOT_COORDINATOR);
    assert_eq!(
        Producer::init(&mut client, "whole", TIMEOUT_MS).await.epoch,
        1
    );
    let (code, _) = Producer::try_init(&mut client, "lost", TIMEOUT_MS).await;
    assert_eq!(code, NOT_COORDINATOR);
    client.produce("t", 0, batch(10)).await;
    // Neither time nor another try makes anybody believe what is damaged, or write behind it.
    world.advance_ms(60_000).await;
    assert_eq!(client.committed("lost", "t", 0).await.0, NOT_COORDINATOR);
    world.broker.stop().await;

    // Put right, it is all there; away, it goes on without.
    flip_bit(&log_of_transactions(&folder, "lost"), AT);
    fs::remove_file(folder.0.join("rustka-damaged-offsets")).expect("noted by the scrub");
    fs::remove_dir_all(folder_of_group(&folder.0, "lost")).expect("a folder");
    let world = start(&folder);
    let mut client = world.connect();
    let again = Producer::init(&mut client, "lost", TIMEOUT_MS).await;
    assert_eq!((again.producer_id, again.epoch), (lost.producer_id, 1));
    assert_eq!(client.committed("lost", "t", 0).await, (0, Some(-1)));
    client.commit("lost", "t", 7).await;
    assert_eq!(client.committed("lost", "t", 0).await, (0, Some(7)));
    world.broker.stop().await;
}
