//! The tokio driver: sockets, timers and disk threads around the machines of `shoal-swarm`.
//!
//! A [`Session`] is one process's listener, dialer, disk threads and `Host` machine; [`Session::add`] gives it a torrent, and
//! each torrent has one task that owns its `Swarm` machine. Nothing here decides: events go in, effects are carried out.
//!
//! Invariants: every queue is bounded; no lock is held across an await; every task and thread is joined by its owner, so
//! that after [`Session::shutdown`] nothing of the session runs.

mod add;
mod claims;
mod clock;
mod config;
mod dialer;
mod disk;
mod error;
mod fetch;
mod handle;
mod host;
mod listener;
mod peer;
mod pool;
mod progress;
mod registry;
mod session;
mod torrent;

pub use add::{AddTorrent, Check, Files, Mode, SelectFiles, TorrentSource, TraceFile};
pub use config::{DEFAULT_PORT, DhtChoice, PortChoice, SessionConfig};
pub use error::SessionError;
pub use handle::{TorrentEvents, TorrentHandle};
pub use progress::{Diagnosis, Phase, Progress, TorrentEvent};
pub use session::Session;
pub use shoal_discovery::mapping::{Mapped, MappingStatus, Method, local_address_towards};
pub use shoal_swarm::{
    Reached, Reason, Situation, SourceErrorKind, SourceKind, SourceState, SourceStatus, Stage, WebSeedOutcome,
};
