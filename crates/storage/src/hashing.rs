//! Reading everything once: to check what is on disk, and to create a torrent of it.
//!
//! Threads take runs of consecutive pieces in order, so that a disk is read forward in large steps while every core
//! hashes. A run fills one buffer per thread; its pieces are hashed side by side ([`shoal_hash`] has a lane for each)
//! and v1 and v2 from the same bytes. A piece that is larger than the buffer is hashed as it is read. So memory is
//! [`BUFFERS_BYTES`] whatever the torrent and its piece length are. What is a hole on disk is not read, and its hash
//! is computed once.
//!
//! Invariants: a piece counts only if every byte was read and every hash that is known fits; what changed while
//! a torrent was made of it is an error.

use crate::source::Scan;
use crate::{Mode, OpenFiles, Place, Storage, StorageError};
use shoal_hash::{Sha1, merkle, sha1_many, sha256_leaves, sha256_many};
use shoal_layout::{BLOCK_LENGTH, BlockRef, FileIndex, Layout, PieceIndex, Selection};
use shoal_metainfo::create::{FileHashes, Plan};
use shoal_metainfo::{Format, Info, PieceHashes, PieceLayers};
use shoal_pieces::Bitfield;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Instant;

/// Bytes in all threads' buffers together, at most. Chosen: small beside any machine's memory.
pub const BUFFERS_BYTES: usize = 32 << 20;
/// A thread's buffer. Chosen: a large read, and 16 pieces of 256 KiB side by side.
const BUFFER_BYTES: std::ops::RangeInclusive<usize> = (1 << 20)..=(4 << 20);
/// Chosen: no disk feeds more.
const MOST_THREADS: usize = 32;
/// Pieces in a run, at most: progress is reported and cancelling noticed between runs, also where pieces are tiny.
const RUN_PIECES: u32 = 256;

/// What a pipeline tells and asks while it runs.
#[derive(Clone, Copy)]
pub struct Watch<'a> {
    /// Raised to end early with [`StorageError::Cancelled`].
    pub cancel: &'a AtomicBool,
    /// Called from the hashing threads with the bytes of files done since the last call; holes and missing files count
    /// as done.
    pub progress: &'a (dyn Fn(u64) + Sync),
}

/// What a piece hashes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Digest {
    v1: Option<[u8; 20]>,
    v2: Option<[u8; 32]>,
}

impl Digest {
    fn matches(&self, expected: &PieceHashes) -> bool {
        let v1 = expected.v1.is_none_or(|hash| self.v1 == Some(hash));
        let v2 = expected.v2.is_none_or(|hash| self.v2 == Some(hash.root));
        v1 && v2 && (expected.v1.is_some() || expected.v2.is_some())
    }
}

