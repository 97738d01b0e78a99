//! One swarm and a driver that keeps the contract, with peers that do not: whatever they say, in any order.
//!
//! Messages are written to bytes and read back, so the machine sees only what a connection can bring. What must hold after
//! each event is asserted here, beside the machine's own invariants.

mod messages;

use crate::torrents::{dict, int, text};
use arbitrary::{Result, Unstructured};
use messages::{message, through_the_wire};
use shoal_hash::merkle::{self, Tree};
use shoal_layout::{BlockRef, PieceIndex, Selection};
use shoal_machine::{Effects, Machine, Rng, Time};
use shoal_metainfo::{Info, PieceLayers};
use shoal_pieces::{Bitfield, PickMode};
use shoal_swarm::*;
use shoal_trace::{DEFAULT_LIMIT, End, Head, Recorder};
use shoal_wire::*;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

const BLOCK: u32 = 16 * 1024;
const PIECE: u32 = 2 * BLOCK;
const PIECES: u32 = 12;
/// Connections that are tried, at most; the swarm itself allows fewer.
const MAX_PEERS: u32 = 12;
/// Effects of one event, at most: chosen, all requests to all peers and some.
const MAX_EFFECTS: usize = 20_000;

/// A block's content: 0 is right, everything else is wrong.
type Mark = u8;

struct Driver {
    swarm: Swarm<Mark>,
    recorder: Option<Recorder<Mark>>,
    info: Arc<Info>,
    tree: Tree,
    now: Time,
    next: u32,
    peers: BTreeMap<PeerKey, Connection>,
    grants: BTreeSet<(PeerKey, BlockRef)>,
    uploads: Vec<(PeerKey, BlockRef)>,
    stores: Vec<(PieceIndex, Vec<(BlockRef, Mark)>, bool)>,
    announces: Vec<TrackerKey>,
    seeks: Vec<Via>,
    dials: Vec<SocketAddr>,
    hash_requests: Vec<(PeerKey, HashRange)>,
    /// The piece that is read for its leaves.
    reading: Option<PieceIndex>,
    have: BTreeSet<PieceIndex>,
    /// Where somebody said something that the driver did not make sure is true. By host: ports are what peers say.
    liars: BTreeSet<IpAddr>,
    wants_info: bool,
    ready: bool,
    stopping: bool,
}

/// An open connection.
struct Connection {
    addr: SocketAddr,
    fast: bool,
    closing: bool,
}

/// Plays the fuzzer's bytes to a swarm.
pub fn play(u: &mut Unstructured<'_>) -> Result<()> {
    let mut driver = Driver::begin(u, false)?;
    driver.steps(u)
}

/// The same, and the trace of it.
pub fn traced(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let mut driver = Driver::begin(u, true)?;
    // Bytes that end early end the session there.
    let _ended = driver.steps(u);
    let mut recorder = driver.recorder.take().expect("it was asked for");
    recorder.end(End::Stopped);
    Ok(recorder.take().expect("a head at least"))
}

/// What hashing a block gives, by its number in the torrent.
fn digest(number: u32, mark: Mark) -> [u8; 32] {
    let mut digest = [mark; 32];
    digest[0] = number as u8;
    digest
}

/// A torrent of 12 pieces, the last one short, and its tree.
fn torrent(v2: bool) -> (Arc<Info>, Tree) {
    let length = u64::from(PIECES * PIECE - 5);
    let leaves = (0..PIECES * PIECE / BLOCK).map(|number| digest(number, 0)).collect();
    let tree = Tree::new(length, 0, leaves).expect("a hash a block");
    let key = |name: &str| name.as_bytes().to_vec();
    let mut entries = vec![(key("name"), text(b"a")), (key("piece length"), int(i64::from(PIECE)))];
    if v2 {
        let file = dict(vec![(key("length"), int(length as i64)), (key("pieces root"), text(&tree.root()))]);
        entries.push((key("meta version"), int(2)));
        entries.push((key("file tree"), dict(vec![(key("a"), dict(vec![(Vec::new(), file)]))])));
    } else {
        entries.push((key("length"), int(length as i64)));
        entries.push((key("pieces"), text(&vec![7; PIECES as usize * 20])));
    }
    (Arc::new(Info::parse(&dict(entries)).expect("a torrent").0), tree)
}

