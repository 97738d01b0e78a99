//! A peer: the product's machines, host and swarm, and around them connections, grants, a disk and trackers.
//!
//! What the session does with sockets and threads happens here with links and virtual time, by the same rules: one frame
//! after another goes through the codec, blocks are taken only against a grant, an upload is read from what is written.
//! Each effect is checked before it is carried out (`reliability.md`, section 2): nothing is announced, reported or
//! served that is not on the disk (I1, I3), nothing is sent to a peer that is gone or banned (I9), what was received is
//! verified, wasted or held (I7).

mod checks;
mod fetching;
mod orders;
mod reading;

use super::act::Act;
use super::by_peer::ByPeer;
use super::content::{Content, Payload};
use super::disk::Disk;
use super::packet::{LinkBytes, SwarmPacket};
use super::process::{Process, ProcessEffect, ProcessEvent, SWARM};
use super::referee::Referee;
use super::setup::{PeerRecord, PeerSetup};
use super::web_seed::{Fetch, WebSeedKind};
use super::{SwarmLocal, addr_of, node_of, peer_id};
use crate::links::Links;
use crate::{Happening, LinkId, NodeId, Port, Surroundings};
use shoal_layout::{BlockRef, FileIndex, PieceIndex, Selection};
use shoal_machine::{Rng, Time};
use shoal_metainfo::PieceLayers;
use shoal_pieces::Bitfield;
use shoal_swarm::{
    AnnounceReply, DialFailure, Direction, Event, FetchKey, Host, HostConfig, HostEffect, HostEvent, PeerKey, Source,
    SourceError, SourceErrorKind, StoreOutcome, Swarm, SwarmConfig, TrackerKey,
};
use shoal_trace::{Head, Recorder};
use shoal_wire::{Handshake, Message, RawBlock};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// A connection whose handshake is not there by then is closed (reliability.md B3: 15 s at most).
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// A tracker that said nothing for so long has failed (BEP 15's first wait).
const TRACKER_TIMEOUT: Duration = Duration::from_secs(15);
/// Bytes held for pieces that are not written, beyond what the swarm was allowed to assemble: a pipeline of each peer and
/// the pieces that the disk works on. Chosen (I5).
const HELD_SLACK_BYTES: u64 = 64 << 20;

/// How far a connection is, and what was read of it.
#[derive(Debug)]
struct Connection {
    direction: Direction,
    addr: SocketAddr,
    /// `None` until both handshakes are exchanged.
    key: Option<PeerKey>,
    /// Bytes that make no whole frame yet.
    unread: Vec<u8>,
    /// Bytes that are drained, and what to report then.
    draining: Option<Box<(u64, Drained)>>,
    grants: BTreeSet<BlockRef>,
}

#[derive(Debug)]
enum Drained {
    Message(Message),
    Block(RawBlock),
}

/// An upload on its way out.
#[derive(Debug, Clone, Copy)]
struct Upload {
    peer: PeerKey,
    link: LinkId,
    block: BlockRef,
    /// The disk is still reading it.
    reading: bool,
}

/// A dial came to nothing: host and swarm hear of it.
fn dial_failed(addr: SocketAddr, events: &mut VecDeque<ProcessEvent>) {
    events.push_back(HostEvent::DialEnded(SWARM).into());
    events.push_back(Event::DialFailed { addr, failure: DialFailure::Refused }.into());
}

