//! stub
use crate::{Storage, StorageError};
use shoal_metainfo::Info;

/// What to do beside the data when a download is complete.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Finish {
    /// Create the symlinks that the torrent has (BEP 47), if they lead to one of its files. Off unless the user asks.
    pub symlinks: bool,
}

impl Storage {
    /// When all selected pieces are written: creates empty files, sets the executable bit, creates symlinks if asked,
    /// removes a part file that nobody needs any more, and syncs all.
    pub fn finish(&self, info: &Info, options: Finish) -> Result<(), StorageError> {
        let _ = (info, options);
        Ok(())
    }
}
