//! Fetching from web seeds: which run of whom, and what happens when it comes or does not.
//!
//! Invariant: the blocks of all fetches and the picker's marks for web seeds are the same; each way out (block, failure,
//! stall, cancel) takes a block from both.

use super::requests::cost;
use super::{Phase, Swarm};
use crate::blame::Giver;
use crate::event::{Effect, FetchFailure, FetchFault, FetchKey, Notice, WebSeedKey};
use crate::failure::{SourceError, SourceErrorKind};
use crate::web_seeds::{STALLED, WebSeedOutcome, WebSeedStatus, slot};
use shoal_layout::{BLOCK_LENGTH, BlockRef, FileIndex, Layout, PieceIndex};
use shoal_machine::Effects;
use shoal_pieces::Bitfield;

/// Where download is limited a run waits until there is credit for so many blocks, so that a limit does not make thousands
/// of small requests. Chosen: 128 KiB.
const MIN_LIMITED_BLOCKS: u64 = 8;
/// What a whole block costs of the credit, as if a peer had sent it.
const BLOCK: u64 = BLOCK_LENGTH as u64 + 13;

impl<P> Swarm<P> {
    /// The layout is known: every web seed has all of it, until it turns out otherwise.
    pub(super) fn web_seeds_ready(&mut self) {
        let Phase::Transfer(transfer) = &mut self.phase else { return };
        for key in self.web_seeds.keys() {
            let Some(seed) = self.web_seeds.get_mut(key).filter(|seed| !seed.is_gone()) else { continue };
            seed.bits = Bitfield::full(transfer.picker.have().len());
            transfer.picker.peer_joined(&seed.bits);
        }
    }

    /// Orders runs of those web seeds that have nothing to do.
    pub(super) fn fill_fetches(&mut self, out: &mut Effects<Effect<P>>) {
        let Phase::Transfer(transfer) = &self.phase else { return };
        if self.web_seeds.is_empty() || transfer.complete || transfer.picker.blocks_missing() == 0 {
            return;
        }
        // By turns, so that the first one does not get everything.
        let mut asks = true;
        while std::mem::take(&mut asks) {
            for key in self.web_seeds.keys() {
                asks |= self.fetch_from(key, out);
            }
        }
    }

    /// Orders one run. False if there is none to be had now.
    fn fetch_from(&mut self, key: WebSeedKey, out: &mut Effects<Effect<P>>) -> bool {
        let Phase::Transfer(transfer) = &mut self.phase else { return false };
        let may_use = self.web_seeds.may_use(key);
        let Some(seed) = self.web_seeds.get_mut(key) else { return false };
        if !may_use || seed.free_fetches(self.now) == 0 {
            return false;
        }
        let layout = transfer.info.layout();
        let unasked = transfer.picker.blocks_missing() - transfer.picker.blocks_requested();
        let wanted = seed.run_blocks(self.now, u64::from(layout.blocks_in(PieceIndex(0))), unasked);
        let affordable = self.credit.down / BLOCK;
        if affordable < wanted.min(MIN_LIMITED_BLOCKS) {
            self.demand_due |= self.demand.is_none_or(|told| told.down == 0);
            return false;
        }
        let max_open = transfer.max_open_pieces(self.config.max_assembly_bytes);
        let slot = slot(key);
        let restricted = transfer.without_others_exclusive(&seed.bits, slot);
        let bits = restricted.as_ref().unwrap_or(&seed.bits);
        let mut blocks = Vec::new();
        let count = wanted.min(affordable) as usize;
        transfer.picker.pick_run(slot, bits, seed.after, count, self.config.order, max_open, &mut blocks);
        let Some(&last) = blocks.last() else { return false };
        seed.after = Some(piece_after(transfer.info.layout(), last));
        for block in &blocks {
            if let Some(owner) = transfer.exclusive.get_mut(&block.piece) {
                *owner = Some(slot);
            }
            self.credit.down = self.credit.down.saturating_sub(cost(*block));
        }
        let fetch = self.web_seeds.begin(self.now, key, &blocks);
        out.push(Effect::Fetch { seed: key, fetch, blocks });
        true
    }

