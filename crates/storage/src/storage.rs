//! One torrent's files as one run of bytes.
//!
//! Pieces know nothing of files and files nothing of pieces; here a block becomes positioned reads and writes. A file
//! that is wanted lies in its place; of one that is not, only what shares a piece with a wanted one is kept, in the
//! part file. Reading asks the part file first, then the place: so files that were left there earlier serve too.
//!
//! No file is created before its first byte is written, and none is preallocated: what was not written is a hole.
//! Every call opens what it needs below the output folder's handle and borrows descriptors from [`OpenFiles`].
//!
//! Invariants: bytes of unselected files are never written in place; what [`Storage::sync`] did not return from may be
//! lost; gaps (BEP 47) are read as zeros and never stored.

mod admit;
mod served;

use crate::open_files::FileKey;
use crate::part::{PART_FILE, PartFile};
use crate::path::SafePath;
use crate::sys::{self, Access};
use crate::{FileStat, OpenFiles, Place, StorageError, hashing};
use rustix::io::Errno;
use shoal_layout::{BlockRef, FileIndex, Layout, PieceIndex, Selection};
use shoal_metainfo::PieceHashes;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// What a storage may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Seeding and checking: nothing on disk is touched.
    ReadOnly,
    /// Downloading.
    ReadWrite,
}

/// Room on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes that the rest of the selected files still takes, part file counted.
    pub needed: u64,
    /// Bytes that are free.
    pub available: u64,
}

/// One torrent's files. All calls block and may come from several threads at once.
#[derive(Debug)]
pub struct Storage {
    id: u64,
    layout: Layout,
    place: Place,
    mode: Mode,
    chosen: RwLock<Chosen>,
    part: PartFile,
    files: Arc<OpenFiles>,
    unsynced: Mutex<Unsynced>,
    /// Whether this process created the output folder, whose own name then needs a sync too.
    made_folder: AtomicBool,
    served: RwLock<served::Served>,
}

#[derive(Debug)]
struct Chosen {
    selection: Selection,
    all: bool,
    turn: u64,
}

/// What a sync has to do.
#[derive(Debug, Default)]
struct Unsynced {
    files: BTreeSet<u32>,
    new: BTreeSet<u32>,
    /// Written since the journal last looked.
    touched: BTreeSet<u32>,
}

