//! `shoal sim`: experiments in virtual time.
//!
//! The experiments are `shoal-sim`'s; here are the clock, the threads, the signals and the files around them.

mod csv;
mod faults;
mod json;
mod memory;
mod replay;
mod runs;
mod svg;
mod swarm;
mod table;

use super::Outcome;
use crate::args::{Experiment, SimArgs};
use crate::interrupt::Interrupt;
use crate::run::Context;

/// Runs the experiment.
pub(super) async fn run(args: SimArgs, context: &Context, interrupt: Interrupt) -> Outcome {
    match args.experiment {
        Experiment::Swarm(args) => swarm::run(*args, context, interrupt).await,
        Experiment::Faults(args) => faults::run(args, context, interrupt).await,
        Experiment::Replay(args) => replay::run(args, context, interrupt).await,
    }
}