/// Which of `pieces` are right on disk. A piece whose hashes are not known counts as wrong, and so does one that
/// cannot be read.
pub fn check(
    storage: &Storage,
    info: &Info,
    layers: &PieceLayers,
    pieces: &Bitfield,
    watch: Watch<'_>,
) -> Result<Bitfield, StorageError> {
    let right = Mutex::new(Bitfield::new(storage.layout().pieces()));
    let told = AtomicBool::new(false);
    let kinds = kinds(info.format());
    hash_pieces(storage, pieces, kinds, watch, &|piece, digest| {
        match digest {
            Ok(digest) => {
                if info.piece_hashes(piece, layers).is_some_and(|expected| digest.matches(&expected)) {
                    right.lock().unwrap_or_else(PoisonError::into_inner).set(piece);
                }
            }
            Err(error) if !error.is_lost() && !told.swap(true, Ordering::Relaxed) => {
                tracing::warn!("{piece} cannot be checked: {error}");
            }
            Err(_) => {}
        }
        true
    })?;
    Ok(right.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// Whether a piece that is held in blocks (in order of `begin`, gaps left out) is right: every hash that `expected`
/// has must fit. `digests`: SHA-256 of each block in order is appended, if asked for.
pub fn piece_matches<P: AsRef<[u8]>>(
    layout: &Layout,
    piece: PieceIndex,
    expected: &PieceHashes,
    blocks: &[(BlockRef, P)],
    digests: Option<&mut Vec<[u8; 32]>>,
) -> bool {
    let size = layout.piece_size(piece);
    let in_order = blocks.iter().try_fold(0, |end, (block, payload)| {
        let fits = block.piece == piece && block.begin >= end && block.end() <= size;
        (fits && payload.as_ref().len() == block.length as usize).then_some(block.end())
    });
    let mut right = in_order.is_some() && (expected.v1.is_some() || expected.v2.is_some());
    if let (true, Some(hash)) = (right, expected.v1) {
        let mut state = Sha1::new();
        let mut end = 0;
        for (block, payload) in blocks {
            zeros(&mut state, block.begin - end);
            state.update(payload.as_ref());
            end = block.end();
        }
        zeros(&mut state, size - end);
        right = state.finish() == hash;
    }
    if digests.is_none() && (!right || expected.v2.is_none()) {
        return right;
    }
    let messages: Vec<&[u8]> = blocks.iter().map(|(_, payload)| payload.as_ref()).collect();
    let mut leaves = vec![[0; 32]; messages.len()];
    sha256_many(&messages, &mut leaves);
    if let (true, Some(hash)) = (right, expected.v2) {
        // Blocks are leaves if each begins where one does and only the last is short.
        let whole = blocks.iter().enumerate().all(|(number, (block, _))| {
            let begin = number as u64 * u64::from(BLOCK_LENGTH);
            let length = u64::from(hash.length).saturating_sub(begin).min(u64::from(BLOCK_LENGTH));
            u64::from(block.begin) == begin && u64::from(block.length) == length
        });
        right = whole
            && blocks.len() as u32 == hash.length.div_ceil(BLOCK_LENGTH)
            && leaves.len() <= hash.leaves as usize
            && merkle::root(&leaves, hash.leaves as usize) == hash.root;
    }
    if let Some(digests) = digests {
        digests.extend(leaves);
    }
    right
}

/// Feeds a gap.
fn zeros(state: &mut Sha1, mut count: u32) {
    const ZEROS: [u8; 4096] = [0; 4096];
    while count > 0 {
        let length = count.min(ZEROS.len() as u32);
        state.update(&ZEROS[..length as usize]);
        count -= length;
    }
}

/// What [`shoal_metainfo::create::build`] needs beside the plan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Created {
    /// SHA-1 of each piece, in order; empty for v2.
    pub v1: Vec<[u8; 20]>,
    /// Each file's v2 hashes, in the plan's order; empty for v1.
    pub v2: Vec<FileHashes>,
}

/// Hashes a scanned source for a plan that was made of its files in their order, reading each byte once.
pub fn create(
    scan: &Scan,
    plan: &Plan,
    files: &std::sync::Arc<OpenFiles>,
    watch: Watch<'_>,
) -> Result<Created, StorageError> {
    let layout = plan.layout().clone();
    let place = Place::scanned_in(scan, plan.files().iter().map(|file| file.given));
    let all = Selection::all(&layout);
    // No part file is ever looked for under this hash: nothing is unselected.
    let storage = Storage::open(layout, place, all, Mode::ReadOnly, [0; 20], std::sync::Arc::clone(files))?;
    let layout = storage.layout();
    let (v1, v2) = kinds(plan.format());
    let count = layout.pieces() as usize;
    let digests = Mutex::new((vec![[0; 20]; if v1 { count } else { 0 }], vec![[0; 32]; if v2 { count } else { 0 }]));
    let failed = Mutex::new(None);
    hash_pieces(&storage, &Bitfield::full(layout.pieces()), (v1, v2), watch, &|piece, digest| match digest {
        Ok(digest) => {
            let (sha1s, roots) = &mut *digests.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(hash) = digest.v1 {
                sha1s[piece.as_usize()] = hash;
            }
            if let Some(hash) = digest.v2 {
                roots[piece.as_usize()] = hash;
            }
            true
        }
        Err(error) => {
            failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            false
        }
    })?;
    match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(StorageError::Short { path, .. }) => return Err(StorageError::Changed { path }),
        Some(error) => return Err(error),
        None => {}
    }
    let (v1, roots) = digests.into_inner().unwrap_or_else(PoisonError::into_inner);
    let (stats, _) = storage.stats();
    for (number, (now, planned)) in stats.iter().zip(plan.files()).enumerate() {
        let path = || storage.path(FileIndex(number as u32));
        match now {
            None => return Err(StorageError::Missing { path: path() }),
            Some(now) if scan.files().get(planned.given).is_none_or(|met| met.stat != *now) => {
                return Err(StorageError::Changed { path: path() });
            }
            Some(_) => {}
        }
    }
    let mut hashes = Vec::new();
    if v2 {
        for file in (0..layout.files()).map(FileIndex) {
            let span = layout.pieces_of(file);
            let roots = roots[span.start as usize..span.end as usize].to_vec();
            let length = layout.file_length(file);
            let hash = FileHashes::from_pieces(u64::from(layout.piece_length()), length, roots);
            hashes.push(hash.expect("a root for each piece of the file"));
        }
    }
    Ok(Created { v1, v2: hashes })
}

