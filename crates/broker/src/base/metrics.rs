//! Plain counters, summed when somebody asks.

use crate::base::rate::LogLimit;
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

/// Log lines about closed connections within [`LOG_WINDOW_MS`]; more are only counted.
const LOG_WINDOW_LINES: u64 = 10;
/// Length of that window.
const LOG_WINDOW_MS: i64 = 1_000;
/// Upper ends of the buckets that latencies are counted in, in microseconds; one more bucket has no end.
pub const LATENCY_BUCKETS_US: [u64; 14] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000,
    10_000_000,
];
/// One request in so many of each connection is timed.
pub const TIMED_OF: u64 = 8;
/// API keys counted one by one.
const APIS_MAX: usize = 128;

macro_rules! counters {
    ($($field:ident, $name:literal, $help:literal;)*) => {
        /// What one broker has done since its start.
        pub struct Metrics {
            $(#[doc = $help] pub $field: AtomicU64,)*
            /// Connections open now.
            pub connections_open: AtomicI64,
            requests: Vec<AtomicU64>,
            latencies: Vec<OnceLock<Box<Latency>>>,
            closed_lines: LogLimit,
        }

        impl Default for Metrics {
            fn default() -> Self {
                Metrics {
                    $($field: AtomicU64::new(0),)*
                    connections_open: AtomicI64::new(0),
                    requests: (0..APIS_MAX).map(|_| AtomicU64::new(0)).collect(),
                    latencies: (0..APIS_MAX).map(|_| OnceLock::new()).collect(),
                    closed_lines: LogLimit::new(LOG_WINDOW_LINES, LOG_WINDOW_MS),
                }
            }
        }

        impl Metrics {
            /// Every counter: its name for scrapers, what it counts, and how far it has come.
            pub fn counters(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
                [$(($name, $help, self.$field.load(Relaxed)),)*].into_iter()
            }
        }
    };
}

// Each counter is declared here and nowhere else.
counters! {
    connections_accepted, "rustka_connections_accepted_total", "Connections accepted.";
    bytes_in, "rustka_bytes_in_total", "Bytes of record batches appended.";
    bytes_out, "rustka_bytes_out_total", "Bytes of record batches sent to consumers.";
    bytes_from_files, "rustka_bytes_from_files_total", "Of these, bytes that were sent out of their files, past the broker's own memory.";
    records_in, "rustka_records_in_total", "Records appended.";
    batches_in, "rustka_batches_in_total", "Record batches appended.";
    telemetry_pushes, "rustka_client_metrics_pushes_total", "Pushes of metrics taken from clients.";
    telemetry_bytes, "rustka_client_metrics_bytes_total", "Bytes of metrics taken from clients, inflated.";
    compactions, "rustka_compactions_total", "Rounds of compaction over one partition.";
    compaction_bytes_read, "rustka_compaction_bytes_read_total", "Bytes of record batches that compaction went over.";
    compaction_bytes_kept, "rustka_compaction_bytes_kept_total", "Bytes of record batches that compaction left.";
    compaction_records_dropped, "rustka_compaction_records_dropped_total", "Records that compaction dropped.";
    slow_readers_closed, "rustka_slow_readers_closed_total", "Connections closed for keeping dropped records in memory at the memory limit.";
    task_panics, "rustka_task_panics_total", "Panics of tasks that live as long as the broker, each of which was started again.";
    throttled_by_produced_bytes, "rustka_throttled_produce_bytes_total", "Produce requests that went over a quota of bytes.";
    throttled_by_fetched_bytes, "rustka_throttled_fetch_bytes_total", "Fetches that went over a quota of bytes, and were answered without records.";
    throttled_by_time, "rustka_throttled_request_time_total", "Requests that went over a quota of the time spent on them.";
    throttled_by_mutations, "rustka_throttled_mutations_total", "Requests that went over a quota of partitions created and deleted.";
    throttled_ms, "rustka_throttled_milliseconds_total", "Milliseconds that clients were told to wait by quotas.";
    throttled_connections, "rustka_throttled_connections_total", "Connections that were not served for the quota of their address.";
    logins_failed, "rustka_logins_failed_total", "Logins that failed.";
    connections_refused, "rustka_connections_refused_total", "Connections closed for what they sent.";
}

/// How long requests of one API took.
#[derive(Default)]
struct Latency {
    counts: [AtomicU64; LATENCY_BUCKETS_US.len() + 1],
    sum_us: AtomicU64,
}

impl Metrics {
    /// Takes note of how long a request of this API took.
    pub fn took(&self, api: i16, us: u64) {
        let latency = usize::try_from(api)
            .ok()
            .and_then(|api| self.latencies.get(api));
        if let Some(latency) = latency {
            let latency = latency.get_or_init(Box::default);
            let bucket = LATENCY_BUCKETS_US.partition_point(|end| *end < us);
            latency.counts[bucket].fetch_add(1, Relaxed);
            latency.sum_us.fetch_add(us, Relaxed);
        }
    }

    /// How many requests of each API that was timed fell into each bucket, and how long all of them took.
    pub fn latencies(&self) -> impl Iterator<Item = (i16, Vec<u64>, u64)> {
        let timed = (0i16..).zip(&self.latencies);
        timed.filter_map(|(api, latency)| {
            let latency = latency.get()?;
            let counts = latency.counts.iter().map(|count| count.load(Relaxed));
            Some((api, counts.collect(), latency.sum_us.load(Relaxed)))
        })
    }

    /// Counts one request of this API.
    pub fn request(&self, api: i16) {
        if let Some(counter) = usize::try_from(api)
            .ok()
            .and_then(|api| self.requests.get(api))
        {
            counter.fetch_add(1, Relaxed);
        }
    }

    /// Requests of every API that was asked for anything, by key.
    pub fn all_requests(&self) -> impl Iterator<Item = (i16, u64)> {
        let counted = (0i16..).zip(&self.requests);
        let counted = counted.map(|(api, counter)| (api, counter.load(Relaxed)));
        counted.filter(|(_, count)| *count > 0)
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
        if let Some(left_out) = self.closed_lines.admits(now_ms) {
            let reason = printable(reason);
            tracing::warn!(target: "rustka::metrics", "closed the connection from {peer}: {reason}{left_out}");
        }
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
        assert_eq!(metrics.connections_refused.load(Relaxed), 1000);
        assert_eq!(metrics.closed_lines.lines(), LOG_WINDOW_LINES);
    }
}
