//! Which torrent an incoming connection is for.
//!
//! Keyed by the 20 bytes that a handshake carries: a v1 info hash, or the first 20 bytes of a v2 one; a hybrid torrent is
//! listed under both. The lock is held for a lookup only.

use crate::peer::Opened;
use crate::torrent::ToTorrent;
use shoal_swarm::{Event, Source};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

type Inbox = mpsc::UnboundedSender<ToTorrent>;

/// The torrents of a session by hash.
#[derive(Debug, Clone, Default)]
pub(crate) struct Registry {
    torrents: Arc<Mutex<BTreeMap<[u8; 20], Inbox>>>,
}

/// A torrent's place in the registry; given back when dropped.
#[derive(Debug)]
pub(crate) struct Registered {
    registry: Registry,
    hashes: Vec<[u8; 20]>,
}

impl Registry {
    /// Lists a torrent under all of these hashes, or under none if one is taken.
    pub(crate) fn insert(&self, hashes: Vec<[u8; 20]>, inbox: &Inbox) -> Option<Registered> {
        let mut torrents = self.lock();
        if hashes.iter().any(|hash| torrents.contains_key(hash)) {
            return None;
        }
        torrents.extend(hashes.iter().map(|hash| (*hash, inbox.clone())));
        Some(Registered { registry: self.clone(), hashes })
    }

    /// Hands a connection to the torrent that its handshake names, or closes it. The permit bounds how many are on their way.
    pub(crate) fn deliver(&self, opened: Opened, permit: OwnedSemaphorePermit) {
        let inbox = self.lock().get(&opened.handshake.info_hash).cloned();
        match inbox {
            Some(inbox) => drop(inbox.send(ToTorrent::Accepted(Box::new(opened), permit))),
            None => tracing::debug!(addr = %opened.addr, "a peer asks for a torrent that is not here"),
        }
    }

    /// Tells the torrent with this hash, if it is here, of somebody on the local network who has it too.
    pub(crate) fn found_on_lan(&self, hash: [u8; 20], addr: SocketAddr) {
        if let Some(inbox) = self.lock().get(&hash) {
            // An error means that it ends.
            let _ = inbox.send(ToTorrent::Event(Event::Found { source: Source::Lan, addrs: vec![addr] }));
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<[u8; 20], Inbox>> {
        self.torrents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registered {
    /// Lists the torrent under another hash of its own, unless that is taken.
    pub(crate) fn also(&mut self, hash: [u8; 20], inbox: &Inbox) {
        if self.hashes.contains(&hash) {
            return;
        }
        if let Entry::Vacant(vacant) = self.registry.lock().entry(hash) {
            vacant.insert(inbox.clone());
            self.hashes.push(hash);
        }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut torrents = self.registry.lock();
        for hash in &self.hashes {
            torrents.remove(hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hybrid_is_found_by_both_hashes_and_neither_can_be_taken_twice() {
        let registry = Registry::default();
        let (inbox, _kept) = mpsc::unbounded_channel();
        let hybrid = registry.insert(vec![[1; 20], [2; 20]], &inbox).unwrap();
        assert!(registry.insert(vec![[2; 20]], &inbox).is_none());
        assert!(registry.insert(vec![[3; 20], [1; 20]], &inbox).is_none());
        assert!(!registry.lock().contains_key(&[3; 20]), "all or none");
        drop(hybrid);
        let mut link = registry.insert(vec![[2; 20]], &inbox).unwrap();
        link.also([1; 20], &inbox);
        assert!(registry.insert(vec![[1; 20]], &inbox).is_none());
        drop(link);
        assert!(registry.lock().is_empty());
    }
}
