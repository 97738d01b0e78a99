//! Where peers come from, as drivers: they carry out what the machines of `shoal-swarm` order, and decide nothing.
//!
//! Trackers ([`Trackers`]), web seeds ([`web_seed`]), torrent files on the web ([`fetch_torrent`]), and the rule of which
//! addresses may be used ([`networks`]); peers on the local network ([`lan`]). All input is from strangers: every
//! answer is bounded in bytes, time and count.

pub mod dht;
mod failure;
mod fetch;
mod http;
pub mod lan;
pub mod mapping;
pub mod networks;
mod resolve;
mod tracker;
pub mod web_seed;

pub use fetch::{FetchError, fetch_torrent};
pub use http::{Authorities, Http, HttpConfig, HttpError, NoCertificates};
pub use tracker::{Scraped, TrackerError, Trackers, TrackersConfig, server_number};

/// The readers of what trackers send, alone: bytes to values. For fuzzing.
pub mod parsers {
    pub use crate::tracker::reply::parse as announce_reply;
    pub use crate::tracker::scrape::parse as scrape_reply;
    pub use crate::tracker::udp_packet::{Body, Family, Packet, parse as udp_packet};
}
