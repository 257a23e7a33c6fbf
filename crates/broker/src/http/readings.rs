//! What all topics hold, read from live state at most once a second for all who look, and not at all while nobody does.
//! Two readings in a row make rates.

use crate::node::Node;
use rustka_core::sync::lock;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// A reading younger than this serves the next one who asks.
const FRESH_US: u64 = 900_000;
/// Of two readings further apart than this no rates are made: nobody was looking in between.
const APART_US: u64 = 10_000_000;

/// The last readings.
#[derive(Default)]
pub struct Readings(Mutex<Option<Arc<Reading>>>);

/// All topics at one moment.
pub struct Reading {
    at_us: u64,
    /// The catalog's version at that moment.
    version: u64,
    /// By name.
    pub topics: BTreeMap<Arc<str>, TopicReading>,
}

/// What one topic holds.
#[derive(Clone, Debug, Default)]
pub struct TopicReading {
    /// Its partitions.
    pub partitions: usize,
    /// Whether it is one of the broker's own.
    pub is_internal: bool,
    /// Offsets from the start to the end of all partitions.
    pub records: i64,
    /// Offsets that were given out.
    pub written: i64,
    /// Bytes held.
    pub bytes: u64,
    /// Bytes that came since the start.
    pub appended_bytes: u64,
    /// When the oldest record came, in milliseconds since the Unix epoch.
    pub oldest_ms: Option<i64>,
    /// Records and bytes a second; none until there were two readings.
    pub rates: Option<(f64, f64)>,
}

impl Readings {
    /// What the topics hold, as it was at most a second ago.
    pub fn topics(&self, node: &Node) -> Arc<Reading> {
        let now_us = node.clock.monotonic_us();
        let before = lock(&self.0).clone();
        if let Some(before) = &before
            && now_us.saturating_sub(before.at_us) < FRESH_US
            // A topic that has just been made or deleted is shown so.
            && before.version == node.topics.read().version()
        {
            return before.clone();
        }
        let reading = Arc::new(Reading::take(node, now_us, before.as_deref()));
        *lock(&self.0) = Some(reading.clone());
        reading
    }
}

impl Reading {
    fn take(node: &Node, at_us: u64, before: Option<&Reading>) -> Reading {
        let version = node.topics.read().version();
        let mut topics = BTreeMap::new();
        for topic in node.topics.all() {
            let mut reading = TopicReading {
                partitions: topic.partitions.len(),
                is_internal: topic.internal,
                ..TopicReading::default()
            };
            for partition in &topic.partitions {
                let glance = partition.glance();
                let offsets = glance.offsets;
                reading.records += offsets.log_end - offsets.log_start;
                reading.written += offsets.log_end;
                reading.bytes += glance.bytes;
                reading.appended_bytes += glance.appended_bytes;
                let oldest = glance.oldest_ms.into_iter().chain(reading.oldest_ms).min();
                reading.oldest_ms = oldest;
            }
            let before = before.and_then(|before| {
                let apart_us = at_us.saturating_sub(before.at_us);
                let known = before.topics.get(&topic.name)?;
                (apart_us <= APART_US).then_some((known, apart_us as f64 / 1e6))
            });
            reading.rates = before.map(|(known, seconds)| {
                let records = (reading.written - known.written).max(0) as f64;
                let bytes = reading.appended_bytes.saturating_sub(known.appended_bytes) as f64;
                (records / seconds, bytes / seconds)
            });
            topics.insert(topic.name.clone(), reading);
        }
        Reading {
            at_us,
            version,
            topics,
        }
    }
}
