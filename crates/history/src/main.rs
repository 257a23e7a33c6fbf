//! Plays many seeds: `cargo run --release -p rustka-history -- [COUNT [FIRST]]`. Ends with 1 if one of them has broken a
//! promise, and says which.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<u64>());
    let count = numbers.next().and_then(Result::ok).unwrap_or(10_000);
    let first = numbers.next().and_then(Result::ok).unwrap_or(0);
    let (mut transactions, mut committed, mut broken) = (0, 0, 0);
    for seed in first..first.saturating_add(count) {
        let run = rustka_history::simulation::run(seed, None);
        let all = run.history.transactions.iter();
        transactions += all.clone().count();
        committed += all
            .filter(|it| it.outcome == rustka_history::history::Outcome::Done)
            .count();
        if let Some(first) = run.anomalies.first() {
            broken += 1;
            println!(
                "seed {seed}: {:?}, {} ({} in all)",
                first.kind,
                first.story,
                run.anomalies.len()
            );
        }
    }
    println!(
        "{count} seeds, {transactions} transactions, {committed} committed, {broken} seeds with a broken promise"
    );
    match broken {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}
