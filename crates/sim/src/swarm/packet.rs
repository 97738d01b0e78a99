//! What travels between simulated peers, and between them and trackers.
//!
//! Peers exchange bytes that went through the codec; a block's payload alone is a tag in place of its bytes, with the length
//! that they have on the wire. Tracker requests are values: their HTTP is another crate's business.

use super::content::Tag;
use crate::{NodeId, Packet};
use shoal_swarm::AnnounceEvent;
use smallvec::SmallVec;

/// Bytes on a link. Those of a short message, as most are, need no memory of their own.
pub type LinkBytes = SmallVec<[u8; 24]>;

/// One message on a link, or one datagram to or from a tracker.
#[derive(Debug, Hash)]
pub enum SwarmPacket {
    /// A handshake, whole messages, or whatever a rogue makes up.
    Bytes(LinkBytes),
    /// A piece message.
    Piece {
        /// Its first 13 bytes.
        header: [u8; 13],
        /// What stands for the rest.
        tag: Tag,
    },
    /// Tells a tracker.
    Announce(Announce),
    /// A tracker answers.
    Answer(Answer),
}

/// What a peer tells a tracker (BEP 3).
#[derive(Debug, Clone, Hash)]
pub struct Announce {
    /// The peer's own number for the tracker, sent back.
    pub tracker: u32,
    /// Whether it leaves.
    pub stopped: bool,
    /// Bytes still missing; `None` if it does not know.
    pub left: Option<u64>,
    /// Peers wanted.
    pub num_want: u32,
}

/// What a tracker says.
#[derive(Debug, Clone, Hash)]
pub struct Answer {
    /// As in the announce.
    pub tracker: u32,
    /// Some of the others.
    pub peers: Vec<NodeId>,
    /// Complete peers.
    pub seeds: u32,
    /// The others.
    pub leeches: u32,
    /// Until the next regular announce.
    pub interval_s: u32,
    /// It is an error, and nothing else counts.
    pub refused: bool,
}

impl Announce {
    /// From what the swarm orders.
    pub(crate) fn new(tracker: u32, request: &shoal_swarm::AnnounceRequest) -> Announce {
        Announce {
            tracker,
            stopped: request.event == AnnounceEvent::Stopped,
            left: request.left,
            num_want: request.num_want,
        }
    }
}

impl Packet for SwarmPacket {
    fn wire_bytes(&self) -> u64 {
        match self {
            SwarmPacket::Bytes(bytes) => bytes.len() as u64,
            SwarmPacket::Piece { header, tag } => header.len() as u64 + u64::from(tag.block.length),
            // Datagrams take no time on the lines.
            SwarmPacket::Announce(_) | SwarmPacket::Answer(_) => 0,
        }
    }

    fn corrupt(&mut self) {
        if let SwarmPacket::Piece { tag, .. } = self {
            tag.corrupt = true;
        }
    }
}
