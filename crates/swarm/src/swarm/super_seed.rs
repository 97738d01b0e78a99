//! The only source shows each leech other pieces (BEP 16, super-seeding).
//!
//! While nobody else has everything, our line is what the swarm waits for: a piece that leaves it twice before each has left it
//! once costs everybody its time. So a new peer is told that we have nothing. When it gets a slot it is shown the first piece that
//! nobody has or was shown (when there is none, one that the fewest have), and the next whenever it has asked for half of what it
//! holds in its queue: it sees ahead of its pipeline. First pieces first, since that costs nothing and whoever fetches in order
//! soon has a beginning. What a peer was shown and did not ask for is taken back with its slot, from those who understand that
//! (BEP 54). One who twice asks for nothing of what it is shown (it chose other files) is shown all, and so is one who gets nothing
//! from others (they may not reach each other): it would have the gaps that they fill until the end.
//! It ends when another seed is seen, or when one leech stays alone, who has nobody to share with: everybody is shown everything
//! then. Nobody's requests are refused for it. Not of a private torrent, whose trackers' rules often forbid it: leeches are advised
//! there (`advice.rs`).
//!
//! Invariants: `spread` counts each piece once for us and once for each peer that has it or was shown it and is masked; `hidden`
//! has those that it counts once.

use super::{Phase, Swarm};
use crate::event::{Effect, PeerKey};
use crate::peer::{Peer, PeerPieces};
use shoal_layout::{BLOCK_LENGTH, BlockRef, PieceIndex};
use shoal_machine::{Effects, Rng, Time};
use shoal_pieces::{Availability, Bitfield};
use shoal_wire::{Extended, Message};
use std::collections::BTreeMap;
use std::time::Duration;

/// Pieces looked at for one that a peer may be shown, of those that nobody has and of the others. Chosen: far more than a leech
/// has of what is rarest.
const SCAN: usize = 4_096;
/// How long one who was shown a piece may take to ask for it. Chosen: many round trips.
const PATIENCE: Duration = Duration::from_secs(3);
/// How many times it may take longer. Chosen: who has enough to fetch from others may ask late.
const IGNORED: u32 = 2;
/// So many pieces and so long are enough for a first piece from others. Chosen: by then a tracker's answer led to connections.
const TRADES_AFTER: (u32, Duration) = (8, Duration::from_secs(10));
/// A peer sees what it gets in this part of a second ahead of what it asked for. Chosen: libtorrent, whose pipeline is long,
/// fetches 2 GiB as fast as from a source that shows all.
const AHEAD_PARTS: u64 = 8;
/// A peer that is the only one for so long is shown all. Chosen: of a crowd the second comes sooner.
const ALONE: Duration = Duration::from_secs(2);
/// Pieces shown to one peer a second when all are. Chosen: 9 bytes each, so the largest torrent takes 75 KB/s for ten seconds.
const SHOWN_AT_ONCE: usize = 8_192;

/// What a peer sees of what we have.
#[derive(Debug, Default)]
pub(crate) enum Sight {
    /// All of it.
    #[default]
    All,
    /// What it was shown.
    Masked(Shown),
    /// All before this piece, and what it was shown; the rest follows.
    Unveiling(Shown, PieceIndex),
}

/// What one peer was shown and does not have.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    pieces: BTreeMap<PieceIndex, Offer>,
    /// The sum of the blocks that it has not asked for.
    unasked: u32,
    /// How many times it asked for nothing of what it was shown, since it asked for something.
    ignored: u32,
    /// When it was shown something last, or asked for it.
    since: Time,
    /// How many of them it got.
    got: u32,
    /// Whether it got a piece that it was not shown.
    trades: bool,
}

/// A piece that a peer was shown.
#[derive(Debug)]
struct Offer {
    /// Blocks that it has not asked for.
    unasked: u32,
    /// Whether it counts as one who will have it.
    counts: bool,
}

impl Sight {
    pub(crate) fn masked(&mut self) -> Option<&mut Shown> {
        match self {
            Sight::Masked(shown) => Some(shown),
            Sight::All | Sight::Unveiling(..) => None,
        }
    }

    /// What is masked will be shown.
    fn unveil(&mut self) {
        *self = match std::mem::take(self) {
            Sight::Masked(shown) => Sight::Unveiling(shown, PieceIndex(0)),
            seen => seen,
        };
    }

