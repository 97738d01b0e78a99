//! One torrent's peers and the process's budgets, as machines.
//!
//! [`Swarm`] decides for one torrent: whom to dial, what to ask of whom, whom to unchoke, what is done, who lied, when
//! to announce. [`Host`] decides for the process: rates, upload slots, dial order, connections. Neither touches a socket,
//! a file or a clock; see `shoal_machine`.

mod event;

pub use event::*;
