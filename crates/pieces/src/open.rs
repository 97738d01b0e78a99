//! A piece of which some blocks are here or asked for.

use crate::PeerSlot;

/// How far a block is. Eight bytes, so that the longest piece (32,768 blocks) takes 256 KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Block {
    /// Wholly in a gap: never asked for.
    Gap,
    /// Missing, and asked of nobody.
    Free,
    /// Asked of this peer, and maybe of others (the picker's `extra`).
    Asked(PeerSlot),
    /// Here.
    Here,
}

/// Its blocks, counted. Invariant: the counts are those of `blocks`; no block before `first_free` is free.
#[derive(Debug)]
pub(crate) struct OpenPiece {
    pub(crate) blocks: Vec<Block>,
    pub(crate) free: u32,
    pub(crate) asked: u32,
    pub(crate) here: u32,
    first_free: u32,
}

impl OpenPiece {
    pub(crate) fn new(blocks: Vec<Block>) -> OpenPiece {
        let free = blocks.iter().filter(|&&block| block == Block::Free).count() as u32;
        OpenPiece { blocks, free, asked: 0, here: 0, first_free: 0 }
    }

    /// Blocks that are not here.
    pub(crate) fn missing(&self) -> u32 {
        self.free + self.asked
    }

    /// The lowest free block.
    pub(crate) fn next_free(&mut self) -> Option<u32> {
        if self.free == 0 {
            return None;
        }
        let from = self.first_free as usize;
        let step = self.blocks[from..].iter().position(|&block| block == Block::Free)?;
        self.first_free = (from + step) as u32;
        Some(self.first_free)
    }

    pub(crate) fn set(&mut self, number: u32, to: Block) {
        let block = &mut self.blocks[number as usize];
        let from = std::mem::replace(block, to);
        for (kind, sign) in [(from, -1), (to, 1)] {
            let count = match kind {
                Block::Gap => continue,
                Block::Free => &mut self.free,
                Block::Asked(_) => &mut self.asked,
                Block::Here => &mut self.here,
            };
            *count = count.wrapping_add_signed(sign);
        }
        if to == Block::Free {
            self.first_free = self.first_free.min(number);
        }
    }
}
