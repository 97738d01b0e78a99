//! One process's torrents: what they share, and who joins what.
//!
//! The session owns the listeners' tasks, the host's task, the torrents' tasks and the disk threads. Shutting down goes from
//! the outside in: torrents are told to stop and joined, all at once; then the listeners, then the host, then the disk
//! threads, which finish what is queued.

use crate::add::AddTorrent;
use crate::claims::Claims;
use crate::clock::Clock;
use crate::config::{PortChoice, SessionConfig};
use crate::disk::{Disk, DiskThreads};
use crate::error::SessionError;
use crate::handle::{TorrentEvents, TorrentHandle};
use crate::host::{HostTask, ToHost};
use crate::listener::{self, Gate, MAX_HALF_OPEN};
use crate::pool::BlockPool;
use crate::progress::Progress;
use crate::registry::Registry;
use crate::torrent::{Events, NewTorrent, Report, ToTorrent};
use shoal_discovery::dht::{Dht, DhtConfig};
use shoal_discovery::lan::{self, Lan, LanConfig};
use shoal_discovery::mapping::{Mapped, MappingConfig, MappingStatus, PortMapping};
use shoal_discovery::networks::{Scope, scope};
use shoal_discovery::{Http, HttpConfig, Trackers, TrackersConfig};
use shoal_machine::Rng;
use shoal_storage::OpenFiles;
use shoal_swarm::{HostConfig, HostEvent, SwarmKey};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

/// How our peer ids begin (BEP 20): the name, then the version in four digits.
const PEER_ID_PREFIX: &[u8; 8] = b"-SH0100-";

/// Fetches from web seeds under way, of all torrents together. Chosen: two torrents' worth of eight web seeds with four each;
/// a torrent that gets none waits.
const MAX_WEB_CONNECTIONS: usize = 64;

/// What all torrents of a session share.
pub(crate) struct Shared {
    pub(crate) config: SessionConfig,
    pub(crate) peer_id: [u8; 20],
    /// Where we listen.
    pub(crate) port: u16,
    /// Every address of this machine on which we listen.
    pub(crate) own_addresses: Vec<SocketAddr>,
    pub(crate) clock: Clock,
    pub(crate) pool: BlockPool,
    pub(crate) disk: Disk,
    pub(crate) open_files: Arc<OpenFiles>,
    /// The files that downloads write.
    pub(crate) claims: Claims,
    /// Torrents whose files are opened and checked at a time; others wait.
    pub(crate) opening: Semaphore,
    pub(crate) trackers: Trackers,
    /// `None` where the local network is not used.
    pub(crate) lan: Option<Lan>,
    /// For web seeds.
    pub(crate) http: Http,
    /// How many fetches from web seeds may be under way.
    pub(crate) web_connections: Arc<Semaphore>,
    /// The DHT, if it is used.
    pub(crate) dht: Option<Dht>,
    /// Bounded by what torrents order: a demand when it changes, the dials that a swarm lets be under way.
    pub(crate) host: mpsc::UnboundedSender<ToHost>,
}

/// A running session. Cheap to clone; all clones are the same session. Dropping the last one ends it without a farewell:
/// use [`Session::shutdown`].
#[derive(Clone)]
pub struct Session {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    registry: Registry,
    listening: Vec<SocketAddr>,
    rng: Rng,
    mapping: watch::Receiver<MappingStatus>,
    /// `None` once it is shut down.
    running: Mutex<Option<Running>>,
}

struct Running {
    /// Listeners; they end when this changes.
    listeners: JoinSet<()>,
    host: JoinSet<()>,
    stop: watch::Sender<bool>,
    torrents: JoinSet<SwarmKey>,
    inboxes: BTreeMap<SwarmKey, mpsc::UnboundedSender<ToTorrent>>,
    next: u32,
    disk_threads: DiskThreads,
    mapping: Option<PortMapping>,
}

