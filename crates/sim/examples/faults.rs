//! Runs fault seeds: `faults scenarios` runs those with names; `faults A..B [--all]` ends at the first that violates something, or with `--all` at the last, and says
//! how they went. For `tests/mutants/planted`; people have `shoal sim faults`.

use shoal_sim::{NodeId, faults};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|argument| argument == "scenarios") {
        let mut failed = 0;
        for named in faults::scenarios::all() {
            if let Err(what) = named.run() {
                println!("{}: {what}", named.name);
                failed += 1;
            }
        }
        println!("{} scenarios, {failed} failed", faults::scenarios::all().len());
        return ExitCode::from(u8::from(failed > 0));
    }
    let range = arguments.first().and_then(|range| range.split_once(".."));
    let Some((Ok(from), Ok(to))) = range.map(|(from, to)| (from.parse::<u64>(), to.parse::<u64>())) else {
        eprintln!("faults: say which seeds, as 0..500");
        return ExitCode::from(2);
    };
    let all = arguments.iter().any(|argument| argument == "--all");
    let watched = arguments.iter().skip_while(|argument| *argument != "--watch").nth(1);
    let watched = watched.and_then(|node| node.parse().ok()).map(NodeId);
    let (mut failed, mut events, mut slowest) = (0_u32, 0_u64, 0.0_f64);
    for seed in from..to {
        let (outcome, log) = faults::run_watched(seed, watched);
        log.iter().for_each(|line| println!("{line}"));
        events += outcome.events;
        slowest = slowest.max(outcome.calm_s);
        if arguments.iter().any(|argument| argument == "-v") {
            println!("{outcome:?}");
        }
        if let Some(problem) = outcome.problem {
            println!("seed {seed}: {problem}");
            failed += 1;
            if !all {
                return ExitCode::FAILURE;
            }
        }
    }
    println!("{} seeds, {failed} failed, {events} events, slowest calm {slowest:.0} s", to - from);
    ExitCode::from(u8::from(failed > 0))
}
