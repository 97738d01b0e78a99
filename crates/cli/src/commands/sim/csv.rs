//! A run's course as CSV (RFC 4180, with bare line feeds): a line for each sample of each run.

use super::swarm::Report;
use std::fmt::Write;

/// All of it, a header first.
pub(super) fn render(report: &Report) -> String {
    let mut text = String::from(
        "seed,time_s,arrived,complete,left,done_bytes,sent_bytes,seed_bytes,could_send_bytes,utilisation\n",
    );
    for outcome in report.runs.iter().filter_map(|run| run.outcome.as_ref().ok()) {
        let used = std::iter::once(None).chain(outcome.series.utilisation().map(|(_, used)| used));
        for (sample, used) in outcome.series.samples().iter().zip(used) {
            let used = used.map_or(String::new(), |used| format!("{used:.4}"));
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "{},{:.6},{},{},{},{},{},{},{},{used}",
                outcome.seed,
                sample.time_s,
                sample.arrived,
                sample.complete,
                sample.left,
                sample.done_bytes,
                sample.sent_bytes,
                sample.seed_bytes,
                sample.could_send_bytes,
            );
        }
    }
    text
}
