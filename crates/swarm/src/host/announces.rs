//! When a process's announces go out: thousands of torrents that start together must not flood a tracker, nor wait for a
//! dead one (reliability.md L6).
//!
//! Each tracker's server has a queue: announces leave it at [`GAP`], not more than [`MAX_AT_SERVER`] at once, and all servers
//! together have [`MAX_AT_ONCE`] under way, by turns. A server that left [`SILENT`] announces in a row without any answer is
//! closed for [`CLOSED`]: those who wait for it are told at once, so that a torrent tries its next tracker instead of
//! queueing for a dead one; afterwards one announce at a time finds out whether it is back.
//!
//! Invariants: an announce that is wanted is let out or refused once, unless its swarm leaves; nothing is let out that is not
//! wanted.

use super::{HostEffect, SwarmKey};
use crate::event::TrackerKey;
use shoal_machine::{Effects, Time};
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::time::Duration;

/// Announces under way, all torrents together (reliability.md L6).
pub(super) const MAX_AT_ONCE: usize = 50;
/// Between two announces to one server, with one ahead of its time: 9 in any second (reliability.md L6: 10). 5,000 torrents
/// take 10 min 25 s.
const GAP: Duration = Duration::from_millis(125);
/// Announces under way to one server. Chosen: enough for [`GAP`] while answers take 2.5 s, and a dead one leaves most of
/// [`MAX_AT_ONCE`] to others.
const MAX_AT_SERVER: usize = 20;
/// Announces in a row that a server did not answer before it is closed. Chosen: two may be bad luck.
const SILENT: u32 = 3;
/// Chosen: shorter than what a torrent waits by itself after three failures, so that one alone is never refused.
const CLOSED: Duration = Duration::from_secs(30);

/// How long a server's silence is remembered after it was last asked. Chosen: longer than a torrent ever waits to try again.
const REMEMBERED: Duration = Duration::from_secs(20 * 60);

/// A tracker's server, whatever URLs name it: the driver's number for its host and port.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TrackerServer(pub u64);

type Announce = (SwarmKey, TrackerKey);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// With the number of its place in the queue.
    Waiting(u64),
    UnderWay,
}

#[derive(Debug, Default)]
struct Server {
    /// Places; one whose announce is gone, or has another place by now, is passed over.
    queue: VecDeque<(Announce, u64)>,
    under_way: usize,
    /// When the next announce is due by [`GAP`].
    next: Time,
    /// Announces in a row without an answer.
    silent: u32,
    /// No announce before this.
    closed: Time,
}

impl Server {
    fn most(&self) -> usize {
        if self.silent >= SILENT { 1 } else { MAX_AT_SERVER }
    }

    /// When it may be asked, as far as time decides.
    fn opens(&self) -> Time {
        // One ahead of its time.
        let ahead = Time::ZERO + self.next.since(Time::ZERO).saturating_sub(GAP);
        self.closed.max(ahead)
    }
}

/// The announces of a process.
#[derive(Debug, Default)]
pub(super) struct Announces {
    servers: BTreeMap<TrackerServer, Server>,
    wanted: BTreeMap<Announce, (TrackerServer, Stage)>,
    under_way: usize,
    places: u64,
    /// The server that was asked last.
    turn: Option<TrackerServer>,
    /// When there may be something to let out; `None`: not before something happens.
    due: Option<Time>,
}

impl Announces {
    /// A swarm wants to announce. `last`: it stops, and goes before those who do not.
    pub(super) fn want(&mut self, now: Time, announce: Announce, server: TrackerServer, last: bool) {
        if self.wanted.contains_key(&announce) {
            return;
        }
        self.places += 1;
        self.wanted.insert(announce, (server, Stage::Waiting(self.places)));
        let queue = &mut self.servers.entry(server).or_default().queue;
        if last {
            queue.push_front((announce, self.places))
        } else {
            queue.push_back((announce, self.places))
        }
        self.due = Some(now);
    }

    /// An announce that was let out ended. `answered`: the server said something, whatever it was.
    pub(super) fn ended(&mut self, now: Time, announce: Announce, answered: bool) {
        let Some((server, Stage::UnderWay)) = self.wanted.get(&announce).copied() else { return };
        self.wanted.remove(&announce);
        self.free(now, server);
        let Some(server) = self.servers.get_mut(&server) else { return };
        if answered {
            (server.silent, server.closed) = (0, Time::ZERO);
        } else {
            server.silent = server.silent.saturating_add(1);
            if server.silent >= SILENT {
                server.closed = now + CLOSED;
            }
        }
    }

