//! Info hashes: how a torrent is named, on the wire and in text.
//!
//! A v1 torrent is named by the SHA-1 of its info dictionary (BEP 3), a v2 torrent by the SHA-256 of it (BEP 52), a hybrid
//! by both. Where the protocol has room for 20 bytes only, a v2 hash is cut. Invariant: at least one of the two is known.

use std::fmt;
use std::str::FromStr;

/// SHA-1 of an info dictionary.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InfoHashV1(pub [u8; 20]);

/// SHA-256 of an info dictionary.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InfoHashV2(pub [u8; 32]);

/// The hashes of one torrent that are known. A hybrid has two, though a link to it may tell only one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct InfoHashes {
    /// The v1 hash.
    pub v1: Option<InfoHashV1>,
    /// The v2 hash.
    pub v2: Option<InfoHashV2>,
}

/// Text that is no info hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HashTextError {
    /// Neither 40 nor 64 digits, or (v1 only) 32 letters of base32.
    #[error("a v1 hash has 40 hexadecimal digits or 32 letters of base32, a v2 hash 64 digits, not {0} characters")]
    Length(usize),
    /// A character that is no digit.
    #[error("character {position} is no {base} digit")]
    Digit {
        /// Which character, from 1.
        position: usize,
        /// `hexadecimal` or `base32`.
        base: &'static str,
    },
}

impl InfoHashV2 {
    /// The first 20 bytes: the name in handshakes, in the DHT and to trackers (BEP 52, "info hash truncation").
    pub fn truncated(&self) -> [u8; 20] {
        let mut short = [0; 20];
        short.copy_from_slice(&self.0[..20]);
        short
    }
}

impl InfoHashes {
    /// Names a torrent by v1 alone.
    pub fn from_v1(hash: InfoHashV1) -> InfoHashes {
        InfoHashes { v1: Some(hash), v2: None }
    }

    /// Names a torrent by v2 alone.
    pub fn from_v2(hash: InfoHashV2) -> InfoHashes {
        InfoHashes { v1: None, v2: Some(hash) }
    }

    /// The name in handshakes that we open: v1 if there is one, else v2 truncated.
    pub fn wire(&self) -> [u8; 20] {
        self.all_wire().next().expect("an info hash of one kind is always known")
    }

    /// All names by which others may call the torrent in 20 bytes: one, or two for a hybrid, v1 first.
    pub fn all_wire(&self) -> impl Iterator<Item = [u8; 20]> + use<> {
        self.v1.map(|hash| hash.0).into_iter().chain(self.v2.map(|hash| hash.truncated()))
    }

    /// Whether these are the bytes of the info dictionary: every hash that is known fits. Cost: hashes all of it, once a kind.
    pub fn verify(&self, info_bytes: &[u8]) -> bool {
        (self.v1.is_some() || self.v2.is_some())
            && self.v1.is_none_or(|hash| shoal_hash::sha1(info_bytes) == hash.0)
            && self.v2.is_none_or(|hash| shoal_hash::sha256(info_bytes) == hash.0)
    }
}

/// Reads lower- or upper-case hexadecimal digits, two a byte.
pub(crate) fn from_hex<const N: usize>(text: &str) -> Result<[u8; N], HashTextError> {
    if text.len() != 2 * N {
        return Err(HashTextError::Length(text.chars().count()));
    }
    let mut bytes = [0; N];
    for (position, digit) in text.bytes().enumerate() {
        let value = char::from(digit)
            .to_digit(16)
            .ok_or(HashTextError::Digit { position: position + 1, base: "hexadecimal" })?;
        bytes[position / 2] = bytes[position / 2] << 4 | value as u8;
    }
    Ok(bytes)
}

fn write_hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

impl fmt::Display for InfoHashV1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

impl fmt::Display for InfoHashV2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

impl fmt::Debug for InfoHashV1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for InfoHashV2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The v1 hash if there is one, else the v2 hash, in full.
impl fmt::Display for InfoHashes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.v1, self.v2) {
            (Some(hash), _) => hash.fmt(f),
            (None, Some(hash)) => hash.fmt(f),
            (None, None) => Ok(()),
        }
    }
}

/// 40 hexadecimal digits.
impl FromStr for InfoHashV1 {
    type Err = HashTextError;

    fn from_str(text: &str) -> Result<Self, HashTextError> {
        from_hex(text).map(InfoHashV1)
    }
}

/// 64 hexadecimal digits.
impl FromStr for InfoHashV2 {
    type Err = HashTextError;

    fn from_str(text: &str) -> Result<Self, HashTextError> {
        from_hex(text).map(InfoHashV2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hybrid_goes_by_v1_first_and_answers_to_both() {
        let (v1, v2) = (InfoHashV1([1; 20]), InfoHashV2([2; 32]));
        let both = InfoHashes { v1: Some(v1), v2: Some(v2) };
        assert_eq!(both.wire(), [1; 20]);
        assert_eq!(both.all_wire().collect::<Vec<_>>(), [[1; 20], [2; 20]]);
        assert_eq!(InfoHashes::from_v2(v2).wire(), [2; 20]);
    }

    #[test]
    fn every_known_hash_has_to_fit() {
        let bytes = b"d4:name1:ae";
        let (v1, v2) = (InfoHashV1(shoal_hash::sha1(bytes)), InfoHashV2(shoal_hash::sha256(bytes)));
        assert!(InfoHashes { v1: Some(v1), v2: Some(v2) }.verify(bytes));
        assert!(!InfoHashes { v1: Some(v1), v2: Some(InfoHashV2([0; 32])) }.verify(bytes));
        assert!(!InfoHashes { v1: None, v2: None }.verify(bytes));
    }

    #[test]
    fn hex_is_read_in_both_cases_and_faults_are_named() {
        let hash: InfoHashV1 = "ABCDEF0123456789abcdef0123456789abcdef01".parse().unwrap();
        assert_eq!(hash.to_string(), "abcdef0123456789abcdef0123456789abcdef01");
        assert_eq!("ab".parse::<InfoHashV1>(), Err(HashTextError::Length(2)));
        let error = "g".repeat(64).parse::<InfoHashV2>().unwrap_err();
        assert_eq!(error, HashTextError::Digit { position: 1, base: "hexadecimal" });
        assert!("ä".repeat(20).parse::<InfoHashV1>().is_err());
    }
}
