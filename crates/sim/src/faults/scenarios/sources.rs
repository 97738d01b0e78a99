//! Trackers that fail, web seeds that do not keep to the rules.

use super::{LINE, Named, all_complete, at, must, seconds, small};
use crate::swarm::{Act, Kind, PeerSetup, Report, Scenario, TrackerMood, WebSeedKind, WebSeedSetup};
use shoal_machine::Time;
use shoal_swarm::WebSeedOutcome;
use std::time::Duration;

/// A tracker that is of no use until `until`, a seed, two leeches.
fn useless(mood: TrackerMood, until: u64, within_s: u64) -> Result<(), String> {
    let mut swarm = Scenario::new(1, Kind::V1, 2 << 20, 64 << 10);
    let tracker = swarm.tracker();
    swarm.befall(tracker, Time::ZERO, Act::Mood(mood));
    swarm.befall(tracker, at(until), Act::Mood(TrackerMood::Helpful));
    swarm.seed(LINE);
    let leeches = swarm.leeches(2, LINE);
    let report = all_complete(&mut swarm, within_s, 0.1)?;
    let early = leeches.into_iter().find(|&leech| report.record(leech).complete_at < Some(at(until)));
    must(early.is_none(), || format!("{early:?} found others without a tracker: {report}"))
}

fn web(kind: WebSeedKind, rate: u64) -> PeerSetup {
    let seed = WebSeedSetup { kind, rate, delay: Duration::from_millis(50) };
    PeerSetup { web_seeds: vec![seed], ..PeerSetup::default() }
}

/// A bad web seed beside a good peer: who completes, and what became of it.
fn bad_web_seed(kind: WebSeedKind, waste: f64) -> Result<(Report, Vec<WebSeedOutcome>), String> {
    let mut swarm = small(Kind::V1);
    swarm.seed(LINE);
    let leech = swarm.peer(web(kind, 1_000_000), LINE, Time::ZERO);
    let report = all_complete(&mut swarm, 60, waste)?;
    let outcomes = report.record(leech).web_seed_troubles.iter().map(|(_, outcome, _)| *outcome).collect();
    Ok((report, outcomes))
}

fn web_seed_alone(kind: Kind) -> Result<(), String> {
    let mut swarm = small(kind);
    let leech = swarm.peer(web(WebSeedKind::Honest, 500_000), LINE, Time::ZERO);
    let report = all_complete(&mut swarm, 30, 0.01)?;
    let came = report.record(leech).web_seed_bytes;
    must(came == report.length, || format!("{came} bytes came of it"))
}

