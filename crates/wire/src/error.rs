//! Why bytes are no message.
//!
//! Every one of these is the peer's fault and ends its connection: past a wrong length nothing that follows can be
//! told apart.

/// Why bytes are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The first bytes are not those of BEP 3.
    #[error("not a BitTorrent handshake")]
    NotBitTorrent,
    /// A message is longer or shorter than its kind can be.
    #[error("message {id} with a length of {length} bytes")]
    Length {
        /// The kind's number.
        id: u8,
        /// The length prefix: the number counted.
        length: u32,
    },
    /// An extension's message is longer or shorter than its kind can be.
    #[error("extended message {id} with a length of {length} bytes")]
    ExtendedLength {
        /// Our number for the extension.
        id: u8,
        /// The length prefix: both numbers counted.
        length: u32,
    },
    /// An extension's payload is not what its BEP says, or nests too deep.
    #[error("extended message {id} is malformed")]
    ExtendedPayload {
        /// Our number for the extension.
        id: u8,
    },
}