    pub(crate) fn is_masked(&self) -> bool {
        matches!(self, Sight::Masked(_))
    }
}

impl Shown {
    /// Forgets a piece; says whether it counted.
    fn remove(&mut self, piece: PieceIndex) -> bool {
        let Some(offer) = self.pieces.remove(&piece) else { return false };
        self.unasked -= offer.unasked;
        offer.counts
    }

    /// The peer has a piece; says whether it counted.
    fn came(&mut self, piece: PieceIndex) -> bool {
        let was_shown = self.remove(piece);
        self.got += u32::from(was_shown);
        self.trades |= !was_shown;
        was_shown
    }

    /// Gives a piece up without forgetting that the peer sees it; says whether it counted.
    fn give_up(&mut self, piece: PieceIndex) -> bool {
        let Some(offer) = self.pieces.get_mut(&piece) else { return false };
        self.unasked -= std::mem::take(&mut offer.unasked);
        std::mem::take(&mut offer.counts)
    }

    /// The pieces for which `is` says so.
    fn waiting(&self, is: impl Fn(&Offer, PieceIndex) -> bool) -> Vec<PieceIndex> {
        self.pieces.iter().filter(|&(&piece, offer)| is(offer, piece)).map(|(&piece, _)| piece).collect()
    }

    /// The peer asked for a block, or a request of it was dropped.
    pub(crate) fn asked(&mut self, now: Time, block: BlockRef, dropped: bool) {
        self.ignored = 0;
        self.since = now;
        if let Some(offer) = self.pieces.get_mut(&block.piece).filter(|offer| offer.counts) {
            let step = if dropped { 1 } else { -1 };
            let changed = offer.unasked.saturating_add_signed(step);
            self.unasked = self.unasked + changed - offer.unasked;
            offer.unasked = changed;
        }
    }
}

/// How far each piece has spread.
#[derive(Debug)]
pub(crate) struct SuperSeed {
    spread: Availability,
    hidden: Bitfield,
}

impl SuperSeed {
    pub(super) fn new<'a>(pieces: u32, peers: impl Iterator<Item = &'a Bitfield>, rng: &Rng) -> SuperSeed {
        let mut spread = Availability::new(pieces, rng.fork("super-seeding"));
        // Ours: what nobody else has is listed too.
        spread.add_peer(&Bitfield::full(pieces));
        (0..pieces).map(PieceIndex).for_each(|piece| spread.list(piece));
        let mut super_seed = SuperSeed { spread, hidden: Bitfield::full(pieces) };
        peers.for_each(|bits| super_seed.add(bits));
        super_seed
    }

    fn raise(&mut self, piece: PieceIndex) {
        self.spread.raise(piece);
        self.hidden.unset(piece);
    }

    fn lower(&mut self, piece: PieceIndex) {
        self.spread.lower(piece);
        if self.spread.of(piece) == 1 {
            self.hidden.set(piece);
        }
    }

    fn add(&mut self, bits: &Bitfield) {
        self.spread.add_peer(bits);
        bits.iter_set().for_each(|piece| _ = self.hidden.unset(piece));
    }

    fn remove(&mut self, bits: &Bitfield) {
        self.spread.remove_peer(bits);
        for piece in bits.iter_set().filter(|&piece| self.spread.of(piece) == 1) {
            self.hidden.set(piece);
        }
    }

    /// A peer says that it has a piece (or, `lost`, that it has it no longer).
    pub(super) fn has(&mut self, sight: &mut Sight, piece: PieceIndex, lost: bool) {
        let was_shown = !lost && sight.masked().is_some_and(|shown| shown.came(piece));
        match (lost, was_shown) {
            (true, _) => self.lower(piece),
            (false, false) => self.raise(piece),
            (false, true) => {}
        }
    }

    /// What a peer has, all at once, in place of what it had.
    pub(super) fn bitfield(&mut self, sight: &mut Sight, before: Option<&Bitfield>, bits: &Bitfield) {
        before.into_iter().for_each(|before| self.remove(before));
        self.add(bits);
        if let Some(shown) = sight.masked() {
            let here: Vec<_> = shown.pieces.keys().copied().filter(|&piece| bits.get(piece)).collect();
            for piece in here {
                if shown.remove(piece) {
                    self.lower(piece);
                }
            }
        }
    }

    pub(super) fn left(&mut self, peer: &Peer) {
        if let PeerPieces::Known(bits) = &peer.pieces {
            self.remove(bits);
        }
        self.uncount(&peer.sight);
    }

    fn uncount(&mut self, sight: &Sight) {
        if let Sight::Masked(shown) = sight {
            let counted = shown.pieces.iter().filter(|(_, offer)| offer.counts);
            counted.for_each(|(&piece, _)| self.lower(piece));
        }
    }

    /// A peer will be shown everything: what it was shown counts no longer.
    fn unmask(&mut self, peer: &mut Peer) {
        self.uncount(&peer.sight);
        peer.sight.unveil();
    }

    /// The piece to show to a peer that has `bits`.
    fn choose(&self, bits: &Bitfield, shown: &Shown) -> Option<PieceIndex> {
        let others = self.spread.rarest_first().iter().map(|&piece| PieceIndex(piece));
        let mut order = self.hidden.iter_set().take(SCAN).chain(others.take(SCAN));
        order.find(|&piece| !bits.get(piece) && !shown.pieces.contains_key(&piece))
    }
}

