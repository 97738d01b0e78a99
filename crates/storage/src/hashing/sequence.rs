//! Which thread hashes which pieces, and what the disk should read meanwhile.
//!
//! Threads take pieces from one sequence, as many at once as they have lanes to fill. Where the data is not in memory, a
//! second place in the same sequence runs ahead: what it passes is asked of the disk in order, so that the device sees one
//! reader that goes forward, though the pieces of a thread are read side by side.
//!
//! Invariant: each wanted piece is handed out once, and none is asked of the disk twice.

use shoal_layout::PieceIndex;

/// Read ahead of what threads were handed, at least. Chosen: a tenth of a second of a fast hard disk; what is read waits
/// in the system's memory.
const AHEAD_BYTES: u64 = 16 << 20;

/// What is left to hash.
pub(super) struct Sequence<I: Iterator<Item = PieceIndex>> {
    rest: I,
    /// How many pieces `rest` has.
    left: usize,
    ahead: I,
    /// How many pieces `ahead` is before `rest`.
    lead: usize,
    threads: usize,
    piece_length: u32,
}

impl<I: Iterator<Item = PieceIndex>> Sequence<I> {
    /// `pieces`: the same, twice; `count` of them.
    pub(super) fn new(pieces: [I; 2], count: usize, threads: usize, piece_length: u32) -> Sequence<I> {
        let [rest, ahead] = pieces;
        Sequence { rest, left: count, ahead, lead: 0, threads, piece_length }
    }

    /// Puts the next pieces for a thread into `taken`, `most` at most, and those that the disk should now go on with into
    /// `ahead`. At the end the threads share what is left.
    pub(super) fn take(&mut self, most: usize, taken: &mut Vec<PieceIndex>, ahead: &mut Vec<PieceIndex>) {
        let before = taken.len();
        taken.extend(self.rest.by_ref().take(most.min(self.left.div_ceil(self.threads))));
        let count = taken.len() - before;
        self.left -= count;
        let wanted = count + AHEAD_BYTES.div_ceil(u64::from(self.piece_length)) as usize;
        while self.lead < wanted
            && let Some(piece) = self.ahead.next()
        {
            ahead.push(piece);
            self.lead += 1;
        }
        self.lead = self.lead.saturating_sub(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn each_piece_is_handed_out_once_and_read_ahead_before(
            count in 0_u32..2000, takes in prop::collection::vec(1_usize..300, 1..50), threads in 1_usize..40, log in 10_u32..27,
        ) {
            let pieces: Vec<PieceIndex> = (0..count).map(|n| PieceIndex(n * 3)).collect();
            let mut sequence = Sequence::new([pieces.iter().copied(), pieces.iter().copied()], pieces.len(), threads, 1 << log);
            let (mut taken, mut ahead) = (Vec::new(), Vec::new());
            for &most in takes.iter().cycle() {
                let before = taken.len();
                sequence.take(most, &mut taken, &mut ahead);
                prop_assert!(taken.len() - before <= most && ahead.len() >= taken.len());
                if taken.len() == before {
                    break;
                }
            }
            prop_assert_eq!(&taken, &pieces);
            prop_assert_eq!(&ahead, &pieces);
        }
    }
}
