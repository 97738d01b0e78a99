//! One torrent's peers and the process's budgets, as machines.
//!
//! [`Swarm`] decides for one torrent: whom to dial, what to ask of whom, whom to unchoke, what is done, who lied, when
//! to announce and to look for peers. [`Host`] decides for the process: rates, upload slots, dial order, connections. Neither touches a socket,
//! a file or a clock; see `shoal_machine`.

mod address;
mod announce;
mod blame;
mod choke;
mod config;
mod event;
mod failure;
mod fast;
mod host;
mod layers;
mod leaf_server;
mod leaves;
mod metadata;
mod pace;
mod peer;
mod peers;
mod pex;
mod priority;
mod rate;
mod reach;
mod reason;
mod seek;
mod seen;
mod slots;
mod swarm;
#[cfg(test)]
mod tests;
mod web_seeds;

pub use announce::*;
pub use config::SwarmConfig;
pub use event::*;
pub use failure::*;
pub use host::*;
pub use reason::*;
pub use seek::{SeekStatus, Sought, Via};
pub use swarm::{Surroundings, Swarm, SwarmProgress};
pub use web_seeds::{MAX_WEB_SEEDS, WebSeedOutcome, WebSeedStatus};
