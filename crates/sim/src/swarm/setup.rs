//! What a peer is like at its start, and what it went through at the end.

use super::disk::DiskSetup;
use super::web_seed::WebSeedSetup;
use crate::NodeId;
use shoal_machine::Time;
use shoal_pieces::PickMode;
use shoal_swarm::WebSeedOutcome;
use std::collections::BTreeSet;
use std::time::Duration;

/// What a peer is like.
#[derive(Clone, Debug)]
pub struct PeerSetup {
    /// Starts with a magnet link only (BEP 9).
    pub magnet: bool,
    /// Starts with everything.
    pub seed: bool,
    /// Chance that a block it uploads is damaged by itself.
    pub lies: f64,
    /// Its disk.
    pub disk: DiskSetup,
    /// The files that it wants, one entry a file; empty for all.
    pub files: Vec<bool>,
    /// Pieces that it starts with, one entry a piece; empty for none, or all of a seed.
    pub pieces: Vec<bool>,
    /// Speaks neither the fast extension nor the extension protocol (BEP 6, 10), as old clients.
    pub plain: bool,
    /// Serves what it has and fetches nothing.
    pub serve_only: bool,
    /// The part of the pieces that it starts with, chosen at random; those of a seed are all.
    pub starts_with: f64,
    /// Which pieces it fetches first.
    pub order: PickMode,
    /// Whether it shows each leech other pieces while it is the only source (BEP 16).
    pub super_seed: bool,
    /// Upload slots, whatever its host says.
    pub slots: Option<u32>,
    /// Bytes per second that it lets itself send; `None` for no limit but its line.
    pub up: Option<u64>,
    /// The same for what it receives.
    pub down: Option<u64>,
    /// Connections that it holds, at most.
    pub max_connections: usize,
    /// Connections of its swarm, at most; `None` for the product's own default.
    pub neighbours: Option<usize>,
    /// Takes and gives nothing: it has no upload slots and no rate to upload at.
    pub free_rider: bool,
    /// Leaves in an orderly way so long after it is complete; `None` to stay.
    pub leaves_after: Option<Duration>,
    /// Web seeds of its torrent (BEP 19).
    pub web_seeds: Vec<WebSeedSetup>,
    /// Addresses that its user typed.
    pub addresses: Vec<NodeId>,
    /// Checks sums (I5, I7) and the swarm's own invariants after every so many happenings; 0 for never. They cost a step a
    /// peer and a piece; what each effect is checked for costs little and is always checked.
    pub check_every: u32,
    /// Whether somebody keeps a book of his own about what it says and hears, and compares, where it is checked at all.
    pub has_referee: bool,
}

impl Default for PeerSetup {
    fn default() -> Self {
        PeerSetup {
            magnet: false,
            seed: false,
            lies: 0.0,
            disk: DiskSetup::default(),
            files: Vec::new(),
            pieces: Vec::new(),
            plain: false,
            serve_only: false,
            starts_with: 0.0,
            order: PickMode::RarestFirst,
            super_seed: true,
            slots: None,
            up: None,
            down: None,
            // Chosen: more than one swarm holds.
            max_connections: 200,
            neighbours: None,
            free_rider: false,
            leaves_after: None,
            web_seeds: Vec::new(),
            addresses: Vec::new(),
            check_every: 1,
            has_referee: true,
        }
    }
}

/// What a peer went through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerRecord {
    /// When it had its first piece.
    pub first_piece_at: Option<Time>,
    /// When it had everything.
    pub complete_at: Option<Time>,
    /// When it left, if it was to.
    pub left_at: Option<Time>,
    /// Whom it banned.
    pub banned: BTreeSet<NodeId>,
    /// Payload bytes of blocks that it sent.
    pub uploaded_bytes: u64,
    /// Payload bytes of blocks that reached it.
    pub downloaded_bytes: u64,
    /// Connections that stood, both handshakes exchanged.
    pub connections: u32,
    /// Payload bytes that web seeds gave.
    pub web_seed_bytes: u64,
    /// Runs asked of web seeds.
    pub fetches: u32,
    /// What became of web seeds that failed, by their place in the setup.
    pub web_seed_troubles: Vec<(u32, WebSeedOutcome, String)>,
    /// When its swarm was stopped last.
    pub stopped_at: Option<Time>,
    /// Notices that the disk refused.
    pub disk_troubles: u32,
}
