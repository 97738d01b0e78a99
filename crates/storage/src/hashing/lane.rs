//! A piece on its way to its hashes, fed a segment at a time.
//!
//! Its v1 hash is a state that goes on; its v2 leaves are gathered into subtrees, so that a lane stays small whatever the
//! piece length is.
//!
//! Invariant: all bytes before `at` are in the hashes; while v2 is asked for, segments of payload begin where leaves do.

use shoal_hash::{CheckedSha1, Sha1, merkle};
use shoal_layout::{BLOCK_LENGTH, Layout, PieceIndex};

/// Leaves that are kept before they become one hash of a higher layer. Chosen: 32 KiB of hashes, 16 MiB of data.
const SUBTREE_LEAVES: usize = 1 << SUBTREE_LAYER;
const SUBTREE_LAYER: u8 = 10;

/// What a piece hashes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Digest {
    pub(super) v1: Option<[u8; 20]>,
    pub(super) v2: Option<[u8; 32]>,
    /// Whether the piece was made to collide with another of the same SHA-1; false where nobody looked.
    pub(super) collides: bool,
}

/// Which hashes are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kinds {
    pub(super) v1: bool,
    pub(super) v2: bool,
    /// v1 with a look for collisions, instead of the lanes.
    pub(super) collisions: bool,
}

/// A piece that is being hashed.
pub(super) struct Lane {
    pub(super) piece: PieceIndex,
    /// Bytes that are hashed.
    pub(super) at: u32,
    /// Where reading ends; what follows are zeros, for v1 alone.
    pub(super) data_end: u32,
    /// Where hashing ends.
    pub(super) end: u32,
    /// Bytes of files, for progress.
    payload: u32,
    /// Of them, those that progress was told of.
    told: u32,
    has_failed: bool,
    /// Whether a segment may be a hole.
    pub(super) is_sparse: bool,
    pub(super) sha1: Sha1,
    /// In place of `sha1`, if collisions are looked for.
    pub(super) checked: Option<Box<CheckedSha1>>,
    leaves: Vec<[u8; 32]>,
    subtrees: Vec<[u8; 32]>,
    width: usize,
}

impl Lane {
    pub(super) fn new(layout: &Layout, piece: PieceIndex, kinds: Kinds, is_sparse: bool) -> Lane {
        let (size, payload) = (layout.piece_size(piece), layout.payload_in(piece));
        Lane {
            piece,
            at: 0,
            // Only a v1 torrent can have gaps between files in a piece; in others they follow the one file.
            data_end: if kinds.v2 { payload } else { size },
            end: if kinds.v1 { size } else { payload },
            payload,
            told: 0,
            has_failed: false,
            is_sparse,
            sha1: Sha1::new(),
            checked: kinds.collisions.then(Box::default),
            leaves: Vec::new(),
            subtrees: Vec::new(),
            width: width(layout, piece),
        }
    }

    /// Leaves bytes behind that were hashed; how many bytes of files are told of now.
    pub(super) fn advance(&mut self, length: u32) -> u32 {
        self.at += length;
        let told = std::mem::replace(&mut self.told, self.payload.min(self.at));
        self.told - told
    }

    /// Gives the piece up.
    pub(super) fn fail(&mut self) {
        self.has_failed = true;
    }

    /// Whether the piece was given up.
    pub(super) fn has_failed(&self) -> bool {
        self.has_failed
    }

    /// Bytes of files that progress was not told of.
    pub(super) fn untold(&self) -> u32 {
        self.payload - self.told
    }

    /// Takes the hashes of the next leaves.
    pub(super) fn push_leaves(&mut self, mut leaves: &[[u8; 32]]) {
        while !leaves.is_empty() {
            let (now, later) = leaves.split_at(leaves.len().min(SUBTREE_LEAVES - self.leaves.len()));
            self.leaves.extend_from_slice(now);
            leaves = later;
            // A whole tree is left for the end, which knows its width.
            if self.leaves.len() == SUBTREE_LEAVES {
                self.subtrees.push(merkle::root(&self.leaves, SUBTREE_LEAVES));
                self.leaves.clear();
            }
        }
    }

    /// The hashes, once all is fed.
    pub(super) fn finish(mut self, kinds: Kinds) -> Digest {
        debug_assert_eq!(self.at, self.end);
        let v2 = kinds.v2.then(|| {
            if self.subtrees.is_empty() {
                return merkle::root(&self.leaves, self.width);
            }
            if !self.leaves.is_empty() {
                self.subtrees.push(merkle::root(&self.leaves, SUBTREE_LEAVES));
            }
            self.subtrees.resize(self.width.div_ceil(SUBTREE_LEAVES), merkle::pad_hash(SUBTREE_LAYER));
            let length = self.subtrees.len() as u64 * SUBTREE_LEAVES as u64 * u64::from(BLOCK_LENGTH);
            merkle::root_of_layer(&self.subtrees, SUBTREE_LAYER, length).expect("as many hashes as this length has")
        });
        let (v1, collides) = match self.checked {
            Some(checked) => checked.finish(),
            None => (self.sha1.finish(), false),
        };
        Digest { v1: kinds.v1.then_some(v1), v2, collides }
    }
}

/// Leaves below a piece's root, those past the end of the file counted.
pub(super) fn width(layout: &Layout, piece: PieceIndex) -> usize {
    let length = layout.piece_length();
    match layout.files_in(piece).next().map(|file| layout.file_length(file)) {
        Some(file) if file <= u64::from(length) => file.div_ceil(u64::from(BLOCK_LENGTH)).next_power_of_two() as usize,
        _ => length.div_ceil(BLOCK_LENGTH) as usize,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn subtrees_give_the_root_that_all_leaves_give(log in 0_u32..13, share in 1_usize..=1000, step in 1_usize..900) {
            let width = 1 << log;
            let count = (width * share).div_ceil(1000);
            let layout = Layout::contiguous((width as u64) << 14, &[(width as u64 + 1) << 14]).unwrap();
            let kinds = Kinds { v1: false, v2: true, collisions: false };
            let mut lane = Lane::new(&layout, PieceIndex(0), kinds, false);
            let leaves: Vec<[u8; 32]> = (0..count).map(|n| [(n % 251) as u8; 32]).collect();
            leaves.chunks(step).for_each(|leaves| lane.push_leaves(leaves));
            lane.at = lane.end;
            prop_assert_eq!(lane.finish(kinds).v2, Some(merkle::root(&leaves, width)));
        }
    }
}
