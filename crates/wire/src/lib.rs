//! The peer wire protocol: bytes to values and back, without IO.
//!
//! BEP 3 (messages), 6 (fast extension), 9 (metadata), 10 (extension protocol), 11 (PEX), 21 (partial seeds), 52 (hash
//! requests, v2), 54 (donthave). A value decoded here is well formed, not true: indexes and lengths are what the peer
//! said and are checked against a layout by the swarm.
//!
//! A connection begins with a [`Handshake`]; then [`decode`] cuts what was read into frames, and [`encode`] and
//! [`encode_piece_header`] write. Invariant: no message is buffered that is longer than its kind can be.

mod decode;
mod encode;
mod error;
mod extended;
mod extended_handshake;
mod handshake;
mod message;
mod metadata;
mod pex;
#[cfg(test)]
mod tests;

pub use decode::{Decoded, Frame, Limits, MAX_HASHES, MAX_PIECE_PAYLOAD, MAX_PROOF_HASHES, MAX_UNKNOWN_LENGTH, decode};
pub use encode::{encode, encode_piece_header};
pub use error::WireError;
pub use extended::extension_ids;
pub use message::{
    Extended, ExtendedHandshake, Handshake, HashRange, Message, MetadataMessage, PexMessage, PexPeer, RawBlock,
};
pub use metadata::METADATA_PART;
pub use pex::MAX_PEX_PEERS;