impl Session {
    /// Binds the listeners and starts the disk threads. Must be called within a tokio runtime. An address family that this
    /// machine does not have is left out; it is an error if none is left or if a bind address or port is not to be had.
    pub async fn start(config: SessionConfig) -> Result<Session, SessionError> {
        let listeners = listener::bind(&config.bind, config.port)?;
        let listening: Vec<SocketAddr> = listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect();
        let port = listening.first().map_or(0, SocketAddr::port);
        let rng = Rng::new(random()?);
        let peer_id = peer_id(&mut rng.fork("peer id"));
        let key = rng.fork("tracker key").next_u64();
        let http = Http::new(&HttpConfig {
            bind: config.bind.clone(),
            authorities: config.authorities.clone(),
            allow_private_networks: config.allow_private_networks,
        });
        let identity = TrackersConfig {
            peer_id,
            key: u32::from_be_bytes(*key.to_be_bytes().first_chunk().expect("four of eight bytes")),
            port,
            allow_private_networks: config.allow_private_networks,
        };
        let trackers = Trackers::new(identity, http.clone());
        let interfaces = interfaces();
        let own_addresses = listening.iter().flat_map(|listener| at_interfaces(*listener, &interfaces)).collect();
        let (lan, lan_task) = config.lan.then(|| lan::start(lan_config(&config, &listening, &rng))).unzip();
        let disk_threads = DiskThreads::start(config.disk_threads).map_err(SessionError::Start)?;
        let dht = start_dht(&config, port);
        let (to_host, told) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            peer_id,
            port,
            own_addresses,
            clock: Clock::start(),
            pool: BlockPool::default(),
            disk: disk_threads.disk().clone(),
            open_files: OpenFiles::for_this_process(),
            claims: Claims::default(),
            opening: Semaphore::new(config.disk_threads.max(1)),
            trackers,
            lan,
            http,
            web_connections: Arc::new(Semaphore::new(MAX_WEB_CONNECTIONS)),
            dht,
            host: to_host,
            config,
        });
        let node = shared.dht.as_ref().map(Dht::port);
        let mapping =
            mapping_config(&shared.config, &listening, node, rng.fork("mapping").next_u64()).map(PortMapping::start);
        let told_of_mapping =
            mapping.as_ref().map_or_else(|| watch::channel(MappingStatus::Off).1, PortMapping::status);
        let (stop, stopped) = watch::channel(false);
        let (accept, accepting) = watch::channel(true);
        let registry = Registry::default();
        let handshakes: Arc<Mutex<VecDeque<AbortHandle>>> = Arc::default();
        let half_open = Arc::new(Semaphore::new(MAX_HALF_OPEN));
        let mut tasks = JoinSet::new();
        for listener in listeners {
            let gate = Gate {
                half_open: half_open.clone(),
                accepting: accepting.clone(),
                handshakes: handshakes.clone(),
                near_only: shared.config.lan_only,
                timeout: shared.config.handshake_timeout,
            };
            tasks.spawn(listener::run(listener, registry.clone(), gate, stopped.clone()));
        }
        if let Some(task) = lan_task {
            let (registry, mut stopped) = (registry.clone(), stopped.clone());
            tasks.spawn(async move {
                tokio::select! {
                    () = task.run(move |hash, addr| registry.found_on_lan(hash, addr)) => {}
                    _ = stopped.changed() => {}
                }
            });
        }
        let mut host = JoinSet::new();
        let limits = HostConfig {
            up: shared.config.up_limit_bytes_per_s,
            down: shared.config.down_limit_bytes_per_s,
            max_connections: shared.config.max_connections,
        };
        host.spawn(HostTask::new(limits, shared.clock, accept).run(told));
        let running = Running {
            listeners: tasks,
            host,
            stop,
            torrents: JoinSet::new(),
            inboxes: BTreeMap::new(),
            next: 0,
            disk_threads,
            mapping,
        };
        let inner =
            Inner { shared, registry, listening, rng, mapping: told_of_mapping, running: Mutex::new(Some(running)) };
        Ok(Session { inner: Arc::new(inner) })
    }

    /// The addresses that it listens on, with their ports: unspecified addresses stand for all of the machine's.
    pub fn listening(&self) -> &[SocketAddr] {
        &self.inner.listening
    }

    /// The addresses under which others could reach it: those of [`Session::listening`] with unspecified ones replaced by
    /// the addresses of the interfaces; loopback only if there is no other, link-local never.
    pub fn reachable_at(&self) -> Vec<SocketAddr> {
        reachable(&self.inner.listening, &interfaces())
    }

    /// How asking the router for a port stands; [`MappingStatus::Off`] where it is not asked.
    pub fn port_mapping(&self) -> watch::Receiver<MappingStatus> {
        self.inner.mapping.clone()
    }

    /// The address under which the internet reaches it, as the router says; `None` if no port is mapped, or if the router has
    /// no public address itself.
    pub fn public_address(&self) -> Option<SocketAddr> {
        match &*self.inner.mapping.borrow() {
            MappingStatus::Mapped(mapped) => public_address(mapped),
            _ => None,
        }
    }

    /// Adds a torrent and returns at once; opening and checking its files is reported by its progress and its events.
    pub async fn add(&self, add: AddTorrent) -> Result<TorrentHandle, SessionError> {
        let hashes = add.source.hashes();
        let mut running = self.running();
        let running = running.as_mut().ok_or(SessionError::Stopping)?;
        while let Some(ended) = running.torrents.try_join_next() {
            if let Ok(key) = ended {
                running.inboxes.remove(&key);
            }
        }
        let (inbox, receiver) = mpsc::unbounded_channel();
        let registered = self.inner.registry.insert(hashes.all_wire().collect(), &inbox);
        let registered = registered.ok_or(SessionError::Duplicate)?;
        let (progress, shown) = watch::channel(Progress::default());
        let (info, known) = watch::channel(None);
        let (events, queue) = mpsc::unbounded_channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let key = SwarmKey(running.next);
        running.next += 1;
        let torrent = NewTorrent {
            key,
            shared: self.inner.shared.clone(),
            add,
            inbox: inbox.clone(),
            receiver,
            registered,
            report: Report::new(progress, info, Events::new(events, waiting.clone())),
            rng: self.inner.rng.fork_index("torrent", u64::from(key.0)),
        };
        running.torrents.spawn(async move {
            torrent.run().await;
            key
        });
        running.inboxes.insert(key, inbox.clone());
        let events = Some(TorrentEvents { queue, waiting });
        Ok(TorrentHandle { hashes, progress: shown, info: known, events, inbox })
    }

    /// The DHT, if it is used.
    pub fn dht(&self) -> Option<&Dht> {
        self.inner.shared.dht.as_ref()
    }

    /// Changes the limits, bytes per second; `None`: no limit.
    pub fn set_limits(&self, up: Option<u64>, down: Option<u64>) {
        let _ = self.inner.shared.host.send(ToHost::Event(HostEvent::Limits { up, down }));
    }

    /// Stops every torrent as [`TorrentHandle::stop`] does, all at once, then the listeners and the disk threads. Nothing of
    /// the session runs afterwards.
    pub async fn shutdown(&self) {
        let Some(mut running) = self.running().take() else { return };
        for inbox in running.inboxes.values() {
            // An error means that it has ended.
            let _ = inbox.send(ToTorrent::Stop);
        }
        let mapping = running.mapping.take();
        let given_back = async {
            if let Some(mapping) = mapping {
                mapping.stop().await;
            }
        };
        let torrents = async { while running.torrents.join_next().await.is_some() {} };
        tokio::join!(given_back, torrents);
        if let Some(dht) = self.dht() {
            dht.stop().await;
        }
        let _ = running.stop.send(true);
        while running.listeners.join_next().await.is_some() {}
        let _ = self.inner.shared.host.send(ToHost::Stop);
        while running.host.join_next().await.is_some() {}
        let threads = running.disk_threads;
        // What is queued is written first.
        let _ = tokio::task::spawn_blocking(move || threads.join()).await;
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.inner.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("listening", &self.inner.listening).finish_non_exhaustive()
    }
}

