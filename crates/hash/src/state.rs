//! A hash that can be fed in parts, alone or beside others.
//!
//! [`Hasher`] is generic over the two algorithms, which differ in the size of their state and in their compression
//! function only: both take 64-byte blocks, and both end with one 1 bit, zeros, and the length in bits (FIPS 180-4, 5.1.1).
//!
//! Invariant: `buffer[..buffered]` are the bytes since the last whole block, fewer than 64; `words` holds all before them.

use crate::kernels::{Kernels, Table};
use crate::lanes::{self, Job, Source};
use std::fmt;

/// Bytes that the compression functions take at once (FIPS 180-4, 5.2.1).
pub(crate) const BLOCK: usize = 64;

/// SHA-1 or SHA-256.
#[expect(private_bounds, reason = "nobody else can add an algorithm, or need look into one")]
pub trait Algorithm: Kernels {}

impl<A: Kernels> Algorithm for A {}

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
        let (ending, length) = ending(&self.buffer[..self.buffered()], self.length);
        A::compress(&mut self.words, ending[..length].as_chunks().0);
        digest::<A>(&self.words)
    }

    /// Feeds each hasher its own bytes, side by side.
    pub fn update_many(updates: &mut [(&mut Self, &[u8])]) {
        Self::update_many_by(Table::current(), updates);
    }

    pub(crate) fn update_many_by(table: &Table<A>, updates: &mut [(&mut Self, &[u8])]) {
        if let [(hasher, data)] = updates {
            return hasher.update(data);
        }
        lanes::run(table, &mut Updates { updates, next: 0 });
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
        Self::digest_each_by(Table::current(), messages, out);
    }

    pub(crate) fn digest_each_by<'a>(
        table: &Table<A>,
        messages: impl ExactSizeIterator<Item = &'a [u8]>,
        out: &mut [A::Digest],
    ) {
        assert_eq!(messages.len(), out.len(), "one hash for each message");
        if let [out] = out {
            for message in messages {
                *out = Self::digest(message);
            }
            return;
        }
        lanes::run(table, &mut Messages { messages: messages.enumerate(), out });
    }

    fn buffered(&self) -> usize {
        (self.length % BLOCK as u64) as usize
    }
}

/// What follows a message's last whole block: the bytes since, a 1 bit, zeros, and the length in bits. One block or two.
fn ending(rest: &[u8], length: u64) -> ([u8; 2 * BLOCK], usize) {
    let mut ending = [0; 2 * BLOCK];
    ending[..rest.len()].copy_from_slice(rest);
    ending[rest.len()] = 0x80;
    let size = if rest.len() < BLOCK - 8 { BLOCK } else { 2 * BLOCK };
    ending[size - 8..size].copy_from_slice(&length.wrapping_mul(8).to_be_bytes());
    (ending, size)
}

/// Whole messages, and where their hashes go.
struct Messages<'o, I, D> {
    messages: std::iter::Enumerate<I>,
    out: &'o mut [D],
}

impl<'a, A: Algorithm, I: Iterator<Item = &'a [u8]>> Source<'a, A> for Messages<'_, I, A::Digest> {
    fn next(&mut self) -> Option<(Job<'a>, A::Words)> {
        let (index, message) = self.messages.next()?;
        let (mut bulk, rest) = message.as_chunks::<BLOCK>();
        let (ending, length) = ending(rest, message.len() as u64);
        // The tail is filled from its end.
        let mut tail = [0; 3 * BLOCK];
        tail[3 * BLOCK - length..].copy_from_slice(&ending[..length]);
        let mut tail_blocks = length / BLOCK;
        // A message of one block and its padding run as one: so are the pairs of a Merkle tree.
        if let [block] = bulk {
            tail_blocks += 1;
            tail[(3 - tail_blocks) * BLOCK..][..BLOCK].copy_from_slice(block);
            bulk = &[];
        }
        Some((Job { index, head: None, bulk, tail, tail_blocks }, A::INITIAL))
    }

    fn done(&mut self, index: usize, words: A::Words) {
        self.out[index] = digest::<A>(&words);
    }
}

/// Hashers, and what each is fed.
struct Updates<'u, 'h, 'a, A: Algorithm> {
    updates: &'u mut [(&'h mut Hasher<A>, &'a [u8])],
    next: usize,
}

impl<'a, A: Algorithm> Source<'a, A> for Updates<'_, '_, 'a, A> {
    fn next(&mut self) -> Option<(Job<'a>, A::Words)> {
        loop {
            let index = self.next;
            let (hasher, data) = self.updates.get_mut(index)?;
            self.next += 1;
            let buffered = hasher.buffered();
            if buffered + data.len() < BLOCK {
                hasher.buffer[buffered..buffered + data.len()].copy_from_slice(data);
                hasher.length += data.len() as u64;
                continue;
            }
            let (mut head, mut rest) = (None, *data);
            if buffered > 0 {
                let (first, after) = data.split_at(BLOCK - buffered);
                hasher.buffer[buffered..].copy_from_slice(first);
                (head, rest) = (Some(hasher.buffer), after);
            }
            let (bulk, rest) = rest.as_chunks();
            hasher.buffer[..rest.len()].copy_from_slice(rest);
            hasher.length += data.len() as u64;
            return Some((Job { index, head, bulk, tail: [0; 3 * BLOCK], tail_blocks: 0 }, hasher.words));
        }
    }

    fn done(&mut self, index: usize, words: A::Words) {
        self.updates[index].0.words = words;
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
