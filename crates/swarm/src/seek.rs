//! When to look for peers where no tracker is: in the DHT (BEP 5) and on the local network (BEP 14).
//!
//! Both ask to be found and to find in one step, so one order, `Effect::Seek`, stands for both, and one answer,
//! `Event::Sought`, ends it. Each source is asked at the start and then at its interval; sooner, and ever less often, while
//! peers are wanted, or while nobody took our announce.
//!
//! Invariants: at most one order is out a source; none for a torrent that is known to be private (BEP 27), none between
//! metadata that was fetched and the word whether it is private, none after a stop. A link that names trackers may be of a
//! private torrent: until its metadata is known it is looked up and not announced. One without trackers is announced at
//! once: a private torrent would be of no use to anyone there, and two who are both behind a NAT need both directions.
//!
//! How many orders of how many torrents are carried out at a time is bounded by the driver, where they meet.

use crate::failure::SourceError;
use shoal_machine::{Rng, Time};
use std::time::Duration;

/// Characters of an error that are kept. Chosen.
const MAX_TEXT: usize = 300;

/// A source of peers that is not a tracker and is asked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Via {
    /// The Mainline DHT (BEP 5).
    Dht,
    /// The local network (BEP 14).
    Lan,
}

/// How asking ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sought {
    /// DHT: nodes that answered. LAN: 0, nobody answers there.
    pub responders: u32,
    /// Addresses of peers that came in, twice named ones counted once, forbidden ones not at all.
    pub peers: u32,
    /// DHT: nodes that were given our announce. LAN: interfaces on which it was sent. 0 if it was not to be announced.
    pub announced: u32,
    /// DHT: nodes that are known, for whatever torrent. LAN: 0.
    pub nodes: u32,
}

/// How one source fares, for people.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SeekStatus<'a> {
    /// Which.
    pub via: Via,
    /// Whether it is used: switched on, and the torrent is not known to be private.
    pub enabled: bool,
    /// Whether it is being asked now.
    pub in_flight: bool,
    /// Orders that failed since the last that did not.
    pub failures: u32,
    /// How the last order ended; `None` before the first one did.
    pub last: Option<Result<&'a Sought, &'a SourceError>>,
    /// When it is asked next; `None` while it is being asked, and for one that is not asked again.
    pub next: Option<Time>,
}

/// Between regular announces. DHT: nodes forget an announce after 30 minutes or later, so one may get lost (libtorrent has
/// the same). LAN: BEP 14, "5 minutes".
const fn interval(via: Via) -> Duration {
    match via {
        Via::Dht => Duration::from_secs(15 * 60),
        Via::Lan => Duration::from_secs(5 * 60),
    }
}

/// Never sooner after the last one. LAN: BEP 14, "not more than once per minute". DHT, chosen: what was just asked is known.
const fn least(via: Via) -> Duration {
    match via {
        Via::Dht => Duration::from_secs(3),
        Via::Lan => Duration::from_secs(60),
    }
}

/// The `n`-th wait for want of peers or after a failure. Chosen: a download that begins finds a seed that begins a moment later
/// soon, and one that stays alone is no burden.
fn early(via: Via, n: u32) -> Duration {
    let secs = match (via, n) {
        (Via::Dht, 0) => 5,
        (Via::Dht, 1) => 15,
        (Via::Dht, n) => 30 << (n - 2).min(5),
        (Via::Lan, n) => 60 << n.min(3),
    };
    Duration::from_secs(secs).min(interval(via))
}

/// The first early wait where something was found: its peers are to be tried first.
const fn first_early_after_some(via: Via) -> u32 {
    match via {
        Via::Dht => 3,
        Via::Lan => 0,
    }
}

/// What is known of the torrent that matters here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Standing {
    /// Its metadata is being fetched.
    Link {
        names_trackers: bool,
    },
    /// Its metadata is there, and the driver has not said `Ready`.
    Preparing,
    Public,
    Private,
    Stopped,
}

#[derive(Debug)]
struct Asked {
    via: Via,
    enabled: bool,
    /// The order that is out: whether it announces.
    in_flight: Option<bool>,
    /// When the last order went out.
    sent: Option<Time>,
    /// Whether the last answered order announced us.
    announced: bool,
    /// When it is asked next by the clock.
    next: Time,
    /// When it may be asked for want of peers.
    early: Time,
    /// Answers since peers were last not wanted.
    early_count: u32,
    failures: u32,
    last: Option<Result<Sought, SourceError>>,
}

/// One torrent's schedule for all such sources.
#[derive(Debug)]
pub(crate) struct SeekSchedule {
    asked: [Asked; 2],
    standing: Standing,
    wants_peers: bool,
    rng: Rng,
}

