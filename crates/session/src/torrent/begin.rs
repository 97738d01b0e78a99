//! How a torrent's task comes to be: lock and saved state first, then the machine, then files or peers.

use super::files::{self, Checking, Purpose};
use super::report::Report;
use super::trace::Trace;
use super::web_seeds::WebSeeds;
use super::{BATCHES, Early, Queues, ToTorrent, TorrentTask};
use crate::add::{AddTorrent, Check, Files, Mode, TorrentSource};
use crate::disk::UploadSource;
use crate::error::SessionError;
use crate::peer::Ports;
use crate::progress::TorrentEvent;
use crate::registry::Registered;
use crate::session::Shared;
use shoal_discovery::dht::Dht;
use shoal_machine::{Effects, Rng};
use shoal_metainfo::{Info, PieceLayers};
use shoal_pieces::PickMode;
use shoal_storage::Lock;
use shoal_swarm::{Event, MAX_WEB_SEEDS, Source, Swarm, SwarmConfig, SwarmKey, SwarmProgress};
use shoal_trace::Head;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

/// DHT nodes taken from a torrent file. Chosen: a bootstrap needs a few.
const MAX_NODES: usize = 16;

/// A torrent as it is made by the session.
pub(crate) struct NewTorrent {
    pub(crate) key: SwarmKey,
    pub(crate) shared: Arc<Shared>,
    pub(crate) add: AddTorrent,
    pub(crate) inbox: mpsc::UnboundedSender<ToTorrent>,
    pub(crate) receiver: mpsc::UnboundedReceiver<ToTorrent>,
    pub(crate) registered: Registered,
    pub(crate) report: Report,
    pub(crate) rng: Rng,
}

impl NewTorrent {
    /// Runs it to its end.
    pub(crate) async fn run(self) {
        let NewTorrent { key, shared, add, inbox, receiver, registered, mut report, rng } = self;
        let (batches, from_peers) = mpsc::channel(BATCHES);
        let hashes = add.source.hashes();
        let opened = shared.clone();
        let (source, files) = (add.source.clone(), add.files.clone());
        let downloads = matches!(add.mode, Mode::Download { .. });
        let serve_only = matches!(add.mode, Mode::Seed { .. });
        let (done, begun) = oneshot::channel();
        shared.disk.run(move || drop(done.send(begin(&opened, &source, &files, downloads))));
        // The disk threads outlive the torrents.
        let begun = begun.await.unwrap_or(Err(SessionError::Stopping));
        let Begun { lock, known } = match begun {
            Ok(begun) => begun,
            Err(error) => {
                report.failed(error);
                return report.stopped(SwarmProgress::default());
            }
        };
        // What is kept on the local network asks no server outside it.
        let asks_web = downloads && !shared.config.lan_only;
        let web_seeds = if asks_web { web_seeds(&add.source) } else { Vec::new() };
        let (purpose, sequential) = purpose(add.mode);
        let trackers = if shared.config.lan_only { Vec::new() } else { trackers(&add.source, &add.typed_trackers) };
        let config = SwarmConfig {
            listen_port: Some(shared.port),
            own_addresses: shared.own_addresses.clone(),
            near_only: shared.config.lan_only,
            lan: shared.lan.is_some(),
            trackers,
            web_seeds: web_seeds.clone(),
            order: if sequential { PickMode::InOrder } else { PickMode::RarestFirst },
            serve_only,
            max_peers: shared.config.max_connections_per_torrent,
            dht: shared.dht.is_some(),
            dht_port: shared.dht.as_ref().map(Dht::port),
            ..SwarmConfig::new(hashes, shared.peer_id)
        };
        let trace = add.trace.and_then(|file| {
            let head = Head {
                lan_only: shared.config.lan_only,
                down_limit: shared.config.down_limit_bytes_per_s,
                ..Head::new(&config, known.is_some(), &rng)
            };
            let began = Trace::begin(file, head);
            began.map_err(|error| report.event(TorrentEvent::TraceEnded { reason: error.to_string() })).ok()
        });
        let source = UploadSource::new(shared.disk.clone(), shared.pool.clone(), report.events());
        let mut task = TorrentTask {
            key,
            swarm: Swarm::new(config, known.is_some(), rng),
            hashes,
            out: Effects::new(),
            trace,
            answers: Vec::new(),
            connections: BTreeMap::new(),
            woken: BTreeSet::new(),
            closing: BTreeSet::new(),
            next_peer: 0,
            web_seeds: WebSeeds::new(web_seeds),
            ports: Ports { batches, reports: inbox.clone(), source },
            inbox,
            tasks: JoinSet::new(),
            requests: JoinSet::new(),
            unresolved: Vec::new(),
            typed_trackers: add.typed_trackers.into_iter().collect(),
            announces: BTreeMap::new(),
            place: add.files,
            purpose: Some(purpose),
            opening: false,
            is_private: false,
            checking: Arc::<Checking>::default(),
            files: None,
            storing: 0,
            flushing: false,
            sync_failed: false,
            finishing: false,
            finish_at: None,
            driven: false,
            stopping: None,
            stopped: false,
            early: Early::default(),
            report,
            lock,
            claim: None,
            registered,
            shared,
        };
        task.tell_nodes(&add.source);
        task.look_up(Source::User, add.peers);
        if let TorrentSource::Magnet(magnet) = &add.source {
            task.look_up(Source::Link, magnet.peers.clone());
        }
        match known {
            Some((info, layers)) => task.open_files(info, layers),
            None => {
                task.drive();
                task.feed(Event::Wake);
            }
        }
        task.run(Queues { inbox: receiver, batches: from_peers }).await;
    }
}

