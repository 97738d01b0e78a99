//! Randomness that replays.
//!
//! xoshiro256++ (Blackman and Vigna, "Scrambled linear pseudorandom number generators", 2019), seeded through
//! SplitMix64. Ours and not a crate's, because a trace must replay on every version of everything: the test vectors
//! below pin it. Not for secrets: keys and tokens come from the system.

/// A seeded generator. Forking by a label gives independent streams that do not depend on the order of forks.
#[derive(Debug, Clone)]
pub struct Rng {
    state: [u64; 4],
    seed: u64,
}

fn splitmix64(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Rng {
    /// The generator of this seed.
    pub fn new(seed: u64) -> Rng {
        let mut s = seed;
        Rng { state: [(); 4].map(|()| splitmix64(&mut s)), seed }
    }

    /// The seed that it began with: [`Rng::new`] of it gives the same forks.
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// The generator that belongs to `label` under this one's seed, whatever was drawn or forked before.
    pub fn fork(&self, label: &str) -> Rng {
        // FNV-1a over the label, mixed with the seed.
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in label.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        let mut mixed = self.seed ^ hash;
        Rng::new(splitmix64(&mut mixed))
    }

    /// The generator of the `index`-th of many alike, such as the nodes of a simulation.
    pub fn fork_index(&self, label: &str, index: u64) -> Rng {
        let mut mixed = self.fork(label).seed ^ index.wrapping_mul(0xd134_2543_de82_ef95);
        Rng::new(splitmix64(&mut mixed))
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        let s = &mut self.state;
        let result = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// A whole number below `bound`, without bias (Lemire 2019). Panics if `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "no number is below 0");
        let threshold = bound.wrapping_neg() % bound;
        loop {
            let product = u128::from(self.next_u64()) * u128::from(bound);
            if product as u64 >= threshold {
                return (product >> 64) as u64;
            }
        }
    }

    /// An index below `len`. Panics if `len` is 0.
    pub fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// A number in 0.0..1.0.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// True with probability `p`.
    pub fn chance(&mut self, p: f64) -> bool {
        self.unit() < p
    }

    /// Puts the items in a random order (Fisher-Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.index(i + 1));
        }
    }

    /// Fills the bytes.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for piece in bytes.chunks_mut(8) {
            let word = self.next_u64().to_le_bytes();
            piece.copy_from_slice(&word[..piece.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitmix_and_xoshiro_give_their_published_vectors() {
        let mut s = 1234567;
        assert_eq!(splitmix64(&mut s), 6457827717110365317);
        assert_eq!(splitmix64(&mut s), 3203168211198807973);
        let mut rng = Rng { state: [1, 2, 3, 4], seed: 0 };
        let first: Vec<u64> = (0..4).map(|_| rng.next_u64()).collect();
        assert_eq!(first, [41943041, 58720359, 3588806011781223, 3591011842654386]);
    }

    #[test]
    fn forks_depend_on_seed_and_label_only() {
        let mut a = Rng::new(7);
        let before = a.fork("picker").next_u64();
        a.next_u64();
        assert_eq!(a.fork("picker").next_u64(), before);
        assert_ne!(a.fork("choker").next_u64(), before);
        assert_ne!(Rng::new(8).fork("picker").next_u64(), before);
        assert_ne!(a.fork_index("node", 0).next_u64(), a.fork_index("node", 1).next_u64());
    }

    #[test]
    fn below_stays_below_and_reaches_every_value() {
        let mut rng = Rng::new(1);
        let mut seen = [0_u32; 7];
        for _ in 0..7_000 {
            seen[rng.index(7)] += 1;
        }
        assert!(seen.iter().all(|&n| (800..1200).contains(&n)), "{seen:?}");
    }

    #[test]
    fn shuffle_keeps_every_item() {
        let mut items: Vec<u32> = (0..100).collect();
        Rng::new(3).shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }
}
