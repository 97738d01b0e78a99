//! Who sent the corrupt block.
//!
//! A v1 piece that fails its hash has one or more liars among its senders. A sender that gave all of it is the liar.
//! Otherwise the digests of its blocks are kept, and when the piece comes right, whoever sent a block with another digest
//! lied ("smart ban"). Nobody is blamed on suspicion. Invariant: a sender is named only if a block of its own is proven
//! different from the right one; at most [`MAX_SUSPECT_BLOCKS`] digests are kept.

use crate::event::WebSeedKey;
use shoal_layout::PieceIndex;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// Chosen: 64 Ki digests are some 6 MiB; beyond them the oldest piece is forgotten.
const MAX_SUSPECT_BLOCKS: usize = 1 << 16;

/// Somebody who sent blocks, also after its connection closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Sender {
    /// Where it listens, as far as known; else where it connected from.
    pub(crate) addr: SocketAddr,
    pub(crate) peer_id: [u8; 20],
}

/// Whoever gave a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Giver {
    Peer(Sender),
    WebSeed(WebSeedKey),
}

/// Who gave all of these blocks, if one did.
pub(crate) fn sole(blocks: &[(u32, Giver)]) -> Option<Giver> {
    let (_, first) = *blocks.first()?;
    blocks.iter().all(|&(_, sender)| sender == first).then_some(first)
}

/// The blocks of pieces that failed.
#[derive(Debug, Default)]
pub(crate) struct Blame {
    suspects: BTreeMap<PieceIndex, Vec<(u32, [u8; 32], Giver)>>,
    blocks: usize,
}

impl Blame {
    /// A piece failed: `blocks` are its begins and senders, in the order of `digests`. Names the liar if only one sent.
    pub(crate) fn corrupt(
        &mut self,
        piece: PieceIndex,
        blocks: &[(u32, Giver)],
        digests: &[[u8; 32]],
    ) -> Option<Giver> {
        if let Some(giver) = sole(blocks) {
            return Some(giver);
        }
        let kept = self.suspects.entry(piece).or_default();
        for (&(begin, sender), &digest) in blocks.iter().zip(digests) {
            if !kept.contains(&(begin, digest, sender)) {
                kept.push((begin, digest, sender));
                self.blocks += 1;
            }
        }
        while self.blocks > MAX_SUSPECT_BLOCKS {
            let Some((_, forgotten)) = self.suspects.pop_first() else { break };
            self.blocks -= forgotten.len();
        }
        None
    }

    /// Whether the digests of this piece, once right, would name somebody.
    pub(crate) fn is_suspect(&self, piece: PieceIndex) -> bool {
        self.suspects.contains_key(&piece)
    }

    /// A piece came right with these digests by begin: names all who lied about it before.
    pub(crate) fn right(&mut self, piece: PieceIndex, digests: impl Iterator<Item = (u32, [u8; 32])>) -> Vec<Giver> {
        let Some(suspects) = self.suspects.remove(&piece) else { return Vec::new() };
        self.blocks -= suspects.len();
        let right: BTreeMap<u32, [u8; 32]> = digests.collect();
        let mut liars: Vec<Giver> = suspects
            .into_iter()
            .filter(|(begin, digest, _)| right.get(begin).is_some_and(|right| right != digest))
            .map(|(_, _, sender)| sender)
            .collect();
        liars.sort_unstable();
        liars.dedup();
        liars
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sender(n: u8) -> Giver {
        Giver::Peer(Sender { addr: SocketAddr::from(([10, 0, 0, n], 1)), peer_id: [n; 20] })
    }

    #[test]
    fn a_sole_sender_is_named_at_once() {
        let mut blame = Blame::default();
        let liar = blame.corrupt(PieceIndex(1), &[(0, sender(1)), (16384, sender(1))], &[[0; 32], [1; 32]]);
        assert_eq!(liar, Some(sender(1)));
        assert!(!blame.is_suspect(PieceIndex(1)));
    }

    #[test]
    fn of_several_only_the_one_whose_block_differs_is_named() {
        let mut blame = Blame::default();
        let piece = PieceIndex(1);
        assert_eq!(blame.corrupt(piece, &[(0, sender(1)), (16384, sender(2))], &[[7; 32], [8; 32]]), None);
        assert_eq!(blame.corrupt(piece, &[(0, sender(3)), (16384, sender(2))], &[[6; 32], [8; 32]]), None);
        assert!(blame.is_suspect(piece));
        let liars = blame.right(piece, [(0, [7; 32]), (16384, [9; 32])].into_iter());
        assert_eq!(liars, [sender(2), sender(3)]);
        assert!(!blame.is_suspect(piece));
        assert_eq!(blame.blocks, 0);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut blame = Blame::default();
        let blocks: Vec<_> = (0..4096).map(|n| (n, sender((n % 2) as u8))).collect();
        let digests = vec![[0; 32]; 4096];
        for piece in 0..100 {
            blame.corrupt(PieceIndex(piece), &blocks, &digests);
            assert!(blame.blocks <= MAX_SUSPECT_BLOCKS);
        }
    }
}
