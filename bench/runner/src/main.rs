//! `cargo xtask bench`: what brokers cost, measured side by side. Starts each peer with `bench/peers/NAME.sh`,
//! loads it with `kbench`, appends JSON lines and prints all figures on one page beside what is to be reached. It ends
//! only the processes that it started. bench/README.md says what is measured how.

#![allow(
    clippy::disallowed_methods,
    reason = "a benchmark measures real time and real processes"
)]

mod cases;
mod disk;
mod goals;
mod loads;
mod peer;
mod room;
mod security;
mod starts;
mod table;

use cases::{CASES, Case};
use peer::Peer;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

const USAGE: &str = "\
usage: cargo xtask bench [--quick] [--peers floor,rustka] [--cases NAME,...|engine|groups|topics|security|locked|disk|figures|all]
                         [--runs 3] [--first-run 1] [--port 23100] [--out target/bench/results.jsonl]
                         [--gb 10] [--partitions 1000]
       cargo xtask bench table [--out FILE] [--peers floor,rustka] [--cases ...] [--metrics NAME,...|all]
       cargo xtask bench list";

/// Names and numbers, as kbench prints them.
type Figures = Vec<(String, f64)>;

struct RunOptions {
    peers: Vec<String>,
    cases: Vec<&'static Case>,
    runs: u32,
    first_run: u32,
    port: u16,
    out: PathBuf,
    metrics: Vec<String>,
    sizes: peer::Sizes,
}

/// One line of the results file.
struct Line<'a> {
    peer: &'a str,
    script: &'a str,
    case: &'a str,
    metric: &'a str,
    value: Option<f64>,
    note: &'a str,
    run: u32,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("bench: {why}");
            ExitCode::FAILURE
        }
    }
}

/// The repository's root, from where this was built.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Runs cases, prints the table of earlier ones, or lists them.
fn run(arguments: &[String]) -> Result<(), String> {
    let root = &root();
    let (word, rest) = match arguments.first().map(String::as_str) {
        Some(word) if !word.starts_with('-') => (word, &arguments[1..]),
        _ => ("run", arguments),
    };
    let options = parse(root, rest)?;
    let mut from = 0;
    match word {
        "run" => {
            // earlier runs in the file may be of another build or another day
            from = std::fs::metadata(&options.out).map_or(0, |file| file.len() as usize);
            measure(root, &options)?;
        }
        "table" => {}
        "list" => {
            for case in CASES {
                println!("{:<18} {}", case.name, case.about);
            }
            return Ok(());
        }
        other => return Err(format!("{other}: unknown\n{USAGE}")),
    }
    table::print(
        (options.out.as_path(), from),
        &options.peers,
        &options.cases,
        &options.metrics,
    )
}

fn parse(root: &Path, arguments: &[String]) -> Result<RunOptions, String> {
    let mut options = RunOptions {
        peers: vec!["floor".to_owned(), "rustka".to_owned()],
        cases: cases::chosen("figures")?,
        runs: 3,
        first_run: 1,
        port: 23_100,
        out: target(root).join("bench/results.jsonl"),
        metrics: Vec::new(),
        sizes: peer::Sizes {
            gb: 10.0,
            partitions: 1_000,
        },
    };
    let words = |text: &str| -> Vec<String> { text.split(',').map(str::to_owned).collect() };
    let mut rest = arguments.iter();
    let mut quick = false;
    while let Some(flag) = rest.next() {
        if flag == "--quick" {
            quick = true;
            continue;
        }
        let value = rest
            .next()
            .ok_or_else(|| format!("{flag}: expects a value\n{USAGE}"))?;
        let bad = |e: std::num::ParseIntError| format!("{flag} {value}: {e}");
        match flag.as_str() {
            "--peers" => options.peers = words(value),
            "--cases" => options.cases = cases::chosen(value)?,
            "--metrics" => options.metrics = words(value),
            "--runs" => options.runs = value.parse().map_err(bad)?,
            "--first-run" => options.first_run = value.parse().map_err(bad)?,
            "--port" => options.port = value.parse().map_err(bad)?,
            "--out" => options.out = PathBuf::from(value),
            "--gb" => options.sizes.gb = gigabytes(value)?,
            "--partitions" => options.sizes.partitions = partitions(value)?,
            _ => return Err(format!("{flag}: unknown\n{USAGE}")),
        }
    }
    if quick {
        cases::quick(&mut options.cases);
        options.runs = 1;
    }
    Ok(options)
}

