//! 8 messages in the lower halves of AVX-512's registers: AVX2's loads, with AVX-512's rotations and three-input functions.
//!
//! For batches too small to fill 16 lanes. On processors that run 512-bit instructions as two halves this is no slower.

use super::MAX_LANES;
use super::avx2::{V, add, keep, load_block, load_words, shr, splat, store_words, xor};
use std::arch::x86_64::*;

const LANES: usize = 8;

/// Whether this machine runs it: AVX-512 on 256-bit registers.
pub(crate) fn is_available() -> bool {
    is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl") && super::avx2::is_available()
}

lane_kernels!("avx2,avx512f,avx512vl");

// The numbers of the next three are the truth tables of their functions.

#[inline]
#[target_feature(enable = "avx2,avx512f,avx512vl")]
fn xor3(a: V, b: V, c: V) -> V {
    _mm256_ternarylogic_epi32::<0x96>(a, b, c)
}

#[inline]
#[target_feature(enable = "avx2,avx512f,avx512vl")]
fn choose(a: V, b: V, c: V) -> V {
    _mm256_ternarylogic_epi32::<0xca>(a, b, c)
}

#[inline]
#[target_feature(enable = "avx2,avx512f,avx512vl")]
fn majority(a: V, b: V, c: V) -> V {
    _mm256_ternarylogic_epi32::<0xe8>(a, b, c)
}

#[inline]
#[target_feature(enable = "avx2,avx512f,avx512vl")]
fn rotl<const LEFT: i32, const RIGHT: i32>(a: V) -> V {
    _mm256_rol_epi32::<LEFT>(a)
}
