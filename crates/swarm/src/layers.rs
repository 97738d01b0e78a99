//! Piece layers: fetching those that a magnet link did not bring, and serving ours (BEP 52, "hash request").
//!
//! A v2 info dictionary has only each file's root. The hashes of a file's pieces come from peers, at most 512 at a time, each
//! run with the uncles that lead to the root: a forged one is refused before it is kept. Invariants: a hash is kept only if
//! its run led to the file's root; a run is asked of one peer at a time; a served run has at most 512 hashes.

use crate::event::PeerKey;
use shoal_hash::merkle::{self, Tree};
use shoal_layout::{FileIndex, PieceIndex, Selection};
use shoal_machine::Time;
use shoal_metainfo::{Info, PieceLayers};
use shoal_wire::HashRange;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Hashes in one request (BEP 52: should not be greater than 512).
const RUN: u32 = 512;
/// Chosen: a run that did not come for so long is asked of somebody else.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// Requests to one peer at a time. Chosen: a run is 16 KiB, as a block.
pub(crate) const PIPELINE: usize = 4;
/// Files whose trees are kept for serving. Chosen: 64 trees of 2,000 pieces are 8 MiB.
const MAX_TREES: usize = 64;

/// What is missing of one file's layer.
#[derive(Debug)]
struct Missing {
    root: [u8; 32],
    length: u64,
    /// Hashes in the layer that cover data.
    count: u32,
    /// Runs by their first index: hashes that came.
    runs: BTreeMap<u32, Vec<[u8; 32]>>,
    asked: BTreeMap<u32, (PeerKey, Time)>,
}

/// The layers that are to be fetched.
#[derive(Debug, Default)]
pub(crate) struct LayerFetch {
    layer: u32,
    files: BTreeMap<FileIndex, Missing>,
}

/// What came of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Came {
    /// It was not asked for.
    Unasked,
    /// It does not lead to the root.
    Forged,
    /// It is kept.
    Kept,
    /// It was the last one: the whole layer of this file.
    Whole(FileIndex, Vec<[u8; 32]>),
}

impl LayerFetch {
    pub(crate) fn new(info: &Info, layers: &PieceLayers, selection: &Selection) -> LayerFetch {
        let layout = info.layout();
        let piece_length = u64::from(layout.piece_length());
        let Some(layer) = merkle::piece_layer(piece_length) else { return LayerFetch::default() };
        let mut files = BTreeMap::new();
        for (index, file) in info.files().enumerate() {
            let key = FileIndex(index as u32);
            if let Some(root) = file.root
                && file.length > piece_length
                && selection.file(key)
                && layers.get(key).is_none()
            {
                let count = file.length.div_ceil(piece_length) as u32;
                let missing =
                    Missing { root, length: file.length, count, runs: BTreeMap::new(), asked: BTreeMap::new() };
                files.insert(key, missing);
            }
        }
        LayerFetch { layer: u32::from(layer), files }
    }

    /// Whether nothing is missing.
    pub(crate) fn is_done(&self) -> bool {
        self.files.is_empty()
    }

    /// The next runs to ask of this peer, now marked as asked.
    pub(crate) fn pick(&mut self, now: Time, peer: PeerKey, most: usize) -> Vec<HashRange> {
        let mut picked = Vec::new();
        let layer = self.layer;
        for missing in self.files.values_mut() {
            let padded = missing.count.next_power_of_two();
            let length = padded.min(RUN);
            // From the base to below the root; what the run itself covers is counted, and left out of the answer.
            let proof_layers = if length == padded { 0 } else { padded.trailing_zeros() - 1 };
            for index in (0..missing.count).step_by(length as usize) {
                if picked.len() >= most {
                    return picked;
                }
                if missing.runs.contains_key(&index) || missing.asked.contains_key(&index) {
                    continue;
                }
                missing.asked.insert(index, (peer, now));
                picked.push(HashRange { root: missing.root, base_layer: layer, index, length, proof_layers });
            }
        }
        picked
    }

    /// Takes an answer: the hashes of the run, then its uncles.
    pub(crate) fn came(&mut self, peer: PeerKey, range: HashRange, hashes: &[[u8; 32]]) -> Came {
        let layer = self.layer;
        let Some((&file, missing)) = self.files.iter_mut().find(|(_, missing)| missing.root == range.root) else {
            return Came::Unasked;
        };
        let asked = missing.asked.get(&range.index).is_some_and(|&(asked, _)| asked == peer);
        if !asked || range.base_layer != layer {
            return Came::Unasked;
        }
        missing.asked.remove(&range.index);
        let padded = missing.count.next_power_of_two();
        let expected = padded.min(RUN);
        if range.length != expected || hashes.len() < expected as usize {
            return Came::Forged;
        }
        let (run, uncles) = hashes.split_at(expected as usize);
        let base = layer as u8;
        if !merkle::verify_range(&missing.root, missing.length, base, u64::from(range.index), run, uncles) {
            return Came::Forged;
        }
        let kept = (missing.count - range.index).min(expected) as usize;
        missing.runs.insert(range.index, run[..kept].to_vec());
        let have: usize = missing.runs.values().map(Vec::len).sum();
        if have < missing.count as usize {
            return Came::Kept;
        }
        let whole = std::mem::take(&mut missing.runs).into_values().flatten().collect();
        self.files.remove(&file);
        Came::Whole(file, whole)
    }

    /// The peer will not answer this one.
    pub(crate) fn refused(&mut self, peer: PeerKey, range: HashRange) {
        for missing in self.files.values_mut().filter(|missing| missing.root == range.root) {
            if missing.asked.get(&range.index).is_some_and(|&(asked, _)| asked == peer) {
                missing.asked.remove(&range.index);
            }
        }
    }

