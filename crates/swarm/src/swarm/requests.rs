//! Asking for blocks: how many, of whom, and what happens when they come or do not.
//!
//! Invariant: a peer's `requests`, the picker's marks and the driver's grants name the same blocks; each of the ways out
//! (block, reject, choke, cancel, time-out, donthave, disconnect) takes a block from all three.

use super::transfer::{Held, slot};
use super::{Phase, Swarm};
use crate::blame::Giver;
use crate::event::{DisconnectReason, Effect, PeerKey};
use crate::peer::{Asked, PeerPieces};
use crate::web_seeds;
use shoal_layout::{BLOCK_LENGTH, BlockRef};
use shoal_machine::Effects;
use shoal_pieces::PeerSlot;
use shoal_wire::{Message, RawBlock};

/// Bytes of a piece message's header: length, kind, piece, begin (BEP 3).
const PIECE_HEADER: u64 = 13;
/// Time-outs in a row after which a peer that gave nothing goes. Chosen.
const MAX_SNUBS: u32 = 3;

/// What a block costs of the credit: the bytes on the wire, its header counted.
pub(super) fn cost(block: BlockRef) -> u64 {
    u64::from(block.length) + PIECE_HEADER
}

pub(super) fn raw(block: BlockRef) -> RawBlock {
    RawBlock { piece: block.piece.0, begin: block.begin, length: block.length }
}

