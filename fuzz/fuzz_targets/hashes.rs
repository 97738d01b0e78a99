//! SHA-1 and SHA-256 of many messages side by side, and in parts, are what a plain implementation says.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sha1::Digest as _;

fuzz_target!(|input: (Vec<(u16, u8)>, &[u8])| {
    let (cuts, bytes) = input;
    let messages: Vec<&[u8]> = cuts
        .iter()
        .take(40)
        .map(|&(length, start)| {
            let start = usize::from(start).min(bytes.len());
            &bytes[start..(start + usize::from(length)).min(bytes.len())]
        })
        .collect();
    let (mut ones, mut twos) = (vec![[0; 20]; messages.len()], vec![[0; 32]; messages.len()]);
    shoal_hash::sha1_many(&messages, &mut ones);
    shoal_hash::sha256_many(&messages, &mut twos);
    for ((message, one), two) in messages.iter().zip(&ones).zip(&twos) {
        assert_eq!(*one, <[u8; 20]>::from(sha1::Sha1::digest(message)));
        assert_eq!(*two, <[u8; 32]>::from(sha2::Sha256::digest(message)));
        assert_eq!(*one, shoal_hash::sha1(message));
        assert_eq!(*two, shoal_hash::sha256(message));
    }
    let mut leaves = Vec::new();
    shoal_hash::sha256_leaves(bytes, &mut leaves);
    let plain: Vec<[u8; 32]> = bytes.chunks(16 * 1024).map(|leaf| sha2::Sha256::digest(leaf).into()).collect();
    assert_eq!(leaves, plain);
});
