//! `cargo xtask test`: everything that has to hold before a change is done, in one command. Each check of the tree
//! (formatting, lints, generated code, build) counts as one test; the numbers of `cargo test` and of the examples
//! are added. What cannot run for want of a toolchain is named, not hidden. The last line is `N passed, N failed`.

use crate::suites::Suite;
use crate::tally::{self, Tally};
use crate::toolchain::{self, PYTHON};
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

/// Runs all stages, also after a failure; ends the process with 1 if anything failed.
pub fn run(arguments: &[String]) -> Result<(), String> {
    if !arguments.is_empty() {
        return Err(format!("takes no arguments, got {arguments:?}"));
    }
    let root = &*crate::root();
    let mut total = Tally::default();
    let mut skipped = Vec::new();

    total.add(check("formatting", || {
        succeed(cargo(root).args(["fmt", "--all", "--check"]))
    }));
    total.add(check("generated code", || {
        crate::codegen::run(&["--check".to_owned()])
    }));
    total.add(check("lints", || {
        succeed(cargo(root).args([
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ]))
    }));
    total.add(rust_tests(root));

    let mut broker = None;
    total.add(check("the broker builds", || {
        broker = Some(build_broker(root, &[])?);
        Ok(())
    }));
    match (toolchain::python(), broker) {
        (Err(lack), _) => skipped.push(format!("examples and the suite of kafka-python: {lack}")),
        (Ok(()), Some(broker)) => {
            total.add(examples(root, &broker, &mut skipped));
            if let Some(suite) = Suite::named("kafka-python") {
                total.add(suite.run(root, &broker));
            }
        }
        // Already counted as a build that failed.
        (Ok(()), None) => println!("== examples: no broker to run them on"),
    }
    tally::close(total, &skipped)
}

/// One check that either holds or does not.
fn check(name: &str, holds: impl FnOnce() -> Result<(), String>) -> Tally {
    println!("== {name}");
    match holds() {
        Ok(()) => Tally::success(),
        Err(why) => {
            println!("FAILED {name}: {why}");
            Tally::failure()
        }
    }
}

/// `cargo test` of the whole workspace, counted by the summaries of its test programs.
fn rust_tests(root: &Path) -> Tally {
    println!("== cargo test");
    let mut tally = Tally::default();
    let ended = each_line(
        cargo(root).args(["test", "--workspace", "--no-fail-fast"]),
        |line| {
            println!("{line}");
            if let Some(summary) = line.strip_prefix("test result: ") {
                tally.add(rust_summary(summary));
            }
        },
    );
    report(ended, "cargo test", tally)
}

/// Builds the broker as the tests were built, so that nothing below it is compiled twice, and says where it lies.
/// `profile` holds cargo's arguments for another one than that of the tests.
pub fn build_broker(root: &Path, profile: &[&str]) -> Result<PathBuf, String> {
    let mut executable = None;
    let built = each_line(
        cargo(root)
            .args([
                "build",
                "--workspace",
                "--bins",
                "--message-format",
                "json-render-diagnostics",
            ])
            .args(profile),
        |line| executable = broker_executable(line).or(executable.take()),
    )?;
    if !built {
        return Err("cargo build failed".to_owned());
    }
    executable.ok_or_else(|| "cargo built no executable named rustka".to_owned())
}

/// The path in one line of cargo's JSON messages, if the line is about the broker.
fn broker_executable(line: &str) -> Option<PathBuf> {
    let message: serde_json::Value = serde_json::from_str(line).ok()?;
    if message["target"]["name"] != "rustka" {
        return None;
    }
    Some(PathBuf::from(message["executable"].as_str()?))
}

/// Runs examples/run_all_tests.py against a fresh broker, in a Python environment of its own.
fn examples(root: &Path, broker: &Path, skipped: &mut Vec<String>) -> Tally {
    println!("== examples");
    let mut tally = Tally::default();
    let ended = python_environment(root).and_then(|interpreter| {
        let mut command = Command::new(interpreter);
        command
            .current_dir(root)
            .env("PYTHONUNBUFFERED", "1")
            .arg("examples/run_all_tests.py")
            .arg("--broker")
            .arg(broker);
        each_line(&mut command, |line| {
            if let Some(what) = line.strip_prefix("skipped ") {
                skipped.push(what.to_owned());
                return;
            }
            println!("{line}");
            // The last such line is the closing one; pytest's own has more words.
            if let Some(closing) = closing_line(line) {
                tally = closing;
            }
        })
    });
    report(ended, "examples", tally)
}

/// `cargo xtask python`: makes that environment, if it is not there, and prints its interpreter.
pub fn python(arguments: &[String]) -> Result<(), String> {
    if !arguments.is_empty() {
        return Err(format!("takes no arguments, got {arguments:?}"));
    }
    println!("{}", python_environment(&crate::root())?.display());
    Ok(())
}

