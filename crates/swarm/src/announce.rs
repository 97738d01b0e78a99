//! When to tell which tracker what.
//!
//! Trackers come in tiers (BEP 12): each tier is shuffled once, the first that answers goes to the tier's front and stays in
//! use until it fails, then the next is tried. Tiers are used side by side, one tracker of each, since a magnet link makes
//! a tier of every tracker (BEP 9) and two tiers often know different peers.
//!
//! Invariants: at most one announce is in flight a tracker; the first to each is `started`, and one that took it hears
//! `completed` and `stopped` once each; one that is asked for the first time when all is here hears no `completed` (BEP 3).
//! [`AnnounceSchedule::stop`] ends when all that took `started` have answered, or after [`STOP_PATIENCE`].

use crate::event::{AnnounceEvent, AnnounceReply, AnnounceRequest, TrackerKey};
use crate::failure::{SourceError, SourceErrorKind};
use shoal_machine::{Rng, Time};
use std::collections::BTreeSet;
use std::time::Duration;

/// Trackers that are used, at most; a torrent may list any number. Chosen: none that is meant well has more.
const MAX_TRACKERS: usize = 100;
/// How long `stopped` may take (product.md: Ctrl-C announces stop, 2 s at most).
const STOP_PATIENCE: Duration = Duration::from_secs(2);
/// Between regular announces where a tracker does not say. Chosen: what most of them say.
const INTERVAL: Duration = Duration::from_secs(30 * 60);
/// Bounds to what a tracker says. Chosen: no flood of announces, and not forgotten by trackers that expect us hourly.
const INTERVAL_BOUNDS: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(3_600));
/// The first early announce for want of peers, if the tracker does not forbid it; doubles up to 16 times that. Chosen.
const EARLY: Duration = Duration::from_secs(60);
/// The wait after a first failure; doubles up to the last. Chosen: with its jitter the last is no less than 15 min
/// (reliability.md F11).
const RETRY_FIRST: Duration = Duration::from_secs(15);
const RETRY_LAST: Duration = Duration::from_secs(17 * 60);
/// How far a wait after a failure may be from its length, as a part of it (reliability.md F11).
const RETRY_JITTER: f64 = 0.1;
/// How many peers we ask for: what trackers give by default (BEP 3: "typically 50").
const NUM_WANT: u32 = 50;
/// Characters of an error or warning that are kept, and bytes of a tracker's id. Chosen.
const MAX_TEXT: usize = 300;
const MAX_TRACKER_ID: usize = 1_024;

/// What every tracker is told of the transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Payload bytes sent since the start.
    pub uploaded: u64,
    /// Payload bytes received since the start.
    pub downloaded: u64,
    /// Bytes still missing; `None` while the info dictionary is not known.
    pub left: Option<u64>,
}

/// How one tracker fares, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrackerStatus<'a> {
    /// Its number.
    pub tracker: TrackerKey,
    /// Its tier, from 0.
    pub tier: u32,
    /// Its URL.
    pub url: &'a str,
    /// Whether its last answer was one.
    pub working: bool,
    /// Whether it is being asked now.
    pub in_flight: bool,
    /// Failures since its last answer.
    pub failures: u32,
    /// Why it failed the last time, if it did so since its last answer; not escaped.
    pub last_error: Option<&'a str>,
    /// Of which kind that failure was.
    pub last_error_kind: Option<SourceErrorKind>,
    /// What it warned of in its last answer; not escaped.
    pub warning: Option<&'a str>,
    /// When it is asked next; `None` for one that waits until another of its tier fails.
    pub next: Option<Time>,
    /// Complete and incomplete peers, as it said.
    pub seeds: Option<u32>,
    /// Incomplete peers, as it said.
    pub leeches: Option<u32>,
    /// Addresses in its last answer.
    pub peers: u32,
    /// Addresses in its last answer that the rule on private networks forbids.
    pub forbidden: u32,
}

