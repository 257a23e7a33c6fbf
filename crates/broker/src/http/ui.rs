//! The files of the dashboard, kept compressed in the binary and sent so.

use super::answer::{Answer, set, text, with};
use super::body::Body;
use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::{ACCEPT_ENCODING, HeaderMap, IF_NONE_MATCH};
use rustka_core::compression::{Codec, decompress};

/// Path and compressed bytes of every file.
static FILES: &[(&str, &[u8])] = &include!(concat!(env!("OUT_DIR"), "/ui.rs"));
/// No file of ours is larger.
const FILE_BYTES_MAX: usize = 1 << 20;

/// The path of every file.
pub fn paths() -> impl Iterator<Item = &'static str> {
    FILES.iter().map(|(path, _)| *path)
}

/// The file of this path.
pub fn answer(path: &str, headers: &HeaderMap) -> Answer {
    let path = if path == "/" { "/index.html" } else { path };
    let found = FILES.iter().find(|(name, _)| *name == path);
    let Some((name, bytes)) = found else {
        let sentence = "no such page; there are /, /healthz, /readyz, /metrics and /api/v1\n";
        return text(StatusCode::NOT_FOUND, sentence.into());
    };
    let tag = tag(bytes);
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let is_known = header(IF_NONE_MATCH).is_some_and(|known| known == tag);
    let takes_gzip = header(ACCEPT_ENCODING).is_some_and(|accepted| accepted.contains("gzip"));
    let (status, body) = match (is_known, takes_gzip) {
        (true, _) => (StatusCode::NOT_MODIFIED, Body::Whole(None)),
        (_, true) => (StatusCode::OK, Bytes::from_static(bytes).into()),
        (_, false) => match decompress(Codec::Gzip, bytes, FILE_BYTES_MAX) {
            Ok(plain) => (StatusCode::OK, plain.into()),
            Err(error) => {
                let sentence = format!("this file of the dashboard is damaged: {error}\n");
                return text(StatusCode::INTERNAL_SERVER_ERROR, sentence);
            }
        },
    };
    let mut answer = with(status, content_type(name), body);
    let headers = answer.headers_mut();
    if takes_gzip && !is_known {
        set(headers, "content-encoding", "gzip");
    }
    set(headers, "vary", "accept-encoding");
    // Asked each time, and mostly answered with 304: a broker may be another version tomorrow.
    set(headers, "cache-control", "no-cache");
    if let Ok(tag) = tag.parse() {
        headers.insert("etag", tag);
    }
    answer
}

/// The checksum and length with which a gzip file ends.
fn tag(bytes: &[u8]) -> String {
    let end = bytes.last_chunk::<8>().copied().unwrap_or_default();
    format!("\"{:016x}\"", u64::from_be_bytes(end))
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}
