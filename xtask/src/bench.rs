//! `cargo xtask bench`: hands its words to the benchmark, which stands in `bench/runner`; `cargo xtask bench memory` runs
//! what measures memory, two tests of the broker over its release build; `cargo xtask bench security` what a lock costs.

use std::path::Path;

use crate::root;
use crate::test::{cargo, succeed};

/// Limits under which the mix of everything is run, in MiB.
const MIX_MIB: &str = "64,256,1024";
/// How long each of them, and how long topics come and go.
const MIX_SECONDS: &str = "120";

/// Of the same program locked and open, so many pairs.
const LOCKED_RUNS: &str = "10";

/// Builds the benchmark and runs it.
pub fn run(arguments: &[String]) -> Result<(), String> {
    match arguments.split_first() {
        Some((first, rest)) if first == "memory" => memory(rest),
        Some((first, rest)) if first == "security" => {
            let beside_kafka = ["--peers", "kafka,rustka", "--cases", "security"];
            let locked = ["--peers", "open,rustka", "--cases", "locked"];
            let runs = ["--runs", LOCKED_RUNS];
            runner(&[&beside_kafka[..], &words(rest)].concat())?;
            runner(&[&locked[..], &runs, &words(rest)].concat())
        }
        _ => runner(&words(arguments)),
    }
}

fn words(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

fn runner(arguments: &[&str]) -> Result<(), String> {
    let runner = ["run", "--quiet", "--package", "bench-runner", "--"];
    succeed(cargo(&root()).args(runner).args(arguments))
}

/// Says what the broker takes for what it holds; or another one, by the name of its script.
fn memory(arguments: &[String]) -> Result<(), String> {
    let settings = [
        ("RUSTKA_MIX_MIB", MIX_MIB),
        ("RUSTKA_MIX_SECONDS", MIX_SECONDS),
    ];
    let settings = settings.map(|(name, default)| {
        let set = std::env::var(name);
        (name, set.unwrap_or_else(|_| default.to_owned()))
    });
    let broker = match arguments {
        [] => ("RUSTKA_MIX_BINARY", binary()?),
        [peer] => {
            let script = root().join(format!("bench/peers/{peer}.sh"));
            ("RUSTKA_MIX_PEER", known(&script)?)
        }
        _ => return Err("usage: cargo xtask bench memory [PEER]".to_owned()),
    };
    let tests = ["test", "--quiet", "--package", "rustka"];
    let both = [
        "--test",
        "memory_mix",
        "--test",
        "memory_figures",
        "--no-fail-fast",
    ];
    let shown = ["--", "--nocapture", "--test-threads=1"];
    let mut command = cargo(&root());
    command.args(tests).args(both).args(shown);
    succeed(command.envs(settings).env(broker.0, broker.1))
}

/// The release build, or what `RUSTKA_BIN` names.
fn binary() -> Result<String, String> {
    if let Ok(binary) = std::env::var("RUSTKA_BIN") {
        return known(Path::new(&binary));
    }
    succeed(cargo(&root()).args(["build", "--quiet", "--release", "--package", "rustka"]))?;
    known(&root().join("target/release/rustka"))
}

fn known(path: &Path) -> Result<String, String> {
    let path = path
        .canonicalize()
        .map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path.display().to_string())
}
