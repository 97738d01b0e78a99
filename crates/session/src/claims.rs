//! Which files the downloads of a session write, so that no two write the same one (reliability.md F16).
//!
//! The lock of `shoal-storage` keeps the same torrent from running twice; this keeps different torrents apart whose files
//! have the same path. Paths are compared only where one root lies in the other, so that many downloads cost nothing.
//! Other processes are kept away from a torrent's own file or folder by a lock; torrents of theirs whose folders lie one in the
//! other are not told apart.
//! Invariant: no path is in two claims. Folders are compared in canonical form.

use crate::error::SessionError;
use shoal_layout::{FileIndex, Selection};
use shoal_storage::{Lock, Storage};
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// The claims of a session.
#[derive(Debug, Clone, Default)]
pub(crate) struct Claims {
    held: Arc<Mutex<Held>>,
}

#[derive(Debug, Default)]
struct Held {
    next: u64,
    claims: BTreeMap<u64, Wanted>,
    /// What this process holds: by root, for as long as a claim below it lasts.
    places: BTreeMap<PathBuf, Weak<Lock>>,
}

/// The files that a download writes.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// What the torrent is called.
    pub(crate) name: String,
    /// The output folder as it was named, and in canonical form.
    pub(crate) folder: PathBuf,
    pub(crate) canonical: PathBuf,
    pub(crate) storage: Arc<Storage>,
    pub(crate) selection: Selection,
}

/// The right to write some files; given back when dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    claims: Claims,
    number: u64,
    /// Keeps other processes away.
    _place: Option<Arc<Lock>>,
}

impl Claims {
    /// Claims all of these files, or none if another download has one of them. Without a state folder other processes are
    /// not known.
    pub(crate) fn claim(&self, wanted: Wanted, state_dir: Option<&Path>) -> Result<Claim, SessionError> {
        let mut held = self.lock();
        for other in held.claims.values() {
            if let Some(path) = wanted.shares(other) {
                return Err(SessionError::SameFile { path, other: other.name.clone() });
            }
        }
        let place = state_dir.map(|state_dir| held.place(state_dir, &wanted)).transpose()?;
        let number = held.next;
        held.next += 1;
        held.claims.insert(number, wanted);
        Ok(Claim { claims: self.clone(), number, _place: place })
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn place(&mut self, state_dir: &Path, wanted: &Wanted) -> Result<Arc<Lock>, SessionError> {
        self.places.retain(|_, lock| lock.strong_count() > 0);
        let root = wanted.real(wanted.storage.place().root());
        if let Some(lock) = self.places.get(&root).and_then(Weak::upgrade) {
            return Ok(lock);
        }
        let lock = Arc::new(Lock::acquire_place(state_dir, &root)?);
        self.places.insert(root, Arc::downgrade(&lock));
        Ok(lock)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let claim = self.claims.lock().claims.remove(&self.number);
        // Closing its files may wait for the disk: not under the lock.
        drop(claim);
    }
}

impl Wanted {
    /// A file that both write.
    fn shares(&self, other: &Wanted) -> Option<PathBuf> {
        let (root, others) = (self.real(self.storage.place().root()), other.real(other.storage.place().root()));
        if !root.starts_with(&others) && !others.starts_with(&root) {
            return None;
        }
        let paths: HashSet<PathBuf> = other.paths().collect();
        self.paths().find(|path| paths.contains(path))
    }

    fn paths(&self) -> impl Iterator<Item = PathBuf> {
        let files = (0..self.storage.layout().files()).map(FileIndex).filter(|&file| self.selection.file(file));
        files.map(|file| self.real(&self.storage.path(file)))
    }

    fn real(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.folder).map_or_else(|_| path.to_path_buf(), |below| self.canonical.join(below))
    }
}
