//! What a process decides for all its torrents: rates, upload slots, dials and connections.
//!
//! Each limited direction is a [`bucket`]; swarms say what they could use and get credit for it by turns. A swarm is never
//! given more than it asked for, and asks anew after each credit, so that no unused credit piles up and what is on the
//! wire is what came out of the bucket. Swarms order their dials in the order of trust; the host lets them
//! out by turns, within the bounds on half-open and on all connections.
//!
//! Announces of all torrents leave at a pace that trackers bear ([`announces`]).
//!
//! Invariants ([`Host::check_invariants`]): credit given never exceeds rate times time plus the burst; no more dials are under way
//! than [`MAX_HALF_OPEN`]; no effect names a swarm that left.

mod announces;
mod bucket;
#[cfg(test)]
mod tests;

use crate::event::{Credit, Demand, TrackerKey};
use announces::Announces;
pub use announces::TrackerServer;
use bucket::Bucket;
use shoal_machine::{Effects, Machine, Time, Wake};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::ops::Bound;

/// Dials under way at a time. Chosen: with five seconds to time out, 8 addresses a second even if all are dead; small routers
/// drop connections when more are half open.
const MAX_HALF_OPEN: usize = 40;
/// One connection in so many is kept for those who dial us. Chosen.
const INCOMING_SHARE: usize = 10;
/// Upload slots of a swarm at least, the optimistic one counted (BEP 3).
const MIN_SLOTS: u32 = 4;
/// The same while upload is not limited; of them a swarm uses what its rate makes worth having (`slots`). Chosen: most small
/// swarms are served whole.
const MIN_SLOTS_UNLIMITED: u32 = 8;
/// Slots to share out by interest while upload is not limited. Chosen: half of 100 connections.
const SLOTS_UNLIMITED: u64 = 50;
/// Bytes per second that make a slot worth having, where upload is limited. Chosen.
const RATE_PER_SLOT: u64 = 20_000;

/// A swarm's number within its process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SwarmKey(pub u32);

/// The bounds of a process. Rates are in bytes per second; `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostConfig {
    /// Upload, all torrents together.
    pub up: Option<u64>,
    /// Download, all torrents together.
    pub down: Option<u64>,
    /// Connections, all torrents together.
    pub max_connections: usize,
}

/// What happened, for the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostEvent {
    /// The deadline came.
    Wake,
    /// A swarm began.
    Joined(SwarmKey),
    /// A swarm ended; its connections, dials and wishes with it.
    Left(SwarmKey),
    /// What a swarm could use from now on. Takes the place of what it said before; said anew after each credit.
    Demand(SwarmKey, Demand),
    /// A swarm wants to dial this address, after those that it wanted before.
    DialWanted(SwarmKey, SocketAddr),
    /// A swarm no longer wants to dial this address. Without effect if the dial is under way.
    DialWithdrawn(SwarmKey, SocketAddr),
    /// A dial ended, by both handshakes or a failure. If it was by the former, `Opened` follows or came before.
    DialEnded(SwarmKey),
    /// A connection has a swarm now, whoever dialed.
    Opened(SwarmKey),
    /// Such a connection is closed.
    Closed(SwarmKey),
    /// A swarm has something to tell a tracker, which lives on this server. `true`: it is its last word (`stopped`), and goes
    /// first. One for each tracker at a time; it ends in `Announce` or `NotAnnounced`.
    AnnounceWanted(SwarmKey, TrackerKey, TrackerServer, bool),
    /// An announce that was let out ended. `true`: the server said something, a refusal included.
    AnnounceEnded(SwarmKey, TrackerKey, bool),
    /// What this swarm wanted to announce, and was not let out yet, is not wanted any more.
    AnnouncesWithdrawn(SwarmKey),
    /// The user changed the rates. A swarm keeps what it was given: a first limit binds swarms that join later.
    Limits {
        /// Upload, bytes per second.
        up: Option<u64>,
        /// Download, bytes per second.
        down: Option<u64>,
    },
}

impl From<Wake> for HostEvent {
    fn from(_: Wake) -> Self {
        HostEvent::Wake
    }
}

/// What the host orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostEffect {
    /// Feed the swarm `Event::Credit`.
    Credit(SwarmKey, Credit),
    /// Feed the swarm `Event::UploadSlots`.
    UploadSlots(SwarmKey, u32),
    /// Dial. Ends in `DialEnded`.
    Dial(SwarmKey, SocketAddr),
    /// Announce. Ends in `AnnounceEnded`.
    Announce(SwarmKey, TrackerKey),
    /// Do not announce: the server answered nobody lately, or it was withdrawn. Feed the swarm a failure.
    NotAnnounced(SwarmKey, TrackerKey),
    /// Whether to take connections from the listener: not while there are as many as there may be.
    Accepting(bool),
}

