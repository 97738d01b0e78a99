//! How fast what lies below a path can be read, and nothing else done with it: the bound for all checking.
//!
//! A file that the system has in memory says nothing of the disk, so each is first dropped from it where the system takes
//! that advice (it does not for files in memory, or while they are being written). One reader, from the first byte of a
//! file to its last, as a copy to nowhere would do it.

use crate::sys;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Bytes of a read. Chosen: eight times a device's read-ahead.
const READ_BYTES: usize = 1 << 20;
/// Files below the path that are looked at. Chosen: enough for any measurement.
const MOST_FILES: usize = 100_000;

/// What was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// Bytes.
    pub bytes: u64,
    /// How long that took, opening counted.
    pub took: Duration,
    /// Whether every file came from the disk, as far as the system can say.
    pub was_cold: bool,
}

/// Reads at most `most` bytes of the file, or of the files of the folder, that is called `path`. Symlinks in a folder are not
/// followed. The error names the file.
pub fn read_rate(path: &Path, most: u64) -> Result<Probe, (PathBuf, io::Error)> {
    let mut buffer = vec![0; READ_BYTES];
    let (mut left, mut files, mut was_cold) = (most, 0, true);
    let mut took = Duration::ZERO;
    let mut to_do = vec![path.to_path_buf()];
    while let Some(path) = to_do.pop()
        && left > 0
        && files < MOST_FILES
    {
        let named = |error| (path.clone(), error);
        let metadata = if files == 0 { path.metadata() } else { path.symlink_metadata() }.map_err(named)?;
        if metadata.is_dir() {
            let mut entries = Vec::new();
            for entry in std::fs::read_dir(&path).map_err(named)?.take(MOST_FILES - to_do.len().min(MOST_FILES)) {
                entries.push(entry.map_err(named)?.path());
            }
            // The last is taken first.
            entries.sort_unstable_by(|a, b| b.cmp(a));
            to_do.extend(entries);
            continue;
        }
        if !metadata.is_file() || metadata.len() == 0 {
            continue;
        }
        files += 1;
        let file = File::open(&path).map_err(named)?;
        sys::drop_cached(&file);
        was_cold &= sys::is_cached_at(&file, 0) == Some(false);
        drop(file);
        let began = Instant::now();
        let file = File::open(&path).map_err(named)?;
        let mut at = 0;
        while left > 0 {
            let want = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            match sys::read_at(&file, &mut buffer[..want], at).map_err(named)? {
                0 => break,
                count => {
                    at += count as u64;
                    left -= count as u64;
                }
            }
        }
        took += began.elapsed();
    }
    let bytes = most - left;
    Ok(Probe { bytes, took, was_cold: was_cold && bytes > 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_below_a_path_is_read_once_and_no_more_than_asked() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("d")).unwrap();
        std::fs::write(root.path().join("d/a"), vec![1; 3_000_000]).unwrap();
        std::fs::write(root.path().join("b"), vec![2; 500]).unwrap();
        std::fs::write(root.path().join("empty"), "").unwrap();
        // Would be read twice, or for ever, if it were followed.
        std::os::unix::fs::symlink(root.path(), root.path().join("loop")).unwrap();
        let bytes = |path: &Path, most| read_rate(path, most).unwrap().bytes;
        assert_eq!(bytes(root.path(), u64::MAX), 3_000_500);
        assert_eq!(bytes(root.path(), 1_500_000), 1_500_000);
        assert_eq!(bytes(&root.path().join("d/a"), u64::MAX), 3_000_000);
        assert_eq!(bytes(&root.path().join("empty"), u64::MAX), 0);
        let (named, _) = read_rate(&root.path().join("gone"), 1).unwrap_err();
        assert!(named.ends_with("gone"));
    }
}
