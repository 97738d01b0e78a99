//! How the program ends: the exit codes that scripts rely on, and errors that carry one.
//!
//! Every command returns `Result<Exit, Failure>`. A failure is one line on stderr that says what failed, on what, and what
//! to do next; its code is chosen where the failure is understood, not guessed from its text at the end.

use std::fmt;
use std::path::Path;

/// The exit codes (`docs/cli.md` lists them for users).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Done; also `share` and `seed` ended by Ctrl-C.
    Done = 0,
    /// Anything without a code of its own.
    Other = 1,
    /// Wrong arguments, variables or configuration.
    Usage = 2,
    /// No peers or no metadata within `--timeout`.
    NoPeers = 3,
    /// A tracker or the network.
    Network = 4,
    /// Disk full or unreadable, before the first byte or past `--timeout`.
    Disk = 5,
    /// A bad torrent or link, or data that does not match.
    BadTorrent = 6,
    /// Unfinished at the end of `--timeout`, and resumable.
    Unfinished = 7,
    /// The same download runs already.
    Running = 8,
    /// Ended by Ctrl-C or SIGTERM before it was done.
    Interrupted = 130,
}

impl Exit {
    /// The number.
    pub(crate) fn code(self) -> u8 {
        self as u8
    }
}

/// A failure and the code to leave with.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The code.
    pub(crate) exit: Exit,
    /// What, on what, what next.
    pub(crate) error: anyhow::Error,
}

impl Failure {
    /// A failure with its message.
    pub(crate) fn new(exit: Exit, message: impl fmt::Display) -> Failure {
        Failure { exit, error: anyhow::anyhow!("{message}") }
    }

    /// What the user named is not there. Where a path begins is said too: most often one is in another folder than one thought.
    pub(crate) fn no_such_path(path: &Path) -> Failure {
        let place = std::env::current_dir().ok().filter(|_| path.is_relative());
        let place = place.map(|folder| format!(" in {}", folder.display())).unwrap_or_default();
        Failure::new(Exit::Usage, format!("there is no file or folder {}{place}; check the path", path.display()))
    }

    /// Whether someone closed the pipe that we write results to: not worth a word.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        self.error.chain().any(|cause| {
            cause.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
        })
    }

    /// The whole chain on one line, causes after colons, harmless for a terminal. A cause that its parent's text
    /// already holds is not said twice.
    pub(crate) fn line(&self) -> String {
        let mut line = String::new();
        for cause in self.error.chain() {
            let text = cause.to_string();
            if line.is_empty() {
                line = text;
            } else if !line.contains(&text) {
                line.push_str(": ");
                line.push_str(&text);
            }
        }
        crate::escape::escape(&line).into_owned()
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure { exit: Exit::Other, error }
    }
}

/// Gives an error its exit code and its context in one step.
pub(crate) trait OrExit<T> {
    /// `what` names the deed and its object: `cannot read a.torrent`.
    fn or_exit(self, exit: Exit, what: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T, E: Into<anyhow::Error>> OrExit<T> for Result<T, E> {
    fn or_exit(self, exit: Exit, what: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| Failure { exit, error: error.into().context(what()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_the_documented_ones() {
        let all = [
            Exit::Done,
            Exit::Other,
            Exit::Usage,
            Exit::NoPeers,
            Exit::Network,
            Exit::Disk,
            Exit::BadTorrent,
            Exit::Unfinished,
            Exit::Running,
            Exit::Interrupted,
        ];
        assert_eq!(all.map(Exit::code), [0, 1, 2, 3, 4, 5, 6, 7, 8, 130]);
    }

    #[test]
    fn a_failure_is_one_harmless_line() {
        let io = std::io::Error::other("bad\nluck\u{1b}");
        let failed: Result<(), _> = Err(io).or_exit(Exit::Disk, || "cannot read x".to_owned());
        let failure = failed.unwrap_err();
        assert_eq!(failure.exit, Exit::Disk);
        assert_eq!(failure.line(), "cannot read x: bad\\nluck\\u{1b}");
    }

    #[test]
    fn a_closed_pipe_is_known_through_its_context() {
        let io = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        let failure = Err::<(), _>(io).or_exit(Exit::Other, || "cannot write the result".to_owned()).unwrap_err();
        assert!(failure.is_broken_pipe());
    }
}
