//! What a run will cost, before it is begun.
//!
//! Measured figures (docs/measurements.md, "The simulator"), rounded up: whoever is told that it fits must not be wrong by much.

use super::params::SwarmParams;
use shoal_layout::BLOCK_LENGTH;

/// Bytes of a peer by itself: machines, disk, address book.
const PEER_BYTES: u64 = 12_000;
/// Bytes of one end of a connection beside its bitfield, with the addresses that are kept for it.
const END_BYTES: u64 = 9_500;
/// Bytes for each neighbour that a peer told the other one of (BEP 11): an address, and room to grow.
const TOLD_BYTES: u64 = 9;
/// Bytes of what a peer knows of a piece: availability, state and order in the picker.
const PIECE_BYTES: u64 = 24;
/// Bytes of blocks and messages on their way, a connection end.
const ON_THE_WAY_BYTES: u64 = 1_500;
/// Events to deliver a block: the request, the block, its being read and written, what timers come to.
const EVENTS_PER_BLOCK: u64 = 4;
/// Events of one end of a connection: handshakes, bitfields, interest, chokes, peers told of.
const EVENTS_PER_END: u64 = 13;
/// The same where not everybody can know everybody: others are tried, found full, and replaced.
const EVENTS_PER_CHOSEN_END: u64 = 40;

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
    let neighbours = ends / peers;
    let each_end = if neighbours < peers - 1 { EVENTS_PER_CHOSEN_END } else { EVENTS_PER_END };
    let events = u64::from(params.peers)
        .saturating_mul(blocks.saturating_mul(EVENTS_PER_BLOCK) + (pieces + each_end) * neighbours);
    Estimate { memory_bytes, events }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::params::tests::params;
    use crate::experiment::run_swarm;

    /// Guards what an event is worth as well: who sends more messages, or wakes more often, for the same swarm is slower however
    /// fast the machine.
    #[test]
    fn a_run_takes_about_as_many_events_as_was_estimated() {
        for (peers, payload, piece_length) in
            [(9, 16 << 20, 256 << 10), (40, 1 << 20, 64 << 10), (40, 4 << 20, 16 << 10)]
        {
            let mut params = params();
            (params.peers, params.payload, params.piece_length) = (peers, payload, piece_length);
            let events = run_swarm(&params, 1, &mut |_| true).events;
            let ratio = events as f64 / estimate(&params).events as f64;
            println!("{peers} leeches, {payload} bytes: {events} events, {ratio:.2} of the estimate");
            assert!((0.75..1.25).contains(&ratio), "{peers} leeches, {payload} bytes: {events} events, {ratio}");
        }
    }

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
