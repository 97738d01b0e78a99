//! Runs of several seeds, some at a time. What a run gives depends on its seed alone, so the number of threads changes
//! nothing but the time.

use shoal_sim::experiment::{Outcome, Progress, SwarmParams, run_swarm};
use std::any::Any;
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
    let (next, ended) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let done = Mutex::new(Vec::with_capacity(runs));
    let told = Mutex::new(Instant::now());
    let work = || {
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            if place >= runs || stop.load(Ordering::Relaxed) {
                return;
            }
            let seed = first.wrapping_add(place as u64);
            let mut look = |run: &Progress| {
                let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
                if told.elapsed() >= TELL_EVERY {
                    *told = Instant::now();
                    let ended = ended.load(Ordering::Relaxed);
                    tell(Overall { done: (ended as f64 + run.done) / runs as f64, ended, run: *run });
                }
                !stop.load(Ordering::Relaxed)
            };
            let outcome = catch_unwind(AssertUnwindSafe(|| run_swarm(params, seed, &mut look)));
            ended.fetch_add(1, Ordering::Relaxed);
            let run = Run { seed, outcome: outcome.map_err(|panic| words(panic.as_ref())) };
            done.lock().unwrap_or_else(PoisonError::into_inner).push((place, run));
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.get().min(runs) {
            scope.spawn(work);
        }
        work();
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, run)| run).collect()
}

/// What a panic said.
fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without words").to_owned()
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
