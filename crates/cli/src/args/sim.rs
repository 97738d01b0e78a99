//! The words of `shoal sim`: each experiment's flags, which are the keys of its scenario files too.

use super::parse::parse_piece_length;
use super::{FormatArg, JsonObjectArgs, TalkArgs};
use crate::size::{Rate, parse_duration, parse_rate, parse_size};
use clap::{Args, Subcommand, ValueHint};
use shoal_sim::experiment::{Arrivals, Departure, Fault, latency, share};
use std::num::NonZero;
use std::path::PathBuf;
use std::time::Duration;

/// Ask the laboratory: shoal's own code in virtual time
///
/// What decides in a real transfer decides here too, unchanged; network, disks and clocks are simulated. The same seed gives
/// the same run. docs/simulator.md says what the model has and what it has not.
#[derive(Args, Debug, Clone)]
pub(crate) struct SimArgs {
    /// Which experiment
    #[command(subcommand)]
    pub(crate) experiment: Experiment,
}

/// The experiments.
#[derive(Subcommand, Debug, Clone)]
pub(crate) enum Experiment {
    Swarm(Box<SwarmArgs>),
    Faults(FaultsArgs),
    Replay(ReplayArgs),
}

impl SimArgs {
    /// How much it says.
    pub(super) fn talk(&self) -> &TalkArgs {
        match &self.experiment {
            Experiment::Swarm(args) => &args.talk,
            Experiment::Faults(args) => &args.talk,
            Experiment::Replay(args) => &args.talk,
        }
    }
}

/// How long until so many machines have it?
///
/// Builds a swarm of seeds and leeches, runs it until every leech has everything, and prints how long that took beside the
/// least time that any swarm could take. Exit code 0: all have it; 7: not at the end of --timeout; 1: something that must
/// always hold did not (the line on standard error replays it).
///
/// FILE is a scenario: TOML with these flags as keys, as in `peers = 500`. A flag or its variable goes before the file.
#[derive(Args, Debug, Clone)]
#[command(arg_required_else_help = true)]
pub(crate) struct SwarmArgs {
    /// Scenario file
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) scenario: Option<PathBuf>,
    /// Leeches: those that have nothing at first
    #[arg(long, value_name = "N", default_value = "10")]
    pub(crate) peers: u32,
    /// Seeds: those that have everything from the beginning
    #[arg(long, value_name = "K", default_value = "1")]
    pub(crate) seeds: u32,
    /// Size of what is shared
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = parse_size)]
    pub(crate) payload: u64,
    /// Piece length, a power of two from 16KiB [default: as `shoal create` chooses]
    #[arg(long, value_name = "SIZE", value_parser = parse_piece_length)]
    pub(crate) piece_length: Option<u64>,
    /// The torrent's format
    #[arg(long, default_value = "hybrid")]
    pub(crate) format: FormatArg,
    /// Connections a peer, at most; a real transfer has 100
    #[arg(long, value_name = "N", default_value = "100")]
    pub(crate) neighbours: usize,

    /// Upload of each leech's line
    #[arg(long, value_name = "RATE", default_value = "1MB", value_parser = parse_rate, help_heading = "Lines")]
    pub(crate) up: Rate,
    /// Download of each leech's line
    #[arg(long, value_name = "RATE", default_value = "none", value_parser = parse_rate, help_heading = "Lines")]
    pub(crate) down: Rate,
    /// Upload of each seed's line [default: that of a leech]
    #[arg(long, value_name = "RATE", value_parser = parse_rate, help_heading = "Lines")]
    pub(crate) seed_up: Option<Rate>,
    /// One way between two peers: a duration, or a range like 10ms..80ms of which each pair draws
    #[arg(long, value_name = "DURATION", default_value = "20ms", value_parser = latency, help_heading = "Lines")]
    pub(crate) latency: (Duration, Duration),
    /// Each message is late by up to this
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = parse_brief, help_heading = "Lines")]
    pub(crate) jitter: Duration,
    /// Chance that a packet is lost, as TCP feels it
    #[arg(long, value_name = "SHARE", default_value = "0%", value_parser = share, help_heading = "Lines")]
    pub(crate) loss: f64,

    /// When leeches come: at-once, 'every 2s', 'poisson 2s' (the mean) or 'flash 1m' (many at first, then fewer)
    #[arg(long, value_name = "WHEN", default_value = "at-once", help_heading = "Peers and faults")]
    pub(crate) arrivals: Arrivals,
    /// When leeches go: never, complete, 'complete 30s' or 'after 10m'
    #[arg(long, value_name = "WHEN", default_value = "never", help_heading = "Peers and faults")]
    pub(crate) leave: Departure,
    /// Share of the leeches that upload nothing
    #[arg(long, value_name = "SHARE", default_value = "0%", value_parser = share, help_heading = "Peers and faults")]
    pub(crate) free_riders: f64,
    /// What goes wrong, as in slow-disk=10%,resets=60s
    ///
    /// slow-disk=SHARE of the leeches write a piece in 2 s; full-disk=SHARE of them have no room for a minute; resets=MEAN time
    /// until a connection is lost; partition=DURATION in which one half cannot reach the other; churn=MEAN time until a leech is
    /// killed, to be back after 10 s; corrupt=CHANCE that a block is damaged on its way. SHARE more peers are liars= (damage
    /// one block in five), mute= (send no block), flood= or garbage=.
    #[arg(long, value_name = "FAULT", value_delimiter = ',', help_heading = "Peers and faults")]
    pub(crate) faults: Vec<Fault>,

    /// The run's seed: the same seed gives the same run
    #[arg(long, value_name = "S", default_value = "1", help_heading = "Run")]
    pub(crate) seed: u64,
    /// Runs, with seeds from --seed on; a row for each
    #[arg(long, value_name = "N", default_value = "1", help_heading = "Run")]
    pub(crate) runs: NonZero<u32>,
    /// Runs at a time; it changes no result [default: the number of processors]
    #[arg(long, value_name = "N", help_heading = "Run")]
    pub(crate) threads: Option<NonZero<usize>>,
    /// Simulate coarser: as if a block were N times 16 KiB, in an N-th of the time
    ///
    /// Payload, pieces and rates are N times smaller in the simulation, and what is told is counted N times. A power of two, up to
    /// a block a piece. What it costs in accuracy: docs/simulator.md.
    #[arg(long, value_name = "N", default_value = "1", help_heading = "Run")]
    pub(crate) scale: NonZero<u32>,
    /// Give a run up after this much virtual time [default: ten times the bound, and 10m]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, help_heading = "Run")]
    pub(crate) timeout: Option<Duration>,
    /// Memory that may be used [default: what is free]
    #[arg(long, value_name = "SIZE", value_parser = parse_size, help_heading = "Run")]
    pub(crate) max_memory: Option<u64>,

    #[command(flatten)]
    pub(crate) json: JsonObjectArgs,
    /// Write the run's course as CSV; - is standard output, instead of the table
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Output")]
    pub(crate) csv: Option<PathBuf>,
    /// Draw completion and utilisation over time, with the bound
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Output")]
    pub(crate) svg: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) talk: TalkArgs,
}

