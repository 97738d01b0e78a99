//! Standard error on a terminal: a bar for each torrent, talk above the bars.
//!
//! A line is `name  bar  phase and figures`, cut to the terminal's width less what the terminal itself writes at Ctrl-C, which
//! would otherwise begin a line of its own and leave the bar behind. At most [`MAX_BARS`] are drawn:
//! a folder of a thousand torrents must not scroll the screen away; the rest still talk.

use super::event::{Event, Phase, Progress, checking_line};
use super::{Sink, Target};
use crate::escape::{cut, escape, fit};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::BTreeMap;
use std::io;

/// Chosen: half of the smallest usual terminal.
const MAX_BARS: usize = 12;
/// Columns of the name, when several torrents need telling apart; with bar and figures the line fits 80 columns.
const NAME_COLUMNS: usize = 20;
/// Columns of the bar.
const BAR_COLUMNS: usize = 10;
/// Columns that stay free at the end: `^C`, and one for the cursor.
const FREE_COLUMNS: usize = 3;
/// Where the terminal does not say.
const USUAL_COLUMNS: usize = 80;
/// Redraws a second. Chosen: smooth, and nothing to a remote terminal.
const REDRAWS_PER_S: u8 = 10;

/// Draws bars.
pub(crate) struct Bars {
    multi: MultiProgress,
    color: bool,
    many: bool,
    /// Whether standard output is a terminal too, most likely the same.
    shared_terminal: bool,
    bars: BTreeMap<Target, ProgressBar>,
}

impl Bars {
    /// Bars on standard error.
    pub(crate) fn new(color: bool, many: bool, shared_terminal: bool) -> Bars {
        let target = ProgressDrawTarget::stderr_with_hz(REDRAWS_PER_S);
        Bars { multi: MultiProgress::with_draw_target(target), color, many, shared_terminal, bars: BTreeMap::new() }
    }

    /// Shows `done` of `total` in the torrent's bar; no bar is drawn where there is no total yet.
    fn show(&mut self, target: Target, name: &str, span: Option<(u64, u64)>, text: &str) {
        if !self.bars.contains_key(&target) && self.bars.len() >= MAX_BARS {
            return;
        }
        let bar = self.bars.entry(target).or_insert_with(|| self.multi.add(ProgressBar::no_length()));
        let name_part = if self.many { "{prefix} " } else { "" };
        let bar_part = match (span, self.color) {
            (None, _) => String::new(),
            (Some(_), true) => format!("{{bar:{BAR_COLUMNS}.green}} "),
            (Some(_), false) => format!("{{bar:{BAR_COLUMNS}}} "),
        };
        if let Ok(style) = ProgressStyle::with_template(&format!("{name_part}{bar_part}{{msg}}")) {
            bar.set_style(style.progress_chars("━╸─"));
        }
        if self.many {
            bar.set_prefix(format!("{:<NAME_COLUMNS$}", fit(name, NAME_COLUMNS)));
        }
        if let Some((done, total)) = span {
            bar.set_length(total.max(1));
            bar.set_position(if total == 0 { 1 } else { done.min(total) });
        }
        let columns =
            terminal_size::terminal_size_of(io::stderr()).map_or(USUAL_COLUMNS, |(width, _)| usize::from(width.0));
        let taken = if self.many { NAME_COLUMNS + 1 } else { 0 } + span.map_or(0, |_| BAR_COLUMNS + 1) + FREE_COLUMNS;
        bar.set_message(cut(text, columns.saturating_sub(taken)));
    }

    fn remove(&mut self, target: Target) {
        if let Some(bar) = self.bars.remove(&target) {
            bar.finish_and_clear();
            self.multi.remove(&bar);
        }
    }
}

fn transfer_span(progress: &Progress) -> Option<(u64, u64)> {
    let has_total = progress.total_bytes > 0 && !matches!(progress.phase, Phase::Seeding | Phase::Done);
    has_total.then_some((progress.done_bytes, progress.total_bytes))
}

impl Sink for Bars {
    fn event(&mut self, target: Target, event: &Event) -> io::Result<()> {
        match event {
            &Event::Checking { done_bytes, total_bytes, work, rate } => {
                let text = checking_line(work, done_bytes, total_bytes, rate);
                self.show(target, "", Some((done_bytes, total_bytes)), &text);
                if done_bytes == total_bytes {
                    self.remove(target);
                }
            }
            Event::Progress(progress) => {
                let text = format!("{} {}", progress.phase.word(), progress.line());
                self.show(target, &progress.name, transfer_span(progress), text.trim_end());
            }
            Event::Error { .. } | Event::Done { .. } => self.remove(target),
            _ => {}
        }
        Ok(())
    }

    fn working(&mut self, done: f64, line: &str) {
        // Parts of a thousand are finer than the bar.
        self.show(0, "", Some(((done * 1_000.0) as u64, 1_000)), line);
    }

    fn say(&mut self, line: &str) {
        let line = escape(line);
        // `println` is silent when nothing is drawn to a terminal; this sink only exists when there is one.
        let _ = self.multi.println(&line);
    }

    fn suspend(&mut self, write: &mut dyn FnMut()) {
        if self.shared_terminal { self.multi.suspend(write) } else { write() }
    }

    fn close(&mut self) {
        for bar in self.bars.values() {
            bar.finish_and_clear();
        }
        self.bars.clear();
        let _ = self.multi.clear();
    }
}
