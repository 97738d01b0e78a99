//! One run: to the last completion, or until it is given up.

use super::bound::{Bound, patience};
use super::build::{Built, Leech, build};
use super::params::SwarmParams;
use super::series::{Sample, Series};
use crate::swarm::{PeerSite, SwarmSimulation};
use crate::{NodeId, Violation};
use shoal_machine::Time;
use std::time::Duration;

/// Events between two looks at whether to go on. Chosen: a fraction of a second of work; a look goes through all leeches, which
/// is why there are more for many.
const LOOK_EVERY: u64 = 1 << 15;
const LOOK_EVERY_A_LEECH: u64 = 1 << 4;

/// How a run stands; see [`run_swarm`].
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Virtual time.
    pub now: Time,
    /// Messages delivered and timers fired.
    pub events: u64,
    /// Leeches that have everything.
    pub complete: u32,
    /// Bytes that leeches have, over all that they want.
    pub done: f64,
}

/// How a run ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ended {
    /// Every leech has everything, or has left as it was to.
    Complete,
    /// Some lack something at the end of the time.
    TimedOut,
    /// The caller had enough.
    Stopped,
    /// Something that must hold did not.
    Violated(Violation),
}

/// The results of one run.
#[derive(Clone, PartialEq, Debug)]
pub struct SwarmRow {
    /// Leeches.
    pub peers: u32,
    /// Those that have everything.
    pub complete: u32,
    /// The least time that any swarm could take.
    pub bound_s: f64,
    /// When the last of them had it; `None` if not all that stayed have it.
    pub finish_s: Option<f64>,
    /// The one over the other.
    pub finish_over_bound: Option<f64>,
    /// When the first leech had everything.
    pub first_s: Option<f64>,
    /// Median time from a leech's coming to its having everything.
    pub median_s: Option<f64>,
    /// Median time from a leech's coming to its first piece.
    pub first_piece_s: Option<f64>,
    /// Payload bytes that the first seeds sent, over the payload.
    pub copies_sent_by_seeds: f64,
    /// Bytes of blocks that reached leeches and were of no use.
    pub waste_bytes: u64,
    /// Payload bytes sent over what all lines could have sent; `None` where a line has no limit.
    pub utilisation: Option<f64>,
}

/// A run's answer.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The run's.
    pub seed: u64,
    /// How it ended.
    pub ended: Ended,
    /// Stands for the whole trace.
    pub digest: u64,
    /// Messages delivered and timers fired.
    pub events: u64,
    /// Virtual time at its end.
    pub now: Time,
    /// What it was measured by.
    pub bound: Bound,
    /// Its results.
    pub row: SwarmRow,
    /// How it went on.
    pub series: Series,
}

/// Runs the swarm that `params` describe and `seed` draws. `go_on` is asked every few milliseconds. Panics if `params` are
/// not [checked](SwarmParams::check).
pub fn run_swarm(params: &SwarmParams, seed: u64, go_on: &mut dyn FnMut(&Progress) -> bool) -> Outcome {
    params.check().expect("the caller checks what the user wrote");
    let scale = u64::from(params.scale);
    let params = &params.scaled();
    let mut built = build(params, seed);
    let limit = params.timeout.unwrap_or_else(|| patience(&built.bound) + last_arrival(&built.leeches));
    let end = Time::ZERO + limit;
    let expected = Duration::from_secs_f64(built.bound.seconds().clamp(0.1, 1e9)).min(limit) * 3 / 2;
    let mut series = Series::new(expected);
    let mut missing: Vec<NodeId> = built.leeches.iter().map(|leech| leech.node).collect();
    let look_every = LOOK_EVERY.max(LOOK_EVERY_A_LEECH * u64::from(params.peers));
    let (mut next_look, mut stopped) = (look_every, false);
    let ended = loop {
        let now = built.scenario.simulation().now();
        if series.next() <= now {
            series.push(now, sample(params, &built, now));
        }
        if now >= end {
            break Ended::TimedOut;
        }
        let leeches = &built.leeches;
        let going = built.scenario.run_while_roughly(series.next().min(end), |simulation| {
            if simulation.events() >= next_look {
                next_look = simulation.events() + look_every;
                stopped = !go_on(&progress(params, simulation, leeches));
            }
            while missing.last().is_some_and(|&leech| is_done(simulation, leech)) {
                missing.pop();
            }
            !stopped && !missing.is_empty()
        });
        match going {
            Err(violation) => break Ended::Violated(violation),
            Ok(false) if stopped => break Ended::Stopped,
            Ok(false) => break Ended::Complete,
            Ok(true) => {}
        }
    };
    let now = match ended {
        Ended::Complete => all_done_at(&built),
        _ => built.scenario.simulation().now(),
    };
    series.push(now, sample(params, &built, now));
    let mut row = row(params, &built, &ended, &series);
    row.waste_bytes *= scale;
    series.scale_bytes(scale);
    let simulation = built.scenario.simulation();
    Outcome {
        seed,
        ended,
        digest: simulation.digest(),
        events: simulation.events(),
        now,
        bound: built.bound,
        row,
        series,
    }
}

