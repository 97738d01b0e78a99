//! Whom to unchoke.
//!
//! Leeching, the peers that give most get the regular slots (tit for tat, BEP 3) and one slot goes round among the others
//! (the optimistic unchoke), longest waiting first, so that a newcomer has a chance and a better partner is found. Seeding,
//! nobody gives: all slots go round, longest waiting first, each for a quantum (Legout et al. 2006, "Rarest first and choke
//! algorithms are enough", section on the new seed choke), so that every leech is served alike. A newcomer counts as having
//! waited [`HEAD_START`] already, and no more: however many come, who waits longer is served before them.
//! Invariant: at most `slots` peers are unchoked by a round, all of them interested.

use crate::event::PeerKey;
use shoal_machine::{Rng, Time};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Time between rounds (BEP 3).
pub(crate) const ROUND: Duration = Duration::from_secs(10);
/// Time that an optimistic unchoke lasts (BEP 3), and a seed's slot (chosen, the same).
const TURN: Duration = Duration::from_secs(30);
/// What a newcomer is ahead of those who have had a turn. Chosen: two turns; BEP 3 gives newcomers a threefold chance.
const HEAD_START: Duration = Duration::from_secs(60);

/// What a round looks at, for one peer.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) peer: PeerKey,
    pub(crate) unchoked: bool,
    /// Since when it is unchoked, or waits to be: since it was choked last, or first was interested.
    pub(crate) since: Time,
    /// It never was unchoked.
    pub(crate) newcomer: bool,
    /// Bytes a second that it gave over the last 20 seconds.
    pub(crate) gives: u64,
    /// It owes us blocks and sends none.
    pub(crate) snubbing: bool,
}

impl Candidate {
    /// Who is choked, longest waiting first; then who is not, longest served first.
    pub(crate) fn order(&self) -> (bool, u64) {
        let ahead = if self.newcomer { HEAD_START } else { Duration::ZERO };
        // Those who came in the first minute must be told apart too, so nothing is taken from the newcomers.
        let behind = HEAD_START.saturating_sub(ahead);
        (self.unchoked, (self.since + behind).as_micros())
    }
}

/// What is remembered between rounds.
#[derive(Debug)]
pub(crate) struct Choker {
    rng: Rng,
    /// Those in the middle of their turn, and since when.
    optimistic: Vec<(PeerKey, Time)>,
    /// When each last had such a turn. Who moves in and out of the regular slots waits for a turn like everybody: else those
    /// who never give would always have waited longest.
    turns: BTreeMap<PeerKey, Time>,
}

impl Choker {
    pub(crate) fn new(rng: Rng) -> Choker {
        Choker { rng, optimistic: Vec::new(), turns: BTreeMap::new() }
    }

    /// A peer was unchoked between rounds, where a slot was free: its turn begins.
    pub(crate) fn begin_turn(&mut self, now: Time, peer: PeerKey) {
        self.optimistic.push((peer, now));
        self.turns.insert(peer, now);
    }

    /// When a peer's last turn began.
    pub(crate) fn last_turn(&self, peer: PeerKey) -> Option<Time> {
        self.turns.get(&peer).copied()
    }

    /// A peer is gone.
    pub(crate) fn left(&mut self, peer: PeerKey) {
        self.turns.remove(&peer);
    }

