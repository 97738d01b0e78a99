//! stub
use crate::source::Scan;
use crate::{Storage, StorageError};
use shoal_layout::{BlockRef, FileIndex, Layout, PieceIndex};
use shoal_metainfo::{Info, PieceHashes, PieceLayers};
use shoal_pieces::Bitfield;
use std::sync::atomic::AtomicBool;

/// What a pipeline tells and asks while it runs.
#[derive(Clone, Copy)]
pub struct Watch<'a> {
    /// Raised to end early with [`StorageError::Cancelled`].
    pub cancel: &'a AtomicBool,
    /// Called from the hashing threads with the bytes done since the last call; holes and missing files count as done.
    pub progress: &'a (dyn Fn(u64) + Sync),
}

/// Which pieces of `pieces` are right on disk. Pieces whose v2 layer is not known count as wrong.
pub fn check(
    storage: &Storage,
    info: &Info,
    layers: &PieceLayers,
    pieces: &Bitfield,
    watch: Watch<'_>,
) -> Result<Bitfield, StorageError> {
    let _ = (storage, info, layers, watch);
    Ok(pieces.clone())
}

/// Whether a piece given in blocks is right; all hashes that `expected` has must fit. `digests`: SHA-256 of each block, appended, if asked for.
pub fn piece_matches<P: AsRef<[u8]>>(
    layout: &Layout,
    piece: PieceIndex,
    expected: &PieceHashes,
    blocks: &[(BlockRef, P)],
    digests: Option<&mut Vec<[u8; 32]>>,
) -> bool {
    let _ = (layout, piece, expected, blocks, digests);
    false
}

/// What creating needs: v1 piece hashes in order, and for each file its v2 root and piece layer.
#[derive(Debug, Clone, Default)]
pub struct Created {
    /// SHA-1 of each piece; empty unless asked for.
    pub v1: Vec<[u8; 20]>,
    /// For each file its root and its piece layer (empty unless longer than a piece); empty unless asked for.
    pub v2: Vec<(Option<[u8; 32]>, Vec<[u8; 32]>)>,
}

/// Hashes a scanned source in one read. `layout` must be the plan's.
pub fn create(scan: &Scan, layout: &Layout, v1: bool, v2: bool, watch: Watch<'_>) -> Result<Created, StorageError> {
    let _ = (scan, layout, v1, v2, watch, FileIndex(0));
    Ok(Created::default())
}
