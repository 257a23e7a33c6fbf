//! Requests in one version each, made once by the client crate and sent again as bytes.
//!
//! Most requests use an old version that Kafka 4.x and every peer still accept, so that one encoding serves all
//! brokers. Produce and Fetch use v7 and v11 where the peer has them (zstd needs them), otherwise v3 and v4; what
//! today's clients send (Produce v13, Fetch v17) is asked for by name.

use crate::login;
use rustka_client::frame::{self, Head};
use rustka_client::incoming::read_frame;
use rustka_wire::api::response_header_version;
use rustka_wire::api_versions_request::ApiVersionsRequest;
use rustka_wire::fetch_request::FetchRequest;
use rustka_wire::join_group_request::JoinGroupRequest;
use rustka_wire::produce_request::ProduceRequest;
use rustka_wire::{Decode, Reader, Request, consumer_group_heartbeat_request as modern_group};
use rustka_wire::{create_topics_request, find_coordinator_request, heartbeat_request};
use rustka_wire::{leave_group_request, list_offsets_request, metadata_request};
use rustka_wire::{offset_commit_request, sync_group_request};
use std::io::{self, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicI16, Ordering::Relaxed};
use std::time::Duration;

/// Who asks.
const CLIENT_ID: &str = "kbench";
/// The longest response that is taken.
const RESPONSE_BYTES_MAX: usize = 1 << 30;

static JOIN_GROUP_V: AtomicI16 = AtomicI16::new(2);
static PRODUCE_V: AtomicI16 = AtomicI16::new(3);
static FETCH_V: AtomicI16 = AtomicI16::new(4);

/// Asks the peer which versions it has; (key, max version) of every API.
pub fn negotiate(c: &mut Conn) -> io::Result<Vec<(i16, i16)>> {
    let told = c.call(&ApiVersionsRequest::default())?;
    if told.error_code != 0 {
        return Err(io::Error::other("ApiVersions refused"));
    }
    let list: Vec<(i16, i16)> = told
        .api_keys
        .iter()
        .map(|api| (api.api_key, api.max_version))
        .collect();
    for (k, max) in &list {
        if *k == ProduceRequest::KEY && *max >= 7 {
            PRODUCE_V.store(7, Relaxed);
        }
        if *k == FetchRequest::KEY && *max >= 11 {
            FETCH_V.store(11, Relaxed);
        }
    }
    Ok(list)
}

/// From v4 on a new member is first told its id (MEMBER_ID_REQUIRED), as today's clients are.
pub fn join_with(version: i16) {
    JOIN_GROUP_V.store(version, Relaxed);
}

/// The version this driver speaks for each API.
pub fn version(api: i16) -> i16 {
    match api {
        ProduceRequest::KEY => PRODUCE_V.load(Relaxed),
        FetchRequest::KEY => FETCH_V.load(Relaxed),
        JoinGroupRequest::KEY => JOIN_GROUP_V.load(Relaxed),
        list_offsets_request::ListOffsetsRequest::KEY
        | metadata_request::MetadataRequest::KEY
        | find_coordinator_request::FindCoordinatorRequest::KEY
        | heartbeat_request::HeartbeatRequest::KEY
        | leave_group_request::LeaveGroupRequest::KEY
        | sync_group_request::SyncGroupRequest::KEY
        | modern_group::ConsumerGroupHeartbeatRequest::KEY => 1,
        offset_commit_request::OffsetCommitRequest::KEY => 7,
        create_topics_request::CreateTopicsRequest::KEY => 2,
        _ => 0,
    }
}

/// A whole request frame. Its correlation id lies at `frame::CORRELATION_AT`, so that it can be replayed.
pub fn frame<R: Request>(corr: i32, request: &R) -> Vec<u8> {
    frame::encode(&Head::of::<R>(version(R::KEY), corr, CLIENT_ID), request)
}

/// The same at a given version, for records that are spliced in: their places in the frame.
pub fn frame_with(
    version: i16,
    request: &ProduceRequest<'_>,
    batches: &[&[u8]],
) -> (Vec<u8>, Vec<usize>) {
    let w = frame::write(
        &Head::of::<ProduceRequest<'_>>(version, 0, CLIENT_ID),
        request,
    );
    let (mut out, mut places) = (Vec::with_capacity(w.total_len()), Vec::new());
    let mut from = 0;
    for splice in &w.splices {
        out.extend_from_slice(&w.buf[from..splice.at]);
        places.push(out.len());
        out.extend_from_slice(batches[splice.slot as usize]);
        from = splice.at;
    }
    out.extend_from_slice(&w.buf[from..]);
    (out, places)
}

/// A request at a given version.
pub fn frame_at<R: Request>(version: i16, corr: i32, request: &R) -> Vec<u8> {
    frame::encode(&Head::of::<R>(version, corr, CLIENT_ID), request)
}

/// A response without its length, as this message of this version; its correlation id.
pub fn response<'a, T: Decode<'a>>(
    api: i16,
    version: i16,
    bytes: &'a [u8],
) -> io::Result<(i32, T)> {
    let (corr, body) =
        frame::split(bytes, response_header_version(api, version)).map_err(io::Error::other)?;
    // What a benchmark asks for may be large.
    let mut r = Reader::with_budget(body, usize::MAX);
    Ok((corr, T::decode(&mut r, version).map_err(io::Error::other)?))
}

pub struct Conn {
    pub s: TcpStream,
    /// Grows to the largest response seen; the last one is `buf[..last]`.
    pub buf: Vec<u8>,
    pub last: usize,
    corr: i32,
}

impl Conn {
    /// Connects, and logs in where `--login` says so.
    pub fn open(addr: &str) -> io::Result<Conn> {
        let s = TcpStream::connect(addr)?;
        s.set_nodelay(true)?;
        s.set_read_timeout(Some(Duration::from_secs(120)))?;
        let mut opened = Conn {
            s,
            buf: Vec::new(),
            last: 0,
            corr: 0,
        };
        login::of(&mut opened)?;
        Ok(opened)
    }

    /// Reads one response into `buf`: everything after the size field.
    pub fn recv(&mut self) -> io::Result<()> {
        self.last = read_frame(&mut self.s, &mut self.buf, RESPONSE_BYTES_MAX)?;
        Ok(())
    }

    /// The last response as this message.
    pub fn received<'a, T: Decode<'a>>(&'a self, api: i16, version: i16) -> io::Result<(i32, T)> {
        response(api, version, &self.buf[..self.last])
    }

    /// One request, one response, which is not looked into.
    pub fn exchange<R: Request>(&mut self, version: i16, request: &R) -> io::Result<()> {
        self.corr += 1;
        self.s.write_all(&frame_at(version, self.corr, request))?;
        self.recv()
    }

    /// One request, one response.
    pub fn call<R: Request>(&mut self, request: &R) -> io::Result<R::Response<'_>> {
        self.call_at(version(R::KEY), request)
    }

    /// The same at a given version.
    pub fn call_at<R: Request>(
        &mut self,
        version: i16,
        request: &R,
    ) -> io::Result<R::Response<'_>> {
        self.exchange(version, request)?;
        let (c, response) = self.received(R::KEY, version)?;
        if c != self.corr {
            return Err(io::Error::other(format!(
                "correlation id {c}, expected {}",
                self.corr
            )));
        }
        Ok(response)
    }
}
