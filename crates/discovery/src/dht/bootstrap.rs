//! Whom a new node asks first.
//!
//! In this order: what the user typed, or else some of the nodes remembered from the last run and the well-known names; then
//! nodes that torrents and peers named. Names are resolved by us, all at once, within a time limit, so that no name server can
//! hold up the node. Only IPv4 addresses count, since the node speaks nothing else.

use super::{DhtConfig, cache};
use crate::networks::{Scope, peer_allowed};
use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::task::JoinSet;

/// Nodes that are there for this (BEP 5 names none; these are what other clients ask, looked up in `mainline` and libtorrent).
pub const WELL_KNOWN: [(&str, u16); 4] = [
    ("router.bittorrent.com", 6881),
    ("dht.transmissionbt.com", 6881),
    ("dht.libtorrent.org", 25401),
    ("router.utorrent.com", 6881),
];
/// Bootstrap addresses of one node, at most: each of them is asked in every lookup while few nodes are known.
pub(super) const MAX_ADDRS: usize = 16;
/// Of them, remembered ones, so that there is room for the well-known. Chosen.
const MAX_REMEMBERED: usize = 10;
/// For all names together. Chosen: longer than a name server's own second try.
const RESOLVE_WITHIN: Duration = Duration::from_secs(4);
/// The same where enough nodes are remembered to begin with. Chosen: what a near name server needs.
const RESOLVE_BRIEFLY: Duration = Duration::from_millis(300);

/// Whom to ask, and what could not be found out.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Bootstrap {
    /// At most [`MAX_ADDRS`].
    pub(super) addrs: Vec<SocketAddr>,
    /// Names without an address, with the reason.
    pub(super) unresolved: Vec<String>,
}

/// Collects addresses for a new node. `told`: what torrents and peers named, newest last.
pub(super) async fn collect(
    config: &DhtConfig,
    remembered: &[SocketAddr],
    told: &VecDeque<(String, u16)>,
) -> Bootstrap {
    let (typed, allow) = (&config.bootstrap, config.allow_private_networks);
    let allowed = |addr: &SocketAddr| addr.is_ipv4() && peer_allowed(Scope::Public, *addr, allow);
    let remembered: Vec<SocketAddr> = if typed.is_empty() {
        cache::some_of(remembered, MAX_REMEMBERED).into_iter().filter(allowed).collect()
    } else {
        Vec::new()
    };
    let first = if typed.is_empty() { &config.well_known } else { typed };
    let within = if remembered.len() >= MAX_REMEMBERED { RESOLVE_BRIEFLY } else { RESOLVE_WITHIN };
    let told: Vec<_> = told.iter().rev().take(MAX_ADDRS).cloned().collect();
    let (mut resolved, unresolved) = resolve(first, within).await;
    let (mut named, _) = resolve(&told, within).await;
    if typed.is_empty() {
        resolved.retain(allowed);
    } else {
        // What the user typed is accepted on any network.
        resolved.retain(SocketAddr::is_ipv4);
    }
    named.retain(allowed);
    let mut seen = BTreeSet::new();
    // Half of the room for what was asked for first, so that nothing can crowd out the others.
    let firsts = resolved.into_iter().take(if typed.is_empty() { MAX_ADDRS / 4 } else { MAX_ADDRS });
    let addrs = firsts.chain(named.into_iter().take(MAX_ADDRS / 2)).chain(remembered);
    let addrs = addrs.filter(|addr| seen.insert(*addr)).take(MAX_ADDRS).collect();
    Bootstrap { addrs, unresolved }
}

/// Addresses in the order of the names, one or two a name; and the names that have none.
async fn resolve(names: &[(String, u16)], within: Duration) -> (Vec<SocketAddr>, Vec<String>) {
    let mut lookups = JoinSet::new();
    for (place, (host, port)) in names.iter().take(2 * MAX_ADDRS).cloned().enumerate() {
        lookups.spawn(async move {
            let found = tokio::time::timeout(within, tokio::net::lookup_host((host.as_str(), port))).await;
            let found = match found {
                Ok(Ok(found)) => Ok(found.filter(SocketAddr::is_ipv4).take(2).collect::<Vec<_>>()),
                Ok(Err(error)) => Err(format!("{host}: {error}")),
                Err(_) => Err(format!("{host}: no answer from the name server")),
            };
            (place, found)
        });
    }
    let mut answers = lookups.join_all().await;
    answers.sort_by_key(|(place, _)| *place);
    let (mut addrs, mut unresolved) = (Vec::new(), Vec::new());
    for (_, answer) in answers {
        match answer {
            Ok(found) => addrs.extend(found),
            Err(why) => unresolved.push(why),
        }
    }
    (addrs, unresolved)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(texts: &[&str]) -> Vec<(String, u16)> {
        texts.iter().map(|host| ((*host).to_owned(), 6881)).collect()
    }

    fn config(typed: Vec<(String, u16)>, allow_private_networks: bool) -> DhtConfig {
        DhtConfig { bootstrap: typed, well_known: Vec::new(), allow_private_networks, ..DhtConfig::default() }
    }

    #[tokio::test]
    async fn typed_nodes_are_used_on_any_network_and_others_only_where_they_may() {
        let told = VecDeque::from(names(&["127.0.0.2", "10.0.0.1", "1.2.3.4", "::1"]));
        let found = collect(&config(names(&["127.0.0.1", "::1"]), false), &[], &told).await;
        assert_eq!(found.addrs, ["127.0.0.1:6881".parse().unwrap(), "1.2.3.4:6881".parse().unwrap()]);
        let found = collect(&config(names(&["127.0.0.1"]), true), &[], &told).await;
        assert_eq!(found.addrs.len(), 4);
    }

    #[tokio::test]
    async fn there_are_never_more_than_sixteen() {
        let many: Vec<_> = (0..100).map(|n| (format!("1.2.3.{n}"), 6881)).collect();
        // Some of these are taken at random: others than those that are named.
        let remembered: Vec<SocketAddr> = (0..100).map(|n| SocketAddr::from(([1, 2, 4, n], 6881))).collect();
        for typed in [many.clone(), Vec::new()] {
            let found = collect(&config(typed, false), &remembered, &many.clone().into()).await;
            assert_eq!(found.addrs.len(), MAX_ADDRS);
        }
    }
}
