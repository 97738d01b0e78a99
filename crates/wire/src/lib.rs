//! The peer wire protocol: bytes to values and back, without IO.
//!
//! BEP 3 (messages), 6 (fast extension), 9 (metadata), 10 (extension protocol), 11 (PEX), 21 (partial seeds), 52 (hash
//! requests, v2), 54 (donthave). A value decoded here is well formed, not true: indexes and lengths are what the peer
//! said and are checked against a layout by the swarm.

mod message;

pub use message::{
    Extended, ExtendedHandshake, Handshake, HashRange, Message, MetadataMessage, PexMessage, PexPeer, RawBlock,
};