fn last_arrival(leeches: &[Leech]) -> Duration {
    leeches.iter().map(|leech| leech.arrives).max().unwrap_or(Time::ZERO) - Time::ZERO
}

fn site(simulation: &SwarmSimulation, node: NodeId) -> &PeerSite {
    simulation.node(node).site().expect("seeds and leeches have machines")
}

fn is_done(simulation: &SwarmSimulation, leech: NodeId) -> bool {
    let site = site(simulation, leech);
    site.is_complete() || site.record().left_at.is_some()
}

fn progress(params: &SwarmParams, simulation: &SwarmSimulation, leeches: &[Leech]) -> Progress {
    let sites = || leeches.iter().map(|leech| site(simulation, leech.node));
    let done: u64 = sites().map(PeerSite::written_bytes).sum();
    Progress {
        now: simulation.now(),
        events: simulation.events(),
        complete: sites().filter(|site| site.is_complete()).count() as u32,
        done: done as f64 / (params.payload as f64 * f64::from(params.peers)),
    }
}

/// When the last leech had everything or had left; the simulation goes on a little longer.
fn all_done_at(built: &Built) -> Time {
    let records = built.leeches.iter().map(|leech| site(built.scenario.simulation(), leech.node).record());
    records.filter_map(|record| record.complete_at.or(record.left_at)).max().unwrap_or(Time::ZERO)
}

fn sample(params: &SwarmParams, built: &Built, now: Time) -> Sample {
    let simulation = built.scenario.simulation();
    let seed_bytes: u64 = built.seeds.iter().map(|&seed| site(simulation, seed).record().uploaded_bytes).sum();
    let mut sample = Sample { time_s: now.as_secs_f64(), seed_bytes, sent_bytes: seed_bytes, ..Sample::default() };
    let mut could = params.seed_up.map(|up| up as f64 * now.as_secs_f64() * f64::from(params.seeds));
    for leech in built.leeches.iter().filter(|leech| leech.arrives <= now) {
        let site = site(simulation, leech.node);
        let left_at = site.record().left_at;
        sample.arrived += 1;
        sample.complete += u32::from(site.is_complete());
        sample.left += u32::from(left_at.is_some());
        sample.done_bytes += site.written_bytes();
        sample.sent_bytes += site.record().uploaded_bytes;
        if !leech.free_rider {
            let there_s = left_at.unwrap_or(now).since(leech.arrives).as_secs_f64();
            could = could.zip(params.up).map(|(could, up)| could + up as f64 * there_s);
        }
    }
    sample.could_send_bytes = could.unwrap_or(0.0) as u64;
    sample
}

