//! Disks that are slow, full, failing and forgetful, and processes that are killed.

use super::{LINE, Named, all_complete, at, must, seconds, small};
use crate::NodeId;
use crate::swarm::{Act, DiskSetup, Kind, PeerSetup, Report, Scenario};
use shoal_machine::Time;
use std::time::Duration;

/// A seed and a leech with something that befalls the leech.
fn one(befalls: impl Fn(&mut Scenario, NodeId), within_s: u64, waste: f64) -> Result<(Report, NodeId), String> {
    let mut swarm = small(Kind::V1);
    swarm.seed(LINE);
    let leech = swarm.leeches(1, LINE)[0];
    befalls(&mut swarm, leech);
    Ok((all_complete(&mut swarm, within_s, waste)?, leech))
}

fn done_after(report: &Report, leech: NodeId, least: Time) -> Result<(), String> {
    must(report.record(leech).complete_at >= Some(least), || format!("complete before {least:?}: {report}"))
}

pub(super) fn all() -> Vec<Named> {
    vec![
        Named::new(
            "disk-full-at-once",
            "a disk full from the first piece to 30 s: done by 50 s, one notice, nothing fetched twice",
            || {
                let full = |swarm: &mut Scenario, leech| {
                    swarm.befall(leech, at(0), Act::RefuseWrites(true));
                    swarm.befall(leech, at(30), Act::RefuseWrites(false));
                };
                let (report, leech) = one(full, 50, 0.01)?;
                done_after(&report, leech, at(30))?;
                must(report.record(leech).disk_troubles == 1, || {
                    format!("told {} times", report.record(leech).disk_troubles)
                })
            },
        ),
        Named::new(
            "disk-full-twice",
            "a disk full twice in the middle: told twice, done 20 s after room appears",
            || {
                let full = |swarm: &mut Scenario, leech| {
                    for (from, to) in [(1, 10), (11, 25)] {
                        swarm.befall(leech, at(from), Act::RefuseWrites(true));
                        swarm.befall(leech, at(to), Act::RefuseWrites(false));
                    }
                };
                let (report, leech) = one(full, 45, 0.01)?;
                must(report.record(leech).disk_troubles <= 2, || {
                    format!("told {} times", report.record(leech).disk_troubles)
                })
            },
        ),
        Named::new(
            "disk-full-then-killed",
            "killed while its disk is full: what was in memory is fetched again, done by 60 s",
            || {
                let full = |swarm: &mut Scenario, leech| {
                    swarm.befall(leech, at(1), Act::RefuseWrites(true));
                    swarm.restart(leech, at(5), seconds(1));
                    swarm.befall(leech, at(20), Act::RefuseWrites(false));
                };
                one(full, 60, 1.0).map(|_| ())
            },
        ),
        Named::new("disk-slow", "500 ms a piece: done in 60 s, and no block is fetched twice", || {
            one(|swarm, leech| swarm.befall(leech, at(0), Act::SlowWrites(Duration::from_millis(500))), 60, 0.01)
                .map(|_| ())
        }),
        Named::new("disk-very-slow", "10 s a piece: memory stays bounded (I5), done in 5 min", || {
            one(|swarm, leech| swarm.befall(leech, at(0), Act::SlowWrites(seconds(10))), 300, 0.01).map(|_| ())
        }),
        Named::new(
            "seed-cannot-read",
            "a seed whose reads fail for 10 s: it rejects, nobody is banned, done by 60 s",
            || {
                let mut swarm = small(Kind::V1);
                let seed = swarm.seed(LINE);
                let leech = swarm.leeches(1, LINE)[0];
                swarm.befall(seed, at(1), Act::FailReads(true));
                swarm.befall(seed, at(11), Act::FailReads(false));
                let report = all_complete(&mut swarm, 60, 0.01)?;
                done_after(&report, leech, at(11))
            },
        ),
        Named::new(
            "cannot-sync",
            "a disk that cannot sync from 1 s to 20 s: nothing new is begun meanwhile, done after",
            || {
                let fails = |swarm: &mut Scenario, leech| {
                    swarm.befall(leech, at(1), Act::FailSyncs(true));
                    swarm.befall(leech, at(20), Act::FailSyncs(false));
                };
                let (report, leech) = one(fails, 60, 0.01)?;
                done_after(&report, leech, at(20))
            },
        ),
        Named::new(
            "seed-rots",
            "a piece of one of two seeds is damaged: it notices, fetches it anew, and no leech gets a wrong byte",
            || {
                let mut swarm = small(Kind::V2);
                let rotten = swarm.seed(LINE);
                swarm.seed(LINE);
                swarm.leeches(2, LINE);
                (0..32).for_each(|piece| swarm.befall(rotten, at(0), Act::Rot(piece)));
                all_complete(&mut swarm, 120, 0.05).map(|_| ())
            },
        ),
        Named::new("leech-loses-pieces", "a leech loses three pieces that it had: it fetches them again", || {
            let loses = |swarm: &mut Scenario, leech| {
                (0..32).for_each(|piece| swarm.befall(leech, Time::from_millis(1_500), Act::Lose(piece)));
            };
            let (report, leech) = one(loses, 60, 1.0)?;
            let came = report.record(leech).downloaded_bytes;
            must(came > report.length, || format!("{came} bytes came, nothing was lost"))
        }),
        Named::new(
            "complete-loses-a-piece",
            "a complete peer loses a piece: it becomes a leech and completes again",
            || {
                let mut swarm = small(Kind::Hybrid);
                swarm.seed(LINE);
                let leech = swarm.leeches(1, LINE)[0];
                all_complete(&mut swarm, 60, 0.01)?;
                let now = swarm.simulation().now();
                swarm.befall(leech, now, Act::Lose(7));
                swarm.run_for(Duration::from_millis(1)).map_err(|violation| violation.to_string())?;
                must(!swarm.report().is_complete(), || "it still says that it is complete".to_owned())?;
                all_complete(&mut swarm, 200, 0.1).map(|_| ())
            },
        ),
        Named::new(
            "killed-three-times",
            "a leech killed three times goes on with what its disk has: less than a third fetched again",
            || {
                let kills = |swarm: &mut Scenario, leech| {
                    (1..4).for_each(|n| swarm.restart(leech, at(2 * n), Duration::from_millis(100)))
                };
                one(kills, 90, 0.34).map(|_| ())
            },
        ),
        Named::new("power-cut", "a power cut loses what was not synced, and nothing else: done in 90 s", || {
            one(|swarm, leech| swarm.power_cut(leech, at(2), seconds(1)), 90, 0.8).map(|_| ())
        }),
        Named::new(
            "power-cut-unsynced",
            "a power cut while nothing can be synced: half of all is lost, it is fetched again",
            || {
                let cut = |swarm: &mut Scenario, leech| {
                    swarm.befall(leech, Time::from_millis(100), Act::FailSyncs(true));
                    swarm.power_cut(leech, at(4), seconds(1));
                    swarm.befall(leech, at(6), Act::FailSyncs(false));
                };
                one(cut, 120, 1.2).map(|_| ())
            },
        ),
        Named::new("seed-killed", "the only seed is killed for 20 s: the leech waits and completes after", || {
            let mut swarm = small(Kind::V1);
            let seed = swarm.seed(LINE);
            let leech = swarm.leeches(1, LINE)[0];
            swarm.restart(seed, Time::from_millis(1_000), seconds(20));
            let report = all_complete(&mut swarm, 150, 0.4)?;
            done_after(&report, leech, at(21))
        }),
        Named::new(
            "all-killed-at-once",
            "a seed and three leeches are killed in one moment and come back: all complete",
            || {
                let mut swarm = small(Kind::V2);
                let seed = swarm.seed(LINE);
                let peers = swarm.leeches(3, LINE);
                peers.into_iter().chain([seed]).for_each(|peer| swarm.restart(peer, at(2), seconds(3)));
                all_complete(&mut swarm, 240, 0.6).map(|_| ())
            },
        ),
        Named::new(
            "slow-disk-of-one-of-three",
            "one of three leeches writes 2 s a piece: the other two do not wait for it",
            || {
                let mut swarm = small(Kind::V1);
                swarm.seed(LINE);
                let quick = swarm.leeches(2, LINE);
                let disk = DiskSetup { write: seconds(2), ..DiskSetup::default() };
                swarm.peer(PeerSetup { disk, ..PeerSetup::default() }, LINE, Time::ZERO);
                let report = all_complete(&mut swarm, 120, 0.05)?;
                let late = quick.into_iter().find(|&peer| report.record(peer).complete_at > Some(at(30)));
                must(late.is_none(), || format!("{late:?} waited: {report}"))
            },
        ),
    ]
}
