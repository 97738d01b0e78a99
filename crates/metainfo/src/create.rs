//! Creation rules: the canonical info dictionary of a list of files.

use crate::{Attributes, Format, Info, PieceLayers};
use shoal_layout::{Layout, LayoutError};

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

/// The v2 hashes of one file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileHashes {
    root: Option<[u8; 32]>,
    layer: Vec<[u8; 32]>,
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
    /// They do not fit.
    #[error(transparent)]
    Layout(#[from] LayoutError),
}

/// The piece length for this many bytes of files.
pub fn piece_length_for(total: u64) -> u64 {
    let _ = total;
    16 * 1024
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
        let piece_length = piece_length.unwrap_or_else(|| piece_length_for(length));
        let layout = Layout::contiguous(piece_length, &[length])?;
        let file = PlannedFile { path: vec![name.clone()], length, attributes, given: 0 };
        Ok(Plan { format, name, single_file: true, files: vec![file], layout })
    }

    /// A torrent of a folder: paths below it (each at least one component), lengths and attributes, in any order.
    pub fn folder(
        format: Format,
        name: String,
        files: impl IntoIterator<Item = (Vec<String>, u64, Attributes)>,
        piece_length: Option<u64>,
    ) -> Result<Plan, CreateError> {
        let files: Vec<_> = files
            .into_iter()
            .enumerate()
            .map(|(given, (path, length, attributes))| PlannedFile { path, length, attributes, given })
            .collect();
        let lengths: Vec<u64> = files.iter().map(|file| file.length).collect();
        let layout = Layout::contiguous(piece_length.unwrap_or(16384), &lengths)?;
        Ok(Plan { format, name, single_file: false, files, layout })
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

    /// Where the files' bytes lie; what lies between them hashes as zeros.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }
}

impl FileHashes {
    /// From the hash of each piece of the file, as [`PieceRoot`](crate::PieceRoot) tells how they are made. No pieces: an empty file.
    pub fn from_pieces(piece_length: u64, length: u64, pieces: Vec<[u8; 32]>) -> Option<FileHashes> {
        let _ = (piece_length, length);
        Some(FileHashes { root: pieces.first().copied(), layer: pieces })
    }
}

/// Makes the info dictionary. `v1`: SHA-1 of each piece of the layout (not for v2). `v2`: each file's hashes, in the plan's
/// order (not for v1).
pub fn build(
    plan: &Plan,
    v1: &[[u8; 20]],
    v2: &[FileHashes],
    options: &Options,
) -> Result<(Info, PieceLayers), CreateError> {
    let _ = (plan, v1, v2, options);
    Err(CreateError::Layout(LayoutError::Empty))
}
