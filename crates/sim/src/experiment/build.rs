//! From parameters to a swarm: who stands where, comes when, and what goes wrong.

use super::bound::{Bound, Member};
use super::fault::Fault;
use super::params::{Departure, SwarmParams};
use crate::swarm::{DiskSetup, Misbehaviour, PeerSetup, Scenario};
use crate::{Access, NodeId, Path};
use shoal_machine::{Rng, Time};
use std::time::Duration;

/// Happenings of a peer between two checks of its sums and the machine's own invariants: they cost a step a piece. Chosen: a
/// few percent of the time. What each effect is checked for is checked always.
const CHECK_EVERY: u32 = 5_000;
/// One peer of so many has a referee, who follows all that it says and hears: that cost a fifth of the time. Chosen: a fault of
/// the machine is everybody's; `shoal sim faults` watches each.
const REFEREE_EVERY: u32 = 8;
/// How long a slow disk takes for a piece, how long a full one is full, and a killed process is away. Chosen.
const SLOW_WRITE: Duration = Duration::from_secs(2);
const FULL_FOR: Duration = Duration::from_secs(60);
const AWAY_FOR: Duration = Duration::from_secs(10);
/// Kills of one leech, at most. Chosen: the queue holds them all.
const MAX_KILLS: u32 = 200;
/// How often a liar lies. Chosen: a piece of 16 blocks from it alone is bad almost surely.
const LIES: f64 = 0.2;

/// A leech and its time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leech {
    pub(super) node: NodeId,
    pub(super) arrives: Time,
    pub(super) free_rider: bool,
}

/// A swarm that is ready to run.
pub(super) struct Built {
    pub(super) scenario: Scenario,
    pub(super) bound: Bound,
    pub(super) seeds: Vec<NodeId>,
    pub(super) leeches: Vec<Leech>,
}

/// What is drawn before anybody is built, so that the bound is known first.
struct Plan {
    arrivals: Vec<Time>,
    free_riders: Vec<bool>,
    rng: Rng,
}

impl Plan {
    fn new(params: &SwarmParams, seed: u64) -> Plan {
        let rng = Rng::new(seed).fork("experiment");
        let arrivals = params.arrivals.times(params.peers, &mut rng.fork("arrivals"));
        let free_riders = drawn(params.free_riders, params.peers, &mut rng.fork("free-riders"));
        Plan { arrivals, free_riders, rng }
    }

    fn bound(&self, params: &SwarmParams) -> Bound {
        let seed = Member { arrives: Time::ZERO, up: params.seed_up, down: None };
        let leech = |(&arrives, &free_rider): (&Time, &bool)| Member {
            arrives,
            up: if free_rider { Some(0) } else { params.up },
            down: params.down,
        };
        let leeches: Vec<Member> = self.arrivals.iter().zip(&self.free_riders).map(leech).collect();
        Bound::new(params.payload, params.piece_length, &vec![seed; params.seeds as usize], &leeches)
    }
}

/// Which of `count` a share of them is: just so many, drawn at random.
fn drawn(share: f64, count: u32, rng: &mut Rng) -> Vec<bool> {
    let chosen = (share * f64::from(count)).round() as usize;
    let mut all: Vec<bool> = (0..count as usize).map(|n| n < chosen).collect();
    rng.shuffle(&mut all);
    all
}

/// Builds the swarm.
pub(super) fn build(params: &SwarmParams, seed: u64) -> Built {
    let plan = Plan::new(params, seed);
    let bound = plan.bound(params);
    let mut scenario = Scenario::new(seed, params.kind, params.payload, params.piece_length);
    scenario.default_path(path(params));
    scenario.tracker();
    let mut latencies = plan.rng.fork("latency");
    let mut line = |up, down| {
        let (least, most) = params.latency;
        let latency = (least + (most - least).mul_f64(latencies.unit())) / 2;
        Access { up_bytes_per_s: up, down_bytes_per_s: down, latency }
    };
    let setup = PeerSetup {
        check_every: CHECK_EVERY,
        neighbours: Some(params.neighbours),
        // Never what limits: the swarm's own bound does.
        max_connections: 2 * params.neighbours + 20,
        ..PeerSetup::default()
    };
    let seeds = (0..params.seeds)
        .map(|n| {
            let setup = PeerSetup { seed: true, has_referee: n % REFEREE_EVERY == 0, ..setup.clone() };
            scenario.peer(setup, line(params.seed_up, None), Time::ZERO)
        })
        .collect();
    let disks = disks(params, &bound, &plan.rng);
    let mut leeches = Vec::with_capacity(params.peers as usize);
    for (n, (&arrives, &free_rider)) in plan.arrivals.iter().zip(&plan.free_riders).enumerate() {
        let leaves_after = match params.leave {
            Departure::Complete(after) => Some(after),
            Departure::Never | Departure::After(_) => None,
        };
        let has_referee = (n as u32).is_multiple_of(REFEREE_EVERY);
        let setup = PeerSetup { free_rider, leaves_after, has_referee, disk: disks[n].clone(), ..setup.clone() };
        let node = scenario.peer(setup, line(params.up, params.down), arrives);
        if let Departure::After(time) = params.leave {
            scenario.depart(node, arrives + time);
        }
        leeches.push(Leech { node, arrives, free_rider });
    }
    add_rogues(params, &setup, &mut scenario, &mut line);
    add_outages(params, &bound, &leeches, &mut scenario, &plan.rng);
    Built { scenario, bound, seeds, leeches }
}