    pub(crate) fn peer_left(&mut self, peer: PeerKey) {
        for missing in self.files.values_mut() {
            missing.asked.retain(|_, &mut (asked, _)| asked != peer);
        }
    }
}

/// Trees of our own files, made when somebody asks and kept for a while.
#[derive(Debug, Default)]
pub(crate) struct LayerTrees {
    trees: VecDeque<(FileIndex, Tree)>,
}

impl LayerTrees {
    /// The answer to a hash request, or `None` if it has to be refused: an unknown file, a layer below the pieces, a run out
    /// of bounds.
    pub(crate) fn serve(&mut self, info: &Info, layers: &PieceLayers, range: HashRange) -> Option<Vec<[u8; 32]>> {
        let layer = u8::try_from(range.base_layer).ok()?;
        if range.length > RUN {
            return None;
        }
        let (_, tree) = self.tree(info, layers, range.root)?;
        tree.proof(layer, u64::from(range.index), range.length, range.proof_layers)
    }

    /// The piece that holds the leaves of a hash request of base layer 0, if they are one piece's alone.
    pub(crate) fn piece_of_leaves(
        &mut self,
        info: &Info,
        layers: &PieceLayers,
        range: HashRange,
    ) -> Option<PieceIndex> {
        let (file, tree) = self.tree(info, layers, range.root).filter(|(_, tree)| tree.base() > 0)?;
        let leaves = tree.leaves_needed(u64::from(range.index), range.length, range.proof_layers)?;
        let (width, base) = (1_u64 << tree.base(), tree.base());
        let number = leaves.start >> base;
        let in_one = u64::from(range.length) <= width && !leaves.is_empty();
        // A layer has at most 2^21 hashes.
        in_one.then(|| PieceIndex(info.layout().pieces_of(file).start + number as u32))
    }

    /// The answer to a hash request of base layer 0 from its piece's leaves.
    pub(crate) fn serve_leaves(
        &mut self,
        info: &Info,
        layers: &PieceLayers,
        range: HashRange,
        leaves: &[[u8; 32]],
    ) -> Option<Vec<[u8; 32]>> {
        let (_, tree) = self.tree(info, layers, range.root)?;
        tree.proof_from_leaves(leaves, u64::from(range.index), range.length, range.proof_layers)
    }

    /// A file's tree from the piece layer up; that of a file of one piece is its root.
    fn tree(&mut self, info: &Info, layers: &PieceLayers, root: [u8; 32]) -> Option<(FileIndex, &Tree)> {
        let place = self.trees.iter().position(|(_, tree)| tree.root() == root);
        let found = match place {
            Some(place) => self.trees.remove(place)?,
            None => {
                let index = info.files().position(|file| file.root == Some(root))?;
                let file = FileIndex(index as u32);
                let length = info.layout().file_length(file);
                let (base, hashes) = match layers.get(file) {
                    Some(layer) => (merkle::piece_layer(u64::from(info.layout().piece_length()))?, layer.to_vec()),
                    None if length <= u64::from(info.layout().piece_length()) => (merkle::height(length), vec![root]),
                    None => return None,
                };
                (file, Tree::new(length, base, hashes).ok()?)
            }
        };
        self.trees.push_front(found);
        self.trees.truncate(MAX_TREES);
        self.trees.front().map(|(file, tree)| (*file, tree))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of 700 pieces of a block each, so that its layer is the leaves and comes in two runs.
    fn fetch() -> (LayerFetch, Tree, Vec<[u8; 32]>) {
        let hashes: Vec<[u8; 32]> = (0..700_u32).map(|n| shoal_hash::sha256(&n.to_be_bytes())).collect();
        let length = 700 * 16_384;
        let tree = Tree::new(length, 0, hashes.clone()).unwrap();
        let missing = Missing { root: tree.root(), length, count: 700, runs: BTreeMap::new(), asked: BTreeMap::new() };
        (LayerFetch { layer: 0, files: BTreeMap::from([(FileIndex(3), missing)]) }, tree, hashes)
    }

    fn answer(tree: &Tree, range: HashRange) -> Vec<[u8; 32]> {
        tree.proof(0, u64::from(range.index), range.length, range.proof_layers).unwrap()
    }

    #[test]
    fn a_forged_hash_or_uncle_is_noticed_and_the_run_is_asked_of_another() {
        let (mut fetch, tree, hashes) = fetch();
        let (liar, honest) = (PeerKey(1), PeerKey(2));
        for forged in [0, 511, 512] {
            let range = fetch.pick(Time::ZERO, liar, 1)[0];
            assert_eq!((range.index, range.length), (0, 512));
            let mut said = answer(&tree, range);
            said[forged][0] ^= 1;
            assert_eq!(fetch.came(liar, range, &said), Came::Forged, "hash {forged}");
        }
        let ranges = fetch.pick(Time::ZERO, honest, PIPELINE);
        assert_eq!(ranges.iter().map(|range| range.index).collect::<Vec<_>>(), [0, 512]);
        assert_eq!(fetch.came(liar, ranges[0], &answer(&tree, ranges[0])), Came::Unasked);
        assert_eq!(fetch.came(honest, ranges[0], &answer(&tree, ranges[0])), Came::Kept);
        assert_eq!(fetch.came(honest, ranges[1], &answer(&tree, ranges[1])), Came::Whole(FileIndex(3), hashes));
        assert!(fetch.is_done());
    }
}
