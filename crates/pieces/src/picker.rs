//! Which blocks to ask of a peer.
//!
//! A piece that is not had is *closed* (nothing of it is here or asked for), *open* (some blocks are), or *storing* (all
//! are here; it is being hashed and written). Closed pieces that are wanted are listed by rarity and can be begun; open
//! ones come first, so that few are half done, and any peer may help with any of them, so that a slow one holds up blocks
//! and not pieces. What is here of an open piece stays when peers leave, or when the piece is not wanted for a while.
//!
//! Order for a peer: blocks of open pieces (the most complete piece first, then the rarest), then new pieces: random ones
//! until a few are had, then the rarest; of equally rare ones first those that fall to us (`share_out`). While a peer has
//! something twice as rare to begin, open pieces that others can finish are left to them, so that a sole source is not
//! asked for what many have. Sequential mode takes the lowest piece of both. When nothing is
//! left to ask for, what others were asked for is asked for again, within bounds (endgame, BEP 3).
//!
//! Invariants ([`PiecePicker::check_invariants`]): every piece is in one state; an open piece has a block that is here or
//! asked for; a block is asked of several peers in the endgame only; the counters are what counting gives.

mod choose;
mod failed;
mod in_order;
mod run;
mod suggested;

use crate::open::{Block, OpenPiece};
use crate::share_out::ShareOut;
use crate::{Availability, Bitfield};
use shoal_layout::{BLOCK_LENGTH, BlockRef, Layout, PieceIndex};
use shoal_machine::Rng;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A peer's number, as its owner has it; the picker only compares them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerSlot(pub u32);

/// Which pieces come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PickMode {
    /// Those that the fewest peers have.
    RarestFirst,
    /// Any, equally likely: what rarity is measured against.
    Random,
    /// Those with the lowest numbers, and between them some that are rarer, where the peer has such: who fetches in order has
    /// something for the others all the same.
    InOrder,
    /// Those with the lowest numbers, whatever others have: what [`InOrder`](Self::InOrder) is measured against.
    Sequential,
}

/// What the arrival of a block meant.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Received {
    /// Whether it was missing; if not, throw it away.
    pub fresh: bool,
    /// Who else was asked for it, and no longer is: cancel.
    pub others: Vec<PeerSlot>,
    /// Whether it was the last of its piece, which is storing now.
    pub piece_complete: bool,
}

/// How far each piece of one torrent is, and which blocks come next. About 11 bytes a piece, 8 a block of open pieces.
#[derive(Debug)]
pub struct PiecePicker {
    layout: Layout,
    has_gaps: bool,
    have: Bitfield,
    wanted: Bitfield,
    /// Closed and wanted: the pieces that `availability` lists.
    closed: Bitfield,
    /// No closed piece lies in a word before this one.
    first_closed: usize,
    availability: Availability,
    open: BTreeMap<PieceIndex, OpenPiece>,
    /// Open pieces that are wanted.
    open_wanted: usize,
    /// Those of them with a free block.
    partial: BTreeSet<PieceIndex>,
    storing: BTreeSet<PieceIndex>,
    /// Second and further peers that were asked for a block.
    extra: BTreeSet<(PieceIndex, u32, PeerSlot)>,
    /// Blocks asked of each peer.
    outstanding: BTreeMap<PeerSlot, u32>,
    slow: BTreeSet<PeerSlot>,
    /// What peers suggest, oldest first.
    suggested: BTreeMap<PeerSlot, VecDeque<PieceIndex>>,
    missing: u64,
    asked: u64,
    share_out: ShareOut,
    /// [`PickMode::InOrder`]: rare pieces begun since the last that was next in order.
    rare_begun: u32,
    rng: Rng,
}