impl SeekSchedule {
    pub(crate) fn new(dht: bool, lan: bool, has_info: bool, names_trackers: bool, rng: Rng) -> SeekSchedule {
        let asked = [(Via::Dht, dht), (Via::Lan, lan)].map(|(via, enabled)| Asked {
            via,
            enabled,
            in_flight: None,
            sent: None,
            announced: false,
            next: Time::ZERO,
            early: Time::ZERO,
            early_count: 0,
            failures: 0,
            last: None,
        });
        let standing = if has_info { Standing::Preparing } else { Standing::Link { names_trackers } };
        SeekSchedule { asked, standing, wants_peers: false, rng }
    }

    /// The metadata was fetched; the driver looks at it.
    pub(crate) fn prepare(&mut self) {
        if self.standing != Standing::Stopped {
            self.standing = Standing::Preparing;
        }
    }

    /// The metadata is known.
    pub(crate) fn ready(&mut self, private: bool) {
        if self.standing != Standing::Stopped {
            self.standing = if private { Standing::Private } else { Standing::Public };
        }
    }

    pub(crate) fn stop(&mut self) {
        self.standing = Standing::Stopped;
    }

    /// Whether more peers are needed.
    pub(crate) fn want_peers(&mut self, wants: bool) {
        self.wants_peers = wants;
        if !wants {
            self.asked.iter_mut().for_each(|asked| asked.early_count = 0);
        }
    }

    /// An order was carried out, or failed.
    pub(crate) fn answered(&mut self, now: Time, via: Via, result: Result<Sought, SourceError>) {
        let Some(asked) = self.asked.iter_mut().find(|asked| asked.via == via) else { return };
        let Some(announce) = asked.in_flight.take() else { return };
        let mut after = |wait: Duration| {
            let wait = wait.mul_f64(0.75 + self.rng.unit() / 2.0);
            now + wait.max(least(via))
        };
        let found = result.as_ref().is_ok_and(|sought| sought.peers > 0);
        let fails = match &result {
            Ok(sought) => announce && sought.announced == 0,
            Err(_) => true,
        };
        if fails {
            let wait = early(via, asked.failures);
            asked.failures = asked.failures.saturating_add(1);
            asked.announced = false;
            asked.next = after(wait);
            asked.early = asked.next;
        } else {
            if found {
                asked.early_count = asked.early_count.max(first_early_after_some(via));
            }
            asked.failures = 0;
            asked.announced = announce;
            asked.next = after(interval(via));
            asked.early = after(early(via, asked.early_count));
            asked.early_count = asked.early_count.saturating_add(1);
        }
        asked.last = Some(
            result.map_err(|error| SourceError::new(error.kind, error.text.chars().take(MAX_TEXT).collect::<String>())),
        );
    }

    /// Gives the orders that are due: whom to ask, whether to announce, and whether peers are wanted.
    pub(crate) fn poll(&mut self, now: Time, out: &mut impl FnMut(Via, bool, bool)) {
        let Some(announce) = self.may_announce() else { return };
        for index in 0..self.asked.len() {
            if self.at(&self.asked[index]).is_some_and(|at| at <= now) {
                let asked = &mut self.asked[index];
                asked.in_flight = Some(announce);
                asked.sent = Some(now);
                out(asked.via, announce, self.wants_peers);
            }
        }
    }

    /// When to poll next.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.asked.iter().filter_map(|asked| self.at(asked)).min()
    }

    /// How each source fares.
    pub(crate) fn status(&self) -> impl Iterator<Item = SeekStatus<'_>> {
        self.asked.iter().map(|asked| SeekStatus {
            via: asked.via,
            enabled: asked.enabled && self.standing != Standing::Private,
            in_flight: asked.in_flight.is_some(),
            failures: asked.failures,
            last: asked.last.as_ref().map(Result::as_ref),
            next: self.at(asked),
        })
    }

    /// Whether an order that goes out now may announce us; `None`: none may go out.
    fn may_announce(&self) -> Option<bool> {
        match self.standing {
            Standing::Link { names_trackers } => Some(!names_trackers),
            Standing::Public => Some(true),
            Standing::Preparing | Standing::Private | Standing::Stopped => None,
        }
    }

    fn at(&self, asked: &Asked) -> Option<Time> {
        let announce = self.may_announce()?;
        if !asked.enabled || asked.in_flight.is_some() {
            return None;
        }
        let Some(sent) = asked.sent else { return Some(asked.next) };
        // It was only looked up, and may be announced by now.
        let owes_announce = announce && !asked.announced && asked.failures == 0;
        Some(if owes_announce {
            asked.next.min(sent + least(asked.via))
        } else if self.wants_peers {
            asked.next.min(asked.early)
        } else {
            asked.next
        })
    }
}

#[cfg(test)]
mod tests;
