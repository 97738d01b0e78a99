//! Serving blocks, and whom.
//!
//! Invariants: nothing is ordered for a peer that we choke, but for the pieces of its fast set (BEP 6); nothing but
//! pieces that we have; never more than [`UPLOAD_WINDOW`] bytes ordered and not reported for one peer.

use super::requests::{cost, raw};
use super::{Phase, Swarm};
use crate::choke::Candidate;
use crate::event::{Credit, Demand, DisconnectReason, Effect, PeerKey};
use crate::peer::MAX_QUEUED_UPLOADS;
use shoal_layout::{BLOCK_LENGTH, BlockRef};
use shoal_machine::Effects;
use shoal_wire::{Message, RawBlock};

/// Bytes ordered from the driver for one peer, at most. Chosen: at 1 GB/s half a millisecond, the time in which the
/// driver's report comes back.
const UPLOAD_WINDOW: u64 = 512 << 10;
/// The longest run that any client ever asked for at once (BEP 3, older texts); what is longer than a block is refused, what
/// is longer than this is no mistake.
const MAX_REQUEST: u32 = 128 << 10;
/// Requests over the bound of the queue after which the peer is one that floods, beside four for each block that it was
/// sent. Chosen: `reqq` told it the bound; one that ignores it and asks again for what was refused is still served.
const MAX_OVERFLOW: u64 = 10_000;