impl Storage {
    /// Nothing is created yet, and nothing read but the table of a part file that an earlier run left, whose errors
    /// are the only ones. `hash` names the part file: the info hash as on the wire. Panics if `place` has not as many
    /// files as `layout`.
    pub fn open(
        layout: Layout,
        place: Place,
        selection: Selection,
        mode: Mode,
        hash: [u8; 20],
        files: Arc<OpenFiles>,
    ) -> Result<Storage, StorageError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        assert_eq!(place.len(), layout.files() as usize, "a place for each file");
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let part = PartFile::open(&place, &layout, hash, id)?;
        let chosen = RwLock::new(Chosen { all: selection.is_all(), turn: 0, selection });
        Ok(Storage {
            id,
            layout,
            place,
            mode,
            chosen,
            part,
            files,
            unsynced: Mutex::default(),
            made_folder: AtomicBool::new(false),
            served: RwLock::default(),
        })
    }

    /// The torrent's map.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Where the files lie.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Where the files lie, for who needs nothing else any more.
    pub(crate) fn into_place(mut self) -> Place {
        std::mem::take(&mut self.place)
    }

    /// What may be done.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The whole path of a file. Panics if it is not one of ours.
    pub fn path(&self, file: FileIndex) -> PathBuf {
        self.place.path(file)
    }

    /// Whether a file is selected.
    pub(crate) fn wants(&self, file: FileIndex) -> bool {
        let chosen = self.chosen.read().unwrap_or_else(PoisonError::into_inner);
        chosen.all || chosen.selection.file(file)
    }

    /// Whether all files are selected.
    pub(crate) fn wants_all(&self) -> bool {
        self.chosen.read().unwrap_or_else(PoisonError::into_inner).all
    }

    pub(crate) fn part(&self) -> &PartFile {
        &self.part
    }

    pub(crate) fn open_files(&self) -> &OpenFiles {
        &self.files
    }

    /// Writes verified blocks of a piece, in order of `begin`; bytes in gaps are left out. One positioned vectored
    /// write for each run in a file. Not synced: see [`Storage::sync`].
    pub fn write_piece<P: AsRef<[u8]>>(&self, piece: PieceIndex, blocks: &[(BlockRef, P)]) -> Result<(), StorageError> {
        if self.mode == Mode::ReadOnly {
            return Err(StorageError::ReadOnly { path: self.place.root().to_path_buf() });
        }
        let result = {
            // Held to the end, so that a change of selection never meets a piece half written.
            let chosen = self.chosen.read().unwrap_or_else(PoisonError::into_inner);
            let border = !chosen.all && self.layout.files_in(piece).any(|file| !chosen.selection.file(file));
            self.write_runs(piece, blocks, border, &chosen)
        };
        result.map_err(|error| match error {
            StorageError::NoSpace { path, .. } => {
                let missing = self.space().map_or(0, |space| space.needed.saturating_sub(space.available));
                StorageError::NoSpace { path, missing_bytes: missing }
            }
            other => other,
        })
    }

    fn write_runs<P: AsRef<[u8]>>(
        &self,
        piece: PieceIndex,
        blocks: &[(BlockRef, P)],
        border: bool,
        chosen: &Chosen,
    ) -> Result<(), StorageError> {
        if border {
            self.make_folder(self.place.folder())?;
            let new = !self.part.has(piece);
            let written = self.part.write(&self.files, piece, blocks);
            self.note_written(PART_FILE, new);
            written?;
        } else if self.part.has(piece) {
            let released = self.part.release(&self.files, piece);
            self.note_written(PART_FILE, false);
            released?;
        }
        let mut run: Vec<IoSlice<'_>> = Vec::with_capacity(blocks.len());
        let mut at: Option<(FileIndex, Range<u64>)> = None;
        for (block, payload) in blocks {
            let mut rest = payload.as_ref();
            debug_assert_eq!(rest.len(), block.length as usize);
            for slice in self.layout.slices(*block) {
                let (bytes, after) = rest.split_at(slice.length as usize);
                rest = after;
                let Some(file) = slice.file.filter(|&file| chosen.all || chosen.selection.file(file)) else { continue };
                match &mut at {
                    Some((same, span)) if *same == file && span.end == slice.offset => span.end += slice.length,
                    _ => {
                        if let Some((file, span)) = at.take() {
                            self.write_run(file, &run, span.start)?;
                            run.clear();
                        }
                        at = Some((file, slice.offset..slice.offset + slice.length));
                    }
                }
                run.push(IoSlice::new(bytes));
            }
        }
        match at {
            Some((file, span)) => self.write_run(file, &run, span.start),
            None => Ok(()),
        }
    }

    fn write_run(&self, file: FileIndex, run: &[IoSlice<'_>], offset: u64) -> Result<(), StorageError> {
        let handle = self.file(file, Access::Create)?;
        self.forget_served(file.0);
        let written = sys::write_all_vectored_at(&handle, run, offset);
        // Afterwards: a sync that took the list before the write was done did not sync it.
        self.note_written(file.0, false);
        written.map_err(|error| StorageError::at(&self.path(file), error))
    }

    /// Reads a piece, and writes it again if it is still right; whether it was. After a failed sync the system may hold
    /// it in memory as if it were on the disk.
    pub(crate) fn rewrite(&self, piece: PieceIndex, expected: &PieceHashes) -> Result<bool, StorageError> {
        let mut blocks = Vec::new();
        for (_, block) in self.layout.requests(piece) {
            let mut bytes = vec![0; block.length as usize];
            if let Err(error) = self.read(block, &mut bytes) {
                tracing::warn!(%error, piece = piece.0, "a piece that could not be synced cannot be read");
                return Ok(false);
            }
            blocks.push((block, bytes));
        }
        if !hashing::piece_matches(&self.layout, piece, expected, &blocks) {
            return Ok(false);
        }
        self.write_piece(piece, &blocks).map(|()| true)
    }

    /// Reads a block; gaps are zeros. Panics if `buffer` has not the block's length.
    pub fn read(&self, block: BlockRef, buffer: &mut [u8]) -> Result<(), StorageError> {
        assert_eq!(buffer.len(), block.length as usize, "a buffer for the block");
        let start = self.layout.piece_start(block.piece) + u64::from(block.begin);
        self.read_span(start, buffer)
    }

    /// Reads a block for an upload if that needs no disk: whether `buffer` is filled now, from files that have not changed
    /// ([`Storage::read_served`]). Neither opens a file nor waits for a disk, so it may be called from a task. Panics if `buffer` has not the block's length.
    pub fn read_cached(&self, block: BlockRef, buffer: &mut [u8]) -> bool {
        assert_eq!(buffer.len(), block.length as usize, "a buffer for the block");
        let mut rest = buffer;
        for slice in self.layout.slices(block) {
            let (here, after) = rest.split_at_mut(slice.length as usize);
            rest = after;
            let Some(file) = slice.file else {
                here.fill(0);
                continue;
            };
            // Where to look for what is in the part file may need the disk.
            let read = !self.part.has(block.piece)
                && self.files.get(self.key(file), false).is_some_and(|handle| {
                    sys::read_cached_at(&handle, here, slice.offset)
                        && handle.metadata().is_ok_and(|now| self.vouches(block.piece, file, FileStat::of(&now)))
                });
            if !read {
                return false;
            }
        }
        true
    }

    /// Reads a run of the address space; gaps are zeros.
    pub(crate) fn read_span(&self, start: u64, buffer: &mut [u8]) -> Result<(), StorageError> {
        let mut rest = buffer;
        let mut at = start;
        let slots = !self.part.is_empty();
        let piece_length = u64::from(self.layout.piece_length());
        for slice in self.layout.slices_of(start..start + rest.len() as u64) {
            let (mut here, after) = rest.split_at_mut(slice.length as usize);
            rest = after;
            let Some(file) = slice.file else {
                here.fill(0);
                at += slice.length;
                continue;
            };
            let mut offset = slice.offset;
            while !here.is_empty() {
                // Slots are per piece; without any, a whole slice is one read.
                let length = match slots {
                    true => (piece_length - at % piece_length).min(here.len() as u64),
                    false => here.len() as u64,
                };
                let (now, later) = here.split_at_mut(length as usize);
                here = later;
                match slots.then(|| self.slot_at(file, at, offset..offset + length)).flatten() {
                    Some(slot) => self.read_slot(slot, now)?,
                    None => self.read_file(file, offset, now)?,
                }
                at += length;
                offset += length;
            }
        }
        Ok(())
    }

    fn read_slot(&self, offset: u64, buffer: &mut [u8]) -> Result<(), StorageError> {
        let handle = self.part.file(&self.files, true)?.expect("opened or an error");
        let count =
            sys::read_at(&handle, buffer, offset).map_err(|error| StorageError::at(&self.part.full_path(), error))?;
        // The end of a slot may lie beyond the end of the file: nothing was written there.
        buffer[count..].fill(0);
        Ok(())
    }

    fn read_file(&self, file: FileIndex, offset: u64, buffer: &mut [u8]) -> Result<(), StorageError> {
        let handle = self.file(file, Access::Read)?;
        let count = sys::read_at(&handle, buffer, offset).map_err(|error| StorageError::at(&self.path(file), error))?;
        if count < buffer.len() {
            return Err(self.short(file, offset + count as u64));
        }
        Ok(())
    }

    pub(crate) fn short(&self, file: FileIndex, length: u64) -> StorageError {
        StorageError::Short { path: self.path(file), length, expected: self.layout.file_length(file) }
    }

    /// Where a run of a file, inside one piece, is read from the part file: if the piece has a slot, and the file is
    /// not selected or lacks the run (it was not selected when the slot was written).
    fn slot_at(&self, file: FileIndex, at: u64, span: Range<u64>) -> Option<u64> {
        let length = u64::from(self.layout.piece_length());
        let slot = self.part.offset(PieceIndex((at / length) as u32))? + at % length;
        (!self.wants(file) || self.lacks(file, span)).then_some(slot)
    }

    /// Whether a run is not in a file's place: there is no file, it ends before, or the run is a hole.
    fn lacks(&self, file: FileIndex, span: Range<u64>) -> bool {
        match self.file(file, Access::Read) {
            Ok(handle) => {
                handle.metadata().is_ok_and(|metadata| metadata.len() < span.end)
                    || sys::next_data(&handle, span.start).is_ok_and(|data| data.is_none_or(|data| data >= span.end))
            }
            Err(error) => matches!(error, StorageError::Missing { .. }),
        }
    }

    /// Puts everything written before this call on the disk, and the folders of new files. After an error nothing
    /// written since the last success may be counted on: write it again (a second sync may succeed and say nothing of
    /// what was dropped).
    pub fn sync(&self) -> Result<(), StorageError> {
        let unsynced = {
            let mut all = self.unsynced.lock().unwrap_or_else(PoisonError::into_inner);
            Unsynced { files: std::mem::take(&mut all.files), new: std::mem::take(&mut all.new), ..Unsynced::default() }
        };
        let result = self.sync_all(&unsynced);
        // What is gone cannot be synced, now or later; all else is tried again.
        if result.as_ref().is_err_and(|error| !error.is_lost()) {
            let mut again = self.unsynced.lock().unwrap_or_else(PoisonError::into_inner);
            again.files.extend(unsynced.files);
            again.new.extend(unsynced.new);
        }
        result
    }

    fn sync_all(&self, unsynced: &Unsynced) -> Result<(), StorageError> {
        for &file in &unsynced.files {
            if file == PART_FILE && !self.part.exists() {
                continue;
            }
            let (path, handle) = match file {
                PART_FILE => (self.part.full_path(), self.part.file(&self.files, true)?.expect("opened or an error")),
                file => (self.path(FileIndex(file)), self.file(FileIndex(file), Access::Read)?),
            };
            // With its time, by which it is known again after a power cut.
            sys::sync_file(&handle).map_err(|error| StorageError::at(&path, error))?;
        }
        if unsynced.new.is_empty() {
            return Ok(());
        }
        let mut folders: BTreeSet<Option<SafePath>> = BTreeSet::from([None]);
        for &file in unsynced.new.iter().filter(|&&file| file != PART_FILE) {
            let mut parent = self.place.entry(FileIndex(file)).1.parent();
            while let Some(folder) = parent {
                parent = folder.parent();
                if !folders.insert(Some(folder)) {
                    break;
                }
            }
        }
        let base = self.place.folder();
        let fail = |error| StorageError::at(base, error);
        let handle = sys::open_folder(base).map_err(fail)?;
        for folder in folders.iter().rev() {
            match folder {
                Some(folder) => {
                    sys::open_folder_below(&handle, folder)
                        .and_then(|folder| sys::sync_folder(&folder))
                        .map_err(fail)?;
                }
                None => sys::sync_folder(&handle).map_err(fail)?,
            }
        }
        if self.made_folder.swap(false, Ordering::Relaxed)
            && let Some(parent) = base.parent().filter(|parent| *parent != Path::new(""))
        {
            sys::open_folder(parent).and_then(|parent| sys::sync_folder(&parent)).map_err(fail)?;
        }
        Ok(())
    }

    /// The numbers of files that were written since the last call; [`PART_FILE`] for the part file.
    pub(crate) fn take_touched(&self) -> Vec<u32> {
        let mut unsynced = self.unsynced.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut unsynced.touched).into_iter().collect()
    }

    /// Closes all files that are open; the next call opens what it needs. For when files were moved or replaced.
    pub fn close_files(&self) {
        self.files.forget_all(self.id);
    }

    /// Size, time and identity of a file; `None` if there is none.
    pub fn stat(&self, file: FileIndex) -> Result<Option<FileStat>, StorageError> {
        Folders::new(self).stat(file)
    }

    /// The same for every file, and for the part file. What is no regular file counts as none.
    pub(crate) fn stats(&self) -> (Vec<Option<FileStat>>, Option<FileStat>) {
        let mut folders = Folders::new(self);
        let files = (0..self.layout.files()).map(|file| folders.stat(FileIndex(file)).ok().flatten()).collect();
        (files, self.stat_part())
    }

    pub(crate) fn stat_part(&self) -> Option<FileStat> {
        let (folder, path) = self.part.entry();
        let folder = sys::open_folder(folder).ok()?;
        sys::stat_below(&folder, path).ok().flatten().map(|stat| stat.0)
    }

    /// Selected files whose size or kind is not what the torrent says, for reports after a check; the content is
    /// [`hashing::check`](crate::hashing::check)'s. Cost: a stat per file.
    pub fn problems(&self) -> Vec<(FileIndex, StorageError)> {
        let mut folders = Folders::new(self);
        let mut problems = Vec::new();
        for file in (0..self.layout.files()).map(FileIndex).filter(|&file| self.wants(file)) {
            let expected = self.layout.file_length(file);
            let path = || self.path(file);
            let problem = match folders.stat(file) {
                Ok(None) => StorageError::Missing { path: path() },
                Ok(Some(stat)) if stat.size < expected => self.short(file, stat.size),
                Ok(Some(stat)) if stat.size > expected => {
                    StorageError::Long { path: path(), length: stat.size, expected }
                }
                Ok(Some(_)) => continue,
                Err(error) => error,
            };
            problems.push((file, problem));
        }
        problems
    }

    /// An open handle, borrowed from the cache.
    pub(crate) fn file(&self, file: FileIndex, access: Access) -> Result<Arc<File>, StorageError> {
        let write = access != Access::Read;
        let key = self.key(file);
        if let Some(handle) = self.files.get(key, write) {
            return Ok(handle);
        }
        let (base, path) = self.place.entry(file);
        if access == Access::Create {
            self.make_folder(base)?;
        }
        let opened = sys::open_folder(base)
            .and_then(|folder| sys::open_below(&folder, path, access))
            .map_err(|error| StorageError::at(&self.path(file), error))?;
        if opened.new {
            self.note_written(file.0, true);
        }
        Ok(self.files.put(key, write, opened.file))
    }

    fn make_folder(&self, folder: &Path) -> Result<(), StorageError> {
        if folder == Path::new("") || folder.is_dir() {
            return Ok(());
        }
        self.made_folder.store(true, Ordering::Relaxed);
        std::fs::create_dir_all(folder).map_err(|error| StorageError::at(folder, error))
    }

    pub(crate) fn note_written(&self, file: u32, new: bool) {
        let mut unsynced = self.unsynced.lock().unwrap_or_else(PoisonError::into_inner);
        unsynced.files.insert(file);
        unsynced.touched.insert(file);
        if new {
            unsynced.new.insert(file);
        }
    }

    fn key(&self, file: FileIndex) -> FileKey {
        FileKey { storage: self.id, file: file.0 }
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        self.close_files();
    }
}

