//! How well a swarm shares what one source has: the order of pieces, super-seeding, a source that leaves, free-riders.
//!
//! Everything is a ratio within one run or between runs that differ in one thing and share their seed. The forms here are small
//! enough for every test run; the large ones are ignored and stand with their figures in `docs/measurements.md`.

use shoal_machine::Time;
use shoal_pieces::PickMode;
use shoal_sim::swarm::{Kind, PeerSetup, Scenario};
use shoal_sim::{Access, NodeId};
use std::time::Duration;

/// Leeches of one source, all with the same line: `up` each way of sending, as much as comes of receiving.
#[derive(Clone, Copy)]
struct Sharing {
    leeches: usize,
    pieces: u64,
    piece_length: u32,
    neighbours: usize,
    order: PickMode,
    super_seed: bool,
}

/// Bytes per second that everybody sends at most.
const UP: u64 = 100_000;
const LINE: Access = Access { up_bytes_per_s: Some(UP), down_bytes_per_s: None, latency: Duration::from_millis(20) };

/// What came of it.
#[derive(Debug)]
struct Outcome {
    /// When the last leech was complete, over the bound; infinite if one never was.
    finish: f64,
    /// Copies that the source had sent when the first leech was complete.
    copies_at_first: f64,
}

impl Sharing {
    fn small(order: PickMode) -> Sharing {
        Sharing { leeches: 40, pieces: 100, piece_length: 128 << 10, neighbours: 20, order, super_seed: true }
    }

    /// The form: a bound of 307 piece times.
    fn large(order: PickMode) -> Sharing {
        Sharing { leeches: 150, pieces: 300, piece_length: 256 << 10, neighbours: 40, order, super_seed: true }
    }

    fn length(&self) -> u64 {
        self.pieces * u64::from(self.piece_length)
    }

    /// Everybody sends one piece at a time: the source all but the last, then that doubles until everybody has it.
    fn bound(&self) -> Duration {
        let rounds = self.pieces - 1 + u64::from((self.leeches as u32 + 1).next_power_of_two().ilog2());
        Duration::from_secs_f64(rounds as f64 * f64::from(self.piece_length) / UP as f64)
    }

    fn build(&self, seed: u64) -> (Scenario, NodeId, Vec<NodeId>) {
        let mut swarm = Scenario::new(seed, Kind::V1, self.length(), self.piece_length);
        swarm.tracker();
        let setup = PeerSetup {
            order: self.order,
            super_seed: self.super_seed,
            neighbours: Some(self.neighbours),
            check_every: 0,
            ..PeerSetup::default()
        };
        let source = swarm.peer(PeerSetup { seed: true, ..setup.clone() }, LINE, Time::ZERO);
        let leeches = (0..self.leeches).map(|_| swarm.peer(setup.clone(), LINE, Time::ZERO)).collect();
        (swarm, source, leeches)
    }

    /// Runs until all are complete, or `limit` times the bound.
    fn run(&self, seed: u64, limit: f64) -> Outcome {
        let (mut swarm, source, leeches) = self.build(seed);
        let end = Time::ZERO + self.bound().mul_f64(limit);
        let sent = |swarm: &Scenario| swarm.report().record(source).uploaded_bytes as f64 / self.length() as f64;
        let complete = |swarm: &Scenario| {
            let nodes = leeches.iter().map(|&leech| swarm.simulation().node(leech));
            nodes.filter(|node| node.site().is_some_and(|site| site.is_complete())).count()
        };
        let mut copies_at_first = 0.0;
        while swarm.simulation().now() < end && complete(&swarm) < leeches.len() {
            swarm
                .run_for(Duration::from_secs_f64(f64::from(self.piece_length) / UP as f64))
                .expect("nothing is violated");
            if copies_at_first == 0.0 && complete(&swarm) > 0 {
                copies_at_first = sent(&swarm);
            }
        }
        let finish = swarm.report().finished_at();
        let finish = finish.map_or(f64::INFINITY, |at| at.as_secs_f64() / self.bound().as_secs_f64());
        Outcome { finish, copies_at_first }
    }

