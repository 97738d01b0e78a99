//! Whom one could dial.
//!
//! Sources name addresses by the thousand and may lie (a poisoned tracker or PEX message aims us at a third party), so
//! the book is bounded, every address has few tries (reliability.md B6), and what the user typed comes first and is
//! never pushed out by what a stranger said. Of equals the one is dialed that goes best with us (BEP 40). Invariant: at
//! most [`MAX_KNOWN`] addresses; an address is in one state; at most [`MAX_TRIES`] dials to one in [`TRY_WINDOW`], also
//! when it was pushed out meanwhile.

mod bounds;

use crate::event::Source;
use crate::priority::priority;
use bounds::{Bounds, Tries};
use shoal_machine::{Rng, Time};
use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Addresses kept, at most (reliability.md B6).
const MAX_KNOWN: usize = 2_000;
/// Addresses kept for each connection that there may be. Chosen: at the default of 100 connections just the bound above.
const KNOWN_PER_CONNECTION: usize = 20;
/// Tries to one address within [`TRY_WINDOW`], unless the user typed it (reliability.md B6).
const MAX_TRIES: u32 = 3;
const TRY_WINDOW: Duration = Duration::from_secs(600);
/// Chosen: the first wait after a failed dial or a lost connection; doubles up to [`RETRY_MAX`].
const RETRY_FIRST: Duration = Duration::from_secs(2);
const RETRY_MAX: Duration = Duration::from_secs(60);

#[derive(Debug, Clone)]
struct Known {
    source: Source,
    /// The host that named it, if another peer did.
    namer: Option<IpAddr>,
    state: State,
    /// Dials in the running window.
    tries: Tries,
    /// Failures since the last success.
    failures: u32,
    /// It said that it has everything.
    seed: bool,
    /// How well it goes with our own address (BEP 40), once that was found out; holds while `AddressBook::ours` does.
    rank: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle {
        not_before: Time,
    },
    Dialing,
    Connected,
    /// Banned, or our own address.
    Never,
}

/// The addresses that are known for one torrent.
#[derive(Debug)]
pub(crate) struct AddressBook {
    known: BTreeMap<SocketAddr, Known>,
    bounds: Bounds,
    /// Where we listen.
    own: BTreeSet<SocketAddr>,
    /// Only addresses of local networks and of this machine are taken (`--lan-only`).
    near_only: bool,
    /// The torrent is private: addresses that others than trackers and the user named leave when they can.
    private: bool,
    /// What [`AddressBook::next_time`] found since the last change, and for which question.
    due: Cell<Option<(bool, Option<Time>)>>,
    /// The most trusted source for whose addresses no room could be made since the last change.
    no_room: Option<Source>,
    /// Our own address by which those of each [kind](kind_of) are ranked.
    ours: [Option<SocketAddr>; KINDS],
    rng: Rng,
    dialing: usize,
    /// Addresses kept, at most.
    most: usize,
}

/// Whether an address stands for one host, as far as that can be told: addresses of local networks and of this machine are
/// not its own, and several peers may share one.
pub(crate) fn is_one_hosts(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => !(ip.is_private() || ip.is_loopback() || ip.is_link_local()),
        IpAddr::V6(ip) => !(ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local()),
    }
}

/// Our own address is the same for all that are of one kind: of a family, and of the internet or not.
fn kind_of(ip: IpAddr) -> usize {
    usize::from(ip.is_ipv4()) * 2 + usize::from(is_one_hosts(ip))
}

const KINDS: usize = 4;

/// Whether an address can be a peer's at all.
fn is_dialable(addr: SocketAddr) -> bool {
    let ip = addr.ip().to_canonical();
    let broadcast = matches!(ip, std::net::IpAddr::V4(v4) if v4.is_broadcast());
    addr.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !broadcast
}

