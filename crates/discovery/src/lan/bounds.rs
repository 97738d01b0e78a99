//! How much local service discovery hears and says, whatever others do (BEP 14, "multicast storms"; reliability.md C6).

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;
use tokio::time::Instant;

/// Datagrams a second that are read: of one address, and in all. Chosen: a client with a thousand torrents says so in a
/// few a second.
const PER_SENDER: u32 = 10;
const IN_ALL: u32 = 100;
/// Between two announces of one torrent that somebody else's announce brings about (BEP 14: "no more than 1 per minute").
const ANSWER_AGAIN: Duration = Duration::from_secs(60);
/// Torrents that wait to be announced, and that are remembered as announced, at most. Chosen: 8,192 leave within six minutes.
const MAX_TORRENTS: usize = 8_192;

/// What may be read.
#[derive(Debug)]
pub(super) struct Hearing {
    since: Instant,
    all: u32,
    /// At most [`IN_ALL`].
    of: BTreeMap<IpAddr, u32>,
}

impl Hearing {
    pub(super) fn new(now: Instant) -> Hearing {
        Hearing { since: now, all: 0, of: BTreeMap::new() }
    }

    /// Whether another datagram of this sender is read.
    pub(super) fn takes(&mut self, now: Instant, sender: IpAddr) -> bool {
        if now.duration_since(self.since) >= Duration::from_secs(1) {
            *self = Hearing::new(now);
        }
        if self.all >= IN_ALL {
            return false;
        }
        let count = self.of.entry(sender).or_default();
        let takes = *count < PER_SENDER;
        *count += u32::from(takes);
        self.all += u32::from(takes);
        takes
    }
}

/// What is to be said.
#[derive(Debug, Default)]
pub(super) struct Saying {
    /// Torrents that are announced, and when that was done last.
    announced: BTreeMap<[u8; 20], Option<Instant>>,
    /// Those that are due, each once.
    due: VecDeque<[u8; 20]>,
}

impl Saying {
    /// Announce it now, and in answer to others from now on.
    pub(super) fn announce(&mut self, hash: [u8; 20]) {
        if self.announced.len() < MAX_TORRENTS || self.announced.contains_key(&hash) {
            self.announced.entry(hash).or_default();
            self.make_due(hash);
        }
    }

    /// Say nothing of it any more.
    pub(super) fn withdraw(&mut self, hash: [u8; 20]) {
        self.announced.remove(&hash);
        self.due.retain(|due| *due != hash);
    }

    /// Somebody else takes part in it: he shall know of us.
    pub(super) fn heard(&mut self, now: Instant, hash: [u8; 20]) {
        if let Some(last) = self.announced.get(&hash)
            && last.is_none_or(|last| now.duration_since(last) >= ANSWER_AGAIN)
        {
            self.make_due(hash);
        }
    }

    fn make_due(&mut self, hash: [u8; 20]) {
        if !self.due.contains(&hash) {
            self.due.push_back(hash);
        }
    }

    pub(super) fn is_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// Takes what one datagram holds.
    pub(super) fn take(&mut self, now: Instant, most: usize) -> Vec<[u8; 20]> {
        let taken: Vec<[u8; 20]> = self.due.drain(..most.min(self.due.len())).collect();
        for hash in &taken {
            self.announced.insert(*hash, Some(now));
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_read_in_part_and_others_are_heard_beside_it() {
        let start = Instant::now();
        let mut hearing = Hearing::new(start);
        let (loud, calm) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        assert_eq!((0..1_000).filter(|_| hearing.takes(start, loud)).count(), PER_SENDER as usize);
        assert!(hearing.takes(start, calm));
        let many = (0..=255).filter(|n| hearing.takes(start, IpAddr::from([10, 0, 1, *n]))).count();
        assert_eq!(many, (IN_ALL - PER_SENDER - 1) as usize);
        assert!(hearing.takes(start + Duration::from_secs(1), loud));
    }

    #[test]
    fn a_torrent_is_answered_for_once_a_minute_and_not_after_it_was_withdrawn() {
        let start = Instant::now();
        let mut saying = Saying::default();
        saying.heard(start, [1; 20]);
        assert!(!saying.is_due(), "not one of ours");
        saying.announce([1; 20]);
        saying.announce([1; 20]);
        assert_eq!(saying.take(start, 24), [[1; 20]]);
        saying.heard(start + Duration::from_secs(59), [1; 20]);
        assert!(!saying.is_due());
        saying.heard(start + Duration::from_secs(60), [1; 20]);
        assert_eq!(saying.take(start + Duration::from_secs(60), 24), [[1; 20]]);
        saying.announce([1; 20]);
        saying.withdraw([1; 20]);
        assert!(!saying.is_due());
        saying.heard(start + Duration::from_secs(600), [1; 20]);
        assert!(!saying.is_due());
    }

    #[test]
    fn a_datagram_takes_what_fits() {
        let mut saying = Saying::default();
        (0..30).for_each(|n| saying.announce([n; 20]));
        assert_eq!(saying.take(Instant::now(), 24).len(), 24);
        assert_eq!(saying.take(Instant::now(), 24).len(), 6);
    }
}
