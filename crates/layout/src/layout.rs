//! The map from pieces and blocks to files.

use crate::{BLOCK_LENGTH, BlockRef, FileIndex, MAX_FILES, MAX_PIECE_LENGTH, MAX_PIECES, PieceIndex};
use std::ops::Range;
use std::sync::Arc;

/// Why lengths and offsets make no torrent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// The piece length is 0 or over [`MAX_PIECE_LENGTH`].
    #[error("piece length {0} is not between 1 and {MAX_PIECE_LENGTH}")]
    PieceLength(u64),
    /// More than [`MAX_FILES`] files.
    #[error("{0} files are more than {MAX_FILES}")]
    TooManyFiles(usize),
    /// More than [`MAX_PIECES`] pieces.
    #[error("{0} pieces are more than {MAX_PIECES}")]
    TooManyPieces(u64),
    /// A length or a sum of lengths leaves the signed 64 bits that file systems have.
    #[error("file {file} ends beyond what a file system can hold")]
    Overflow {
        /// The file at which the sum went over.
        file: usize,
    },
    /// A file begins before the one before it ends.
    #[error("file {file} overlaps the one before it")]
    Overlap {
        /// The later of the two files.
        file: usize,
    },
    /// There is no byte in it.
    #[error("the torrent holds no data")]
    Empty,
}

/// Where every file lies in a torrent's address space. A clone is cheap: of a million files there is one list, however many
/// parts of a program look into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    piece_length: u32,
    total_length: u64,
    payload_length: u64,
    /// First byte and length of each file.
    files: Arc<[(u64, u64)]>,
    /// The files that have data, in order: a million empty ones at one place must not be walked through for every block.
    filled: Arc<[u32]>,
}

/// First byte and length of files that each begin at a piece's start, and where the last ends.
fn at_pieces(piece_length: u64, lengths: &[u64]) -> Result<(Vec<(u64, u64)>, u64), LayoutError> {
    if piece_length == 0 {
        return Err(LayoutError::PieceLength(0));
    }
    let mut files = Vec::with_capacity(lengths.len());
    let (mut next, mut end) = (0_u64, 0_u64);
    for (file, &length) in lengths.iter().enumerate() {
        if length == 0 {
            files.push((end, 0));
            continue;
        }
        files.push((next, length));
        end = next.checked_add(length).ok_or(LayoutError::Overflow { file })?;
        next = end.checked_next_multiple_of(piece_length).ok_or(LayoutError::Overflow { file })?;
    }
    Ok((files, end))
}

/// A run of bytes that lies in one file, or in a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileSlice {
    /// The file; `None` for a gap, which holds zeros.
    pub file: Option<FileIndex>,
    /// First byte, counted from the file's (or the gap's) start.
    pub offset: u64,
    /// Bytes, never 0.
    pub length: u64,
}

impl Layout {
    /// From each file's first byte and length, in order, and the end of the address space, which is at or after the
    /// end of the last file (v1 torrents may end in a padding file). Files may be empty; the whole may not.
    pub fn new(piece_length: u64, files: Vec<(u64, u64)>, total_length: u64) -> Result<Layout, LayoutError> {
        if piece_length == 0 || piece_length > u64::from(MAX_PIECE_LENGTH) {
            return Err(LayoutError::PieceLength(piece_length));
        }
        if files.len() > MAX_FILES {
            return Err(LayoutError::TooManyFiles(files.len()));
        }
        let (mut end, mut payload_length) = (0_u64, 0_u64);
        for (file, &(offset, length)) in files.iter().enumerate() {
            if offset < end {
                return Err(LayoutError::Overlap { file });
            }
            end = offset
                .checked_add(length)
                .filter(|&end| i64::try_from(end).is_ok())
                .ok_or(LayoutError::Overflow { file })?;
            payload_length += length;
        }
        if total_length < end || i64::try_from(total_length).is_err() {
            return Err(LayoutError::Overflow { file: files.len() });
        }
        if total_length == 0 || payload_length == 0 {
            return Err(LayoutError::Empty);
        }
        let pieces = total_length.div_ceil(piece_length);
        if pieces > u64::from(MAX_PIECES) {
            return Err(LayoutError::TooManyPieces(pieces));
        }
        let filled: Vec<u32> = (0..).zip(&files).filter(|(_, (_, length))| *length > 0).map(|(file, _)| file).collect();
        Ok(Layout {
            piece_length: piece_length as u32,
            total_length,
            payload_length,
            files: files.into(),
            filled: filled.into(),
        })
    }

