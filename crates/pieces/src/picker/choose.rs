//! How the picker chooses: the order of pieces, and the endgame.

use super::{PeerSlot, PickMode, PiecePicker};
use crate::Bitfield;
use crate::bitfield::pieces_of_word;
use crate::open::{Block, OpenPiece};
use shoal_layout::{BlockRef, PieceIndex};

/// Pieces to have before the rarest come first: something to trade is worth more than rarity (as libtorrent's
/// `initial_picker_threshold`).
const RANDOM_FIRST: u32 = 4;
/// Listed pieces looked at for one that the peer has, before all its pieces are searched 64 at a time. Chosen: about
/// as long as that search of the largest torrent.
const SCAN_PIECES: usize = 4_096;
/// What that search compares by rarity. Chosen.
const SEARCH_PIECES: usize = 32;
/// Blocks looked at for those that others were asked for. Chosen: twice the longest piece.
const SCAN_BLOCKS: usize = 65_536;
/// How many blocks may be outstanding at a peer for it to be asked for others' too: those that have nearly nothing to do
/// help, the others would only waste. Chosen: fills 1.3 MB/s at 100 ms.
const ENDGAME_DEPTH: u32 = 8;
/// Peers that may be asked for one block. Chosen: one spare, so that waste is bounded by what is outstanding.
const MAX_ASKED: usize = 2;
/// The same for a block that only slow peers were asked for, and for the last [`LAST_BLOCKS`]. Chosen.
pub(super) const MAX_ASKED_LAST: usize = 4;
/// Chosen: 256 KiB.
const LAST_BLOCKS: u64 = 16;
/// Equally rare pieces that are looked at for one of ours. Chosen: with eight leeches one in eight is.
const TIES: usize = 48;

impl PiecePicker {
    /// Appends up to `count` blocks to ask of this peer, which has `bits`, and marks them as asked. At most `max_open`
    /// pieces are open at a time, but those that are may always be continued. Cost: a step a partial piece, and bounded
    /// scans for new ones.
    pub fn pick(
        &mut self,
        peer: PeerSlot,
        bits: &Bitfield,
        count: usize,
        mode: PickMode,
        max_open: usize,
        out: &mut Vec<BlockRef>,
    ) {
        assert_eq!(bits.len(), self.have.len(), "a bitfield of this torrent");
        let enough = out.len().saturating_add(count);
        let before = out.len();
        match mode {
            PickMode::RarestFirst => {
                let mut partial = self.partial_by_progress(bits);
                let plentiful = self.plentiful_among(&mut partial, bits);
                self.take_all(&partial, peer, enough, out);
                // What others can finish waits while this peer has something much rarer to begin.
                let room = if plentiful.is_empty() { max_open } else { max_open / 2 };
                self.begin_rarest(peer, bits, room, enough, out);
                self.take_all(&plentiful, peer, enough, out);
                self.begin_rarest(peer, bits, max_open, enough, out);
            }
            PickMode::Random => {
                let partial = self.partial_by_progress(bits);
                self.take_all(&partial, peer, enough, out);
                while out.len() < enough && self.open_wanted < max_open {
                    let Some(piece) = self.any_closed(bits) else { break };
                    self.begin(piece);
                    self.take(piece, peer, enough, out);
                }
            }
            PickMode::InOrder => self.pick_in_order(peer, bits, enough, max_open, out),
            PickMode::Sequential => {
                while out.len() < enough {
                    let open = self.partial.iter().copied().find(|&piece| bits.get(piece));
                    let closed = if self.open_wanted < max_open { self.lowest_closed(bits) } else { None };
                    let Some(piece) = open.into_iter().chain(closed).min() else { break };
                    if Some(piece) == closed {
                        self.begin(piece);
                    }
                    self.take(piece, peer, enough, out);
                }
            }
        }
        if out.len() == before && count > 0 {
            self.ask_again(peer, bits, count, max_open, out);
        }
    }

