//! Claims about the pace of announces, in virtual time.

use super::super::{Host, HostConfig, HostEvent};
use super::*;
use proptest::prelude::*;
use shoal_machine::Machine;
use std::collections::BTreeSet;

/// A tracker as the test plays it: how long an announce takes, and whether there is an answer in the end.
#[derive(Clone, Copy)]
struct Played {
    takes: Duration,
    answers: bool,
}

const FAST: Played = Played { takes: Duration::from_millis(300), answers: true };
const DEAD: Played = Played { takes: Duration::from_secs(30), answers: false };

#[derive(Default)]
struct Round {
    /// When each server was asked.
    asked: BTreeMap<TrackerServer, Vec<Time>>,
    most_at_once: usize,
    /// When the last swarm had its answer or refusal of each tracker.
    over: Time,
    refused: usize,
}

/// Every swarm wants every tracker at the start; runs until all are answered or refused.
fn round(swarms: u32, trackers: &[Played]) -> Round {
    let mut host = Host::new(HostConfig { up: None, down: None, max_connections: 100 });
    let mut effects = Effects::new();
    for swarm in 0..swarms {
        host.handle(Time::ZERO, HostEvent::Joined(SwarmKey(swarm)), &mut effects);
    }
    effects.drain().for_each(drop);
    let mut wants: Vec<HostEvent> = Vec::new();
    for swarm in 0..swarms {
        for tracker in 0..trackers.len() as u32 {
            let server = TrackerServer(u64::from(tracker));
            wants.push(HostEvent::AnnounceWanted(SwarmKey(swarm), TrackerKey(tracker), server, false));
        }
    }
    let (mut now, mut ends, mut round) =
        (Time::ZERO, BTreeMap::<(Time, SwarmKey, TrackerKey), bool>::new(), Round::default());
    let mut open: BTreeSet<(SwarmKey, TrackerKey)> = BTreeSet::new();
    let mut left = wants.len();
    loop {
        let events = if !wants.is_empty() {
            std::mem::take(&mut wants)
        } else {
            let (end, wake) = (ends.keys().next().map(|end| end.0), host.deadline());
            let Some(next) = end.into_iter().chain(wake).min() else { break };
            now = now.max(next);
            match ends.first_key_value() {
                Some((&(at, swarm, tracker), &answered)) if at <= now => {
                    ends.pop_first();
                    open.remove(&(swarm, tracker));
                    left -= 1;
                    vec![HostEvent::AnnounceEnded(swarm, tracker, answered)]
                }
                _ => vec![HostEvent::Wake],
            }
        };
        for event in events {
            host.handle(now, event, &mut effects);
            for effect in effects.drain() {
                match effect {
                    HostEffect::Announce(swarm, tracker) => {
                        let played = trackers[tracker.0 as usize];
                        round.asked.entry(TrackerServer(u64::from(tracker.0))).or_default().push(now);
                        ends.insert((now + played.takes, swarm, tracker), played.answers);
                        assert!(open.insert((swarm, tracker)));
                    }
                    HostEffect::NotAnnounced(..) => {
                        left -= 1;
                        round.refused += 1;
                    }
                    _ => {}
                }
            }
            round.most_at_once = round.most_at_once.max(open.len());
        }
        round.over = now;
    }
    host.check_invariants();
    assert_eq!(left, 0, "each was answered or refused");
    round
}

/// The most that one server was asked within any second.
fn most_a_second(round: &Round) -> usize {
    let within = |times: &Vec<Time>| {
        let count = |from: Time| times.iter().filter(|&&at| at >= from && at < from + Duration::from_secs(1)).count();
        times.iter().map(|&from| count(from)).max().unwrap_or(0)
    };
    round.asked.values().map(within).max().unwrap_or(0)
}

#[test]
fn five_thousand_torrents_spread_their_first_announces_over_a_quarter_of_an_hour_at_most() {
    let round = round(5_000, &[FAST]);
    println!(
        "over after {:?}, {} a second and {} at once at most",
        round.over,
        most_a_second(&round),
        round.most_at_once
    );
    assert!(round.most_at_once <= 50, "{}", round.most_at_once);
    assert!(most_a_second(&round) <= 10, "{}", most_a_second(&round));
    assert!(round.over <= Time::from_secs(15 * 60), "{:?}", round.over);
    assert_eq!((round.asked[&TrackerServer(0)].len(), round.refused), (5_000, 0));
}

