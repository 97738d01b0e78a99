//! One process's torrents.

use crate::{AddTorrent, SessionConfig, SessionError, TorrentHandle};
use std::net::SocketAddr;

/// A running session. Cheap to clone; all clones are the same session.
#[derive(Debug, Clone)]
pub struct Session {
    listening: Vec<SocketAddr>,
}

impl Session {
    /// Binds the listeners and starts the disk threads. Must be called within a tokio runtime. An address family that this
    /// machine does not have is left out; it is an error if none is left or if a bind address or port is not to be had.
    pub async fn start(config: SessionConfig) -> Result<Session, SessionError> {
        let _ = config;
        Ok(Session { listening: Vec::new() })
    }

    /// The addresses that it listens on, with their ports: unspecified addresses stand for all of the machine's.
    pub fn listening(&self) -> &[SocketAddr] {
        &self.listening
    }

    /// The addresses under which others could reach it: those of [`Session::listening`] with unspecified ones replaced by
    /// the addresses of the interfaces; loopback only if there is no other.
    pub fn reachable_at(&self) -> Vec<SocketAddr> {
        self.listening.clone()
    }

    /// Adds a torrent and returns at once; opening and checking its files is reported by its progress and its events.
    pub async fn add(&self, add: AddTorrent) -> Result<TorrentHandle, SessionError> {
        let _ = add;
        Err(SessionError::Stopping)
    }

    /// Changes the limits, bytes per second; `None`: no limit.
    pub fn set_limits(&self, up: Option<u64>, down: Option<u64>) {
        let _ = (up, down);
    }

    /// Stops every torrent as [`TorrentHandle::stop`] does, all at once, then the listeners and the disk threads. Nothing of
    /// the session runs afterwards.
    pub async fn shutdown(&self) {}
}
