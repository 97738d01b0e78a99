//! The driver in virtual time: takes what happens next, lets the node see it, checks, goes on.
//!
//! One seed, one trace: the seed, the nodes and their network decide everything, the digest stands for all that happened.
//! Each node has a digest of its own, joined in the order of nodes. See [`crate::queue`] for why no number of threads could
//! change it.

use crate::link::{Access, Path};
use crate::net::{Caused, NodeId, NodeNet, Parcel, Partition, Pending, Port, Topology};
use crate::node::{Happening, Node, Packet};
use crate::queue::{Key, Queue};
use shoal_machine::Digest;
use shoal_machine::{Rng, Time};
use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};

/// Wakes of a node within a second, at most: more is a timer storm (reliability.md I10).
const MAX_WAKES_A_SECOND: u32 = 1_000;

/// Something that must hold did not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// Of the run: it replays from here.
    pub seed: u64,
    /// When.
    pub at: Time,
    /// Where.
    pub node: NodeId,
    /// What.
    pub what: String,
}

impl Violation {
    /// What, where and when, for those who know the seed.
    pub fn happened(&self) -> String {
        format!("at {:?}, node {}: {}", self.at, self.node.0, self.what)
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {}: {}", self.seed, self.happened())
    }
}

impl std::error::Error for Violation {}

/// A network of nodes in virtual time.
pub struct Simulation<N: Node> {
    seed: u64,
    rng: Rng,
    now: Time,
    nodes: Vec<N>,
    nets: Vec<NodeNet<N::Packet>>,
    topology: Topology,
    queue: Queue<Pending<N::Packet, N::Local>>,
    caused: Caused<N::Packet, N::Local>,
    /// Empty between two steps.
    span: Caused<N::Packet, N::Local>,
    happenings: Vec<Happening<N::Packet, N::Local>>,
    scratch: N::Scratch,
    world_sequence: u64,
    events: u64,
}

impl<N: Node> Simulation<N> {
    /// An empty world.
    pub fn new(seed: u64) -> Self {
        Simulation {
            seed,
            rng: Rng::new(seed),
            now: Time::ZERO,
            nodes: Vec::new(),
            nets: Vec::new(),
            topology: Topology {
                access: Vec::new(),
                default_path: Path::CLEAR,
                paths: BTreeMap::new(),
                partitions: Vec::new(),
            },
            queue: Queue::new(),
            caused: Vec::new(),
            span: Vec::new(),
            happenings: Vec::new(),
            scratch: N::Scratch::default(),
            world_sequence: 0,
            events: 0,
        }
    }

    /// The world's seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The number that the next node will get.
    pub fn next_id(&self) -> NodeId {
        NodeId(self.nodes.len() as u32)
    }

    /// Puts a node into the world, not yet started.
    pub fn add(&mut self, node: N, access: Access) -> NodeId {
        let id = self.next_id();
        self.nodes.push(node);
        self.nets.push(NodeNet::new(id, &access, self.rng.fork_index("net", u64::from(id.0))));
        self.topology.access.push(access);
        id
    }

    /// What lies between every two nodes that have no path of their own. For links opened from now on.
    pub fn set_default_path(&mut self, path: Path) {
        self.topology.default_path = path;
    }

    /// What lies between two nodes. For links opened from now on.
    pub fn set_path(&mut self, a: NodeId, b: NodeId, path: Path) {
        self.topology.paths.insert((a.min(b), a.max(b)), path);
    }

    /// All paths are clear from now on; links that are to be lost still are.
    pub fn clear_paths(&mut self) {
        self.topology.default_path = Path::CLEAR;
        self.topology.paths.clear();
    }

    /// The node's process starts at `at`.
    pub fn start(&mut self, node: NodeId, at: Time) {
        self.ordain(at, node, Pending::Start);
    }

    /// The node's process is killed at `at`.
    pub fn stop(&mut self, node: NodeId, at: Time) {
        self.ordain(at, node, Pending::Stop);
    }

    /// Every link between two nodes is lost at `at`.
    pub fn cut(&mut self, a: NodeId, b: NodeId, at: Time) {
        self.ordain(at, a, Pending::Cut(b));
    }

    /// The node is handed something at `at`, as if it had put it aside; whether its process was started anew meanwhile or not.
    pub fn remind(&mut self, node: NodeId, at: Time, local: N::Local) {
        self.ordain(at, node, Pending::Local(local));
    }

    /// From one moment to another nothing passes between the nodes of `side` and all others: what is sent by a link waits until
    /// TCP tries again, what is sent without one is lost. Say so before the time comes.
    pub fn part(&mut self, side: impl IntoIterator<Item = NodeId>, from: Time, to: Time) {
        self.topology.partitions.push(Partition { side: side.into_iter().collect(), from, to });
    }

