//! The rounds of SHA-1 and SHA-256 over vectors that hold one word of each message.
//!
//! Both algorithms are 32-bit adds, rotations and bitwise functions, the same for every message, so lane `l` of each vector
//! belongs to message `l` and nothing ever crosses lanes but the loading of blocks. The macro is expanded in one module a
//! vector type, which brings the operations:
//!
//! - `V`, `LANES`; `load_words`, `store_words`: the first columns of the states to vectors and back
//! - `unsafe load_block(pointers, i, words: &mut [V; 16])`: word `w` of each lane's block `i`, in native order
//! - `splat`, `add`, `xor`, `xor3`, `choose`, `majority`, `rotl::<L, R>` (left by `L` = right by `R`; `L + R = 32`), `shr::<N>`
//! - `keep`: gives what it was given, and the compiler does not know that
//!
//! The message schedule lies in the first-level cache and is made 16 rounds ahead, so that the registers are the state's and the
//! rounds can be loops of a few, which fit into what the processor keeps decoded. What a round waits for is the round before it:
//! the shortest such chain is one rotation and one addition (SHA-1). Additions are commutative, and the compiler likes to
//! order them otherwise; `keep` holds it to the order that is written. Measured: docs/measurements.md.

/// SHA-256's constants (FIPS 180-4, 4.2.2).
#[rustfmt::skip]
pub(super) const K256: [u32; 64] = [
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
];

/// SHA-1's constants (FIPS 180-4, 4.2.1).
pub(super) const K1: [u32; 4] = [0x5a82_7999, 0x6ed9_eba1, 0x8f1b_bcdc, 0xca62_c1d6];

/// Expands to `sha1` and `sha256`, kernels over the vectors of the module around it.
macro_rules! lane_kernels {
    ($features:literal) => {
        sha1_kernel!($features);
        sha256_kernel!($features);
    };
}

macro_rules! sha1_kernel {
    ($features:literal) => {
        /// SHA-1 of all lanes.
        ///
        /// # Panics
        /// If there are not as many runs as lanes, if runs differ in length, or if the machine cannot run it.
        pub(crate) fn sha1(rows: &mut [[u32; MAX_LANES]; 5], runs: &[&[[u8; 64]]]) {
            let (pointers, blocks) = $crate::kernels::rounds::checked::<LANES>(runs);
            assert!(is_available(), "this machine lacks the instructions");
            // SAFETY: the instructions are there, and each pointer leads to `blocks` blocks.
            #[expect(unsafe_code, reason = "a kernel for instructions that not every machine has")]
            unsafe {
                sha1_lanes(rows, &pointers, blocks);
            }
        }

        /// # Safety
        /// Each pointer must lead to `blocks` blocks that can be read, and the machine must have the instructions.
        #[target_feature(enable = $features)]
        #[expect(unsafe_code, reason = "blocks are read through unchecked pointers")]
        unsafe fn sha1_lanes(rows: &mut [[u32; MAX_LANES]; 5], pointers: &[*const [u8; 64]; LANES], blocks: usize) {
            use $crate::kernels::rounds::K1;
            let mut state = load_words(rows);
            let [k0, k1, k2, k3] = [splat(K1[0]), splat(K1[1]), splat(K1[2]), splat(K1[3])];
            // 80 words, and one that is made and not used.
            let mut w = [splat(0); 81];
            for block in 0..blocks {
                // SAFETY: `block` is less than `blocks`, which is how far each pointer may be read.
                unsafe { load_block(pointers, block, w.first_chunk_mut().expect("80 are more than 16")) };
                let [mut a, mut b, mut c, mut d, mut e] = state;
                // What the next words wait for, not by way of the cache.
                let mut recent = [w[13], w[14], w[15]];

                macro_rules! round {
                    ($a:ident $b:ident $c:ident $d:ident $e:ident, $f:ident, $k:ident, $t:expr, $ahead:literal) => {
                        let word = w[$t];
                        if $ahead {
                            let new = rotl::<1, 31>(xor(xor3(w[$t + 8], w[$t + 2], word), recent[0]));
                            w[$t + 16] = new;
                            recent = [recent[1], recent[2], new];
                        }
                        let sum = keep(add(keep(add($e, add(word, $k))), $f($b, $c, $d)));
                        $e = add(sum, rotl::<5, 27>($a));
                        $b = rotl::<30, 2>($b);
                    };
                }
                macro_rules! five {
                    ($f:ident, $k:ident, $t:expr, $ahead:literal) => {
                        round!(a b c d e, $f, $k, $t, $ahead);
                        round!(e a b c d, $f, $k, $t + 1, $ahead);
                        round!(d e a b c, $f, $k, $t + 2, $ahead);
                        round!(c d e a b, $f, $k, $t + 3, $ahead);
                        round!(b c d e a, $f, $k, $t + 4, $ahead);
                    };
                }
                for i in 0..4 {
                    five!(choose, k0, 5 * i, true);
                }
                for i in 4..8 {
                    five!(xor3, k1, 5 * i, true);
                }
                for i in 8..12 {
                    five!(majority, k2, 5 * i, true);
                }
                five!(xor3, k3, 60, true);
                for i in 13..16 {
                    five!(xor3, k3, 5 * i, false);
                }

                state = [add(state[0], a), add(state[1], b), add(state[2], c), add(state[3], d), add(state[4], e)];
            }
            store_words(&state, rows);
        }
    };
}

