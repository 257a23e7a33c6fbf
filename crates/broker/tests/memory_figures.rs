//! What the process takes for what it holds, and what it gives back when that is gone: idle, for each partition, group,
//! connection and byte, after everything was deleted, after topics came and went for long, under a flood of groups.
//!
//! The suite runs it over the debug build, without the pages of the program's file, and for a short while. The figures:
//!
//! ```text
//! cargo xtask bench memory
//! ```
#![cfg(target_os = "linux")]
#![allow(
    clippy::disallowed_methods,
    reason = "the broker is a process of its own, on the system's clock"
)]

mod common;
mod measured;
mod process;

use measured::{
    MIB, Running, batch, begin_producer, commit, create, delete, find_coordinator, is_long, write,
    write_within,
};
use rustka_core::error::ErrorCode;
use rustka_wire::delete_groups_request::DeleteGroupsRequest;
use std::time::{Duration, Instant};

fn counted(running: &Running) -> usize {
    running.resident().counted()
}

/// What grows with what is held: the program's file does not, and how much of it the system maps is the system's choice.
fn held(running: &Running) -> usize {
    running.resident().own
}

/// How much more it is: less, where meanwhile something was given back that had been needed before.
fn grown(before: usize, after: usize) -> usize {
    after.saturating_sub(before)
}

fn mib(bytes: usize) -> f64 {
    bytes as f64 / MIB as f64
}

