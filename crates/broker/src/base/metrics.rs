//! Plain counters, summed when somebody asks.

use crate::base::rate::LogLimit;
use crate::storage::memory::Memory;
use rustka_wire::api::ApiKey;
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

/// Log lines about closed connections within [`LOG_WINDOW_MS`]; more are only counted.
const LOG_WINDOW_LINES: u64 = 10;
/// Length of that window.
const LOG_WINDOW_MS: i64 = 1_000;
/// API keys counted one by one.
const APIS_MAX: usize = 128;

/// What one broker has done since its start.
pub struct Metrics {
    requests: Vec<AtomicU64>,
    /// Connections accepted.
    pub connections_accepted: AtomicU64,
    /// Connections open now.
    pub connections_open: AtomicI64,
    /// Bytes of batches appended.
    pub bytes_in: AtomicU64,
    /// Bytes of batches sent to fetchers.
    pub bytes_out: AtomicU64,
    /// Batches appended.
    pub batches_in: AtomicU64,
    /// Rounds of compaction.
    pub compactions: AtomicU64,
    /// Bytes of batches that compaction went over.
    pub compaction_bytes_read: AtomicU64,
    /// Bytes of batches that it left.
    pub compaction_bytes_kept: AtomicU64,
    /// Records that it dropped.
    pub compaction_records_dropped: AtomicU64,
    /// Pushes of metrics taken from clients.
    pub telemetry_pushes: AtomicU64,
    /// Bytes of metrics taken from clients.
    pub telemetry_bytes: AtomicU64,
    /// Connections closed because they kept dropped records in memory.
    pub slow_readers_closed: AtomicU64,
    connections_refused: AtomicU64,
    closed_lines: LogLimit,
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics {
            requests: (0..APIS_MAX).map(|_| AtomicU64::new(0)).collect(),
            connections_accepted: AtomicU64::new(0),
            connections_open: AtomicI64::new(0),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            batches_in: AtomicU64::new(0),
            compactions: AtomicU64::new(0),
            compaction_bytes_read: AtomicU64::new(0),
            compaction_bytes_kept: AtomicU64::new(0),
            compaction_records_dropped: AtomicU64::new(0),
            telemetry_pushes: AtomicU64::new(0),
            telemetry_bytes: AtomicU64::new(0),
            slow_readers_closed: AtomicU64::new(0),
            connections_refused: AtomicU64::new(0),
            closed_lines: LogLimit::new(LOG_WINDOW_LINES, LOG_WINDOW_MS),
        }
    }
}

impl Metrics {
    /// Counts one request of this API.
    pub fn request(&self, api: i16) {
        if let Some(counter) = usize::try_from(api)
            .ok()
            .and_then(|api| self.requests.get(api))
        {
            counter.fetch_add(1, Relaxed);
        }
    }

    /// Requests of one API so far.
    pub fn requests(&self, api: i16) -> u64 {
        usize::try_from(api)
            .ok()
            .and_then(|api| self.requests.get(api))
            .map_or(0, |counter| counter.load(Relaxed))
    }

    /// Counts a connection that the broker closed, and says so in the log at a bounded rate.
    pub fn connection_closed(&self, peer: SocketAddr, reason: &str, now_ms: i64) {
        self.connections_refused.fetch_add(1, Relaxed);
        let Some(dropped) = self.closed_lines.admits(now_ms) else {
            return;
        };
        if dropped > 0 {
            tracing::warn!(target: "rustka::metrics", "{dropped} more connections were closed");
        }
        tracing::warn!(target: "rustka::metrics", "closed the connection from {peer}: {}", printable(reason));
    }

    /// Connections that the broker closed because of what they sent.
    pub fn connections_refused(&self) -> u64 {
        self.connections_refused.load(Relaxed)
    }