impl Driver {
    fn begin(u: &mut Unstructured<'_>, traced: bool) -> Result<Driver> {
        let v2 = u.ratio(1, 3)?;
        let (info, tree) = torrent(v2);
        let magnet: bool = u.arbitrary()?;
        let mut config = SwarmConfig::new(info.hashes(), [b'S'; 20]);
        config.trackers = vec![vec!["http://t.example/announce".to_owned(), "udp://u.example:1".to_owned()]];
        config.max_peers = 6;
        config.order = *u.choose(&[
            PickMode::RarestFirst,
            PickMode::RarestFirst,
            PickMode::Random,
            PickMode::InOrder,
            PickMode::Sequential,
        ])?;
        config.listen_port = Some(6881);
        let seed: u16 = u.arbitrary()?;
        let rng = Rng::new(u64::from(seed));
        let recorder = traced.then(|| Recorder::new(Head::new(&config, !magnet, &rng), DEFAULT_LIMIT));
        let swarm = Swarm::new(config, !magnet, rng);
        let mut driver = Driver {
            swarm,
            recorder,
            info,
            tree,
            now: Time::ZERO,
            next: 0,
            peers: BTreeMap::new(),
            grants: BTreeSet::new(),
            uploads: Vec::new(),
            stores: Vec::new(),
            announces: Vec::new(),
            seeks: Vec::new(),
            dials: Vec::new(),
            hash_requests: Vec::new(),
            reading: None,
            have: BTreeSet::new(),
            liars: BTreeSet::new(),
            wants_info: false,
            ready: false,
            stopping: false,
        };
        if !magnet {
            driver.wants_info = true;
            driver.ready(u)?;
        }
        driver.feed(Event::Credit(Credit { up: 1 << 30, down: 1 << 30 }));
        Ok(driver)
    }

    fn steps(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        for _ in 0..400 {
            if u.is_empty() {
                break;
            }
            self.step(u)?;
        }
        Ok(())
    }

    fn step(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        match u.int_in_range(0..=24)? {
            0 | 1 => self.connect(u)?,
            2 => {
                if let Some(peer) = self.some_peer(u)? {
                    self.left(peer);
                }
            }
            3..=9 => {
                let Some(peer) = self.some_peer(u)? else { return Ok(()) };
                if self.peers[&peer].closing {
                    return Ok(());
                }
                // Whoever says anything may lie from here on.
                self.liars.insert(self.peers[&peer].addr.ip());
                if let Some(message) = through_the_wire(message(u, &self.info)?, self.ready) {
                    self.feed(Event::Message { peer, message });
                }
            }
            10 => {
                let Some(peer) = self.some_peer(u)? else { return Ok(()) };
                let all = match self.peers[&peer].fast {
                    true => Message::HaveAll,
                    false => Message::Bitfield(Bitfield::full(PIECES).to_bytes()),
                };
                for message in [all, Message::Unchoke] {
                    if self.peers.get(&peer).is_some_and(|there| !there.closing) {
                        self.feed(Event::Message { peer, message });
                    }
                }
            }
            11..=15 => self.give(u)?,
            16 | 17 => self.stored(u)?,
            18 => {
                let (up, down) = (u.arbitrary::<u16>()?, u.arbitrary::<u16>()?);
                self.feed(Event::Credit(Credit { up: u64::from(up) * 8, down: u64::from(down) * 8 }));
            }
            19 => {
                let time = Duration::from_millis(u64::from(u.arbitrary::<u16>()?) * u.int_in_range(1..=10)?);
                self.pass(time);
            }
            20 => self.answer_hashes(u)?,
            21 => {
                if let Some(place) = u.len().checked_rem(self.uploads.len()) {
                    let (peer, block) = self.uploads.remove(place);
                    let event = match u.int_in_range(0..=4)? {
                        0 => {
                            let lost = u.arbitrary()?;
                            if lost {
                                self.have.remove(&block.piece);
                            }
                            Event::UploadFailed { peer, block, lost }
                        }
                        _ => Event::Uploaded { peer, block },
                    };
                    self.feed(event);
                }
            }
            22 => self.from_outside(u)?,
            23 => self.leaves_read(u)?,
            _ => {
                if self.wants_info && !self.ready {
                    self.ready(u)?;
                } else if self.ready && u.ratio(1, 8)? {
                    let select = Selection::by(self.info.layout(), |_| u.arbitrary().unwrap_or(true));
                    self.feed(Event::Select(select));
                } else if u.ratio(1, 32)? {
                    self.stopping = true;
                    self.feed(Event::Stop);
                } else {
                    self.feed(Event::UploadSlots(u.int_in_range(0..=5)?));
                }
            }
        }
        Ok(())
    }