    /// What a swarm wants and was not let out yet is refused.
    pub(super) fn withdraw(&mut self, swarm: SwarmKey, out: &mut Effects<HostEffect>) {
        let waiting = self.of(swarm).filter(|(_, _, stage)| *stage != Stage::UnderWay);
        for (announce, _, _) in waiting.collect::<Vec<_>>() {
            self.wanted.remove(&announce);
            out.push(HostEffect::NotAnnounced(announce.0, announce.1));
        }
    }

    /// A swarm is gone.
    pub(super) fn left(&mut self, now: Time, swarm: SwarmKey) {
        for (announce, server, stage) in self.of(swarm).collect::<Vec<_>>() {
            self.wanted.remove(&announce);
            if stage == Stage::UnderWay {
                self.free(now, server);
            }
        }
    }

    fn of(&self, swarm: SwarmKey) -> impl Iterator<Item = (Announce, TrackerServer, Stage)> {
        let range = (swarm, TrackerKey(0))..=(swarm, TrackerKey(u32::MAX));
        self.wanted.range(range).map(|(&announce, &(server, stage))| (announce, server, stage))
    }

    fn free(&mut self, now: Time, server: TrackerServer) {
        self.under_way -= 1;
        if let Some(server) = self.servers.get_mut(&server) {
            server.under_way -= 1;
        }
        self.due = Some(now);
    }

    /// Lets out what may go, one of each server in turn.
    pub(super) fn let_out(&mut self, now: Time, out: &mut Effects<HostEffect>) {
        if self.due.is_none_or(|due| due > now) {
            return;
        }
        self.tidy(now, out);
        while self.under_way < MAX_AT_ONCE {
            let after = self.turn.map_or(Bound::Unbounded, Bound::Excluded);
            let may = |(_, server): &(&TrackerServer, &Server)| {
                !server.queue.is_empty() && server.under_way < server.most() && server.opens() <= now
            };
            let next = self.servers.range((after, Bound::Unbounded)).find(may);
            let Some((&key, _)) = next.or_else(|| self.servers.range(..).find(may)) else { break };
            self.turn = Some(key);
            let Some(server) = self.servers.get_mut(&key) else { break };
            let Some((announce, _)) = server.queue.pop_front() else { continue };
            server.under_way += 1;
            server.next = server.next.max(now) + GAP;
            self.under_way += 1;
            self.wanted.insert(announce, (key, Stage::UnderWay));
            out.push(HostEffect::Announce(announce.0, announce.1));
            self.drop_stale(key);
        }
        // Who waits for room hears of it when an announce ends.
        let room = self.under_way < MAX_AT_ONCE;
        let waits = self.servers.values().filter(|server| !server.queue.is_empty() && server.under_way < server.most());
        self.due = waits.map(Server::opens).min().filter(|_| room);
    }

    /// Passes over what is gone, refuses those who wait for a closed server, forgets servers of which nothing is to be known.
    fn tidy(&mut self, now: Time, out: &mut Effects<HostEffect>) {
        for key in self.servers.keys().copied().collect::<Vec<_>>() {
            self.drop_stale(key);
            let Some(server) = self.servers.get_mut(&key) else { continue };
            if server.closed > now {
                for (announce, place) in std::mem::take(&mut server.queue) {
                    if self.wanted.get(&announce) == Some(&(key, Stage::Waiting(place))) {
                        self.wanted.remove(&announce);
                        out.push(HostEffect::NotAnnounced(announce.0, announce.1));
                    }
                }
            }
        }
        self.servers.retain(|_, server| {
            let remembered = if server.silent > 0 { REMEMBERED } else { Duration::ZERO };
            !server.queue.is_empty() || server.under_way > 0 || server.next + remembered > now
        });
    }

    fn drop_stale(&mut self, key: TrackerServer) {
        let Some(server) = self.servers.get_mut(&key) else { return };
        while let Some(&(announce, place)) = server.queue.front() {
            if self.wanted.get(&announce) == Some(&(key, Stage::Waiting(place))) {
                break;
            }
            server.queue.pop_front();
        }
    }

    /// When to call [`Announces::let_out`].
    pub(super) fn deadline(&self) -> Option<Time> {
        self.due
    }

    /// Panics if what the module's head states does not hold.
    pub(super) fn check_invariants(&self) {
        let under_way = self.wanted.values().filter(|(_, stage)| *stage == Stage::UnderWay).count();
        assert_eq!(self.under_way, under_way);
        assert_eq!(self.under_way, self.servers.values().map(|server| server.under_way).sum::<usize>());
        assert!(self.under_way <= MAX_AT_ONCE);
        for (announce, (server, stage)) in &self.wanted {
            if let Stage::Waiting(place) = *stage {
                let queue = &self.servers[server].queue;
                assert!(queue.contains(&(*announce, place)), "it waits in a queue");
            }
        }
    }
}

#[cfg(test)]
mod tests;