/// Around one peer's machines.
#[derive(Debug)]
pub struct PeerSite {
    setup: PeerSetup,
    content: Arc<Content>,
    trackers: Vec<NodeId>,
    id: NodeId,
    rng: Rng,
    /// Boots so far: each gives the machine another stream of randomness.
    boots: u64,
    /// Whether its processes keep a log.
    pub(super) watched: bool,
    /// Whether they keep a trace.
    pub(super) traced: bool,
    disk: Disk,
    knows_info: bool,
    record: PeerRecord,
    held_bytes: Arc<AtomicU64>,
    // Of the running process:
    connections: Links<Connection>,
    links: ByPeer<LinkId>,
    next_key: u32,
    dialing: BTreeMap<LinkId, SocketAddr>,
    uploads: BTreeMap<u64, Upload>,
    next_token: u64,
    announces: BTreeMap<u32, u64>,
    fetches: BTreeMap<FetchKey, Fetch>,
    /// Whether the host lets the listener take connections.
    accepting: bool,
    received_bytes: u64,
    verified_bytes: u64,
    /// Of blocks that nobody asked for, drained.
    unrequested_bytes: u64,
    max_held_bytes: u64,
    /// Happenings since sums and the swarm's own invariants were checked.
    unchecked: Cell<u32>,
    violation: Option<String>,
    /// A message as bytes, used again and again.
    encoded: Vec<u8>,
}

impl PeerSite {
    pub(crate) fn new(
        id: NodeId,
        setup: PeerSetup,
        content: Arc<Content>,
        trackers: Vec<NodeId>,
        mut rng: Rng,
    ) -> PeerSite {
        let pieces = content.pieces();
        let mut written = if setup.seed { Bitfield::full(pieces) } else { Bitfield::new(pieces) };
        for (piece, _) in (0..pieces).zip(&setup.pieces).filter(|(_, has)| **has) {
            written.set(PieceIndex(piece));
        }
        // What lies wholly in padding is always there.
        for piece in (0..pieces).map(PieceIndex).filter(|&piece| content.info().layout().payload_in(piece) == 0) {
            written.set(piece);
        }
        if !setup.seed && setup.starts_with > 0.0 {
            let mut order: Vec<u32> = (0..pieces).collect();
            rng.shuffle(&mut order);
            order.truncate((f64::from(pieces) * setup.starts_with) as usize);
            order.into_iter().for_each(|piece| {
                written.set(PieceIndex(piece));
            });
        }
        PeerSite {
            disk: Disk::new(setup.disk.clone(), written),
            knows_info: !setup.magnet,
            setup,
            content,
            trackers,
            id,
            rng,
            boots: 0,
            watched: false,
            traced: false,
            record: PeerRecord::default(),
            held_bytes: Arc::default(),
            connections: Links::new(),
            links: ByPeer::new(),
            next_key: 0,
            dialing: BTreeMap::new(),
            uploads: BTreeMap::new(),
            next_token: 0,
            announces: BTreeMap::new(),
            fetches: BTreeMap::new(),
            accepting: true,
            received_bytes: 0,
            verified_bytes: 0,
            unrequested_bytes: 0,
            max_held_bytes: 0,
            unchecked: Cell::new(0),
            violation: None,
            encoded: Vec::new(),
        }
    }

    /// What it went through.
    pub fn record(&self) -> &PeerRecord {
        &self.record
    }

    /// What is on its disk.
    pub fn written(&self) -> &Bitfield {
        self.disk.written()
    }

    /// How many bytes of payload that is.
    pub fn written_bytes(&self) -> u64 {
        self.disk.written_bytes(self.content.info().layout())
    }

    /// Whether everything that it wants is on its disk.
    pub fn is_complete(&self) -> bool {
        if self.setup.files.is_empty() {
            return self.disk.written().is_full();
        }
        let (layout, selection) = (self.content.info().layout(), self.selection());
        let mut pieces = (0..layout.pieces()).map(PieceIndex);
        pieces.all(|piece| self.disk.has(piece) || !selection.piece(layout, piece))
    }

    /// Nothing goes wrong here any more, and it lies no more.
    pub(super) fn calm(&mut self) {
        self.disk.heal();
        self.setup.lies = 0.0;
        self.setup.web_seeds.iter_mut().for_each(|seed| seed.kind = WebSeedKind::Honest);
    }

    fn selection(&self) -> Selection {
        let wants = |file: FileIndex| self.setup.files.get(file.as_usize()).copied().unwrap_or(true);
        Selection::by(self.content.info().layout(), wants)
    }