    /// The peers to be unchoked from now on, of those interested in us.
    pub(crate) fn round(
        &mut self,
        now: Time,
        seeding: bool,
        slots: usize,
        candidates: &[Candidate],
    ) -> BTreeSet<PeerKey> {
        let mut order: Vec<&Candidate> = candidates.iter().collect();
        self.rng.shuffle(&mut order);
        let mut chosen = BTreeSet::new();
        if !seeding {
            // One slot in five is optimistic (BEP 3 has one of four to five).
            let turns = if slots == 0 { 0 } else { (slots / 5).max(1) };
            let mut by_rate: Vec<_> = order.iter().filter(|c| c.gives > 0 && !c.snubbing).collect();
            by_rate.sort_by_key(|c| std::cmp::Reverse(c.gives));
            chosen.extend(by_rate.iter().take(slots - turns).map(|c| c.peer));
        }
        self.optimistic.retain(|(peer, since)| {
            let here = candidates.iter().any(|c| c.peer == *peer && c.unchoked);
            here && now.since(*since) < TURN
        });
        // Those in the middle of their turn keep it; the others queue by how long they have waited.
        for &(peer, _) in &self.optimistic {
            if chosen.len() < slots {
                chosen.insert(peer);
            }
        }
        order.sort_by_key(|c| c.order());
        for candidate in order {
            if chosen.len() >= slots {
                break;
            }
            if chosen.insert(candidate.peer) {
                self.begin_turn(now, candidate.peer);
            }
        }
        self.optimistic.retain(|(peer, _)| chosen.contains(peer));
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(n: u32) -> Vec<Candidate> {
        (0..n).map(|n| candidate(n, Time::ZERO)).collect()
    }

    fn candidate(n: u32, since: Time) -> Candidate {
        Candidate { peer: PeerKey(n), unchoked: false, since, newcomer: true, gives: 0, snubbing: false }
    }

    fn apply(now: Time, chosen: &BTreeSet<PeerKey>, candidates: &mut [Candidate]) {
        for candidate in candidates {
            let unchoked = chosen.contains(&candidate.peer);
            if unchoked != candidate.unchoked {
                (candidate.since, candidate.newcomer) = (now, false);
                candidate.unchoked = unchoked;
            }
        }
    }

    fn unchoked_time_spread(seeding: bool, give: bool) -> f64 {
        let mut choker = Choker::new(Rng::new(5));
        let mut all = candidates(20);
        let mut times = [0_f64; 20];
        for round in 0..3_600 {
            let now = Time::from_secs(round * 10);
            for c in &mut all {
                c.gives = if give { 1_000 } else { 0 };
            }
            let chosen = choker.round(now, seeding, 4, &all);
            assert!(chosen.len() == 4);
            apply(now, &chosen, &mut all);
            chosen.iter().for_each(|peer| times[peer.0 as usize] += 10.0);
        }
        let mean = times.iter().sum::<f64>() / 20.0;
        (times.iter().map(|t| (t - mean).powi(2)).sum::<f64>() / 20.0).sqrt() / mean
    }

    #[test]
    fn a_seed_serves_equal_peers_alike_over_ten_hours() {
        assert!(unchoked_time_spread(true, false) <= 0.05);
    }

    #[test]
    fn the_optimistic_slot_goes_round_evenly() {
        assert!(unchoked_time_spread(false, false) <= 0.05);
    }

    #[test]
    fn those_who_give_most_hold_the_regular_slots() {
        let mut choker = Choker::new(Rng::new(5));
        let mut all = candidates(10);
        for (n, c) in all.iter_mut().enumerate() {
            c.gives = n as u64 * 100;
        }
        all[8].snubbing = true;
        let chosen = choker.round(Time::ZERO, false, 4, &all);
        assert_eq!(chosen.len(), 4);
        for peer in [9, 7, 6] {
            assert!(chosen.contains(&PeerKey(peer)));
        }
    }

    #[test]
    fn who_waits_is_served_however_many_come() {
        for seeding in [true, false] {
            let mut choker = Choker::new(Rng::new(5));
            let mut all = candidates(3);
            let mut waited = 0;
            for round in 0..360 {
                let now = Time::from_secs(round * 10);
                // Two new ones a round, for two slots; each stays for three minutes.
                all.retain(|c| c.peer.0 < 3 || u64::from(c.peer.0) / 2 + 18 > round);
                all.extend((0..2).map(|n| candidate(round as u32 * 2 + 4 + n, now)));
                let chosen = choker.round(now, seeding, 2, &all);
                apply(now, &chosen, &mut all);
                waited = if chosen.contains(&PeerKey(0)) { 0 } else { waited + 10 };
                assert!(waited <= 300, "{waited} s at {now:?}");
            }
        }
    }

    #[test]
    fn a_turn_that_begins_between_rounds_is_not_cut_short_by_the_next() {
        let mut choker = Choker::new(Rng::new(5));
        let mut all = candidates(1);
        choker.begin_turn(Time::from_secs(9), PeerKey(0));
        apply(Time::from_secs(9), &[PeerKey(0)].into(), &mut all);
        all.extend((1..9).map(|n| candidate(n, Time::ZERO)));
        for (second, holds) in [(10, true), (20, true), (30, true), (40, false)] {
            let chosen = choker.round(Time::from_secs(second), true, 1, &all);
            assert_eq!(chosen.contains(&PeerKey(0)), holds, "{second} s");
        }
    }

    #[test]
    fn no_slots_no_unchokes() {
        assert!(Choker::new(Rng::new(1)).round(Time::ZERO, false, 0, &candidates(3)).is_empty());
        assert!(Choker::new(Rng::new(1)).round(Time::ZERO, true, 0, &candidates(3)).is_empty());
    }
}