#[derive(Debug)]
struct Tracker {
    url: String,
    tier: u32,
    in_flight: Option<AnnounceEvent>,
    took_started: bool,
    /// It knows, or must not be told, that the download is complete.
    knows_complete: bool,
    took_stopped: bool,
    /// When it is asked next by the clock.
    next: Time,
    /// When it may be asked for want of peers.
    early: Time,
    failures: u32,
    tracker_id: Option<Vec<u8>>,
    last_error: Option<SourceError>,
    warning: Option<String>,
    seeds: Option<u32>,
    leeches: Option<u32>,
    peers: u32,
    forbidden: u32,
}

#[derive(Debug, Default)]
struct Tier {
    /// Its trackers, the one that worked last in front.
    order: Vec<usize>,
    /// Whether the front one works.
    works: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    Stopping { until: Time },
    Done,
}

/// One torrent's announces. It starts by itself: the first [`AnnounceSchedule::poll`] gives the first requests.
#[derive(Debug)]
pub struct AnnounceSchedule {
    trackers: Vec<Tracker>,
    tiers: Vec<Tier>,
    phase: Phase,
    complete: bool,
    wants_peers: bool,
    /// Early announces since peers were last not wanted.
    early_count: u32,
    /// When there is something to do; `None`: not before something happens.
    due: Option<Time>,
    rng: Rng,
}

impl AnnounceSchedule {
    /// A schedule for these tiers. A URL that came before is left out, and so is all after the first hundred.
    pub fn new(tiers: Vec<Vec<String>>, rng: Rng) -> AnnounceSchedule {
        let mut schedule = AnnounceSchedule {
            trackers: Vec::new(),
            tiers: Vec::new(),
            phase: Phase::Running,
            complete: false,
            wants_peers: false,
            early_count: 0,
            due: Some(Time::ZERO),
            rng,
        };
        let mut seen = BTreeSet::new();
        for (number, urls) in (0_u32..).zip(tiers) {
            let mut tier = Tier::default();
            for url in urls {
                if schedule.trackers.len() == MAX_TRACKERS {
                    break;
                }
                if seen.insert(url.clone()) {
                    tier.order.push(schedule.trackers.len());
                    schedule.trackers.push(Tracker::new(url, number));
                }
            }
            schedule.rng.shuffle(&mut tier.order);
            schedule.tiers.push(tier);
        }
        schedule
    }

    /// Says, once it is known, whether everything was there from the beginning: then nobody is told `completed`.
    pub fn begins(&mut self, complete: bool) {
        if complete {
            self.complete = true;
            self.trackers.iter_mut().for_each(|tracker| tracker.knows_complete = true);
        }
    }

    /// The download is complete: trackers that took `started` hear of it at once.
    pub fn completed(&mut self, now: Time) {
        if !std::mem::replace(&mut self.complete, true) {
            for tracker in self.trackers.iter_mut().filter(|tracker| tracker.took_started && tracker.failures == 0) {
                tracker.next = now;
            }
            self.plan();
        }
    }

    /// Whether more peers are needed: then trackers are asked before their interval is over, as far as they allow.
    pub fn want_peers(&mut self, _now: Time, wants: bool) {
        if self.wants_peers != wants {
            self.wants_peers = wants;
            if !wants {
                self.early_count = 0;
            }
            self.plan();
        }
    }

    /// Tells those that took `started` that we stop, and nothing else from now on.
    pub fn stop(&mut self, now: Time) {
        if self.phase == Phase::Running {
            self.phase = Phase::Stopping { until: now + STOP_PATIENCE };
            self.settle();
        }
    }

