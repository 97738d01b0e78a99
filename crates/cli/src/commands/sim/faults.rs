//! `shoal sim faults`: fault seeds and named scenarios.
//!
//! What they are and what is checked is `shoal_sim::faults`; here is which of them run, on how many threads, and how that is
//! told. What a seed gives depends on it alone, so the digest over all, in the order of the seeds, does not know the threads.

use super::memory;
use super::runs::{Pace, in_order, overall_digest};
use crate::args::FaultsArgs;
use crate::commands::Outcome as End;
use crate::escape::{escape, escape_json};
use crate::exit::{Exit, Failure, OrExit};
use crate::interrupt::Interrupt;
use crate::report::{Level, SCHEMA};
use crate::run::Context;
use crate::size;
use serde_json::{Value, json};
use shoal_sim::NodeId;
use shoal_sim::faults::scenarios::{self, Named};
use shoal_sim::faults::{self, Outcome};
use std::fmt::Write;
use std::num::NonZero;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// What is to run: first the seeds, then the scenarios.
struct Plan {
    seeds: Range<u64>,
    scenarios: Vec<Named>,
}

/// How one of them went.
#[derive(Debug, Clone, PartialEq)]
enum Ran {
    Seed(Outcome),
    Scenario { name: String, problem: Option<String> },
}

/// What there is to report.
struct Report {
    plan: Plan,
    ran: Vec<Ran>,
    wall: Duration,
}

/// Runs them and tells.
pub(super) async fn run(args: FaultsArgs, context: &Context, interrupt: Interrupt) -> End {
    if args.list {
        context.reporter.print(&list(args.json.json));
        return Ok(Exit::Done);
    }
    let plan = Plan::of(&args)?;
    if let Some(node) = args.watch {
        watch(&plan, NodeId(node), context)?;
    }
    let threads = args.threads.or_else(|| std::thread::available_parallelism().ok()).unwrap_or(NonZero::<usize>::MIN);
    let (reporter, stop) = (context.reporter.clone(), interrupt.flag());
    let begun = Instant::now();
    let work = move || {
        let ran = plan.run(threads, &stop, &|done, line| reporter.working(done, line));
        (plan, ran)
    };
    let (plan, ran) =
        tokio::task::spawn_blocking(work).await.or_exit(Exit::Other, || "the simulation broke off".to_owned())?;
    let report = Report { plan, ran, wall: begun.elapsed() };
    context.reporter.print(&if args.json.json { report.json() } else { report.text() });
    if interrupt.is_raised()
        && let Some(rest) = report.rest()
    {
        context.reporter.say(Level::Normal, &format!("go on with: {rest}"));
    }
    let failures = report.failures().count();
    match report.failures().next() {
        Some((which, _, replay)) => Err(Failure::new(
            Exit::Other,
            format!("{failures} of {} failed, first {which}; replay with: {replay}", report.ran.len()),
        )),
        None if report.ran.len() < report.plan.len() => Ok(Exit::Interrupted),
        None => Ok(Exit::Done),
    }
}

impl Plan {
    fn of(args: &FaultsArgs) -> Result<Plan, Failure> {
        let seeds = args.seeds.clone().unwrap_or(0..0);
        if args.watch.is_some() && seeds.end - seeds.start != 1 {
            return Err(Failure::new(Exit::Usage, "--watch looks into one seed; say which, as in --seeds 7..8"));
        }
        let mut scenarios = scenarios::all();
        if let Some(name) =
            args.scenario.iter().find(|name| *name != "all" && scenarios.iter().all(|named| named.name != **name))
        {
            let problem = format!("there is no scenario '{name}'; `shoal sim faults --list` names all");
            return Err(Failure::new(Exit::Usage, problem));
        }
        scenarios.retain(|named| args.scenario.iter().any(|name| name == "all" || *name == named.name));
        Ok(Plan { seeds, scenarios })
    }

    /// How many there are. Seeds are some million at most, by the flag's parser.
    fn len(&self) -> usize {
        self.seeds_len() + self.scenarios.len()
    }

    fn seeds_len(&self) -> usize {
        usize::try_from(self.seeds.end - self.seeds.start).unwrap_or(usize::MAX)
    }

    /// Runs all, or those that were begun when `stop` was raised.
    fn run(&self, threads: NonZero<usize>, stop: &AtomicBool, tell: &(dyn Fn(f64, &str) + Sync)) -> Vec<Ran> {
        let (ended, failed, pace) = (AtomicUsize::new(0), AtomicUsize::new(0), Pace::new());
        in_order(self.len(), threads, stop, |place| {
            let ran = match place.checked_sub(self.seeds_len()) {
                None => Ran::Seed(faults::run(self.seeds.start + place as u64)),
                Some(place) => {
                    let named = &self.scenarios[place];
                    Ran::Scenario { name: named.name.clone(), problem: named.run().err() }
                }
            };
            failed.fetch_add(usize::from(ran.problem().is_some()), Ordering::Relaxed);
            let ended = ended.fetch_add(1, Ordering::Relaxed) + 1;
            pace.tell(|| {
                let (all, failed) = (self.len(), failed.load(Ordering::Relaxed));
                tell(ended as f64 / all as f64, &format!("{ended} of {all} runs, {failed} failed"));
            });
            ran
        })
    }
}

