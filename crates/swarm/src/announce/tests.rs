//! Claims about the schedule, in virtual time.

use super::*;
use proptest::prelude::*;
use shoal_machine::Rng;

fn tiers(tiers: &[&[&str]]) -> Vec<Vec<String>> {
    tiers.iter().map(|urls| urls.iter().map(|url| (*url).to_owned()).collect()).collect()
}

fn at(secs: u64) -> Time {
    Time::from_secs(secs)
}

/// What is announced at this moment.
fn poll(schedule: &mut AnnounceSchedule, now: Time) -> Vec<(TrackerKey, AnnounceEvent)> {
    let mut sent = Vec::new();
    schedule.poll(now, &Totals::default(), &mut |tracker, request| sent.push((tracker, request.event)));
    sent
}

fn good(interval: u64, min_interval: Option<u64>) -> Result<AnnounceReply, SourceError> {
    Ok(AnnounceReply {
        interval: Some(Duration::from_secs(interval)),
        min_interval: min_interval.map(Duration::from_secs),
        ..AnnounceReply::default()
    })
}

fn bad() -> Result<AnnounceReply, SourceError> {
    Err(SourceError::new(SourceErrorKind::NoRoute, "no route"))
}

const ONE: TrackerKey = TrackerKey(0);

#[test]
fn tiers_are_used_side_by_side_and_one_tracker_of_each_at_a_time() {
    let mut schedule = AnnounceSchedule::new(tiers(&[&["a", "b", "c"], &["d"]]), Rng::new(1));
    let sent = poll(&mut schedule, at(0));
    assert_eq!(sent.len(), 2);
    assert!(sent.iter().all(|&(_, event)| event == AnnounceEvent::Started));
    assert!(sent[0].0.0 < 3 && sent[1].0 == TrackerKey(3));
    assert!(poll(&mut schedule, at(1)).is_empty());
    assert_eq!(schedule.deadline(), None);
}

#[test]
fn the_next_of_a_tier_is_tried_at_once_and_the_one_that_works_stays_in_use() {
    let mut schedule = AnnounceSchedule::new(tiers(&[&["a", "b", "c"]]), Rng::new(1));
    let first = poll(&mut schedule, at(0))[0].0;
    schedule.answered(at(1), first, &bad());
    let second = poll(&mut schedule, at(1))[0].0;
    assert_ne!(first, second);
    schedule.answered(at(2), second, &good(1_800, None));
    assert_eq!(schedule.deadline(), Some(at(1_802)));
    assert_eq!(poll(&mut schedule, at(1_802)), [(second, AnnounceEvent::None)]);
    // When it fails, the first is behind the one that was never asked.
    schedule.answered(at(1_803), second, &bad());
    let third = poll(&mut schedule, at(1_803))[0].0;
    assert!(third != second && third != first, "one that did not fail comes first");
    schedule.answered(at(1_804), third, &bad());
    assert_eq!(poll(&mut schedule, at(1_804))[0].0, first);
}

#[test]
fn each_tier_is_shuffled() {
    let mut firsts = [0; 3];
    for seed in 0..3_000 {
        let mut schedule = AnnounceSchedule::new(tiers(&[&["a", "b", "c"]]), Rng::new(seed));
        firsts[poll(&mut schedule, at(0))[0].0.0 as usize] += 1;
    }
    assert!(firsts.iter().all(|times| (900..1_100).contains(times)), "{firsts:?}");
}

#[test]
fn an_interval_is_kept_within_bounds() {
    for (said, kept) in [(0, 30), (1_800, 1_800), (1_000_000, 3_600)] {
        let mut schedule = AnnounceSchedule::new(tiers(&[&["a"]]), Rng::new(1));
        poll(&mut schedule, at(0));
        schedule.answered(at(0), ONE, &good(said, None));
        assert_eq!(schedule.deadline(), Some(at(kept)));
    }
}

