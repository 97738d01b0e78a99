//! Web seeds in the laboratory: they give what they have, and bad ones keep nobody from ending (reliability.md D5).
//!
//! The invariants of `reliability.md`, section 2, are checked after every happening of every run here.

use shoal_machine::Time;
use shoal_sim::Access;
use shoal_sim::swarm::{Kind, PeerSetup, Report, Scenario, WebSeedKind, WebSeedSetup};
use shoal_swarm::WebSeedOutcome;
use std::time::Duration;

const MIB: u64 = 1 << 20;

/// A home line: 1 MB/s each way, 20 ms to the middle of the network.
const LINE: Access = Access::symmetric(1_000_000, Duration::from_millis(20));

fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

/// A swarm with a tracker around `mib` MiB in pieces of 64 KiB.
fn scenario(seed: u64, kind: Kind, mib: u64) -> Scenario {
    let mut scenario = Scenario::new(seed, kind, mib * MIB, 64 << 10);
    scenario.tracker();
    scenario
}

fn completes(scenario: &mut Scenario, limit: Duration) -> Report {
    let report = scenario.run(limit).unwrap_or_else(|violation| panic!("{violation}"));
    assert!(report.is_complete(), "{report}");
    report
}

fn web_seed(kind: WebSeedKind, rate: u64) -> WebSeedSetup {
    WebSeedSetup { kind, rate, delay: Duration::from_millis(50) }
}

fn with(web_seeds: Vec<WebSeedSetup>) -> PeerSetup {
    PeerSetup { web_seeds, ..PeerSetup::default() }
}

#[test]
fn alone_they_give_everything_at_nearly_their_rate() {
    for kind in [Kind::V1, Kind::V2, Kind::Hybrid] {
        let mut swarm = scenario(30, kind, 32);
        let leech = swarm.peer(with(vec![web_seed(WebSeedKind::Honest, 500_000); 2]), LINE, Time::ZERO);
        let report = completes(&mut swarm, minutes(2));
        // Four runs of each at a time.
        let ideal_s = (32 * MIB) as f64 / (2.0 * 4.0 * 500_000.0);
        let took_s = report.finished_at().unwrap().as_secs_f64();
        assert!(took_s < ideal_s * 1.5 + 2.0, "{kind:?}: {took_s} s of {ideal_s} s; {report}");
        assert!(report.waste() < 0.01, "{report}");
        let fetches = report.record(leech).fetches;
        assert!(fetches < 300, "{fetches} requests");
    }
}

#[test]
fn bad_ones_are_told_with_their_reason_and_keep_no_download_from_ending() {
    for seed in 0..20 {
        for kind in [
            WebSeedKind::Lying,
            WebSeedKind::Stalling { after: 0 },
            WebSeedKind::Stalling { after: 21 },
            WebSeedKind::IgnoringRanges,
            WebSeedKind::Breaking { after: 3 },
        ] {
            let mut swarm = scenario(100 + seed, Kind::V1, 8);
            swarm.seed(LINE);
            let leech = swarm.peer(with(vec![web_seed(kind, 2_000_000)]), LINE, Time::ZERO);
            let report = completes(&mut swarm, minutes(2));
            let took_s = report.finished_at().unwrap().as_secs_f64();
            assert!(took_s < 8.0 * 1.25 + 8.0, "{kind:?}: {took_s} s; {report}");
            let record = report.record(leech);
            assert!(record.banned.is_empty(), "{kind:?}: a peer is banned; {report}");
            let outcomes: Vec<_> = record.web_seed_troubles.iter().map(|(_, outcome, _)| *outcome).collect();
            match kind {
                WebSeedKind::Lying => {
                    assert_eq!(outcomes, [WebSeedOutcome::Banned]);
                    assert!(record.web_seed_bytes <= 4 * (64 << 10), "{} bytes of lies", record.web_seed_bytes);
                }
                WebSeedKind::IgnoringRanges => assert_eq!(outcomes, [WebSeedOutcome::GivenUp]),
                WebSeedKind::Breaking { .. } => {
                    assert!(outcomes.iter().all(|outcome| matches!(outcome, WebSeedOutcome::Waits(_))), "{outcomes:?}");
                }
                _ => {}
            }
        }
    }
}

#[test]
fn one_that_stalls_alone_is_asked_again_after_its_wait() {
    let mut swarm = scenario(50, Kind::V1, 2);
    let leech = swarm.peer(with(vec![web_seed(WebSeedKind::Stalling { after: 0 }, 1_000_000)]), LINE, Time::ZERO);
    let report = swarm.run(minutes(20)).unwrap();
    let record = report.record(leech);
    assert!(record.web_seed_troubles[0].2.contains("30 s"), "{:?}", record.web_seed_troubles);
    assert!((5..20).contains(&record.fetches), "{} fetches", record.fetches);
}

#[test]
fn with_peers_they_share_the_work_of_a_limited_download() {
    let mut swarm = scenario(60, Kind::Hybrid, 8);
    swarm.seed(LINE);
    let setup = PeerSetup { down: Some(400_000), ..with(vec![web_seed(WebSeedKind::Honest, 5_000_000)]) };
    swarm.peer(setup, LINE, Time::ZERO);
    let report = completes(&mut swarm, minutes(2));
    let took_s = report.finished_at().unwrap().as_secs_f64();
    let ideal_s = (8 * MIB) as f64 / 400_000.0;
    assert!(took_s > ideal_s * 0.95 && took_s < ideal_s * 1.2 + 1.0, "{took_s} s of {ideal_s} s; {report}");
}

#[test]
fn alone_they_keep_to_a_limit() {
    let mut swarm = scenario(61, Kind::Hybrid, 8);
    let setup = PeerSetup { down: Some(400_000), ..with(vec![web_seed(WebSeedKind::Honest, 5_000_000); 2]) };
    let leech = swarm.peer(setup, LINE, Time::ZERO);
    let report = completes(&mut swarm, minutes(2));
    let took_s = report.finished_at().unwrap().as_secs_f64();
    let ideal_s = (8 * MIB) as f64 / 400_000.0;
    assert!(took_s > ideal_s * 0.95 && took_s < ideal_s * 1.2 + 1.0, "{took_s} s of {ideal_s} s; {report}");
    assert!(report.record(leech).fetches < 120, "{} requests", report.record(leech).fetches);
}
