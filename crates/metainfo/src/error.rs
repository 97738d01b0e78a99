//! What a torrent file can have wrong: what is refused, and what is forgiven.
//!
//! Both say where: a file's number, a key, an offset. Names from the torrent are never part of a message, since they may hold anything; the caller that
//! shows names escapes them.

use std::fmt;

/// Where in a torrent something is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The torrent file's own dictionary.
    Torrent,
    /// The info dictionary.
    Info,
    /// An entry of the v1 file list, from 0.
    FileEntry(usize),
    /// A file of the v2 file tree, from 0.
    TreeFile(usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Torrent => f.write_str("the torrent file"),
            Place::Info => f.write_str("`info`"),
            Place::FileEntry(index) => write!(f, "entry {index} of `files`"),
            Place::TreeFile(index) => write!(f, "file {index} of `file tree`"),
        }
    }
}

/// Why a torrent file or an info dictionary is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetainfoError {
    /// More bytes than are read at all.
    #[error("{found} bytes are more than the {limit} that are read")]
    TooLong {
        /// Bytes given.
        found: usize,
        /// Bytes allowed.
        limit: usize,
    },
}

/// What was forgiven.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// Dictionary keys are not in order.
    UnsortedKeys {
        /// Offset of the first one.
        offset: usize,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::UnsortedKeys { offset } => write!(f, "dictionary keys are not sorted (byte {offset})"),
        }
    }
}