    /// Files one after another with no gaps, as a v1 torrent without padding has them (BEP 3).
    pub fn contiguous(piece_length: u64, lengths: &[u64]) -> Result<Layout, LayoutError> {
        let mut files = Vec::with_capacity(lengths.len());
        let mut end = 0_u64;
        for (file, &length) in lengths.iter().enumerate() {
            files.push((end, length));
            end = end.checked_add(length).ok_or(LayoutError::Overflow { file })?;
        }
        Layout::new(piece_length, files, end)
    }

    /// Files that each begin at a piece's start, as v2 has them (BEP 52); nothing follows the last one.
    pub fn aligned(piece_length: u64, lengths: &[u64]) -> Result<Layout, LayoutError> {
        let (files, end) = at_pieces(piece_length, lengths)?;
        Layout::new(piece_length, files, end)
    }

    /// The same with a gap after the last file, up to the end of its piece: peers may ask for all of the last piece, as
    /// libtorrent 2.0 does in a v2 torrent.
    pub fn aligned_whole(piece_length: u64, lengths: &[u64]) -> Result<Layout, LayoutError> {
        let (files, end) = at_pieces(piece_length, lengths)?;
        let last = LayoutError::Overflow { file: lengths.len() };
        Layout::new(piece_length, files, end.checked_next_multiple_of(piece_length).ok_or(last)?)
    }

    /// Bytes in every piece but the last.
    pub fn piece_length(&self) -> u32 {
        self.piece_length
    }

    /// Bytes in the address space, gaps counted.
    pub fn total_length(&self) -> u64 {
        self.total_length
    }

    /// Bytes in files: what a user sees as the torrent's size.
    pub fn payload_length(&self) -> u64 {
        self.payload_length
    }

    /// How many pieces; at least 1.
    pub fn pieces(&self) -> u32 {
        self.total_length.div_ceil(u64::from(self.piece_length)) as u32
    }

    /// How many files, empty ones counted.
    pub fn files(&self) -> u32 {
        self.files.len() as u32
    }

    /// The piece of this number, if there is one.
    pub fn piece(&self, index: u32) -> Option<PieceIndex> {
        (index < self.pieces()).then_some(PieceIndex(index))
    }

    /// Bytes in this piece's part of the address space: `piece_length`, less for the last. Panics if not ours.
    pub fn piece_size(&self, piece: PieceIndex) -> u32 {
        let start = self.piece_start(piece);
        assert!(start < self.total_length, "{piece:?} of {}", self.pieces());
        (self.total_length - start).min(u64::from(self.piece_length)) as u32
    }

    /// First byte of this piece in the address space.
    pub fn piece_start(&self, piece: PieceIndex) -> u64 {
        u64::from(piece.0) * u64::from(self.piece_length)
    }

    /// A run of bytes that somebody else named, checked: inside one piece and not empty. Gaps are allowed, since peers
    /// may ask for padding (BEP 47).
    pub fn block(&self, piece: u32, begin: u32, length: u32) -> Option<BlockRef> {
        let piece = self.piece(piece)?;
        let end = begin.checked_add(length)?;
        (length > 0 && end <= self.piece_size(piece)).then_some(BlockRef { piece, begin, length })
    }

    /// How many blocks of [`BLOCK_LENGTH`] this piece is cut into, those that lie in gaps counted.
    pub fn blocks_in(&self, piece: PieceIndex) -> u32 {
        self.piece_size(piece).div_ceil(BLOCK_LENGTH)
    }

    /// The `number`-th block of a piece as it should be asked for: without the gap at its end. `None` if it lies wholly in
    /// a gap, or past the end.
    pub fn request(&self, piece: PieceIndex, number: u32) -> Option<BlockRef> {
        let begin = number.checked_mul(BLOCK_LENGTH)?;
        let length = self.piece_size(piece).checked_sub(begin)?.min(BLOCK_LENGTH);
        if length == 0 {
            return None;
        }
        let start = self.piece_start(piece) + u64::from(begin);
        let end = self.payload_end_before(start + u64::from(length));
        (end > start).then(|| BlockRef { piece, begin, length: (end - start) as u32 })
    }

