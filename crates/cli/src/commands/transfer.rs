//! Following one torrent of a session: its snapshots and events become reports; what a command must act on comes back as
//! [`Step`]s.

use super::show::hash_words;
use crate::meter::Meter;
use crate::report::{Event, Level, Phase, Progress, Reporter, Target, Work};
use crate::size;
use shoal_metainfo::Info;
use shoal_session::{self as session, SessionError, TorrentEvent, TorrentEvents, TorrentHandle, WebSeedOutcome};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Snapshots come ten times a second; a few may be late.
const LAST_SNAPSHOT_WITHIN: Duration = Duration::from_millis(500);

/// What a command may have to act on.
#[derive(Debug)]
pub(super) enum Step {
    /// The info dictionary is known.
    Metadata(Arc<Info>),
    /// Files are open and checked; so many pieces were there.
    Checked(u32),
    /// All that was selected is here.
    Complete,
    /// It failed; nothing follows.
    Failed(SessionError),
    /// It is stopped; nothing follows.
    Ended,
}

/// What a torrent was added for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    /// To give what is there.
    Seed,
    /// To fetch it.
    Download {
        /// It was added with its info dictionary.
        is_known: bool,
        /// It seeds when it is whole.
        seeds_after: bool,
    },
}

impl Role {
    fn is_known(self) -> bool {
        matches!(self, Role::Seed | Role::Download { is_known: true, .. })
    }

    fn seeds_after(self) -> bool {
        matches!(self, Role::Seed | Role::Download { seeds_after: true, .. })
    }
}

/// A torrent that is watched.
pub(super) struct Follow {
    handle: TorrentHandle,
    events: TorrentEvents,
    snapshots: watch::Receiver<session::Progress>,
    reporter: Reporter,
    target: Target,
    name: String,
    /// For the rate of checking, which the session does not count.
    checked: Meter,
    /// Somebody was connected at some time.
    pub(super) met_peers: bool,
    info: Option<Arc<Info>>,
    role: Role,
    last: session::Progress,
    snapshots_open: bool,
    /// The torrent is complete, and that is not told yet.
    is_completing: bool,
}

impl Follow {
    /// Watches a torrent. `name`: until the torrent's own is known.
    /// `role`: what it was added for.
    pub(super) fn new(
        mut handle: TorrentHandle,
        name: Option<&str>,
        role: Role,
        reporter: &Reporter,
        target: Target,
    ) -> Follow {
        let events = handle.events().expect("a handle that was just made has its events");
        let snapshots = handle.progress();
        let name = name.map_or_else(|| "torrent".to_owned(), str::to_owned);
        Follow {
            handle,
            events,
            snapshots,
            reporter: reporter.clone(),
            target,
            name,
            checked: Meter::default(),
            met_peers: false,
            info: None,
            role,
            last: session::Progress::default(),
            snapshots_open: true,
            is_completing: false,
        }
    }

    /// Reports until something comes that a command may have to act on. Cancel safe.
    pub(super) async fn step(&mut self) -> Step {
        loop {
            if self.is_completing {
                // The snapshot that shows the whole comes a moment after the event; `done` should follow it.
                let whole = |snapshot: &session::Progress| {
                    matches!(snapshot.phase, session::Phase::Seeding | session::Phase::Stopped)
                };
                let _ = tokio::time::timeout(LAST_SNAPSHOT_WITHIN, self.snapshots.wait_for(whole)).await;
                self.is_completing = false;
                self.snapshot();
                return Step::Complete;
            }
            tokio::select! {
                biased;
                event = self.events.next() => match event {
                    None => return Step::Ended,
                    Some(event) => if let Some(step) = self.event(event) { return step },
                },
                changed = self.snapshots.changed(), if self.snapshots_open => match changed {
                    Ok(()) => self.snapshot(),
                    Err(_) => self.snapshots_open = false,
                },
            }
        }
    }

