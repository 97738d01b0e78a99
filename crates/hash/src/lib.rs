//! SHA-1, SHA-256 and Merkle trees for torrents.
//!
//! A torrent client hashes many independent messages: pieces, 16 KiB leaves, pairs of tree nodes. One message keeps a
//! core's vector units mostly idle, because every round waits for the one before it. So this crate takes *many* messages at
//! once ([`sha1_many`], [`sha256_many`], [`Hasher::update_many`]) and hashes them side by side, one message a lane.
//!
//! What the lanes are made of is chosen at run time ([`Path`]); the `sha1` and `sha2` crates are the portable path, and the
//! oracle in the tests of all others. Messages that begin at a multiple of 64 bytes are fastest (docs/measurements.md).
//! Nothing here starts a thread: the caller decides how work spreads over cores.
//!
//! The only crate of the project with `unsafe`.

mod checked;
mod kernels;
mod lanes;
pub mod merkle;
mod pairs;
mod path;
mod state;

pub use checked::CheckedSha1;
pub use path::{Path, PathUnavailable, UnknownPath, path, set_path};
pub use state::{Algorithm, Hasher, Sha1, Sha1Algorithm, Sha256, Sha256Algorithm};

/// Bytes in a block: what one leaf of a Merkle tree covers (BEP 52, "pieces root").
pub const BLOCK_LENGTH: usize = 16 * 1024;

/// SHA-1 of one message.
pub fn sha1(message: &[u8]) -> [u8; 20] {
    Sha1::digest(message)
}

/// SHA-256 of one message.
pub fn sha256(message: &[u8]) -> [u8; 32] {
    Sha256::digest(message)
}

/// SHA-1 of each message, side by side. Lengths may differ; alike is fastest.
///
/// # Panics
/// If `out` is not as long as `messages`.
pub fn sha1_many(messages: &[&[u8]], out: &mut [[u8; 20]]) {
    Sha1::digest_many(messages, out);
}

/// SHA-256 of each message, side by side. Lengths may differ; alike is fastest.
///
/// # Panics
/// If `out` is not as long as `messages`.
pub fn sha256_many(messages: &[&[u8]], out: &mut [[u8; 32]]) {
    Sha256::digest_many(messages, out);
}

/// Appends the leaf hashes of a run of bytes to `out`: SHA-256 of each [`BLOCK_LENGTH`] bytes, the last block as short as
/// the data leaves it. No data, no leaf.
pub fn sha256_leaves(data: &[u8], out: &mut Vec<[u8; 32]>) {
    let first = out.len();
    out.resize(first + data.len().div_ceil(BLOCK_LENGTH), [0; 32]);
    Sha256::digest_each(data.chunks(BLOCK_LENGTH), &mut out[first..]);
}
