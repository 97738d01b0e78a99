//! How eagerly one who lacks nothing looks for others.
//!
//! A leech dials as fast as it may: whoever answers may have what it lacks. One who has everything only offers, and where most
//! have everything too, as when many finish together, nearly all whom it dials need nothing, and both hang up: of a thousand
//! simulated leeches that fetched 1 MiB each made 86 such connections in its last second. So the more dials in a row were in
//! vain, the fewer are under way at once, and when that is one, the longer it is to the next.
//! Invariant: one dial may be under way at least, and none waits for longer than [`LONGEST`] after the one before.

use shoal_machine::Time;
use std::time::Duration;

/// Dials in vain after which one is under way at once: the number is halved by each.
const CALM: u32 = 5;
/// From one dial to the next, after one more in vain; each further one doubles it. Chosen: some round trips.
const FIRST: Duration = Duration::from_millis(250);
/// It is doubled so often at most.
const DOUBLINGS: u32 = 5;
/// The longest. Chosen: a book of some hundred addresses is still gone through within an hour.
const LONGEST: Duration = Duration::from_secs(8);

/// When one who has everything may dial.
#[derive(Debug)]
pub(crate) struct Pace {
    /// Dials in vain, less what useful ones made up for.
    in_vain: u32,
    not_before: Time,
}

impl Pace {
    /// One who begins with everything dials as a leech does.
    pub(crate) fn new() -> Pace {
        Pace { in_vain: 0, not_before: Time::ZERO }
    }

    /// We have everything now: who helped us to it is connected, and others of them finish about now too.
    pub(crate) fn completed(&mut self) {
        *self = Pace { in_vain: CALM + 1, not_before: Time::ZERO };
    }

    /// A dial goes out.
    pub(crate) fn dialed(&mut self, now: Time) {
        self.not_before = now + self.wait();
    }

    /// Whom we dialed needed nothing, or did not stay to say so.
    pub(crate) fn in_vain(&mut self, now: Time) {
        self.in_vain = (self.in_vain + 1).min(CALM + 1 + DOUBLINGS);
        self.not_before = now + self.wait();
    }

    /// Whom we dialed wants something.
    pub(crate) fn useful(&mut self) {
        *self = Pace { in_vain: self.in_vain / 2, not_before: Time::ZERO };
    }

    fn wait(&self) -> Duration {
        match self.in_vain.checked_sub(CALM + 1) {
            Some(doublings) => (FIRST * (1 << doublings)).min(LONGEST),
            None => Duration::ZERO,
        }
    }

    /// How many dials may be under way, of so many at most.
    pub(crate) fn at_once(&self, most: usize) -> usize {
        (most >> self.in_vain.min(CALM)).max(1)
    }

    /// No dial goes out before.
    pub(crate) fn not_before(&self) -> Time {
        self.not_before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dials_in_vain_grow_rare_and_a_useful_one_makes_up_for_half() {
        let now = Time::from_secs(7);
        let mut pace = Pace::new();
        let mut at_once = Vec::new();
        for _ in 0..CALM {
            at_once.push(pace.at_once(30));
            pace.in_vain(now);
        }
        assert_eq!((at_once, pace.at_once(30), pace.not_before()), (vec![30, 15, 7, 3, 1], 1, now));
        let waits: Vec<u64> = (0..8)
            .map(|_| {
                pace.in_vain(now);
                pace.not_before().since(now).as_millis() as u64
            })
            .collect();
        assert_eq!(waits, [250, 500, 1_000, 2_000, 4_000, 8_000, 8_000, 8_000]);
        let later = Time::from_secs(20);
        pace.dialed(later);
        assert_eq!(pace.not_before(), later + LONGEST, "how it ends is not waited for");
        pace.useful();
        assert_eq!((pace.at_once(30), pace.not_before()), (1, Time::ZERO));
        pace.useful();
        assert_eq!(pace.at_once(30), 7);
        pace.completed();
        pace.dialed(now);
        assert_eq!((pace.at_once(30), pace.not_before()), (1, now + FIRST));
    }
}
