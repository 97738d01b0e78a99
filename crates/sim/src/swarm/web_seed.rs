//! A web seed as a peer sees it: how fast, how far away, and whether it keeps to the rules (reliability.md D5).

use shoal_layout::BlockRef;
use shoal_swarm::WebSeedKey;
use std::collections::VecDeque;
use std::time::Duration;

/// How a web seed behaves.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum WebSeedKind {
    /// Gives what it is asked for.
    Honest,
    /// Gives damaged blocks.
    Lying,
    /// Gives this many blocks in all and then nothing, its connections open.
    Stalling {
        /// How many.
        after: u32,
    },
    /// Answers each part of a file with all of it.
    IgnoringRanges,
    /// Breaks off each run after this many blocks.
    Breaking {
        /// How many.
        after: u32,
    },
}

/// A web seed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WebSeedSetup {
    /// Its manners.
    pub kind: WebSeedKind,
    /// Bytes per second, of each run.
    pub rate: u64,
    /// From a request to the first byte.
    pub delay: Duration,
}

/// A run on its way.
#[derive(Debug)]
pub(super) struct Fetch {
    pub(super) seed: WebSeedKey,
    pub(super) blocks: VecDeque<BlockRef>,
    pub(super) given: u32,
}
