//! How much there was lately, as Kafka counts it: in samples of equal length, of which the oldest are forgotten.

use std::collections::VecDeque;

/// How time is cut into samples (`quota.window.num`, `quota.window.size.seconds`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// How many samples are kept.
    pub count: u32,
    /// How long each is, in milliseconds.
    pub size_ms: i64,
}

impl Default for Windows {
    /// Kafka's defaults.
    fn default() -> Self {
        Windows {
            count: 11,
            size_ms: 1_000,
        }
    }
}

impl Windows {
    /// All complete samples together, in seconds: a client may use that much of its quota at once.
    pub fn span_seconds(&self) -> f64 {
        f64::from(self.count.saturating_sub(1)) * self.size_ms as f64 / 1_000.0
    }
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    began_ms: i64,
    last_ms: i64,
    total: f64,
}

/// What one entity has used lately.
#[derive(Clone, Debug, Default)]
pub struct Usage(VecDeque<Sample>);

impl Usage {
    /// Counts an amount, which may be negative: then it was not used after all.
    pub fn record(&mut self, windows: Windows, amount: f64, now_ms: i64) {
        let is_over = |sample: &Sample| now_ms.saturating_sub(sample.began_ms) >= windows.size_ms;
        if self.0.back().is_none_or(is_over) {
            if self.0.len() > windows.count as usize {
                self.0.pop_front();
            }
            self.0.push_back(Sample {
                began_ms: now_ms,
                last_ms: now_ms,
                total: 0.0,
            });
        }
        if let Some(sample) = self.0.back_mut() {
            sample.total += amount;
            sample.last_ms = now_ms;
        }
    }

    /// Whether nothing of it counts any more.
    pub fn is_over(&self, windows: Windows, now_ms: i64) -> bool {
        let last = self.0.back();
        last.is_none_or(|sample| is_obsolete(sample, windows, now_ms))
    }

    /// When it was used last; before everything if never.
    pub fn last_ms(&self) -> i64 {
        self.0.back().map_or(i64::MIN, |sample| sample.last_ms)
    }

    /// For how many milliseconds nothing more may be used so that it is no more than `quota` a second: 0 if it is not.
    pub fn wait_ms(&mut self, windows: Windows, quota: f64, now_ms: i64) -> f64 {
        self.0
            .retain(|sample| !is_obsolete(sample, windows, now_ms));
        let total: f64 = self.0.iter().map(|sample| sample.total).sum();
        let span_ms = self.span_ms(windows, now_ms);
        let rate = total / (span_ms / 1_000.0);
        match rate > quota {
            true => ((rate - quota) / quota * span_ms).round(),
            false => 0.0,
        }
    }

    /// The time that the samples stand for: never less than that of all complete ones, so that a short burst after
    /// silence is no high rate.
    fn span_ms(&self, windows: Windows, now_ms: i64) -> f64 {
        let began_ms = self.0.front().map_or(now_ms, |sample| sample.began_ms);
        let elapsed_ms = now_ms.saturating_sub(began_ms).max(0);
        let complete = elapsed_ms / windows.size_ms;
        let missing = (i64::from(windows.count) - 1 - complete).max(0);
        let span_ms = elapsed_ms.saturating_add(missing.saturating_mul(windows.size_ms));
        span_ms.max(1) as f64
    }
}

fn is_obsolete(sample: &Sample, windows: Windows, now_ms: i64) -> bool {
    let kept_ms = i64::from(windows.count).saturating_mul(windows.size_ms);
    now_ms.saturating_sub(sample.last_ms) >= kept_ms
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(usage: &mut Usage, quota: f64, now_ms: i64) -> f64 {
        usage.wait_ms(Windows::default(), quota, now_ms)
    }

    fn used(amounts: &[(i64, f64)]) -> Usage {
        let mut usage = Usage::default();
        for (now_ms, amount) in amounts {
            usage.record(Windows::default(), *amount, *now_ms);
        }
        usage
    }

    #[test]
    fn a_burst_waits_for_what_it_is_over_ten_seconds_of_the_quota() {
        // As measured with Kafka: 150,108 bytes at 10,000 a second, and 900,108.
        assert_eq!(wait(&mut used(&[(7, 150_108.0)]), 10_000.0, 7), 5_011.0);
        assert_eq!(wait(&mut used(&[(7, 900_108.0)]), 10_000.0, 7), 80_011.0);
        assert_eq!(wait(&mut used(&[(7, 100_000.0)]), 10_000.0, 7), 0.0);
    }

    #[test]
    fn the_running_second_counts_too() {
        let mut usage = used(&[(0, 150_000.0), (400, 0.0)]);
        assert_eq!(wait(&mut usage, 10_000.0, 400), 4_600.0);
        assert_eq!(wait(&mut usage, 10_000.0, 5_000), 5_000.0, "of ten seconds");
        assert_eq!(wait(&mut usage, 10_000.0, 11_399), 3_601.0);
        assert_eq!(wait(&mut usage, 10_000.0, 11_400), 0.0);
    }

    #[test]
    fn what_is_old_is_forgotten_and_what_is_taken_back_was_never_there() {
        let mut usage = used(&[(0, 900_000.0)]);
        assert!(wait(&mut usage, 10_000.0, 10_999) > 0.0);
        assert_eq!(wait(&mut usage, 10_000.0, 11_000), 0.0);
        assert!(usage.is_over(Windows::default(), 11_000));
        let mut usage = used(&[(0, 900_000.0), (5, -900_000.0)]);
        assert_eq!(wait(&mut usage, 10_000.0, 5), 0.0);
    }

    #[test]
    fn a_steady_client_at_its_quota_never_waits() {
        let mut usage = Usage::default();
        for tenth in 0..1_000 {
            let now_ms = tenth * 100;
            usage.record(Windows::default(), 1_000.0, now_ms);
            let waited = wait(&mut usage, 10_000.0, now_ms);
            assert!(waited <= 100.0, "{waited} at {now_ms}");
            assert!(usage.0.len() <= 12);
        }
    }
}
