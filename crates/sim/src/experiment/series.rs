//! How a run went on: a few hundred samples, however long it takes.

use shoal_machine::Time;
use std::time::Duration;

/// Samples kept, at most: twice what a curve of 800 pixels needs. When there are as many, every second one goes.
const MOST: usize = 512;

/// How things stood at one moment.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Sample {
    /// When, in seconds of virtual time.
    pub time_s: f64,
    /// Leeches that have come.
    pub arrived: u32,
    /// Leeches that have everything.
    pub complete: u32,
    /// Leeches that have left.
    pub left: u32,
    /// Bytes that leeches have verified and written.
    pub done_bytes: u64,
    /// Payload bytes that seeds and leeches have sent.
    pub sent_bytes: u64,
    /// Those that the first seeds have sent.
    pub seed_bytes: u64,
    /// Bytes that those who were there could have sent until now; 0 where a line has no limit.
    pub could_send_bytes: u64,
}

/// Samples at equal distances.
#[derive(Clone, PartialEq, Debug)]
pub struct Series {
    samples: Vec<Sample>,
    every: Duration,
    next: Time,
}

impl Series {
    /// For a run that takes about `expected`.
    pub(super) fn new(expected: Duration) -> Series {
        let every = (expected / (MOST as u32 / 2)).max(Duration::from_millis(1));
        Series { samples: Vec::with_capacity(MOST), every, next: Time::ZERO }
    }

    /// When the next sample is due.
    pub(super) fn next(&self) -> Time {
        self.next
    }

    /// Takes the sample that is due, and the run's last one.
    pub(super) fn push(&mut self, now: Time, sample: Sample) {
        if self.samples.len() == MOST {
            let mut place = 0;
            self.samples.retain(|_| {
                place += 1;
                place % 2 == 1
            });
            self.every *= 2;
        }
        self.samples.push(sample);
        while self.next <= now {
            self.next = self.next + self.every;
        }
    }

    /// Counts bytes `scale` times.
    pub(super) fn scale_bytes(&mut self, scale: u64) {
        for sample in &mut self.samples {
            let Sample { done_bytes, sent_bytes, seed_bytes, could_send_bytes, .. } = sample;
            for bytes in [done_bytes, sent_bytes, seed_bytes, could_send_bytes] {
                *bytes *= scale;
            }
        }
    }

    /// All samples, in order.
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// What part of the upload there was is used between each sample and the one before, 0 to 1; `None` where lines have no limit.
    pub fn utilisation(&self) -> impl Iterator<Item = (f64, Option<f64>)> + '_ {
        self.samples.windows(2).map(|pair| {
            let could = pair[1].could_send_bytes.saturating_sub(pair[0].could_send_bytes);
            let sent = pair[1].sent_bytes.saturating_sub(pair[0].sent_bytes);
            let used = (could > 0).then(|| (sent as f64 / could as f64).min(1.0));
            (pair[1].time_s, used)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_has_no_more_samples_than_a_short_one() {
        let mut series = Series::new(Duration::from_secs(1));
        let mut taken = 0;
        for micros in (0..400_000_000).step_by(1_000) {
            let now = Time::from_micros(micros);
            if series.next() <= now {
                let time_s = now.as_secs_f64();
                series.push(
                    now,
                    Sample { time_s, sent_bytes: micros, could_send_bytes: 2 * micros, ..Sample::default() },
                );
                taken += 1;
            }
        }
        assert!(taken < 5_000, "{taken}");
        let samples = series.samples();
        assert!((MOST / 2..=MOST).contains(&samples.len()), "{}", samples.len());
        assert!(samples.is_sorted_by(|a, b| a.time_s < b.time_s) && samples[0].time_s == 0.0);
        assert!(samples[samples.len() - 1].time_s > 390.0);
        assert!(series.utilisation().all(|(_, used)| used.is_some_and(|used| (used - 0.5).abs() < 1e-9)));
    }
}