macro_rules! sha256_kernel {
    ($features:literal) => {
        /// SHA-256 of all lanes.
        ///
        /// # Panics
        /// If there are not as many runs as lanes, if runs differ in length, or if the machine cannot run it.
        pub(crate) fn sha256(rows: &mut [[u32; MAX_LANES]; 8], runs: &[&[[u8; 64]]]) {
            let (pointers, blocks) = $crate::kernels::rounds::checked::<LANES>(runs);
            assert!(is_available(), "this machine lacks the instructions");
            // SAFETY: the instructions are there, and each pointer leads to `blocks` blocks.
            #[expect(unsafe_code, reason = "a kernel for instructions that not every machine has")]
            unsafe {
                sha256_lanes(rows, &pointers, blocks);
            }
        }

        /// # Safety
        /// Each pointer must lead to `blocks` blocks that can be read, and the machine must have the instructions.
        #[target_feature(enable = $features)]
        #[expect(unsafe_code, reason = "blocks are read through unchecked pointers")]
        unsafe fn sha256_lanes(rows: &mut [[u32; MAX_LANES]; 8], pointers: &[*const [u8; 64]; LANES], blocks: usize) {
            use $crate::kernels::rounds::K256;
            let mut state = load_words(rows);
            let mut w = [splat(0); 64];
            for block in 0..blocks {
                // SAFETY: `block` is less than `blocks`, which is how far each pointer may be read.
                unsafe { load_block(pointers, block, w.first_chunk_mut().expect("64 are more than 16")) };
                let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = state;
                // What the next words wait for, not by way of the cache.
                let mut recent = [w[14], w[15]];

                macro_rules! round {
                    ($a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident $h:ident, $t:expr, $ahead:literal) => {
                        let word = w[$t];
                        if $ahead {
                            let (older, newer) = (w[$t + 1], recent[0]);
                            let older = xor3(rotl::<25, 7>(older), rotl::<14, 18>(older), shr::<3>(older));
                            let newer = xor3(rotl::<15, 17>(newer), rotl::<13, 19>(newer), shr::<10>(newer));
                            let new = add(add(add(word, older), w[$t + 9]), newer);
                            w[$t + 16] = new;
                            recent = [recent[1], new];
                        }
                        let sum = keep(add(keep(add($h, add(word, splat(K256[$t])))), choose($e, $f, $g)));
                        let first = keep(add(sum, xor3(rotl::<26, 6>($e), rotl::<21, 11>($e), rotl::<7, 25>($e))));
                        let second =
                            add(majority($a, $b, $c), xor3(rotl::<30, 2>($a), rotl::<19, 13>($a), rotl::<10, 22>($a)));
                        $d = add($d, first);
                        $h = add(first, second);
                    };
                }
                macro_rules! eight {
                    ($t:expr, $ahead:literal) => {
                        round!(a b c d e f g h, $t, $ahead);
                        round!(h a b c d e f g, $t + 1, $ahead);
                        round!(g h a b c d e f, $t + 2, $ahead);
                        round!(f g h a b c d e, $t + 3, $ahead);
                        round!(e f g h a b c d, $t + 4, $ahead);
                        round!(d e f g h a b c, $t + 5, $ahead);
                        round!(c d e f g h a b, $t + 6, $ahead);
                        round!(b c d e f g h a, $t + 7, $ahead);
                    };
                }
                for i in 0..6 {
                    eight!(8 * i, true);
                }
                for i in 6..8 {
                    eight!(8 * i, false);
                }

                for (sum, word) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
                    *sum = add(*sum, word);
                }
            }
            store_words(&state, rows);
        }
    };
}

/// Checks what a kernel is given: a run a lane, all equally long. Gives where the runs begin, and how many blocks each has.
pub(super) fn checked<const LANES: usize>(runs: &[&[[u8; 64]]]) -> ([*const [u8; 64]; LANES], usize) {
    let runs: &[&[[u8; 64]]; LANES] = runs.try_into().expect("one run a lane");
    let blocks = runs[0].len();
    assert!(runs.iter().all(|run| run.len() == blocks), "runs of one length");
    (runs.map(<[_]>::as_ptr), blocks)
}