    fn some_peer(&self, u: &mut Unstructured<'_>) -> Result<Option<PeerKey>> {
        if self.peers.is_empty() {
            return Ok(None);
        }
        let place = u.choose_index(self.peers.len())?;
        Ok(self.peers.keys().nth(place).copied())
    }

    fn connect(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        if self.next >= MAX_PEERS {
            return Ok(());
        }
        let peer = PeerKey(self.next);
        self.next += 1;
        let number = u.int_in_range(0..=7_u8)?;
        let addr = SocketAddr::from(([10, 0, 0, number + 1], 6881));
        let id = if u.ratio(1, 16)? { *b"SSSSSSSSSSSSSSSSSSSS" } else { [number + 1; 20] };
        let mut handshake = Handshake::new(self.info.hashes().wire(), id, u.arbitrary()?, u.arbitrary()?);
        if u.ratio(1, 6)? {
            handshake.reserved = u.arbitrary()?;
        }
        let direction = if u.arbitrary()? { Direction::Incoming } else { Direction::Outgoing };
        self.peers.insert(peer, Connection { addr, fast: handshake.supports_fast(), closing: false });
        self.feed(Event::Connected { peer, addr, direction, handshake });
        Ok(())
    }

    fn left(&mut self, peer: PeerKey) {
        self.peers.remove(&peer);
        self.grants.retain(|(of, _)| *of != peer);
        self.uploads.retain(|(of, _)| *of != peer);
        self.hash_requests.retain(|(of, _)| *of != peer);
        self.feed(Event::Disconnected { peer });
    }

    /// Answers a grant, or sends what has none.
    fn give(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        if self.grants.is_empty() || u.ratio(1, 24)? {
            let Some(peer) = self.some_peer(u)?.filter(|peer| !self.peers[peer].closing) else { return Ok(()) };
            let block =
                RawBlock { piece: u.int_in_range(0..=PIECES)?, begin: u.int_in_range(0..=1)? * BLOCK, length: BLOCK };
            self.liars.insert(self.peers[&peer].addr.ip());
            self.feed(Event::Unrequested { peer, block });
            return Ok(());
        }
        let place = u.choose_index(self.grants.len())?;
        let (peer, block) = *self.grants.iter().nth(place).expect("chosen among them");
        self.grants.remove(&(peer, block));
        let payload = if u.ratio(1, 8)? { u.arbitrary()? } else { 0 };
        if payload != 0 {
            self.liars.insert(self.peers[&peer].addr.ip());
        }
        self.feed(Event::Block { peer, block, payload });
        Ok(())
    }

    /// Answers an order to store: what the blocks are decides, or the disk refuses.
    fn stored(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        if self.stores.is_empty() {
            return Ok(());
        }
        let (piece, blocks, wants_digests) = self.stores.remove(u.choose_index(self.stores.len())?);
        let number = |block: &BlockRef| (block.piece.0 * PIECE + block.begin) / BLOCK;
        let digests: Vec<[u8; 32]> = blocks.iter().map(|(block, mark)| digest(number(block), *mark)).collect();
        let outcome = if u.ratio(1, 12)? {
            StoreOutcome::Failed { blocks, reason: "no room".to_owned() }
        } else if blocks.iter().all(|(_, mark)| *mark == 0) {
            self.have.insert(piece);
            StoreOutcome::Written { digests: if wants_digests { digests } else { Vec::new() } }
        } else {
            StoreOutcome::Corrupt { blocks, digests }
        };
        self.feed(Event::Stored { piece, outcome });
        Ok(())
    }

