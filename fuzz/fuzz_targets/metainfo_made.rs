//! The same as `metainfo`, of torrents that are mostly right, so that what comes after the first checks is reached.
#![no_main]

use arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use shoal_fuzz::torrents;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(torrent) = torrents::made(&mut Unstructured::new(bytes)) {
        torrents::check(&torrent);
    }
});
