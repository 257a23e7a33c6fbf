//! Values over time, the oldest of which go: what charts are drawn from.

use serde_json::{Map, Value, json};
use std::collections::VecDeque;

/// One moment: milliseconds since the Unix epoch, and the value of every series.
pub type Point<const SERIES: usize> = (i64, [f32; SERIES]);

/// Points in the order in which they came, numbered from 0 on.
pub struct Line<const SERIES: usize> {
    points: VecDeque<Point<SERIES>>,
    points_max: usize,
    /// Points that went, which is the number of the first that is left.
    gone: u64,
}

impl<const SERIES: usize> Line<SERIES> {
    /// A line that keeps so many points.
    pub fn new(points_max: usize) -> Self {
        Line {
            points: VecDeque::new(),
            points_max,
            gone: 0,
        }
    }

    /// Adds a point; the oldest makes room for it.
    pub fn push(&mut self, point: Point<SERIES>) {
        if self.points.len() >= self.points_max {
            self.points.pop_front();
            self.gone += 1;
        }
        self.points.push_back(point);
    }

    /// As JSON: the points that are numbered `since` or more, and the number of the next one.
    pub fn shown<'a>(
        &self,
        names: impl Iterator<Item = &'a &'static str>,
        step_ms: i64,
        since: Option<u64>,
    ) -> Value {
        let skipped = since.unwrap_or(0).saturating_sub(self.gone);
        let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
        let points = || self.points.iter().skip(skipped);
        let series = names.enumerate().map(|(at, name)| {
            let values = points().map(|(_, values)| values[at]);
            ((*name).to_owned(), values.collect::<Vec<_>>().into())
        });
        let series: Map<String, Value> = series.collect();
        let next = self.gone + self.points.len() as u64;
        json!({
            "stepMs": step_ms,
            "pointsMax": self.points_max,
            "since": since.map(|since| since.to_string()),
            "next": next.to_string(),
            "times": points().map(|(ms, _)| *ms).collect::<Vec<_>>(),
            "series": series,
        })
    }
}

/// What counters grew by in a second, where they were read twice with so many microseconds between.
pub fn rates<const N: usize>(now: &[u64; N], before: &[u64; N], apart_us: u64) -> [f32; N] {
    let seconds = apart_us.max(1) as f64 / 1e6;
    std::array::from_fn(|at| (now[at].saturating_sub(before[at]) as f64 / seconds) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_knows_the_points_before_gets_those_that_came_since() {
        let mut line = Line::<1>::new(3);
        for at in 0..5 {
            line.push((at, [at as f32]));
        }
        let times = |since| line.shown(["a"].iter(), 1, since)["times"].clone();
        assert_eq!(times(None), json!([2, 3, 4]));
        assert_eq!(times(Some(0)), json!([2, 3, 4]));
        assert_eq!(times(Some(4)), json!([4]));
        assert_eq!(times(Some(5)), json!([]));
        assert_eq!(times(Some(u64::MAX)), json!([]));
        assert_eq!(line.shown(["a"].iter(), 1, Some(4))["next"], "5");
    }

    #[test]
    fn a_counter_that_fell_grew_by_nothing() {
        assert_eq!(rates(&[30, 1], &[10, 5], 2_000_000), [10.0, 0.0]);
    }
}
