//! A peer: the product's machines, host and swarm, and around them connections, grants, a disk and trackers.
//!
//! What the session does with sockets and threads happens here with links and virtual time, by the same rules: one frame
//! after another goes through the codec, blocks are taken only against a grant, an upload is read from what is written.
//! Each effect is checked before it is carried out (`reliability.md`, section 2): nothing is announced, reported or
//! served that is not on the disk (I1, I3), nothing is sent to a peer that is gone or banned (I9), what was received is
//! verified, wasted or held (I7).

use super::content::{Content, Payload, Tag};
use super::disk::{Disk, DiskSetup};
use super::packet::{Announce, SwarmPacket};
use super::process::{Process, ProcessEffect, ProcessEvent, SWARM};
use super::{SwarmLocal, addr_of, node_of, peer_id};
use crate::{Happening, LinkId, NodeId, Port, Surroundings};
use shoal_layout::{BlockRef, PieceIndex, Selection};
use shoal_machine::{Rng, Time};
use shoal_metainfo::PieceLayers;
use shoal_pieces::Bitfield;
use shoal_swarm::{
    AnnounceReply, Direction, Effect, Event, Host, HostConfig, HostEffect, HostEvent, Notice, PeerKey, Source,
    StoreOutcome, Swarm, SwarmConfig, TrackerKey,
};
use shoal_wire::{Decoded, Frame, Handshake, Limits, Message, RawBlock, decode, encode, encode_piece_header};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A connection whose handshake is not there by then is closed (reliability.md B3: 15 s at most).
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// A tracker that said nothing for so long has failed (BEP 15's first wait).
const TRACKER_TIMEOUT: Duration = Duration::from_secs(15);
/// Bytes held for pieces that are not written, beyond what the swarm was allowed to assemble: a pipeline of each peer and
/// the pieces that the disk works on. Chosen (I5).
const HELD_SLACK_BYTES: u64 = 64 << 20;

/// What a peer is like.
#[derive(Clone, Debug)]
pub struct PeerSetup {
    /// Starts with a magnet link only (BEP 9).
    pub magnet: bool,
    /// Starts with everything.
    pub seed: bool,
    /// Chance that a block it uploads is damaged by itself.
    pub lies: f64,
    /// Its disk.
    pub disk: DiskSetup,
    /// Fetches in order.
    pub sequential: bool,
    /// Bytes per second that it lets itself send; `None` for no limit but its line.
    pub up: Option<u64>,
    /// The same for what it receives.
    pub down: Option<u64>,
    /// Connections that it holds, at most.
    pub max_connections: usize,
    /// Addresses that its user typed.
    pub addresses: Vec<NodeId>,
    /// Checks sums (I5, I7) and the swarm's own invariants after every so many happenings; 0 for never. They cost a step a
    /// peer and a piece; what each effect is checked for costs little and is always checked.
    pub check_every: u32,
}

impl Default for PeerSetup {
    fn default() -> Self {
        PeerSetup {
            magnet: false,
            seed: false,
            lies: 0.0,
            disk: DiskSetup::default(),
            sequential: false,
            up: None,
            down: None,
            // Chosen: more than one swarm holds.
            max_connections: 200,
            addresses: Vec::new(),
            check_every: 1,
        }
    }
}

/// What a peer went through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerRecord {
    /// When it had its first piece.
    pub first_piece_at: Option<Time>,
    /// When it had everything.
    pub complete_at: Option<Time>,
    /// Whom it banned.
    pub banned: BTreeSet<NodeId>,
    /// Payload bytes of blocks that it sent.
    pub uploaded_bytes: u64,
    /// Payload bytes of blocks that reached it.
    pub downloaded_bytes: u64,
    /// Connections that stood, both handshakes exchanged.
    pub connections: u32,
    /// Notices that the disk refused.
    pub disk_troubles: u32,
}

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
    draining: Option<(u64, Drained)>,
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
    events.push_back(Event::DialFailed { addr }.into());
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
    disk: Disk,
    knows_info: bool,
    record: PeerRecord,
    held_bytes: Arc<AtomicU64>,
    // Of the running process:
    connections: BTreeMap<LinkId, Connection>,
    links: BTreeMap<PeerKey, LinkId>,
    next_key: u32,
    dialing: BTreeMap<LinkId, SocketAddr>,
    uploads: BTreeMap<u64, Upload>,
    next_token: u64,
    announces: BTreeMap<u32, u64>,
    /// Whether the host lets the listener take connections.
    accepting: bool,
    received_bytes: u64,
    verified_bytes: u64,
    max_held_bytes: u64,
    /// Happenings since sums and the swarm's own invariants were checked.
    unchecked: Cell<u32>,
    violation: Option<String>,
}

