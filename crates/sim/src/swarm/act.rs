//! What befalls a node while a swarm runs: put into the queue with its moment, so that it is part of the trace.

use super::tracker::TrackerMood;
use super::web_seed::WebSeedKind;
use std::time::Duration;

/// What befalls a node. A process that does not run does not notice; see [`Scenario::calm`](super::Scenario::calm).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Act {
    /// The disk refuses every write from now on (no room, EIO), or takes them again.
    RefuseWrites(bool),
    /// The disk fails every read from now on, or no longer.
    FailReads(bool),
    /// What is written cannot be synced from now on, or can again.
    FailSyncs(bool),
    /// How long the disk takes for a piece.
    SlowWrites(Duration),
    /// A piece on the disk is damaged by something else; noticed when it is read to be sent. Counted modulo the pieces.
    Rot(u32),
    /// A piece is found to be gone from the disk. Counted modulo the pieces.
    Lose(u32),
    /// The machine is about to lose its power: what is not synced when its process ends is lost with it.
    PowerCut,
    /// The user chooses these files, one entry a file.
    Select(Vec<bool>),
    /// A tracker's mood.
    Mood(TrackerMood),
    /// All web seeds of this peer behave so from now on.
    WebSeeds(WebSeedKind),
}