    /// Something befalls this process.
    fn befall(&mut self, act: Act, events: &mut VecDeque<ProcessEvent>) {
        let any = |piece: u32| PieceIndex(piece % self.content.pieces());
        match act {
            Act::RefuseWrites(refuses) => self.disk.refuses_writes = refuses,
            Act::FailReads(fails) => self.disk.fails_reads = fails,
            Act::FailSyncs(fails) => {
                self.disk.fails_syncs = fails;
                events.push_back(Event::SyncFailing(fails).into());
            }
            Act::SlowWrites(write) => self.disk.setup.write = write,
            Act::Rot(piece) => self.disk.rot(any(piece)),
            Act::Lose(piece) => {
                let piece = any(piece);
                if self.content.info().layout().payload_in(piece) > 0 && self.disk.lose(piece) {
                    events.push_back(Event::Lost(piece).into());
                }
            }
            Act::PowerCut => self.disk.cut = true,
            Act::Select(files) => {
                self.setup.files = files;
                events.push_back(Event::Select(self.selection()).into());
            }
            Act::WebSeeds(kind) => self.setup.web_seeds.iter_mut().for_each(|seed| seed.kind = kind),
            Act::Mood(_) => {}
        }
    }

    fn violated(&mut self, what: impl FnOnce() -> String) {
        self.violation.get_or_insert_with(what);
    }

    fn ready(&self) -> Event<Payload> {
        let layers =
            if self.setup.magnet { PieceLayers::empty(self.content.info()) } else { self.content.layers().clone() };
        Event::Ready {
            info: Arc::clone(self.content.info()),
            layers,
            have: self.disk.written().clone(),
            selection: self.selection(),
        }
    }

    fn forget_process(&mut self) {
        self.connections.clear();
        self.links.clear();
        self.dialing.clear();
        self.uploads.clear();
        self.announces.clear();
        self.fetches.clear();
        (self.received_bytes, self.verified_bytes, self.unrequested_bytes) = (0, 0, 0);
        self.accepting = true;
    }

    fn new_connection(&mut self, link: LinkId, direction: Direction, addr: SocketAddr) {
        let connection =
            Connection { direction, addr, key: None, unread: Vec::new(), draining: None, grants: BTreeSet::new() };
        self.connections.insert(link, connection);
    }

    /// A plain peer neither says nor sees the bits of what it does not speak.
    fn forget_extensions(&self, handshake: &mut Handshake) {
        if self.setup.plain {
            handshake.reserved = [0; 8];
        }
    }

    fn our_handshake(&self) -> SwarmPacket {
        let hashes = self.content.info().hashes();
        let mut handshake = Handshake::new(hashes.wire(), peer_id(self.id), hashes.v2.is_some(), false);
        self.forget_extensions(&mut handshake);
        SwarmPacket::Bytes(LinkBytes::from_slice(&handshake.encode()))
    }

    fn closed(&mut self, link: LinkId, events: &mut VecDeque<ProcessEvent>) {
        if let Some(addr) = self.dialing.remove(&link) {
            dial_failed(addr, events);
        }
        let Some(connection) = self.connections.remove(link) else { return };
        match connection.key {
            Some(peer) => {
                self.links.remove(peer);
                self.uploads.retain(|_, upload| upload.peer != peer);
                events.push_back(Event::Disconnected { peer }.into());
                events.push_back(HostEvent::Closed(SWARM).into());
            }
            None if connection.direction == Direction::Outgoing => {
                dial_failed(connection.addr, events);
            }
            None => {}
        }
    }
}

impl Surroundings for PeerSite {
    type Machine = Process;
    type Packet = SwarmPacket;
    type Local = SwarmLocal;

