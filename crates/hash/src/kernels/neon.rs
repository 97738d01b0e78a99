//! 4 messages in NEON lanes, for processors without SHA instructions (the crates use those, and are faster with them).

use super::MAX_LANES;
use std::arch::aarch64::*;
use std::arch::asm;

type V = uint32x4_t;
const LANES: usize = 4;

/// Whether this machine runs it.
pub(crate) fn is_available() -> bool {
    std::arch::is_aarch64_feature_detected!("neon")
}

lane_kernels!("neon");

/// # Safety
/// Each pointer must lead to more than `block` blocks that can be read.
#[inline]
#[target_feature(enable = "neon")]
#[expect(unsafe_code, reason = "blocks are read through unchecked pointers")]
unsafe fn load_block(pointers: &[*const [u8; 64]; LANES], block: usize, words: &mut [V; 16]) {
    for quarter in 0..4 {
        let mut rows = [splat(0); 4];
        for (row, pointer) in rows.iter_mut().zip(pointers) {
            // SAFETY: the caller says that this block can be read; it has four quarters of 16 bytes, and the load needs no
            // alignment.
            let bytes = unsafe { vld1q_u8(pointer.add(block).cast::<u8>().add(16 * quarter)) };
            // Reverses the bytes of each word.
            *row = vreinterpretq_u32_u8(vrev32q_u8(bytes));
        }
        let [low, high] = [vzip1q_u32(rows[0], rows[2]), vzip1q_u32(rows[1], rows[3])];
        words[4 * quarter] = vzip1q_u32(low, high);
        words[4 * quarter + 1] = vzip2q_u32(low, high);
        let [low, high] = [vzip2q_u32(rows[0], rows[2]), vzip2q_u32(rows[1], rows[3])];
        words[4 * quarter + 2] = vzip1q_u32(low, high);
        words[4 * quarter + 3] = vzip2q_u32(low, high);
    }
}

#[inline]
#[target_feature(enable = "neon")]
fn load_words<const WORDS: usize>(rows: &[[u32; MAX_LANES]; WORDS]) -> [V; WORDS] {
    let mut vectors = [splat(0); WORDS];
    for (vector, row) in vectors.iter_mut().zip(rows) {
        // SAFETY: a row is more than 16 bytes, and the load needs no alignment.
        #[expect(unsafe_code, reason = "a vector load")]
        let loaded = unsafe { vld1q_u32(row.as_ptr()) };
        *vector = loaded;
    }
    vectors
}

#[inline]
#[target_feature(enable = "neon")]
fn store_words<const WORDS: usize>(vectors: &[V; WORDS], rows: &mut [[u32; MAX_LANES]; WORDS]) {
    for (vector, row) in vectors.iter().zip(rows) {
        // SAFETY: a row is more than 16 bytes, and the store needs no alignment.
        #[expect(unsafe_code, reason = "a vector store")]
        unsafe {
            vst1q_u32(row.as_mut_ptr(), *vector);
        }
    }
}

#[inline]
#[target_feature(enable = "neon")]
fn splat(word: u32) -> V {
    vdupq_n_u32(word)
}

#[inline]
#[target_feature(enable = "neon")]
fn add(a: V, b: V) -> V {
    vaddq_u32(a, b)
}

#[inline]
#[target_feature(enable = "neon")]
fn xor(a: V, b: V) -> V {
    veorq_u32(a, b)
}

#[inline]
#[target_feature(enable = "neon")]
fn xor3(a: V, b: V, c: V) -> V {
    xor(xor(a, b), c)
}

#[inline]
#[target_feature(enable = "neon")]
fn choose(a: V, b: V, c: V) -> V {
    vbslq_u32(a, b, c)
}

#[inline]
#[target_feature(enable = "neon")]
fn majority(a: V, b: V, c: V) -> V {
    vbslq_u32(xor(a, b), c, b)
}

#[inline]
#[target_feature(enable = "neon")]
fn rotl<const LEFT: i32, const RIGHT: i32>(a: V) -> V {
    vsriq_n_u32::<RIGHT>(vshlq_n_u32::<LEFT>(a), a)
}

#[inline]
#[target_feature(enable = "neon")]
fn shr<const BITS: i32>(a: V) -> V {
    vshrq_n_u32::<BITS>(a)
}

#[inline]
#[target_feature(enable = "neon")]
fn keep(mut a: V) -> V {
    // SAFETY: no instruction at all.
    #[expect(unsafe_code, reason = "nothing else keeps the order of additions")]
    unsafe {
        asm!("/* {0:v} */", inout(vreg) a, options(pure, nomem, nostack, preserves_flags));
    }
    a
}
