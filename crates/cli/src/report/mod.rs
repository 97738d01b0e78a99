//! What a command says while it runs: events for scripts, results for pipes, bars and lines for people.
//!
//! A command states facts once, as [`Event`]s and as talk; sinks decide who sees what. Two are at work at a time: one owns
//! standard output (bare results, or JSON), one owns standard error (bars on a terminal, else plain lines). So no command
//! asks whether it runs on a terminal, and JSON on one stream goes with bars on the other.
//!
//! Invariant: standard output carries results only. A closed pipe there is not an error of the work: the rest is
//! dropped in silence; any other failure is kept for the end ([`Reporter::finish`]).

mod bars;
mod event;
mod json;
mod plain;
mod results;

pub(crate) use event::{Event, Phase, Progress, SCHEMA, Work};

use crate::exit::{Exit, Failure, OrExit};
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How much a line of talk matters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Level {
    /// Said unless `-q`.
    Normal,
    /// Said with `-v`.
    Verbose,
}

/// Which of a command's torrents is meant: its place among the arguments, from 0.
pub(crate) type Target = usize;

/// Somebody who listens to a command.
pub(crate) trait Sink: Send {
    /// Something happened to a torrent.
    fn event(&mut self, target: Target, event: &Event) -> io::Result<()>;
    /// A result that is no event: lines ready to be shown (`show`).
    fn print(&mut self, text: &str) -> io::Result<()> {
        let _ = text;
        Ok(())
    }
    /// A line for people: not escaped, without its line end.
    fn say(&mut self, line: &str) {
        let _ = line;
    }
    /// How far work of another kind is, 0 to 1, with a line for people.
    fn working(&mut self, done: f64, line: &str) {
        let _ = (done, line);
    }
    /// Takes the bars away while another stream of the same terminal is written to.
    fn suspend(&mut self, write: &mut dyn FnMut()) {
        write();
    }
    /// The command ends: bars go away.
    fn close(&mut self) {}
}

/// A stream that several sinks write to.
#[derive(Clone)]
pub(crate) struct Stream(Arc<Mutex<dyn Write + Send>>);

impl Stream {
    /// Shares a stream.
    pub(crate) fn new(stream: impl Write + Send + 'static) -> Stream {
        Stream(Arc::new(Mutex::new(stream)))
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).flush()
    }
}

/// The two streams of a process, or of a test.
#[derive(Clone)]
pub(crate) struct Streams {
    /// For results.
    pub(crate) out: Stream,
    /// Whether somebody looks at it.
    pub(crate) out_is_terminal: bool,
    /// For progress and talk.
    pub(crate) err: Stream,
    /// Whether somebody looks at it.
    pub(crate) err_is_terminal: bool,
}

impl Streams {
    /// The process's own.
    pub(crate) fn of_process() -> Streams {
        Streams {
            out: Stream::new(io::stdout()),
            out_is_terminal: io::stdout().is_terminal(),
            err: Stream::new(io::stderr()),
            err_is_terminal: io::stderr().is_terminal(),
        }
    }
}

/// How standard error is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Style {
    /// `-q`.
    pub(crate) quiet: bool,
    /// `-v`, counted.
    pub(crate) verbose: u8,
    /// Standard error is a terminal that can redraw a line.
    pub(crate) bars: bool,
    /// Colours may be used there.
    pub(crate) color: bool,
}

/// The sinks of a command. Cheap to clone; all clones speak to the same sinks.
#[derive(Clone)]
pub(crate) struct Reporter {
    shared: Arc<Mutex<Shared>>,
    style: Style,
}

struct Shared {
    out: Box<dyn Sink>,
    talk: Option<Box<dyn Sink>>,
    err: Stream,
    /// The first failure of standard output that was not a closed pipe; nothing is written after any.
    broken: Option<io::Error>,
}

impl Reporter {
    /// For these streams. `json`: results are JSON events. `many`: several torrents are to be told apart.
    pub(crate) fn new(streams: Streams, style: Style, json: bool, many: bool) -> Reporter {
        let Streams { out, out_is_terminal, err, .. } = streams;
        let out: Box<dyn Sink> = if json {
            Box::new(json::Json::new(Box::new(out), many))
        } else {
            Box::new(results::Results::new(Box::new(out), out_is_terminal))
        };
        let talk: Option<Box<dyn Sink>> = match style {
            Style { quiet: true, .. } => None,
            Style { bars: true, .. } => Some(Box::new(bars::Bars::new(style.color, many, out_is_terminal))),
            _ => Some(Box::new(plain::Plain::new(Box::new(err.clone()), many))),
        };
        Reporter { shared: Arc::new(Mutex::new(Shared { out, talk, err, broken: None })), style }
    }

