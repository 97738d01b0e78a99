//! Hash requests, both ways (BEP 52): what `layers.rs`, `leaves.rs` and `leaf_server.rs` need of the swarm.

use super::transfer::Transfer;
use super::{Phase, Swarm};
use crate::event::{DisconnectReason, Effect, LeavesOutcome, PeerKey};
use crate::layers::{Came, PATIENCE, PIPELINE};
use crate::leaves;
use crate::peer::Peer;
use shoal_layout::PieceIndex;
use shoal_machine::Effects;
use shoal_wire::{HashRange, Message};
use std::time::Duration;

/// Hash requests served to one connection, at most. Chosen: all layers of 2^21 pieces are 4,096 runs; twice that.
const MAX_SERVED: u64 = 8_192;

/// So long a peer that let a hash request pass is passed over. Chosen: as one that snubs (BEP 3).
const REST: Duration = Duration::from_secs(60);

/// Whether a peer understands hash requests: it said so, or it came by the v2 hash (BEP 52, "upgrade path").
fn speaks_v2(peer: &Peer, truncated_v2: Option<[u8; 20]>) -> bool {
    peer.handshake.supports_v2() || truncated_v2 == Some(peer.handshake.info_hash)
}

/// What becomes of a hash request.
enum Served {
    Now(Option<Vec<[u8; 32]>>),
    /// Its piece is to be read first.
    Later(PieceIndex),
}

fn serve<P>(transfer: &mut Transfer<P>, range: HashRange) -> Served {
    let Transfer { layer_trees, info, layers, known_leaves, picker, .. } = transfer;
    if range.base_layer > 0 {
        return Served::Now(layer_trees.serve(info, layers, range));
    }
    let piece = layer_trees.piece_of_leaves(info, layers, range).filter(|&piece| picker.have().get(piece));
    match piece.map(|piece| (piece, known_leaves.get(piece))) {
        Some((_, Some(leaves))) => Served::Now(layer_trees.serve_leaves(info, layers, range, leaves)),
        Some((piece, None)) => Served::Later(piece),
        // Where a piece is a block its layer is known.
        None => Served::Now(layer_trees.serve(info, layers, range)),
    }
}

impl<P> Swarm<P> {
    /// Whether a peer may be asked for hashes.
    pub(super) fn gives_hashes(&self, peer: &Peer) -> bool {
        let truncated = self.config.hashes.v2.as_ref().map(|hash| hash.truncated());
        self.now >= peer.hashes_rest_until && speaks_v2(peer, truncated)
    }

    /// Asks a peer that speaks v2 for piece layers that we lack.
    pub(super) fn ask_hashes(&mut self, key: PeerKey, out: &mut Effects<Effect<P>>) {
        // As for most torrents most of the time.
        if matches!(&self.phase, Phase::Transfer(transfer) if transfer.layer_fetch.is_done()) {
            return;
        }
        let gives = |peer: &Peer| !peer.refused_hashes && self.gives_hashes(peer);
        if !self.peers.get(&key).is_some_and(gives) {
            return;
        }
        let (Phase::Transfer(transfer), Some(peer)) = (&mut self.phase, self.peers.get_mut(&key)) else { return };
        let room = PIPELINE.saturating_sub(peer.hash_requests.len());
        for range in transfer.layer_fetch.pick(self.now, key, room) {
            peer.hash_requests.push((range, self.now));
            peer.last_sent = self.now;
            out.push(Effect::Send { peer: key, message: Message::HashRequest(range) });
        }
    }