    /// The blocks of a piece that have to be fetched, in order, with their numbers.
    pub fn requests(&self, piece: PieceIndex) -> impl Iterator<Item = (u32, BlockRef)> + '_ {
        (0..self.blocks_in(piece)).filter_map(move |number| Some((number, self.request(piece, number)?)))
    }

    /// Bytes of files (not gaps) in this piece.
    pub fn payload_in(&self, piece: PieceIndex) -> u32 {
        self.slices(BlockRef { piece, begin: 0, length: self.piece_size(piece) })
            .filter(|slice| slice.file.is_some())
            .map(|slice| slice.length as u32)
            .sum()
    }

    /// First byte and length of a file. Panics if it is not one of ours.
    pub fn file_span(&self, file: FileIndex) -> Range<u64> {
        let (offset, length) = self.files[file.as_usize()];
        offset..offset + length
    }

    /// Bytes in a file. Panics if it is not one of ours.
    pub fn file_length(&self, file: FileIndex) -> u64 {
        self.files[file.as_usize()].1
    }

    /// The pieces that hold bytes of this file; empty for an empty file.
    pub fn pieces_of(&self, file: FileIndex) -> Range<u32> {
        let span = self.file_span(file);
        if span.is_empty() {
            return 0..0;
        }
        let length = u64::from(self.piece_length);
        (span.start / length) as u32..((span.end - 1) / length + 1) as u32
    }

    /// The files (not empty ones) that have bytes in this piece, in order.
    pub fn files_in(&self, piece: PieceIndex) -> impl Iterator<Item = FileIndex> + '_ {
        self.slices(BlockRef { piece, begin: 0, length: self.piece_size(piece) }).filter_map(|slice| slice.file)
    }

    /// The run of bytes in files and gaps that a block is, in order. Cost: a binary search, then a step a file.
    pub fn slices(&self, block: BlockRef) -> Slices<'_> {
        let start = self.piece_start(block.piece) + u64::from(block.begin);
        self.slices_of(start..start + u64::from(block.length))
    }

    /// The same for a run of the address space; what lies past its end is left out.
    pub fn slices_of(&self, span: Range<u64>) -> Slices<'_> {
        // The first file with data that ends after the start.
        let next = self.filled.partition_point(|&file| self.file_span(FileIndex(file)).end <= span.start);
        let gap_start = next.checked_sub(1).map_or(0, |before| self.file_span(FileIndex(self.filled[before])).end);
        Slices { layout: self, next, gap_start, at: span.start, end: span.end.min(self.total_length) }
    }

    /// The end of the last file byte at or before `end`.
    fn payload_end_before(&self, end: u64) -> u64 {
        let after = self.filled.partition_point(|&file| self.file_span(FileIndex(file)).start < end);
        after.checked_sub(1).map_or(0, |last| self.file_span(FileIndex(self.filled[last])).end.min(end))
    }
}

/// Iterator over the [`FileSlice`]s of a run; see [`Layout::slices`].
#[derive(Debug, Clone)]
pub struct Slices<'a> {
    layout: &'a Layout,
    /// Place in the files with data of the one that comes next.
    next: usize,
    gap_start: u64,
    at: u64,
    end: u64,
}

impl Iterator for Slices<'_> {
    type Item = FileSlice;

    fn next(&mut self) -> Option<FileSlice> {
        if self.at >= self.end {
            return None;
        }
        let (file, start, stop) = match self.layout.filled.get(self.next).map(|&file| FileIndex(file)) {
            Some(file) => {
                let span = self.layout.file_span(file);
                if span.start <= self.at {
                    self.next += 1;
                    self.gap_start = span.end;
                    (Some(file), span.start, span.end)
                } else {
                    (None, self.gap_start, span.start)
                }
            }
            None => (None, self.gap_start, self.end),
        };
        let stop = stop.min(self.end);
        let slice = FileSlice { file, offset: self.at - start, length: stop - self.at };
        self.at = stop;
        Some(slice)
    }
}