    /// Whether everybody gets everything although the source leaves when it has sent so many copies.
    fn survives(&self, seed: u64, copies: f64) -> bool {
        let (mut swarm, source, _) = self.build(seed);
        let enough = (self.length() as f64 * copies) as u64;
        let end = Time::ZERO + self.bound() * 4;
        let sends =
            |node: &shoal_sim::swarm::SwarmNode| node.site().is_some_and(|site| site.record().uploaded_bytes < enough);
        swarm.run_while(end, |simulation| sends(simulation.node(source))).expect("nothing is violated");
        let now = swarm.simulation().now();
        swarm.leave(source, now);
        swarm.run(self.bound() * 2).expect("nothing is violated").is_complete()
    }
}

#[test]
fn rarest_first_is_near_the_bound_random_is_further_and_strict_order_is_far() {
    for seed in [1, 2] {
        let [rarest, random] =
            [PickMode::RarestFirst, PickMode::Random].map(|order| Sharing::small(order).run(seed, 3.0));
        println!("seed {seed}: rarest first {rarest:?}, random {random:?}");
        assert!(rarest.finish <= 1.18, "{rarest:?}");
        let plain = |order| Sharing { super_seed: false, ..Sharing::small(order) }.run(seed, 3.0);
        let [rarest, random] = [PickMode::RarestFirst, PickMode::Random].map(plain);
        println!("seed {seed}, no super-seeding: rarest first {rarest:?}, random {random:?}");
        assert!(rarest.finish <= 1.20, "{rarest:?}");
        assert!(random.finish >= rarest.finish + 0.25, "rarest first {rarest:?}, random {random:?}");
    }
    let strict = Sharing { super_seed: false, ..Sharing::small(PickMode::Sequential) }.run(1, 3.0);
    println!("strict order {strict:?}");
    assert!(strict.finish > 2.0, "{strict:?}");
}

#[test]
#[ignore = "ten minutes; figures in docs/measurements.md"]
fn a_hundred_and_fifty_leeches() {
    for seed in 1..=3 {
        for super_seed in [true, false] {
            let [rarest, random, strict] =
                [PickMode::RarestFirst, PickMode::Random, PickMode::Sequential].map(|order| {
                    let outcome = Sharing { super_seed, ..Sharing::large(order) }.run(seed, 3.1);
                    println!("seed {seed} super-seeding {super_seed} {order:?}: {outcome:?}");
                    outcome.finish
                });
            assert!(rarest <= 1.07, "{rarest}");
            // One who super-seeds chooses for those who pick at random, or in order, too.
            assert!(super_seed || random >= rarest + 0.05 && strict > 3.0, "{random}, {strict}");
        }
    }
}

#[test]
fn a_source_that_leaves_after_a_copy_and_a_tenth_leaves_a_swarm_that_completes() {
    let plain =
        |order| Sharing { leeches: 20, pieces: 200, piece_length: 32 << 10, neighbours: 16, order, super_seed: false };
    let alive = |order| (0..20).filter(|&seed| plain(order).survives(seed, 1.1)).count();
    let (rarest, random) = (alive(PickMode::RarestFirst), alive(PickMode::Random));
    let both = Sharing { super_seed: true, ..plain(PickMode::RarestFirst) };
    let shown = (0..20).filter(|&seed| both.survives(seed, 1.1)).count();
    println!(
        "of 20 swarms complete: {shown} with rarest first and super-seeding, {rarest} without, {random} with random picking"
    );
    assert_eq!(shown, 20);
    assert!(random < 5 && rarest >= random + 12, "{rarest} and {random} of 20");
}

#[test]
fn the_only_source_sends_little_more_than_one_copy_until_the_first_leech_is_complete() {
    let with = Sharing {
        leeches: 30,
        pieces: 600,
        piece_length: 64 << 10,
        neighbours: 40,
        order: PickMode::RarestFirst,
        super_seed: true,
    };
    let (shown, plain) = (with.run(1, 3.0), Sharing { super_seed: false, ..with }.run(1, 3.0));
    println!("with {shown:?}, without {plain:?}");
    assert!(shown.copies_at_first <= 1.04, "{shown:?}");
    assert!(shown.finish <= plain.finish + 0.01, "with {shown:?}, without {plain:?}");
}

