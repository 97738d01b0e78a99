//! The Merkle trees of BEP 52, their layers and the proofs that peers exchange.
//!
//! Layers are counted from the leaves: layer 0 holds one hash a 16 KiB block, layer `n` one hash a pair of layer `n - 1`.
//! The root is layer [`height`]. A file whose block count is no power of two is filled up with zero leaves, so the
//! hashes beyond its end are the same for every file: [`pad_hash`]. They are neither stored nor in torrent files.
//!
//! The hashes of leaves and of inner nodes are made alike, so a proof counts only with its depth: every check here takes
//! the file's height and fails when layers do not add up.

use crate::kernels::Table;
use crate::pairs::digest_pairs;
use crate::{BLOCK_LENGTH, sha256};
use std::sync::LazyLock;

#[cfg(test)]
mod tests;

/// A SHA-256 hash, as leaf, inner node or root.
pub type Hash = [u8; 32];

/// Most hashes that one request may ask for (BEP 52, "peer messages": should not be greater than 512).
pub const MAX_REQUEST_LENGTH: u32 = 512;

/// Layers that a tree over 2^64 bytes has above its leaves.
const MAX_HEIGHT: u8 = 50;

/// How many 16 KiB blocks a file has.
pub fn leaf_count(file_length: u64) -> u64 {
    file_length.div_ceil(BLOCK_LENGTH as u64)
}

/// The root's layer: how many layers a file's tree has above its leaves. 0 for an empty file or one of one block.
pub fn height(file_length: u64) -> u8 {
    log2_ceil(leaf_count(file_length))
}

/// The layer that has one hash a piece; `None` if no torrent can have this piece length (BEP 52: a power of two, at
/// least 16 KiB).
pub fn piece_layer(piece_length: u64) -> Option<u8> {
    let blocks = piece_length / BLOCK_LENGTH as u64;
    (piece_length.is_power_of_two() && blocks > 0).then(|| log2_ceil(blocks))
}

/// How many hashes of a layer cover data; the others are [`pad_hash`]es.
pub fn layer_length(file_length: u64, layer: u8) -> u64 {
    let leaves = leaf_count(file_length);
    if layer >= 64 { leaves.min(1) } else { leaves.div_ceil(1 << layer) }
}

/// The hash, in this layer, of blocks that all lie beyond the end of a file: zeros in layer 0, then each the parent of
/// two of the layer below. Higher layers than any file can have give the highest one's.
pub fn pad_hash(layer: u8) -> Hash {
    static PADS: LazyLock<[Hash; MAX_HEIGHT as usize + 1]> = LazyLock::new(|| {
        let mut pads = [[0; 32]; MAX_HEIGHT as usize + 1];
        for layer in 1..pads.len() {
            pads[layer] = parent(&pads[layer - 1], &pads[layer - 1]);
        }
        pads
    });
    PADS[usize::from(layer.min(MAX_HEIGHT))]
}

/// The hash of two neighbours.
pub fn parent(left: &Hash, right: &Hash) -> Hash {
    let mut pair = [0; 64];
    pair[..32].copy_from_slice(left);
    pair[32..].copy_from_slice(right);
    sha256(&pair)
}

/// The root over leaves that are filled up to `width` with zeros: a piece's hash (`width` = blocks in a full piece), or the
/// root of a file of at most one piece (`width` = its block count, rounded up to a power of two).
///
/// # Panics
/// If `width` is no power of two, or smaller than the number of leaves.
pub fn root(leaves: &[Hash], width: usize) -> Hash {
    assert!(width.is_power_of_two() && leaves.len() <= width, "{} leaves in a tree of {width}", leaves.len());
    root_above(leaves, 0, log2_ceil(width as u64))
}

/// The layer `layer` above these leaves, which end where the file ends. One hash for each group of 2^`layer` leaves.
pub fn layer_from_leaves(leaves: &[Hash], layer: u8) -> Vec<Hash> {
    (0..layer).fold(leaves.to_vec(), |hashes, below| layer_above(&hashes, below))
}

/// The root of a file from one of its layers, as torrent files carry it (`piece layers`); `None` if the layer has not
/// exactly the hashes that a file of this length has there.
pub fn root_of_layer(hashes: &[Hash], layer: u8, file_length: u64) -> Option<Hash> {
    let height = height(file_length);
    (layer <= height && hashes.len() as u64 == layer_length(file_length, layer) && !hashes.is_empty())
        .then(|| root_above(hashes, layer, height))
}

/// How many uncle hashes follow `length` hashes when `proof_layers` are asked for. Proof layers are counted from the base
/// layer, and those that follow from the hashes themselves are left out (BEP 52, "peer messages"): the uncles are those of
/// the ancestors at `log2(length)` to `proof_layers` above the base.
pub fn uncle_count(length: u32, proof_layers: u32) -> u32 {
    proof_layers.saturating_add(1).saturating_sub(u32::from(log2_ceil(u64::from(length))))
}

