//! A torrent file never panics; what is read has the hash of its raw bytes, a layout that adds up, paths that are made
//! safe, and is written back as what it was.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| shoal_fuzz::torrents::check(bytes));
