//! A torrent of a session, from outside.

use crate::progress::{Diagnosis, Progress, TorrentEvent};
use crate::torrent::ToTorrent;
use shoal_metainfo::{Info, InfoHashes};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{mpsc, oneshot, watch};

/// A torrent in a session. Dropping it changes nothing: the torrent runs until it is stopped or the session is shut down.
pub struct TorrentHandle {
    pub(crate) hashes: InfoHashes,
    pub(crate) progress: watch::Receiver<Progress>,
    pub(crate) info: watch::Receiver<Option<Arc<Info>>>,
    pub(crate) events: Option<TorrentEvents>,
    pub(crate) inbox: mpsc::UnboundedSender<ToTorrent>,
}

/// The events of one torrent, in order; ends when the torrent has ended. Who takes it should read it: at most about two
/// million wait.
#[derive(Debug)]
pub struct TorrentEvents {
    pub(crate) queue: mpsc::UnboundedReceiver<TorrentEvent>,
    pub(crate) waiting: Arc<AtomicUsize>,
}

impl TorrentEvents {
    /// The next event; `None` when the torrent is stopped (or has failed) and nothing more can come. Cancel safe.
    pub async fn next(&mut self) -> Option<TorrentEvent> {
        let event = self.queue.recv().await;
        if event.is_some() {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        event
    }
}

impl TorrentHandle {
    /// The info hashes it was added by.
    pub fn hashes(&self) -> InfoHashes {
        self.hashes
    }

    /// Snapshots about ten times a second while something changes. The last one has
    /// [`Phase::Stopped`](crate::Phase::Stopped); then the channel closes.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    /// What must not be missed. The first call takes it; `None` afterwards.
    pub fn events(&mut self) -> Option<TorrentEvents> {
        self.events.take()
    }

    /// The info dictionary, once it is known.
    pub fn info(&self) -> Option<Arc<Info>> {
        self.info.borrow().clone()
    }

    /// How it stands with everyone that it knows of; `None` when it has ended.
    pub async fn diagnose(&self) -> Option<Diagnosis> {
        let (answer, answered) = oneshot::channel();
        self.inbox.send(ToTorrent::Diagnose(answer)).ok()?;
        answered.await.ok()
    }

    /// Tells trackers (2 s at most), closes connections, saves the resume state, and returns when all of it is done. Also
    /// returns when it ended by itself. May be called more than once.
    pub async fn stop(&self) {
        // An error means that it has ended.
        let _ = self.inbox.send(ToTorrent::Stop);
        let mut progress = self.progress.clone();
        while progress.changed().await.is_ok() {}
    }
}

impl fmt::Debug for TorrentHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TorrentHandle").field("hashes", &self.hashes).finish_non_exhaustive()
    }
}
