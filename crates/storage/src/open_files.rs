//! A bounded number of open files for a whole process.
//!
//! A seed of thousands of torrents, or a torrent of thousands of files, must fit into the descriptors that a system
//! gives (reliability.md F13, L1). So storages keep no handle of their own: they borrow from this cache, which closes
//! what was used longest ago. A borrowed handle stays open until it is given back, so descriptors = cache + threads.

use crate::sys;
use std::fs::File;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Chosen: enough for a few files a peer; a miss costs two opens.
const MOST: usize = 128;
/// Chosen: with fewer the files of one piece of small files push each other out.
const FEWEST: usize = 8;

/// The cache. Share one among all storages of a process.
#[derive(Debug)]
pub struct OpenFiles {
    limit: usize,
    clock: AtomicU64,
    // A plain list: at this length looking through it is cheaper than any map.
    entries: Mutex<Vec<Entry>>,
}

#[derive(Debug)]
struct Entry {
    key: FileKey,
    writable: bool,
    used: u64,
    file: Arc<File>,
}

/// A storage's number and a file's within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileKey {
    pub(crate) storage: u64,
    pub(crate) file: u32,
}

impl OpenFiles {
    /// A cache of at most `limit` handles; at least 1.
    pub fn new(limit: usize) -> Arc<OpenFiles> {
        Arc::new(OpenFiles { limit: limit.max(1), clock: AtomicU64::new(0), entries: Mutex::new(Vec::new()) })
    }

    /// A cache that suits this process: a quarter of the descriptors that it may have, 128 at most.
    pub fn for_this_process() -> Arc<OpenFiles> {
        let quarter = usize::try_from(sys::descriptor_limit() / 4).unwrap_or(MOST);
        OpenFiles::new(quarter.clamp(FEWEST, MOST))
    }

    /// How many handles are kept, at most.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// A handle that is open already and allows what is wanted.
    pub(crate) fn get(&self, key: FileKey, write: bool) -> Option<Arc<File>> {
        let used = self.clock.fetch_add(1, Ordering::Relaxed);
        let mut entries = self.lock();
        let entry = entries.iter_mut().find(|entry| entry.key == key && (entry.writable || !write))?;
        entry.used = used;
        Some(Arc::clone(&entry.file))
    }

    /// Keeps a handle, in place of the one of the same file, or of the one used longest ago if there is no room.
    pub(crate) fn put(&self, key: FileKey, writable: bool, file: File) -> Arc<File> {
        let file = Arc::new(file);
        let entry = Entry { key, writable, used: self.clock.fetch_add(1, Ordering::Relaxed), file: Arc::clone(&file) };
        let mut entries = self.lock();
        let same = entries.iter().position(|entry| entry.key == key);
        let place = same.or_else(|| {
            let full = entries.len() >= self.limit;
            full.then(|| entries.iter().enumerate().min_by_key(|(_, entry)| entry.used).map(|(place, _)| place))?
        });
        let closed = match place {
            Some(place) => Some(std::mem::replace(&mut entries[place], entry)),
            None => {
                entries.push(entry);
                None
            }
        };
        // Closing can wait for the disk: not under the lock.
        drop(entries);
        drop(closed);
        file
    }

    /// Closes one file.
    pub(crate) fn forget(&self, key: FileKey) {
        let closed: Vec<Entry> = self.lock().extract_if(.., |entry| entry.key == key).collect();
        drop(closed);
    }

    /// Closes all files of a storage.
    pub(crate) fn forget_all(&self, storage: u64) {
        let closed: Vec<Entry> = self.lock().extract_if(.., |entry| entry.key.storage == storage).collect();
        drop(closed);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        // No code under this lock can leave the list half changed.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(file: u32) -> FileKey {
        FileKey { storage: 1, file }
    }

    #[test]
    fn the_file_used_longest_ago_is_closed() {
        let cache = OpenFiles::new(2);
        cache.put(key(0), false, tempfile::tempfile().unwrap());
        cache.put(key(1), false, tempfile::tempfile().unwrap());
        assert!(cache.get(key(0), false).is_some());
        cache.put(key(2), true, tempfile::tempfile().unwrap());
        assert!(cache.get(key(1), false).is_none());
        assert!(cache.get(key(0), false).is_some() && cache.get(key(2), false).is_some());
    }

    #[test]
    fn a_handle_for_reading_is_not_given_for_writing() {
        let cache = OpenFiles::new(2);
        cache.put(key(0), false, tempfile::tempfile().unwrap());
        assert!(cache.get(key(0), true).is_none());
        cache.put(key(0), true, tempfile::tempfile().unwrap());
        assert!(cache.get(key(0), true).is_some() && cache.get(key(0), false).is_some());
        cache.forget_all(1);
        assert!(cache.get(key(0), false).is_none());
    }
}
