//! The threads: rounds of segments, read and hashed side by side.
//!
//! A round fills a thread's buffer with the next segment of each of its lanes and hashes what it read while it is in the
//! core's cache. Lanes end together where pieces are of one length, so the lanes stay full. Where the data has to come
//! from a disk, fewer long pieces are hashed at once: what was read ahead for all of them has to wait in memory.
//!
//! Invariant: a lane that could not be read gives its error once and is gone; all others go on.

use super::lane::{Digest, Kinds, Lane, width};
use super::read::Reader;
use super::sequence::Sequence;
use super::{Ended, Watch};
use crate::{Storage, StorageError};
use shoal_hash::{Sha1, merkle, sha256_many};
use shoal_layout::{BLOCK_LENGTH, PieceIndex};
use shoal_pieces::Bitfield;
use std::num::NonZero;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// A thread's buffer: reads of 64 KiB with all lanes full. Measured: docs/measurements.md.
const BUFFER_BYTES: usize = LANES * SEGMENT_BYTES;
/// All threads' buffers. Chosen: half of what hashing may take of memory.
const BUFFERS_BYTES: usize = 32 << 20;
const SEGMENT_BYTES: usize = 64 * 1024;
/// Pieces that are hashed side by side: lanes of the widest kernel.
const LANES: usize = 32;
/// Pieces at once where the whole of each fits into the buffer many times. Chosen: bounds what is told at once.
const MOST_PIECES: usize = 256;
/// Chosen: no disk feeds more.
const MOST_THREADS: usize = 32;
/// What all threads together may have read ahead of a disk where the pieces are long. Chosen: little beside the memory of
/// a machine that has torrents of such pieces.
const WAITING_BYTES: usize = 128 << 20;
/// One probe whether data is in memory speaks for so much. Chosen: a probe is a thousandth of hashing it.
const PROBED_BYTES: u64 = 1 << 20;
/// Where the processor reads fastest from: a message that begins at a multiple of this (docs/measurements.md).
const ALIGNMENT: usize = 64;
const LEAF: usize = BLOCK_LENGTH as usize;

/// What holes and gaps are hashed from.
static ZEROS: [u8; SEGMENT_BYTES] = [0; SEGMENT_BYTES];

/// Takes a piece's hashes, or why it could not be read; whether to go on.
pub(super) type Sink<'a> = &'a (dyn Fn(PieceIndex, Result<Digest, StorageError>) -> bool + Sync);

/// Hashes pieces on all cores, in order as far as many threads have one.
pub(super) fn hash_pieces(
    storage: &Storage,
    pieces: &Bitfield,
    kinds: Kinds,
    watch: Watch<'_>,
    sink: Sink<'_>,
) -> Result<(), StorageError> {
    let count = pieces.count() as usize;
    let threads = watch.jobs.or_else(|| std::thread::available_parallelism().ok()).map_or(1, NonZero::get);
    let threads = threads.min(MOST_THREADS).min(count.max(1));
    let piece_length = storage.layout().piece_length();
    let sequence = Mutex::new(Sequence::new([(), ()].map(|()| pieces.iter_set()), count, threads, piece_length));
    let job = Job {
        storage,
        kinds,
        watch,
        sink,
        threads,
        buffer_bytes: (BUFFERS_BYTES / threads).min(BUFFER_BYTES) / LEAF * LEAF,
        is_cold: AtomicBool::new(true),
        zero: OnceLock::new(),
        stop: AtomicBool::new(false),
        reading_ns: AtomicU64::new(0),
    };
    let began = Instant::now();
    let next = |most: usize, taken: &mut Vec<PieceIndex>, ahead: &mut Vec<PieceIndex>| {
        sequence.lock().unwrap_or_else(PoisonError::into_inner).take(most, taken, ahead);
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let thread = std::thread::Builder::new().name("hash".into());
            thread.spawn_scoped(scope, || Worker::new(&job).run(&next)).expect("a thread, as ever when one is started");
        }
    });
    let took = began.elapsed();
    let reading = Duration::from_nanos(job.reading_ns.into_inner()) / threads as u32;
    if watch.cancel.load(Ordering::Relaxed) {
        return Err(StorageError::Cancelled);
    }
    tracing::info!("hashed {count} pieces in {took:?} on {threads} threads, {reading:?} of it reading");
    (watch.ended)(Ended { took, reading });
    Ok(())
}

