//! A config is called honoured only when the code reads it.

use rustka_core::config::{BrokerSettings, ConfigKey, Scope, find_key, is_honoured};
use std::path::Path;

/// Fields of `TopicConfig` and the keys that they come from.
const TOPIC_FIELDS: &[(&str, &str)] = &[
    ("compact", "cleanup.policy"),
    ("compression_type", "compression.type"),
    ("delete_retention_ms", "delete.retention.ms"),
    ("flush_messages", "flush.messages"),
    ("flush_ms", "flush.ms"),
    ("gzip_level", "compression.gzip.level"),
    ("log_append_time", "message.timestamp.type"),
    ("lz4_level", "compression.lz4.level"),
    ("max_compaction_lag_ms", "max.compaction.lag.ms"),
    (
        "max_decompressed_message_bytes",
        "max.decompressed.message.bytes",
    ),
    ("max_message_bytes", "max.message.bytes"),
    ("min_cleanable_dirty_ratio", "min.cleanable.dirty.ratio"),
    ("min_compaction_lag_ms", "min.compaction.lag.ms"),
    ("retention_bytes", "retention.bytes"),
    ("retention_ms", "retention.ms"),
    ("segment_bytes", "segment.bytes"),
    ("segment_ms", "segment.ms"),
    ("timestamp_after_max_ms", "message.timestamp.after.max.ms"),
    ("timestamp_before_max_ms", "message.timestamp.before.max.ms"),
    ("zstd_level", "compression.zstd.level"),
];

fn read_all(folder: &Path, sources: &mut String) {
    for entry in std::fs::read_dir(folder).expect("sources") {
        let path = entry.expect("entry").path();
        // Where configs are defined they are read in any case.
        if path.ends_with("config/broker.rs") {
            continue;
        }
        if path.is_dir() {
            read_all(&path, sources);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            sources.push_str(&std::fs::read_to_string(&path).expect("source"));
        }
    }
}

/// Whether `.field` stands somewhere, and is not the beginning of a longer name.
fn is_read(sources: &str, field: &str) -> bool {
    let wanted = format!(".{field}");
    let ends = |at: usize| {
        let next = sources[at + wanted.len()..].chars().next();
        !next.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '(')
    };
    sources.match_indices(&wanted).any(|(at, _)| ends(at))
}

#[test]
fn what_is_called_honoured_is_read() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = String::new();
    read_all(&root.join("src"), &mut sources);
    read_all(&root.join("../core/src"), &mut sources);
    read_all(&root.join("../storage/src"), &mut sources);
    let check = |scope, field: &str, name: &str| {
        let key: &ConfigKey = find_key(scope, name).expect(name);
        let unread = is_honoured(key) && !is_read(&sources, field);
        assert!(!unread, "{name} has no effect: nothing reads .{field}");
    };
    for (field, name, _) in BrokerSettings::FIELDS {
        check(Scope::Broker, field, name);
    }
    for (field, name) in TOPIC_FIELDS {
        check(Scope::Topic, field, name);
    }
}
