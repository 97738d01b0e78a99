//! stub
use crate::{Storage, StorageError};
use shoal_layout::PieceIndex;
use shoal_machine::Time;
use shoal_metainfo::InfoHashes;
use shoal_pieces::Bitfield;
use std::path::{Path, PathBuf};

/// Which download: its hashes and its output folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    hashes: Vec<[u8; 20]>,
    output: PathBuf,
}

impl Identity {
    /// Of a torrent and a folder, which need not exist yet.
    pub fn new(hashes: &InfoHashes, output: &Path) -> Identity {
        Identity::of_hashes(hashes.all_wire().collect(), output)
    }
    /// From the 20-byte hashes.
    pub(crate) fn of_hashes(hashes: Vec<[u8; 20]>, output: &Path) -> Identity {
        Identity { hashes, output: output.to_path_buf() }
    }
    /// The folder in canonical form.
    pub fn output(&self) -> &Path {
        &self.output
    }
    /// A file name for each hash.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.hashes.iter().map(|h| format!("{h:?}")).collect()
    }
}

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

/// Why resume state could not be kept. The download can go on without.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    /// The journal could not be written.
    #[error("cannot write resume state {}: {source}", .path.display())]
    Journal {
        /** The file. */
        path: PathBuf,
        /** What the system said. */
        source: std::io::Error,
    },
    /// The data could not be synced: these pieces must be counted as not written.
    #[error("cannot sync: {source}; {} pieces will be written again", .pieces.len())]
    Data {
        /** Which. */
        pieces: Vec<PieceIndex>,
        /** Why. */
        source: StorageError,
    },
}

/// What the last run left.
#[derive(Debug, Clone)]
pub struct Resumed {
    /// Pieces that are right without reading.
    pub have: Bitfield,
    /// Pieces that must be hashed before they count.
    pub check: Bitfield,
    /// Why the journal was not used, or not wholly: one line for the user.
    pub problem: Option<String>,
}

/// The journal of one download.
#[derive(Debug)]
pub struct Resume {}

impl Resume {
    /// Reads what the last run left and compares it with the files. Never fails: at worst everything is checked.
    pub fn load(state_dir: &Path, identity: &Identity, storage: &Storage) -> Resumed {
        let _ = (state_dir, identity, storage);
        unimplemented()
    }
    /// Begins the journal of this run, once `have` is known.
    pub fn begin(
        state_dir: &Path,
        identity: &Identity,
        storage: &Storage,
        have: &Bitfield,
    ) -> Result<Resume, ResumeError> {
        let _ = (state_dir, identity, storage, have);
        Ok(Resume {})
    }
    /// A verified piece was written.
    pub fn written(&self, now: Time, piece: PieceIndex, bytes: u32) {
        let _ = (now, piece, bytes);
    }
    /// When [`Resume::flush`] is due; `None` if nothing waits.
    pub fn deadline(&self) -> Option<Time> {
        None
    }
    /// Syncs the data, appends the pieces, syncs the journal, if that is due (or `all`: in any case). From a disk thread; one at a time does the work, others return at once.
    pub fn flush(&self, now: Time, storage: &Storage, all: bool) -> Result<(), ResumeError> {
        let _ = (now, storage, all);
        Ok(())
    }
    /// The clean end: flushes, then notes each file's stat so that the next start needs to read nothing.
    pub fn stop(self, now: Time, storage: &Storage) -> Result<(), ResumeError> {
        let _ = (now, storage);
        Ok(())
    }
}

fn unimplemented() -> Resumed {
    Resumed { have: Bitfield::new(1), check: Bitfield::new(1), problem: None }
}

/// Keeps a torrent, so that a magnet link resumes without peers.
pub fn save_torrent(state_dir: &Path, identity: &Identity, torrent: &[u8]) -> std::io::Result<()> {
    let _ = (state_dir, identity, torrent);
    Ok(())
}
/// The torrent that was kept, unchecked: the caller compares hashes.
pub fn load_torrent(state_dir: &Path, identity: &Identity) -> Option<Vec<u8>> {
    let _ = (state_dir, identity);
    None
}