    /// Bytes that web seeds could be asked for at once.
    pub(super) fn fetch_demand(&self) -> u64 {
        let Phase::Transfer(transfer) = &self.phase else { return 0 };
        let piece_blocks = u64::from(transfer.info.layout().blocks_in(PieceIndex(0)));
        let unasked = transfer.picker.blocks_missing() - transfer.picker.blocks_requested();
        let of = |key| {
            let seed = self.web_seeds.get(key).filter(|_| self.web_seeds.may_use(key))?;
            Some(u64::from(seed.free_fetches(self.now)) * seed.run_blocks(self.now, piece_blocks, unasked))
        };
        let blocks: u64 = self.web_seeds.keys().filter_map(of).sum();
        blocks.min(unasked.max(MIN_LIMITED_BLOCKS)) * BLOCK
    }

    /// A block of a run came.
    pub(super) fn fetched(&mut self, fetch: FetchKey, block: BlockRef, payload: P, out: &mut Effects<Effect<P>>) {
        let length = u64::from(block.length);
        let Some((key, wanted)) = self.web_seeds.came(self.now, fetch, block) else {
            // It crossed our cancel.
            self.wasted += length;
            return;
        };
        self.moved = Some(self.now);
        self.download.add(self.now, length);
        let Some(seed) = self.web_seeds.get_mut(key) else { return };
        seed.came(self.now, length);
        if seed.slow && !self.web_seeds.is_late(self.now, key) {
            self.set_slow(key, false);
        }
        if wanted {
            self.keep_block(block, payload, slot(key), Giver::WebSeed(key), out);
        } else {
            self.wasted += length;
        }
    }

    /// A run ended, by itself or by a failure.
    pub(super) fn fetch_ended(
        &mut self,
        key: FetchKey,
        result: Result<(), FetchFailure>,
        out: &mut Effects<Effect<P>>,
    ) {
        let Some(seed) = self.drop_fetch(key) else { return };
        self.touch_fetches = true;
        let Err(FetchFailure { fault, error, retry_after }) = result else { return };
        self.release_exclusive(seed);
        let outcome = match fault {
            FetchFault::Passing => self.web_seeds.failed(self.now, seed, error.clone(), retry_after),
            FetchFault::Busy => return self.web_seeds.busy(self.now, seed),
            FetchFault::Missing(file) => self.lacks_file(seed, file, error.clone(), out),
            FetchFault::Useless => {
                self.retire(seed, error.clone(), out);
                Some(WebSeedOutcome::GivenUp)
            }
        };
        if let Some(outcome) = outcome {
            out.push(Effect::Notice(Notice::WebSeed { seed, outcome, error }));
        }
        self.touch_all = true;
    }

    /// A web seed does not have a file: it is asked for the others.
    fn lacks_file(
        &mut self,
        key: WebSeedKey,
        file: FileIndex,
        error: SourceError,
        out: &mut Effects<Effect<P>>,
    ) -> Option<WebSeedOutcome> {
        let Phase::Transfer(transfer) = &mut self.phase else { return None };
        let seed = self.web_seeds.get_mut(key)?;
        for piece in transfer.info.layout().pieces_of(file).map(PieceIndex) {
            if seed.bits.unset(piece) {
                transfer.picker.peer_lost(piece);
            }
        }
        let outcome = self.web_seeds.lacks_file(key, error.clone());
        if outcome == Some(WebSeedOutcome::GivenUp) {
            self.retire(key, error, out);
        }
        outcome
    }

    /// A web seed gave a piece that came right, or not.
    pub(super) fn web_seed_gave(&mut self, key: WebSeedKey, good: bool, out: &mut Effects<Effect<P>>) {
        let Some(seed) = self.web_seeds.get_mut(key).filter(|seed| !seed.is_gone()) else { return };
        if good {
            seed.piece_good();
        } else if seed.piece_bad() {
            let error = SourceError::new(SourceErrorKind::Nonsense, "it sent corrupt data");
            self.retire(key, error.clone(), out);
            out.push(Effect::Notice(Notice::WebSeed { seed: key, outcome: WebSeedOutcome::Banned, error }));
        }
        self.touch_fetches = true;
    }

