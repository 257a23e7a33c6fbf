//! TLS 1.3 by one cipher: what bytes, handshakes and idle connections cost the broker.
//!
//! All of them take `--door HOST:PORT` of a listener with TLS, and `--ca FILE` with whom to trust.

use crate::args::Args;
use crate::batch::{self, Packing};
use crate::consume::offsets;
use crate::stat::{self, Meter};
use crate::wire::{self, response};
use rustka_client::frame::CORRELATION_AT;
use rustka_client::incoming::read_frame;
use rustka_wire::api_versions_request::ApiVersionsRequest;
use rustka_wire::api_versions_response::ApiVersionsResponse;
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

/// The longest response that is taken.
const RESPONSE_BYTES_MAX: usize = 1 << 30;
const INFLIGHT: u64 = 5;

struct Tls {
    stream: StreamOwned<ClientConnection, TcpStream>,
    buf: Vec<u8>,
    last: usize,
}

/// Trusts whom `--ca` names, speaks one cipher, and never takes up an old session.
fn config(a: &Args) -> Arc<ClientConfig> {
    let provider = CryptoProvider {
        cipher_suites: vec![ring::cipher_suite::TLS13_AES_128_GCM_SHA256],
        ..ring::default_provider()
    };
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_file(a.str("ca", "")).expect("--ca FILE");
    roots.add(ca).expect("an authority");
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

impl Tls {
    /// Connects, and shakes hands to the end.
    fn open(door: &str, config: &Arc<ClientConfig>) -> io::Result<Tls> {
        let mut socket = TcpStream::connect(door)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(Duration::from_secs(60)))?;
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        let mut tls = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut socket)?;
        }
        Ok(Tls {
            stream: StreamOwned::new(tls, socket),
            buf: Vec::new(),
            last: 0,
        })
    }

    /// Takes leave, and waits until the other end has, too: it has then seen the whole handshake.
    fn close(mut self) -> io::Result<()> {
        self.stream.conn.send_close_notify();
        self.stream.conn.write_tls(&mut self.stream.sock)?;
        let mut rest = [0; 4096];
        while self.stream.sock.read(&mut rest)? > 0 {}
        Ok(())
    }

    fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        self.stream.write_all(frame)?;
        self.stream.flush()
    }

    fn recv(&mut self) -> io::Result<()> {
        self.last = read_frame(&mut self.stream, &mut self.buf, RESPONSE_BYTES_MAX)?;
        Ok(())
    }

    fn answer(&self) -> &[u8] {
        &self.buf[..self.last]
    }
}

/// `handshakes --n 2000`: full ones, one after the other.
pub fn handshakes(a: &Args) {
    let (door, n, config) = (a.str("door", ""), a.num("n", 2_000) as f64, config(a));
    let m = Meter::start(a.pid());
    for _ in 0..n as u64 {
        let tls = Tls::open(&door, &config).expect("a handshake");
        tls.close().expect("an end");
    }
    let mut out = m.stop();
    let (secs, cpu) = (out[0].1, out[1].1);
    out.extend([
        ("handshakes", n),
        ("handshakes_per_s", n / secs),
        ("handshakes_per_cpu_s", n / cpu),
        ("cpu_us_per_handshake", cpu / n * 1e6),
    ]);
    stat::print(&out);
}

