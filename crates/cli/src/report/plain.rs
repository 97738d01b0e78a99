//! Standard error without a terminal: talk, and one line of progress each 30 seconds or when the state changes.
//!
//! Logs are read hours later, so a line says all that it needs by itself: name, phase, figures.

use super::event::{Event, Phase, Progress, checking_line};
use super::{Sink, Target, write_line};
use crate::escape::escape;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::{Duration, Instant};

/// Product rule: at most one plain line in this time while nothing changes.
const EVERY: Duration = Duration::from_secs(30);

/// Checking that ends within this time is not worth a line. Chosen: a person waits so long without a question.
const BRIEF: Duration = Duration::from_secs(2);

/// Writes lines.
pub(crate) struct Plain {
    out: Box<dyn Write + Send>,
    many: bool,
    said: BTreeMap<Target, Said>,
}

/// What was last said about a torrent.
struct Said {
    state: State,
    at: Instant,
}

/// What counts as a change: the phase and the reason, not the figures.
#[derive(PartialEq, Eq)]
enum State {
    Checking(&'static str),
    Transfer(Phase, Option<String>),
}

impl Plain {
    /// A sink that owns a stream.
    pub(crate) fn new(out: Box<dyn Write + Send>, many: bool) -> Plain {
        Plain { out, many, said: BTreeMap::new() }
    }

    fn is_same(&self, target: Target, progress: &Progress) -> bool {
        let state = State::Transfer(progress.phase, progress.reason.clone());
        self.said.get(&target).is_some_and(|said| said.state == state)
    }

    fn is_due(&mut self, target: Target, state: State) -> bool {
        let now = Instant::now();
        if matches!(state, State::Checking(_)) && self.said.get(&target).is_none_or(|said| said.state != state) {
            // As if said long ago, so that it is said soon, if it is then still so.
            let at = now.checked_sub(EVERY - BRIEF).unwrap_or(now);
            self.said.insert(target, Said { state, at });
            return false;
        }
        match self.said.get_mut(&target) {
            Some(said) if said.state == state && now.duration_since(said.at) < EVERY => false,
            Some(said) => {
                *said = Said { state, at: now };
                true
            }
            None => {
                self.said.insert(target, Said { state, at: now });
                true
            }
        }
    }
}

impl Sink for Plain {
    fn event(&mut self, target: Target, event: &Event) -> io::Result<()> {
        match event {
            &Event::Checking { done_bytes, total_bytes, work, rate }
                if self.is_due(target, State::Checking(work.word())) =>
            {
                self.say(&checking_line(work, done_bytes, total_bytes, rate));
            }
            // What is done is told by the command, with its path.
            Event::Progress(progress) if progress.phase == Phase::Done => {}
            // Thousands of idle seeds would fill a log with nothing.
            Event::Progress(progress) if progress.is_idle_seed() && self.is_same(target, progress) => {}
            Event::Progress(progress)
                if self.is_due(target, State::Transfer(progress.phase, progress.reason.clone())) =>
            {
                let name = if self.many { format!("{}: ", progress.name) } else { String::new() };
                let line = progress.line();
                let gap = if line.is_empty() { "" } else { ": " };
                self.say(&format!("{name}{}{gap}{line}", progress.phase.word()));
            }
            _ => {}
        }
        Ok(())
    }

    fn working(&mut self, _: f64, line: &str) {
        if self.is_due(0, State::Checking("working")) {
            self.say(line);
        }
    }

    fn say(&mut self, line: &str) {
        // Nobody can be told that standard error is closed.
        let _ = write_line(&mut self.out, &escape(line));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::Tape;

    #[test]
    fn a_line_comes_at_a_change_of_state_and_not_at_each_figure() {
        let tape = Tape::default();
        let mut plain = Plain::new(Box::new(tape.clone()), false);
        let mut progress = Progress { total_bytes: 100, peers: 1, phase: Phase::Downloading, ..Progress::default() };
        for done in 0..50 {
            progress.done_bytes = done;
            plain.event(0, &Event::Progress(progress.clone())).unwrap();
        }
        progress.reason = Some("no\u{1b} peer".to_owned());
        plain.event(0, &Event::Progress(progress.clone())).unwrap();
        plain.event(0, &Event::Progress(progress.clone())).unwrap();
        assert_eq!(
            tape.text(),
            "downloading: 0 %  0 B/s  1 peer  0 of 100 B\ndownloading: 49 %  no\\u{1b} peer  49 of 100 B\n"
        );
    }

    #[test]
    fn brief_checking_is_not_worth_a_line() {
        let tape = Tape::default();
        let mut plain = Plain::new(Box::new(tape.clone()), false);
        let checking = |done_bytes| Event::Checking { done_bytes, total_bytes: 9, work: Default::default(), rate: 1 };
        (0..9).for_each(|done| plain.event(0, &checking(done)).unwrap());
        assert_eq!(tape.text(), "");
        let long_ago = Instant::now().checked_sub(EVERY + BRIEF).unwrap();
        plain.said.get_mut(&0).unwrap().at = long_ago;
        plain.event(0, &checking(9)).unwrap();
        assert_eq!(tape.text().lines().count(), 1);
    }

    #[test]
    fn several_torrents_are_named() {
        let tape = Tape::default();
        let mut plain = Plain::new(Box::new(tape.clone()), true);
        let progress = Progress { name: "a".to_owned(), ..Progress::default() };
        plain.event(0, &Event::Progress(progress.clone())).unwrap();
        plain.event(1, &Event::Progress(Progress { name: "b".to_owned(), ..progress })).unwrap();
        assert_eq!(tape.text(), "a: finding peers\nb: finding peers\n");
    }
}
