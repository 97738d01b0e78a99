//! Creation rules: the canonical info dictionary of a list of files.
//!
//! The same names and bytes give the same info hash on every machine, so nothing here looks at a clock, a machine or the
//! order in which files were found: files stand in the byte order of their paths' components, the piece length follows
//! from the total, and the dictionary holds no more than the formats ask for. File access and hashing are for the
//! caller: a [`Plan`] says where each file's bytes lie, [`build`] takes the hashes.
//!
//! BEP 3, 47 (padding, attributes), 52 (v2, and how a hybrid pads its v1 half).

mod build;

pub use build::build;

use crate::{Attributes, Format, MAX_PATH_DEPTH, MetainfoError, names};
use shoal_hash::merkle;
use shoal_layout::{BLOCK_LENGTH, Layout, LayoutError, MAX_PIECE_LENGTH};

/// Pieces that the piece length is chosen for, at most (product.md, "Canonical torrents").
const PIECES_WANTED: u64 = 2000;
/// The longest piece that is chosen, in bytes (product.md, "Canonical torrents").
const MAX_CHOSEN_PIECE_LENGTH: u64 = 16 << 20;

/// One file that is to be in a torrent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedFile {
    /// Path below the root folder; the torrent's name, alone, for a single-file torrent.
    pub path: Vec<String>,
    /// Bytes.
    pub length: u64,
    /// What else to tell of it.
    pub attributes: Attributes,
    /// Its position in the list that the plan was made from.
    pub given: usize,
}

/// The files of a torrent to be made, in canonical order, and where their bytes lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    format: Format,
    name: String,
    single_file: bool,
    files: Vec<PlannedFile>,
    layout: Layout,
}

/// The v2 hashes of one file: its root and, if it is longer than a piece, its piece layer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileHashes {
    root: Option<merkle::Hash>,
    layer: Vec<merkle::Hash>,
}

/// What goes into the info dictionary beside the files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Announced to its trackers only (BEP 27).
    pub private: bool,
    /// A tag that makes the info hash another.
    pub source: Option<String>,
}

/// Why files make no torrent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// Their lengths make none: no data, too many pieces, too long.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A piece length that the format does not allow.
    #[error("the piece length {0} is not a power of two between 16384 and {MAX_PIECE_LENGTH}")]
    PieceLength(u64),
    /// A name that cannot be one component of a path: empty, `.`, `..`, or with a slash or a zero byte.
    #[error("{name:?} cannot be a name in a torrent")]
    Name {
        /// The name.
        name: String,
    },
    /// No path, or one that is deeper than [`MAX_PATH_DEPTH`].
    #[error("file {given} has {depth} folders and names in its path, not 1 to {MAX_PATH_DEPTH}")]
    Depth {
        /// Its position in the list given.
        given: usize,
        /// Components given.
        depth: usize,
    },
    /// Two files of one path, or a file that is also a folder.
    #[error("files {first} and {second} have the same path, or one lies in the other")]
    Clash {
        /// Position of one in the list given.
        first: usize,
        /// Position of the other.
        second: usize,
    },
    /// Not as many hashes as the plan has pieces (v1) or files (v2), or not those of the files' lengths.
    #[error("{found} hashes were given, {expected} are needed")]
    Hashes {
        /// Hashes that the plan needs.
        expected: usize,
        /// Hashes given.
        found: usize,
    },
    /// The dictionary that was made is not one that we would read.
    #[error(transparent)]
    Refused(#[from] MetainfoError),
}

/// The piece length for this many bytes of files: the smallest power of two from 16 KiB that gives at most 2,000 pieces,
/// capped at 16 MiB.
pub fn piece_length_for(total: u64) -> u64 {
    let wanted = total.div_ceil(PIECES_WANTED).max(u64::from(BLOCK_LENGTH));
    wanted.checked_next_power_of_two().map_or(MAX_CHOSEN_PIECE_LENGTH, |length| length.min(MAX_CHOSEN_PIECE_LENGTH))
}

impl Plan {
    /// A torrent of one file.
    pub fn file(
        format: Format,
        name: String,
        length: u64,
        attributes: Attributes,
        piece_length: Option<u64>,
    ) -> Result<Plan, CreateError> {
        check_name(&name)?;
        let file = PlannedFile { path: vec![name.clone()], length, attributes, given: 0 };
        Plan::new(format, name, true, vec![file], piece_length)
    }

