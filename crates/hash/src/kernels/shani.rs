//! Two messages in turn through x86's SHA instructions.
//!
//! A SHA instruction's result takes several cycles, and one message's next instruction waits for it. The unit takes a new
//! instruction before that, so a second message fills the gap.

use super::MAX_LANES;
use super::rounds::{K256, checked};
use crate::lanes::{column, set_column};
use crate::state::{Sha1Algorithm, Sha256Algorithm};
use std::arch::x86_64::*;

/// Messages at once.
const LANES: usize = 2;

/// Whether this machine runs it.
pub(crate) fn is_available() -> bool {
    is_x86_feature_detected!("sha") && is_x86_feature_detected!("ssse3") && is_x86_feature_detected!("sse4.1")
}

/// SHA-1 of all lanes.
///
/// # Panics
/// If there are not as many runs as lanes, if runs differ in length, or if the machine cannot run it.
pub(crate) fn sha1(rows: &mut [[u32; MAX_LANES]; 5], runs: &[&[[u8; 64]]]) {
    let (pointers, blocks) = checked::<LANES>(runs);
    let mut words: [[u32; 5]; LANES] = std::array::from_fn(|lane| column::<Sha1Algorithm>(rows, lane));
    assert!(is_available(), "this machine lacks the instructions");
    // SAFETY: the instructions are there, and each pointer leads to `blocks` blocks.
    #[expect(unsafe_code, reason = "a kernel for instructions that not every machine has")]
    unsafe {
        sha1_lanes(&mut words, &pointers, blocks);
    }
    for (lane, words) in words.iter().enumerate() {
        set_column::<Sha1Algorithm>(rows, lane, words);
    }
}

/// SHA-256 of all lanes.
///
/// # Panics
/// As [`sha1`].
pub(crate) fn sha256(rows: &mut [[u32; MAX_LANES]; 8], runs: &[&[[u8; 64]]]) {
    let (pointers, blocks) = checked::<LANES>(runs);
    let mut words: [[u32; 8]; LANES] = std::array::from_fn(|lane| column::<Sha256Algorithm>(rows, lane));
    assert!(is_available(), "this machine lacks the instructions");
    // SAFETY: the instructions are there, and each pointer leads to `blocks` blocks.
    #[expect(unsafe_code, reason = "a kernel for instructions that not every machine has")]
    unsafe {
        sha256_lanes(&mut words, &pointers, blocks);
    }
    for (lane, words) in words.iter().enumerate() {
        set_column::<Sha256Algorithm>(rows, lane, words);
    }
}

/// Sixteen bytes.
///
/// # Safety
/// The pointer must lead to more than `block` blocks that can be read, and `quarter` must be less than 4.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
#[expect(unsafe_code, reason = "blocks are read through unchecked pointers")]
unsafe fn load(pointer: *const [u8; 64], block: usize, quarter: usize) -> __m128i {
    // SAFETY: the caller says so, and the load needs no alignment.
    unsafe { _mm_loadu_si128(pointer.add(block).cast::<__m128i>().add(quarter)) }
}

/// Four words, the first in the lowest place.
#[inline]
#[target_feature(enable = "sse2")]
fn from_words(words: &[u32]) -> __m128i {
    _mm_set_epi32(words[3].cast_signed(), words[2].cast_signed(), words[1].cast_signed(), words[0].cast_signed())
}

/// The reverse of [`from_words`].
#[inline]
#[target_feature(enable = "sse4.1")]
fn to_words(vector: __m128i) -> [u32; 4] {
    [
        _mm_extract_epi32::<0>(vector).cast_unsigned(),
        _mm_extract_epi32::<1>(vector).cast_unsigned(),
        _mm_extract_epi32::<2>(vector).cast_unsigned(),
        _mm_extract_epi32::<3>(vector).cast_unsigned(),
    ]
}