impl<P> Swarm<P> {
    /// Whether a peer that comes now is told that we have nothing.
    pub(crate) fn is_super_seeding(&self) -> bool {
        matches!(&self.phase, Phase::Transfer(transfer) if transfer.super_seed.is_some())
    }

    /// Begins when we have everything and know of nobody else who does, and ends when we do or a peer stays alone; shows the rest
    /// to those who see a part.
    pub(super) fn check_super_seeding(&mut self, out: &mut Effects<Effect<P>>) {
        let sole = self.config.super_seed && !self.is_private() && self.is_sole_source();
        let Phase::Transfer(transfer) = &mut self.phase else { return };
        let only = if self.peers.len() == 1 { self.peers.keys().next() } else { None };
        transfer.alone = only.map(|&key| transfer.alone.filter(|alone| alone.0 == key).unwrap_or((key, self.now)));
        let shared = transfer.alone.is_none_or(|(_, since)| self.now.since(since) < ALONE);
        if sole && shared && transfer.super_seed.is_none() {
            let bits = self.peers.values().filter_map(|peer| match &peer.pieces {
                PeerPieces::Known(bits) => Some(bits),
                PeerPieces::Unchecked { .. } => None,
            });
            transfer.super_seed = Some(SuperSeed::new(transfer.picker.have().len(), bits, &self.rng));
        } else if !(sole && shared) && transfer.super_seed.take().is_some() {
            for peer in self.peers.values_mut() {
                peer.sight.unveil();
                if let Some(id) = peer.extensions.as_ref().and_then(|extensions| extensions.upload_only_id)
                    && transfer.complete
                {
                    let message = Message::Extended { id, message: Extended::UploadOnly(true) };
                    out.push(Effect::Send { peer: peer.key, message });
                }
            }
        }
        for key in self.peers.keys().copied().collect::<Vec<_>>() {
            if self.peers[&key].am_choking {
                self.take_back(key, out);
            }
            self.coax(key, out);
            self.unveil(key, out);
        }
    }

    /// Whether we have everything and nobody else is known to.
    pub(super) fn is_sole_source(&self) -> bool {
        let Phase::Transfer(transfer) = &self.phase else { return false };
        transfer.picker.have().is_full()
            && !self.seeds_elsewhere
            && self.web_seeds.is_empty()
            && self.left_complete.is_empty()
            && !self.peers.values().any(Peer::is_seed)
    }