impl<P> Swarm<P> {
    /// Asks this peer for more blocks if its pipeline has room.
    pub(super) fn fill_pipeline(&mut self, key: PeerKey, out: &mut Effects<Effect<P>>) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        if !peer.am_interested || (peer.peer_choking && peer.allowed_fast.is_empty()) {
            return;
        }
        let Phase::Transfer(transfer) = &mut self.phase else { return };
        let PeerPieces::Known(bits) = &peer.pieces else { return };
        let depth = peer.pipeline(self.now);
        let outstanding = peer.requests.len() as u32;
        // A pipeline is topped up when an eighth of it is gone, so that picking is done by the handful.
        if outstanding > 0 && outstanding + depth / 8 >= depth {
            return;
        }
        let room = u64::from(depth - outstanding.min(depth));
        let affordable = self.credit.down / (u64::from(BLOCK_LENGTH) + PIECE_HEADER);
        let count = room.min(affordable) as usize;
        if affordable < room && self.demand.is_none_or(|told| told.down == 0) {
            self.demand_due = true;
        }
        if count == 0 {
            return;
        }
        let fast_only = peer.peer_choking.then(|| Self::fast_pieces(peer, bits));
        let max_open = transfer.max_open_pieces(self.config.max_assembly_bytes);
        let mut blocks = Vec::with_capacity(count.min(64));
        let source = fast_only.as_ref().unwrap_or(bits);
        let restricted = transfer.without_others_exclusive(source, slot(key));
        let source = restricted.as_ref().unwrap_or(source);
        let few_open = transfer.few_open_pieces(max_open, self.download.over(self.now, 2));
        transfer.picker.pick(slot(key), source, count, self.config.order, few_open, &mut blocks);
        if blocks.is_empty() && outstanding == 0 && few_open < max_open {
            // It has nothing of the open pieces: rather one more than an idle peer.
            transfer.picker.pick(slot(key), source, count, self.config.order, max_open, &mut blocks);
        }
        if !blocks.is_empty() {
            if peer.requests.is_empty() {
                // Its silence until now was ours.
                peer.last_block = self.now;
            }
            peer.last_sent = self.now;
        }
        for block in blocks {
            if let Some(owner) = transfer.exclusive.get_mut(&block.piece) {
                *owner = Some(slot(key));
            }
            self.credit.down = self.credit.down.saturating_sub(cost(block));
            peer.requests.push_back(Asked { block, at: self.now });
            out.push(Effect::Grant { peer: key, block });
            out.push(Effect::Send { peer: key, message: Message::Request(raw(block)) });
        }
    }

    /// A block came that was asked for.
    pub(super) fn block(&mut self, key: PeerKey, block: BlockRef, payload: P, out: &mut Effects<Effect<P>>) {
        let length = u64::from(block.length);
        let Some(peer) = self.peers.get_mut(&key) else {
            self.wasted += length;
            return;
        };
        peer.last_received = self.now;
        let Some(asked) = peer.take_request(block) else {
            // It crossed our cancel: the driver's grant was still there, ours was gone.
            self.wasted += length;
            peer.unrequested += length;
            return;
        };
        let was_snubbing = peer.snubbing;
        peer.block_came(self.now, asked);
        self.download.add(self.now, length);
        self.moved = Some(self.now);
        let sender = peer.sender();
        self.touch(key);
        let Phase::Transfer(transfer) = &mut self.phase else { return };
        if was_snubbing {
            transfer.picker.peer_slow(slot(key), false);
        }
        self.keep_block(block, payload, slot(key), Giver::Peer(sender), out);
    }

    /// Keeps a block that came, if it is still missing, and takes back what others were asked of it.
    pub(super) fn keep_block(
        &mut self,
        block: BlockRef,
        payload: P,
        from: PeerSlot,
        giver: Giver,
        out: &mut Effects<Effect<P>>,
    ) {
        let Phase::Transfer(transfer) = &mut self.phase else { return };
        let received = transfer.picker.received(block, from);
        if received.fresh {
            transfer.assembly.entry(block.piece).or_default().insert(block.begin, Held { payload, giver });
            transfer.assembly_bytes += u64::from(block.length);
        } else {
            self.wasted += u64::from(block.length);
        }
        for other in received.others {
            match web_seeds::seed_of(other) {
                Some(seed) => self.forget_fetched(seed, block, out),
                None => self.cancel(PeerKey(other.0), block, out),
            }
        }
        if received.piece_complete {
            self.store(block.piece, out);
        }
    }

    /// Takes a request back and tells the peer (endgame, time-out, another choice of files).
    pub(super) fn cancel(&mut self, key: PeerKey, block: BlockRef, out: &mut Effects<Effect<P>>) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        if peer.take_request(block).is_none() {
            return;
        }
        if let Phase::Transfer(transfer) = &mut self.phase {
            transfer.picker.abandoned(block, slot(key));
        }
        peer.last_sent = self.now;
        self.credit.down = self.credit.down.saturating_add(cost(block));
        out.push(Effect::Revoke { peer: key, block });
        out.push(Effect::Send { peer: key, message: Message::Cancel(raw(block)) });
        self.touch(key);
    }

    /// A peer will not answer this request (BEP 6). A rejection of what was not asked for crossed a cancel.
    pub(super) fn rejected(&mut self, key: PeerKey, raw: RawBlock, out: &mut Effects<Effect<P>>) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let Some(block) = peer.asked_for(raw) else { return };
        peer.take_request(block);
        // An allowed piece that is refused is not allowed any more (BEP 6).
        peer.allowed_fast.remove(&block.piece);
        let peer_choking = peer.peer_choking;
        if let Phase::Transfer(transfer) = &mut self.phase {
            transfer.picker.abandoned(block, slot(key));
            // One that chokes and unchokes would else keep a piece that it alone is asked for (fault seed 9465).
            if let Some(owner) = transfer.exclusive.get_mut(&block.piece).filter(|owner| **owner == Some(slot(key))) {
                *owner = None;
                self.touch_all |= peer_choking;
            }
        }
        self.credit.down = self.credit.down.saturating_add(cost(block));
        out.push(Effect::Revoke { peer: key, block });
        // Nobody is asked again at once: with the same peer that would be a loop as fast as the path. The tick asks.
        self.keeps_from_us(key, out);
    }

    /// One that unchoked us and rejects keeps blocks from us as one that is silent does: others are asked first, and for the
    /// pieces that it alone was asked for too (fault seed 1144: else it holds up a piece that came corrupt once for ever).
    fn keeps_from_us(&mut self, key: PeerKey, out: &mut Effects<Effect<P>>) {
        let Some(peer) = self.peers.get_mut(&key).filter(|peer| !peer.peer_choking && peer.requests.is_empty()) else {
            return;
        };
        peer.snubbing = true;
        peer.snubs += 1;
        let goes = peer.snubs >= MAX_SNUBS && !peer.gave_good;
        if let Phase::Transfer(transfer) = &mut self.phase {
            transfer.picker.peer_slow(slot(key), true);
            transfer.release_exclusive(slot(key));
        }
        if goes {
            self.close(key, DisconnectReason::Idle, out);
        }
    }

    /// A peer chokes us. Without the fast extension that takes back all requests (BEP 3); with it each one is answered.
    pub(super) fn choked_by(&mut self, key: PeerKey, out: &mut Effects<Effect<P>>) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        peer.peer_choking = true;
        if let Phase::Transfer(transfer) = &mut self.phase {
            transfer.picker.forget_suggestions(slot(key));
        }
        if !peer.fast() {
            for block in peer.requests.iter().map(|asked| asked.block).collect::<Vec<_>>() {
                self.give_up(key, block, out);
            }
        }
    }

    /// Gives what a peer keeps from us for too long to others (BEP 3, anti-snubbing).
    pub(super) fn check_snubbing(&mut self, key: PeerKey, out: &mut Effects<Effect<P>>) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let Some(oldest) = peer.requests.front() else { return };
        if self.now.since(peer.last_block.max(oldest.at)) < peer.patience(self.now) {
            return;
        }
        peer.snubbing = true;
        peer.snubs += 1;
        if let Phase::Transfer(transfer) = &mut self.phase {
            transfer.picker.peer_slow(slot(key), true);
            transfer.release_exclusive(slot(key));
        }
        if peer.snubs >= MAX_SNUBS && !peer.gave_good {
            return self.close(key, DisconnectReason::Idle, out);
        }
        for block in peer.requests.iter().map(|asked| asked.block).collect::<Vec<_>>() {
            self.cancel(key, block, out);
        }
        self.touch_all = true;
    }

    /// Cancels every request for which `gone` says so.
    pub(super) fn cancel_where(&mut self, gone: impl Fn(BlockRef) -> bool, out: &mut Effects<Effect<P>>) {
        let all: Vec<(PeerKey, BlockRef)> = self
            .peers
            .values()
            .flat_map(|peer| peer.requests.iter().map(|asked| (peer.key, asked.block)))
            .filter(|&(_, block)| gone(block))
            .collect();
        for (key, block) in all {
            self.cancel(key, block, out);
        }
        let fetched: Vec<_> = self.web_seeds.asked().filter(|&(_, block)| gone(block)).collect();
        for (seed, block) in fetched {
            self.forget_fetched(seed, block, out);
        }
    }
}