    pub(super) fn hashes_came(
        &mut self,
        key: PeerKey,
        range: HashRange,
        hashes: Vec<[u8; 32]>,
        out: &mut Effects<Effect<P>>,
    ) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let Some(place) = peer.hash_requests.iter().position(|(asked, _)| *asked == range) else {
            if peer.hashes_rest_until > shoal_machine::Time::ZERO {
                // It let a request lapse, and this may be the answer: late, not wrong.
                return;
            }
            return self.fault(key, "hashes that nobody asked for", out);
        };
        peer.hash_requests.swap_remove(place);
        if self.leaves_came(key, range, &hashes, out) {
            return;
        }
        let Phase::Transfer(transfer) = &mut self.phase else { return };
        match transfer.layer_fetch.came(key, range, &hashes) {
            // It timed out, and somebody else was asked.
            Came::Unasked => {}
            Came::Forged => return self.ban_peer(key, DisconnectReason::Corrupt, out),
            Came::Kept => {}
            Came::Whole(file, layer) => {
                let info = transfer.info.clone();
                if transfer.layers.insert(&info, file, layer).is_ok() {
                    if transfer.layer_fetch.is_done() {
                        out.push(Effect::Layers(transfer.layers.clone()));
                    }
                    transfer.set_wanted();
                    self.recount_wanted();
                }
            }
        }
        self.touch(key);
    }

    pub(super) fn hashes_refused(&mut self, key: PeerKey, range: HashRange) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        peer.hash_requests.retain(|(asked, _)| *asked != range);
        if let Phase::Transfer(transfer) = &mut self.phase
            && transfer.doubts.refused(key, range)
        {
            return;
        }
        // One that has not got the layer is not asked again until it says that it has more (it may be a leech too).
        peer.refused_hashes = true;
        if let Phase::Transfer(transfer) = &mut self.phase {
            transfer.layer_fetch.refused(key, range);
        }
        self.touch_all = true;
    }

    /// Gives what a peer does not answer to others.
    pub(super) fn check_hash_requests(&mut self, key: PeerKey, _out: &mut Effects<Effect<P>>) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        // Refusals are forgiven with every tick: a leech that lacked a layer may have it now.
        peer.refused_hashes = false;
        let Phase::Transfer(transfer) = &mut self.phase else { return };
        let now = self.now;
        peer.hash_requests.retain(|&(range, at)| {
            let patience = if transfer.doubts.waits(key, range) { leaves::PATIENCE } else { PATIENCE };
            let late = now.since(at) >= patience;
            if late {
                // Else it would be asked first again, and others never (fault seed 389: a magnet link without an end).
                peer.hashes_rest_until = now + REST;
                if !transfer.doubts.refused(key, range) {
                    transfer.layer_fetch.refused(key, range);
                }
            }
            !late
        });
    }

    pub(super) fn hash_requested(&mut self, key: PeerKey, range: HashRange, out: &mut Effects<Effect<P>>) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        peer.hashes_served += 1;
        peer.last_sent = self.now;
        let answer = match &mut self.phase {
            Phase::Transfer(transfer) if peer.hashes_served <= MAX_SERVED => match serve(transfer, range) {
                Served::Now(answer) => answer,
                Served::Later(piece) => {
                    let (bytes, allowance) = (transfer.info.layout().piece_size(piece), &mut peer.leaves_allowed);
                    if transfer.leaf_server.queue(self.now, key, allowance, range, (piece, bytes)) {
                        return self.read_leaves(out);
                    }
                    None
                }
            },
            _ => None,
        };
        self.send_hashes(key, range, answer, out);
    }

    fn send_hashes(
        &mut self,
        key: PeerKey,
        range: HashRange,
        answer: Option<Vec<[u8; 32]>>,
        out: &mut Effects<Effect<P>>,
    ) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        peer.last_sent = self.now;
        let message = match answer {
            Some(hashes) => Message::Hashes(range, hashes),
            None => Message::HashReject(range),
        };
        out.push(Effect::Send { peer: key, message });
    }

    /// Orders the next piece that somebody waits for to be read.
    fn read_leaves(&mut self, out: &mut Effects<Effect<P>>) {
        let Phase::Transfer(transfer) = &mut self.phase else { return };
        while let Some(piece) = transfer.leaf_server.next() {
            if transfer.picker.have().get(piece) {
                return out.push(Effect::ReadLeaves { piece });
            }
            // It was lost meanwhile.
            for (key, range) in transfer.leaf_server.read(piece) {
                out.push(Effect::Send { peer: key, message: Message::HashReject(range) });
            }
        }
    }

    /// A piece was read for those who asked for its leaves.
    pub(super) fn leaves_read(&mut self, piece: PieceIndex, outcome: LeavesOutcome, out: &mut Effects<Effect<P>>) {
        let Phase::Transfer(transfer) = &mut self.phase else { return };
        let waited = transfer.leaf_server.read(piece);
        let mut lost = false;
        match outcome {
            LeavesOutcome::Read(leaves) => transfer.known_leaves.keep(piece, leaves),
            LeavesOutcome::Failed { lost: gone } => lost = gone,
        }
        for (key, range) in waited {
            let Phase::Transfer(transfer) = &mut self.phase else { return };
            let Transfer { layer_trees, info, layers, known_leaves, .. } = &mut **transfer;
            let leaves = known_leaves.get(piece);
            let answer = leaves.and_then(|leaves| layer_trees.serve_leaves(info, layers, range, leaves));
            self.send_hashes(key, range, answer, out);
        }
        if lost {
            self.lose_piece(piece, out);
        }
        self.read_leaves(out);
    }
}
