//! The state file while a download runs: what it says now, and how the next record gets there.
//!
//! Every record is appended at a known end; one that could not be written or synced makes the journal *stale*, and the
//! next is a head written anew, as a whole. So is a claim that is taken back. Writing goes through [`Disk`], a few calls
//! that the simulator can cut short.
//!
//! Invariants: what the file says of a piece is never more than `state.have`; before a piece is written that the file
//! claims, the claim is gone from the disk; no piece is written later than [`LEAD_NS`] after the newest time that the
//! file is known to hold.

use super::state::{CHECKSUM_BYTES, Record, State};
use crate::part::PART_FILE;
use crate::{FileStat, Identity, StorageError};
use shoal_layout::{FileIndex, Layout, PieceIndex};
use shoal_metainfo::PieceHashes;
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

/// Records, after which the head is written anew. Chosen: 26,000 records, read in milliseconds.
const MAX_RECORDS_BYTES: u64 = 1 << 20;
/// How much later than the newest synced time in the journal a piece may be written. Chosen: half the window in which
/// a file's own time is believed after a crash; the rest is for a slow write.
const LEAD_NS: i64 = super::compare::CRASH_WINDOW_NS / 2;

/// What a download's journal needs of the world: the seam at which the simulator stands.
pub trait Disk {
    /// Nanoseconds since 1970.
    fn now_ns(&self) -> i64;
    /// Writes bytes of the state file, which exists unless somebody removed it.
    fn write_state(&self, bytes: &[u8], at: u64) -> io::Result<()>;
    /// Puts the state file's bytes on the disk.
    fn sync_state(&self) -> io::Result<()>;
    /// Replaces the state file, so that after a power cut either the old or the new is there; the new once it returns.
    fn replace_state(&self, content: &[u8]) -> io::Result<()>;
    /// The files that were written since the last call: their numbers, or [`PART_FILE`].
    fn take_touched(&self) -> Vec<u32>;
    /// What a file is now.
    fn stat(&self, file: u32) -> Option<FileStat>;
    /// Puts everything written before this call on the disk.
    fn sync_data(&self) -> Result<(), StorageError>;
    /// Writes a piece again as it can be read; whether it was still right.
    fn rewrite(&self, piece: PieceIndex, expected: &PieceHashes) -> Result<bool, StorageError>;
    /// How often the choice of files was changed, and the choice; `None` if that is as often as is known.
    fn selection(&self, known: Option<u64>) -> Option<(u64, Vec<bool>)>;
}

#[derive(Debug)]
pub(super) struct Journal {
    identity: Identity,
    layout: Layout,
    state: State,
    /// Pieces that the file says are being written.
    writing: BTreeSet<u32>,
    chain: [u8; 32],
    /// Bytes of the file that are known good: a failed append is overwritten.
    end: u64,
    head_end: u64,
    /// Whether the file does not say what it should, and needs a new head.
    stale: bool,
    /// Whether it claims what was taken back.
    overclaims: bool,
    /// The selection's turn that the head tells of.
    turn: u64,
    /// The newest time that is known to be on the disk.
    synced_ns: i64,
    pub(super) max_records_bytes: u64,
}

impl Journal {
    /// Writes the first head.
    pub(super) fn create(
        disk: &impl Disk,
        identity: Identity,
        layout: Layout,
        state: State,
        turn: u64,
    ) -> io::Result<Journal> {
        let mut journal = Journal {
            identity,
            layout,
            state,
            writing: BTreeSet::new(),
            chain: [0; 32],
            end: 0,
            head_end: 0,
            stale: true,
            overclaims: false,
            turn,
            synced_ns: 0,
            max_records_bytes: MAX_RECORDS_BYTES,
        };
        journal.rewrite(disk)?;
        Ok(journal)
    }

    /// A piece will be written. If the file must be synced first, up to which time. An error forbids to write: the file
    /// claims what it should not, and cannot be told otherwise. Without a claim at stake a disk that refuses costs no
    /// more than another look after a crash.
    pub(super) fn announce(&mut self, disk: &impl Disk, piece: PieceIndex) -> io::Result<Option<i64>> {
        self.lost(piece);
        self.writing.insert(piece.0);
        if self.stale {
            return match self.rewrite(disk) {
                Err(error) if self.overclaims => Err(error),
                _ => Ok(None),
            };
        }
        let time_ns = disk.now_ns();
        let written = self.append(disk, &[Record::Writing { first: piece.0, count: 1, time_ns }]);
        let lead_ns = time_ns - self.synced_ns;
        Ok((written.is_ok() && !(0..=LEAD_NS).contains(&lead_ns)).then_some(time_ns))
    }

