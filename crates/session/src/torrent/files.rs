//! A torrent's files: opening and checking them, storing pieces, keeping the journal. Everything here blocks.
//!
//! A piece is written only after its hashes matched, and is told to the journal only after it was written; the journal
//! itself syncs before it records (`shoal_storage::Resume`).

use crate::add::{Check, Files, SelectFiles};
use crate::claims::{Claim, Claims, Wanted};
use crate::error::SessionError;
use crate::pool::Block;
use shoal_layout::{BlockRef, FileIndex, PieceIndex, Selection};
use shoal_machine::Time;
use shoal_metainfo::{Info, PieceHashes, PieceLayers, Torrent};
use shoal_pieces::Bitfield;
use shoal_storage::hashing::{self, Held, Verdict, Watch};
use shoal_storage::{Finish, Flush, Identity, Lock, Mode, OpenFiles, Place, Resume, Resumed, Storage, StorageError};
use shoal_swarm::StoreOutcome;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use tokio::sync::Notify;

/// How far a check is, and whether it shall end early.
#[derive(Debug, Default)]
pub(crate) struct Checking {
    pub(crate) done_bytes: AtomicU64,
    pub(crate) total_bytes: AtomicU64,
    pub(crate) cancel: AtomicBool,
    /// The same, for who waits for its turn to check.
    pub(crate) cancelled: Notify,
}

impl Checking {
    /// Ends the check, or the wait for it.
    pub(crate) fn end(&self) {
        self.cancel.store(true, Ordering::Relaxed);
        self.cancelled.notify_one();
    }
}

/// What is needed to open a torrent's files.
pub(crate) struct Opening {
    pub(crate) info: Arc<Info>,
    pub(crate) layers: PieceLayers,
    pub(crate) files: Files,
    pub(crate) purpose: Purpose,
    pub(crate) state_dir: Option<PathBuf>,
    pub(crate) open_files: Arc<OpenFiles>,
    pub(crate) claims: Claims,
    pub(crate) checking: Arc<Checking>,
}

/// What they are opened for.
pub(crate) enum Purpose {
    Download { overwrite: bool, portable: bool, select: SelectFiles },
    Seed { check: Check },
}

/// A torrent's files, open and checked.
pub(crate) struct Ready {
    pub(crate) info: Arc<Info>,
    pub(crate) layers: PieceLayers,
    pub(crate) have: Bitfield,
    pub(crate) selection: Selection,
    pub(crate) files: TorrentFiles,
    /// The right to write them, for a download.
    pub(crate) claim: Option<Claim>,
    /// What of the resume state was not used: one line for the user.
    pub(crate) problem: Option<String>,
}

/// Pieces that are hashed together, at most: one set of AVX-512 lanes. A second set beside it would gain an eighth
/// (docs/measurements.md), and let the first piece wait for twice as many.
const MOST_TOGETHER: usize = 16;
/// Bytes that are hashed together, at most, so that the first of them is not told of late. Chosen: 5 ms of hashing.
const MOST_TOGETHER_BYTES: u64 = 16 << 20;

/// A piece whose blocks are all there, to be hashed and written.
pub(crate) struct Complete {
    pub(crate) piece: PieceIndex,
    pub(crate) expected: PieceHashes,
    pub(crate) blocks: Vec<(BlockRef, Block)>,
    /// Whether the blocks' own hashes are asked for.
    pub(crate) digests: bool,
}

impl Complete {
    fn held(&self) -> Held<'_, Block> {
        let Complete { piece, expected, blocks, digests } = self;
        Held { piece: *piece, expected, blocks, digests: *digests }
    }

    fn bytes(&self) -> u64 {
        self.blocks.iter().map(|(block, _)| u64::from(block.length)).sum()
    }
}

/// The first piece that waits, and those after it that may be hashed with it.
fn take_together(waiting: &mut VecDeque<Complete>) -> Vec<Complete> {
    let (mut count, mut bytes) = (0, 0);
    for complete in waiting.iter().take(MOST_TOGETHER) {
        bytes += complete.bytes();
        if count > 0 && bytes > MOST_TOGETHER_BYTES {
            break;
        }
        count += 1;
    }
    waiting.drain(..count).collect()
}

