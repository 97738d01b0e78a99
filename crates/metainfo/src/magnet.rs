//! Magnet links (BEP 9, 53).

use crate::{InfoHashes, Warning};
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// A magnet link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Magnet {
    /// `xt`: what it leads to.
    pub hashes: InfoHashes,
    /// `dn`: a name to show until the torrent's own is known.
    pub name: Option<String>,
    /// `tr`: tracker URLs.
    pub trackers: Vec<String>,
    /// `ws`: web seed URLs.
    pub web_seeds: Vec<String>,
    /// `x.pe`: peers, host (a name or an address, IPv6 without brackets) and port.
    pub peers: Vec<(String, u16)>,
    /// `so`: numbers of files to fetch; empty for all. [`Info::so_index`](crate::Info::so_index) resolves them.
    pub select: Vec<RangeInclusive<u32>>,
    /// `xl`: bytes, as the link claims.
    pub length: Option<u64>,
    /// What was forgiven when it was read.
    pub warnings: Vec<Warning>,
}

/// Why text is no magnet link.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MagnetError {
    /// It does not begin with `magnet:?`.
    #[error("a magnet link begins with `magnet:?`")]
    Scheme,
}

impl Magnet {
    /// A link that tells the hashes only.
    pub fn new(hashes: InfoHashes) -> Magnet {
        Magnet {
            hashes,
            name: None,
            trackers: Vec::new(),
            web_seeds: Vec::new(),
            peers: Vec::new(),
            select: Vec::new(),
            length: None,
            warnings: Vec::new(),
        }
    }

    /// A link from a bare info hash: 40 or 64 hexadecimal digits, 32 letters of base32, or 68 digits of a multihash.
    pub fn from_hash_text(text: &str) -> Result<Magnet, MagnetError> {
        let _ = text;
        Err(MagnetError::Scheme)
    }
}

impl FromStr for Magnet {
    type Err = MagnetError;

    fn from_str(text: &str) -> Result<Magnet, MagnetError> {
        let _ = text;
        Err(MagnetError::Scheme)
    }
}

impl fmt::Display for Magnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "magnet:?xt=urn:btih:{}", self.hashes)
    }
}
