//! Standard output for people and pipes: links, finished paths, bad files. One a line, nothing else.

use super::event::Event;
use super::{Sink, Target};
use crate::escape::escape;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Writes bare results.
pub(crate) struct Results {
    out: Box<dyn Write + Send>,
    /// Eyes are watching: names are escaped. A pipe gets the exact bytes.
    terminal: bool,
}

impl Results {
    /// A sink that owns a stream.
    pub(crate) fn new(out: Box<dyn Write + Send>, terminal: bool) -> Results {
        Results { out, terminal }
    }

    fn path(&mut self, path: &Path) -> io::Result<()> {
        let mut line = if self.terminal {
            escape(&path.to_string_lossy()).into_owned().into_bytes()
        } else {
            path.as_os_str().as_bytes().to_vec()
        };
        line.push(b'\n');
        self.out.write_all(&line)?;
        self.out.flush()
    }
}

impl Sink for Results {
    fn print(&mut self, text: &str) -> io::Result<()> {
        super::write_line(&mut self.out, text)
    }

    fn event(&mut self, _: Target, event: &Event) -> io::Result<()> {
        match event {
            Event::Link { magnet } => self.path(Path::new(magnet)),
            Event::Done { path } => self.path(path),
            Event::File { place, .. } => self.path(place),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::Tape;

    #[test]
    fn results_stand_alone_and_only_a_terminal_gets_them_escaped() {
        for (terminal, expected) in [(false, "magnet:?x\na\u{202e}b\n"), (true, "magnet:?x\na\\u{202e}b\n")] {
            let tape = Tape::default();
            let mut results = Results::new(Box::new(tape.clone()), terminal);
            results.event(0, &Event::Link { magnet: "magnet:?x".to_owned() }).unwrap();
            results.event(0, &Event::Piece { index: 1 }).unwrap();
            results.event(0, &Event::Done { path: "a\u{202e}b".into() }).unwrap();
            assert_eq!(tape.text(), expected);
        }
    }
}
