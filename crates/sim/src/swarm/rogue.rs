//! Peers that do not keep to the protocol.
//!
//! Not machines: scripts that pretend to be a seed and then misbehave in one way each. They announce themselves to the
//! tracker like anybody, so that honest peers dial them, and dial honest peers themselves. What they do on their own they do
//! in turns; what they answer is in `answers.rs`.

mod answers;

use super::content::{Content, Tag};
use super::packet::{Announce, SwarmPacket};
use super::{SwarmLocal, addr_of, peer_id};
use crate::{Happening, LinkId, NodeId, Port};
use shoal_layout::BLOCK_LENGTH;
use shoal_machine::{Rng, Time};
use shoal_wire::{
    Extended, ExtendedHandshake, Handshake, HashRange, Message, MetadataMessage, PexMessage, PexPeer, RawBlock, encode,
    encode_piece_header, extension_ids,
};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// The enum and the list of all its variants, from one list.
macro_rules! misbehaviours {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// How a rogue misbehaves.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Misbehaviour {
            $($(#[$doc])* $name,)*
        }

        impl Misbehaviour {
            /// All of them.
            pub const ALL: &'static [Misbehaviour] = &[$(Misbehaviour::$name,)*];
        }
    };
}

misbehaviours! {
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
    /// Serves a few blocks, and then nothing more.
    Stall,
    /// Says that it has everything and rejects each request.
    Reject,
    /// Serves every block damaged.
    Poison,
    /// Serves every block three times.
    Duplicate,
    /// Serves another block than the one that was asked for.
    Misplace,
    /// Chokes and unchokes all the time, and serves only what is asked in between.
    Flap,
    /// Takes back what it said that it has, and says it again.
    Forget,
    /// Keeps one request at a time, and says so.
    Stingy,
    /// Gives an info dictionary that is not the torrent's.
    ForgeMetadata,
    /// Offers an info dictionary of 2 GiB, and a port and a queue of nothing.
    ClaimHuge,
    /// Answers hash requests with hashes that lead nowhere.
    ForgeHashes,
    /// Asks for hashes all the time.
    FloodHashRequests,
    /// Asks for the info dictionary all the time.
    FloodMetadataRequests,
    /// Announces all pieces again and again.
    FloodHaves,
    /// Announces a message of 2 GiB.
    HugeFrame,
    /// Sends its handshake a byte a turn.
    Drip,
    /// Unchokes, takes requests and closes the connection.
    Hang,
    /// Is of another torrent.
    Stranger,
}

impl Misbehaviour {
    /// Whether it fills lines with what nobody asked for: beside it, how long a download takes says nothing.
    pub fn floods(self) -> bool {
        use Misbehaviour::*;
        matches!(
            self,
            FloodRequests | FloodBlocks | FloodPex | FloodHashRequests | FloodMetadataRequests | FloodHaves | Garbage
        )
    }
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
    /// Whether it dials whom its tracker names.
    dials: bool,
    links: BTreeMap<LinkId, Talk>,
    rng: Rng,
}

/// One connection of a rogue.
#[derive(Debug, Default)]
struct Talk {
    unread: Vec<u8>,
    handshaken: bool,
    turns: u32,
    served: u32,
    choking: bool,
    /// The other side's number for metadata messages.
    metadata_id: Option<u8>,
}

impl Rogue {
    pub(crate) fn new(
        misbehaviour: Misbehaviour,
        content: Arc<Content>,
        trackers: Vec<NodeId>,
        dials: bool,
        rng: Rng,
    ) -> Rogue {
        Rogue { misbehaviour, content, trackers, dials, links: BTreeMap::new(), rng }
    }

