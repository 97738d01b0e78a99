//! How many bytes a second, lately.
//!
//! A ring of one-second buckets: exact over its window, with no decay to explain, and the same for every driver. It
//! answers both questions that a swarm asks: the rate of the last seconds (how deep a pipeline) and over a choke's
//! twenty seconds (who gives most, BEP 3).

use shoal_machine::Time;

/// Seconds that are kept: BEP 3 measures reciprocation over a rolling 20-second average.
const BUCKETS: usize = 20;
const BUCKET_US: u64 = 1_000_000;

/// Bytes counted by the second, and in all.
#[derive(Debug, Clone)]
pub(crate) struct Rate {
    buckets: [u32; BUCKETS],
    /// The second that the newest bucket counts.
    second: u64,
    /// When counting began.
    since: Time,
    total: u64,
}

impl Rate {
    pub(crate) fn new(now: Time) -> Rate {
        Rate { buckets: [0; BUCKETS], second: now.as_micros() / BUCKET_US, since: now, total: 0 }
    }

    pub(crate) fn add(&mut self, now: Time, bytes: u64) {
        self.turn(now);
        let bucket = &mut self.buckets[(self.second % BUCKETS as u64) as usize];
        *bucket = bucket.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        self.total = self.total.saturating_add(bytes);
    }

    /// All bytes since the beginning.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// Bytes a second over the last `seconds` whole seconds and the running one; over less if counting began later.
    pub(crate) fn over(&self, now: Time, seconds: u64) -> u64 {
        let seconds = seconds.clamp(1, BUCKETS as u64 - 1);
        let current = now.as_micros() / BUCKET_US;
        let mut sum = 0_u64;
        for back in 0..=seconds {
            let Some(second) = current.checked_sub(back) else { break };
            if second <= self.second && self.second - second < BUCKETS as u64 {
                sum += u64::from(self.buckets[(second % BUCKETS as u64) as usize]);
            }
        }
        let window = seconds * BUCKET_US + now.as_micros() % BUCKET_US;
        // A tenth of a second at least: the first block of a connection is no rate.
        let window = window.min(now.since(self.since).as_micros() as u64).max(BUCKET_US / 10);
        // At most 2^32 a bucket: no overflow.
        sum * BUCKET_US / window
    }

    fn turn(&mut self, now: Time) {
        let current = now.as_micros() / BUCKET_US;
        let passed = current.saturating_sub(self.second).min(BUCKETS as u64);
        for step in 1..=passed {
            self.buckets[((current - passed + step) % BUCKETS as u64) as usize] = 0;
        }
        self.second = self.second.max(current);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_stream_has_its_rate_and_an_old_one_none() {
        let mut rate = Rate::new(Time::ZERO);
        for tick in 0..100 {
            rate.add(Time::from_millis(tick * 100), 1_000);
        }
        let at = Time::from_secs(10);
        assert!((9_500..=10_500).contains(&rate.over(at, 5)), "{}", rate.over(at, 5));
        assert_eq!(rate.over(Time::from_secs(40), 5), 0);
        assert_eq!(rate.total(), 100_000);
        rate.add(Time::from_secs(100), 5_000);
        assert!(rate.over(Time::from_secs(101), 5) <= 1_000);
    }

    #[test]
    fn a_young_stream_is_measured_over_its_age() {
        let mut rate = Rate::new(Time::from_millis(1_500));
        rate.add(Time::from_millis(1_600), 1_000);
        assert_eq!(rate.over(Time::from_millis(2_000), 5), 2_000);
    }
}
