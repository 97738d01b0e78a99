//! Which message is in which lane.
//!
//! A kernel feeds the same number of blocks to each of its lanes. Messages are of any length, so a batch goes in steps: each
//! step runs as many blocks as the shortest run among the lanes has, then lanes that are done take the next message. When
//! fewer messages are left than a kernel needs to be worth its while, a narrower one takes them ([`Table`]).
//!
//! Invariant: lanes `0..active` hold messages with at least one block to go; `words[lane]` is that message's state.

use crate::kernels::{MAX_LANES, Table};
use crate::state::{BLOCK, sealed::Algorithm};

/// A message, or the part of one that there is now: whole blocks in up to three runs.
pub(crate) struct Job<'a> {
    /// The source's number for it.
    pub(crate) index: usize,
    /// A block put together from earlier bytes and the first of the new ones.
    pub(crate) head: Option<[u8; BLOCK]>,
    /// Blocks where they lie.
    pub(crate) bulk: &'a [[u8; BLOCK]],
    /// The message's end, with padding: `tail_blocks` blocks.
    pub(crate) tail: [u8; 3 * BLOCK],
    /// Blocks in `tail`.
    pub(crate) tail_blocks: usize,
}

impl Job<'_> {
    /// The blocks that come next; empty when done.
    fn run(&self) -> &[[u8; BLOCK]] {
        match &self.head {
            Some(head) => std::slice::from_ref(head),
            None if !self.bulk.is_empty() => self.bulk,
            None => &self.tail.as_chunks().0[3 - self.tail_blocks..],
        }
    }

    /// Leaves the first blocks of what [`run`](Self::run) gave behind.
    fn advance(&mut self, blocks: usize) {
        match self.head.take() {
            Some(_) => {}
            None if !self.bulk.is_empty() => self.bulk = &self.bulk[blocks..],
            None => self.tail_blocks -= blocks,
        }
    }
}

/// Where messages come from, and where their states go.
pub(crate) trait Source<'a, A: Algorithm> {
    /// The next message with at least one block, and its state.
    fn next(&mut self) -> Option<(Job<'a>, A::Words)>;
    /// The state after all its blocks.
    fn done(&mut self, index: usize, words: A::Words);
}

/// Runs all messages of a source.
pub(crate) fn run<'a, A: Algorithm>(table: &Table<A>, source: &mut impl Source<'a, A>) {
    let mut words = [A::INITIAL; MAX_LANES];
    let mut jobs: [Option<Job<'a>>; MAX_LANES] = [const { None }; MAX_LANES];
    let mut active = 0;
    loop {
        while active < MAX_LANES {
            let Some((job, state)) = source.next() else { break };
            (jobs[active], words[active]) = (Some(job), state);
            active += 1;
        }
        if active == 0 {
            return;
        }
        let kernel = table.kernel(active);
        let lanes = active.min(kernel.lanes);

        let mut runs: [&[[u8; BLOCK]]; MAX_LANES] = [&[]; MAX_LANES];
        let mut blocks = usize::MAX;
        for (run, job) in runs.iter_mut().zip(jobs[..lanes].iter().flatten()) {
            *run = job.run();
            blocks = blocks.min(run.len());
        }
        // Lanes without a message repeat the first one's blocks; their words are never read.
        let first = runs[0];
        for (lane, run) in runs[..kernel.lanes].iter_mut().enumerate() {
            *run = if lane < lanes { &run[..blocks] } else { &first[..blocks] };
        }
        (kernel.compress)(&mut words[..kernel.lanes], &runs[..kernel.lanes]);

        // From the last, so that the message that fills a gap has had its turn.
        for lane in (0..lanes).rev() {
            let job = jobs[lane].as_mut().expect("lanes up to `active` hold messages");
            job.advance(blocks);
            if job.run().is_empty() {
                source.done(job.index, words[lane]);
                active -= 1;
                words[lane] = words[active];
                jobs[lane] = jobs[active].take();
            }
        }
    }
}
