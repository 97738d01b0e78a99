//! How much we answer to strangers, once our node serves others.
//!
//! A DHT answer is up to eight times as long as its question, and the sender of a UDP packet can be forged: without bounds we
//! would be a tool to flood somebody (reliability.md C2). So one address gets [`MAX_ANSWERS`] in [`WINDOW`] and then silence
//! for [`SILENCE`], as libtorrent has it, and all together get [`BYTES_PER_S`]. Invariant: at most [`MAX_ADDRESSES`] addresses are
//! remembered; when they are that many, the bound on all together still holds.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// Answers to one address within [`WINDOW`] (reliability.md C2).
const MAX_ANSWERS: u32 = 50;
const WINDOW: Duration = Duration::from_secs(10);
/// No answer for so long to one that asked more (libtorrent has the same).
const SILENCE: Duration = Duration::from_secs(300);
/// For all answers together (reliability.md C2).
const BYTES_PER_S: u64 = 8_000;
/// What may go out at once. Chosen: some dozens of lookups that pass by at the same time.
const BURST: u64 = 4 * BYTES_PER_S;
/// Addresses remembered. Chosen: 256 KiB; at 8 kB/s no more than a few hundred are answered in ten seconds.
const MAX_ADDRESSES: usize = 4_096;

/// What is asked, as far as the length of the answer goes. Bytes with IP and UDP headers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Question {
    /// An id comes back.
    Ping,
    /// Twenty nodes of 26 bytes.
    Nodes,
    /// Twenty nodes, up to twenty peers of 8 bytes, a token.
    Peers,
    /// Twenty nodes, and a value of up to 1,000 bytes with its key and signature.
    Value,
}

impl Question {
    pub(super) const fn answer_bytes(self) -> u64 {
        match self {
            Question::Ping => 110,
            Question::Nodes => 650,
            Question::Peers => 850,
            Question::Value => 1_900,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Asker {
    since: Instant,
    answers: u32,
    silent_until: Option<Instant>,
}

/// Who may be answered.
#[derive(Debug)]
pub(super) struct Answers {
    askers: HashMap<Ipv4Addr, Asker>,
    /// Bytes that may go out now.
    left: u64,
    filled: Instant,
    /// When askers were last forgotten: at most once a second, for that looks at all of them.
    swept: Instant,
}

impl Answers {
    pub(super) fn new(now: Instant) -> Answers {
        Answers { askers: HashMap::new(), left: BURST, filled: now, swept: now }
    }

    /// Whether this question is answered.
    pub(super) fn allow(&mut self, now: Instant, from: Ipv4Addr, question: Question) -> bool {
        if !self.allow_address(now, from) {
            return false;
        }
        let gained = now.duration_since(self.filled).as_millis() as u64 * BYTES_PER_S / 1_000;
        if gained > 0 {
            self.left = BURST.min(self.left.saturating_add(gained));
            self.filled = now;
        }
        match self.left.checked_sub(question.answer_bytes()) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }

    fn allow_address(&mut self, now: Instant, from: Ipv4Addr) -> bool {
        if !self.askers.contains_key(&from) && self.askers.len() >= MAX_ADDRESSES {
            if now.duration_since(self.swept) >= Duration::from_secs(1) {
                self.swept = now;
                self.askers.retain(|_, asker| asker.silent_until.unwrap_or(asker.since + WINDOW) > now);
            }
            if self.askers.len() >= MAX_ADDRESSES {
                // So many at once are forged, or the network has gone mad: nobody new is served until some are forgotten.
                return false;
            }
        }
        let asker = self.askers.entry(from).or_insert(Asker { since: now, answers: 0, silent_until: None });
        if asker.silent_until.is_some_and(|until| until > now) {
            return false;
        }
        if asker.silent_until.take().is_some() || now.duration_since(asker.since) >= WINDOW {
            (asker.since, asker.answers) = (now, 0);
        }
        asker.answers += 1;
        if asker.answers > MAX_ANSWERS {
            asker.silent_until = Some(now + SILENCE);
            return false;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOMEBODY: Ipv4Addr = Ipv4Addr::new(1, 2, 3, 4);

    #[test]
    fn one_address_gets_fifty_answers_in_ten_seconds_and_then_silence() {
        let start = Instant::now();
        let mut answers = Answers::new(start);
        // 10,000 questions a second for ten seconds.
        let allowed =
            (0..100_000).filter(|n| answers.allow(start + Duration::from_micros(n * 100), SOMEBODY, Question::Ping));
        assert_eq!(allowed.count(), 50);
        assert!(!answers.allow(start + Duration::from_secs(200), SOMEBODY, Question::Ping));
        assert!(answers.allow(start + Duration::from_secs(311), SOMEBODY, Question::Ping));
        assert!(answers.allow(start + Duration::from_secs(20), Ipv4Addr::new(1, 2, 3, 5), Question::Ping));
    }

    #[test]
    fn all_together_get_eight_kilobytes_a_second() {
        let start = Instant::now();
        let mut answers = Answers::new(start);
        let mut sent = 0;
        for n in 0_u32..100_000 {
            let now = start + Duration::from_micros(u64::from(n) * 1_000);
            let question = [Question::Ping, Question::Nodes, Question::Peers, Question::Value][n as usize % 4];
            if answers.allow(now, Ipv4Addr::from(0x0100_0000 + n % 3_000), question) {
                sent += question.answer_bytes();
            }
        }
        assert!(sent <= BURST + 100 * BYTES_PER_S, "{sent}");
        assert!(sent >= 90 * BYTES_PER_S, "and those who ask within bounds are served: {sent}");
    }

    #[test]
    fn a_flood_from_a_million_forged_addresses_takes_no_memory() {
        let start = Instant::now();
        let mut answers = Answers::new(start);
        for n in 0..1_000_000_u32 {
            answers.allow(start + Duration::from_micros(u64::from(n)), Ipv4Addr::from(n), Question::Peers);
        }
        assert!(answers.askers.len() <= MAX_ADDRESSES);
        assert!(answers.allow(start + Duration::from_secs(60), SOMEBODY, Question::Ping), "it passes");
    }
}