    /// Shows an unchoked peer so much that it sees ahead of its pipeline.
    pub(super) fn show(&mut self, key: PeerKey, out: &mut Effects<Effect<P>>) {
        let Phase::Transfer(transfer) = &mut self.phase else { return };
        let Some(super_seed) = &mut transfer.super_seed else { return };
        let Some(peer) = self.peers.get_mut(&key).filter(|peer| !peer.am_choking && !self.leaving.contains_key(&key))
        else {
            return;
        };
        let (Sight::Masked(shown), PeerPieces::Known(bits)) = (&mut peer.sight, &peer.pieces) else { return };
        let queued = (peer.uploads.len() + peer.uploading.len()) as u32;
        let soon = peer.upload.over(self.now, 2) / u64::from(BLOCK_LENGTH) / AHEAD_PARTS;
        while shown.unasked < (queued / 2).max(soon as u32).max(1) {
            let Some(piece) = super_seed.choose(bits, shown) else { break };
            let blocks = transfer.info.layout().requests(piece).count() as u32;
            super_seed.raise(piece);
            shown.pieces.insert(piece, Offer { unasked: blocks, counts: true });
            shown.unasked += blocks;
            shown.since = self.now;
            peer.last_sent = self.now;
            out.push(Effect::Send { peer: key, message: Message::Have(piece.0) });
        }
    }

    /// Once a second: what was shown to one who holds a slot and asks for nothing is shown to others, and it sees something else,
    /// then everything. So does one to whom nobody else gives anything.
    fn coax(&mut self, key: PeerKey, out: &mut Effects<Effect<P>>) {
        let Phase::Transfer(transfer) = &mut self.phase else { return };
        let Some(super_seed) = &mut transfer.super_seed else { return };
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let idle = peer.uploads.is_empty() && peer.uploading.is_empty() && !peer.am_choking;
        let since = peer.since;
        let Some(shown) = peer.sight.masked() else { return };
        if !shown.trades && shown.got >= TRADES_AFTER.0 && self.now.since(since) >= TRADES_AFTER.1 {
            return super_seed.unmask(peer);
        }
        if idle && shown.unasked > 0 && self.now.since(shown.since) >= PATIENCE {
            for piece in shown.waiting(|offer, _| offer.unasked > 0) {
                if shown.give_up(piece) {
                    super_seed.lower(piece);
                }
            }
            shown.ignored += 1;
            shown.since = self.now;
            if shown.ignored < IGNORED {
                self.show(key, out);
            } else {
                super_seed.unmask(peer);
            }
        }
    }

    /// A peer lost its slot: what it was shown and did not ask for is shown to others. What it has a part of stays its own while
    /// there are pieces that nobody was shown yet; then that too is others', since it is what nobody has: its next slot may come
    /// when we are gone.
    pub(super) fn take_back(&mut self, key: PeerKey, out: &mut Effects<Effect<P>>) {
        let Phase::Transfer(transfer) = &mut self.phase else { return };
        let Some(super_seed) = &mut transfer.super_seed else { return };
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let forgets = peer.extensions.as_ref().and_then(|extensions| extensions.lt_donthave);
        let all_shown = super_seed.hidden.is_empty();
        let Some(shown) = peer.sight.masked().filter(|_| forgets.is_some() || all_shown) else { return };
        let layout = transfer.info.layout();
        let whole = |piece: PieceIndex| layout.requests(piece).count() as u32;
        let goes = |offer: &Offer, piece| offer.unasked > 0 && (all_shown || offer.unasked == whole(piece));
        for piece in shown.waiting(goes) {
            // Those who cannot forget it are sent it if they ask.
            let counted = if forgets.is_some() { shown.remove(piece) } else { shown.give_up(piece) };
            if counted {
                super_seed.lower(piece);
            }
            if let Some(id) = forgets {
                let message = Message::Extended { id, message: Extended::DontHave(piece.0) };
                out.push(Effect::Send { peer: key, message });
            }
        }
    }

    /// Shows the next part of what we have to one that saw little.
    fn unveil(&mut self, key: PeerKey, out: &mut Effects<Effect<P>>) {
        let Phase::Transfer(transfer) = &self.phase else { return };
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let (Sight::Unveiling(shown, next), PeerPieces::Known(bits)) = (&mut peer.sight, &peer.pieces) else { return };
        let have = transfer.picker.have();
        let past = PieceIndex(have.len().min(next.0.saturating_add(SHOWN_AT_ONCE as u32)));
        for piece in (next.0..past.0).map(PieceIndex) {
            if have.get(piece) && !bits.get(piece) && !shown.pieces.contains_key(&piece) {
                out.push(Effect::Send { peer: key, message: Message::Have(piece.0) });
            }
        }
        *next = past;
        peer.last_sent = self.now;
        if past.0 == have.len() {
            peer.sight = Sight::All;
        }
    }
}