    /// Tells everyone.
    pub(crate) fn event(&self, target: Target, event: &Event) {
        let mut shared = self.lock();
        let Shared { out, talk, broken, .. } = &mut *shared;
        let mut write = || {
            if broken.is_none() {
                *broken = out.event(target, event).err();
            }
        };
        match talk {
            Some(talk) => {
                // Nobody can be told that standard error is closed.
                let _ = talk.event(target, event);
                talk.suspend(&mut write);
            }
            None => write(),
        }
    }

    /// Says a line to people.
    pub(crate) fn say(&self, level: Level, line: &str) {
        if level == Level::Verbose && self.style.verbose == 0 {
            return;
        }
        if let Some(talk) = &mut self.lock().talk {
            talk.say(line);
        }
    }

    /// Says how far work is that is no transfer: a bar, or a line now and then.
    pub(crate) fn working(&self, done: f64, line: &str) {
        if let Some(talk) = &mut self.lock().talk {
            talk.working(done, line);
        }
    }

    /// Prints a result that is no event.
    pub(crate) fn print(&self, text: &str) {
        let mut shared = self.lock();
        if shared.broken.is_none() {
            shared.broken = shared.out.print(text).err();
        }
    }

    /// Tells everyone that a torrent failed, also with `-q`.
    pub(crate) fn fail(&self, target: Target, failure: &Failure) {
        self.event(target, &Event::Error { code: failure.exit.code(), message: failure.line() });
        let (red, plain) = if self.style.color { ("\x1b[1;31m", "\x1b[0m") } else { ("", "") };
        let line = format!("{red}error:{plain} {}", failure.line());
        let mut shared = self.lock();
        let Shared { talk, err, .. } = &mut *shared;
        let mut write = || {
            let _ = write_line(err, &line);
        };
        match talk {
            Some(talk) => talk.suspend(&mut write),
            None => write(),
        }
    }

    /// Takes the bars away; says whether results could be written.
    pub(crate) fn finish(&self) -> Result<(), Failure> {
        let mut shared = self.lock();
        if let Some(talk) = &mut shared.talk {
            talk.close();
        }
        match shared.broken.take() {
            Some(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(error).or_exit(Exit::Other, || "cannot write to standard output".to_owned())
            }
            _ => Ok(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes a line in one call, so that lines of two processes in one log do not mix.
fn write_line(out: &mut dyn Write, line: &str) -> io::Result<()> {
    out.write_all(format!("{line}\n").as_bytes())?;
    out.flush()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A stream that a test can read while a sink owns it.
    #[derive(Clone, Default)]
    pub(crate) struct Tape(pub(crate) Arc<Mutex<Vec<u8>>>);

    impl Tape {
        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Tape {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Broken(io::ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const STYLE: Style = Style { quiet: false, verbose: 0, bars: false, color: false };

    fn streams(out: impl Write + Send + 'static, err: &Tape) -> Streams {
        let (out, err) = (Stream::new(out), Stream::new(err.clone()));
        Streams { out, out_is_terminal: false, err, err_is_terminal: false }
    }

    #[test]
    fn a_closed_pipe_is_quiet_and_a_full_disk_is_not() {
        for (kind, quiet) in [(io::ErrorKind::BrokenPipe, true), (io::ErrorKind::StorageFull, false)] {
            let reporter = Reporter::new(streams(Broken(kind), &Tape::default()), STYLE, true, false);
            reporter.event(0, &Event::Piece { index: 1 });
            assert_eq!(reporter.finish().is_ok(), quiet);
        }
    }

    #[test]
    fn verbose_lines_need_v() {
        let tape = Tape::default();
        Reporter::new(streams(io::sink(), &tape), STYLE, false, false).say(Level::Verbose, "hidden");
        let verbose = Style { verbose: 1, ..STYLE };
        Reporter::new(streams(io::sink(), &tape), verbose, false, false).say(Level::Verbose, "seen");
        assert_eq!(tape.text(), "seen\n");
    }

    #[test]
    fn an_error_is_said_even_when_quiet_and_is_an_event_too() {
        let (out, err) = (Tape::default(), Tape::default());
        let quiet = Style { quiet: true, ..STYLE };
        let reporter = Reporter::new(streams(out.clone(), &err), quiet, true, false);
        reporter.fail(0, &Failure::new(Exit::Disk, "cannot write a"));
        assert_eq!(err.text(), "error: cannot write a\n");
        assert_eq!(out.text(), "{\"schema\":1,\"event\":\"error\",\"code\":5,\"message\":\"cannot write a\"}\n");
    }
}
