//! One node's part of the network: its line, its ends of links, what waits to be sent.
//!
//! All of it belongs to the node alone, and a node reaches another only through what it puts into the queue: nodes could
//! run on any number of threads and nothing would change. A link's other direction is the other node's.

use crate::link::{Access, Path, Serializer};
use crate::links::Links;
use crate::node::{LinkId, Packet};
use crate::queue::Key;
use shoal_machine::Digest;
use shoal_machine::{Rng, Time};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// A dial that is not through by then is given up: the product's own (`session`).
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What is looked at of the future at a time, at most. Chosen: enough for a node to do several things in a row.
const LONGEST_SPAN: Duration = Duration::from_millis(100);

/// A node's number, from 0 in the order in which nodes were added.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodeId(pub u32);

impl NodeId {
    /// The world itself, as the source of what nobody in it caused.
    pub(crate) const WORLD: NodeId = NodeId(u32::MAX);

    pub(crate) fn as_usize(self) -> usize {
        self.0 as usize
    }
}

/// What the queue holds for a node.
#[derive(Debug)]
pub(crate) enum Pending<P, L> {
    Start,
    Stop,
    /// The world cuts all links to this node.
    Cut(NodeId),
    Open(LinkId),
    Accept(LinkId),
    Refuse(LinkId),
    /// The last byte is at this node's line.
    Arrive(LinkId, Parcel<P>),
    /// The last byte is through this node's line.
    Deliver(LinkId, Parcel<P>),
    Datagram(P),
    /// The node's own line can take the next message.
    LineFree,
    /// A path's queue has room again.
    PathFree(LinkId),
    /// A link's lifetime ended.
    Lost(LinkId),
    /// The other end is gone, and what it sent last is not waited for.
    Reset(LinkId),
    Closed(LinkId),
    Sent(LinkId, u64),
    Local(L),
    Wake,
}

/// What nodes caused and the queue does not hold yet.
pub(crate) type Caused<P, L> = Vec<(Key, Pending<P, L>)>;

/// What a link carries.
#[derive(Debug)]
pub(crate) enum Parcel<P> {
    Packet(P),
    /// Nothing follows.
    End,
}

impl<P: Packet> Parcel<P> {
    fn wire_bytes(&self) -> u64 {
        match self {
            Parcel::Packet(packet) => packet.wire_bytes(),
            Parcel::End => 0,
        }
    }
}

/// A time in which some cannot reach the others.
#[derive(Debug)]
pub(crate) struct Partition {
    /// One side; all others are on the other one.
    pub(crate) side: BTreeSet<NodeId>,
    pub(crate) from: Time,
    pub(crate) to: Time,
}

/// All the paths: facts of the world that nobody changes while it runs.
#[derive(Debug)]
pub(crate) struct Topology {
    pub(crate) access: Vec<Access>,
    pub(crate) default_path: Path,
    pub(crate) paths: BTreeMap<(NodeId, NodeId), Path>,
    pub(crate) partitions: Vec<Partition>,
}

impl Topology {
    pub(crate) fn path(&self, a: NodeId, b: NodeId) -> &Path {
        self.paths.get(&(a.min(b), a.max(b))).unwrap_or(&self.default_path)
    }

    /// One way; never nothing, so that whatever is sent arrives later.
    pub(crate) fn latency(&self, a: NodeId, b: NodeId) -> Duration {
        let sum = self.access[a.as_usize()].latency + self.access[b.as_usize()].latency;
        (sum + self.path(a, b).extra_latency).max(Duration::from_micros(1))
    }

    /// The least time in which anything comes from one node to another.
    pub(crate) fn shortest_way(&self) -> Duration {
        let (mut least, mut second) = (Duration::MAX / 4, Duration::MAX / 4);
        for access in &self.access {
            if access.latency < second {
                (least, second) = (least.min(access.latency), least.max(access.latency));
            }
        }
        let extra = self.paths.values().chain([&self.default_path]).map(|path| path.extra_latency).min();
        (least + second + extra.unwrap_or_default()).clamp(Duration::from_micros(1), LONGEST_SPAN)
    }

    /// There and back, as TCP measures it where nothing waits.
    fn round_trip(&self, a: NodeId, b: NodeId) -> Duration {
        self.latency(a, b) * 2 + self.path(a, b).jitter
    }

    /// Until when nothing that leaves one for the other at `at` comes through; `None` if it does.
    fn parted_until(&self, a: NodeId, b: NodeId, at: Time) -> Option<Time> {
        let parts = |partition: &&Partition| {
            (partition.from..partition.to).contains(&at) && partition.side.contains(&a) != partition.side.contains(&b)
        };
        self.partitions.iter().filter(parts).map(|partition| partition.to).max()
    }

