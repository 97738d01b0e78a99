//! What a run will cost, before it is begun.
//!
//! Measured figures (docs/measurements.md, "The simulator"), rounded up: whoever is told that it fits must not be wrong by much.

use super::params::SwarmParams;
use shoal_layout::BLOCK_LENGTH;

/// Bytes of a peer by itself: machines, disk, address book.
const PEER_BYTES: u64 = 12_000;
/// Bytes of one end of a connection beside its bitfield, with the addresses that are kept for it.
const END_BYTES: u64 = 9_500;
/// Bytes for each neighbour that a peer told the other one of (BEP 11).
const TOLD_BYTES: u64 = 45;
/// Bytes of what a peer knows of a piece: availability, state and order in the picker.
const PIECE_BYTES: u64 = 24;
/// Bytes of blocks and messages on their way, a connection end.
const ON_THE_WAY_BYTES: u64 = 1_500;
/// Events to deliver a block: the request, the block, what timers and `have` come to.
const EVENTS_PER_BLOCK: u64 = 3;

/// What a run will cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Estimate {
    /// Bytes of memory at its peak.
    pub memory_bytes: u64,
    /// Messages delivered and timers fired.
    pub events: u64,
}

/// Estimates a run of these parameters.
pub fn estimate(params: &SwarmParams) -> Estimate {
    let params = &params.scaled();
    let peers = u64::from(params.peers) + u64::from(params.seeds);
    let pieces = params.pieces();
    let ends = peers * (params.neighbours as u64).min(peers - 1);
    let blocks = params.payload.div_ceil(u64::from(BLOCK_LENGTH));
    let memory_bytes = peers.saturating_mul(PEER_BYTES + PIECE_BYTES * pieces)
        + ends.saturating_mul(END_BYTES + ON_THE_WAY_BYTES + TOLD_BYTES * (ends / peers) + pieces / 8)
        // The torrent's own hashes, once, and while they are made.
        + blocks.saturating_mul(96);
    // A piece is told to every neighbour.
    let events =
        u64::from(params.peers).saturating_mul(blocks.saturating_mul(EVENTS_PER_BLOCK) + pieces * (ends / peers));
    Estimate { memory_bytes, events }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::params::tests::params;

    #[test]
    fn more_of_anything_costs_more_and_nothing_overflows() {
        let small = estimate(&params());
        let mut many = params();
        many.peers = 10_000;
        let many = estimate(&many);
        assert!(many.memory_bytes > 100 * small.memory_bytes && many.events > 100 * small.events);
        let mut huge = params();
        (huge.peers, huge.payload, huge.piece_length) = (1_000_000, 1 << 44, 16 << 20);
        assert!(estimate(&huge).memory_bytes > 1 << 40);
    }
}
