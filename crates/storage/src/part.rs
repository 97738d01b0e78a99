//! The part file: where bytes of files that nobody wants go, when a piece that somebody wants has some.
//!
//! It lies hidden beside the data. A header names the torrent, a table gives a slot to each piece that needs one,
//! slots follow. A slot holds its *whole* piece, wanted bytes too: so what is read from it is right whatever was
//! selected when it was written, and only pieces at the border of the selection pay for it. Not one sparse file with
//! the torrent's offsets: file systems without holes (exFAT) would fill them.
//!
//! Layout, integers little-endian: magic (8), info hash (20), piece length (4), piece count (4), a slot number per
//! piece counted from 1 (4 each, 0 is none), zeros up to a multiple of 4096, slots. A table entry that makes no sense
//! counts as none; the piece is then fetched again. Invariant: the table in memory is the one on disk.

use crate::StorageError;
use crate::open_files::{FileKey, OpenFiles};
use crate::path::{MAX_COMPONENT_BYTES, SafePath};
use crate::place::Place;
use crate::sys::{self, Access};
use shoal_layout::{BlockRef, Layout, PieceIndex};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::IoSlice;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const MAGIC: &[u8; 8] = b"SHOALPT1";
const HEADER_BYTES: u64 = 36;
/// Slots begin at a page, so that a piece touches as few pages as it can.
const ALIGNMENT: u64 = 4096;
/// The part file's number in the cache of open files; no torrent has so many files.
pub(crate) const PART_FILE: u32 = u32::MAX;

/// The name of the part file for a torrent of this (safe) name and info hash.
pub fn part_name(name: &str, hash: [u8; 20]) -> String {
    let tag: String = hash[..4].iter().map(|byte| format!("{byte:02x}")).collect();
    let mut cut = name.len().min(MAX_COMPONENT_BYTES - ".".len() - ".".len() - tag.len() - ".part".len());
    while !name.is_char_boundary(cut) {
        cut -= 1;
    }
    format!(".{}.{tag}.part", &name[..cut])
}

/// One torrent's part file, which need not exist.
#[derive(Debug)]
pub(crate) struct PartFile {
    folder: PathBuf,
    path: SafePath,
    header: Vec<u8>,
    piece_length: u64,
    pieces: u32,
    key: FileKey,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    slots: BTreeMap<u32, u32>,
    next: u32,
    /// Whether the file exists with our header.
    exists: bool,
}

impl PartFile {
    /// Reads the table if there is a part file. One that is damaged counts as empty.
    pub(crate) fn open(place: &Place, layout: &Layout, hash: [u8; 20], storage: u64) -> Result<PartFile, StorageError> {
        let mut header = MAGIC.to_vec();
        header.extend(hash);
        header.extend(layout.piece_length().to_le_bytes());
        header.extend(layout.pieces().to_le_bytes());
        let name = part_name(place.name(), hash);
        let part = PartFile {
            folder: place.folder().to_path_buf(),
            path: SafePath::exact([name]).expect("made of a safe name"),
            header,
            piece_length: u64::from(layout.piece_length()),
            pieces: layout.pieces(),
            key: FileKey { storage, file: PART_FILE },
            table: Mutex::default(),
        };
        match part.load() {
            Ok(table) => *part.lock() = table.unwrap_or_default(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(StorageError::at(&part.full_path(), error)),
        }
        Ok(part)
    }

    fn load(&self) -> std::io::Result<Option<Table>> {
        let folder = sys::open_folder(&self.folder)?;
        let file = sys::open_below(&folder, &self.path, Access::Read)?.file;
        let mut header = vec![0; self.header.len()];
        if sys::read_at(&file, &mut header, 0)? < header.len() || header != self.header {
            return Ok(None);
        }
        let mut table = Table { exists: true, ..Table::default() };
        let mut seen = BTreeSet::new();
        let mut buffer = vec![0; 64 * 1024];
        let mut piece = 0;
        while piece < self.pieces {
            let count = sys::read_at(&file, &mut buffer, HEADER_BYTES + 4 * u64::from(piece))? / 4;
            if count == 0 {
                break;
            }
            for entry in buffer[..count * 4].chunks_exact(4).take((self.pieces - piece) as usize) {
                let slot = u32::from_le_bytes(entry.try_into().expect("four bytes"));
                if slot > 0 && slot <= self.pieces && seen.insert(slot) {
                    table.slots.insert(piece, slot);
                    table.next = table.next.max(slot);
                }
                piece += 1;
            }
        }
        Ok(Some(table))
    }

    /// Where the whole file is.
    pub(crate) fn full_path(&self) -> PathBuf {
        self.path.below(&self.folder)
    }

    /// The folder and the path in it.
    pub(crate) fn entry(&self) -> (&std::path::Path, &SafePath) {
        (&self.folder, &self.path)
    }

    /// Whether a piece has a slot.
    pub(crate) fn has(&self, piece: PieceIndex) -> bool {
        self.lock().slots.contains_key(&piece.0)
    }

    /// Whether there is such a file, as far as we know.
    pub(crate) fn exists(&self) -> bool {
        self.lock().exists
    }

    /// Whether no piece has a slot.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().slots.is_empty()
    }

