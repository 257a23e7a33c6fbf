//! What the broker did and held, second by second and in steps of ten seconds, for the charts of its page. Kept whether
//! anybody looks or not, in less than a mebibyte.

use crate::node::{Node, State, reached};
use rustka_core::sync::lock;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};

/// What its supervisor calls the task that looks once a second.
pub const TASK: &str = "the history of the page";
/// Between two looks.
const STEP_MS: i64 = 1_000;
/// Looks that are kept: 15 minutes.
const FINE_POINTS: usize = 900;
/// Looks that make one point of the long history, and how many of those are kept: 6 hours.
const COARSE_STEPS: usize = 10;
const COARSE_POINTS: usize = 2_160;

/// Counters, told by the second.
const RATES: [&str; 6] = [
    "requests",
    "recordsIn",
    "bytesIn",
    "bytesOut",
    "connectionsAccepted",
    "chunksEvicted",
];
/// What is told as it is.
const LEVELS: [&str; 2] = ["connections", "memory"];
const SERIES: usize = RATES.len() + LEVELS.len();

/// One moment: milliseconds since the Unix epoch, and the value of every series.
type Point = (i64, [f32; SERIES]);

/// The history of one broker.
#[derive(Default)]
pub struct History(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    fine: VecDeque<Point>,
    coarse: VecDeque<Point>,
    /// Points that are not part of the long history yet.
    gathered: Vec<Point>,
    before: Option<(u64, [u64; RATES.len()])>,
}

impl History {
    /// Looks at the broker.
    pub fn look(&self, node: &Node) {
        let counters = counters(node);
        let levels = [
            node.metrics.connections_open.load(Relaxed).max(0) as f32,
            node.memory.pool.bytes_in_use() as f32,
        ];
        let now_us = node.clock.monotonic_us();
        let wall_ms = node.clock.now().wall_ms;
        let mut kept = lock(&self.0);
        let Some((before_us, before)) = kept.before.replace((now_us, counters)) else {
            return;
        };
        let seconds = now_us.saturating_sub(before_us).max(1) as f64 / 1e6;
        let mut values = [0.0; SERIES];
        for (value, (now, before)) in values.iter_mut().zip(counters.iter().zip(&before)) {
            *value = (now.saturating_sub(*before) as f64 / seconds) as f32;
        }
        values[RATES.len()..].copy_from_slice(&levels);
        kept.add((wall_ms, values));
    }

    /// The fine or the long history as JSON.
    pub fn shown(&self, is_long: bool) -> Value {
        let kept = lock(&self.0);
        let points = match is_long {
            true => &kept.coarse,
            false => &kept.fine,
        };
        let names = RATES.iter().chain(&LEVELS).enumerate();
        let series = names.map(|(at, name)| {
            let values = points.iter().map(|(_, values)| values[at]);
            ((*name).to_owned(), values.collect::<Vec<_>>().into())
        });
        let step_ms = STEP_MS * if is_long { COARSE_STEPS as i64 } else { 1 };
        json!({
            "stepMs": step_ms,
            "times": points.iter().map(|(ms, _)| *ms).collect::<Vec<_>>(),
            "series": series.collect::<serde_json::Map<_, _>>(),
        })
    }
}

impl Kept {
    fn add(&mut self, point: Point) {
        push(&mut self.fine, point, FINE_POINTS);
        self.gathered.push(point);
        if self.gathered.len() < COARSE_STEPS {
            return;
        }
        let mut mean = point;
        for (at, value) in mean.1.iter_mut().enumerate() {
            let sum: f32 = self.gathered.iter().map(|(_, values)| values[at]).sum();
            *value = sum / COARSE_STEPS as f32;
        }
        self.gathered.clear();
        push(&mut self.coarse, mean, COARSE_POINTS);
    }
}

fn push(points: &mut VecDeque<Point>, point: Point, max: usize) {
    if points.len() == max {
        points.pop_front();
    }
    points.push_back(point);
}

fn counters(node: &Node) -> [u64; RATES.len()] {
    let metrics = &node.metrics;
    [
        metrics.all_requests().map(|(_, count)| count).sum(),
        metrics.records_in.load(Relaxed),
        metrics.bytes_in.load(Relaxed),
        metrics.bytes_out.load(Relaxed),
        metrics.connections_accepted.load(Relaxed),
        node.memory.evicted.load(Relaxed),
    ]
}

/// Looks once a second until the broker stops.
pub async fn run(node: Arc<Node>, history: Arc<History>) {
    let mut state = node.state.subscribe();
    loop {
        history.look(&node);
        let next_ms = node.clock.monotonic_ms() + STEP_MS;
        tokio::select! {
            biased;
            () = reached(&mut state, |state| state >= State::Stopping) => return,
            () = node.clock.sleep_until(next_ms) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_points_become_one_and_the_oldest_go() {
        let mut kept = Kept::default();
        for at in 0..1_000 {
            kept.add((at, [at as f32; SERIES]));
        }
        assert_eq!(kept.fine.len(), FINE_POINTS);
        assert_eq!(kept.fine.front().map(|point| point.0), Some(100));
        assert_eq!(kept.coarse.len(), 100);
        assert_eq!(kept.coarse.front(), Some(&(9, [4.5; SERIES])));
        let bytes = (FINE_POINTS + COARSE_POINTS) * size_of::<Point>();
        assert!(bytes < 1 << 20, "{bytes}");
    }
}
