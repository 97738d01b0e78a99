//! Pieces that a peer suggests (BEP 6).
//!
//! Who serves many knows what nobody asked for yet. Among pieces that are as rare as each other for us the one that the peer
//! suggests is begun with it; what it suggests and is less rare than something else that it has is no reason to wait.

use super::{PeerSlot, PiecePicker};
use crate::Bitfield;
use shoal_layout::PieceIndex;
use std::collections::VecDeque;

/// Suggestions of one peer that are kept, the latest. Chosen: a pipeline's worth of pieces.
const KEPT: usize = 16;

impl PiecePicker {
    /// A peer suggests a piece.
    pub fn peer_suggests(&mut self, peer: PeerSlot, piece: PieceIndex) {
        let suggested: &mut VecDeque<PieceIndex> = self.suggested.entry(peer).or_default();
        if !suggested.contains(&piece) {
            suggested.push_back(piece);
            if suggested.len() > KEPT {
                suggested.pop_front();
            }
        }
    }

    /// A peer is gone, or what it suggested is out of date.
    pub fn forget_suggestions(&mut self, peer: PeerSlot) {
        self.suggested.remove(&peer);
    }

    /// What to begin with this peer in place of a closed piece that is the rarest it has: what it suggested, if that is as rare.
    pub(super) fn or_suggested(&mut self, peer: PeerSlot, bits: &Bitfield, rarest: PieceIndex) -> PieceIndex {
        let Some(suggested) = self.suggested.get_mut(&peer) else { return rarest };
        suggested.retain(|&piece| self.closed.get(piece) && bits.get(piece));
        let most = self.availability.of(rarest);
        suggested.iter().copied().find(|&piece| self.availability.of(piece) <= most).unwrap_or(rarest)
    }
}
