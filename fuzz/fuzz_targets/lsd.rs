//! A datagram of local service discovery is read within bounds, and what was read is written and read back as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shoal_discovery::lan::{build_announce, parse_announce};

fuzz_target!(|datagram: &[u8]| {
    let Some(announce) = parse_announce(datagram) else { return };
    assert!(announce.port != 0 && (1..=32).contains(&announce.hashes.len()));
    let cookie = announce.cookie.unwrap_or_default();
    assert!(cookie.len() <= 64 && !cookie.contains('\n'));
    let mut hashes = Vec::new();
    for datagram in build_announce("239.192.152.143:6771", announce.port, &announce.hashes, "1a2b") {
        assert!(datagram.len() <= 1_400);
        let again = parse_announce(&datagram).expect("what is sent is an announce");
        assert_eq!(again.port, announce.port);
        hashes.extend(again.hashes);
    }
    assert_eq!(hashes, announce.hashes);
});
