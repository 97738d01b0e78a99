//! Serving blocks, and whom.
//!
//! Invariants: nothing is ordered for a peer that we choke, but for the pieces of its fast set (BEP 6); nothing but
//! pieces that we have; never more than [`UPLOAD_WINDOW`] bytes ordered and not reported for one peer.

use super::requests::{cost, raw};
use super::{Phase, Swarm};
use crate::choke::Candidate;
use crate::event::{Credit, Demand, DisconnectReason, Effect, PeerKey};
use crate::peer::MAX_QUEUED_UPLOADS;
use crate::slots::RATE_SECONDS;
use shoal_layout::{BLOCK_LENGTH, BlockRef, PieceIndex};
use shoal_machine::{Effects, Time};
use shoal_wire::{Message, RawBlock};
use std::collections::VecDeque;
use std::time::Duration;

/// Bytes ordered from the driver for one peer, at most. Chosen: at 1 GB/s half a millisecond, the time in which the
/// driver's report comes back.
const UPLOAD_WINDOW: u64 = 512 << 10;
/// The longest run that any client ever asked for at once (BEP 3, older texts); what is longer than a block is refused, what
/// is longer than this is no mistake.
const MAX_REQUEST: u32 = 128 << 10;
/// Requests over the bound of the queue after which the peer is one that floods, beside four for each block that it was
/// sent. Chosen: `reqq` told it the bound; one that ignores it and asks again for what was refused is still served.
const MAX_OVERFLOW: u64 = 10_000;

/// How long one peer comes before the others while it is sent a piece, at most. Chosen.
const MAX_TURN: Duration = Duration::from_secs(5);
/// In which everybody who waits has had a turn. Chosen: who gets nothing for longer calls it snubbing and looks elsewhere.
const ALL_TURNS: Duration = Duration::from_secs(20);
/// How long a peer may be without a request and still have its turn. Chosen: longer than any round trip.
const TURN_PAUSE: Duration = Duration::from_millis(700);

/// Who comes first while not everybody can be sent what he asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct UploadTurn {
    peer: PeerKey,
    /// What it is sent.
    piece: PieceIndex,
    since: Time,
    /// When it was sent some of it last.
    last: Time,
}

/// Whether a peer's next block was ordered.
enum Ordered {
    Yes,
    /// As much as may be is on its way to this peer.
    NoWindow,
    /// There is no credit for anybody.
    NoCredit,
}

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

    /// Orders what credit and windows allow. One comes first until it has a whole piece, then the next: so somebody soon has
    /// a piece to pass on, and not everybody a part of one. What the first cannot take goes to the others in order.
    pub(super) fn pump_uploads(&mut self, out: &mut Effects<Effect<P>>) {
        let waits = |peer: &&crate::peer::Peer| !peer.uploads.is_empty();
        let mut waiting: VecDeque<PeerKey> = self.peers.values().filter(waits).map(|peer| peer.key).collect();
        if let Some(turn) = self.upload_turn {
            let after = waiting.iter().position(|&key| key > turn.peer).unwrap_or(0);
            waiting.rotate_left(after);
            if self.turn_goes_on(turn, waiting.len()) {
                // Its place, whether it waits now or not.
                waiting.retain(|&key| key != turn.peer);
                waiting.push_front(turn.peer);
            } else {
                self.upload_turn = None;
            }
        }
        while let Some(key) = waiting.pop_front() {
            let Some(&block) = self.peers.get(&key).and_then(|peer| peer.uploads.front()) else { continue };
            match self.upload(key, block, out) {
                Ordered::Yes if self.next_upload_is_of(key, block.piece) => waiting.push_front(key),
                Ordered::Yes => {
                    self.upload_turn.take_if(|turn| turn.peer == key && !self.peers[&key].uploads.is_empty());
                    waiting.push_back(key);
                }
                Ordered::NoWindow => {}
                Ordered::NoCredit => {
                    self.demand_due |= self.demand.is_none_or(|told| told.up == 0);
                    return;
                }
            }
        }
    }

    fn next_upload_is_of(&self, key: PeerKey, piece: PieceIndex) -> bool {
        self.peers.get(&key).and_then(|peer| peer.uploads.front()).is_some_and(|next| next.piece == piece)
    }

    fn turn_goes_on(&self, turn: UploadTurn, waiting: usize) -> bool {
        let Some(peer) = self.peers.get(&turn.peer) else { return false };
        let most = MAX_TURN.min(ALL_TURNS / waiting.max(1) as u32);
        if self.now.since(turn.since) >= most {
            return false;
        }
        match peer.uploads.front() {
            Some(next) => next.piece == turn.piece,
            None => self.now.since(turn.last) < TURN_PAUSE,
        }
    }

    /// Orders a peer's next block.
    fn upload(&mut self, key: PeerKey, block: BlockRef, out: &mut Effects<Effect<P>>) -> Ordered {
        let Some(peer) = self.peers.get_mut(&key) else { return Ordered::NoWindow };
        let in_flight: u64 = peer.uploading.iter().map(|&block| cost(block)).sum();
        if in_flight + cost(block) > UPLOAD_WINDOW {
            return Ordered::NoWindow;
        }
        if self.credit.up < cost(block) {
            return Ordered::NoCredit;
        }
        peer.uploads.pop_front();
        peer.uploading.push_back(block);
        peer.last_sent = self.now;
        self.credit.up -= cost(block);
        let now = self.now;
        let turn = self.upload_turn.get_or_insert(UploadTurn { peer: key, piece: block.piece, since: now, last: now });
        if turn.peer == key {
            turn.last = now;
        }
        out.push(Effect::Upload { peer: key, block });
        Ordered::Yes
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
        let chosen = self.choker.round(self.now, seeding, self.upload_slots(), &candidates);
        for key in self.peers.keys().copied().collect::<Vec<_>>() {
            self.set_choking(key, !chosen.contains(&key), out);
        }
    }

    /// Slots to use: of those that the host gives, as many as are worth having.
    fn upload_slots(&self) -> usize {
        self.slots.min(self.slot_search.slots()) as usize
    }

    /// How many peers hold a slot, and how many of them wait for blocks.
    fn slots_in_use(&self) -> (usize, usize) {
        let holders = self.peers.values().filter(|peer| !peer.am_choking && peer.peer_interested);
        holders.fold((0, 0), |(held, busy), peer| {
            (held + 1, busy + usize::from(!(peer.uploads.is_empty() && peer.uploading.is_empty())))
        })
    }

    /// Looks whether another number of slots serves better.
    pub(super) fn check_slots(&mut self, out: &mut Effects<Effect<P>>) {
        let rate = self.upload.over(self.now, RATE_SECONDS);
        let busy = self.slots_in_use().1 >= self.upload_slots();
        if self.slot_search.look(self.now, rate, busy) {
            self.use_free_slots(out);
        }
    }

    fn candidates(&self) -> Vec<Candidate> {
        let interested = self.peers.values().filter(|peer| peer.peer_interested && !peer.upload_only);
        let candidate = interested.map(|peer| Candidate {
            peer: peer.key,
            unchoked: !peer.am_choking,
            since: peer.choke_changed.or(peer.interested_since).unwrap_or(self.now),
            newcomer: peer.choke_changed.is_none(),
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
        let free = self.upload_slots().saturating_sub(self.slots_in_use().0);
        let mut waiting: Vec<_> = self.candidates().into_iter().filter(|candidate| !candidate.unchoked).collect();
        waiting.sort_by_key(Candidate::order);
        for candidate in waiting.into_iter().take(free) {
            self.choker.begin_turn(self.now, candidate.peer);
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