    /// The file was synced after a record of this time.
    pub(super) fn synced(&mut self, time_ns: i64) {
        self.synced_ns = self.synced_ns.max(time_ns);
    }

    /// What was appended may not be there: all is written anew next time.
    pub(super) fn spoiled(&mut self) {
        self.stale = true;
    }

    /// A piece is not right on disk any more.
    pub(super) fn lost(&mut self, piece: PieceIndex) {
        self.overclaims |= self.state.have.unset(piece);
        self.stale |= self.overclaims;
    }

    /// Notices a change of selection: before pieces are recorded that were written under it.
    pub(super) fn note_selection(&mut self, disk: &impl Disk) {
        if let Some((turn, wanted)) = disk.selection(Some(self.turn)) {
            self.turn = turn;
            self.state.wanted = wanted;
            self.stale = true;
        }
    }

    /// Takes over what files were before a sync; written with the next pieces.
    pub(super) fn note_files(&mut self, stats: &[(u32, Option<FileStat>)]) {
        for &(file, stat) in stats {
            match file {
                PART_FILE => self.state.part = stat,
                file => {
                    if let Some(known) = Arc::make_mut(&mut self.state.files).get_mut(file as usize) {
                        *known = stat;
                    }
                }
            }
        }
    }

    /// Claims pieces whose data is synced. If the file needs a sync for that, up to which time; if that fails, see
    /// [`Journal::spoiled`].
    pub(super) fn claim(&mut self, disk: &impl Disk, pieces: &[PieceIndex]) -> io::Result<Option<i64>> {
        for piece in pieces {
            self.state.have.set(*piece);
            self.writing.remove(&piece.0);
        }
        if self.stale || self.end - self.head_end > self.max_records_bytes {
            // A head that is written while a download runs is no clean one: its files go on changing.
            self.stale = true;
            return self.rewrite(disk).map(|()| None);
        }
        let time_ns = disk.now_ns();
        let mut files: Vec<FileIndex> = pieces.iter().flat_map(|&piece| self.layout.files_in(piece)).collect();
        files.dedup();
        let stats = files.iter().filter_map(|file| Some((file.0, self.state.files[file.as_usize()]?)));
        let stats = stats.chain(self.state.part.map(|stat| (PART_FILE, stat)));
        let mut records: Vec<Record> = stats.map(|(file, stat)| Record::File { file, stat }).collect();
        records.extend(pieces.chunk_by(|a, b| a.0 + 1 == b.0).map(|run| Record::Pieces {
            first: run[0].0,
            count: run.len() as u32,
            time_ns,
        }));
        match self.append(disk, &records) {
            // Somebody removed it: a new one claims the same.
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.rewrite(disk).map(|()| None),
            appended => appended.map(|()| Some(time_ns)),
        }
    }

    fn append(&mut self, disk: &impl Disk, records: &[Record]) -> io::Result<()> {
        let mut bytes = Vec::new();
        let mut chain = self.chain;
        for record in records {
            record.encode(&mut chain, &mut bytes);
        }
        if let Err(error) = disk.write_state(&bytes, self.end) {
            self.stale = true;
            return Err(error);
        }
        self.chain = chain;
        self.end += bytes.len() as u64;
        Ok(())
    }

    /// Writes a new head if the file says what it should not.
    pub(super) fn settle(&mut self, disk: &impl Disk) -> io::Result<()> {
        if self.stale { self.rewrite(disk) } else { Ok(()) }
    }

    /// The last head: what is noted of the files is what they are.
    pub(super) fn close(&mut self, disk: &impl Disk) -> io::Result<()> {
        self.writing.clear();
        self.state.clean = true;
        self.rewrite(disk)
    }

