//! The info dictionary: what a torrent is.
//!
//! It keeps the bytes as they came, since the info hash is that of the bytes and peers ask for them; everything else is a
//! view that was checked once. The v1 piece hashes stay where they are in those bytes, so a large torrent is held once.
//!
//! Invariants: the [`Layout`] is valid and has one entry a [`File`]; v1 and hybrid torrents have one SHA-1 hash a piece; in
//! v2 and hybrid torrents every file starts at a piece and has a root if it has data (BEP 3, 47, 52).

mod files;
mod parse;

pub(crate) use files::Files;

use crate::{FilePath, InfoHashes, MetainfoError, PieceHashes, PieceLayers, PieceRoot, Warning};
use shoal_layout::{BLOCK_LENGTH, FileIndex, Layout, PieceIndex};
use std::fmt;
use std::ops::Range;

/// Which of the two protocols a torrent is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// BEP 3 only.
    V1,
    /// BEP 52 only.
    V2,
    /// Both: the same files under two info hashes.
    Hybrid,
}

/// What BEP 47 tells of a file beside its bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes {
    /// `x`: may be run.
    pub executable: bool,
    /// `h`: is hidden.
    pub hidden: bool,
    /// `l`: is a link to this path, counted from the torrent's root folder. As found: it may point anywhere.
    pub symlink: Option<Vec<String>>,
}

/// One file of a torrent, as a view. Padding files are no files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct File<'a> {
    /// Path below the torrent's root folder, at least one component, as found: it may be unsafe (`..`, `/`) and may be
    /// another file's too. A single-file torrent has the torrent's name.
    pub path: FilePath<'a>,
    /// Bytes.
    pub length: u64,
    /// The root of its Merkle tree: v2 and hybrid, and not for an empty file.
    pub root: Option<[u8; 32]>,
    /// What else is told of it.
    pub attributes: &'a Attributes,
}

/// A parsed info dictionary, never changed.
#[derive(Clone, PartialEq, Eq)]
pub struct Info {
    pub(crate) bytes: Vec<u8>,
    pub(crate) hashes: InfoHashes,
    pub(crate) format: Format,
    pub(crate) name: String,
    pub(crate) single_file: bool,
    pub(crate) files: Files,
    pub(crate) layout: Layout,
    pub(crate) private: bool,
    pub(crate) source: Option<String>,
    /// Where in `bytes` the SHA-1 hashes are; empty for v2.
    pub(crate) pieces: Range<usize>,
    /// For BEP 53: the number of each entry of the v1 file list that is a padding file, in order.
    pub(crate) padding: Vec<u32>,
}

impl Info {
    /// Reads an info dictionary and says what it forgave. Trailing bytes are refused: they would be part of the hash.
    pub fn parse(bytes: &[u8]) -> Result<(Info, Vec<Warning>), MetainfoError> {
        parse::check_size(bytes)?;
        parse::parse(bytes.to_vec())
    }

    /// The same of bytes that are kept as they are, not copied: a torrent of many files has many.
    pub(crate) fn parse_owned(bytes: Vec<u8>) -> Result<(Info, Vec<Warning>), MetainfoError> {
        parse::check_size(&bytes)?;
        parse::parse(bytes)
    }

    /// The dictionary exactly as it came: what the info hashes name and what peers are sent (BEP 9).
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its hashes: both for a hybrid, one otherwise.
    pub fn hashes(&self) -> InfoHashes {
        self.hashes
    }

