//! Experiments that users run: a question in figures, an answer beside what no swarm could beat.
//!
//! [`SwarmParams`] asks how a payload spreads; [`run_swarm`] builds the swarm out of the product's machines, runs it in
//! virtual time and gives an [`Outcome`]: a row of results, a time series, and the [`Bound`] that they are measured by.
//! Everything is a function of the parameters and the seed. Clocks, threads, files and signals are the caller's.

mod bound;
mod build;
mod estimate;
mod fault;
mod params;
mod run;
mod series;

pub use bound::Bound;
pub use estimate::{Estimate, estimate};
pub use fault::Fault;
pub use params::{Arrivals, Departure, ParamError, SwarmParams, latency, latency_text, share};
pub use run::{Ended, Outcome, Progress, SwarmRow, run_swarm};
pub use series::{Sample, Series};
