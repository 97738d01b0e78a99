//! A datagram of a UDP tracker never panics, and gives no more than its bytes hold.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shoal_discovery::parsers::{Body, Family, udp_packet};

fuzz_target!(|datagram: &[u8]| {
    for (family, entry) in [(Family::V4, 6), (Family::V6, 18)] {
        let Some(packet) = udp_packet(datagram, family) else { continue };
        assert_eq!(datagram[4..8], packet.transaction.to_be_bytes());
        match packet.body {
            Body::Connected(id) => assert_eq!(datagram[8..16], id.to_be_bytes()),
            Body::Announced { peers, .. } => assert_eq!(peers.len(), (datagram.len() - 20) / entry),
            Body::Scraped(all) => assert!(all.len() <= 74 && all.len() <= (datagram.len() - 8) / 12),
            Body::Failed(reason) => assert!(reason.chars().count() <= 300 && !reason.contains(['\n', '\r'])),
        }
    }
});