    /// The last snapshot.
    pub(super) fn last(&self) -> &session::Progress {
        &self.last
    }

    /// The torrent's name, or what stands for it.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The info dictionary, once it is known.
    pub(super) fn info(&self) -> Option<&Arc<Info>> {
        self.info.as_ref()
    }

    /// Saves and stops, and reports what still comes meanwhile.
    pub(super) async fn stop(&mut self) {
        let handle = &self.handle;
        handle.stop().await;
        while !matches!(self.step().await, Step::Ended | Step::Failed(_)) {}
    }

    fn event(&mut self, event: TorrentEvent) -> Option<Step> {
        let say = |level, text: &str| self.reporter.say(level, text);
        match event {
            TorrentEvent::Metadata(info) => {
                let (info_hash_v1, info_hash_v2) = hash_words(&info.hashes());
                self.name = info.name().to_owned();
                let total_length = info.layout().payload_length();
                self.reporter.event(
                    self.target,
                    &Event::Metadata { info_hash_v1, info_hash_v2, name: self.name.clone(), total_length },
                );
                self.info = Some(Arc::clone(&info));
                return Some(Step::Metadata(info));
            }
            TorrentEvent::Checked { pieces } => return Some(Step::Checked(pieces)),
            TorrentEvent::Piece(piece) => self.reporter.event(self.target, &Event::Piece { index: piece.0 }),
            TorrentEvent::Complete => self.is_completing = true,
            TorrentEvent::Banned { addr, reason } => {
                say(Level::Verbose, &format!("{}: banned {addr}: {reason}", self.name))
            }
            TorrentEvent::DiskTrouble { reason } => {
                say(Level::Normal, &format!("{}: {reason}; it goes on by itself", self.name))
            }
            TorrentEvent::TraceEnded { reason } => {
                say(Level::Normal, &format!("{}: the trace ends here: {reason}; the download goes on", self.name));
            }
            TorrentEvent::DataChanged { reason } => {
                say(Level::Normal, &format!("{}: {reason}; what does not fit any more is not offered", self.name))
            }
            TorrentEvent::DiskRecovered => say(Level::Normal, &format!("{}: the disk works again", self.name)),
            TorrentEvent::TrackerError { url, reason } => say(Level::Verbose, &format!("tracker {url}: {reason}")),
            TorrentEvent::WebSeedTrouble { url, outcome, reason } => {
                let (level, then) = web_seed_outcome(outcome);
                say(level, &format!("web seed {url}: {reason}; {then}"))
            }
            TorrentEvent::TrackerWarning { url, warning } => {
                say(Level::Normal, &format!("tracker {url} says: {warning}"))
            }
            TorrentEvent::Failed(error) => return Some(Step::Failed(error)),
        }
        None
    }

    fn snapshot(&mut self) {
        let snapshot = self.snapshots.borrow_and_update().clone();
        self.met_peers |= snapshot.peers > 0 || snapshot.downloaded > 0;
        match &snapshot.phase {
            // The last snapshot has nothing to show; what the command says next matters more.
            session::Phase::Stopped => {}
            // A torrent whose info dictionary is known from the start has not looked at its files yet.
            session::Phase::Metadata if self.role.is_known() => return,
            session::Phase::Checking { done_bytes, total_bytes } => {
                let rate = self.checked.read(Instant::now(), *done_bytes);
                let (done_bytes, total_bytes) = (*done_bytes, *total_bytes);
                self.reporter
                    .event(self.target, &Event::Checking { done_bytes, total_bytes, work: Work::Checking, rate });
            }
            _ => self.reporter.event(self.target, &Event::Progress(shown(&snapshot, &self.name, self.role))),
        }
        // What it was at before it stopped matters more than that it did.
        let phase = match snapshot.phase {
            session::Phase::Stopped => std::mem::take(&mut self.last.phase),
            phase => phase,
        };
        self.last = session::Progress { phase, ..snapshot };
    }
}

