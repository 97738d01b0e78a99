//! Standard output as JSON: one event a line, as it happens; snapshots once a second and at a change of state.

use super::event::{Event, SCHEMA};
use super::{Sink, Target, write_line};
use crate::escape::escape_json;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::{Duration, Instant};

/// Snapshots come at most this often while nothing but figures changes. Chosen: enough for any graph.
const EVERY: Duration = Duration::from_secs(1);

/// Writes events as JSON.
pub(crate) struct Json {
    out: Box<dyn Write + Send>,
    /// Several torrents: each line says which.
    many: bool,
    first: bool,
    /// The last snapshot of each torrent.
    snapshots: BTreeMap<Target, (Instant, Event)>,
}

#[derive(Serialize)]
struct Line<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    schema: Option<u32>,
    #[serde(flatten)]
    event: &'a Event,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<usize>,
}

impl Json {
    /// A sink that owns a stream.
    pub(crate) fn new(out: Box<dyn Write + Send>, many: bool) -> Json {
        Json { out, many, first: true, snapshots: BTreeMap::new() }
    }

    /// Whether a snapshot says more than figures that the next one will say better.
    fn is_due(&mut self, target: Target, event: &Event) -> bool {
        let now = Instant::now();
        let due = match (self.snapshots.get(&target), event) {
            (Some((_, Event::Checking { work: last, .. })), Event::Checking { done_bytes, total_bytes, work, .. })
                if last == work && done_bytes != total_bytes =>
            {
                false
            }
            (Some((_, Event::Progress(last))), Event::Progress(next)) => {
                let changed = last.phase != next.phase || last.reason != next.reason;
                changed || next.done_bytes == next.total_bytes && last.done_bytes != next.done_bytes
            }
            (_, Event::Checking { .. } | Event::Progress(_)) => true,
            _ => return true,
        };
        // Thousands of idle seeds would fill a log with nothing.
        if let (Some((_, Event::Progress(last))), Event::Progress(next)) = (self.snapshots.get(&target), event)
            && next.is_idle_seed()
            && last == next
        {
            return false;
        }
        let waited = self.snapshots.get(&target).is_none_or(|(at, _)| now.duration_since(*at) >= EVERY);
        if due || waited {
            self.snapshots.insert(target, (now, event.clone()));
        }
        due || waited
    }
}

impl Sink for Json {
    fn print(&mut self, text: &str) -> io::Result<()> {
        write_line(&mut self.out, text)
    }

    fn event(&mut self, target: Target, event: &Event) -> io::Result<()> {
        if !self.is_due(target, event) {
            return Ok(());
        }
        let schema = std::mem::take(&mut self.first).then_some(SCHEMA);
        // Where the process listens is no torrent's affair.
        let is_of_torrent = !matches!(event, Event::Listening { .. });
        let line = Line { schema, event, target: (self.many && is_of_torrent).then_some(target + 1) };
        let line = serde_json::to_string(&line).map_err(io::Error::other)?;
        write_line(&mut self.out, &escape_json(&line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::Tape;

    #[test]
    fn the_first_event_carries_the_schema_and_each_stands_on_one_line() {
        let tape = Tape::default();
        let mut json = Json::new(Box::new(tape.clone()), false);
        json.event(0, &Event::Piece { index: 3 }).unwrap();
        json.event(0, &Event::Error { code: 4, message: "two\nlines".to_owned() }).unwrap();
        assert_eq!(
            tape.text(),
            "{\"schema\":1,\"event\":\"piece\",\"index\":3}\n{\"event\":\"error\",\"code\":4,\"message\":\"two\\nlines\"}\n"
        );
    }

    #[test]
    fn snapshots_that_only_differ_in_figures_wait_a_second() {
        use crate::report::{Phase, Progress};
        let tape = Tape::default();
        let mut json = Json::new(Box::new(tape.clone()), false);
        let mut progress = Progress { total_bytes: 3, phase: Phase::Downloading, ..Progress::default() };
        for done in 0..=3 {
            progress.done_bytes = done;
            json.event(0, &Event::Progress(progress.clone())).unwrap();
        }
        progress.reason = Some("why".to_owned());
        json.event(0, &Event::Progress(progress)).unwrap();
        assert_eq!(
            tape.text().lines().count(),
            3,
            "the first, the complete one, the one with a reason: {}",
            tape.text()
        );
    }

    #[test]
    fn several_torrents_are_told_apart() {
        let tape = Tape::default();
        let mut json = Json::new(Box::new(tape.clone()), true);
        json.event(1, &Event::Piece { index: 3 }).unwrap();
        assert_eq!(tape.text(), "{\"schema\":1,\"event\":\"piece\",\"index\":3,\"target\":2}\n");
    }
}