pub(super) fn all() -> Vec<Named> {
    vec![
        Named::new(
            "tracker-dead-at-first",
            "a tracker that answers from 40 s on: found by retries, done by 160 s",
            || useless(TrackerMood::Dead, 40, 160),
        ),
        Named::new("tracker-refusing", "a tracker that says no until 40 s: asked again, done by 400 s", || {
            useless(TrackerMood::Refusing, 40, 400)
        }),
        Named::new(
            "tracker-forgetful",
            "a tracker that names nobody until 40 s: asked before its interval is over, done by 400 s",
            || useless(TrackerMood::Forgetful, 40, 400),
        ),
        Named::new(
            "tracker-lying",
            "a tracker that names addresses of nobody until 40 s: dials fail, asked again, done by 600 s",
            || useless(TrackerMood::Lying, 40, 600),
        ),
        Named::new("one-of-two-trackers", "two trackers, one dead for good: the other is enough, done in 60 s", || {
            let mut swarm = Scenario::new(1, Kind::V1, 2 << 20, 64 << 10);
            let dead = swarm.tracker();
            swarm.tracker();
            swarm.befall(dead, Time::ZERO, Act::Mood(TrackerMood::Dead));
            swarm.seed(LINE);
            swarm.leeches(2, LINE);
            all_complete(&mut swarm, 60, 0.05).map(|_| ())
        }),
        Named::new(
            "no-tracker-one-address",
            "no tracker; each leech's user typed the seed's address: done in 20 s",
            || {
                let mut swarm = Scenario::new(1, Kind::V1, 2 << 20, 64 << 10);
                let seed = swarm.seed(LINE);
                for _ in 0..2 {
                    swarm.peer(PeerSetup { addresses: vec![seed], ..PeerSetup::default() }, LINE, Time::ZERO);
                }
                all_complete(&mut swarm, 20, 0.05).map(|_| ())
            },
        ),
        Named::new(
            "no-tracker-a-chain",
            "no tracker; each knows only the one before him: peer exchange joins them, done in 60 s",
            || {
                let mut swarm = Scenario::new(1, Kind::V1, 2 << 20, 64 << 10);
                let mut last = swarm.seed(LINE);
                for _ in 0..4 {
                    last = swarm.peer(PeerSetup { addresses: vec![last], ..PeerSetup::default() }, LINE, Time::ZERO);
                }
                all_complete(&mut swarm, 60, 0.1).map(|_| ())
            },
        ),
        Named::new(
            "tracker-dies-after-naming",
            "a tracker dies after its first answers; the seed restarts: its peers dial it again",
            || {
                let mut swarm = Scenario::new(1, Kind::V1, 2 << 20, 64 << 10);
                let tracker = swarm.tracker();
                let seed = swarm.seed(LINE);
                swarm.leeches(2, LINE);
                swarm.befall(tracker, at(1), Act::Mood(TrackerMood::Dead));
                swarm.restart(seed, Time::from_millis(1_500), seconds(5));
                all_complete(&mut swarm, 90, 0.4).map(|_| ())
            },
        ),
        Named::new("web-seed-alone-v1", "nobody but a web seed, v1: every byte comes from it, once", || {
            web_seed_alone(Kind::V1)
        }),
        Named::new("web-seed-alone-v2", "nobody but a web seed, v2: every byte comes from it, once", || {
            web_seed_alone(Kind::V2)
        }),
        Named::new("web-seed-lying", "a web seed that lies beside a seed: banned, a fifth wasted at most", || {
            let (report, outcomes) = bad_web_seed(WebSeedKind::Lying, 0.2)?;
            must(outcomes == [WebSeedOutcome::Banned], || format!("{outcomes:?}: {report}"))
        }),
        Named::new("web-seed-ignoring-ranges", "a web seed that ignores ranges: given up, 1 % wasted at most", || {
            let (report, outcomes) = bad_web_seed(WebSeedKind::IgnoringRanges, 0.01)?;
            must(outcomes == [WebSeedOutcome::GivenUp], || format!("{outcomes:?}: {report}"))
        }),
        Named::new(
            "web-seed-breaking",
            "a web seed that breaks off after three blocks: it waits, the seed gives the rest",
            || {
                let (report, outcomes) = bad_web_seed(WebSeedKind::Breaking { after: 3 }, 0.1)?;
                let waits = outcomes.iter().all(|outcome| matches!(outcome, WebSeedOutcome::Waits(_)));
                must(waits && !outcomes.is_empty(), || format!("{outcomes:?}: {report}"))
            },
        ),
        Named::new(
            "web-seed-stalling",
            "a web seed that stalls after ten blocks: others are asked for what it keeps",
            || bad_web_seed(WebSeedKind::Stalling { after: 10 }, 0.2).map(|_| ()),
        ),
        Named::new(
            "web-seed-dies",
            "a web seed dies halfway with nobody else there, and works again at 60 s: done after",
            || {
                let mut swarm = small(Kind::V1);
                let leech = swarm.peer(web(WebSeedKind::Honest, 50_000), LINE, Time::ZERO);
                swarm.befall(leech, at(3), Act::WebSeeds(WebSeedKind::Stalling { after: 0 }));
                swarm.befall(leech, at(60), Act::WebSeeds(WebSeedKind::Honest));
                let report = all_complete(&mut swarm, 400, 0.2)?;
                must(report.record(leech).complete_at > Some(at(60)), || format!("before it worked again: {report}"))
            },
        ),
        Named::new(
            "web-seed-of-one",
            "one of three leeches knows a web seed and there is no seed: what it fetches all get",
            || {
                let mut swarm = small(Kind::Hybrid);
                swarm.peer(web(WebSeedKind::Honest, 500_000), LINE, Time::ZERO);
                swarm.leeches(2, LINE);
                all_complete(&mut swarm, 90, 0.1).map(|_| ())
            },
        ),
    ]
}
