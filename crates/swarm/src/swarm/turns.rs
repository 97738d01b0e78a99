//! In which order those who were unchoked are sent what they asked for.
//!
//! While our line is what is narrow, one peer comes first until it has a whole piece, then the next: so somebody soon has a
//! piece to pass on, and not everybody a part of one. Who is next differs. A source sends what the fewest have. A leech sends
//! to whoever had least of its line (start-time fair queueing: Goyal, Vin, Cheng 1996): what a slot brings is what the other
//! side measures and gives back for, and a line that goes to whoever asks for the rarest pieces is a regular slot for one and
//! none for four (free-riders then got 0.65 of a contributor's rate).
//!
//! Invariant: never more than [`UPLOAD_WINDOW`] bytes ordered and not reported for one peer.

use super::requests::cost;
use super::{Phase, Swarm};
use crate::choke::turns_among;
use crate::event::{Effect, PeerKey};
use crate::peer::Peer;
use shoal_layout::{BLOCK_LENGTH, BlockRef, PieceIndex};
use shoal_machine::{Effects, Time};
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
/// How long one peer comes before the others while it is sent a piece, at most. Chosen.
const MAX_TURN: Duration = Duration::from_secs(5);
/// In which everybody who waits has had a turn. Chosen: who gets nothing for longer calls it snubbing and looks elsewhere.
const ALL_TURNS: Duration = Duration::from_secs(20);
/// How long a peer may be without a request and still have its turn. Chosen: longer than any round trip.
pub(super) const TURN_PAUSE: Duration = Duration::from_millis(700);

/// Who comes first while not everybody can be sent what he asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct UploadTurn {
    peer: PeerKey,
    /// What it is sent.
    piece: PieceIndex,
    since: Time,
    /// When it was sent some of it last.
    last: Time,
    /// Whether it ended: whoever is after this peer is next, also if nothing can be ordered for a while.
    over: bool,
}

/// How far apart leeches may be that are served by what is rare and not by whose turn it is, in time of our line. Chosen: far
/// less than the 20 s over which what we give is measured (BEP 3); with none what is rare spreads more slowly.
const FAIR_WITHIN: Duration = Duration::from_millis(2_500);
/// What a byte of the line costs where all slots are taken as they are meant to be.
const PRICE: u64 = 64;
/// How many times that it costs at most. Chosen: no number overflows.
const MOST_PRICE: u64 = 1_000;
/// What a peer that paused may be made up for, at most: a piece, but of long ones no more than this. Chosen: a few turns.
const MOST_SLACK: u64 = 1 << 20;

/// Whether a peer's next block was ordered.
enum Ordered {
    Yes,
    /// As much as may be is on its way to this peer.
    NoWindow,
    /// There is no credit for anybody.
    NoCredit,
}

