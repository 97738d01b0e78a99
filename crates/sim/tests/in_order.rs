//! Fetching in order: what it costs a swarm if all do it, and how far each can use what it has from the beginning.

use shoal_machine::Time;
use shoal_pieces::PickMode;
use shoal_sim::swarm::{Kind, PeerSetup, Scenario};
use shoal_sim::{Access, NodeId};
use std::time::Duration;

const LEECHES: usize = 30;
const PIECES: u64 = 100;
const PIECE_LENGTH: u32 = 64 << 10;
/// Bytes per second that everybody sends at most.
const UP: u64 = 100_000;
const LINE: Access = Access { up_bytes_per_s: Some(UP), down_bytes_per_s: None, latency: Duration::from_millis(20) };

/// What came of it.
#[derive(Debug)]
struct Outcome {
    /// When the last leech was complete, over the time that a line needs to send everything once.
    finish: f64,
    /// Of what a leech has, the part before its first gap, on average over leeches and time.
    front: f64,
}

/// One source, and leeches that all fetch in this order.
fn run(order: PickMode, super_seed: bool) -> Outcome {
    let length = PIECES * u64::from(PIECE_LENGTH);
    let mut swarm = Scenario::new(1, Kind::V1, length, PIECE_LENGTH);
    swarm.tracker();
    let setup = PeerSetup { order, super_seed, neighbours: Some(20), check_every: 0, ..PeerSetup::default() };
    swarm.peer(PeerSetup { seed: true, ..setup.clone() }, LINE, Time::ZERO);
    let leeches: Vec<NodeId> = (0..LEECHES).map(|_| swarm.peer(setup.clone(), LINE, Time::ZERO)).collect();
    let whole = Duration::from_secs_f64(length as f64 / UP as f64);
    let (mut fronts, mut samples) = (0.0, 0);
    while !swarm.report().is_complete() {
        assert!(swarm.simulation().now() < Time::ZERO + whole * 6, "{order:?}: not complete");
        swarm.run_for(whole / 50).expect("nothing is violated");
        for &leech in &leeches {
            let written = swarm.simulation().node(leech).site().expect("a leech has a machine").written();
            let (has, front) = (written.count(), written.iter_unset().next().map_or(written.len(), |piece| piece.0));
            if has >= written.len() / 10 && !written.is_full() {
                fronts += f64::from(front) / f64::from(has);
                samples += 1;
            }
        }
    }
    let finish = swarm.report().finished_at().expect("all are complete");
    Outcome { finish: finish.as_secs_f64() / whole.as_secs_f64(), front: fronts / f64::from(samples) }
}

const ORDERS: [PickMode; 3] = [PickMode::RarestFirst, PickMode::InOrder, PickMode::Sequential];

#[test]
fn in_order_costs_a_swarm_half_of_what_strict_order_costs_and_has_a_front() {
    let [rarest, in_order, strict] = ORDERS.map(|order| run(order, false));
    println!("rarest first {rarest:?}, in order {in_order:?}, strict order {strict:?}");
    let cost = |outcome: &Outcome| outcome.finish - rarest.finish;
    assert!(cost(&in_order) <= cost(&strict) / 2.0, "{in_order:?} beside {rarest:?} and {strict:?}");
    assert!(in_order.front >= 0.5 && rarest.front < 0.2, "{in_order:?}, {rarest:?}");
}

#[test]
fn a_sole_source_shows_what_it_has_in_order_so_that_order_costs_nothing() {
    let [rarest, in_order, strict] = ORDERS.map(|order| run(order, true));
    println!("super-seeding: rarest first {rarest:?}, in order {in_order:?}, strict order {strict:?}");
    assert!(in_order.front >= 0.6 && rarest.front >= 0.5, "{in_order:?}, {rarest:?}");
    assert!(
        in_order.finish <= rarest.finish * 1.05 && strict.finish <= rarest.finish * 1.1,
        "{in_order:?}, {strict:?}"
    );
}