    fn boot(&mut self, _now: Time, events: &mut VecDeque<ProcessEvent>) -> Process {
        self.forget_process();
        // What the last process held may lie in the queue still.
        self.held_bytes = Arc::default();
        self.boots += 1;
        let mut config = SwarmConfig::new(self.content.info().hashes(), peer_id(self.id));
        config.listen_port = Some(addr_of(self.id).port());
        config.serve_only = self.setup.serve_only;
        config.order = self.setup.order;
        config.super_seed = self.setup.super_seed;
        if let Some(neighbours) = self.setup.neighbours {
            config.max_peers = neighbours;
        }
        config.web_seeds = (0..self.setup.web_seeds.len()).map(|n| format!("sim://web-seed-{n}/")).collect();
        config.trackers = self.trackers.iter().map(|id| vec![format!("sim://{}/announce", id.0)]).collect();
        self.max_held_bytes = config.max_assembly_bytes + HELD_SLACK_BYTES;
        if self.knows_info {
            events.push_back(self.ready().into());
        }
        events.push_back(HostEvent::Joined(SWARM).into());
        if self.setup.free_rider {
            events.push_back(Event::UploadSlots(0).into());
        }
        if !self.setup.addresses.is_empty() {
            let addrs = self.setup.addresses.iter().map(|&id| addr_of(id)).collect();
            events.push_back(Event::Found { source: Source::User, addrs }.into());
        }
        let rng = self.rng.fork_index("boot", self.boots);
        let head = self.traced.then(|| Head::new(&config, self.knows_info, &rng));
        let swarm = Swarm::new(config, self.knows_info, rng);
        if self.record.left_at.is_some() {
            events.push_back(Event::Stop.into());
        }
        let up = if self.setup.free_rider { Some(0) } else { self.setup.up };
        let bounds = HostConfig { up, down: self.setup.down, max_connections: self.setup.max_connections };
        let is_watched = self.setup.has_referee && self.setup.check_every > 0;
        let referee = is_watched.then(|| Box::new(Referee::new(self.setup.serve_only)));
        let mut process = Process::new(Host::new(bounds), swarm, referee);
        process.log = self.watched.then(VecDeque::new);
        process.recorder = head.map(|head| Box::new(Recorder::new(head, u64::MAX)));
        process
    }

    fn see(
        &mut self,
        now: Time,
        happening: Happening<SwarmPacket, SwarmLocal>,
        port: &mut Port<'_, SwarmPacket, SwarmLocal>,
        events: &mut VecDeque<ProcessEvent>,
    ) {
        match happening {
            Happening::Stopped => {
                self.disk.process_ended(now, &mut self.rng);
                self.forget_process();
            }
            Happening::Opened { link, .. } if !self.accepting => port.reset(link),
            Happening::Opened { link, from } => {
                // The other side's port is one that its system chose.
                let mut addr = addr_of(from);
                addr.set_port(49_152 + (link.number % 16_384) as u16);
                self.new_connection(link, Direction::Incoming, addr);
                port.later(HANDSHAKE_TIMEOUT, SwarmLocal::HandshakeTimeout(link));
            }
            Happening::Connected { link } => {
                let Some(addr) = self.dialing.remove(&link) else { return };
                self.new_connection(link, Direction::Outgoing, addr);
                port.send(link, self.our_handshake(), None);
                port.later(HANDSHAKE_TIMEOUT, SwarmLocal::HandshakeTimeout(link));
            }
            Happening::Refused { link } | Happening::Closed { link } => self.closed(link, events),
            Happening::Packet { link, packet } => self.arrived(link, packet, port, events),
            Happening::Datagram { packet: SwarmPacket::Answer(answer), .. } => {
                let asked = self.announces.remove(&answer.tracker).is_some();
                if asked && answer.refused {
                    let result = Err(SourceError::new(SourceErrorKind::Refusal, "not now"));
                    events.push_back(Event::Announced { tracker: TrackerKey(answer.tracker), result }.into());
                } else if asked {
                    let reply = AnnounceReply {
                        interval: Some(Duration::from_secs(u64::from(answer.interval_s))),
                        seeds: Some(answer.seeds),
                        leeches: Some(answer.leeches),
                        peers: answer.peers.iter().map(|&id| addr_of(id)).collect(),
                        ..AnnounceReply::default()
                    };
                    events
                        .push_back(Event::Announced { tracker: TrackerKey(answer.tracker), result: Ok(reply) }.into());
                }
            }
            Happening::Sent { token, .. } => {
                if let Some(upload) = self.uploads.remove(&token) {
                    self.record.uploaded_bytes += u64::from(upload.block.length);
                    events.push_back(Event::Uploaded { peer: upload.peer, block: upload.block }.into());
                }
            }
            Happening::Local(SwarmLocal::HandshakeTimeout(link)) => {
                if self.connections.get(link).is_some_and(|connection| connection.key.is_none()) {
                    port.reset(link);
                    self.closed(link, events);
                }
            }
            Happening::Local(SwarmLocal::TrackerTimeout { tracker, announce }) => {
                if self.announces.get(&tracker) == Some(&announce) {
                    self.announces.remove(&tracker);
                    let result = Err(SourceError::new(SourceErrorKind::Silent, "no answer"));
                    events.push_back(Event::Announced { tracker: TrackerKey(tracker), result }.into());
                }
            }
            Happening::Local(SwarmLocal::Store { piece, blocks, digests }) => {
                let bytes: u64 = blocks.iter().map(|(block, _)| u64::from(block.length)).sum();
                let outcome = self.disk.store(now, &self.content, piece, blocks, digests);
                if matches!(outcome, StoreOutcome::Written { .. }) {
                    self.verified_bytes += bytes;
                }
                events.push_back(Event::Stored { piece, outcome }.into());
            }
            Happening::Local(SwarmLocal::Read { token }) => self.upload_read(token, port, events),
            Happening::Local(SwarmLocal::Leaves { piece }) => {
                let outcome = self.disk.read_leaves(&self.content, piece);
                events.push_back(Event::LeavesRead { piece, outcome }.into());
            }
            Happening::Local(SwarmLocal::Act(act)) => self.befall(act, events),
            Happening::Local(SwarmLocal::Fetched { fetch }) => self.fetch_on(FetchKey(fetch), port, events),
            Happening::Local(SwarmLocal::Prepared) => events.push_back(self.ready().into()),
            Happening::Local(SwarmLocal::Leave) => {
                self.record.left_at.get_or_insert(now);
                self.accepting = false;
                events.push_back(Event::Stop.into());
            }
            Happening::Local(SwarmLocal::Turn(_))
            | Happening::Datagram { .. }
            | Happening::Started
            | Happening::Wake => {}
        }
    }