    /// Wanted open pieces with free blocks that the peer has: fewest missing blocks first, then fewest peers.
    fn partial_by_progress(&self, bits: &Bitfield) -> Vec<PieceIndex> {
        let mut found: Vec<_> = self
            .partial
            .iter()
            .filter(|&&piece| bits.get(piece))
            .map(|&piece| (self.open[&piece].missing(), self.availability.of(piece), piece))
            .collect();
        found.sort_unstable();
        found.into_iter().map(|(_, _, piece)| piece).collect()
    }

    pub(super) fn take_all(&mut self, pieces: &[PieceIndex], peer: PeerSlot, enough: usize, out: &mut Vec<BlockRef>) {
        for &piece in pieces {
            if out.len() >= enough {
                return;
            }
            self.take(piece, peer, enough, out);
        }
    }

    fn begin_rarest(
        &mut self,
        peer: PeerSlot,
        bits: &Bitfield,
        max_open: usize,
        enough: usize,
        out: &mut Vec<BlockRef>,
    ) {
        let mut place = 0;
        while out.len() < enough && self.open_wanted < max_open {
            let Some(rarest) = self.next_by_rarity(bits, &mut place) else { return };
            let piece = self.or_suggested(peer, bits, rarest);
            self.begin(piece);
            self.take(piece, peer, enough, out);
        }
    }

    /// Takes those pieces out of `partial` that have at least twice as many sources as the rarest piece that could be begun
    /// with this peer: whoever is a source of what is scarce (a swarm's only seed) is not to be asked for what many have.
    fn plentiful_among(&mut self, partial: &mut Vec<PieceIndex>, bits: &Bitfield) -> Vec<PieceIndex> {
        let most = partial.iter().map(|&piece| self.availability.of(piece)).max().unwrap_or(0);
        let order = self.availability.rarest_first();
        let rarest = order.first().map_or(u32::MAX, |&piece| self.availability.of(PieceIndex(piece)));
        if self.have.count() < RANDOM_FIRST || rarest.saturating_mul(2) > most {
            return Vec::new();
        }
        let Some(&begin) = order.iter().take(SCAN_PIECES).find(|&&piece| bits.get(PieceIndex(piece))) else {
            return Vec::new();
        };
        let bound = self.availability.of(PieceIndex(begin)).saturating_mul(2);
        partial.extract_if(.., |piece| self.availability.of(*piece) >= bound).collect()
    }

    /// The rarest closed piece that the peer has, or at the very beginning a random one. `place` is where the last search
    /// of this pick ended: pieces before it are none of the peer's.
    pub(super) fn next_by_rarity(&mut self, bits: &Bitfield, place: &mut usize) -> Option<PieceIndex> {
        let order = self.availability.rarest_first();
        if order.is_empty() {
            return None;
        }
        let random = self.have.count() < RANDOM_FIRST;
        let start = if random { self.rng.index(order.len()) } else { (*place).min(order.len()) };
        let (before, after) = order.split_at(start);
        let wrapped = if random { before } else { &[] };
        let mut looked_at = 0;
        let mut candidates = after.iter().chain(wrapped).map(|&piece| PieceIndex(piece));
        for piece in candidates.by_ref().take(SCAN_PIECES) {
            if bits.get(piece) {
                *place = start + looked_at;
                let rarity = self.availability.of(piece);
                let as_rare = |other: &PieceIndex| random || self.availability.of(*other) == rarity;
                let ties = candidates.take_while(as_rare).take(TIES).filter(|&other| bits.get(other));
                return std::iter::once(piece).chain(ties).min_by_key(|&piece| self.share_out.before_us(piece));
            }
            looked_at += 1;
        }
        *place = start + looked_at;
        if looked_at < SCAN_PIECES { None } else { self.search(bits) }
    }

    /// The rarest of a few closed pieces that the peer has, for one that has little.
    fn search(&mut self, bits: &Bitfield) -> Option<PieceIndex> {
        let words = self.closed.words();
        let start = self.rng.index(words.len());
        (start..words.len())
            .chain(0..start)
            .map(|number| (number, words[number] & bits.words()[number]))
            .filter(|&(_, word)| word != 0)
            .flat_map(|(number, word)| pieces_of_word(number, word))
            .take(SEARCH_PIECES)
            .min_by_key(|&piece| self.availability.of(piece))
    }

