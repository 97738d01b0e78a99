//! stub
use crate::path::SafePath;
use std::path::{Path, PathBuf};

/// What was found to share.
#[derive(Debug, Clone)]
pub struct Scan {
    name: String,
    root: PathBuf,
    bases: Vec<PathBuf>,
    files: Vec<ScannedFile>,
    empty_folders: Vec<PathBuf>,
    single: bool,
}

/// One file.
#[derive(Debug, Clone)]
pub struct ScannedFile {
    /// Its path in the torrent, below its name; the name itself for a single file.
    pub path: Vec<String>,
    /// Bytes.
    pub length: u64,
    /// Whether its owner may execute it.
    pub executable: bool,
    /// Its stat when it was met.
    pub stat: crate::FileStat,
    pub(crate) base: u32,
    pub(crate) on_disk: SafePath,
}

/// Why a source cannot be shared.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// No file in it.
    #[error("{} holds no files", .path.display())]
    Empty {
        /** The source. */
        path: PathBuf,
    },
}

/// Finds all files below `paths`: one path gives a torrent of its name; several give a folder called `name` with an entry each.
pub fn scan(paths: &[PathBuf], name: Option<&str>) -> Result<Scan, ScanError> {
    let _ = name;
    Err(ScanError::Empty { path: paths[0].clone() })
}

impl Scan {
    /// The torrent's name.
    pub fn name(&self) -> &str {
        &self.name
    }
    /// The source itself, or the folder of several.
    pub fn root(&self) -> &Path {
        &self.root
    }
    /// Whether it is one file and not a folder.
    pub fn is_single_file(&self) -> bool {
        self.single
    }
    /// In canonical order: bytes of the UTF-8 path components.
    pub fn files(&self) -> &[ScannedFile] {
        &self.files
    }
    /// Folders that hold nothing and are left out.
    pub fn empty_folders(&self) -> &[PathBuf] {
        &self.empty_folders
    }
    /// Bytes in all files.
    pub fn total_length(&self) -> u64 {
        self.files.iter().map(|f| f.length).sum()
    }
    pub(crate) fn bases(&self) -> &[PathBuf] {
        &self.bases
    }
}
