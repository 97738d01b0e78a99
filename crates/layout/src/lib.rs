//! Where bytes are: pieces, blocks, files and the maps between them.
//!
//! A torrent's *address space* is one run of bytes, `0..total_length`, cut into pieces of `piece_length`. Files lie in it
//! in order; what lies between two files (BEP 47 padding files, the alignment of v2) is a *gap*, holds zeros, is never
//! stored and never asked for. v1, v2 and hybrid torrents differ only in where their files lie (BEP 3, 47, 52).
//!
//! This is the only place where untrusted numbers become positions: a [`BlockRef`] or [`PieceIndex`] made by a
//! [`Layout`] is inside it. Invariants: files are sorted by offset and do not overlap; lengths fit `i64`; every piece
//! but the last has `piece_length` bytes; `pieces() <= MAX_PIECES`.

mod layout;
mod select;
#[cfg(test)]
mod tests;

pub use layout::{FileSlice, Layout, LayoutError, Slices};
pub use select::Selection;

use std::fmt;

/// Bytes in a block: what one request asks for (BEP 3) and what one v2 leaf hashes (BEP 52).
pub const BLOCK_LENGTH: u32 = 16 * 1024;
/// Pieces in a torrent, at most (reliability.md A3, as in libtorrent).
pub const MAX_PIECES: u32 = 1 << 21;
/// Bytes in a piece, at most (as libtorrent; reliability.md A3): a begin within a piece always fits `u32`.
pub const MAX_PIECE_LENGTH: u32 = 512 * 1024 * 1024;
/// Files in a torrent, at most (reliability.md A3).
pub const MAX_FILES: usize = 1_000_000;

/// A piece's number, from 0. Trusted only together with the [`Layout`] that made or checked it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PieceIndex(pub u32);

/// A file's number in the torrent's order, from 0, padding files not counted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileIndex(pub u32);

/// A run of bytes inside one piece: what a request, a piece message or a cancel is about (BEP 3).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockRef {
    /// The piece.
    pub piece: PieceIndex,
    /// First byte, counted from the piece's start.
    pub begin: u32,
    /// Bytes; never 0 when checked by a [`Layout`].
    pub length: u32,
}

impl PieceIndex {
    /// For indexing vectors that have one element a piece.
    pub const fn as_usize(self) -> usize {
        self.0 as usize
    }
}

impl FileIndex {
    /// For indexing vectors that have one element a file.
    pub const fn as_usize(self) -> usize {
        self.0 as usize
    }
}

impl BlockRef {
    /// One past the last byte, counted from the piece's start.
    pub const fn end(self) -> u32 {
        self.begin.saturating_add(self.length)
    }
}

impl fmt::Debug for PieceIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "piece {}", self.0)
    }
}

impl fmt::Display for PieceIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for FileIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "file {}", self.0)
    }
}

impl fmt::Debug for BlockRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "block {}:{}+{}", self.piece.0, self.begin, self.length)
    }
}
