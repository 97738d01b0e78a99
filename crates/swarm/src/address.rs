//! Whom one could dial.
//!
//! Sources name addresses by the thousand and may lie (a poisoned tracker or PEX message aims us at a third party), so
//! the book is bounded, every address has few tries (reliability.md B6), and what the user typed comes first and is
//! never pushed out by what a stranger said. Invariant: at most [`MAX_KNOWN`] addresses; an address is in one state.

use crate::event::Source;
use shoal_machine::{Rng, Time};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// Addresses kept, at most (reliability.md B6).
const MAX_KNOWN: usize = 2_000;
/// Tries to one address within [`TRY_WINDOW`], unless the user typed it (reliability.md B6).
const MAX_TRIES: u32 = 3;
const TRY_WINDOW: Duration = Duration::from_secs(600);
/// Chosen: the first wait after a failed dial or a lost connection; doubles up to [`RETRY_MAX`].
const RETRY_FIRST: Duration = Duration::from_secs(2);
const RETRY_MAX: Duration = Duration::from_secs(60);

#[derive(Debug, Clone)]
struct Known {
    source: Source,
    state: State,
    /// Dials in the running window.
    tries: u32,
    window_since: Time,
    /// Failures since the last success.
    failures: u32,
    /// It said that it has everything.
    seed: bool,
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
    rng: Rng,
    dialing: usize,
}

/// Whether an address can be a peer's at all.
fn is_dialable(addr: SocketAddr) -> bool {
    let ip = addr.ip().to_canonical();
    let broadcast = matches!(ip, std::net::IpAddr::V4(v4) if v4.is_broadcast());
    addr.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !broadcast
}

impl AddressBook {
    pub(crate) fn new(rng: Rng) -> AddressBook {
        AddressBook { known: BTreeMap::new(), rng, dialing: 0 }
    }

    /// Takes addresses in. A privileged port is believed only from a tracker, the user or the link (reliability.md B6).
    pub(crate) fn add(&mut self, now: Time, source: Source, addrs: &[SocketAddr]) {
        for &addr in addrs {
            let trusted = source <= Source::Tracker;
            if !is_dialable(addr) || (addr.port() < 1024 && !trusted) {
                continue;
            }
            if let Some(known) = self.known.get_mut(&addr) {
                if source < known.source {
                    known.source = source;
                    if let State::Idle { not_before } = &mut known.state {
                        *not_before = now;
                    }
                }
                continue;
            }
            if self.known.len() >= MAX_KNOWN && !self.make_room(source) {
                continue;
            }
            self.known.insert(
                addr,
                Known {
                    source,
                    state: State::Idle { not_before: now },
                    tries: 0,
                    window_since: now,
                    failures: 0,
                    seed: false,
                },
            );
        }
    }

    /// Drops one idle address of a source that is trusted no more than `source`; the most often failed goes first.
    fn make_room(&mut self, source: Source) -> bool {
        let worst = self
            .known
            .iter()
            .filter(|(_, known)| matches!(known.state, State::Idle { .. }) && known.source >= source)
            .max_by_key(|(_, known)| (known.failures, known.source))
            .filter(|(_, known)| known.failures > 0 || known.source > source)
            .map(|(&addr, _)| addr);
        worst.is_some_and(|addr| self.known.remove(&addr).is_some())
    }