#[test]
fn peers_are_asked_for_early_but_not_before_the_tracker_allows_it_and_ever_less_often() {
    let mut schedule = AnnounceSchedule::new(tiers(&[&["a"]]), Rng::new(1));
    poll(&mut schedule, at(0));
    schedule.answered(at(0), ONE, &good(1_800, Some(300)));
    schedule.want_peers(at(1), true);
    assert_eq!(schedule.deadline(), Some(at(300)));
    schedule.want_peers(at(2), false);
    assert_eq!(schedule.deadline(), Some(at(1_800)));
    schedule.want_peers(at(3), true);
    let (mut now, mut waits) = (at(300), Vec::new());
    for _ in 0..6 {
        assert_eq!(poll(&mut schedule, now), [(ONE, AnnounceEvent::None)]);
        schedule.answered(now, ONE, &good(1_800, None));
        let next = schedule.deadline().unwrap();
        waits.push(next.since(now).as_secs());
        now = next;
    }
    assert_eq!(waits, [120, 240, 480, 960, 960, 960]);
}

#[test]
fn failures_wait_longer_and_longer_with_jitter() {
    let mut schedule = AnnounceSchedule::new(tiers(&[&["a"]]), Rng::new(1));
    let (mut now, mut waits) = (at(0), Vec::new());
    for _ in 0..9 {
        assert_eq!(poll(&mut schedule, now), [(ONE, AnnounceEvent::Started)]);
        schedule.answered(now, ONE, &bad());
        let next = schedule.deadline().unwrap();
        waits.push(next.since(now).as_secs_f64());
        now = next;
    }
    for (wait, base) in waits.iter().zip([15.0, 30.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1020.0, 1020.0]) {
        assert!((base * 0.9..=base * 1.1).contains(wait), "{waits:?}");
    }
    assert!(waits[7..].iter().all(|&wait| wait >= 900.0), "{waits:?}");
    let status = schedule.trackers().next().unwrap();
    assert_eq!((status.failures, status.last_error, status.working), (9, Some("no route"), false));
}

#[test]
fn completed_is_said_once_to_those_that_took_started() {
    let mut schedule = AnnounceSchedule::new(tiers(&[&["a"], &["b"]]), Rng::new(1));
    schedule.begins(false);
    poll(&mut schedule, at(0));
    schedule.answered(at(1), ONE, &good(1_800, Some(900)));
    schedule.completed(at(5));
    assert_eq!(poll(&mut schedule, at(5)), [(ONE, AnnounceEvent::Completed)], "whatever the interval");
    // One whose `started` was on its way hears of it next; a lost one is said again.
    schedule.answered(at(6), TrackerKey(1), &good(1_800, None));
    assert_eq!(poll(&mut schedule, at(6)), [(TrackerKey(1), AnnounceEvent::Completed)]);
    schedule.answered(at(7), ONE, &bad());
    assert_eq!(poll(&mut schedule, at(40)), [(ONE, AnnounceEvent::Completed)]);
    schedule.answered(at(41), ONE, &good(1_800, None));
    schedule.answered(at(41), TrackerKey(1), &good(1_800, None));
    schedule.completed(at(50));
    assert!(poll(&mut schedule, at(50)).is_empty());
    assert_eq!(poll(&mut schedule, at(1_841)).iter().filter(|(_, event)| *event == AnnounceEvent::None).count(), 2);
}

#[test]
fn one_who_begins_complete_does_not_say_completed() {
    let mut schedule = AnnounceSchedule::new(tiers(&[&["a"]]), Rng::new(1));
    schedule.begins(true);
    poll(&mut schedule, at(0));
    schedule.answered(at(0), ONE, &good(1_800, None));
    schedule.completed(at(1));
    assert!(poll(&mut schedule, at(1)).is_empty());
    assert_eq!(poll(&mut schedule, at(1_800)), [(ONE, AnnounceEvent::None)]);
}

#[test]
fn a_tracker_first_reached_after_completion_hears_started_only() {
    let mut schedule = AnnounceSchedule::new(tiers(&[&["a"]]), Rng::new(1));
    poll(&mut schedule, at(0));
    schedule.answered(at(1), ONE, &bad());
    schedule.completed(at(2));
    let retry = schedule.deadline().unwrap();
    assert_eq!(poll(&mut schedule, retry), [(ONE, AnnounceEvent::Started)]);
    schedule.answered(retry, ONE, &good(1_800, None));
    assert!(poll(&mut schedule, retry).is_empty());
}

