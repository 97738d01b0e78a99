//! What is right on disk, remembered from one run to the next (`docs/storage.md`).
//!
//! One file per download in the state folder: a head with every file's size, time and number and the pieces that are
//! right, then records that are appended while the download runs. The head is replaced as a whole (write, sync,
//! rename, sync the folder), records only follow it; each carries a checksum over the head's and all before it, so
//! that a torn tail or a tail of an older head ends the reading and nothing else. What the file cannot vouch for is
//! hashed again, never more.
//!
//! Parts: [`order`](crate::order) decides when what is synced and appended, [`journal`] writes the file, [`state`] is its
//! bytes, [`compare`] tells what of it still counts. [`Keeper`] is all of them over any [`Disk`]; [`Resume`] is a keeper
//! over real files. The file is opened for each record and closed again: a process may have thousands of torrents, most
//! of which never write.
//!
//! Invariants: no damaged state is an error, at worst everything is checked; `have` is a subset of what is right on
//! disk, unless somebody else wrote to a file in the moments around a kill.

mod compare;
mod journal;
mod keeper;
mod state;

pub use compare::{CRASH_WINDOW_NS, Found, Verdict};
pub use journal::Disk;
pub use keeper::{Flush, Keeper};

use self::state::set_all;
use crate::identity::read_bounded;
use crate::part::PART_FILE;
use crate::{Identity, Mode, Storage, StorageError, sys};
use shoal_layout::{FileIndex, PieceIndex};
use shoal_machine::Time;
use shoal_metainfo::PieceHashes;
use shoal_pieces::Bitfield;
use std::fs::{File, Metadata};
use std::io::{self, IoSlice};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What tells whether a file is the one that was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStat {
    /// Bytes.
    pub size: u64,
    /// Nanoseconds since 1970.
    pub modified_ns: i64,
    /// The file's number in its file system.
    pub inode: u64,
}

impl FileStat {
    pub(crate) fn of(metadata: &Metadata) -> FileStat {
        let modified_ns = metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec());
        FileStat { size: metadata.len(), modified_ns, inode: metadata.ino() }
    }
}

/// What each file of a torrent was, `None` for one that was not there. The journal, and whoever serves the files, look into one
/// list for as long as none of them changes it: of a million files it is 32 MB.
pub type FileStats = Arc<Vec<Option<FileStat>>>;

