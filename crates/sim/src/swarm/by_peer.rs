//! What a driver keeps for each peer of its swarm.
//!
//! Keys only grow, so a sorted list is a map into which everything is put at the end, and a search goes through one or two lines of
//! cache; see the swarm's own list of peers.

use shoal_swarm::PeerKey;

/// A map from peers to something small.
#[derive(Debug)]
pub(super) struct ByPeer<T>(Vec<(PeerKey, T)>);

impl<T: Copy> ByPeer<T> {
    pub(super) const fn new() -> ByPeer<T> {
        ByPeer(Vec::new())
    }

    fn place(&self, peer: PeerKey) -> Result<usize, usize> {
        self.0.binary_search_by_key(&peer, |(its, _)| *its)
    }

    pub(super) fn get(&self, peer: PeerKey) -> Option<T> {
        self.place(peer).ok().map(|place| self.0[place].1)
    }

    pub(super) fn insert(&mut self, peer: PeerKey, value: T) {
        match self.place(peer) {
            Ok(place) => self.0[place].1 = value,
            Err(place) => self.0.insert(place, (peer, value)),
        }
    }

    pub(super) fn remove(&mut self, peer: PeerKey) {
        if let Ok(place) = self.place(peer) {
            self.0.remove(place);
        }
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
