//! The hashes of many pairs of hashes: a layer of a Merkle tree from the layer below.
//!
//! A pair is one block, and the block of padding after it is the same for all. So there is nothing to schedule: as many pairs
//! as there are lanes go in, two blocks each, and their hashes come out.

use crate::kernels::{MAX_LANES, Table};
use crate::lanes::column;
use crate::state::{BLOCK, Sha256Algorithm, digest, sealed::Algorithm};

/// What follows a message of 64 bytes: a 1 bit, zeros, and its length in bits, 512 (FIPS 180-4, 5.1.1).
const PADDING: [u8; BLOCK] = {
    let mut block = [0; BLOCK];
    block[0] = 0x80;
    block[BLOCK - 2] = 2;
    block
};

/// The state before the first block, in all lanes.
const INITIAL: <Sha256Algorithm as Algorithm>::Rows = {
    let mut rows = [[0; MAX_LANES]; 8];
    let mut word = 0;
    while word < rows.len() {
        rows[word] = [Sha256Algorithm::INITIAL[word]; MAX_LANES];
        word += 1;
    }
    rows
};

/// SHA-256 of each pair of hashes; a last one without a partner is left out.
pub(crate) fn digest_pairs(table: &Table<Sha256Algorithm>, hashes: &[[u8; 32]]) -> Vec<[u8; 32]> {
    let mut pairs = hashes.as_flattened().as_chunks::<BLOCK>().0;
    let mut out = Vec::with_capacity(pairs.len());
    let mut messages = [[[0; BLOCK], PADDING]; MAX_LANES];
    while !pairs.is_empty() {
        let kernel = table.kernel(pairs.len().min(MAX_LANES));
        let (now, later) = pairs.split_at(pairs.len().min(kernel.lanes));
        for (message, pair) in messages.iter_mut().zip(now) {
            message[0] = *pair;
        }
        let mut rows = INITIAL;
        // Lanes without a pair hash what an earlier step left there, for nobody.
        let runs = messages.each_ref().map(|message| &message[..]);
        (kernel.compress)(&mut rows, &runs[..kernel.lanes]);
        out.extend((0..now.len()).map(|lane| digest::<Sha256Algorithm>(&column::<Sha256Algorithm>(&rows, lane))));
        pairs = later;
    }
    out
}