/// # Safety
/// Each pointer must lead to `blocks` blocks that can be read, and the machine must have the instructions.
#[target_feature(enable = "sha,ssse3,sse4.1")]
#[expect(unsafe_code, reason = "blocks are read through unchecked pointers")]
unsafe fn sha1_lanes(words: &mut [[u32; 5]; LANES], pointers: &[*const [u8; 64]; LANES], blocks: usize) {
    // The instructions want the first word in the highest place.
    let order = _mm_set_epi64x(0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f);
    let zero = _mm_setzero_si128();
    let mut abcd = [zero; LANES];
    let mut e = [zero; LANES];
    for lane in 0..LANES {
        let [a, b, c, d, last] = words[lane];
        abcd[lane] = from_words(&[d, c, b, a]);
        e[lane] = from_words(&[0, 0, 0, last]);
    }
    for block in 0..blocks {
        let (abcd_before, e_before) = (abcd, e);
        let mut w = [[zero; 4]; LANES];
        // `abcd` as it was four rounds ago, of which the instruction makes `e`.
        let mut older = [zero; LANES];

        macro_rules! four_rounds {
            ($group:expr, $function:literal) => {
                for lane in 0..LANES {
                    let schedule = &mut w[lane];
                    if $group < 4 {
                        // SAFETY: `block` is less than `blocks`, which is how far each pointer may be read.
                        let loaded = unsafe { load(pointers[lane], block, $group % 4) };
                        schedule[$group % 4] = _mm_shuffle_epi8(loaded, order);
                    } else {
                        let mixed = _mm_xor_si128(
                            _mm_sha1msg1_epu32(schedule[$group % 4], schedule[($group + 1) % 4]),
                            schedule[($group + 2) % 4],
                        );
                        schedule[$group % 4] = _mm_sha1msg2_epu32(mixed, schedule[($group + 3) % 4]);
                    }
                    let word = schedule[$group % 4];
                    let with_e =
                        if $group == 0 { _mm_add_epi32(e[lane], word) } else { _mm_sha1nexte_epu32(older[lane], word) };
                    older[lane] = abcd[lane];
                    abcd[lane] = _mm_sha1rnds4_epu32::<$function>(abcd[lane], with_e);
                }
            };
        }
        macro_rules! twenty_rounds {
            ($group:expr, $function:literal) => {
                four_rounds!($group, $function);
                four_rounds!($group + 1, $function);
                four_rounds!($group + 2, $function);
                four_rounds!($group + 3, $function);
                four_rounds!($group + 4, $function);
            };
        }
        twenty_rounds!(0, 0);
        twenty_rounds!(5, 1);
        twenty_rounds!(10, 2);
        twenty_rounds!(15, 3);

        for lane in 0..LANES {
            e[lane] = _mm_sha1nexte_epu32(older[lane], e_before[lane]);
            abcd[lane] = _mm_add_epi32(abcd[lane], abcd_before[lane]);
        }
    }
    for lane in 0..LANES {
        let [d, c, b, a] = to_words(abcd[lane]);
        let [.., last] = to_words(e[lane]);
        words[lane] = [a, b, c, d, last];
    }
}

/// # Safety
/// Each pointer must lead to `blocks` blocks that can be read, and the machine must have the instructions.
#[target_feature(enable = "sha,ssse3,sse4.1")]
#[expect(unsafe_code, reason = "blocks are read through unchecked pointers")]
unsafe fn sha256_lanes(words: &mut [[u32; 8]; LANES], pointers: &[*const [u8; 64]; LANES], blocks: usize) {
    // Reverses the bytes of each word.
    let order = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
    let zero = _mm_setzero_si128();
    // The instructions want the state as two vectors, of the words a, b, e, f and c, d, g, h, the first in the highest
    // place.
    let mut abef = [zero; LANES];
    let mut cdgh = [zero; LANES];
    for lane in 0..LANES {
        let [a, b, c, d, e, f, g, h] = words[lane];
        abef[lane] = from_words(&[f, e, b, a]);
        cdgh[lane] = from_words(&[h, g, d, c]);
    }
    for block in 0..blocks {
        let (abef_before, cdgh_before) = (abef, cdgh);
        let mut w = [[zero; 4]; LANES];

        macro_rules! four_rounds {
            ($group:expr) => {
                let constants = from_words(&K256[4 * $group..4 * $group + 4]);
                for lane in 0..LANES {
                    let schedule = &mut w[lane];
                    if $group < 4 {
                        // SAFETY: `block` is less than `blocks`, which is how far each pointer may be read.
                        let loaded = unsafe { load(pointers[lane], block, $group % 4) };
                        schedule[$group % 4] = _mm_shuffle_epi8(loaded, order);
                    } else {
                        let newer = _mm_alignr_epi8::<4>(schedule[($group + 3) % 4], schedule[($group + 2) % 4]);
                        let mixed = _mm_add_epi32(
                            _mm_sha256msg1_epu32(schedule[$group % 4], schedule[($group + 1) % 4]),
                            newer,
                        );
                        schedule[$group % 4] = _mm_sha256msg2_epu32(mixed, schedule[($group + 3) % 4]);
                    }
                    let sum = _mm_add_epi32(schedule[$group % 4], constants);
                    cdgh[lane] = _mm_sha256rnds2_epu32(cdgh[lane], abef[lane], sum);
                    abef[lane] = _mm_sha256rnds2_epu32(abef[lane], cdgh[lane], _mm_shuffle_epi32::<0x0e>(sum));
                }
            };
        }
        macro_rules! sixteen_rounds {
            ($group:expr) => {
                four_rounds!($group);
                four_rounds!($group + 1);
                four_rounds!($group + 2);
                four_rounds!($group + 3);
            };
        }
        sixteen_rounds!(0);
        sixteen_rounds!(4);
        sixteen_rounds!(8);
        sixteen_rounds!(12);

        for lane in 0..LANES {
            abef[lane] = _mm_add_epi32(abef[lane], abef_before[lane]);
            cdgh[lane] = _mm_add_epi32(cdgh[lane], cdgh_before[lane]);
        }
    }
    for lane in 0..LANES {
        let [f, e, b, a] = to_words(abef[lane]);
        let [h, g, d, c] = to_words(cdgh[lane]);
        words[lane] = [a, b, c, d, e, f, g, h];
    }
}
