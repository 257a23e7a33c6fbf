//! The cases with much data, with little of it: what they say, and that nothing stays.

#![allow(clippy::disallowed_methods, reason = "the measured time is real")]

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{env, fs};

/// A folder that goes when the test is over.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = env::temp_dir().join(format!("rustka-bench-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn results(&self) -> PathBuf {
        self.0.join("results.jsonl")
    }

    fn data(&self) -> PathBuf {
        self.0.join("data")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(e) = fs::remove_dir_all(&self.0) {
            eprintln!("{}: {e}", self.0.display());
        }
    }
}

/// Where the programs of the workspace lie, built as the tests are.
fn programs() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--workspace", "--bins"]);
    assert!(build.current_dir(root).status().unwrap().success());
    let runner = Path::new(env!("CARGO_BIN_EXE_bench-runner"));
    runner.parent().unwrap().to_owned()
}

/// Runs the benchmark over a folder.
fn bench(folder: &Folder, port: u16, words: &str) -> Output {
    let programs = programs();
    Command::new(env!("CARGO_BIN_EXE_bench-runner"))
        .args(["--peers", "rustka", "--runs", "1"])
        .args(["--port", &port.to_string(), "--out"])
        .arg(folder.results())
        .args(words.split_whitespace())
        .env("KBENCH", programs.join("kbench"))
        .env("RUSTKA_BIN", programs.join("rustka"))
        .env("BENCH_DATA", folder.data())
        .output()
        .unwrap()
}

/// What was measured: case, metric, value.
fn measured(folder: &Folder) -> Vec<(String, String, f64)> {
    let text = fs::read_to_string(folder.results()).unwrap();
    let lines = text
        .lines()
        .map(|line| -> Value { serde_json::from_str(line).unwrap() });
    let figure = |line: Value| {
        let word = |key: &str| line[key].as_str().unwrap().to_owned();
        let value = line["value"].as_f64();
        let value = value.unwrap_or_else(|| panic!("not measured: {line}"));
        (word("case"), word("metric"), value)
    };
    lines.map(figure).collect()
}

fn left(folder: &Folder) -> usize {
    fs::read_dir(folder.data()).unwrap().count()
}

#[test]
fn starts_are_measured_after_a_stop_and_after_a_kill_and_nothing_stays() {
    let folder = Folder::new("starts");
    let output = bench(
        &folder,
        24_100,
        "--cases disk-start --gb 0.02 --partitions 20",
    );
    assert!(output.status.success(), "{output:?}");
    let figures = measured(&folder);
    for case in ["disk-start-clean", "disk-start-killed"] {
        let of = |name: &str| -> Vec<f64> {
            let own = figures
                .iter()
                .filter(|(c, metric, _)| c == case && metric == name);
            own.map(|(.., value)| *value).collect()
        };
        let (first, all, open) = (of("first_ms"), of("all_ms"), of("open_ms"));
        assert_eq!(
            (first.len(), all.len(), open.len()),
            (3, 3, 3),
            "{output:?}"
        );
        for (first, all) in first.iter().zip(&all) {
            assert!(0.0 < *first && first <= all, "{case}: {first} and {all} ms");
        }
        assert!(of("files_gb").iter().all(|gb| *gb >= 0.02), "{figures:?}");
    }
    assert_eq!(left(&folder), 0);
}

#[test]
fn what_has_no_room_is_not_begun() {
    let folder = Folder::new("room");
    let output = bench(
        &folder,
        24_120,
        "--cases disk-start,disk-cold --gb 100000000",
    );
    let text = fs::read_to_string(folder.results()).unwrap();
    let refused = text.lines().filter(|line| line.contains("MB are free"));
    assert_eq!(refused.count(), 2, "{output:?} {text}");
    assert_eq!(text.lines().count(), 2, "{text}");
    assert_eq!(left(&folder), 0);
}

#[test]
fn a_size_that_makes_no_sense_is_refused() {
    let folder = Folder::new("sizes");
    for words in ["--gb 0", "--gb many", "--partitions 0", "--partitions 1e9"] {
        let output = bench(&folder, 24_140, words);
        assert!(!output.status.success(), "{words}: {output:?}");
    }
    assert!(!folder.results().exists());
}

#[test]
fn cold_reads_are_of_as_much_as_was_asked_for() {
    let folder = Folder::new("cold");
    let output = bench(&folder, 24_160, "--cases disk-cold --gb 0.05");
    assert!(output.status.success(), "{output:?}");
    let figures = measured(&folder);
    for (case, consumers) in [("disk-cold-1", 1.0), ("disk-cold-8", 8.0)] {
        let read = figures
            .iter()
            .find(|(c, metric, _)| c == case && metric == "wire_bytes");
        let (.., bytes) = read.unwrap();
        assert!(*bytes >= 0.05e9 * consumers, "{case}: {bytes}");
    }
    assert_eq!(left(&folder), 0);
}
