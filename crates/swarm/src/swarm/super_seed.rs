//! The only source shows each leech other pieces (BEP 16, super-seeding).
//!
//! While nobody else has everything, our line is what the swarm waits for: a piece that leaves it twice before each has left it
//! once costs everybody its time. So a new peer is told that we have nothing. When it gets a slot it is shown a piece that the
//! fewest have or were shown, and another one whenever it has asked for half of what it holds in its queue: it sees ahead of its
//! pipeline, so one leech alone is served as fast as it can take. What it was shown and did not ask for is taken back with its
//! slot, from those who understand that (BEP 54). One who asks for nothing of what it is shown (it chose other files) is shown
//! twice as much every second.
//! It ends when another seed is seen: everybody is shown everything then. Nobody's requests are refused for it.
//!
//! Invariant: `spread` counts each piece once for each peer that has it or was shown it and is masked.

use super::{Phase, Swarm};
use crate::event::{Effect, PeerKey};
use crate::peer::{Peer, PeerPieces};
use shoal_layout::{BlockRef, PieceIndex};
use shoal_machine::{Effects, Rng};
use shoal_pieces::{Availability, Bitfield};
use shoal_wire::{Extended, Message};
use std::collections::BTreeMap;

/// Pieces looked at for one that a peer may be shown. Chosen: far more than a leech has of what is rarest.
const SCAN: usize = 4_096;
/// Pieces shown at once to one who asked for nothing of those before, at most. Chosen: the largest torrent in half a minute.
const MAX_COAXING: u32 = 1 << 14;
/// Pieces shown to one peer a second when all are. Chosen: 9 bytes each, so the largest torrent takes 75 KB/s for ten seconds.
const SHOWN_AT_ONCE: usize = 8_192;

/// What a peer sees of what we have.
#[derive(Debug, Default)]
pub(crate) enum Sight {
    /// All of it.
    #[default]
    All,
    /// What it was shown.
    Masked(Shown),
    /// All before this piece, and what it was shown; the rest follows.
    Unveiling(Shown, PieceIndex),
}

/// What one peer was shown and does not have, each with the blocks of it that it has not asked for.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    pieces: BTreeMap<PieceIndex, u32>,
    /// The sum of the blocks.
    unasked: u32,
    /// Pieces that it is shown if it asks for nothing.
    coaxing: u32,
}

impl Sight {
    pub(crate) fn masked(&mut self) -> Option<&mut Shown> {
        match self {
            Sight::Masked(shown) => Some(shown),
            Sight::All | Sight::Unveiling(..) => None,
        }
    }

    pub(crate) fn is_masked(&self) -> bool {
        matches!(self, Sight::Masked(_))
    }
}

impl Shown {
    fn remove(&mut self, piece: PieceIndex) -> bool {
        let blocks = self.pieces.remove(&piece);
        self.unasked -= blocks.unwrap_or(0);
        blocks.is_some()
    }

    /// The peer asked for a block, or a request of it was dropped.
    pub(crate) fn asked(&mut self, block: BlockRef, dropped: bool) {
        self.coaxing = 0;
        if let Some(blocks) = self.pieces.get_mut(&block.piece) {
            let step = if dropped { 1 } else { -1 };
            let changed = blocks.saturating_add_signed(step);
            self.unasked = self.unasked + changed - *blocks;
            *blocks = changed;
        }
    }
}

/// How far each piece has spread.
#[derive(Debug)]
pub(crate) struct SuperSeed {
    spread: Availability,
}

