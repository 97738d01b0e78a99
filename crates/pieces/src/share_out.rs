//! Sharing pieces out among those who would fetch the same ones.
//!
//! Leeches that see one slow seed all find the same pieces rarest, and those who draw the same one fetch it twice from the
//! seed. So each ranks everybody it sees, itself too, for each piece by a hash of both (rendezvous hashing: Thaler and
//! Ravishankar 1998), and of equally rare pieces begins one for which it stands first itself. Nobody is told anything: those
//! who see the same peers agree. It only breaks ties, so a view that differs, or a peer that does not do it, costs no more
//! than chance did.

use shoal_layout::PieceIndex;

/// Rivals that are looked at, at most. Chosen: bounds the cost of beginning a piece to a microsecond or two.
const MAX_RIVALS: usize = 64;

/// Who takes part.
#[derive(Debug, Clone, Default)]
pub(crate) struct ShareOut {
    us: u64,
    rivals: Vec<u64>,
}

fn rank(peer: u64, piece: PieceIndex) -> u64 {
    // SplitMix64's finisher over both.
    let mut z = peer ^ u64::from(piece.0).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A peer id as a number; ids share their first bytes (BEP 20), so the last ones count.
fn number(peer_id: &[u8; 20]) -> u64 {
    peer_id
        .iter()
        .rev()
        .fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

impl ShareOut {
    pub(crate) fn new<'a>(us: &[u8; 20], rivals: impl Iterator<Item = &'a [u8; 20]>) -> ShareOut {
        ShareOut { us: number(us), rivals: rivals.take(MAX_RIVALS).map(number).collect() }
    }

    /// How many of those that we see stand before us for this piece: none if it falls to us.
    pub(crate) fn before_us(&self, piece: PieceIndex) -> usize {
        let ours = rank(self.us, piece);
        self.rivals.iter().filter(|&&rival| rank(rival, piece) < ours).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_see_each_other_share_everything_out_evenly() {
        let id = |last| {
            let mut id = *b"-SH0100-abcdefghijk?";
            id[19] = last;
            id
        };
        let ids: Vec<[u8; 20]> = (0..8).map(id).collect();
        let shares: Vec<ShareOut> = ids.iter().map(|us| ShareOut::new(us, ids.iter().filter(|id| *id != us))).collect();
        let mut counts = [0; 8];
        for piece in (0..8_000).map(PieceIndex) {
            let owners: Vec<usize> = (0..8).filter(|&n| shares[n].before_us(piece) == 0).collect();
            assert_eq!(owners.len(), 1, "{piece:?}");
            counts[owners[0]] += 1;
        }
        assert!(counts.iter().all(|&count| (850..1_150).contains(&count)), "{counts:?}");
    }

    #[test]
    fn alone_everything_is_ours() {
        assert!((0..100).all(|piece| ShareOut::default().before_us(PieceIndex(piece)) == 0));
    }
}