    fn ordain(&mut self, at: Time, to: NodeId, what: Pending<N::Packet, N::Local>) {
        let key = Key { at: at.max(self.now), to, from: NodeId::WORLD, sequence: self.world_sequence };
        self.world_sequence += 1;
        self.queue.push(key, what);
    }

    /// The present moment.
    pub fn now(&self) -> Time {
        self.now
    }

    /// Messages delivered and timers fired so far.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Stands for all that happened so far.
    pub fn digest(&self) -> u64 {
        let mut all = Digest::new();
        for net in &self.nets {
            all.write_u64(net.digest.finish());
        }
        all.finish()
    }

    /// A node. Panics if there is no such node.
    pub fn node(&self, id: NodeId) -> &N {
        &self.nodes[id.as_usize()]
    }

    /// A node, to change it between two runs. Panics if there is no such node.
    pub fn node_mut(&mut self, id: NodeId) -> &mut N {
        &mut self.nodes[id.as_usize()]
    }

    /// All nodes, in order.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &N)> {
        self.nodes.iter().enumerate().map(|(i, node)| (NodeId(i as u32), node))
    }

    /// Bytes that a node's line sent.
    pub fn bytes_up(&self, id: NodeId) -> u64 {
        self.nets[id.as_usize()].bytes_up
    }

    /// Bytes that reached a node's line.
    pub fn bytes_down(&self, id: NodeId) -> u64 {
        self.nets[id.as_usize()].bytes_down
    }

    /// Goes on to `end`.
    pub fn run_until(&mut self, end: Time) -> Result<(), Violation> {
        self.run_while_roughly(end, |_| true).map(|_| ())
    }

    /// Goes on while `condition` holds and `end` is not reached; says whether `condition` still holds.
    pub fn run_while(&mut self, end: Time, mut condition: impl FnMut(&Self) -> bool) -> Result<bool, Violation> {
        while condition(self) {
            if self.queue.next_at().is_none_or(|at| at > end) {
                self.now = self.now.max(end);
                return Ok(true);
            }
            self.step()?;
        }
        Ok(false)
    }

    /// The same, where `condition` is not asked after each happening but once in each span of the shortest way between two nodes:
    /// within one nobody hears of anybody, so each node lives through its part of it by itself, which is much faster where many
    /// nodes do not fit into a processor's caches. What happens is the same.
    pub fn run_while_roughly(
        &mut self,
        end: Time,
        mut condition: impl FnMut(&Self) -> bool,
    ) -> Result<bool, Violation> {
        self.queue.set_span(self.topology.shortest_way().as_micros() as u64);
        while condition(self) {
            if self.queue.next_at().is_none_or(|at| at > end) {
                self.now = self.now.max(end);
                return Ok(true);
            }
            self.step_span(end)?;
        }
        Ok(false)
    }

    /// Lets the next thing happen, if there is one.
    pub fn step(&mut self) -> Result<(), Violation> {
        let Some((key, what)) = self.queue.pop() else { return Ok(()) };
        debug_assert!(key.at >= self.now, "time went back");
        self.now = key.at;
        self.happen(key, what)?;
        self.caused.drain(..).for_each(|(key, what)| self.queue.push(key, what));
        Ok(())
    }

    /// Lets all of a span happen that is not later than `end`, one node after another.
    fn step_span(&mut self, end: Time) -> Result<(), Violation> {
        let (began, mut latest) = (self.now, self.now);
        let mut span = std::mem::take(&mut self.span);
        self.queue.take_span(&mut span);
        let mut left = Vec::new();
        let mut all = span.drain(..).peekable();
        while let Some(node) = all.peek().map(|(key, _)| key.to) {
            // Beside what was to happen to this node there is what it causes for itself meanwhile.
            while let Some((key, what)) = match (all.peek(), self.queue.near_key()) {
                (Some((next, _)), Some(near)) if next.to == node && next < near => all.next(),
                (_, Some(_)) => self.queue.pop_near(),
                (Some((next, _)), None) if next.to == node => all.next(),
                (_, None) => None,
            } {
                if key.at > end {
                    left.push((key, what));
                    continue;
                }
                debug_assert!(key.to == node && key.at >= began, "somebody else, or time went back");
                self.now = key.at;
                self.happen(key, what)?;
                self.caused.drain(..).for_each(|(key, what)| self.queue.push(key, what));
            }
            latest = latest.max(self.now);
        }
        drop(all);
        self.now = latest;
        self.span = span;
        left.into_iter().for_each(|(key, what)| self.queue.push(key, what));
        Ok(())
    }

    /// Something happens to a node; what it caused is in `caused`.
    fn happen(&mut self, key: Key, what: Pending<N::Packet, N::Local>) -> Result<(), Violation> {
        let index = key.to.as_usize();
        let (node, net) = (&mut self.nodes[index], &mut self.nets[index]);
        let mut port = Port { now: self.now, net, topology: &self.topology, caused: &mut self.caused };
        if port.is_stale(&key) {
            return Ok(());
        }
        // One thing may be several happenings: a cut ends many links.
        let is_due = || node.deadline().is_some_and(|deadline| deadline <= self.now);
        let is_wake = matches!(what, Pending::Wake);
        happen(&mut port, &key, what, is_due, &mut self.happenings);
        if self.happenings.is_empty() && !is_wake {
            // The node saw nothing, and what it waits for is the same.
            return Ok(());
        }
        let mut outcome = Ok(());
        for happening in self.happenings.drain(..) {
            if matches!(
                happening,
                Happening::Packet { .. } | Happening::Datagram { .. } | Happening::Wake | Happening::Local(_)
            ) {
                self.events += 1;
            }
            port.net.digest.write_u64(self.now.as_micros());
            key.from.hash(&mut port.net.digest);
            happening.hash(&mut port.net.digest);
            node.handle(self.now, happening, &mut port, &mut self.scratch);
            outcome = outcome.and(node.check(self.now));
        }
        let deadline = if port.net.running { node.deadline() } else { None };
        outcome = outcome.and(schedule_wake(&mut port, deadline));
        outcome.map_err(|what| Violation { seed: self.seed, at: self.now, node: key.to, what })
    }
}

