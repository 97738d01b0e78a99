//! Files that change under a seed (reliability.md F7): nothing of a changed file is served unverified.
//!
//! What a file was when its pieces were found right is noted. After each read for an upload the file is looked at again: a
//! write moves its time before its bytes can be read, so what was read from a file that is as noted was right. Of a file
//! that is not, each piece is hashed once before its first upload, and its other blocks are believed for as long as the
//! file stays as it was then. A download that still writes to a file itself cannot tell its own writes from others'; it
//! compares again once the file is complete.
//!
//! Invariant: `right` holds pieces that were hashed while the file was as noted. What is written through a memory mapping
//! that was made before moves no time, and is not noticed.

use super::Storage;
use crate::{FileStat, FileStats, StorageError, hashing};
use shoal_layout::{BlockRef, FileIndex, PieceIndex};
use shoal_metainfo::PieceHashes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};

/// How often a piece is read that changes while it is read. Chosen: who writes that often will go on.
const TRIES: usize = 3;

/// What is known of the content of files that are not being written by us.
#[derive(Debug, Default)]
pub(super) struct Served {
    /// What each was when all that we have of it was right; none for one that we write.
    files: FileStats,
    /// Of those that have changed since: what they are, and what of them was looked at.
    changed: BTreeMap<u32, Changed>,
}

#[derive(Debug)]
struct Changed {
    stat: FileStat,
    /// Pieces that were right then.
    right: BTreeSet<u32>,
}

impl Served {
    fn noted(&self, file: u32) -> Option<FileStat> {
        self.files.get(file as usize).copied().flatten()
    }
}

impl Storage {
    /// Notes what the files were when it was found out, or before, which pieces are right.
    pub fn note_served(&self, files: FileStats) {
        *self.served.write().unwrap_or_else(PoisonError::into_inner) = Served { files, changed: BTreeMap::new() };
    }

    /// A download writes to a file: from now on it is not compared.
    pub(super) fn forget_served(&self, file: u32) {
        let known = self.served.read().unwrap_or_else(PoisonError::into_inner).noted(file).is_some();
        if known {
            let mut served = self.served.write().unwrap_or_else(PoisonError::into_inner);
            served.changed.remove(&file);
            Arc::make_mut(&mut served.files)[file as usize] = None;
        }
    }

    /// A download is complete: its files are compared from now on.
    pub(crate) fn settle_served(&self) {
        self.note_served(self.stats().0.into());
    }

    /// Whether bytes of a piece that were just read from a file, which is this now, were right.
    pub(super) fn vouches(&self, piece: PieceIndex, file: FileIndex, now: FileStat) -> bool {
        let served = self.served.read().unwrap_or_else(PoisonError::into_inner);
        match served.changed.get(&file.0) {
            Some(changed) => changed.stat == now && changed.right.contains(&piece.0),
            None => served.noted(file.0).is_none_or(|noted| noted == now),
        }
    }

    /// Reads a block for an upload. If a file of its piece changed, the whole piece is read and hashed first;
    /// [`StorageError::Changed`] if it is not right any more. Panics if `buffer` has not the block's length.
    pub fn read_served(
        &self,
        block: BlockRef,
        buffer: &mut [u8],
        expected: Option<&PieceHashes>,
    ) -> Result<(), StorageError> {
        let piece = block.piece;
        for _ in 0..TRIES {
            self.read(block, buffer)?;
            let before = self.stats_of(piece)?;
            if before.iter().all(|&(file, stat)| self.vouches(piece, file, stat)) {
                return Ok(());
            }
            let mut blocks = Vec::new();
            for (_, whole) in self.layout.requests(piece) {
                let mut bytes = vec![0; whole.length as usize];
                self.read(whole, &mut bytes)?;
                blocks.push((whole, bytes));
            }
            if self.stats_of(piece)? != before {
                continue;
            }
            if !expected.is_some_and(|hashes| hashing::piece_matches(&self.layout, piece, hashes, &blocks)) {
                break;
            }
            self.vouch(piece, &before);
        }
        let path = self.layout.files_in(piece).next().map_or_else(|| self.place.root().into(), |file| self.path(file));
        Err(StorageError::Changed { path })
    }

    fn vouch(&self, piece: PieceIndex, stats: &[(FileIndex, FileStat)]) {
        let served = &mut *self.served.write().unwrap_or_else(PoisonError::into_inner);
        for &(file, stat) in stats {
            // A file without a note is one that we write, and one that is as noted has nothing to add.
            let Some(noted) = served.noted(file.0) else { continue };
            if noted == stat && !served.changed.contains_key(&file.0) {
                continue;
            }
            let changed = served.changed.entry(file.0).or_insert_with(|| Changed { stat, right: BTreeSet::new() });
            if changed.stat != stat {
                *changed = Changed { stat, right: BTreeSet::new() };
            }
            changed.right.insert(piece.0);
        }
    }

    /// What the files of a piece are, as they are read: open ones by their handle.
    fn stats_of(&self, piece: PieceIndex) -> Result<Vec<(FileIndex, FileStat)>, StorageError> {
        if self.part.has(piece) {
            // Nobody but us knows the part file; its slots are checked at a start.
            return Ok(Vec::new());
        }
        let files = self.layout.files_in(piece).filter(|&file| self.layout.file_length(file) > 0);
        files
            .map(|file| {
                let handle = self.file(file, crate::sys::Access::Read)?;
                let metadata = handle.metadata().map_err(|error| StorageError::at(&self.path(file), error))?;
                Ok((file, FileStat::of(&metadata)))
            })
            .collect()
    }
}
