//! One process per download: a locked file in the state folder.
//!
//! `flock` is released by the system however a process ends, so that no stale lock ever has to be judged. A hybrid has
//! two hashes and is locked under both, since a magnet link may name only one of them. The file is removed by its
//! owner while it holds the lock; who waited for it sees that it has no name any more and opens the new one.

use crate::identity::Identity;
use crate::sys;
use shoal_hash::sha256;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// Why a download may not begin.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process, or another task of this one, has the same download in the same folder.
    #[error("this download is running already in {}", .output.display())]
    AlreadyRunning {
        /// The output folder.
        output: PathBuf,
    },
    /// Another process writes to the same file or folder for another torrent.
    #[error("another shoal downloads into {}; wait for it or choose another --output", .path.display())]
    SamePlace {
        /// The torrent's file or folder.
        path: PathBuf,
    },
    /// The state folder cannot be used.
    #[error("cannot lock {}: {source}", .path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The right to write one torrent's data in one output folder; given back when dropped.
#[derive(Debug)]
pub struct Lock {
    held: Vec<(PathBuf, File)>,
}

impl Lock {
    /// Takes the lock of every hash of this identity, or none. Creates the state folder if need be.
    pub fn acquire(state_dir: &Path, identity: &Identity) -> Result<Lock, LockError> {
        sys::create_private_folder(state_dir)
            .map_err(|source| LockError::Io { path: state_dir.to_path_buf(), source })?;
        let mut lock = Lock { held: Vec::new() };
        for key in identity.keys() {
            let path = state_dir.join(format!("{key}.lock"));
            match lock_file(&path) {
                Ok(Some(file)) => lock.held.push((path, file)),
                Ok(None) => return Err(LockError::AlreadyRunning { output: identity.output().to_path_buf() }),
                Err(source) => return Err(LockError::Io { path, source }),
            }
        }
        Ok(lock)
    }

    /// Takes the lock of a torrent's own file or folder, in canonical form: whatever the torrent, one process at a time
    /// writes there. Torrents of one process are told apart by their files.
    pub fn acquire_place(state_dir: &Path, root: &Path) -> Result<Lock, LockError> {
        use std::os::unix::ffi::OsStrExt;
        let name: String = sha256(root.as_os_str().as_bytes())[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        let path = state_dir.join(format!("{name}.place.lock"));
        match sys::create_private_folder(state_dir).and_then(|()| lock_file(&path)) {
            Ok(Some(file)) => Ok(Lock { held: vec![(path, file)] }),
            Ok(None) => Err(LockError::SamePlace { path: root.to_path_buf() }),
            Err(source) => Err(LockError::Io { path, source }),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        for (path, _) in &self.held {
            // A lock file that stays behind does no harm.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// The locked file, or `None` if somebody else has it.
fn lock_file(path: &Path) -> io::Result<Option<File>> {
    // Chosen: each turn means that an owner ended between our open and our lock; so many in a row never happen.
    for _ in 0..100 {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        if !sys::try_lock(&file)? {
            return Ok(None);
        }
        if sys::has_name(&file)? {
            return Ok(Some(file));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;

    fn identity(output: &Path) -> Identity {
        Identity::of_hashes(vec![[1; 20], [2; 20]], output)
    }

    #[test]
    fn a_second_one_is_refused_until_the_first_ends() {
        let state = tempfile::tempdir().unwrap();
        let output = tempfile::tempdir().unwrap();
        let first = Lock::acquire(state.path(), &identity(output.path())).unwrap();
        let second = Lock::acquire(state.path(), &identity(output.path()));
        assert!(matches!(second, Err(LockError::AlreadyRunning { .. })));
        drop(first);
        drop(Lock::acquire(state.path(), &identity(output.path())).unwrap());
        assert_eq!(std::fs::read_dir(state.path()).unwrap().count(), 0, "nothing stays behind");
    }

    #[test]
    fn one_hash_of_two_is_enough_to_collide() {
        let state = tempfile::tempdir().unwrap();
        let output = tempfile::tempdir().unwrap();
        let _first = Lock::acquire(state.path(), &identity(output.path())).unwrap();
        let magnet = Identity::of_hashes(vec![[2; 20]], output.path());
        assert!(matches!(Lock::acquire(state.path(), &magnet), Err(LockError::AlreadyRunning { .. })));
        let elsewhere = tempfile::tempdir().unwrap();
        assert!(Lock::acquire(state.path(), &Identity::of_hashes(vec![[2; 20]], elsewhere.path())).is_ok());
    }
}
