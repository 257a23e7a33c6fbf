//! The `rustka` command: what it says to mistakes, and what it does when the system has no more to give.

mod process;

use process::{Process, RUSTKA};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// Connections of the flood.
const FLOOD: usize = 5_000;
/// Files that the flooded broker may open.
const BROKER_FILES: usize = 1_024;
/// An answer that takes longer will not come; reached only by tests that fail.
const PATIENCE: Duration = Duration::from_secs(60);

fn run(arguments: &[&str]) -> Output {
    Command::new(RUSTKA)
        .args(arguments)
        .output()
        .expect("rustka runs")
}

/// The one line on stderr.
fn complaint(output: &Output) -> String {
    assert!(output.stdout.is_empty(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}

#[test]
fn what_is_not_known_ends_with_2_and_names_the_nearest_that_is() {
    for (arguments, named) in [
        (&["--prot", "1"][..], &["--prot", "--port"][..]),
        (&["--frobnicate"], &["--frobnicate", "--help"]),
        (&["--port", "99999"], &["99999", "65535"]),
        (&["--memory-limit", "lots"], &["lots", "512M"]),
        // Two megabytes for requests, and eight kilobytes for each of 50 journals.
        (&["--memory-limit", "1M"], &["1048576", "2506752"]),
        (
            &[
                "--memory-limit",
                "64M",
                "-c",
                "rustka.connections.buffer.bytes=16777217",
            ],
            &["16777217", "16777216", "--memory-limit"],
        ),
        (
            &["-c", "max.conections=5"],
            &["max.conections", "max.connections"],
        ),
        (
            &["-c", "compression.type=zstandard"],
            &["zstandard", "zstd"],
        ),
        (
            &["-c", "log.retention.ms=soon"],
            &["log.retention.ms", "soon"],
        ),
        (
            &["-c", "max.connections"],
            &["max.connections", "key=value"],
        ),
    ] {
        let output = run(arguments);
        let line = complaint(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {line}");
        for name in named {
            assert!(line.contains(name), "{arguments:?}: {line}");
        }
    }
}

// Whoever corrected one listener met the next at the next start.
#[test]
fn each_listener_that_is_wrong_has_a_line_of_its_own() {
    let output = run(&["-c", "listeners=A://:x,B://:y,C://:9092"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    for (line, named) in lines
        .iter()
        .zip(["'A://:x'", "'B://:y'", "listener C without a protocol"])
    {
        assert!(line.contains(named) && line.contains("-c: "), "{text}");
    }
}

#[test]
fn a_port_in_use_or_an_address_of_others_ends_with_1_and_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("address").port().to_string();
    let output = run(&["--port", &port, "--http-port", "0"]);
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{log}");
    let line = log
        .lines()
        .find(|line| line.contains("is in use"))
        .expect(&log);
    assert!(line.contains(&port) && line.contains("--port"), "{line}");

    let output = run(&["--host", "192.0.2.1", "--port", "0", "--http-port", "0"]);
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{log}");
    assert!(log.contains("192.0.2.1") && log.contains("--host"), "{log}");
}

/// A broker in a process of its own, ended with the test.
struct Running {
    process: Process,
    address: SocketAddr,
}

impl Running {
    /// Starts one under a shell's `ulimit`.
    fn limited(ulimit: &str, arguments: &str) -> Running {
        let command =
            format!("ulimit {ulimit} && exec {RUSTKA} --port 0 --http-port 0 {arguments}");
        let mut shell = Command::new("sh");
        let process = Process::start(shell.args(["-c", &command]).stderr(Stdio::piped()));
        let address = process.address("bootstrap");
        let address = address.parse().expect("an address");
        Running { process, address }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("connects");
        stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
        stream
    }

    /// Ends the broker with SIGTERM; its exit code and its log.
    fn stop(mut self) -> (Option<i32>, String) {
        self.process.terminate();
        let log = self.process.log();
        let ended = self.process.child.wait().expect("ends");
        (ended.code(), log)
    }
}

/// Whether ApiVersions is answered on this connection.
fn is_served(stream: &mut TcpStream) -> bool {
    let request = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 0xff, 0xff];
    let mut length = [0; 4];
    if stream.write_all(&request).is_err() || stream.read_exact(&mut length).is_err() {
        return false;
    }
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut answer).is_ok() && answer[..4] == [0, 0, 0, 7]
}

fn files_allowed() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").expect("limits");
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().nth(3));
    soft.and_then(|soft| soft.parse().ok())
        .unwrap_or(usize::MAX)
}

