//! Peers that do not keep to the protocol.
//!
//! Not machines: scripts that pretend to be a seed and then misbehave in one way each. They announce themselves to the
//! tracker like anybody, so that honest peers dial them.

use super::content::{Content, Tag};
use super::packet::{Announce, SwarmPacket};
use super::{SwarmLocal, addr_of, peer_id};
use crate::{Happening, LinkId, NodeId, Port};
use shoal_layout::BLOCK_LENGTH;
use shoal_machine::{Rng, Time};
use shoal_wire::{
    Extended, Handshake, Message, PexMessage, PexPeer, RawBlock, encode, encode_piece_header, extension_ids,
};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// How a rogue misbehaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Misbehaviour {
    /// Takes connections and says nothing at all.
    Silent,
    /// Says that it has everything and answers no request.
    Mute,
    /// Asks for far more than anybody serves, for ever.
    FloodRequests,
    /// Sends blocks that nobody asked for.
    FloodBlocks,
    /// Sends random bytes after the handshake.
    Garbage,
    /// Names pieces, blocks and lengths that do not exist.
    Absurd,
    /// Names peers that do not exist, once a minute, as an honest one would.
    LiePex,
    /// Names such peers all the time.
    FloodPex,
}

/// How often a rogue acts on a link. Chosen.
const TURN: Duration = Duration::from_millis(100);
/// Requests or blocks a turn of one who floods. Chosen: 5,000 requests a second.
const FLOOD: u32 = 500;

/// A peer that does not keep to the protocol.
#[derive(Debug)]
pub struct Rogue {
    misbehaviour: Misbehaviour,
    content: Arc<Content>,
    trackers: Vec<NodeId>,
    links: BTreeSet<LinkId>,
    rng: Rng,
}

impl Rogue {
    pub(crate) fn new(misbehaviour: Misbehaviour, content: Arc<Content>, trackers: Vec<NodeId>, rng: Rng) -> Rogue {
        Rogue { misbehaviour, content, trackers, links: BTreeSet::new(), rng }
    }

    pub(crate) fn handle(
        &mut self,
        _now: Time,
        happening: Happening<SwarmPacket, SwarmLocal>,
        port: &mut Port<'_, SwarmPacket, SwarmLocal>,
    ) {
        match happening {
            Happening::Started => {
                for (tracker, &node) in self.trackers.iter().enumerate() {
                    let announce = Announce { tracker: tracker as u32, stopped: false, left: Some(0), num_want: 0 };
                    port.datagram(node, SwarmPacket::Announce(announce));
                }
            }
            Happening::Opened { link, .. } if self.misbehaviour != Misbehaviour::Silent => {
                let handshake = Handshake::new(self.content.info().hashes().wire(), peer_id(port.id()), false, false);
                let mut bytes = handshake.encode().to_vec();
                for message in [Message::HaveAll, Message::Unchoke, Message::Interested] {
                    encode(&message, &mut bytes);
                }
                if self.misbehaviour == Misbehaviour::LiePex {
                    encode(&self.lie(port.id()), &mut bytes);
                }
                port.send(link, SwarmPacket::Bytes(bytes), None);
                self.links.insert(link);
                port.later(TURN, SwarmLocal::Turn(link));
            }
            Happening::Closed { link } => {
                self.links.remove(&link);
            }
            Happening::Stopped => self.links.clear(),
            Happening::Local(SwarmLocal::Turn(link)) if self.links.contains(&link) => {
                self.act(link, port);
                if self.misbehaviour != Misbehaviour::Mute {
                    port.later(TURN, SwarmLocal::Turn(link));
                }
            }
            _ => {}
        }
    }

    fn any_block(&mut self) -> RawBlock {
        let piece = self.rng.below(u64::from(self.content.pieces())) as u32;
        let blocks = self.content.info().layout().piece_length() / BLOCK_LENGTH;
        let begin = self.rng.below(u64::from(blocks.max(1))) as u32 * BLOCK_LENGTH;
        RawBlock { piece, begin, length: BLOCK_LENGTH }
    }

    /// Fifty peers: nobody, many ports of one host, groups, local networks, the liar himself.
    fn lie(&mut self, own: NodeId) -> Message {
        let added = (0..50).map(|n| {
            let [a, b, c, ..] = self.rng.next_u64().to_be_bytes();
            let addr = match n {
                0..10 => SocketAddr::from(([31, 0, 0, 1], 6_881 + n)),
                10 => SocketAddr::from(([127, 0, 0, 1], 6_881)),
                11 => SocketAddr::from(([224, a, b, c], 6_881)),
                12 => SocketAddr::from(([10, a, b, c], 6_881)),
                13 => addr_of(own),
                _ => SocketAddr::from(([31, a, b, c], 6_881)),
            };
            PexPeer { addr, flags: 0x10 }
        });
        let pex = PexMessage { added: added.collect(), dropped: Vec::new() };
        Message::Extended { id: extension_ids::UT_PEX, message: Extended::Pex(pex) }
    }

    fn act(&mut self, link: LinkId, port: &mut Port<'_, SwarmPacket, SwarmLocal>) {
        let mut bytes = Vec::new();
        match self.misbehaviour {
            Misbehaviour::Silent | Misbehaviour::Mute => {}
            Misbehaviour::LiePex => {
                if self.rng.chance(TURN.as_secs_f64() / 60.0) {
                    encode(&self.lie(port.id()), &mut bytes);
                }
            }
            Misbehaviour::FloodPex => encode(&self.lie(port.id()), &mut bytes),
            Misbehaviour::FloodRequests => {
                for _ in 0..FLOOD {
                    encode(&Message::Request(self.any_block()), &mut bytes);
                }
            }
            Misbehaviour::FloodBlocks => {
                // As fast as the line takes it.
                for _ in port.waiting(link)..8 {
                    let raw = self.any_block();
                    if let Some(block) = self.content.info().layout().block(raw.piece, raw.begin, raw.length) {
                        let header = encode_piece_header(raw);
                        port.send(link, SwarmPacket::Piece { header, tag: Tag { block, corrupt: true } }, None);
                    }
                }
            }
            Misbehaviour::Garbage => {
                bytes = vec![0; 100];
                self.rng.fill(&mut bytes);
            }
            Misbehaviour::Absurd => {
                let absurd = RawBlock { piece: u32::MAX, begin: u32::MAX, length: u32::MAX };
                let inside = RawBlock { piece: 0, begin: u32::MAX, length: 1 << 20 };
                let messages = [
                    Message::Have(u32::MAX),
                    Message::Request(absurd),
                    Message::Cancel(absurd),
                    Message::Reject(inside),
                    Message::Suggest(u32::MAX),
                    Message::AllowedFast(self.content.pieces()),
                    Message::Bitfield(vec![0xff; 7]),
                ];
                encode(&messages[self.rng.index(messages.len())], &mut bytes);
            }
        }
        if !bytes.is_empty() {
            port.send(link, SwarmPacket::Bytes(bytes), None);
        }
    }
}
