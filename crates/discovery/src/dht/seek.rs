//! Lookups of all torrents, carried out.
//!
//! Bounds: a lookup and its announce end within [`LOOKUP_WITHIN`] and [`ANNOUNCE_WITHIN`]; at most [`HURRIED`] torrents that
//! want peers and [`CALM`] that only want to be found are looked up at a time, and of the latter one begins each
//! [`CALM_SPACING`]; so five thousand seeds are announced within their quarter of an hour, and a download never waits behind
//! them. Those that wait are one task a torrent, in the order in which they came.

use super::{Dht, DhtError, DhtNode, Told};
use crate::networks::{Scope, peer_allowed};
use shoal_swarm::{Sought, SourceError, SourceErrorKind};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::Instant;

/// For one lookup. Chosen: they take two to six seconds; somebody who names ever nearer nodes could keep one going.
const LOOKUP_WITHIN: Duration = Duration::from_secs(25);
/// For the announce after it: one round of questions, or, where the tokens were lost, another lookup.
const ANNOUNCE_WITHIN: Duration = Duration::from_secs(12);
/// For a node to be built at the start, names resolved.
const NODE_WITHIN: Duration = Duration::from_secs(6);
/// Torrents looked up at a time because they want peers. Chosen: some 100 packets a second each.
const HURRIED: usize = 8;
/// Torrents looked up at a time because they want to be found.
const CALM: usize = 16;
/// Between two such beginnings: 5,000 torrents in 15 minutes (reliability.md L6).
const CALM_SPACING: Duration = Duration::from_millis(170);
/// Addresses taken from one lookup. Chosen: as many as the address book keeps.
const MAX_PEERS: usize = 2_000;

pub(super) struct Limits {
    hurried: Semaphore,
    calm: Semaphore,
    /// When the next calm one may begin.
    next_calm: Mutex<Instant>,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { hurried: Semaphore::new(HURRIED), calm: Semaphore::new(CALM), next_calm: Mutex::new(Instant::now()) }
    }
}

impl Dht {
    /// Looks a torrent up under all of its hashes, and with `announce` tells that we listen on this TCP port. `found` gets
    /// addresses as they come, each once, none that the rule on private networks forbids. `hurry`: peers are wanted.
    pub async fn seek(
        &self,
        hashes: &[[u8; 20]],
        announce: Option<u16>,
        hurry: bool,
        found: &(dyn Fn(Vec<SocketAddr>) + Sync),
    ) -> Result<Sought, SourceError> {
        let limits = &self.inner.limits;
        let _turn = if hurry {
            limits.hurried.acquire().await
        } else {
            let turn = limits.calm.acquire().await;
            let mut next = limits.next_calm.lock().await;
            tokio::time::sleep_until(*next).await;
            *next = Instant::now() + CALM_SPACING;
            turn
        };
        let Ok(Some(node)) = tokio::time::timeout(NODE_WITHIN, self.node()).await else {
            return Err(self.why_no_node());
        };
        let seen = std::sync::Mutex::new(BTreeSet::new());
        let fresh = |addrs: Vec<SocketAddr>| {
            let mut seen = seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let allow = self.inner.allow_private_networks;
            let mut addrs = addrs;
            addrs.retain(|&addr| {
                peer_allowed(Scope::Public, addr, allow) && seen.len() < MAX_PEERS && seen.insert(addr)
            });
            if !addrs.is_empty() {
                found(addrs);
            }
        };
        let mut sought = Sought::default();
        // One after the other: both meet much the same nodes, and a hybrid would else ask twice as hard.
        let mut failure = None;
        for &hash in hashes {
            sought.responders += look_up(&node, hash, &fresh).await;
            if let Some(port) = announce {
                match announce_to(&node, hash, port).await {
                    Ok(()) => sought.announced += 1,
                    Err(error) => failure = Some(error),
                }
            }
        }
        sought.responders = sought.responders.max(sought.announced);
        sought.peers = seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner).len() as u32;
        sought.nodes = node.status().await.map_or(0, |status| status.nodes as u32);
        let silent = sought.responders == 0 && (failure.is_some() || sought.nodes == 0);
        // It may be full; then the keeper hears the next one.
        let _ = self.inner.told.try_send(if silent { Told::Silence } else { Told::Answer });
        if silent {
            return Err(self.why_silent(failure.as_ref(), sought.nodes));
        }
        Ok(sought)
    }

    fn why_no_node(&self) -> SourceError {
        let running = self.inner.running.borrow();
        match &running.failure {
            Some(why) => SourceError::new(SourceErrorKind::NoRoute, format!("the DHT node cannot start: {why}")),
            None => SourceError::new(SourceErrorKind::Silent, "the DHT node has not started yet"),
        }
    }

    fn why_silent(&self, failure: Option<&DhtError>, nodes: u32) -> SourceError {
        let running = self.inner.running.borrow();
        if running.bootstrap == 0 && !running.unresolved.is_empty() {
            let names = running.unresolved.join("; ");
            return SourceError::new(SourceErrorKind::Dns, format!("no DHT bootstrap node has an address: {names}"));
        }
        let text = match (failure, nodes) {
            (Some(DhtError::Ended), _) => "the DHT node has ended and is started anew".to_owned(),
            (_, 0) => format!("no DHT node answers ({} bootstrap addresses were asked)", running.bootstrap),
            (_, nodes) => format!("no DHT node took the announce ({nodes} are known)"),
        };
        SourceError::new(SourceErrorKind::Silent, text)
    }
}

/// Runs one lookup to its end; gives how many nodes had peers.
async fn look_up(node: &Arc<dyn DhtNode>, hash: [u8; 20], fresh: &impl Fn(Vec<SocketAddr>)) -> u32 {
    let mut answers = 0;
    let looked_up = async {
        let mut batches = node.peers(hash).await;
        while let Some(batch) = batches.recv().await {
            answers += 1;
            fresh(batch);
        }
    };
    let _ = tokio::time::timeout(LOOKUP_WITHIN, looked_up).await;
    answers
}

async fn announce_to(node: &Arc<dyn DhtNode>, hash: [u8; 20], port: u16) -> Result<(), DhtError> {
    tokio::time::timeout(ANNOUNCE_WITHIN, node.announce(hash, port)).await.unwrap_or(Err(DhtError::Silent))
}
