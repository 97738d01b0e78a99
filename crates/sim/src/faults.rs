//! Everything at once, from a seed: a swarm in which all goes wrong that can, and then nothing any more.
//!
//! First phase: faults are on, for some ten seconds to a minute. What must hold at any time (`docs/faults.md`) is checked
//! after every event; nobody has to get anywhere. Second phase: faults are off ([`Scenario::calm`]); one honest seed is there, and
//! every leech has to complete within [`BOUND`]. At the end all are told to stop, and have to.
//!
//! [`run`] does all of it for one seed; the same seed gives the same digest wherever it runs. What a seed contains is in
//! `storm.rs`; [`scenarios`] are situations with names.

pub mod scenarios;
mod storm;

pub use storm::Storm;

use crate::swarm::{Report, Scenario};
use crate::{NodeId, Violation};
use shoal_machine::Time;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// Within this every leech completes once faults are off. It is the sum of what may still have to pass: a dead tracker's or
/// peer's last wait before it is tried again (8.5 min: retries double from 15 s, and no storm lasts longer than half of that), a
/// peer that became mute is given up (3 min of silence), and the payload at the slowest line's rate, seven leeches
/// deep (4 MiB at 60 kB/s: 8 min).
pub const BOUND: Duration = Duration::from_secs(20 * 60);
/// Within this a stopped swarm is done: its trackers are given a few seconds for the last announce.
const STOP_BOUND: Duration = Duration::from_secs(60);

/// How one seed went.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// Of the whole run; of a part of it where it ended early.
    pub digest: u64,
    /// Messages delivered and timers fired.
    pub events: u64,
    /// Virtual seconds until every leech was complete, from the moment when faults were off.
    pub calm_s: f64,
    /// Bytes that came and were of no use, over what was needed.
    pub waste: f64,
    /// What did not hold.
    pub problem: Option<String>,
}

/// Runs one seed to its end.
pub fn run(seed: u64) -> Outcome {
    run_watched(seed, None).0
}

/// The same, and keeps what one node's swarm was told and ordered last: nothing of a node that is no peer.
pub fn run_watched(seed: u64, node: Option<NodeId>) -> (Outcome, Vec<String>) {
    let mut outcome = Outcome { seed, digest: 0, events: 0, calm_s: 0.0, waste: 0.0, problem: None };
    let mut log = Vec::new();
    let ran = catch_unwind(AssertUnwindSafe(|| {
        let mut storm = Storm::of(seed);
        let node = node.filter(|node| storm.scenario.simulation().nodes().any(|(id, _)| id == *node));
        if let Some(node) = node {
            storm.scenario.watch(node);
        }
        let result = weather(&mut storm, &mut outcome);
        let report = storm.scenario.report();
        (outcome.digest, outcome.events) = (report.digest, report.events);
        log = node.map_or_else(Vec::new, |node| storm.scenario.log(node));
        result
    }));
    outcome.problem = match ran {
        Ok(result) => result.err(),
        Err(panic) => Some(format!("panic: {}", panic_text(panic.as_ref()))),
    };
    (outcome, log)
}

/// What a panic said.
pub fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("without a word").to_owned()
}

fn weather(storm: &mut Storm, outcome: &mut Outcome) -> Result<(), String> {
    let said = |violation: Violation| violation.happened();
    storm.scenario.run_for(storm.lasts).map_err(said)?;
    storm.scenario.calm(storm.rogues_stay);
    if storm.narrow {
        storm.scenario.cut_all();
    }
    let calm_at = storm.scenario.simulation().now();
    let report = storm.scenario.run(BOUND).map_err(said)?;
    outcome.calm_s = report.now.since(calm_at).as_secs_f64();
    outcome.waste = report.waste();
    if !report.is_complete() {
        let stuck =
            storm.scenario.simulation().nodes().filter(|(_, node)| node.site().is_some_and(|site| !site.is_complete()));
        let stuck: Vec<String> =
            stuck.filter_map(|(id, node)| Some(format!("node {}: {:?}", id.0, node.swarm()?.progress()))).collect();
        return Err(format!(
            "not complete within {} s without faults (I6): {report}; {}",
            BOUND.as_secs(),
            stuck.join("; ")
        ));
    }
    storm.check_bans(&report)?;
    stop(&mut storm.scenario, &report)
}

/// All are told to stop, and do.
fn stop(scenario: &mut Scenario, report: &Report) -> Result<(), String> {
    let now: Time = report.now;
    let runs = |peer: &NodeId| scenario.simulation().node(*peer).swarm().is_some();
    let peers: Vec<NodeId> = report.peers().filter(runs).collect();
    for &peer in &peers {
        scenario.depart(peer, now);
    }
    let report = scenario.run_for(STOP_BOUND).map_err(|violation| violation.happened())?;
    match peers.into_iter().find(|&peer| report.record(peer).stopped_at.is_none_or(|at| at < now)) {
        Some(peer) => Err(format!("node {} was told to stop and did not within {} s", peer.0, STOP_BOUND.as_secs())),
        None => Ok(()),
    }
}
