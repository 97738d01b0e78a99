//! A corrupt piece: which of its blocks are wrong, who sent them, and what is fetched again (BEP 52, "hash request").
//!
//! A v2 piece is kept, in doubt, while somebody is asked for its leaves; then the right blocks stay, the wrong ones are
//! asked for again, and whoever sent them lied. A v1 piece, or one that nobody has leaves of, is thrown away whole, and
//! `blame.rs` finds the liar when it comes right.
//!
//! Invariants: a piece in doubt is still `storing`, so its bytes are counted; it does not stay so for longer than [`WAIT`]; nobody
//! is asked who did not say that he has the piece.

use super::transfer::Held;
use super::{Phase, Swarm};
use crate::blame::Giver;
use crate::event::{DisconnectReason, Effect, PeerKey};
use crate::leaves::{Doubtful, LeavesCame, Place};
use crate::peer::{Peer, PeerPieces};
use shoal_layout::{BlockRef, PieceIndex};
use shoal_machine::Effects;
use shoal_wire::{HashRange, Message};
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::time::Duration;

/// How long a piece is in doubt, at most. Chosen: long enough for two who are silent and another one who answers.
const WAIT: Duration = Duration::from_secs(15);

impl<P> Swarm<P> {
    /// A piece's hashes do not fit.
    pub(super) fn corrupt(
        &mut self,
        piece: PieceIndex,
        blocks: Vec<(BlockRef, P)>,
        digests: Vec<[u8; 32]>,
        out: &mut Effects<Effect<P>>,
    ) {
        let Phase::Transfer(transfer) = &mut self.phase else { return };
        let hash = transfer.info.piece_hashes(piece, &transfer.layers).and_then(|hashes| hashes.v2);
        let place = hash.and_then(|hash| Place::of(&transfer.info, piece, hash));
        let whole = |place: &Place| place.data() == blocks.len() && digests.len() == blocks.len();
        let Some(place) = place.filter(|place| whole(place) && transfer.doubts.have_room()) else {
            return self.throw_away(piece, &digests, None, out);
        };
        let sole = transfer.storing.get(&piece).and_then(|givers| crate::blame::sole(givers));
        let doubtful = Doubtful::new(place, blocks, digests, sole, self.now);
        transfer.doubts.pieces.insert(piece, doubtful);
        if let Some(leaves) = transfer.known_leaves.get(piece).map(<[_]>::to_vec) {
            self.judge_blocks(piece, &leaves, out);
        }
        if let Some(liar) = sole {
            self.lied(liar, out);
        }
    }

    /// Asks for the leaves of pieces that wait for nobody's answer, and gives up those for which nobody is left to ask.
    pub(super) fn settle_doubts(&mut self, out: &mut Effects<Effect<P>>) {
        let Phase::Transfer(transfer) = &self.phase else { return };
        let all = transfer.doubts.pieces.iter();
        let late = |doubtful: &Doubtful<P>| self.now.since(doubtful.since) >= WAIT;
        let due: Vec<(PieceIndex, bool)> = all
            .filter(|(_, doubtful)| doubtful.is_idle() || late(doubtful))
            .map(|(&piece, doubtful)| (piece, late(doubtful)))
            .collect();
        for (piece, late) in due {
            let source = if late { None } else { self.source_of_leaves(piece) };
            match source {
                Some(key) => self.ask_leaves(key, piece, out),
                None => {
                    let Phase::Transfer(transfer) = &mut self.phase else { return };
                    let Some(doubtful) = transfer.doubts.pieces.remove(&piece) else { continue };
                    self.throw_away(piece, &doubtful.digests, doubtful.blamed, out);
                }
            }
        }
    }

    /// Whom to ask for a piece's leaves: one who has the piece and speaks v2, first who gave none of it, then who gave good pieces
    /// before.
    fn source_of_leaves(&self, piece: PieceIndex) -> Option<PeerKey> {
        let Phase::Transfer(transfer) = &self.phase else { return None };
        let doubtful = transfer.doubts.pieces.get(&piece)?;
        let givers = transfer.storing.get(&piece)?;
        let can = |peer: &&Peer| {
            let has = matches!(&peer.pieces, PeerPieces::Known(bits) if bits.get(piece));
            has && doubtful.may_ask(peer.key) && self.gives_hashes(peer)
        };
        let gave_some = |peer: &Peer| givers.iter().any(|(_, giver)| *giver == Giver::Peer(peer.sender()));
        self.peers
            .values()
            .filter(can)
            .min_by_key(|peer| (gave_some(peer), Reverse(peer.gave_good), peer.hash_requests.len()))
            .map(|peer| peer.key)
    }