    /// When something that leaves `a` at `at` by TCP is at `b`: as often as it must, it is sent again.
    fn arrival(&self, a: NodeId, b: NodeId, at: Time) -> Time {
        let mut sent = at;
        while let Some(end) = self.parted_until(a, b, sent) {
            sent = at + crate::tcp::first_try_after(end - at, self.round_trip(a, b));
        }
        sent + self.latency(a, b)
    }
}

/// One end of a link, as its node has it.
#[derive(Debug)]
struct End<P> {
    other: NodeId,
    path: Serializer,
    /// How far ahead of the path the node may send.
    queue: Duration,
    round_trip: Duration,
    /// When what was sent last is there: nothing overtakes it.
    arrives: Time,
    /// What waits for the node's line, with its token.
    waiting: VecDeque<(Parcel<P>, Option<u64>)>,
    /// In `NodeNet::ready`.
    is_ready: bool,
    /// Waits for a `PathFree`.
    is_blocked: bool,
    closing: bool,
}

/// One node's part of the network.
#[derive(Debug)]
pub(crate) struct NodeNet<P> {
    id: NodeId,
    pub(crate) running: bool,
    pub(crate) wake_at: Option<Time>,
    pub(crate) digest: Digest,
    /// A second since the world began, and the wakes within it.
    pub(crate) wakes_within: (u64, u32),
    sequence: u64,
    /// What this node caused for itself before this belongs to a process that is dead.
    born_at: u64,
    links_opened: u32,
    dialing: BTreeSet<LinkId>,
    ends: Links<End<P>>,
    /// Links with something to send whose path has room, in turn.
    ready: VecDeque<LinkId>,
    up: Serializer,
    down: Serializer,
    /// A `LineFree` is in the queue: somebody waits for the line.
    waits_for_line: bool,
    rng: Rng,
    pub(crate) bytes_up: u64,
    pub(crate) bytes_down: u64,
}

impl<P: Packet> NodeNet<P> {
    pub(crate) fn new(id: NodeId, access: &Access, rng: Rng) -> Self {
        NodeNet {
            id,
            running: false,
            wake_at: None,
            digest: Digest::new(),
            wakes_within: (0, 0),
            sequence: 0,
            born_at: 0,
            links_opened: 0,
            dialing: BTreeSet::new(),
            ends: Links::new(),
            ready: VecDeque::new(),
            up: Serializer::new(access.up_bytes_per_s),
            down: Serializer::new(access.down_bytes_per_s),
            waits_for_line: false,
            rng,
            bytes_up: 0,
            bytes_down: 0,
        }
    }
}

/// A node's way to act on the world.
#[derive(Debug)]
pub struct Port<'a, P, L> {
    pub(crate) now: Time,
    pub(crate) net: &'a mut NodeNet<P>,
    pub(crate) topology: &'a Topology,
    /// What this node causes; the driver moves it into the queue.
    pub(crate) caused: &'a mut Caused<P, L>,
}

