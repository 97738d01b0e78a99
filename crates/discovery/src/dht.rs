//! The Mainline DHT (BEP 5), as a driver: finding peers without any tracker.
//!
//! [`Dht`] is one process's part of it, shared by all torrents. It keeps a [`DhtNode`] going: resolves bootstrap names within a
//! bound, builds the node off the runtime, builds it anew while nobody answers (the machine was offline at the start, or
//! moved), and remembers good nodes between runs. Lookups of all torrents meet here and wait for each other
//! (`seek.rs`), so a thousand torrents do not burst. The node itself stands behind a trait: today `mainline`
//! (`mainline.rs`), which is IPv4 only; one of our own can stand beside it.
//!
//! Invariants: addresses that the DHT names reach a torrent only if [`networks::peer_allowed`](crate::networks::peer_allowed)
//! says so; nothing here is asked about a private torrent, the swarm's machine sees to that; all that strangers send is bounded
//! in bytes, count and time, and what we answer to strangers is bounded per address and in all (`filter.rs`).

mod bootstrap;
mod cache;
mod filter;
mod keeper;
mod mainline;
mod seek;

pub use bootstrap::WELL_KNOWN;

use keeper::{Keeper, Told};
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;

/// Ports tried for the node from the preferred one upwards, before any other is taken. Chosen.
const PORTS_TRIED: u16 = 16;
/// Nodes that peers and torrents named and that wait to be used. More are dropped. Chosen: a bootstrap needs few.
const MAX_TOLD: usize = 64;
/// For the keeper to end and write what it knows. Chosen: a small file, and the node's thread wakes every 50 ms.
const STOP_WITHIN: Duration = Duration::from_millis(700);

/// What a node promises later.
pub(crate) type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Why a node did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DhtError {
    /// No node answered, or none took it.
    #[error("no DHT node answers")]
    Silent,
    /// The node has ended, by a fault of its own.
    #[error("the DHT node has ended")]
    Ended,
    /// It is longer than a DHT takes (BEP 44: 1,000 bytes as bencoded).
    #[error("too long for the DHT: at most 1000 bytes")]
    TooLong,
}

/// What a node knows of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeStatus {
    /// Its id, 20 bytes.
    pub id: [u8; 20],
    /// The UDP port on which it listens.
    pub port: u16,
    /// Nodes in its routing table that answered lately.
    pub nodes: usize,
    /// Nobody outside was seen to reach it unasked: it asks and does not answer.
    pub firewalled: bool,
    /// It answers others' questions.
    pub serves: bool,
    /// Our address as most others see it.
    pub public_address: Option<SocketAddr>,
    /// How many nodes there seem to be in all.
    pub size_estimate: usize,
}

/// One node of the DHT. Every answer comes in bounded time or is given up by whoever asked; dropping it ends it.
pub trait DhtNode: Send + Sync {
    /// Peers under a hash, in batches as they come, IPv4 or IPv6, unchecked. The stream ends when the lookup does.
    fn peers(&self, hash: [u8; 20]) -> Later<'_, mpsc::Receiver<Vec<SocketAddr>>>;
    /// Tells the nodes nearest to a hash that a peer of it listens on this TCP port of ours. Cheap right after `peers`.
    fn announce(&self, hash: [u8; 20], port: u16) -> Later<'_, Result<(), DhtError>>;
    /// Stores a value (BEP 44, immutable); gives its name.
    fn put(&self, value: Vec<u8>) -> Later<'_, Result<[u8; 20], DhtError>>;
    /// The value with this name; its hash was checked.
    fn get(&self, name: [u8; 20]) -> Later<'_, Option<Vec<u8>>>;
    /// How it is.
    fn status(&self) -> Later<'_, Result<NodeStatus, DhtError>>;
    /// Nodes that answered lately, to be asked first next time.
    fn known(&self) -> Later<'_, Result<Vec<SocketAddr>, DhtError>>;
}

/// What the process's DHT is told at its start.
#[derive(Debug, Clone)]
pub struct DhtConfig {
    /// Bootstrap nodes that the user typed; they are used instead of the well-known ones, on whatever network.
    pub bootstrap: Vec<(String, u16)>,
    /// Bootstrap nodes where none was typed.
    pub well_known: Vec<(String, u16)>,
    /// Where to bind; the first IPv4 address counts, none means all.
    pub bind: Vec<IpAddr>,
    /// The UDP port to try first, and the next ones after it; 0: any.
    pub port: u16,
    /// Use nodes and peers on any network, whoever named them.
    pub allow_private_networks: bool,
    /// Where known nodes are kept between runs; `None`: they are not.
    pub state_dir: Option<PathBuf>,
}

impl Default for DhtConfig {
    fn default() -> DhtConfig {
        DhtConfig {
            bootstrap: Vec::new(),
            well_known: WELL_KNOWN.map(|(host, port)| (host.to_owned(), port)).into(),
            bind: Vec::new(),
            port: 0,
            allow_private_networks: false,
            state_dir: None,
        }
    }
}

