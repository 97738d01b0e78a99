//! The language of scenarios: who is there, how they are connected, what goes wrong, until when.
//!
//! ```
//! # use shoal_sim::{Access, swarm::{Kind, Scenario}};
//! # use std::time::Duration;
//! let line = Access::symmetric(1_000_000, Duration::from_millis(20));
//! let mut scenario = Scenario::new(7, Kind::V1, 4 << 20, 256 << 10);
//! scenario.tracker();
//! scenario.seed(line);
//! let leeches = scenario.leeches(3, line);
//! let report = scenario.run(Duration::from_secs(120)).unwrap();
//! assert!(report.is_complete(), "{report}");
//! assert!(report.record(leeches[0]).complete_at.is_some());
//! ```

use super::act::Act;
use super::content::{Content, Kind};
use super::peer::PeerSite;
use super::rogue::{Misbehaviour, Rogue};
use super::setup::{PeerRecord, PeerSetup};
use super::tracker::{Tracker, TrackerMood};
use super::{SwarmLocal, SwarmNode, SwarmSimulation};
use crate::{Access, MachineNode, NodeId, Path, Simulation, Violation};
use shoal_machine::{Rng, Time};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A swarm to be run: a seed, a torrent, and those who take part.
pub struct Scenario {
    simulation: SwarmSimulation,
    rng: Rng,
    content: Arc<Content>,
    trackers: Vec<NodeId>,
    /// Peers that are waited for.
    leeches: Vec<NodeId>,
    /// Peers that left for good.
    left: BTreeSet<NodeId>,
}

impl Scenario {
    /// An empty swarm around a torrent of `length` bytes.
    pub fn new(seed: u64, kind: Kind, length: u64, piece_length: u32) -> Scenario {
        Scenario::of(seed, Content::new(kind, length, piece_length, seed))
    }

    /// An empty swarm around this torrent.
    pub fn of(seed: u64, content: Content) -> Scenario {
        Scenario {
            simulation: Simulation::new(seed),
            rng: Rng::new(seed).fork("scenario"),
            content: Arc::new(content),
            trackers: Vec::new(),
            leeches: Vec::new(),
            left: BTreeSet::new(),
        }
    }

    /// The torrent.
    pub fn content(&self) -> &Arc<Content> {
        &self.content
    }

    /// A tracker, known to those who are added afterwards.
    pub fn tracker(&mut self) -> NodeId {
        let rng = self.node_rng();
        // BEP 3 trackers usually say half an hour.
        let tracker = SwarmNode::Tracker(Box::new(Tracker::new(Duration::from_secs(1_800), rng)));
        let id = self.simulation.add(tracker, Access::unlimited(Duration::from_millis(10)));
        self.simulation.start(id, Time::ZERO);
        self.trackers.push(id);
        id
    }

    /// A peer that starts with everything.
    pub fn seed(&mut self, access: Access) -> NodeId {
        self.peer(PeerSetup { seed: true, ..PeerSetup::default() }, access, Time::ZERO)
    }

    /// Peers that start with nothing but the torrent file.
    pub fn leeches(&mut self, count: usize, access: Access) -> Vec<NodeId> {
        (0..count).map(|_| self.peer(PeerSetup::default(), access, Time::ZERO)).collect()
    }

    /// A peer as described, started at `start`.
    pub fn peer(&mut self, setup: PeerSetup, access: Access, start: Time) -> NodeId {
        let id = self.simulation.next_id();
        if !setup.seed {
            self.leeches.push(id);
        }
        let rng = self.node_rng();
        let site = PeerSite::new(id, setup, Arc::clone(&self.content), self.trackers.clone(), rng);
        let id = self.simulation.add(SwarmNode::Peer(Box::new(MachineNode::new(site))), access);
        self.simulation.start(id, start);
        id
    }

    /// One who does not keep to the protocol.
    pub fn rogue(&mut self, misbehaviour: Misbehaviour, access: Access) -> NodeId {
        self.add_rogue(misbehaviour, access, false)
    }

    /// The same, and it dials whom its tracker names.
    pub fn intruder(&mut self, misbehaviour: Misbehaviour, access: Access) -> NodeId {
        self.add_rogue(misbehaviour, access, true)
    }

    fn add_rogue(&mut self, misbehaviour: Misbehaviour, access: Access, dials: bool) -> NodeId {
        let rng = self.node_rng();
        let rogue = Rogue::new(misbehaviour, Arc::clone(&self.content), self.trackers.clone(), dials, rng);
        let id = self.simulation.add(SwarmNode::Rogue(Box::new(rogue)), access);
        self.simulation.start(id, Time::ZERO);
        id
    }

