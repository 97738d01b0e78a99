//! One swarm and a pen: events go in, effects are kept until looked at.

use crate::*;
use shoal_layout::{BlockRef, PieceIndex, Selection};
use shoal_machine::{Effects, Machine, Rng, Time};
use shoal_metainfo::{Info, PieceLayers};
use shoal_pieces::Bitfield;
use shoal_wire::{Extended, ExtendedHandshake, Handshake, Message, RawBlock, extension_ids};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

pub(super) const BLOCK: u32 = 16 * 1024;
/// Two blocks a piece in every torrent here.
pub(super) const PIECE: u64 = 2 * BLOCK as u64;

/// The info dictionary of a v1 torrent of `pieces` pieces, the last one short by `short` bytes.
pub(super) fn info(pieces: u64, short: u64) -> Arc<Info> {
    info_ending(pieces, short, "")
}

/// The same of a private torrent (BEP 27).
pub(super) fn private_info(pieces: u64) -> Arc<Info> {
    info_ending(pieces, 0, "7:privatei1e")
}

fn info_ending(pieces: u64, short: u64, end: &str) -> Arc<Info> {
    let mut bytes =
        format!("d6:lengthi{}e4:name1:a12:piece lengthi{PIECE}e6:pieces{}:", pieces * PIECE - short, pieces * 20)
            .into_bytes();
    bytes.extend((0..pieces * 20).map(|n| n as u8));
    bytes.extend_from_slice(end.as_bytes());
    bytes.push(b'e');
    Arc::new(Info::parse(&bytes).unwrap().0)
}

/// A payload is the mark of whoever sent it.
pub(super) type Mark = u32;

pub(super) struct Script {
    pub(super) swarm: Swarm<Mark>,
    pub(super) info: Arc<Info>,
    pub(super) now: Time,
    pub(super) log: Vec<Effect<Mark>>,
    next: u32,
}

impl Script {
    /// A swarm that knows its metadata and has these pieces, with credit without limit.
    pub(super) fn with(pieces: u64, have: impl IntoIterator<Item = u32>) -> Script {
        let info = info(pieces, 5);
        let mut script = Script::start(info.clone(), true, |_| {});
        let mut bits = Bitfield::new(info.layout().pieces());
        have.into_iter().for_each(|piece| {
            bits.set(PieceIndex(piece));
        });
        script.ready(bits);
        script.credit(Credit::UNLIMITED, Credit::UNLIMITED);
        script
    }

    pub(super) fn start(info: Arc<Info>, has_info: bool, change: impl FnOnce(&mut SwarmConfig)) -> Script {
        let mut config = SwarmConfig::new(info.hashes(), [b'S'; 20]);
        change(&mut config);
        let swarm = Swarm::new(config, has_info, Rng::new(1));
        Script { swarm, info, now: Time::ZERO, log: Vec::new(), next: 0 }
    }

    pub(super) fn feed(&mut self, event: Event<Mark>) -> &mut Script {
        let mut out = Effects::new();
        self.swarm.handle(self.now, event, &mut out);
        self.swarm.check_invariants();
        self.log.extend(out.drain());
        self
    }

    pub(super) fn ready(&mut self, have: Bitfield) -> &mut Script {
        let info = self.info.clone();
        let layers = PieceLayers::empty(&info);
        let selection = Selection::all(info.layout());
        self.feed(Event::Ready { info, layers, have, selection })
    }

    pub(super) fn credit(&mut self, up: u64, down: u64) -> &mut Script {
        self.feed(Event::Credit(Credit { up, down }))
    }

    /// Lets time pass, waking the swarm at each deadline.
    pub(super) fn pass(&mut self, time: Duration) -> &mut Script {
        let end = self.now + time;
        for _ in 0..100_000 {
            match self.swarm.deadline() {
                Some(at) if at <= end => self.now = self.now.max(at),
                _ => break,
            }
            self.feed(Event::Wake);
        }
        self.now = end;
        self.feed(Event::Wake)
    }

