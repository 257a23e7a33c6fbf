//! `cargo xtask bench`: hands its words to the benchmark, which stands in `bench/runner`.

use std::process::Command;

use crate::root;

/// Builds the benchmark and runs it.
pub fn run(arguments: &[String]) -> Result<(), String> {
    let status = Command::new(env!("CARGO"))
        .current_dir(root())
        .args(["run", "--quiet", "--package", "bench-runner", "--"])
        .args(arguments)
        .status()
        .map_err(|e| format!("cargo run: {e}"))?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("ended with {status}")),
    }
}