fn gigabytes(text: &str) -> Result<f64, String> {
    let gb = text
        .parse()
        .ok()
        .filter(|gb: &f64| gb.is_finite() && *gb > 0.0);
    gb.ok_or_else(|| format!("--gb {text}: a number above 0"))
}

fn partitions(text: &str) -> Result<u32, String> {
    let n = text.parse().ok().filter(|n| (1..=100_000).contains(n));
    n.ok_or_else(|| format!("--partitions {text}: 1 to 100000"))
}

/// Where cargo puts what it builds.
fn target(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from)
}

/// The program that `variable` names, or the release build of `package`.
fn program(root: &Path, variable: &str, package: &str) -> Result<PathBuf, String> {
    if let Some(path) = std::env::var_os(variable) {
        return Ok(PathBuf::from(path));
    }
    let built = Command::new(env!("CARGO"))
        .current_dir(root)
        .args(["build", "--quiet", "--release", "--package", package])
        .status()
        .map_err(|e| format!("cargo build: {e}"))?;
    if !built.success() {
        return Err(format!("{package} does not build"));
    }
    Ok(target(root).join("release").join(package))
}

fn measure(root: &Path, options: &RunOptions) -> Result<(), String> {
    let mut tools = peer::Tools {
        peers: root.join("bench/peers"),
        data: std::env::var_os("BENCH_DATA")
            .map_or_else(|| target(root).join("bench/data"), PathBuf::from),
        kbench: program(root, "KBENCH", "kbench")?,
        rustka: None,
        sizes: options.sizes,
    };
    let takes_rustka = |case: &&Case| case.filled_by_rustka;
    if options.peers.iter().any(|p| p.starts_with("rustka"))
        || options.cases.iter().any(takes_rustka)
    {
        tools.rustka = Some(program(root, "RUSTKA_BIN", "rustka")?);
    }
    if let Some(folder) = options.out.parent() {
        std::fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    }
    let mut port = options.port;
    let begun = Instant::now();
    for case in &options.cases {
        let runs = match options.runs {
            1 => 1,
            n => n.max(case.runs_min).min(case.runs_max),
        };
        for run in options.first_run..options.first_run + runs {
            // each run begins with another peer, so that none always has the warmer machine
            let mut peers = options.peers.clone();
            let turn = run as usize % peers.len();
            peers.rotate_left(turn);
            for name in &peers {
                if case.leaves_out(name) {
                    continue;
                }
                let started = Instant::now();
                let script = case.script(name);
                let (rows, failed) = turn_of(&tools, case, name, script, port);
                append(&options.out, name, script, case, run, &rows, &failed)?;
                let outcome = failed.map_or_else(String::new, |why| format!(": FAILED {why}"));
                println!(
                    "{} run {run} {script}: {:.0} s{outcome}",
                    case.name,
                    started.elapsed().as_secs_f64()
                );
                // Kafka takes the port after its own, too
                port = if port >= options.port + 800 {
                    options.port
                } else {
                    port + 2
                };
            }
        }
    }
    println!("{:.0} minutes\n", begun.elapsed().as_secs_f64() / 60.0);
    Ok(())
}

/// One case on one fresh peer: what was measured, and why it ended early if it did.
fn turn_of(
    tools: &peer::Tools,
    case: &Case,
    name: &str,
    script: &str,
    port: u16,
) -> (Vec<(String, Figures)>, Option<String>) {
    let mut peer = match Peer::start(tools, name, script, port) {
        Ok(peer) => peer,
        Err(why) => return (Vec::new(), Some(why)),
    };
    let outcome = case.run(&mut peer);
    let rows = std::mem::take(&mut peer.rows);
    (rows, outcome.and(peer.stop()).err())
}

/// Appends all figures of one turn; a failure is a result, too.
fn append(
    out: &Path,
    peer: &str,
    script: &str,
    case: &Case,
    run: u32,
    rows: &[(String, Figures)],
    failed: &Option<String>,
) -> Result<(), String> {
    let mut text = String::new();
    let line = |case, metric, value, note| Line {
        peer,
        script,
        case,
        metric,
        value,
        note,
        run,
    };
    for (case, figures) in rows {
        for (metric, value) in figures {
            let value = Some(*value).filter(|v| v.is_finite());
            text += &table::to_json(&line(case, metric, value, ""));
        }
    }
    if let Some(why) = failed {
        text += &table::to_json(&line(case.name, "failed", None, why));
    }
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(out)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|e| format!("{}: {e}", out.display()))
}
