//! Blocks of 16 KiB that are used again and again.
//!
//! A reader takes a block when a payload begins to arrive and fills it from the socket; the block then travels through the
//! swarm to a disk thread without being copied, and returns here when whoever holds it drops it. In steady state nothing
//! is allocated per block.
//!
//! Invariant: at most [`KEPT_BLOCKS`] unused blocks are kept; how many are in use is bounded by the machines (grants, pieces
//! in assembly, upload credit), not here.

use shoal_layout::BLOCK_LENGTH;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

const BLOCK_BYTES: usize = BLOCK_LENGTH as usize;

/// Unused blocks kept: 16 MiB. Chosen: what a fast download turns over in some tens of milliseconds.
const KEPT_BLOCKS: usize = 1024;

type Bytes = Box<[u8; BLOCK_BYTES]>;

/// Where blocks come from and return to.
#[derive(Clone, Default)]
pub(crate) struct BlockPool {
    free: Arc<Mutex<Vec<Bytes>>>,
}

/// Up to 16 KiB, owned.
pub(crate) struct Block {
    /// `Some` until it is dropped.
    bytes: Option<Bytes>,
    length: usize,
    pool: BlockPool,
}

impl BlockPool {
    /// A block of `length` bytes, which must be at most 16 KiB. What is in it is unspecified.
    pub(crate) fn take(&self, length: u32) -> Block {
        let length = length as usize;
        assert!(length <= BLOCK_BYTES, "no request is for more than a block");
        let kept = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let bytes = kept.unwrap_or_else(|| {
            let fresh = vec![0; BLOCK_BYTES].into_boxed_slice();
            fresh.try_into().expect("it was made with this length")
        });
        Block { bytes: Some(bytes), length, pool: self.clone() }
    }
}

impl fmt::Debug for BlockPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BlockPool")
    }
}

impl Deref for Block {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let bytes = self.bytes.as_ref().expect("it is taken out only by drop");
        &bytes[..self.length]
    }
}

impl DerefMut for Block {
    fn deref_mut(&mut self) -> &mut [u8] {
        let bytes = self.bytes.as_mut().expect("it is taken out only by drop");
        &mut bytes[..self.length]
    }
}

impl AsRef<[u8]> for Block {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let mut free = self.pool.free.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < KEPT_BLOCKS {
            free.extend(self.bytes.take());
        }
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Block({} bytes)", self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_block_is_used_again() {
        let pool = BlockPool::default();
        let mut block = pool.take(5);
        block.copy_from_slice(b"hello");
        let at = block.as_ptr();
        drop(block);
        let again = pool.take(BLOCK_LENGTH);
        assert_eq!((again.as_ptr(), again.len()), (at, BLOCK_BYTES));
        assert!(pool.free.lock().unwrap().is_empty());
    }

    #[test]
    fn no_more_than_the_bound_is_kept() {
        let pool = BlockPool::default();
        let many: Vec<Block> = (0..KEPT_BLOCKS + 10).map(|_| pool.take(1)).collect();
        drop(many);
        assert_eq!(pool.free.lock().unwrap().len(), KEPT_BLOCKS);
    }
}
