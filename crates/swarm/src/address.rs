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
    /// How well it goes with our own address (BEP 40), found out in this ranking.
    rank: Option<u32>,
    ranking: u32,
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
    /// What [`AddressBook::next_time`] answers, and to which question; `None` if that is to be found out anew.
    due: Cell<Option<(bool, Option<Time>)>>,
    /// The most trusted source for whose addresses no room could be made since the last change.
    no_room: Option<Source>,
    /// Our own address by which those of each [kind](kind_of) are ranked.
    ours: [Option<SocketAddr>; KINDS],
    /// Counts how often those changed, from 1: ranks of an earlier ranking are found out anew.
    ranking: u32,
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
pub(crate) fn kind_of(ip: IpAddr) -> usize {
    usize::from(ip.is_ipv4()) * 2 + usize::from(is_one_hosts(ip))
}

/// How many kinds there are.
pub(crate) const KINDS: usize = 4;

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
            ranking: 1,
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
                self.due.set(None);
            }
            return;
        }
        // A full book is offered more with each message of each peer.
        if self.known.len() >= self.most && self.no_room.is_some_and(|refused| source >= refused) {
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
        let known = Known { source, namer, state, tries, failures: 0, seed: false, rank: None, ranking: 0 };
        note_waiting(&self.due, &known);
        self.known.insert(addr, known);
        self.changed();
    }

    /// Something in the book is another: there may be room again.
    fn changed(&mut self) {
        self.no_room = None;
    }

    /// Drops one idle address of a source that is trusted no more than `source`; the most often failed goes first.
    fn make_room(&mut self, now: Time, source: Source) -> bool {
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
        if !self.bounds.left(now, addr, namer, tries, TRY_WINDOW) {
            return false;
        }
        if let Some(known) = self.known.remove(&addr) {
            note_gone(&self.due, known.due());
        }
        true
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
        let mut asked = [false; KINDS];
        type Rank = (Source, u32, Reverse<Option<u32>>);
        let mut best: Option<(Rank, SocketAddr)> = None;
        let mut ties = 0_u64;
        // When the others are due, in the same round: most often the next one to ask wants to know.
        let mut dues = [None::<Time>; 2];
        for (&addr, known) in &mut self.known {
            if known.seed && !seeds_too {
                continue;
            }
            known.renew_tries(now);
            let Some(due) = known.due() else { continue };
            keep_least(&mut dues, due);
            if due > now {
                continue;
            }
            let key = (known.source, known.failures);
            if best.is_some_and(|((source, failures, _), _)| (source, failures) < key) {
                continue;
            }
            let kind = kind_of(addr.ip());
            if !std::mem::replace(&mut asked[kind], true) {
                // It seldom changes.
                let ours = ours(addr.ip());
                self.ranking += u32::from(std::mem::replace(&mut self.ours[kind], ours) != ours);
            }
            if known.ranking != self.ranking {
                known.rank = self.ours[kind].and_then(|ours| priority(ours, addr));
                known.ranking = self.ranking;
            }
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
        let known = best.and_then(|(_, addr)| self.known.get_mut(&addr));
        let taken = known.as_ref().and_then(|known| known.due());
        self.due.set(Some((seeds_too, if taken == dues[0] { dues[1] } else { dues[0] })));
        let known = known?;
        known.state = State::Dialing;
        known.tries.count += 1;
        self.dialing += 1;
        self.changed();
        best.map(|(_, addr)| addr)
    }

    /// When an address may be dialed again, if one waits for its time.
    pub(crate) fn next_time(&self, seeds_too: bool) -> Option<Time> {
        // Asked for after every event, and the book is long.
        if let Some((asked, found)) = self.due.get()
            && asked == seeds_too
        {
            return found;
        }
        let due = self.first_due(seeds_too);
        self.due.set(Some((seeds_too, due)));
        due
    }

    fn first_due(&self, seeds_too: bool) -> Option<Time> {
        self.known.values().filter(|known| seeds_too || !known.seed).filter_map(Known::due).min()
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
                note_gone(&self.due, known.due());
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
        note_gone(&self.due, known.due());
        known.state = State::Idle { not_before: now + wait + jitter };
        note_waiting(&self.due, known);
        let public = known.source.is_public();
        self.changed();
        if self.private && public {
            self.remove(now, addr);
        }
    }

    /// It has everything: a seed does not dial it.
    pub(crate) fn is_seed(&mut self, addr: SocketAddr) {
        if let Some(known) = self.known.get_mut(&addr).filter(|known| !known.seed) {
            known.seed = true;
            note_gone(&self.due, known.due());
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
            note_gone(&self.due, known.due());
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
            note_gone(&self.due, known.due());
            known.state = State::Never;
            self.changed();
        }
    }

    pub(crate) fn check_invariants(&self) {
        assert!(self.known.len() <= MAX_KNOWN);
        let dialing = self.known.values().filter(|known| known.state == State::Dialing).count();
        assert_eq!(dialing, self.dialing, "dials under way");
        if let Some((seeds_too, due)) = self.due.get() {
            assert_eq!(due, self.first_due(seeds_too), "when the next may be dialed");
        }
        self.bounds.check_invariants(self.known.iter().map(|(&addr, known)| (addr, known.namer)));
    }
}

/// Keeps the two earliest, in order.
fn keep_least([first, second]: &mut [Option<Time>; 2], due: Time) {
    if first.is_none_or(|first| due < first) {
        (*first, *second) = (Some(due), *first);
    } else if second.is_none_or(|second| due < second) {
        *second = Some(due);
    }
}

/// One waits for its time that did not before: the answer of [`AddressBook::next_time`] is kept up.
fn note_waiting(answer: &Cell<Option<(bool, Option<Time>)>>, known: &Known) {
    if let Some((seeds_too, due)) = answer.get()
        && (seeds_too || !known.seed)
    {
        answer.set(Some((seeds_too, [due, known.due()].into_iter().flatten().min())));
    }
}

/// One that was due then waits no more: if it was the first, who is now is to be found out anew.
fn note_gone(answer: &Cell<Option<(bool, Option<Time>)>>, due: Option<Time>) {
    if due.is_some() && answer.get().is_some_and(|(_, first)| first >= due) {
        answer.set(None);
    }
}

impl Known {
    fn renew_tries(&mut self, now: Time) {
        if now.since(self.tries.since) >= TRY_WINDOW {
            self.tries = Tries { count: 0, since: now };
        }
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
