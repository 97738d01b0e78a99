//! Pieces that a beginner may ask for while choked (BEP 6, "allowed fast set generation").
//!
//! Both sides compute the same set from the peer's address, so that a peer cannot fish for other pieces by coming back.

use shoal_layout::PieceIndex;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

/// How many pieces (BEP 6 has 10 in its example).
const SET: usize = 10;

/// The set for a peer at `addr`, empty for IPv6, for which BEP 6 has no rule. `info_hash` as in the handshake.
pub(crate) fn allowed_fast(addr: SocketAddr, info_hash: [u8; 20], pieces: u32) -> BTreeSet<PieceIndex> {
    let mut set = BTreeSet::new();
    let IpAddr::V4(ip) = addr.ip().to_canonical() else { return set };
    let most = SET.min(pieces as usize);
    let [a, b, c, _] = ip.octets();
    let mut x = [&[a, b, c, 0][..], &info_hash].concat();
    while set.len() < most {
        let digest = shoal_hash::sha1(&x);
        for word in digest.chunks_exact(4) {
            if set.len() < most {
                set.insert(PieceIndex(u32::from_be_bytes([word[0], word[1], word[2], word[3]]) % pieces));
            }
        }
        x = digest.to_vec();
    }
    set
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_bep_6_comes_out() {
        let set = allowed_fast("80.4.4.200:1".parse().unwrap(), [0xaa; 20], 1313);
        let expected = [1059, 431, 808, 1217, 287, 376, 1188, 353, 508, 1246];
        assert_eq!(set, expected.map(PieceIndex).into());
    }

    #[test]
    fn few_pieces_and_other_families_end() {
        assert_eq!(allowed_fast("80.4.4.200:1".parse().unwrap(), [1; 20], 3).len(), 3);
        assert!(allowed_fast("[2001:db8::1]:1".parse().unwrap(), [1; 20], 3).is_empty());
    }
}