/// Base folders that stay open over a loop through all files.
pub(crate) struct Folders<'a> {
    storage: &'a Storage,
    open: Option<(&'a Path, OwnedFd)>,
}

impl<'a> Folders<'a> {
    pub(crate) fn new(storage: &'a Storage) -> Folders<'a> {
        Folders { storage, open: None }
    }

    /// The open base folder of a file, and its path there; `None` if the folder does not exist.
    pub(crate) fn entry(&mut self, file: FileIndex) -> io::Result<Option<(&OwnedFd, &'a SafePath)>> {
        let (base, path) = self.storage.place.entry(file);
        if self.open.as_ref().is_none_or(|(open, _)| *open != base) {
            self.open = match sys::open_folder(base) {
                Ok(folder) => Some((base, folder)),
                Err(error) if sys::is(&error, Errno::NOENT) => return Ok(None),
                Err(error) => return Err(error),
            };
        }
        Ok(self.open.as_ref().map(|(_, folder)| (folder, path)))
    }

    /// Size, time and identity of a file; `None` if there is none.
    pub(crate) fn stat(&mut self, file: FileIndex) -> Result<Option<FileStat>, StorageError> {
        let stat = match self.entry(file) {
            Ok(None) => Ok(None),
            Ok(Some((folder, path))) => sys::stat_below(folder, path),
            Err(error) => Err(error),
        };
        stat.map(|stat| stat.map(|(stat, _)| stat)).map_err(|error| StorageError::at(&self.storage.path(file), error))
    }

    /// Bytes of the disk that a file takes already.
    fn stored(&mut self, file: FileIndex) -> Option<u64> {
        let (folder, path) = self.entry(file).ok()??;
        sys::stat_below(folder, path).ok()?.map(|(_, stored)| stored)
    }
}