#[derive(Debug, Default)]
struct Member {
    interested: u32,
    slots: u32,
    connections: usize,
    dialing: usize,
    /// Dials that wait; a swarm bounds them itself (30).
    dials: VecDeque<SocketAddr>,
}

/// One process's budgets.
#[derive(Debug)]
pub struct Host {
    max_connections: usize,
    up: Bucket,
    down: Bucket,
    swarms: BTreeMap<SwarmKey, Member>,
    connections: usize,
    dialing: usize,
    interested: u64,
    /// `interested` when slots were last shared out among all.
    shared_for: u64,
    /// The swarm that was last let dial.
    dial_turn: Option<SwarmKey>,
    announces: Announces,
    accepting: bool,
    now: Time,
}

impl Host {
    /// A host without swarms, that accepts.
    pub fn new(config: HostConfig) -> Host {
        Host {
            max_connections: config.max_connections,
            up: Bucket::new(config.up),
            down: Bucket::new(config.down),
            swarms: BTreeMap::new(),
            connections: 0,
            dialing: 0,
            interested: 0,
            shared_for: 0,
            dial_turn: None,
            announces: Announces::default(),
            accepting: true,
            now: Time::ZERO,
        }
    }

    fn joined(&mut self, swarm: SwarmKey, out: &mut Effects<HostEffect>) {
        if self.swarms.contains_key(&swarm) {
            return;
        }
        self.swarms.insert(swarm, Member::default());
        let unlimited = |bucket: &Bucket| if bucket.is_limited() { 0 } else { Credit::UNLIMITED };
        let credit = Credit { up: unlimited(&self.up), down: unlimited(&self.down) };
        if credit != Credit::default() {
            out.push(HostEffect::Credit(swarm, credit));
        }
        self.share_slots(swarm, out);
    }

    fn left(&mut self, swarm: SwarmKey) {
        if let Some(member) = self.swarms.remove(&swarm) {
            self.connections -= member.connections;
            self.dialing -= member.dialing;
            self.interested -= u64::from(member.interested);
            self.up.want(swarm, 0);
            self.down.want(swarm, 0);
            self.announces.left(self.now, swarm);
        }
    }

    fn demand(&mut self, swarm: SwarmKey, demand: Demand, out: &mut Effects<HostEffect>) {
        let Some(member) = self.swarms.get_mut(&swarm) else { return };
        self.up.want(swarm, demand.up);
        self.down.want(swarm, demand.down);
        if member.interested != demand.interested {
            self.interested = self.interested - u64::from(member.interested) + u64::from(demand.interested);
            member.interested = demand.interested;
            // The others' shares follow when much has changed, so that many swarms do not cost their number each time.
            if self.interested.abs_diff(self.shared_for) > self.shared_for / 8 {
                self.share_all_slots(out);
            } else {
                self.share_slots(swarm, out);
            }
        }
    }

    fn limits(&mut self, up: Option<u64>, down: Option<u64>, out: &mut Effects<HostEffect>) {
        let was_limited = (self.up.is_limited(), self.down.is_limited());
        self.up.set_limit(up);
        self.down.set_limit(down);
        let credit = Credit {
            up: if was_limited.0 && up.is_none() { Credit::UNLIMITED } else { 0 },
            down: if was_limited.1 && down.is_none() { Credit::UNLIMITED } else { 0 },
        };
        if credit != Credit::default() {
            self.swarms.keys().for_each(|&swarm| out.push(HostEffect::Credit(swarm, credit)));
        }
        self.share_all_slots(out);
    }

    fn share_all_slots(&mut self, out: &mut Effects<HostEffect>) {
        self.shared_for = self.interested;
        for swarm in self.swarms.keys().copied().collect::<Vec<_>>() {
            self.share_slots(swarm, out);
        }
    }

    /// A swarm's part of the slots is its part of those who are interested, with a least for each.
    fn share_slots(&mut self, swarm: SwarmKey, out: &mut Effects<HostEffect>) {
        let (least, all) = match self.up.limit() {
            None => (MIN_SLOTS_UNLIMITED, SLOTS_UNLIMITED),
            Some(limit) => (MIN_SLOTS, (limit / RATE_PER_SLOT).min(SLOTS_UNLIMITED)),
        };
        let interested = self.interested.max(1);
        let Some(member) = self.swarms.get_mut(&swarm) else { return };
        let share = all * u64::from(member.interested) / interested;
        let slots = least.max(share as u32);
        if member.slots != slots {
            member.slots = slots;
            out.push(HostEffect::UploadSlots(swarm, slots));
        }
    }

    /// Gives what the buckets hold.
    fn grant(&mut self, out: &mut Effects<HostEffect>) {
        let mut credits = BTreeMap::<SwarmKey, Credit>::new();
        self.up.grant(|swarm, bytes| credits.entry(swarm).or_default().up += bytes);
        self.down.grant(|swarm, bytes| credits.entry(swarm).or_default().down += bytes);
        for (swarm, credit) in credits {
            out.push(HostEffect::Credit(swarm, credit));
        }
    }