impl PiecePicker {
    /// A picker for a torrent of which `have` is there and `wanted` is to be fetched. Pieces that lie wholly in gaps count
    /// as had at once. Keeps a copy of the layout (16 bytes a file). Panics if the lengths differ.
    pub fn new(layout: &Layout, have: Bitfield, wanted: &Bitfield, rng: Rng) -> PiecePicker {
        let pieces = layout.pieces();
        assert!(have.len() == pieces && wanted.len() == pieces, "bitfields of this torrent");
        let mut picker = PiecePicker {
            has_gaps: layout.payload_length() != layout.total_length(),
            layout: layout.clone(),
            have,
            wanted: Bitfield::new(pieces),
            closed: Bitfield::new(pieces),
            first_closed: 0,
            availability: Availability::new(pieces, rng.fork("availability")),
            open: BTreeMap::new(),
            open_wanted: 0,
            partial: BTreeSet::new(),
            storing: BTreeSet::new(),
            extra: BTreeSet::new(),
            outstanding: BTreeMap::new(),
            slow: BTreeSet::new(),
            suggested: BTreeMap::new(),
            missing: 0,
            asked: 0,
            share_out: ShareOut::default(),
            rare_begun: 0,
            rng: rng.fork("picker"),
        };
        if picker.has_gaps {
            for piece in (0..pieces).map(PieceIndex) {
                if picker.blocks_of(piece) == 0 {
                    picker.have.set(piece);
                }
            }
        }
        picker.set_wanted(wanted);
        picker
    }

    // ---- who has what

    /// A peer said what it has.
    pub fn peer_joined(&mut self, bits: &Bitfield) {
        self.availability.add_peer(bits);
    }

    /// A peer went, or takes back what it said; `bits` is what it had. What it was asked for is abandoned block by block.
    pub fn peer_left(&mut self, bits: &Bitfield) {
        self.availability.remove_peer(bits);
    }

    /// A peer has one piece more. O(1).
    pub fn peer_has(&mut self, piece: PieceIndex) {
        self.availability.raise(piece);
    }

    /// A peer has one piece fewer (BEP 54).
    pub fn peer_lost(&mut self, piece: PieceIndex) {
        self.availability.lower(piece);
    }

    /// Remembers that a peer is slow or snubbing, or no longer. Others are asked for its blocks sooner.
    pub fn peer_slow(&mut self, peer: PeerSlot, slow: bool) {
        if slow {
            self.slow.insert(peer);
        } else {
            self.slow.remove(&peer);
        }
    }

