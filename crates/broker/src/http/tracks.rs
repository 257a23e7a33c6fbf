//! What single topics and groups do, second by second, from when somebody looks at one until a while after nobody does.

use super::line::{Line, rates};
use super::metrics::look_at_group;
use crate::api::parts::Parts;
use rustka_core::sync::lock;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// Topics and groups that are looked at; of one more the one goes that nobody has asked for longest.
const SUBJECTS_MAX: usize = 16;
/// Nobody looks any more when nobody has asked for this long.
const ASKED_MS: i64 = 60_000;
/// Points that are kept of each: 15 minutes, which is 24 KiB.
const POINTS_MAX: usize = 900;
/// Between two points.
const STEP_MS: i64 = 1_000;

/// Counters, told by the second, and then what is told as it is.
const OF_TOPIC: [&str; SERIES] = ["recordsIn", "bytesIn", "records", "bytes"];
const OF_GROUP: [&str; SERIES] = ["committed", "written", "lag", "members"];
const SERIES: usize = 4;

/// A topic or a group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// The topic of this name.
    Topic(Arc<str>),
    /// The group of this id.
    Group(Arc<str>),
}

/// The topics and groups that somebody looks at.
#[derive(Default)]
pub struct Tracks(Mutex<BTreeMap<Subject, Track>>);

struct Track {
    asked_ms: i64,
    before: Option<Look>,
    line: Line<SERIES>,
}

/// One moment of a subject.
struct Look {
    at_us: u64,
    counters: [u64; 2],
    levels: [f32; 2],
    /// What the counters are of: of other partitions they say nothing together with those before.
    partitions: usize,
}

impl Tracks {
    /// What is known of a subject, whole or from a point on. To ask has it looked at.
    pub fn shown(&self, subject: Subject, now_ms: i64, since: Option<u64>) -> Value {
        let names = match subject {
            Subject::Topic(_) => &OF_TOPIC,
            Subject::Group(_) => &OF_GROUP,
        };
        let mut tracks = lock(&self.0);
        if tracks.len() >= SUBJECTS_MAX && !tracks.contains_key(&subject) {
            let oldest = tracks.iter().min_by_key(|(_, track)| track.asked_ms);
            if let Some(oldest) = oldest.map(|(subject, _)| subject.clone()) {
                tracks.remove(&oldest);
            }
        }
        let track = tracks.entry(subject).or_insert_with(|| Track {
            asked_ms: now_ms,
            before: None,
            line: Line::new(POINTS_MAX),
        });
        track.asked_ms = now_ms;
        track.line.shown(names.iter(), STEP_MS, since)
    }

    /// Looks at all of them; costs nothing while there are none.
    pub async fn look(&self, parts: &Arc<Parts>) {
        let now_ms = parts.node.clock.monotonic_ms();
        let subjects: Vec<Subject> = {
            let mut tracks = lock(&self.0);
            tracks.retain(|_, track| now_ms.saturating_sub(track.asked_ms) <= ASKED_MS);
            tracks.keys().cloned().collect()
        };
        for subject in subjects {
            let look = match &subject {
                Subject::Topic(name) => of_topic(parts, name),
                Subject::Group(id) => of_group(parts, id).await,
            };
            let wall_ms = parts.node.clock.now().wall_ms;
            if let Some(track) = lock(&self.0).get_mut(&subject) {
                track.add(wall_ms, look);
            }
        }
    }
}

impl Track {
    fn add(&mut self, wall_ms: i64, look: Look) {
        let Some(before) = &self.before else {
            self.before = Some(look);
            return;
        };
        let apart_us = look.at_us.saturating_sub(before.at_us);
        let [one, other] = match look.partitions == before.partitions {
            true => rates(&look.counters, &before.counters, apart_us),
            false => [0.0; 2],
        };
        let [level, other_level] = look.levels;
        self.line.push((wall_ms, [one, other, level, other_level]));
        self.before = Some(look);
    }
}

/// A topic that is gone holds nothing.
fn of_topic(parts: &Parts, name: &str) -> Look {
    let mut look = Look::at(parts);
    let Some(topic) = parts.node.topics.by_name(name) else {
        return look;
    };
    look.partitions = topic.partitions.len();
    for partition in &topic.partitions {
        let glance = partition.glance();
        let offsets = glance.offsets;
        look.counters[0] += offsets.log_end.unsigned_abs();
        look.counters[1] += glance.appended_bytes;
        look.levels[0] += (offsets.log_end - offsets.log_start) as f32;
        look.levels[1] += glance.bytes as f32;
    }
    look
}

/// A group that is gone has read nothing.
async fn of_group(parts: &Arc<Parts>, id: &Arc<str>) -> Look {
    let mut look = Look::at(parts);
    let end = |topic: &str, index: i32| {
        let partition = parts.node.partition(topic, index)?;
        Some(partition.offsets().high_watermark)
    };
    let seen = look_at_group(parts, id, end).await;
    look.partitions = seen.offsets.len();
    for (_, _, offset, lag) in &seen.offsets {
        look.counters[0] += offset.unsigned_abs();
        look.counters[1] += offset.saturating_add(*lag).unsigned_abs();
        look.levels[0] += *lag as f32;
    }
    look.levels[1] = seen.members as f32;
    look
}

impl Look {
    fn at(parts: &Parts) -> Look {
        Look {
            at_us: parts.node.clock.monotonic_us(),
            counters: [0; 2],
            levels: [0.0; 2],
            partitions: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_too_many_the_one_goes_that_nobody_has_asked_for_longest() {
        let tracks = Tracks::default();
        let topic = |at: usize| Subject::Topic(format!("t{at}").into());
        for at in 0..SUBJECTS_MAX {
            tracks.shown(topic(at), at as i64, None);
        }
        tracks.shown(topic(0), 100, None);
        tracks.shown(topic(99), 101, None);
        let kept = lock(&tracks.0);
        assert_eq!(kept.len(), SUBJECTS_MAX);
        assert!(kept.contains_key(&topic(0)) && !kept.contains_key(&topic(1)));
    }

    #[test]
    fn partitions_that_come_are_no_records_that_come() {
        let mut track = Track {
            asked_ms: 0,
            before: None,
            line: Line::new(POINTS_MAX),
        };
        let look = |seconds: u64, committed, partitions| Look {
            at_us: seconds * 1_000_000,
            counters: [committed, committed],
            levels: [0.0; 2],
            partitions,
        };
        track.add(0, look(1, 100, 1));
        track.add(1, look(2, 150, 1));
        track.add(2, look(3, 1_000_150, 2));
        track.add(3, look(4, 1_000_160, 2));
        let told = track.line.shown(OF_GROUP.iter(), STEP_MS, None);
        assert_eq!(
            told["series"]["committed"],
            serde_json::json!([50.0, 0.0, 10.0])
        );
    }
}
