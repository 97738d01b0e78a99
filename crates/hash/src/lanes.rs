//! Which message is in which lane.
//!
//! A kernel feeds the same number of blocks to each of its lanes. Messages are of any length, so a batch goes in steps: each
//! step runs as many blocks as the shortest run among the lanes has, then lanes that are done take the next message. When
//! fewer messages are left than a kernel needs to be worth its while, a narrower one takes them ([`Table`]).
//!
//! Invariant: lanes `0..active` hold messages with at least one block to go; column `lane` of `rows` is that message's state.

use crate::kernels::{MAX_LANES, Table};
use crate::state::{BLOCK, sealed::Algorithm};

/// A message, or the part of one that there is now: blocks where they lie, and a few that had to be put together.
#[derive(Clone, Copy)]
pub(crate) struct Job<'a> {
    /// The source's number for it.
    pub(crate) index: usize,
    /// Blocks where they lie.
    pub(crate) bulk: &'a [[u8; BLOCK]],
    /// Blocks put together: `own[own_start..own_end]`. A short message is all here.
    pub(crate) own: [[u8; BLOCK]; 3],
    /// The first of them that is still to come.
    pub(crate) own_start: usize,
    /// Where they end.
    pub(crate) own_end: usize,
    /// Whether they come before the bulk (a block begun earlier) or after it (the message's end).
    pub(crate) own_first: bool,
}

impl Job<'_> {
    const EMPTY: Self = Job { index: 0, bulk: &[], own: [[0; BLOCK]; 3], own_start: 0, own_end: 0, own_first: false };

    /// Whether the blocks that come next are those put together.
    fn is_own_next(&self) -> bool {
        self.bulk.is_empty() || (self.own_first && self.own_start < self.own_end)
    }

    /// The blocks that come next; empty when done.
    fn run(&self) -> &[[u8; BLOCK]] {
        if self.is_own_next() { &self.own[self.own_start..self.own_end] } else { self.bulk }
    }

    /// Leaves the first blocks of what [`run`](Self::run) gave behind.
    fn advance(&mut self, blocks: usize) {
        if self.is_own_next() {
            self.own_start += blocks;
        } else {
            self.bulk = &self.bulk[blocks..];
        }
    }
}

/// Where messages come from, and where their states go.
pub(crate) trait Source<'a, A: Algorithm> {
    /// Puts the next message that has at least one block into `job`, and gives its state; `None` if there is no more.
    fn next(&mut self, job: &mut Job<'a>) -> Option<A::Words>;
    /// The state after all its blocks.
    fn done(&mut self, index: usize, words: A::Words);
}

/// Runs all messages of a source.
pub(crate) fn run<'a, A: Algorithm>(table: &Table<A>, source: &mut impl Source<'a, A>) {
    let mut rows = A::NO_ROWS;
    let mut jobs = [Job::EMPTY; MAX_LANES];
    let mut active = 0;
    loop {
        while active < MAX_LANES
            && let Some(words) = source.next(&mut jobs[active])
        {
            set_column::<A>(&mut rows, active, &words);
            active += 1;
        }
        if active == 0 {
            return;
        }
        let kernel = table.kernel(active);
        let lanes = active.min(kernel.lanes);

        // Lanes without a message repeat the first one's blocks; what becomes of their columns is never read.
        let mut runs = [jobs[0].run(); MAX_LANES];
        for (run, job) in runs.iter_mut().zip(&jobs[..lanes]) {
            *run = job.run();
        }
        let blocks = runs[..lanes].iter().map(|run| run.len()).min().unwrap_or(0);
        for run in &mut runs[..kernel.lanes] {
            *run = &run[..blocks];
        }
        (kernel.compress)(&mut rows, &runs[..kernel.lanes]);

        // From the last, so that a message that moves into a gap has had its turn.
        for lane in (0..lanes).rev() {
            jobs[lane].advance(blocks);
            if jobs[lane].run().is_empty() {
                source.done(jobs[lane].index, column::<A>(&rows, lane));
                active -= 1;
                if lane < active {
                    let last = column::<A>(&rows, active);
                    set_column::<A>(&mut rows, lane, &last);
                    jobs[lane] = jobs[active];
                }
            }
        }
    }
}

/// The state in a lane.
pub(crate) fn column<A: Algorithm>(rows: &A::Rows, lane: usize) -> A::Words {
    let mut words = A::INITIAL;
    for (word, row) in words.as_mut().iter_mut().zip(rows.as_ref()) {
        *word = row[lane];
    }
    words
}

/// Puts a state into a lane.
pub(crate) fn set_column<A: Algorithm>(rows: &mut A::Rows, lane: usize, words: &A::Words) {
    for (row, word) in rows.as_mut().iter_mut().zip(words.as_ref()) {
        row[lane] = *word;
    }
}