/// Keeps a wake in the queue for the node's deadline, and at most a few that came too early.
fn schedule_wake<P: Packet, L>(port: &mut Port<'_, P, L>, deadline: Option<Time>) -> Result<(), String> {
    let Some(deadline) = deadline else { return Ok(()) };
    let at = deadline.max(port.now);
    if port.net.wake_at.is_some_and(|wake_at| wake_at <= at) {
        return Ok(());
    }
    port.net.wake_at = Some(at);
    port.cause_here(at, Pending::Wake);
    let second = port.now.as_micros() / 1_000_000;
    let (within, wakes) = &mut port.net.wakes_within;
    if *within != second {
        (*within, *wakes) = (second, 0);
    }
    *wakes += 1;
    if *wakes > MAX_WAKES_A_SECOND { Err("timer storm (I10)".to_owned()) } else { Ok(()) }
}

/// What something in the queue is to its node.
fn happen<P: Packet, L>(
    port: &mut Port<'_, P, L>,
    key: &Key,
    what: Pending<P, L>,
    is_due: impl FnOnce() -> bool,
    out: &mut Vec<Happening<P, L>>,
) {
    if !port.net.running {
        match what {
            Pending::Start => {
                port.net.running = true;
                out.push(Happening::Started);
            }
            Pending::Open(link) => port.refuse(link),
            Pending::Accept(link) => {
                port.dialed(link, key.from, true);
            }
            _ => {}
        }
        return;
    }
    match what {
        Pending::Start => {}
        Pending::Stop => {
            port.die();
            port.net.running = false;
            out.push(Happening::Stopped);
        }
        Pending::Cut(other) => {
            for link in port.links_to(Some(other)) {
                port.reset(link);
            }
        }
        Pending::Open(link) => {
            port.accept(link);
            out.push(Happening::Opened { link, from: key.from });
        }
        Pending::Accept(link) => {
            if port.dialed(link, key.from, true) {
                out.push(Happening::Connected { link });
            }
        }
        Pending::Refuse(link) => {
            if port.dialed(link, key.from, false) {
                out.push(Happening::Refused { link });
            }
        }
        Pending::Arrive(link, parcel) => {
            if let Some(parcel) = port.arrive(link, parcel) {
                out.extend(deliver(port, link, parcel));
            }
        }
        Pending::Deliver(link, parcel) => out.extend(deliver(port, link, parcel)),
        Pending::Datagram(packet) => out.push(Happening::Datagram { from: key.from, packet }),
        Pending::LineFree => port.line_free(),
        Pending::PathFree(link) => port.path_free(link),
        Pending::Lost(link) => port.reset(link),
        Pending::Reset(link) => {
            if port.forget(link) {
                out.push(Happening::Closed { link });
            }
        }
        Pending::Closed(link) => out.push(Happening::Closed { link }),
        Pending::Sent(link, token) => out.push(Happening::Sent { link, token }),
        Pending::Local(local) => out.push(Happening::Local(local)),
        Pending::Wake => {
            if port.net.wake_at == Some(port.now) {
                port.net.wake_at = None;
                if is_due() {
                    out.push(Happening::Wake);
                }
            }
        }
    }
}

fn deliver<P: Packet, L>(port: &mut Port<'_, P, L>, link: crate::LinkId, parcel: Parcel<P>) -> Option<Happening<P, L>> {
    match parcel {
        Parcel::Packet(packet) => port.is_open(link).then_some(Happening::Packet { link, packet }),
        Parcel::End => port.forget(link).then_some(Happening::Closed { link }),
    }
}