/// Open files with their journal.
pub(crate) struct TorrentFiles {
    pub(crate) storage: Arc<Storage>,
    pub(crate) info: Arc<Info>,
    /// The piece layers that are known.
    layers: RwLock<PieceLayers>,
    /// Pieces that wait to be stored; bounded by the swarm's bytes in assembly.
    complete: Mutex<VecDeque<Complete>>,
    /// `None` without a state folder, and after the end.
    resume: RwLock<Option<Resume>>,
    writes: bool,
}

/// What became of a flush.
#[derive(Debug, Default)]
pub(crate) struct Flushed {
    /// Pieces that must count as not written.
    pub(crate) lost: Vec<PieceIndex>,
    /// Why the data could not be synced: one line for the user. It is tried again.
    pub(crate) trouble: Option<String>,
    /// Whether there still is data that could not be synced.
    pub(crate) failing: bool,
}

/// Keeps a second process, and a second torrent of this one, away from a download.
pub(crate) fn lock(state_dir: &Path, files: &Files, hashes: &shoal_metainfo::InfoHashes) -> Result<Lock, SessionError> {
    Ok(Lock::acquire(state_dir, &identity(files, hashes))?)
}

/// The info dictionary that an earlier run fetched by the same link, with the piece layers that it fetched.
pub(crate) fn kept_torrent(state_dir: &Path, files: &Files, hashes: &shoal_metainfo::InfoHashes) -> Option<Torrent> {
    let bytes = shoal_storage::load_torrent(state_dir, &identity(files, hashes))?;
    // Whoever wrote it, only what hashes right is used; layers that do not lead to their roots are not even parsed.
    Torrent::parse(&bytes).ok().filter(|torrent| hashes.verify(torrent.info.bytes()))
}

/// Keeps them for later runs.
pub(crate) fn keep_torrent(state_dir: &Path, files: &Files, torrent: &Torrent, hashes: &shoal_metainfo::InfoHashes) {
    if let Err(error) = shoal_storage::save_torrent(state_dir, &identity(files, hashes), &torrent.to_bytes()) {
        tracing::warn!(%error, "cannot keep the torrent; it will be asked of peers again");
    }
}

fn identity(files: &Files, hashes: &shoal_metainfo::InfoHashes) -> Identity {
    match files {
        Files::Folder(folder) => Identity::new(hashes, folder),
        Files::Scanned(place) => Identity::new(hashes, place.root()),
    }
}

/// Opens and checks. May take as long as reading all files.
pub(crate) fn open(opening: Opening) -> Result<Ready, SessionError> {
    let Opening { info, layers, files, purpose, state_dir, open_files, claims, checking } = opening;
    let layout = info.layout();
    let hashes = info.hashes();
    let identity = identity(&files, &hashes);
    let (writes, portable) = match purpose {
        Purpose::Download { portable, .. } => (true, portable),
        Purpose::Seed { .. } => (false, false),
    };
    let folder = match &files {
        Files::Folder(folder) => Some(folder.clone()),
        Files::Scanned(_) => None,
    };
    let place = match files {
        Files::Scanned(place) => place,
        Files::Folder(folder) if writes => Place::safe(&info, &folder, portable),
        Files::Folder(folder) => Place::found(&info, &folder),
    };
    let (selection, check, overwrite) = match purpose {
        Purpose::Download { overwrite, select, .. } => {
            (select(&info).map_err(SessionError::Selection)?, Check::Resume, overwrite)
        }
        Purpose::Seed { check } => (Selection::all(layout), check, false),
    };
    let mode = if writes { Mode::ReadWrite } else { Mode::ReadOnly };
    let storage = Storage::open(layout.clone(), place, selection.clone(), mode, hashes.wire(), open_files)?;
    let storage = Arc::new(storage);
    let claim = match folder {
        Some(folder) if writes => {
            let wanted = Wanted {
                name: info.name().to_owned(),
                folder,
                canonical: identity.output().to_path_buf(),
                storage: storage.clone(),
                selection: selection.clone(),
            };
            Some(claims.claim(wanted, state_dir.as_deref())?)
        }
        _ => None,
    };
    let resumed = match (check, &state_dir) {
        (Check::Resume, Some(state_dir)) => Resume::load(state_dir, &identity, &storage),
        _ => Resumed::nothing(&storage),
    };
    let have = if check == Check::JustHashed && lengths_fit(&storage, &info)? {
        Bitfield::full(layout.pieces())
    } else {
        let bytes: u64 = resumed.check.iter_set().map(|piece| u64::from(layout.piece_size(piece))).sum();
        checking.total_bytes.store(bytes, Ordering::Relaxed);
        let progress = |done: u64| {
            checking.done_bytes.fetch_add(done, Ordering::Relaxed);
        };
        let watch = Watch { cancel: &checking.cancel, progress: &progress, jobs: None, ended: &|_| {} };
        let mut have = resumed.have.clone();
        for piece in hashing::check(&storage, &info, &layers, &resumed.check, watch)?.iter_set() {
            have.set(piece);
        }
        have
    };
    if writes {
        storage.prepare(&have, &resumed, overwrite)?;
    }
    let resume = state_dir.and_then(|state_dir| {
        Resume::begin(&state_dir, &identity, &storage, &resumed, &have)
            .inspect_err(|error| tracing::warn!(%error, "no resume state: everything will be checked after a restart"))
            .ok()
    });
    storage.note_served(Arc::clone(resumed.files()));
    let (resume, known) = (RwLock::new(resume), RwLock::new(layers.clone()));
    let complete = Mutex::default();
    let files = TorrentFiles { storage, info: info.clone(), layers: known, complete, resume, writes };
    Ok(Ready { info, layers, have, selection, files, claim, problem: resumed.problem })
}