/// Does what must hold hold, whatever goes wrong?
///
/// A fault seed is a small swarm in which everything goes wrong for a while, and then nothing any more: what must hold is
/// checked after every event, and in the end all leeches have to complete. A scenario has one thing that goes wrong. Exit
/// code 0: all held; 1: something did not (the line after it replays it). docs/faults.md says what is checked.
///
/// A long range is done in parts, as in --seeds 0..5000 and --seeds 5000..10000; who interrupts is told where to go on.
#[derive(Args, Debug, Clone)]
#[command(arg_required_else_help = true)]
#[command(group(clap::ArgGroup::new("what").args(["seeds", "scenario", "list"]).required(true).multiple(true)))]
pub(crate) struct FaultsArgs {
    /// Fault seeds: from the first, up to and without the second
    #[arg(long, value_name = "A..B", value_parser = parse_seeds)]
    pub(crate) seeds: Option<std::ops::Range<u64>>,
    /// Scenarios by their names; all is all of them
    #[arg(long, value_name = "NAME", num_args = 1..)]
    pub(crate) scenario: Vec<String>,
    /// Names of the scenarios and what must hold in each
    #[arg(long, conflicts_with_all = ["seeds", "scenario", "watch"])]
    pub(crate) list: bool,
    /// Print what this node's swarm was told and ordered last; with one seed
    #[arg(long, value_name = "NODE", requires = "seeds", conflicts_with_all = ["scenario", "json"])]
    pub(crate) watch: Option<u32>,
    /// Runs at a time; it changes no result [default: the number of processors]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<NonZero<usize>>,

    #[command(flatten)]
    pub(crate) json: JsonObjectArgs,
    #[command(flatten)]
    pub(crate) talk: TalkArgs,
}

/// What happened in a download? Runs a trace again
///
/// FILE was written by `shoal download --trace FILE`. Its events are given to the same code once more, and what that
/// orders is compared with what it ordered then. Prints what came when, who gave what, and why nothing moved. Exit code 0:
/// it does the same again; 1: it does not, which is told with the first event where it differs; 6: FILE is no trace or is
/// damaged (what comes before the damage is shown). docs/trace.md says what a trace holds.
#[derive(Args, Debug, Clone)]
#[command(arg_required_else_help = true)]
pub(crate) struct ReplayArgs {
    /// The trace
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) trace: PathBuf,
    /// Stop after this much of the recorded time, and show how it stood then
    #[arg(long, value_name = "DURATION", value_parser = parse_brief)]
    pub(crate) until: Option<Duration>,
    /// Print the last N events before the end, before --until, or before what differs, and what was ordered at each
    #[arg(long, value_name = "N", default_value = "0")]
    pub(crate) events: usize,

    #[command(flatten)]
    pub(crate) json: JsonObjectArgs,
    #[command(flatten)]
    pub(crate) talk: TalkArgs,
}

/// Seeds of one run of the command. What each gave is kept until the end, some 200 bytes; chosen: 200 MB.
const MAX_SEEDS: u64 = 1_000_000;

/// A range of seeds that is not empty.
fn parse_seeds(text: &str) -> Result<std::ops::Range<u64>, String> {
    let range = text.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    match range.filter(|range: &std::ops::Range<u64>| !range.is_empty()) {
        Some(range) if range.end - range.start > MAX_SEEDS => {
            Err(format!("at most {MAX_SEEDS} seeds at a time; take the range in parts"))
        }
        Some(range) => Ok(range),
        None => Err(format!("'{text}' is not a range of seeds; write it like 0..500, the last one left out")),
    }
}

/// Durations that may be shorter than a second.
fn parse_brief(text: &str) -> Result<Duration, String> {
    match latency(text) {
        Ok((least, most)) if least == most => Ok(least),
        _ => Err(format!("'{text}' is not a duration; write it like 5ms")),
    }
}