/// What all threads share.
struct Job<'a> {
    storage: &'a Storage,
    kinds: Kinds,
    watch: Watch<'a>,
    sink: Sink<'a>,
    threads: usize,
    /// Of each thread; as many whole leaves.
    buffer_bytes: usize,
    /// Whether what comes next is not in memory yet.
    is_cold: AtomicBool,
    /// What a full piece of zeros hashes to.
    zero: OnceLock<Digest>,
    stop: AtomicBool,
    reading_ns: AtomicU64,
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

    /// Pieces to take at once.
    fn most(&self) -> usize {
        let length = self.storage.layout().piece_length() as usize;
        let many = (self.buffer_bytes / length).min(MOST_PIECES);
        match self.kinds.v1 {
            // A piece's leaves fill the lanes.
            false => many.max(1),
            true if self.is_cold.load(Ordering::Relaxed) => {
                (WAITING_BYTES / self.threads / length).clamp(2, LANES).max(many)
            }
            true => many.max(LANES),
        }
    }

    /// Whether a piece is a full one, of a file that has more, and so hashes to [`Job::zero`] if it is nothing but a hole.
    fn is_full(&self, piece: PieceIndex) -> bool {
        let layout = self.storage.layout();
        layout.payload_in(piece) == layout.piece_length()
            && (!self.kinds.v2 || width(layout, piece) == layout.piece_length().div_ceil(BLOCK_LENGTH) as usize)
    }

    fn zero_digest(&self) -> Digest {
        let length = self.storage.layout().piece_length();
        let v1 = self.kinds.v1.then(|| {
            let mut state = Sha1::new();
            super::zeros(&mut state, length);
            state.finish()
        });
        let v2 = self.kinds.v2.then(|| {
            let width = length.div_ceil(BLOCK_LENGTH) as usize;
            merkle::root(&vec![zero_leaf(); width], width)
        });
        Digest { v1, v2, collides: false }
    }
}

/// What a leaf of zeros hashes to.
fn zero_leaf() -> [u8; 32] {
    static LEAF_HASH: OnceLock<[u8; 32]> = OnceLock::new();
    *LEAF_HASH.get_or_init(|| shoal_hash::sha256(&[0; LEAF]))
}

/// The next bytes of a lane.
struct Segment {
    /// The place of the lane among the lanes.
    lane: usize,
    length: usize,
    /// Where in the buffer they are read to; without, they are zeros.
    read_to: Option<usize>,
}

/// One thread.
struct Worker<'a> {
    job: &'a Job<'a>,
    reader: Reader<'a>,
    lanes: Vec<Lane>,
    segments: Vec<Segment>,
    /// With room to begin at a multiple of [`ALIGNMENT`].
    memory: Vec<u8>,
    reading: Duration,
}

/// Gives a worker its next pieces, at most so many, and those that will follow them, to be read ahead.
type Next<'n> = dyn Fn(usize, &mut Vec<PieceIndex>, &mut Vec<PieceIndex>) + 'n;