    /// What it is made for.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The name of its root folder, or of its only file, as found: it may be unsafe.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its files in order, padding files left out; the position is the [`FileIndex`]. At least one.
    pub fn files(&self) -> impl ExactSizeIterator<Item = File<'_>> + Clone {
        (0..self.layout.files()).map(|index| self.file(FileIndex(index)).expect("as many files as the layout has"))
    }

    /// One of them, if there is one of this number.
    pub fn file(&self, index: FileIndex) -> Option<File<'_>> {
        let path = self.files.path(index)?;
        let (root, attributes) = (self.files.root(index), self.files.attributes(index));
        Some(File { path, length: self.layout.file_length(index), root, attributes })
    }

    /// Whether it is one file, rather than a folder (that may hold one file).
    pub fn is_single_file(&self) -> bool {
        self.single_file
    }

    /// Where the bytes of its files are.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Whether it must be announced to its own trackers only (BEP 27).
    pub fn private(&self) -> bool {
        self.private
    }

    /// What its `source` says: a tag of private trackers, which changes the info hash.
    pub fn source(&self) -> Option<&str> {
        self.source.as_deref()
    }

    /// What a piece has to hash to; `None` if that is not known: no such piece, or a v2 torrent's piece whose layer has not
    /// come yet.
    pub fn piece_hashes(&self, piece: PieceIndex, layers: &PieceLayers) -> Option<PieceHashes> {
        self.layout.piece(piece.0)?;
        let hashes = PieceHashes { v1: self.v1_hash(piece), v2: self.piece_root(piece, layers) };
        (hashes.v1.is_some() || hashes.v2.is_some()).then_some(hashes)
    }

    /// The file behind a number of a magnet link's `so` (BEP 53), which counts the entries of the v1 file list, padding
    /// files too (v1 and hybrid), or the files of the tree (v2). `None` if it is a padding file, or none.
    pub fn so_index(&self, number: u32) -> Option<FileIndex> {
        let before = match self.padding.binary_search(&number) {
            Ok(_) => return None,
            Err(before) => before as u32,
        };
        let index = number - before;
        (index < self.layout.files()).then_some(FileIndex(index))
    }

    /// The number of a file in a magnet link's `so`: the inverse of [`so_index`](Self::so_index).
    pub fn so_number(&self, file: FileIndex) -> u32 {
        let mut number = file.0;
        // Each padding entry that stands at or before the number moves it by one.
        for &padding in &self.padding {
            if padding > number {
                break;
            }
            number += 1;
        }
        number
    }

    /// The files that are longer than a piece of a v2 or hybrid torrent, and so have a piece layer.
    pub fn files_with_layer(&self) -> impl Iterator<Item = FileIndex> + '_ {
        let piece_length = u64::from(self.layout.piece_length());
        (0..self.layout.files())
            .map(FileIndex)
            .filter(move |&file| self.files.root(file).is_some() && self.layout.file_length(file) > piece_length)
    }

    fn v1_hash(&self, piece: PieceIndex) -> Option<[u8; 20]> {
        self.bytes[self.pieces.clone()].as_chunks().0.get(piece.as_usize()).copied()
    }

    fn piece_root(&self, piece: PieceIndex, layers: &PieceLayers) -> Option<PieceRoot> {
        if self.format == Format::V1 {
            return None;
        }
        // Files are aligned, so a piece has bytes of one file only.
        let index = self.layout.files_in(piece).next()?;
        let file_length = self.layout.file_length(index);
        let number = piece.0 - self.layout.pieces_of(index).start;
        let piece_length = self.layout.piece_length();
        let rest = file_length - u64::from(number) * u64::from(piece_length);
        let length = rest.min(u64::from(piece_length)) as u32;
        if file_length <= u64::from(piece_length) {
            let leaves = length.div_ceil(BLOCK_LENGTH).next_power_of_two();
            return Some(PieceRoot { root: self.files.root(index)?, leaves, length });
        }
        let root = *layers.get(index)?.get(number as usize)?;
        Some(PieceRoot { root, leaves: piece_length / BLOCK_LENGTH, length })
    }
}

impl fmt::Debug for Info {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Info")
            .field("hashes", &self.hashes)
            .field("format", &self.format)
            .field("name", &self.name)
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::V1 => "v1",
            Format::V2 => "v2",
            Format::Hybrid => "hybrid",
        })
    }
}