/// Why a run's journal could not begin. The download can go on without.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    /// The state file could not be written.
    #[error("cannot write resume state {}: {source}", .path.display())]
    Journal {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What was found on disk could not be synced.
    #[error("cannot sync: {0}")]
    Data(#[from] StorageError),
}

/// What the last run left.
#[derive(Debug, Clone)]
pub struct Resumed {
    /// Pieces that are right without reading.
    pub have: Bitfield,
    /// Pieces that must be hashed before they count; none of `have`.
    pub check: Bitfield,
    /// Why the journal was not used: one line for the user. Not set where there simply is none.
    pub problem: Option<String>,
    /// Files that the last run left, or made.
    ours: Vec<bool>,
    /// The files and the part file as they were before anything was checked.
    found: Found,
}

impl Resumed {
    /// No last run: everything that is there must be checked. `check` has the pieces of files that exist.
    pub fn nothing(storage: &Storage) -> Resumed {
        let found = found(storage);
        let layout = storage.layout();
        let mut check = found.slots.clone();
        for (file, stat) in found.files.iter().enumerate() {
            if stat.is_some() {
                set_all(&mut check, layout.pieces_of(FileIndex(file as u32)));
            }
        }
        let ours = vec![false; found.files.len()];
        Resumed { have: Bitfield::new(layout.pieces()), check, problem: None, ours, found }
    }

    /// What each file was before anything was checked.
    pub fn files(&self) -> &FileStats {
        &self.found.files
    }

    /// Whether what stands in a file's place was left there, or made, by the last run.
    pub(crate) fn is_ours(&self, file: FileIndex) -> bool {
        self.ours.get(file.as_usize()).copied().unwrap_or(false)
    }
}

pub(crate) fn found(storage: &Storage) -> Found {
    let (files, part) = storage.stats();
    let mut slots = Bitfield::new(storage.layout().pieces());
    for piece in storage.part().pieces() {
        slots.set(piece);
    }
    Found { files: files.into(), part, slots, wanted: wanted(storage) }
}

/// Which files are selected.
fn wanted(storage: &Storage) -> Vec<bool> {
    (0..storage.layout().files()).map(|file| storage.wants(FileIndex(file))).collect()
}

/// The journal of one download. All calls but [`Resume::stop`] may come from several threads.
#[derive(Debug)]
pub struct Resume {
    path: PathBuf,
    keeper: Keeper,
}

impl Resume {
    /// Reads what the last run left and compares it with the files. Never fails: at worst everything is checked. Cost:
    /// a stat per file.
    pub fn load(state_dir: &Path, identity: &Identity, storage: &Storage) -> Resumed {
        let path = identity.path(state_dir, "resume");
        let bytes = match read_bounded(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Resumed::nothing(storage),
            Err(error) => {
                let problem = format!("cannot read resume state {}: {error}; checking all data", path.display());
                return Resumed { problem: Some(problem), ..Resumed::nothing(storage) };
            }
        };
        let found = found(storage);
        match Keeper::recover(&bytes, identity, storage.layout(), &found) {
            Ok(Verdict { have, check, ours }) => Resumed { have, check, problem: None, ours, found },
            Err(why) => {
                let problem = format!("resume state {} is not used: {why}; checking all data", path.display());
                Resumed { problem: Some(problem), ..Resumed::nothing(storage) }
            }
        }
    }

    /// Begins this run's journal, once it is known what is right on disk: after the check and [`Storage::prepare`],
    /// before the first write. What was found by checking is synced first: it may be in memory only.
    pub fn begin(
        state_dir: &Path,
        identity: &Identity,
        storage: &Storage,
        resumed: &Resumed,
        have: &Bitfield,
    ) -> Result<Resume, ResumeError> {
        let path = identity.path(state_dir, "resume");
        sys::create_private_folder(state_dir)
            .map_err(|source| ResumeError::Journal { path: state_dir.to_path_buf(), source })?;
        let layout = storage.layout();
        if storage.mode() == Mode::ReadWrite {
            let checked = have.iter_set().filter(|&piece| !resumed.have.get(piece));
            for file in checked.flat_map(|piece| layout.files_in(piece)) {
                if resumed.found.files.get(file.as_usize()).is_some_and(Option::is_some) {
                    storage.note_written(file.0, true);
                }
            }
            storage.sync()?;
        }
        let keeper = Keeper::begin(&OnDisk { path: &path, storage }, identity, layout, have, &resumed.found);
        match keeper {
            Ok(keeper) => Ok(Resume { path, keeper }),
            Err(source) => Err(ResumeError::Journal { path, source }),
        }
    }

    fn disk<'a>(&'a self, storage: &'a Storage) -> OnDisk<'a> {
        OnDisk { path: &self.path, storage }
    }

    /// The state file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Call before a piece is written: see [`Keeper::writing`].
    pub fn writing(&self, storage: &Storage, piece: PieceIndex) -> Result<(), ResumeError> {
        let writing = self.keeper.writing(&self.disk(storage), piece);
        writing.map_err(|source| ResumeError::Journal { path: self.path.clone(), source })
    }

    /// A verified piece was written. Cheap: call it from where the piece was written, then look at the deadline.
    pub fn written(&self, now: Time, piece: PieceIndex, bytes: u32, expected: PieceHashes) {
        self.keeper.written(now, piece, bytes, expected);
    }

    /// A piece turned out not to be right on disk any more (its file changed).
    pub fn lost(&self, storage: &Storage, piece: PieceIndex) {
        if let Err(error) = self.keeper.lost(&self.disk(storage), piece) {
            tracing::warn!(%error, path = %self.path.display(), "a claim is not taken back yet");
        }
    }

    /// When [`Resume::flush`] is due; `None` if nothing waits.
    pub fn deadline(&self) -> Option<Time> {
        self.keeper.deadline()
    }

    /// Whether data could not be synced: write nothing new until a flush succeeds.
    pub fn in_trouble(&self) -> bool {
        self.keeper.in_trouble()
    }

    /// Call it from a disk thread: see [`Keeper::flush`].
    pub fn flush(&self, now: Time, storage: &Storage, all: bool) -> Flush {
        self.keeper.flush(&self.disk(storage), now, all)
    }

    /// The clean end: see [`Keeper::stop`].
    pub fn stop(self, now: Time, storage: &Storage) -> Flush {
        self.keeper.stop(&OnDisk { path: &self.path, storage }, now)
    }
}

/// The real world.
struct OnDisk<'a> {
    path: &'a Path,
    storage: &'a Storage,
}

impl Disk for OnDisk<'_> {
    fn now_ns(&self) -> i64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
    }

    fn write_state(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let file = File::options().write(true).open(self.path)?;
        sys::write_all_vectored_at(&file, &[IoSlice::new(bytes)], at)
    }

    fn sync_state(&self) -> io::Result<()> {
        sys::sync_data(&File::options().write(true).open(self.path)?)
    }

    fn replace_state(&self, content: &[u8]) -> io::Result<()> {
        sys::replace_file(self.path, content)
    }

    fn take_touched(&self) -> Vec<u32> {
        self.storage.take_touched()
    }

    fn stat(&self, file: u32) -> Option<FileStat> {
        match file {
            PART_FILE => self.storage.stat_part(),
            file => self.storage.stat(FileIndex(file)).ok().flatten(),
        }
    }

    fn sync_data(&self) -> Result<(), StorageError> {
        self.storage.sync()
    }

    fn rewrite(&self, piece: PieceIndex, expected: &PieceHashes) -> Result<bool, StorageError> {
        self.storage.rewrite(piece, expected)
    }

    fn selection(&self, known: Option<u64>) -> Option<(u64, Vec<bool>)> {
        let turn = self.storage.selection_turn();
        (Some(turn) != known).then(|| (turn, wanted(self.storage)))
    }
}
