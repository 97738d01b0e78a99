//! stub
use crate::{FileStat, Resumed};
use crate::{OpenFiles, Place, StorageError};
use shoal_layout::{BlockRef, FileIndex, Layout, PieceIndex, Selection};
use shoal_pieces::Bitfield;
use std::path::PathBuf;
use std::sync::Arc;

/// What a storage may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Seeding and checking: nothing on disk is touched.
    ReadOnly,
    /// Downloading.
    ReadWrite,
}

/// Room on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes that the rest of the download still takes.
    pub needed: u64,
    /// Bytes that are free.
    pub available: u64,
}

/// One torrent's files. All calls block and may come from several threads at once.
#[derive(Debug)]
pub struct Storage {
    layout: Layout,
    place: Place,
}

impl Storage {
    /// Nothing is opened or created yet. `tag`: for the part file's name, the first bytes of the info hash.
    pub fn open(
        layout: Layout,
        place: Place,
        selection: Selection,
        mode: Mode,
        tag: [u8; 4],
        files: Arc<OpenFiles>,
    ) -> Storage {
        let _ = (selection, mode, tag, files);
        Storage { layout, place }
    }
    /// The torrent's map.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }
    /// Where the files lie.
    pub fn place(&self) -> &Place {
        &self.place
    }
    /// Before the first write of a session, after checking or resuming: refuses other people's files ([`StorageError::Foreign`], [`StorageError::Long`], unless `overwrite`) and a disk that is too full
    /// ([`StorageError::NoSpace`]).
    pub fn prepare(&self, have: &Bitfield, resumed: &Resumed, overwrite: bool) -> Result<(), StorageError> {
        let _ = (have, resumed, overwrite);
        Ok(())
    }
    /// What the rest of the selected files takes, and what is free.
    pub fn space(&self) -> Result<Space, StorageError> {
        Ok(Space { needed: 0, available: 0 })
    }
    /// Writes verified blocks of a piece; bytes in gaps are left out. Blocks in order of `begin`.
    pub fn write_piece<P: AsRef<[u8]>>(&self, piece: PieceIndex, blocks: &[(BlockRef, P)]) -> Result<(), StorageError> {
        let _ = (piece, blocks);
        Ok(())
    }
    /// Reads a block; gaps are zeros. `buffer` has the block's length.
    pub fn read(&self, block: BlockRef, buffer: &mut [u8]) -> Result<(), StorageError> {
        let _ = (block, buffer);
        Ok(())
    }
    /// Reads a block if that needs no disk: whether `buffer` is filled now. Never blocks for long.
    pub fn read_cached(&self, block: BlockRef, buffer: &mut [u8]) -> bool {
        let _ = (block, buffer);
        false
    }
    /// Chooses other files; what the part file has of those now selected is moved to them.
    pub fn select(&self, selection: Selection) -> Result<(), StorageError> {
        let _ = selection;
        Ok(())
    }
    /// Puts everything written so far on the disk, with the folders of new files.
    pub fn sync(&self) -> Result<(), StorageError> {
        Ok(())
    }
    /// Size, time and identity of a file; `None` if there is none.
    pub fn stat(&self, file: FileIndex) -> Result<Option<FileStat>, StorageError> {
        let _ = file;
        Ok(None)
    }
    /// The whole path of a file.
    pub fn path(&self, file: FileIndex) -> PathBuf {
        self.place.path(file)
    }
    /// All files of a download whose name or content is not what the torrent says: for reports after a check.
    pub fn problems(&self) -> Vec<(FileIndex, StorageError)> {
        Vec::new()
    }
}
