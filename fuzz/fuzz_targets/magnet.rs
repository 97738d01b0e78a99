//! A link never panics, and what is written of one that was read reads back as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shoal_metainfo::Magnet;

fuzz_target!(|text: &str| {
    if let Ok(magnet) = text.parse::<Magnet>() {
        let written = magnet.to_string();
        let mut again: Magnet = written.parse().expect("what was written is a link");
        assert!(again.warnings.is_empty(), "{written}: {:?}", again.warnings);
        again.warnings.clone_from(&magnet.warnings);
        assert_eq!(again, magnet);
        assert!(magnet.trackers.len() <= 1000 && magnet.web_seeds.len() <= 1000 && magnet.peers.len() <= 1000);
    }
    if let Ok(magnet) = Magnet::from_hash_text(text) {
        assert!(magnet.hashes.v1.is_some() != magnet.hashes.v2.is_some());
    }
});