impl TorrentTask {
    /// The DHT nodes that a torrent names (BEP 5), unless it is private.
    fn tell_nodes(&self, source: &TorrentSource) {
        let (Some(dht), TorrentSource::Torrent(torrent)) = (&self.shared.dht, source) else { return };
        if !torrent.info.private() {
            torrent.nodes.iter().take(MAX_NODES).for_each(|(host, port)| dht.add_node(host.clone(), *port));
        }
    }
}

/// What is known before the machine exists.
struct Begun {
    lock: Option<Lock>,
    known: Option<(Arc<Info>, PieceLayers)>,
}

fn begin(shared: &Shared, source: &TorrentSource, files: &Files, downloads: bool) -> Result<Begun, SessionError> {
    let hashes = source.hashes();
    let state_dir = shared.config.state_dir.as_deref();
    let lock = match state_dir {
        Some(state_dir) if downloads => Some(files::lock(state_dir, files, &hashes)?),
        _ => None,
    };
    let kept = || state_dir.and_then(|dir| files::kept_torrent(dir, files, &hashes));
    let known = match source {
        TorrentSource::Torrent(torrent) if torrent.layers.is_complete(&torrent.info) => {
            Some((torrent.info.clone(), torrent.layers.clone()))
        }
        TorrentSource::Torrent(torrent) => {
            // What was kept has what the file brought.
            let layers = kept().map_or_else(|| torrent.layers.clone(), |kept| kept.layers);
            Some((torrent.info.clone(), layers))
        }
        TorrentSource::Magnet(_) => kept().map(|kept| (kept.info, kept.layers)),
    };
    Ok(Begun { lock, known })
}

fn purpose(mode: Mode) -> (Purpose, bool) {
    match mode {
        Mode::Download { overwrite, portable, sequential, select } => {
            (Purpose::Download { overwrite, portable, select }, sequential)
        }
        Mode::Look => (Purpose::Seed { check: Check::Full }, false),
        Mode::Seed { check } => (Purpose::Seed { check }, false),
    }
}

/// The torrent's or the link's web seeds, as many as are used.
fn web_seeds(source: &TorrentSource) -> Vec<String> {
    let urls = match source {
        TorrentSource::Torrent(torrent) => &torrent.web_seeds,
        TorrentSource::Magnet(magnet) => &magnet.web_seeds,
    };
    urls.iter().take(MAX_WEB_SEEDS).cloned().collect()
}

/// The torrent's tiers, then those that only the user named.
fn trackers(source: &TorrentSource, typed: &[String]) -> Vec<Vec<String>> {
    let mut tiers = match source {
        TorrentSource::Torrent(torrent) => torrent.trackers.clone(),
        // A link has no tiers; each is tried on its own.
        TorrentSource::Magnet(magnet) => magnet.trackers.iter().map(|url| vec![url.clone()]).collect(),
    };
    let known: BTreeSet<&String> = tiers.iter().flatten().collect();
    let extra: Vec<Vec<String>> =
        typed.iter().filter(|url| !known.contains(url)).map(|url| vec![url.clone()]).collect();
    tiers.extend(extra);
    tiers
}
