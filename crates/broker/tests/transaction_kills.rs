//! Transactional clients of the real binary, which is killed in the middle of its work again and again and started anew
//! over its files. They go on where they were, as librdkafka and Java's client do, and what they have seen is judged.
//! `RUSTKA_KILLS=100 cargo test -p rustka --test transaction_kills` has it killed so often; several hundred take the checker
//! long, since it compares what was seen with all that was done.

#[path = "transaction_kills/clients.rs"]
mod clients;
mod common;
mod process;
#[path = "transaction_kills/producer.rs"]
mod producer;
mod reading;
#[path = "transaction_kills/run.rs"]
mod run;

use process::server::Server;
use run::{COPY, PARTITIONS, Run, SOURCE, TARGET};
use rustka_history::check;
use rustka_history::history::{History, Outcome, Transaction};
use rustka_storage::testing::Folder;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::task::{JoinSet, LocalSet};

const KILLS: u64 = 10;
/// Reached only by tests that fail.
const DEADLINE: Duration = Duration::from_secs(120);
/// Several coordinators.
const ARGUMENTS: [&str; 2] = ["-c", "transaction.state.log.num.partitions=3"];

async fn within_deadline<T>(what: &str, future: impl Future<Output = T>) -> T {
    let result = tokio::time::timeout(DEADLINE, future).await;
    result.unwrap_or_else(|_| panic!("{what} takes too long"))
}

/// So many lives, each ended by a kill, and a last one in which everything comes to rest. The history, and when it was killed.
async fn play(kills: u64) -> (History, Vec<u64>) {
    let folder = Folder::new("transaction-kills");
    let run = Run::new(kills);
    let mut killed = Vec::new();
    let mut tasks = JoinSet::new();
    tasks.spawn_local(clients::feed(run.clone()));
    for newer in [true, true, false, false] {
        let id = if newer { "newer" } else { "older" };
        tasks.spawn_local(clients::write(run.clone(), id, newer));
    }
    for newer in [true, false] {
        tasks.spawn_local(clients::copy(run.clone(), newer));
    }
    for committed in [true, false] {
        tasks.spawn_local(clients::read(run.clone(), committed));
    }
    for life in 1..=kills {
        let server = Server::start(&folder, &ARGUMENTS);
        if life == 1 {
            for topic in [SOURCE, TARGET] {
                let made = server.client().create_topic(topic, PARTITIONS, 1).await;
                made.expect("a topic");
            }
        }
        run.lives(server.address());
        // Each life ends somewhere else in what the clients do.
        let until = run.now() + 600 + life * 97 % 211;
        within_deadline("a life", run.reaches(until)).await;
        if life % 2 == 0 {
            within_deadline("a commit", run.is_committing(life / 2 % 8)).await;
        }
        killed.push(run.now());
        drop(server);
    }
    let server = Server::start(&folder, &ARGUMENTS);
    run.lives(server.address());
    run.stop();
    within_deadline("an end", async {
        while let Some(ended) = tasks.join_next().await {
            ended.expect("nobody panics");
        }
    })
    .await;
    within_deadline("rest", clients::come_to_rest(&run)).await;
    (run.history.take(), killed)
}

/// How many transactions were open when their broker was killed, and of how many of these the commit had been asked for.
fn interrupted(history: &History, killed: &[u64]) -> (usize, usize) {
    let transactions = history.transactions.iter().filter(|it| it.id.is_some());
    let open = transactions.filter(|it| {
        let within = |at: &u64| it.began < *at && it.ended.is_none_or(|ended| *at < ended);
        killed.iter().any(within)
    });
    let is_ending = |it: &&Transaction| {
        let Some(asked) = it.commit_asked else {
            return false;
        };
        let within = |at: &u64| asked < *at && it.ended.is_none_or(|ended| *at < ended);
        killed.iter().any(within)
    };
    let open: Vec<&Transaction> = open.collect();
    (open.len(), open.into_iter().filter(is_ending).count())
}

/// How many transactions of each id were committed.
fn committed(history: &History) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for transaction in &history.transactions {
        if let (Some(id), Outcome::Done) = (&transaction.id, transaction.outcome) {
            *counts.entry(id.clone()).or_default() += 1;
        }
    }
    counts
}

#[tokio::test]
async fn no_promise_to_transactions_is_broken_by_kills() {
    let kills = std::env::var("RUSTKA_KILLS").ok();
    let kills = kills.and_then(|kills| kills.parse().ok()).unwrap_or(KILLS);
    let (history, killed) = LocalSet::new().run_until(play(kills)).await;
    let anomalies = check(&history);
    assert!(anomalies.is_empty(), "{anomalies:?}");
    let counts = committed(&history);
    for id in ["newer", "older", COPY] {
        let count = counts.get(id).copied().unwrap_or_default();
        assert!(count as u64 >= kills / 2, "{counts:?}");
    }
    let mut copied = history.polls.iter().flat_map(|poll| &poll.records);
    assert!(copied.next().is_some(), "somebody has read something");
    let (open, ending) = interrupted(&history, &killed);
    assert!(open as u64 >= kills / 2, "{open} open");
    assert!(ending > 0, "none was about to be committed");
    println!(
        "{kills} kills, committed: {counts:?}; {open} open, {ending} of them about to be committed"
    );
}
