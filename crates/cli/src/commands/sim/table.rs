//! The report for people, for a terminal of 80 columns.

use super::json::{ended, format};
use super::swarm::Report;
use crate::size;
use shoal_sim::experiment::{Arrivals, Departure, Outcome, SwarmParams, latency_text};
use std::fmt::Write;
use std::time::Duration;

/// Rows printed, at most; what is beyond is in their mean, the JSON and the CSV.
const MOST_ROWS: usize = 30;

/// All of it, without the last line end.
pub(super) fn render(report: &Report) -> String {
    let mut text = question(&report.params);
    let outcomes: Vec<&Outcome> = report.runs.iter().filter_map(|run| run.outcome.as_ref().ok()).collect();
    if let Some(first) = outcomes.first() {
        let bound = time(first.row.bound_s);
        let _ = writeln!(text, "Bound: {bound} = {}", first.bound.formula());
    }
    let _ = writeln!(
        text,
        "\n{:>8} {:>11} {:>8} {:>6} {:>8} {:>8} {:>7} {:>7} {:>6}",
        "seed", "complete", "finish", "/bound", "first", "median", "copies", "wasted", "used"
    );
    for (run, outcome) in report.runs.iter().filter_map(|run| Some((run, run.outcome.as_ref().ok()?))).take(MOST_ROWS) {
        let row = &outcome.row;
        let needed = report.params.payload as f64 * f64::from(row.peers);
        let _ = writeln!(
            text,
            "{:>8} {:>11} {:>8} {:>6} {:>8} {:>8} {:>7.2} {:>7} {:>6}",
            run.seed,
            format!("{}/{}", row.complete, row.peers),
            row.finish_s.map_or_else(|| ended(run).to_owned(), time),
            row.finish_over_bound.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.3}")),
            row.first_s.map_or_else(|| "-".to_owned(), time),
            row.median_s.map_or_else(|| "-".to_owned(), time),
            row.copies_sent_by_seeds,
            percent(row.waste_bytes as f64 / needed),
            row.utilisation.map_or_else(|| "-".to_owned(), percent),
        );
    }
    if report.runs.len() > MOST_ROWS {
        let _ = writeln!(text, "     ... and {} more", report.runs.len() - MOST_ROWS);
    }
    text.push_str(&means(&outcomes));
    let seconds = report.wall.as_secs_f64();
    let _ = write!(text, "\nDigest {:016x}; {} events in {seconds:.1} s", report.digest(), grouped(report.events()),);
    if seconds >= 0.1 {
        let _ = write!(text, " ({}/s)", grouped((report.events() as f64 / seconds) as u64));
    }
    if let Some(bytes) = report.peak_rss {
        let _ = write!(text, ", {} of memory", size::bytes(bytes));
    }
    text
}

/// What was asked.
pub(super) fn question(params: &SwarmParams) -> String {
    let rate = |rate: Option<u64>| rate.map_or_else(|| "no limit".to_owned(), size::rate);
    let mut text = format!(
        "Swarm: {} and {} share {} in {} of {} ({})\n",
        size::count(u64::from(params.peers), "leech").replace("leechs", "leeches"),
        size::count(u64::from(params.seeds), "seed"),
        size::bytes(params.payload),
        size::count(params.pieces(), "piece"),
        size::bytes(u64::from(params.piece_length)),
        format(params.kind),
    );
    let _ = writeln!(
        text,
        "Lines: leech up {}, down {}; seed up {}; {} one way",
        rate(params.up),
        rate(params.down),
        rate(params.seed_up),
        latency_text(params.latency)
    );
    let mut more = Vec::new();
    if !params.jitter.is_zero() {
        more.push(format!("jitter {}", latency_text((params.jitter, params.jitter))));
    }
    if params.loss > 0.0 {
        more.push(format!("loss {}", percent(params.loss)));
    }
    if params.arrivals != Arrivals::AtOnce {
        more.push(format!("leeches come {}", params.arrivals));
    }
    if params.leave != Departure::Never {
        more.push(format!("leave {}", params.leave));
    }
    if params.free_riders > 0.0 {
        more.push(format!("{} free-riders", percent(params.free_riders)));
    }
    if params.scale > 1 {
        more.push(format!("{} times coarser", params.scale));
    }
    more.extend(params.faults.iter().map(ToString::to_string));
    if !more.is_empty() {
        let _ = writeln!(text, "And:   {}", more.join(", "));
    }
    text
}

/// The mean of several runs, and how far they lie apart.
fn means(outcomes: &[&Outcome]) -> String {
    let ratios: Vec<f64> = outcomes.iter().filter_map(|outcome| outcome.row.finish_over_bound).collect();
    if ratios.len() < 2 {
        return String::new();
    }
    let mean = ratios.iter().sum::<f64>() / ratios.len() as f64;
    let (least, most) = ratios.iter().fold((f64::MAX, 0.0_f64), |(least, most), &r| (least.min(r), most.max(r)));
    format!("\nFinish over bound: {mean:.3} on average ({least:.3} to {most:.3}) of {} runs\n", ratios.len())
}

/// Seconds for people: finer where they are few.
pub(super) fn time(seconds: f64) -> String {
    if seconds < 100.0 { format!("{seconds:.2}s") } else { size::time(Duration::from_secs_f64(seconds.round())) }
}

fn percent(share: f64) -> String {
    format!("{:.1}%", share * 100.0)
}

/// `1 234 567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let parts: Vec<&str> =
        (0..digits.len()).rev().step_by(3).map(|end| &digits[(end + 1).saturating_sub(3)..=end]).collect();
    parts.into_iter().rev().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_times_are_as_fine_as_they_are_short() {
        assert_eq!([0, 12, 123, 1_234, 1_234_567].map(grouped), ["0", "12", "123", "1 234", "1 234 567"]);
        assert_eq!([0.5, 99.0, 307.4, 7_300.0].map(time), ["0.50s", "99.00s", "5m07s", "2h01m"]);
    }
}
