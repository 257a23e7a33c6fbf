//! Where records lie in files: how long syncs take, what waits for them, and how full the volume is.

use super::one;
use crate::node::Node;
use rustka_storage::disk::{DiskFigures, SYNC_BUCKETS_US};
use std::fmt::Write;

/// Tells all of it; nothing where records are in memory.
pub fn tell(node: &Node, text: &mut String) {
    let Some(figures) = node.engine.figures() else {
        return;
    };
    let name = "rustka_disk_written_bytes_total";
    let help = "Bytes of record batches written into files.";
    one(text, name, "counter", help, figures.written_bytes);
    let name = "rustka_disk_failures_total";
    let help = "Writes and syncs that failed, each of which made a partition read-only.";
    one(text, name, "counter", help, figures.failures);
    let name = "rustka_disk_scrubbed_bytes_total";
    let help = "Bytes of files that were read only to see whether they are whole.";
    one(text, name, "counter", help, figures.scrubbed_bytes);
    let name = "rustka_disk_damaged_ranges";
    let help = "Ranges of offsets that are known to be damaged.";
    one(text, name, "gauge", help, figures.damaged_ranges as u64);
    let name = "rustka_disk_waiting";
    let help = "Partitions that wait for a thread that writes or syncs them.";
    let _infallible = write!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n");
    let waiting = [
        ("write", figures.waiting_writes),
        ("sync", figures.waiting_syncs),
    ];
    for (what, count) in waiting {
        let _infallible = writeln!(text, "{name}{{for=\"{what}\"}} {count}");
    }
    if let Some(volume) = figures.volume {
        let gauges = [
            (
                "size",
                "Size of the data directory's volume.",
                volume.total_bytes,
            ),
            (
                "free",
                "Bytes of that volume that may yet be written.",
                volume.free_bytes,
            ),
            (
                "reserve",
                "Bytes of that volume that are left to groups, transactions and topics.",
                figures.reserve_bytes,
            ),
        ];
        for (what, help, bytes) in gauges {
            let name = format!("rustka_disk_{what}_bytes");
            one(text, &name, "gauge", help, bytes);
        }
    }
    syncs(&figures, text);
}

fn syncs(figures: &DiskFigures, text: &mut String) {
    let name = "rustka_disk_sync_duration_seconds";
    let _infallible = write!(
        text,
        "# HELP {name} Time that syncs of a partition's files took.\n# TYPE {name} histogram\n"
    );
    let mut total = 0;
    for (at, count) in figures.syncs_by_time.iter().enumerate() {
        total += count;
        let _infallible = match SYNC_BUCKETS_US.get(at) {
            Some(us) => writeln!(text, "{name}_bucket{{le=\"{}\"}} {total}", *us as f64 / 1e6),
            None => writeln!(text, "{name}_bucket{{le=\"+Inf\"}} {total}"),
        };
    }
    let seconds = figures.sync_us as f64 / 1e6;
    let _infallible = writeln!(text, "{name}_sum {seconds}\n{name}_count {total}");
}