    fn ask_leaves(&mut self, key: PeerKey, piece: PieceIndex, out: &mut Effects<Effect<P>>) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let Phase::Transfer(transfer) = &mut self.phase else { return };
        let Some(doubtful) = transfer.doubts.pieces.get_mut(&piece) else { return };
        let range = doubtful.ask(key);
        peer.hash_requests.push((range, self.now));
        peer.last_sent = self.now;
        out.push(Effect::Send { peer: key, message: Message::HashRequest(range) });
    }

    /// Takes hashes that were asked for. False if they are none of a piece in doubt.
    pub(super) fn leaves_came(
        &mut self,
        key: PeerKey,
        range: HashRange,
        hashes: &[[u8; 32]],
        out: &mut Effects<Effect<P>>,
    ) -> bool {
        let Phase::Transfer(transfer) = &mut self.phase else { return false };
        match transfer.doubts.came(key, range, hashes) {
            LeavesCame::Unasked => return false,
            LeavesCame::Kept => {}
            LeavesCame::Forged => self.ban_peer(key, DisconnectReason::Corrupt, out),
            LeavesCame::Whole(piece, leaves) => {
                self.judge_blocks(piece, &leaves, out);
                if let Phase::Transfer(transfer) = &mut self.phase {
                    transfer.known_leaves.keep(piece, leaves);
                }
            }
        }
        true
    }

    /// The leaves of a piece in doubt are known: right blocks stay, wrong ones are fetched again, their senders lied.
    fn judge_blocks(&mut self, piece: PieceIndex, leaves: &[[u8; 32]], out: &mut Effects<Effect<P>>) {
        let Phase::Transfer(transfer) = &mut self.phase else { return };
        let Some(Doubtful { blocks, digests, blamed, .. }) = transfer.doubts.pieces.remove(&piece) else { return };
        if digests == leaves {
            // A hybrid whose two kinds of hashes are at odds: no block is wrong, and the piece cannot come right.
            return self.throw_away(piece, &digests, blamed, out);
        }
        let givers = transfer.stored_away(piece);
        let (mut wrong, mut liars) = (Vec::new(), BTreeSet::new());
        let mut kept = std::collections::BTreeMap::new();
        for (((block, payload), (_, giver)), (digest, leaf)) in
            blocks.into_iter().zip(givers).zip(digests.iter().zip(leaves))
        {
            if digest == leaf {
                transfer.assembly_bytes += u64::from(block.length);
                kept.insert(block.begin, Held { payload, giver });
            } else {
                self.wasted += u64::from(block.length);
                wrong.push(block);
                liars.insert(giver);
            }
        }
        transfer.picker.blocks_failed(piece, &wrong);
        if !kept.is_empty() {
            transfer.assembly.insert(piece, kept);
        }
        transfer.exclusive.remove(&piece);
        for liar in liars.into_iter().filter(|liar| Some(*liar) != blamed) {
            self.lied(liar, out);
        }
        self.touch_all = true;
    }

    /// Nobody says which blocks are wrong: all are fetched again, of one peer.
    fn throw_away(
        &mut self,
        piece: PieceIndex,
        digests: &[[u8; 32]],
        blamed: Option<Giver>,
        out: &mut Effects<Effect<P>>,
    ) {
        let Phase::Transfer(transfer) = &mut self.phase else { return };
        let senders = transfer.stored_away(piece);
        transfer.picker.piece_failed(piece);
        self.wasted += u64::from(transfer.info.layout().payload_in(piece));
        match transfer.blame.corrupt(piece, &senders, digests) {
            Some(liar) if Some(liar) == blamed => {}
            Some(liar) => self.lied(liar, out),
            None => {
                transfer.exclusive.insert(piece, None);
            }
        }
        self.touch_all = true;
    }

    /// A peer is banned at its first lie; a web seed at its second (reliability.md D5).
    pub(super) fn lied(&mut self, liar: Giver, out: &mut Effects<Effect<P>>) {
        match liar {
            Giver::Peer(sender) => self.ban(sender, DisconnectReason::Corrupt, out),
            Giver::WebSeed(seed) => self.web_seed_gave(seed, false, out),
        }
    }
}
