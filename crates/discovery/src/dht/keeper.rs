//! Keeps a node going.
//!
//! A node's bootstrap addresses are fixed when it is built. So it is built anew while it knows nobody: at once when a torrent or
//! a peer names a node or when this machine's addresses change, and else ever less often. One that knows nodes and hears from none is
//! built anew too. Its nodes are written down now and then, and at the end.

use super::mainline::Mainline;
use super::{DhtConfig, DhtNode, Running, bootstrap, cache};
use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;

/// How often the node is looked at. Chosen: a machine that comes online is noticed soon, at no cost.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Whoever names a node often names several.
const SETTLE: Duration = Duration::from_millis(200);
/// How long a node that knows nobody is left alone after it was built; doubles up to the last. Chosen: two rounds of
/// time-outs.
const PATIENCE_FIRST: Duration = Duration::from_secs(10);
const PATIENCE_LAST: Duration = Duration::from_secs(600);
/// Lookups in a row without any answer after which a node is built anew though it knows nodes. Chosen.
const MAX_SILENCE: u32 = 3;
/// After so long what is known is written down again.
const SAVE_EVERY: Duration = Duration::from_secs(300);
/// An old node's thread notices that it is to end this often, and has this many chances to let go of its port.
const OLD_THREAD_TURN: Duration = Duration::from_millis(60);
const OLD_THREAD_TURNS: u32 = 4;
/// Nodes that torrents and peers named, kept for the next build.
const MAX_TOLD: usize = 32;
/// Fewer nodes are worth no more than those that were remembered from better times. Chosen.
const WORTH_SAVING: usize = 8;

/// What the keeper is told.
pub(super) enum Told {
    /// Somebody named a node.
    Node(String, u16),
    /// Nobody answered in a lookup.
    Silence,
    /// Somebody answered in a lookup.
    Answer,
    /// Write down what is known, and end.
    Stop,
}

pub(super) struct Keeper {
    config: DhtConfig,
    ip: Ipv4Addr,
    port: u16,
    share: watch::Sender<Running>,
    cache: Option<PathBuf>,
    remembered: Vec<SocketAddr>,
    told: VecDeque<(String, u16)>,
    silence: u32,
    patience: Duration,
    built_at: Instant,
    /// When a node that knows nobody is built anew.
    rebuild_at: Instant,
    saved_at: Instant,
    interfaces: BTreeSet<Ipv4Addr>,
}

impl Keeper {
    pub(super) fn new(config: DhtConfig, ip: Ipv4Addr, port: u16, share: watch::Sender<Running>) -> Keeper {
        let now = Instant::now();
        Keeper {
            cache: config.state_dir.as_deref().map(cache::path),
            config,
            ip,
            port,
            share,
            remembered: Vec::new(),
            told: VecDeque::new(),
            silence: 0,
            patience: PATIENCE_FIRST,
            built_at: now,
            rebuild_at: now,
            saved_at: now,
            interfaces: interfaces(),
        }
    }

    /// `wanted`: told when the first lookup, or a look at the node, comes.
    pub(super) async fn run(mut self, mut told: mpsc::Receiver<Told>, wanted: Arc<Notify>) {
        if let Some(path) = self.cache.clone() {
            self.remembered = tokio::task::spawn_blocking(move || cache::load(&path)).await.unwrap_or_default();
        }
        // Nothing is sent before somebody wants something: a process with private torrents alone sends nothing at all (BEP 27).
        loop {
            tokio::select! {
                () = wanted.notified() => break,
                message = told.recv() => if message.is_none_or(|message| self.hear(message)) { return },
            }
        }
        while let Ok(message) = told.try_recv() {
            if self.hear(message) {
                return;
            }
        }
        self.build().await;
        let mut look_at = Instant::now() + LOOK_EVERY;
        loop {
            tokio::select! {
                message = told.recv() => match message {
                    // The last clone is gone.
                    None => return,
                    Some(Told::Node(host, port)) => {
                        self.hear(Told::Node(host, port));
                        // A node that knows nobody should not wait for its time.
                        look_at = look_at.min(Instant::now() + SETTLE).max(self.built_at + LOOK_EVERY);
                        self.rebuild_at = self.rebuild_at.min(look_at);
                    }
                    Some(message) => if self.hear(message) { break },
                },
                () = tokio::time::sleep_until(look_at) => {
                    self.look().await;
                    look_at = Instant::now() + LOOK_EVERY;
                }
            }
        }
        self.save().await;
    }

