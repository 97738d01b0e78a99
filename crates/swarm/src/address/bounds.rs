//! How much of an address book one host, and one who names hosts, may have.
//!
//! A message that names a thousand ports of one host, or the same dead address again and again under new names, would turn a
//! swarm against a third party. Counted are therefore ports of a host, addresses of whoever named them, and the tries to
//! addresses that were pushed out of the book. Invariant: every count is of what is kept somewhere, so all maps are bounded
//! by the book's own bound and by [`MAX_FORGOTTEN`].

use shoal_machine::Time;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Ports of one public host that are known or were tried, at most. Chosen: some homes have a few peers behind one address,
/// and a host that is attacked sees eight connections of ours at a time at most.
const MAX_PORTS: u32 = 8;
/// The same of an address on a local network or this machine, where many peers may share one. Chosen.
const MAX_PORTS_NEAR: u32 = 64;
/// Addresses in the book that one host named, at most. Chosen: a tenth of the book, and all that an honest peer has.
pub(super) const MAX_NAMED: u32 = 200;
/// Addresses in a row that one host named and that could not be reached, after which it is not listened to. Chosen: behind home
/// routers nine in ten cannot be reached, and 50 in a row then come once in two hundred honest messages.
const MAX_DEAD: u32 = 50;
/// Tried addresses that are remembered without being in the book, at most. Chosen: as many as the book holds.
const MAX_FORGOTTEN: usize = 2_000;

/// Dials to one address, and since when they count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tries {
    pub(super) count: u32,
    pub(super) since: Time,
}

/// What one host that names others has in the book.
#[derive(Debug, Default)]
struct Namer {
    named: u32,
    /// Addresses of its that failed since one of them was reached.
    dead: u32,
}

/// The counts.
#[derive(Debug, Default)]
pub(super) struct Bounds {
    ports: BTreeMap<IpAddr, u32>,
    namers: BTreeMap<IpAddr, Namer>,
    forgotten: BTreeMap<SocketAddr, Tries>,
}

impl Bounds {
    /// Whether the book may take another port of this host.
    pub(super) fn has_room_for(&self, ip: IpAddr) -> bool {
        let most = if crate::address::is_one_hosts(ip) { MAX_PORTS } else { MAX_PORTS_NEAR };
        self.ports.get(&ip).is_none_or(|&ports| ports < most)
    }

    /// Whether this host may have another address in the book.
    pub(super) fn may_name(&self, namer: IpAddr) -> bool {
        self.namers.get(&namer).is_none_or(|namer| namer.named < MAX_NAMED && namer.dead < MAX_DEAD)
    }

    /// An address comes into the book; gives the tries that it had when it left.
    pub(super) fn entered(&mut self, addr: SocketAddr, namer: Option<IpAddr>) -> Option<Tries> {
        if let Some(namer) = namer {
            self.namers.entry(namer).or_default().named += 1;
        }
        let tries = self.forgotten.remove(&addr);
        if tries.is_none() {
            *self.ports.entry(addr.ip()).or_default() += 1;
        }
        tries
    }

    /// An address leaves the book; its tries are remembered until `window` after their first. False, and nothing changed, if
    /// there is no room to remember them.
    pub(super) fn left(
        &mut self,
        now: Time,
        addr: SocketAddr,
        namer: Option<IpAddr>,
        tries: Tries,
        window: Duration,
    ) -> bool {
        let counts = tries.count > 0 && now.since(tries.since) < window;
        if counts {
            if self.forgotten.len() >= MAX_FORGOTTEN {
                self.forget(now, window);
            }
            if self.forgotten.len() >= MAX_FORGOTTEN {
                return false;
            }
            self.forgotten.insert(addr, tries);
        } else {
            self.port_left(addr.ip());
        }
        if let Some(namer) = namer {
            self.unnamed(namer);
        }
        true
    }

    /// Drops the tries that count no more.
    fn forget(&mut self, now: Time, window: Duration) {
        let old = |tries: &Tries| now.since(tries.since) >= window;
        let gone: Vec<SocketAddr> =
            self.forgotten.iter().filter(|(_, tries)| old(tries)).map(|(&addr, _)| addr).collect();
        for addr in gone {
            self.forgotten.remove(&addr);
            self.port_left(addr.ip());
        }
    }

    fn port_left(&mut self, ip: IpAddr) {
        if let Some(ports) = self.ports.get_mut(&ip) {
            *ports -= 1;
            if *ports == 0 {
                self.ports.remove(&ip);
            }
        }
    }

    /// An address is no longer `namer`'s, or no longer in the book.
    pub(super) fn unnamed(&mut self, namer: IpAddr) {
        if let Some(of) = self.namers.get_mut(&namer) {
            of.named -= 1;
            // Who named nothing but dead addresses is remembered as long as one of them is known.
            if of.named == 0 {
                self.namers.remove(&namer);
            }
        }
    }

    /// An address that `namer` named was dialed.
    pub(super) fn tried(&mut self, namer: IpAddr, reached: bool) {
        if let Some(of) = self.namers.get_mut(&namer) {
            of.dead = if reached { 0 } else { of.dead.saturating_add(1) };
        }
    }

    /// Panics unless the counts are those of the book: its addresses, and who named them.
    pub(super) fn check_invariants(&self, book: impl Iterator<Item = (SocketAddr, Option<IpAddr>)>) {
        let (mut ports, mut named) = (BTreeMap::<IpAddr, u32>::new(), BTreeMap::<IpAddr, u32>::new());
        for (addr, namer) in book {
            *ports.entry(addr.ip()).or_default() += 1;
            if let Some(namer) = namer {
                *named.entry(namer).or_default() += 1;
            }
        }
        for addr in self.forgotten.keys() {
            *ports.entry(addr.ip()).or_default() += 1;
        }
        assert!(self.forgotten.len() <= MAX_FORGOTTEN);
        assert_eq!(ports, self.ports, "ports of hosts");
        assert!(self.namers.iter().map(|(ip, namer)| (ip, &namer.named)).eq(named.iter()), "who named what");
    }
}