    /// Everything in Prometheus' text format.
    pub fn render(&self, memory: &Memory) -> String {
        let mut text = String::new();
        let mut line = |name: &str, kind: &str, help: &str, value: String| {
            let _infallible = write!(
                text,
                "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n"
            );
        };
        let count = |counter: &AtomicU64| counter.load(Relaxed).to_string();
        line(
            "rustka_connections_accepted_total",
            "counter",
            "Connections accepted.",
            count(&self.connections_accepted),
        );
        line(
            "rustka_connections",
            "gauge",
            "Connections open.",
            self.connections_open.load(Relaxed).to_string(),
        );
        line(
            "rustka_connections_refused_total",
            "counter",
            "Connections closed for what they sent.",
            self.connections_refused().to_string(),
        );
        line(
            "rustka_bytes_in_total",
            "counter",
            "Bytes of record batches appended.",
            count(&self.bytes_in),
        );
        line(
            "rustka_bytes_out_total",
            "counter",
            "Bytes of record batches sent to consumers.",
            count(&self.bytes_out),
        );
        line(
            "rustka_batches_in_total",
            "counter",
            "Record batches appended.",
            count(&self.batches_in),
        );
        line(
            "rustka_client_metrics_pushes_total",
            "counter",
            "Pushes of metrics taken from clients.",
            count(&self.telemetry_pushes),
        );
        line(
            "rustka_client_metrics_bytes_total",
            "counter",
            "Bytes of metrics taken from clients, inflated.",
            count(&self.telemetry_bytes),
        );
        line(
            "rustka_chunks_evicted_total",
            "counter",
            "Chunks dropped at the memory limit.",
            count(&memory.evicted),
        );
        line(
            "rustka_compactions_total",
            "counter",
            "Rounds of compaction over one partition.",
            count(&self.compactions),
        );
        line(
            "rustka_compaction_bytes_read_total",
            "counter",
            "Bytes of record batches that compaction went over.",
            count(&self.compaction_bytes_read),
        );
        line(
            "rustka_compaction_bytes_kept_total",
            "counter",
            "Bytes of record batches that compaction left.",
            count(&self.compaction_bytes_kept),
        );
        line(
            "rustka_compaction_records_dropped_total",
            "counter",
            "Records that compaction dropped.",
            count(&self.compaction_records_dropped),
        );
        line(
            "rustka_slow_readers_closed_total",
            "counter",
            "Connections closed for keeping dropped records in memory at the memory limit.",
            count(&self.slow_readers_closed),
        );
        line(
            "rustka_memory_bytes",
            "gauge",
            "Bytes of frames and log chunks in use.",
            memory.pool.bytes_in_use().to_string(),
        );
        line(
            "rustka_memory_kept_bytes",
            "gauge",
            "Bytes of freed chunks kept for reuse.",
            memory.pool.bytes_kept().to_string(),
        );
        text.push_str(
            "# HELP rustka_requests_total Requests by API.\n# TYPE rustka_requests_total counter\n",
        );
        for (key, counter) in self.requests.iter().enumerate() {
            let n = counter.load(Relaxed);
            if n > 0 {
                let name = i16::try_from(key)
                    .ok()
                    .and_then(ApiKey::find)
                    .map_or("unknown", |api| api.name);
                let _infallible = writeln!(text, "rustka_requests_total{{api=\"{name}\"}} {n}");
            }
        }
        text
    }
}

/// Text from outside, fit for one line of a log: nothing unprintable, at most 256 characters.
pub fn printable(text: &str) -> String {
    let mut line = String::new();
    for c in text.chars().take(256) {
        let hidden = c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
        if hidden {
            line.extend(c.escape_unicode());
        } else {
            line.push(c);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Attacks, row 33.
    #[test]
    fn text_from_outside_cannot_forge_a_log_line() {
        assert_eq!(
            printable("a\r\nINFO x\u{1b}[2J\u{202e}"),
            "a\\u{d}\\u{a}INFO x\\u{1b}[2J\\u{202e}"
        );
        assert_eq!(printable(&"x".repeat(1000)).len(), 256);
    }

    #[test]
    fn a_flood_of_bad_connections_is_counted_but_not_all_of_it_logged() {
        let metrics = Metrics::default();
        for _ in 0..1000 {
            metrics.connection_closed(([127, 0, 0, 1], 1).into(), "nonsense", 5);
        }
        assert_eq!(metrics.connections_refused(), 1000);
        assert_eq!(metrics.closed_lines.lines(), LOG_WINDOW_LINES);
    }
}
