//! What a session is told at its start.

use shoal_discovery::Authorities;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Which TCP port to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortChoice {
    /// Whichever the system gives (`--port 0`).
    Any,
    /// This one, or fail (`--port N`).
    Exactly(u16),
    /// The first free one from here upwards.
    FirstFreeFrom(u16),
}

/// The port that BitTorrent programs try first (BEP 3).
pub const DEFAULT_PORT: u16 = 6881;

/// How the DHT is used.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DhtChoice {
    /// Nodes that the user typed, host and port; they are asked first instead of the well-known ones.
    pub bootstrap: Vec<(String, u16)>,
}

/// One process's configuration.
#[derive(Debug, Clone)]
pub struct SessionConfig {
    /// Addresses to listen on and to dial from; empty: every address of this machine, IPv4 and IPv6.
    pub bind: Vec<IpAddr>,
    /// The port.
    pub port: PortChoice,
    /// Upload limit over all torrents, bytes per second; `None`: no limit.
    pub up_limit_bytes_per_s: Option<u64>,
    /// Download limit over all torrents, bytes per second; `None`: no limit.
    pub down_limit_bytes_per_s: Option<u64>,
    /// Connections of the process, at most.
    pub max_connections: usize,
    /// Connections of one torrent, at most.
    pub max_connections_per_torrent: usize,
    /// How long both handshakes of a connection may take together, and the other side's until it is read.
    pub handshake_timeout: Duration,
    /// Look for peers on the local network (BEP 14), and be found there.
    pub lan: bool,
    /// Stay on the local network: no trackers, and only peers whose addresses are private, link-local or loopback, or that the
    /// user typed.
    pub lan_only: bool,
    /// Accept peers and trackers on loopback, link-local and private addresses whoever named them.
    pub allow_private_networks: bool,
    /// Whose certificates trackers and web seeds may have.
    pub authorities: Authorities,
    /// Whether the DHT is used, and how; `None`: not at all.
    pub dht: Option<DhtChoice>,
    /// Ask the router to let peers in (PCP, NAT-PMP, UPnP), where it listens on more than loopback.
    pub port_mapping: bool,
    /// Where resume state and locks are kept; `None`: neither is, and everything is checked at each start.
    pub state_dir: Option<PathBuf>,
    /// Threads that hash, read and write.
    pub disk_threads: usize,
}

impl Default for SessionConfig {
    fn default() -> SessionConfig {
        SessionConfig {
            bind: Vec::new(),
            port: PortChoice::FirstFreeFrom(DEFAULT_PORT),
            up_limit_bytes_per_s: None,
            down_limit_bytes_per_s: None,
            // Chosen: libtorrent has 200; ours are cheap, and the usual descriptor limit is 1024.
            max_connections: 500,
            max_connections_per_torrent: 100,
            // reliability.md B3; libtorrent has the same.
            handshake_timeout: Duration::from_secs(10),
            // Who embeds a session says so: it speaks to everybody near.
            lan: false,
            lan_only: false,
            allow_private_networks: false,
            authorities: Authorities::default(),
            dht: None,
            // A program asks for it: a test must never talk to the router of the machine that it runs on.
            port_mapping: false,
            state_dir: None,
            // Chosen: as many as hash at the speed of a fast disk, and one that waits for a sync.
            disk_threads: std::thread::available_parallelism().map_or(2, |cores| cores.get().clamp(2, 4)) + 1,
        }
    }
}
