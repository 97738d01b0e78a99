//! What was written and is not on the disk yet, and putting it there.
//!
//! Invariant: what [`Storage::sync`] took and could not sync is taken again, unless it is gone; a new file's folders are synced
//! with it.

use super::Storage;
use crate::StorageError;
use crate::part::PART_FILE;
use crate::path::SafePath;
use crate::sys::{self, Access};
use shoal_layout::FileIndex;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

/// What a sync has to do.
#[derive(Debug, Default)]
pub(super) struct Unsynced {
    files: BTreeSet<u32>,
    new: BTreeSet<u32>,
    /// Written since the journal last looked.
    touched: BTreeSet<u32>,
}

impl Storage {
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

    pub(crate) fn note_written(&self, file: u32, new: bool) {
        let mut unsynced = self.unsynced.lock().unwrap_or_else(PoisonError::into_inner);
        unsynced.files.insert(file);
        unsynced.touched.insert(file);
        if new {
            unsynced.new.insert(file);
        }
    }
}
