//! How many upload slots are worth having while upload has no limit.
//!
//! A slot that does not raise the whole rate only makes every piece come later: where our line is what is narrow, a few peers
//! that get whole pieces pass them on sooner than fifty that get crumbs (30 leeches of a source of 100 kB/s: done in 1.4 times
//! the bound, and in 2.5 times with a slot for each). Peers that are slow themselves leave the line free for others. Which it is
//! shows in the rate: a few more are tried for some seconds and kept if it grew; now and then a few less, kept if it did not
//! fall.
//! Invariant: never fewer than [`LEAST`]; one try changes the number by a quarter, rounded up.

use shoal_machine::Time;
use std::time::Duration;

/// Slots to begin with (BEP 3: four, and one that is optimistic).
const LEAST: u32 = 5;
/// Slots beyond those who are served at once.
const WAITING: u32 = 4;
/// How long a try with more lasts. Chosen: a new peer's pipeline needs a few round trips to fill.
const TRY_MORE: Duration = Duration::from_secs(5);
/// The same with fewer: those who are too many lose their slots in the next round of choking (10 s), and the rate shows it then.
const TRY_FEWER: Duration = Duration::from_secs(15);
/// After a try that was in vain, until the next. Chosen: tries take a small part of the time.
const REST: Duration = Duration::from_secs(60);
/// Seconds of which the rate is looked at. Chosen: less than a try.
pub(crate) const RATE_SECONDS: u64 = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Slots are to spare, and were since the beginning or the last vain try.
    Idle,
    /// Until then nothing is tried; whether fewer are tried next.
    Rests { until: Time, fewer_next: bool },
    /// Tries another number than `before`, which gave `rate` bytes per second.
    Tries { until: Time, before: u32, rate: u64 },
}

/// Finds the number of slots by what it does to the rate.
#[derive(Debug)]
pub(crate) struct SlotSearch {
    slots: u32,
    state: State,
}

impl SlotSearch {
    pub(crate) fn new() -> SlotSearch {
        SlotSearch { slots: LEAST, state: State::Idle }
    }

    /// Peers that are served at once.
    pub(crate) fn at_once(&self) -> u32 {
        self.slots - WAITING
    }

    pub(crate) fn slots(&self) -> u32 {
        self.slots
    }

    /// Every second. `rate` is that of the last [`RATE_SECONDS`] in bytes per second; `busy` says whether as many peers as
    /// there are slots wait for blocks. Says whether there are more slots than before.
    pub(crate) fn look(&mut self, now: Time, rate: u64, busy: bool) -> bool {
        let had = self.slots;
        let quarter = self.slots.div_ceil(4);
        match self.state {
            // The first seconds say nothing of the rate.
            State::Idle if busy => self.state = State::Rests { until: now + TRY_MORE, fewer_next: false },
            State::Idle => {}
            State::Rests { until, .. } | State::Tries { until, .. } if now < until => {}
            State::Rests { fewer_next: true, .. } if self.slots > LEAST => {
                self.state = State::Tries { until: now + TRY_FEWER, before: self.slots, rate };
                self.slots = (self.slots - quarter).max(LEAST);
            }
            // Who has slots to spare learns nothing from more of them.
            State::Rests { .. } if !busy => self.state = State::Idle,
            State::Rests { .. } => self.try_more(now, rate, quarter),
            State::Tries { before, rate: was, .. } if self.slots > before => {
                // Half of what they bring if each brings the same.
                let gain = was * u64::from(self.slots - before) / (2 * u64::from(before));
                if busy && rate >= was + gain.max(1) {
                    self.try_more(now, rate, quarter);
                } else {
                    self.slots = before;
                    self.state = State::Rests { until: now + REST, fewer_next: true };
                }
            }
            State::Tries { before, rate: was, .. } => {
                let lost = was * u64::from(before - self.slots) / (2 * u64::from(before));
                if rate < was - lost {
                    self.slots = before;
                }
                self.state = State::Rests { until: now + REST, fewer_next: false };
            }
        }
        self.slots > had
    }

    fn try_more(&mut self, now: Time, rate: u64, quarter: u32) {
        self.state = State::Tries { until: now + TRY_MORE, before: self.slots, rate };
        // Far beyond what any host gives.
        self.slots = (self.slots + quarter).min(1 << 16);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The slots in each second, where so many slots give so much.
    fn over(seconds: u64, busy: bool, rate_of: impl Fn(u64, u32) -> u64) -> Vec<u32> {
        let mut search = SlotSearch::new();
        let mut all = Vec::new();
        for second in 0..seconds {
            search.look(Time::from_secs(second), rate_of(second, search.slots()), busy);
            all.push(search.slots());
        }
        all
    }

    #[test]
    fn a_full_line_is_left_to_few_peers_nearly_always() {
        let slots = over(1_000, true, |_, _| 90_000);
        assert!(slots.iter().all(|&slots| slots <= LEAST + 2));
        assert!(slots.iter().filter(|&&slots| slots > LEAST).count() <= 100);
    }

    #[test]
    fn slow_peers_on_a_free_line_get_more_slots_until_it_is_full() {
        let slots = over(60, true, |_, slots| (u64::from(slots) * 8_000).min(400_000));
        assert!(*slots.last().unwrap() >= 45, "{slots:?}");
        assert!(slots.iter().all(|&slots| slots <= 80), "{slots:?}");
    }

    #[test]
    fn slots_are_given_up_when_the_line_becomes_narrow() {
        let rate = |second, slots| if second < 100 { u64::from(slots) * 8_000 } else { 50_000 };
        let slots = over(3_000, true, rate);
        assert!(slots[90] > 100, "{slots:?}");
        assert!(*slots.last().unwrap() <= LEAST + 2, "{slots:?}");
    }

    #[test]
    fn who_has_slots_to_spare_tries_none() {
        assert_eq!(over(500, false, |_, _| 1_000_000), vec![LEAST; 500]);
        assert!(over(500, true, |_, _| 0).into_iter().all(|slots| slots <= LEAST + 2));
        assert!(over(500, true, |second, _| u64::MAX / 64 * (second & 1)).into_iter().max() <= Some(1 << 16));
    }
}
