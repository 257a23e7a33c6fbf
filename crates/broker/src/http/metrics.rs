//! Counters and gauges as text for Prometheus: Rustka's own, and what there is under the names that dashboards made for
//! Kafka ask for. Nothing is kept for the latter: they are read from what is there when somebody scrapes.

mod disk;
mod exporter;
mod others;
mod series;

pub use exporter::look_at_group;

use crate::api::parts::Parts;
use crate::base::metrics::{LATENCY_BUCKETS_US, Metrics};
use crate::http::problem::Problem;
use crate::node::Node;
use rustka_core::account::Share;
use rustka_wire::api::ApiKey;
use series::Series;
use std::fmt::{Display, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Which names are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Names {
    /// Rustka's own.
    Native,
    /// Those of kafka_exporter.
    Exporter,
    /// Those of Prometheus' JMX exporter with the rules that most use for Kafka.
    Jmx,
    /// Those of Redpanda.
    Redpanda,
}

const NAMES: [(&str, Names); 4] = [
    ("native", Names::Native),
    ("exporter", Names::Exporter),
    ("jmx", Names::Jmx),
    ("redpanda", Names::Redpanda),
];

/// Everything in Prometheus' text format, under the names that the query asks for: `names=native,exporter` unless it says
/// otherwise.
pub async fn render(parts: &Arc<Parts>, query: &str) -> Result<String, Problem> {
    let query = super::input::Query::parse(query, &["names"])?;
    let asked = query.text("names").unwrap_or("native,exporter");
    let asked = asked.split(',').map(|asked| {
        let known = NAMES.iter().find(|(name, _)| *name == asked);
        known.map(|(_, names)| *names).ok_or_else(|| {
            let known = NAMES.map(|(name, _)| name).join(", ");
            Problem::bad(format!("names has {asked:?}: expected some of {known}"))
        })
    });
    let asked = asked.collect::<Result<Vec<Names>, Problem>>()?;
    let node = &parts.node;
    let mut text = String::new();
    if asked.contains(&Names::Native) {
        native(node, &mut text);
        transactions(parts, &mut text);
    }
    let mut series = Series::over(text);
    if asked.iter().any(|names| *names != Names::Native) {
        let seen = exporter::Seen::look(parts).await;
        for names in asked {
            match names {
                Names::Native => {}
                Names::Exporter => exporter::tell(node, &seen, &mut series),
                Names::Jmx => others::jmx(node, &seen, &mut series),
                Names::Redpanda => others::redpanda(node, &seen, &mut series),
            }
        }
    }
    Ok(series.finish())
}

fn native(node: &Node, text: &mut String) {
    let (metrics, memory) = (&node.metrics, &node.memory);
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
        one(text, name, "counter", help, value);
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
        one(text, name, "gauge", help, value);
    }
    memory_shares(text, node);
    disk::tell(node, text);
    let uptime_s = node.uptime_ms() as f64 / 1_000.0;
    let help = "Seconds since the broker began.";
    one(text, "rustka_uptime_seconds", "gauge", help, uptime_s);
    let _infallible = write!(
        text,
        "# HELP rustka_build_info The version that runs.\n# TYPE rustka_build_info gauge\nrustka_build_info{{version=\"{}\"}} 1\n",
        env!("CARGO_PKG_VERSION")
    );
    requests(text, metrics);
    latencies(text, metrics);
    rebalances(text, node);
}

fn transactions(parts: &Parts, text: &mut String) {
    let (ids, open) = parts.transactions.counts();
    let gauges = [
        (
            "rustka_transactional_ids",
            "Transactional ids that are remembered.",
            ids,
        ),
        (
            "rustka_transactions_open",
            "Transactions that are open.",
            open,
        ),
    ];
    for (name, help, value) in gauges {
        one(text, name, "gauge", help, value);
    }
}

fn one(text: &mut String, name: &str, kind: &str, help: &str, value: impl Display) {
    let _infallible = write!(
        text,
        "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n"
    );
}

/// What fills the memory that `--memory-limit` bounds.
fn memory_shares(text: &mut String, node: &Node) {
    let pool = &node.memory.pool;
    let (frames, readers) = (node.receiving.used(), pool.bytes_abandoned());
    let account = &node.memory.account;
    let elsewhere = frames + readers + account.bytes(Share::Journals);
    let records = pool.bytes_in_use().saturating_sub(elsewhere);
    let name = "rustka_memory_share_bytes";
    let _infallible = write!(
        text,
        "# HELP {name} Bytes by what holds them: records, frames that come in, records that only slow readers hold, blocks kept for reuse, and what is remembered beside them.\n# TYPE {name} gauge\n"
    );
    let remembered = Share::ALL.map(|share| (share.name(), account.bytes(share)));
    let lent = [
        ("records", records),
        ("frames", frames),
        ("readers", readers),
        ("kept", pool.bytes_kept()),
    ];
    for (share, bytes) in lent.into_iter().chain(remembered) {
        let _infallible = writeln!(text, "{name}{{share=\"{share}\"}} {bytes}");
    }
    let name = "rustka_memory_share_bytes_max";
    let help = "Bytes that what is remembered beside records may take.";
    let _infallible = write!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n");
    for share in Share::ALL {
        let (share, max) = (share.name(), account.bytes_max(share));
        let _infallible = writeln!(text, "{name}{{share=\"{share}\"}} {max}");
    }
}

fn requests(text: &mut String, metrics: &Metrics) {
    text.push_str("# HELP rustka_requests_total Requests by API.\n");
    text.push_str("# TYPE rustka_requests_total counter\n");
    for (key, count) in metrics.all_requests() {
        let name = ApiKey::find(key).map_or("unknown", |api| api.name);
        let _infallible = writeln!(text, "rustka_requests_total{{api=\"{name}\"}} {count}");
    }
}

/// One request in eight of each connection is timed, which is enough for quantiles and costs the others nothing.
fn latencies(text: &mut String, metrics: &Metrics) {
    let name = "rustka_request_duration_seconds";
    let _infallible = write!(
        text,
        "# HELP {name} Time from a request to its answer, waits included, of one request in eight.\n# TYPE {name} histogram\n"
    );
    for (key, counts, sum_us) in metrics.latencies() {
        let api = ApiKey::find(key).map_or("unknown", |api| api.name);
        let mut total = 0;
        for (at, count) in counts.iter().enumerate() {
            total += count;
            let _infallible = match LATENCY_BUCKETS_US.get(at) {
                Some(us) => {
                    let seconds = *us as f64 / 1e6;
                    writeln!(
                        text,
                        "{name}_bucket{{api=\"{api}\",le=\"{seconds}\"}} {total}"
                    )
                }
                None => writeln!(text, "{name}_bucket{{api=\"{api}\",le=\"+Inf\"}} {total}"),
            };
        }
        let seconds = sum_us as f64 / 1e6;
        let _infallible = writeln!(text, "{name}_sum{{api=\"{api}\"}} {seconds}");
        let _infallible = writeln!(text, "{name}_count{{api=\"{api}\"}} {total}");
    }
}

fn rebalances(text: &mut String, node: &Node) {
    let name = "rustka_rebalances_total";
    let help = "Rebalances of groups by what caused them.";
    let _infallible = write!(text, "# HELP {name} {help}\n# TYPE {name} counter\n");
    for (cause, count) in node.timeline.causes() {
        let _infallible = writeln!(text, "{name}{{cause=\"{cause}\"}} {count}");
    }
}
