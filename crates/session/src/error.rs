//! Why a session or a torrent ends.

use std::io;
use std::net::IpAddr;

/// What went wrong, for the whole session or for one torrent.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// No address could be listened on.
    #[error("cannot listen on {addr} port {port}: {source}; choose another with --port or --bind")]
    Listen {
        /// The address.
        addr: IpAddr,
        /// The port asked for.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
    /// A thread or the random source is not to be had.
    #[error("cannot start: {0}")]
    Start(io::Error),
    /// This torrent (one of its info hashes) is in the session already.
    #[error("this torrent is in the session already")]
    Duplicate,
    /// The session is shutting down.
    #[error("the session is stopping")]
    Stopping,
    /// The info dictionary that peers gave cannot be used.
    #[error("the torrent behind the link cannot be used: {0}")]
    Metadata(#[from] shoal_metainfo::MetainfoError),
    /// The choice of files does not fit the torrent.
    #[error("{0}")]
    Selection(String),
    /// Another process, or another torrent of this session, downloads the same into the same folder.
    #[error(transparent)]
    Lock(#[from] shoal_storage::LockError),
    /// Another torrent of this session writes to one of its files.
    #[error("{} is being written by {other}, too; choose another --output for one of them", .path.display())]
    SameFile {
        /// The file.
        path: std::path::PathBuf,
        /// The other torrent's name; not escaped.
        other: String,
    },
    /// The files on disk cannot be used.
    #[error(transparent)]
    Storage(#[from] shoal_storage::StorageError),
}
