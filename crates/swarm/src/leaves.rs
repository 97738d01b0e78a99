//! Leaf hashes of single pieces (BEP 52, base layer 0): which to ask for when a piece is corrupt, and what of them is known.
//!
//! The piece layer says that a piece is wrong, its leaves say which blocks. Asked for is a piece at a time, in runs of at most
//! 512 hashes whose uncles lead to the piece's own root, which was proven before: a forged leaf is refused before it is used.
//! Invariants: every hash kept here led to its piece's root; pieces in doubt and pieces whose leaves are kept are bounded.

use crate::blame::Giver;
use crate::event::PeerKey;
use shoal_hash::merkle;
use shoal_layout::{BLOCK_LENGTH, BlockRef, PieceIndex};
use shoal_machine::Time;
use shoal_metainfo::{Info, PieceRoot};
use shoal_wire::HashRange;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Pieces in doubt at a time. Chosen: those that nine liars of a fast line spoil while the first is asked about.
const MAX_DOUBTS: usize = 32;
/// The longest piece that is asked about, and read for others: 2,048 leaves. Chosen: longer ones are hardly made.
pub(crate) const MAX_PIECE: u32 = 32 << 20;
/// Chosen: who did not send a piece's leaves within so long is passed over. A piece waits for them, and they are a block at most.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// Peers that one piece's leaves are asked of, at most. Chosen.
const MAX_REFUSALS: usize = 4;
/// Leaves that are kept, at most: 1 MiB of them. Chosen: those of all pieces in doubt at 16 MiB a piece.
const MAX_KEPT: usize = 1 << 15;

/// Where a piece's leaves are in its file's tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// The file's root, by which requests name it.
    pub(crate) file: [u8; 32],
    /// The first leaf's number in the file.
    first: u32,
    pub(crate) hash: PieceRoot,
}

impl Place {
    /// `None` if the piece has no leaves below its own hash, or more than anybody is asked for.
    pub(crate) fn of(info: &Info, piece: PieceIndex, hash: PieceRoot) -> Option<Place> {
        let layout = info.layout();
        let index = layout.files_in(piece).next()?;
        let number = piece.0 - layout.pieces_of(index).start;
        let first = number.checked_mul(layout.piece_length() / BLOCK_LENGTH)?;
        let file = info.file(index)?.root?;
        (hash.leaves > 1 && hash.leaves <= MAX_PIECE / BLOCK_LENGTH).then_some(Place { file, first, hash })
    }

    /// How many leaves cover data.
    pub(crate) fn data(&self) -> usize {
        self.hash.length.div_ceil(BLOCK_LENGTH) as usize
    }

    /// The request for the run after `known` leaves.
    fn range(&self, known: usize) -> HashRange {
        let leaves = self.hash.leaves;
        let length = leaves.min(merkle::MAX_REQUEST_LENGTH);
        // Up to the piece's root, which is known; what the run itself covers is counted, and left out of the answer.
        let proof_layers = if length == leaves { 0 } else { leaves.trailing_zeros() - 1 };
        HashRange { root: self.file, base_layer: 0, index: self.first + known as u32, length, proof_layers }
    }

    /// Whether a run of leaves with its uncles leads to the piece's root.
    fn proves(&self, known: usize, hashes: &[[u8; 32]]) -> bool {
        let range = self.range(known);
        let uncles = merkle::uncle_count(range.length, range.proof_layers);
        if hashes.len() != (range.length + uncles) as usize {
            return false;
        }
        let (run, uncles) = hashes.split_at(range.length as usize);
        merkle::range_root(0, u64::from(range.index), run, uncles) == Some(self.hash.root)
    }
}

/// A piece that is corrupt, while it is asked which of its blocks are.
#[derive(Debug)]
pub(crate) struct Doubtful<P> {
    pub(crate) blocks: Vec<(BlockRef, P)>,
    /// SHA-256 of each block: what its leaf should be.
    pub(crate) digests: Vec<[u8; 32]>,
    /// Who gave all of it and so was blamed at once.
    pub(crate) blamed: Option<Giver>,
    pub(crate) since: Time,
    place: Place,
    leaves: Vec<[u8; 32]>,
    asked: Option<PeerKey>,
    refused: Vec<PeerKey>,
}

