//! The only source advises each leech to fetch other pieces (BEP 6, "suggest piece").
//!
//! Each leech asks for what is rarest among its neighbours, and of what went to one of them the others hear only when it spread
//! as far: so the only source sends a piece again and again while some have not left it at all. It alone sees what nobody has
//! and nobody is fetching. Super-seeding (`super_seed.rs`) shows nothing else; this, of private torrents, only says what would be
//! best, so who does not listen, or wants other files, loses nothing. Who has a slot is advised of one piece ahead of what it asks for.
//!
//! Invariant: a piece in `given` was suggested to that peer, or is being fetched by it, and no neighbour has it; `ahead` is a part
//! of `given`.

use super::{Phase, Swarm};
use crate::event::{Effect, PeerKey};
use crate::peer::{Peer, PeerPieces};
use crate::swarm::super_seed::Sight;
use crate::swarm::transfer::slot;
use shoal_layout::PieceIndex;
use shoal_machine::{Effects, Rng};
use shoal_wire::Message;
use std::collections::{BTreeMap, BTreeSet};

/// Pieces that one peer is advised of and has not begun, at most. Chosen: what a receiver may be expected to keep.
const AHEAD: usize = 8;

/// Which pieces nobody has, and who was advised to fetch them.
#[derive(Debug)]
pub(super) struct Advice {
    /// All pieces in random order; those before `next` are given, or somebody has them.
    order: Vec<u32>,
    next: usize,
    /// Those that were given in vain.
    back: BTreeSet<PieceIndex>,
    given: BTreeMap<PieceIndex, PeerKey>,
    /// Those of them that the peer has not asked for.
    ahead: BTreeMap<PeerKey, Vec<PieceIndex>>,
}

impl Advice {
    fn new(pieces: u32, rng: &Rng) -> Advice {
        let mut order: Vec<u32> = (0..pieces).collect();
        rng.fork("advice").shuffle(&mut order);
        Advice { order, next: 0, back: BTreeSet::new(), given: BTreeMap::new(), ahead: BTreeMap::new() }
    }

    /// A peer is gone: what it had of its pieces is lost.
    pub(super) fn left(&mut self, peer: PeerKey) {
        self.ahead.remove(&peer);
        let its: Vec<PieceIndex> =
            self.given.iter().filter(|(_, holder)| **holder == peer).map(|(&piece, _)| piece).collect();
        self.given.retain(|_, holder| *holder != peer);
        self.back.extend(its);
    }

    /// A peer lost its slot. What it has a part of stays its own until there is nothing else to advise others of.
    fn choked(&mut self, peer: PeerKey) {
        if self.next == self.order.len() {
            return self.left(peer);
        }
        let unasked = self.ahead.remove(&peer).unwrap_or_default();
        self.back.extend(unasked.into_iter().filter(|piece| self.given.remove(piece).is_some()));
    }

    /// A peer asks for a piece that nobody has.
    fn asked(&mut self, peer: PeerKey, piece: PieceIndex) {
        if let Some(ahead) = self.ahead.get_mut(&peer) {
            ahead.retain(|&other| other != piece);
        }
        self.given.entry(piece).or_insert(peer);
    }

    /// Somebody has a piece.
    fn came(&mut self, piece: PieceIndex) {
        if let Some(ahead) = self.given.remove(&piece).and_then(|holder| self.ahead.get_mut(&holder)) {
            ahead.retain(|&other| other != piece);
        }
    }

    /// A piece that nobody has and nobody fetches.
    fn choose(&mut self, nobody_has: impl Fn(PieceIndex) -> bool) -> Option<PieceIndex> {
        while let Some(piece) = self.back.pop_first() {
            if nobody_has(piece) && !self.given.contains_key(&piece) {
                return Some(piece);
            }
        }
        while let Some(&piece) = self.order.get(self.next) {
            self.next += 1;
            let piece = PieceIndex(piece);
            if nobody_has(piece) && !self.given.contains_key(&piece) {
                return Some(piece);
            }
        }
        None
    }
}

impl<P> Swarm<P> {
    /// A peer advises us.
    pub(super) fn suggested(&mut self, key: PeerKey, index: u32) {
        if let Phase::Transfer(transfer) = &mut self.phase
            && let Some(piece) = transfer.info.layout().piece(index)
        {
            transfer.picker.peer_suggests(slot(key), piece);
        }
    }

    /// Once a second: begins while we are the only source of several, and ends when we are not.
    pub(super) fn check_advice(&mut self, out: &mut Effects<Effect<P>>) {
        let leeches = self.peers.values().filter(|peer| peer.wants_us()).count();
        let advises = leeches > 1 && !self.is_super_seeding() && self.is_sole_source();
        let Phase::Transfer(transfer) = &mut self.phase else { return };
        if !advises {
            transfer.advice = None;
        } else if transfer.advice.is_none() {
            transfer.advice = Some(Advice::new(transfer.picker.have().len(), &self.rng));
            for key in self.peers.keys().copied().collect::<Vec<_>>() {
                self.advise(key, out);
            }
        }
    }

    /// Advises one that has a slot, or gets it now, of so much that it need not choose itself.
    pub(super) fn advise(&mut self, key: PeerKey, out: &mut Effects<Effect<P>>) {
        let Phase::Transfer(transfer) = &mut self.phase else { return };
        let Some(advice) = &mut transfer.advice else { return };
        let listens = |peer: &&mut Peer| peer.fast() && !peer.am_choking && matches!(peer.sight, Sight::All);
        let Some(peer) = self.peers.get_mut(&key).filter(listens) else { return };
        let PeerPieces::Known(bits) = &peer.pieces else { return };
        if self.leaving.contains_key(&key) || bits.is_full() {
            return;
        }
        let queued = peer.uploads.len() + peer.uploading.len();
        let most = (queued / transfer.info.layout().blocks_in(PieceIndex(0)) as usize).clamp(1, AHEAD);
        let ahead = advice.ahead.get(&key).map_or(0, Vec::len);
        for _ in ahead..most {
            let Some(piece) = advice.choose(|piece| transfer.picker.availability(piece) == 0) else { return };
            advice.given.insert(piece, key);
            advice.ahead.entry(key).or_default().push(piece);
            peer.last_sent = self.now;
            out.push(Effect::Send { peer: key, message: Message::Suggest(piece.0) });
        }
    }

    /// A peer asks for some of a piece.
    pub(super) fn advised_piece_asked(&mut self, key: PeerKey, piece: PieceIndex, out: &mut Effects<Effect<P>>) {
        let Phase::Transfer(transfer) = &mut self.phase else { return };
        let Some(advice) = &mut transfer.advice else { return };
        if transfer.picker.availability(piece) == 0 {
            advice.asked(key, piece);
            self.advise(key, out);
        }
    }

    /// A peer has a piece.
    pub(super) fn advised_piece_came(&mut self, key: PeerKey, piece: PieceIndex, out: &mut Effects<Effect<P>>) {
        let Phase::Transfer(transfer) = &mut self.phase else { return };
        let Some(advice) = &mut transfer.advice else { return };
        advice.came(piece);
        self.advise(key, out);
    }

    /// A peer lost its slot: others are advised of what it did not begin.
    pub(super) fn take_advice_back(&mut self, key: PeerKey) {
        let Phase::Transfer(transfer) = &mut self.phase else { return };
        if let Some(advice) = &mut transfer.advice {
            advice.choked(key);
        }
    }
}
