//! A disk that takes its time, fills up, fails, forgets what was not synced, and else remembers what it was given.
//!
//! It survives the process: after a kill what was written is found again, after a power cut what was synced. It compares
//! hashes as the real one does, by what the tags say. What a journal may claim after a power cut is not modelled here:
//! `tests/power_cut.rs` does that with the real one (I2).

use super::content::{Content, Payload};
use shoal_layout::{BlockRef, Layout, PieceIndex};
use shoal_machine::{Rng, Time};
use shoal_pieces::Bitfield;
use shoal_swarm::{LeavesOutcome, StoreOutcome};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What is written is synced within so long (design.md, section 3: every second).
const SYNC_EVERY: Duration = Duration::from_secs(1);

/// How a disk behaves.
#[derive(Clone, Debug, PartialEq)]
pub struct DiskSetup {
    /// From the order to write a piece to its answer.
    pub write: Duration,
    /// From the order to upload a block to its being read.
    pub read: Duration,
    /// Refuses every write from the first moment to the second.
    pub full: Option<(Time, Time)>,
}

impl Default for DiskSetup {
    /// Quick enough to be in nobody's way. Chosen.
    fn default() -> Self {
        DiskSetup { write: Duration::from_millis(2), read: Duration::from_micros(100), full: None }
    }
}

/// One peer's disk.
#[derive(Debug)]
pub(crate) struct Disk {
    pub(crate) setup: DiskSetup,
    pub(crate) refuses_writes: bool,
    pub(crate) fails_reads: bool,
    pub(crate) fails_syncs: bool,
    /// The power goes with the process.
    pub(crate) cut: bool,
    written: Bitfield,
    /// What may not be synced yet, and since when it is written.
    unsynced: BTreeMap<PieceIndex, Time>,
    /// Pieces that something damaged.
    rotten: BTreeSet<PieceIndex>,
}

/// What reading a piece to send some of it gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Read {
    Right,
    /// A passing fault.
    Failed,
    /// The piece is not what it was.
    Lost,
}

impl Disk {
    pub(crate) fn new(setup: DiskSetup, written: Bitfield) -> Disk {
        Disk {
            setup,
            refuses_writes: false,
            fails_reads: false,
            fails_syncs: false,
            cut: false,
            written,
            unsynced: BTreeMap::new(),
            rotten: BTreeSet::new(),
        }
    }

    /// What is there.
    pub(crate) fn written(&self) -> &Bitfield {
        &self.written
    }

    /// How many bytes of payload that is.
    pub(crate) fn written_bytes(&self, layout: &Layout) -> u64 {
        let last = PieceIndex(layout.pieces() - 1);
        let whole = u64::from(self.written.count()) * u64::from(layout.payload_in(PieceIndex(0)));
        let short = layout.payload_in(PieceIndex(0)) - layout.payload_in(last);
        whole - if self.written.get(last) { u64::from(short) } else { 0 }
    }

    pub(crate) fn has(&self, piece: PieceIndex) -> bool {
        self.written.get(piece)
    }

    /// Nothing goes wrong from now on.
    pub(crate) fn heal(&mut self) {
        self.setup = DiskSetup::default();
        (self.refuses_writes, self.fails_reads, self.fails_syncs) = (false, false, false);
    }

    /// Something damages a piece.
    pub(crate) fn rot(&mut self, piece: PieceIndex) {
        if self.written.get(piece) {
            self.rotten.insert(piece);
        }
    }

    /// A piece is found not to be there.
    pub(crate) fn lose(&mut self, piece: PieceIndex) -> bool {
        self.rotten.remove(&piece);
        self.unsynced.remove(&piece);
        self.written.unset(piece)
    }

    /// The process ended, and maybe the power went: of what was not synced half is lost. What is found at the next start is
    /// hashed where it is not known to be right, so damage is found then too.
    pub(crate) fn process_ended(&mut self, now: Time, rng: &mut Rng) {
        if std::mem::take(&mut self.cut) {
            for (piece, at) in std::mem::take(&mut self.unsynced) {
                let is_synced = now.since(at) >= SYNC_EVERY && !self.fails_syncs;
                if !is_synced && rng.chance(0.5) {
                    self.written.unset(piece);
                }
            }
        }
        self.unsynced.clear();
        for piece in std::mem::take(&mut self.rotten) {
            self.written.unset(piece);
        }
    }

    /// Some of a piece is to be sent.
    pub(crate) fn read(&mut self, piece: PieceIndex) -> Read {
        if self.fails_reads {
            Read::Failed
        } else if self.rotten.contains(&piece) || !self.written.get(piece) {
            self.lose(piece);
            Read::Lost
        } else {
            Read::Right
        }
    }

    /// A piece is to be read whole for its leaves.
    pub(crate) fn read_leaves(&mut self, content: &Content, piece: PieceIndex) -> LeavesOutcome {
        match self.read(piece) {
            Read::Right => LeavesOutcome::Read(content.leaves(piece)),
            read => LeavesOutcome::Failed { lost: read == Read::Lost },
        }
    }

    /// A piece is to be hashed, compared and written. Says how that ended; the blocks' bytes are given back to their pool
    /// unless the disk refused.
    pub(crate) fn store(
        &mut self,
        now: Time,
        content: &Content,
        piece: PieceIndex,
        blocks: Vec<(BlockRef, Payload)>,
        digests: bool,
    ) -> StoreOutcome<Payload> {
        let all_digests = || blocks.iter().map(|(_, payload)| content.digest(payload.tag())).collect();
        let layout = content.info().layout();
        let whole = layout.requests(piece).map(|(_, block)| block).eq(blocks.iter().map(|(block, _)| *block));
        let right =
            whole && blocks.iter().all(|(block, payload)| payload.tag().block == *block && !payload.tag().corrupt);
        if !right {
            let digests = all_digests();
            return StoreOutcome::Corrupt { blocks, digests };
        }
        let full = self.setup.full.is_some_and(|(from, to)| (from..to).contains(&now));
        if full || self.refuses_writes {
            return StoreOutcome::Failed { blocks, reason: "no room".to_owned() };
        }
        let digests = if digests { all_digests() } else { Vec::new() };
        self.written.set(piece);
        self.rotten.remove(&piece);
        if !self.fails_syncs {
            self.unsynced.retain(|_, at| now.since(*at) < SYNC_EVERY);
        }
        self.unsynced.insert(piece, now);
        StoreOutcome::Written { digests }
    }
}
