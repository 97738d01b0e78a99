//! A rate over the last seconds, from a count that only grows.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Chosen: short enough to follow a change, long enough not to flicker.
const WINDOW: Duration = Duration::from_secs(3);
/// Readings closer together than this are merged; bounds the queue.
const STEP: Duration = Duration::from_millis(100);

/// Measures.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    readings: VecDeque<(Instant, u64)>,
}

impl Meter {
    /// Takes a reading; bytes per second over the window.
    pub(crate) fn read(&mut self, now: Instant, count: u64) -> u64 {
        while self.readings.len() > 1 && self.readings.front().is_some_and(|(at, _)| now.duration_since(*at) > WINDOW) {
            self.readings.pop_front();
        }
        if self.readings.back().is_none_or(|(at, _)| now.duration_since(*at) >= STEP) {
            self.readings.push_back((now, count));
        }
        let Some(&(since, before)) = self.readings.front() else { return 0 };
        let millis = now.duration_since(since).as_millis();
        // A rate from less than a step would be noise.
        if millis < STEP.as_millis() {
            return 0;
        }
        u64::try_from(u128::from(count.saturating_sub(before)) * 1000 / millis).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_count_gives_its_rate_and_a_stop_is_seen_within_the_window() {
        let start = Instant::now();
        let mut meter = Meter::default();
        let mut rate = 0;
        for tick in 0..100_u64 {
            rate = meter.read(start + Duration::from_millis(tick * 100), tick * 1000);
        }
        assert_eq!(rate, 10_000);
        for tick in 100..135_u64 {
            rate = meter.read(start + Duration::from_millis(tick * 100), 99_000);
        }
        assert_eq!(rate, 0);
        assert!(meter.readings.len() < 40);
    }
}