/// What lies between any two.
fn path(params: &SwarmParams) -> Path {
    let mut path = Path { jitter: params.jitter, loss: params.loss, ..Path::CLEAR };
    for fault in &params.faults {
        match *fault {
            Fault::Resets(mean) => path.mean_lifetime = Some(mean),
            Fault::Corrupt(chance) => path.corrupt = chance,
            _ => {}
        }
    }
    path
}

/// When what happens once happens.
fn middle(bound: &Bound) -> Time {
    Time::ZERO + Duration::from_secs_f64((bound.seconds() / 4.0).clamp(1.0, 1e9))
}

fn disks(params: &SwarmParams, bound: &Bound, rng: &Rng) -> Vec<DiskSetup> {
    let mut disks = vec![DiskSetup::default(); params.peers as usize];
    for fault in &params.faults {
        let (share, label) = match *fault {
            Fault::SlowDisk(share) => (share, "slow-disk"),
            Fault::FullDisk(share) => (share, "full-disk"),
            _ => continue,
        };
        let chosen = drawn(share, params.peers, &mut rng.fork(label));
        for (disk, _) in disks.iter_mut().zip(chosen).filter(|(_, chosen)| *chosen) {
            match fault {
                Fault::SlowDisk(_) => disk.write = SLOW_WRITE,
                _ => disk.full = Some((middle(bound), middle(bound) + FULL_FOR)),
            }
        }
    }
    disks
}

/// Those who lie, flood, stay mute or send garbage, beside the leeches.
fn add_rogues(
    params: &SwarmParams,
    setup: &PeerSetup,
    scenario: &mut Scenario,
    line: &mut impl FnMut(Option<u64>, Option<u64>) -> Access,
) {
    let count = |share: f64| (share * f64::from(params.peers)).round() as u32;
    for fault in &params.faults {
        let (share, misbehaviours): (f64, &[Misbehaviour]) = match *fault {
            Fault::Liars(share) => {
                for _ in 0..count(share) {
                    let liar = PeerSetup { seed: true, lies: LIES, ..setup.clone() };
                    scenario.peer(liar, line(params.up, params.down), Time::ZERO);
                }
                continue;
            }
            Fault::Mute(share) => (share, &[Misbehaviour::Mute]),
            Fault::Flood(share) => (share, &[Misbehaviour::FloodRequests, Misbehaviour::FloodBlocks]),
            Fault::Garbage(share) => (share, &[Misbehaviour::Garbage, Misbehaviour::Absurd]),
            _ => continue,
        };
        for n in 0..count(share) as usize {
            scenario.rogue(misbehaviours[n % misbehaviours.len()], line(params.up, params.down));
        }
    }
}

/// Kills and partitions.
fn add_outages(params: &SwarmParams, bound: &Bound, leeches: &[Leech], scenario: &mut Scenario, rng: &Rng) {
    for fault in &params.faults {
        match *fault {
            Fault::Churn(mean) => {
                let mut rng = rng.fork("churn");
                for leech in leeches {
                    let mut at = leech.arrives;
                    for _ in 0..MAX_KILLS {
                        at = at + mean.mul_f64(-(1.0 - rng.unit()).ln());
                        scenario.restart(leech.node, at, AWAY_FOR);
                        at = at + AWAY_FOR;
                    }
                }
            }
            Fault::Partition(time) => {
                let half = drawn(0.5, params.peers, &mut rng.fork("partition"));
                let side = leeches.iter().zip(half).filter(|(_, chosen)| *chosen).map(|(leech, _)| leech.node);
                scenario.part(side.collect::<Vec<_>>(), middle(bound), middle(bound) + time);
            }
            _ => {}
        }
    }
}
