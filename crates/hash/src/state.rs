//! A hash that can be fed in parts, alone or beside others.
//!
//! [`Hasher`] is generic over the two algorithms, which differ in the size of their state and in their compression
//! function only: both take 64-byte blocks, and both end with one 1 bit, zeros, and the length in bits (FIPS 180-4, 5.1.1).
//!
//! Invariant: `buffer[..buffered]` are the bytes since the last whole block, fewer than 64; `words` holds all before them.

use std::fmt;

/// Bytes that the compression functions take at once (FIPS 180-4, 5.2.1).
pub(crate) const BLOCK: usize = 64;

/// SHA-1 or SHA-256.
pub trait Algorithm: sealed::Algorithm {}

impl<A: sealed::Algorithm> Algorithm for A {}

pub(crate) mod sealed {
    /// What tells the two algorithms apart.
    pub trait Algorithm: Copy + Default + 'static {
        /// The state between two blocks.
        type Words: Copy + AsRef<[u32]> + AsMut<[u32]> + 'static;
        /// The hash.
        type Digest: Copy + AsMut<[u8]> + 'static;
        /// The state before the first block.
        const INITIAL: Self::Words;
        /// A hash to be overwritten.
        const NO_DIGEST: Self::Digest;
        /// Feeds whole blocks to one state.
        fn compress(words: &mut Self::Words, blocks: &[[u8; 64]]);
    }
}

/// SHA-1 (FIPS 180-4, 6.1).
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Sha1Algorithm;

/// SHA-256 (FIPS 180-4, 6.2).
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Sha256Algorithm;

impl sealed::Algorithm for Sha1Algorithm {
    type Words = [u32; 5];
    type Digest = [u8; 20];
    // FIPS 180-4, 5.3.1.
    const INITIAL: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
    const NO_DIGEST: [u8; 20] = [0; 20];
    fn compress(words: &mut [u32; 5], blocks: &[[u8; 64]]) {
        sha1::block_api::compress(words, blocks);
    }
}

impl sealed::Algorithm for Sha256Algorithm {
    type Words = [u32; 8];
    type Digest = [u8; 32];
    // FIPS 180-4, 5.3.3.
    const INITIAL: [u32; 8] =
        [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];
    const NO_DIGEST: [u8; 32] = [0; 32];
    fn compress(words: &mut [u32; 8], blocks: &[[u8; 64]]) {
        sha2::block_api::compress256(words, blocks);
    }
}

/// A SHA-1 that can be fed in parts.
pub type Sha1 = Hasher<Sha1Algorithm>;

/// A SHA-256 that can be fed in parts.
pub type Sha256 = Hasher<Sha256Algorithm>;

/// The state of one message: feed it with [`update`](Self::update), or beside others with
/// [`update_many`](Self::update_many), and [`finish`](Self::finish) it. A clone goes its own way.
#[derive(Clone)]
pub struct Hasher<A: Algorithm> {
    words: A::Words,
    buffer: [u8; BLOCK],
    length: u64,
}

impl<A: Algorithm> Default for Hasher<A> {
    fn default() -> Self {
        Self::new()
    }
}

impl<A: Algorithm> fmt::Debug for Hasher<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hasher").field("length", &self.length).finish_non_exhaustive()
    }
}

impl<A: Algorithm> Hasher<A> {
    /// Nothing fed yet.
    pub fn new() -> Self {
        Self { words: A::INITIAL, buffer: [0; BLOCK], length: 0 }
    }

    /// Bytes fed so far.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Feeds the next bytes of the message.
    pub fn update(&mut self, mut data: &[u8]) {
        let buffered = self.buffered();
        self.length += data.len() as u64;
        if buffered > 0 {
            let (head, rest) = data.split_at(data.len().min(BLOCK - buffered));
            self.buffer[buffered..buffered + head.len()].copy_from_slice(head);
            if buffered + head.len() < BLOCK {
                return;
            }
            A::compress(&mut self.words, &[self.buffer]);
            data = rest;
        }
        let (blocks, tail) = data.as_chunks();
        if !blocks.is_empty() {
            A::compress(&mut self.words, blocks);
        }
        self.buffer[..tail.len()].copy_from_slice(tail);
    }

    /// The hash of all that was fed.
    pub fn finish(mut self) -> A::Digest {
        let (ending, length) = self.ending();
        A::compress(&mut self.words, ending[..length].as_chunks().0);
        digest::<A>(&self.words)
    }

    /// Feeds each hasher its own bytes, side by side.
    pub fn update_many(updates: &mut [(&mut Self, &[u8])]) {
        for (hasher, data) in updates {
            hasher.update(data);
        }
    }

    /// The hash of one message.
    pub fn digest(message: &[u8]) -> A::Digest {
        let mut hasher = Self::new();
        hasher.update(message);
        hasher.finish()
    }

    /// The hash of each message, side by side.
    ///
    /// # Panics
    /// If `out` is not as long as `messages`.
    pub fn digest_many(messages: &[&[u8]], out: &mut [A::Digest]) {
        Self::digest_each(messages.iter().copied(), out);
    }

    /// The hash of each message, side by side, into `out`.
    ///
    /// # Panics
    /// If `out` is not as long as there are messages.
    pub fn digest_each<'a>(messages: impl ExactSizeIterator<Item = &'a [u8]>, out: &mut [A::Digest]) {
        assert_eq!(messages.len(), out.len(), "one hash for each message");
        for (message, out) in messages.zip(out) {
            *out = Self::digest(message);
        }
    }

    fn buffered(&self) -> usize {
        (self.length % BLOCK as u64) as usize
    }

    /// What follows the last whole block: the buffered bytes, a 1 bit, zeros, and the length. One block or two.
    fn ending(&self) -> ([u8; 2 * BLOCK], usize) {
        let buffered = self.buffered();
        let mut ending = [0; 2 * BLOCK];
        ending[..buffered].copy_from_slice(&self.buffer[..buffered]);
        ending[buffered] = 0x80;
        let length = if buffered < BLOCK - 8 { BLOCK } else { 2 * BLOCK };
        ending[length - 8..length].copy_from_slice(&self.length.wrapping_mul(8).to_be_bytes());
        (ending, length)
    }
}

/// The state's words as bytes.
fn digest<A: Algorithm>(words: &A::Words) -> A::Digest {
    let mut digest = A::NO_DIGEST;
    for (bytes, word) in digest.as_mut().as_chunks_mut::<4>().0.iter_mut().zip(words.as_ref()) {
        *bytes = word.to_be_bytes();
    }
    digest
}
