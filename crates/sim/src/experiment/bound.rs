//! What no swarm could beat: the least time in which everybody can have everything.
//!
//! Two models, and the greater of their bounds counts.
//! - Fluid (Kumar and Ross, "Peer-assisted file distribution: the minimum distribution time", 2006): bytes are as small as one
//!   likes. Everything leaves the seeds once; the last to come needs it over his own line; and all copies together need all
//!   the upload there is, of those who have come.
//! - Whole pieces (Mundinger, Weber and Weiss, "Optimal scheduling of peer-to-peer file dissemination", 2008): a piece can be
//!   passed on when it is whole. One seed and N leeches that upload alike, M pieces: M - 1 + ceil(log2(N + 1)) times that of
//!   one piece. It takes a piece to come from one peer at a time; blocks of a piece from several peers at once can
//!   save a few of the last rounds, so a swarm may come out slightly below it where pieces are few.

use shoal_machine::Time;
use std::time::Duration;

/// One who takes part, as far as the bound is concerned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    pub(super) arrives: Time,
    /// Bytes per second; `None` for no limit.
    pub(super) up: Option<u64>,
    pub(super) down: Option<u64>,
}

/// The least time until all are done, and where it comes from.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Bound {
    /// Payload over all seeds' upload, in seconds.
    pub source_s: f64,
    /// The last arrival, or the slowest line: arrival and payload over download, in seconds.
    pub line_s: f64,
    /// All copies over all upload there is, in seconds.
    pub sharing_s: f64,
    /// By whole pieces, in seconds; `None` where its conditions do not hold.
    pub pieces_s: Option<f64>,
}

impl Bound {
    /// The bound of `payload` bytes in pieces of `piece_length`, for seeds that are there from the beginning.
    pub(super) fn new(payload: u64, piece_length: u32, seeds: &[Member], leeches: &[Member]) -> Bound {
        let payload_f = payload as f64;
        let over = |rate: Option<u64>| rate.map_or(0.0, |rate| payload_f / rate as f64);
        let line = |member: &Member| seconds(member.arrives) + over(member.down);
        Bound {
            source_s: over(total(seeds)),
            line_s: leeches.iter().map(line).fold(0.0, f64::max),
            sharing_s: sharing(payload_f, seeds, leeches),
            pieces_s: whole_pieces(payload, piece_length, seeds, leeches),
        }
    }

    /// The greatest of them.
    pub fn seconds(&self) -> f64 {
        self.source_s.max(self.line_s).max(self.sharing_s).max(self.pieces_s.unwrap_or(0.0))
    }

    /// Which of them it is, and its formula.
    pub fn formula(&self) -> &'static str {
        let greatest = self.seconds();
        if self.pieces_s == Some(greatest) {
            "(pieces - 1 + ceil(log2(peers + 1))) * piece length / up"
        } else if self.source_s == greatest {
            "payload / upload of the seeds"
        } else if self.sharing_s == greatest {
            "payload * peers / all upload there is"
        } else {
            "last arrival + payload / down"
        }
    }
}

fn seconds(time: Time) -> f64 {
    time.as_micros() as f64 / 1e6
}

/// Sum of uploads; `None` if one has no limit.
fn total(members: &[Member]) -> Option<u64> {
    members.iter().map(|member| member.up).sum()
}

/// When the upload of those who have come adds up to all copies.
fn sharing(payload: f64, seeds: &[Member], leeches: &[Member]) -> f64 {
    let Some(of_seeds) = total(seeds) else { return 0.0 };
    let mut in_order: Vec<&Member> = leeches.iter().collect();
    in_order.sort_by_key(|member| member.arrives);
    let (mut rate, mut at, mut missing) = (of_seeds as f64, 0.0, payload * leeches.len() as f64);
    for member in in_order {
        let given = rate * (seconds(member.arrives) - at);
        if given >= missing {
            break;
        }
        missing -= given;
        at = seconds(member.arrives);
        match member.up {
            Some(up) => rate += up as f64,
            None => return at,
        }
    }
    if rate > 0.0 { at + missing / rate } else { 0.0 }
}

