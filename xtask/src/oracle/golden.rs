//! Reference bytes of every message, from Kafka's own classes.

use std::process::Command;

use crate::root;

/// Writes `crates/wire/testdata/golden.jsonl.gz`.
pub fn write() -> Result<(), String> {
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
        .arg(folder.join("Golden.java"))
        .arg(root().join("schema"))
        .arg(root().join("crates/wire/testdata/golden.jsonl.gz"))
        .status()
        .map_err(|e| format!("java: {e}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("Golden.java: {status}"))
    }
}
