//! What is right on disk, remembered from one run to the next.
//!
//! One file per download in the state folder: a head with every file's size, time and number and the pieces that are
//! right, then records that are appended while the download runs. The head is replaced as a whole (write, sync,
//! rename, sync the folder), records only follow it; each carries a checksum over the head's and all before it, so
//! that a torn tail or a tail of an older head ends the reading and nothing else. What the file cannot vouch for is
//! hashed again, never more.
//!
//! After a clean stop a file counts if size, time (ns) and number are exactly what was noted. After a kill the time of
//! a file that was being written has moved on: it counts if it has the same number and was last written within
//! [`CRASH_WINDOW_NS`] of its last record. Pieces that are claimed were synced before and are never written to again,
//! so a kill cannot make them wrong. [`Order`](crate::order) decides when what is synced and appended.
//!
//! The file is opened for each batch and closed again: a process may have thousands of torrents, most of which never
//! write.
//!
//! Invariants: no damaged state is an error, at worst everything is checked; `have` is a subset of what is right on
//! disk, unless somebody else wrote to a file in the moment of a kill.

mod state;

use self::state::{CHECKSUM_BYTES, FILE, Loaded, PIECES, RECORD_BYTES, State, decode, link, set_all};
use crate::identity::read_bounded;
use crate::order::{Effect, Event, Order};
use crate::part::PART_FILE;
use crate::{Identity, Mode, Storage, StorageError, sys};
use shoal_layout::{FileIndex, Layout, PieceIndex};
use shoal_machine::{Effects, Machine, Time};
use shoal_pieces::Bitfield;
use std::fs::{File, Metadata};
use std::io::{self, IoSlice};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Records, after which the head is written anew. Chosen: 26,000 records, read in milliseconds.
const MAX_RECORDS_BYTES: u64 = 1 << 20;
/// How far the time of a file that was being written may be from its last record after a kill. Chosen: a batch is a
/// second, and a slow disk may take some more to sync it; a power cut may also bring back an older time.
pub const CRASH_WINDOW_NS: i64 = 5_000_000_000;

/// What tells whether a file is the one that was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStat {
    /// Bytes.
    pub size: u64,
    /// Nanoseconds since 1970.
    pub modified_ns: i64,
    /// The file's number in its file system.
    pub inode: u64,
}

impl FileStat {
    pub(crate) fn of(metadata: &Metadata) -> FileStat {
        let modified_ns = metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec());
        FileStat { size: metadata.len(), modified_ns, inode: metadata.ino() }
    }
}

/// Why resume state could not be kept. The download can go on without.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    /// The journal could not be written. Its pieces are tried again with the next batch.
    #[error("cannot write resume state {}: {source}", .path.display())]
    Journal {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The data could not be synced: these pieces must be counted as not written, and fetched or written again.
    #[error("cannot sync: {source}; {} pieces count as not written", .pieces.len())]
    Data {
        /// Which.
        pieces: Vec<PieceIndex>,
        /// Why.
        source: StorageError,
    },
}

/// What the last run left.
#[derive(Debug, Clone)]
pub struct Resumed {
    /// Pieces that are right without reading.
    pub have: Bitfield,
    /// Pieces that must be hashed before they count; none of `have`.
    pub check: Bitfield,
    /// Why the journal was not used: one line for the user. Not set where there simply is none.
    pub problem: Option<String>,
    known: Option<Vec<Option<FileStat>>>,
    /// The files and the part file as they were before anything was checked.
    stats: (Vec<Option<FileStat>>, Option<FileStat>),
}

/// What the last run knew of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// There was no last run.
    Unknown,
    /// There was no such file when it began: what is there now it has written.
    Absent,
    /// It was this one.
    Seen(FileStat),
}

