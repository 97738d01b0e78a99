//! A tracker: knows who announced, names some of them to the others (BEP 3).

use super::SwarmLocal;
use super::act::Act;
use super::packet::{Announce, Answer, SwarmPacket};
use crate::{Happening, NodeId, Port};
use shoal_machine::{Rng, Time};
use std::collections::BTreeMap;
use std::time::Duration;

/// Peers named in one answer, at most (as trackers do; BEP 3 has 50 as default).
const MAX_PEERS: usize = 50;

/// How a tracker answers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TrackerMood {
    /// As it should.
    Helpful,
    /// Not at all.
    Dead,
    /// With an error.
    Refusing,
    /// With addresses at which nobody is.
    Lying,
    /// With nobody.
    Forgetful,
}

/// One tracker of one torrent.
#[derive(Debug)]
pub struct Tracker {
    pub(crate) mood: TrackerMood,
    interval: Duration,
    /// Who announced, with whether he is complete, in no order.
    peers: Vec<(NodeId, bool)>,
    /// Where each is among them.
    places: BTreeMap<NodeId, usize>,
    seeds: u32,
    rng: Rng,
}

impl Tracker {
    pub(crate) fn new(interval: Duration, rng: Rng) -> Tracker {
        Tracker { mood: TrackerMood::Helpful, interval, peers: Vec::new(), places: BTreeMap::new(), seeds: 0, rng }
    }

    pub(crate) fn handle(
        &mut self,
        _now: Time,
        happening: Happening<SwarmPacket, SwarmLocal>,
        port: &mut Port<'_, SwarmPacket, SwarmLocal>,
    ) {
        match happening {
            Happening::Datagram { from, packet: SwarmPacket::Announce(announce) } if self.mood != TrackerMood::Dead => {
                let answer = self.answer(from, &announce);
                port.datagram(from, SwarmPacket::Answer(answer));
            }
            Happening::Local(SwarmLocal::Act(Act::Mood(mood))) => self.mood = mood,
            _ => {}
        }
    }

    fn answer(&mut self, from: NodeId, announce: &Announce) -> Answer {
        let complete = announce.left == Some(0);
        match self.places.get(&from).copied() {
            Some(place) if announce.stopped => {
                self.places.remove(&from);
                self.seeds -= u32::from(self.peers.swap_remove(place).1);
                if let Some(&(moved, _)) = self.peers.get(place) {
                    self.places.insert(moved, place);
                }
            }
            Some(place) => {
                let was = std::mem::replace(&mut self.peers[place].1, complete);
                self.seeds = self.seeds + u32::from(complete) - u32::from(was);
            }
            None if announce.stopped => {}
            None => {
                self.places.insert(from, self.peers.len());
                self.peers.push((from, complete));
                self.seeds += u32::from(complete);
            }
        }
        let most = MAX_PEERS.min(announce.num_want as usize);
        let peers = match self.mood {
            TrackerMood::Helpful => self.some_but(from, most),
            TrackerMood::Dead | TrackerMood::Refusing | TrackerMood::Forgetful => Vec::new(),
            TrackerMood::Lying => (0..most).map(|_| NodeId(self.rng.below(1 << 24) as u32)).collect(),
        };
        let seeds = self.seeds;
        let leeches = self.peers.len() as u32 - seeds;
        Answer {
            tracker: announce.tracker,
            peers,
            seeds,
            leeches,
            interval_s: self.interval.as_secs() as u32,
            refused: self.mood == TrackerMood::Refusing,
        }
    }

    /// So many of the others, or all, in a random order. Cost: a step for each that is named.
    fn some_but(&mut self, from: NodeId, most: usize) -> Vec<NodeId> {
        let mut named = Vec::with_capacity(most.min(self.peers.len()));
        for begun in 0..self.peers.len() {
            if named.len() == most {
                break;
            }
            // Fisher-Yates, as far as it is looked at.
            let chosen = begun + self.rng.index(self.peers.len() - begun);
            self.peers.swap(begun, chosen);
            for place in [begun, chosen] {
                self.places.insert(self.peers[place].0, place);
            }
            named.extend(Some(self.peers[begun].0).filter(|&peer| peer != from));
        }
        named
    }
}
