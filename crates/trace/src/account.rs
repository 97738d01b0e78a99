//! What happened to whom in a trace, for people.
//!
//! Told of every event before the machine and of its effects after it. Bounds: a peer, a sample a second and a stall are kept
//! for each that the trace has, so memory follows the file's size.

use crate::player::Player;
use shoal_machine::Time;
use shoal_swarm::{Direction, Effect, Event, Notice, PeerKey, QUIET, Reason, Source, StoreOutcome};
use shoal_wire::{Extended, Message};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// Between two samples. Chosen: what a reader of a table tells apart.
const SAMPLE: Duration = Duration::from_secs(1);

/// When something happened first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Firsts {
    /// A source named an address; and which source.
    pub address: Option<(Time, Source)>,
    /// A dial was ordered.
    pub dial: Option<Time>,
    /// A peer was connected.
    pub peer: Option<Time>,
    /// The info dictionary came from peers.
    pub metadata: Option<Time>,
    /// Files were open and checked.
    pub ready: Option<Time>,
    /// A peer let us ask.
    pub unchoked: Option<Time>,
    /// A block came.
    pub block: Option<Time>,
    /// A piece was verified and written.
    pub piece: Option<Time>,
    /// All that was chosen was there.
    pub complete: Option<Time>,
}

/// How it stood at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// When.
    pub at: Time,
    /// Bytes of chosen files that were there, and bytes in them.
    pub done_bytes: u64,
    /// Bytes of chosen files.
    pub total_bytes: u64,
    /// Payload bytes received until then, waste counted.
    pub downloaded: u64,
    /// Payload bytes sent until then.
    pub uploaded: u64,
    /// Connected peers.
    pub peers: u32,
    /// Of them, those that let us ask.
    pub unchoking: u32,
}

/// A time in which nothing moved, for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stall {
    /// When something had moved last, or the reason changed.
    pub from: Time,
    /// When something moved again, the reason changed, or the trace ends.
    pub to: Time,
    /// Why; `None` if there was nothing to wait for.
    pub reason: Option<Reason>,
}

/// One connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerAccount {
    /// The other side.
    pub addr: SocketAddr,
    /// Who opened it.
    pub direction: Direction,
    /// What it calls itself; not escaped.
    pub client: Option<String>,
    /// When it was connected.
    pub connected: Time,
    /// When it was gone.
    pub gone: Option<Time>,
    /// Why we closed it, if we did.
    pub closed: Option<&'static str>,
    /// Payload bytes of blocks that had been asked for.
    pub received: u64,
    /// Payload bytes sent to it.
    pub sent: u64,
    /// Payload bytes that came and had not been asked for, or not any more.
    pub unrequested: u64,
    /// Blocks asked of it.
    pub requests: u64,
    /// How long it let us ask, until its `choked_us_at`.
    unchoked_us: Duration,
    /// How long we let it ask.
    unchoked_it: Duration,
    lets_us_since: Option<Time>,
    lets_it_since: Option<Time>,
}

impl PeerAccount {
    fn new(addr: SocketAddr, direction: Direction, connected: Time) -> PeerAccount {
        PeerAccount {
            addr,
            direction,
            client: None,
            connected,
            gone: None,
            closed: None,
            received: 0,
            sent: 0,
            unrequested: 0,
            requests: 0,
            unchoked_us: Duration::ZERO,
            unchoked_it: Duration::ZERO,
            lets_us_since: None,
            lets_it_since: None,
        }
    }

    /// How long it stayed, until `now` if it is still there.
    pub fn stayed(&self, now: Time) -> Duration {
        self.gone.unwrap_or(now).since(self.connected)
    }

    /// How long it let us ask.
    pub fn unchoked_us(&self, now: Time) -> Duration {
        self.unchoked_us + self.lets_us_since.map_or(Duration::ZERO, |since| now.since(since))
    }

    /// How long we let it ask.
    pub fn unchoked_it(&self, now: Time) -> Duration {
        self.unchoked_it + self.lets_it_since.map_or(Duration::ZERO, |since| now.since(since))
    }

    fn says(&mut self, now: Time, message: &Message) {
        match message {
            Message::Choke => self.unchoked_us += ended(&mut self.lets_us_since, now),
            Message::Unchoke => {
                self.lets_us_since.get_or_insert(now);
            }
            Message::Extended { message: Extended::Handshake(handshake), .. } if self.client.is_none() => {
                self.client.clone_from(&handshake.client);
            }
            _ => {}
        }
    }

    fn is_told(&mut self, now: Time, message: &Message) {
        match message {
            Message::Choke => self.unchoked_it += ended(&mut self.lets_it_since, now),
            Message::Unchoke => {
                self.lets_it_since.get_or_insert(now);
            }
            Message::Request(_) => self.requests += 1,
            _ => {}
        }
    }

    fn leaves(&mut self, now: Time) {
        self.unchoked_us += ended(&mut self.lets_us_since, now);
        self.unchoked_it += ended(&mut self.lets_it_since, now);
        self.gone = Some(now);
    }
}

fn ended(since: &mut Option<Time>, now: Time) -> Duration {
    since.take().map_or(Duration::ZERO, |since| now.since(since))
}

/// What happened in a trace so far.
#[derive(Debug, Default)]
pub struct Account {
    /// The first event's time.
    pub began: Option<Time>,
    /// The last one's.
    pub now: Time,
    /// What was first when.
    pub firsts: Firsts,
    /// About one a second.
    pub samples: Vec<Sample>,
    /// When nothing moved.
    pub stalls: Vec<Stall>,
    /// All connections.
    pub peers: BTreeMap<PeerKey, PeerAccount>,
    /// The torrent's name, once it is known; not escaped.
    pub name: Option<String>,
    /// Pieces that were there when it began, and pieces.
    pub had: Option<(u32, u32)>,
    /// Pieces that came and were not right.
    pub corrupt_pieces: u64,
    /// Dials that failed.
    pub failed_dials: u64,
    /// Payload bytes from web seeds.
    pub from_web_seeds: u64,
    /// Addresses that were banned.
    pub banned: Vec<SocketAddr>,
    /// What the disk says, while it refuses.
    pub disk: Option<String>,
    looked: Option<Time>,
}