    /// An announce was answered, or failed.
    pub fn answered(&mut self, now: Time, tracker: TrackerKey, result: &Result<AnnounceReply, SourceError>) {
        let index = tracker.0 as usize;
        let Some(tracker) = self.trackers.get_mut(index) else { return };
        let Some(event) = tracker.in_flight.take() else { return };
        let tier = &mut self.tiers[tracker.tier as usize];
        match result {
            Ok(reply) => {
                tracker.failures = 0;
                tracker.last_error = None;
                tracker.take_reply(now, reply, self.early_count);
                match event {
                    AnnounceEvent::Started => tracker.took_started = true,
                    AnnounceEvent::Completed => tracker.knows_complete = true,
                    AnnounceEvent::Stopped => tracker.took_stopped = true,
                    AnnounceEvent::None => {}
                }
                if self.complete && !tracker.knows_complete {
                    tracker.next = now;
                }
                tier.works = true;
                if let Some(place) = tier.order.iter().position(|&other| other == index) {
                    tier.order[..=place].rotate_right(1);
                }
            }
            Err(error) => {
                // A tracker that cannot be told that we stop is told no more.
                tracker.took_stopped |= event == AnnounceEvent::Stopped;
                let wait = RETRY_FIRST * (1 << tracker.failures.min(7));
                let jitter = 1.0 - RETRY_JITTER + self.rng.unit() * 2.0 * RETRY_JITTER;
                tracker.next = now + wait.min(RETRY_LAST).mul_f64(jitter);
                tracker.failures += 1;
                let text: String = error.text.chars().take(MAX_TEXT).collect();
                tracker.last_error = Some(SourceError { kind: error.kind, text });
                tier.works &= tier.order.first() != Some(&index);
            }
        }
        self.settle();
    }

    /// Gives the announces that are due.
    pub fn poll(&mut self, now: Time, totals: &Totals, out: &mut impl FnMut(TrackerKey, AnnounceRequest)) {
        if self.due.is_none_or(|due| due > now) {
            return;
        }
        match self.phase {
            Phase::Running => {
                for number in 0..self.tiers.len() {
                    let Some((at, index)) = self.candidate(&self.tiers[number]) else { continue };
                    if at <= now {
                        self.announce(now, index, totals, out);
                    }
                }
            }
            Phase::Stopping { until } if until <= now => self.phase = Phase::Done,
            Phase::Stopping { .. } => {
                for index in 0..self.trackers.len() {
                    if self.trackers[index].must_stop() && self.trackers[index].in_flight.is_none() {
                        self.send(index, AnnounceEvent::Stopped, totals, out);
                    }
                }
            }
            Phase::Done => {}
        }
        self.settle();
    }

    /// When to poll next.
    pub fn deadline(&self) -> Option<Time> {
        self.due
    }

    /// Whether [`AnnounceSchedule::stop`] was called and all that is to be said was said, or there is no more time for it.
    pub fn is_done(&self) -> bool {
        self.phase == Phase::Done
    }