/// Whether hashes of a layer, beginning at `index`, with their uncles, lead to the root of a file of this length. At the
/// end of a layer the hashes may stop before the padding, or contain it.
pub fn verify_range(root: &Hash, file_length: u64, layer: u8, index: u64, hashes: &[Hash], uncles: &[Hash]) -> bool {
    let height = height(file_length);
    let above = usize::from(log2_ceil(hashes.len() as u64)) + uncles.len();
    usize::from(layer) + above == usize::from(height)
        && index < 1 << (height - layer)
        && range_root(layer, index, hashes, uncles).is_some_and(|found| found == *root)
}

/// The ancestor to which hashes of a layer and their uncles lead: in layer `layer + log2(hashes) + uncles`, at `index`
/// shifted down as far. `None` if there are no hashes, or if `index` is not a multiple of their number (rounded up to a
/// power of two). Whether the file's layer has such an index is for the caller to know; [`verify_range`] checks it.
pub fn range_root(layer: u8, index: u64, hashes: &[Hash], uncles: &[Hash]) -> Option<Hash> {
    let own = log2_ceil(hashes.len() as u64);
    if hashes.is_empty() || uncles.len() > usize::from(MAX_HEIGHT) || !index.is_multiple_of(1 << own) {
        return None;
    }
    let mut node = root_above(hashes, layer, layer.checked_add(own)?);
    let mut place = index >> own;
    for uncle in uncles {
        node = if place.is_multiple_of(2) { parent(&node, uncle) } else { parent(uncle, &node) };
        place /= 2;
    }
    Some(node)
}

/// Why hashes make no tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// A file without data has no tree.
    #[error("a file without data has no hashes")]
    Empty,
    /// The file has no such layer.
    #[error("a file of {file_length} bytes has no layer {layer}")]
    NoLayer {
        /// The layer.
        layer: u8,
        /// The file's length.
        file_length: u64,
    },
    /// Too few or too many hashes.
    #[error("layer {layer} of a file of {file_length} bytes has {expected} hashes, not {found}")]
    Count {
        /// The layer.
        layer: u8,
        /// The file's length.
        file_length: u64,
        /// Hashes that a file of this length has there.
        expected: u64,
        /// Hashes given.
        found: u64,
    },
}

/// The layers of one file's tree, from a base layer up to the root. 64 bytes a hash of the base layer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tree {
    file_length: u64,
    base: u8,
    /// From the base up; hashes that cover data only. The last holds the root.
    layers: Vec<Vec<Hash>>,
}

impl Tree {
    /// From all hashes of layer `base` that cover data. For a file of at most one piece the base is the root's layer (or
    /// 0, with its leaves).
    pub fn new(file_length: u64, base: u8, hashes: Vec<Hash>) -> Result<Tree, TreeError> {
        let height = height(file_length);
        if file_length == 0 {
            return Err(TreeError::Empty);
        }
        if base > height {
            return Err(TreeError::NoLayer { layer: base, file_length });
        }
        let (expected, found) = (layer_length(file_length, base), hashes.len() as u64);
        if expected != found {
            return Err(TreeError::Count { layer: base, file_length, expected, found });
        }
        let mut layers = vec![hashes];
        for layer in base..height {
            layers.push(layer_above(&layers[usize::from(layer - base)], layer));
        }
        Ok(Tree { file_length, base, layers })
    }

    /// The root.
    pub fn root(&self) -> Hash {
        self.layers[self.layers.len() - 1][0]
    }

    /// The lowest layer that is here.
    pub fn base(&self) -> u8 {
        self.base
    }

    /// The root's layer.
    pub fn height(&self) -> u8 {
        height(self.file_length)
    }

    /// The file's length.
    pub fn file_length(&self) -> u64 {
        self.file_length
    }

    /// The hashes of a layer that cover data; `None` if the layer is not here.
    pub fn layer(&self, layer: u8) -> Option<&[Hash]> {
        self.layers.get(usize::from(layer.checked_sub(self.base)?)).map(Vec::as_slice)
    }

    /// One hash, a [`pad_hash`] beyond the data; `None` if the layer is not here or has no such place.
    pub fn hash(&self, layer: u8, index: u64) -> Option<Hash> {
        let hashes = self.layer(layer)?;
        if index >= 1 << (self.height() - layer) {
            return None;
        }
        Some(
            usize::try_from(index).ok().and_then(|index| hashes.get(index)).copied().unwrap_or_else(|| pad_hash(layer)),
        )
    }

