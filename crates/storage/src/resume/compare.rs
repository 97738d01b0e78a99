//! What of a journal still counts, given what the files are now.
//!
//! After a clean stop a file counts if size, time (ns) and number are exactly what was noted. After a crash that still
//! holds for every file that was not being written: one whose pieces are all claimed, and none announced since. A file
//! that was being written has moved on: it counts if it has the same number, has not shrunk, and was last written
//! within [`CRASH_WINDOW_NS`] of the time that the journal spans. Pieces that are claimed were synced before and are
//! never written to again, so a crash cannot make them wrong; those that were announced and not claimed are hashed.

use super::state::{Loaded, set_all};
use crate::part::PART_FILE;
use crate::{FileStat, FileStats};
use shoal_layout::{FileIndex, Layout, PieceIndex};
use shoal_pieces::Bitfield;

/// How far the time of a file that was being written may be from the journal's after a crash. Chosen: twice the lead that
/// writing may have over the journal, so that a slow write has time too; a power cut may also bring back an older time.
/// Shorter, and a disk that syncs for seconds would hold up every write.
pub const CRASH_WINDOW_NS: i64 = 20_000_000_000;
/// Bytes of announced pieces that are hashed before a download goes on, at most: the rest is fetched again (reliability.md
/// F1: at most 16 MiB are read before new data flows).
const MAX_ANNOUNCED_BYTES: u64 = 16 << 20;

/// What is on disk at a start.
#[derive(Debug, Clone)]
pub struct Found {
    /// Each file of the torrent, if there is such a regular file.
    pub files: FileStats,
    /// The part file.
    pub part: Option<FileStat>,
    /// Pieces that have a slot in the part file.
    pub slots: Bitfield,
    /// Which files are selected.
    pub wanted: Vec<bool>,
}

/// What still counts.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// Pieces that are right without reading.
    pub have: Bitfield,
    /// Pieces that must be hashed before they count; none of `have`.
    pub check: Bitfield,
    /// Files that are the ones that we left, or that we made since.
    pub ours: Vec<bool>,
}

impl Loaded {
    /// Whether a file that is there now is the one that we left. `open`: it was being written.
    fn is_ours(&self, noted: Option<FileStat>, now: FileStat, open: bool) -> bool {
        if noted == Some(now) {
            return true;
        }
        let from = noted.map_or(self.state.time_ns, |noted| noted.modified_ns);
        let span = from.saturating_sub(CRASH_WINDOW_NS)..=self.newest_ns.saturating_add(CRASH_WINDOW_NS);
        let same = noted.is_none_or(|noted| noted.inode == now.inode && noted.size <= now.size);
        !self.state.clean && open && same && span.contains(&now.modified_ns)
    }

    pub(super) fn compare(self, layout: &Layout, found: &Found) -> Verdict {
        let mut have = self.state.have.clone();
        let mut check = Bitfield::new(layout.pieces());
        let mut ours = vec![false; found.files.len()];
        for (number, (&now, &before)) in found.files.iter().zip(self.state.files.iter()).enumerate() {
            let pieces = || layout.pieces_of(FileIndex(number as u32));
            let noted = self.written.get(&(number as u32)).copied().or(before);
            let Some(now) = now else {
                // Its bytes can only be in the part file; where it was noted, nothing but a look can tell.
                for piece in pieces().map(PieceIndex) {
                    if have.get(piece) && (noted.is_some() || !found.slots.get(piece)) {
                        check.set(piece);
                    }
                }
                continue;
            };
            let open = pieces().any(|piece| !have.get(PieceIndex(piece)));
            ours[number] = self.is_ours(noted, now, open);
            if !ours[number] {
                set_all(&mut check, pieces());
            }
        }
        let part_changed = match (self.written.get(&PART_FILE).copied().or(self.state.part), found.part) {
            (None, None) => false,
            (noted, Some(now)) => !self.is_ours(noted, now, true),
            (Some(_), None) => true,
        };
        for piece in found.slots.iter_set() {
            // A slot has the bytes of a file that was not selected; its place, where they are looked for now, may not.
            let moved = |file: FileIndex| found.wanted[file.as_usize()] && !self.state.wanted[file.as_usize()];
            if part_changed || layout.files_in(piece).any(moved) {
                check.set(piece);
            }
        }
        let mut announced = 0;
        for &piece in &self.writing {
            let piece = PieceIndex(piece);
            announced += u64::from(layout.piece_size(piece));
            if announced <= MAX_ANNOUNCED_BYTES.max(u64::from(layout.piece_length())) {
                check.set(piece);
            }
        }
        for piece in check.iter_set() {
            have.unset(piece);
        }
        Verdict { have, check, ours }
    }
}