/// What a leech of each class gets, in bytes, in a part of the time in which what is missing could be sent. All begin with a random
/// half of the pieces, there is no seed, and everybody has four slots and one. Leech `n` is of class `n % ups.len()`; a class is
/// what a leech of it sends in bytes a second, 0 for one that gives nothing.
fn received_by_class(
    (leeches, pieces, neighbours): (usize, u64, usize),
    ups: &[u64],
    part: std::ops::Range<f64>,
    seed: u64,
) -> Vec<f64> {
    let mut swarm = Scenario::new(seed, Kind::V1, pieces * (128 << 10), 128 << 10);
    swarm.tracker();
    let setup = PeerSetup {
        starts_with: 0.5,
        slots: Some(5),
        neighbours: Some(neighbours),
        check_every: 0,
        ..PeerSetup::default()
    };
    let class = |n: usize| n % ups.len();
    let peers: Vec<NodeId> = (0..leeches)
        .map(|n| {
            let up = ups[class(n)];
            let line = Access { up_bytes_per_s: Some(if up == 0 { UP } else { up }), ..LINE };
            swarm.peer(PeerSetup { free_rider: up == 0, ..setup.clone() }, line, Time::ZERO)
        })
        .collect();
    let givers = ups.iter().filter(|&&up| up > 0).count();
    let mean_up = ups.iter().sum::<u64>() as f64 / givers as f64;
    let whole = Duration::from_secs_f64((pieces * (64 << 10)) as f64 / mean_up);
    let received = |swarm: &Scenario| -> Vec<f64> {
        let report = swarm.report();
        let of = |wanted| (0..leeches).filter(move |&n| class(n) == wanted);
        let bytes = |wanted| of(wanted).map(|n| report.record(peers[n]).downloaded_bytes).sum::<u64>() as f64;
        (0..ups.len()).map(|wanted| bytes(wanted) / of(wanted).count() as f64).collect()
    };
    swarm.run_for(whole.mul_f64(part.start)).expect("nothing is violated");
    let before = received(&swarm);
    swarm.run_for(whole.mul_f64(part.end - part.start)).expect("nothing is violated");
    received(&swarm).into_iter().zip(before).map(|(after, before)| after - before).collect()
}

/// What a free-rider gets over what a contributor gets, where one in five is one, in the middle half of the run.
fn free_riders_share(leeches: usize, pieces: u64, neighbours: usize, seed: u64) -> f64 {
    let received = received_by_class((leeches, pieces, neighbours), &[0, UP, UP, UP, UP], 0.25..0.75, seed);
    received[0] / (received[1..].iter().sum::<f64>() / 4.0)
}

#[test]
fn free_riders_get_little() {
    let share = free_riders_share(50, 1_000, 40, 1);
    println!("a free-rider gets {share:.3} of what a contributor gets");
    assert!(share <= 0.19, "{share}");
}

#[test]
#[ignore = "minutes; figures in docs/measurements.md"]
fn free_riders_among_a_hundred() {
    for neighbours in [40, 99] {
        for seed in 1..=3 {
            let share = free_riders_share(100, 3_000, neighbours, seed);
            println!("{neighbours} neighbours, seed {seed}: {share:.3}");
            assert!(share <= 0.19, "{share}");
        }
    }
}

/// Lines of a table: what a class sends and what it receives, each over the mean of all.
fn unequal_uploads(leeches: usize, pieces: u64, seeds: std::ops::RangeInclusive<u64>) -> Vec<[f64; 2]> {
    let ups = [UP / 4, UP / 2, UP, UP * 2, UP * 4];
    // Nobody is complete by then.
    let runs: Vec<_> = seeds.map(|seed| received_by_class((leeches, pieces, 40), &ups, 0.1..0.3, seed)).collect();
    let received: Vec<f64> = (0..ups.len()).map(|class| runs.iter().map(|run| run[class]).sum()).collect();
    let mean_up = ups.iter().sum::<u64>() as f64 / ups.len() as f64;
    let mean = received.iter().sum::<f64>() / ups.len() as f64;
    println!("upload_share,download_share");
    let rows: Vec<_> = ups.iter().zip(received).map(|(&up, received)| [up as f64 / mean_up, received / mean]).collect();
    rows.iter().for_each(|[up, down]| println!("{up:.3},{down:.3}"));
    rows
}

#[test]
fn who_sends_more_receives_more() {
    let rows = unequal_uploads(50, 2_000, 1..=1);
    assert!(rows.is_sorted_by(|less, more| less[1] < more[1]), "{rows:?}");
}

#[test]
#[ignore = "minutes; figures in docs/measurements.md"]
fn the_curve_of_unequal_uploads() {
    unequal_uploads(100, 3_000, 1..=3);
}
