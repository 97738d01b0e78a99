//! What can go wrong with a file, by name.
//!
//! One enum for all payload files, since callers ask the same questions of each: is it gone
//! ([`StorageError::is_lost`]), is room missing ([`StorageError::NoSpace`]), or is it a passing fault. A message names
//! the path and what to do next.

use std::io;
use std::path::{Path, PathBuf};

/// Why a file of a torrent could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// There is no such file.
    #[error("{} is missing", .path.display())]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// The file ends before the bytes that were asked for.
    #[error("{} is too short: {length} bytes, not {expected}", .path.display())]
    Short {
        /// The file.
        path: PathBuf,
        /// Bytes in it.
        length: u64,
        /// Bytes that the torrent says.
        expected: u64,
    },
    /// The file is longer than the torrent says; writing would keep bytes that do not belong to it.
    #[error("{} is longer than the torrent says: {length} bytes, not {expected}; move it away or use --overwrite", .path.display())]
    Long {
        /// The file.
        path: PathBuf,
        /// Bytes in it.
        length: u64,
        /// Bytes that the torrent says.
        expected: u64,
    },
    /// A file with this name exists and holds nothing of the torrent.
    #[error("{} exists and is another file; move it away, choose another --output or use --overwrite", .path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A symlink stands where a file or folder of the torrent should be. It is never followed.
    #[error("{} is a symlink, or a folder above it is; it is not followed: remove it or choose another --output", .path.display())]
    Link {
        /// The file, or what stands for it.
        path: PathBuf,
    },
    /// Something stands in the file's place that is no regular file, or a file where a folder should be.
    #[error("{} cannot be used: there is something that is no regular file, or a file where a folder should be", .path.display())]
    NotAFile {
        /// The file's place.
        path: PathBuf,
    },
    /// The file changed while it was read.
    #[error("{} changed while it was read; try again when nothing writes to it", .path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// The file system is full, or will be before all is written.
    #[error("cannot write {}: disk full{}; free space or choose --output", .path.display(), Missing(*.missing_bytes))]
    NoSpace {
        /// The file or folder.
        path: PathBuf,
        /// How many bytes are missing; 0 if the file system did not say.
        missing_bytes: u64,
    },
    /// Writing was asked of files that are open for reading only.
    #[error("{} is open for reading only", .path.display())]
    ReadOnly {
        /// The file.
        path: PathBuf,
    },
    /// The caller raised the cancel flag.
    #[error("cancelled")]
    Cancelled,
    /// Anything else that the system said.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl StorageError {
    /// Whether the bytes that were asked for are not there any more, so that the piece should be checked again.
    pub fn is_lost(&self) -> bool {
        matches!(
            self,
            StorageError::Missing { .. }
                | StorageError::Short { .. }
                | StorageError::Link { .. }
                | StorageError::NotAFile { .. }
                | StorageError::Changed { .. }
        )
    }

    /// The kind that belongs to a system error at a path.
    pub(crate) fn at(path: &Path, source: io::Error) -> StorageError {
        use rustix::io::Errno;
        let path = path.to_path_buf();
        match Errno::from_io_error(&source) {
            Some(Errno::NOENT) => StorageError::Missing { path },
            Some(Errno::LOOP) => StorageError::Link { path },
            Some(Errno::NOTDIR | Errno::ISDIR | Errno::NXIO | Errno::NODEV) => StorageError::NotAFile { path },
            Some(Errno::NOSPC | Errno::DQUOT) => StorageError::NoSpace { path, missing_bytes: 0 },
            _ => StorageError::Io { path, source },
        }
    }
}

/// How much room is missing, if that is known.
struct Missing(u64);

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        if self.0 == 0 {
            return Ok(());
        }
        if self.0 < 1024 {
            return write!(f, " (needs {} bytes more)", self.0);
        }
        let mut value = self.0 as f64 / 1024.0;
        let mut unit = 0;
        while value >= 1024.0 && unit + 1 < UNITS.len() {
            value /= 1024.0;
            unit += 1;
        }
        write!(f, " (needs {value:.1} {} more)", UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_says_what_is_missing_and_what_to_do() {
        let error = StorageError::NoSpace { path: "a.iso".into(), missing_bytes: 1_288_490_189 };
        assert_eq!(
            error.to_string(),
            "cannot write a.iso: disk full (needs 1.2 GiB more); free space or choose --output"
        );
        let unknown = StorageError::NoSpace { path: "a.iso".into(), missing_bytes: 0 };
        assert_eq!(unknown.to_string(), "cannot write a.iso: disk full; free space or choose --output");
    }
}
