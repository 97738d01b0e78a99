//! What is remembered of one connection for peer exchange (BEP 11).
//!
//! Sent are changes since the last message, so what the peer was told is kept; received is at most so much an interval,
//! whoever sends more. Invariant: `told` holds what the peer believes that we are connected to.

use shoal_machine::Time;
use std::collections::BTreeSet;
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::time::Duration;

/// Between two messages to one peer (BEP 11: no more than one a minute).
pub(crate) const INTERVAL: Duration = Duration::from_secs(60);
/// Before the first. Chosen: bitfields and others' extension handshakes are there by then, so that it names more than a few.
pub(crate) const FIRST: Duration = Duration::from_secs(2);
/// A message so soon after the last is left unread. Chosen: the minute of BEP 11, less what timers and lines vary.
const TOO_SOON: Duration = Duration::from_secs(50);
/// Messages that came too soon, with none in time between them, that are borne. Chosen: libtorrent closes at six a minute.
const MAX_TOO_SOON: u32 = 6;

/// The flags of an added peer (BEP 11).
pub(crate) mod flags {
    /// It wants nothing more.
    pub(crate) const SEED: u8 = 0x02;
    /// It speaks `ut_holepunch`.
    pub(crate) const HOLEPUNCH: u8 = 0x08;
    /// We dialed it: it can be reached.
    pub(crate) const OUTGOING: u8 = 0x10;
}

/// One connection's peer exchange.
#[derive(Debug, Default)]
pub(crate) struct PexState {
    /// The peers that were added and not dropped since.
    pub(crate) told: Told,
    /// When the next message may be sent; `None` until the peer says that it takes any.
    pub(crate) next: Option<Time>,
    /// The swarm's count of changes that was looked at last.
    pub(crate) seen_changes: u64,
    /// When a message was last taken.
    taken: Option<Time>,
    too_soon: u32,
}

/// What to do with a message that came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Take,
    /// It came too soon.
    Leave,
    /// Far too many come.
    Flood,
}

impl PexState {
    /// A message came.
    pub(crate) fn received(&mut self, now: Time) -> Verdict {
        if self.taken.is_none_or(|taken| now.since(taken) >= TOO_SOON) {
            self.taken = Some(now);
            self.too_soon = 0;
            return Verdict::Take;
        }
        self.too_soon += 1;
        if self.too_soon > MAX_TOO_SOON { Verdict::Flood } else { Verdict::Leave }
    }
}

/// Addresses that a peer was told of, in order. All of the neighbours for each of the neighbours, so six bytes for one of IPv4
/// count; at most the connections that there may be, and [`shoal_wire::MAX_PEX_PEERS`] that are not dropped yet.
#[derive(Debug, Default)]
pub(crate) struct Told {
    v4: Vec<SocketAddrV4>,
    v6: Vec<SocketAddrV6>,
}

impl Told {
    fn contains(&self, addr: &SocketAddr) -> bool {
        match addr {
            SocketAddr::V4(addr) => self.v4.binary_search(addr).is_ok(),
            SocketAddr::V6(addr) => self.v6.binary_search(addr).is_ok(),
        }
    }

    /// Without effect if it is there.
    pub(crate) fn insert(&mut self, addr: SocketAddr) {
        fn put<A: Ord>(into: &mut Vec<A>, addr: A) {
            if let Err(place) = into.binary_search(&addr) {
                into.insert(place, addr);
            }
        }
        match addr {
            SocketAddr::V4(addr) => put(&mut self.v4, addr),
            SocketAddr::V6(addr) => put(&mut self.v6, addr),
        }
    }

    /// Says whether it was there.
    pub(crate) fn remove(&mut self, addr: &SocketAddr) -> bool {
        fn take<A: Ord>(from: &mut Vec<A>, addr: &A) -> bool {
            from.binary_search(addr).map(|place| from.remove(place)).is_ok()
        }
        match addr {
            SocketAddr::V4(addr) => take(&mut self.v4, addr),
            SocketAddr::V6(addr) => take(&mut self.v6, addr),
        }
    }

    fn iter(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.v4.iter().copied().map(SocketAddr::V4).chain(self.v6.iter().copied().map(SocketAddr::V6))
    }
}

/// What to say to someone who was told `told`, now that `connected` are there: at most `most` of each.
pub(crate) fn changes(
    told: &Told,
    connected: &BTreeSet<SocketAddr>,
    most: usize,
) -> (Vec<SocketAddr>, Vec<SocketAddr>) {
    let added = connected.iter().filter(|addr| !told.contains(addr)).take(most).copied().collect();
    let dropped = told.iter().filter(|addr| !connected.contains(addr)).take(most).collect();
    (added, dropped)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::{btree_set, vec};
    use proptest::prelude::*;

    #[test]
    fn one_message_a_minute_is_taken_and_a_flood_is_told_from_haste() {
        let mut state = PexState::default();
        assert_eq!(state.received(Time::from_secs(0)), Verdict::Take);
        assert_eq!(state.received(Time::from_secs(10)), Verdict::Leave);
        assert_eq!(state.received(Time::from_secs(58)), Verdict::Take);
        for minute in 2..100 {
            assert_eq!(state.received(Time::from_secs(60 * minute)), Verdict::Take);
            assert_eq!(state.received(Time::from_secs(60 * minute + 30)), Verdict::Leave);
        }
        let floods = (0..10).filter(|n| state.received(Time::from_secs(5_972 + n)) == Verdict::Flood).count();
        assert_eq!(floods, 10 - MAX_TOO_SOON as usize + 1, "the one at 30 s counts too");
    }

    proptest! {
        /// Whoever applies what is said knows, once nothing changes, who is connected.
        #[test]
        fn who_follows_the_changes_knows_who_is_connected(
            rounds in vec(btree_set(0_u16..200, 0..150), 1..6),
            most in 1_usize..60,
        ) {
            let addr = |n: &u16| match n % 3 {
                0 => SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 1_024 + n)),
                _ => SocketAddr::from(([1, 2, 3, 4], 1_024 + n)),
            };
            let mut told = Told::default();
            let mut connected = BTreeSet::new();
            for round in rounds {
                connected = round.iter().map(addr).collect();
                let (added, dropped) = changes(&told, &connected, most);
                prop_assert!(added.len() <= most && dropped.len() <= most);
                prop_assert!(added.iter().all(|addr| !dropped.contains(addr)));
                added.into_iter().for_each(|addr| told.insert(addr));
                dropped.iter().for_each(|addr| prop_assert_ok(told.remove(addr)));
            }
            for _ in 0..200_usize.div_ceil(most) {
                let (added, dropped) = changes(&told, &connected, most);
                added.into_iter().for_each(|addr| told.insert(addr));
                dropped.iter().for_each(|addr| prop_assert_ok(told.remove(addr)));
            }
            prop_assert!(told.iter().eq(connected));
        }
    }

    fn prop_assert_ok(known: bool) {
        assert!(known, "dropped is who was added before");
    }
}