/// Holds for one seed and leeches that come together, upload alike, and receive without limit.
fn whole_pieces(payload: u64, piece_length: u32, seeds: &[Member], leeches: &[Member]) -> Option<f64> {
    let [seed] = seeds else { return None };
    let up = seed.up?;
    let alike = |member: &Member| member.up == Some(up) && member.arrives == seed.arrives && member.down.is_none();
    if leeches.is_empty() || !leeches.iter().all(alike) {
        return None;
    }
    let pieces = payload.div_ceil(u64::from(piece_length));
    let doublings = (leeches.len() as u64 + 1).next_power_of_two().trailing_zeros();
    // A short last piece is best passed on last, and is short in each of the rounds that double it.
    let rounds = pieces.saturating_sub(1) + u64::from(doublings);
    let short = pieces * u64::from(piece_length) - payload;
    let bytes = (rounds * u64::from(piece_length)).saturating_sub(short * u64::from(doublings));
    Some(bytes as f64 / up as f64)
}

/// How long a run may take unless the user says: many times the bound, and some time for those who only wait.
pub(super) fn patience(bound: &Bound) -> Duration {
    // Chosen: a swarm that is ten times slower than it could be has failed.
    Duration::from_secs_f64((bound.seconds() * 10.0).min(1e9)) + Duration::from_secs(600)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(up: u64) -> Member {
        Member { arrives: Time::ZERO, up: Some(up), down: None }
    }

    #[test]
    fn equal_rates_give_the_rounds_of_whole_pieces() {
        let bound = Bound::new(300 << 18, 1 << 18, &[member(1 << 18)], &[member(1 << 18); 150]);
        assert_eq!(bound.pieces_s, Some(307.0));
        assert_eq!(bound.seconds(), 307.0);
        assert!(bound.formula().contains("log2"));
        // Only the source: 300 rounds; sharing: 300 * 150 / 151.
        assert_eq!(bound.source_s, 300.0);
        assert!((bound.sharing_s - 300.0 * 150.0 / 151.0).abs() < 1e-9);
    }

    #[test]
    fn a_short_last_piece_never_makes_the_bound_too_great() {
        for (payload, leeches) in [((1 << 18) - 1, 1), (1, 1), ((3 << 18) + 1, 7), ((3 << 18) + 100, 1)] {
            let all = vec![member(1000); leeches];
            let bound = Bound::new(payload, 1 << 18, &[member(1000)], &all);
            let pieces = bound.pieces_s.unwrap();
            let whole = payload.div_ceil(1 << 18) as f64 + (leeches as f64 + 1.0).log2().ceil() - 1.0;
            assert!(pieces <= whole * f64::from(1 << 18) / 1000.0, "{payload} {leeches}");
            // To one leech it is just the time of the payload.
            assert!(leeches > 1 || (pieces - payload as f64 / 1000.0).abs() < 1e-6, "{payload}: {pieces}");
        }
    }

    #[test]
    fn slow_lines_late_arrivals_and_free_riders_count() {
        let payload = 1_000_000;
        let slow = Member { down: Some(10_000), ..member(50_000) };
        let bound = Bound::new(payload, 1 << 14, &[member(1_000_000)], &[member(50_000), slow]);
        assert_eq!((bound.seconds(), bound.pieces_s), (100.0, None));
        let late = Member { arrives: Time::from_secs(500), down: Some(100_000), ..member(50_000) };
        let bound = Bound::new(payload, 1 << 14, &[member(1_000_000)], &[member(50_000), late]);
        assert_eq!(bound.seconds(), 510.0);
        // Nine free-riders of ten: the seed and one leech do all the work.
        let all: Vec<Member> = (0..10).map(|i| member(if i == 0 { 50_000 } else { 0 })).collect();
        let bound = Bound::new(payload, 1 << 14, &[member(50_000)], &all);
        assert_eq!(bound.seconds(), 100.0);
        assert!(bound.formula().contains("all upload"));
    }

    #[test]
    fn upload_of_those_who_are_not_there_yet_does_not_count() {
        let late = Member { arrives: Time::from_secs(10), ..member(100) };
        // The first gets 1,000 bytes in 10 s; then 1,000 more are wanted of 300 a second.
        let bound = Bound::new(1_000, 1 << 14, &[member(100)], &[member(100), late]);
        assert!((bound.sharing_s - 10.0).abs() < 1e-9, "{bound:?}");
        let bound = Bound::new(4_000, 1 << 14, &[member(100)], &[member(100), late]);
        assert!((bound.sharing_s - 30.0).abs() < 1e-9, "{bound:?}");
    }

    #[test]
    fn no_limits_no_bound() {
        let free = Member { arrives: Time::ZERO, up: None, down: None };
        assert_eq!(Bound::new(1 << 30, 1 << 18, &[free], &[free; 3]).seconds(), 0.0);
    }
}
