//! A hash that can be fed in parts, alone or beside others.
//!
//! [`Hasher`] is generic over the two algorithms, which differ in the size of their state and in their compression
//! function only: both take 64-byte blocks, and both end with one 1 bit, zeros, and the length in bits (FIPS 180-4, 5.1.1).
//!
//! Invariant: `buffer[..buffered]` are the bytes since the last whole block, fewer than 64; `words` holds all before them.

use crate::kernels::{Kernels, MAX_LANES, Table};
use crate::lanes::{self, Job, Source};
use std::fmt;

/// Bytes that the compression functions take at once (FIPS 180-4, 5.2.1).
pub(crate) const BLOCK: usize = 64;

/// SHA-1 or SHA-256.
#[expect(private_bounds, reason = "nobody else can add an algorithm, or need look into one")]
pub trait Algorithm: Kernels {}

impl<A: Kernels> Algorithm for A {}

pub(crate) mod sealed {
    use super::MAX_LANES;

    /// What tells the two algorithms apart.
    pub trait Algorithm: Copy + Default + 'static {
        /// The state between two blocks.
        type Words: Copy + AsRef<[u32]> + AsMut<[u32]> + 'static;
        /// Many states: a row a word, a column a message.
        type Rows: AsRef<[[u32; MAX_LANES]]> + AsMut<[[u32; MAX_LANES]]>;
        /// The hash.
        type Digest: Copy + AsMut<[u8]> + 'static;
        /// The state before the first block.
        const INITIAL: Self::Words;
        /// States to be overwritten.
        const NO_ROWS: Self::Rows;
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
    type Rows = [[u32; MAX_LANES]; 5];
    type Digest = [u8; 20];
    const NO_ROWS: Self::Rows = [[0; MAX_LANES]; 5];
    // FIPS 180-4, 5.3.1.
    const INITIAL: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
    const NO_DIGEST: [u8; 20] = [0; 20];
    fn compress(words: &mut [u32; 5], blocks: &[[u8; 64]]) {
        sha1::block_api::compress(words, blocks);
    }
}

impl sealed::Algorithm for Sha256Algorithm {
    type Words = [u32; 8];
    type Rows = [[u32; MAX_LANES]; 8];
    type Digest = [u8; 32];
    const NO_ROWS: Self::Rows = [[0; MAX_LANES]; 8];
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
        let mut ending = [[0; BLOCK]; 2];
        let blocks = write_ending(&self.buffer[..self.buffered()], self.length, &mut ending);
        A::compress(&mut self.words, &ending[..blocks]);
        digest::<A>(&self.words)
    }

    /// Feeds each hasher its own bytes, side by side.
    pub fn update_many(updates: &mut [(&mut Self, &[u8])]) {
        Self::update_many_by(Table::current(), updates);
    }

    pub(crate) fn update_many_by(table: &Table<A>, updates: &mut [(&mut Self, &[u8])]) {
        if table.is_alone(updates.len()) {
            for (hasher, data) in updates {
                hasher.update(data);
            }
            return;
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
        if table.is_alone(out.len()) {
            for (message, out) in messages.zip(out) {
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

/// Writes what follows a message's last whole block: the bytes since, a 1 bit, zeros, and the length in bits. Gives how many
/// blocks that is, 1 or 2.
fn write_ending(rest: &[u8], length: u64, out: &mut [[u8; BLOCK]; 2]) -> usize {
    let blocks = if rest.len() < BLOCK - 8 { 1 } else { 2 };
    let bytes = out[..blocks].as_flattened_mut();
    let size = bytes.len();
    bytes[..rest.len()].copy_from_slice(rest);
    bytes[rest.len()] = 0x80;
    bytes[rest.len() + 1..size - 8].fill(0);
    bytes[size - 8..].copy_from_slice(&length.wrapping_mul(8).to_be_bytes());
    blocks
}

/// Whole messages, and where their hashes go.
struct Messages<'o, I, D> {
    messages: std::iter::Enumerate<I>,
    out: &'o mut [D],
}

impl<'a, A: Algorithm, I: Iterator<Item = &'a [u8]>> Source<'a, A> for Messages<'_, I, A::Digest> {
    fn next(&mut self, job: &mut Job<'a>) -> Option<A::Words> {
        let (index, message) = self.messages.next()?;
        let (bulk, rest) = message.as_chunks::<BLOCK>();
        let [block, ending @ ..] = &mut job.own;
        let blocks = write_ending(rest, message.len() as u64, ending);
        (job.index, job.bulk, job.own_first) = (index, bulk, false);
        (job.own_start, job.own_end) = (1, 1 + blocks);
        // A message of one block and its padding run as one: so are the pairs of a Merkle tree.
        if let [only] = bulk {
            *block = *only;
            (job.bulk, job.own_start) = (&[], 0);
        }
        Some(A::INITIAL)
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
    fn next(&mut self, job: &mut Job<'a>) -> Option<A::Words> {
        loop {
            let index = self.next;
            let (hasher, data) = self.updates.get_mut(index)?;
            self.next += 1;
            let (buffered, mut data) = (hasher.buffered(), *data);
            hasher.length += data.len() as u64;
            if buffered + data.len() < BLOCK {
                hasher.buffer[buffered..buffered + data.len()].copy_from_slice(data);
                continue;
            }
            (job.own_start, job.own_end, job.own_first) = (0, 0, true);
            if buffered > 0 {
                let (first, after) = data.split_at(BLOCK - buffered);
                hasher.buffer[buffered..].copy_from_slice(first);
                (job.own[0], job.own_end, data) = (hasher.buffer, 1, after);
            }
            let (bulk, rest) = data.as_chunks();
            hasher.buffer[..rest.len()].copy_from_slice(rest);
            (job.index, job.bulk) = (index, bulk);
            return Some(hasher.words);
        }
    }

    fn done(&mut self, index: usize, words: A::Words) {
        self.updates[index].0.words = words;
    }
}

/// The state's words as bytes.
pub(crate) fn digest<A: sealed::Algorithm>(words: &A::Words) -> A::Digest {
    let mut digest = A::NO_DIGEST;
    for (bytes, word) in digest.as_mut().as_chunks_mut::<4>().0.iter_mut().zip(words.as_ref()) {
        *bytes = word.to_be_bytes();
    }
    digest
}