    /// Whether it is to end.
    fn hear(&mut self, message: Told) -> bool {
        match message {
            Told::Node(host, port) => {
                let node = (host, port);
                if !self.told.contains(&node) {
                    self.told.push_back(node);
                    if self.told.len() > MAX_TOLD {
                        self.told.pop_front();
                    }
                }
                false
            }
            Told::Silence => {
                self.silence = self.silence.saturating_add(1);
                false
            }
            Told::Answer => {
                self.silence = 0;
                false
            }
            Told::Stop => true,
        }
    }

    /// Looks at the node, and builds it anew if that may help.
    async fn look(&mut self) {
        let now = Instant::now();
        let nodes = self.known().await.map_or(0, |nodes| nodes.len());
        let here = interfaces();
        let moved = here != std::mem::replace(&mut self.interfaces, here.clone());
        if nodes > 0 && self.silence < MAX_SILENCE && !moved {
            self.patience = PATIENCE_FIRST;
            self.rebuild_at = now + PATIENCE_FIRST;
            if now - self.saved_at >= SAVE_EVERY {
                self.save().await;
            }
            return;
        }
        if moved {
            self.patience = PATIENCE_FIRST;
            self.rebuild_at = now;
        }
        if self.rebuild_at <= now {
            self.build().await;
        }
    }

    async fn build(&mut self) {
        let nodes = self.known().await.unwrap_or_default();
        if nodes.len() >= WORTH_SAVING {
            self.remembered = nodes;
        }
        let allow = self.config.allow_private_networks;
        let found = bootstrap::collect(&self.config, &self.remembered, &self.told).await;
        // The old one's port is free once its thread has ended.
        self.share.send_modify(|running| running.node = None);
        let (ip, port, addrs) = (self.ip, self.port, found.addrs.clone());
        let built = tokio::task::spawn_blocking(move || {
            // Asked for a port that is taken, the node's own start may panic: so it is tried first.
            let is_free = || UdpSocket::bind((ip, port)).is_ok();
            for _ in 0..OLD_THREAD_TURNS {
                if is_free() {
                    return Mainline::build(ip, port, &addrs, allow, false);
                }
                std::thread::sleep(OLD_THREAD_TURN);
            }
            // Somebody else took it meanwhile, or a lookup holds on to the old node.
            Mainline::build(ip, 0, &addrs, allow, false)
        });
        let built = built.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        self.silence = 0;
        self.built_at = Instant::now();
        self.patience = (self.patience * 2).min(PATIENCE_LAST);
        self.rebuild_at = Instant::now() + self.patience / 2;
        let (node, failure) = match built {
            Ok(node) => (Some(Arc::new(node) as Arc<dyn DhtNode>), None),
            Err(error) => (None, Some(error.to_string())),
        };
        if let Some(failure) = &failure {
            tracing::warn!(failure, "the DHT node cannot start");
        }
        tracing::debug!(bootstrap = found.addrs.len(), "a DHT node was built");
        self.share.send_modify(|running| {
            running.node = node;
            running.failure = failure;
            running.bootstrap = found.addrs.len();
            running.unresolved = found.unresolved;
            running.built += 1;
            running.tried = true;
        });
    }

    async fn known(&self) -> Option<Vec<SocketAddr>> {
        let node = self.share.borrow().node.clone()?;
        node.known().await.ok()
    }

    /// Writes down what is known, if that is worth it. A disk that refuses costs no more than a slower start.
    async fn save(&mut self) {
        self.saved_at = Instant::now();
        let (Some(path), Some(nodes)) = (self.cache.clone(), self.known().await) else { return };
        if nodes.len() < WORTH_SAVING && !self.remembered.is_empty() || nodes.is_empty() {
            return;
        }
        let saved = tokio::task::spawn_blocking(move || cache::save(&path, &nodes)).await;
        if let Ok(Err(error)) = saved {
            tracing::warn!(%error, "known DHT nodes cannot be kept");
        }
    }
}

/// This machine's addresses towards others: when they change, so may the network.
fn interfaces() -> BTreeSet<Ipv4Addr> {
    let found = if_addrs::get_if_addrs().unwrap_or_default();
    let outward = |ip: IpAddr| match ip {
        IpAddr::V4(v4) if !v4.is_loopback() && !v4.is_link_local() => Some(v4),
        _ => None,
    };
    found.iter().filter_map(|interface| outward(interface.ip())).collect()
}