impl Ran {
    fn problem(&self) -> Option<&str> {
        match self {
            Ran::Seed(outcome) => outcome.problem.as_deref(),
            Ran::Scenario { problem, .. } => problem.as_deref(),
        }
    }

    fn which(&self) -> String {
        match self {
            Ran::Seed(outcome) => format!("seed {}", outcome.seed),
            Ran::Scenario { name, .. } => format!("scenario {name}"),
        }
    }

    /// The line that runs it again.
    fn replay(&self) -> String {
        match self {
            Ran::Seed(Outcome { seed, .. }) => format!("shoal sim faults --seeds {seed}..{}", seed + 1),
            Ran::Scenario { name, .. } => format!("shoal sim faults --scenario {name}"),
        }
    }

    fn row(&self) -> Value {
        match self {
            Ran::Seed(outcome) => json!({
                "seed": outcome.seed,
                "digest": format!("{:016x}", outcome.digest),
                "events": outcome.events,
                "calm_s": outcome.calm_s,
                "waste": outcome.waste,
                "problem": outcome.problem,
            }),
            Ran::Scenario { name, problem } => json!({ "scenario": name, "problem": problem }),
        }
    }
}

impl Report {
    fn seeds(&self) -> impl Iterator<Item = &Outcome> {
        self.ran.iter().filter_map(|ran| if let Ran::Seed(outcome) = ran { Some(outcome) } else { None })
    }

    /// Which, what did not hold, and the line that replays it.
    fn failures(&self) -> impl Iterator<Item = (String, &str, String)> {
        self.ran.iter().filter_map(|ran| Some((ran.which(), ran.problem()?, ran.replay())))
    }

    /// Stands for all seeds that ran; `None` without any.
    fn digest(&self) -> Option<u64> {
        self.seeds().next().map(|_| overall_digest(self.seeds().map(|outcome| outcome.digest)))
    }

    fn events(&self) -> u64 {
        self.seeds().map(|outcome| outcome.events).sum()
    }

    fn slowest_calm_s(&self) -> f64 {
        self.seeds().map(|outcome| outcome.calm_s).fold(0.0, f64::max)
    }

    /// The command that runs what was not begun.
    fn rest(&self) -> Option<String> {
        let done = self.ran.len();
        let mut words = String::new();
        if done < self.plan.seeds_len() {
            let _ = write!(words, " --seeds {}..{}", self.plan.seeds.start + done as u64, self.plan.seeds.end);
        }
        let names: Vec<&str> = self
            .plan
            .scenarios
            .iter()
            .skip(done.saturating_sub(self.plan.seeds_len()))
            .map(|named| named.name.as_str())
            .collect();
        if !names.is_empty() {
            let _ = write!(words, " --scenario {}", names.join(" "));
        }
        (!words.is_empty()).then(|| format!("shoal sim faults{words}"))
    }

    /// For people: a line and its replay for each failure, and the summary.
    fn text(&self) -> String {
        let mut text = String::new();
        for (which, what, replay) in self.failures() {
            let _ = writeln!(text, "{which}: {}\n  replay with: {replay}", escape(what));
        }
        let failed = |of_seeds: bool| {
            let failed = |ran: &&Ran| ran.problem().is_some() && matches!(ran, Ran::Seed(_)) == of_seeds;
            self.ran.iter().filter(failed).count()
        };
        if let Some(digest) = self.digest() {
            let _ = writeln!(
                text,
                "seeds: {}, {} failed; {} events, slowest calm phase {:.0} s, digest {digest:016x}",
                self.seeds().count(),
                failed(true),
                self.events(),
                self.slowest_calm_s(),
            );
        }
        let scenarios = self.ran.len() - self.seeds().count();
        if scenarios > 0 {
            let _ = writeln!(text, "scenarios: {scenarios}, {} failed", failed(false));
        }
        let _ = write!(text, "took {}", size::time(self.wall));
        text
    }

    /// For scripts: one object (docs/cli.md).
    fn json(&self) -> String {
        let range = |range: &Range<u64>| (!range.is_empty()).then(|| format!("{}..{}", range.start, range.end));
        let violations: Vec<Value> = self
            .ran
            .iter()
            .filter_map(|ran| {
                let mut violation = json!({ "what": ran.problem()?, "replay": ran.replay() });
                match ran {
                    Ran::Seed(outcome) => violation["seed"] = outcome.seed.into(),
                    Ran::Scenario { name, .. } => violation["scenario"] = name.as_str().into(),
                }
                Some(violation)
            })
            .collect();
        let object = json!({
            "schema": SCHEMA,
            "experiment": "faults",
            "params": {
                "seeds": range(&self.plan.seeds),
                "scenario": self.plan.scenarios.iter().map(|named| named.name.as_str()).collect::<Vec<_>>(),
            },
            "seed": range(&self.plan.seeds).map(|_| self.plan.seeds.start),
            "rows": self.ran.iter().map(Ran::row).collect::<Vec<_>>(),
            "failed": violations.len(),
            "slowest_calm_s": self.seeds().next().map(|_| self.slowest_calm_s()),
            "digest": self.digest().map(|digest| format!("{digest:016x}")),
            "wall_s": (self.wall.as_secs_f64() * 1e3).round() / 1e3,
            "events": self.events(),
            "peak_rss": memory::peak_rss(),
            "rest": self.rest(),
            "violations": violations,
        });
        escape_json(&object.to_string()).into_owned()
    }
}