/// Whether every file is as long as the torrent says.
fn lengths_fit(storage: &Storage, info: &Info) -> Result<bool, StorageError> {
    let layout = info.layout();
    for file in (0..layout.files()).map(FileIndex) {
        let length = layout.file_length(file);
        let found = storage.stat(file)?.map(|stat| stat.size);
        // An empty file, or a symlink of the torrent, need not be there.
        if found != Some(length) && length > 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

impl TorrentFiles {
    /// Puts a complete piece in, for the next [`store_queued`](Self::store_queued).
    pub(crate) fn queue(&self, piece: Complete) {
        self.complete.lock().unwrap_or_else(PoisonError::into_inner).push_back(piece);
    }

    /// Hashes the pieces that wait (one, or as many as share lanes), and writes each that is right. `tell` gets what became
    /// of each as soon as it is known. There is one call for each piece that was put in; what an earlier one has taken
    /// along is nothing to do for a later one.
    pub(crate) fn store_queued(&self, now: Time, mut tell: impl FnMut(PieceIndex, StoreOutcome<Block>)) {
        let taken = take_together(&mut self.complete.lock().unwrap_or_else(PoisonError::into_inner));
        let held: Vec<Held<'_, Block>> = taken.iter().map(Complete::held).collect();
        let verdicts = hashing::judge(self.storage.layout(), &held);
        tracing::trace!(pieces = taken.len(), "hashed side by side");
        for (complete, verdict) in taken.into_iter().zip(verdicts) {
            let piece = complete.piece;
            tell(piece, self.write(now, complete, verdict));
        }
    }

    /// Writes a piece that is right.
    fn write(&self, now: Time, complete: Complete, verdict: Verdict) -> StoreOutcome<Block> {
        let Complete { piece, expected, blocks, .. } = complete;
        if !verdict.right {
            let messages: Vec<&[u8]> = blocks.iter().map(|(_, payload)| payload.as_ref()).collect();
            let mut digests = vec![[0; 32]; messages.len()];
            shoal_hash::sha256_many(&messages, &mut digests);
            return StoreOutcome::Corrupt { blocks, digests };
        }
        let resume = self.resume.read().unwrap_or_else(PoisonError::into_inner);
        let announced = resume.as_ref().map_or(Ok(()), |resume| resume.writing(&self.storage, piece));
        if let Err(error) = announced {
            return StoreOutcome::Failed { blocks, reason: error.to_string() };
        }
        if let Err(error) = self.storage.write_piece(piece, &blocks) {
            return StoreOutcome::Failed { blocks, reason: error.to_string() };
        }
        if let Some(resume) = &*resume {
            resume.written(now, piece, self.storage.layout().piece_size(piece), expected);
        }
        StoreOutcome::Written { digests: verdict.digests }
    }

    /// More piece layers are known.
    pub(crate) fn know_layers(&self, layers: PieceLayers) {
        *self.layers.write().unwrap_or_else(PoisonError::into_inner) = layers;
    }

    /// Reads a block for an upload, from files that may have changed.
    pub(crate) fn read(&self, block: BlockRef, buffer: &mut [u8]) -> Result<(), StorageError> {
        self.storage.read_served(block, buffer, self.expected(block.piece).as_ref())
    }

    /// What a piece has to hash to, as far as that is known.
    pub(super) fn expected(&self, piece: PieceIndex) -> Option<PieceHashes> {
        self.info.piece_hashes(piece, &self.layers.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// A piece is not right on disk any more.
    pub(crate) fn lost(&self, piece: PieceIndex) {
        if let Some(resume) = &*self.resume.read().unwrap_or_else(PoisonError::into_inner) {
            resume.lost(&self.storage, piece);
        }
    }

    /// When [`TorrentFiles::flush`] is due.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.resume.read().unwrap_or_else(PoisonError::into_inner).as_ref().and_then(Resume::deadline)
    }

    /// Syncs data and journal, if that is due or if `all`.
    pub(crate) fn flush(&self, now: Time, all: bool) -> Flushed {
        let resume = self.resume.read().unwrap_or_else(PoisonError::into_inner);
        let Some(resume) = &*resume else { return Flushed::default() };
        let Flush { gone: lost, data, journal } = resume.flush(now, &self.storage, all);
        if let Some(error) = journal {
            tracing::warn!(%error, path = %resume.path().display(), "the resume state is not written");
        }
        Flushed { lost, trouble: data.map(|error| format!("cannot sync: {error}")), failing: resume.in_trouble() }
    }

    /// When everything selected is written.
    pub(crate) fn finish(&self) -> Result<(), StorageError> {
        if self.writes { self.storage.finish(&self.info, Finish::default()) } else { Ok(()) }
    }

    /// The clean end: the next start needs to read nothing.
    pub(crate) fn stop(&self, now: Time) {
        let resume = self.resume.write().unwrap_or_else(PoisonError::into_inner).take();
        let Some(resume) = resume else { return };
        let path = resume.path().to_path_buf();
        let Flush { data, journal, .. } = resume.stop(now, &self.storage);
        let errors = [data.map(|error| error.to_string()), journal.map(|error| error.to_string())];
        for error in errors.into_iter().flatten() {
            tracing::warn!(error, path = %path.display(), "the resume state is not complete");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::BlockPool;

    /// A v1 torrent of one file of one piece.
    fn info(content: &[u8]) -> Arc<Info> {
        let mut bytes = format!("d6:lengthi{}e4:name1:a12:piece lengthi16384e6:pieces20:", content.len()).into_bytes();
        bytes.extend(shoal_hash::sha1(content));
        bytes.push(b'e');
        Arc::new(Info::parse(&bytes).unwrap().0)
    }

    /// A download of all of it.
    fn opening(info: &Arc<Info>, output: &Path, state: Option<&Path>) -> Opening {
        Opening {
            layers: PieceLayers::empty(info),
            info: info.clone(),
            files: Files::Folder(output.to_path_buf()),
            purpose: Purpose::Download {
                overwrite: false,
                portable: false,
                select: Box::new(|info: &Info| Ok(Selection::all(info.layout()))),
            },
            state_dir: state.map(Path::to_path_buf),
            open_files: OpenFiles::new(4),
            claims: Claims::default(),
            checking: Arc::default(),
        }
    }

    #[test]
    fn pieces_that_cannot_be_synced_are_named_and_not_claimed_later() {
        let (output, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let info = info(b"some bytes");
        let opening = || opening(&info, output.path(), Some(state.path()));
        let files = open(opening()).unwrap().files;
        let mut block = BlockPool::default().take(10);
        block.copy_from_slice(b"some bytes");
        let expected = info.piece_hashes(PieceIndex(0), &PieceLayers::empty(&info)).unwrap();
        let blocks = vec![(info.layout().block(0, 0, 10).unwrap(), block)];
        files.queue(Complete { piece: PieceIndex(0), expected, blocks, digests: false });
        let mut written = 0;
        files.store_queued(Time::ZERO, |_, outcome| {
            written += u32::from(matches!(outcome, StoreOutcome::Written { .. }))
        });
        assert_eq!(written, 1);
        std::fs::remove_file(output.path().join("a")).unwrap();
        files.storage.close_files();
        let flushed = files.flush(Time::ZERO, true);
        assert!(flushed.failing && flushed.trouble.unwrap().contains("sync"));
        let flushed = files.flush(Time::ZERO, true);
        assert_eq!((flushed.lost, flushed.failing), (vec![PieceIndex(0)], false));
        files.stop(Time::ZERO);
        assert!(open(opening()).unwrap().have.is_empty());
    }

    #[test]
    fn pieces_that_wait_are_taken_together_up_to_a_bound_and_each_once() {
        let layout = shoal_layout::Layout::contiguous(1 << 20, &[100 << 20]).unwrap();
        let pool = BlockPool::default();
        let complete = |piece: u32, blocks: u32| Complete {
            piece: PieceIndex(piece),
            expected: PieceHashes { v1: None, v2: None },
            blocks: (0..blocks).map(|n| (layout.block(piece, n << 14, 1 << 14).unwrap(), pool.take(1 << 14))).collect(),
            digests: false,
        };
        let mut waiting = VecDeque::from_iter((0..40).map(|piece| complete(piece, 1)));
        waiting.extend((40..60).map(|piece| complete(piece, 64)));
        let mut taken = Vec::new();
        while !waiting.is_empty() {
            let together = take_together(&mut waiting);
            let bytes: u64 = together.iter().map(Complete::bytes).sum();
            assert!((1..=MOST_TOGETHER).contains(&together.len()) && bytes <= MOST_TOGETHER_BYTES);
            taken.push(together.iter().map(|complete| complete.piece.0).collect::<Vec<_>>());
        }
        assert_eq!(taken.iter().map(Vec::len).collect::<Vec<_>>(), [16, 16, 16, 12]);
        assert_eq!(taken.concat(), Vec::from_iter(0..60));
        assert!(take_together(&mut waiting).is_empty());
    }

    #[test]
    fn a_wrong_piece_among_right_ones_is_told_alone() {
        let output = tempfile::tempdir().unwrap();
        let content: Vec<u8> = (0..5 << 14).map(|at| (at % 253) as u8).collect();
        let mut bytes = format!("d6:lengthi{}e4:name1:a12:piece lengthi16384e6:pieces100:", content.len()).into_bytes();
        content.chunks(1 << 14).for_each(|piece| bytes.extend(shoal_hash::sha1(piece)));
        bytes.push(b'e');
        let info = Arc::new(Info::parse(&bytes).unwrap().0);
        let files = open(opening(&info, output.path(), None)).unwrap().files;
        let pool = BlockPool::default();
        for piece in 0..5 {
            let mut block = pool.take(1 << 14);
            block.copy_from_slice(&content[(piece as usize) << 14..][..1 << 14]);
            if piece == 2 {
                block[77] ^= 1;
            }
            let expected = info.piece_hashes(PieceIndex(piece), &PieceLayers::empty(&info)).unwrap();
            let blocks = vec![(info.layout().block(piece, 0, 1 << 14).unwrap(), block)];
            files.queue(Complete { piece: PieceIndex(piece), expected, blocks, digests: false });
        }
        let mut told = Vec::new();
        files.store_queued(Time::ZERO, |piece, outcome| {
            told.push((
                piece.0,
                matches!(outcome, StoreOutcome::Written { .. }),
                matches!(outcome, StoreOutcome::Corrupt { .. }),
            ));
        });
        let right = |piece| (piece, true, false);
        assert_eq!(told, [right(0), right(1), (2, false, true), right(3), right(4)]);
        let written = std::fs::read(output.path().join("a")).unwrap();
        assert_eq!((&written[..2 << 14], &written[3 << 14..]), (&content[..2 << 14], &content[3 << 14..]));
    }
}