    /// The next address to dial, now marked as being dialed: by trust, then fewest failures, then at random.
    pub(crate) fn next(&mut self, now: Time, seeds_too: bool) -> Option<SocketAddr> {
        let mut best: Option<((Source, u32), SocketAddr)> = None;
        let mut ties = 0_u64;
        for (&addr, known) in &mut self.known {
            if !known.may_dial(now) || (known.seed && !seeds_too) {
                continue;
            }
            let key = (known.source, known.failures);
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
        known.tries += 1;
        self.dialing += 1;
        Some(addr)
    }

    /// When an address may be dialed again, if one waits for its time.
    pub(crate) fn next_time(&self, seeds_too: bool) -> Option<Time> {
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
        self.leave(now, addr, true);
    }

    /// A connection to this address (that it listens on, or that was dialed) is open.
    pub(crate) fn connected(&mut self, addr: SocketAddr) {
        let dialing = &mut self.dialing;
        if let Some(known) = self.known.get_mut(&addr) {
            if known.state == State::Dialing {
                *dialing -= 1;
            }
            if known.state != State::Never {
                known.state = State::Connected;
            }
        }
    }

    /// The connection is closed. `useful`: it was a good one, so that its next dial is its first.
    pub(crate) fn disconnected(&mut self, now: Time, addr: SocketAddr, useful: bool) {
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
    }

    /// It has everything: a seed does not dial it.
    pub(crate) fn is_seed(&mut self, addr: SocketAddr) {
        if let Some(known) = self.known.get_mut(&addr) {
            known.seed = true;
        }
    }

    /// Drops what the DHT, other peers and the local network said: the torrent turned out to be private (BEP 27).
    pub(crate) fn forget_public(&mut self) {
        self.known.retain(|_, known| {
            !matches!(known.source, Source::Lan | Source::Dht | Source::Pex)
                || !matches!(known.state, State::Idle { .. })
        });
    }

    /// Never dial it again.
    pub(crate) fn never(&mut self, addr: SocketAddr) {
        if let Some(known) = self.known.get_mut(&addr) {
            if known.state == State::Dialing {
                self.dialing -= 1;
            }
            known.state = State::Never;
        }
    }

    pub(crate) fn check_invariants(&self) {
        assert!(self.known.len() <= MAX_KNOWN);
        let dialing = self.known.values().filter(|known| known.state == State::Dialing).count();
        assert_eq!(dialing, self.dialing, "dials under way");
    }
}

impl Known {
    fn may_dial(&mut self, now: Time) -> bool {
        if now.since(self.window_since) >= TRY_WINDOW {
            self.window_since = now;
            self.tries = 0;
        }
        self.due().is_some_and(|due| due <= now)
    }

    fn due(&self) -> Option<Time> {
        let State::Idle { not_before } = self.state else { return None };
        if self.tries >= MAX_TRIES && self.source != Source::User {
            return Some(not_before.max(self.window_since + TRY_WINDOW));
        }
        Some(not_before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(n: u32) -> SocketAddr {
        SocketAddr::from((std::net::Ipv4Addr::from(0x0a00_0000 + n), 6881))
    }

    #[test]
    fn an_address_is_tried_three_times_in_ten_minutes_and_a_typed_one_more() {
        for (source, most) in [(Source::Pex, 3), (Source::User, 100)] {
            let mut book = AddressBook::new(Rng::new(1));
            book.add(Time::ZERO, source, &[addr(1)]);
            let mut tries = 0;
            for second in 0..590 {
                let now = Time::from_secs(second);
                while let Some(addr) = book.next(now, true) {
                    tries += 1;
                    book.failed(now, addr);
                }
                book.check_invariants();
            }
            assert!(tries <= most && tries >= 3, "{source:?}: {tries}");
            assert_eq!(book.next(Time::from_secs(700), true), Some(addr(1)));
        }
    }

    #[test]
    fn a_flood_of_addresses_is_bounded_and_spares_what_the_user_typed() {
        let mut book = AddressBook::new(Rng::new(1));
        book.add(Time::ZERO, Source::User, &[addr(0)]);
        for n in 1..100_000 {
            book.add(Time::ZERO, Source::Pex, &[addr(n)]);
        }
        book.check_invariants();
        assert_eq!(book.next(Time::ZERO, true), Some(addr(0)));
    }

    #[test]
    fn what_cannot_be_a_peer_is_left_out() {
        let mut book = AddressBook::new(Rng::new(1));
        let bad =
            ["0.0.0.0:1", "224.0.0.1:6881", "255.255.255.255:6881", "10.0.0.1:0", "10.0.0.1:80", "[ff02::1]:6881"];
        book.add(Time::ZERO, Source::Dht, &bad.map(|text| text.parse().unwrap()));
        assert_eq!(book.len(), 0);
        book.add(Time::ZERO, Source::Tracker, &["10.0.0.1:80".parse().unwrap()]);
        assert_eq!(book.len(), 1);
    }

    #[test]
    fn a_banned_address_is_never_dialed_again() {
        let mut book = AddressBook::new(Rng::new(1));
        book.add(Time::ZERO, Source::User, &[addr(1)]);
        assert_eq!(book.next(Time::ZERO, true), Some(addr(1)));
        book.never(addr(1));
        book.disconnected(Time::ZERO, addr(1), true);
        book.add(Time::ZERO, Source::User, &[addr(1)]);
        assert_eq!(book.next(Time::from_secs(10_000), true), None);
        book.check_invariants();
    }
}
