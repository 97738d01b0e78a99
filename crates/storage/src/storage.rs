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
mod folders;
mod read;
mod served;
mod sync;
mod write;

pub(crate) use folders::Folders;

use crate::open_files::FileKey;
use crate::part::PartFile;
use crate::sys::{self, Access};
use crate::{FileStat, OpenFiles, Place, StorageError};
use shoal_layout::{FileIndex, Layout, Selection};
use std::fs::File;
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
    unsynced: Mutex<sync::Unsynced>,
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

    fn key(&self, file: FileIndex) -> FileKey {
        FileKey { storage: self.id, file: file.0 }
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        self.close_files();
    }
}
