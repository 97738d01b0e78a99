//! A number that stands for a whole trace.
//!
//! Ours and not the standard library's hasher, because a digest printed today must be the same on every version and
//! machine: bytes are taken in little-endian words, lengths as 64 bits. Not for secrets.

use std::hash::Hasher;

/// Collects what happened; equal traces give equal digests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest(u64);

/// An odd number with bits evenly spread (the golden ratio's fraction, as in SplitMix64).
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

impl Digest {
    /// Of nothing.
    pub const fn new() -> Digest {
        Digest(0x243f_6a88_85a3_08d3)
    }

    fn word(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word).wrapping_mul(u128::from(MULTIPLIER) | 1 << 64);
        self.0 = (product as u64 ^ (product >> 64) as u64).rotate_left(23).wrapping_add(MULTIPLIER);
    }
}

impl Default for Digest {
    fn default() -> Self {
        Digest::new()
    }
}

impl Hasher for Digest {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..part.len()].copy_from_slice(part);
            self.word(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, i: u8) {
        self.word(u64::from(i));
    }

    fn write_u16(&mut self, i: u16) {
        self.word(u64::from(i));
    }

    fn write_u32(&mut self, i: u32) {
        self.word(u64::from(i));
    }

    fn write_u64(&mut self, i: u64) {
        self.word(i);
    }

    fn write_usize(&mut self, i: usize) {
        self.word(i as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::Hash;

    fn of(value: impl Hash) -> u64 {
        let mut digest = Digest::new();
        value.hash(&mut digest);
        digest.finish()
    }

    #[test]
    fn order_and_values_count() {
        assert_ne!(of([1_u64, 2]), of([2_u64, 1]));
        assert_ne!(of(0_u64), of(1_u64 << 63));
        assert_ne!(of(()), of(0_u8));
    }

    #[test]
    fn the_same_on_every_machine() {
        assert_eq!(of((7_u32, "shoal")), 16_747_186_004_096_372_899);
    }
}
