//! A disk that takes its time, fills up, and remembers what it was given.
//!
//! It survives the process: after a kill what was written is found again. It compares hashes as the real one does, by what
//! the tags say.

use super::content::{Content, Payload};
use shoal_layout::{BlockRef, Layout, PieceIndex};
use shoal_machine::Time;
use shoal_pieces::Bitfield;
use shoal_swarm::StoreOutcome;
use std::time::Duration;

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
    written: Bitfield,
}

impl Disk {
    pub(crate) fn new(setup: DiskSetup, written: Bitfield) -> Disk {
        Disk { setup, written }
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
        let right = blocks.iter().all(|(block, payload)| payload.tag().block == *block && !payload.tag().corrupt);
        if !right {
            return StoreOutcome::Corrupt { digests: all_digests() };
        }
        if self.setup.full.is_some_and(|(from, to)| (from..to).contains(&now)) {
            return StoreOutcome::Failed { blocks, reason: "no room".to_owned() };
        }
        let digests = if digests { all_digests() } else { Vec::new() };
        self.written.set(piece);
        StoreOutcome::Written { digests }
    }
}
