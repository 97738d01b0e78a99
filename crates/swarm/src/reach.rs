//! How the addresses of a torrent fared when they were dialed, for the reason why nothing moves.
//!
//! Beside the address book, which decides whom to dial: this one only counts. Invariant: at most [`MAX_KEPT`] addresses;
//! one that was reached is not in it.

use crate::failure::DialFailure;
use crate::reason::Reached;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// Addresses remembered, at most. Chosen: as many as the address book knows (reliability.md B6).
const MAX_KEPT: usize = 2_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Failed(DialFailure),
    Ourselves,
}

/// How dials ended.
#[derive(Debug, Default)]
pub(crate) struct Reach {
    ends: BTreeMap<SocketAddr, End>,
}

impl Reach {
    pub(crate) fn failed(&mut self, addr: SocketAddr, failure: DialFailure) {
        self.keep(addr, End::Failed(failure));
    }

    pub(crate) fn is_ourselves(&mut self, addr: SocketAddr) {
        self.keep(addr, End::Ourselves);
    }

    pub(crate) fn reached(&mut self, addr: SocketAddr) {
        self.ends.remove(&addr);
    }

    /// `known`: addresses in the book. `dialing`: those that are being dialed; they count as silent, which they are
    /// until they answer.
    pub(crate) fn counts(&self, known: u32, dialing: u32, banned: u32) -> Reached {
        let count = |wanted: End| self.ends.values().filter(|end| **end == wanted).count() as u32;
        let failed = |failure| count(End::Failed(failure));
        let known = known.saturating_sub(count(End::Ourselves)).saturating_sub(banned);
        let (refused, no_route, broke) =
            (failed(DialFailure::Refused), failed(DialFailure::NoRoute), failed(DialFailure::Broke));
        // One that failed before may be dialed again now: it is counted by how it failed.
        let fresh = known.saturating_sub(self.ends.len() as u32).min(dialing);
        let silent = failed(DialFailure::Silent) + fresh;
        Reached { known, refused, silent, no_route, broke, banned, forbidden: 0 }
    }

    fn keep(&mut self, addr: SocketAddr, end: End) {
        if self.ends.len() < MAX_KEPT || self.ends.contains_key(&addr) {
            self.ends.insert(addr, end);
        }
    }
}
