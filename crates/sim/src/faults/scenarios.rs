//! Named situations: what is there, and what must hold.
//!
//! Where a fault seed has everything at once, each of these has one thing that goes wrong, or one shape of torrent or swarm,
//! and says what must come of it: who completes by when, how much may be wasted, who is banned and who is not. All
//! invariants are checked after every event here too.

mod disks;
mod networks;
mod rogues;
mod sources;
mod torrents;

use crate::swarm::{Kind, PeerSetup, Report, Scenario};
use crate::{Access, NodeId};
use shoal_machine::Time;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// A situation with a name.
pub struct Named {
    /// Short, for the command line.
    pub name: String,
    /// What is there, and what must hold, in one line.
    pub about: String,
    run: Box<dyn Fn() -> Result<(), String> + Send + Sync>,
}

impl Named {
    fn new(name: &str, about: &str, run: impl Fn() -> Result<(), String> + Send + Sync + 'static) -> Named {
        Named { name: name.to_owned(), about: about.to_owned(), run: Box::new(run) }
    }

    /// Runs it; says what did not hold.
    pub fn run(&self) -> Result<(), String> {
        match catch_unwind(AssertUnwindSafe(|| (self.run)())) {
            Ok(result) => result,
            Err(panic) => Err(format!("panic: {}", super::panic_text(panic.as_ref()))),
        }
    }
}

/// All of them.
pub fn all() -> Vec<Named> {
    let mut all = rogues::all();
    all.extend(disks::all());
    all.extend(sources::all());
    all.extend(networks::all());
    all.extend(torrents::all());
    all
}

/// A home line: 1 MB/s each way, 20 ms to the middle of the network.
const LINE: Access = Access::symmetric(1_000_000, Duration::from_millis(20));

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn at(seconds: u64) -> Time {
    Time::from_secs(seconds)
}

/// A swarm with a tracker around 2 MiB in pieces of 64 KiB.
fn small(kind: Kind) -> Scenario {
    let mut scenario = Scenario::new(1, kind, 2 << 20, 64 << 10);
    scenario.tracker();
    scenario
}

fn magnet() -> PeerSetup {
    PeerSetup { magnet: true, ..PeerSetup::default() }
}

/// What must hold at the end.
struct Claim<'a> {
    /// Seconds within which every leech completes.
    within_s: u64,
    /// Bytes of no use over those that are needed, at most.
    waste: f64,
    /// Who may be banned.
    may_be_banned: &'a [NodeId],
}

fn must(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}

/// Runs until every leech is complete, and checks the claim.
fn completes(scenario: &mut Scenario, claim: Claim<'_>) -> Result<Report, String> {
    let report = scenario.run(seconds(claim.within_s)).map_err(|violation| violation.to_string())?;
    must(report.is_complete(), || format!("not complete after {} s: {report}", claim.within_s))?;
    must(report.waste() <= claim.waste, || {
        format!("waste {:.3} of at most {}: {report}", report.waste(), claim.waste)
    })?;
    let wrong = report.banned().into_iter().find(|banned| !claim.may_be_banned.contains(banned));
    must(wrong.is_none(), || format!("{wrong:?} is banned and honest: {report}"))?;
    Ok(report)
}

/// The same with nobody to ban.
fn all_complete(scenario: &mut Scenario, within_s: u64, waste: f64) -> Result<Report, String> {
    completes(scenario, Claim { within_s, waste, may_be_banned: &[] })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn there_are_enough_and_names_are_their_own() {
        let all = all();
        let names: BTreeSet<&str> = all.iter().map(|named| named.name.as_str()).collect();
        let abouts: BTreeSet<&str> = all.iter().map(|named| named.about.as_str()).collect();
        assert!(names.len() == all.len() && abouts.len() == all.len() && all.len() >= 120, "{}", all.len());
    }
}