#[test]
fn stopping_tells_those_that_took_started_and_waits_for_them() {
    let mut schedule = AnnounceSchedule::new(tiers(&[&["a"], &["b"], &["c"]]), Rng::new(1));
    poll(&mut schedule, at(0));
    schedule.answered(at(1), ONE, &good(1_800, None));
    schedule.answered(at(1), TrackerKey(1), &bad());
    schedule.stop(at(10));
    assert_eq!(poll(&mut schedule, at(10)), [(ONE, AnnounceEvent::Stopped)]);
    schedule.answered(at(11), ONE, &good(1_800, None));
    assert!(!schedule.is_done(), "the third may have taken `started`");
    schedule.answered(at(11), TrackerKey(2), &good(1_800, None));
    assert_eq!(poll(&mut schedule, at(11)), [(TrackerKey(2), AnnounceEvent::Stopped)]);
    schedule.answered(at(11), TrackerKey(2), &bad());
    assert!(schedule.is_done());
    assert_eq!(schedule.deadline(), None);
}

#[test]
fn stopping_takes_two_seconds_at_most_and_no_time_if_nobody_took_started() {
    let mut schedule = AnnounceSchedule::new(tiers(&[&["a"]]), Rng::new(1));
    poll(&mut schedule, at(0));
    schedule.answered(at(1), ONE, &good(1_800, None));
    schedule.stop(at(10));
    poll(&mut schedule, at(10));
    assert_eq!(schedule.deadline(), Some(at(12)));
    assert!(poll(&mut schedule, at(12)).is_empty());
    assert!(schedule.is_done());

    let mut idle = AnnounceSchedule::new(Vec::new(), Rng::new(1));
    assert!(poll(&mut idle, at(0)).is_empty());
    idle.stop(at(1));
    assert!(idle.is_done());
}

#[test]
fn a_url_is_used_once_and_no_torrent_has_us_ask_a_thousand_trackers() {
    let many: Vec<Vec<String>> = (0..1_000).map(|n| vec![format!("{}", n / 2)]).collect();
    let mut schedule = AnnounceSchedule::new(many, Rng::new(1));
    assert_eq!(poll(&mut schedule, at(0)).len(), MAX_TRACKERS);
}

proptest! {
    #[test]
    fn events_come_in_order_and_never_two_at_once(steps in prop::collection::vec((0_u8..6, 0_u32..6, 1_u64..400), 0..300), seed: u64) {
        let mut schedule = AnnounceSchedule::new(tiers(&[&["a", "b"], &["c"], &["d", "e", "f"]]), Rng::new(seed));
        let mut now = Time::ZERO;
        let mut in_flight: [Option<AnnounceEvent>; 6] = [None; 6];
        let mut took: [Vec<AnnounceEvent>; 6] = Default::default();
        let mut stopped_at = None;
        for (step, tracker, secs) in steps {
            now = now + Duration::from_secs(secs);
            let key = TrackerKey(tracker);
            match step {
                0 | 1 => {
                    schedule.answered(now, key, &good(600, None));
                    took[tracker as usize].extend(in_flight[tracker as usize].take());
                }
                2 => {
                    schedule.answered(now, key, &bad());
                    in_flight[tracker as usize] = None;
                }
                3 => schedule.want_peers(now, secs % 2 == 0),
                4 if tracker == 0 => schedule.completed(now),
                5 if tracker == 0 && secs < 40 => {
                    schedule.stop(now);
                    stopped_at.get_or_insert(now);
                }
                _ => {}
            }
            for (tracker, event) in poll(&mut schedule, now) {
                let place = tracker.0 as usize;
                prop_assert!(in_flight[place].replace(event).is_none(), "two at once");
                prop_assert_eq!(event == AnnounceEvent::Started, took[place].is_empty());
                prop_assert!(event == AnnounceEvent::None || !took[place].contains(&event), "once each");
                prop_assert_eq!(event == AnnounceEvent::Stopped, stopped_at.is_some());
            }
            if stopped_at.is_some_and(|at| now >= at + STOP_PATIENCE) {
                prop_assert!(schedule.is_done());
            }
            if stopped_at.is_none() && in_flight.iter().all(Option::is_none) {
                prop_assert!(schedule.deadline().is_some_and(|at| at > now), "it goes on by itself");
            }
        }
    }
}