/// Starts the DHT, if it is wanted. Where it cannot be had the session goes on without it.
fn start_dht(config: &SessionConfig, tcp_port: u16) -> Option<Dht> {
    let choice = config.dht.clone()?;
    let started = Dht::start(DhtConfig {
        bootstrap: choice.bootstrap,
        bind: config.bind.clone(),
        // The same number is left for uTP, which peers expect there.
        port: if config.port == PortChoice::Any { 0 } else { tcp_port.checked_add(1).unwrap_or(0) },
        allow_private_networks: config.allow_private_networks,
        state_dir: config.state_dir.clone(),
        ..DhtConfig::default()
    });
    started.inspect_err(|error| tracing::warn!(%error, "the DHT is not used")).ok()
}

fn random() -> Result<u64, SessionError> {
    getrandom::u64().map_err(|error| SessionError::Start(io::Error::other(error)))
}

/// The prefix, then characters that need no escape anywhere.
fn peer_id(rng: &mut Rng) -> [u8; 20] {
    const CHARACTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut id = [0; 20];
    id[..8].copy_from_slice(PEER_ID_PREFIX);
    for byte in &mut id[8..] {
        *byte = CHARACTERS[rng.index(CHARACTERS.len())];
    }
    id
}

fn lan_config(config: &SessionConfig, listening: &[SocketAddr], rng: &Rng) -> LanConfig {
    LanConfig {
        port: listening.first().map_or(0, SocketAddr::port),
        bind: config.bind.iter().copied().filter(|ip| !ip.is_unspecified()).collect(),
        v4: listening.iter().any(SocketAddr::is_ipv4),
        v6: listening.iter().any(SocketAddr::is_ipv6),
        cookie: rng.fork("lan cookie").next_u64(),
    }
}

/// The addresses of this machine.
fn interfaces() -> Vec<IpAddr> {
    if_addrs::get_if_addrs().unwrap_or_default().iter().map(if_addrs::Interface::ip).collect()
}

/// The addresses for which a listener stands.
fn at_interfaces(listener: SocketAddr, interfaces: &[IpAddr]) -> Vec<SocketAddr> {
    if !listener.ip().is_unspecified() {
        return vec![listener];
    }
    let same = interfaces.iter().filter(|ip| ip.is_ipv4() == listener.is_ipv4());
    same.map(|ip| SocketAddr::new(*ip, listener.port())).collect()
}

