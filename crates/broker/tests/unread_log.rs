//! The `rustka` command under a parent that holds its stderr as a pipe and does not read it.
#![cfg(feature = "cli")]

mod process;

use process::{Process, RUSTKA};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

/// An answer that takes longer will not come; reached only by tests that fail.
const PATIENCE: Duration = Duration::from_secs(60);
/// Connections, each of which causes a line, until the pipe and the queue behind it are full; a third is enough.
const LINES_MAX: usize = 20_000;

struct Running {
    process: Process,
    http: String,
}

impl Running {
    fn start() -> Running {
        let process = Process::start(
            Command::new(RUSTKA)
                .args(["--port", "0", "--http-port", "0"])
                .env("RUST_LOG", "rustka=debug")
                .stderr(Stdio::piped()),
        );
        let http = process.address("http");
        Running { process, http }
    }

    /// What comes back until the broker hangs up.
    fn ask(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(&self.http).expect("connects");
        stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
        stream.write_all(request.as_bytes()).expect("sends");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    }

    fn lines_dropped(&self) -> u64 {
        let page = self.ask("GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let name = "\nrustka_log_lines_dropped_total ";
        let value = page.split(name).nth(1).expect(&page);
        let value = value.lines().next().expect(&page);
        value.parse().expect("a number")
    }
}

/// A test harness kept the broker's stderr as a pipe and did not read it: after 64 KiB of lines nobody was served any
/// more, and SIGTERM did not end the broker.
#[test]
fn a_log_that_nobody_reads_holds_up_neither_service_nor_the_end() {
    let mut broker = Running::start();
    let mut lines = 0;
    while broker.lines_dropped() == 0 {
        for _ in 0..200 {
            broker.ask("nonsense\r\n\r\n");
        }
        lines += 200;
        assert!(lines < LINES_MAX, "no line was left out");
    }
    broker.process.terminate();
    let ended = broker.process.child.wait().expect("ends");
    assert_eq!(ended.code(), Some(0));
    // What was written before is whole lines, the first of them as ever.
    let log = broker.process.log();
    assert!(log.contains("the memory limit is"), "{log}");
}
