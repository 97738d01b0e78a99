//! Hash requests, both ways (BEP 52): what `layers.rs` needs of the swarm.

use super::{Phase, Swarm};
use crate::event::{DisconnectReason, Effect, PeerKey};
use crate::layers::{Came, PATIENCE, PIPELINE};
use crate::peer::Peer;
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

impl<P> Swarm<P> {
    /// Asks a peer that speaks v2 for piece layers that we lack.
    pub(super) fn ask_hashes(&mut self, key: PeerKey, out: &mut Effects<Effect<P>>) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let Phase::Transfer(transfer) = &mut self.phase else { return };
        let truncated = self.config.hashes.v2.as_ref().map(|hash| hash.truncated());
        let rests = peer.refused_hashes || self.now < peer.hashes_rest_until;
        if transfer.layer_fetch.is_done() || rests || !speaks_v2(peer, truncated) {
            return;
        }
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
            let late = now.since(at) >= PATIENCE;
            if late {
                // Else it would be asked first again, and others never (fault seed 389: a magnet link without an end).
                peer.hashes_rest_until = now + REST;
                transfer.layer_fetch.refused(key, range);
            }
            !late
        });
    }

    pub(super) fn hash_requested(&mut self, key: PeerKey, range: HashRange, out: &mut Effects<Effect<P>>) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        peer.hashes_served += 1;
        peer.last_sent = self.now;
        let answer = match &mut self.phase {
            Phase::Transfer(transfer) if peer.hashes_served <= MAX_SERVED => {
                transfer.layer_trees.serve(&transfer.info, &transfer.layers, range)
            }
            _ => None,
        };
        let message = match answer {
            Some(hashes) => Message::Hashes(range, hashes),
            None => Message::HashReject(range),
        };
        out.push(Effect::Send { peer: key, message });
    }
}
