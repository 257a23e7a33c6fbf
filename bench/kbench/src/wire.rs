//! Just enough of the Kafka wire protocol, by hand.
//!
//! Most requests use an old, non-flexible version that Kafka 4.x and every peer
//! still accept, so that one encoding serves all brokers. Produce and Fetch use
//! v7 and v11 where the peer has them (zstd needs them), otherwise v3 and v4.
//! What today's clients send (Produce v13, Fetch v17) is in `modern.rs`; it and
//! ConsumerGroupHeartbeat (KIP-848) are the flexible ones.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicI16, Ordering::Relaxed};
use std::time::Duration;

pub const PRODUCE: i16 = 0;
pub const FETCH: i16 = 1;
pub const LIST_OFFSETS: i16 = 2;
pub const METADATA: i16 = 3;
pub const OFFSET_COMMIT: i16 = 8;
pub const FIND_COORDINATOR: i16 = 10;
pub const JOIN_GROUP: i16 = 11;
pub const HEARTBEAT: i16 = 12;
pub const LEAVE_GROUP: i16 = 13;
pub const SYNC_GROUP: i16 = 14;
pub const API_VERSIONS: i16 = 18;
pub const CREATE_TOPICS: i16 = 19;
pub const INIT_PRODUCER_ID: i16 = 22;
pub const ADD_PARTITIONS_TO_TXN: i16 = 24;
pub const END_TXN: i16 = 26;
pub const DESCRIBE_LOG_DIRS: i16 = 35;
pub const CONSUMER_GROUP_HEARTBEAT: i16 = 68;

static JOIN_GROUP_V: AtomicI16 = AtomicI16::new(2);
static PRODUCE_V: AtomicI16 = AtomicI16::new(3);
static FETCH_V: AtomicI16 = AtomicI16::new(4);

/// Asks the peer which versions it has; (key, max version) of every API.
pub fn negotiate(c: &mut Conn) -> io::Result<Vec<(i16, i16)>> {
    let mut r = c.call(API_VERSIONS, &[])?;
    if r.i16() != 0 {
        return Err(io::Error::other("ApiVersions refused"));
    }
    let list: Vec<(i16, i16)> = (0..r.i32())
        .map(|_| {
            let k = r.i16();
            r.i16();
            (k, r.i16())
        })
        .collect();
    for (k, max) in &list {
        if *k == PRODUCE && *max >= 7 {
            PRODUCE_V.store(7, Relaxed);
        }
        if *k == FETCH && *max >= 11 {
            FETCH_V.store(11, Relaxed);
        }
    }
    Ok(list)
}

/// From v4 on a new member is first told its id (MEMBER_ID_REQUIRED), as today's clients are.
pub fn join_with(version: i16) {
    JOIN_GROUP_V.store(version, Relaxed);
}

/// Whether requests of this version have tagged fields, and a header with them.
pub fn flexible(api: i16, version: i16) -> bool {
    match api {
        PRODUCE | METADATA => version >= 9,
        FETCH => version >= 12,
        CONSUMER_GROUP_HEARTBEAT => true,
        _ => false,
    }
}

/// The version this driver speaks for each API.
pub fn version(api: i16) -> i16 {
    match api {
        PRODUCE => PRODUCE_V.load(Relaxed),
        FETCH => FETCH_V.load(Relaxed),
        LIST_OFFSETS | METADATA | FIND_COORDINATOR => 1,
        JOIN_GROUP => JOIN_GROUP_V.load(Relaxed),
        OFFSET_COMMIT => 7,
        HEARTBEAT | LEAVE_GROUP | SYNC_GROUP => 1,
        CREATE_TOPICS => 2,
        CONSUMER_GROUP_HEARTBEAT => 1,
        _ => 0,
    }
}

/// Big-endian writer.
#[derive(Default)]
pub struct W(pub Vec<u8>);
impl W {
    pub fn i8(&mut self, v: i8) -> &mut Self {
        self.0.push(v as u8);
        self
    }
    pub fn i16(&mut self, v: i16) -> &mut Self {
        self.0.extend(v.to_be_bytes());
        self
    }
    pub fn i32(&mut self, v: i32) -> &mut Self {
        self.0.extend(v.to_be_bytes());
        self
    }
    pub fn i64(&mut self, v: i64) -> &mut Self {
        self.0.extend(v.to_be_bytes());
        self
    }
    pub fn str(&mut self, s: &str) -> &mut Self {
        self.i16(s.len() as i16);
        self.0.extend(s.as_bytes());
        self
    }
    pub fn opt_str(&mut self, s: Option<&str>) -> &mut Self {
        match s {
            Some(s) => self.str(s),
            None => self.i16(-1),
        }
    }
    pub fn bytes(&mut self, b: &[u8]) -> &mut Self {
        self.i32(b.len() as i32);
        self.0.extend(b);
        self
    }
    pub fn uvarint(&mut self, mut v: u32) -> &mut Self {
        while v >= 0x80 {
            self.0.push(v as u8 | 0x80);
            v >>= 7;
        }
        self.0.push(v as u8);
        self
    }
    /// Zig-zag varint, as used inside records.
    pub fn varint(&mut self, v: i64) -> &mut Self {
        let mut z = ((v << 1) ^ (v >> 63)) as u64;
        while z >= 0x80 {
            self.0.push(z as u8 | 0x80);
            z >>= 7;
        }
        self.0.push(z as u8);
        self
    }
    pub fn cstr(&mut self, s: &str) -> &mut Self {
        self.uvarint(s.len() as u32 + 1);
        self.0.extend(s.as_bytes());
        self
    }
}