impl<P> Doubtful<P> {
    pub(crate) fn new(
        place: Place,
        blocks: Vec<(BlockRef, P)>,
        digests: Vec<[u8; 32]>,
        blamed: Option<Giver>,
        since: Time,
    ) -> Doubtful<P> {
        Doubtful { blocks, digests, blamed, since, place, leaves: Vec::new(), asked: None, refused: Vec::new() }
    }

    /// Whether it waits for nobody's answer.
    pub(crate) fn is_idle(&self) -> bool {
        self.asked.is_none()
    }

    fn waits(&self, peer: PeerKey, range: HashRange) -> bool {
        self.asked == Some(peer) && self.place.range(self.leaves.len()) == range
    }

    /// Whether this peer may be asked.
    pub(crate) fn may_ask(&self, peer: PeerKey) -> bool {
        self.refused.len() < MAX_REFUSALS && !self.refused.contains(&peer)
    }

    /// The next run to ask of this peer.
    pub(crate) fn ask(&mut self, peer: PeerKey) -> HashRange {
        self.asked = Some(peer);
        self.place.range(self.leaves.len())
    }
}

/// What came of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum LeavesCame {
    /// No piece in doubt waits for it.
    Unasked,
    /// It does not lead to the piece's root.
    Forged,
    /// It is kept, and more is needed.
    Kept,
    /// All leaves of this piece are known.
    Whole(PieceIndex, Vec<[u8; 32]>),
}

/// The pieces in doubt.
#[derive(Debug)]
pub(crate) struct Doubts<P> {
    pub(crate) pieces: BTreeMap<PieceIndex, Doubtful<P>>,
}

impl<P> Default for Doubts<P> {
    fn default() -> Self {
        Doubts { pieces: BTreeMap::new() }
    }
}

impl<P> Doubts<P> {
    pub(crate) fn have_room(&self) -> bool {
        self.pieces.len() < MAX_DOUBTS
    }

    fn waiting(&mut self, peer: PeerKey, range: HashRange) -> Option<(PieceIndex, &mut Doubtful<P>)> {
        let mut pieces = self.pieces.iter_mut();
        pieces.find(|(_, doubtful)| doubtful.waits(peer, range)).map(|(&piece, doubtful)| (piece, doubtful))
    }

    /// Takes an answer: the hashes of the run, then its uncles.
    pub(crate) fn came(&mut self, peer: PeerKey, range: HashRange, hashes: &[[u8; 32]]) -> LeavesCame {
        let Some((piece, doubtful)) = self.waiting(peer, range) else { return LeavesCame::Unasked };
        doubtful.asked = None;
        if !doubtful.place.proves(doubtful.leaves.len(), hashes) {
            doubtful.refused.push(peer);
            return LeavesCame::Forged;
        }
        doubtful.leaves.extend(&hashes[..range.length as usize]);
        let data = doubtful.place.data();
        if doubtful.leaves.len() < data {
            return LeavesCame::Kept;
        }
        doubtful.leaves.truncate(data);
        LeavesCame::Whole(piece, std::mem::take(&mut doubtful.leaves))
    }

    /// Whether a piece in doubt waits for this answer.
    pub(crate) fn waits(&self, peer: PeerKey, range: HashRange) -> bool {
        self.pieces.values().any(|doubtful| doubtful.waits(peer, range))
    }

    /// The peer will not answer this one. False if no piece in doubt waits for it.
    pub(crate) fn refused(&mut self, peer: PeerKey, range: HashRange) -> bool {
        let found = self.waiting(peer, range);
        if let Some((_, doubtful)) = found {
            doubtful.asked = None;
            doubtful.refused.push(peer);
            return true;
        }
        false
    }

    pub(crate) fn peer_left(&mut self, peer: PeerKey) {
        self.pieces.values_mut().filter(|doubtful| doubtful.asked == Some(peer)).for_each(|doubtful| {
            doubtful.asked = None;
            doubtful.refused.push(peer);
        });
    }
}

/// Leaves of pieces, proven: those of pieces that were corrupt, and those that were read for others.
#[derive(Debug, Default)]
pub(crate) struct KnownLeaves {
    kept: VecDeque<(PieceIndex, Vec<[u8; 32]>)>,
    count: usize,
}