impl<P> Swarm<P> {
    /// Orders what credit and windows allow. What the first cannot take goes to the others in order.
    pub(super) fn pump_uploads(&mut self, out: &mut Effects<Effect<P>>) {
        self.let_go(out);
        if self.line_runs_dry() {
            self.use_free_slots(out);
        }
        let waits = |peer: &&Peer| !peer.uploads.is_empty();
        let mut waiting: VecDeque<PeerKey> = self.peers.values().filter(waits).map(|peer| peer.key).collect();
        if let Some(turn) = self.upload_turn {
            let after = waiting.iter().position(|&key| key > turn.peer).unwrap_or(0);
            waiting.rotate_left(after);
        }
        self.put_in_order(waiting.make_contiguous());
        if let Some(mut turn) = self.upload_turn {
            turn.over |= !self.turn_goes_on(turn, waiting.len());
            if !turn.over {
                // Its place, whether it waits now or not.
                waiting.retain(|&key| key != turn.peer);
                waiting.push_front(turn.peer);
            }
            self.upload_turn = Some(turn);
        }
        let mut ordered: u64 = self.peers.values().flat_map(|peer| &peer.uploading).map(|&block| cost(block)).sum();
        // Who waits alone takes nobody's place.
        let (window, all) = if waiting.len() > 1 { self.windows() } else { (UPLOAD_WINDOW, u64::MAX) };
        while let Some(key) = waiting.pop_front() {
            let Some(&block) = self.peers.get(&key).and_then(|peer| peer.uploads.front()) else { continue };
            // Whoever has the turn asks for the next block when one has come: that its place is not taken meanwhile, only half of
            // what is ordered ahead is for others. With two blocks it is one, which keeps the line busy for as long as that takes.
            let most = if self.upload_turn.is_some_and(|turn| !turn.over && turn.peer != key) { all / 2 } else { all };
            if ordered + cost(block) > most {
                return;
            }
            let outcome = self.upload(key, block, window, out);
            if matches!(outcome, Ordered::Yes) {
                ordered += cost(block);
            }
            match outcome {
                Ordered::Yes if self.next_upload_is_of(key, block.piece) => waiting.push_front(key),
                Ordered::Yes => {
                    let rests = self.peers[&key].uploads.is_empty();
                    if let Some(turn) = self.upload_turn.as_mut().filter(|turn| turn.peer == key) {
                        turn.over |= !rests;
                    }
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

    /// Orders those who wait: who is to be sent something first comes first.
    fn put_in_order(&self, waiting: &mut [PeerKey]) {
        if self.is_complete() {
            if waiting.len() > 1 {
                waiting.sort_by_cached_key(|&key| (!self.leaving.contains_key(&key), self.rarity_of_next(key)));
            }
            return;
        }
        let share = |key: &PeerKey| self.peers.get(key).map_or(0, |peer| peer.line_share);
        let least = waiting.iter().map(share).min().unwrap_or(0);
        let step = (self.upload.over(self.now, 5) * FAIR_WITHIN.as_millis() as u64 / 1_000).max(LEAST_WINDOW);
        waiting.sort_by_cached_key(|key| ((share(key) - least) / step, self.rarity_of_next(*key)));
    }

    /// Says what a byte of our line costs each who holds a slot: the regular slots have their part of it together and the
    /// turns theirs, however many of either are taken, so that who does not give gets no more where few do.
    pub(super) fn price_the_line(&mut self) {
        let turns = turns_among(self.upload_slots()) as u64;
        let regular = (self.upload_slots() as u64).saturating_sub(turns);
        let seeding = self.is_complete();
        let choker = &self.choker;
        let is_turn = |peer: &Peer| choker.is_turn(peer.key) || peer.extra_slot.is_some();
        let unchoked = self.peers.values().filter(|peer| !peer.am_choking && peer.wants_us());
        let (mut held, mut taken) = (0, 0);
        unchoked.for_each(|peer| if is_turn(peer) { taken += 1 } else { held += 1 });
        for peer in self.peers.values_mut() {
            let (number, of) = if is_turn(peer) { (taken, turns) } else { (held, regular) };
            peer.line_price = if seeding { PRICE } else { (PRICE * number / of.max(1)).clamp(1, PRICE * MOST_PRICE) };
        }
    }

    /// A peer asks for something, who waited for nothing: what it did not use of our line is not made up for, beyond a piece.
    pub(super) fn joins_the_line(&mut self, key: PeerKey) {
        let slack = match &self.phase {
            Phase::Transfer(transfer) => u64::from(transfer.info.layout().piece_length()).min(MOST_SLACK),
            _ => 0,
        };
        if let Some(peer) = self.peers.get_mut(&key) {
            peer.line_share = peer.line_share.max(self.line_clock.saturating_sub(slack));
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
        let in_a_row = peer.sending.filter(|&(piece, _)| piece == block.piece).map_or(0, |(_, blocks)| blocks);
        peer.sending = Some((block.piece, in_a_row + 1));
        self.credit.up -= cost(block);
        self.line_clock = self.line_clock.max(peer.line_share);
        peer.line_share += cost(block) * peer.line_price / PRICE;
        let now = self.now;
        match &mut self.upload_turn {
            Some(turn) if !turn.over && turn.peer == key => turn.last = now,
            Some(turn) if !turn.over => {}
            none => *none = Some(UploadTurn { peer: key, piece: block.piece, since: now, last: now, over: false }),
        }
        out.push(Effect::Upload { peer: key, block });
        Ordered::Yes
    }
}