    /// How each tracker fares, in the order of the tiers.
    pub fn trackers(&self) -> impl Iterator<Item = TrackerStatus<'_>> {
        self.trackers.iter().enumerate().map(|(index, tracker)| {
            let candidate = self.candidate(&self.tiers[tracker.tier as usize]);
            TrackerStatus {
                tracker: TrackerKey(index as u32),
                tier: tracker.tier,
                url: &tracker.url,
                working: tracker.took_started && tracker.failures == 0,
                in_flight: tracker.in_flight.is_some(),
                failures: tracker.failures,
                last_error: tracker.last_error.as_ref().map(|error| error.text.as_str()),
                last_error_kind: tracker.last_error.as_ref().map(|error| error.kind),
                warning: tracker.warning.as_deref(),
                next: candidate.filter(|&(_, chosen)| chosen == index).map(|(at, _)| at),
                seeds: tracker.seeds,
                leeches: tracker.leeches,
                peers: tracker.peers,
                forbidden: tracker.forbidden,
            }
        })
    }

    /// The tracker of a tier that is asked next, and when; `None` while one is being asked.
    fn candidate(&self, tier: &Tier) -> Option<(Time, usize)> {
        if tier.order.iter().any(|&index| self.trackers[index].in_flight.is_some()) {
            return None;
        }
        let usable = if tier.works { &tier.order[..1] } else { &tier.order[..] };
        // The first in order of those that are asked soonest: all that never failed come before those that did.
        usable.iter().map(|&index| (self.at(&self.trackers[index]), index)).min_by_key(|&(at, _)| at)
    }

    fn at(&self, tracker: &Tracker) -> Time {
        let hurries = self.wants_peers && tracker.took_started && tracker.failures == 0;
        if hurries { tracker.next.min(tracker.early) } else { tracker.next }
    }

    fn announce(
        &mut self,
        now: Time,
        index: usize,
        totals: &Totals,
        out: &mut impl FnMut(TrackerKey, AnnounceRequest),
    ) {
        let tracker = &mut self.trackers[index];
        let event = if !tracker.took_started {
            // To this tracker we begin complete, if we are.
            tracker.knows_complete |= self.complete;
            AnnounceEvent::Started
        } else if self.complete && !tracker.knows_complete {
            AnnounceEvent::Completed
        } else {
            AnnounceEvent::None
        };
        if event == AnnounceEvent::None && tracker.next > now {
            self.early_count = self.early_count.saturating_add(1);
        }
        self.send(index, event, totals, out);
    }

    fn send(
        &mut self,
        index: usize,
        event: AnnounceEvent,
        totals: &Totals,
        out: &mut impl FnMut(TrackerKey, AnnounceRequest),
    ) {
        let tracker = &mut self.trackers[index];
        tracker.in_flight = Some(event);
        let request = AnnounceRequest {
            url: tracker.url.clone(),
            event,
            uploaded: totals.uploaded,
            downloaded: totals.downloaded,
            left: totals.left,
            num_want: if event == AnnounceEvent::Stopped { 0 } else { NUM_WANT },
            tracker_id: tracker.tracker_id.clone(),
        };
        out(TrackerKey(index as u32), request);
    }

    /// Ends a stop that has nothing left to wait for, and plans.
    fn settle(&mut self) {
        let open = |tracker: &Tracker| tracker.must_stop() || tracker.in_flight == Some(AnnounceEvent::Started);
        if matches!(self.phase, Phase::Stopping { .. }) && !self.trackers.iter().any(open) {
            self.phase = Phase::Done;
        }
        self.plan();
    }

    /// Finds out when there is something to do.
    fn plan(&mut self) {
        self.due = match self.phase {
            Phase::Running => self.tiers.iter().filter_map(|tier| self.candidate(tier)).map(|(at, _)| at).min(),
            Phase::Stopping { until } => {
                let unsent = |tracker: &Tracker| tracker.must_stop() && tracker.in_flight.is_none();
                Some(if self.trackers.iter().any(unsent) { Time::ZERO } else { until })
            }
            Phase::Done => None,
        };
    }
}

impl Tracker {
    fn new(url: String, tier: u32) -> Tracker {
        Tracker {
            url,
            tier,
            in_flight: None,
            took_started: false,
            knows_complete: false,
            took_stopped: false,
            next: Time::ZERO,
            early: Time::MAX,
            failures: 0,
            tracker_id: None,
            last_error: None,
            warning: None,
            seeds: None,
            leeches: None,
            peers: 0,
            forbidden: 0,
        }
    }

    fn must_stop(&self) -> bool {
        self.took_started && !self.took_stopped
    }

    fn take_reply(&mut self, now: Time, reply: &AnnounceReply, early_count: u32) {
        let (least, most) = INTERVAL_BOUNDS;
        let forbidden = reply.min_interval.unwrap_or_default().min(most);
        let interval = reply.interval.unwrap_or(INTERVAL).clamp(least, most).max(forbidden);
        self.next = now + interval;
        self.early = now + (EARLY * (1 << early_count.min(4))).max(forbidden);
        if let Some(id) = reply.tracker_id.as_ref().filter(|id| id.len() <= MAX_TRACKER_ID) {
            self.tracker_id = Some(id.clone());
        }
        self.warning = reply.warning.as_ref().map(|warning| warning.chars().take(MAX_TEXT).collect());
        self.seeds = reply.seeds;
        self.leeches = reply.leeches;
        self.peers = reply.peers.len() as u32;
        self.forbidden = reply.forbidden;
    }
}

#[cfg(test)]
mod tests;
