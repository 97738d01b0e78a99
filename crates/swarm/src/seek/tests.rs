//! Claims about the schedule, in virtual time.

use super::*;
use crate::failure::SourceErrorKind;
use proptest::prelude::*;
use shoal_machine::Rng;

fn at(secs: u64) -> Time {
    Time::from_secs(secs)
}

fn schedule(dht: bool, lan: bool) -> SeekSchedule {
    let mut schedule = SeekSchedule::new(dht, lan, true, false, Rng::new(1));
    schedule.ready(false);
    schedule
}

fn poll(schedule: &mut SeekSchedule, now: Time) -> Vec<(Via, bool)> {
    let mut sent = Vec::new();
    schedule.poll(now, &mut |via, announce, _| sent.push((via, announce)));
    sent
}

fn found(peers: u32) -> Result<Sought, SourceError> {
    Ok(Sought { responders: 20, peers, announced: 8, nodes: 100 })
}

/// The waits in seconds between answer and next order, each answered with `result`.
fn waits(schedule: &mut SeekSchedule, via: Via, result: &Result<Sought, SourceError>, count: usize) -> Vec<f64> {
    let (mut now, mut waits) = (at(0), Vec::new());
    for _ in 0..=count {
        assert_eq!(poll(schedule, now), [(via, true)]);
        schedule.answered(now, via, result.clone());
        let next = schedule.deadline().unwrap();
        waits.push(next.since(now).as_secs_f64());
        now = next;
    }
    waits.truncate(count);
    waits
}

fn assert_near(waits: &[f64], expected: &[u64]) {
    for (wait, expected) in waits.iter().zip(expected) {
        let expected = *expected as f64;
        assert!((expected * 0.75..=expected * 1.25).contains(wait), "{waits:?}");
    }
}

#[test]
fn both_are_asked_at_the_start_and_then_at_their_interval() {
    let mut schedule = schedule(true, true);
    assert_eq!(poll(&mut schedule, at(0)), [(Via::Dht, true), (Via::Lan, true)]);
    assert!(poll(&mut schedule, at(1)).is_empty(), "one order a source");
    assert_eq!(schedule.deadline(), None);
    for (via, seconds) in [(Via::Dht, 900), (Via::Lan, 300)] {
        let mut schedule = self::schedule(via == Via::Dht, via == Via::Lan);
        assert_near(&waits(&mut schedule, via, &found(3), 5), &[seconds; 5]);
    }
}

#[test]
fn a_source_that_is_off_is_not_asked() {
    let mut schedule = schedule(false, false);
    assert!(poll(&mut schedule, at(0)).is_empty());
    assert_eq!(schedule.deadline(), None);
    assert!(schedule.status().all(|status| !status.enabled));
}

#[test]
fn who_wants_peers_asks_again_soon_and_ever_less_often() {
    let mut schedule = schedule(true, false);
    schedule.want_peers(true);
    let nobody = waits(&mut schedule, Via::Dht, &found(0), 10);
    assert_near(&nobody, &[5, 15, 30, 60, 120, 240, 480, 900, 900, 900]);
    let mut schedule = self::schedule(true, false);
    schedule.want_peers(true);
    assert_near(&waits(&mut schedule, Via::Dht, &found(1), 6), &[60, 120, 240, 480, 900, 900]);
}

#[test]
fn an_announce_that_nobody_took_is_repeated_also_by_one_who_wants_no_peers() {
    let silent = Err(SourceError::new(SourceErrorKind::Silent, "no DHT node answers"));
    let untaken = Ok(Sought { responders: 9, ..Sought::default() });
    for result in [silent, untaken] {
        let mut schedule = schedule(true, false);
        assert_near(&waits(&mut schedule, Via::Dht, &result, 8), &[5, 15, 30, 60, 120, 240, 480, 900]);
        assert!(schedule.status().next().unwrap().failures >= 8);
    }
}

#[test]
fn the_local_network_hears_us_once_a_minute_at_most() {
    let mut schedule = schedule(false, true);
    schedule.want_peers(true);
    let waits = waits(&mut schedule, Via::Lan, &Err(SourceError::new(SourceErrorKind::Silent, "no interface")), 50);
    assert!(waits.iter().all(|&wait| wait >= 60.0), "{waits:?}");
}