fn row(params: &SwarmParams, built: &Built, ended: &Ended, series: &Series) -> SwarmRow {
    let simulation = built.scenario.simulation();
    let sites = || built.leeches.iter().map(|leech| (leech, site(simulation, leech.node)));
    let mut completions: Vec<Time> = sites().filter_map(|(_, site)| site.record().complete_at).collect();
    completions.sort();
    let bound_s = built.bound.seconds();
    let all = *ended == Ended::Complete;
    let finish_s = completions.last().filter(|_| all).map(|time| time.as_secs_f64());
    let since_arrival = |of: fn(&PeerSite) -> Option<Time>| {
        median(sites().filter_map(|(leech, site)| Some(of(site)?.since(leech.arrives).as_secs_f64())).collect())
    };
    let downloaded: u64 = sites().map(|(_, site)| site.record().downloaded_bytes).sum();
    let written: u64 = sites().map(|(_, site)| site.written_bytes()).sum();
    let last = series.samples().last().copied().unwrap_or_default();
    let could = last.could_send_bytes;
    SwarmRow {
        peers: params.peers,
        complete: completions.len() as u32,
        bound_s,
        finish_s,
        finish_over_bound: finish_s.filter(|_| bound_s > 0.0).map(|finish_s| finish_s / bound_s),
        first_s: completions.first().map(|time| time.as_secs_f64()),
        median_s: since_arrival(|site| site.record().complete_at),
        first_piece_s: since_arrival(|site| site.record().first_piece_at),
        copies_sent_by_seeds: last.seed_bytes as f64 / params.payload as f64,
        waste_bytes: downloaded.saturating_sub(written),
        utilisation: (could > 0).then(|| (last.sent_bytes as f64 / could as f64).min(1.0)),
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::params::tests::params;
    use crate::experiment::{Arrivals, Departure, Fault};

    fn run(params: &SwarmParams, seed: u64) -> Outcome {
        run_swarm(params, seed, &mut |_| true)
    }

    #[test]
    fn a_swarm_of_ten_comes_near_its_bound() {
        let outcome = run(&params(), 1);
        let row = &outcome.row;
        assert_eq!((outcome.ended.clone(), row.complete), (Ended::Complete, 10), "{row:?}");
        assert!(row.finish_over_bound.is_some_and(|ratio| (1.0..3.0).contains(&ratio)), "{row:?}");
        assert!(row.copies_sent_by_seeds >= 1.0 && row.utilisation.is_some_and(|used| used > 0.3), "{row:?}");
        assert!(row.first_piece_s < row.first_s && row.first_s <= row.finish_s, "{row:?}");
        let last = outcome.series.samples().last().unwrap();
        assert_eq!((last.complete, last.done_bytes), (10, 10 * params().payload));
        assert_eq!(Some(last.time_s), row.finish_s);
    }

    #[test]
    fn one_seed_one_digest_and_another_seed_another() {
        let mut params = params();
        params.payload = 1 << 20;
        params.latency.1 = Duration::from_millis(80);
        params.jitter = Duration::from_millis(5);
        params.loss = 0.01;
        params.arrivals = Arrivals::Poisson(Duration::from_millis(300));
        params.faults = vec![Fault::Resets(Duration::from_secs(20)), Fault::Liars(0.1)];
        let digests: Vec<u64> = [1, 1, 2].map(|seed| run(&params, seed).digest).to_vec();
        assert!(digests[0] == digests[1] && digests[1] != digests[2], "{digests:?}");
    }

    #[test]
    fn faults_slow_and_do_not_stop() {
        for fault in ["slow-disk=50%", "full-disk=30%", "resets=20s", "partition=10s", "churn=20s", "liars=20%"]
            .into_iter()
            .chain(["corrupt=0.5%", "mute=20%", "flood=10%", "garbage=20%"])
        {
            let mut params = params();
            params.payload = 2 << 20;
            params.faults = vec![fault.parse().unwrap()];
            let outcome = run(&params, 3);
            assert_eq!(outcome.ended, Ended::Complete, "{fault}: {:?}", outcome.row);
        }
    }

    #[test]
    fn who_leaves_is_gone_and_free_riders_send_nothing() {
        let mut params = params();
        params.payload = 2 << 20;
        params.leave = Departure::Complete(Duration::ZERO);
        params.free_riders = 0.3;
        let outcome = run(&params, 4);
        let last = outcome.series.samples().last().unwrap();
        assert_eq!((&outcome.ended, last.complete), (&Ended::Complete, 10));
        assert!(last.left >= 8, "{last:?}");
        params.leave = Departure::After(Duration::from_secs(2));
        let outcome = run(&params, 4);
        assert_eq!(outcome.ended, Ended::Complete);
        assert!(outcome.row.complete < 10 && outcome.now < Time::from_secs(3), "{:?}", outcome.row);
        params.leave = Departure::Never;
        params.free_riders = 1.0;
        let outcome = run(&params, 4);
        // Nobody but the seed gives: ten copies leave it.
        assert!(outcome.row.copies_sent_by_seeds >= 10.0, "{:?}", outcome.row);
    }

    #[test]
    fn loss_and_latency_cost_time() {
        let mut params = params();
        params.peers = 1;
        let clear = run(&params, 5).row.finish_s.unwrap();
        params.loss = 0.02;
        params.latency = (Duration::from_millis(50), Duration::from_millis(50));
        // RFC 5348: 1448 / (0.1 * (0.1155 + 0.0211)) = 106 kB/s.
        let lossy = run(&params, 5).row.finish_s.unwrap();
        assert!((0.95..1.3).contains(&(lossy / (params.payload as f64 / 106_000.0))), "{clear} {lossy}");
        assert!(clear < 6.0, "{clear}");
    }

    #[test]
    fn a_coarser_swarm_takes_about_as_long() {
        let mut params = params();
        params.payload = 32 << 20;
        params.piece_length = 256 << 10;
        params.peers = 20;
        let fine = run(&params, 7);
        params.scale = 4;
        let coarse = run(&params, 7);
        let ratio = coarse.row.finish_s.unwrap() / fine.row.finish_s.unwrap();
        assert!((0.8..1.25).contains(&ratio), "{:?} {:?}", fine.row, coarse.row);
        assert!(coarse.events < fine.events * 3 / 4, "{} {}", coarse.events, fine.events);
        let last = |outcome: &Outcome| outcome.series.samples().last().unwrap().done_bytes;
        assert_eq!(last(&coarse), last(&fine));
        assert_eq!(coarse.bound, fine.bound);
    }

    #[test]
    fn what_cannot_end_is_given_up() {
        let mut params = params();
        params.timeout = Some(Duration::from_secs(2));
        let outcome = run(&params, 6);
        assert_eq!((outcome.ended, outcome.row.finish_s), (Ended::TimedOut, None));
        assert_eq!(outcome.now, Time::from_secs(2));
        (params.timeout, params.payload) = (None, 32 << 20);
        assert_eq!(run_swarm(&params, 6, &mut |_| false).ended, Ended::Stopped);
    }
}