impl SuperSeed {
    pub(super) fn new<'a>(pieces: u32, peers: impl Iterator<Item = &'a Bitfield>, rng: &Rng) -> SuperSeed {
        let mut spread = Availability::new(pieces, rng.fork("super-seeding"));
        // Ours: what nobody else has is listed too.
        spread.add_peer(&Bitfield::full(pieces));
        (0..pieces).map(PieceIndex).for_each(|piece| spread.list(piece));
        peers.for_each(|bits| spread.add_peer(bits));
        SuperSeed { spread }
    }

    /// A peer says that it has a piece (or, `lost`, that it has it no longer).
    pub(super) fn has(&mut self, sight: &mut Sight, piece: PieceIndex, lost: bool) {
        let was_shown = !lost && sight.masked().is_some_and(|shown| shown.remove(piece));
        match (lost, was_shown) {
            (true, _) => self.spread.lower(piece),
            (false, false) => self.spread.raise(piece),
            (false, true) => {}
        }
    }

    /// What a peer has, all at once, in place of what it had.
    pub(super) fn bitfield(&mut self, sight: &mut Sight, before: Option<&Bitfield>, bits: &Bitfield) {
        before.into_iter().for_each(|before| self.spread.remove_peer(before));
        self.spread.add_peer(bits);
        if let Some(shown) = sight.masked() {
            let here: Vec<_> = shown.pieces.keys().copied().filter(|&piece| bits.get(piece)).collect();
            for piece in here {
                shown.remove(piece);
                self.spread.lower(piece);
            }
        }
    }

    pub(super) fn left(&mut self, peer: &Peer) {
        if let PeerPieces::Known(bits) = &peer.pieces {
            self.spread.remove_peer(bits);
        }
        if let Sight::Masked(shown) = &peer.sight {
            shown.pieces.keys().for_each(|&piece| self.spread.lower(piece));
        }
    }

    /// The piece to show to a peer that has `bits`.
    fn choose(&self, bits: &Bitfield, shown: &Shown) -> Option<PieceIndex> {
        let order = self.spread.rarest_first().iter().map(|&piece| PieceIndex(piece));
        order.take(SCAN).find(|&piece| !bits.get(piece) && !shown.pieces.contains_key(&piece))
    }
}

impl<P> Swarm<P> {
    /// Whether a peer that comes now is told that we have nothing.
    pub(super) fn is_super_seeding(&self) -> bool {
        matches!(&self.phase, Phase::Transfer(transfer) if transfer.super_seed.is_some())
    }

    /// Begins when we have everything and know of nobody else who does, ends when we do; shows the rest to those who see a part.
    pub(super) fn check_super_seeding(&mut self, out: &mut Effects<Effect<P>>) {
        let sole = self.config.super_seed && self.is_sole_source();
        let Phase::Transfer(transfer) = &mut self.phase else { return };
        if sole && transfer.super_seed.is_none() {
            let known = |peer: &'_ Peer| matches!(peer.pieces, PeerPieces::Known(_));
            let bits = self.peers.values().filter(|peer| known(peer)).map(|peer| match &peer.pieces {
                PeerPieces::Known(bits) => bits,
                PeerPieces::Unchecked { .. } => unreachable!("filtered"),
            });
            transfer.super_seed = Some(SuperSeed::new(transfer.picker.have().len(), bits, &self.rng));
        } else if !sole && transfer.super_seed.take().is_some() {
            for peer in self.peers.values_mut() {
                if let Sight::Masked(shown) = std::mem::take(&mut peer.sight) {
                    peer.sight = Sight::Unveiling(shown, PieceIndex(0));
                }
                if let Some(id) = peer.extensions.as_ref().and_then(|extensions| extensions.upload_only_id)
                    && transfer.complete
                {
                    let message = Message::Extended { id, message: Extended::UploadOnly(true) };
                    out.push(Effect::Send { peer: peer.key, message });
                }
            }
        }
        for key in self.peers.keys().copied().collect::<Vec<_>>() {
            self.coax(key, out);
            self.unveil(key, out);
        }
    }

    /// Whether we have everything and nobody else is known to.
    fn is_sole_source(&self) -> bool {
        let Phase::Transfer(transfer) = &self.phase else { return false };
        transfer.picker.have().is_full()
            && !self.seeds_elsewhere
            && self.web_seeds.is_empty()
            && self.left_complete.is_empty()
            && !self.peers.values().any(Peer::is_seed)
    }

