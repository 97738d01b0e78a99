//! Whom to unchoke.
//!
//! Leeching, the peers that give most get the regular slots (tit for tat, BEP 3) and one slot goes round among the others
//! (the optimistic unchoke), longest waiting first, so that a better partner is found; those who never give wait twice as
//! long, and every other turn is one's who has nothing yet. Seeding, nobody gives: all slots go round, longest waiting first, each for a quantum (Legout et al. 2006, "Rarest first and choke
//! algorithms are enough", section on the new seed choke), so that every leech is served alike. A newcomer counts as having
//! waited [`HEAD_START`] already, and no more: however many come, who waits longer is served before them.
//! Invariant: at most `slots` peers are unchoked by a round, all of them interested.

use crate::event::PeerKey;
use shoal_machine::{Rng, Time};
use std::cmp::Reverse;
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
    /// It gave us something, and not much less than it was given.
    pub(crate) gave: bool,
    /// It has nothing that we lack and never had a slot: whatever it is given is its first piece.
    pub(crate) beginner: bool,
    /// It owes us blocks and sends none.
    pub(crate) snubbing: bool,
}

impl Candidate {
    /// Who is choked, longest waiting first; then who is not, longest served first. For those who gave back what they were given
    /// time passes twice as fast: of a leech's turns those who never give get half as many.
    pub(crate) fn order(&self, now: Time) -> (bool, Reverse<Duration>) {
        let ahead = if self.newcomer { HEAD_START } else { Duration::ZERO };
        let waited = now.since(self.since) + ahead;
        (self.unchoked, Reverse(if self.gave { waited * 2 } else { waited }))
    }
}

/// How many of a leech's slots go round: one in five (BEP 3 has one of four to five).
pub(crate) fn turns_among(slots: usize) -> usize {
    if slots == 0 { 0 } else { (slots / 5).max(1) }
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
    /// The last turn was a beginner's.
    began: bool,
}

