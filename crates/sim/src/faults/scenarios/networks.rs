//! Lines and paths that are slow, lossy, cut and parted; peers that come, go, and hold places.

use super::{Claim, LINE, Named, all_complete, at, completes, magnet, must, seconds, small};
use crate::swarm::{Kind, PeerSetup, Scenario};
use crate::{Access, NodeId, Path};
use shoal_machine::Time;
use std::time::Duration;

fn over(path: Path, leeches: usize, within_s: u64, waste: f64) -> Result<(), String> {
    let mut swarm = small(Kind::V1);
    swarm.default_path(path);
    swarm.seed(LINE);
    swarm.leeches(leeches, LINE);
    all_complete(&mut swarm, within_s, waste).map(|_| ())
}

/// Which halves of the pieces two peers start with.
fn half(swarm: &Scenario, odd: bool) -> PeerSetup {
    let pieces = (0..swarm.content().pieces()).map(|piece| (piece % 2 == 1) == odd).collect();
    PeerSetup { pieces, ..PeerSetup::default() }
}

fn plain() -> PeerSetup {
    PeerSetup { plain: true, ..PeerSetup::default() }
}

pub(super) fn all() -> Vec<Named> {
    vec![
        Named::new("path-loss", "1 % of packets lost on every path: done in 60 s, a tenth wasted at most", || {
            over(Path { loss: 0.01, ..Path::CLEAR }, 2, 60, 0.1)
        }),
        Named::new("path-jitter", "100 ms of jitter: no peer is taken for one that snubs, waste under 2 %", || {
            over(Path { jitter: Duration::from_millis(100), ..Path::CLEAR }, 2, 30, 0.02)
        }),
        Named::new("path-far", "a round trip of two seconds: the pipeline fills it, done in 60 s", || {
            over(Path { extra_latency: Duration::from_secs(1), ..Path::CLEAR }, 1, 60, 0.05)
        }),
        Named::new("path-narrow", "20 kB/s between any two: done in 130 s, 1.2 of the rate", || {
            over(Path { bytes_per_s: Some(20_000), ..Path::CLEAR }, 1, 130, 0.01)
        }),
        Named::new("path-dying", "connections live two seconds on average: made again, done in 5 min", || {
            over(Path { mean_lifetime: Some(seconds(2)), ..Path::CLEAR }, 2, 300, 0.5)
        }),
        Named::new(
            "path-damaging-one-pair",
            "the path between two leeches damages blocks: no wrong piece, both complete from the seed",
            || {
                let mut swarm = small(Kind::V1);
                swarm.seed(LINE);
                let leeches = swarm.leeches(2, LINE);
                swarm.path(leeches[0], leeches[1], Path { corrupt: 0.2, ..Path::CLEAR });
                completes(&mut swarm, Claim { within_s: 120, waste: 0.5, may_be_banned: &leeches }).map(|_| ())
            },
        ),
        Named::new("parted", "seed and leeches cannot reach each other from 1 s to 40 s: done 90 s after", || {
            let mut swarm = small(Kind::V1);
            let seed = swarm.seed(LINE);
            let leeches = swarm.leeches(2, LINE);
            swarm.part([seed], at(1), at(40));
            let report = all_complete(&mut swarm, 130, 0.3)?;
            must(report.record(leeches[0]).complete_at > Some(at(40)), || format!("while they were parted: {report}"))
        }),
        Named::new(
            "parted-halves",
            "two halves, a seed on each side, cannot reach each other: neither waits for the other",
            || {
                let mut swarm = small(Kind::V1);
                let one: Vec<NodeId> = [swarm.seed(LINE)].into_iter().chain(swarm.leeches(2, LINE)).collect();
                swarm.seed(LINE);
                swarm.leeches(2, LINE);
                swarm.part(one, at(1), at(600));
                let report = all_complete(&mut swarm, 300, 0.3)?;
                must(report.finished_at() < Some(at(300)), || format!("{report}"))
            },
        ),
        Named::new(
            "cut-every-second",
            "every connection between seed and leech is cut each second, ten times: made again",
            || {
                let mut swarm = small(Kind::V1);
                let seed = swarm.seed(LINE);
                let leech = swarm.leeches(1, LINE)[0];
                (1..11).for_each(|second| swarm.cut(seed, leech, at(second)));
                all_complete(&mut swarm, 150, 0.6).map(|_| ())
            },
        ),
        Named::new(
            "line-asymmetric",
            "leeches that receive ten times what they can send: done by the seed's line",
            || {
                let mut swarm = small(Kind::V1);
                swarm.seed(LINE);
                let line = Access { up_bytes_per_s: Some(100_000), ..LINE };
                swarm.leeches(3, line);
                all_complete(&mut swarm, 45, 0.1).map(|_| ())
            },
        ),
        Named::new(
            "line-of-the-seed-slow",
            "a seed of 50 kB/s and five leeches: less than two copies leave it",
            || {
                let mut swarm = small(Kind::V1);
                let seed = swarm.seed(Access::symmetric(50_000, Duration::from_millis(20)));
                swarm.leeches(5, LINE);
                let report = all_complete(&mut swarm, 150, 0.1)?;
                let copies = report.record(seed).uploaded_bytes as f64 / report.length as f64;
                must(copies < 2.0, || format!("{copies} copies left the seed: {report}"))
            },
        ),
        Named::new(
            "seed-leaves-after-a-copy",
            "the seed leaves for good when the leeches together have everything: they finish alone",
            || {
                let mut swarm = small(Kind::V1);
                let setup = PeerSetup { seed: true, ..PeerSetup::default() };
                let seed = swarm.peer(setup, LINE, Time::ZERO);
                swarm.leeches(4, LINE);
                let length = 2 << 20;
                let end = Time::from_secs(60);
                let gone = |simulation: &crate::swarm::SwarmSimulation| {
                    simulation.node(seed).site().is_some_and(|site| site.record().uploaded_bytes < length * 13 / 10)
                };
                swarm.run_while(end, gone).map_err(|violation| violation.to_string())?;
                let now = swarm.simulation().now();
                swarm.leave(seed, now);
                all_complete(&mut swarm, 120, 0.2).map(|_| ())
            },
        ),
        Named::new(
            "leech-leaves",
            "one of four leeches leaves in the middle: the others complete, nothing stays asked of it",
            || {
                let mut swarm = small(Kind::V1);
                swarm.seed(LINE);
                let leeches = swarm.leeches(4, LINE);
                swarm.leave(leeches[1], at(2));
                all_complete(&mut swarm, 60, 0.1).map(|_| ())
            },
        ),
        Named::new(
            "late-joiner",
            "a leech that comes when all others are complete is served by them: done in 10 s",
            || {
                let mut swarm = small(Kind::V1);
                swarm.seed(LINE);
                swarm.leeches(3, LINE);
                let late = swarm.peer(PeerSetup::default(), LINE, at(60));
                let report = all_complete(&mut swarm, 120, 0.1)?;
                must(report.record(late).complete_at < Some(at(70)), || format!("{report}"))
            },
        ),
        Named::new(
            "places-taken",
            "leeches that hold two connections each: places held by those with nothing are given on",
            || {
                let mut swarm = small(Kind::V1);
                for _ in 0..5 {
                    swarm.peer(PeerSetup { neighbours: Some(2), ..PeerSetup::default() }, LINE, Time::ZERO);
                }
                swarm.run_for(seconds(100)).map_err(|violation| violation.to_string())?;
                swarm.seed(LINE);
                all_complete(&mut swarm, 600, 0.2).map(|_| ())
            },
        ),
        Named::new("few-connections", "a process that holds two connections in all: it completes", || {
            let mut swarm = small(Kind::V1);
            swarm.seed(LINE);
            swarm.leeches(3, LINE);
            swarm.peer(PeerSetup { max_connections: 2, ..PeerSetup::default() }, LINE, Time::ZERO);
            all_complete(&mut swarm, 300, 0.1).map(|_| ())
        }),
        Named::new(
            "free-rider",
            "one of three leeches uploads nothing: the other two complete before it could hinder them",
            || {
                let mut swarm = small(Kind::V1);
                swarm.seed(LINE);
                let givers = swarm.leeches(2, LINE);
                swarm.peer(PeerSetup { free_rider: true, ..PeerSetup::default() }, LINE, Time::ZERO);
                let report = all_complete(&mut swarm, 60, 0.1)?;
                let late = givers.into_iter().find(|&giver| report.record(giver).complete_at > Some(at(20)));
                must(late.is_none(), || format!("{late:?} is late: {report}"))
            },
        ),
        Named::new(
            "old-clients",
            "nobody speaks the fast extension or the extension protocol: two leeches complete in 30 s",
            || {
                let mut swarm = small(Kind::V1);
                swarm.peer(PeerSetup { seed: true, ..plain() }, LINE, Time::ZERO);
                (0..2).for_each(|_| {
                    swarm.peer(plain(), LINE, Time::ZERO);
                });
                all_complete(&mut swarm, 30, 0.1).map(|_| ())
            },
        ),
        Named::new(
            "old-and-new-clients",
            "an old leech among new ones: neither side is taken for one that breaks the protocol",
            || {
                let mut swarm = small(Kind::V1);
                swarm.seed(LINE);
                swarm.leeches(2, LINE);
                swarm.peer(plain(), LINE, Time::ZERO);
                all_complete(&mut swarm, 30, 0.1).map(|_| ())
            },
        ),
        Named::new(
            "two-halves",
            "no seed; two leeches with the even and the odd pieces: each completes from the other",
            || {
                let mut swarm = small(Kind::V1);
                for odd in [false, true] {
                    let setup = half(&swarm, odd);
                    swarm.peer(setup, LINE, Time::ZERO);
                }
                all_complete(&mut swarm, 20, 0.0).map(|_| ())
            },
        ),
        Named::new(
            "partial-seeds",
            "two that only serve, each half of the pieces: a leech completes from both, they fetch nothing",
            || {
                let mut swarm = small(Kind::V1);
                let serving: Vec<NodeId> = [false, true]
                    .into_iter()
                    .map(|odd| {
                        let setup = PeerSetup { serve_only: true, ..half(&swarm, odd) };
                        swarm.peer(setup, LINE, Time::ZERO)
                    })
                    .collect();
                let leech = swarm.leeches(1, LINE)[0];
                let report = swarm.run_for(seconds(30)).map_err(|violation| violation.to_string())?;
                must(report.record(leech).complete_at.is_some(), || format!("{report}"))?;
                let fetched = serving.into_iter().find(|&peer| report.record(peer).downloaded_bytes > 0);
                must(fetched.is_none(), || format!("{fetched:?} fetched: {report}"))
            },
        ),
        Named::new(
            "liar-among-seeds",
            "a seed that damages every tenth block, an honest one: banned by all, no honest one is",
            || {
                let mut swarm = small(Kind::V2);
                swarm.seed(LINE);
                let liar = swarm.peer(PeerSetup { seed: true, lies: 0.1, ..PeerSetup::default() }, LINE, Time::ZERO);
                swarm.leeches(3, LINE);
                let claim = Claim { within_s: 120, waste: 0.25, may_be_banned: &[liar] };
                let report = completes(&mut swarm, claim)?;
                must(report.banned().contains(&liar), || format!("it is not banned: {report}"))
            },
        ),
        Named::new(
            "limits",
            "a leech that takes 100 kB/s at most, a seed that gives 200: it takes 18 s at least and 30 at most",
            || {
                let mut swarm = small(Kind::V1);
                swarm.peer(PeerSetup { seed: true, up: Some(200_000), ..PeerSetup::default() }, LINE, Time::ZERO);
                let leech = swarm.peer(PeerSetup { down: Some(100_000), ..PeerSetup::default() }, LINE, Time::ZERO);
                let report = all_complete(&mut swarm, 30, 0.02)?;
                must(report.record(leech).complete_at > Some(at(18)), || format!("over its limit: {report}"))
            },
        ),
        Named::new(
            "links-while-the-seed-is-away",
            "two with a link only, the seed comes a minute later: metadata then, done by 240 s",
            || {
                let mut swarm = small(Kind::Hybrid);
                swarm.peer(magnet(), LINE, Time::ZERO);
                swarm.peer(magnet(), LINE, Time::ZERO);
                swarm.peer(PeerSetup { seed: true, ..PeerSetup::default() }, LINE, at(60));
                all_complete(&mut swarm, 240, 0.1).map(|_| ())
            },
        ),
    ]
}
