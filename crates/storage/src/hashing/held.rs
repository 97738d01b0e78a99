//! Pieces that are held in memory, judged before they are written.
//!
//! What is complete at the same time is judged together: v1 pieces a lane each, block by block, and the v2 leaves of all of
//! them at once. A caller that has one piece gives one; its leaves share lanes all the same.
//!
//! Invariant: a piece is right only if every hash that is known of it fits, and at least one is.

use shoal_hash::{Sha1, merkle, sha256_many};
use shoal_layout::{BLOCK_LENGTH, BlockRef, Layout, PieceIndex};
use shoal_metainfo::PieceHashes;

/// A piece in blocks.
#[derive(Debug)]
pub struct Held<'a, P> {
    /// Which.
    pub piece: PieceIndex,
    /// What it has to hash to.
    pub expected: &'a PieceHashes,
    /// Its blocks in order of `begin`, gaps (BEP 47) left out.
    pub blocks: &'a [(BlockRef, P)],
    /// Whether the blocks' own hashes are asked for.
    pub digests: bool,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it is right.
    pub right: bool,
    /// SHA-256 of each block in order, if asked for.
    pub digests: Vec<[u8; 32]>,
}

impl<P: AsRef<[u8]>> Held<'_, P> {
    /// Whether the blocks are of this piece, in order, and as long as they say; and there is something to judge by.
    fn is_sound(&self, layout: &Layout) -> bool {
        let size = layout.piece_size(self.piece);
        let in_order = self.blocks.iter().try_fold(0, |end, (block, payload)| {
            let fits = block.piece == self.piece && block.begin >= end && block.end() <= size;
            (fits && payload.as_ref().len() == block.length as usize).then_some(block.end())
        });
        in_order.is_some() && (self.expected.v1.is_some() || self.expected.v2.is_some())
    }

    /// Whether the hashes of the blocks are the leaves that the v2 hash stands for.
    fn leads_to_root(&self, leaves: &[[u8; 32]]) -> bool {
        let Some(hash) = self.expected.v2 else { return true };
        // Blocks are leaves if each begins where one does and only the last is short.
        let whole = self.blocks.iter().enumerate().all(|(number, (block, _))| {
            let begin = number as u64 * u64::from(BLOCK_LENGTH);
            let length = u64::from(hash.length).saturating_sub(begin).min(u64::from(BLOCK_LENGTH));
            u64::from(block.begin) == begin && u64::from(block.length) == length
        });
        whole
            && self.blocks.len() as u32 == hash.length.div_ceil(BLOCK_LENGTH)
            && leaves.len() <= hash.leaves as usize
            && merkle::root(leaves, hash.leaves as usize) == hash.root
    }
}

/// Whether one piece is right.
pub fn piece_matches<P: AsRef<[u8]>>(
    layout: &Layout,
    piece: PieceIndex,
    expected: &PieceHashes,
    blocks: &[(BlockRef, P)],
) -> bool {
    judge(layout, &[Held { piece, expected, blocks, digests: false }])[0].right
}

/// Judges pieces side by side; a verdict for each, in their order.
pub fn judge<P: AsRef<[u8]>>(layout: &Layout, pieces: &[Held<'_, P>]) -> Vec<Verdict> {
    let mut verdicts: Vec<Verdict> =
        pieces.iter().map(|held| Verdict { right: held.is_sound(layout), digests: Vec::new() }).collect();
    judge_v1(layout, pieces, &mut verdicts);
    // A piece that is wrong by now has no use for its leaves, unless somebody asks for them.
    let wants_leaves =
        |held: &Held<'_, P>, verdict: &Verdict| held.digests || (verdict.right && held.expected.v2.is_some());
    let chosen = || pieces.iter().zip(&verdicts).filter(|(held, verdict)| wants_leaves(held, verdict));
    let messages: Vec<&[u8]> =
        chosen().flat_map(|(held, _)| held.blocks.iter().map(|(_, payload)| payload.as_ref())).collect();
    let mut leaves = vec![[0; 32]; messages.len()];
    sha256_many(&messages, &mut leaves);
    let mut rest = leaves.as_slice();
    for (held, verdict) in pieces.iter().zip(&mut verdicts) {
        if !wants_leaves(held, verdict) {
            continue;
        }
        let (own, after) = rest.split_at(held.blocks.len());
        rest = after;
        verdict.right &= held.leads_to_root(own);
        if held.digests {
            verdict.digests = own.to_vec();
        }
    }
    verdicts
}

/// Feeds the blocks of all pieces that have a v1 hash, the first of each, then the second of each: each is read once, and
/// what a turn reads stays in the core's cache.
fn judge_v1<P: AsRef<[u8]>>(layout: &Layout, pieces: &[Held<'_, P>], verdicts: &mut [Verdict]) {
    let has_v1 = |held: &Held<'_, P>, verdict: &Verdict| verdict.right && held.expected.v1.is_some();
    let mut states: Vec<(Sha1, &Held<'_, P>)> = Vec::new();
    for (held, _) in pieces.iter().zip(&*verdicts).filter(|(held, verdict)| has_v1(held, verdict)) {
        states.push((Sha1::new(), held));
    }
    let turns = states.iter().map(|(_, held)| held.blocks.len()).max().unwrap_or(0);
    for turn in 0..turns {
        let mut updates: Vec<(&mut Sha1, &[u8])> = Vec::with_capacity(states.len());
        for (state, held) in &mut states {
            let Some((block, payload)) = held.blocks.get(turn) else { continue };
            super::zeros(state, block.begin - state.length() as u32);
            updates.push((state, payload.as_ref()));
        }
        Sha1::update_many(&mut updates);
    }
    let mut states = states.into_iter();
    for (held, verdict) in pieces.iter().zip(verdicts) {
        if has_v1(held, verdict)
            && let Some((mut state, _)) = states.next()
        {
            let end = state.length() as u32;
            super::zeros(&mut state, layout.piece_size(held.piece) - end);
            verdict.right = held.expected.v1 == Some(state.finish());
        }
    }
}
