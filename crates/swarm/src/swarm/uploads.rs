//! Serving blocks, and whom.
//!
//! Invariants: nothing is ordered for a peer that we choke, but for the pieces of its fast set (BEP 6); nothing but
//! pieces that we have.

use super::requests::{cost, raw};
use super::{Phase, Swarm};
use crate::choke::Candidate;
use crate::event::{Credit, Demand, DisconnectReason, Effect, PeerKey};
use crate::peer::{MAX_QUEUED_UPLOADS, Peer, PeerPieces};
use crate::slots::RATE_SECONDS;
use shoal_layout::{BLOCK_LENGTH, BlockRef};
use shoal_machine::{Effects, Time};
use shoal_wire::{Message, RawBlock};
use std::time::Duration;

/// The longest run that any client ever asked for at once (BEP 3, older texts); what is longer than a block is refused, what
/// is longer than this is no mistake.
const MAX_REQUEST: u32 = 128 << 10;
/// Requests over the bound of the queue after which the peer is one that floods, beside four for each block that it was
/// sent. Chosen: `reqq` told it the bound; one that ignores it and asks again for what was refused is still served.
const MAX_OVERFLOW: u64 = 10_000;

/// One who gave us this part of what it was given gives. Chosen: lines differ, and who does not give at all gives nothing.
const GIVES_BACK: u64 = 4;

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
        let waited = !peer.uploads.is_empty();
        if !waited {
            // Its wait begins.
            peer.uploaded_at = self.now;
        }
        let rested = !waited && peer.uploading.is_empty();
        // The only source sends what the fewest have before what it was asked for earlier.
        let rarity = |block: &BlockRef| transfer.picker.availability(block.piece);
        let place = match transfer.super_seed {
            Some(_) => peer.uploads.iter().position(|other| rarity(other) > rarity(&block)),
            None => None,
        };
        peer.uploads.insert(place.unwrap_or(peer.uploads.len()), block);
        self.uploads_due = true;
        if let Some(shown) = peer.sight.masked() {
            shown.asked(self.now, block, false);
            self.show(key, out);
        }
        if rested {
            self.joins_the_line(key);
        }
        self.advised_piece_asked(key, block.piece, out);
    }

    /// Says that a request will not be answered, to those who understand it (BEP 6).
    pub(super) fn refuse(&mut self, key: PeerKey, asked: RawBlock, out: &mut Effects<Effect<P>>) {
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

    pub(super) fn uploaded(&mut self, key: PeerKey, block: BlockRef) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        if let Some(place) = peer.uploading.iter().position(|&uploading| uploading == block) {
            peer.uploading.remove(place);
            peer.upload.add(self.now, u64::from(block.length));
            self.upload.add(self.now, u64::from(block.length));
            self.uploads_due = true;
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
        let chosen = self.choker.round(self.now, seeding, self.upload_slots(), &candidates);
        for key in self.peers.keys().copied().collect::<Vec<_>>() {
            let choke = !chosen.contains(&key);
            if !(choke && seeding && self.may_finish_its_piece(key)) {
                self.set_choking(key, choke, out);
            }
        }
        // Those who stay have a place of their own now.
        self.peers.values_mut().for_each(|peer| peer.extra_slot = None);
        self.price_the_line();
    }

    /// Slots to use: of those that the host gives, as many as are worth having.
    pub(super) fn upload_slots(&self) -> usize {
        self.slots.min(self.slot_search.slots()) as usize
    }

    /// How many peers hold a slot, and how many of them wait for blocks.
    fn slots_in_use(&self) -> (usize, usize) {
        let holders = self.peers.values().filter(|peer| !peer.am_choking && peer.wants_us());
        holders.fold((0, 0), |(held, busy), peer| {
            (held + 1, busy + usize::from(!(peer.uploads.is_empty() && peer.uploading.is_empty())))
        })
    }

    /// Looks whether another number of slots serves better.
    pub(super) fn check_slots(&mut self, out: &mut Effects<Effect<P>>) {
        let rate = self.upload.over(self.now, RATE_SECONDS);
        let busy = self.slots_in_use().1 > self.slot_search.at_once() as usize;
        if self.slot_search.look(self.now, rate, busy) {
            self.use_free_slots(out);
        }
    }

    fn candidates(&self) -> Vec<Candidate> {
        let Phase::Transfer(transfer) = &self.phase else { return Vec::new() };
        let have = transfer.picker.have();
        let lacks = |peer: &&Peer| match &peer.pieces {
            PeerPieces::Known(bits) => have.iter_and_not(bits).next().is_some(),
            PeerPieces::Unchecked { .. } => false,
        };
        let interested = self.peers.values().filter(|peer| peer.wants_us() && !peer.upload_only).filter(lacks);
        let seeding = self.is_complete();
        // Of a leech the regular slots are no turns.
        let served = |peer: &Peer| {
            if seeding || !peer.am_choking { peer.choke_changed } else { self.choker.last_turn(peer.key) }
        };
        let candidate = interested.map(|peer| Candidate {
            peer: peer.key,
            unchoked: !peer.am_choking,
            since: served(peer).or(peer.interested_since).unwrap_or(self.now),
            newcomer: served(peer).is_none(),
            gives: peer.download.over(self.now, 19),
            gave: !seeding && peer.download.total() > peer.upload.total() / GIVES_BACK,
            beginner: !seeding && !peer.am_interested && served(peer).is_none(),
            snubbing: peer.snubbing,
        });
        candidate.collect()
    }

    /// Whether what is asked of us is nearly all sent, and our line will have nothing to do.
    pub(super) fn line_runs_dry(&self) -> bool {
        let mut enough = 2 + self.upload.over(self.now, 2) / u64::from(BLOCK_LENGTH) / 5;
        for peer in self.peers.values() {
            // Its first requests are on their way.
            let new = |at: Time| self.now.since(at) < Duration::from_millis(300);
            if !peer.am_choking && peer.choke_changed.is_some_and(new) {
                return false;
            }
            let blocks = peer.uploads.len() + peer.uploading.len();
            match enough.checked_sub(blocks as u64) {
                Some(left) if left > 0 => enough = left,
                _ => return false,
            }
        }
        true
    }

    /// Between rounds: a slot that nobody holds goes to whoever became interested, at once.
    pub(super) fn use_free_slots(&mut self, out: &mut Effects<Effect<P>>) {
        if self.stopping || !matches!(self.phase, Phase::Transfer(_)) {
            return;
        }
        if !self.peers.values().any(|peer| peer.am_choking && peer.wants_us()) {
            return;
        }
        let held = self.slots_in_use().0;
        let free = self.upload_slots().saturating_sub(held);
        // Beyond the slots that are worth having, one at a time, until the next round.
        let extra = free == 0 && held < self.slots as usize && self.line_runs_dry();
        if free == 0 && !extra {
            return;
        }
        let seeding = self.is_complete();
        // One who could give and does not waits for its turn, once it had one.
        let may_fill = |candidate: &Candidate| {
            let peer = self.peers.get(&candidate.peer);
            seeding
                || candidate.gives > 0
                || !extra && self.choker.last_turn(candidate.peer).is_none()
                || peer.is_some_and(|peer| !peer.am_interested)
        };
        let mut waiting: Vec<_> = self.candidates().into_iter().filter(|candidate| !candidate.unchoked).collect();
        waiting.retain(may_fill);
        waiting.sort_by_key(|candidate| (std::cmp::Reverse(candidate.gives), candidate.order(self.now)));
        for candidate in waiting.into_iter().take(free + usize::from(extra)) {
            if !extra {
                self.choker.begin_turn(self.now, candidate.peer);
            }
            let before = self.peers.get(&candidate.peer).and_then(|peer| peer.choke_changed);
            self.set_choking(candidate.peer, false, out);
            if let Some(peer) = self.peers.get_mut(&candidate.peer).filter(|_| extra) {
                peer.extra_slot = Some(before);
            }
        }
        self.price_the_line();
    }

    pub(super) fn set_choking(&mut self, key: PeerKey, choke: bool, out: &mut Effects<Effect<P>>) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        self.leaving.remove(&key);
        if peer.am_choking == choke {
            return;
        }
        peer.am_choking = choke;
        // Who filled a gap keeps its place in the queue for a turn.
        peer.choke_changed = peer.extra_slot.take().unwrap_or(Some(self.now));
        peer.last_sent = self.now;
        if !choke {
            // It chooses when it hears of its slot.
            self.advise(key, out);
        }
        let Some(peer) = self.peers.get_mut(&key) else { return };
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
                if let Some(shown) = peer.sight.masked() {
                    shown.asked(self.now, block, true);
                }
            }
            self.take_back(key, out);
            self.take_advice_back(key);
        } else {
            self.show(key, out);
        }
    }

    /// Tells the host what credit holds back: after each credit that it gave, and when that begins or ends.
    pub(super) fn tell_demand(&mut self, out: &mut Effects<Effect<P>>) {
        if self.credit.up >= Credit::UNLIMITED / 2 && self.credit.down >= Credit::UNLIMITED / 2 {
            // Without limits only the number of those who wait for a slot matters.
            let interested = self.peers.values().filter(|peer| peer.wants_us()).count() as u32;
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
        let interested = self.peers.values().filter(|peer| peer.wants_us()).count() as u32;
        self.send_demand(Demand { up, down, interested }, out);
    }

    fn send_demand(&mut self, demand: Demand, out: &mut Effects<Effect<P>>) {
        if self.demand != Some(demand) {
            self.demand = Some(demand);
            out.push(Effect::Demand(demand));
        }
    }
}