    fn rewrite(&mut self, disk: &impl Disk) -> io::Result<()> {
        let time_ns = disk.now_ns();
        self.state.time_ns = time_ns;
        let mut bytes = self.state.encode(&self.identity, &self.layout);
        let head_end = bytes.len() as u64;
        let mut chain: [u8; 32] = bytes[bytes.len() - CHECKSUM_BYTES..].try_into().expect("32 bytes");
        let writing: Vec<u32> = self.writing.iter().copied().collect();
        for run in writing.chunk_by(|a, b| a + 1 == *b) {
            Record::Writing { first: run[0], count: run.len() as u32, time_ns }.encode(&mut chain, &mut bytes);
        }
        disk.replace_state(&bytes)?;
        (self.chain, self.end, self.head_end, self.stale) = (chain, bytes.len() as u64, head_end, false);
        (self.overclaims, self.synced_ns) = (false, time_ns);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::state::{RECORD_BYTES, decode};
    use super::*;
    use shoal_pieces::Bitfield;
    use std::cell::RefCell;
    use std::path::Path;

    /// A state file in memory.
    #[derive(Default)]
    struct Memory(RefCell<Option<Vec<u8>>>);

    impl Disk for Memory {
        fn now_ns(&self) -> i64 {
            7
        }
        fn write_state(&self, bytes: &[u8], at: u64) -> io::Result<()> {
            let mut file = self.0.borrow_mut();
            let file = file.as_mut().ok_or(io::ErrorKind::NotFound)?;
            file.truncate(at as usize);
            file.extend(bytes);
            Ok(())
        }
        fn sync_state(&self) -> io::Result<()> {
            Ok(())
        }
        fn replace_state(&self, content: &[u8]) -> io::Result<()> {
            *self.0.borrow_mut() = Some(content.to_vec());
            Ok(())
        }
        fn take_touched(&self) -> Vec<u32> {
            Vec::new()
        }
        fn stat(&self, _: u32) -> Option<FileStat> {
            None
        }
        fn sync_data(&self) -> Result<(), StorageError> {
            Ok(())
        }
        fn rewrite(&self, _: PieceIndex, _: &PieceHashes) -> Result<bool, StorageError> {
            Ok(true)
        }
        fn selection(&self, _: Option<u64>) -> Option<(u64, Vec<bool>)> {
            None
        }
    }

    fn journal(disk: &Memory) -> (Journal, Identity, Layout) {
        let layout = Layout::contiguous(16, &[1600]).unwrap();
        let identity = Identity::of_hashes(vec![[1; 20]], Path::new("/nowhere"));
        let have = Bitfield::new(layout.pieces());
        let state = State { clean: false, time_ns: 0, have, files: vec![None].into(), part: None, wanted: vec![true] };
        (Journal::create(disk, identity.clone(), layout.clone(), state, 0).unwrap(), identity, layout)
    }

    fn says(disk: &Memory, identity: &Identity, layout: &Layout) -> (Vec<u32>, Vec<u32>) {
        let loaded = decode(disk.0.borrow().as_ref().unwrap(), identity, layout).unwrap_or_else(|e| panic!("{e}"));
        (loaded.state.have.iter_set().map(|piece| piece.0).collect(), loaded.writing.into_iter().collect())
    }

    #[test]
    fn many_records_become_a_new_head_that_says_the_same() {
        let disk = Memory::default();
        let (mut journal, identity, layout) = journal(&disk);
        journal.max_records_bytes = 400;
        for piece in (0..100).step_by(2) {
            journal.announce(&disk, PieceIndex(piece + 1)).unwrap();
            journal.claim(&disk, &[PieceIndex(piece)]).unwrap();
            let length = disk.0.borrow().as_ref().unwrap().len() as u64;
            let pending = (piece as u64 / 2 + 1) * RECORD_BYTES as u64;
            assert!(length <= journal.head_end + pending + 400 + 2 * RECORD_BYTES as u64);
            let (have, writing) = says(&disk, &identity, &layout);
            assert!(have.len() as u32 == piece / 2 + 1 && writing.len() as u32 == piece / 2 + 1);
        }
    }

    #[test]
    fn a_journal_that_was_removed_is_written_anew() {
        let disk = Memory::default();
        let (mut journal, identity, layout) = journal(&disk);
        journal.claim(&disk, &[PieceIndex(3)]).unwrap();
        *disk.0.borrow_mut() = None;
        journal.claim(&disk, &[PieceIndex(5)]).unwrap();
        assert_eq!(says(&disk, &identity, &layout).0, [3, 5]);
    }

    #[test]
    fn a_piece_that_is_written_again_is_not_claimed_meanwhile() {
        let disk = Memory::default();
        let (mut journal, identity, layout) = journal(&disk);
        journal.claim(&disk, &[PieceIndex(3), PieceIndex(4)]).unwrap();
        journal.announce(&disk, PieceIndex(3)).unwrap();
        assert_eq!(says(&disk, &identity, &layout), (vec![4], vec![3]));
        journal.claim(&disk, &[PieceIndex(3)]).unwrap();
        assert_eq!(says(&disk, &identity, &layout), (vec![3, 4], vec![]));
    }
}
