//! Counters and gauges as text for Prometheus.

use crate::base::metrics::Metrics;
use rustka_storage::Memory;
use rustka_wire::api::ApiKey;
use std::fmt::{Display, Write};
use std::sync::atomic::Ordering::Relaxed;

/// Everything in Prometheus' text format.
pub fn render(metrics: &Metrics, memory: &Memory) -> String {
    let mut text = String::new();
    for (name, help, value) in metrics.counters() {
        one(&mut text, name, "counter", help, value);
    }
    let evicted = memory.evicted.load(Relaxed);
    let help = "Chunks dropped at the memory limit.";
    one(
        &mut text,
        "rustka_chunks_evicted_total",
        "counter",
        help,
        evicted,
    );
    let gauges = [
        (
            "rustka_connections",
            "Connections open.",
            usize::try_from(metrics.connections_open.load(Relaxed)).unwrap_or(0),
        ),
        (
            "rustka_memory_bytes",
            "Bytes of frames and log chunks in use.",
            memory.pool.bytes_in_use(),
        ),
        (
            "rustka_memory_kept_bytes",
            "Bytes of freed chunks kept for reuse.",
            memory.pool.bytes_kept(),
        ),
    ];
    for (name, help, value) in gauges {
        one(&mut text, name, "gauge", help, value);
    }
    requests(&mut text, metrics);
    text
}

fn one(text: &mut String, name: &str, kind: &str, help: &str, value: impl Display) {
    let _infallible = write!(
        text,
        "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n"
    );
}

fn requests(text: &mut String, metrics: &Metrics) {
    text.push_str("# HELP rustka_requests_total Requests by API.\n");
    text.push_str("# TYPE rustka_requests_total counter\n");
    for (key, count) in metrics.all_requests() {
        let name = ApiKey::find(key).map_or("unknown", |api| api.name);
        let _infallible = writeln!(text, "rustka_requests_total{{api=\"{name}\"}} {count}");
    }
}