impl<'a> Worker<'a> {
    fn new(job: &'a Job<'a>) -> Worker<'a> {
        Worker {
            job,
            reader: Reader::new(job.storage),
            lanes: Vec::new(),
            segments: Vec::new(),
            memory: vec![0; job.buffer_bytes + ALIGNMENT],
            reading: Duration::ZERO,
        }
    }

    fn run(mut self, next: &Next<'_>) {
        let (mut taken, mut ahead) = (Vec::new(), Vec::new());
        while !self.job.ended() {
            // Once, or until there is enough if holes take no lane, or if short files are few leaves each.
            let mut payload = 0;
            loop {
                taken.clear();
                let free =
                    if self.job.kinds.v1 { self.job.most().saturating_sub(self.lanes.len()) } else { self.job.most() };
                next(free, &mut taken, &mut ahead);
                self.read_ahead(&mut ahead);
                let before = self.lanes.len();
                for &piece in &taken {
                    self.begin(piece);
                }
                payload += self.lanes[before..].iter().map(|lane| lane.untold() as usize).sum::<usize>();
                let is_enough = match self.job.kinds.v1 {
                    true => self.lanes.len() - before == taken.len(),
                    false => payload >= self.job.buffer_bytes || self.lanes.len() >= MOST_PIECES,
                };
                if is_enough || taken.is_empty() || self.job.ended() {
                    break;
                }
            }
            if self.lanes.is_empty() {
                break;
            }
            while !self.lanes.is_empty() && !self.job.ended() {
                self.round();
            }
        }
        self.job.reading_ns.fetch_add(self.reading.as_nanos() as u64, Ordering::Relaxed);
    }

    /// Asks the disk for what is not in memory.
    fn read_ahead(&mut self, ahead: &mut Vec<PieceIndex>) {
        let began = Instant::now();
        let layout = self.job.storage.layout();
        let mut probed: Option<(u64, bool)> = None;
        for piece in ahead.drain(..) {
            let start = layout.piece_start(piece);
            let ask = match probed {
                Some((at, ask)) if start - at < PROBED_BYTES => ask,
                _ => {
                    let cached = self.reader.is_cached(piece);
                    self.job.is_cold.store(cached == Some(false), Ordering::Relaxed);
                    cached != Some(true)
                }
            };
            probed = probed.filter(|(at, _)| start - at < PROBED_BYTES).or(Some((start, ask)));
            if ask {
                self.reader.read_ahead(piece);
            }
        }
        self.reading += began.elapsed();
    }

    /// Gives a piece a lane, or its hash if it is a hole.
    fn begin(&mut self, piece: PieceIndex) {
        let job = self.job;
        let layout = job.storage.layout();
        let is_sparse = self.reader.is_sparse(piece);
        if is_sparse && job.is_full(piece) && self.reader.is_hole(piece, 0, layout.piece_length()) {
            job.give(piece, Ok(*job.zero.get_or_init(|| job.zero_digest())));
            (job.watch.progress)(u64::from(layout.piece_length()));
            return;
        }
        self.lanes.push(Lane::new(layout, piece, job.kinds, is_sparse));
    }

    /// The next segments of as many lanes as the buffer has room for.
    fn round(&mut self) {
        self.choose();
        let slack = self.memory.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        let mut memory = std::mem::take(&mut self.memory);
        let buffer = &mut memory[slack..];
        let began = Instant::now();
        let failed = self.read(buffer);
        self.reading += began.elapsed();
        for (place, error) in failed {
            self.lanes[place].fail();
            self.segments.retain(|segment| segment.lane != place);
            self.job.give(self.lanes[place].piece, Err(error));
        }
        self.hash(buffer);
        self.memory = memory;
        let mut done = 0;
        for Segment { lane, length, .. } in self.segments.drain(..) {
            done += self.lanes[lane].advance(length as u32);
        }
        // From the last, so that what moves into a gap was looked at.
        for place in (0..self.lanes.len()).rev() {
            if self.lanes[place].has_failed() {
                done += self.lanes.swap_remove(place).untold();
            } else if self.lanes[place].at == self.lanes[place].end {
                let lane = self.lanes.swap_remove(place);
                done += lane.untold();
                self.job.give(lane.piece, Ok(lane.finish(self.job.kinds)));
            }
        }
        (self.job.watch.progress)(u64::from(done));
    }

    /// Which bytes of which lanes the round takes.
    fn choose(&mut self) {
        self.segments.clear();
        let size = self.job.buffer_bytes;
        let most = match self.job.kinds.v1 {
            true => (size / self.lanes.len() / LEAF * LEAF).max(LEAF),
            // One after the other, as they lie on disk.
            false => size,
        };
        let mut used = 0_usize;
        for (place, lane) in self.lanes.iter().enumerate() {
            let left = if lane.at < lane.data_end { lane.data_end } else { lane.end };
            let left = (left - lane.at) as usize;
            let is_data = lane.at < lane.data_end
                && !(lane.is_sparse && {
                    let asked = left.min(ZEROS.len()) as u32;
                    self.reader.is_hole(lane.piece, lane.at, asked)
                });
            if !is_data {
                self.segments.push(Segment { lane: place, length: left.min(ZEROS.len()), read_to: None });
                continue;
            }
            let start = used.next_multiple_of(ALIGNMENT);
            let room = size.saturating_sub(start) / LEAF * LEAF;
            let mut length = left.min(most);
            if lane.is_sparse {
                length = length.min(ZEROS.len());
            }
            // A segment that is cut short ends where a leaf does.
            if length > room && start + length > size {
                length = room;
            }
            if length == 0 {
                break;
            }
            self.segments.push(Segment { lane: place, length, read_to: Some(start) });
            used = start + length;
        }
    }

    /// Fills the buffer; which lanes could not be read, and why.
    fn read(&mut self, buffer: &mut [u8]) -> Vec<(usize, StorageError)> {
        let length = self.job.storage.layout().piece_length();
        let mut failed = Vec::new();
        let address = |lanes: &[Lane], segment: &Segment| {
            let lane = &lanes[segment.lane];
            u64::from(lane.piece.0) * u64::from(length) + u64::from(lane.at)
        };
        let mut first = 0;
        while first < self.segments.len() {
            let Some(start) = self.segments[first].read_to else {
                first += 1;
                continue;
            };
            // What lies behind each other on disk and in the buffer is one read.
            let mut after = first + 1;
            let mut end = start + self.segments[first].length;
            let begin = address(&self.lanes, &self.segments[first]);
            while let Some(segment) = self.segments.get(after)
                && segment.read_to == Some(end)
                && address(&self.lanes, segment) == begin + (end - start) as u64
            {
                end += segment.length;
                after += 1;
            }
            let lane = &self.lanes[self.segments[first].lane];
            match self.reader.read(lane.piece, lane.at, &mut buffer[start..end]) {
                Ok(()) => {}
                Err(error) if after == first + 1 => failed.push((self.segments[first].lane, error)),
                // Which of them it is.
                Err(_) => {
                    for segment in &self.segments[first..after] {
                        let lane = &self.lanes[segment.lane];
                        let part: Range<usize> = match segment.read_to {
                            Some(start) => start..start + segment.length,
                            None => continue,
                        };
                        if let Err(error) = self.reader.read(lane.piece, lane.at, &mut buffer[part]) {
                            failed.push((segment.lane, error));
                        }
                    }
                }
            }
            first = after;
        }
        failed
    }

    /// Feeds the segments to their lanes.
    fn hash(&mut self, buffer: &[u8]) {
        let bytes = |segment: &Segment| match segment.read_to {
            Some(start) => &buffer[start..start + segment.length],
            None => &ZEROS[..segment.length],
        };
        if self.job.kinds.collisions {
            for segment in &self.segments {
                if let Some(checked) = &mut self.lanes[segment.lane].checked {
                    checked.update(bytes(segment));
                }
            }
        } else if self.job.kinds.v1 {
            let mut updates: Vec<(&mut Sha1, &[u8])> = Vec::with_capacity(self.segments.len());
            let mut segments = self.segments.iter().peekable();
            for (place, lane) in self.lanes.iter_mut().enumerate() {
                if let Some(segment) = segments.next_if(|segment| segment.lane == place) {
                    updates.push((&mut lane.sha1, bytes(segment)));
                }
            }
            Sha1::update_many(&mut updates);
        }
        if self.job.kinds.v2 {
            let has_leaves = |lanes: &[Lane], segment: &Segment| lanes[segment.lane].at < lanes[segment.lane].data_end;
            let is_zero = |segment: &Segment, leaf: &[u8]| segment.read_to.is_none() && leaf.len() == LEAF;
            let mut messages: Vec<&[u8]> = Vec::with_capacity(self.job.buffer_bytes / LEAF);
            for segment in self.segments.iter().filter(|segment| has_leaves(&self.lanes, segment)) {
                messages.extend(bytes(segment).chunks(LEAF).filter(|leaf| !is_zero(segment, leaf)));
            }
            let mut hashes = vec![[0; 32]; messages.len()];
            sha256_many(&messages, &mut hashes);
            let mut rest = hashes.as_slice();
            for segment in &self.segments {
                if !has_leaves(&self.lanes, segment) {
                    continue;
                }
                let lane = &mut self.lanes[segment.lane];
                let count = segment.length.div_ceil(LEAF);
                if segment.read_to.is_some() {
                    let (own, after) = rest.split_at(count);
                    rest = after;
                    lane.push_leaves(own);
                    continue;
                }
                lane.push_leaves(&vec![zero_leaf(); segment.length / LEAF]);
                if !segment.length.is_multiple_of(LEAF) {
                    let (own, after) = rest.split_at(1);
                    rest = after;
                    lane.push_leaves(own);
                }
            }
        }
    }
}
