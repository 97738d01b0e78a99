//! What stands before the first write: other people's files, room, and a change of selection.
//!
//! Invariant: a file that was there before and holds nothing of the torrent is not touched, unless the user said so.

use super::{Chosen, Folders, Mode, Space, Storage};
use crate::sys::{self, Access};
use crate::{Resumed, StorageError};
use shoal_layout::{BlockRef, FileIndex, PieceIndex, Selection};
use shoal_pieces::Bitfield;
use std::io::IoSlice;
use std::ops::Range;
use std::path::Path;
use std::sync::PoisonError;

impl Storage {
    /// Call before the first write, after checking or resuming. Refuses a selected file that exists and holds no valid
    /// piece ([`StorageError::Foreign`]) or is longer than the torrent says ([`StorageError::Long`]: it is not cut,
    /// since what follows may be the user's) — with `overwrite` both are taken over —, what is no file at all, and a
    /// disk that is too full ([`StorageError::NoSpace`]). Then what the part file has for files that were not selected
    /// in an earlier run moves to them. Cost: a stat per file.
    pub fn prepare(&self, have: &Bitfield, resumed: &Resumed, overwrite: bool) -> Result<(), StorageError> {
        let wanted = (0..self.layout.files()).map(FileIndex).filter(|&file| self.wants(file));
        self.admit(wanted, have, |file| resumed.is_ours(file), overwrite)?;
        self.ensure_space()?;
        // The same question as reading asks: so what was checked is what moves.
        let slots = self.part.pieces();
        self.export(slots.iter().copied().filter(|&piece| have.get(piece)), |file, span| {
            self.wants(file) && self.lacks(file, span)
        })
    }

    /// Refuses other people's files.
    fn admit(
        &self,
        files: impl Iterator<Item = FileIndex>,
        have: &Bitfield,
        ours: impl Fn(FileIndex) -> bool,
        overwrite: bool,
    ) -> Result<(), StorageError> {
        let mut folders = Folders::new(self);
        for file in files {
            let Some(stat) = folders.stat(file)? else { continue };
            let length = self.layout.file_length(file);
            let path = || self.path(file);
            if stat.size > length {
                if !overwrite {
                    return Err(StorageError::Long { path: path(), length: stat.size, expected: length });
                }
                let handle = self.file(file, Access::Write)?;
                self.note_written(file.0, false);
                handle.set_len(length).map_err(|error| StorageError::at(&path(), error))?;
            }
            let valid = || self.layout.pieces_of(file).any(|piece| have.get(PieceIndex(piece)));
            if !overwrite && !ours(file) && stat.size > 0 && length > 0 && !valid() {
                return Err(StorageError::Foreign { path: path() });
            }
        }
        Ok(())
    }

    fn ensure_space(&self) -> Result<(), StorageError> {
        let space = self.space()?;
        if space.needed > space.available {
            let missing_bytes = space.needed - space.available;
            return Err(StorageError::NoSpace { path: self.place.root().to_path_buf(), missing_bytes });
        }
        Ok(())
    }

    /// What the rest of the selected files takes, and what is free. Cost: a stat per file.
    pub fn space(&self) -> Result<Space, StorageError> {
        let mut folders = Folders::new(self);
        let mut needed = 0_u64;
        for file in (0..self.layout.files()).map(FileIndex).filter(|&file| self.wants(file)) {
            let stored = folders.stored(file).unwrap_or(0);
            needed = needed.saturating_add(self.layout.file_length(file).saturating_sub(stored));
        }
        if !self.wants_all() {
            for piece in (0..self.layout.pieces()).map(PieceIndex) {
                let (mut wanted, mut unwanted) = (false, false);
                for file in self.layout.files_in(piece) {
                    *(if self.wants(file) { &mut wanted } else { &mut unwanted }) = true;
                }
                if wanted && unwanted && !self.part.has(piece) {
                    needed = needed.saturating_add(self.part.slot_bytes());
                }
            }
        }
        let folder = self.place.folder();
        let there = folder.ancestors().find(|folder| *folder == Path::new("") || folder.exists());
        let there = there.filter(|there| *there != Path::new("")).unwrap_or(Path::new("."));
        let available = sys::free_bytes(there).map_err(|error| StorageError::at(there, error))?;
        Ok(Space { needed, available })
    }

    /// Chooses other files while the download runs. What the part file has of those now selected moves to them; what
    /// lies in the places of those not selected any more stays and is still read. Newly selected files are refused as
    /// by [`Storage::prepare`], and nothing is changed then.
    pub fn select(&self, selection: Selection, have: &Bitfield, overwrite: bool) -> Result<(), StorageError> {
        let mut chosen = self.chosen.write().unwrap_or_else(PoisonError::into_inner);
        let fresh = |file: FileIndex| selection.file(file) && !chosen.selection.file(file);
        if self.mode == Mode::ReadWrite {
            let files = (0..self.layout.files()).map(FileIndex).filter(|&file| fresh(file));
            self.admit(files, have, |_| false, overwrite)?;
            self.export(self.part.pieces().into_iter(), |file, _| fresh(file))?;
        }
        *chosen = Chosen { all: selection.is_all(), turn: chosen.turn + 1, selection };
        Ok(())
    }

    /// How often the selection was changed.
    pub(crate) fn selection_turn(&self) -> u64 {
        self.chosen.read().unwrap_or_else(PoisonError::into_inner).turn
    }

    /// Writes what slots have of files to their places, where `needed` says so.
    fn export(
        &self,
        pieces: impl Iterator<Item = PieceIndex>,
        needed: impl Fn(FileIndex, Range<u64>) -> bool,
    ) -> Result<(), StorageError> {
        let mut buffer = Vec::new();
        let mut exported = Vec::new();
        for piece in pieces {
            let Some(slot) = self.part.offset(piece) else { continue };
            let whole = BlockRef { piece, begin: 0, length: self.layout.piece_size(piece) };
            let mut begin = 0;
            for slice in self.layout.slices(whole) {
                let from = slot + begin;
                begin += slice.length;
                let span = slice.offset..slice.offset + slice.length;
                if let Some(file) = slice.file.filter(|&file| needed(file, span.clone())) {
                    exported.push((file, span, from));
                }
            }
        }
        // First all questions, then all answers: writing the end of a file would make holes of what it lacks before.
        for (file, span, from) in exported {
            let length = span.end - span.start;
            let mut done = 0;
            while done < length {
                // Chosen: as large as a read for hashing may be.
                buffer.resize((length - done).min(1 << 20) as usize, 0);
                self.read_slot(from + done, &mut buffer)?;
                self.write_run(file, &[IoSlice::new(&buffer)], span.start + done)?;
                done += buffer.len() as u64;
            }
        }
        Ok(())
    }
}