    fn node_rng(&self) -> Rng {
        self.rng.fork_index("node", u64::from(self.simulation.next_id().0))
    }

    /// What lies between two.
    pub fn path(&mut self, a: NodeId, b: NodeId, path: Path) {
        self.simulation.set_path(a, b, path);
    }

    /// What lies between all others.
    pub fn default_path(&mut self, path: Path) {
        self.simulation.set_default_path(path);
    }

    /// A process is killed, and comes back after `pause` with what its disk has.
    pub fn restart(&mut self, node: NodeId, at: Time, pause: Duration) {
        self.simulation.stop(node, at);
        self.simulation.start(node, at + pause);
    }

    /// A process is killed and stays away; it is not waited for.
    pub fn leave(&mut self, node: NodeId, at: Time) {
        self.simulation.stop(node, at);
        self.left.insert(node);
        self.leeches.retain(|&leech| leech != node);
    }

    /// A peer says goodbye at `at` and is gone, complete or not. The run waits for it still.
    pub fn depart(&mut self, node: NodeId, at: Time) {
        self.simulation.remind(node, at, SwarmLocal::Leave);
    }

    /// From one moment to another `side` and all others cannot reach each other.
    pub fn part(&mut self, side: impl IntoIterator<Item = NodeId>, from: Time, to: Time) {
        self.simulation.part(side, from, to);
    }

    /// Every connection between two is lost.
    pub fn cut(&mut self, a: NodeId, b: NodeId, at: Time) {
        self.simulation.cut(a, b, at);
    }

    /// Every connection is lost, now.
    pub fn cut_all(&mut self) {
        let (now, nodes) = (self.simulation.now(), self.simulation.next_id().0);
        for a in 0..nodes {
            (a + 1..nodes).for_each(|b| self.simulation.cut(NodeId(a), NodeId(b), now));
        }
    }

    /// A process is killed because its machine loses its power, and comes back: what was not synced may be lost.
    pub fn power_cut(&mut self, node: NodeId, at: Time, pause: Duration) {
        self.befall(node, at, Act::PowerCut);
        self.restart(node, at, pause);
    }

    /// Something befalls a node.
    pub fn befall(&mut self, node: NodeId, at: Time, act: Act) {
        self.simulation.remind(node, at, SwarmLocal::Act(act));
    }

    /// From now on nothing goes wrong: paths are clear, disks and trackers and web seeds work, liars tell the truth, and all
    /// who are honest run. Rogues are gone, or those stay that do not flood.
    pub fn calm(&mut self, rogues_stay: bool) {
        let now = self.simulation.now();
        self.simulation.clear_paths();
        for id in (0..self.simulation.next_id().0).map(NodeId) {
            match self.simulation.node_mut(id) {
                SwarmNode::Peer(peer) => {
                    peer.surroundings_mut().calm();
                    self.simulation.remind(id, now, SwarmLocal::Act(Act::FailSyncs(false)));
                }
                SwarmNode::Tracker(tracker) => tracker.mood = TrackerMood::Helpful,
                SwarmNode::Rogue(rogue) if rogues_stay && !rogue.misbehaviour().floods() => {}
                SwarmNode::Rogue(_) => {
                    self.simulation.stop(id, now);
                    continue;
                }
            }
            if !self.left.contains(&id) {
                self.simulation.start(id, now);
            }
        }
    }

    /// Goes on until every leech is complete, or the limit is reached.
    pub fn run(&mut self, limit: Duration) -> Result<Report, Violation> {
        let end = self.simulation.now() + limit;
        loop {
            let mut missing = self.leeches.clone();
            let goes_on = self.simulation.run_while(end, |simulation| {
                // Only the last of those that are not complete is looked at each time.
                while missing.last().is_some_and(|&leech| is_complete(simulation, leech)) {
                    missing.pop();
                }
                !missing.is_empty()
            })?;
            // One that was complete may have lost a piece meanwhile.
            if goes_on || self.leeches.iter().all(|&leech| is_complete(&self.simulation, leech)) {
                return Ok(self.report());
            }
        }
    }

    /// Goes on to `end` or until `condition` holds no more, which is looked at after every event; says whether it still holds.
    pub fn run_while(&mut self, end: Time, condition: impl FnMut(&SwarmSimulation) -> bool) -> Result<bool, Violation> {
        self.simulation.run_while(end, condition)
    }