    /// All pieces that have a slot, in order.
    pub(crate) fn pieces(&self) -> Vec<PieceIndex> {
        self.lock().slots.keys().copied().map(PieceIndex).collect()
    }

    /// Where a piece's slot begins in the file, if it has one.
    pub(crate) fn offset(&self, piece: PieceIndex) -> Option<u64> {
        self.lock().slots.get(&piece.0).map(|&slot| self.slot_offset(slot))
    }

    fn slot_offset(&self, slot: u32) -> u64 {
        let table_end = HEADER_BYTES + 4 * u64::from(self.pieces);
        table_end.next_multiple_of(ALIGNMENT) + u64::from(slot - 1) * self.piece_length
    }

    /// Bytes that a slot takes.
    pub(crate) fn slot_bytes(&self) -> u64 {
        self.piece_length
    }

    /// The open file, for reading. Without `open_it` only if it is open already.
    pub(crate) fn file(&self, files: &OpenFiles, open_it: bool) -> Result<Option<Arc<File>>, StorageError> {
        if let Some(file) = files.get(self.key, false) {
            return Ok(Some(file));
        }
        if !open_it {
            return Ok(None);
        }
        let opened = sys::open_folder(&self.folder)
            .and_then(|folder| sys::open_below(&folder, &self.path, Access::Read))
            .map_err(|error| StorageError::at(&self.full_path(), error))?;
        Ok(Some(files.put(self.key, false, opened.file)))
    }

    /// Writes blocks into the slot of their piece, giving it one if need be.
    pub(crate) fn write<P: AsRef<[u8]>>(
        &self,
        files: &OpenFiles,
        piece: PieceIndex,
        blocks: &[(BlockRef, P)],
    ) -> Result<(), StorageError> {
        let fail = |error| StorageError::at(&self.full_path(), error);
        let file = self.writable(files)?;
        let slot = {
            let mut table = self.lock();
            match table.slots.get(&piece.0) {
                Some(&slot) => slot,
                None => {
                    let slot = table.next + 1;
                    self.write_entry(&file, piece, slot).map_err(fail)?;
                    table.next = slot;
                    table.slots.insert(piece.0, slot);
                    slot
                }
            }
        };
        let start = self.slot_offset(slot);
        let mut run: Vec<IoSlice<'_>> = Vec::with_capacity(blocks.len());
        let (mut run_start, mut run_end) = (0, 0);
        for (block, payload) in blocks {
            if block.begin != run_end {
                sys::write_all_vectored_at(&file, &run, start + u64::from(run_start)).map_err(fail)?;
                run.clear();
                run_start = block.begin;
            }
            run.push(IoSlice::new(payload.as_ref()));
            run_end = block.end();
        }
        sys::write_all_vectored_at(&file, &run, start + u64::from(run_start)).map_err(fail)
    }

    /// Takes a piece's slot away: it was written to the files themselves. Its bytes are not used again before the
    /// file is removed.
    pub(crate) fn release(&self, files: &OpenFiles, piece: PieceIndex) -> Result<(), StorageError> {
        if !self.has(piece) {
            return Ok(());
        }
        let file = self.writable(files)?;
        let mut table = self.lock();
        self.write_entry(&file, piece, 0).map_err(|error| StorageError::at(&self.full_path(), error))?;
        table.slots.remove(&piece.0);
        Ok(())
    }

    /// Removes the file.
    pub(crate) fn remove(&self, files: &OpenFiles) -> Result<(), StorageError> {
        let mut table = self.lock();
        if !table.exists {
            return Ok(());
        }
        files.forget(self.key);
        *table = Table::default();
        sys::open_folder(&self.folder)
            .and_then(|folder| sys::remove_below(&folder, &self.path))
            .map_err(|error| StorageError::at(&self.full_path(), error))
    }