#[test]
fn dead_trackers_do_not_keep_the_others_waiting() {
    let round = round(1_000, &[DEAD, FAST, DEAD, DEAD, FAST, DEAD]);
    assert!(round.most_at_once <= 50 && most_a_second(&round) <= 10);
    for live in [1, 4] {
        let asked = &round.asked[&TrackerServer(live)];
        let last = asked.last().copied().unwrap();
        assert_eq!(asked.len(), 1_000);
        // At its pace it takes 125 s.
        assert!(last <= Time::from_secs(200), "{last:?}");
    }
    assert!(round.over <= Time::from_secs(15 * 60), "{:?}", round.over);
}

fn swarms(count: u32) -> Announces {
    let mut announces = Announces::default();
    for swarm in 0..count {
        announces.want(Time::ZERO, (SwarmKey(swarm), TrackerKey(0)), TrackerServer(0), false);
    }
    announces
}

fn let_out(announces: &mut Announces, now: Time) -> Vec<HostEffect> {
    let mut effects = Effects::new();
    announces.let_out(now, &mut effects);
    announces.check_invariants();
    effects.drain().collect()
}

#[test]
fn one_torrent_alone_is_never_refused_and_waits_for_nothing() {
    let mut announces = Announces::default();
    let (one, server) = ((SwarmKey(0), TrackerKey(0)), TrackerServer(0));
    let mut now = Time::ZERO;
    // What the schedule waits at least after each failure.
    for wait in [13, 27, 54, 108, 216] {
        announces.want(now, one, server, false);
        assert_eq!(let_out(&mut announces, now), [HostEffect::Announce(one.0, one.1)]);
        now = now + Duration::from_secs(30);
        announces.ended(now, one, false);
        now = now + Duration::from_secs(wait);
    }
}

#[test]
fn who_stops_goes_first_and_who_left_is_not_announced() {
    let mut announces = swarms(4);
    assert_eq!(let_out(&mut announces, Time::ZERO).len(), 2);
    announces.want(Time::ZERO, (SwarmKey(9), TrackerKey(0)), TrackerServer(0), true);
    let mut effects = Effects::new();
    announces.withdraw(SwarmKey(2), &mut effects);
    assert_eq!(effects.drain().collect::<Vec<_>>(), [HostEffect::NotAnnounced(SwarmKey(2), TrackerKey(0))]);
    announces.left(Time::ZERO, SwarmKey(0));
    let mut asked = Vec::new();
    for tick in 1..20 {
        asked.extend(let_out(&mut announces, Time::ZERO + GAP * tick));
    }
    let expected = [SwarmKey(9), SwarmKey(3)].map(|swarm| HostEffect::Announce(swarm, TrackerKey(0)));
    assert_eq!(asked, expected);
}

#[test]
fn a_closed_server_refuses_at_once_and_one_announce_finds_it_open_again() {
    let mut announces = swarms(10);
    let mut now = Time::ZERO;
    for tick in 0..10 {
        now = Time::ZERO + GAP * tick;
        let_out(&mut announces, now);
    }
    for swarm in 0..3 {
        announces.ended(now, (SwarmKey(swarm), TrackerKey(0)), false);
    }
    for swarm in 3..10 {
        announces.left(now, SwarmKey(swarm));
    }
    let (a, b) = ((SwarmKey(20), TrackerKey(0)), (SwarmKey(21), TrackerKey(0)));
    announces.want(now, a, TrackerServer(0), false);
    assert_eq!(let_out(&mut announces, now), [HostEffect::NotAnnounced(a.0, a.1)]);
    now = now + CLOSED;
    announces.want(now, a, TrackerServer(0), false);
    announces.want(now, b, TrackerServer(0), false);
    assert_eq!(let_out(&mut announces, now), [HostEffect::Announce(a.0, a.1)], "one at a time");
    announces.ended(now, a, true);
    assert_eq!(let_out(&mut announces, now), [HostEffect::Announce(b.0, b.1)]);
}

proptest! {
    #[test]
    fn whatever_happens_the_bounds_hold(
        steps in proptest::collection::vec((0_u8..5, 0_u32..20, 0_u32..3, 0_u64..3, 0_u64..3_000), 0..300),
    ) {
        let (mut announces, mut now) = (Announces::default(), Time::ZERO);
        let mut effects = Effects::new();
        for (what, swarm, tracker, server, wait_ms) in steps {
            now = now + Duration::from_millis(wait_ms);
            let (swarm, announce) = (SwarmKey(swarm), (SwarmKey(swarm), TrackerKey(tracker)));
            match what {
                0 | 1 => announces.want(now, announce, TrackerServer(server), what == 1),
                2 => announces.ended(now, announce, server == 0),
                3 => announces.withdraw(swarm, &mut effects),
                _ => announces.left(now, swarm),
            }
            announces.let_out(now, &mut effects);
            announces.check_invariants();
            effects.drain().for_each(drop);
        }
    }
}