    fn answer_hashes(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let Some((peer, range)) = self.hash_requests.pop() else { return Ok(()) };
        let layer = u8::try_from(range.base_layer).expect("asked for by us");
        let mut hashes =
            self.tree.proof(layer, u64::from(range.index), range.length, range.proof_layers).expect("answerable");
        if u.ratio(1, 2)? {
            self.liars.insert(self.peers[&peer].addr.ip());
            let place = u.choose_index(hashes.len())?;
            hashes[place][0] ^= 0xa5;
        }
        self.feed(Event::Message { peer, message: Message::Hashes(range, hashes) });
        Ok(())
    }

    /// Answers an order to read a piece for its leaves.
    fn leaves_read(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let Some(piece) = self.reading.take() else { return Ok(()) };
        let outcome = if u.ratio(1, 6)? {
            let lost = u.arbitrary()?;
            if lost {
                self.have.remove(&piece);
            }
            LeavesOutcome::Failed { lost }
        } else {
            let first = piece.0 * PIECE / BLOCK;
            LeavesOutcome::Read((first..first + PIECE / BLOCK).map(|number| digest(number, 0)).collect())
        };
        self.feed(Event::LeavesRead { piece, outcome });
        Ok(())
    }

    fn from_outside(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let addrs = |u: &mut Unstructured<'_>| -> Result<Vec<SocketAddr>> {
            (0..u.int_in_range(0..=5)?)
                .map(|_| Ok(SocketAddr::from((u.arbitrary::<[u8; 4]>()?, u.arbitrary()?))))
                .collect()
        };
        let event = match u.int_in_range(0..=4)? {
            0 => {
                let sources = [
                    Source::User,
                    Source::Link,
                    Source::Lan,
                    Source::Tracker,
                    Source::Dht,
                    Source::Pex,
                    Source::Incoming,
                ];
                Event::Found { source: *u.choose(&sources)?, addrs: addrs(u)? }
            }
            1 => {
                let Some(addr) = self.dials.pop() else { return Ok(()) };
                Event::DialFailed { addr, failure: DialFailure::Refused }
            }
            2 => {
                let Some(via) = self.seeks.pop() else { return Ok(()) };
                Event::Sought { via, result: Ok(Sought::default()) }
            }
            3 => {
                let Some(piece) = self.have.pop_first() else { return Ok(()) };
                Event::Lost(piece)
            }
            _ => {
                let Some(tracker) = self.announces.pop() else { return Ok(()) };
                let seconds = |u: &mut Unstructured<'_>| -> Result<Option<Duration>> {
                    Ok(u.arbitrary::<Option<u64>>()?.map(Duration::from_secs))
                };
                let reply = AnnounceReply {
                    interval: seconds(u)?,
                    min_interval: seconds(u)?,
                    seeds: u.arbitrary()?,
                    leeches: u.arbitrary()?,
                    peers: addrs(u)?,
                    ..AnnounceReply::default()
                };
                Event::Announced { tracker, result: Ok(reply) }
            }
        };
        self.feed(event);
        Ok(())
    }

    fn ready(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        self.ready = true;
        let mut have = Bitfield::new(PIECES);
        let bits: u16 = u.arbitrary()?;
        for piece in (0..PIECES).map(PieceIndex) {
            if bits & 1 << piece.0 != 0 {
                have.set(piece);
                self.have.insert(piece);
            }
        }
        let info = self.info.clone();
        let layers = PieceLayers::empty(&info);
        let selection = Selection::all(info.layout());
        self.feed(Event::Ready { info, layers, have, selection });
        Ok(())
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        // No storm of timers: chosen, far below 1,000 a virtual second and peer (reliability.md, I10).
        for turn in 0.. {
            match self.swarm.deadline() {
                Some(at) if at <= end => self.now = self.now.max(at),
                _ => break,
            }
            assert!(turn < 100_000, "timers go off without end");
            self.feed(Event::Wake);
        }
        self.now = end;
        self.feed(Event::Wake);
    }

    fn feed(&mut self, event: Event<Mark>) {
        let mut out = Effects::new();
        match &mut self.recorder {
            Some(recorder) => recorder.handle(&mut self.swarm, self.now, event, &mut out),
            None => self.swarm.handle(self.now, event, &mut out),
        }
        self.swarm.check_invariants();
        let effects: Vec<_> = out.drain().collect();
        assert!(effects.len() <= MAX_EFFECTS, "{} effects", effects.len());
        for effect in effects {
            self.carry_out(effect);
        }
    }

    fn open(&self, peer: PeerKey) -> bool {
        self.peers.get(&peer).is_some_and(|there| !there.closing)
    }

    fn carry_out(&mut self, effect: Effect<Mark>) {
        match effect {
            Effect::Send { peer, message } => {
                assert!(self.open(peer), "sent to nobody: {message:?}");
                let mut bytes = Vec::new();
                encode(&message, &mut bytes);
                assert!(bytes.len() <= 1 << 20);
                match message {
                    Message::HashRequest(range) => self.hash_requests.push((peer, range)),
                    Message::Hashes(range, hashes) => {
                        let layer = range.base_layer as u8;
                        let right = self.tree.proof(layer, u64::from(range.index), range.length, range.proof_layers);
                        assert_eq!(right, Some(hashes), "hashes that are not the tree's: {range:?}");
                    }
                    _ => {}
                }
            }
            Effect::Grant { peer, block } => {
                assert!(self.open(peer) && self.ready);
                assert!(!self.have.contains(&block.piece), "asked for what is there");
                assert!(self.grants.insert((peer, block)), "granted twice");
            }
            Effect::Revoke { peer, block } => {
                assert!(self.grants.remove(&(peer, block)), "revoked what was not granted")
            }
            Effect::Upload { peer, block } => {
                assert!(self.open(peer));
                assert!(self.have.contains(&block.piece), "uploads what is not there");
                self.uploads.push((peer, block));
            }
            Effect::CancelUpload { .. } => {}
            Effect::Disconnect { peer, reason } => {
                let there = self.peers.get_mut(&peer).expect("closes what is open");
                assert!(!there.closing, "closed twice");
                there.closing = true;
                if matches!(reason, DisconnectReason::Corrupt | DisconnectReason::Protocol(_)) {
                    assert!(self.liars.contains(&there.addr.ip()), "closed one that only told the truth: {reason:?}");
                }
                self.grants.retain(|(of, _)| *of != peer);
                self.hash_requests.retain(|(of, _)| *of != peer);
            }
            Effect::Dial { addr } => self.dials.push(addr),
            Effect::Store { piece, blocks, digests, .. } => {
                assert!(!self.have.contains(&piece), "stores what is there");
                self.stores.push((piece, blocks, digests));
            }
            Effect::ReadLeaves { piece } => {
                assert!(self.have.contains(&piece), "reads what is not there");
                assert!(self.reading.replace(piece).is_none(), "reads two pieces at a time");
            }
            Effect::Metadata { bytes } => {
                assert_eq!(bytes, self.info.bytes());
                self.wants_info = true;
            }
            Effect::Layers(layers) => assert!(layers.is_complete(&self.info)),
            Effect::Announce { tracker, .. } => self.announces.push(tracker),
            Effect::Seek { via, .. } => self.seeks.push(via),
            Effect::Notice(Notice::Banned { addr, .. }) => {
                assert!(self.liars.contains(&addr.ip()), "banned one that only told the truth");
            }
            Effect::Notice(Notice::Stopped) => assert!(self.stopping),
            _ => {}
        }
    }
}

/// Hashes of a file's piece layer for tests of proofs; small, so that they are quickly made.
pub fn tree(u: &mut Unstructured<'_>) -> Result<Tree> {
    let leaves = u.int_in_range(1..=70_u64)?;
    let short = u.int_in_range(0..=u64::from(BLOCK) - 1)?;
    let length = leaves * u64::from(BLOCK) - short;
    let base = u.int_in_range(0..=merkle::height(length))?;
    let seed: u8 = u.arbitrary()?;
    let hashes = (0..merkle::layer_length(length, base)).map(|n| [n as u8 ^ seed; 32]).collect();
    Ok(Tree::new(length, base, hashes).expect("as many as the layer has"))
}