/// Prints what one node of the only seed was told and ordered last.
fn watch(plan: &Plan, node: NodeId, context: &Context) -> Result<(), Failure> {
    let (_, log) = faults::run_watched(plan.seeds.start, Some(node));
    if log.is_empty() {
        let problem = format!("seed {} has no peer with the number {}", plan.seeds.start, node.0);
        return Err(Failure::new(Exit::Usage, problem));
    }
    context.reporter.print(&escape_lines(&log));
    Ok(())
}

fn escape_lines(lines: &[String]) -> String {
    let lines: Vec<_> = lines.iter().map(|line| escape(line)).collect();
    lines.join("\n")
}

fn list(json: bool) -> String {
    let all = scenarios::all();
    if json {
        let all: Vec<Value> = all.iter().map(|named| json!({ "name": named.name, "about": named.about })).collect();
        return json!({ "schema": SCHEMA, "scenarios": all }).to_string();
    }
    let width = all.iter().map(|named| named.name.len()).max().unwrap_or(0);
    let lines: Vec<String> = all.iter().map(|named| format!("{:width$}  {}", named.name, named.about)).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(seeds: Range<u64>, names: &[&str]) -> Plan {
        let mut scenarios = scenarios::all();
        scenarios.retain(|named| names.contains(&named.name.as_str()));
        assert_eq!(scenarios.len(), names.len());
        Plan { seeds, scenarios }
    }

    fn ran(threads: usize) -> Report {
        let plan = plan(40..46, &["disk-slow"]);
        let ran = plan.run(NonZero::new(threads).unwrap(), &AtomicBool::new(false), &|_, _| {});
        Report { plan, ran, wall: Duration::ZERO }
    }

    #[test]
    fn threads_change_neither_digest_nor_order() {
        let (one, four) = (ran(1), ran(4));
        assert_eq!(one.ran, four.ran);
        assert_eq!(one.text(), four.text());
        assert_eq!(one.seeds().map(|outcome| outcome.seed).collect::<Vec<_>>(), [40, 41, 42, 43, 44, 45]);
        assert!(one.rest().is_none() && one.failures().count() == 0, "{}", one.text());
    }

    #[test]
    fn a_failure_has_its_line_and_the_command_that_replays_it() {
        let mut report = ran(2);
        if let Ran::Seed(outcome) = &mut report.ran[2] {
            outcome.problem = Some("node 3: too\u{1b} much".to_owned());
        }
        if let Ran::Scenario { problem, .. } = &mut report.ran[6] {
            *problem = Some("not complete".to_owned());
        }
        let text = report.text();
        assert!(text.starts_with("seed 42: node 3: too\\u{1b} much\n  replay with: shoal sim faults --seeds 42..43\n"));
        assert!(
            text.contains("scenario disk-slow: not complete\n  replay with: shoal sim faults --scenario disk-slow\n")
        );
        assert!(text.contains("seeds: 6, 1 failed;") && text.contains("scenarios: 1, 1 failed"), "{text}");
        let object: Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!((&object["failed"], &object["violations"][0]["seed"]), (&json!(2), &json!(42)));
        assert_eq!(object["violations"][1]["replay"], "shoal sim faults --scenario disk-slow");
    }

    #[test]
    fn who_interrupts_is_told_where_to_go_on() {
        let stopped = AtomicBool::new(true);
        let plan = plan(5..9, &["disk-slow", "power-cut"]);
        let none = plan.run(NonZero::new(2).unwrap(), &stopped, &|_, _| {});
        assert!(none.is_empty());
        let mut report = Report { plan, ran: none, wall: Duration::ZERO };
        assert_eq!(report.rest().unwrap(), "shoal sim faults --seeds 5..9 --scenario disk-slow power-cut");
        report.ran = vec![Ran::Seed(faults::run(5)), Ran::Seed(faults::run(6))];
        assert_eq!(report.rest().unwrap(), "shoal sim faults --seeds 7..9 --scenario disk-slow power-cut");
        let named = Ran::Scenario { name: "disk-slow".to_owned(), problem: None };
        report.ran.extend([report.ran[0].clone(), report.ran[1].clone(), named]);
        assert_eq!(report.rest().unwrap(), "shoal sim faults --scenario power-cut");
    }
}