/// Whether a format has v1 and v2 hashes.
fn kinds(format: Format) -> (bool, bool) {
    (format != Format::V2, format != Format::V1)
}

/// Takes a piece's hashes, or why it could not be read; whether to go on.
type Sink<'a> = &'a (dyn Fn(PieceIndex, Result<Digest, StorageError>) -> bool + Sync);

/// Hashes pieces on all cores, in order as far as many threads have one.
fn hash_pieces(
    storage: &Storage,
    pieces: &Bitfield,
    kinds: (bool, bool),
    watch: Watch<'_>,
    sink: Sink<'_>,
) -> Result<(), StorageError> {
    let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get().min(MOST_THREADS));
    let buffer = (BUFFERS_BYTES / threads).clamp(*BUFFER_BYTES.start(), *BUFFER_BYTES.end());
    let piece_length = storage.layout().piece_length();
    let per_run = (buffer as u32 / piece_length).clamp(1, RUN_PIECES);
    let mut wanted = pieces.iter_set().peekable();
    let runs = Mutex::new(std::iter::from_fn(move || {
        let first = wanted.next()?;
        let mut count = 1;
        while count < per_run && wanted.next_if(|next| next.0 == first.0 + count).is_some() {
            count += 1;
        }
        Some((first, count))
    }));
    let job = Job { storage, kinds, watch, sink, zero: OnceLock::new(), stop: AtomicBool::new(false) };
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut buffer = vec![0; buffer];
                while !job.ended() {
                    let next = runs.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some((first, count)) = next else { break };
                    job.run(first, count, &mut buffer);
                }
            });
        }
    });
    tracing::debug!("hashed {} pieces in {:?}", pieces.count(), began.elapsed());
    if watch.cancel.load(Ordering::Relaxed) { Err(StorageError::Cancelled) } else { Ok(()) }
}

/// What all threads share.
struct Job<'a> {
    storage: &'a Storage,
    kinds: (bool, bool),
    watch: Watch<'a>,
    sink: Sink<'a>,
    /// What a full piece of zeros hashes to.
    zero: OnceLock<Digest>,
    stop: AtomicBool,
}

