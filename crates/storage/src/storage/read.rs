//! Reading the address space: the part file first where a piece has a slot there, then the files in their places.
//!
//! Invariant: gaps (BEP 47) are zeros; a read that meets the end of a file is an error, never zeros.

use super::Storage;
use crate::sys::{self, Access};
use crate::{FileStat, StorageError};
use shoal_layout::{BlockRef, FileIndex, PieceIndex};
use std::ops::Range;

impl Storage {
    /// Reads a block; gaps are zeros. Panics if `buffer` has not the block's length.
    pub fn read(&self, block: BlockRef, buffer: &mut [u8]) -> Result<(), StorageError> {
        assert_eq!(buffer.len(), block.length as usize, "a buffer for the block");
        let start = self.layout.piece_start(block.piece) + u64::from(block.begin);
        self.read_span(start, buffer)
    }

    /// Reads a block for an upload if that needs no disk: whether `buffer` is filled now, from files that have not changed
    /// ([`Storage::read_served`]). Neither opens a file nor waits for a disk, so it may be called from a task. Panics if `buffer` has not the block's length.
    pub fn read_cached(&self, block: BlockRef, buffer: &mut [u8]) -> bool {
        assert_eq!(buffer.len(), block.length as usize, "a buffer for the block");
        let mut rest = buffer;
        for slice in self.layout.slices(block) {
            let (here, after) = rest.split_at_mut(slice.length as usize);
            rest = after;
            let Some(file) = slice.file else {
                here.fill(0);
                continue;
            };
            // Where to look for what is in the part file may need the disk.
            let read = !self.part.has(block.piece)
                && self.files.get(self.key(file), false).is_some_and(|handle| {
                    sys::read_cached_at(&handle, here, slice.offset)
                        && handle.metadata().is_ok_and(|now| self.vouches(block.piece, file, FileStat::of(&now)))
                });
            if !read {
                return false;
            }
        }
        true
    }

    /// Reads a run of the address space; gaps are zeros.
    pub(crate) fn read_span(&self, start: u64, buffer: &mut [u8]) -> Result<(), StorageError> {
        let mut rest = buffer;
        let mut at = start;
        let slots = !self.part.is_empty();
        let piece_length = u64::from(self.layout.piece_length());
        for slice in self.layout.slices_of(start..start + rest.len() as u64) {
            let (mut here, after) = rest.split_at_mut(slice.length as usize);
            rest = after;
            let Some(file) = slice.file else {
                here.fill(0);
                at += slice.length;
                continue;
            };
            let mut offset = slice.offset;
            while !here.is_empty() {
                // Slots are per piece; without any, a whole slice is one read.
                let length = match slots {
                    true => (piece_length - at % piece_length).min(here.len() as u64),
                    false => here.len() as u64,
                };
                let (now, later) = here.split_at_mut(length as usize);
                here = later;
                match slots.then(|| self.slot_at(file, at, offset..offset + length)).flatten() {
                    Some(slot) => self.read_slot(slot, now)?,
                    None => self.read_file(file, offset, now)?,
                }
                at += length;
                offset += length;
            }
        }
        Ok(())
    }

    pub(super) fn read_slot(&self, offset: u64, buffer: &mut [u8]) -> Result<(), StorageError> {
        let handle = self.part.file(&self.files, true)?.expect("opened or an error");
        let count =
            sys::read_at(&handle, buffer, offset).map_err(|error| StorageError::at(&self.part.full_path(), error))?;
        // The end of a slot may lie beyond the end of the file: nothing was written there.
        buffer[count..].fill(0);
        Ok(())
    }

    fn read_file(&self, file: FileIndex, offset: u64, buffer: &mut [u8]) -> Result<(), StorageError> {
        let handle = self.file(file, Access::Read)?;
        let count = sys::read_at(&handle, buffer, offset).map_err(|error| StorageError::at(&self.path(file), error))?;
        if count < buffer.len() {
            return Err(self.short(file, offset + count as u64));
        }
        Ok(())
    }

    pub(crate) fn short(&self, file: FileIndex, length: u64) -> StorageError {
        StorageError::Short { path: self.path(file), length, expected: self.layout.file_length(file) }
    }

    /// Where a run of a file, inside one piece, is read from the part file: if the piece has a slot, and the file is
    /// not selected or lacks the run (it was not selected when the slot was written).
    fn slot_at(&self, file: FileIndex, at: u64, span: Range<u64>) -> Option<u64> {
        let length = u64::from(self.layout.piece_length());
        let slot = self.part.offset(PieceIndex((at / length) as u32))? + at % length;
        (!self.wants(file) || self.lacks(file, span)).then_some(slot)
    }

    /// Whether a run is not in a file's place: there is no file, it ends before, or the run is a hole.
    pub(super) fn lacks(&self, file: FileIndex, span: Range<u64>) -> bool {
        match self.file(file, Access::Read) {
            Ok(handle) => {
                handle.metadata().is_ok_and(|metadata| metadata.len() < span.end)
                    || sys::next_data(&handle, span.start).is_ok_and(|data| data.is_none_or(|data| data >= span.end))
            }
            Err(error) => matches!(error, StorageError::Missing { .. }),
        }
    }
}
