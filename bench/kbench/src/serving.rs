//! `serving --topic t --partitions N --secs 60 --readyz PORT`: from now on until a start has come to its end, the Unix times in
//! ns of the first answer, of the first record that was read, of the answer in which every partition has told where it
//! ends, and, with a port, of `/readyz` that says so. Exit status 3 when that is not so within `secs`.

use crate::args::Args;
use crate::batch;
use crate::stat::{self, mono_ns};
use crate::wire::{self, Conn};
use rustka_wire::list_offsets_request::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(1);
/// How long an answer may take: longer than requests wait for a partition.
const ANSWER: Duration = Duration::from_secs(20);

pub fn run(a: &Args) {
    let give_up = mono_ns() + a.num("secs", 60) as u64 * 1_000_000_000;
    let (addr, topic) = (a.addr(), a.str("topic", "t"));
    let partitions = a.num("partitions", 1) as i32;
    let port = a.num("readyz", 0) as u16;
    let (api, first, all, open) = std::thread::scope(|s| {
        let asked = s.spawn(|| {
            let api = first_time(give_up, || Conn::open(&addr).and_then(negotiated));
            let first = first_time(give_up, || read_one(&addr, &topic));
            let all = first_time(give_up, || every_end(&addr, &topic, partitions));
            (api, first, all)
        });
        let open = match port {
            0 => f64::NAN,
            port => first_time(give_up, || ready(port)) as f64,
        };
        let (api, first, all) = asked.join().expect("whoever asks");
        (api, first, all, open)
    });
    stat::print(&[
        ("api_ns", api as f64),
        ("first_ns", first as f64),
        ("all_ns", all as f64),
        ("open_ns", open),
        ("cpu_s", stat::cpu(a.pid())),
        ("rss_mib", stat::mem(a.pid(), "VmRSS")),
    ]);
}

/// When `attempt` has succeeded for the first time; ends the process when it has not in time.
fn first_time(give_up: u64, mut attempt: impl FnMut() -> io::Result<()>) -> u64 {
    loop {
        match attempt() {
            Ok(()) => return stat::unix_ns(),
            Err(e) if mono_ns() > give_up => {
                eprintln!("not there in time: {e}");
                std::process::exit(3);
            }
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

fn negotiated(mut c: Conn) -> io::Result<()> {
    wire::negotiate(&mut c).map(|_| ())
}

fn connected(addr: &str) -> io::Result<Conn> {
    let mut c = Conn::open(addr)?;
    c.s.set_read_timeout(Some(ANSWER))?;
    wire::negotiate(&mut c)?;
    Ok(c)
}

/// The first records of partition 0.
fn read_one(addr: &str, topic: &str) -> io::Result<()> {
    let mut c = connected(addr)?;
    let (frame, _) = batch::fetch_frame(topic, &[0], &[0], 100, 1 << 16);
    c.s.write_all(&frame)?;
    c.recv()?;
    let (mut some, mut told) = (false, 0);
    batch::each_fetched(&c.buf[..c.last], |_, error, _, records| {
        told = error;
        batch::each_batch(records, |_, _, _| some = true);
    });
    match (some, told) {
        (true, 0) => Ok(()),
        (_, error) => Err(io::Error::other(format!("no record, error {error}"))),
    }
}

/// Where each partition ends.
fn every_end(addr: &str, topic: &str, partitions: i32) -> io::Result<()> {
    let mut c = connected(addr)?;
    let asked = (0..partitions).map(|partition_index| ListOffsetsPartition {
        partition_index,
        timestamp: -1,
        ..Default::default()
    });
    let request = ListOffsetsRequest {
        replica_id: -1,
        topics: vec![ListOffsetsTopic {
            name: topic.into(),
            partitions: asked.collect(),
        }],
        ..Default::default()
    };
    let told = c.call(&request)?;
    let ends = told.topics.iter().flat_map(|t| &t.partitions);
    let known = ends.filter(|p| p.error_code == 0).count();
    match known == partitions as usize {
        true => Ok(()),
        false => Err(io::Error::other(format!("{known} of {partitions}"))),
    }
}

/// Whether `/readyz` says so.
fn ready(port: u16) -> io::Result<()> {
    let mut s = TcpStream::connect(("127.0.0.1", port))?;
    s.set_read_timeout(Some(ANSWER))?;
    s.write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut page = String::new();
    s.read_to_string(&mut page)?;
    match page.starts_with("HTTP/1.1 200 ") {
        true => Ok(()),
        false => Err(io::Error::other(
            page.lines().next().unwrap_or("").to_owned(),
        )),
    }
}
