//! Reading everything once: to check what is on disk, and to create a torrent of it.
//!
//! Each thread takes several pieces and hashes them side by side, one a lane ([`shoal_hash`]), whatever their length: it
//! reads a segment of each ([`read`]), as many bytes as stay in a core's cache, feeds them to the lanes' states ([`lane`]),
//! v1 and v2 from the same bytes, and goes on with the next segments ([`lanes`]). So memory depends on nothing but the
//! number of threads. What the disk has to fetch is asked for in order beforehand ([`sequence`]). What is a hole on disk
//! is not read, and the hash of a piece that is nothing else is computed once.
//!
//! Invariants: a piece counts only if every byte was read and every hash that is known fits; what changed while
//! a torrent was made of it is an error.

mod held;
mod lane;
mod lanes;
mod read;
mod sequence;
#[cfg(test)]
mod tests;

pub use held::{Held, Verdict, judge, piece_matches};

use crate::source::Source;
use crate::storage::Folders;
use crate::{Mode, OpenFiles, Place, Storage, StorageError};
use lane::{Digest, Kinds};
use lanes::hash_pieces;
use shoal_hash::Sha1;
use shoal_layout::{FileIndex, Selection};
use shoal_metainfo::create::Plan;
use shoal_metainfo::{Format, Info, PieceHashes, PieceLayers};
use shoal_pieces::Bitfield;
use std::num::NonZero;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// What a pipeline tells and asks while it runs.
#[derive(Clone, Copy)]
pub struct Watch<'a> {
    /// Raised to end early with [`StorageError::Cancelled`].
    pub cancel: &'a AtomicBool,
    /// Called from the hashing threads with the bytes of files done since the last call; holes and missing files count
    /// as done.
    pub progress: &'a (dyn Fn(u64) + Sync),
    /// Threads, up to 32; `None`: one for each core.
    pub jobs: Option<NonZero<usize>>,
    /// Called once when all is done, and not if it was cancelled.
    pub ended: &'a (dyn Fn(Ended) + Sync),
}

/// How hashing went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// From the first byte to the last.
    pub took: Duration,
    /// Of that, what a thread waited for its reads and copied what they gave, on average.
    pub reading: Duration,
}

impl Ended {
    /// Whether the disk (or the memory that stands for it) was the limit, and not the processor.
    pub fn was_reading_the_limit(&self) -> bool {
        self.reading * 2 > self.took
    }
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
    check_kinds(storage, info, layers, pieces, kinds(info.format()), watch).map(|checked| checked.right)
}

/// What a look for collisions found.
#[derive(Debug, Clone)]
pub struct Checked {
    /// Pieces that are right, and no attack.
    pub right: Bitfield,
    /// Pieces that have every hash that is known, and were made to have the SHA-1 of another piece too.
    pub attacks: Bitfield,
}

/// The same with a look at each v1 piece whether it was made to collide. Costs several times as much; v2 has no such
/// attack, and is checked as ever.
pub fn check_for_collisions(
    storage: &Storage,
    info: &Info,
    layers: &PieceLayers,
    pieces: &Bitfield,
    watch: Watch<'_>,
) -> Result<Checked, StorageError> {
    let kinds = kinds(info.format());
    check_kinds(storage, info, layers, pieces, Kinds { collisions: kinds.v1, ..kinds }, watch)
}

fn check_kinds(
    storage: &Storage,
    info: &Info,
    layers: &PieceLayers,
    pieces: &Bitfield,
    kinds: Kinds,
    watch: Watch<'_>,
) -> Result<Checked, StorageError> {
    let none = Bitfield::new(storage.layout().pieces());
    let found = Mutex::new(Checked { right: none.clone(), attacks: none });
    let told = AtomicBool::new(false);
    hash_pieces(storage, pieces, kinds, watch, &|piece, digest| {
        match digest {
            Ok(digest) => {
                if info.piece_hashes(piece, layers).is_some_and(|expected| digest.matches(&expected)) {
                    let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                    if digest.collides {
                        found.attacks.set(piece)
                    } else {
                        found.right.set(piece)
                    };
                }
            }
            Err(error) if !error.is_lost() && !told.swap(true, Ordering::Relaxed) => {
                tracing::warn!("{piece} cannot be checked: {error}");
            }
            Err(_) => {}
        }
        true
    })?;
    Ok(found.into_inner().unwrap_or_else(PoisonError::into_inner))
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

/// What [`shoal_metainfo::create::build`] needs beside the plan, and where the files lie.
#[derive(Debug, Clone)]
pub struct Created {
    /// SHA-1 of each piece, in order; empty for v2.
    pub v1: Vec<[u8; 20]>,
    /// The root over each piece, in order; empty for v1.
    pub v2: Vec<[u8; 32]>,
    /// The files' places, in the plan's order.
    pub place: Place,
}

/// Hashes a scanned source for a plan that was made of its files in their order, reading each byte once.
pub fn create(
    source: Source,
    plan: &Plan,
    files: &std::sync::Arc<OpenFiles>,
    watch: Watch<'_>,
) -> Result<Created, StorageError> {
    let layout = plan.layout().clone();
    let (place, met) = Place::scanned(source, plan.given());
    let all = Selection::all(&layout);
    // No part file is ever looked for under this hash: nothing is unselected.
    let storage = Storage::open(layout, place, all, Mode::ReadOnly, [0; 20], std::sync::Arc::clone(files))?;
    let layout = storage.layout();
    let kinds = kinds(plan.format());
    let count = |is_asked: bool| if is_asked { layout.pieces() as usize } else { 0 };
    let digests = Mutex::new((vec![[0; 20]; count(kinds.v1)], vec![[0; 32]; count(kinds.v2)]));
    let failed = Mutex::new(None);
    hash_pieces(&storage, &Bitfield::full(layout.pieces()), kinds, watch, &|piece, digest| match digest {
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
    let (v1, v2) = digests.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut folders = Folders::new(&storage);
    for (file, met) in (0..).map(FileIndex).zip(met) {
        match folders.stat(file).ok().flatten() {
            None => return Err(StorageError::Missing { path: storage.path(file) }),
            Some(now) if now != met => return Err(StorageError::Changed { path: storage.path(file) }),
            Some(_) => {}
        }
    }
    drop(folders);
    Ok(Created { v1, v2, place: storage.into_place() })
}

/// The hashes of a format.
fn kinds(format: Format) -> Kinds {
    Kinds { v1: format != Format::V2, v2: format != Format::V1, collisions: false }
}
