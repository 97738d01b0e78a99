//! Creation rules: the canonical info dictionary of a list of files.
//!
//! The same names and bytes give the same info hash on every machine, so nothing here looks at a clock, a machine or the
//! order in which files were found: files stand in the byte order of their paths' components, the piece length follows
//! from their lengths, and the dictionary holds no more than the formats ask for. File access and hashing are for the
//! caller: a [`Plan`] says where each file's bytes lie, [`build`] takes the hashes.
//!
//! BEP 3, 47 (padding, attributes), 52 (v2, and how a hybrid pads its v1 half).

mod build;

pub use build::build;

use crate::info::Files;
use crate::{Attributes, FilePaths, Format, MAX_PATH_DEPTH, MetainfoError, PathsTooLong, names};
use shoal_layout::{BLOCK_LENGTH, Layout, LayoutError, MAX_PIECE_LENGTH};
use std::collections::BTreeMap;

/// Pieces that the piece length is chosen for, at most (product.md, "Canonical torrents").
const PIECES_WANTED: u64 = 2000;
/// The longest piece that is chosen, in bytes (product.md, "Canonical torrents").
const MAX_CHOSEN_PIECE_LENGTH: u64 = 16 << 20;
/// Pieces of a hybrid for two files that have data, where that is more than [`PIECES_WANTED`]. Chosen: two are there at
/// least; with one more most files are one piece, which need no piece layer, and padding stays under four times the data.
const PIECES_FOR_TWO_FILES: u64 = 3;

/// The files of a torrent to be made, in canonical order, and where their bytes lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    format: Format,
    name: String,
    single_file: bool,
    files: Files,
    /// Of each file its position in the list that the plan was made from.
    given: Vec<u32>,
    layout: Layout,
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
    /// Not as many hashes of a kind as the plan has pieces.
    #[error("{found} hashes were given, {expected} are needed")]
    Hashes {
        /// Hashes that the plan needs.
        expected: usize,
        /// Hashes given.
        found: usize,
    },
    /// The paths take more memory than is given to them.
    #[error(transparent)]
    Paths(#[from] PathsTooLong),
    /// The dictionary that was made is not one that we would read: it is too long.
    #[error(transparent)]
    Refused(#[from] MetainfoError),
}

/// The piece length for this many bytes of files: the smallest power of two from 16 KiB that gives at most 2,000 pieces,
/// capped at 16 MiB.
pub fn piece_length_for(total: u64) -> u64 {
    let wanted = total.div_ceil(PIECES_WANTED).max(u64::from(BLOCK_LENGTH));
    wanted.checked_next_power_of_two().map_or(MAX_CHOSEN_PIECE_LENGTH, |length| length.min(MAX_CHOSEN_PIECE_LENGTH))
}

/// The piece length for these files, which are `total` bytes. A hybrid pads each file to whole pieces, and hashes that too
/// (BEP 47, 52), so many small files would be lost in padding: there it is the smallest, if that is less, that gives at most
/// three pieces for two files. Half of it gives more; so a quarter of it times the number of files is less than the data,
/// and the padding less than four times the data, unless pieces are of 16 KiB.
fn piece_length_of(format: Format, lengths: &[u64], total: u64) -> u64 {
    let by_total = piece_length_for(total);
    if format != Format::Hybrid {
        return by_total;
    }
    let filled = lengths.iter().filter(|&&length| length > 0);
    let wanted = PIECES_WANTED.max(filled.clone().count() as u64 * PIECES_FOR_TWO_FILES / 2);
    let mut length = u64::from(BLOCK_LENGTH);
    while length < by_total && filled.clone().map(|file| file.div_ceil(length)).sum::<u64>() > wanted {
        length *= 2;
    }
    length
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
        let mut paths = FilePaths::new();
        paths.push([&name])?;
        Plan::new(format, name, true, paths, [(length, attributes)], piece_length)
    }

    /// A torrent of a folder: paths below it (each at least one component), in any order, and length and attributes of each.
    /// Paths that are in canonical order already are not copied. Panics if there are not as many of the one as of the other.
    pub fn folder(
        format: Format,
        name: String,
        paths: FilePaths,
        files: impl IntoIterator<Item = (u64, Attributes)>,
        piece_length: Option<u64>,
    ) -> Result<Plan, CreateError> {
        check_name(&name)?;
        for (given, path) in paths.iter().enumerate() {
            if path.is_empty() || path.len() > MAX_PATH_DEPTH {
                return Err(CreateError::Depth { given, depth: path.len() });
            }
            path.components().try_for_each(check_name)?;
        }
        Plan::new(format, name, false, paths, files, piece_length)
    }

    fn new(
        format: Format,
        name: String,
        single_file: bool,
        paths: FilePaths,
        about: impl IntoIterator<Item = (u64, Attributes)>,
        piece_length: Option<u64>,
    ) -> Result<Plan, CreateError> {
        let (mut lengths, mut special) = (Vec::with_capacity(paths.len()), BTreeMap::new());
        for (place, (length, attributes)) in (0_u32..).zip(about) {
            // Links have no data of their own (BEP 47).
            lengths.push(if attributes.symlink.is_some() { 0 } else { length });
            if attributes != Attributes::default() {
                special.insert(place, attributes);
            }
        }
        assert_eq!(paths.len(), lengths.len(), "each file has a path");
        let (paths, given) = in_order(paths)?;
        if !given.is_sorted() {
            lengths = given.iter().map(|&place| lengths[place as usize]).collect();
        }
        let mut files = Files::plain(paths);
        for (index, place) in (0..).zip(&given) {
            if let Some(attributes) = special.remove(place) {
                files.push_attributes(index, attributes);
            }
        }
        let total = lengths.iter().try_fold(0_u64, |total, &length| total.checked_add(length));
        let total = total.ok_or(LayoutError::Overflow { file: 0 })?;
        let piece_length = piece_length.unwrap_or_else(|| piece_length_of(format, &lengths, total));
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
        Ok(Plan { format, name, single_file, files, given, layout })
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

    /// The files' paths in the torrent's order; the position is the file's index in [`layout`](Self::layout).
    pub fn paths(&self) -> &FilePaths {
        self.files.paths()
    }

    /// Of each file, in the torrent's order, its position in the list that the plan was made from.
    pub fn given(&self) -> &[u32] {
        &self.given
    }

    /// Where the files' bytes lie. What lies between them hashes as zeros in v1; a v2 piece ends with its file.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }
}

/// The paths in canonical order, and where each was.
fn in_order(paths: FilePaths) -> Result<(FilePaths, Vec<u32>), CreateError> {
    let path = |place: u32| paths.get(place as usize).expect("as many places as paths");
    let mut given: Vec<u32> = (0..paths.len() as u32).collect();
    // By components and not by the joined path, so that it is also the order in which a v2 file tree is walked.
    given.sort_by(|&one, &other| path(one).cmp(&path(other)));
    for pair in given.windows(2) {
        // Whatever lies in a folder follows right behind the folder's own name.
        if path(pair[1]).starts_with(path(pair[0])) {
            return Err(CreateError::Clash { first: pair[0] as usize, second: pair[1] as usize });
        }
    }
    if given.is_sorted() {
        return Ok((paths, given));
    }
    let mut sorted = FilePaths::with_capacity(paths.len());
    given.iter().try_for_each(|&place| sorted.push(path(place).components()))?;
    Ok((sorted, given))
}

fn check_name(name: &str) -> Result<(), CreateError> {
    if names::is_unsafe(name) {
        return Err(CreateError::Name { name: name.to_owned() });
    }
    Ok(())
}