/// `tls-bytes --topic t --mb 500`: batches of 64 KiB into partition 0, and back again.
pub fn bytes(a: &Args) {
    let (door, topic, config) = (a.str("door", ""), a.str("topic", "t"), config(a));
    let (size, per_batch) = (1024, 64);
    let values: Vec<Vec<u8>> = (0..per_batch)
        .map(|i| batch::payload(size, i as u64 + 7))
        .collect();
    let encoded = batch::encode(&values, Packing::NONE, None);
    let mut frame = batch::produce_frame(&topic, 0, -1, None, &encoded);
    let requests = (a.num("mb", 500) as u64 * 1_000_000).div_ceil((size * per_batch) as u64);
    let gb = (requests * (size * per_batch) as u64) as f64 / 1e9;

    let mut c = Tls::open(&door, &config).expect("a handshake");
    let (mut sent, mut first) = (0, None);
    let m = Meter::start(a.pid());
    for got in 0..requests {
        while sent < requests && sent - got < INFLIGHT {
            frame[CORRELATION_AT].copy_from_slice(&(sent as i32).to_be_bytes());
            c.send(&frame).expect("write");
            sent += 1;
        }
        c.recv().expect("a Produce response");
        let (error, offset) = batch::produce_result(c.answer());
        assert_eq!(error, 0, "produce error");
        first.get_or_insert(offset);
    }
    let mut out = m.stop();
    let cpu_in = out[1].1;

    let begin = first.expect("a batch");
    let end = begin + (requests * per_batch as u64) as i64;
    let (mut at, mut fetches) = (begin, 0);
    let m = Meter::start(a.pid());
    let (mut fetch, places) = batch::fetch_frame(&topic, &[0], &[at], 500, 1 << 20);
    while at < end {
        fetch[places[0]..places[0] + 8].copy_from_slice(&at.to_be_bytes());
        c.send(&fetch).expect("write");
        c.recv().expect("a Fetch response");
        fetches += 1;
        batch::each_fetched(c.answer(), |_, error, _, records| {
            assert_eq!(error, 0, "fetch error");
            batch::each_batch(records, |_, last, _| at = last + 1);
        });
    }
    let cpu_out = m.stop()[1].1;
    out.extend([
        ("gb", gb),
        ("fetches", f64::from(fetches)),
        ("in_cpu_s_per_gb", cpu_in / gb),
        ("out_cpu_s_per_gb", cpu_out / gb),
        ("cpu_s_per_gb", (cpu_in + cpu_out) / (2.0 * gb)),
    ]);
    stat::print(&out);
}

/// `tls-read --topic t --consumers 8 --bytes N`: each reads partition 0 from its beginning on, again and again, until it
/// has so many bytes of values.
pub fn read(a: &Args) {
    let (door, topic, config) = (a.str("door", ""), a.str("topic", "t"), config(a));
    let (consumers, bytes) = (a.num("consumers", 1), a.num("bytes", 1_000_000_000) as u64);
    let size = a.num("size", 1024) as u64;
    let mut plain = wire::Conn::open(&a.addr()).expect("connect");
    let end = offsets(&mut plain, &topic, &[0], -1)[0];
    let open = || Tls::open(&door, &config).expect("a handshake");
    let readers: Vec<Tls> = (0..consumers).map(|_| open()).collect();
    let m = Meter::start(a.pid());
    let fetches = std::thread::scope(|s| {
        let reading = readers.into_iter().map(|mut c| {
            let topic = &topic;
            s.spawn(move || {
                let (mut at, mut msgs, mut fetches) = (0, 0u64, 0u32);
                let (mut fetch, places) = batch::fetch_frame(topic, &[0], &[at], 500, 1 << 20);
                while msgs * size < bytes {
                    fetch[places[0]..places[0] + 8].copy_from_slice(&at.to_be_bytes());
                    c.send(&fetch).expect("write");
                    c.recv().expect("a Fetch response");
                    fetches += 1;
                    let before = at;
                    batch::each_fetched(c.answer(), |_, error, _, records| {
                        assert_eq!(error, 0, "fetch error");
                        batch::each_batch(records, |_, last, _| at = last + 1);
                    });
                    assert!(at > before, "nothing came from {before} on");
                    msgs += (at - before) as u64;
                    at = if at < end { at } else { 0 };
                }
                fetches
            })
        });
        let reading: Vec<_> = reading.collect();
        let each = reading.into_iter().map(|one| one.join().expect("a reader"));
        each.sum::<u32>()
    });
    let mut out = m.stop();
    let (secs, cpu) = (out[0].1, out[1].1);
    let gb = (bytes * consumers as u64) as f64 / 1e9;
    out.extend([
        ("fetches", f64::from(fetches)),
        ("mb_per_s", gb * 1e3 / secs),
        ("cpu_s_per_gb", cpu / gb),
    ]);
    stat::print(&out);
}