impl Resumed {
    /// No last run: everything that is there must be checked. `check` has the pieces of files that exist.
    pub fn nothing(storage: &Storage) -> Resumed {
        let (files, part) = storage.stats();
        let layout = storage.layout();
        let mut check = Bitfield::new(layout.pieces());
        for (file, stat) in files.iter().enumerate() {
            if stat.is_some() {
                set_all(&mut check, layout.pieces_of(FileIndex(file as u32)));
            }
        }
        for piece in storage.part().pieces() {
            check.set(piece);
        }
        let stats = (files, part);
        Resumed { have: Bitfield::new(layout.pieces()), check, problem: None, known: None, stats }
    }

    pub(crate) fn known(&self, file: FileIndex) -> Known {
        match self.known.as_ref().and_then(|known| known.get(file.as_usize())) {
            None => Known::Unknown,
            Some(None) => Known::Absent,
            Some(Some(stat)) => Known::Seen(*stat),
        }
    }
}

/// The journal of one download. All calls but [`Resume::stop`] may come from several threads.
#[derive(Debug)]
pub struct Resume {
    order: Mutex<(Order, Effects<Effect>)>,
    journal: Mutex<Journal>,
}

#[derive(Debug)]
struct Journal {
    path: PathBuf,
    identity: Identity,
    state: State,
    chain: [u8; 32],
    /// Bytes of the file that are known good: a failed append is overwritten by the next.
    end: u64,
    head_end: u64,
    /// Whether a piece was taken back or files were selected, which no record can say.
    stale: bool,
    /// The selection's turn that the head tells of.
    turn: u64,
    max_records_bytes: u64,
}

impl Resume {
    /// Reads what the last run left and compares it with the files. Never fails: at worst everything is checked. Cost:
    /// a stat per file.
    pub fn load(state_dir: &Path, identity: &Identity, storage: &Storage) -> Resumed {
        let path = identity.path(state_dir, "resume");
        let bytes = match read_bounded(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Resumed::nothing(storage),
            Err(error) => {
                let problem = format!("cannot read resume state {}: {error}; checking all data", path.display());
                return Resumed { problem: Some(problem), ..Resumed::nothing(storage) };
            }
        };
        match decode(&bytes, identity, storage.layout()) {
            Ok(loaded) => loaded.compare(storage),
            Err(why) => {
                let problem = format!("resume state {} is not used: {why}; checking all data", path.display());
                Resumed { problem: Some(problem), ..Resumed::nothing(storage) }
            }
        }
    }

    /// Begins this run's journal, once it is known what is right on disk: after the check and [`Storage::prepare`],
    /// before the first write. What was found by checking is synced first: it may be in memory only.
    pub fn begin(
        state_dir: &Path,
        identity: &Identity,
        storage: &Storage,
        resumed: &Resumed,
        have: &Bitfield,
    ) -> Result<Resume, ResumeError> {
        let path = identity.path(state_dir, "resume");
        sys::create_private_folder(state_dir)
            .map_err(|source| ResumeError::Journal { path: state_dir.to_path_buf(), source })?;
        if storage.mode() == Mode::ReadWrite {
            let layout = storage.layout();
            let found: Vec<PieceIndex> = have.iter_set().filter(|&piece| !resumed.have.get(piece)).collect();
            for file in found.iter().flat_map(|&piece| layout.files_in(piece)) {
                if resumed.stats.0.get(file.as_usize()).is_some_and(Option::is_some) {
                    storage.note_written(file.0, true);
                }
            }
            storage.sync().map_err(|source| ResumeError::Data { pieces: found, source })?;
        }
        // As they were before they were checked: what changed meanwhile is checked again next time.
        let (files, part) = resumed.stats.clone();
        let turn = storage.selection_turn();
        let state = State { clean: false, have: have.clone(), files, part, wanted: wanted(storage) };
        let journal = Journal::create(path, identity.clone(), state, turn, storage.layout())?;
        Ok(Resume { order: Mutex::default(), journal: Mutex::new(journal) })
    }

