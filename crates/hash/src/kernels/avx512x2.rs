//! SHA-256 of 32 messages: two times 16 AVX-512 lanes, in turn.
//!
//! A round of SHA-256 is a long chain of operations, each of which waits for the one before it; where the vector units are as
//! wide as the registers (Zen 5), that wait and not the work is what 16 lanes cost. A second set of lanes fills it. The
//! schedule words of both do not fit into the registers, and reading them back from the first-level cache costs less than the
//! wait: 7.4 GB/s instead of 5.6. SHA-1 loses by it (docs/measurements.md).

use super::MAX_LANES;
use super::avx512::{self, Half};
type V = [Half; 2];
const LANES: usize = 32;

pub(crate) use avx512::is_available;

sha256_kernel!("avx512f,avx512bw", load_block);

/// # Safety
/// Each pointer must lead to more than `block` blocks that can be read.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
#[expect(unsafe_code, reason = "blocks are read through unchecked pointers")]
unsafe fn load_block(pointers: &[*const [u8; 64]; LANES], block: usize) -> [V; 16] {
    let ([first, second], []) = pointers.as_chunks() else { unreachable!("32 are two times 16") };
    // SAFETY: what the caller says holds for each half.
    let (first, second) = unsafe { (avx512::load_block(first, block), avx512::load_block(second, block)) };
    let mut words = [splat(0); 16];
    for (word, halves) in words.iter_mut().zip(first.into_iter().zip(second)) {
        *word = [halves.0, halves.1];
    }
    words
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

#[inline]
#[target_feature(enable = "avx512f")]
fn add(a: V, b: V) -> V {
    [avx512::add(a[0], b[0]), avx512::add(a[1], b[1])]
}

#[inline]
#[target_feature(enable = "avx512f")]
fn xor3(a: V, b: V, c: V) -> V {
    [avx512::xor3(a[0], b[0], c[0]), avx512::xor3(a[1], b[1], c[1])]
}

#[inline]
#[target_feature(enable = "avx512f")]
fn choose(a: V, b: V, c: V) -> V {
    [avx512::choose(a[0], b[0], c[0]), avx512::choose(a[1], b[1], c[1])]
}

#[inline]
#[target_feature(enable = "avx512f")]
fn majority(a: V, b: V, c: V) -> V {
    [avx512::majority(a[0], b[0], c[0]), avx512::majority(a[1], b[1], c[1])]
}

#[inline]
#[target_feature(enable = "avx512f")]
fn rotl<const LEFT: i32, const RIGHT: i32>(a: V) -> V {
    [avx512::rotl::<LEFT, RIGHT>(a[0]), avx512::rotl::<LEFT, RIGHT>(a[1])]
}

#[inline]
#[target_feature(enable = "avx512f")]
fn shr<const BITS: u32>(a: V) -> V {
    [avx512::shr::<BITS>(a[0]), avx512::shr::<BITS>(a[1])]
}