    fn retire(&mut self, key: WebSeedKey, error: SourceError, out: &mut Effects<Effect<P>>) {
        for fetch in self.web_seeds.fetches_of(Some(key)) {
            self.cancel_fetch(fetch, out);
        }
        self.web_seeds.give_up(key, error);
        self.release_exclusive(key);
        let (Phase::Transfer(transfer), Some(seed)) = (&mut self.phase, self.web_seeds.get_mut(key)) else { return };
        let bits = std::mem::replace(&mut seed.bits, Bitfield::new(transfer.picker.have().len()));
        transfer.picker.peer_left(&bits);
        transfer.picker.peer_slow(slot(key), false);
        self.touch_all = true;
    }

    /// What became due: waits that are over, runs that bring nothing.
    pub(super) fn check_fetches(&mut self, out: &mut Effects<Effect<P>>) {
        if self.web_seeds.is_empty() {
            return;
        }
        self.touch_fetches |= self.web_seeds.wait_over(self.now);
        let (stalled, slow) = self.web_seeds.overdue(self.now);
        for key in slow {
            self.set_slow(key, true);
            // Others may take over what it holds.
            self.release_exclusive(key);
            self.touch_all = true;
        }
        for fetch in stalled {
            out.push(Effect::CancelFetch { fetch });
            let text = format!("it sent nothing of use for {} s", STALLED.as_secs());
            let error = SourceError::new(SourceErrorKind::Silent, text);
            let failure = FetchFailure { fault: FetchFault::Passing, error, retry_after: None };
            self.fetch_ended(fetch, Err(failure), out);
        }
    }

    /// A block that was asked of a web seed came from somebody else.
    pub(super) fn forget_fetched(&mut self, key: WebSeedKey, block: BlockRef, out: &mut Effects<Effect<P>>) {
        let Some(emptied) = self.web_seeds.forget(key, block) else { return };
        self.free_block(key, block);
        if let Some(fetch) = emptied {
            self.cancel_fetch(fetch, out);
        }
    }

    /// Ends every run.
    pub(super) fn cancel_fetches(&mut self, out: &mut Effects<Effect<P>>) {
        for fetch in self.web_seeds.fetches_of(None) {
            self.cancel_fetch(fetch, out);
        }
    }

    fn cancel_fetch(&mut self, fetch: FetchKey, out: &mut Effects<Effect<P>>) {
        if self.drop_fetch(fetch).is_some() {
            out.push(Effect::CancelFetch { fetch });
            self.touch_fetches = true;
        }
    }

    /// Forgets a run: what has not come of it is free for others.
    fn drop_fetch(&mut self, fetch: FetchKey) -> Option<WebSeedKey> {
        let ended = self.web_seeds.end(fetch)?;
        for block in ended.blocks {
            self.free_block(ended.seed, block);
        }
        if !self.web_seeds.is_late(self.now, ended.seed) {
            self.set_slow(ended.seed, false);
        }
        Some(ended.seed)
    }

    fn free_block(&mut self, key: WebSeedKey, block: BlockRef) {
        if let Phase::Transfer(transfer) = &mut self.phase {
            transfer.picker.abandoned(block, slot(key));
        }
        self.credit.down = self.credit.down.saturating_add(cost(block));
    }

    fn set_slow(&mut self, key: WebSeedKey, slow: bool) {
        if let Some(seed) = self.web_seeds.get_mut(key) {
            seed.slow = slow;
        }
        if let Phase::Transfer(transfer) = &mut self.phase {
            transfer.picker.peer_slow(slot(key), slow);
        }
    }

    fn release_exclusive(&mut self, key: WebSeedKey) {
        if let Phase::Transfer(transfer) = &mut self.phase {
            transfer.release_exclusive(slot(key));
        }
    }

    /// How each web seed is doing, in the order of the configuration.
    pub fn web_seeds(&self) -> impl Iterator<Item = WebSeedStatus> + '_ {
        self.web_seeds.status(self.now)
    }
}

/// Where a run goes on that ended with this block.
fn piece_after(layout: &Layout, last: BlockRef) -> PieceIndex {
    let next = last.begin / BLOCK_LENGTH + 1;
    let more = (next..layout.blocks_in(last.piece)).any(|number| layout.request(last.piece, number).is_some());
    PieceIndex(last.piece.0 + u32::from(!more))
}