impl Account {
    /// Before the machine is told of an event.
    pub fn before(&mut self, at: Time, event: &Event<()>, player: &Player) {
        let first = *self.began.get_or_insert(at);
        self.now = at;
        if at > first {
            self.look_for_stall(player);
        }
        match event {
            Event::Found { source, addrs } if !addrs.is_empty() => {
                self.firsts.address.get_or_insert((at, *source));
            }
            Event::Announced { result: Ok(reply), .. } if !reply.peers.is_empty() => {
                self.firsts.address.get_or_insert((at, Source::Tracker));
            }
            Event::DialFailed { .. } => self.failed_dials += 1,
            Event::Connected { peer, addr, direction, handshake: _ } => {
                self.firsts.peer.get_or_insert(at);
                self.peers.insert(*peer, PeerAccount::new(*addr, *direction, at));
            }
            Event::Disconnected { peer } => self.with(*peer, |peer| peer.leaves(at)),
            Event::Message { peer, message } => {
                if *message == Message::Unchoke {
                    self.firsts.unchoked.get_or_insert(at);
                }
                self.with(*peer, |peer| peer.says(at, message));
            }
            Event::Block { peer, block, .. } => {
                self.firsts.block.get_or_insert(at);
                self.with(*peer, |peer| peer.received += u64::from(block.length));
            }
            Event::Fetched { block, .. } => {
                self.firsts.block.get_or_insert(at);
                self.from_web_seeds += u64::from(block.length);
            }
            Event::Unrequested { peer, block } => {
                self.with(*peer, |peer| peer.unrequested += u64::from(block.length));
            }
            Event::Uploaded { peer, block } => self.with(*peer, |peer| peer.sent += u64::from(block.length)),
            Event::Stored { outcome: StoreOutcome::Corrupt { .. }, .. } => self.corrupt_pieces += 1,
            Event::Ready { info, have, .. } => {
                self.firsts.ready.get_or_insert(at);
                self.name = Some(info.name().to_owned());
                self.had = Some((have.count(), have.len()));
            }
            _ => {}
        }
    }

    /// After the machine ordered what it did.
    pub fn after(&mut self, player: &Player) {
        let now = self.now;
        for effect in player.effects() {
            match effect {
                Effect::Dial { .. } => {
                    self.firsts.dial.get_or_insert(now);
                }
                Effect::Metadata { .. } => {
                    self.firsts.metadata.get_or_insert(now);
                }
                Effect::Send { peer, message } => self.with(*peer, |peer| peer.is_told(now, message)),
                Effect::Disconnect { peer, reason } => {
                    self.with(*peer, |peer| peer.closed = Some(reason.describe()));
                }
                Effect::Notice(notice) => self.notice(notice),
                _ => {}
            }
        }
        if self.samples.last().is_none_or(|last| now.since(last.at) >= SAMPLE) {
            self.sample(player);
        }
    }

    /// At the end of the trace, or of what was asked for.
    pub fn finish(&mut self, player: &Player) {
        self.look_for_stall(player);
        self.sample(player);
    }

    fn notice(&mut self, notice: &Notice) {
        match notice {
            Notice::Piece(_) => {
                self.firsts.piece.get_or_insert(self.now);
            }
            Notice::Complete => {
                self.firsts.complete.get_or_insert(self.now);
            }
            Notice::Banned { addr, .. } => self.banned.push(*addr),
            Notice::DiskTrouble { reason } => self.disk = Some(reason.clone()),
            Notice::DiskRecovered => self.disk = None,
            Notice::WebSeed { .. } | Notice::Stopped => {}
        }
    }

    fn with(&mut self, peer: PeerKey, note: impl FnOnce(&mut PeerAccount)) {
        // A trace may name one that never came.
        if let Some(peer) = self.peers.get_mut(&peer) {
            note(peer);
        }
    }

    fn sample(&mut self, player: &Player) {
        let progress = player.progress();
        self.samples.push(Sample {
            at: self.now,
            done_bytes: progress.done_bytes,
            total_bytes: progress.total_bytes,
            downloaded: progress.downloaded,
            uploaded: progress.uploaded,
            peers: progress.peers,
            unchoking: progress.unchoking,
        });
    }

    /// Notes the time since something moved, if it is long; the machine has not been told of what happens now.
    fn look_for_stall(&mut self, player: &Player) {
        let (now, moved) = (self.now, player.moved());
        if now.since(moved) < QUIET || player.events() == 0 {
            return;
        }
        let goes_on = self.stalls.last().is_some_and(|last| last.to >= moved && last.from >= moved);
        // While peers talk there may be thousands of events in a stall.
        if goes_on && self.looked.is_some_and(|looked| now.since(looked) < SAMPLE) {
            if let Some(last) = self.stalls.last_mut() {
                last.to = now;
            }
            return;
        }
        self.looked = Some(now);
        if player.progress().complete {
            return;
        }
        let reason = player.situation(self.disk.as_deref()).reason();
        match self.stalls.last_mut() {
            Some(last) if goes_on && last.reason == reason => last.to = now,
            last => {
                let from = last.map_or(moved, |last| if goes_on { last.to } else { moved });
                self.stalls.push(Stall { from, to: now, reason });
            }
        }
    }
}