    pub(super) fn addr(n: u32) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, n as u8 + 1], 6881))
    }

    /// A peer dialed us: fast and extension protocol spoken.
    pub(super) fn join(&mut self) -> PeerKey {
        self.join_as([self.next as u8 + 1; 20], true)
    }

    pub(super) fn join_as(&mut self, peer_id: [u8; 20], fast: bool) -> PeerKey {
        let peer = PeerKey(self.next);
        self.next += 1;
        let mut handshake = Handshake::new(self.info.hashes().wire(), peer_id, false, false);
        if !fast {
            handshake.reserved[7] &= !0x04;
        }
        let addr = Script::addr(peer.0);
        self.feed(Event::Connected { peer, addr, direction: Direction::Outgoing, handshake });
        peer
    }

    /// A peer at `addr` connects, and says the extension handshake.
    pub(super) fn join_at(&mut self, addr: &str, direction: Direction, extensions: ExtendedHandshake) -> PeerKey {
        let peer = PeerKey(self.next);
        self.next += 1;
        let mut peer_id = [0; 20];
        peer_id[..4].copy_from_slice(&self.next.to_be_bytes());
        let handshake = Handshake::new(self.info.hashes().wire(), peer_id, false, false);
        self.feed(Event::Connected { peer, addr: addr.parse().unwrap(), direction, handshake });
        self.say(peer, Message::Extended { id: 0, message: Extended::Handshake(extensions) });
        peer
    }

    pub(super) fn say(&mut self, peer: PeerKey, message: Message) -> &mut Script {
        self.feed(Event::Message { peer, message })
    }

    /// A peer that has everything and has unchoked us.
    pub(super) fn open_seed(&mut self) -> PeerKey {
        let peer = self.join();
        self.say(peer, Message::HaveAll).say(peer, Message::Unchoke);
        peer
    }

    pub(super) fn say_metadata_size(&mut self, peer: PeerKey) -> &mut Script {
        let handshake = ExtendedHandshake {
            ut_metadata: Some(9),
            metadata_size: Some(self.info.bytes().len() as u64),
            ..ExtendedHandshake::default()
        };
        self.say(peer, Message::Extended { id: 0, message: Extended::Handshake(handshake) })
    }

    pub(super) fn metadata(&mut self, peer: PeerKey, message: shoal_wire::MetadataMessage) -> &mut Script {
        self.say(peer, Message::Extended { id: extension_ids::UT_METADATA, message: Extended::Metadata(message) })
    }

    /// Takes the log.
    pub(super) fn effects(&mut self) -> Vec<Effect<Mark>> {
        std::mem::take(&mut self.log)
    }

    /// Takes the log, and of it what was sent to this peer.
    pub(super) fn sent_to(&mut self, to: PeerKey) -> Vec<Message> {
        let sent = |effect| match effect {
            Effect::Send { peer, message } if peer == to => Some(message),
            _ => None,
        };
        self.effects().into_iter().filter_map(sent).collect()
    }

    /// Takes the log, and of it the blocks asked of this peer.
    pub(super) fn asked_of(&mut self, peer: PeerKey) -> Vec<BlockRef> {
        let layout = self.info.layout().clone();
        let block = |message| match message {
            Message::Request(raw) => layout.block(raw.piece, raw.begin, raw.length),
            _ => None,
        };
        self.sent_to(peer).into_iter().filter_map(block).collect()
    }

    pub(super) fn block(&mut self, peer: PeerKey, block: BlockRef, payload: Mark) -> &mut Script {
        self.feed(Event::Block { peer, block, payload })
    }

    pub(super) fn written(&mut self, piece: u32, marks: &[Mark]) -> &mut Script {
        let outcome = StoreOutcome::Written { digests: digests(marks) };
        self.feed(Event::Stored { piece: PieceIndex(piece), outcome })
    }

    pub(super) fn corrupt(&mut self, piece: u32, marks: &[Mark]) -> &mut Script {
        let piece = PieceIndex(piece);
        let layout = self.info.layout();
        let blocks = layout.requests(piece).zip(marks).map(|((_, block), mark)| (block, *mark)).collect();
        let outcome = StoreOutcome::Corrupt { blocks, digests: digests(marks) };
        self.feed(Event::Stored { piece, outcome })
    }
}

pub(super) fn digests(marks: &[Mark]) -> Vec<[u8; 32]> {
    marks.iter().map(|&mark| [mark as u8; 32]).collect()
}

pub(super) fn raw(piece: u32, begin: u32, length: u32) -> RawBlock {
    RawBlock { piece, begin, length }
}

pub(super) fn disconnected(effects: &[Effect<Mark>], of: PeerKey) -> Option<DisconnectReason> {
    effects.iter().find_map(|effect| match effect {
        Effect::Disconnect { peer, reason } if *peer == of => Some(*reason),
        _ => None,
    })
}

/// A piece to be stored, its blocks, and whether their digests are asked for.
pub(super) type Store = (PieceIndex, Vec<(BlockRef, Mark)>, bool);

pub(super) fn stores(effects: Vec<Effect<Mark>>) -> Vec<Store> {
    let store = |effect| match effect {
        Effect::Store { piece, blocks, digests, .. } => Some((piece, blocks, digests)),
        _ => None,
    };
    effects.into_iter().filter_map(store).collect()
}