impl<P> Swarm<P> {
    pub(super) fn requested(&mut self, key: PeerKey, asked: RawBlock, out: &mut Effects<Effect<P>>) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let Phase::Transfer(transfer) = &self.phase else {
            return self.refuse(key, asked, out);
        };
        let Some(block) = transfer.info.layout().block(asked.piece, asked.begin, asked.length) else {
            return self.ban_peer(key, DisconnectReason::Protocol("asks for bytes that do not exist"), out);
        };
        if block.length > MAX_REQUEST {
            return self.ban_peer(key, DisconnectReason::Protocol("asks for more than 128 KiB at once"), out);
        }
        let served = block.length <= BLOCK_LENGTH && (!peer.am_choking || peer.granted_fast.contains(&block.piece));
        if !served || !transfer.picker.have().get(block.piece) {
            return self.refuse(key, asked, out);
        }
        if peer.uploads.contains(&block) || peer.uploading.contains(&block) {
            return;
        }
        // Those that are being sent are not counted: the peer may have them already, and their place filled.
        if peer.uploads.len() >= MAX_QUEUED_UPLOADS {
            peer.overflow += 1;
            let served = peer.upload.total() / u64::from(BLOCK_LENGTH);
            if u64::from(peer.overflow) > MAX_OVERFLOW + 4 * served {
                return self.ban_peer(key, DisconnectReason::Protocol("floods requests"), out);
            }
            return self.refuse(key, asked, out);
        }
        peer.uploads.push_back(block);
        self.uploads_due = true;
    }

    /// Says that a request will not be answered, to those who understand it (BEP 6).
    fn refuse(&mut self, key: PeerKey, asked: RawBlock, out: &mut Effects<Effect<P>>) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        if peer.fast() {
            peer.last_sent = self.now;
            out.push(Effect::Send { peer: key, message: Message::Reject(asked) });
        }
    }

    pub(super) fn cancelled(&mut self, key: PeerKey, asked: RawBlock, out: &mut Effects<Effect<P>>) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let is = |block: &BlockRef| raw(*block) == asked;
        if let Some(place) = peer.uploads.iter().position(is) {
            peer.uploads.remove(place);
            self.refuse(key, asked, out);
        } else if let Some(&block) = peer.uploading.iter().find(|block| is(block)) {
            out.push(Effect::CancelUpload { peer: key, block });
        }
    }

    /// Orders what credit and windows allow: a block a turn and peer while credit is short, so that it is shared.
    pub(super) fn pump_uploads(&mut self, out: &mut Effects<Effect<P>>) {
        let mut waiting: Vec<PeerKey> =
            self.peers.values().filter(|peer| !peer.uploads.is_empty()).map(|peer| peer.key).collect();
        if let Some(turn) = self.upload_turn {
            let after = waiting.partition_point(|&key| key <= turn);
            waiting.rotate_left(after);
        }
        while !waiting.is_empty() {
            waiting.retain(|&key| {
                let Some(peer) = self.peers.get_mut(&key) else { return false };
                let in_flight: u64 = peer.uploading.iter().map(|&block| cost(block)).sum();
                let Some(&block) = peer.uploads.front() else { return false };
                if in_flight + cost(block) > UPLOAD_WINDOW {
                    return false;
                }
                if self.credit.up < cost(block) {
                    self.demand_due |= self.demand.is_none_or(|told| told.up == 0);
                    return false;
                }
                peer.uploads.pop_front();
                peer.uploading.push_back(block);
                peer.last_sent = self.now;
                self.credit.up -= cost(block);
                self.upload_turn = Some(key);
                out.push(Effect::Upload { peer: key, block });
                true
            });
        }
    }

    pub(super) fn uploaded(&mut self, key: PeerKey, block: BlockRef) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        if let Some(place) = peer.uploading.iter().position(|&uploading| uploading == block) {
            peer.uploading.remove(place);
            peer.upload.add(self.now, u64::from(block.length));
            self.upload.add(self.now, u64::from(block.length));
            self.uploads_due |= !peer.uploads.is_empty();
        }
    }

    /// A block could not be read. If its file changed, the piece is not ours any more.
    pub(super) fn upload_failed(&mut self, key: PeerKey, block: BlockRef, lost: bool, out: &mut Effects<Effect<P>>) {
        if let Some(peer) = self.peers.get_mut(&key)
            && let Some(place) = peer.uploading.iter().position(|&uploading| uploading == block)
        {
            peer.uploading.remove(place);
            self.credit.up = self.credit.up.saturating_add(cost(block));
            self.refuse(key, raw(block), out);
        }
        if lost {
            self.lose_piece(block.piece, out);
        }
    }

    /// Every ten seconds: who is unchoked (BEP 3).
    pub(super) fn choke_round(&mut self, out: &mut Effects<Effect<P>>) {
        let candidates = self.candidates();
        let seeding = self.is_complete();
        let chosen = self.choker.round(self.now, seeding, self.slots as usize, &candidates);
        for key in self.peers.keys().copied().collect::<Vec<_>>() {
            self.set_choking(key, !chosen.contains(&key), out);
        }
    }

    fn candidates(&self) -> Vec<Candidate> {
        let interested = self.peers.values().filter(|peer| peer.peer_interested && !peer.upload_only);
        let candidate = interested.map(|peer| Candidate {
            peer: peer.key,
            unchoked: !peer.am_choking,
            changed: peer.choke_changed,
            gives: peer.download.over(self.now, 19),
            snubbing: peer.snubbing,
        });
        candidate.collect()
    }

    /// Between rounds: a slot that nobody holds goes to whoever became interested, at once.
    pub(super) fn use_free_slots(&mut self, out: &mut Effects<Effect<P>>) {
        if self.stopping || !matches!(self.phase, Phase::Transfer(_)) {
            return;
        }
        let held = self.peers.values().filter(|peer| !peer.am_choking && peer.peer_interested).count();
        let free = (self.slots as usize).saturating_sub(held);
        let mut waiting: Vec<_> = self.candidates().into_iter().filter(|candidate| !candidate.unchoked).collect();
        waiting.sort_by_key(|candidate| candidate.changed);
        for candidate in waiting.into_iter().take(free) {
            self.set_choking(candidate.peer, false, out);
        }
    }

    fn set_choking(&mut self, key: PeerKey, choke: bool, out: &mut Effects<Effect<P>>) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        if peer.am_choking == choke {
            return;
        }
        peer.am_choking = choke;
        peer.choke_changed = Some(self.now);
        peer.last_sent = self.now;
        let message = if choke { Message::Choke } else { Message::Unchoke };
        out.push(Effect::Send { peer: key, message });
        if choke {
            let granted = &peer.granted_fast;
            let (kept, dropped): (Vec<_>, Vec<_>) = peer.uploads.iter().partition(|b| granted.contains(&b.piece));
            peer.uploads = kept.into();
            let fast = peer.fast();
            for block in dropped {
                // A choke takes back what was asked for: silently (BEP 3) or one by one (BEP 6).
                if fast {
                    out.push(Effect::Send { peer: key, message: Message::Reject(raw(block)) });
                }
            }
        }
    }

    /// Tells the host what credit holds back: after each credit that it gave, and when that begins or ends.
    pub(super) fn tell_demand(&mut self, out: &mut Effects<Effect<P>>) {
        if self.credit.up >= Credit::UNLIMITED / 2 && self.credit.down >= Credit::UNLIMITED / 2 {
            // Without limits only the number of those who wait for a slot matters.
            let interested = self.peers.values().filter(|peer| peer.peer_interested).count() as u32;
            self.send_demand(Demand { up: 0, down: 0, interested }, out);
            return;
        }
        let up = self.peers.values().flat_map(|peer| &peer.uploads).map(|&block| cost(block)).sum::<u64>();
        let mut down = 0_u64;
        if let Phase::Transfer(transfer) = &self.phase
            && !transfer.complete
            && !transfer.disk_refuses()
        {
            for peer in self.peers.values() {
                if peer.am_interested && !peer.peer_choking {
                    let depth = peer.pipeline(self.now);
                    let room = u64::from(depth.saturating_sub(peer.requests.len() as u32));
                    down += room * (u64::from(BLOCK_LENGTH) + 13);
                }
            }
            down += self.fetch_demand();
            down = down.saturating_sub(self.credit.down);
        }
        let interested = self.peers.values().filter(|peer| peer.peer_interested).count() as u32;
        self.send_demand(Demand { up, down, interested }, out);
    }

    fn send_demand(&mut self, demand: Demand, out: &mut Effects<Effect<P>>) {
        if self.demand != Some(demand) {
            self.demand = Some(demand);
            out.push(Effect::Demand(demand));
        }
    }
}
