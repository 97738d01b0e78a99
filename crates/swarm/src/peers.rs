//! The connected peers, by key.
//!
//! Keys only grow, so a sorted list is a map into which everything is put at the end: finding a peer is a search in a few lines
//! of cache, and each has exactly the memory that it needs. (The nodes of an ordered map of the standard library have room for
//! eleven peers of 1 KB, and half of it stays empty where keys come in order.) Removing one moves the rest: 16 bytes for each of
//! the connections that there may be.

use crate::event::PeerKey;
use crate::peer::Peer;
use std::cell::Cell;
use std::ops::Index;

/// A map from keys to peers, in the order of keys.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    places: Vec<Place>,
    /// Where the last one was found: an event asks for its peer several times.
    last: Cell<usize>,
}

/// Where a peer is, and what most are looked for by, so that those who are not meant are not touched.
#[derive(Debug)]
struct Place {
    key: PeerKey,
    id_sum: u32,
    peer: Box<Peer>,
}

/// Differs for most ids that differ. One who makes many that are alike gains nothing: they are compared whole then.
fn sum_of(id: &[u8; 20]) -> u32 {
    let (words, _) = id.as_chunks::<4>();
    words.iter().fold(0, |sum, word| sum ^ u32::from_le_bytes(*word))
}

impl Peers {
    fn place(&self, key: PeerKey) -> Result<usize, usize> {
        let last = self.last.get();
        if self.places.get(last).is_some_and(|place| place.key == key) {
            return Ok(last);
        }
        self.places.binary_search_by_key(&key, |place| place.key).inspect(|&place| self.last.set(place))
    }

    pub(crate) fn get(&self, key: &PeerKey) -> Option<&Peer> {
        self.place(*key).ok().map(|place| &*self.places[place].peer)
    }

    pub(crate) fn get_mut(&mut self, key: &PeerKey) -> Option<&mut Peer> {
        self.place(*key).ok().map(|place| &mut *self.places[place].peer)
    }

    pub(crate) fn contains_key(&self, key: &PeerKey) -> bool {
        self.place(*key).is_ok()
    }

    /// Puts one in, in the place of one that had its key.
    pub(crate) fn insert(&mut self, key: PeerKey, peer: Peer) {
        let its = Place { key, id_sum: sum_of(&peer.handshake.peer_id), peer: Box::new(peer) };
        match self.place(key) {
            Ok(place) => self.places[place] = its,
            Err(place) => self.places.insert(place, its),
        }
    }

    pub(crate) fn remove(&mut self, key: &PeerKey) -> Option<Peer> {
        self.place(*key).ok().map(|place| *self.places.remove(place).peer)
    }

    /// The first with this id.
    pub(crate) fn with_id(&self, id: &[u8; 20]) -> Option<&Peer> {
        let sum = sum_of(id);
        let mut alike = self.places.iter().filter(|place| place.id_sum == sum).map(|place| &*place.peer);
        alike.find(|peer| peer.handshake.peer_id == *id)
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &PeerKey> {
        self.places.iter().map(|place| &place.key)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &Peer> {
        self.places.iter().map(|place| &*place.peer)
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut Peer> {
        self.places.iter_mut().map(|place| &mut *place.peer)
    }
}

impl Index<&PeerKey> for Peers {
    type Output = Peer;

    fn index(&self, key: &PeerKey) -> &Peer {
        self.get(key).expect("whoever indexes knows that it is there")
    }
}
