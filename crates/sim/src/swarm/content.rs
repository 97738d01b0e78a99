//! A torrent without bytes.
//!
//! A block's content is its [`Tag`]: where it belongs, and whether somebody damaged it. Hashes are made up once from the
//! tags; what a v2 torrent's Merkle trees say about them is computed in earnest, so proofs, piece layers and leaf hashes fit
//! each other. The info dictionary is real bytes, since peers fetch it from each other and check its hash (BEP 9).

use bendy::encoding::{AsString, Encoder, Error};
use shoal_hash::{merkle, sha1, sha256};
use shoal_layout::{BLOCK_LENGTH, BlockRef, FileIndex};
use shoal_metainfo::{Info, PieceLayers};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Which of the three kinds of torrent (BEP 3, 52).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// v1 only.
    V1,
    /// v2 only.
    V2,
    /// Both.
    Hybrid,
}

/// What a block holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Tag {
    /// Where it belongs.
    pub block: BlockRef,
    /// Whether somebody damaged it.
    pub corrupt: bool,
}

/// A block in somebody's memory. The owner's count of held bytes follows it, so that none is lost unseen.
#[derive(Debug)]
pub struct Payload {
    tag: Tag,
    held_bytes: Arc<AtomicU64>,
}

impl Payload {
    /// A block that arrived at the owner of this count.
    pub(crate) fn new(tag: Tag, held_bytes: &Arc<AtomicU64>) -> Payload {
        held_bytes.fetch_add(u64::from(tag.block.length), Ordering::Relaxed);
        Payload { tag, held_bytes: Arc::clone(held_bytes) }
    }

    /// What it holds.
    pub fn tag(&self) -> Tag {
        self.tag
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        self.held_bytes.fetch_sub(u64::from(self.tag.block.length), Ordering::Relaxed);
    }
}

impl std::hash::Hash for Payload {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.tag.hash(state);
    }
}

/// A torrent of one file.
#[derive(Debug)]
pub struct Content {
    info: Arc<Info>,
    layers: PieceLayers,
    seed: u64,
}

impl Content {
    /// A file of `length` bytes in pieces of `piece_length`, which for v2 is a power of two of at least 16 KiB. Another
    /// seed makes another torrent.
    pub fn new(kind: Kind, length: u64, piece_length: u32, seed: u64) -> Content {
        let leaves: Vec<[u8; 32]> = (0..length.div_ceil(u64::from(BLOCK_LENGTH))).map(|n| leaf(seed, n)).collect();
        let layer = merkle::piece_layer(u64::from(piece_length)).filter(|_| kind != Kind::V1);
        let piece_layer = layer.map(|layer| merkle::layer_from_leaves(&leaves, layer.min(merkle::height(length))));
        let root = merkle::root(&leaves, leaves.len().next_power_of_two());
        let bytes = info_dictionary(kind, length, piece_length, seed, root).expect("keys are written in order");
        let (info, _) = Info::parse(&bytes).expect("a dictionary made by the rules of BEP 3 and 52");
        let mut layers = PieceLayers::empty(&info);
        if let Some(hashes) = piece_layer.filter(|_| length > u64::from(piece_length)) {
            layers.insert(&info, FileIndex(0), hashes).expect("the layer leads to the root");
        }
        Content { info: Arc::new(info), layers, seed }
    }

    /// The info dictionary.
    pub fn info(&self) -> &Arc<Info> {
        &self.info
    }

    /// Piece layers as the torrent file has them.
    pub fn layers(&self) -> &PieceLayers {
        &self.layers
    }

    /// How many pieces.
    pub fn pieces(&self) -> u32 {
        self.info.layout().pieces()
    }

    /// What hashing a block gives: its leaf hash, or something else if it is corrupt.
    pub fn digest(&self, tag: Tag) -> [u8; 32] {
        let number = self.info.layout().piece_start(tag.block.piece) + u64::from(tag.block.begin);
        let mut digest = leaf(self.seed, number / u64::from(BLOCK_LENGTH));
        digest[0] ^= u8::from(tag.corrupt);
        digest
    }
}

fn leaf(seed: u64, number: u64) -> [u8; 32] {
    let mut bytes = *b"leaf............";
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..].copy_from_slice(&number.to_le_bytes());
    sha256(&bytes)
}

fn info_dictionary(kind: Kind, length: u64, piece_length: u32, seed: u64, root: [u8; 32]) -> Result<Vec<u8>, Error> {
    let pieces: Vec<u8> = (0..length.div_ceil(u64::from(piece_length)))
        .flat_map(|piece| sha1(&[seed.to_le_bytes(), piece.to_le_bytes()].concat()))
        .collect();
    // dictionary, file tree, file, its properties, and one that bendy counts for a value
    let mut encoder = Encoder::new().with_max_depth(5);
    encoder.emit_dict(|mut info| {
        if kind != Kind::V1 {
            info.emit_pair_with(b"file tree", |tree| {
                tree.emit_dict(|mut tree| {
                    tree.emit_pair_with(b"payload", |file| {
                        file.emit_dict(|mut file| {
                            file.emit_pair_with(b"", |properties| {
                                properties.emit_dict(|mut properties| {
                                    properties.emit_pair(b"length", length)?;
                                    properties.emit_pair(b"pieces root", AsString(root))
                                })
                            })
                        })
                    })
                })
            })?;
        }
        if kind != Kind::V2 {
            info.emit_pair(b"length", length)?;
        }
        if kind != Kind::V1 {
            info.emit_pair(b"meta version", 2)?;
        }
        info.emit_pair(b"name", "payload")?;
        info.emit_pair(b"piece length", piece_length)?;
        if kind != Kind::V2 {
            info.emit_pair(b"pieces", AsString(&pieces))?;
        }
        Ok(())
    })?;
    encoder.get_output()
}