/// How loud a web seed's trouble is told, and what becomes of it.
fn web_seed_outcome(outcome: WebSeedOutcome) -> (Level, String) {
    match outcome {
        WebSeedOutcome::Waits(wait) => (Level::Verbose, format!("asked again in {}", size::time(wait))),
        WebSeedOutcome::LacksFile => (Level::Verbose, "asked for other files".to_owned()),
        WebSeedOutcome::GivenUp => (Level::Normal, "not asked any more".to_owned()),
        WebSeedOutcome::Banned => (Level::Normal, "banned".to_owned()),
    }
}

/// A snapshot as it is reported.
fn shown(snapshot: &session::Progress, name: &str, role: Role) -> Progress {
    let is_whole = snapshot.total_bytes > 0 && snapshot.done_bytes == snapshot.total_bytes;
    let (phase, pause) = match &snapshot.phase {
        // Also a seed that lacks something: it does not look for it.
        _ if role == Role::Seed => (Phase::Seeding, None),
        // The last piece may be counted a moment before the phase changes, and the peers have gone by then.
        phase if *phase == session::Phase::Seeding || is_whole => {
            (if role.seeds_after() { Phase::Seeding } else { Phase::Done }, None)
        }
        session::Phase::Paused { reason } => (Phase::Paused, Some(reason.clone())),
        _ if snapshot.peers == 0 && snapshot.web_seeds == 0 => (Phase::FindingPeers, None),
        session::Phase::Metadata => (Phase::Metadata, None),
        _ => (Phase::Downloading, None),
    };
    let left = snapshot.total_bytes.saturating_sub(snapshot.done_bytes);
    let reason = snapshot.reason.as_ref().filter(|_| role != Role::Seed);
    Progress {
        done_bytes: snapshot.done_bytes,
        total_bytes: snapshot.total_bytes,
        download_rate: snapshot.download_rate,
        upload_rate: snapshot.upload_rate,
        peers: snapshot.peers,
        web_seeds: snapshot.web_seeds,
        pieces_done: snapshot.pieces_done,
        pieces_total: snapshot.pieces_total,
        reason: pause.or_else(|| reason.map(ToString::to_string)),
        reason_code: reason.map(|reason| reason.code()),
        name: name.to_owned(),
        phase,
        left: size::time_left(left, snapshot.download_rate),
        full_copies: snapshot.full_copies,
        uploaded: snapshot.uploaded,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_are_told_from_what_is_known_and_who_is_there() {
        let fetch = |seeds_after| Role::Download { is_known: false, seeds_after };
        let mut snapshot = session::Progress::default();
        assert_eq!(shown(&snapshot, "a", fetch(true)).phase, Phase::FindingPeers);
        let from_web = session::Progress { phase: session::Phase::Downloading, web_seeds: 1, ..snapshot.clone() };
        assert_eq!(shown(&from_web, "a", fetch(true)).phase, Phase::Downloading, "a web seed is a source");
        snapshot.peers = 1;
        assert_eq!(shown(&snapshot, "a", fetch(true)).phase, Phase::Metadata);
        snapshot.phase = session::Phase::Downloading;
        assert_eq!(shown(&snapshot, "a", fetch(true)).phase, Phase::Downloading);
        snapshot.phase = session::Phase::Paused { reason: "full".to_owned() };
        assert_eq!(shown(&snapshot, "a", fetch(true)).reason.as_deref(), Some("full"));
        snapshot = session::Progress { phase: session::Phase::Seeding, ..session::Progress::default() };
        assert_eq!(shown(&snapshot, "a", fetch(true)).phase, Phase::Seeding, "a seed without peers still seeds");
        assert_eq!(shown(&snapshot, "a", fetch(false)).phase, Phase::Done);
        snapshot.phase = session::Phase::Downloading;
        assert_eq!(shown(&snapshot, "a", Role::Seed).phase, Phase::Seeding, "a seed of a part looks for nothing");
    }
}
