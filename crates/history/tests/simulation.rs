//! The machines of transactions keep their promises, and the checker notices when they do not.

use rustka_history::history::Outcome;
use rustka_history::simulation::{Fault, run};

/// In these tests; ten thousand by `cargo run --release -p rustka-history`.
const SEEDS: u64 = 200;
/// A planted mistake is found within so many.
const SEEDS_PER_FAULT: u64 = 400;

#[test]
fn no_promise_is_broken_whatever_is_lost_late_or_doubled() {
    let (mut committed, mut aborted, mut unknown) = (0, 0, 0);
    for seed in 0..SEEDS {
        let run = run(seed, None);
        assert!(run.anomalies.is_empty(), "seed {seed}: {:?}", run.anomalies);
        for transaction in &run.history.transactions {
            match transaction.outcome {
                Outcome::Done => committed += 1,
                Outcome::NotDone => aborted += 1,
                Outcome::Unknown => unknown += 1,
            }
        }
    }
    // Something happened, of every kind.
    let least = SEEDS as usize;
    assert!(
        committed > 10 * least && aborted > least && unknown > least / 10,
        "{committed} {aborted} {unknown}"
    );
}

#[test]
fn the_same_seed_makes_the_same_history() {
    assert_eq!(run(7, None).history, run(7, None).history);
    assert_ne!(run(7, None).history, run(8, None).history);
}

#[test]
fn every_planted_mistake_is_found() {
    let mut missed = Vec::new();
    // Nothing is found where no mistake was planted: see above.
    for fault in Fault::ALL {
        let found = (0..SEEDS_PER_FAULT).find(|seed| !run(*seed, Some(fault)).anomalies.is_empty());
        if found.is_none() {
            missed.push(fault);
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}