/// `tls-floor --cert FILE --ca FILE --dir DIR --consumers 8 --bytes N`: what it costs to read a file that the system has in its
/// cache, to encrypt it and to send it, so many bytes for each of so many who take it; nothing is asked for.
pub fn floor(a: &Args) {
    let (bytes, consumers) = (a.num("bytes", 1_000_000_000) as u64, a.num("consumers", 1));
    let cert = a.str("cert", "");
    let chain = CertificateDer::pem_file_iter(&cert).expect("--cert FILE");
    let chain = chain.collect::<Result<Vec<_>, _>>().expect("certificates");
    let key = PrivateKeyDer::from_pem_file(&cert).expect("a key in it");
    let server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let server = server.with_safe_default_protocol_versions().expect("TLS");
    let server = server.with_no_client_auth().with_single_cert(chain, key);
    let server = Arc::new(server.expect("a certificate with its key"));
    let client = config(a);
    let path = std::path::Path::new(&a.str("dir", ".")).join("tls-floor");
    let piece = batch::payload(1 << 20, 7);
    std::fs::write(&path, piece.repeat(256)).expect("a file");
    let file = std::fs::File::open(&path).expect("the file");
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let door = listener.local_addr().expect("bound").to_string();
    let cpu: f64 = std::thread::scope(|s| {
        let serving = (0..consumers).map(|_| {
            let taking = s.spawn(|| {
                let mut tls = Tls::open(&door, &client).expect("a handshake");
                let (mut some, mut left) = (vec![0; 64 << 10], bytes);
                while left > 0 {
                    let n = tls.stream.read(&mut some).expect("more") as u64;
                    left = left.saturating_sub(n);
                }
            });
            let (socket, _) = listener.accept().expect("a consumer");
            let (server, file) = (&server, &file);
            let sending = s.spawn(move || {
                let tls = ServerConnection::new(server.clone()).expect("TLS");
                let mut stream = StreamOwned::new(tls, socket);
                let mut piece = vec![0; 1 << 20];
                let (mut sent, begun) = (0, stat::thread_cpu());
                while sent < bytes {
                    let at = sent % (256 << 20);
                    let part = piece.len().min((bytes - sent) as usize);
                    let part = &mut piece[..part];
                    file.read_exact_at(part, at).expect("read");
                    stream.write_all(part).expect("sent");
                    sent += part.len() as u64;
                }
                stat::thread_cpu() - begun
            });
            (taking, sending)
        });
        let serving: Vec<_> = serving.collect();
        let each = serving.into_iter().map(|(taking, sending)| {
            taking.join().expect("a consumer");
            sending.join().expect("a sender")
        });
        each.sum()
    });
    std::fs::remove_file(&path).expect("removed");
    let gb = (bytes * consumers as u64) as f64 / 1e9;
    stat::print(&[("cpu_s_per_gb", cpu / gb)]);
}

/// `tls-conns --count 1000`: opens so many, one ApiVersions on each, and measures what they take to hold.
pub fn conns(a: &Args) {
    let (door, n, pid, config) = (a.str("door", ""), a.num("count", 1_000), a.pid(), config(a));
    let ask = wire::frame(0, &ApiVersionsRequest::default());
    let before = stat::mem(pid, "VmRSS");
    let mut held = Vec::new();
    for _ in 0..n {
        let mut c = Tls::open(&door, &config).expect("a handshake");
        c.send(&ask).expect("write");
        c.recv().expect("an answer");
        let (key, version) = (
            ApiVersionsRequest::KEY,
            wire::version(ApiVersionsRequest::KEY),
        );
        let told: io::Result<(i32, ApiVersionsResponse)> = response(key, version, c.answer());
        assert_eq!(told.expect("ApiVersions").1.error_code, 0);
        held.push(c);
    }
    std::thread::sleep(Duration::from_secs(a.num("hold", 2) as u64));
    let grown = (stat::mem(pid, "VmRSS") - before) * 1024.0;
    stat::print(&[
        ("opened", held.len() as f64),
        ("rss_kib_per_conn", grown / held.len() as f64),
    ]);
}