/// Runs this very test again where it may open enough files; whether that was necessary.
fn again_with_more_files(test: &str) -> bool {
    if files_allowed() > FLOOD + 100 {
        return false;
    }
    let this = std::env::current_exe().expect("this program");
    let command = format!("ulimit -n 8192 && exec '{}' --exact {test}", this.display());
    let status = Command::new("sh")
        .args(["-c", &command])
        .status()
        .expect("sh runs");
    assert!(status.success(), "{test} with more files");
    true
}

fn flood(arguments: &str) -> String {
    let broker = Running::limited(&format!("-n {BROKER_FILES}"), arguments);
    let mut streams: Vec<_> = (0..FLOOD).map(|_| broker.connect()).collect();
    let served = streams
        .iter_mut()
        .filter_map(|stream| is_served(stream).then_some(()))
        .count();
    assert!(
        served > BROKER_FILES * 3 / 4 && served < BROKER_FILES,
        "{served} are served"
    );
    // Those who are in stay in.
    let again = streams
        .iter_mut()
        .filter_map(|stream| is_served(stream).then_some(()))
        .count();
    assert_eq!(again, served);
    drop(streams);
    // The broker notices one after the other; the next client gets in as soon as it has seen a few.
    let mut tries = (0..FLOOD).map(|_| is_served(&mut broker.connect()));
    assert!(tries.any(|served| served), "after the flood");
    let (code, log) = broker.stop();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.lines().count() < 200, "{} lines", log.lines().count());
    log
}

/// Attacks, row 12: 5,000 connections to a broker that may open 1,024 files. It keeps a distance from that limit.
#[test]
fn a_flood_of_connections_is_turned_away_before_descriptors_run_out() {
    if again_with_more_files("a_flood_of_connections_is_turned_away_before_descriptors_run_out") {
        return;
    }
    let log = flood("");
    assert!(
        log.contains("the limit on open files leaves room for"),
        "{log}"
    );
}

/// Attacks, row 12: the same where the user's own limit allows more than the system: accepting fails (EMFILE), and a
/// descriptor kept for this moment lets the broker hang up on who waits.
#[test]
fn without_descriptors_the_waiting_are_hung_up_on_and_the_others_served() {
    if again_with_more_files("without_descriptors_the_waiting_are_hung_up_on_and_the_others_served")
    {
        return;
    }
    let log = flood("-c max.connections=1000000");
    assert!(log.contains("no file descriptor is left"), "{log}");
}

/// Attacks, row 45: where memory cannot grow, an allocation that fails ends the process. So none may be attempted.
#[test]
#[cfg(target_os = "linux")]
fn little_address_space_is_enough_against_frames_that_ask_for_much() {
    // Three times as much as there is, if all got what they announce.
    let most = 8_u32 << 20;
    let arguments = format!("--memory-limit 32M -c socket.request.max.bytes={most}");
    let broker = Running::limited("-v 700000", &arguments);
    let mut held = Vec::new();
    for _ in 0..300 {
        // One topic, and no byte for it; a byte more than is allowed; the most that is allowed, of which little follows.
        let one_topic = [0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 7, 0xff, 0xff, 0, 0, 0, 1];
        let too_long = (most + 1).to_be_bytes();
        let hollow = [most.to_be_bytes(), [0, 0, 0, 9]].concat();
        for frame in [&one_topic[..], &too_long, &hollow] {
            let mut stream = broker.connect();
            stream.write_all(frame).expect("sends");
            held.push(stream);
        }
    }
    assert!(is_served(&mut broker.connect()));
    let (code, log) = broker.stop();
    assert_eq!(code, Some(0), "{log}");
}
