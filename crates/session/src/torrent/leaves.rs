//! The leaf hashes of a piece, for a peer that has a corrupt one (BEP 52). Blocks, as everything of the disk does.

use super::files::TorrentFiles;
use shoal_hash::{merkle, sha256_many};
use shoal_layout::{BLOCK_LENGTH, BlockRef, PieceIndex};
use shoal_swarm::LeavesOutcome;

/// Blocks that are read and hashed at a time: one set of AVX-512 lanes. So memory does not follow the piece's length.
const TOGETHER: usize = 16;

impl TorrentFiles {
    /// Reads a piece and hashes its blocks. What comes of it leads to the piece's root, or the piece is lost.
    pub(super) fn leaves(&self, piece: PieceIndex) -> LeavesOutcome {
        let Some(hash) = self.expected(piece).and_then(|hashes| hashes.v2) else {
            return LeavesOutcome::Failed { lost: false };
        };
        let blocks: Vec<BlockRef> = self.storage.layout().requests(piece).map(|(_, block)| block).collect();
        let mut leaves = vec![[0; 32]; blocks.len()];
        let mut bytes = vec![0; TOGETHER * BLOCK_LENGTH as usize];
        for (blocks, leaves) in blocks.chunks(TOGETHER).zip(leaves.chunks_mut(TOGETHER)) {
            let mut messages: Vec<&[u8]> = Vec::with_capacity(TOGETHER);
            for (block, place) in blocks.iter().zip(bytes.chunks_mut(BLOCK_LENGTH as usize)) {
                let here = &mut place[..block.length as usize];
                if let Err(error) = self.read(*block, here) {
                    tracing::debug!(%error, piece = piece.0, "a piece could not be read for its leaves");
                    return self.no_leaves(piece, error.is_lost());
                }
                messages.push(here);
            }
            sha256_many(&messages, leaves);
        }
        let fits = leaves.len() <= hash.leaves as usize && merkle::root(&leaves, hash.leaves as usize) == hash.root;
        if fits { LeavesOutcome::Read(leaves) } else { self.no_leaves(piece, true) }
    }

    fn no_leaves(&self, piece: PieceIndex, lost: bool) -> LeavesOutcome {
        if lost {
            self.lost(piece);
        }
        LeavesOutcome::Failed { lost }
    }
}
