//! Which blocks a connection may put into memory.
//!
//! The swarm's task inserts a grant before it sends the request; the connection's reader claims it when the block's header
//! arrives. These two are the only ones to touch the table, and neither waits while it holds the lock.
//!
//! A grant that is taken back after its reader claimed it is remembered, so that the block, which is under way through the
//! channel, is reported as unrequested: to the swarm a revoked grant is gone at once.

use shoal_layout::BlockRef;
use shoal_wire::RawBlock;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

/// The reader's side.
#[derive(Debug, Clone, Default)]
pub(crate) struct Grants {
    /// As many as the swarm lets be requested of one peer.
    open: Arc<Mutex<BTreeSet<BlockRef>>>,
}

impl Grants {
    /// Uses up the grant for this block, if there is one.
    pub(crate) fn claim(&self, raw: RawBlock) -> Option<BlockRef> {
        let block = BlockRef { piece: shoal_layout::PieceIndex(raw.piece), begin: raw.begin, length: raw.length };
        self.lock().remove(&block).then_some(block)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeSet<BlockRef>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The swarm's side.
#[derive(Debug, Default)]
pub(crate) struct GrantBook {
    grants: Grants,
    /// Taken back after they were claimed, with how often; bounded by the grants that were open at once.
    revoked: BTreeMap<BlockRef, u32>,
}

impl GrantBook {
    /// A table that is shared with a reader.
    pub(crate) fn new(grants: Grants) -> GrantBook {
        GrantBook { grants, revoked: BTreeMap::new() }
    }

    /// Lets the reader take this block.
    pub(crate) fn grant(&self, block: BlockRef) {
        self.grants.lock().insert(block);
    }

    /// Takes it back.
    pub(crate) fn revoke(&mut self, block: BlockRef) {
        if !self.grants.lock().remove(&block) {
            *self.revoked.entry(block).or_insert(0) += 1;
        }
    }

    /// Whether a block that arrived still has its grant.
    pub(crate) fn arrived(&mut self, block: BlockRef) -> bool {
        let Some(times) = self.revoked.get_mut(&block) else { return true };
        *times -= 1;
        if *times == 0 {
            self.revoked.remove(&block);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shoal_layout::PieceIndex;

    const RAW: RawBlock = RawBlock { piece: 1, begin: 0, length: 5 };
    const BLOCK: BlockRef = BlockRef { piece: PieceIndex(1), begin: 0, length: 5 };

    #[test]
    fn a_grant_is_used_once_and_only_for_its_very_block() {
        let grants = Grants::default();
        let book = GrantBook::new(grants.clone());
        book.grant(BLOCK);
        assert_eq!(grants.claim(RawBlock { length: 4, ..RAW }), None);
        assert_eq!(grants.claim(RAW), Some(BLOCK));
        assert_eq!(grants.claim(RAW), None);
    }

    #[test]
    fn a_grant_taken_back_in_flight_counts_as_gone() {
        let grants = Grants::default();
        let mut book = GrantBook::new(grants.clone());
        book.grant(BLOCK);
        assert!(grants.claim(RAW).is_some());
        book.revoke(BLOCK);
        // Asked for again while the first answer is still under way.
        book.grant(BLOCK);
        assert!(!book.arrived(BLOCK));
        assert!(grants.claim(RAW).is_some());
        assert!(book.arrived(BLOCK));
    }

    #[test]
    fn a_grant_taken_back_in_time_cannot_be_claimed() {
        let grants = Grants::default();
        let mut book = GrantBook::new(grants.clone());
        book.grant(BLOCK);
        book.revoke(BLOCK);
        assert_eq!(grants.claim(RAW), None);
        assert!(book.arrived(BLOCK), "nothing is under way, nothing is remembered");
    }
}
