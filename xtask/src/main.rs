//! Chores of this repository: `cargo xtask <chore>`. Not part of the broker.

mod bench;
mod codegen;
mod docs;
mod oracle;
mod package;
mod started;
mod suites;
mod tally;
mod test;
mod toolchain;

use std::process::ExitCode;

type Chore = fn(&[String]) -> Result<(), String>;

/// Every chore: its name, what it does, and the function that does it.
const CHORES: &[(&str, &str, Chore)] = &[
    (
        "bench",
        "measure brokers side by side (`bench list`: what)",
        bench::run,
    ),
    (
        "codegen",
        "write crates/wire/src/generated from schema/ (--check: only compare)",
        codegen::run,
    ),
    (
        "docs",
        "write docs/options.md from the table of configs (--check: only compare)",
        docs::run,
    ),
    (
        "oracle",
        "golden: Kafka's bytes of every message; record [SCENARIO...]: Kafka's answers",
        oracle::run,
    ),
    (
        "package",
        "pack the release binary with its manual and completions, and a checksum beside it",
        package::run,
    ),
    (
        "python",
        "make the Python environment of examples/ and clients/; print its interpreter",
        test::python,
    ),
    (
        "suites",
        "test suites that others wrote, each against a fresh broker: kafka-python, arroyo, kgo, cli and more",
        suites::run,
    ),
    (
        "test",
        "check and test everything: what a change has to pass",
        test::run,
    ),
];

/// The repository's root, from where xtask was built.
fn root() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let chosen = arguments.first().map(String::as_str).unwrap_or_default();
    let Some((_, _, chore)) = CHORES.iter().find(|(name, _, _)| *name == chosen) else {
        eprintln!("usage: cargo xtask <chore>");
        for (name, about, _) in CHORES {
            eprintln!("  {name:<12} {about}");
        }
        return ExitCode::from(2);
    };
    match chore(&arguments[1..]) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{chosen}: {why}");
            ExitCode::FAILURE
        }
    }
}