impl AddressBook {
    /// `own`: where we listen; `near_only`: take addresses of local networks and of this machine only.
    pub(crate) fn new(own: impl IntoIterator<Item = SocketAddr>, near_only: bool, rng: Rng) -> AddressBook {
        AddressBook {
            known: BTreeMap::new(),
            bounds: Bounds::default(),
            own: own.into_iter().collect(),
            near_only,
            private: false,
            due: Cell::new(None),
            no_room: None,
            ours: [None; KINDS],
            rng,
            dialing: 0,
            most: MAX_KNOWN,
        }
    }

    /// Keeps no more than so many connections have use for.
    pub(crate) fn for_connections(mut self, connections: usize) -> AddressBook {
        self.most = connections.saturating_mul(KNOWN_PER_CONNECTION).min(MAX_KNOWN);
        self
    }

    /// Takes addresses in. A privileged port is believed only from a tracker, the user or the link (reliability.md B6).
    pub(crate) fn add(&mut self, now: Time, source: Source, addrs: &[SocketAddr]) {
        for &addr in addrs {
            self.add_one(now, source, None, addr);
        }
    }

    /// Takes an address in that another peer, at `namer`, named (BEP 11).
    pub(crate) fn add_named(&mut self, now: Time, namer: IpAddr, addr: SocketAddr) {
        self.add_one(now, Source::Pex, Some(namer), addr);
    }

    fn add_one(&mut self, now: Time, source: Source, namer: Option<IpAddr>, addr: SocketAddr) {
        let addr = match addr.ip().to_canonical() {
            ip if ip == addr.ip() => addr,
            ip => SocketAddr::new(ip, addr.port()),
        };
        let trusted = source <= Source::Tracker;
        let near = !is_one_hosts(addr.ip());
        if !is_dialable(addr) || (addr.port() < 1024 && !trusted) || self.own.contains(&addr) {
            return;
        }
        if (self.near_only && !near && source != Source::User) || (self.private && source.is_public()) {
            return;
        }
        if let Some(known) = self.known.get_mut(&addr) {
            if source < known.source {
                known.source = source;
                if let Some(namer) = known.namer.take() {
                    self.bounds.unnamed(namer);
                }
                if let State::Idle { not_before } = &mut known.state {
                    *not_before = now;
                }
                self.changed();
            }
            return;
        }
        // What the user and the link name is bounded by itself.
        if source > Source::Link && !self.bounds.has_room_for(addr.ip()) {
            return;
        }
        if namer.is_some_and(|namer| !self.bounds.may_name(namer)) {
            return;
        }
        if self.known.len() >= self.most && !self.make_room(now, source) {
            return;
        }
        let tries = self.bounds.entered(addr, namer).unwrap_or(Tries { count: 0, since: now });
        let state = State::Idle { not_before: now };
        self.known.insert(addr, Known { source, namer, state, tries, failures: 0, seed: false, rank: None });
        self.changed();
    }

    /// Something in the book is another: what was found out by going through it is to be found out anew.
    fn changed(&mut self) {
        self.due.set(None);
        self.no_room = None;
    }

    /// Drops one idle address of a source that is trusted no more than `source`; the most often failed goes first.
    fn make_room(&mut self, now: Time, source: Source) -> bool {
        // A full book is offered more with each message of each peer.
        if self.no_room.is_some_and(|refused| source >= refused) {
            return false;
        }
        let idle = |known: &Known| matches!(known.state, State::Idle { .. }) && known.source >= source;
        let worse = |known: &Known| known.failures > 0 || known.source > source;
        let worst = self
            .known
            .iter()
            .filter(|(_, known)| idle(known) && worse(known))
            .max_by_key(|(_, known)| (known.failures, known.source))
            .map(|(&addr, known)| (addr, known.namer, known.tries));
        let Some((addr, namer, tries)) = worst else {
            self.no_room = Some(source);
            return false;
        };
        let left = self.bounds.left(now, addr, namer, tries, TRY_WINDOW);
        left && self.known.remove(&addr).is_some()
    }