/// Waits until the process takes so little, for so long at most; what it takes then.
async fn given_back(running: &Running, bytes: usize, patience: Duration) -> (usize, Duration) {
    let began = Instant::now();
    loop {
        let now = counted(running);
        if now <= bytes || began.elapsed() >= patience {
            return (now, began.elapsed());
        }
        // Nothing tells when memory is given back: the system is asked again and again, on its own time.
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// 93 to 103 MB stayed when everything was deleted and nobody was connected any more.
#[tokio::test]
async fn what_is_gone_is_given_back_within_a_minute() {
    let limit = if is_long() { 1024 * MIB } else { 64 * MIB };
    let running = Running::free(limit);
    if is_long() {
        // What was needed to start is let go of in the first seconds.
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    println!(
        "idle: {:.2} MiB, {:.2} MiB of it not of the program's file",
        mib(counted(&running)),
        mib(held(&running))
    );
    let (topics, partitions, groups) = if is_long() {
        (10, 1_000, 10_000)
    } else {
        (4, 500, 2_000)
    };
    let mut connection = running.connect().await;
    let before = held(&running);
    for topic in 0..topics {
        create(&mut connection, &format!("t-{topic}"), partitions, "delete").await;
    }
    let count = (topics * partitions) as usize;
    let empty = held(&running);
    let each = grown(before, empty) as f64 / count as f64;
    println!("{count} partitions without records: {each:.0} B each");
    for topic in 0..topics {
        for partition in 0..partitions {
            let name = format!("t-{topic}");
            assert_eq!(
                write(&mut connection, &name, partition, batch(1, 1_000)).await,
                0
            );
        }
    }
    let with_records = held(&running);
    println!(
        "with 1 KB each: {:.1} MiB, {:.0} B each",
        mib(grown(before, with_records)),
        grown(before, with_records) as f64 / count as f64
    );
    find_coordinator(&mut connection).await;
    let before_groups = held(&running);
    let mut made = 0;
    for group in 0..groups {
        made += usize::from(commit(&mut connection, format!("group-{group}"), "t-0").await == 0);
    }
    let with_groups = held(&running);
    println!(
        "{made} of {groups} groups with ten offsets: {:.0} B each, with their journals",
        grown(before_groups, with_groups) as f64 / made as f64
    );
    let mut others = Vec::new();
    let count = if is_long() { 2_000 } else { 300 };
    let before_connections = held(&running);
    for _ in 0..count {
        others.push(running.connect().await);
    }
    let each = grown(before_connections, held(&running)) as f64 / f64::from(count);
    println!("{count} connections: {each:.0} B each");
    drop(others);
    create(&mut connection, "bytes", 1, "delete").await;
    let batches = if is_long() { 4_000 } else { 200 };
    let before_bytes = held(&running);
    for _ in 0..batches {
        assert_eq!(
            write(&mut connection, "bytes", 0, batch(1, 50_000)).await,
            0
        );
    }
    let ratio = (held(&running) as f64 - before_bytes as f64) / (f64::from(batches) * 50_000.0);
    println!("growth per byte stored: {ratio:.3}");
    for topic in 0..topics {
        delete(&mut connection, &format!("t-{topic}")).await;
    }
    delete(&mut connection, "bytes").await;
    for group in 0..groups {
        let request = DeleteGroupsRequest {
            groups_names: vec![format!("group-{group}").into()],
        };
        connection.call_in(2, &request).await.expect("answers");
    }
    drop(connection);
    let goal = 10 * MIB;
    let (bytes, took) = given_back(&running, goal, Duration::from_secs(60)).await;
    println!(
        "everything deleted: {:.2} MiB, {:.2} MiB of it not of the program's file, after {:.0} s",
        mib(bytes),
        mib(held(&running)),
        took.as_secs_f64()
    );
    assert!(!running.is_ours() || bytes <= goal, "{bytes}");
}

/// An open transaction over ten partitions took 3.3 kB beside its records.
#[tokio::test]
async fn an_open_transaction_over_ten_partitions_takes_no_more_than_two_kilobytes() {
    let (partitions, transactions) = (10, if is_long() { 5_000 } else { 1_000 });
    let running = Running::free(256 * MIB);
    let mut connection = running.connect().await;
    create(&mut connection, "t", partitions, "delete").await;
    let mut producers = Vec::new();
    for number in 0..transactions {
        let id = format!("open-{number}");
        producers.push((begin_producer(&mut connection, &id).await, id));
    }
    let before = counted(&running);
    let mut written = 0;
    for (producer, id) in &producers {
        written += write_within(&mut connection, *producer, id, ("t", partitions)).await;
    }
    let taken = grown(before, counted(&running)).saturating_sub(written);
    let each = taken / producers.len();
    println!("{transactions} open transactions over {partitions} partitions: {each} B each");
    assert!(!running.is_ours() || each <= 2_048, "{each}");
}

/// A test suite makes and deletes topics all day long.
#[tokio::test]
async fn topics_that_come_and_go_leave_nothing_behind() {
    let seconds = setting("RUSTKA_MIX_SECONDS", 20);
    let running = Running::free(64 * MIB);
    let mut connection = running.connect().await;
    let began = Instant::now();
    let (mut number, mut early) = (0, None);
    while began.elapsed() < Duration::from_secs(seconds) {
        let name = format!("short-lived-{number}");
        create(&mut connection, &name, 10, "delete").await;
        for partition in 0..10 {
            assert_eq!(
                write(&mut connection, &name, partition, batch(0, 2_000)).await,
                0
            );
        }
        delete(&mut connection, &name).await;
        number += 1;
        // A thousand partitions a minute of real time, in the short run as in the long one.
        tokio::time::sleep_until((began + Duration::from_millis(600) * number).into()).await;
        if early.is_none() && began.elapsed() >= Duration::from_secs(seconds / 4) {
            early = Some(counted(&running));
        }
    }
    let (early, late) = (early.expect("long enough"), counted(&running));
    println!(
        "{} partitions made and deleted in {seconds} s: {:.2} MiB after a quarter of them, {:.2} MiB at the end",
        number * 10,
        mib(early),
        mib(late)
    );
    assert!(!running.is_ours() || late <= early + MIB, "{early} {late}");
}

/// A group cost 2.5 kB that nothing counted: at a limit of 64 MiB 200,000 of them took half a gigabyte.
#[tokio::test]
async fn a_flood_of_groups_stays_within_the_limit_and_producers_go_on() {
    let limit = 64 * MIB;
    let groups = if is_long() { 200_000 } else { 20_000 };
    let running = Running::confined(limit);
    let mut connection = running.connect().await;
    create(&mut connection, "t", 10, "delete").await;
    find_coordinator(&mut connection).await;
    let (mut refused, mut most) = (0, 0);
    for group in 0..groups {
        match commit(&mut connection, format!("flood-{group}"), "t").await {
            0 => {}
            code => {
                let expected = ErrorCode::CoordinatorLoadInProgress.code();
                assert!(!running.is_ours() || code == expected, "{code}");
                refused += 1;
            }
        }
        if group % 500 == 0 {
            most = most.max(counted(&running));
            let code = write(&mut connection, "t", 0, batch(0, 50_000)).await;
            assert!(!running.is_ours() || code == 0, "{code}");
        }
    }
    println!(
        "a flood of {groups} groups at 64 MiB: {refused} refused, at most {:.1} MiB",
        mib(most)
    );
    if running.is_ours() {
        let allowed = limit + limit / 10 + 8 * MIB;
        assert!(refused > 0 && most <= allowed, "{refused} {most}");
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}