impl PeerSite {
    pub(crate) fn new(
        id: NodeId,
        setup: PeerSetup,
        content: Arc<Content>,
        trackers: Vec<NodeId>,
        rng: Rng,
    ) -> PeerSite {
        let pieces = content.pieces();
        let written = if setup.seed { Bitfield::full(pieces) } else { Bitfield::new(pieces) };
        PeerSite {
            disk: Disk::new(setup.disk.clone(), written),
            knows_info: !setup.magnet,
            setup,
            content,
            trackers,
            id,
            rng,
            boots: 0,
            record: PeerRecord::default(),
            held_bytes: Arc::default(),
            connections: BTreeMap::new(),
            links: BTreeMap::new(),
            next_key: 0,
            dialing: BTreeMap::new(),
            uploads: BTreeMap::new(),
            next_token: 0,
            announces: BTreeMap::new(),
            accepting: true,
            received_bytes: 0,
            verified_bytes: 0,
            max_held_bytes: 0,
            unchecked: Cell::new(0),
            violation: None,
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

    /// Whether everything is on its disk.
    pub fn is_complete(&self) -> bool {
        self.disk.written().is_full()
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
            selection: Selection::all(self.content.info().layout()),
        }
    }

    fn forget_process(&mut self) {
        self.connections.clear();
        self.links.clear();
        self.dialing.clear();
        self.uploads.clear();
        self.announces.clear();
        (self.received_bytes, self.verified_bytes) = (0, 0);
        self.accepting = true;
    }

    fn new_connection(&mut self, link: LinkId, direction: Direction, addr: SocketAddr) {
        let connection =
            Connection { direction, addr, key: None, unread: Vec::new(), draining: None, grants: BTreeSet::new() };
        self.connections.insert(link, connection);
    }

    fn our_handshake(&self) -> SwarmPacket {
        let hashes = self.content.info().hashes();
        let handshake = Handshake::new(hashes.wire(), peer_id(self.id), hashes.v2.is_some(), false);
        SwarmPacket::Bytes(handshake.encode().to_vec())
    }

    fn closed(&mut self, link: LinkId, events: &mut VecDeque<ProcessEvent>) {
        if let Some(addr) = self.dialing.remove(&link) {
            dial_failed(addr, events);
        }
        let Some(connection) = self.connections.remove(&link) else { return };
        match connection.key {
            Some(peer) => {
                self.links.remove(&peer);
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

    /// Takes what arrived on a link apart. A peer's fault closes the link.
    fn arrived(
        &mut self,
        link: LinkId,
        packet: SwarmPacket,
        port: &mut Port<'_, SwarmPacket, SwarmLocal>,
        events: &mut VecDeque<ProcessEvent>,
    ) {
        let tag = match packet {
            SwarmPacket::Bytes(bytes) => {
                let Some(connection) = self.connections.get_mut(&link) else { return };
                connection.unread.extend_from_slice(&bytes);
                None
            }
            SwarmPacket::Piece { header, tag } => {
                let Some(connection) = self.connections.get_mut(&link) else { return };
                connection.unread.extend_from_slice(&header);
                Some(tag)
            }
            SwarmPacket::Announce(_) | SwarmPacket::Answer(_) => return,
        };
        if self.read(link, tag, port, events).is_none() {
            port.reset(link);
            self.closed(link, events);
        }
    }

    /// Reads frames while there are any; `None` if the peer broke the protocol.
    fn read(
        &mut self,
        link: LinkId,
        mut tag: Option<Tag>,
        port: &mut Port<'_, SwarmPacket, SwarmLocal>,
        events: &mut VecDeque<ProcessEvent>,
    ) -> Option<()> {
        loop {
            let limits = if self.knows_info { Limits::for_pieces(self.content.pieces()) } else { Limits::UNKNOWN };
            let Some(connection) = self.connections.get_mut(&link) else { return Some(()) };
            if let Some((left, _)) = &mut connection.draining {
                let now = (*left).min(connection.unread.len() as u64);
                connection.unread.drain(..now as usize);
                *left -= now;
                if *left > 0 {
                    return Some(());
                }
                let peer = connection.key?;
                match connection.draining.take() {
                    Some((_, Drained::Message(message))) => events.push_back(Event::Message { peer, message }.into()),
                    Some((_, Drained::Block(block))) => events.push_back(Event::Unrequested { peer, block }.into()),
                    None => {}
                }
            }
            let Some(peer) = connection.key else {
                match Handshake::decode(&connection.unread).ok()? {
                    None => return Some(()),
                    Some(handshake) => {
                        connection.unread.drain(..Handshake::LENGTH);
                        self.shake_hands(link, handshake, port, events)?;
                        continue;
                    }
                }
            };
            let (consumed, frame) = match decode(&connection.unread, &limits).ok()? {
                Decoded::Frame { consumed, frame } => (consumed, frame),
                Decoded::NeedMore(least) => {
                    if least > limits.max_frame_bytes() {
                        self.violated(|| format!("the decoder asks for {least} bytes (I5)"));
                    }
                    return Some(());
                }
            };
            connection.unread.drain(..consumed);
            match frame {
                Frame::Message(message) => events.push_back(Event::Message { peer, message }.into()),
                Frame::Drain { message, length } => {
                    connection.draining = Some((u64::from(length), Drained::Message(message)).into());
                }
                Frame::Piece(raw) => match tag.take_if(|_| connection.unread.is_empty()) {
                    Some(tag) => self.block(link, peer, raw, tag, events),
                    None => connection.draining = Some((u64::from(raw.length), Drained::Block(raw))),
                },
            }
        }
    }

    fn shake_hands(
        &mut self,
        link: LinkId,
        handshake: Handshake,
        port: &mut Port<'_, SwarmPacket, SwarmLocal>,
        events: &mut VecDeque<ProcessEvent>,
    ) -> Option<()> {
        self.content.info().hashes().all_wire().find(|&hash| hash == handshake.info_hash)?;
        let ours = self.our_handshake();
        let connection = self.connections.get_mut(&link)?;
        if connection.direction == Direction::Incoming {
            port.send(link, ours, None);
        }
        let peer = PeerKey(self.next_key);
        self.next_key += 1;
        connection.key = Some(peer);
        self.links.insert(peer, link);
        self.record.connections += 1;
        let (addr, direction) = (connection.addr, connection.direction);
        if direction == Direction::Outgoing {
            events.push_back(HostEvent::DialEnded(SWARM).into());
        }
        events.push_back(HostEvent::Opened(SWARM).into());
        events.push_back(Event::Connected { peer, addr, direction, handshake }.into());
        Some(())
    }

    fn block(&mut self, link: LinkId, peer: PeerKey, raw: RawBlock, tag: Tag, events: &mut VecDeque<ProcessEvent>) {
        let Some(connection) = self.connections.get_mut(&link) else { return };
        let block = self.content.info().layout().block(raw.piece, raw.begin, raw.length);
        match block.filter(|block| connection.grants.remove(block)) {
            Some(block) => {
                let bytes = u64::from(block.length);
                self.received_bytes += bytes;
                self.record.downloaded_bytes += bytes;
                let payload = Payload::new(tag, &self.held_bytes);
                events.push_back(Event::Block { peer, block, payload }.into());
            }
            None => events.push_back(Event::Unrequested { peer, block: raw }.into()),
        }
    }

    fn upload_read(&mut self, token: u64, port: &mut Port<'_, SwarmPacket, SwarmLocal>) {
        let Some(upload) = self.uploads.get_mut(&token) else { return };
        upload.reading = false;
        let Upload { link, block, .. } = *upload;
        let raw = RawBlock { piece: block.piece.0, begin: block.begin, length: block.length };
        let corrupt = self.setup.lies > 0.0 && self.rng.chance(self.setup.lies);
        let packet = SwarmPacket::Piece { header: encode_piece_header(raw), tag: Tag { block, corrupt } };
        port.send(link, packet, Some(token));
    }

    fn cancel_upload(
        &mut self,
        peer: PeerKey,
        block: BlockRef,
        port: &mut Port<'_, SwarmPacket, SwarmLocal>,
        events: &mut VecDeque<ProcessEvent>,
    ) {
        let found = self.uploads.iter().find(|(_, upload)| upload.peer == peer && upload.block == block);
        let Some((&token, &upload)) = found else { return };
        if upload.reading || port.unsend(upload.link, token).is_some() {
            self.uploads.remove(&token);
            events.push_back(Event::Uploaded { peer, block }.into());
        }
    }

    /// What must hold of a message before it leaves.
    fn check_message(&mut self, message: &Message) {
        let written = self.disk.written();
        let true_to_disk = match message {
            Message::Have(piece) => written.get(PieceIndex(*piece)),
            Message::HaveAll => written.is_full(),
            Message::Bitfield(bytes) => {
                Bitfield::from_bytes(written.len(), bytes).is_ok_and(|bits| bits.is_subset(written))
            }
            _ => true,
        };
        if !true_to_disk {
            self.violated(|| format!("says {message:?} and it is not on the disk (I1)"));
        }
    }

    fn check_bytes(&self, machine: &Swarm<Payload>) -> Result<(), String> {
        let progress = machine.progress();
        let held = self.held_bytes.load(Ordering::Relaxed);
        if held > self.max_held_bytes {
            return Err(format!("{held} bytes of blocks are held (I5)"));
        }
        if self.received_bytes < self.verified_bytes + held {
            return Err(format!(
                "{} bytes received, {} verified and {held} held (I7)",
                self.received_bytes, self.verified_bytes
            ));
        }
        let thrown_away = self.received_bytes - self.verified_bytes - held;
        if thrown_away > progress.wasted {
            return Err(format!("{thrown_away} bytes are gone and {} were reported as wasted (I7)", progress.wasted));
        }
        if progress.pieces_done > self.disk.written().count() {
            return Err(format!(
                "{} pieces counted, {} written (I1)",
                progress.pieces_done,
                self.disk.written().count()
            ));
        }
        Ok(())
    }
}

impl Surroundings for PeerSite {
    type Machine = Process;
    type Packet = SwarmPacket;
    type Local = SwarmLocal;

    fn boot(&mut self, _now: Time, events: &mut VecDeque<ProcessEvent>) -> Process {
        self.forget_process();
        self.boots += 1;
        let mut config = SwarmConfig::new(self.content.info().hashes(), peer_id(self.id));
        config.listen_port = Some(addr_of(self.id).port());
        config.sequential = self.setup.sequential;
        config.trackers = self.trackers.iter().map(|id| vec![format!("sim://{}/announce", id.0)]).collect();
        self.max_held_bytes = config.max_assembly_bytes + HELD_SLACK_BYTES;
        if self.knows_info {
            events.push_back(self.ready().into());
        }
        events.push_back(HostEvent::Joined(SWARM).into());
        if !self.setup.addresses.is_empty() {
            let addrs = self.setup.addresses.iter().map(|&id| addr_of(id)).collect();
            events.push_back(Event::Found { source: Source::User, addrs }.into());
        }
        let swarm = Swarm::new(config, self.knows_info, self.rng.fork_index("boot", self.boots));
        let bounds =
            HostConfig { up: self.setup.up, down: self.setup.down, max_connections: self.setup.max_connections };
        Process::new(Host::new(bounds), swarm)
    }

    fn see(
        &mut self,
        now: Time,
        happening: Happening<SwarmPacket, SwarmLocal>,
        port: &mut Port<'_, SwarmPacket, SwarmLocal>,
        events: &mut VecDeque<ProcessEvent>,
    ) {
        match happening {
            Happening::Stopped => self.forget_process(),
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
                if self.announces.remove(&answer.tracker).is_some() {
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
                if self.connections.get(&link).is_some_and(|connection| connection.key.is_none()) {
                    port.reset(link);
                    self.closed(link, events);
                }
            }
            Happening::Local(SwarmLocal::TrackerTimeout { tracker, announce }) => {
                if self.announces.get(&tracker) == Some(&announce) {
                    self.announces.remove(&tracker);
                    let result = Err("no answer".to_owned());
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
            Happening::Local(SwarmLocal::Read { token }) => self.upload_read(token, port),
            Happening::Local(SwarmLocal::Prepared) => events.push_back(self.ready().into()),
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
                events.push_back(Event::UploadSlots(slots).into());
            }
            ProcessEffect::Host(HostEffect::Dial(_, addr)) => match node_of(addr) {
                Some(node) => {
                    self.dialing.insert(port.dial(node), addr);
                }
                None => dial_failed(addr, events),
            },
            ProcessEffect::Host(HostEffect::Accepting(accepting)) => self.accepting = accepting,
        }
    }

    fn check(&self, _now: Time, machine: &Process) -> Result<(), String> {
        if let Some(violation) = &self.violation {
            return Err(violation.clone());
        }
        self.unchecked.set(self.unchecked.get().wrapping_add(1));
        if self.unchecked.get() == self.setup.check_every {
            self.unchecked.set(0);
            self.check_bytes(&machine.swarm)?;
            machine.swarm.check_invariants();
            machine.host.check_invariants();
        }
        Ok(())
    }
}

impl PeerSite {
    /// Carries out what the swarm orders.
    fn carry_out_swarm(
        &mut self,
        now: Time,
        effect: Effect<Payload>,
        port: &mut Port<'_, SwarmPacket, SwarmLocal>,
        events: &mut VecDeque<ProcessEvent>,
    ) {
        let named = match &effect {
            Effect::Send { peer, .. }
            | Effect::Grant { peer, .. }
            | Effect::Revoke { peer, .. }
            | Effect::Upload { peer, .. }
            | Effect::CancelUpload { peer, .. }
            | Effect::Disconnect { peer, .. } => Some(*peer),
            _ => None,
        };
        let link = named.and_then(|peer| self.links.get(&peer).copied());
        // A link may have ended within this very happening; the machine cannot know before it is told.
        let told_soon = |events: &VecDeque<ProcessEvent>, gone: PeerKey| {
            let mut events = events.iter();
            events.any(|event| matches!(event, ProcessEvent::Swarm(Event::Disconnected { peer }) if *peer == gone))
        };
        if let (Some(peer), None) = (named, link) {
            if !told_soon(events, peer) {
                self.violated(|| format!("an effect for {peer:?}, who is gone (I9)"));
            }
            return;
        }
        match (effect, link) {
            (Effect::Send { message, .. }, Some(link)) => {
                self.check_message(&message);
                let mut bytes = Vec::new();
                encode(&message, &mut bytes);
                port.send(link, SwarmPacket::Bytes(bytes), None);
            }
            (Effect::Grant { block, .. }, Some(link)) => {
                let new = self.connections.get_mut(&link).is_some_and(|connection| connection.grants.insert(block));
                if !new {
                    self.violated(|| format!("{block:?} is granted twice"));
                }
            }
            (Effect::Revoke { block, .. }, Some(link)) => {
                if let Some(connection) = self.connections.get_mut(&link) {
                    connection.grants.remove(&block);
                }
            }
            (Effect::Upload { peer, block }, Some(link)) => {
                if !self.disk.has(block.piece) {
                    self.violated(|| format!("{block:?} is served and not on the disk (I3)"));
                }
                let token = self.next_token;
                self.next_token += 1;
                self.uploads.insert(token, Upload { peer, link, block, reading: true });
                port.later(self.disk.setup.read, SwarmLocal::Read { token });
            }
            (Effect::CancelUpload { peer, block }, Some(_)) => self.cancel_upload(peer, block, port, events),
            (Effect::Disconnect { peer, .. }, Some(link)) => {
                // From here on the machine is not to name it; `Disconnected` comes when the link is closed.
                self.links.remove(&peer);
                self.uploads.retain(|_, upload| upload.peer != peer);
                port.close(link);
            }
            (Effect::Dial { addr }, _) => events.push_back(HostEvent::DialWanted(SWARM, addr).into()),
            (Effect::Store { piece, expected, blocks, digests }, _) => {
                let right = self.content.info().piece_hashes(piece, self.content.layers().into());
                if right.as_ref() != Some(&expected) {
                    self.violated(|| format!("{piece:?} is to be compared with hashes that are not its own"));
                }
                if self.disk.has(piece) {
                    self.violated(|| format!("{piece:?} is stored again"));
                }
                port.later(self.disk.setup.write, SwarmLocal::Store { piece, blocks, digests });
            }
            (Effect::Metadata { bytes }, _) => {
                if bytes != self.content.info().bytes() {
                    self.violated(|| "metadata that is not this torrent's".to_owned());
                }
                self.knows_info = true;
                port.later(self.disk.setup.write, SwarmLocal::Prepared);
            }
            (Effect::Announce { tracker: TrackerKey(tracker), request }, _) => {
                let announce = self.next_token;
                self.next_token += 1;
                self.announces.insert(tracker, announce);
                port.later(TRACKER_TIMEOUT, SwarmLocal::TrackerTimeout { tracker, announce });
                if let Some(&node) = self.trackers.get(tracker as usize) {
                    port.datagram(node, SwarmPacket::Announce(Announce::new(tracker, &request)));
                }
            }
            (Effect::Notice(notice), _) => self.notice(now, notice),
            (Effect::Demand(demand), _) => events.push_back(HostEvent::Demand(SWARM, demand).into()),
            (_, None) => {}
        }
    }

    fn notice(&mut self, now: Time, notice: Notice) {
        match notice {
            Notice::Piece(piece) => {
                self.record.first_piece_at.get_or_insert(now);
                if !self.disk.has(piece) {
                    self.violated(|| format!("{piece:?} is reported and not on the disk (I1)"));
                }
            }
            Notice::Complete => {
                self.record.complete_at.get_or_insert(now);
                if !self.disk.written().is_full() {
                    self.violated(|| "reports that it is complete and is not (I1)".to_owned());
                }
            }
            Notice::Banned { addr, .. } => self.record.banned.extend(node_of(addr)),
            Notice::DiskTrouble { .. } => self.record.disk_troubles += 1,
            Notice::DiskRecovered | Notice::Stopped => {}
        }
    }
}
