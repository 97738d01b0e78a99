//! What the user sees of a torrent: a snapshot about ten times a second, and the events that must not be missed.

use crate::SessionError;
use shoal_layout::PieceIndex;
use shoal_metainfo::Info;
use shoal_swarm::{Reason, Situation, WebSeedOutcome};
use std::net::SocketAddr;
use std::sync::Arc;

/// What a torrent is at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Phase {
    /// Peers are asked for the info dictionary.
    #[default]
    Metadata,
    /// Files on disk are hashed.
    Checking {
        /// Bytes looked at.
        done_bytes: u64,
        /// Bytes to look at.
        total_bytes: u64,
    },
    /// Something selected is missing.
    Downloading,
    /// All that was selected is here.
    Seeding,
    /// The disk refuses: one line for the user. Goes on by itself.
    Paused {
        /// Path, what is missing, what to do; not escaped.
        reason: String,
    },
    /// It is over: stopped, or failed (see [`TorrentEvent::Failed`]).
    Stopped,
}

/// A snapshot. Bytes are payload, padding not counted; rates are bytes of payload per second over the last few seconds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Progress {
    /// What it is at.
    pub phase: Phase,
    /// Bytes of selected files verified and written.
    pub done_bytes: u64,
    /// Bytes of selected files; 0 while the info dictionary is not known.
    pub total_bytes: u64,
    /// Pieces verified and written, of the whole torrent.
    pub pieces_done: u32,
    /// Pieces of the whole torrent; 0 while the info dictionary is not known.
    pub pieces_total: u32,
    /// Bytes per second received.
    pub download_rate: u64,
    /// Bytes per second sent.
    pub upload_rate: u64,
    /// Payload bytes received by this run, wasted ones counted.
    pub downloaded: u64,
    /// Payload bytes sent by this run.
    pub uploaded: u64,
    /// Payload bytes received and thrown away: corrupt, twice, or never asked for.
    pub wasted: u64,
    /// Open connections after both handshakes.
    pub peers: u32,
    /// Web seeds from which something is being fetched.
    pub web_seeds: u32,
    /// Connected peers that have everything, and web seeds that gave pieces that came right.
    pub full_copies: u32,
    /// Peers that had everything while they were connected to us, also those that have left; each counted once.
    pub full_copies_seen: u32,
    /// Addresses of peers that are known.
    pub known_addresses: u32,
    /// Peers that were banned.
    pub banned: u32,
    /// Why nothing moves, once nothing did for 5 s, and at once if the disk refuses; `None` if something does, or if there is
    /// nothing to wait for.
    pub reason: Option<Reason>,
    /// The same before the 5 s are over: what is being waited for.
    pub cause: Option<Reason>,
}

/// How a torrent stands with everyone that it knows of, for `shoal doctor`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis {
    /// Sources, addresses and peers. The download limit is left out: a doctor looks with none.
    pub situation: Situation,
    /// Connected peers that have everything.
    pub full_copies: u32,
}

/// Something that happened once.
#[derive(Debug)]
pub enum TorrentEvent {
    /// The info dictionary is known: from the start, or peers gave it.
    Metadata(Arc<Info>),
    /// Files are open and checked; so many pieces were there.
    Checked {
        /// Pieces that were found right.
        pieces: u32,
    },
    /// A piece is verified and written.
    Piece(PieceIndex),
    /// All that was selected is verified and written; also right after `Checked` if it was there from the start.
    Complete,
    /// A peer was banned.
    Banned {
        /// Where it was.
        addr: SocketAddr,
        /// Why, in a few words.
        reason: String,
    },
    /// Something is wrong with a web seed.
    WebSeedTrouble {
        /// Which.
        url: String,
        /// What becomes of it.
        outcome: WebSeedOutcome,
        /// One line, not escaped.
        reason: String,
    },
    /// The disk refuses; the torrent waits and tries again by itself.
    DiskTrouble {
        /// One line, not escaped.
        reason: String,
    },
    /// The disk works again.
    DiskRecovered,
    /// Somebody changed a file: what does not fit any more is not offered any more.
    DataChanged {
        /// One line, not escaped.
        reason: String,
    },
    /// The trace that was asked for ends before the torrent does, which goes on.
    TraceEnded {
        /// One line, not escaped.
        reason: String,
    },
    /// A tracker did not answer, or with a failure.
    TrackerError {
        /// Which.
        url: String,
        /// One line, not escaped.
        reason: String,
    },
    /// A tracker answered with a warning.
    TrackerWarning {
        /// Which.
        url: String,
        /// One line, not escaped.
        warning: String,
    },
    /// It cannot go on; nothing follows.
    Failed(SessionError),
}