impl Choker {
    pub(crate) fn new(rng: Rng) -> Choker {
        Choker { rng, optimistic: Vec::new(), turns: BTreeMap::new(), began: false }
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

    /// Whether a peer that is unchoked is so because it was its turn.
    pub(crate) fn is_turn(&self, peer: PeerKey) -> bool {
        self.optimistic.iter().any(|(other, _)| *other == peer)
    }

    /// By which the regular slots are given: who holds one keeps it unless another gives half more. Partners who give the same
    /// would else lose each other by what chance does to the rates of twenty seconds, and nobody can rely on being given back.
    fn rank(&self, candidate: &Candidate) -> u64 {
        let holds = candidate.unchoked && !self.is_turn(candidate.peer);
        candidate.gives + if holds { candidate.gives / 2 } else { 0 }
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
            let mut by_rate: Vec<_> = order.iter().filter(|c| c.gives > 0 && !c.snubbing).collect();
            by_rate.sort_by_key(|c| Reverse(self.rank(c)));
            chosen.extend(by_rate.iter().take(slots - turns_among(slots)).map(|c| c.peer));
        }
        self.optimistic.retain(|(peer, since)| {
            let here = candidates.iter().any(|c| c.peer == *peer && c.unchoked);
            here && now.since(*since) < TURN && !chosen.contains(peer)
        });
        // Those in the middle of their turn keep it; the others queue by how long they have waited.
        for &(peer, _) in &self.optimistic {
            if chosen.len() < slots {
                chosen.insert(peer);
            }
        }
        order.sort_by_key(|c| c.order(now));
        order.retain(|c| !chosen.contains(&c.peer));
        while chosen.len() < slots && !order.is_empty() {
            // Every other turn is a beginner's, if there is one: the queue may be half an hour long.
            let beginner = order.iter().position(|c| c.beginner).filter(|_| !self.began);
            self.began = beginner.is_some();
            let next = order.remove(beginner.unwrap_or(0));
            chosen.insert(next.peer);
            self.begin_turn(now, next.peer);
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
        Candidate {
            peer: PeerKey(n),
            unchoked: false,
            since,
            newcomer: true,
            gives: 0,
            gave: false,
            beginner: false,
            snubbing: false,
        }
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

    fn unchoked_time_spread(seeding: bool, slots: usize) -> f64 {
        let mut choker = Choker::new(Rng::new(5));
        let mut all = candidates(20);
        let mut times = [0_f64; 20];
        for round in 0..3_600 {
            let now = Time::from_secs(round * 10);
            let chosen = choker.round(now, seeding, slots, &all);
            assert!(chosen.len() == slots);
            apply(now, &chosen, &mut all);
            chosen.iter().for_each(|peer| times[peer.0 as usize] += 10.0);
        }
        let mean = times.iter().sum::<f64>() / 20.0;
        (times.iter().map(|t| (t - mean).powi(2)).sum::<f64>() / 20.0).sqrt() / mean
    }

    #[test]
    fn a_seed_serves_equal_peers_alike_over_ten_hours() {
        for slots in 1..=8 {
            let spread = unchoked_time_spread(true, slots);
            assert!(spread <= 0.05, "{slots} slots: {spread}");
        }
    }

    #[test]
    fn the_optimistic_slot_goes_round_evenly() {
        for slots in 1..=8 {
            let spread = unchoked_time_spread(false, slots);
            assert!(spread <= 0.05, "{slots} slots: {spread}");
        }
    }

    #[test]
    fn those_who_never_give_get_half_as_many_turns() {
        let mut choker = Choker::new(Rng::new(5));
        let mut all = candidates(12);
        all.iter_mut().for_each(|c| c.gave = c.peer.0 >= 6);
        let mut times = [0.0; 2];
        for round in 0..3_600 {
            let now = Time::from_secs(round * 10);
            let chosen = choker.round(now, false, 1, &all);
            apply(now, &chosen, &mut all);
            chosen.iter().for_each(|peer| times[usize::from(peer.0 >= 6)] += 1.0);
        }
        let share = times[0] / times[1];
        assert!((0.4..=0.6).contains(&share), "{share}");
    }

    #[test]
    fn a_beginner_does_not_wait_for_the_end_of_a_long_queue() {
        let mut choker = Choker::new(Rng::new(5));
        let mut all = candidates(40);
        for round in 0..400 {
            let now = Time::from_secs(round * 10);
            let chosen = choker.round(now, false, 1, &all);
            apply(now, &chosen, &mut all);
        }
        let came = Time::from_secs(4_000);
        all.extend((40..43).map(|n| Candidate { beginner: true, ..candidate(n, came) }));
        let mut served = Vec::new();
        for round in 400..430 {
            let now = Time::from_secs(round * 10);
            let chosen = choker.round(now, false, 1, &all);
            apply(now, &chosen, &mut all);
            all.iter_mut().for_each(|c| c.beginner &= c.newcomer);
            served.extend(chosen.iter().map(|peer| peer.0));
        }
        let first = |n: u32| served.iter().position(|&peer| peer == n).expect("served");
        assert!((40..43).all(|n| first(n) <= 18), "{served:?}");
        // And not they alone.
        assert!(served.iter().filter(|&&peer| peer < 40).count() >= 15, "{served:?}");
    }

    #[test]
    fn who_holds_a_regular_slot_keeps_it_against_one_who_gives_little_more() {
        let mut choker = Choker::new(Rng::new(5));
        let mut all = candidates(3);
        all[0].gives = 1_000;
        let chosen = choker.round(Time::ZERO, false, 2, &all);
        apply(Time::ZERO, &chosen, &mut all);
        let at = Time::from_secs(10);
        all[1].gives = 1_400;
        assert!(choker.round(at, false, 2, &all).contains(&PeerKey(0)));
        all[2].gives = 1_600;
        (all[1].gives, all[1].unchoked) = (0, true);
        choker.begin_turn(at, PeerKey(1));
        let chosen = choker.round(at, false, 2, &all);
        assert!(chosen.contains(&PeerKey(2)) && !chosen.contains(&PeerKey(0)), "{chosen:?}");
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
