//! `shoal sim swarm`: how long until all have it.

use super::runs::{Overall, Run, overall_digest, run_all};
use super::{csv, json, memory, svg, table};
use crate::args::{FormatArg, SwarmArgs};
use crate::commands::Outcome;
use crate::exit::{Exit, Failure, OrExit};
use crate::interrupt::Interrupt;
use crate::report::Level;
use crate::run::Context;
use crate::size;
use shoal_sim::experiment::{Ended, SwarmParams, estimate, latency_text};
use shoal_sim::swarm::Kind;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Events that are announced as taking their time. Chosen: some ten seconds.
const MANY_EVENTS: u64 = 5_000_000;
/// Events a second, roughly, for such an announcement: what thousands of peers reach (docs/measurements.md).
const EVENTS_PER_S: u64 = 200_000;

/// What there is to report.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) params: SwarmParams,
    /// The first run's.
    pub(super) seed: u64,
    pub(super) runs: Vec<Run>,
    pub(super) wall: Duration,
    pub(super) peak_rss: Option<u64>,
}

impl Report {
    /// Stands for all traces.
    pub(super) fn digest(&self) -> u64 {
        overall_digest(self.runs.iter().filter_map(|run| Some(run.outcome.as_ref().ok()?.digest)))
    }

    /// Messages delivered and timers fired, in all runs.
    pub(super) fn events(&self) -> u64 {
        self.runs.iter().filter_map(|run| Some(run.outcome.as_ref().ok()?.events)).sum()
    }

    /// The line that runs one of them again.
    pub(super) fn replay(&self, seed: u64) -> String {
        replay(&self.params, seed)
    }
}

/// Runs it and tells.
pub(super) async fn run(args: SwarmArgs, context: &Context, interrupt: Interrupt) -> Outcome {
    let params = params(&args);
    params.check().map_err(|error| Failure::new(Exit::Usage, error))?;
    let threads = threads(&args, &params)?;
    let to_stdout = args.csv.as_deref() == Some(Path::new("-"));
    if to_stdout && args.json.json {
        let problem = "--csv - and --json both want standard output; give --csv a file";
        return Err(Failure::new(Exit::Usage, problem));
    }
    let csv_file = args.csv.as_deref().filter(|_| !to_stdout).map(open).transpose()?;
    let svg_file = args.svg.as_deref().map(open).transpose()?;
    announce(&args, &params, context);
    let (reporter, stop) = (context.reporter.clone(), interrupt.flag());
    let begun = Instant::now();
    let (seed, count) = (args.seed, args.runs);
    let work = move || {
        let tell = |overall: Overall| reporter.working(overall.done, &progress_line(&overall, count));
        let runs = run_all(&params, seed, count, threads, &stop, &tell);
        (params, runs)
    };
    let (params, runs) =
        tokio::task::spawn_blocking(work).await.or_exit(Exit::Other, || "the simulation broke off".to_owned())?;
    let report = Report { params, seed, runs, wall: begun.elapsed(), peak_rss: memory::peak_rss() };
    if let Some((path, file)) = csv_file {
        write(&path, file, &csv::render(&report))?;
    }
    if let Some((path, file)) = svg_file {
        write(&path, file, &svg::render(&report)?)?;
    }
    if args.json.json {
        context.reporter.print(&json::render(&report));
    } else if to_stdout {
        context.reporter.print(csv::render(&report).trim_end());
    } else {
        context.reporter.print(&table::render(&report));
    }
    end(&report, &interrupt, context)
}

/// What the run comes to for scripts.
fn end(report: &Report, interrupt: &Interrupt, context: &Context) -> Outcome {
    if let Some((run, what)) = report.runs.iter().find_map(|run| Some((run, violation(run)?))) {
        return Err(Failure::new(Exit::Other, format!("{what}; replay with: {}", report.replay(run.seed))));
    }
    if interrupt.is_raised() {
        return Ok(Exit::Interrupted);
    }
    let incomplete = |run: &&Run| run.outcome.as_ref().is_ok_and(|outcome| outcome.ended == Ended::TimedOut);
    if let Some(run) = report.runs.iter().find(incomplete) {
        let line = format!("not all have everything after --timeout; run it again with: {}", report.replay(run.seed));
        context.reporter.say(Level::Normal, &line);
        return Ok(Exit::Unfinished);
    }
    Ok(Exit::Done)
}

