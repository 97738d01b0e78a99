//! 32 messages: two times 16 AVX-512 lanes, in turn.
//!
//! A round is a chain of operations, each of which waits for the one before it; where the vector units are as wide as the
//! registers (Zen 5), that wait and not the work is what 16 lanes cost. A second set of lanes fills it: 14.0 GB/s of SHA-1
//! instead of 12.3, 7.6 of SHA-256 instead of 6.6 (docs/measurements.md).

use super::MAX_LANES;
use super::avx512::{self, Half};

type V = [Half; 2];
const LANES: usize = 32;

pub(crate) use avx512::is_available;

lane_kernels!("avx512f,avx512bw");

/// # Safety
/// Each pointer must lead to more than `block` blocks that can be read.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
#[expect(unsafe_code, reason = "blocks are read through unchecked pointers")]
unsafe fn load_block(pointers: &[*const [u8; 64]; LANES], block: usize, words: &mut [V; 16]) {
    let (sets, []) = pointers.as_chunks() else { unreachable!("32 are two times 16") };
    let mut halves = [avx512::splat(0); 16];
    for (set, pointers) in sets.iter().enumerate() {
        // SAFETY: what the caller says holds for each half.
        unsafe { avx512::load_block(pointers, block, &mut halves) };
        for (word, half) in words.iter_mut().zip(halves) {
            word[set] = half;
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_words<const WORDS: usize>(rows: &[[u32; MAX_LANES]; WORDS]) -> [V; WORDS] {
    let mut vectors = [splat(0); WORDS];
    for (vector, row) in vectors.iter_mut().zip(rows) {
        for (half, words) in vector.iter_mut().zip(row.as_chunks().0) {
            *half = avx512::load(words);
        }
    }
    vectors
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store_words<const WORDS: usize>(vectors: &[V; WORDS], rows: &mut [[u32; MAX_LANES]; WORDS]) {
    for (vector, row) in vectors.iter().zip(rows) {
        for (half, words) in vector.iter().zip(row.as_chunks_mut().0) {
            avx512::store(*half, words);
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn splat(word: u32) -> V {
    [avx512::splat(word); 2]
}

/// Operations on both sets.
macro_rules! on_both {
    ($($name:ident$(<$($number:ident: $type:ty),+>)?($($argument:ident),+);)+) => {$(
        #[inline]
        #[target_feature(enable = "avx512f")]
        fn $name$(<$(const $number: $type),+>)?($($argument: V),+) -> V {
            [avx512::$name$(::<$($number),+>)?($($argument[0]),+), avx512::$name$(::<$($number),+>)?($($argument[1]),+)]
        }
    )+};
}

on_both! {
    add(a, b);
    xor(a, b);
    xor3(a, b, c);
    choose(a, b, c);
    majority(a, b, c);
    rotl<LEFT: i32, RIGHT: i32>(a);
    shr<BITS: u32>(a);
    keep(a);
}
