//! Where peers come from, as drivers: they carry out what the machines of `shoal-swarm` order, and decide nothing.
//!
//! HTTP trackers ([`Trackers`]) and the rule of which addresses may be used ([`networks`]). All input is from strangers: every
//! answer is bounded in bytes, time and count.

mod failure;
mod fetch;
mod http;
pub mod networks;
mod resolve;
mod tracker;

pub use fetch::{FetchError, fetch_torrent};
pub use http::{Authorities, Http, HttpConfig, HttpError, NoCertificates};
pub use tracker::{TrackerError, Trackers, TrackersConfig};