    /// A closed piece that the peer has, each equally likely. Cost: a step for 64 pieces.
    fn any_closed(&mut self, bits: &Bitfield) -> Option<PieceIndex> {
        let both = |(number, word): (usize, &u64)| (number, word & bits.words()[number]);
        let count: u64 = self.closed.words().iter().enumerate().map(|word| u64::from(both(word).1.count_ones())).sum();
        if count == 0 {
            return None;
        }
        let mut left = self.rng.below(count);
        for (number, word) in self.closed.words().iter().enumerate().map(both) {
            let ones = u64::from(word.count_ones());
            if left < ones {
                return pieces_of_word(number, word).nth(left as usize);
            }
            left -= ones;
        }
        None
    }

    pub(super) fn lowest_closed(&mut self, bits: &Bitfield) -> Option<PieceIndex> {
        let words = self.closed.words();
        while words.get(self.first_closed) == Some(&0) {
            self.first_closed += 1;
        }
        (self.first_closed..words.len())
            .map(|number| (number, words[number] & bits.words()[number]))
            .filter(|&(_, word)| word != 0)
            .flat_map(|(number, word)| pieces_of_word(number, word))
            .next()
    }

    /// Marks free blocks of an open piece as asked of this peer.
    pub(super) fn take(&mut self, piece: PieceIndex, peer: PeerSlot, enough: usize, out: &mut Vec<BlockRef>) {
        while out.len() < enough {
            let Some(number) = self.open.get_mut(&piece).and_then(OpenPiece::next_free) else { break };
            self.set_block(piece, number, Block::Asked(peer));
            self.count_outstanding(peer, true);
            out.push(self.layout.request(piece, number).expect("a block in a gap is never free"));
        }
    }

    /// Asks for what others were asked for: when nothing else is missing, or when no piece may be begun and slow peers hold
    /// up those that are open.
    pub(super) fn ask_again(
        &mut self,
        peer: PeerSlot,
        bits: &Bitfield,
        count: usize,
        max_open: usize,
        out: &mut Vec<BlockRef>,
    ) {
        let endgame = self.is_endgame();
        let held_up = !self.slow.is_empty() && self.open_wanted >= max_open;
        let room = ENDGAME_DEPTH.saturating_sub(self.outstanding.get(&peer).copied().unwrap_or(0));
        if !(endgame || held_up) || room == 0 {
            return;
        }
        let last = self.missing <= LAST_BLOCKS;
        let from = PieceIndex(self.rng.below(u64::from(self.have.len())) as u32);
        let mut looked_at = 0;
        let mut found = Vec::new();
        for (&piece, open) in self.open.range(from..).chain(self.open.range(..from)) {
            if looked_at >= SCAN_BLOCKS {
                break;
            }
            if !bits.get(piece) || !self.wanted.get(piece) {
                continue;
            }
            looked_at += open.blocks.len();
            for (number, block) in (0_u32..).zip(&open.blocks) {
                let Block::Asked(first) = *block else { continue };
                let (mut times, mut all_slow, mut ours) = (1, self.slow.contains(&first), first == peer);
                for other in self.extra_of(piece, number) {
                    times += 1;
                    all_slow &= self.slow.contains(&other);
                    ours |= other == peer;
                }
                let bound = if last || all_slow { MAX_ASKED_LAST } else { MAX_ASKED };
                if !ours && times < bound && (endgame || all_slow) {
                    found.push((!all_slow, times, self.rng.next_u64(), piece, number));
                }
            }
        }
        found.sort_unstable();
        for (_, _, _, piece, number) in found.into_iter().take(count.min(room as usize)) {
            self.extra.insert((piece, number, peer));
            self.count_outstanding(peer, true);
            out.push(self.layout.request(piece, number).expect("only blocks outside gaps are asked for"));
        }
    }
}