/// How the process's DHT fares, for people.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DhtStatus {
    /// The node, once there is one.
    pub node: Option<NodeStatus>,
    /// Bootstrap addresses of the node that runs: typed, remembered, told and resolved.
    pub bootstrap: usize,
    /// Names that could not be resolved at the last try, with the reason; not escaped.
    pub unresolved: Vec<String>,
    /// How often a node was built.
    pub built: u32,
    /// Why there is no node, if one could not be built.
    pub failure: Option<String>,
}

/// A node as the keeper shares it.
#[derive(Clone, Default)]
pub(crate) struct Running {
    pub(crate) node: Option<Arc<dyn DhtNode>>,
    pub(crate) bootstrap: usize,
    pub(crate) unresolved: Vec<String>,
    pub(crate) built: u32,
    pub(crate) failure: Option<String>,
    /// The first attempt is over.
    pub(crate) tried: bool,
}

/// The process's DHT. Cheap to clone; all clones are the same. Use [`Dht::stop`] to end it; dropping the last clone ends it
/// without writing down what it knows.
#[derive(Clone)]
pub struct Dht {
    inner: Arc<Inner>,
}

struct Inner {
    port: u16,
    allow_private_networks: bool,
    running: watch::Receiver<Running>,
    told: mpsc::Sender<Told>,
    wanted: Arc<Notify>,
    limits: seek::Limits,
    keeper: Mutex<Option<JoinHandle<()>>>,
}

impl Dht {
    /// Starts it; nothing is waited for, and nothing is sent before the first lookup. Must be called within a tokio runtime. An error means that no UDP port is to be had.
    pub fn start(config: DhtConfig) -> io::Result<Dht> {
        let ip = config.bind.iter().find_map(|ip| match ip {
            IpAddr::V4(v4) => Some(*v4),
            IpAddr::V6(_) => None,
        });
        if ip.is_none() && !config.bind.is_empty() {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "the DHT needs an IPv4 address to bind to"));
        }
        let ip = ip.unwrap_or(Ipv4Addr::UNSPECIFIED);
        let port = free_port(ip, config.port)?;
        let (share, running) = watch::channel(Running::default());
        let (told, tells) = mpsc::channel(MAX_TOLD);
        let allow_private_networks = config.allow_private_networks;
        let keeper = Keeper::new(config, ip, port, share);
        let wanted = Arc::new(Notify::new());
        let keeper = Mutex::new(Some(tokio::spawn(keeper.run(tells, wanted.clone()))));
        let limits = seek::Limits::default();
        Ok(Dht { inner: Arc::new(Inner { port, allow_private_networks, running, told, wanted, limits, keeper }) })
    }

    /// The UDP port of our node.
    pub fn port(&self) -> u16 {
        self.inner.port
    }

    /// Somebody named a node: a torrent's `nodes`, or a peer's `PORT` message. It is asked while few nodes are known; more than a
    /// few dozen at once are dropped, and so are those that the rule on private networks forbids.
    pub fn add_node(&self, host: String, port: u16) {
        let _ = self.inner.told.try_send(Told::Node(host, port));
    }

    /// How it fares. Does not start it.
    pub async fn status(&self) -> DhtStatus {
        let running = self.inner.running.borrow().clone();
        let node = match running.node {
            Some(node) => node.status().await.ok(),
            None => None,
        };
        DhtStatus {
            node,
            bootstrap: running.bootstrap,
            unresolved: running.unresolved,
            built: running.built,
            failure: running.failure,
        }
    }

    /// The node that runs, once there is one.
    pub async fn node(&self) -> Option<Arc<dyn DhtNode>> {
        self.inner.wanted.notify_one();
        let mut running = self.inner.running.clone();
        let running = running.wait_for(|running| running.tried).await.ok()?;
        running.node.clone()
    }

    /// Ends it: known nodes are written down. Whatever is still being looked up is cut short.
    pub async fn stop(&self) {
        let keeper = self.inner.keeper.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        let Some(mut keeper) = keeper else { return };
        if self.inner.running.borrow().node.is_none() {
            // It knows nobody, and may be waiting for a name server.
            keeper.abort();
            return;
        }
        let ended = async {
            let _ = self.inner.told.send(Told::Stop).await;
            let _ = (&mut keeper).await;
        };
        if tokio::time::timeout(STOP_WITHIN, ended).await.is_err() {
            keeper.abort();
        }
    }
}

impl fmt::Debug for Dht {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dht").field("port", &self.inner.port).finish_non_exhaustive()
    }
}

/// A port that is free now. The node binds it a moment later and takes another if it was lost meanwhile.
fn free_port(ip: Ipv4Addr, first: u16) -> io::Result<u16> {
    let tried = if first == 0 { 0 } else { PORTS_TRIED };
    for port in (first..).take(usize::from(tried)) {
        if let Ok(socket) = UdpSocket::bind((ip, port)) {
            return Ok(socket.local_addr()?.port());
        }
    }
    Ok(UdpSocket::bind((ip, 0))?.local_addr()?.port())
}

#[cfg(test)]
mod tests;
