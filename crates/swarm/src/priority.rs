//! Which pairs of peers should be connected, when not all can be (BEP 40).
//!
//! Both ends of a pair compute the same number from their two addresses, and each end prefers its greater ones. So a newcomer
//! finds a place in a full swarm as often as anybody, and one who comes with many connections wins no more of them than
//! his share of addresses. The masks let neighbours count as one.

use std::net::{IpAddr, SocketAddr};

/// CRC-32C (Castagnoli, RFC 3720 section B.4), the reflected polynomial.
const POLYNOMIAL: u32 = 0x82f6_3b78;
const TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
}

fn crc32c(bytes: impl IntoIterator<Item = u8>) -> u32 {
    !bytes.into_iter().fold(!0, |crc, byte| (crc >> 8) ^ TABLE[usize::from(crc as u8 ^ byte)])
}

/// The priority of a connection between two addresses, the same from either end; `None` between IPv4 and IPv6.
pub(crate) fn priority(one: SocketAddr, other: SocketAddr) -> Option<u32> {
    match (one.ip().to_canonical(), other.ip().to_canonical()) {
        (a, b) if a == b => {
            let (low, high) = (one.port().min(other.port()), one.port().max(other.port()));
            Some(crc32c(low.to_be_bytes().into_iter().chain(high.to_be_bytes())))
        }
        (IpAddr::V4(a), IpAddr::V4(b)) => Some(of_bytes(a.octets(), b.octets(), 2)),
        (IpAddr::V6(a), IpAddr::V6(b)) => Some(of_bytes(a.octets(), b.octets(), 6)),
        _ => None,
    }
}

/// The first `network` bytes count whole, and one more for each byte beyond them that is the same; of the rest half the bits.
fn of_bytes<const N: usize>(a: [u8; N], b: [u8; N], network: usize) -> u32 {
    let same = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    let whole = if same < network { network } else { same + 1 };
    let masked = |mut ip: [u8; N]| {
        ip.iter_mut().skip(whole).for_each(|byte| *byte &= 0x55);
        ip
    };
    let (a, b) = (masked(a), masked(b));
    crc32c(a.min(b).into_iter().chain(a.max(b)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(one: &str, other: &str) -> Option<u32> {
        priority(one.parse().unwrap(), other.parse().unwrap())
    }

    #[test]
    fn the_examples_of_bep_40_come_out() {
        assert_eq!(of("123.213.32.10:1", "98.76.54.32:2"), Some(0xec2d_7224));
        assert_eq!(of("123.213.32.10:1", "123.213.32.234:2"), Some(0x9956_8189));
    }

    #[test]
    fn the_check_value_of_crc_32c_comes_out() {
        assert_eq!(crc32c(*b"123456789"), 0xe306_9283);
    }

    #[test]
    fn one_address_is_told_apart_by_ports_and_families_have_none() {
        assert_eq!(of("1.2.3.4:258", "1.2.3.4:772"), Some(crc32c([1, 2, 3, 4])));
        assert_eq!(of("[::ffff:1.2.3.4]:258", "1.2.3.4:772"), Some(crc32c([1, 2, 3, 4])));
        assert_eq!(of("1.2.3.4:1", "[2001:db8::1]:1"), None);
    }

    #[test]
    fn neighbours_far_away_count_as_one() {
        // Bits that the mask 0x55 leaves out, and the port, change nothing.
        assert_eq!(of("1.2.3.4:1", "9.9.0.0:1"), of("1.2.3.4:7", "9.9.0.170:9"));
        assert_ne!(of("1.2.3.4:1", "1.2.3.0:1"), of("1.2.3.4:1", "1.2.3.170:1"), "the same /24");
        assert_eq!(of("[2001:db8:1::]:1", "[2001:db8:2::]:1"), of("[2001:db8:1::]:1", "[2001:db8:2::aaaa]:1"));
        assert_ne!(of("[2001:db8:1::]:1", "[2001:db8:1:ff::]:1"), of("[2001:db8:1::]:1", "[2001:db8:1:55::]:1"));
    }

    proptest! {
        #[test]
        fn both_ends_agree(a: SocketAddr, b: SocketAddr) {
            prop_assert_eq!(priority(a, b), priority(b, a));
        }
    }
}
