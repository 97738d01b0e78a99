//! A tracker: knows who announced, names some of them to the others (BEP 3).

use super::SwarmLocal;
use super::packet::{Announce, Answer, SwarmPacket};
use crate::{Happening, NodeId, Port};
use shoal_machine::{Rng, Time};
use std::collections::BTreeMap;
use std::time::Duration;

/// Peers named in one answer, at most (as trackers do; BEP 3 has 50 as default).
const MAX_PEERS: usize = 50;

/// One tracker of one torrent.
#[derive(Debug)]
pub struct Tracker {
    interval: Duration,
    /// Who announced, with whether he is complete.
    peers: BTreeMap<NodeId, bool>,
    rng: Rng,
}

impl Tracker {
    pub(crate) fn new(interval: Duration, rng: Rng) -> Tracker {
        Tracker { interval, peers: BTreeMap::new(), rng }
    }

    pub(crate) fn handle(
        &mut self,
        _now: Time,
        happening: Happening<SwarmPacket, SwarmLocal>,
        port: &mut Port<'_, SwarmPacket, SwarmLocal>,
    ) {
        if let Happening::Datagram { from, packet: SwarmPacket::Announce(announce) } = happening {
            let answer = self.answer(from, &announce);
            port.datagram(from, SwarmPacket::Answer(answer));
        }
    }

    fn answer(&mut self, from: NodeId, announce: &Announce) -> Answer {
        if announce.stopped {
            self.peers.remove(&from);
        } else {
            self.peers.insert(from, announce.left == Some(0));
        }
        let mut peers: Vec<NodeId> = self.peers.keys().copied().filter(|&peer| peer != from).collect();
        self.rng.shuffle(&mut peers);
        peers.truncate(MAX_PEERS.min(announce.num_want as usize));
        let seeds = self.peers.values().filter(|&&complete| complete).count() as u32;
        let leeches = self.peers.len() as u32 - seeds;
        Answer { tracker: announce.tracker, peers, seeds, leeches, interval_s: self.interval.as_secs() as u32 }
    }
}