    /// A torrent of a folder: paths below it (each at least one component), lengths and attributes, in any order.
    pub fn folder(
        format: Format,
        name: String,
        files: impl IntoIterator<Item = (Vec<String>, u64, Attributes)>,
        piece_length: Option<u64>,
    ) -> Result<Plan, CreateError> {
        check_name(&name)?;
        let mut planned = Vec::new();
        for (given, (path, length, attributes)) in files.into_iter().enumerate() {
            if path.is_empty() || path.len() > MAX_PATH_DEPTH {
                return Err(CreateError::Depth { given, depth: path.len() });
            }
            path.iter().try_for_each(|name| check_name(name))?;
            planned.push(PlannedFile { path, length, attributes, given });
        }
        // By components and not by the joined path, so that it is also the order in which a v2 file tree is walked.
        planned.sort_by(|one, other| one.path.cmp(&other.path));
        for pair in planned.windows(2) {
            // Whatever lies in a folder follows right behind the folder's own name.
            if pair[1].path.starts_with(&pair[0].path) {
                return Err(CreateError::Clash { first: pair[0].given, second: pair[1].given });
            }
        }
        Plan::new(format, name, false, planned, piece_length)
    }

    fn new(
        format: Format,
        name: String,
        single_file: bool,
        mut files: Vec<PlannedFile>,
        piece_length: Option<u64>,
    ) -> Result<Plan, CreateError> {
        for file in &mut files {
            // Links have no data of their own (BEP 47).
            if file.attributes.symlink.is_some() {
                file.length = 0;
            }
        }
        let lengths: Vec<u64> = files.iter().map(|file| file.length).collect();
        let total = lengths.iter().try_fold(0_u64, |total, &length| total.checked_add(length));
        let total = total.ok_or(LayoutError::Overflow { file: 0 })?;
        let piece_length = piece_length.unwrap_or_else(|| piece_length_for(total));
        let is_size = piece_length.is_power_of_two()
            && (u64::from(BLOCK_LENGTH)..=u64::from(MAX_PIECE_LENGTH)).contains(&piece_length);
        if !is_size {
            return Err(CreateError::PieceLength(piece_length));
        }
        let layout = match format {
            Format::V1 => Layout::contiguous(piece_length, &lengths)?,
            Format::V2 => Layout::aligned_whole(piece_length, &lengths)?,
            Format::Hybrid => Layout::aligned(piece_length, &lengths)?,
        };
        Ok(Plan { format, name, single_file, files, layout })
    }

    /// What it is made for.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The torrent's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is one file rather than a folder.
    pub fn is_single_file(&self) -> bool {
        self.single_file
    }

    /// Its files in the torrent's order; the position is the file's index in [`layout`](Self::layout).
    pub fn files(&self) -> &[PlannedFile] {
        &self.files
    }

    /// Where the files' bytes lie. What lies between them hashes as zeros in v1; a v2 piece ends with its file.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }
}

impl FileHashes {
    /// Of a file from the hash of each of its pieces: the root over the piece's 16 KiB blocks, in a tree as wide as a full
    /// piece; for a file of at most one piece, as wide as its blocks rounded up to a power of two ([`PieceRoot::leaves`](crate::PieceRoot::leaves)).
    /// `None` if the count is not that of the length's pieces. An empty file has none.
    pub fn from_pieces(piece_length: u64, length: u64, pieces: Vec<merkle::Hash>) -> Option<FileHashes> {
        if piece_length == 0 || pieces.len() as u64 != length.div_ceil(piece_length) {
            return None;
        }
        if length <= piece_length {
            return Some(FileHashes { root: pieces.first().copied(), layer: Vec::new() });
        }
        let root = merkle::root_of_layer(&pieces, merkle::piece_layer(piece_length)?, length)?;
        Some(FileHashes { root: Some(root), layer: pieces })
    }

    /// The root of the file's tree; an empty file has none.
    pub fn root(&self) -> Option<[u8; 32]> {
        self.root
    }
}

fn check_name(name: &str) -> Result<(), CreateError> {
    if names::is_unsafe(name) {
        return Err(CreateError::Name { name: name.to_owned() });
    }
    Ok(())
}
