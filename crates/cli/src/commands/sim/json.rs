//! The one object of `--json`: its keys are the contract (docs/cli.md).

use super::runs::Run;
use super::swarm::{Report, violation};
use crate::report::SCHEMA;
use serde_json::{Value, json};
use shoal_sim::experiment::{Ended, Outcome, SwarmParams, latency_text};
use shoal_sim::swarm::Kind;

/// All of it, on one line.
pub(super) fn render(report: &Report) -> String {
    let outcomes = || report.runs.iter().filter_map(|run| run.outcome.as_ref().ok());
    let violations: Vec<Value> = report
        .runs
        .iter()
        .filter_map(|run| Some(json!({ "seed": run.seed, "what": violation(run)?, "replay": report.replay(run.seed) })))
        .collect();
    let object = json!({
        "schema": SCHEMA,
        "experiment": "swarm",
        "params": params(&report.params),
        "seed": report.seed,
        "rows": outcomes().map(row).collect::<Vec<_>>(),
        "digest": format!("{:016x}", report.digest()),
        "wall_s": (report.wall.as_secs_f64() * 1e3).round() / 1e3,
        "events": report.events(),
        "peak_rss": report.peak_rss,
        "bound_formula": outcomes().next().map(|outcome| outcome.bound.formula()),
        "violations": violations,
    });
    crate::escape::escape_json(&object.to_string()).into_owned()
}

/// A word for how a run ended.
pub(super) fn ended(run: &Run) -> &'static str {
    match run.outcome.as_ref().map(|outcome| &outcome.ended) {
        Ok(Ended::Complete) => "complete",
        Ok(Ended::TimedOut) => "timed-out",
        Ok(Ended::Stopped) => "stopped",
        Ok(Ended::Violated(_)) | Err(_) => "violated",
    }
}

fn row(outcome: &Outcome) -> Value {
    let row = &outcome.row;
    json!({
        "seed": outcome.seed,
        "peers": row.peers,
        "complete": row.complete,
        "bound_s": rounded(row.bound_s),
        "finish_s": row.finish_s.map(rounded),
        "finish_over_bound": row.finish_over_bound.map(rounded),
        "first_s": row.first_s.map(rounded),
        "median_s": row.median_s.map(rounded),
        "first_piece_s": row.first_piece_s.map(rounded),
        "copies_sent_by_seeds": rounded(row.copies_sent_by_seeds),
        "waste_bytes": row.waste_bytes,
        "utilisation": row.utilisation.map(rounded),
        "digest": format!("{:016x}", outcome.digest),
        "events": outcome.events,
        "virtual_s": rounded(outcome.now.as_secs_f64()),
    })
}

/// Microseconds are what the simulator knows.
fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

/// The parameters: rates in bytes per second or null for no limit, the rest as one would type it.
fn params(params: &SwarmParams) -> Value {
    json!({
        "peers": params.peers,
        "seeds": params.seeds,
        "payload": params.payload,
        "piece-length": params.piece_length,
        "format": format(params.kind),
        "up": params.up,
        "down": params.down,
        "seed-up": params.seed_up,
        "latency": latency_text(params.latency),
        "jitter": latency_text((params.jitter, params.jitter)),
        "loss": params.loss,
        "arrivals": params.arrivals.to_string(),
        "leave": params.leave.to_string(),
        "free-riders": params.free_riders,
        "faults": params.faults.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "neighbours": params.neighbours,
        "scale": params.scale,
        "timeout": params.timeout.map(|timeout| latency_text((timeout, timeout))),
    })
}

/// A format's name on the command line.
pub(super) fn format(kind: Kind) -> &'static str {
    match kind {
        Kind::V1 => "v1",
        Kind::V2 => "v2",
        Kind::Hybrid => "hybrid",
    }
}