impl KnownLeaves {
    /// Those that cover the piece's data.
    pub(crate) fn get(&self, piece: PieceIndex) -> Option<&[[u8; 32]]> {
        self.kept.iter().find(|(kept, _)| *kept == piece).map(|(_, leaves)| leaves.as_slice())
    }

    pub(crate) fn keep(&mut self, piece: PieceIndex, leaves: Vec<[u8; 32]>) {
        if self.get(piece).is_some() {
            return;
        }
        self.count += leaves.len();
        self.kept.push_front((piece, leaves));
        while self.count > MAX_KEPT {
            let Some((_, forgotten)) = self.kept.pop_back() else { break };
            self.count -= forgotten.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A piece of 1,024 blocks, the 700th its last with data, second in its file.
    fn place() -> (Place, merkle::Tree, Vec<[u8; 32]>) {
        let all: Vec<[u8; 32]> = (0..1_724_u32).map(|n| shoal_hash::sha256(&n.to_be_bytes())).collect();
        let tree = merkle::Tree::new(1_724 * 16_384, 0, all.clone()).unwrap();
        let hash = PieceRoot { root: merkle::root(&all[1_024..], 1_024), leaves: 1_024, length: 700 * 16_384 };
        (Place { file: tree.root(), first: 1_024, hash }, tree, all[1_024..].to_vec())
    }

    fn doubts(place: Place) -> Doubts<u8> {
        let mut doubts = Doubts::default();
        doubts.pieces.insert(PieceIndex(1), Doubtful::new(place, Vec::new(), Vec::new(), None, Time::ZERO));
        doubts
    }

    fn answer(tree: &merkle::Tree, range: HashRange) -> Vec<[u8; 32]> {
        tree.proof(0, u64::from(range.index), range.length, range.proof_layers).unwrap()
    }

    #[test]
    fn the_leaves_of_a_long_piece_come_in_proven_runs() {
        let (place, tree, leaves) = place();
        let (mut doubts, peer) = (doubts(place), PeerKey(1));
        let ask = |doubts: &mut Doubts<u8>| doubts.pieces.get_mut(&PieceIndex(1)).unwrap().ask(peer);
        let first = ask(&mut doubts);
        assert_eq!((first.index, first.length, answer(&tree, first).len()), (1_024, 512, 513));
        assert_eq!(doubts.came(PeerKey(2), first, &answer(&tree, first)), LeavesCame::Unasked);
        assert_eq!(doubts.came(peer, first, &answer(&tree, first)), LeavesCame::Kept);
        let second = ask(&mut doubts);
        assert_eq!(second.index, 1_536);
        assert_eq!(doubts.came(peer, first, &answer(&tree, first)), LeavesCame::Unasked);
        assert_eq!(doubts.came(peer, second, &answer(&tree, second)), LeavesCame::Whole(PieceIndex(1), leaves));
    }

    #[test]
    fn a_forged_leaf_or_uncle_is_noticed_and_its_sender_not_asked_again() {
        let (place, tree, _) = place();
        for forged in [0, 511, 512] {
            let (mut doubts, peer) = (doubts(place), PeerKey(1));
            let range = doubts.pieces.get_mut(&PieceIndex(1)).unwrap().ask(peer);
            let mut said = answer(&tree, range);
            said[forged][3] ^= 1;
            assert_eq!(doubts.came(peer, range, &said), LeavesCame::Forged, "hash {forged}");
            assert!(!doubts.pieces[&PieceIndex(1)].may_ask(peer) && doubts.pieces[&PieceIndex(1)].is_idle());
        }
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_oldest_goes_first() {
        let mut known = KnownLeaves::default();
        for piece in 0..40 {
            known.keep(PieceIndex(piece), vec![[0; 32]; 2_048]);
            assert!(known.count <= MAX_KEPT);
        }
        assert_eq!(known.kept.iter().map(|(_, leaves)| leaves.len()).sum::<usize>(), known.count);
        assert!(known.get(PieceIndex(39)).is_some() && known.get(PieceIndex(0)).is_none());
    }
}