    fn carry_out(
        &mut self,
        now: Time,
        effect: ProcessEffect,
        port: &mut Port<'_, SwarmPacket, SwarmLocal>,
        events: &mut VecDeque<ProcessEvent>,
    ) {
        match effect {
            ProcessEffect::Swarm(effect) => self.carry_out_swarm(now, effect, port, events),
            ProcessEffect::Host(HostEffect::Credit(_, credit)) => events.push_back(Event::Credit(credit).into()),
            ProcessEffect::Host(HostEffect::UploadSlots(_, slots)) => {
                let slots = if self.setup.free_rider { 0 } else { self.setup.slots.unwrap_or(slots) };
                events.push_back(Event::UploadSlots(slots).into());
            }
            ProcessEffect::Host(HostEffect::Dial(_, addr)) => match node_of(addr) {
                Some(node) => {
                    self.dialing.insert(port.dial(node), addr);
                }
                None => dial_failed(addr, events),
            },
            ProcessEffect::Host(HostEffect::Accepting(accepting)) => self.accepting = accepting,
            // One torrent a process: its announces go out at once, and the host is never asked.
            ProcessEffect::Host(HostEffect::Announce(..) | HostEffect::NotAnnounced(..)) => {}
        }
    }

    fn check(&self, _now: Time, machine: &Process) -> Result<(), String> {
        if let Some(violation) = &self.violation {
            return Err(violation.clone());
        }
        if let Some(referee) = &machine.referee {
            referee.verdict()?;
        }
        self.unchecked.set(self.unchecked.get().wrapping_add(1));
        if self.unchecked.get() == self.setup.check_every {
            self.unchecked.set(0);
            self.check_bytes(&machine.swarm)?;
            machine.referee.as_ref().map_or(Ok(()), |referee| referee.inspect())?;
            machine.swarm.check_invariants();
            machine.host.check_invariants();
        }
        Ok(())
    }
}
