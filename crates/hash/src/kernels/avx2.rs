//! 8 messages in AVX2 lanes.
//!
//! Blocks are loaded in halves, each an 8 x 8 transposition. There are 16 registers, so part of the message schedule lives
//! in the first-level cache.

use super::MAX_LANES;
use std::arch::asm;
use std::arch::x86_64::*;

pub(super) type V = __m256i;
const LANES: usize = 8;

/// Whether this machine runs it.
pub(crate) fn is_available() -> bool {
    is_x86_feature_detected!("avx2")
}

lane_kernels!("avx2");

/// # Safety
/// Each pointer must lead to more than `block` blocks that can be read.
#[inline]
#[target_feature(enable = "avx2")]
#[expect(unsafe_code, reason = "blocks are read through unchecked pointers")]
pub(super) unsafe fn load_block(pointers: &[*const [u8; 64]; LANES], block: usize, words: &mut [V; 16]) {
    // Reverses the bytes of each word.
    let order = _mm256_broadcastsi128_si256(_mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203));
    for half in 0..2 {
        let mut rows = [splat(0); 8];
        for (row, pointer) in rows.iter_mut().zip(pointers) {
            // SAFETY: the caller says that this block can be read; it has two halves of 32 bytes, and the load needs no
            // alignment.
            *row = unsafe { _mm256_loadu_si256(pointer.add(block).cast::<V>().add(half)) };
        }
        let mut pairs = [splat(0); 8];
        for i in 0..4 {
            pairs[2 * i] = _mm256_unpacklo_epi32(rows[2 * i], rows[2 * i + 1]);
            pairs[2 * i + 1] = _mm256_unpackhi_epi32(rows[2 * i], rows[2 * i + 1]);
        }
        // `quads[4 * g + j]`: in its 128-bit part `p`, word `4 * p + j` of the messages `4 * g` to `4 * g + 3`.
        let mut quads = [splat(0); 8];
        for i in 0..2 {
            quads[4 * i] = _mm256_unpacklo_epi64(pairs[4 * i], pairs[4 * i + 2]);
            quads[4 * i + 1] = _mm256_unpackhi_epi64(pairs[4 * i], pairs[4 * i + 2]);
            quads[4 * i + 2] = _mm256_unpacklo_epi64(pairs[4 * i + 1], pairs[4 * i + 3]);
            quads[4 * i + 3] = _mm256_unpackhi_epi64(pairs[4 * i + 1], pairs[4 * i + 3]);
        }
        for j in 0..4 {
            let low = _mm256_permute2x128_si256::<0x20>(quads[j], quads[4 + j]);
            let high = _mm256_permute2x128_si256::<0x31>(quads[j], quads[4 + j]);
            words[8 * half + j] = _mm256_shuffle_epi8(low, order);
            words[8 * half + 4 + j] = _mm256_shuffle_epi8(high, order);
        }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn load_words<const WORDS: usize>(rows: &[[u32; MAX_LANES]; WORDS]) -> [V; WORDS] {
    let mut vectors = [splat(0); WORDS];
    for (vector, row) in vectors.iter_mut().zip(rows) {
        // SAFETY: a row is more than 32 bytes, and the load needs no alignment.
        #[expect(unsafe_code, reason = "a vector load")]
        let loaded = unsafe { _mm256_loadu_si256(row.as_ptr().cast()) };
        *vector = loaded;
    }
    vectors
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn store_words<const WORDS: usize>(vectors: &[V; WORDS], rows: &mut [[u32; MAX_LANES]; WORDS]) {
    for (vector, row) in vectors.iter().zip(rows) {
        // SAFETY: a row is more than 32 bytes, and the store needs no alignment.
        #[expect(unsafe_code, reason = "a vector store")]
        unsafe {
            _mm256_storeu_si256(row.as_mut_ptr().cast(), *vector);
        }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn splat(word: u32) -> V {
    _mm256_set1_epi32(word.cast_signed())
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn add(a: V, b: V) -> V {
    _mm256_add_epi32(a, b)
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn xor(a: V, b: V) -> V {
    _mm256_xor_si256(a, b)
}

#[inline]
#[target_feature(enable = "avx2")]
fn xor3(a: V, b: V, c: V) -> V {
    xor(xor(a, b), c)
}

#[inline]
#[target_feature(enable = "avx2")]
fn choose(a: V, b: V, c: V) -> V {
    xor(c, _mm256_and_si256(a, xor(b, c)))
}

#[inline]
#[target_feature(enable = "avx2")]
fn majority(a: V, b: V, c: V) -> V {
    xor(b, _mm256_and_si256(xor(a, b), xor(b, c)))
}

#[inline]
#[target_feature(enable = "avx2")]
fn rotl<const LEFT: i32, const RIGHT: i32>(a: V) -> V {
    _mm256_or_si256(_mm256_slli_epi32::<LEFT>(a), _mm256_srli_epi32::<RIGHT>(a))
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn shr<const BITS: i32>(a: V) -> V {
    _mm256_srli_epi32::<BITS>(a)
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn keep(mut a: V) -> V {
    // SAFETY: no instruction at all.
    #[expect(unsafe_code, reason = "nothing else keeps the order of additions")]
    unsafe {
        asm!("/* {0} */", inout(ymm_reg) a, options(pure, nomem, nostack, preserves_flags));
    }
    a
}
