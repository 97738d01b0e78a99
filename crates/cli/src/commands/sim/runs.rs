//! Runs of several seeds, some at a time. What a run gives depends on its seed alone, so the number of threads changes
//! nothing but the time.

use shoal_sim::Digest;
use shoal_sim::experiment::{Outcome, Progress, SwarmParams, run_swarm};
use shoal_sim::faults::panic_text;
use std::hash::Hasher;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Time between two words on how far it is. Chosen: a bar that moves.
const TELL_EVERY: Duration = Duration::from_millis(200);

/// One run and how it went.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) seed: u64,
    /// The message of a panic in its place: an assertion of a machine did not hold.
    pub(super) outcome: Result<Outcome, String>,
}

/// How far all runs are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Overall {
    /// Of all runs, 0 to 1.
    pub(super) done: f64,
    /// Runs that have ended.
    pub(super) ended: usize,
    /// The run that was looked at last.
    pub(super) run: Progress,
}

/// Runs the seeds from `first` on, on so many threads, until all are done or `stop` is raised; those that did not begin by
/// then are left out. The runs come in the order of their seeds.
pub(super) fn run_all(
    params: &SwarmParams,
    first: u64,
    runs: NonZero<u32>,
    threads: NonZero<usize>,
    stop: &AtomicBool,
    tell: &(dyn Fn(Overall) + Sync),
) -> Vec<Run> {
    let runs = runs.get() as usize;
    let (ended, pace) = (AtomicUsize::new(0), Pace::new());
    in_order(runs, threads, stop, |place| {
        let seed = first.wrapping_add(place as u64);
        let mut look = |run: &Progress| {
            pace.tell(|| {
                let ended = ended.load(Ordering::Relaxed);
                tell(Overall { done: (ended as f64 + run.done) / runs as f64, ended, run: *run });
            });
            !stop.load(Ordering::Relaxed)
        };
        let outcome = catch_unwind(AssertUnwindSafe(|| run_swarm(params, seed, &mut look)));
        ended.fetch_add(1, Ordering::Relaxed);
        Run { seed, outcome: outcome.map_err(|panic| panic_text(panic.as_ref())) }
    })
}

/// Does the work of all places from 0 on, on so many threads, until all is done or `stop` is raised. What comes back is in
/// the order of the places and without a gap: each that was begun is ended.
pub(super) fn in_order<T: Send>(
    places: usize,
    threads: NonZero<usize>,
    stop: &AtomicBool,
    work: impl Fn(usize) -> T + Sync,
) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    let go_on = || {
        while !stop.load(Ordering::Relaxed) {
            let place = next.fetch_add(1, Ordering::Relaxed);
            if place >= places {
                return;
            }
            let result = work(place);
            done.lock().unwrap_or_else(PoisonError::into_inner).push((place, result));
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.get().min(places) {
            scope.spawn(go_on);
        }
        go_on();
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, result)| result).collect()
}

/// Stands for several runs, in this order; for one, its own.
pub(super) fn overall_digest(digests: impl Iterator<Item = u64>) -> u64 {
    let digests: Vec<u64> = digests.collect();
    match digests[..] {
        [one] => one,
        _ => {
            let mut all = Digest::new();
            digests.iter().for_each(|&digest| all.write_u64(digest));
            all.finish()
        }
    }
}

/// How often something is told, whatever the number of threads.
pub(super) struct Pace(Mutex<Instant>);

impl Pace {
    /// Nothing is told at once.
    pub(super) fn new() -> Pace {
        Pace(Mutex::new(Instant::now()))
    }

    /// Tells, if it is time.
    pub(super) fn tell(&self, tell: impl FnOnce()) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.elapsed() >= TELL_EVERY {
            *told = Instant::now();
            tell();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Command, Experiment};
    use clap::Parser;

    fn params() -> SwarmParams {
        let words = ["shoal", "sim", "swarm", "--payload", "1MiB", "--loss", "1%", "--faults", "resets=20s"];
        match Cli::parse_from(words).command {
            Command::Sim(args) => match args.experiment {
                Experiment::Swarm(args) => super::super::swarm::params(&args),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    fn digests(threads: usize) -> Vec<(u64, u64)> {
        let (threads, runs) = (NonZero::new(threads).unwrap(), NonZero::new(5).unwrap());
        let runs = run_all(&params(), 7, runs, threads, &AtomicBool::new(false), &|_| {});
        runs.into_iter().map(|run| (run.seed, run.outcome.unwrap().digest)).collect()
    }

    #[test]
    fn threads_change_no_result() {
        let one = digests(1);
        assert_eq!(one, digests(4));
        assert_eq!(one.iter().map(|&(seed, _)| seed).collect::<Vec<_>>(), [7, 8, 9, 10, 11]);
        assert!(one.iter().map(|&(_, digest)| digest).collect::<std::collections::BTreeSet<_>>().len() == 5);
    }

    #[test]
    fn whoever_has_enough_gets_no_more_runs() {
        let one = NonZero::new(1).unwrap();
        assert!(run_all(&params(), 1, NonZero::new(9).unwrap(), one, &AtomicBool::new(true), &|_| {}).is_empty());
    }
}
