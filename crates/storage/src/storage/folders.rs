//! Looking at many files one after the other without opening their folder for each.

use super::Storage;
use crate::path::SafePath;
use crate::{FileStat, StorageError, sys};
use rustix::io::Errno;
use shoal_layout::FileIndex;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

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
    pub(super) fn stored(&mut self, file: FileIndex) -> Option<u64> {
        let (folder, path) = self.entry(file).ok()??;
        sys::stat_below(folder, path).ok()?.map(|(_, stored)| stored)
    }
}
