//! What a torrent tells the world: a snapshot about ten times a second while something changes, and events.

use super::TorrentTask;
use super::files::Checking;
use crate::error::SessionError;
use crate::progress::{Diagnosis, Phase, Progress, TorrentEvent};
use shoal_layout::MAX_PIECES;
use shoal_metainfo::Info;
use shoal_swarm::{
    QUIET, Reason, SourceError, SourceErrorKind, SourceKind, SourceState, SourceStatus, Surroundings, SwarmProgress,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// Between snapshots (the design's "about ten times a second").
const EVERY: Duration = Duration::from_millis(100);
/// Events that wait for a reader who does not come: every piece of the largest torrent, and some more. Beyond it they are lost.
const MAX_EVENTS: usize = MAX_PIECES as usize + 4096;

/// Where events are put in. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Events {
    queue: mpsc::UnboundedSender<TorrentEvent>,
    /// How many wait.
    waiting: Arc<AtomicUsize>,
}

impl Events {
    pub(crate) fn new(queue: mpsc::UnboundedSender<TorrentEvent>, waiting: Arc<AtomicUsize>) -> Events {
        Events { queue, waiting }
    }

    pub(crate) fn send(&self, event: TorrentEvent) {
        if self.waiting.fetch_add(1, Ordering::Relaxed) < MAX_EVENTS {
            // Nobody may want them.
            let _ = self.queue.send(event);
        } else {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// The torrent's side of what its handle shows.
pub(crate) struct Report {
    progress: watch::Sender<Progress>,
    info: watch::Sender<Option<Arc<Info>>>,
    events: Events,
    last: Instant,
    changed: bool,
    complete: bool,
    trouble: Option<String>,
    /// When nothing will have moved for so long that a reason is due; `None` if that was told, or nothing is to come.
    quiet_at: Option<Instant>,
}

impl Report {
    pub(crate) fn new(
        progress: watch::Sender<Progress>,
        info: watch::Sender<Option<Arc<Info>>>,
        events: Events,
    ) -> Report {
        Report {
            progress,
            info,
            events,
            last: Instant::now(),
            changed: true,
            complete: false,
            trouble: None,
            quiet_at: None,
        }
    }

    /// For tasks that report by themselves.
    pub(super) fn events(&self) -> Events {
        self.events.clone()
    }

    pub(super) fn event(&self, event: TorrentEvent) {
        self.events.send(event);
    }

    /// There may be something new to show.
    pub(super) fn changed(&mut self) {
        self.changed = true;
    }

    /// When the next snapshot is due.
    pub(super) fn due(&self, opening: bool) -> Option<Instant> {
        let next = (self.changed || opening).then(|| self.last + EVERY);
        next.or(self.quiet_at)
    }

    pub(super) fn metadata(&mut self, info: Arc<Info>) {
        self.info.send_replace(Some(info.clone()));
        self.events.send(TorrentEvent::Metadata(info));
    }

    pub(super) fn checked(&mut self, pieces: u32) {
        self.events.send(TorrentEvent::Checked { pieces });
    }

    /// Everything selected is in its last form.
    pub(super) fn complete(&mut self) {
        self.disk_recovered();
        self.complete = true;
        self.changed = true;
        self.events.send(TorrentEvent::Complete);
    }

    pub(super) fn disk_trouble(&mut self, reason: String) {
        self.changed = true;
        // It is tried again and again: said once.
        if self.trouble.replace(reason.clone()).as_ref() != Some(&reason) {
            self.events.send(TorrentEvent::DiskTrouble { reason });
        }
    }

    pub(super) fn disk_recovered(&mut self) {
        self.changed = true;
        if self.trouble.take().is_some() {
            self.events.send(TorrentEvent::DiskRecovered);
        }
    }

    pub(super) fn failed(&mut self, error: SessionError) {
        self.events.send(TorrentEvent::Failed(error));
    }

    /// The last snapshot.
    pub(super) fn stopped(&mut self, swarm: SwarmProgress) {
        let last = Progress {
            download_rate: 0,
            upload_rate: 0,
            peers: 0,
            web_seeds: 0,
            full_copies: 0,
            ..snapshot(&swarm, Phase::Stopped)
        };
        self.progress.send_replace(last);
    }

    fn publish(&mut self, swarm: SwarmProgress, opening: Option<&Checking>, cause: Option<Reason>, quiet: bool) {
        let phase = match (opening, &self.trouble) {
            (Some(checking), _) => Phase::Checking {
                done_bytes: checking.done_bytes.load(Ordering::Relaxed),
                total_bytes: checking.total_bytes.load(Ordering::Relaxed),
            },
            (None, Some(reason)) => Phase::Paused { reason: reason.clone() },
            (None, None) if !swarm.has_layout => Phase::Metadata,
            // Not if it lost a piece since.
            (None, None) if self.complete && swarm.complete => Phase::Seeding,
            (None, None) => Phase::Downloading,
        };
        let is_paused = matches!(phase, Phase::Paused { .. });
        let reason = cause.clone().filter(|_| quiet || is_paused);
        self.progress.send_replace(Progress { reason, cause, ..snapshot(&swarm, phase) });
    }
}

fn snapshot(swarm: &SwarmProgress, phase: Phase) -> Progress {
    Progress {
        reason: None,
        cause: None,
        phase,
        done_bytes: swarm.done_bytes,
        total_bytes: swarm.total_bytes,
        pieces_done: swarm.pieces_done,
        pieces_total: swarm.pieces_total,
        download_rate: swarm.download_rate,
        upload_rate: swarm.upload_rate,
        downloaded: swarm.downloaded,
        uploaded: swarm.uploaded,
        wasted: swarm.wasted,
        peers: swarm.peers,
        web_seeds: swarm.web_seeds_fetching,
        full_copies: swarm.seeds + swarm.web_seed_copies,
        full_copies_seen: swarm.seeds_seen,
        known_addresses: swarm.known_addresses,
        banned: swarm.banned,
    }
}

/// A peer whose name has no address.
fn unresolved(host: &str) -> SourceStatus {
    let error = SourceError::new(SourceErrorKind::Dns, "no address");
    SourceStatus { kind: SourceKind::Peer, name: host.to_owned(), state: SourceState::Failed(error) }
}

impl TorrentTask {
    /// Shows a snapshot if one is due.
    pub(super) fn report_progress(&mut self) {
        let now = Instant::now();
        if self.report.due(self.opening).is_some_and(|due| due <= now) {
            self.report.last = now;
            self.report.changed = false;
            let swarm = self.swarm.progress();
            let lacks = !self.opening && !swarm.complete && self.stopping.is_none();
            let cause = (lacks && swarm.download_rate == 0).then(|| self.cause()).flatten();
            let quiet_at = self.shared.clock.instant(Some(self.swarm.moved() + QUIET));
            self.report.quiet_at = Some(quiet_at).filter(|at| lacks && *at > now);
            let checking = self.opening.then_some(&*self.checking);
            self.report.publish(swarm, checking, cause, quiet_at <= now);
        }
    }

    /// What keeps it from moving, whether or not it is quiet for long enough to be told.
    fn cause(&self) -> Option<Reason> {
        self.swarm.situation(&self.surroundings()).reason()
    }

    /// What is known of it, for `shoal doctor`.
    pub(super) fn diagnose(&self) -> Diagnosis {
        let surroundings = Surroundings { down_limit: None, ..self.surroundings() };
        let progress = self.swarm.progress();
        Diagnosis { situation: self.swarm.situation(&surroundings), full_copies: progress.seeds }
    }

    /// What the machine cannot know.
    pub(super) fn surroundings(&self) -> Surroundings {
        Surroundings {
            lan_only: self.shared.config.lan_only,
            sources: self.unresolved.iter().map(|host| unresolved(host)).collect(),
            down_limit: self.shared.config.down_limit_bytes_per_s,
            disk: self.report.trouble.clone(),
            ..Surroundings::default()
        }
    }
}
