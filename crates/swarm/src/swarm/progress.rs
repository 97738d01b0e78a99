//! How far a swarm is, for people and trackers.

use super::{Phase, Swarm};
use crate::announce::Totals;
use crate::event::DisconnectReason;

/// A look at a swarm. All counts of bytes are payload; rates are bytes a second over the last five seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SwarmProgress {
    /// Whether the info dictionary is known and the files are checked.
    pub has_layout: bool,
    /// Bytes of chosen files that are verified and written.
    pub done_bytes: u64,
    /// Bytes of chosen files.
    pub total_bytes: u64,
    /// Pieces that are verified and written.
    pub pieces_done: u32,
    /// Pieces of the torrent.
    pub pieces_total: u32,
    /// Received since the start of what was asked for, waste counted; what crossed its cancel counts as waste only.
    pub downloaded: u64,
    /// Sent since the start.
    pub uploaded: u64,
    /// Received and thrown away: corrupt, twice, or never asked for.
    pub wasted: u64,
    /// Received a second.
    pub download_rate: u64,
    /// Sent a second.
    pub upload_rate: u64,
    /// Connected peers.
    pub peers: u32,
    /// Of them, those that have everything, also if they show a part of it.
    pub seeds: u32,
    /// Of them, those that do not choke us.
    pub unchoking: u32,
    /// Of them, those that have something that we want.
    pub interesting: u32,
    /// Of them, those that offer the info dictionary, while it is fetched.
    pub metadata_offers: u32,
    /// Addresses that are known.
    pub known_addresses: u32,
    /// Dials under way.
    pub dialing: u32,
    /// Peers that were banned.
    pub banned: u32,
    /// Peers that were connected at some time and had everything, each counted once; of those that left a few thousand.
    pub seeds_seen: u32,
    /// Web seeds that are asked, now or after a wait.
    pub web_seeds: u32,
    /// Of them, those from which something is being fetched.
    pub web_seeds_fetching: u32,
    /// Of them, those that gave pieces that came right: each is a full copy.
    pub web_seed_copies: u32,
    /// Whether the disk refuses writes at present.
    pub disk_trouble: bool,
    /// Whether everything chosen is there.
    pub complete: bool,
}

impl<P> Swarm<P> {
    /// A look at the swarm. Cost: a step a peer.
    pub fn progress(&self) -> SwarmProgress {
        let count =
            |is: &dyn Fn(&crate::peer::Peer) -> bool| self.peers.values().filter(|peer| is(peer)).count() as u32;
        let mut progress = SwarmProgress {
            downloaded: self.download.total(),
            uploaded: self.upload.total(),
            wasted: self.wasted,
            download_rate: self.download.over(self.now, 5),
            upload_rate: self.upload.over(self.now, 5),
            peers: self.peers.len() as u32,
            seeds: count(&|peer| peer.is_seed() || peer.hides()),
            seeds_seen: self.left_complete.len() as u32
                + count(&|peer| peer.is_seed() && !self.left_complete.contains(&peer.handshake.peer_id)),
            unchoking: count(&|peer| !peer.peer_choking),
            interesting: count(&|peer| peer.am_interested),
            known_addresses: self.addresses.len() as u32,
            dialing: self.addresses.dialing() as u32,
            banned: self.banned.len() as u32,
            web_seeds: self.web_seeds.seeds().filter(|seed| !seed.is_gone()).count() as u32,
            web_seeds_fetching: self.web_seeds.fetching(),
            web_seed_copies: self.web_seeds.seeds().filter(|seed| seed.is_copy()).count() as u32,
            ..SwarmProgress::default()
        };
        match &self.phase {
            Phase::Metadata(fetch) => progress.metadata_offers = fetch.offers() as u32,
            Phase::Preparing => {}
            Phase::Transfer(transfer) => {
                progress.has_layout = true;
                progress.done_bytes = transfer.chosen_done;
                progress.total_bytes = transfer.chosen_total;
                progress.pieces_done = transfer.picker.have().count();
                progress.pieces_total = transfer.picker.have().len();
                progress.disk_trouble = transfer.disk_refuses();
                progress.complete = transfer.complete;
            }
        }
        progress
    }

    /// The state of each tracker, for people.
    pub fn trackers(&self) -> &crate::announce::AnnounceSchedule {
        &self.schedule
    }

    /// How each source that is not a tracker fares, for people.
    pub fn seeking(&self) -> impl Iterator<Item = crate::seek::SeekStatus<'_>> {
        self.seek.status()
    }

    /// What trackers are told. `left` counts the whole torrent, so that a peer with a selection is no seed (BEP 21).
    pub(super) fn totals(&self) -> Totals {
        let left = match &self.phase {
            Phase::Transfer(transfer) => Some(transfer.info.layout().payload_length() - transfer.payload_done),
            _ => None,
        };
        Totals { uploaded: self.upload.total(), downloaded: self.download.total(), left }
    }
}

impl DisconnectReason {
    /// What to tell a person.
    pub fn describe(self) -> &'static str {
        match self {
            DisconnectReason::SelfConnection => "it is ourselves",
            DisconnectReason::Duplicate => "connected already",
            DisconnectReason::Banned => "banned before",
            DisconnectReason::Protocol(what) => what,
            DisconnectReason::Corrupt => "sent corrupt data",
            DisconnectReason::Uninteresting => "nothing left to exchange",
            DisconnectReason::Idle => "silent for too long",
            DisconnectReason::Replaced => "replaced by a better peer",
            DisconnectReason::Private => "not named by a tracker of the private torrent",
            DisconnectReason::Full => "no room for another peer",
            DisconnectReason::Stopping => "stopping",
        }
    }
}