impl<P: Packet, L> Port<'_, P, L> {
    /// This node.
    pub fn id(&self) -> NodeId {
        self.net.id
    }

    /// How many nodes there are.
    pub fn nodes(&self) -> u32 {
        self.topology.access.len() as u32
    }

    /// Opens a link. Ends in `Connected` or `Refused`, a round trip later.
    pub fn dial(&mut self, to: NodeId) -> LinkId {
        let link = LinkId { dialer: self.net.id, number: self.net.links_opened };
        self.net.links_opened += 1;
        self.net.dialing.insert(link);
        if to.as_usize() < self.topology.access.len() {
            let arrives = self.cause_there(self.now, to, Pending::Open(link));
            if arrives > self.now + CONNECT_TIMEOUT {
                self.cause_here(self.now + CONNECT_TIMEOUT, Pending::Refuse(link));
            }
        } else {
            // Nobody has this address; chosen: a second until that is known.
            self.cause_here(self.now + Duration::from_secs(1), Pending::Refuse(link));
        }
        link
    }

    /// Whether this end of a link stands.
    pub(crate) fn is_open(&self, link: LinkId) -> bool {
        self.net.ends.contains(link)
    }

    /// Whom a link leads to; `None` once it is closed.
    pub fn other(&self, link: LinkId) -> Option<NodeId> {
        self.net.ends.get(link).map(|end| end.other)
    }

    /// Sends a packet after those before it. With a token, `Sent` says when it left. Nothing happens on a closed link.
    pub fn send(&mut self, link: LinkId, packet: P, token: Option<u64>) {
        if let Some(end) = self.net.ends.get_mut(link).filter(|end| !end.closing) {
            end.waiting.push_back((Parcel::Packet(packet), token));
            self.make_ready(link);
            self.pump();
        }
    }

    /// Takes back the packet with this token, if it has not begun to leave.
    pub fn unsend(&mut self, link: LinkId, token: u64) -> Option<P> {
        let waiting = &mut self.net.ends.get_mut(link)?.waiting;
        let at = waiting.iter().position(|(_, its)| *its == Some(token))?;
        match waiting.remove(at)?.0 {
            Parcel::Packet(packet) => Some(packet),
            Parcel::End => None,
        }
    }

    /// Packets that wait to leave over this link.
    pub fn waiting(&self, link: LinkId) -> usize {
        self.net.ends.get(link).map_or(0, |end| end.waiting.len())
    }

    /// Closes a link once what was sent before has left. `Closed` follows.
    pub fn close(&mut self, link: LinkId) {
        if let Some(end) = self.net.ends.get_mut(link).filter(|end| !end.closing) {
            end.closing = true;
            end.waiting.push_back((Parcel::End, None));
            self.make_ready(link);
            self.pump();
        }
    }

    /// Closes a link at once; what waits is lost. `Closed` follows, here and there.
    pub fn reset(&mut self, link: LinkId) {
        if let Some(end) = self.net.ends.remove(link) {
            self.cause_there(self.now, end.other, Pending::Reset(link));
            self.cause_here(self.now, Pending::Closed(link));
        }
    }

    /// Sends a packet without a link: nothing tells whether it arrives. Takes no time on the lines.
    pub fn datagram(&mut self, to: NodeId, packet: P) {
        if to.as_usize() < self.topology.access.len() && self.topology.parted_until(self.net.id, to, self.now).is_none()
        {
            self.cause(self.now + self.topology.latency(self.net.id, to), to, Pending::Datagram(packet));
        }
    }

    /// Puts something aside for later.
    pub fn later(&mut self, after: Duration, local: L) {
        self.cause_here(self.now + after, Pending::Local(local));
    }

    pub(crate) fn cause(&mut self, at: Time, to: NodeId, what: Pending<P, L>) {
        let key = Key { at, to, from: self.net.id, sequence: self.net.sequence };
        self.net.sequence += 1;
        self.caused.push((key, what));
    }

    /// Causes something at another node, by what leaves here at `departs`; says when.
    fn cause_there(&mut self, departs: Time, to: NodeId, what: Pending<P, L>) -> Time {
        let at = self.topology.arrival(self.net.id, to, departs);
        self.cause(at, to, what);
        at
    }

    pub(crate) fn cause_here(&mut self, at: Time, what: Pending<P, L>) {
        self.cause(at, self.net.id, what);
    }

    fn make_ready(&mut self, link: LinkId) {
        if let Some(end) = self.net.ends.get_mut(link)
            && !end.is_ready
            && !end.is_blocked
            && !end.waiting.is_empty()
        {
            end.is_ready = true;
            self.net.ready.push_back(link);
        }
    }

    /// Lets messages out while the node's line is free, one link after another.
    fn pump(&mut self) {
        let now = self.now;
        while !self.net.ready.is_empty() {
            let free_at = self.net.up.free_at(now);
            if free_at > now {
                // Told only where somebody waits for it: most lines rest after most messages.
                if !std::mem::replace(&mut self.net.waits_for_line, true) {
                    self.cause_here(free_at, Pending::LineFree);
                }
                return;
            }
            let Some(link) = self.net.ready.pop_front() else { return };
            let Some(end) = self.net.ends.get_mut(link) else { continue };
            end.is_ready = false;
            let path = self.topology.path(self.net.id, end.other);
            // Room in the path's queue: what it still has to carry is less than the queue.
            let room_at = end.path.free_at(now) - now;
            if room_at > end.queue {
                end.is_blocked = true;
                let room_at = now + (room_at - end.queue);
                self.cause_here(room_at, Pending::PathFree(link));
                continue;
            }
            let Some((mut parcel, token)) = end.waiting.pop_front() else { continue };
            if let Parcel::Packet(packet) = &mut parcel
                && path.corrupt > 0.0
                && self.net.rng.chance(path.corrupt)
            {
                packet.corrupt();
            }
            let bytes = parcel.wire_bytes();
            let left = self.net.up.take(now, bytes);
            let through = end.path.take(left, bytes);
            let (other, is_end) = (end.other, matches!(parcel, Parcel::End));
            let mut at = self.topology.arrival(self.net.id, other, through);
            if path.jitter > Duration::ZERO {
                at = at + path.jitter.mul_f64(self.net.rng.unit());
            }
            if path.loss > 0.0 {
                at = at + crate::tcp::retransmission(&mut self.net.rng, end.round_trip, path.loss, bytes);
            }
            end.arrives = end.arrives.max(at);
            let at = end.arrives;
            self.net.bytes_up += bytes;
            self.cause(at, other, Pending::Arrive(link, parcel));
            if let Some(token) = token {
                self.cause_here(left, Pending::Sent(link, token));
            }
            if is_end {
                self.net.ends.remove(link);
                self.cause_here(left, Pending::Closed(link));
            }
            self.make_ready(link);
        }
    }

    pub(crate) fn line_free(&mut self) {
        self.net.waits_for_line = false;
        self.pump();
    }

    pub(crate) fn path_free(&mut self, link: LinkId) {
        if let Some(end) = self.net.ends.get_mut(link) {
            end.is_blocked = false;
            self.make_ready(link);
            self.pump();
        }
    }

    /// A dial was answered; says whether this process made it. If not, the other end learns that nobody is here.
    pub(crate) fn dialed(&mut self, link: LinkId, from: NodeId, accepted: bool) -> bool {
        let ours = self.net.dialing.remove(&link);
        if accepted && ours {
            self.stand(link, from, self.now);
        } else if accepted {
            self.cause_there(self.now, from, Pending::Reset(link));
        }
        ours
    }

    /// This end of a link stands; nothing arrives at the other one before `arrives`.
    fn stand(&mut self, link: LinkId, other: NodeId, arrives: Time) {
        let path = self.topology.path(self.net.id, other);
        let round_trip = self.topology.round_trip(self.net.id, other);
        let (rate, queue_bytes) = match crate::tcp::rate_cap(round_trip, path.loss) {
            Some(cap) if path.bytes_per_s.is_none_or(|rate| cap < rate) => {
                (Some(cap), crate::tcp::send_buffer(cap, round_trip).min(path.queue_bytes))
            }
            _ => (path.bytes_per_s, path.queue_bytes),
        };
        let serializer = Serializer::new(rate);
        let end = End {
            other,
            queue: serializer.duration_of(queue_bytes),
            path: serializer,
            round_trip,
            arrives,
            waiting: VecDeque::new(),
            is_ready: false,
            is_blocked: false,
            closing: false,
        };
        self.net.ends.insert(link, end);
    }

    /// Answers somebody's dial, and settles when the link will be lost.
    pub(crate) fn accept(&mut self, link: LinkId) {
        let (dialer, mean) = (link.dialer, self.topology.path(self.net.id, link.dialer).mean_lifetime);
        let arrives = self.cause_there(self.now, dialer, Pending::Accept(link));
        self.stand(link, dialer, arrives);
        if let Some(mean) = mean {
            // Exponential: a link that lasted is no likelier to be lost than a new one.
            let lifetime = mean.mul_f64(-(1.0 - self.net.rng.unit()).ln());
            self.cause_here(self.now + lifetime, Pending::Lost(link));
        }
    }

    pub(crate) fn refuse(&mut self, link: LinkId) {
        let dialer = link.dialer;
        self.cause_there(self.now, dialer, Pending::Refuse(link));
    }

    /// Something is at this node's line; says whether it is through at once.
    pub(crate) fn arrive(&mut self, link: LinkId, parcel: Parcel<P>) -> Option<Parcel<P>> {
        let bytes = parcel.wire_bytes();
        self.net.bytes_down += bytes;
        let through = self.net.down.take(self.now, bytes);
        if through > self.now {
            self.cause_here(through, Pending::Deliver(link, parcel));
            return None;
        }
        Some(parcel)
    }

    /// Forgets an end; says whether there was one.
    pub(crate) fn forget(&mut self, link: LinkId) -> bool {
        self.net.ends.remove(link).is_some()
    }

    /// The links to a node, or all.
    pub(crate) fn links_to(&self, other: Option<NodeId>) -> Vec<LinkId> {
        let ends = self.net.ends.iter();
        ends.filter(|(_, end)| other.is_none_or(|other| end.other == other)).map(|(link, _)| link).collect()
    }

    /// The process dies: all links end, those that waited for an answer too.
    pub(crate) fn die(&mut self) {
        for link in self.links_to(None) {
            if let Some(end) = self.net.ends.remove(link) {
                self.cause_there(self.now, end.other, Pending::Reset(link));
            }
        }
        self.net.ready.clear();
        self.net.dialing.clear();
        self.net.waits_for_line = false;
        self.net.wake_at = None;
        self.net.born_at = self.net.sequence;
    }

    /// Whether the process that put this aside is dead.
    pub(crate) fn is_stale(&self, key: &Key) -> bool {
        key.from == self.net.id && key.sequence < self.net.born_at
    }
}