    /// Lets out what may be dialed, one of each swarm in turn.
    ///
    /// Beside others a swarm may have as many connections as are left over, and no more (Choudhury and Hahne 1998, "Dynamic
    /// queue length thresholds"): so those that came first never take all, and one that comes late finds some. `n` greedy
    /// swarms leave an `n + 1`-th part unused.
    fn dial(&mut self, out: &mut Effects<HostEffect>) {
        let most = self.max_connections - self.max_connections / INCOMING_SHARE;
        let is_alone = self.swarms.len() == 1;
        while self.dialing < MAX_HALF_OPEN && self.dialing + self.connections < most {
            let left = most - self.dialing - self.connections;
            let after = self.dial_turn.map_or(Bound::Unbounded, Bound::Excluded);
            let waits = |(_, member): &(&SwarmKey, &mut Member)| {
                !member.dials.is_empty() && (is_alone || member.connections + member.dialing < left)
            };
            let mut next = self.swarms.range_mut((after, Bound::Unbounded)).find(waits);
            if next.is_none() {
                next = self.swarms.range_mut(..).find(waits);
            }
            let Some((&swarm, member)) = next else { return };
            let Some(addr) = member.dials.pop_front() else { return };
            member.dialing += 1;
            self.dialing += 1;
            self.dial_turn = Some(swarm);
            out.push(HostEffect::Dial(swarm, addr));
        }
    }

    fn accept(&mut self, out: &mut Effects<HostEffect>) {
        let accepting = self.connections + self.dialing < self.max_connections;
        if accepting != self.accepting {
            self.accepting = accepting;
            out.push(HostEffect::Accepting(accepting));
        }
    }

    /// Panics if what the module's head states does not hold.
    pub fn check_invariants(&self) {
        let sum = |of: fn(&Member) -> usize| self.swarms.values().map(of).sum::<usize>();
        assert_eq!(self.connections, sum(|member| member.connections));
        assert_eq!(self.dialing, sum(|member| member.dialing));
        assert_eq!(self.interested, sum(|member| member.interested as usize) as u64);
        assert!(self.dialing <= MAX_HALF_OPEN);
        self.announces.check_invariants();
        assert!(self.up.waiting().chain(self.down.waiting()).all(|swarm| self.swarms.contains_key(&swarm)));
    }
}

impl Machine for Host {
    type Event = HostEvent;
    type Effect = HostEffect;

    fn handle(&mut self, now: Time, event: HostEvent, out: &mut Effects<HostEffect>) {
        assert!(now >= self.now, "time went back from {:?} to {now:?}", self.now);
        self.now = now;
        self.up.fill(now);
        self.down.fill(now);
        match event {
            HostEvent::Wake => {}
            HostEvent::Joined(swarm) => self.joined(swarm, out),
            HostEvent::Left(swarm) => self.left(swarm),
            HostEvent::Demand(swarm, demand) => self.demand(swarm, demand, out),
            HostEvent::Limits { up, down } => self.limits(up, down, out),
            HostEvent::DialWanted(swarm, addr) => {
                if let Some(member) = self.swarms.get_mut(&swarm) {
                    member.dials.push_back(addr);
                }
            }
            HostEvent::DialWithdrawn(swarm, addr) => {
                if let Some(member) = self.swarms.get_mut(&swarm) {
                    member.dials.retain(|&waiting| waiting != addr);
                }
            }
            HostEvent::DialEnded(swarm) => {
                if let Some(member) = self.swarms.get_mut(&swarm) {
                    member.dialing = member.dialing.checked_sub(1).expect("each dial ends once");
                    self.dialing -= 1;
                }
            }
            HostEvent::AnnounceWanted(swarm, tracker, server, last) => {
                if self.swarms.contains_key(&swarm) {
                    self.announces.want(now, (swarm, tracker), server, last);
                }
            }
            HostEvent::AnnounceEnded(swarm, tracker, answered) => {
                self.announces.ended(now, (swarm, tracker), answered);
            }
            HostEvent::AnnouncesWithdrawn(swarm) => self.announces.withdraw(swarm, out),
            HostEvent::Opened(swarm) => {
                if let Some(member) = self.swarms.get_mut(&swarm) {
                    member.connections += 1;
                    self.connections += 1;
                }
            }
            HostEvent::Closed(swarm) => {
                if let Some(member) = self.swarms.get_mut(&swarm) {
                    member.connections = member.connections.checked_sub(1).expect("each connection closes once");
                    self.connections -= 1;
                }
            }
        }
        self.grant(out);
        self.dial(out);
        self.accept(out);
        self.announces.let_out(now, out);
    }

    fn deadline(&self) -> Option<Time> {
        [self.up.ready_at(), self.down.ready_at(), self.announces.deadline()].into_iter().flatten().min()
    }
}
