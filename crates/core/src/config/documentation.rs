//! What each config does here, in one sentence.

use super::table::{ConfigKey, Scope};

/// Told for keys that are accepted, checked and shown but change nothing.
const INERT: &str = "Accepted, checked and shown; changes nothing in Rustka.";

/// The sentence that DescribeConfigs tells about a key.
pub fn documentation(key: &ConfigKey) -> &'static str {
    let table: &[(&str, &'static str)] = match key.scope {
        Scope::Topic => TOPIC,
        Scope::Broker => BROKER,
        Scope::Group | Scope::ClientMetrics => &[],
    };
    match table.iter().find(|(name, _)| *name == key.name) {
        Some((_, text)) => text,
        None => INERT,
    }
}

/// Whether the key has an effect.
pub fn is_honoured(key: &ConfigKey) -> bool {
    documentation(key) != INERT
}

const TOPIC: &[(&str, &str)] = &[
    (
        "cleanup.policy",
        "Whether old records are deleted (delete), only the newest of each key are kept (compact), or both.",
    ),
    (
        "compression.gzip.level",
        "The level with which the broker compresses in gzip.",
    ),
    (
        "compression.type",
        "The codec batches are stored in, whatever the producer used; producer keeps them as they come.",
    ),
    (
        "compression.zstd.level",
        "The level with which the broker compresses in zstd.",
    ),
    (
        "delete.retention.ms",
        "How long tombstones stay readable after they were first compacted.",
    ),
    (
        "max.compaction.lag.ms",
        "After how long a closed part of a log is compacted even if little of the log is dirty.",
    ),
    (
        "max.message.bytes",
        "The largest record batch, compressed, with its header.",
    ),
    (
        "message.timestamp.after.max.ms",
        "How far a record's own time may lie in the future.",
    ),
    (
        "message.timestamp.before.max.ms",
        "How far a record's own time may lie in the past.",
    ),
    (
        "message.timestamp.type",
        "Whether records keep the producer's time (CreateTime) or get the broker's (LogAppendTime).",
    ),
    (
        "min.cleanable.dirty.ratio",
        "Which share of a log has to be dirty before it is compacted.",
    ),
    (
        "min.compaction.lag.ms",
        "How long a record is safe from compaction.",
    ),
    (
        "retention.bytes",
        "How large a partition grows before its oldest records are deleted; -1 is no limit.",
    ),
    (
        "retention.ms",
        "How old records grow before they are deleted; -1 is forever.",
    ),
    (
        "segment.bytes",
        "Batches larger than this are refused; storage is divided by chunks, not by this size.",
    ),
    (
        "segment.ms",
        "After how long the active part of a partition is closed, so that retention can delete it.",
    ),
];

const BROKER: &[(&str, &str)] = &[
    (
        "auto.create.topics.enable",
        "Whether Metadata requests create topics that do not exist.",
    ),
    ("broker.id", "The same as node.id, by its older name."),
    ("broker.rack", "The rack told to clients."),
    (
        "compression.gzip.level",
        "The compression.gzip.level of topics that set none.",
    ),
    (
        "compression.type",
        "The compression.type of topics that set none.",
    ),
    (
        "compression.zstd.level",
        "The compression.zstd.level of topics that set none.",
    ),
    (
        "connections.max.idle.ms",
        "After how long a silent connection is closed.",
    ),
    (
        "default.replication.factor",
        "The replication factor of topics that name none.",
    ),
    ("delete.topic.enable", "Whether topics can be deleted."),
    (
        "fetch.max.bytes",
        "The largest answer to one Fetch request.",
    ),
    (
        "group.initial.rebalance.delay.ms",
        "How long the first rebalance of an empty group waits for further members.",
    ),
    (
        "log.cleaner.backoff.ms",
        "How often every compacted log is looked at; a log that grows is looked at more often.",
    ),
    (
        "log.cleaner.delete.retention.ms",
        "The delete.retention.ms of topics that set none.",
    ),
    ("log.cleaner.enable", "Whether logs are compacted at all."),
    (
        "log.cleaner.max.compaction.lag.ms",
        "The max.compaction.lag.ms of topics that set none.",
    ),
    (
        "log.cleaner.min.cleanable.ratio",
        "The min.cleanable.dirty.ratio of topics that set none.",
    ),
    (
        "log.cleaner.min.compaction.lag.ms",
        "The min.compaction.lag.ms of topics that set none.",
    ),
    (
        "log.cleanup.policy",
        "The cleanup.policy of topics that set none.",
    ),
    (
        "log.message.timestamp.after.max.ms",
        "The message.timestamp.after.max.ms of topics that set none.",
    ),
    (
        "log.message.timestamp.before.max.ms",
        "The message.timestamp.before.max.ms of topics that set none.",
    ),
    (
        "log.message.timestamp.type",
        "The message.timestamp.type of topics that set none.",
    ),
    (
        "log.retention.bytes",
        "The retention.bytes of topics that set none.",
    ),
    (
        "log.retention.check.interval.ms",
        "How often retention is looked at.",
    ),
    (
        "log.retention.hours",
        "The retention of topics that set none, in hours; minutes and milliseconds stand before it.",
    ),
    (
        "log.retention.minutes",
        "The retention of topics that set none, in minutes; milliseconds stand before it.",
    ),
    (
        "log.retention.ms",
        "The retention.ms of topics that set none.",
    ),
    (
        "log.roll.hours",
        "The segment.ms of topics that set none, in hours; milliseconds stand before it.",
    ),
    ("log.roll.ms", "The segment.ms of topics that set none."),
    (
        "log.segment.bytes",
        "The segment.bytes of topics that set none.",
    ),
    ("max.connections", "How many connections may be open."),
    (
        "max.connections.per.ip",
        "How many connections one address may have open.",
    ),
    (
        "max.incremental.fetch.session.cache.slots",
        "How many fetch sessions are kept.",
    ),
    (
        "max.request.partition.size.limit",
        "How many partitions one DescribeTopicPartitions answer holds.",
    ),
    (
        "message.max.bytes",
        "The max.message.bytes of topics that set none.",
    ),
    ("node.id", "This broker's id, told to clients."),
    (
        "num.partitions",
        "The partitions of topics that name no number.",
    ),
    (
        "producer.id.expiration.ms",
        "How long the state of a silent producer is kept.",
    ),
    (
        "rustka.fetch.sessions.fair.share",
        "Whether a principal with few fetch sessions displaces one with many when all slots are taken.",
    ),
    (
        "rustka.memory.limit",
        "Bytes of memory in all; 0 chooses a quarter of what the process may use, at least 128 MiB.",
    ),
    (
        "rustka.validate.compressed",
        "Whether compressed batches are inflated to check their records.",
    ),
    (
        "socket.request.max.bytes",
        "The largest request; a larger one closes the connection.",
    ),
];

#[cfg(test)]
mod tests {
    use super::super::table::find_key;
    use super::*;

    #[test]
    fn every_documented_key_exists() {
        for (name, _) in TOPIC {
            assert!(find_key(Scope::Topic, name).is_some(), "{name}");
        }
        for (name, _) in BROKER {
            assert!(find_key(Scope::Broker, name).is_some(), "{name}");
        }
    }
}