    /// Of equally rare pieces, begins from now on first those for which `us` stands before all `rivals`, other leeches that
    /// see the same peers; see the `share_out` module.
    pub fn share_out<'a>(&mut self, us: &[u8; 20], rivals: impl Iterator<Item = &'a [u8; 20]>) {
        self.share_out = ShareOut::new(us, rivals);
    }

    /// How many peers have this piece.
    pub fn availability(&self, piece: PieceIndex) -> u32 {
        self.availability.of(piece)
    }

    // ---- what we have and want

    /// The pieces that are verified and written.
    pub fn have(&self) -> &Bitfield {
        &self.have
    }

    /// Whether this piece is wanted and not had: what makes a peer interesting.
    pub fn wants(&self, piece: PieceIndex) -> bool {
        self.wanted.get(piece) && !self.have.get(piece)
    }

    /// How many pieces that we want and lack are in this set. Cost: a step for 64 pieces.
    pub fn count_wanted(&self, bits: &Bitfield) -> u32 {
        let words = bits.words().iter().zip(self.wanted.words()).zip(self.have.words());
        words.map(|((theirs, wanted), have)| (theirs & wanted & !have).count_ones()).sum()
    }

    /// Wants these pieces and no others. What is here of others stays, and they are not begun or continued. Cost: a
    /// step for 64 pieces and one for each that changes.
    pub fn set_wanted(&mut self, wanted: &Bitfield) {
        let more: Vec<_> = wanted.iter_and_not(&self.wanted).collect();
        let fewer: Vec<_> = self.wanted.iter_and_not(wanted).collect();
        fewer.into_iter().for_each(|piece| self.set_piece_wanted(piece, false));
        more.into_iter().for_each(|piece| self.set_piece_wanted(piece, true));
    }

    /// Wants one piece, or no longer.
    pub fn set_piece_wanted(&mut self, piece: PieceIndex, wanted: bool) {
        if self.wanted.get(piece) == wanted {
            return;
        }
        if wanted {
            self.wanted.set(piece);
            if self.open.contains_key(&piece) {
                self.count_open(piece, true);
            } else if !self.have.get(piece) && !self.storing.contains(&piece) {
                self.close(piece);
            }
        } else {
            if self.open.contains_key(&piece) {
                self.count_open(piece, false);
            }
            self.unclose(piece);
            self.wanted.unset(piece);
        }
    }

    /// A storing piece is verified and written (or was found so).
    pub fn piece_stored(&mut self, piece: PieceIndex) {
        self.take_out(piece);
        self.have.set(piece);
    }

    /// A piece that was had is not there any more.
    pub fn piece_lost(&mut self, piece: PieceIndex) {
        if self.have.unset(piece) && self.blocks_of(piece) > 0 && self.wanted.get(piece) {
            self.close(piece);
        } else if self.blocks_of(piece) == 0 {
            self.have.set(piece);
        }
    }

    // ---- counters

    /// Blocks of wanted pieces that are not here.
    pub fn blocks_missing(&self) -> u64 {
        self.missing
    }

    /// Those of them that somebody was asked for.
    pub fn blocks_requested(&self) -> u64 {
        self.asked
    }

    /// Wanted pieces of which some blocks are here or asked for.
    pub fn open_pieces(&self) -> usize {
        self.open_wanted
    }

    /// How many blocks each peer was asked for, of those that were asked for any.
    pub fn outstanding(&self) -> impl Iterator<Item = (PeerSlot, u32)> + '_ {
        self.outstanding.iter().map(|(&peer, &count)| (peer, count))
    }

    /// Whether every block that is missing was asked for.
    pub fn is_endgame(&self) -> bool {
        self.missing > 0 && self.missing == self.asked
    }

    // ---- blocks

    /// A block came.
    pub fn received(&mut self, block: BlockRef, peer: PeerSlot) -> Received {
        let Some(number) = self.number_of(block) else { return Received::default() };
        let piece = block.piece;
        let Some(open) = self.open.get(&piece) else { return Received::default() };
        if matches!(open.blocks[number as usize], Block::Here | Block::Gap) {
            return Received::default();
        }
        let mut others = self.release_all(piece, number);
        others.retain(|&other| other != peer);
        self.set_block(piece, number, Block::Here);
        let piece_complete = self.open[&piece].missing() == 0;
        if piece_complete {
            self.remove_open(piece);
            self.storing.insert(piece);
        }
        Received { fresh: true, others, piece_complete }
    }

    /// This peer will not send this block (cancelled, choked, rejected, snubbed, disconnected). Without effect if it was not
    /// asked for it.
    pub fn abandoned(&mut self, block: BlockRef, peer: PeerSlot) {
        let Some(number) = self.number_of(block) else { return };
        let piece = block.piece;
        let Some(open) = self.open.get(&piece) else { return };
        let Block::Asked(first) = open.blocks[number as usize] else { return };
        if self.extra.remove(&(piece, number, peer)) {
            self.count_outstanding(peer, false);
        } else if first == peer {
            self.count_outstanding(peer, false);
            let second = self.extra_of(piece, number).next();
            match second {
                Some(second) => {
                    self.extra.remove(&(piece, number, second));
                    self.set_block(piece, number, Block::Asked(second));
                }
                None => {
                    self.set_block(piece, number, Block::Free);
                    self.close_if_idle(piece);
                }
            }
        }
    }

    /// The number of a block that is one of those to be asked for.
    fn number_of(&self, block: BlockRef) -> Option<u32> {
        let number = block.begin / BLOCK_LENGTH;
        (block.piece.0 < self.have.len() && self.layout.request(block.piece, number) == Some(block)).then_some(number)
    }

    // ---- states

    /// How many blocks of a piece are to be fetched.
    fn blocks_of(&self, piece: PieceIndex) -> u32 {
        if !self.has_gaps {
            return self.layout.blocks_in(piece);
        }
        let whole = BlockRef { piece, begin: 0, length: self.layout.piece_size(piece) };
        let (mut at, mut counted, mut blocks) = (0_u64, 0_u64, 0);
        for slice in self.layout.slices(whole) {
            let end = at + slice.length;
            if slice.file.is_some() {
                // Blocks up to `counted` are counted; two files may share one.
                let first = (at / u64::from(BLOCK_LENGTH)).max(counted);
                let past = end.div_ceil(u64::from(BLOCK_LENGTH));
                blocks += past.saturating_sub(first) as u32;
                counted = counted.max(past);
            }
            at = end;
        }
        blocks
    }

    /// Makes a wanted piece that is in no state closed.
    fn close(&mut self, piece: PieceIndex) {
        self.closed.set(piece);
        self.first_closed = self.first_closed.min(piece.as_usize() / 64);
        self.availability.list(piece);
        self.missing += u64::from(self.blocks_of(piece));
    }

    fn unclose(&mut self, piece: PieceIndex) {
        if self.closed.unset(piece) {
            self.availability.unlist(piece);
            self.missing -= u64::from(self.blocks_of(piece));
        }
    }

    /// Opens a closed piece.
    fn begin(&mut self, piece: PieceIndex) {
        self.unclose(piece);
        self.open.insert(piece, OpenPiece::new(self.missing_blocks(piece)));
        self.count_open(piece, true);
    }

    /// The blocks of a piece of which nothing is here.
    fn missing_blocks(&self, piece: PieceIndex) -> Vec<Block> {
        let mut blocks = vec![Block::Free; self.layout.blocks_in(piece) as usize];
        if self.has_gaps {
            blocks.fill(Block::Gap);
            for (number, _) in self.layout.requests(piece) {
                blocks[number as usize] = Block::Free;
            }
        }
        blocks
    }

    /// Counts an open piece as wanted, or takes it out of the counts.
    fn count_open(&mut self, piece: PieceIndex, wanted: bool) {
        let open = &self.open[&piece];
        if wanted {
            self.open_wanted += 1;
            self.missing += u64::from(open.missing());
            self.asked += u64::from(open.asked);
            if open.free > 0 {
                self.partial.insert(piece);
            }
        } else {
            self.open_wanted -= 1;
            self.missing -= u64::from(open.missing());
            self.asked -= u64::from(open.asked);
            self.partial.remove(&piece);
        }
    }

    fn remove_open(&mut self, piece: PieceIndex) {
        if self.wanted.get(piece) {
            self.count_open(piece, false);
        }
        self.open.remove(&piece);
    }

    /// Changes a block of an open piece, and the counts with it.
    fn set_block(&mut self, piece: PieceIndex, number: u32, to: Block) {
        let open = self.open.get_mut(&piece).expect("blocks change in open pieces only");
        let (missing, asked) = (open.missing(), open.asked);
        open.set(number, to);
        if self.wanted.get(piece) {
            self.missing = self.missing + u64::from(open.missing()) - u64::from(missing);
            self.asked = self.asked + u64::from(open.asked) - u64::from(asked);
            if open.free > 0 {
                self.partial.insert(piece);
            } else {
                self.partial.remove(&piece);
            }
        }
    }

    /// Closes an open piece of which nothing is here or asked for.
    fn close_if_idle(&mut self, piece: PieceIndex) {
        if self.open.get(&piece).is_some_and(|open| open.here == 0 && open.asked == 0) {
            self.remove_open(piece);
            if self.wanted.get(piece) {
                self.close(piece);
            }
        }
    }

    /// Takes a piece out of whichever state it is in.
    fn take_out(&mut self, piece: PieceIndex) {
        self.storing.remove(&piece);
        self.unclose(piece);
        if let Some(open) = self.open.get(&piece) {
            for number in 0..open.blocks.len() as u32 {
                self.release_all(piece, number);
            }
            self.remove_open(piece);
        }
    }

    /// Forgets who was asked for a block of an open piece, and says who that was.
    fn release_all(&mut self, piece: PieceIndex, number: u32) -> Vec<PeerSlot> {
        let Block::Asked(first) = self.open[&piece].blocks[number as usize] else { return Vec::new() };
        let mut peers = vec![first];
        if !self.extra.is_empty() {
            peers.extend(self.extra_of(piece, number));
        }
        for &peer in &peers {
            self.extra.remove(&(piece, number, peer));
            self.count_outstanding(peer, false);
        }
        peers
    }

    fn extra_of(&self, piece: PieceIndex, number: u32) -> impl Iterator<Item = PeerSlot> + '_ {
        let all = (piece, number, PeerSlot(0))..=(piece, number, PeerSlot(u32::MAX));
        self.extra.range(all).map(|&(_, _, peer)| peer)
    }

    fn count_outstanding(&mut self, peer: PeerSlot, more: bool) {
        let count = self.outstanding.entry(peer).or_default();
        *count = count.checked_add_signed(if more { 1 } else { -1 }).expect("only what was asked is released");
        if *count == 0 {
            self.outstanding.remove(&peer);
        }
    }

    /// Panics if what the module's head states does not hold. Cost: a step a piece and a block of open ones.
    pub fn check_invariants(&self) {
        self.availability.check_invariants();
        let (mut missing, mut asked, mut open_wanted) = (0, 0, 0);
        let mut outstanding = BTreeMap::<PeerSlot, u32>::new();
        for piece in (0..self.have.len()).map(PieceIndex) {
            let states = [
                self.have.get(piece),
                self.closed.get(piece),
                self.open.contains_key(&piece),
                self.storing.contains(&piece),
            ];
            let in_states = states.iter().filter(|&&state| state).count();
            let wanted = self.wanted.get(piece);
            assert!(in_states == 1 || in_states == 0 && !wanted, "{piece:?} is in {in_states} states");
            assert!(wanted || !self.closed.get(piece), "{piece:?} is listed and not wanted");
            if self.closed.get(piece) {
                missing += u64::from(self.blocks_of(piece));
                assert!(piece.as_usize() / 64 >= self.first_closed, "{piece:?} is before the first closed");
            }
        }
        for (piece, open) in &self.open {
            let count = |is: fn(&Block) -> bool| open.blocks.iter().filter(|&block| is(block)).count() as u32;
            assert_eq!(open.free, count(|block| *block == Block::Free), "free blocks of {piece:?}");
            assert_eq!(open.here, count(|block| *block == Block::Here), "blocks of {piece:?} that are here");
            assert_eq!(open.asked, count(|block| matches!(block, Block::Asked(_))), "asked blocks of {piece:?}");
            assert!(open.missing() > 0 && open.here + open.asked > 0, "{piece:?} should not be open");
            if self.wanted.get(*piece) {
                missing += u64::from(open.missing());
                asked += u64::from(open.asked);
                open_wanted += 1;
            }
            assert_eq!(self.partial.contains(piece), self.wanted.get(*piece) && open.free > 0, "{piece:?} is partial");
            for block in &open.blocks {
                if let Block::Asked(peer) = block {
                    *outstanding.entry(*peer).or_default() += 1;
                }
            }
        }
        for (piece, number, peer) in &self.extra {
            let block = self.open.get(piece).map(|open| open.blocks[*number as usize]);
            assert!(matches!(block, Some(Block::Asked(first)) if first != *peer), "{piece:?} asked again");
            assert!(self.extra_of(*piece, *number).count() < choose::MAX_ASKED_LAST);
            *outstanding.entry(*peer).or_default() += 1;
        }
        assert_eq!((missing, asked, open_wanted), (self.missing, self.asked, self.open_wanted), "counters");
        assert_eq!(outstanding, self.outstanding, "blocks asked of each peer");
        assert!(self.partial.iter().all(|piece| self.open.contains_key(piece)));
    }
}