#[test]
fn a_link_with_trackers_is_looked_up_and_announced_when_it_is_known_to_be_public() {
    let mut schedule = SeekSchedule::new(true, true, false, true, Rng::new(1));
    assert_eq!(poll(&mut schedule, at(0)), [(Via::Dht, false), (Via::Lan, false)]);
    schedule.answered(at(9), Via::Dht, found(3));
    schedule.answered(at(9), Via::Lan, Ok(Sought::default()));
    schedule.prepare();
    assert_eq!(schedule.deadline(), None, "nobody knows yet whether it is private");
    schedule.ready(false);
    assert_eq!(poll(&mut schedule, at(10)), [(Via::Dht, true)]);
    assert_eq!(poll(&mut schedule, at(60)), [(Via::Lan, true)]);
}

#[test]
fn a_link_without_trackers_is_announced_at_once() {
    let mut schedule = SeekSchedule::new(true, false, false, false, Rng::new(1));
    assert_eq!(poll(&mut schedule, at(0)), [(Via::Dht, true)]);
}

#[test]
fn a_private_torrent_is_looked_for_nowhere() {
    let mut known = SeekSchedule::new(true, true, true, true, Rng::new(1));
    assert!(poll(&mut known, at(0)).is_empty());
    known.ready(true);
    assert!(poll(&mut known, at(1)).is_empty());
    assert!(known.status().all(|status| !status.enabled));
    // Also when only the metadata says so, and whatever is on its way.
    let mut link = SeekSchedule::new(true, true, false, true, Rng::new(1));
    poll(&mut link, at(0));
    link.want_peers(true);
    link.ready(true);
    link.answered(at(5), Via::Dht, found(3));
    assert_eq!(link.deadline(), None);
    assert!(poll(&mut link, at(10_000)).is_empty());
}

#[test]
fn one_that_stops_asks_no_more() {
    let mut schedule = schedule(true, true);
    poll(&mut schedule, at(0));
    schedule.answered(at(1), Via::Dht, found(0));
    schedule.stop();
    schedule.ready(false);
    assert_eq!(schedule.deadline(), None);
    assert!(poll(&mut schedule, at(10_000)).is_empty());
}

#[test]
fn what_a_source_says_of_itself_is_bounded() {
    let mut schedule = schedule(true, false);
    poll(&mut schedule, at(0));
    schedule.answered(at(1), Via::Dht, Err(SourceError::new(SourceErrorKind::Silent, "x".repeat(10_000))));
    let status = schedule.status().next().unwrap();
    assert_eq!(status.last.unwrap().unwrap_err().text.len(), MAX_TEXT);
}

proptest! {
    #[test]
    fn one_order_at_a_time_never_too_soon_and_it_goes_on_by_itself(steps in prop::collection::vec((0_u8..7, 1_u64..200), 0..300), seed: u64) {
        let mut schedule = SeekSchedule::new(true, true, false, seed % 2 == 0, Rng::new(seed));
        let mut now = at(0);
        let mut out = [false; 2];
        let mut sent: [Option<Time>; 2] = [None; 2];
        for (step, secs) in steps {
            now = now + Duration::from_secs(secs);
            let via = if secs % 2 == 0 { Via::Dht } else { Via::Lan };
            match step {
                0 | 1 => {
                    schedule.answered(now, via, found(u32::from(step)));
                    out[via as usize] = false;
                }
                2 => {
                    schedule.answered(now, via, Err(SourceError::new(SourceErrorKind::Silent, "none")));
                    out[via as usize] = false;
                }
                3 => schedule.want_peers(secs % 3 == 0),
                4 => schedule.ready(false),
                _ => {}
            }
            for (via, _) in poll(&mut schedule, now) {
                let index = via as usize;
                prop_assert!(!std::mem::replace(&mut out[index], true), "two at once");
                if let Some(before) = sent[index].replace(now) {
                    prop_assert!(now.since(before) >= least(via));
                }
            }
            for status in schedule.status() {
                let goes_on = status.in_flight || status.next.is_some_and(|next| next > now);
                prop_assert!(goes_on, "{status:?} at {now:?}");
            }
        }
    }
}