    pub(crate) fn misbehaviour(&self) -> Misbehaviour {
        self.misbehaviour
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
                    let num_want = if self.dials { 20 } else { 0 };
                    let announce = Announce { tracker: tracker as u32, stopped: false, left: Some(0), num_want };
                    port.datagram(node, SwarmPacket::Announce(announce));
                }
            }
            Happening::Opened { link, .. } | Happening::Connected { link }
                if self.misbehaviour != Misbehaviour::Silent =>
            {
                let greeting = self.greeting(port.id());
                self.links.insert(link, Talk::default());
                if self.misbehaviour != Misbehaviour::Drip {
                    port.send(link, SwarmPacket::Bytes(greeting.into()), None);
                }
                port.later(TURN, SwarmLocal::Turn(link));
            }
            Happening::Datagram { packet: SwarmPacket::Answer(answer), .. } if self.dials => {
                for node in answer.peers {
                    port.dial(node);
                }
            }
            Happening::Packet { link, packet: SwarmPacket::Bytes(bytes) } => self.hear(link, &bytes, port),
            Happening::Closed { link } => {
                self.links.remove(&link);
            }
            Happening::Stopped => self.links.clear(),
            Happening::Local(SwarmLocal::Turn(link)) if self.links.contains_key(&link) => {
                self.act(link, port);
                if self.acts() {
                    port.later(TURN, SwarmLocal::Turn(link));
                }
            }
            _ => {}
        }
    }

    /// Handshake and first messages.
    fn greeting(&mut self, own: NodeId) -> Vec<u8> {
        let mut info_hash = self.content.info().hashes().wire();
        if self.misbehaviour == Misbehaviour::Stranger {
            info_hash[0] ^= 1;
        }
        let v2 = self.content.info().hashes().v2.is_some();
        let mut bytes = Handshake::new(info_hash, peer_id(own), v2, false).encode().to_vec();
        let huge = self.misbehaviour == Misbehaviour::ClaimHuge;
        let offers = matches!(self.misbehaviour, Misbehaviour::ForgeMetadata | Misbehaviour::FloodMetadataRequests);
        let size = offers.then(|| self.content.info().bytes().len() as u64);
        let handshake = ExtendedHandshake {
            ut_metadata: (huge || offers).then_some(extension_ids::UT_METADATA),
            lt_donthave: Some(extension_ids::LT_DONTHAVE),
            metadata_size: if huge { Some(2 << 30) } else { size },
            port: huge.then_some(0),
            reqq: match self.misbehaviour {
                Misbehaviour::ClaimHuge => Some(0),
                Misbehaviour::Stingy => Some(1),
                _ => None,
            },
            ..ExtendedHandshake::default()
        };
        encode(&Message::Extended { id: 0, message: Extended::Handshake(handshake) }, &mut bytes);
        for message in [Message::HaveAll, Message::Unchoke, Message::Interested] {
            encode(&message, &mut bytes);
        }
        match self.misbehaviour {
            Misbehaviour::LiePex => encode(&self.lie(own), &mut bytes),
            Misbehaviour::HugeFrame => bytes.extend([0x7f, 0xff, 0xff, 0xff, 7]),
            _ => {}
        }
        bytes
    }

    fn any_block(&mut self) -> RawBlock {
        let piece = self.rng.below(u64::from(self.content.pieces())) as u32;
        let blocks = self.content.info().layout().piece_length() / BLOCK_LENGTH;
        let begin = self.rng.below(u64::from(blocks.max(1))) as u32 * BLOCK_LENGTH;
        RawBlock { piece, begin, length: BLOCK_LENGTH }
    }

    /// Whether it does anything on its own.
    fn acts(&self) -> bool {
        use Misbehaviour::*;
        matches!(
            self.misbehaviour,
            FloodRequests
                | FloodBlocks
                | Garbage
                | Absurd
                | LiePex
                | FloodPex
                | Flap
                | Forget
                | FloodHashRequests
                | FloodMetadataRequests
                | FloodHaves
                | Drip
                | Hang
        )
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
            Misbehaviour::Flap | Misbehaviour::Forget => {
                let choking = self.links.get_mut(&link).is_some_and(|talk| {
                    talk.choking = !talk.choking;
                    talk.choking
                });
                let piece = self.any_block().piece;
                let message = match (self.misbehaviour, choking) {
                    (Misbehaviour::Flap, true) => Message::Choke,
                    (Misbehaviour::Flap, false) => Message::Unchoke,
                    (_, true) => {
                        Message::Extended { id: extension_ids::LT_DONTHAVE, message: Extended::DontHave(piece) }
                    }
                    (_, false) => Message::Have(piece),
                };
                encode(&message, &mut bytes);
            }
            Misbehaviour::Drip => {
                let greeting = self.greeting(port.id());
                let Some(talk) = self.links.get_mut(&link) else { return };
                bytes.extend(greeting.get(talk.turns as usize));
                talk.turns += 1;
            }
            Misbehaviour::FloodHashRequests => {
                let root = self.content.info().files().next().and_then(|file| file.root).unwrap_or([7; 32]);
                for base_layer in 0..20 {
                    let range = HashRange { root, base_layer, index: 0, length: 2, proof_layers: 0 };
                    encode(&Message::HashRequest(range), &mut bytes);
                }
            }
            Misbehaviour::FloodMetadataRequests => {
                let id = self.links.get(&link).and_then(|talk| talk.metadata_id).unwrap_or(extension_ids::UT_METADATA);
                for piece in 0..20 {
                    let message = Extended::Metadata(MetadataMessage::Request { piece });
                    encode(&Message::Extended { id, message }, &mut bytes);
                }
            }
            Misbehaviour::FloodHaves => {
                (0..self.content.pieces()).for_each(|piece| encode(&Message::Have(piece), &mut bytes));
            }
            Misbehaviour::Hang => {
                let Some(talk) = self.links.get_mut(&link) else { return };
                talk.turns += 1;
                if talk.turns == 5 {
                    port.close(link);
                }
            }
            // They only answer, or do not.
            Misbehaviour::Silent
            | Misbehaviour::Mute
            | Misbehaviour::Stall
            | Misbehaviour::Reject
            | Misbehaviour::Poison
            | Misbehaviour::Duplicate
            | Misbehaviour::Misplace
            | Misbehaviour::Stingy
            | Misbehaviour::ForgeMetadata
            | Misbehaviour::ClaimHuge
            | Misbehaviour::ForgeHashes
            | Misbehaviour::HugeFrame
            | Misbehaviour::Stranger => {}
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
            port.send(link, SwarmPacket::Bytes(bytes.into()), None);
        }
    }
}
