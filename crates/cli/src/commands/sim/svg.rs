//! A run's course as a picture: who has everything when, how much of the lines is used, and the bound beside both.

use super::swarm::Report;
use crate::commands::sim::table;
use crate::exit::{Exit, Failure, OrExit};
use plotters::prelude::*;
use shoal_sim::experiment::Outcome;

/// Width and height in pixels. Chosen: legible in a document's column.
const SIZE: (u32, u32) = (900, 640);
/// Runs drawn, at most: more lines hide each other.
const MOST_RUNS: usize = 12;
/// Colours that are told apart without red and green (Okabe and Ito 2008).
const BLUE: RGBColor = RGBColor(0, 114, 178);
const ORANGE: RGBColor = RGBColor(230, 159, 0);
const RED: RGBColor = RGBColor(213, 94, 0);
const GREY: RGBColor = RGBColor(110, 110, 110);

/// The SVG's text.
pub(super) fn render(report: &Report) -> Result<String, Failure> {
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        // plotters' errors are those of its backend, which writes to a string.
        draw(&root, report).or_exit(Exit::Other, || "cannot draw the SVG".to_owned())?;
    }
    Ok(text)
}

type Drawing<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Drawn = Result<(), anyhow::Error>;

fn draw(root: &Drawing<'_>, report: &Report) -> Drawn {
    let outcomes: Vec<&Outcome> =
        report.runs.iter().filter_map(|run| run.outcome.as_ref().ok()).take(MOST_RUNS).collect();
    let last = |outcome: &&Outcome| outcome.series.samples().last().map_or(0.0, |sample| sample.time_s);
    let bound_s = outcomes.first().map_or(0.0, |outcome| outcome.row.bound_s);
    let end_s = outcomes.iter().map(last).fold(bound_s, f64::max).max(1e-3) * 1.02;
    let bound = (bound_s > 0.0).then_some(bound_s);
    root.fill(&WHITE).map_err(words)?;
    let heading = table::question(&report.params);
    let mut lines = heading.lines();
    let root = root.titled(lines.next().unwrap_or_default(), ("sans-serif", 17)).map_err(words)?;
    let root = root.titled(lines.next().unwrap_or_default(), ("sans-serif", 13)).map_err(words)?;
    let (upper, lower) = root.split_vertically(SIZE.1 * 11 / 20);

    let done = |outcome: &Outcome| {
        curve(outcome, |sample| {
            sample.done_bytes as f64 / (report.params.payload as f64 * f64::from(report.params.peers))
        })
    };
    let complete =
        |outcome: &Outcome| curve(outcome, |sample| f64::from(sample.complete) / f64::from(report.params.peers));
    let curves = [
        ("payload that leeches have", ORANGE, collect(&outcomes, &done)),
        ("leeches that have all of it", BLUE, collect(&outcomes, &complete)),
    ];
    panel(&upper, "% complete", end_s, bound, &curves)?;

    let used = |outcome: &Outcome| {
        outcome.series.utilisation().filter_map(|(time_s, used)| Some((time_s, used? * 100.0))).collect()
    };
    panel(&lower, "% of upload used", end_s, bound, &[("upload in use", BLUE, collect(&outcomes, &used))])?;
    root.present().map_err(words)
}

type Curve = Vec<(f64, f64)>;

fn curve(outcome: &Outcome, share: impl Fn(&shoal_sim::experiment::Sample) -> f64) -> Curve {
    outcome.series.samples().iter().map(|sample| (sample.time_s, share(sample) * 100.0)).collect()
}

fn collect(outcomes: &[&Outcome], of: &dyn Fn(&Outcome) -> Curve) -> Vec<Curve> {
    outcomes.iter().map(|outcome| of(outcome)).collect()
}

/// One diagram: percents over seconds.
fn panel(
    area: &Drawing<'_>,
    label: &str,
    end_s: f64,
    bound: Option<f64>,
    curves: &[(&str, RGBColor, Vec<Curve>)],
) -> Drawn {
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(52)
        .build_cartesian_2d(0.0..end_s, 0.0..100.0)
        .map_err(words)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .bold_line_style(RGBColor(225, 225, 225))
        .axis_style(GREY)
        .x_desc("seconds of virtual time")
        .y_desc(label)
        .label_style(("sans-serif", 13))
        .draw()
        .map_err(words)?;
    for (name, color, runs) in curves {
        for (n, run) in runs.iter().enumerate() {
            let drawn =
                chart.draw_series(LineSeries::new(run.iter().copied(), color.stroke_width(2))).map_err(words)?;
            if n == 0 {
                let color = *color;
                drawn.label(*name).legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
            }
        }
    }
    if let Some(bound) = bound {
        let line = [(bound, 0.0), (bound, 100.0)];
        let drawn = chart.draw_series(DashedLineSeries::new(line, 6, 4, RED.stroke_width(2))).map_err(words)?;
        drawn
            .label(format!("bound: {}", table::time(bound)))
            .legend(|(x, y)| PathElement::new([(x, y), (x + 18, y)], RED.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .label_font(("sans-serif", 13))
        .background_style(WHITE.mix(0.85))
        .border_style(RGBColor(225, 225, 225))
        .draw()
        .map_err(words)
}

/// plotters' errors borrow nothing, but name the backend's type.
fn words(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow::anyhow!("{error}")
}
