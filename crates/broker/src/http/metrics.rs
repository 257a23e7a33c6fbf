//! Counters and gauges as text for Prometheus.

use crate::base::metrics::Metrics;
use crate::node::Node;
use rustka_wire::api::ApiKey;
use std::fmt::{Display, Write};
use std::sync::atomic::Ordering::Relaxed;

/// Everything in Prometheus' text format.
pub fn render(node: &Node) -> String {
    let (metrics, memory) = (&node.metrics, &node.memory);
    let mut text = String::new();
    // What is counted where it happens and not among the others.
    let elsewhere = [
        (
            "rustka_chunks_evicted_total",
            "Chunks dropped at the memory limit.",
            memory.evicted.load(Relaxed),
        ),
        (
            "rustka_log_lines_dropped_total",
            "Lines of the log that were left out because nobody took them fast enough.",
            node.loggers.lines_dropped(),
        ),
    ];
    for (name, help, value) in metrics.counters().chain(elsewhere) {
        one(&mut text, name, "counter", help, value);
    }
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