/// What did not hold in a run.
pub(super) fn violation(run: &Run) -> Option<String> {
    match &run.outcome {
        Ok(outcome) => match &outcome.ended {
            Ended::Violated(violation) => Some(violation.to_string()),
            _ => None,
        },
        Err(panic) => Some(format!("seed {}: {panic}", run.seed)),
    }
}

/// The words' meaning.
pub(super) fn params(args: &SwarmArgs) -> SwarmParams {
    let piece_length = args.piece_length.unwrap_or_else(|| shoal_metainfo::create::piece_length_for(args.payload));
    SwarmParams {
        peers: args.peers,
        seeds: args.seeds,
        payload: args.payload,
        // At most 64 MiB, by the flag's parser and by the rule.
        piece_length: u32::try_from(piece_length).unwrap_or(u32::MAX),
        kind: match args.format {
            FormatArg::V1 => Kind::V1,
            FormatArg::V2 => Kind::V2,
            FormatArg::Hybrid => Kind::Hybrid,
        },
        up: args.up.0,
        down: args.down.0,
        seed_up: args.seed_up.unwrap_or(args.up).0,
        latency: args.latency,
        jitter: args.jitter,
        loss: args.loss,
        arrivals: args.arrivals,
        leave: args.leave,
        free_riders: args.free_riders,
        faults: args.faults.clone(),
        neighbours: args.neighbours,
        scale: args.scale.get(),
        timeout: args.timeout,
    }
}

/// The command that runs this one seed, wherever the parameters came from.
fn replay(params: &SwarmParams, seed: u64) -> String {
    let rate = |rate: Option<u64>| rate.map_or_else(|| "none".to_owned(), |rate| rate.to_string());
    let time = |time: Duration| latency_text((time, time));
    let mut words: Vec<String> = [
        ("peers", params.peers.to_string()),
        ("seeds", params.seeds.to_string()),
        ("payload", params.payload.to_string()),
        ("piece-length", params.piece_length.to_string()),
        ("format", json::format(params.kind).to_owned()),
        ("neighbours", params.neighbours.to_string()),
        ("scale", params.scale.to_string()),
        ("up", rate(params.up)),
        ("down", rate(params.down)),
        ("seed-up", rate(params.seed_up)),
        ("latency", latency_text(params.latency)),
        ("jitter", time(params.jitter)),
        ("loss", params.loss.to_string()),
        ("arrivals", params.arrivals.to_string()),
        ("leave", params.leave.to_string()),
        ("free-riders", params.free_riders.to_string()),
    ]
    .into_iter()
    .map(|(flag, value)| format!("--{flag} {}", crate::escape::shell_quote(&value)))
    .collect();
    if !params.faults.is_empty() {
        let faults: Vec<String> = params.faults.iter().map(ToString::to_string).collect();
        words.push(format!("--faults {}", crate::escape::shell_quote(&faults.join(","))));
    }
    if let Some(timeout) = params.timeout {
        words.push(format!("--timeout {}", time(timeout)));
    }
    format!("shoal sim swarm {} --seed {seed}", words.join(" "))
}

/// How many runs at a time, so that all fit into memory. Not one: an error that says what would help.
fn threads(args: &SwarmArgs, params: &SwarmParams) -> Result<NonZero<usize>, Failure> {
    let wanted = args.threads.or_else(|| std::thread::available_parallelism().ok()).unwrap_or(NonZero::<usize>::MIN);
    let needed = estimate(params).memory_bytes;
    let Some(room) = args.max_memory.or_else(memory::available) else { return Ok(wanted) };
    let fitting = usize::try_from(room / needed.max(1)).unwrap_or(usize::MAX);
    NonZero::new(wanted.get().min(fitting)).ok_or_else(|| {
        let (needed, room) = (size::bytes(needed), size::bytes(room));
        let least = if args.max_memory.is_some() { "--max-memory is" } else { "there is" };
        Failure::new(
            Exit::Usage,
            format!(
                "this swarm needs about {needed} of memory and {least} {room}; take fewer --peers or --neighbours, a \
                 larger --piece-length, or raise --max-memory"
            ),
        )
    })
}

