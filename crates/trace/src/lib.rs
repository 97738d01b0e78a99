//! A run of one swarm's machine as a file, and the machine run again from it.
//!
//! Machines decide and drivers touch the world, so all that a swarm did in the field is a function of its configuration, its
//! seed and its events with their times. [`Recorder`] stands between the session and its machine and writes these down,
//! with a digest of what was ordered; [`Reader`] and [`Player`] feed them to a fresh machine and compare. So a failure that
//! a user met becomes a file, then a test; and [`Account`] says what happened to whom.
//!
//! Left out: the payload (a block is its place and length; that its piece was right or not comes as an event), pass keys in
//! URLs, and effects (the machine gives them again). Kept, and said so in `docs/trace.md`: addresses of peers, the torrent's
//! info dictionary, what servers and the disk said.
//!
//! Invariant: replaying a trace with the program that wrote it gives the digest that it holds, event for event. What is read
//! is hostile: nothing is allocated by a number that was read, and what is no trace is an error that says where.

mod account;
mod effect;
mod event;
mod field;
mod head;
mod player;
mod privacy;
mod reader;
mod record;
mod recorder;
#[cfg(test)]
mod tests;
mod values;

pub use account::{Account, Firsts, PeerAccount, Sample, Stall};
pub use head::Head;
pub use player::{Difference, Player};
pub use reader::{Answer, Entry, Reader, Tail};
pub use recorder::{DEFAULT_LIMIT, End, Recorder};

/// Why a trace cannot be read, or not further.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The file cannot be read.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// It does not begin like one.
    #[error("it is no trace of shoal's")]
    NotATrace,
    /// A format of another version.
    #[error("it is a trace of format {0}, and this program reads format 1; use the version of shoal that wrote it")]
    Version(u8),
    /// It ends before it began.
    #[error("it ends before its first event")]
    NoHead,
    /// A check does not fit, or what it holds makes no sense.
    #[error("it is damaged: the record at byte {offset} is not what was written")]
    Damaged {
        /// Where that record begins.
        offset: u64,
    },
}
