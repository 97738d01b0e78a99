//! Torrent files and magnet links: reading, checking, writing, creating.
//!
//! What comes from others is read leniently where the wild is untidy, and every forgiveness is told as a [`Warning`]; what
//! is dangerous or has no meaning is refused with a [`MetainfoError`] that says what and where. An info hash is always that
//! of the bytes as they came: an [`Info`] keeps them, and nothing here ever writes an info dictionary anew but [`create`].
//!
//! Invariants: an [`Info`] has a valid [`Layout`](shoal_layout::Layout), as many piece hashes as pieces (v1) and a root for each file that has
//! data (v2), and its v1 and v2 halves agree (BEP 52, "upgrade path"); [`PieceLayers`] hold only hashes that lead to a file's
//! root. Memory follows the bytes at hand, never a number that they declare. Reads and writes no file itself.
//!
//! BEP 3 (v1), 5 (nodes), 9 (magnet links), 12 (tracker tiers), 19 (web seeds), 27 (private), 47 (padding files and
//! attributes), 52 (v2), 53 (`so`).

pub mod create;
mod error;
mod hashes;
mod info;
mod layers;
mod magnet;
mod names;
mod paths;
mod torrent;
mod urls;

pub use error::{MetainfoError, Place, Warning};
pub use hashes::{HashTextError, InfoHashV1, InfoHashV2, InfoHashes};
pub use info::{Attributes, File, Format, Info};
pub use layers::{LayerError, PieceHashes, PieceLayers, PieceRoot};
pub use magnet::{MAX_LINK_BYTES, Magnet, MagnetError};
pub use paths::{FilePath, FilePaths, MAX_PATHS_BYTES, PathsTooLong};
pub use torrent::Torrent;

/// Bytes in a torrent file, at most (reliability.md A3).
pub const MAX_TORRENT_BYTES: usize = 64 << 20;
/// Bytes in an info dictionary, at most: what peers may be asked for (reliability.md A10).
pub const MAX_INFO_BYTES: usize = 48 << 20;
/// Components in a path, at most (reliability.md A3: 100, as libtorrent).
pub const MAX_PATH_DEPTH: usize = 100;
/// Files of one path, at most: storage has to give each another name (chosen; libtorrent gives up after 500 tries, about 32 files).
pub const MAX_EQUAL_PATHS: usize = 100;