    fn writable(&self, files: &OpenFiles) -> Result<Arc<File>, StorageError> {
        if let Some(file) = files.get(self.key, true) {
            return Ok(file);
        }
        let fail = |error| StorageError::at(&self.full_path(), error);
        let mut table = self.lock();
        let folder = sys::open_folder(&self.folder).map_err(fail)?;
        let file = sys::open_below(&folder, &self.path, Access::Create).map_err(fail)?.file;
        if !table.exists {
            let mut magic = [0; MAGIC.len()];
            let found = sys::read_at(&file, &mut magic, 0).map_err(fail)?;
            if found > 0 && magic != *MAGIC {
                return Err(StorageError::Foreign { path: self.full_path() });
            }
            file.set_len(0).map_err(fail)?;
            sys::write_all_vectored_at(&file, &[IoSlice::new(&self.header)], 0).map_err(fail)?;
            table.exists = true;
        }
        drop(table);
        Ok(files.put(self.key, true, file))
    }

    fn write_entry(&self, file: &File, piece: PieceIndex, slot: u32) -> std::io::Result<()> {
        let entry = slot.to_le_bytes();
        sys::write_all_vectored_at(file, &[IoSlice::new(&entry)], HEADER_BYTES + 4 * u64::from(piece.0))
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(folder: &std::path::Path) -> PartFile {
        let layout = Layout::contiguous(32, &[100]).unwrap();
        let place = Place::below(folder, vec![SafePath::exact(["name"]).unwrap()]);
        PartFile::open(&place, &layout, [0xab; 20], 1).unwrap()
    }

    fn block(piece: u32, begin: u32, length: u32) -> BlockRef {
        BlockRef { piece: PieceIndex(piece), begin, length }
    }

    #[test]
    fn slots_are_found_again_and_a_released_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let files = OpenFiles::new(4);
        let first = part(folder.path());
        first.write(&files, PieceIndex(2), &[(block(2, 0, 3), b"abc"), (block(2, 8, 3), b"def")]).unwrap();
        first.write(&files, PieceIndex(0), &[(block(0, 0, 3), b"xyz")]).unwrap();
        let again = part(folder.path());
        assert_eq!(again.pieces(), [PieceIndex(0), PieceIndex(2)]);
        let mut buffer = [0; 11];
        let file = again.file(&OpenFiles::new(1), true).unwrap().unwrap();
        sys::read_at(&file, &mut buffer, again.offset(PieceIndex(2)).unwrap()).unwrap();
        assert_eq!(&buffer, b"abc\0\0\0\0\0def");
        again.release(&OpenFiles::new(1), PieceIndex(2)).unwrap();
        assert_eq!(part(folder.path()).pieces(), [PieceIndex(0)]);
        again.remove(&files).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn damage_costs_slots_and_never_more() {
        let folder = tempfile::tempdir().unwrap();
        let files = OpenFiles::new(4);
        let first = part(folder.path());
        first.write(&files, PieceIndex(1), &[(block(1, 0, 3), b"abc")]).unwrap();
        let path = first.full_path();
        let good = std::fs::read(&path).unwrap();
        for at in 0..HEADER_BYTES as usize + 16 {
            let mut bad = good.clone();
            bad[at] ^= 0xff;
            std::fs::write(&path, &bad).unwrap();
            let damaged = part(folder.path());
            assert!(damaged.pieces().len() <= 2);
            std::fs::write(&path, &good[..at]).unwrap();
            assert!(part(folder.path()).pieces().len() <= 1);
        }
    }

    #[test]
    fn somebody_elses_file_of_that_name_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let part = part(folder.path());
        std::fs::write(part.full_path(), "precious notes").unwrap();
        let written = part.write(&OpenFiles::new(1), PieceIndex(1), &[(block(1, 0, 3), b"abc")]);
        assert!(matches!(written, Err(StorageError::Foreign { .. })));
        assert_eq!(std::fs::read(part.full_path()).unwrap(), b"precious notes");
    }

    #[test]
    fn the_longest_name_still_fits() {
        let name = part_name(&"é".repeat(127), [1; 20]);
        assert!(name.len() <= MAX_COMPONENT_BYTES && name.starts_with(".é") && name.ends_with(".01010101.part"));
    }
}
