//! What a swarm is told once, at its start.

use shoal_metainfo::InfoHashes;
use shoal_pieces::PickMode;
use std::net::SocketAddr;

/// One torrent's configuration; the seed comes beside it.
#[derive(Debug, Clone)]
pub struct SwarmConfig {
    /// The torrent.
    pub hashes: InfoHashes,
    /// Our id (BEP 20), the same for all torrents of the process.
    pub peer_id: [u8; 20],
    /// Where we listen, told to peers (BEP 10 `p`); `None` if we do not.
    pub listen_port: Option<u16>,
    /// Addresses on which we listen, never dialed.
    pub own_addresses: Vec<SocketAddr>,
    /// Dial only addresses of local networks and of this machine, and what the user typed.
    pub near_only: bool,
    /// Trackers by tier (BEP 12).
    pub trackers: Vec<Vec<String>>,
    /// Whether the DHT is asked for peers (BEP 5).
    pub dht: bool,
    /// Where our DHT node listens, told to peers that have one too (BEP 5, `PORT`); `None` if that is not known.
    pub dht_port: Option<u16>,
    /// Whether the local network is asked for peers (BEP 14).
    pub lan: bool,
    /// Web seeds (BEP 19); as many as [`MAX_WEB_SEEDS`](crate::MAX_WEB_SEEDS) are used.
    pub web_seeds: Vec<String>,
    /// What to call ourselves (BEP 10 `v`).
    pub client: String,
    /// Which pieces are fetched first.
    pub order: PickMode,
    /// Show each leech other pieces while nobody else has everything (BEP 16).
    pub super_seed: bool,
    /// Fetch nothing: only what is there is served, also when some of it is missing or gets lost.
    pub serve_only: bool,
    /// Connections of this torrent, at most.
    pub max_peers: usize,
    /// Bytes of blocks held for pieces that are not written yet, about: no new piece is opened beyond it.
    pub max_assembly_bytes: u64,
}

impl SwarmConfig {
    /// The defaults for a torrent.
    pub fn new(hashes: InfoHashes, peer_id: [u8; 20]) -> SwarmConfig {
        SwarmConfig {
            hashes,
            peer_id,
            listen_port: None,
            own_addresses: Vec::new(),
            near_only: false,
            trackers: Vec::new(),
            dht: false,
            dht_port: None,
            lan: false,
            web_seeds: Vec::new(),
            client: concat!("shoal ", env!("CARGO_PKG_VERSION")).to_owned(),
            order: PickMode::RarestFirst,
            super_seed: true,
            serve_only: false,
            // Chosen: enough for full use of a fast line; libtorrent has 50 to 200.
            max_peers: 100,
            // Chosen: 0.1 s of writing at 400 MB/s beside the pieces that are open.
            max_assembly_bytes: 48 << 20,
        }
    }
}
