//! A torrent without bytes.
//!
//! A block's content is its [`Tag`]: where it belongs, and whether somebody damaged it. Hashes are made up once from the
//! tags; what a v2 torrent's Merkle trees say about them is computed in earnest, so proofs, piece layers and leaf hashes fit
//! each other. The info dictionary is real bytes, since peers fetch it from each other and check its hash (BEP 9).

use bendy::encoding::{AsString, Encoder, Error};
use shoal_hash::{merkle, sha1, sha256};
use shoal_layout::{BLOCK_LENGTH, BlockRef, FileIndex, PieceIndex};
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

/// A torrent.
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
        Content::of_files(kind, &[length], piece_length, seed, false)
    }

    /// The same of several files, none of them empty; private or not (BEP 27). Those of a hybrid and of v2 begin at pieces
    /// of their own.
    pub fn of_files(kind: Kind, lengths: &[u64], piece_length: u32, seed: u64, private: bool) -> Content {
        let files = place(kind, lengths, u64::from(piece_length), seed);
        let bytes = info_dictionary(kind, &files, piece_length, seed, private).expect("keys are written in order");
        let (info, _) = Info::parse(&bytes).expect("a dictionary made by the rules of BEP 3 and 52");
        let mut layers = PieceLayers::empty(&info);
        if let Some(layer) = merkle::piece_layer(u64::from(piece_length)).filter(|_| kind != Kind::V1) {
            for (file, index) in files.iter().zip(0..).filter(|(file, _)| file.length > u64::from(piece_length)) {
                let hashes = merkle::layer_from_leaves(&file.leaves, layer.min(merkle::height(file.length)));
                layers.insert(&info, FileIndex(index), hashes).expect("the layer leads to the root");
            }
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

    /// The leaves of a piece.
    pub fn leaves(&self, piece: PieceIndex) -> Vec<[u8; 32]> {
        let blocks = self.info.layout().requests(piece).map(|(_, block)| block);
        blocks.map(|block| self.digest(Tag { block, corrupt: false })).collect()
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

/// A file of a torrent that is being made.
struct Placed {
    start: u64,
    length: u64,
    leaves: Vec<[u8; 32]>,
}

fn place(kind: Kind, lengths: &[u64], piece_length: u64, seed: u64) -> Vec<Placed> {
    let mut start = 0_u64;
    let mut files = Vec::new();
    for &length in lengths {
        if kind != Kind::V1 {
            start = start.next_multiple_of(piece_length);
        }
        let first = start / u64::from(BLOCK_LENGTH);
        let leaves = if kind == Kind::V1 { 0 } else { length.div_ceil(u64::from(BLOCK_LENGTH)) };
        files.push(Placed { start, length, leaves: (first..first + leaves).map(|n| leaf(seed, n)).collect() });
        start += length;
    }
    files
}

fn info_dictionary(
    kind: Kind,
    files: &[Placed],
    piece_length: u32,
    seed: u64,
    private: bool,
) -> Result<Vec<u8>, Error> {
    let total = files.last().map_or(0, |file| file.start + file.length);
    let pieces: Vec<u8> = (0..total.div_ceil(u64::from(piece_length)))
        .flat_map(|piece| sha1(&[seed.to_le_bytes(), piece.to_le_bytes()].concat()))
        .collect();
    let name = |number: usize| if files.len() == 1 { "payload".to_owned() } else { format!("file-{number:03}") };
    // dictionary, file tree, file, its properties, and one that bendy counts for a value
    let mut encoder = Encoder::new().with_max_depth(6);
    encoder.emit_dict(|mut info| {
        if kind != Kind::V1 {
            info.emit_pair_with(b"file tree", |tree| {
                tree.emit_dict(|mut tree| {
                    for (number, file) in files.iter().enumerate() {
                        let root = merkle::root(&file.leaves, file.leaves.len().next_power_of_two());
                        tree.emit_pair_with(name(number).as_bytes(), |entry| {
                            entry.emit_dict(|mut entry| {
                                entry.emit_pair_with(b"", |properties| {
                                    properties.emit_dict(|mut properties| {
                                        properties.emit_pair(b"length", file.length)?;
                                        properties.emit_pair(b"pieces root", AsString(root))
                                    })
                                })
                            })
                        })?;
                    }
                    Ok(())
                })
            })?;
        }
        if kind != Kind::V2 && files.len() > 1 {
            info.emit_pair_with(b"files", |list| {
                list.emit_list(|list| {
                    let mut at = 0;
                    for (number, file) in files.iter().enumerate() {
                        if file.start > at {
                            list.emit_dict(|mut pad| {
                                pad.emit_pair(b"attr", "p")?;
                                pad.emit_pair(b"length", file.start - at)?;
                                pad.emit_pair_with(b"path", |path| {
                                    path.emit_list(|path| {
                                        path.emit(".pad")?;
                                        path.emit((file.start - at).to_string().as_str())
                                    })
                                })
                            })?;
                        }
                        list.emit_dict(|mut entry| {
                            entry.emit_pair(b"length", file.length)?;
                            entry
                                .emit_pair_with(b"path", |path| path.emit_list(|path| path.emit(name(number).as_str())))
                        })?;
                        at = file.start + file.length;
                    }
                    Ok(())
                })
            })?;
        } else if kind != Kind::V2 {
            info.emit_pair(b"length", total)?;
        }
        if kind != Kind::V1 {
            info.emit_pair(b"meta version", 2)?;
        }
        info.emit_pair(b"name", "payload")?;
        info.emit_pair(b"piece length", piece_length)?;
        if kind != Kind::V2 {
            info.emit_pair(b"pieces", AsString(&pieces))?;
        }
        if private {
            info.emit_pair(b"private", 1)?;
        }
        Ok(())
    })?;
    encoder.get_output()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_all_kinds_are_laid_out_by_their_rules() {
        for kind in [Kind::V1, Kind::V2, Kind::Hybrid] {
            let lengths = [70_000, 1, 65_536, 200_001];
            let content = Content::of_files(kind, &lengths, 65_536, 7, true);
            let layout = content.info().layout();
            assert_eq!(layout.payload_length(), lengths.iter().sum::<u64>(), "{kind:?}");
            assert!(content.info().private() && content.layers().is_complete(content.info()), "{kind:?}");
            assert_eq!(layout.pieces(), if kind == Kind::V1 { 6 } else { 2 + 1 + 1 + 4 }, "{kind:?}");
        }
    }
}
