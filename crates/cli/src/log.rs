//! What the libraries trace, on standard error: `-v` shows warnings and steps, `-vv` everything.
//!
//! A subscriber of a few lines instead of a framework: no spans, no filters by module, one line an event. Library text may
//! quote strangers, so it is escaped like all that reaches a terminal.

use crate::report::{Level, Reporter};
use std::fmt::{self, Write};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Sends events to the reporter.
struct Log {
    reporter: Reporter,
    most: tracing::Level,
}

/// From now on, traced events are said. Does nothing without `-v`.
pub(crate) fn start(reporter: &Reporter, verbose: u8) {
    let most = match verbose {
        0 => return,
        1 => tracing::Level::INFO,
        2 => tracing::Level::DEBUG,
        _ => tracing::Level::TRACE,
    };
    // An error means that a subscriber is there already, which only tests in one process can bring about.
    let _ = tracing::subscriber::set_global_default(Log { reporter: reporter.clone(), most });
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Other crates' events are theirs to debug.
        *metadata.level() <= self.most && metadata.target().starts_with("shoal")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(format!("[{}]", event.metadata().target().trim_start_matches("shoal_")));
        event.record(&mut line);
        self.reporter.say(Level::Verbose, &line.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// An event's message and fields on one line.
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string cannot fail.
        let _ = match field.name() {
            "message" => write!(self.0, " {value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}