    /// The answer to a hash request (BEP 52): `length` hashes of layer `layer` beginning at `index`, then an uncle for each
    /// proof layer that does not follow from them. `None` if it cannot be answered from here, or is not a request that a
    /// well-behaved peer sends: `index` must be a multiple of `length` (rounded up to a power of two), the range must lie in
    /// the layer, at most [`MAX_REQUEST_LENGTH`] hashes, and proofs end below the root.
    pub fn proof(&self, layer: u8, index: u64, length: u32, proof_layers: u32) -> Option<Vec<Hash>> {
        self.check(layer, index, length, proof_layers)?;
        let mut hashes = Vec::with_capacity((length + uncle_count(length, proof_layers)) as usize);
        for index in index..index + u64::from(length) {
            hashes.push(self.hash(layer, index)?);
        }
        let own = log2_ceil(u64::from(length));
        self.push_uncles(layer + own, index >> own, layer, proof_layers, &mut hashes)?;
        Some(hashes)
    }

    /// Which leaves [`proof_from_leaves`](Self::proof_from_leaves) needs for a request: whole pieces (if the base is the
    /// piece layer), cut at the file's end. Empty where the range lies beyond it. `None` as for [`proof`](Self::proof).
    pub fn leaves_needed(&self, index: u64, length: u32, proof_layers: u32) -> Option<std::ops::Range<u64>> {
        self.check(0, index, length, proof_layers)?;
        let width = 1_u64 << self.base.max(log2_ceil(u64::from(length)));
        let (start, end) = (index / width * width, leaf_count(self.file_length));
        Some(start.min(end)..(start + width).min(end))
    }

    /// The answer to a request of leaves, which are below this tree's base: `leaves` are those that
    /// [`leaves_needed`](Self::leaves_needed) names. They are not checked against the tree. `None` if it cannot be answered.
    pub fn proof_from_leaves(&self, leaves: &[Hash], index: u64, length: u32, proof_layers: u32) -> Option<Vec<Hash>> {
        let needed = self.leaves_needed(index, length, proof_layers)?;
        if needed.end - needed.start != leaves.len() as u64 {
            return None;
        }
        let own = log2_ceil(u64::from(length));
        let width = self.base.max(own);
        let skipped = (index % (1 << width)) as usize;
        let mut hashes: Vec<Hash> = leaves.iter().skip(skipped).take(length as usize).copied().collect();
        hashes.resize(length as usize, pad_hash(0));
        let mut nodes = leaves.to_vec();
        for layer in 0..width {
            if layer >= own && u32::from(layer) <= proof_layers {
                let sibling = (skipped >> layer) ^ 1;
                hashes.push(nodes.get(sibling).copied().unwrap_or_else(|| pad_hash(layer)));
            }
            nodes = layer_above(&nodes, layer);
        }
        self.push_uncles(width, index >> width, 0, proof_layers, &mut hashes)?;
        Some(hashes)
    }

    /// Whether a request is one that [`proof`](Self::proof) answers.
    fn check(&self, layer: u8, index: u64, length: u32, proof_layers: u32) -> Option<()> {
        let layers = self.height().checked_sub(layer)?;
        let own = log2_ceil(u64::from(length));
        let fits = (1..=MAX_REQUEST_LENGTH).contains(&length)
            && own <= layers
            && index.is_multiple_of(1 << own)
            && index < 1 << layers
            && proof_layers < u32::from(layers);
        fits.then_some(())
    }

    /// Pushes the siblings of the ancestors of a place, from layer `from` to `proof_layers` above `base`.
    fn push_uncles(&self, from: u8, index: u64, base: u8, proof_layers: u32, out: &mut Vec<Hash>) -> Option<()> {
        let mut place = index;
        for layer in from..self.height() {
            if u32::from(layer - base) > proof_layers {
                break;
            }
            out.push(self.hash(layer, place ^ 1)?);
            place /= 2;
        }
        Some(())
    }
}

/// The ancestor, in layer `to`, of hashes of layer `from` that are filled up with pad hashes.
fn root_above(hashes: &[Hash], from: u8, to: u8) -> Hash {
    if hashes.is_empty() {
        return pad_hash(to);
    }
    (from..to).fold(hashes.to_vec(), |nodes, layer| layer_above(&nodes, layer))[0]
}

/// The layer above hashes of `layer`, the last one's missing sibling being a pad hash.
fn layer_above(hashes: &[Hash], layer: u8) -> Vec<Hash> {
    let mut above = digest_pairs(Table::current(), hashes);
    if let ([.., last], true) = (hashes, hashes.len() % 2 == 1) {
        above.push(parent(last, &pad_hash(layer)));
    }
    above
}

/// The number of bits that a count needs to be rounded up to a power of two: 0 for 0 and 1, 1 for 2, 2 for 3 and 4.
fn log2_ceil(count: u64) -> u8 {
    (u64::BITS - count.saturating_sub(1).leading_zeros()) as u8
}
