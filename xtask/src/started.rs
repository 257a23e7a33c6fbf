//! A broker process of our own on free ports, for as long as a test needs it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A running broker. Its process ends with this value.
pub struct Started {
    child: Child,
    /// Where clients connect.
    pub bootstrap: String,
}

impl Started {
    /// Starts it on free ports and waits for its ready line. Its log goes where ours goes, but only warnings.
    pub fn new(binary: &Path, arguments: &[&str]) -> Result<Started, String> {
        let mut child = Command::new(binary)
            .args(["--port", "0", "--http-port", "0"])
            .args(arguments)
            .env("RUST_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| format!("{}: {e}", binary.display()))?;
        let mut line = String::new();
        let read = match child.stdout.as_mut() {
            Some(stdout) => BufReader::new(stdout).read_line(&mut line),
            None => Ok(0),
        };
        let mut started = Started {
            child,
            bootstrap: String::new(),
        };
        read.map_err(|e| format!("the broker's ready line: {e}"))?;
        started.bootstrap = bootstrap(&line)
            .ok_or_else(|| format!("the broker said {line:?} instead of its ready line"))?;
        Ok(started)
    }

    /// SIGTERM; an error if it is gone already or leaves with another code than 0.
    pub fn stop(mut self) -> Result<(), String> {
        let failed = |e: std::io::Error| format!("stopping the broker: {e}");
        if let Some(status) = self.child.try_wait().map_err(failed)? {
            return Err(format!("the broker ended by itself: {status}"));
        }
        let told = Command::new("kill")
            .arg(self.child.id().to_string())
            .status()
            .map_err(failed)?;
        if !told.success() {
            return Err(format!("kill ended with {told}"));
        }
        match self.child.wait().map_err(failed)? {
            status if status.success() => Ok(()),
            status => Err(format!("the broker stopped with {status}")),
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // Nothing to be told: on this way out something else has failed already.
            let _ended = self.child.kill().and_then(|()| self.child.wait());
        }
    }
}

fn bootstrap(ready_line: &str) -> Option<String> {
    let ready: serde_json::Value = serde_json::from_str(ready_line).ok()?;
    (ready["ready"] == true).then(|| ready["bootstrap"].as_str().map(str::to_owned))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_read_from_the_ready_line() {
        let line = r#"{"ready":true,"bootstrap":"127.0.0.1:4711","http":"127.0.0.1:8080"}"#;
        assert_eq!(bootstrap(line).as_deref(), Some("127.0.0.1:4711"));
        assert_eq!(bootstrap(""), None);
        assert_eq!(bootstrap(r#"{"ready":false,"bootstrap":"x"}"#), None);
    }
}
