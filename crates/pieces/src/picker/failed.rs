//! Pieces that came and are not right: what of them is fetched again.

use super::PiecePicker;
use crate::open::{Block, OpenPiece};
use shoal_layout::{BlockRef, PieceIndex};

impl PiecePicker {
    /// The blocks of this piece were thrown away (corrupt, or no room): all that are not asked for are missing again.
    pub fn piece_failed(&mut self, piece: PieceIndex) {
        if self.storing.remove(&piece) {
            if self.wanted.get(piece) {
                self.close(piece);
            }
        } else if let Some(open) = self.open.get(&piece) {
            let here = (0..open.blocks.len() as u32).filter(|&number| open.blocks[number as usize] == Block::Here);
            for number in here.collect::<Vec<_>>() {
                self.set_block(piece, number, Block::Free);
            }
            self.close_if_idle(piece);
        }
    }

    /// Some blocks of a storing piece were thrown away, being corrupt; the others are here still. Without effect on a piece
    /// that is not storing.
    pub fn blocks_failed(&mut self, piece: PieceIndex, wrong: &[BlockRef]) {
        let numbers = self.layout.requests(piece);
        let here = numbers.filter(|(_, block)| !wrong.contains(block)).map(|(number, _)| number).collect::<Vec<_>>();
        if here.is_empty() {
            return self.piece_failed(piece);
        }
        if !self.storing.remove(&piece) {
            return;
        }
        let mut open = OpenPiece::new(self.missing_blocks(piece));
        here.into_iter().for_each(|number| open.set(number, Block::Here));
        self.open.insert(piece, open);
        if self.wanted.get(piece) {
            self.count_open(piece, true);
        }
    }
}
