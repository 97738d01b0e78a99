//! What trackers are told and tell (BEP 3).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// What to tell a tracker (BEP 3).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AnnounceRequest {
    /// Its URL.
    pub url: String,
    /// Which event, if any.
    pub event: AnnounceEvent,
    /// Payload bytes sent since `started`.
    pub uploaded: u64,
    /// Payload bytes received since `started`.
    pub downloaded: u64,
    /// Bytes still missing; `None` while the info dictionary is not known.
    pub left: Option<u64>,
    /// How many peers we would take.
    pub num_want: u32,
    /// What this tracker gave us at its last answer, to be sent back.
    pub tracker_id: Option<Vec<u8>>,
}

/// The `event` of an announce (BEP 3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AnnounceEvent {
    /// None: a regular one.
    None,
    /// The first.
    Started,
    /// The download is complete; not sent by one who began complete.
    Completed,
    /// The last.
    Stopped,
}

/// What a tracker said.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AnnounceReply {
    /// Wait this long before the next regular announce.
    pub interval: Option<Duration>,
    /// Never announce more often than this.
    pub min_interval: Option<Duration>,
    /// Send this back next time.
    pub tracker_id: Option<Vec<u8>>,
    /// Complete peers, as it says.
    pub seeds: Option<u32>,
    /// Incomplete peers, as it says.
    pub leeches: Option<u32>,
    /// Addresses.
    pub peers: Vec<SocketAddr>,
    /// Addresses that it gave and that were left out: the rule on private networks forbids them.
    pub forbidden: u32,
    /// A warning: one line, not escaped.
    pub warning: Option<String>,
    /// Our address as the tracker sees it (BEP 24).
    pub external_ip: Option<IpAddr>,
}