    /// The next address to dial, now marked as being dialed: by trust, then fewest failures, then by what goes best with
    /// our own address (BEP 40), of which `ours` gives the one for a family, then at random.
    pub(crate) fn next(
        &mut self,
        now: Time,
        seeds_too: bool,
        ours: impl Fn(IpAddr) -> Option<SocketAddr>,
    ) -> Option<SocketAddr> {
        // Most events find nobody to dial, and the book is long.
        if self.next_time(seeds_too).is_none_or(|due| due > now) {
            return None;
        }
        let (mut asked, mut differs) = ([false; KINDS], [false; KINDS]);
        type Rank = (Source, u32, Reverse<Option<u32>>);
        let mut best: Option<(Rank, SocketAddr)> = None;
        let mut ties = 0_u64;
        for (&addr, known) in &mut self.known {
            let kind = kind_of(addr.ip());
            if !std::mem::replace(&mut asked[kind], true) {
                // It seldom changes; finding it out is a vote.
                let ours = ours(addr.ip());
                differs[kind] = std::mem::replace(&mut self.ours[kind], ours) != ours;
            }
            if differs[kind] {
                known.rank = None;
            }
            if !known.may_dial(now) || (known.seed && !seeds_too) {
                continue;
            }
            let key = (known.source, known.failures);
            if best.is_some_and(|((source, failures, _), _)| (source, failures) < key) {
                continue;
            }
            known.rank = known.rank.or_else(|| priority(self.ours[kind]?, addr));
            let key = (key.0, key.1, Reverse(known.rank));
            match &best {
                Some((held, _)) if *held < key => {}
                Some((held, _)) if *held == key => {
                    ties += 1;
                    if self.rng.below(ties) == 0 {
                        best = Some((key, addr));
                    }
                }
                _ => {
                    ties = 1;
                    best = Some((key, addr));
                }
            }
        }
        let (_, addr) = best?;
        let known = self.known.get_mut(&addr)?;
        known.state = State::Dialing;
        known.tries.count += 1;
        self.dialing += 1;
        self.changed();
        Some(addr)
    }

    /// When an address may be dialed again, if one waits for its time.
    pub(crate) fn next_time(&self, seeds_too: bool) -> Option<Time> {
        // Asked for after every event, and the book is long.
        if let Some((asked, found)) = self.due.get()
            && asked == seeds_too
        {
            return found;
        }
        let due = self.known.values().filter(|known| seeds_too || !known.seed).filter_map(Known::due).min();
        self.due.set(Some((seeds_too, due)));
        due
    }

    /// How many dials are under way.
    pub(crate) fn dialing(&self) -> usize {
        self.dialing
    }

    /// How many addresses are known.
    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    pub(crate) fn failed(&mut self, now: Time, addr: SocketAddr) {
        if let Some(namer) = self.known.get(&addr).and_then(|known| known.namer) {
            self.bounds.tried(namer, false);
        }
        self.leave(now, addr, true);
    }

    /// Whether the user typed it or the link carries it.
    pub(crate) fn is_chosen(&self, addr: SocketAddr) -> bool {
        self.known.get(&addr).is_some_and(|known| known.source <= Source::Link)
    }

    /// Whether a dial that was ordered is still wanted.
    pub(crate) fn wants_dial(&self, addr: SocketAddr) -> bool {
        self.known
            .get(&addr)
            .is_some_and(|known| known.state == State::Dialing && !(self.private && known.source.is_public()))
    }

    /// A connection to this address (that it listens on, or that was dialed) is open.
    pub(crate) fn connected(&mut self, addr: SocketAddr) {
        let dialing = &mut self.dialing;
        if let Some(known) = self.known.get_mut(&addr) {
            if known.state == State::Dialing {
                *dialing -= 1;
                if let Some(namer) = known.namer {
                    self.bounds.tried(namer, true);
                }
            }
            if known.state != State::Never {
                known.state = State::Connected;
            }
            self.changed();
        }
    }

