//! What a hashing thread reads with: the torrent's address space, file by file, with what is known of each file's holes.
//!
//! A small file is opened, read and closed at once: nobody asks for it again. One that is read in several turns is
//! borrowed from [`OpenFiles`](crate::OpenFiles), and the last such handle stays with the thread. So a thread holds a
//! folder, two files at most, and what the bounded cache holds.
//!
//! Invariant: what is called a hole lies before its file's end and has no data at the time of the question.

use crate::storage::Folders;
use crate::sys::{self, Access};
use crate::{Storage, StorageError};
use shoal_layout::{BlockRef, FileIndex, FileSlice, PieceIndex};
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

/// Runs shorter than this are not asked whether they are holes: reading them costs as little. Chosen: a block.
const HOLE_BYTES: u64 = 16 * 1024;
/// A call that asks for more than a device's read-ahead (128 KiB unless configured) is cut to it (Linux,
/// `force_page_cache_ra`), so more are made.
const ADVICE_BYTES: u64 = 128 * 1024;
/// Files shorter than this are neither read ahead nor asked for holes: opening them twice costs more. Chosen.
const LARGE_FILE_BYTES: u64 = 128 * 1024;

/// One thread's access to a storage.
pub(super) struct Reader<'a> {
    storage: &'a Storage,
    folders: Folders<'a>,
    last: Option<Open>,
}

/// The file that was read last.
struct Open {
    file: FileIndex,
    handle: Arc<File>,
    /// Once somebody asked.
    holes: Option<Holes>,
}

/// What is known of a file's holes.
struct Holes {
    length: u64,
    /// Whether the file takes fewer bytes of the disk than it is long: there are holes, or it is compressed.
    any: bool,
    /// A run without data that an earlier question found.
    found: Range<u64>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(storage: &'a Storage) -> Reader<'a> {
        Reader { storage, folders: Folders::new(storage), last: None }
    }

    /// Reads a run of a piece, or of several that follow on each other; gaps are zeros.
    pub(super) fn read(&mut self, piece: PieceIndex, begin: u32, buffer: &mut [u8]) -> Result<(), StorageError> {
        let layout = self.storage.layout();
        let start = layout.piece_start(piece) + u64::from(begin);
        if !self.storage.part().is_empty() {
            return self.storage.read_span(start, buffer);
        }
        let mut rest = buffer;
        for FileSlice { file, offset, length } in layout.slices_of(start..start + rest.len() as u64) {
            let (here, after) = rest.split_at_mut(length as usize);
            rest = after;
            match file {
                Some(file) => self.read_file(file, offset, here)?,
                None => here.fill(0),
            }
        }
        Ok(())
    }

    fn read_file(&mut self, file: FileIndex, offset: u64, buffer: &mut [u8]) -> Result<(), StorageError> {
        let storage = self.storage;
        let whole = storage.layout().file_length(file) == buffer.len() as u64;
        let read = if whole && self.last.as_ref().is_none_or(|last| last.file != file) {
            let opened = match self.folders.entry(file) {
                Ok(Some((folder, path))) => sys::open_below(folder, path, Access::Read),
                Ok(None) => Err(rustix::io::Errno::NOENT.into()),
                Err(error) => Err(error),
            };
            opened.and_then(|opened| sys::read_at(&opened.file, buffer, offset))
        } else {
            sys::read_at(&self.open(file)?.handle, buffer, offset)
        };
        let count = read.map_err(|error| StorageError::at(&storage.path(file), error))?;
        if count < buffer.len() {
            return Err(storage.short(file, offset + count as u64));
        }
        Ok(())
    }

    /// The file as the last one.
    fn open(&mut self, file: FileIndex) -> Result<&mut Open, StorageError> {
        let last = match self.last.take() {
            Some(last) if last.file == file => last,
            _ => {
                let handle = self.storage.file(file, Access::Read)?;
                Open { file, handle, holes: None }
            }
        };
        Ok(self.last.insert(last))
    }

    /// Whether a file of this piece may have holes in it.
    pub(super) fn is_sparse(&mut self, piece: PieceIndex) -> bool {
        let mut slices = self.large_slices(piece);
        !self.storage.part().has(piece)
            && slices.any(|slice| {
                let open = slice.file.and_then(|file| self.open(file).ok());
                open.is_some_and(|open| open.holes().any)
            })
    }

    /// Whether a run of a piece has no data on disk, holes and gaps alone: it reads as zeros.
    pub(super) fn is_hole(&mut self, piece: PieceIndex, begin: u32, length: u32) -> bool {
        let mut slices = self.storage.layout().slices(BlockRef { piece, begin, length });
        !self.storage.part().has(piece)
            && slices.all(|slice| match slice.file {
                None => true,
                Some(_) if slice.length < HOLE_BYTES => false,
                Some(file) => self.open(file).is_ok_and(|open| open.is_hole(slice.offset..slice.offset + slice.length)),
            })
    }

    /// Whether the first byte of a piece is in memory already; `None` if the file system cannot say.
    pub(super) fn is_cached(&mut self, piece: PieceIndex) -> Option<bool> {
        let slice = self.large_slices(piece).next()?;
        let open = self.open(slice.file?).ok()?;
        sys::is_cached_at(&open.handle, slice.offset)
    }

    /// Has the disk begin to read a piece's large files, in order. Advice only.
    pub(super) fn read_ahead(&mut self, piece: PieceIndex) {
        for slice in self.large_slices(piece) {
            let Some(Ok(open)) = slice.file.map(|file| self.open(file)) else { continue };
            for step in (0..slice.length).step_by(ADVICE_BYTES as usize) {
                sys::read_ahead(&open.handle, slice.offset + step, ADVICE_BYTES.min(slice.length - step));
            }
        }
    }

    /// What of a piece lies in files that are worth opening beforehand.
    fn large_slices(&self, piece: PieceIndex) -> impl Iterator<Item = FileSlice> + use<'a> {
        let layout = self.storage.layout();
        layout
            .slices(BlockRef { piece, begin: 0, length: layout.piece_size(piece) })
            .filter(|slice| slice.file.is_some_and(|file| layout.file_length(file) >= LARGE_FILE_BYTES))
    }
}

impl Open {
    fn holes(&mut self) -> &mut Holes {
        let handle = &self.handle;
        self.holes.get_or_insert_with(|| {
            // Who cannot tell its length is not asked again, and has no holes.
            let (length, stored) =
                handle.metadata().map_or((0, 0), |metadata| (metadata.len(), metadata.blocks().saturating_mul(512)));
            Holes { length, any: stored < length, found: 0..0 }
        })
    }

    fn is_hole(&mut self, span: Range<u64>) -> bool {
        let holes = self.holes();
        if !holes.any || span.end > holes.length {
            return false;
        }
        if !holes.found.contains(&span.start) {
            let length = holes.length;
            let Ok(data) = sys::next_data(&self.handle, span.start) else { return false };
            self.holes().found = span.start..data.unwrap_or(length);
        }
        span.end <= self.holes().found.end
    }
}