/// Big-endian reader; panics on truncated input (a benchmark has no use for less).
pub struct R<'a>(pub &'a [u8]);
impl<'a> R<'a> {
    pub fn take(&mut self, n: usize) -> &'a [u8] {
        let (a, b) = self.0.split_at(n);
        self.0 = b;
        a
    }
    pub fn i8(&mut self) -> i8 {
        self.take(1)[0] as i8
    }
    pub fn i16(&mut self) -> i16 {
        i16::from_be_bytes(self.take(2).try_into().unwrap())
    }
    pub fn i32(&mut self) -> i32 {
        i32::from_be_bytes(self.take(4).try_into().unwrap())
    }
    pub fn i64(&mut self) -> i64 {
        i64::from_be_bytes(self.take(8).try_into().unwrap())
    }
    pub fn str(&mut self) -> String {
        let n = self.i16().max(0) as usize;
        String::from_utf8_lossy(self.take(n)).into_owned()
    }
    pub fn bytes(&mut self) -> &'a [u8] {
        let n = self.i32().max(0) as usize;
        self.take(n)
    }
    pub fn uvarint(&mut self) -> u32 {
        let (mut v, mut s) = (0u32, 0);
        loop {
            let b = self.take(1)[0];
            v |= ((b & 0x7f) as u32) << s;
            if b & 0x80 == 0 {
                return v;
            }
            s += 7;
        }
    }
    pub fn varint(&mut self) -> i64 {
        let (mut v, mut s) = (0u64, 0);
        loop {
            let b = self.take(1)[0];
            v |= ((b & 0x7f) as u64) << s;
            if b & 0x80 == 0 {
                break;
            }
            s += 7;
        }
        (v >> 1) as i64 ^ -((v & 1) as i64)
    }
    pub fn cstr(&mut self) -> String {
        let n = self.uvarint().saturating_sub(1) as usize;
        String::from_utf8_lossy(self.take(n)).into_owned()
    }
    pub fn tags(&mut self) {
        for _ in 0..self.uvarint() {
            self.uvarint();
            let n = self.uvarint() as usize;
            self.take(n);
        }
    }
}

/// A whole request frame: size, header v1 (or v2 when flexible), body.
/// The correlation id lies at bytes 8..12, so that a frame can be replayed.
pub fn frame(api: i16, corr: i32, body: &[u8]) -> Vec<u8> {
    frame_at(api, version(api), corr, body)
}

/// The same at a given version.
pub fn frame_at(api: i16, version: i16, corr: i32, body: &[u8]) -> Vec<u8> {
    let mut w = W(Vec::with_capacity(body.len() + 32));
    w.i32(0).i16(api).i16(version).i32(corr).str("kbench");
    if flexible(api, version) {
        w.i8(0);
    }
    w.0.extend(body);
    let n = (w.0.len() - 4) as i32;
    w.0[..4].copy_from_slice(&n.to_be_bytes());
    w.0
}

pub struct Conn {
    pub s: TcpStream,
    /// Grows to the largest response seen; the last one is `buf[..last]`.
    pub buf: Vec<u8>,
    pub last: usize,
    corr: i32,
}

impl Conn {
    pub fn open(addr: &str) -> io::Result<Conn> {
        let s = TcpStream::connect(addr)?;
        s.set_nodelay(true)?;
        s.set_read_timeout(Some(Duration::from_secs(120)))?;
        Ok(Conn {
            s,
            buf: Vec::new(),
            last: 0,
            corr: 0,
        })
    }

    /// Reads one response into `buf`: everything after the size field.
    pub fn recv(&mut self) -> io::Result<()> {
        let mut n = [0u8; 4];
        self.s.read_exact(&mut n)?;
        let n = u32::from_be_bytes(n) as usize;
        if n > 1 << 30 {
            return Err(io::Error::other("response too large"));
        }
        if self.buf.len() < n {
            self.buf.resize(n, 0);
        }
        self.s.read_exact(&mut self.buf[..n])?;
        self.last = n;
        Ok(())
    }

    /// One request, one response; returns the response body after its header.
    pub fn call(&mut self, api: i16, body: &[u8]) -> io::Result<R<'_>> {
        self.call_at(api, version(api), body)
    }

    /// The same at a given version.
    pub fn call_at(&mut self, api: i16, version: i16, body: &[u8]) -> io::Result<R<'_>> {
        self.corr += 1;
        self.s.write_all(&frame_at(api, version, self.corr, body))?;
        self.recv()?;
        let mut r = R(&self.buf[..self.last]);
        let c = r.i32();
        if c != self.corr {
            return Err(io::Error::other(format!(
                "correlation id {c}, expected {}",
                self.corr
            )));
        }
        if flexible(api, version) {
            r.tags();
        }
        Ok(r)
    }
}
