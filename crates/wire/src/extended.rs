//! The extension protocol (BEP 10): which extension has which number, and their payloads.
//!
//! Numbers are each receiver's own choice; ours are fixed, so that a frame can be read without state. Each kind has a
//! bound of its own, checked before its payload is buffered.

use crate::{Extended, extended_handshake, metadata, pex};

/// Our numbers for the extensions that we announce in `m` (BEP 10).
pub mod extension_ids {
    /// The extension handshake, for everybody.
    pub const HANDSHAKE: u8 = 0;
    /// Metadata exchange (BEP 9).
    pub const UT_METADATA: u8 = 1;
    /// Peer exchange (BEP 11).
    pub const UT_PEX: u8 = 2;
    /// A piece taken back (BEP 54).
    pub const LT_DONTHAVE: u8 = 3;
    /// The message form of BEP 21, as libtorrent sends it.
    pub const UPLOAD_ONLY: u8 = 4;
    /// Hole punching (BEP 55). Kept free; not read yet, so not to be announced.
    pub const UT_HOLEPUNCH: u8 = 5;

    /// Whether messages of this number are read; others are drained.
    pub(crate) fn is_read(id: u8) -> bool {
        matches!(id, HANDSHAKE | UT_METADATA | UT_PEX | LT_DONTHAVE | UPLOAD_ONLY)
    }
}

/// Payload bytes of an extension handshake or a PEX message, at most. Real ones have a few hundred, or a few thousand
/// with an unusually long first PEX message; chosen, and far below the 1 MiB of reliability.md B1.
pub(crate) const MAX_PAYLOAD: usize = 64 * 1024;
/// Payload bytes of an `upload_only` message, at most; it has one. Chosen.
const MAX_UPLOAD_ONLY: usize = 16;

/// Whether a message for this number of ours may have so many payload bytes.
pub(crate) fn length_fits(id: u8, payload_length: u32) -> bool {
    let length = payload_length as usize;
    match id {
        extension_ids::UT_METADATA => length <= metadata::MAX_PAYLOAD,
        extension_ids::LT_DONTHAVE => length == 4,
        extension_ids::UPLOAD_ONLY => length <= MAX_UPLOAD_ONLY,
        _ => length <= MAX_PAYLOAD,
    }
}

/// The payload of a message for this number of ours; `None` if it is malformed.
pub(crate) fn decode(id: u8, payload: &[u8]) -> Option<Extended> {
    Some(match id {
        extension_ids::HANDSHAKE => Extended::Handshake(extended_handshake::decode(payload)?),
        extension_ids::UT_METADATA => Extended::Metadata(metadata::decode(payload)?),
        extension_ids::UT_PEX => Extended::Pex(pex::decode(payload)?),
        extension_ids::LT_DONTHAVE => Extended::DontHave(u32::from_be_bytes(payload.try_into().ok()?)),
        extension_ids::UPLOAD_ONLY => Extended::UploadOnly(payload.first().is_some_and(|&byte| byte != 0)),
        _ => return None,
    })
}

/// The payload to send.
pub(crate) fn encode(message: &Extended) -> Vec<u8> {
    match message {
        Extended::Handshake(handshake) => extended_handshake::encode(handshake),
        Extended::Metadata(message) => metadata::encode(message),
        Extended::Pex(message) => pex::encode(message),
        Extended::DontHave(piece) => piece.to_be_bytes().to_vec(),
        Extended::UploadOnly(upload_only) => vec![u8::from(*upload_only)],
        Extended::Unknown { length } => vec![0; *length as usize],
    }
}
