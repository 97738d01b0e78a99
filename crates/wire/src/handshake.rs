//! The first 68 bytes of a connection (BEP 3) and the reserved bits in them.
//!
//! A length byte of 19, the protocol's name, eight reserved bytes, the info hash, the peer's id. Reading is incremental
//! and says "wrong" at the first byte that differs, so that a listener can tell another protocol (or MSE) from this one
//! without waiting for 68 bytes.

use crate::{Handshake, WireError};

/// The name with its length before it (BEP 3).
const PROTOCOL: &[u8; 20] = b"\x13BitTorrent protocol";

/// `reserved[5]`: the extension protocol (BEP 10).
const EXTENSIONS_BIT: u8 = 0x10;
/// `reserved[7]`: the DHT (BEP 5).
const DHT_BIT: u8 = 0x01;
/// `reserved[7]`: the fast extension (BEP 6).
const FAST_BIT: u8 = 0x04;
/// `reserved[7]`: a v1 connection of a hybrid torrent may be answered with the v2 info hash (BEP 52).
const V2_BIT: u8 = 0x10;

impl Handshake {
    /// Bytes in a handshake.
    pub const LENGTH: usize = 68;

    /// Ours: extension protocol and fast extension always; `v2` where the torrent has a v2 half (BEP 52), `dht` where a DHT
    /// node of ours takes part (BEP 5), never for a private torrent.
    pub fn new(info_hash: [u8; 20], peer_id: [u8; 20], v2: bool, dht: bool) -> Handshake {
        let mut reserved = [0; 8];
        reserved[5] |= EXTENSIONS_BIT;
        reserved[7] |= FAST_BIT;
        if v2 {
            reserved[7] |= V2_BIT;
        }
        if dht {
            reserved[7] |= DHT_BIT;
        }
        Handshake { reserved, info_hash, peer_id }
    }

    /// Whether the sender speaks the fast extension (BEP 6).
    pub fn supports_fast(&self) -> bool {
        self.reserved[7] & FAST_BIT != 0
    }

    /// Whether the sender speaks the extension protocol (BEP 10).
    pub fn supports_extensions(&self) -> bool {
        self.reserved[5] & EXTENSIONS_BIT != 0
    }

    /// Whether the sender takes `port` messages (BEP 5).
    pub fn supports_dht(&self) -> bool {
        self.reserved[7] & DHT_BIT != 0
    }

    /// Whether the sender also speaks v2 of this hybrid torrent (BEP 52).
    pub fn supports_v2(&self) -> bool {
        self.reserved[7] & V2_BIT != 0
    }

    /// The bytes to send.
    pub fn encode(&self) -> [u8; Handshake::LENGTH] {
        let mut bytes = [0; Handshake::LENGTH];
        bytes[..20].copy_from_slice(PROTOCOL);
        bytes[20..28].copy_from_slice(&self.reserved);
        bytes[28..48].copy_from_slice(&self.info_hash);
        bytes[48..].copy_from_slice(&self.peer_id);
        bytes
    }

    /// Reads the beginning of a connection: `None` if the first [`Handshake::LENGTH`] bytes are not all there yet and those
    /// that are there fit. What follows them is not looked at.
    pub fn decode(bytes: &[u8]) -> Result<Option<Handshake>, WireError> {
        if bytes.iter().zip(PROTOCOL).any(|(byte, expected)| byte != expected) {
            return Err(WireError::NotBitTorrent);
        }
        Ok(bytes.first_chunk::<{ Handshake::LENGTH }>().map(|all| {
            let mut handshake = Handshake { reserved: [0; 8], info_hash: [0; 20], peer_id: [0; 20] };
            handshake.reserved.copy_from_slice(&all[20..28]);
            handshake.info_hash.copy_from_slice(&all[28..48]);
            handshake.peer_id.copy_from_slice(&all[48..]);
            handshake
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn our_bits_are_those_of_the_beps() {
        let plain = Handshake::new([1; 20], [2; 20], false, false);
        assert_eq!(plain.reserved, [0, 0, 0, 0, 0, 0x10, 0, 0x04]);
        assert!(plain.supports_fast() && plain.supports_extensions() && !plain.supports_v2() && !plain.supports_dht());
        let all = Handshake::new([1; 20], [2; 20], true, true);
        assert_eq!(all.reserved, [0, 0, 0, 0, 0, 0x10, 0, 0x15]);
        assert!(all.supports_v2() && all.supports_dht());
    }

    #[test]
    fn another_protocol_is_refused_at_its_first_wrong_byte() {
        assert_eq!(Handshake::decode(b"G"), Err(WireError::NotBitTorrent));
        assert_eq!(Handshake::decode(b"\x13BitTorrent protocoL"), Err(WireError::NotBitTorrent));
        assert_eq!(Handshake::decode(b"\x13BitTorr"), Ok(None));
        assert_eq!(Handshake::decode(b""), Ok(None));
    }

    proptest! {
        #[test]
        fn comes_back_from_68_bytes_and_from_no_fewer(
            reserved: [u8; 8], info_hash: [u8; 20], peer_id: [u8; 20], cut in 0..Handshake::LENGTH, rest: [u8; 3]
        ) {
            let handshake = Handshake { reserved, info_hash, peer_id };
            let mut bytes = handshake.encode().to_vec();
            prop_assert_eq!(Handshake::decode(&bytes[..cut]), Ok(None));
            bytes.extend(rest);
            prop_assert_eq!(Handshake::decode(&bytes), Ok(Some(handshake)));
        }
    }
}