/// Says what takes long before it does.
fn announce(args: &SwarmArgs, params: &SwarmParams, context: &Context) {
    let events = estimate(params).events.saturating_mul(u64::from(args.runs.get()));
    if events >= MANY_EVENTS {
        let time = size::time(Duration::from_secs(events / EVENTS_PER_S));
        let coarser = if events >= 40 * MANY_EVENTS { "; --scale makes it coarser and quicker" } else { "" };
        let line = format!("about {} million events to simulate: some {time}{coarser}", events / 1_000_000);
        context.reporter.say(Level::Normal, &line);
    }
}

fn progress_line(overall: &Overall, runs: NonZero<u32>) -> String {
    let which = if runs.get() > 1 { format!("run {} of {runs}  ", overall.ended + 1) } else { String::new() };
    let Overall { run, done, .. } = overall;
    format!(
        "simulating {} %  {which}virtual {}  {} complete",
        (done * 100.0) as u64,
        size::time(Duration::from_micros(run.now.as_micros())),
        run.complete
    )
}

/// Opens a report's file before the work, so that a folder that is not there costs no hour.
fn open(path: &Path) -> Result<(PathBuf, File), Failure> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path);
    Ok((path.to_path_buf(), file.or_exit(Exit::Usage, || format!("cannot write {}", path.display()))?))
}

fn write(path: &Path, mut file: File, text: &str) -> Result<(), Failure> {
    let written = file.set_len(0).and_then(|()| file.write_all(text.as_bytes()));
    written.or_exit(Exit::Disk, || format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Command, Experiment};
    use crate::config_file::ConfigFile;
    use clap::{CommandFactory, FromArgMatches, Parser};

    fn parse(words: &[&str]) -> SwarmArgs {
        match Cli::parse_from([&["shoal", "sim", "swarm"], words].concat()).command {
            Command::Sim(args) => match args.experiment {
                Experiment::Swarm(args) => *args,
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_line_that_replays_a_run_means_the_same_parameters() {
        for words in [
            vec!["--peers", "3"],
            vec!["--loss", "0.7%", "--latency", "5ms..80ms", "--jitter", "1500us", "--arrivals", "poisson 300ms"],
            vec!["--faults", "liars,resets=7s", "--leave", "complete 30s", "--free-riders", "0.3", "--timeout", "1h"],
            vec!["--up", "none", "--down", "3MiB", "--format", "v2", "--piece-length", "1MiB", "--scale", "4"],
        ] {
            let asked = params(&parse(&words));
            let line = replay(&asked, 9);
            // As a shell splits it.
            let typed: Vec<String> = line.split('\'').enumerate().fold(Vec::new(), |mut words, (n, part)| {
                if n % 2 == 1 {
                    words.push(part.to_owned())
                } else {
                    words.extend(part.split_whitespace().map(str::to_owned))
                }
                words
            });
            let typed: Vec<&str> = typed.iter().skip(3).map(String::as_str).collect();
            let again = parse(&typed);
            assert_eq!((params(&again), again.seed), (asked, 9), "{line}");
        }
    }

    #[test]
    fn scenarios_of_the_documentation_can_be_run() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/scenarios");
        let mut found = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let root = Cli::command();
            let file = ConfigFile::load_table(&path, &root, "sim.swarm").unwrap();
            let matches = file.apply(root).try_get_matches_from(["shoal", "sim", "swarm", "-q"]).unwrap();
            let Command::Sim(args) = Cli::from_arg_matches(&matches).unwrap().command else { panic!("{path:?}") };
            let Experiment::Swarm(args) = args.experiment else { panic!("{path:?}") };
            assert_eq!(params(&args).check(), Ok(()), "{path:?}");
            assert!(estimate(&params(&args)).memory_bytes < 2 << 30, "{path:?}");
            found += 1;
        }
        assert!(found >= 6);
    }

    #[test]
    fn what_does_not_fit_is_refused_with_an_estimate() {
        let args = parse(&["--peers", "100000", "--max-memory", "1GiB"]);
        let failure = threads(&args, &params(&args)).unwrap_err();
        let line = failure.line();
        assert!(failure.exit == Exit::Usage && line.contains("GiB") && line.contains("--neighbours"), "{line}");
        let args = parse(&["--max-memory", "1GiB", "--threads", "3"]);
        assert_eq!(threads(&args, &params(&args)).unwrap().get(), 3);
    }
}
