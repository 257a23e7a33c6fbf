//! The binary as a process of its own, from its ready line to its end.
#![allow(
    dead_code,
    reason = "each test file includes this one and uses its own part of it"
)]

pub mod server;

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};

pub const RUSTKA: &str = env!("CARGO_BIN_EXE_rustka");

/// A process that is killed when the test is done with it.
pub struct Process {
    pub child: Child,
    stdout: Option<BufReader<ChildStdout>>,
    /// The line by which a broker says that it is ready, and where it is.
    pub ready: String,
}

impl Process {
    /// Starts a broker and waits until it is ready.
    pub fn start(command: &mut Command) -> Process {
        let mut process = Process::spawn(command.stdout(Stdio::piped()));
        process.ready = process.line();
        process
    }

    /// Starts whatever it is and waits for nothing.
    pub fn spawn(command: &mut Command) -> Process {
        let mut child = command.spawn().expect("it runs");
        let stdout = child.stdout.take().map(BufReader::new);
        Process {
            child,
            stdout,
            ready: String::new(),
        }
    }

    /// The next line that it prints.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        let stdout = self.stdout.as_mut().expect("a pipe");
        stdout.read_line(&mut line).expect("text");
        assert!(!line.is_empty(), "it has ended");
        line
    }

    /// Where it says that it is: its `bootstrap` or its `http`.
    pub fn address(&self, of: &str) -> String {
        let ready: serde_json::Value = serde_json::from_str(&self.ready).expect("JSON");
        ready[of].as_str().expect("an address").to_owned()
    }

    /// Asks it to end.
    pub fn terminate(&self) {
        let pid = self.child.id().to_string();
        let killed = Command::new("kill").arg(pid).status().expect("kill runs");
        assert!(killed.success());
    }

    /// All of its log, once it has ended.
    pub fn log(&mut self) -> String {
        let mut log = String::new();
        let mut stderr = self.child.stderr.take().expect("a pipe");
        stderr.read_to_string(&mut log).expect("a log");
        log
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
