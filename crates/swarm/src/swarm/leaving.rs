//! Who loses a seed's slot in the middle of a piece has the rest of it first.
//!
//! A part of a piece that nobody else has is of no use to anybody until its holder has a slot again, and while that takes the
//! piece is sent to somebody else from its start: of what the only source of 150 leeches sent, a tenth was sent twice so
//! (`docs/measurements.md`, "Sharing"). So a round of choking lets a peer that is amid a piece go on; it comes before all
//! others, is sent no block of another piece, and is choked when it has this one.
//!
//! Invariant: who is in `leaving` is unchoked, and not for longer than [`MOST`].

use super::turns::TURN_PAUSE;
use super::{Phase, Swarm};
use crate::event::{Effect, PeerKey};
use shoal_machine::Effects;
use std::time::Duration;

/// How long the rest of a piece may take. Chosen: as long as a slot lasts.
const MOST: Duration = Duration::from_secs(30);

impl<P> Swarm<P> {
    /// A seed is to choke this peer: says whether it goes on until it has its piece.
    pub(super) fn may_finish_its_piece(&mut self, key: PeerKey) -> bool {
        let may = self.peers.get(&key).is_some_and(|peer| !peer.am_choking) && self.is_amid_a_piece(key);
        if may {
            self.leaving.entry(key).or_insert(self.now);
        }
        may
    }

    /// Chokes those that have their piece now, or take too long.
    pub(super) fn let_go(&mut self, out: &mut Effects<Effect<P>>) {
        if self.leaving.is_empty() {
            return;
        }
        for (key, since) in self.leaving.clone() {
            if self.now.since(since) >= MOST || !self.is_amid_a_piece(key) {
                self.set_choking(key, true, out);
            }
        }
    }

    /// Whether a peer was sent a part of a piece and goes on asking for it.
    fn is_amid_a_piece(&self, key: PeerKey) -> bool {
        let (Phase::Transfer(transfer), Some(peer)) = (&self.phase, self.peers.get(&key)) else { return false };
        let Some((piece, blocks)) = peer.sending else { return false };
        let goes_on = match peer.uploads.front() {
            Some(next) => next.piece == piece,
            None => self.now.since(peer.uploaded_at) < TURN_PAUSE,
        };
        goes_on && blocks < transfer.info.layout().blocks_in(piece)
    }
}
