//! Reference bytes of every message, and assignments, from Kafka's own classes.

use std::path::PathBuf;
use std::process::Command;

use crate::root;

/// Writes `crates/wire/testdata/golden.jsonl.gz`.
pub fn write() -> Result<(), String> {
    let target = root().join("crates/wire/testdata/golden.jsonl.gz");
    java("Golden.java", &[root().join("schema"), target])
}

/// Writes what Kafka's own assignors give the members of random groups.
pub fn write_assignments() -> Result<(), String> {
    let folder = root().join("crates/core/src/group/consumer/assignors");
    java("Assignments.java", &[folder.join("recorded.txt")])
}

/// Runs a program of `clients/oracle` with Kafka's classes.
fn java(program: &str, arguments: &[PathBuf]) -> Result<(), String> {
    let folder = root().join("clients/oracle");
    let class_path = Command::new(folder.join("kafka"))
        .args(["classpath", "server"])
        .output()
        .map_err(|e| e.to_string())?;
    if !class_path.status.success() {
        return Err(String::from_utf8_lossy(&class_path.stderr).into_owned());
    }
    let class_path = String::from_utf8(class_path.stdout).map_err(|e| e.to_string())?;
    let status = Command::new("java")
        .args(["-cp", class_path.trim()])
        .arg(folder.join(program))
        .args(arguments)
        .status()
        .map_err(|e| format!("java: {e}"))?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("{program}: {status}")),
    }
}