    /// A verified piece was written. Cheap: call it from where the piece was written, then look at the deadline.
    pub fn written(&self, now: Time, piece: PieceIndex, bytes: u32) {
        let (order, out) = &mut *lock(&self.order);
        order.handle(now, Event::Written { piece, bytes }, out);
    }

    /// A piece turned out not to be right on disk any more (its file changed). Written down with the next flush.
    pub fn lost(&self, piece: PieceIndex) {
        let mut journal = lock(&self.journal);
        journal.stale |= journal.state.have.unset(piece);
    }

    /// When [`Resume::flush`] is due; `None` if nothing waits.
    pub fn deadline(&self) -> Option<Time> {
        lock(&self.order).0.deadline()
    }

    /// Syncs the data, appends the pieces, syncs the journal: if that is due, or `all` of it now. Blocks for as long
    /// as the disk takes; call it from a disk thread. While one thread is at it others return at once, unless they
    /// want `all`.
    pub fn flush(&self, now: Time, storage: &Storage, all: bool) -> Result<(), ResumeError> {
        let mut journal = match self.journal.try_lock() {
            Ok(journal) => journal,
            Err(std::sync::TryLockError::WouldBlock) if !all => return Ok(()),
            Err(_) => lock(&self.journal),
        };
        let mut result = Ok(());
        let mut event = if all { Event::Flush } else { Event::Wake };
        loop {
            let effect = {
                let (order, out) = &mut *lock(&self.order);
                order.handle(now, event, out);
                // One step at a time: at most one effect waits.
                out.drain().next()
            };
            event = match effect {
                None => break,
                Some(Effect::SyncData) => {
                    let written = storage.take_touched();
                    match storage.sync() {
                        Ok(()) => {
                            journal.note_selection(storage);
                            journal.note_files(&written, storage);
                            Event::DataSynced
                        }
                        Err(source) => {
                            result = Err(ResumeError::Data { pieces: Vec::new(), source });
                            Event::DataFailed
                        }
                    }
                }
                Some(Effect::Append(pieces)) => match journal.append(&pieces, storage.layout()) {
                    Ok(()) => Event::Journaled,
                    Err(error) => {
                        result = Err(error);
                        Event::JournalFailed
                    }
                },
                Some(Effect::Lost(lost)) => {
                    if let Err(ResumeError::Data { pieces, .. }) = &mut result {
                        *pieces = lost;
                    }
                    break;
                }
            };
            if result.is_err() && event == Event::JournalFailed {
                let (order, out) = &mut *lock(&self.order);
                order.handle(now, event, out);
                break;
            }
        }
        if journal.stale {
            let rewritten = journal.rewrite(storage.layout());
            result = result.and(rewritten);
        }
        result
    }

    /// The clean end: flushes, then notes what each file is now, so that the next start needs to read nothing.
    pub fn stop(self, now: Time, storage: &Storage) -> Result<(), ResumeError> {
        self.flush(now, storage, true)?;
        let mut journal = self.journal.into_inner().unwrap_or_else(PoisonError::into_inner);
        let touched = storage.take_touched();
        storage.sync().map_err(|source| ResumeError::Data { pieces: Vec::new(), source })?;
        // Only what we wrote is noted anew: a file that somebody else changed differs from its note, and is checked.
        journal.note_selection(storage);
        journal.note_files(&touched, storage);
        journal.state.clean = true;
        journal.rewrite(storage.layout())
    }
}

