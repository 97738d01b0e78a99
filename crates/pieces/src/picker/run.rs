//! Contiguous runs, for sources that are asked for ranges of bytes (web seeds, BEP 19).
//!
//! What such a source costs is the request: a header each way and a round trip in which nothing comes. So it is asked for
//! many blocks in a row, and rarity does not matter for it, since it has everything. A run goes on where the source's last
//! one ended; else it begins in the longest gap of what is missing, at a random place if the gap is much longer than the
//! run, so that many who fetch from one source fetch different parts and can trade them (BEP 19, "gap filling").

use super::{PeerSlot, PickMode, PiecePicker};
use crate::Bitfield;
use shoal_layout::{BlockRef, PieceIndex};

/// A gap so many times as long as the run is entered at a random place. Chosen.
const LONG_GAP: u32 = 4;
/// Pieces of the random-place search that are counted, at most: a longer gap is long enough. Chosen.
const MAX_GAP: u32 = 1 << 16;

impl PiecePicker {
    /// Appends up to `count` blocks that follow each other, to ask of this source, which has `bits`, and marks them as
    /// asked. `after` is the piece where its last run ended. Where no such run is left it asks for what others were asked
    /// for, as [`PiecePicker::pick`] does. Cost: a step for 64 pieces and one for each gap.
    #[expect(clippy::too_many_arguments, reason = "as `pick`, and the place where to go on")]
    pub fn pick_run(
        &mut self,
        peer: PeerSlot,
        bits: &Bitfield,
        after: Option<PieceIndex>,
        count: usize,
        mode: PickMode,
        max_open: usize,
        out: &mut Vec<BlockRef>,
    ) {
        assert_eq!(bits.len(), self.have.len(), "a bitfield of this torrent");
        let enough = out.len().saturating_add(count);
        let before = out.len();
        let mut next = self.run_start(bits, after, count, mode, max_open);
        while let Some(piece) = next.filter(|_| out.len() < enough) {
            if !self.can_take(piece, bits, max_open) {
                break;
            }
            if self.closed.get(piece) {
                self.begin(piece);
            }
            self.take(piece, peer, enough, out);
            next = Some(PieceIndex(piece.0 + 1));
        }
        if out.len() == before && count > 0 {
            self.ask_again(peer, bits, count, max_open, out);
            out[before..].sort_unstable();
        }
    }

    /// Whether blocks of this piece can be asked of a source that has `bits`.
    fn can_take(&self, piece: PieceIndex, bits: &Bitfield, max_open: usize) -> bool {
        let begins = || self.closed.get(piece) && self.open_wanted < max_open;
        bits.get(piece) && (self.partial.contains(&piece) || begins())
    }

    fn run_start(
        &mut self,
        bits: &Bitfield,
        after: Option<PieceIndex>,
        count: usize,
        mode: PickMode,
        max_open: usize,
    ) -> Option<PieceIndex> {
        let partial = self.partial.iter().copied().find(|&piece| bits.get(piece));
        let may_begin = self.open_wanted < max_open;
        if matches!(mode, PickMode::InOrder | PickMode::Sequential) {
            let closed = if may_begin { self.lowest_closed(bits) } else { None };
            return partial.into_iter().chain(closed).min();
        }
        if let Some(after) = after.filter(|&after| self.can_take(after, bits, max_open)) {
            return Some(after);
        }
        let gap = if may_begin { self.longest_gap(bits) } else { None };
        let Some((first, length)) = gap else { return partial };
        let blocks = self.layout.piece_length().div_ceil(shoal_layout::BLOCK_LENGTH) as usize;
        let pieces = u32::try_from(count.div_ceil(blocks)).unwrap_or(u32::MAX);
        if length / LONG_GAP >= pieces {
            let room = u64::from(length - pieces) + 1;
            return Some(PieceIndex(first.0 + self.rng.below(room) as u32));
        }
        Some(first)
    }

