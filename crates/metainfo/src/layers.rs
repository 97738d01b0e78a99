//! Piece layers: the hashes of a v2 file's pieces, and what a piece has to hash to.
//!
//! They stand outside the info dictionary (BEP 52, "piece layers"), so they are not covered by the info hash, and a magnet
//! link does not bring them. Invariant: a layer is kept only if it has one hash a piece and leads to the file's root.
//! Files of at most one piece have no layer; their root is their only piece's hash.

use crate::Info;
use crate::error::{MetainfoError, Place};
use shoal_hash::merkle;
use shoal_layout::FileIndex;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a piece has to hash to. At least one is known; if both are, both count (reliability.md A9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PieceHashes {
    /// SHA-1 of the piece's part of the address space, gaps as zeros.
    pub v1: Option<[u8; 20]>,
    /// The root of the piece's subtree.
    pub v2: Option<PieceRoot>,
}

/// The Merkle root over the blocks of one piece of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PieceRoot {
    /// The root.
    pub root: [u8; 32],
    /// Leaves of the subtree, a power of two: those of a full piece, or fewer in a file of at most one piece. Leaves
    /// beyond the data are zero.
    pub leaves: u32,
    /// Bytes of the file in this piece: what is hashed, without the gap that may follow.
    pub length: u32,
}

/// Why hashes are no file's piece layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LayerError {
    /// The file has none: it is a v1 torrent's, or is at most one piece long.
    #[error("this file has no piece layer")]
    NotNeeded,
    /// Not one hash a piece.
    #[error("the file has {expected} pieces, not {found}")]
    Count {
        /// The file's pieces.
        expected: u64,
        /// Hashes given.
        found: u64,
    },
    /// The hashes do not lead to the file's root.
    #[error("the hashes do not lead to the file's root")]
    Root,
}

/// The piece layers of one torrent that are known, by file. Cheap to clone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PieceLayers {
    files: BTreeMap<FileIndex, Arc<[merkle::Hash]>>,
}

impl PieceLayers {
    /// Without a layer, as a magnet link leaves them.
    pub fn empty(_info: &Info) -> PieceLayers {
        PieceLayers::default()
    }

    /// One file's hashes, one a piece, if known.
    pub fn get(&self, file: FileIndex) -> Option<&[[u8; 32]]> {
        self.files.get(&file).map(|layer| &**layer)
    }

    /// Keeps a file's layer if it leads to the file's root. Cost: hashes the layer.
    pub fn insert(&mut self, info: &Info, file: FileIndex, layer: Vec<[u8; 32]>) -> Result<(), LayerError> {
        check(info, file, &layer)?;
        self.files.insert(file, layer.into());
        Ok(())
    }

    /// Whether no file lacks its layer: then every piece can be checked.
    pub fn is_complete(&self, info: &Info) -> bool {
        self.missing(info).next().is_none()
    }

    /// The files that have a layer which is not known.
    pub fn missing<'a>(&'a self, info: &'a Info) -> impl Iterator<Item = FileIndex> + 'a {
        info.files_with_layer().filter(|file| !self.files.contains_key(file))
    }

    /// The layers by root, in the order of a torrent file. Files with the same content share one.
    pub(crate) fn by_root<'a>(&'a self, info: &'a Info) -> BTreeMap<merkle::Hash, &'a [merkle::Hash]> {
        self.files.iter().filter_map(|(file, layer)| Some((info.file(*file)?.root?, &**layer))).collect()
    }

    /// From a torrent file: root, hashes and offset of each layer there.
    pub(crate) fn from_torrent(
        info: &Info,
        found: Vec<(merkle::Hash, Vec<merkle::Hash>, usize)>,
    ) -> Result<PieceLayers, MetainfoError> {
        let mut files: BTreeMap<merkle::Hash, Vec<FileIndex>> = BTreeMap::new();
        for file in info.files_with_layer() {
            if let Some(root) = info.file(file).and_then(|file| file.root) {
                files.entry(root).or_default().push(file);
            }
        }
        let mut layers = PieceLayers::empty(info);
        for (root, hashes, offset) in found {
            // Files with the same content share a layer; each layer may come once.
            let sharers = files.remove(&root).ok_or(MetainfoError::StrayLayer { offset })?;
            for &file in &sharers {
                check(info, file, &hashes)
                    .map_err(|error| MetainfoError::Layer { place: Place::TreeFile(file.as_usize()), error })?;
            }
            let hashes: Arc<[merkle::Hash]> = hashes.into();
            layers.files.extend(sharers.into_iter().map(|file| (file, Arc::clone(&hashes))));
        }
        Ok(layers)
    }
}

/// Whether these hashes are the file's layer.
pub(crate) fn check(info: &Info, file: FileIndex, layer: &[merkle::Hash]) -> Result<(), LayerError> {
    let known = info.file(file).ok_or(LayerError::NotNeeded)?;
    let piece_length = u64::from(info.layout().piece_length());
    let (Some(root), Some(height)) = (known.root, merkle::piece_layer(piece_length)) else {
        return Err(LayerError::NotNeeded);
    };
    if known.length <= piece_length {
        return Err(LayerError::NotNeeded);
    }
    let (expected, found) = (merkle::layer_length(known.length, height), layer.len() as u64);
    if expected != found {
        return Err(LayerError::Count { expected, found });
    }
    match merkle::root_of_layer(layer, height, known.length) {
        Some(made) if made == root => Ok(()),
        _ => Err(LayerError::Root),
    }
}
