//! 16 messages in AVX-512 lanes.
//!
//! One load takes a whole block of one message; sixteen of them are turned into sixteen vectors of one word each by a
//! 16 x 16 transposition in registers. Rotations and three-input bitwise functions are one instruction each.

use super::MAX_LANES;
use std::arch::asm;
use std::arch::x86_64::*;

/// A word of each of 16 messages.
pub(super) type Half = __m512i;
type V = Half;
const LANES: usize = 16;

/// Whether this machine runs it: AVX-512 with byte shuffles.
pub(crate) fn is_available() -> bool {
    is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw")
}

lane_kernels!("avx512f,avx512bw");

/// # Safety
/// Each pointer must lead to more than `block` blocks that can be read.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
#[expect(unsafe_code, reason = "blocks are read through unchecked pointers")]
pub(super) unsafe fn load_block(pointers: &[*const [u8; 64]; LANES], block: usize, words: &mut [V; 16]) {
    let mut rows = [splat(0); 16];
    for (row, pointer) in rows.iter_mut().zip(pointers) {
        // SAFETY: the caller says that this block can be read; it has 64 bytes, and the load needs no alignment.
        *row = unsafe { _mm512_loadu_si512(pointer.add(block).cast()) };
    }
    // Reverses the bytes of each word.
    let order = _mm512_broadcast_i32x4(_mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203));
    let mut pairs = [splat(0); 16];
    for i in 0..8 {
        pairs[2 * i] = _mm512_unpacklo_epi32(rows[2 * i], rows[2 * i + 1]);
        pairs[2 * i + 1] = _mm512_unpackhi_epi32(rows[2 * i], rows[2 * i + 1]);
    }
    // `quads[4 * g + j]`: in its 128-bit part `p`, word `4 * p + j` of the messages `4 * g` to `4 * g + 3`.
    let mut quads = [splat(0); 16];
    for i in 0..4 {
        quads[4 * i] = _mm512_unpacklo_epi64(pairs[4 * i], pairs[4 * i + 2]);
        quads[4 * i + 1] = _mm512_unpackhi_epi64(pairs[4 * i], pairs[4 * i + 2]);
        quads[4 * i + 2] = _mm512_unpacklo_epi64(pairs[4 * i + 1], pairs[4 * i + 3]);
        quads[4 * i + 3] = _mm512_unpackhi_epi64(pairs[4 * i + 1], pairs[4 * i + 3]);
    }
    for j in 0..4 {
        // 0x88 takes parts 0 and 2 of each operand, 0xdd parts 1 and 3.
        let even = _mm512_shuffle_i32x4::<0x88>(quads[j], quads[4 + j]);
        let even_high = _mm512_shuffle_i32x4::<0x88>(quads[8 + j], quads[12 + j]);
        let odd = _mm512_shuffle_i32x4::<0xdd>(quads[j], quads[4 + j]);
        let odd_high = _mm512_shuffle_i32x4::<0xdd>(quads[8 + j], quads[12 + j]);
        words[j] = _mm512_shuffle_i32x4::<0x88>(even, even_high);
        words[4 + j] = _mm512_shuffle_i32x4::<0x88>(odd, odd_high);
        words[8 + j] = _mm512_shuffle_i32x4::<0xdd>(even, even_high);
        words[12 + j] = _mm512_shuffle_i32x4::<0xdd>(odd, odd_high);
    }
    for word in words {
        *word = _mm512_shuffle_epi8(*word, order);
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_words<const WORDS: usize>(rows: &[[u32; MAX_LANES]; WORDS]) -> [V; WORDS] {
    let mut vectors = [splat(0); WORDS];
    for (vector, row) in vectors.iter_mut().zip(rows) {
        *vector = load(&row.as_chunks().0[0]);
    }
    vectors
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store_words<const WORDS: usize>(vectors: &[V; WORDS], rows: &mut [[u32; MAX_LANES]; WORDS]) {
    for (vector, row) in vectors.iter().zip(rows) {
        store(*vector, &mut row.as_chunks_mut().0[0]);
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn load(words: &[u32; LANES]) -> V {
    // SAFETY: the words are 64 bytes, and the load needs no alignment.
    #[expect(unsafe_code, reason = "a vector load")]
    unsafe {
        _mm512_loadu_si512(words.as_ptr().cast())
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn store(vector: V, words: &mut [u32; LANES]) {
    // SAFETY: the words are 64 bytes, and the store needs no alignment.
    #[expect(unsafe_code, reason = "a vector store")]
    unsafe {
        _mm512_storeu_si512(words.as_mut_ptr().cast(), vector);
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn splat(word: u32) -> V {
    _mm512_set1_epi32(word.cast_signed())
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn add(a: V, b: V) -> V {
    _mm512_add_epi32(a, b)
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn xor(a: V, b: V) -> V {
    _mm512_xor_si512(a, b)
}

// The numbers of the next three are the truth tables of their functions.

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn xor3(a: V, b: V, c: V) -> V {
    _mm512_ternarylogic_epi32::<0x96>(a, b, c)
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn choose(a: V, b: V, c: V) -> V {
    _mm512_ternarylogic_epi32::<0xca>(a, b, c)
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn majority(a: V, b: V, c: V) -> V {
    _mm512_ternarylogic_epi32::<0xe8>(a, b, c)
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn rotl<const LEFT: i32, const RIGHT: i32>(a: V) -> V {
    _mm512_rol_epi32::<LEFT>(a)
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn shr<const BITS: u32>(a: V) -> V {
    _mm512_srli_epi32::<BITS>(a)
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn keep(mut a: V) -> V {
    // SAFETY: no instruction at all.
    #[expect(unsafe_code, reason = "nothing else keeps the order of additions")]
    unsafe {
        asm!("/* {0} */", inout(zmm_reg) a, options(pure, nomem, nostack, preserves_flags));
    }
    a
}
