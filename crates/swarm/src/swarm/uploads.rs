//! Serving blocks, and whom.
//!
//! Invariants: nothing is ordered for a peer that we choke, but for the pieces of its fast set (BEP 6); nothing but
//! pieces that we have; never more than [`UPLOAD_WINDOW`] bytes ordered and not reported for one peer.

use super::requests::{cost, raw};
use super::{Phase, Swarm};
use crate::choke::Candidate;
use crate::event::{Credit, Demand, DisconnectReason, Effect, PeerKey};
use crate::peer::{MAX_QUEUED_UPLOADS, Peer, PeerPieces};
use crate::slots::RATE_SECONDS;
use shoal_layout::{BLOCK_LENGTH, BlockRef, PieceIndex};
use shoal_machine::{Effects, Time};
use shoal_wire::{Message, RawBlock};
use std::collections::VecDeque;
use std::time::Duration;

/// Bytes ordered from the driver for one peer, at most. Chosen: at 1 GB/s half a millisecond, the time in which the
/// driver's report comes back.
const UPLOAD_WINDOW: u64 = 512 << 10;
/// What is ordered ahead of a line that is full. Chosen: longer than any driver takes to report, short enough that who comes
/// next gets whole blocks soon.
const LINE_MOMENT: Duration = Duration::from_millis(300);
/// Bytes ordered ahead for one peer, however slow it is: one block on its way and one behind it.
const LEAST_WINDOW: u64 = 2 * (BLOCK_LENGTH as u64 + 13);
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
        if peer.uploads.is_empty() {
            // Its wait begins.
            peer.uploaded_at = self.now;
        }
        peer.uploads.push_back(block);
        self.uploads_due = true;
        if let Some(shown) = peer.sight.masked() {
            shown.asked(block, false);
            self.show(key, out);
        }
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
        if self.line_runs_dry() {
            self.use_free_slots(out);
        }
        let waits = |peer: &&Peer| !peer.uploads.is_empty();
        let mut waiting: VecDeque<PeerKey> = self.peers.values().filter(waits).map(|peer| peer.key).collect();
        if let Some(turn) = self.upload_turn {
            let after = waiting.iter().position(|&key| key > turn.peer).unwrap_or(0);
            waiting.rotate_left(after);
            // What the fewest have goes first: it is what others will want of whoever gets it.
            waiting.make_contiguous().sort_by_key(|&key| self.rarity_of_next(key));
            if self.turn_goes_on(turn, waiting.len()) {
                // Its place, whether it waits now or not.
                waiting.retain(|&key| key != turn.peer);
                waiting.push_front(turn.peer);
            } else {
                self.upload_turn = None;
            }
        }
        let mut ordered: u64 = self.peers.values().flat_map(|peer| &peer.uploading).map(|&block| cost(block)).sum();
        // Who waits alone takes nobody's place.
        let (window, all) = if waiting.len() > 1 { self.windows() } else { (UPLOAD_WINDOW, u64::MAX) };
        while let Some(key) = waiting.pop_front() {
            let Some(&block) = self.peers.get(&key).and_then(|peer| peer.uploads.front()) else { continue };
            if ordered + cost(block) > all {
                return;
            }
            let outcome = self.upload(key, block, window, out);
            if matches!(outcome, Ordered::Yes) {
                ordered += cost(block);
            }
            match outcome {
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

    /// How many have the piece of which this peer is sent a block next; who has waited for too long comes before all.
    fn rarity_of_next(&self, key: PeerKey) -> u32 {
        let (Phase::Transfer(transfer), Some(peer)) = (&self.phase, self.peers.get(&key)) else { return 0 };
        let Some(next) = peer.uploads.front() else { return u32::MAX };
        let kept_waiting = self.now.since(peer.uploaded_at) > ALL_TURNS / 2;
        if kept_waiting { 0 } else { transfer.picker.availability(next.piece) }
    }

    /// Bytes that may be ordered and not reported for one peer, and for all together: what our line takes in a moment, shared
    /// by those who are served at once.
    fn windows(&self) -> (u64, u64) {
        let at_once = u64::from(self.slot_search.at_once());
        let moment = self.upload.over(self.now, 2) * LINE_MOMENT.as_millis() as u64 / 1_000;
        let all = moment.max(at_once * LEAST_WINDOW);
        ((all / at_once).min(UPLOAD_WINDOW), all)
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
    fn upload(&mut self, key: PeerKey, block: BlockRef, window: u64, out: &mut Effects<Effect<P>>) -> Ordered {
        let Some(peer) = self.peers.get_mut(&key) else { return Ordered::NoWindow };
        let in_flight: u64 = peer.uploading.iter().map(|&block| cost(block)).sum();
        if in_flight + cost(block) > window {
            return Ordered::NoWindow;
        }
        if self.credit.up < cost(block) {
            return Ordered::NoCredit;
        }
        peer.uploads.pop_front();
        peer.uploading.push_back(block);
        peer.uploaded_at = self.now;
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
            self.set_choking(key, !chosen.contains(&key), out);
        }
        // Those who stay have a place of their own now.
        self.peers.values_mut().for_each(|peer| peer.extra_slot = None);
    }

    /// Slots to use: of those that the host gives, as many as are worth having.
    fn upload_slots(&self) -> usize {
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
            snubbing: peer.snubbing,
        });
        candidate.collect()
    }

    /// Whether what is asked of us is nearly all sent, and our line will have nothing to do.
    fn line_runs_dry(&self) -> bool {
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
        waiting.sort_by_key(|candidate| (std::cmp::Reverse(candidate.gives), candidate.order()));
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
    }

    fn set_choking(&mut self, key: PeerKey, choke: bool, out: &mut Effects<Effect<P>>) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        if peer.am_choking == choke {
            return;
        }
        peer.am_choking = choke;
        // Who filled a gap keeps its place in the queue for a turn.
        peer.choke_changed = peer.extra_slot.take().unwrap_or(Some(self.now));
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
                if let Some(shown) = peer.sight.masked() {
                    shown.asked(block, true);
                }
            }
            self.take_back(key, out);
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