    /// The same, where `condition` is looked at now and then; see [`crate::Simulation::run_while_roughly`].
    pub fn run_while_roughly(
        &mut self,
        end: Time,
        condition: impl FnMut(&SwarmSimulation) -> bool,
    ) -> Result<bool, Violation> {
        self.simulation.run_while_roughly(end, condition)
    }

    /// Goes on for so long, whoever is complete.
    pub fn run_for(&mut self, time: Duration) -> Result<Report, Violation> {
        self.simulation.run_until(self.simulation.now() + time)?;
        Ok(self.report())
    }

    /// A peer's processes that start from now on keep a log of what their swarm was told and ordered.
    pub fn watch(&mut self, node: NodeId) {
        if let SwarmNode::Peer(peer) = self.simulation.node_mut(node) {
            peer.surroundings_mut().watched = true;
        }
    }

    /// Lets a peer's processes keep a trace (`shoal_trace`), from their next start.
    pub fn trace(&mut self, node: NodeId) {
        if let SwarmNode::Peer(peer) = self.simulation.node_mut(node) {
            peer.surroundings_mut().traced = true;
        }
    }

    /// The trace until now of a peer's process that runs; once.
    pub fn take_trace(&mut self, node: NodeId) -> Option<Vec<u8>> {
        let SwarmNode::Peer(peer) = self.simulation.node_mut(node) else { return None };
        let recorder = peer.machine_mut()?.recorder.as_mut()?;
        recorder.flush();
        recorder.take()
    }

    /// The log of a watched peer's process that runs.
    pub fn log(&self, node: NodeId) -> Vec<String> {
        match self.simulation.node(node) {
            SwarmNode::Peer(peer) => {
                peer.machine().map_or_else(Vec::new, |process| process.log().map(str::to_owned).collect())
            }
            SwarmNode::Tracker(_) | SwarmNode::Rogue(_) => Vec::new(),
        }
    }

    /// The simulation, for a closer look.
    pub fn simulation(&self) -> &SwarmSimulation {
        &self.simulation
    }

    /// How things stand.
    pub fn report(&self) -> Report {
        let sites = self.simulation.nodes().filter_map(|(id, node)| Some((id, node.site()?.record().clone())));
        Report {
            seed: self.simulation.seed(),
            now: self.simulation.now(),
            digest: self.simulation.digest(),
            events: self.simulation.events(),
            length: self.content.info().layout().payload_length(),
            records: sites.collect(),
            leeches: self.leeches.iter().map(|&leech| (leech, is_complete(&self.simulation, leech))).collect(),
        }
    }
}

fn is_complete(simulation: &SwarmSimulation, leech: NodeId) -> bool {
    simulation.node(leech).site().is_some_and(PeerSite::is_complete)
}

/// How a scenario ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The scenario's.
    pub seed: u64,
    /// When it was made.
    pub now: Time,
    /// Stands for the whole trace.
    pub digest: u64,
    /// Messages delivered and timers fired.
    pub events: u64,
    /// Payload bytes of the torrent.
    pub length: u64,
    records: BTreeMap<NodeId, PeerRecord>,
    leeches: BTreeMap<NodeId, bool>,
}

impl Report {
    /// Whether every leech has everything.
    pub fn is_complete(&self) -> bool {
        self.leeches.values().all(|&complete| complete)
    }

    /// All peers with a machine.
    pub fn peers(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.records.keys().copied()
    }

    /// What one peer went through. Panics if it is no peer with a machine.
    pub fn record(&self, peer: NodeId) -> &PeerRecord {
        &self.records[&peer]
    }

    /// When the last leech was complete; `None` if one is not.
    pub fn finished_at(&self) -> Option<Time> {
        let times = self.leeches.keys().map(|leech| self.records[leech].complete_at);
        times.collect::<Option<Vec<_>>>()?.into_iter().max()
    }

    /// Everybody whom somebody banned.
    pub fn banned(&self) -> std::collections::BTreeSet<NodeId> {
        self.records.values().flat_map(|record| record.banned.iter().copied()).collect()
    }

    /// Bytes of blocks that leeches received and could not use, over what they needed.
    pub fn waste(&self) -> f64 {
        let needed = self.length * self.leeches.len() as u64;
        let received: u64 = self.leeches.keys().map(|leech| self.records[leech].downloaded_bytes).sum();
        received as f64 / needed as f64 - 1.0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let complete = self.leeches.values().filter(|&&complete| complete).count();
        write!(
            f,
            "seed {}: at {:?} {complete} of {} leeches complete, waste {:.3}, banned {:?}, {} events, digest {:016x}",
            self.seed,
            self.now,
            self.leeches.len(),
            self.waste(),
            self.banned(),
            self.events,
            self.digest
        )
    }
}
