//! What the broker did and held, second by second and in steps of ten seconds, for the charts of its page. Kept whether
//! anybody looks or not, in less than a mebibyte.

use super::Http;
use super::line::{Line, Point, rates};
use crate::node::{Node, State, reached};
use rustka_core::sync::lock;
use serde_json::Value;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};

/// What the supervisor calls the task that looks once a second.
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

/// The history of one broker.
pub struct History(Mutex<Kept>);

impl Default for History {
    fn default() -> History {
        History(Mutex::new(Kept {
            fine: Line::new(FINE_POINTS),
            coarse: Line::new(COARSE_POINTS),
            gathered: Vec::new(),
            before: None,
        }))
    }
}

struct Kept {
    fine: Line<SERIES>,
    coarse: Line<SERIES>,
    /// Points that are not part of the long history yet.
    gathered: Vec<Point<SERIES>>,
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
        let mut values = [0.0; SERIES];
        values[..RATES.len()].copy_from_slice(&rates(&counters, &before, now_us - before_us));
        values[RATES.len()..].copy_from_slice(&levels);
        kept.add((wall_ms, values));
    }

    /// The fine or the long history as JSON, whole or from a point on.
    pub fn shown(&self, is_long: bool, since: Option<u64>) -> Value {
        let kept = lock(&self.0);
        let names = RATES.iter().chain(&LEVELS);
        match is_long {
            true => kept
                .coarse
                .shown(names, STEP_MS * COARSE_STEPS as i64, since),
            false => kept.fine.shown(names, STEP_MS, since),
        }
    }
}

impl Kept {
    fn add(&mut self, point: Point<SERIES>) {
        self.fine.push(point);
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
        self.coarse.push(mean);
    }
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

/// Looks once a second until the broker stops, also at the topics and groups that somebody has in view.
pub async fn run(http: Arc<Http>) {
    let node = http.node();
    let mut state = node.state.subscribe();
    loop {
        let next_ms = node.clock.monotonic_ms() + STEP_MS;
        http.history.look(node);
        // Of what is not open yet nothing is known.
        if http.node().opener.left() == 0 {
            http.tracks.look(&http.parts).await;
        }
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
        let history = History::default();
        let mut kept = lock(&history.0);
        for at in 0..1_000 {
            kept.add((at, [at as f32; SERIES]));
        }
        let fine = kept.fine.shown(["a"; SERIES].iter(), 1, None);
        assert_eq!(fine["times"].as_array().map(Vec::len), Some(FINE_POINTS));
        assert_eq!(fine["times"][0], 100);
        let coarse = kept.coarse.shown(["a"; SERIES].iter(), 10, None);
        assert_eq!(coarse["times"].as_array().map(Vec::len), Some(100));
        assert_eq!(
            (&coarse["times"][0], &coarse["series"]["a"][0]),
            (&9.into(), &4.5.into())
        );
        let bytes = (FINE_POINTS + COARSE_POINTS) * size_of::<Point<SERIES>>();
        assert!(bytes < 1 << 20, "{bytes}");
    }
}
