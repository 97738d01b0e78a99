//! In order, and still of use to others.
//!
//! If all fetch the same pieces in the same order, nobody has what another lacks, and everything comes from the source. So
//! between two pieces of the order come [`RARE`] that are the rarest the peer has, as long as those are rarer than the next in
//! order. Beside peers that have everything nothing is rarer, and all goes in order.

use super::{PeerSlot, PiecePicker};
use crate::Bitfield;
use shoal_layout::{BlockRef, PieceIndex};

/// Rare pieces between two of the order. Measured (`shoal-sim`, `tests/in_order.rs`): with one a swarm takes 1.66 times what a line
/// needs, with two 1.48, with three 1.54; 0.69, 0.64 and 0.66 of what a leech has lies before its first gap.
const RARE: u32 = 2;

impl PiecePicker {
    /// What is open comes first, the lowest numbers before the others.
    pub(super) fn pick_in_order(
        &mut self,
        peer: PeerSlot,
        bits: &Bitfield,
        enough: usize,
        max_open: usize,
        out: &mut Vec<BlockRef>,
    ) {
        let partial: Vec<PieceIndex> = self.partial.iter().copied().filter(|&piece| bits.get(piece)).collect();
        self.take_all(&partial, peer, enough, out);
        while out.len() < enough && self.open_wanted < max_open {
            let Some(next) = self.lowest_closed(bits) else { return };
            let rare = if self.rare_begun < RARE { self.rarer_than(next, peer, bits) } else { None };
            self.rare_begun = if rare.is_some() { self.rare_begun + 1 } else { 0 };
            let piece = rare.unwrap_or(next);
            self.begin(piece);
            self.take(piece, peer, enough, out);
        }
    }

    /// The rarest closed piece that the peer has, or what it suggested of those, if fewer have it than this one.
    fn rarer_than(&mut self, next: PieceIndex, peer: PeerSlot, bits: &Bitfield) -> Option<PieceIndex> {
        let rarest = self.next_by_rarity(bits, &mut 0)?;
        let piece = self.or_suggested(peer, bits, rarest);
        (self.availability.of(piece) < self.availability.of(next)).then_some(piece)
    }
}