    /// The connection is closed. `useful`: it was a good one, so that its next dial is its first.
    pub(crate) fn disconnected(&mut self, now: Time, addr: SocketAddr, useful: bool) {
        if let Some(known) = self.known.get_mut(&addr).filter(|_| useful) {
            // Who gave good pieces is no stranger's lure (B6): a path that breaks often is taken up again each time.
            known.tries = Tries { count: 0, since: now };
        }
        self.leave(now, addr, !useful);
    }

    fn leave(&mut self, now: Time, addr: SocketAddr, failed: bool) {
        let dialing = &mut self.dialing;
        let Some(known) = self.known.get_mut(&addr) else { return };
        if known.state == State::Dialing {
            *dialing -= 1;
        }
        if known.state == State::Never {
            return;
        }
        known.failures = if failed { known.failures.saturating_add(1) } else { 0 };
        let wait = RETRY_FIRST.saturating_mul(1 << known.failures.saturating_sub(1).min(10)).min(RETRY_MAX);
        let jitter = wait.mul_f64(self.rng.unit() * 0.2);
        known.state = State::Idle { not_before: now + wait + jitter };
        let public = known.source.is_public();
        self.changed();
        if self.private && public {
            self.remove(now, addr);
        }
    }

    /// It has everything: a seed does not dial it.
    pub(crate) fn is_seed(&mut self, addr: SocketAddr) {
        if let Some(known) = self.known.get_mut(&addr) {
            known.seed = true;
            self.changed();
        }
    }

    /// Drops what the DHT, other peers and the local network said: the torrent turned out to be private (BEP 27).
    pub(crate) fn forget_public(&mut self, now: Time) {
        let idle_public = |known: &Known| known.source.is_public() && matches!(known.state, State::Idle { .. });
        let gone: Vec<SocketAddr> =
            self.known.iter().filter(|(_, known)| idle_public(known)).map(|(&addr, _)| addr).collect();
        self.private = true;
        for addr in gone {
            self.remove(now, addr);
        }
    }

    /// Whether a source named it that a private torrent must not use.
    pub(crate) fn is_public(&self, addr: SocketAddr) -> bool {
        self.known.get(&addr).is_some_and(|known| known.source.is_public())
    }

    /// Forgets an address, or at least never dials it where its tries cannot be remembered otherwise.
    fn remove(&mut self, now: Time, addr: SocketAddr) {
        let Some(known) = self.known.get(&addr) else { return };
        if self.bounds.left(now, addr, known.namer, known.tries, TRY_WINDOW) {
            self.known.remove(&addr);
            self.changed();
        } else {
            self.never(addr);
        }
    }

    /// Never dial it again.
    pub(crate) fn never(&mut self, addr: SocketAddr) {
        if let Some(known) = self.known.get_mut(&addr) {
            if known.state == State::Dialing {
                self.dialing -= 1;
            }
            known.state = State::Never;
            self.changed();
        }
    }

    pub(crate) fn check_invariants(&self) {
        assert!(self.known.len() <= MAX_KNOWN);
        let dialing = self.known.values().filter(|known| known.state == State::Dialing).count();
        assert_eq!(dialing, self.dialing, "dials under way");
        self.bounds.check_invariants(self.known.iter().map(|(&addr, known)| (addr, known.namer)));
    }
}

impl Known {
    fn may_dial(&mut self, now: Time) -> bool {
        if now.since(self.tries.since) >= TRY_WINDOW {
            self.tries = Tries { count: 0, since: now };
        }
        self.due().is_some_and(|due| due <= now)
    }

    fn due(&self) -> Option<Time> {
        let State::Idle { not_before } = self.state else { return None };
        if self.tries.count >= MAX_TRIES && self.source != Source::User {
            return Some(not_before.max(self.tries.since + TRY_WINDOW));
        }
        Some(not_before)
    }
}

#[cfg(test)]
mod tests;