/// A virtual environment under target/ with clients/requirements.txt installed; made anew when that file changes.
fn python_environment(root: &Path) -> Result<PathBuf, String> {
    let requirements = root.join("clients/requirements.txt");
    let wanted = fs::read_to_string(&requirements)
        .map_err(|e| format!("{}: {e}", requirements.display()))?;
    let home = root.join("target/python");
    let (interpreter, stamp) = (home.join("bin/python"), home.join("installed.txt"));
    // The stamp is written last: an environment that was interrupted half way is not taken for a good one.
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) && interpreter.exists()
    {
        return Ok(interpreter);
    }
    succeed(
        Command::new(PYTHON)
            .args(["-m", "venv", "--clear"])
            .arg(&home),
    )?;
    succeed(
        Command::new(&interpreter)
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--requirement",
            ])
            .arg(&requirements),
    )?;
    fs::write(&stamp, wanted).map_err(|e| format!("{}: {e}", stamp.display()))?;
    Ok(interpreter)
}

/// Cargo as it was called itself, in the root of the repository.
pub fn cargo(root: &Path) -> Command {
    let mut command = Command::new(
        env::var_os("CARGO")
            .as_deref()
            .unwrap_or(OsStr::new("cargo")),
    );
    command.current_dir(root);
    command
}

/// Runs a command to its end; an exit code other than 0 is an error.
pub fn succeed(command: &mut Command) -> Result<(), String> {
    let status = command.status().map_err(|e| could_not_start(command, &e))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("ended with {status}"))
    }
}

/// Runs a command to its end and hands over its standard output line by line; says whether it ended with 0.
fn each_line(command: &mut Command, mut line: impl FnMut(&str)) -> Result<bool, String> {
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| could_not_start(command, &e))?;
    if let Some(stdout) = child.stdout.take() {
        let mut reader = BufReader::new(stdout);
        let mut bytes = Vec::new();
        // By bytes: a test may print what is no UTF-8.
        while reader
            .read_until(b'\n', &mut bytes)
            .map_err(|e| e.to_string())?
            > 0
        {
            line(String::from_utf8_lossy(&bytes).trim_end());
            bytes.clear();
        }
    }
    let status = child.wait().map_err(|e| e.to_string())?;
    Ok(status.success())
}

fn could_not_start(command: &Command, error: &std::io::Error) -> String {
    format!(
        "{} could not be started: {error}",
        command.get_program().to_string_lossy()
    )
}

fn report(ended: Result<bool, String>, stage: &str, tally: Tally) -> Tally {
    if let Err(why) = &ended {
        println!("FAILED {stage}: {why}");
    }
    tally.unless_ended_well(ended == Ok(true))
}

/// "ok. 12 passed; 1 failed; 0 ignored; …" of one Rust test program.
fn rust_summary(summary: &str) -> Tally {
    let counts = summary
        .split_once(". ")
        .map_or(summary, |(_, counts)| counts);
    let mut tally = Tally::default();
    for part in counts.split(';') {
        match part.trim().split_once(' ') {
            Some((number, "passed")) => tally.passed = number.parse().unwrap_or(0),
            Some((number, "failed")) => tally.failed = number.parse().unwrap_or(0),
            _ => {}
        }
    }
    tally
}

/// Exactly "N passed, N failed".
fn closing_line(line: &str) -> Option<Tally> {
    let (passed, failed) = line.strip_suffix(" failed")?.split_once(" passed, ")?;
    Some(Tally {
        passed: passed.parse().ok()?,
        failed: failed.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(tally: Tally) -> (u64, u64) {
        (tally.passed, tally.failed)
    }

    #[test]
    fn the_summary_of_a_rust_test_program_is_counted() {
        let ok =
            "ok. 12 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.02s";
        assert_eq!(counts(rust_summary(ok)), (12, 0));
        let failed =
            "FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        assert_eq!(counts(rust_summary(failed)), (3, 2));
    }

    #[test]
    fn only_the_plain_closing_line_of_the_examples_counts() {
        assert_eq!(
            closing_line("59 passed, 2 failed").map(counts),
            Some((59, 2))
        );
        assert!(closing_line("=== 2 failed, 57 passed in 3.2s ===").is_none());
        assert!(closing_line("many passed, some failed").is_none());
    }

    #[test]
    fn the_broker_is_found_among_cargos_messages() {
        let line =
            r#"{"reason":"compiler-artifact","target":{"name":"rustka"},"executable":"/t/rustka"}"#;
        assert_eq!(broker_executable(line), Some(PathBuf::from("/t/rustka")));
        let library =
            r#"{"reason":"compiler-artifact","target":{"name":"rustka"},"executable":null}"#;
        assert_eq!(broker_executable(library), None);
        assert_eq!(broker_executable("   Compiling rustka"), None);
    }
}
