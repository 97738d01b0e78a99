//! Which files a user wants.

use crate::{FileIndex, Layout, PieceIndex};

/// A choice of files, one flag a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    wanted: Vec<bool>,
}

impl Selection {
    /// Every file.
    pub fn all(layout: &Layout) -> Selection {
        Selection { wanted: vec![true; layout.files() as usize] }
    }

    /// The files for which `wanted` says so.
    pub fn by(layout: &Layout, wanted: impl FnMut(FileIndex) -> bool) -> Selection {
        Selection { wanted: (0..layout.files()).map(FileIndex).map(wanted).collect() }
    }

    /// One flag a file, in the torrent's order.
    pub fn of(wanted: Vec<bool>) -> Selection {
        Selection { wanted }
    }

    /// Whether each file is wanted, in the torrent's order.
    pub fn files(&self) -> impl ExactSizeIterator<Item = bool> + '_ {
        self.wanted.iter().copied()
    }

    /// Whether this file is wanted. A file that is not of this torrent is not.
    pub fn file(&self, file: FileIndex) -> bool {
        self.wanted.get(file.as_usize()).copied().unwrap_or(false)
    }

    /// Whether every file is wanted.
    pub fn is_all(&self) -> bool {
        self.wanted.iter().all(|&wanted| wanted)
    }

    /// Whether a piece holds bytes of a wanted file. A piece of gaps only is wanted by nobody but [`Selection::all`].
    pub fn piece(&self, layout: &Layout, piece: PieceIndex) -> bool {
        self.is_all() || layout.files_in(piece).any(|file| self.file(file))
    }

    /// Bytes in wanted files.
    pub fn payload_length(&self, layout: &Layout) -> u64 {
        (0..layout.files()).map(FileIndex).filter(|&file| self.file(file)).map(|file| layout.file_length(file)).sum()
    }
}
