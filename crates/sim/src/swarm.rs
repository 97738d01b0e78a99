//! The laboratory for swarms: the product's machines over virtual links, with virtual disks, trackers and rogues.
//!
//! [`Scenario`] is the small language in which tests say who is there, how they are connected and what goes wrong; it gives
//! a [`Simulation`] of [`SwarmNode`]s and knows when all are done. What is around one machine is in [`PeerSite`].
//!
//! Not modelled here: bytes of payload, HTTP (a web seed is its rate, its delay and its manners), TCP's own control of its rate.

mod act;
mod by_peer;
mod content;
mod disk;
mod packet;
mod peer;
mod process;
mod referee;
mod rogue;
mod scenario;
mod setup;
mod tracker;
mod web_seed;

pub use act::Act;
pub use content::{Content, Kind, Payload, Tag};
pub use disk::DiskSetup;
pub use packet::{Announce, Answer, LinkBytes, SwarmPacket};
pub use peer::PeerSite;
pub use process::{Process, ProcessEffect, ProcessEvent};
pub use rogue::{Misbehaviour, Rogue};
pub use scenario::{Report, Scenario};
pub use setup::{PeerRecord, PeerSetup};
pub use tracker::{Tracker, TrackerMood};
pub use web_seed::{WebSeedKind, WebSeedSetup};

use crate::{Happening, LinkId, MachineNode, MachineScratch, Node, NodeId, Port, Simulation};
use shoal_layout::{BlockRef, PieceIndex};
use shoal_machine::Time;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// A swarm in virtual time.
pub type SwarmSimulation = Simulation<SwarmNode>;

/// Whoever takes part in a swarm.
pub enum SwarmNode {
    /// A peer with the product's machine.
    Peer(Box<MachineNode<PeerSite>>),
    /// A tracker.
    Tracker(Box<Tracker>),
    /// A peer that does not keep to the protocol.
    Rogue(Box<Rogue>),
}

/// What a node of a swarm puts aside for later.
#[derive(Debug, Hash)]
pub enum SwarmLocal {
    /// Whether both handshakes are there.
    HandshakeTimeout(LinkId),
    /// Whether a tracker answered.
    TrackerTimeout {
        /// Which, by the swarm's number.
        tracker: u32,
        /// Which announce.
        announce: u64,
    },
    /// The disk comes to this piece.
    Store {
        /// Which.
        piece: PieceIndex,
        /// Its blocks.
        blocks: Vec<(BlockRef, Payload)>,
        /// Whether digests are wanted.
        digests: bool,
    },
    /// The disk read a block that is to be sent.
    Read {
        /// The upload's.
        token: u64,
    },
    /// The disk read a piece whose leaves somebody asked for.
    Leaves {
        /// Which.
        piece: PieceIndex,
    },
    /// The next block of a fetch from a web seed.
    Fetched {
        /// The fetch's number.
        fetch: u32,
    },
    /// The files of a fresh info dictionary are open.
    Prepared,
    /// A rogue acts.
    Turn(LinkId),
    /// A peer leaves.
    Leave,
    /// Something befalls the node.
    Act(Act),
}

impl Node for SwarmNode {
    type Packet = SwarmPacket;
    type Local = SwarmLocal;
    type Scratch = MachineScratch<Process>;

    fn handle(
        &mut self,
        now: Time,
        happening: Happening<SwarmPacket, SwarmLocal>,
        port: &mut Port<'_, SwarmPacket, SwarmLocal>,
        scratch: &mut MachineScratch<Process>,
    ) {
        match self {
            SwarmNode::Peer(peer) => peer.handle(now, happening, port, scratch),
            SwarmNode::Tracker(tracker) => tracker.handle(now, happening, port),
            SwarmNode::Rogue(rogue) => rogue.handle(now, happening, port),
        }
    }

    fn deadline(&self) -> Option<Time> {
        match self {
            SwarmNode::Peer(peer) => peer.deadline(),
            SwarmNode::Tracker(_) | SwarmNode::Rogue(_) => None,
        }
    }

    fn check(&self, now: Time) -> Result<(), String> {
        match self {
            SwarmNode::Peer(peer) => peer.check(now),
            SwarmNode::Tracker(_) | SwarmNode::Rogue(_) => Ok(()),
        }
    }
}

impl SwarmNode {
    /// What is around the machine, if this is a peer with one.
    pub fn site(&self) -> Option<&PeerSite> {
        match self {
            SwarmNode::Peer(peer) => Some(peer.surroundings()),
            SwarmNode::Tracker(_) | SwarmNode::Rogue(_) => None,
        }
    }

    /// The machine, if this is a peer with one and its process runs.
    pub fn swarm(&self) -> Option<&shoal_swarm::Swarm<Payload>> {
        match self {
            SwarmNode::Peer(peer) => Some(&peer.machine()?.swarm),
            SwarmNode::Tracker(_) | SwarmNode::Rogue(_) => None,
        }
    }
}

/// The port on which every simulated peer listens (product.md: the default).
const PORT: u16 = 6881;

/// Where a node listens: public addresses, so that nothing about them is special.
fn addr_of(node: NodeId) -> SocketAddr {
    let [_, high, middle, low] = node.0.to_be_bytes();
    // 30.0.0.0 is public, and nobody's that a test could reach.
    SocketAddr::from((IpAddr::V4(Ipv4Addr::new(30, high, middle, low)), PORT))
}

/// The node at an address, whatever the port.
fn node_of(addr: SocketAddr) -> Option<NodeId> {
    match addr.ip() {
        IpAddr::V4(ip) => match ip.octets() {
            [30, high, middle, low] => Some(NodeId(u32::from_be_bytes([0, high, middle, low]))),
            _ => None,
        },
        IpAddr::V6(_) => None,
    }
}

/// A node's peer id.
fn peer_id(node: NodeId) -> [u8; 20] {
    let mut id = *b"-SH0100-sim.........";
    id[12..16].copy_from_slice(&node.0.to_be_bytes());
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lead_back_to_their_nodes() {
        for node in [0, 1, 255, 256, 70_000].map(NodeId) {
            assert_eq!(node_of(addr_of(node)), Some(node));
        }
        assert_eq!(node_of("1.2.3.4:6881".parse().unwrap()), None);
    }
}
