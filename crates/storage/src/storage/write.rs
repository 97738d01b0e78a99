//! From verified blocks to positioned writes: one vectored call for each run in a file, and the part file for what is shared with
//! files that are not wanted.
//!
//! Invariant: a change of selection never meets a piece half written; nothing here is synced.

use super::{Chosen, Mode, Storage};
use crate::part::PART_FILE;
use crate::sys::{self, Access};
use crate::{StorageError, hashing};
use shoal_layout::{BlockRef, FileIndex, PieceIndex};
use shoal_metainfo::PieceHashes;
use std::io::IoSlice;
use std::ops::Range;
use std::sync::PoisonError;

impl Storage {
    /// Writes verified blocks of a piece, in order of `begin`; bytes in gaps are left out. One positioned vectored
    /// write for each run in a file. Not synced: see [`Storage::sync`].
    pub fn write_piece<P: AsRef<[u8]>>(&self, piece: PieceIndex, blocks: &[(BlockRef, P)]) -> Result<(), StorageError> {
        if self.mode == Mode::ReadOnly {
            return Err(StorageError::ReadOnly { path: self.place.root().to_path_buf() });
        }
        let result = {
            // Held to the end, so that a change of selection never meets a piece half written.
            let chosen = self.chosen.read().unwrap_or_else(PoisonError::into_inner);
            let border = !chosen.all && self.layout.files_in(piece).any(|file| !chosen.selection.file(file));
            self.write_runs(piece, blocks, border, &chosen)
        };
        result.map_err(|error| match error {
            StorageError::NoSpace { path, .. } => {
                let missing = self.space().map_or(0, |space| space.needed.saturating_sub(space.available));
                StorageError::NoSpace { path, missing_bytes: missing }
            }
            other => other,
        })
    }

    fn write_runs<P: AsRef<[u8]>>(
        &self,
        piece: PieceIndex,
        blocks: &[(BlockRef, P)],
        border: bool,
        chosen: &Chosen,
    ) -> Result<(), StorageError> {
        if border {
            self.make_folder(self.place.folder())?;
            let new = !self.part.has(piece);
            let written = self.part.write(&self.files, piece, blocks);
            self.note_written(PART_FILE, new);
            written?;
        } else if self.part.has(piece) {
            let released = self.part.release(&self.files, piece);
            self.note_written(PART_FILE, false);
            released?;
        }
        let mut run: Vec<IoSlice<'_>> = Vec::with_capacity(blocks.len());
        let mut at: Option<(FileIndex, Range<u64>)> = None;
        for (block, payload) in blocks {
            let mut rest = payload.as_ref();
            debug_assert_eq!(rest.len(), block.length as usize);
            for slice in self.layout.slices(*block) {
                let (bytes, after) = rest.split_at(slice.length as usize);
                rest = after;
                let Some(file) = slice.file.filter(|&file| chosen.all || chosen.selection.file(file)) else { continue };
                match &mut at {
                    Some((same, span)) if *same == file && span.end == slice.offset => span.end += slice.length,
                    _ => {
                        if let Some((file, span)) = at.take() {
                            self.write_run(file, &run, span.start)?;
                            run.clear();
                        }
                        at = Some((file, slice.offset..slice.offset + slice.length));
                    }
                }
                run.push(IoSlice::new(bytes));
            }
        }
        match at {
            Some((file, span)) => self.write_run(file, &run, span.start),
            None => Ok(()),
        }
    }

    pub(super) fn write_run(&self, file: FileIndex, run: &[IoSlice<'_>], offset: u64) -> Result<(), StorageError> {
        let handle = self.file(file, Access::Create)?;
        self.forget_served(file.0);
        let written = sys::write_all_vectored_at(&handle, run, offset);
        // Afterwards: a sync that took the list before the write was done did not sync it.
        self.note_written(file.0, false);
        written.map_err(|error| StorageError::at(&self.path(file), error))
    }

    /// Reads a piece, and writes it again if it is still right; whether it was. After a failed sync the system may hold
    /// it in memory as if it were on the disk.
    pub(crate) fn rewrite(&self, piece: PieceIndex, expected: &PieceHashes) -> Result<bool, StorageError> {
        let mut blocks = Vec::new();
        for (_, block) in self.layout.requests(piece) {
            let mut bytes = vec![0; block.length as usize];
            if let Err(error) = self.read(block, &mut bytes) {
                tracing::warn!(%error, piece = piece.0, "a piece that could not be synced cannot be read");
                return Ok(false);
            }
            blocks.push((block, bytes));
        }
        if !hashing::piece_matches(&self.layout, piece, expected, &blocks) {
            return Ok(false);
        }
        self.write_piece(piece, &blocks).map(|()| true)
    }
}
