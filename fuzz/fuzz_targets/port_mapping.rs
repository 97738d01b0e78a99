//! What a router says by NAT-PMP and PCP: no datagram is an answer of both, what follows an answer changes nothing, and a
//! grant says exactly what its bytes say.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shoal_discovery::mapping::codec::{NatPmpAnswer, PcpAnswer, Transport, decode_nat_pmp, decode_pcp};

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn port(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes(bytes[at..at + 2].try_into().unwrap())
}

fuzz_target!(|bytes: &[u8]| {
    let (nat_pmp, pcp) = (decode_nat_pmp(bytes), decode_pcp(bytes));
    assert!(nat_pmp.is_none() || pcp.is_none());
    let longer = [bytes, &[0xaa; 7]].concat();
    if nat_pmp.is_some() {
        assert_eq!(decode_nat_pmp(&longer), nat_pmp);
    }
    if pcp.is_some() {
        assert_eq!(decode_pcp(&longer), pcp);
    }
    match nat_pmp {
        Some(NatPmpAnswer::Map { transport, epoch_s, internal_port, external_port, lifetime_s }) => {
            assert_eq!((bytes[0], bytes[1]), (0, if transport == Transport::Udp { 129 } else { 130 }));
            assert_eq!((epoch_s, lifetime_s), (number(bytes, 4), number(bytes, 12)));
            assert_eq!((internal_port, external_port), (port(bytes, 8), port(bytes, 10)));
        }
        Some(NatPmpAnswer::Address { address, .. }) => assert_eq!(address.octets()[..], bytes[8..12]),
        Some(NatPmpAnswer::Refused { result, .. }) => assert!(result != 0 && result == port(bytes, 2)),
        None => {}
    }
    if let Some(PcpAnswer::Map { result, lifetime_s, epoch_s, nonce, internal_port, external_port, .. }) = pcp {
        assert!(bytes[0] == 2 && bytes[1] == 0x81 && bytes[3] == result);
        assert_eq!((lifetime_s, epoch_s), (number(bytes, 4), number(bytes, 8)));
        assert_eq!(nonce[..], bytes[24..36]);
        assert_eq!((internal_port, external_port), (port(bytes, 40), port(bytes, 42)));
    }
});
