//! Places that are taken by those who have nothing for us, given to others.
//!
//! Whoever is complete as far as we are, or never gets further, may hold a place for hours. While anybody has something for
//! us that does no harm. If nobody has, and somebody else could be reached, one of them goes now and then. Found by the
//! simulator (fault seeds 384, 737, 916): leeches that allow two connections each held each other's, beside an idle seed.
//! Invariant: nobody goes who takes something from us, or gave something lately, or came within the last minute.

use super::{Phase, Swarm};
use crate::event::{DisconnectReason, Effect};
use crate::peer::Peer;
use shoal_machine::{Effects, Time};
use std::time::Duration;

/// One goes in so long, at most. Chosen: time for a dial, handshakes and what the next one says that it has.
const TURN: Duration = Duration::from_secs(20);
/// So long a new peer keeps its place. Chosen: twice an optimistic unchoke (BEP 3).
const GRACE: Duration = Duration::from_secs(60);
/// Bytes within so many seconds count as an exchange. Chosen: as in `connections.rs`.
const LATELY_S: u64 = 20;

impl<P> Swarm<P> {
    /// Whether we lack something that none of those who are connected has.
    pub(super) fn is_stranded(&self) -> bool {
        match &self.phase {
            Phase::Metadata(fetch) => fetch.offers() == 0,
            Phase::Preparing => false,
            Phase::Transfer(transfer) => {
                !transfer.complete && !self.config.serve_only && self.peers.values().all(|peer| peer.wanted_pieces == 0)
            }
        }
    }

    /// Lets one go who is of no use, if that may lead to one who is. Looked at with every tick.
    pub(super) fn turn_over(&mut self, out: &mut Effects<Effect<P>>) {
        // A dial that waits may wait for the host, whose places are taken too.
        let dialing = self.addresses.dialing() > 0;
        let waits = dialing || (!self.has_room_to_dial() && self.addresses.next_time(true).is_some());
        if !waits || self.now.since(self.turned_over) < TURN || !self.is_stranded() {
            return;
        }
        let now = self.now;
        let idle = |peer: &&Peer| is_idle(peer, now);
        if let Some(key) = self.peers.values().filter(idle).min_by_key(|peer| peer.since).map(|peer| peer.key) {
            self.turned_over = now;
            self.close(key, DisconnectReason::Replaced, out);
        }
    }
}

fn is_idle(peer: &Peer, now: Time) -> bool {
    now.since(peer.since) >= GRACE && peer.download.over(now, LATELY_S) == 0 && peer.upload.over(now, LATELY_S) == 0
}