/// Which files are selected.
fn wanted(storage: &Storage) -> Vec<bool> {
    (0..storage.layout().files()).map(|file| storage.wants(FileIndex(file))).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Journal {
    fn create(
        path: PathBuf,
        identity: Identity,
        state: State,
        turn: u64,
        layout: &Layout,
    ) -> Result<Journal, ResumeError> {
        let (chain, end) = write_head(&path, &state, &identity, layout)?;
        Ok(Journal {
            path,
            identity,
            state,
            chain,
            end,
            head_end: end,
            stale: false,
            turn,
            max_records_bytes: MAX_RECORDS_BYTES,
        })
    }

    /// Notices a change of selection: before pieces are recorded that were written under it.
    fn note_selection(&mut self, storage: &Storage) {
        let turn = storage.selection_turn();
        if turn != self.turn {
            self.turn = turn;
            self.state.wanted = wanted(storage);
            self.stale = true;
        }
    }

    fn rewrite(&mut self, layout: &Layout) -> Result<(), ResumeError> {
        let (chain, end) = write_head(&self.path, &self.state, &self.identity, layout)?;
        (self.chain, self.end, self.head_end, self.stale) = (chain, end, end, false);
        Ok(())
    }

    /// Takes over what the files are after a sync; written with the next pieces.
    fn note_files(&mut self, written: &[u32], storage: &Storage) {
        for &file in written {
            match file {
                PART_FILE => self.state.part = storage.stat_part(),
                file => {
                    if let (Some(known), Ok(stat)) =
                        (self.state.files.get_mut(file as usize), storage.stat(FileIndex(file)))
                    {
                        *known = stat;
                    }
                }
            }
        }
    }

    fn append(&mut self, pieces: &[PieceIndex], layout: &Layout) -> Result<(), ResumeError> {
        for &piece in pieces {
            self.state.have.set(piece);
        }
        if self.end - self.head_end > self.max_records_bytes || self.stale {
            // A head that was written while a download runs is no clean one: its files go on changing.
            return self.rewrite(layout);
        }
        let mut bytes = Vec::new();
        let mut chain = self.chain;
        let mut record = |kind: u32, number: u32, rest: [u64; 3]| {
            let mut content = Vec::with_capacity(RECORD_BYTES);
            content.extend(kind.to_le_bytes());
            content.extend(number.to_le_bytes());
            content.extend(rest.iter().flat_map(|word| word.to_le_bytes()));
            chain = link(&chain, &content);
            bytes.extend(content);
            bytes.extend(&chain[..8]);
        };
        let mut files: Vec<FileIndex> = pieces.iter().flat_map(|&piece| layout.files_in(piece)).collect();
        files.dedup();
        let mut file_record = |number: u32, stat: FileStat| {
            record(FILE, number, [stat.size, stat.modified_ns.cast_unsigned(), stat.inode]);
        };
        for file in files {
            if let Some(stat) = self.state.files[file.as_usize()] {
                file_record(file.0, stat);
            }
        }
        if let Some(stat) = self.state.part {
            file_record(PART_FILE, stat);
        }
        for run in pieces.chunk_by(|a, b| a.0 + 1 == b.0) {
            record(PIECES, run[0].0, [run.len() as u64, 0, 0]);
        }
        let file = match File::options().write(true).open(&self.path) {
            // Somebody removed it: a new one claims the same.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return self.rewrite(layout),
            opened => opened,
        };
        file.and_then(|file| {
            sys::write_all_vectored_at(&file, &[IoSlice::new(&bytes)], self.end)?;
            sys::sync_data(&file)
        })
        .map_err(|source| ResumeError::Journal { path: self.path.clone(), source })?;
        self.chain = chain;
        self.end += bytes.len() as u64;
        Ok(())
    }
}

fn write_head(
    path: &Path,
    state: &State,
    identity: &Identity,
    layout: &Layout,
) -> Result<([u8; 32], u64), ResumeError> {
    let bytes = state.encode(identity, layout);
    let fail = |source| ResumeError::Journal { path: path.to_path_buf(), source };
    sys::replace_file(path, &bytes).map_err(fail)?;
    let chain = bytes[bytes.len() - CHECKSUM_BYTES..].try_into().expect("32 bytes");
    Ok((chain, bytes.len() as u64))
}

impl Loaded {
    /// Which pieces count, given what the files are now.
    fn compare(self, storage: &Storage) -> Resumed {
        let layout = storage.layout();
        let (now, part_now) = storage.stats();
        let stats = (now.clone(), part_now);
        let changed = |number: u32, noted: Option<FileStat>, now: Option<FileStat>| {
            if now == noted {
                return false;
            }
            let (Some(last), Some(now)) = (self.written.get(&number).copied().or(noted), now) else { return true };
            let moved = now.modified_ns.saturating_sub(last.modified_ns);
            let near = (-CRASH_WINDOW_NS..=CRASH_WINDOW_NS).contains(&moved);
            self.state.clean || !near || now.inode != last.inode || now.size < last.size
        };
        let mut have = self.state.have.clone();
        let mut check = Bitfield::new(layout.pieces());
        for (number, (&now, &noted)) in now.iter().zip(&self.state.files).enumerate() {
            let pieces = layout.pieces_of(FileIndex(number as u32));
            if changed(number as u32, noted, now) {
                for piece in pieces.map(PieceIndex) {
                    // Of a file that is gone only what may still lie in the part file is worth a look.
                    if now.is_some() || have.get(piece) {
                        check.set(piece);
                    }
                }
            } else if now.is_none() {
                // Its bytes can only be in the part file.
                for piece in pieces.map(PieceIndex) {
                    if have.get(piece) && !storage.part().has(piece) {
                        check.set(piece);
                    }
                }
            }
        }
        let part_changed = changed(PART_FILE, self.state.part, part_now);
        for piece in storage.part().pieces() {
            // A slot has the bytes of a file that was not selected; its place, where they are looked for now, may not.
            let moved = |file: FileIndex| storage.wants(file) && !self.state.wanted[file.as_usize()];
            if part_changed || layout.files_in(piece).any(moved) {
                check.set(piece);
            }
        }
        for piece in check.iter_set() {
            have.unset(piece);
        }
        let mut known = self.state.files;
        for (&number, &stat) in &self.written {
            if let Some(known) = known.get_mut(number as usize) {
                *known = Some(stat);
            }
        }
        Resumed { have, check, problem: None, known: Some(known), stats }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_records_become_a_new_head_that_claims_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let layout = Layout::contiguous(16, &[1600]).unwrap();
        let identity = Identity::of_hashes(vec![[1; 20]], folder.path());
        let have = Bitfield::new(layout.pieces());
        let state = State { clean: false, have, files: vec![None], part: None, wanted: vec![true] };
        let mut journal = Journal::create(path.clone(), identity.clone(), state, 0, &layout).unwrap();
        journal.max_records_bytes = 400;
        for piece in (0..100).step_by(2) {
            journal.append(&[PieceIndex(piece)], &layout).unwrap();
            let bytes = std::fs::read(&path).unwrap();
            assert!(bytes.len() as u64 <= journal.head_end + 400 + RECORD_BYTES as u64);
            let loaded = decode(&bytes, &identity, &layout).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(loaded.state.have.count(), piece / 2 + 1);
        }
    }
    #[test]
    fn a_journal_that_was_removed_is_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let layout = Layout::contiguous(16, &[160]).unwrap();
        let identity = Identity::of_hashes(vec![[1; 20]], folder.path());
        let have = Bitfield::new(layout.pieces());
        let state = State { clean: false, have, files: vec![None], part: None, wanted: vec![true] };
        let mut journal = Journal::create(path.clone(), identity.clone(), state, 0, &layout).unwrap();
        journal.append(&[PieceIndex(3)], &layout).unwrap();
        std::fs::remove_file(&path).unwrap();
        journal.append(&[PieceIndex(5)], &layout).unwrap();
        let loaded =
            decode(&std::fs::read(&path).unwrap(), &identity, &layout).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(loaded.state.have.iter_set().collect::<Vec<_>>(), [PieceIndex(3), PieceIndex(5)]);
    }
}
