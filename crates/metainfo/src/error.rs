//! What a torrent file can have wrong: what is refused, and what is forgiven.
//!
//! Both say where: a key, a file's number, an offset. Text from the torrent is never part of a message, since it may hold
//! anything. Invariant: the number of warnings is bounded, however bad the torrent is.

use crate::{LayerError, Magnet};
use shoal_layout::LayoutError;
use std::fmt;

/// Where in a torrent something is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The torrent file's own dictionary.
    Torrent,
    /// The info dictionary.
    Info,
    /// An entry of the v1 file list, from 0.
    ListedFile(usize),
    /// A file of the v2 file tree, from 0.
    TreeFile(usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Torrent => f.write_str("the torrent file"),
            Place::Info => f.write_str("`info`"),
            Place::ListedFile(index) => write!(f, "entry {index} of `files`"),
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
    /// It is no bencode. The offset counts from what was given.
    #[error("this is no bencoded data: {0}")]
    Bencode(#[from] shoal_bencode::Error),
    /// Something else than a dictionary.
    #[error("{0} is no dictionary")]
    NoDictionary(Place),
    /// A key that has to be there is not.
    #[error("{place} has no `{key}`")]
    Missing {
        /// Where.
        place: Place,
        /// The key.
        key: &'static str,
    },
    /// A value of the wrong kind, or out of its range.
    #[error("`{key}` of {place} is not {expected}")]
    Wrong {
        /// Where.
        place: Place,
        /// The key.
        key: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// The info dictionary has a key twice: others may see another torrent in it than we do.
    #[error("`info` has a key twice (byte {offset} of it)")]
    RepeatedKey {
        /// Offset of the second one in the info dictionary.
        offset: usize,
    },
    /// A v2 info dictionary that is not in the one form that it may have (BEP 52: sorted keys, no leading zeros).
    #[error("`info` of a v2 torrent is not canonical bencode (byte {offset} of it)")]
    NotCanonical {
        /// Offset in the info dictionary.
        offset: usize,
    },
    /// `meta version` is above 2.
    #[error("`meta version` {0} is not known")]
    Version(i64),
    /// A piece length that v2 forbids (BEP 52), or that is no size.
    #[error("`piece length` {0} is not a power of two of at least 16384")]
    PieceLength(i64),
    /// Lengths that make no torrent.
    #[error("`info`: {0}")]
    Layout(#[from] LayoutError),
    /// Not 20 bytes of `pieces` a piece.
    #[error("`pieces` has {found} bytes, but {pieces} pieces have {}", u64::from(*pieces) * 20)]
    HashCount {
        /// Pieces that the lengths make.
        pieces: u32,
        /// Bytes given.
        found: usize,
    },
    /// There is no file at all.
    #[error("`{0}` has no file in it")]
    NoFiles(&'static str),
    /// A path of more components than [`MAX_PATH_DEPTH`](crate::MAX_PATH_DEPTH).
    #[error("the path of {0} is deeper than {limit}", limit = crate::MAX_PATH_DEPTH)]
    Depth(Place),
    /// The paths of all files together take more memory than is given to them.
    #[error(transparent)]
    Paths(#[from] crate::PathsTooLong),
    /// In the file tree: a file that is also a folder.
    #[error("{0} is a file and a folder")]
    FileAndFolder(Place),
    /// In the file tree: a name that is empty.
    #[error("{0} has an empty name")]
    EmptyName(Place),
    /// In the file tree: a padding file (BEP 52 has none there).
    #[error("{0} is a padding file")]
    Padding(Place),
    /// The path of more files than [`MAX_EQUAL_PATHS`](crate::MAX_EQUAL_PATHS).
    #[error("more than {limit} files have the path of {0}", limit = crate::MAX_EQUAL_PATHS)]
    EqualPaths(Place),
    /// Only one of `pieces` and the file list is there beside the file tree.
    #[error("`info` has half of what a v1 torrent has")]
    HalfV1,
    /// The v1 and the v2 half tell of different files.
    #[error("the v1 and v2 halves differ in {what} (file {file})")]
    HalvesDiffer {
        /// The first file that differs, from 0, padding files not counted.
        file: usize,
        /// In what.
        what: &'static str,
    },
    /// A piece layer that is wrong.
    #[error("the piece layer of {place} is wrong: {error}")]
    Layer {
        /// The first file of this root.
        place: Place,
        /// What is wrong with it.
        error: LayerError,
    },
    /// A piece layer that belongs to no file.
    #[error("`piece layers` has one that is of no file (byte {offset})")]
    StrayLayer {
        /// Offset in the torrent file.
        offset: usize,
    },
    /// The file has a link instead of an info dictionary, as some programs keep what they have not yet fetched.
    #[error("there is no `info`, only a link to it")]
    OnlyLink(Box<Magnet>),
}

/// What was forgiven.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// Dictionary keys are not in order.
    UnsortedKeys {
        /// Whose dictionary.
        place: Place,
        /// Offset of the first one in it.
        offset: usize,
    },
    /// A dictionary has a key twice; the first counts.
    RepeatedKey {
        /// Offset of the second one.
        offset: usize,
    },
    /// A number or length with leading zeros.
    NotCanonical {
        /// Whose dictionary.
        place: Place,
        /// Offset of the first one in it.
        offset: usize,
    },
    /// Bytes after the end.
    TrailingData {
        /// How many.
        bytes: usize,
    },
    /// A key whose value makes no sense; as if it were not there.
    Ignored {
        /// Where.
        place: Place,
        /// The key.
        key: &'static str,
    },
    /// Text that is not UTF-8; the bytes that are not are shown as U+FFFD.
    NotUtf8 {
        /// Where.
        place: Place,
        /// The key.
        key: &'static str,
    },
    /// A name that cannot be on a disk as it is (`..`, a slash, empty).
    UnsafeName(Place),
    /// The same path as another file's.
    SamePath {
        /// The later file.
        place: Place,
    },
    /// A symbolic link that says a length; it has none.
    LinkLength(Place),
    /// Files of a v2 torrent lack their piece layer; peers have to give them.
    MissingLayers {
        /// How many.
        files: usize,
    },
    /// URLs that are none or of no use, left out.
    Urls {
        /// The key or parameter.
        key: &'static str,
        /// How many.
        count: usize,
    },
    /// A magnet link's parameter that makes no sense, left out.
    Parameter(&'static str),
    /// There were more warnings than are kept.
    More(usize),
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::UnsortedKeys { place, offset } => write!(f, "keys of {place} are not sorted (byte {offset})"),
            Warning::RepeatedKey { offset } => write!(f, "a key is there twice, the first counts (byte {offset})"),
            Warning::NotCanonical { place, offset } => {
                write!(f, "{place} has a number with leading zeros (byte {offset})")
            }
            Warning::TrailingData { bytes } => write!(f, "{bytes} bytes follow the end of the torrent"),
            Warning::Ignored { place, key } => write!(f, "`{key}` of {place} makes no sense and is ignored"),
            Warning::NotUtf8 { place, key } => write!(f, "`{key}` of {place} is not UTF-8"),
            Warning::UnsafeName(place) => write!(f, "the name of {place} is not safe on a disk as it is"),
            Warning::SamePath { place } => write!(f, "{place} has the path of another file"),
            Warning::LinkLength(place) => write!(f, "{place} is a symbolic link with a length, which is ignored"),
            Warning::MissingLayers { files } => {
                write!(f, "the piece layers of {files} files are missing; they have to come from peers")
            }
            Warning::Urls { key, count } => write!(f, "{count} URLs of `{key}` are of no use and left out"),
            Warning::Parameter(name) => write!(f, "parameter `{name}` of the link makes no sense and is ignored"),
            Warning::More(count) => write!(f, "{count} more warnings"),
        }
    }
}

/// Collects warnings, at most [`Warnings::MAX`] of them and one that counts the rest.
#[derive(Debug, Default)]
pub(crate) struct Warnings {
    kept: Vec<Warning>,
    more: usize,
}

impl Warnings {
    /// Chosen: more than anyone reads.
    const MAX: usize = 50;

    pub(crate) fn push(&mut self, warning: Warning) {
        if self.kept.len() < Self::MAX {
            self.kept.push(warning);
        } else {
            self.more += 1;
        }
    }

    pub(crate) fn finish(mut self) -> Vec<Warning> {
        if self.more > 0 {
            self.kept.push(Warning::More(self.more));
        }
        self.kept
    }
}