    /// Shows an unchoked peer so much that it sees ahead of its pipeline.
    pub(super) fn show(&mut self, key: PeerKey, out: &mut Effects<Effect<P>>) {
        let Phase::Transfer(transfer) = &mut self.phase else { return };
        let Some(super_seed) = &mut transfer.super_seed else { return };
        let Some(peer) = self.peers.get_mut(&key).filter(|peer| !peer.am_choking) else { return };
        let (Sight::Masked(shown), PeerPieces::Known(bits)) = (&mut peer.sight, &peer.pieces) else { return };
        let queued = (peer.uploads.len() + peer.uploading.len()) as u32;
        let mut coaxing = shown.coaxing;
        while shown.unasked < (queued / 2).max(1) || coaxing > 0 {
            coaxing = coaxing.saturating_sub(1);
            let Some(piece) = super_seed.choose(bits, shown) else { break };
            let blocks = transfer.info.layout().requests(piece).count() as u32;
            super_seed.spread.raise(piece);
            shown.pieces.insert(piece, blocks);
            shown.unasked += blocks;
            peer.last_sent = self.now;
            out.push(Effect::Send { peer: key, message: Message::Have(piece.0) });
        }
    }

    /// Once a second: who holds a slot and asks for nothing is shown more.
    fn coax(&mut self, key: PeerKey, out: &mut Effects<Effect<P>>) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let idle = peer.uploads.is_empty() && peer.uploading.is_empty() && !peer.am_choking;
        let Some(shown) = peer.sight.masked() else { return };
        if idle && shown.unasked > 0 {
            // What it does not want, or has asked others for, is not waited for any more.
            shown.pieces.values_mut().for_each(|blocks| *blocks = 0);
            shown.unasked = 0;
            shown.coaxing = (shown.coaxing * 2).clamp(4, MAX_COAXING);
            self.show(key, out);
        }
    }

    /// A peer lost its slot: what it was shown and did not ask for is shown to others.
    pub(super) fn take_back(&mut self, key: PeerKey, out: &mut Effects<Effect<P>>) {
        let Phase::Transfer(transfer) = &mut self.phase else { return };
        let Some(super_seed) = &mut transfer.super_seed else { return };
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let Some(id) = peer.extensions.as_ref().and_then(|extensions| extensions.lt_donthave) else { return };
        let Some(shown) = peer.sight.masked() else { return };
        shown.coaxing = 0;
        let layout = transfer.info.layout();
        let untouched =
            |(piece, left): (&PieceIndex, &u32)| (*left == layout.requests(*piece).count() as u32).then_some(*piece);
        for piece in shown.pieces.iter().filter_map(untouched).collect::<Vec<_>>() {
            shown.remove(piece);
            super_seed.spread.lower(piece);
            let message = Message::Extended { id, message: Extended::DontHave(piece.0) };
            out.push(Effect::Send { peer: key, message });
        }
    }

    /// Shows the next part of what we have to one that saw little.
    fn unveil(&mut self, key: PeerKey, out: &mut Effects<Effect<P>>) {
        let Phase::Transfer(transfer) = &self.phase else { return };
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let (Sight::Unveiling(shown, next), PeerPieces::Known(bits)) = (&mut peer.sight, &peer.pieces) else { return };
        let have = transfer.picker.have();
        let past = PieceIndex(have.len().min(next.0.saturating_add(SHOWN_AT_ONCE as u32)));
        for piece in (next.0..past.0).map(PieceIndex) {
            if have.get(piece) && !bits.get(piece) && !shown.pieces.contains_key(&piece) {
                out.push(Effect::Send { peer: key, message: Message::Have(piece.0) });
            }
        }
        *next = past;
        peer.last_sent = self.now;
        if past.0 == have.len() {
            peer.sight = Sight::All;
        }
    }
}