    /// First piece and length of the longest run of closed pieces that the source has; of equal ones the first.
    fn longest_gap(&self, bits: &Bitfield) -> Option<(PieceIndex, u32)> {
        let mut longest: Option<(u32, u32)> = None;
        let (mut start, mut length) = (0, 0);
        let words = self.closed.words().iter().zip(bits.words()).map(|(closed, bits)| closed & bits);
        for (number, word) in (0_u32..).zip(words) {
            let mut place = 0;
            while place < 64 {
                let rest = word << place;
                let ones = (!rest).leading_zeros().min(64 - place);
                if ones > 0 {
                    if length == 0 {
                        start = number * 64 + place;
                    }
                    length += ones;
                    place += ones;
                    if longest.is_none_or(|(_, most)| length > most) {
                        longest = Some((start, length));
                    }
                }
                if place < 64 {
                    length = 0;
                    // An empty rest would be shifted out of the word.
                    place += (word << place).leading_zeros().min(64 - place);
                }
            }
            if length >= MAX_GAP {
                break;
            }
        }
        longest.map(|(first, length)| (PieceIndex(first), length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use shoal_layout::Layout;
    use shoal_machine::Rng;

    const ALL: usize = 1 << 20;
    const SOURCE: PeerSlot = PeerSlot(7);

    /// Pieces of two blocks.
    fn picker(pieces: u32, lacks: &Bitfield, seed: u64) -> PiecePicker {
        let layout = Layout::contiguous(32_768, &[u64::from(pieces) * 32_768]).unwrap();
        let mut have = Bitfield::full(pieces);
        lacks.iter_set().for_each(|piece| {
            have.unset(piece);
        });
        PiecePicker::new(&layout, have, &Bitfield::full(pieces), Rng::new(seed))
    }

    fn set(pieces: u32, set: impl IntoIterator<Item = u32>) -> Bitfield {
        let mut bits = Bitfield::new(pieces);
        set.into_iter().for_each(|piece| {
            bits.set(PieceIndex(piece));
        });
        bits
    }

    fn run(picker: &mut PiecePicker, after: Option<u32>, count: usize) -> Vec<BlockRef> {
        let all = Bitfield::full(picker.have().len());
        let mut out = Vec::new();
        let after = after.map(PieceIndex);
        picker.pick_run(SOURCE, &all, after, count, PickMode::RarestFirst, ALL, &mut out);
        picker.check_invariants();
        out
    }

    fn pieces(blocks: &[BlockRef]) -> Vec<u32> {
        let mut pieces: Vec<u32> = blocks.iter().map(|block| block.piece.0).collect();
        pieces.dedup();
        pieces
    }

    #[test]
    fn a_run_fills_the_longest_gap_and_goes_on_where_it_ended() {
        let mut picker = picker(200, &set(200, [3, 4, 5, 60, 61, 62, 63, 64, 65, 66, 130]), 1);
        assert_eq!(pieces(&run(&mut picker, None, 6)), [60, 61, 62]);
        // Half a piece, then its other half first.
        assert_eq!(pieces(&run(&mut picker, Some(63), 3)), [63, 64]);
        assert_eq!(pieces(&run(&mut picker, Some(64), 100)), [64, 65, 66]);
        assert_eq!(pieces(&run(&mut picker, Some(67), 100)), [3, 4, 5]);
        assert_eq!(pieces(&run(&mut picker, None, 100)), [130]);
        assert!(run(&mut picker, None, 100).is_empty(), "all of it is asked of this source");
    }

    #[test]
    fn a_long_gap_is_entered_at_places_that_differ() {
        let all = Bitfield::full(1_000);
        let starts: std::collections::BTreeSet<u32> =
            (0..20).map(|seed| pieces(&run(&mut picker(1_000, &all, seed), None, 20))[0]).collect();
        assert!(starts.len() > 15, "{starts:?}");
    }

    #[test]
    fn a_sequential_run_begins_at_the_lowest_piece() {
        let mut picker = picker(100, &Bitfield::full(100), 1);
        let mut out = Vec::new();
        let all = Bitfield::full(100);
        picker.pick_run(SOURCE, &all, Some(PieceIndex(50)), 10, PickMode::Sequential, ALL, &mut out);
        assert_eq!(pieces(&out), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn no_piece_is_begun_beyond_the_bound_but_open_ones_are_finished() {
        let mut picker = picker(100, &Bitfield::full(100), 1);
        let (all, mut out) = (Bitfield::full(100), Vec::new());
        picker.pick(PeerSlot(1), &all, 1, PickMode::Sequential, ALL, &mut out);
        out.clear();
        picker.pick_run(SOURCE, &all, None, 100, PickMode::RarestFirst, 1, &mut out);
        assert_eq!(pieces(&out), [0]);
        assert_eq!(out.len(), 1, "the half that nobody was asked for");
    }

    #[test]
    fn when_all_is_asked_for_it_helps_with_what_others_hold() {
        let mut picker = picker(3, &Bitfield::full(3), 1);
        let (all, mut out) = (Bitfield::full(3), Vec::new());
        picker.pick(PeerSlot(1), &all, 100, PickMode::Sequential, ALL, &mut out);
        assert_eq!(run(&mut picker, None, 100), out);
    }

    proptest! {
        #[test]
        fn the_longest_gap_is_what_counting_gives(lacks in prop::collection::vec(prop::bool::weighted(0.8), 1..300)) {
            let pieces = lacks.len() as u32;
            let bits = set(pieces, (0..pieces).filter(|&piece| lacks[piece as usize]));
            let mut longest: Option<(PieceIndex, u32)> = None;
            for first in 0..pieces {
                let length = lacks[first as usize..].iter().take_while(|&&lacks| lacks).count() as u32;
                if length > longest.map_or(0, |(_, most)| most) {
                    longest = Some((PieceIndex(first), length));
                }
            }
            prop_assert_eq!(picker(pieces, &bits, 1).longest_gap(&Bitfield::full(pieces)), longest);
        }
    }
}
