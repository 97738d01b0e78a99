//! The task that owns one torrent's swarm.
//!
//! Events come from connections in bounded batches, and from disk threads, trackers and the host as answers to what was
//! ordered; each is fed to the machine, and its effects are carried out at once, none of which waits. So the task can
//! always take the next event, and no two queues can wait for each other.
//!
//! Life: files of a known torrent are opened and checked before the machine is fed anything; a link's machine runs at once and
//! waits for `Ready` after it has fetched the info dictionary. Stopping feeds `Stop`, waits for the machine a bounded
//! time, then closes connections, waits for pieces that are being written, and closes the journal.
//!
//! Invariant: when the task ends, no connection, tracker request or disk job of this torrent is left.

mod begin;
mod effects;
mod end;
mod files;
mod leaves;
mod peers;
mod report;
mod trace;
mod web_seeds;

pub(crate) use begin::NewTorrent;
pub(crate) use files::TorrentFiles;
pub(crate) use report::{Events, Report};

use crate::add::Files;
use crate::claims::Claim;
use crate::dialer::DialError;
use crate::error::SessionError;
use crate::host::ToHost;
use crate::peer::{Connection, Opened, Ports};
use crate::pool::Block;
use crate::progress::{Diagnosis, TorrentEvent};
use crate::registry::Registered;
use crate::session::Shared;
use files::{Checking, Flushed, Opening, Purpose, Ready};
use shoal_machine::{Effects, Machine};
use shoal_metainfo::{Info, InfoHashes, PieceLayers};
use shoal_storage::Lock;
use shoal_swarm::{
    AnnounceReply, AnnounceRequest, Direction, Effect, Event, HostEvent, PeerKey, Source, SourceError, Swarm, SwarmKey,
    TrackerKey,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Batches of all connections that wait for the task. Chosen: with 256 KiB in a full batch at most 8 MiB of payload wait.
const BATCHES: usize = 32;
/// Events taken before the effects are carried out and the clock is looked at again. Chosen.
const TURN: usize = 64;
/// For the machine to stop; trackers have 2 s for the last announce.
const STOP_TIMEOUT: Duration = Duration::from_millis(2500);
/// For closed connections to end. Chosen: they do so at once.
const JOIN_TIMEOUT: Duration = Duration::from_secs(1);
/// Before trying again to finish the files of a complete download on a disk that refuses. Chosen.
const FINISH_AGAIN: Duration = Duration::from_secs(10);
/// For the name of a peer that the user typed. Chosen.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Names of peers that are looked up for one torrent. Chosen: a link has a few.
const MAX_PEER_NAMES: usize = 64;

/// What a connection tells its torrent, in order.
pub(crate) enum FromPeer {
    Connected(PeerKey, Box<Connection>),
    Events(PeerKey, Vec<Event<Block>>),
    /// The last of this connection.
    Gone(PeerKey),
    /// Of a fetch from a web seed.
    Fetched(Vec<Event<Block>>),
}

/// What others tell a torrent: answers to its orders, and the session's own.
pub(crate) enum ToTorrent {
    /// Reports of one connection's writer.
    Events(PeerKey, Vec<Event<Block>>),
    /// An answer, or something from the host.
    Event(Event<Block>),
    /// The answer to a `Store`.
    Stored(Event<Block>),
    /// The host lets us dial.
    Dial(SocketAddr),
    /// The host lets us announce, or does not.
    Announce(TrackerKey),
    NotAnnounced(TrackerKey),
    /// An announce ended.
    Announced(TrackerKey, Result<AnnounceReply, SourceError>),
    /// A dial failed or became a connection.
    Dialed(SocketAddr, Result<Box<Opened>, DialError>),
    /// A peer dialed us; the permit is given back when it is taken over.
    Accepted(Box<Opened>, OwnedSemaphorePermit),
    /// The files are open, or cannot be.
    Opened(Box<Result<Ready, SessionError>>),
    /// The files of a complete download are in their last form, or not.
    Finished(Flushed, Result<(), shoal_storage::StorageError>),
    /// The journal was written, or not.
    Flushed(Flushed),
    /// A peer's name has no address.
    Unresolved(String),
    /// Somebody wants to know how it stands.
    Diagnose(oneshot::Sender<Diagnosis>),
    /// The user stops it, or the session does.
    Stop,
}

/// One torrent.
pub(crate) struct TorrentTask {
    pub(super) key: SwarmKey,
    pub(super) shared: Arc<Shared>,
    pub(super) hashes: InfoHashes,
    pub(super) swarm: Swarm<Block>,
    pub(super) out: Effects<Effect<Block>>,
    /// Who writes down what the machine is told and does, if somebody does.
    trace: Option<trace::Trace>,
    /// Events that carrying out an effect gave at once.
    pub(super) answers: Vec<Event<Block>>,
    pub(super) connections: BTreeMap<PeerKey, Connection>,
    /// Connections whose writer is woken at the end of the turn.
    pub(super) woken: BTreeSet<PeerKey>,
    /// Told to close: what still comes from them is not fed.
    pub(super) closing: BTreeSet<PeerKey>,
    next_peer: u32,
    web_seeds: web_seeds::WebSeeds,
    ports: Ports,
    pub(super) inbox: mpsc::UnboundedSender<ToTorrent>,
    /// Connections, and the opening of files.
    tasks: JoinSet<()>,
    /// Announces, look-ups and dials: cut short when the torrent ends.
    pub(super) requests: JoinSet<()>,
    /// Names of peers that have no address; at most [`MAX_PEER_NAMES`] a kind.
    pub(super) unresolved: Vec<String>,
    pub(super) typed_trackers: BTreeSet<String>,
    /// Announces that wait for the host, one a tracker.
    pub(super) announces: BTreeMap<TrackerKey, AnnounceRequest>,
    place: Files,
    purpose: Option<Purpose>,
    pub(super) opening: bool,
    /// It is known to be private (BEP 27).
    pub(super) is_private: bool,
    checking: Arc<Checking>,
    pub(super) files: Option<Arc<TorrentFiles>>,
    pub(super) storing: usize,
    pub(super) flushing: bool,
    /// Whether the last sync failed.
    sync_failed: bool,
    /// The files get their last form.
    pub(super) finishing: bool,
    finish_at: Option<Instant>,
    /// Whether the machine is fed.
    driven: bool,
    stopping: Option<Instant>,
    pub(super) stopped: bool,
    early: Early,
    pub(super) report: Report,
    lock: Option<Lock>,
    claim: Option<Claim>,
    pub(super) registered: Registered,
}

/// What came while the files were opened and checked, before the machine was fed.
#[derive(Default)]
struct Early {
    found: Vec<(Source, Vec<SocketAddr>)>,
    /// At most [`MAX_EARLY`].
    accepted: Vec<Opened>,
}

/// Connections of a torrent that wait for its check. Chosen: who starts a seed and its leechers at once sees them connect, and
/// thousands of torrents that are checked at once hold few descriptors.
const MAX_EARLY: usize = 8;

/// The ends of a torrent's queues that its task reads.
pub(crate) struct Queues {
    pub(crate) inbox: mpsc::UnboundedReceiver<ToTorrent>,
    pub(crate) batches: mpsc::Receiver<FromPeer>,
}

impl TorrentTask {
    async fn run(mut self, mut queues: Queues) {
        while !self.stopped {
            self.wait(&mut queues).await;
            self.run_due();
            self.carry_out();
            self.report_progress();
        }
        self.end(queues).await;
    }

    /// Waits for something to happen and feeds it.
    async fn wait(&mut self, queues: &mut Queues) {
        let wake = self.next_wake();
        tokio::select! {
            Some(told) = queues.inbox.recv() => self.receive(told),
            Some(batch) = queues.batches.recv() => self.receive_batch(batch),
            Some(_) = self.tasks.join_next(), if !self.tasks.is_empty() => {}
            Some(_) = self.requests.join_next(), if !self.requests.is_empty() => {}
            () = tokio::time::sleep_until(wake) => {}
        }
        // What is there already shares the turn.
        for _ in 0..TURN {
            let Ok(told) = queues.inbox.try_recv() else { break };
            self.receive(told);
        }
        for _ in 0..TURN {
            let Ok(batch) = queues.batches.try_recv() else { break };
            self.receive_batch(batch);
        }
    }

    fn next_wake(&self) -> Instant {
        let clock = &self.shared.clock;
        let machine = if self.driven { clock.instant(self.swarm.deadline()) } else { clock.instant(None) };
        let journal = match &self.files {
            Some(files) if !self.flushing => clock.instant(files.deadline()),
            _ => clock.instant(None),
        };
        let others = [self.report.due(self.opening), self.stopping, self.finish_at];
        others.into_iter().flatten().fold(machine.min(journal), Instant::min)
    }

    /// What time alone makes due.
    fn run_due(&mut self) {
        let now = Instant::now();
        if self.driven && self.swarm.deadline().is_some_and(|at| at <= self.shared.clock.now()) {
            self.feed(Event::Wake);
        }
        if self.stopping.is_some_and(|at| at <= now) {
            self.stopped = true;
        }
        if self.finish_at.is_some_and(|at| at <= now) {
            self.finish_at = None;
            self.finish_files();
        }
        self.flush_if_due();
    }

    /// Feeds the machine; its effects wait for [`TorrentTask::carry_out`]. Nothing else feeds it.
    pub(super) fn feed(&mut self, event: Event<Block>) {
        let now = self.shared.clock.now();
        match &mut self.trace {
            Some(trace) => {
                if let Some(reason) = trace.handle(&mut self.swarm, now, event, &mut self.out) {
                    self.report.event(TorrentEvent::TraceEnded { reason });
                }
            }
            None => self.swarm.handle(now, event, &mut self.out),
        }
        self.report.changed();
    }

    fn receive(&mut self, told: ToTorrent) {
        match told {
            ToTorrent::Event(Event::Found { source, addrs }) if !self.driven => {
                self.early.found.push((source, addrs));
            }
            ToTorrent::Event(event) => {
                if self.driven {
                    self.feed(event);
                }
            }
            ToTorrent::Events(peer, events) => self.receive_events(peer, events),
            ToTorrent::Stored(event) => {
                self.storing -= 1;
                self.feed(event);
            }
            ToTorrent::Dial(addr) => self.dial(addr),
            ToTorrent::Announce(tracker) => self.announce(tracker),
            ToTorrent::NotAnnounced(tracker) => self.not_announced(tracker),
            ToTorrent::Announced(tracker, result) => self.announced(tracker, result),
            ToTorrent::Dialed(addr, result) => {
                self.tell_host(HostEvent::DialEnded(self.key));
                match result {
                    Ok(opened) => self.connect(*opened, Direction::Outgoing),
                    Err(DialError { failure, error }) => {
                        tracing::debug!(%addr, %error, "cannot connect");
                        self.feed(Event::DialFailed { addr, failure });
                    }
                }
            }
            ToTorrent::Accepted(opened, permit) => {
                if self.driven && self.stopping.is_none() {
                    self.connect(*opened, Direction::Incoming);
                } else if self.stopping.is_none() && self.early.accepted.len() < MAX_EARLY {
                    self.early.accepted.push(*opened);
                }
                drop(permit);
            }
            ToTorrent::Opened(result) => self.opened(*result),
            ToTorrent::Finished(flushed, result) => self.finished(flushed, result),
            ToTorrent::Flushed(flushed) => {
                self.flushing = false;
                self.flushed(flushed);
            }
            ToTorrent::Unresolved(host) => {
                self.unresolved.push(host);
                self.report.changed();
            }
            // Nobody may wait any more.
            ToTorrent::Diagnose(answer) => drop(answer.send(self.diagnose())),
            ToTorrent::Stop => self.stop(),
        }
    }

    /// Pieces that are not on disk after all do not count any more. While something cannot be synced nothing new is
    /// begun.
    fn flushed(&mut self, flushed: Flushed) {
        if let Some(reason) = flushed.trouble.filter(|_| !self.sync_failed) {
            self.report.disk_trouble(reason);
        }
        if self.sync_failed != flushed.failing {
            self.sync_failed = flushed.failing;
            self.feed(Event::SyncFailing(flushed.failing));
            if !flushed.failing {
                self.report.disk_recovered();
            }
        }
        for piece in flushed.lost {
            self.feed(Event::Lost(piece));
        }
    }

    fn finished(&mut self, flushed: Flushed, result: Result<(), shoal_storage::StorageError>) {
        self.finishing = false;
        let (lost, failing) = (!flushed.lost.is_empty(), flushed.failing);
        self.flushed(flushed);
        match result {
            // It is not complete any more; when it is, this comes again.
            _ if lost => {}
            Ok(()) if !failing => self.report.complete(),
            result => {
                if let Err(error) = result {
                    self.report.disk_trouble(error.to_string());
                }
                self.finish_at = Some(Instant::now() + FINISH_AGAIN);
            }
        }
    }

    /// Where the files are, or will be.
    pub(super) fn place(&self) -> Files {
        self.place.clone()
    }

    /// Opens and checks the files on a thread of its own: that may take as long as reading all of them.
    pub(super) fn open_files(&mut self, info: Arc<Info>, layers: PieceLayers) {
        let Some(purpose) = self.purpose.take() else { return };
        self.opening = true;
        self.is_private = info.private();
        self.report.metadata(info.clone());
        let opening = Opening {
            info,
            layers,
            files: self.place.clone(),
            purpose,
            state_dir: self.shared.config.state_dir.clone(),
            open_files: self.shared.open_files.clone(),
            claims: self.shared.claims.clone(),
            checking: self.checking.clone(),
        };
        let (inbox, shared, checking) = (self.inbox.clone(), self.shared.clone(), self.checking.clone());
        self.tasks.spawn(async move {
            let turn = tokio::select! {
                turn = shared.opening.acquire() => turn.ok(),
                () = checking.cancelled.notified() => None,
            };
            let opened = match turn {
                // A panic there is ours and is not hidden.
                Some(_turn) => tokio::task::spawn_blocking(move || files::open(opening))
                    .await
                    .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())),
                None => Err(SessionError::Stopping),
            };
            let _ = inbox.send(ToTorrent::Opened(Box::new(opened)));
        });
    }

    fn opened(&mut self, result: Result<Ready, SessionError>) {
        self.opening = false;
        let Ready { info, layers, have, selection, files, claim, problem } = match result {
            Ok(ready) => ready,
            Err(_) if self.stopping.is_some() => {
                // A check that was told to end; the machine is not waited for if it never ran.
                self.stopped |= !self.driven;
                return;
            }
            Err(error) => return self.fail(error),
        };
        if let Some(problem) = problem {
            tracing::warn!(problem, "the resume state is not used, or not wholly");
        }
        let files = Arc::new(files);
        // It was empty: files are opened once.
        let _ = self.ports.source.files.set(files.clone());
        self.files = Some(files);
        self.claim = claim;
        if self.stopping.is_some() {
            self.stopped |= !self.driven;
            return;
        }
        self.report.checked(have.count());
        self.drive();
        self.feed(Event::Ready { info, layers, have, selection });
        let early = std::mem::take(&mut self.early);
        for (source, addrs) in early.found {
            self.feed(Event::Found { source, addrs });
        }
        for opened in early.accepted {
            self.connect(opened, Direction::Incoming);
        }
    }

    /// From now on the machine is fed, and the host counts it.
    fn drive(&mut self) {
        if !self.driven {
            self.driven = true;
            // The host outlives the torrents.
            let _ = self.shared.host.send(ToHost::Joined(self.key, self.inbox.clone()));
        }
    }

    /// Ends with an error; peers and trackers that know of us are told.
    pub(super) fn fail(&mut self, error: SessionError) {
        self.report.failed(error);
        self.stop();
    }

    fn stop(&mut self) {
        if self.stopping.is_some() {
            return;
        }
        self.stopping = Some(Instant::now() + STOP_TIMEOUT);
        self.checking.end();
        if self.driven {
            // What still waits for its turn would come too late.
            self.tell_host(HostEvent::AnnouncesWithdrawn(self.key));
            self.feed(Event::Stop);
        } else {
            self.stopped = !self.opening;
        }
    }
}