impl Job<'_> {
    fn ended(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.watch.cancel.load(Ordering::Relaxed)
    }

    fn give(&self, piece: PieceIndex, digest: Result<Digest, StorageError>) {
        if !(self.sink)(piece, digest) {
            self.stop.store(true, Ordering::Relaxed);
        }
    }

    /// A run of consecutive pieces: holes apart, the others together.
    fn run(&self, first: PieceIndex, count: u32, buffer: &mut [u8]) {
        let layout = self.storage.layout();
        let end = first.0 + count;
        let mut at = first.0;
        while at < end {
            let start = at;
            while at < end && !self.is_zero(PieceIndex(at)) {
                at += 1;
            }
            if at > start {
                self.storage.advise_sequential(PieceIndex(start));
                self.data(start..at, buffer);
            }
            while at < end && self.is_zero(PieceIndex(at)) {
                self.give(PieceIndex(at), Ok(*self.zero.get_or_init(|| self.zero_digest())));
                at += 1;
            }
        }
        let done = (first.0..end).map(|piece| u64::from(layout.payload_in(PieceIndex(piece)))).sum();
        (self.watch.progress)(done);
    }

    /// Whether a piece is a full one, of a file that has more, and nothing but a hole.
    fn is_zero(&self, piece: PieceIndex) -> bool {
        let layout = self.storage.layout();
        let full = layout.payload_in(piece) == layout.piece_length();
        full && (!self.kinds.1 || self.width(piece) == layout.piece_length().div_ceil(BLOCK_LENGTH) as usize)
            && self.storage.is_hole(piece)
    }

    fn zero_digest(&self) -> Digest {
        let layout = self.storage.layout();
        let length = layout.piece_length();
        let v1 = self.kinds.0.then(|| {
            let mut state = Sha1::new();
            zeros(&mut state, length);
            state.finish()
        });
        let v2 = self.kinds.1.then(|| {
            let leaf = shoal_hash::sha256(&[0; BLOCK_LENGTH as usize]);
            let width = length.div_ceil(BLOCK_LENGTH) as usize;
            merkle::root(&vec![leaf; width], width)
        });
        Digest { v1, v2 }
    }

    /// Leaves below a piece's root.
    fn width(&self, piece: PieceIndex) -> usize {
        let layout = self.storage.layout();
        let length = layout.piece_length();
        match layout.files_in(piece).next().map(|file| layout.file_length(file)) {
            Some(file) if file <= u64::from(length) => {
                file.div_ceil(u64::from(BLOCK_LENGTH)).next_power_of_two() as usize
            }
            _ => length.div_ceil(BLOCK_LENGTH) as usize,
        }
    }

    /// Pieces that are not holes.
    fn data(&self, pieces: std::ops::Range<u32>, buffer: &mut [u8]) {
        let layout = self.storage.layout();
        let length = layout.piece_length() as usize;
        if length > buffer.len() {
            for piece in pieces.map(PieceIndex) {
                let digest = self.large(piece, buffer);
                self.give(piece, digest);
            }
            return;
        }
        let start = layout.piece_start(PieceIndex(pieces.start));
        let last = PieceIndex(pieces.end - 1);
        let bytes = (layout.piece_start(last) - start) as usize + layout.piece_size(last) as usize;
        match self.storage.read_span(start, &mut buffer[..bytes]) {
            Ok(()) => self.side_by_side(pieces, &buffer[..bytes]),
            Err(error) if pieces.len() == 1 => self.give(last, Err(error)),
            // Something in it cannot be read: find out which.
            Err(_) => {
                for piece in pieces {
                    self.data(piece..piece + 1, buffer);
                }
            }
        }
    }

    /// Hashes whole pieces that are in memory, each in a lane of its own.
    fn side_by_side(&self, pieces: std::ops::Range<u32>, bytes: &[u8]) {
        let layout = self.storage.layout();
        let parts: Vec<&[u8]> = bytes.chunks(layout.piece_length() as usize).collect();
        let mut sha1s = vec![[0; 20]; parts.len()];
        if self.kinds.0 {
            sha1_many(&parts, &mut sha1s);
        }
        let mut leaves = Vec::new();
        let mut counts = Vec::new();
        if self.kinds.1 {
            let mut blocks = Vec::new();
            for (piece, part) in pieces.clone().zip(&parts) {
                let payload = &part[..layout.payload_in(PieceIndex(piece)) as usize];
                blocks.extend(payload.chunks(BLOCK_LENGTH as usize));
                counts.push(payload.len().div_ceil(BLOCK_LENGTH as usize));
            }
            leaves = vec![[0; 32]; blocks.len()];
            sha256_many(&blocks, &mut leaves);
        }
        let mut rest = leaves.as_slice();
        for (number, piece) in pieces.map(PieceIndex).enumerate() {
            let v2 = counts.get(number).map(|&count| {
                let (own, after) = rest.split_at(count);
                rest = after;
                merkle::root(own, self.width(piece))
            });
            self.give(piece, Ok(Digest { v1: self.kinds.0.then(|| sha1s[number]), v2 }));
        }
    }

    /// Hashes a piece that is larger than the buffer while it is read.
    fn large(&self, piece: PieceIndex, buffer: &mut [u8]) -> Result<Digest, StorageError> {
        let layout = self.storage.layout();
        let (size, payload) = (layout.piece_size(piece) as usize, layout.payload_in(piece) as usize);
        let start = layout.piece_start(piece);
        let mut state = Sha1::new();
        let mut leaves = Vec::new();
        let step = buffer.len() - buffer.len() % BLOCK_LENGTH as usize;
        let mut done = 0;
        while done < size {
            if self.ended() {
                return Err(StorageError::Cancelled);
            }
            let part = &mut buffer[..step.min(size - done)];
            self.storage.read_span(start + done as u64, part)?;
            if self.kinds.0 {
                state.update(part);
            }
            if self.kinds.1 {
                let end = payload.saturating_sub(done).min(part.len());
                sha256_leaves(&part[..end], &mut leaves);
            }
            done += part.len();
        }
        let v2 = self.kinds.1.then(|| merkle::root(&leaves, self.width(piece)));
        Ok(Digest { v1: self.kinds.0.then(|| state.finish()), v2 })
    }
}