/// What the router is asked, if it is. Nobody beyond it reaches loopback, and nobody shall where it is to stay local.
/// `node`: the UDP port of our DHT node, which serves others only where they can reach it.
fn mapping_config(
    config: &SessionConfig,
    listening: &[SocketAddr],
    node: Option<u16>,
    seed: u64,
) -> Option<MappingConfig> {
    let from = listening.iter().find(|addr| addr.is_ipv4() && !addr.ip().is_loopback())?;
    if !config.port_mapping || config.lan_only {
        return None;
    }
    let local = Some(from.ip()).filter(|ip| !ip.is_unspecified());
    Some(MappingConfig { tcp: from.port(), udp: node, local, gateway: None, upnp: true, seed })
}

fn public_address(mapped: &Mapped) -> Option<SocketAddr> {
    let address = mapped.address.filter(|ip| scope(*ip) == Some(Scope::Public))?;
    Some(SocketAddr::new(address, mapped.tcp))
}

fn reachable(listening: &[SocketAddr], interfaces: &[IpAddr]) -> Vec<SocketAddr> {
    let mut found: Vec<SocketAddr> = Vec::new();
    for listener in listening {
        let addrs = at_interfaces(*listener, interfaces).into_iter();
        found.extend(addrs.filter(|addr| !is_link_local(addr.ip()) || !listener.ip().is_unspecified()));
    }
    let local = |addr: &SocketAddr| scope(addr.ip()) == Some(Scope::Local);
    if found.iter().any(|addr| !local(addr)) {
        // Loopback stays only where the user bound to it.
        found.retain(|addr| !local(addr) || listening.contains(addr));
    }
    found
}

/// Such an address means nothing without the interface that it belongs to.
fn is_link_local(ip: IpAddr) -> bool {
    scope(ip) == Some(Scope::Local) && !ip.is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_named_only_when_there_is_no_other() {
        let addrs = |texts: &[&str]| texts.iter().map(|t| t.parse::<SocketAddr>().unwrap()).collect::<Vec<_>>();
        let ips = |texts: &[&str]| texts.iter().map(|t| t.parse::<IpAddr>().unwrap()).collect::<Vec<_>>();
        let everywhere = addrs(&["0.0.0.0:7", "[::]:7"]);
        let interfaces = ips(&["127.0.0.1", "10.0.0.2", "::1", "fe80::1", "2600::2"]);
        assert_eq!(reachable(&everywhere, &interfaces), addrs(&["10.0.0.2:7", "[2600::2]:7"]));
        assert_eq!(reachable(&everywhere, &ips(&["127.0.0.1", "::1"])), addrs(&["127.0.0.1:7", "[::1]:7"]));
        assert_eq!(reachable(&addrs(&["127.0.0.1:7"]), &interfaces), addrs(&["127.0.0.1:7"]));
    }

    #[test]
    fn the_router_is_asked_only_for_what_others_can_reach_and_only_where_it_is_wished() {
        let addrs = |text: &str| text.split(' ').map(|t| t.parse::<SocketAddr>().unwrap()).collect::<Vec<_>>();
        let asked = |port_mapping, lan_only, listening: &str| {
            let config = SessionConfig { port_mapping, lan_only, ..SessionConfig::default() };
            mapping_config(&config, &addrs(listening), Some(8), 1).map(|config| (config.tcp, config.udp, config.local))
        };
        assert_eq!(asked(true, false, "0.0.0.0:7 [::]:7"), Some((7, Some(8), None)));
        assert_eq!(asked(true, false, "192.168.1.2:7"), Some((7, Some(8), Some([192, 168, 1, 2].into()))));
        for (port_mapping, lan_only, listening) in [
            (false, false, "0.0.0.0:7"),
            (true, true, "0.0.0.0:7"),
            (true, false, "127.0.0.1:7"),
            (true, false, "[::]:7"),
        ] {
            assert_eq!(asked(port_mapping, lan_only, listening), None);
        }
    }

    #[test]
    fn a_router_behind_another_one_gives_no_public_address() {
        let at = |ip: &str| {
            public_address(&Mapped {
                method: shoal_discovery::mapping::Method::Pcp,
                address: Some(ip.parse().unwrap()),
                tcp: 9,
                udp: None,
            })
        };
        assert_eq!(at("198.51.100.7"), Some("198.51.100.7:9".parse().unwrap()));
        assert_eq!(at("100.64.0.1"), None);
        assert_eq!(at("10.0.0.1"), None);
    }

    #[test]
    fn a_peer_id_says_who_we_are_and_needs_no_escape() {
        let id = peer_id(&mut Rng::new(1));
        assert!(id.starts_with(b"-SH"));
        assert!(id.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-'));
        assert_ne!(id, peer_id(&mut Rng::new(2)));
    }
}
