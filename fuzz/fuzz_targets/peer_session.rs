//! A whole peer's session, and several beside each other, in any order of messages, blocks, disk answers and time: no
//! panic, no broken invariant, nothing unverified served, nobody honest closed or banned.
#![no_main]

use arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ended = shoal_fuzz::session::play(&mut Unstructured::new(bytes));
});
