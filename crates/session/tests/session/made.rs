//! Torrents, sessions and folders for the tests here.

use shoal_hash::merkle;
use shoal_metainfo::{Format, Torrent};
use shoal_session::{
    AddTorrent, Check, Files, PortChoice, Session, SessionConfig, TorrentEvent, TorrentEvents, TorrentHandle,
    TorrentSource,
};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

pub(crate) const PIECE_LENGTH: usize = 32 * 1024;
pub(crate) const NAME: &str = "data.bin";

/// Longer than any test may take: a test that hangs should fail.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes that repeat nowhere near a block's length.
pub(crate) fn bytes(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [format!("{}:", bytes.len()).as_bytes(), bytes].concat()
}

/// A torrent of one file, written by hand: the tests should not trust what they test.
pub(crate) fn torrent(format: Format, data: &[u8]) -> Arc<Torrent> {
    let (v1, v2) = (format != Format::V2, format != Format::V1);
    let length = data.len() as u64;
    let layer_number = merkle::piece_layer(PIECE_LENGTH as u64).unwrap();
    let mut leaves = Vec::new();
    shoal_hash::sha256_leaves(data, &mut leaves);
    let layer = merkle::layer_from_leaves(&leaves, layer_number);
    let small = data.len() <= PIECE_LENGTH;
    let root = if small {
        merkle::root(&leaves, leaves.len().next_power_of_two())
    } else {
        merkle::root_of_layer(&layer, layer_number, length).unwrap()
    };
    let mut info = b"d".to_vec();
    if v2 {
        info.extend(b"9:file treed");
        info.extend(string(NAME.as_bytes()));
        info.extend(format!("d0:d6:lengthi{length}e11:pieces root").as_bytes());
        info.extend(string(&root));
        info.extend(b"eee");
    }
    if v1 {
        info.extend(format!("6:lengthi{length}e").as_bytes());
    }
    if v2 {
        info.extend(b"12:meta versioni2e");
    }
    info.extend(b"4:name");
    info.extend(string(NAME.as_bytes()));
    info.extend(format!("12:piece lengthi{PIECE_LENGTH}e").as_bytes());
    if v1 {
        let pieces: Vec<u8> = data.chunks(PIECE_LENGTH).flat_map(shoal_hash::sha1).collect();
        info.extend(b"6:pieces");
        info.extend(string(&pieces));
    }
    info.push(b'e');
    let mut file = b"d4:info".to_vec();
    file.extend(info);
    if v2 {
        file.extend(b"12:piece layersd");
        if !small {
            file.extend(string(&root));
            file.extend(string(layer.as_flattened()));
        }
        file.push(b'e');
    }
    file.push(b'e');
    Arc::new(Torrent::parse(&file).unwrap())
}

/// A session on loopback with a state folder of its own.
pub(crate) struct Here {
    pub(crate) session: Session,
    pub(crate) folder: TempDir,
    _state: TempDir,
}

impl Here {
    pub(crate) async fn new() -> Here {
        Here::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut SessionConfig)) -> Here {
        let (folder, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut config = SessionConfig {
            bind: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
            port: PortChoice::Any,
            state_dir: Some(state.path().to_path_buf()),
            ..SessionConfig::default()
        };
        change(&mut config);
        Here { session: Session::start(config).await.unwrap(), folder, _state: state }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.session.listening()[0]
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Seeds this data; returns when it is checked.
    pub(crate) async fn seed(&self, torrent: &Arc<Torrent>, data: &[u8]) -> (TorrentHandle, TorrentEvents) {
        std::fs::write(self.folder().join(NAME), data).unwrap();
        let files = Files::Folder(self.folder().to_path_buf());
        self.add(AddTorrent::seed(torrent.clone(), files, Check::Full), true).await
    }

    /// Downloads from this peer; returns at once.
    pub(crate) async fn download(&self, source: TorrentSource, peer: SocketAddr) -> (TorrentHandle, TorrentEvents) {
        self.add(AddTorrent::download(source, self.folder()).with_peer(peer), false).await
    }

    pub(crate) async fn add(&self, add: AddTorrent, wait: bool) -> (TorrentHandle, TorrentEvents) {
        let mut handle = self.session.add(add).await.unwrap();
        let mut events = handle.events().unwrap();
        if wait {
            until(&mut events, |event| matches!(event, TorrentEvent::Complete)).await;
        }
        (handle, events)
    }

    pub(crate) fn downloaded(&self) -> Vec<u8> {
        std::fs::read(self.folder().join(NAME)).unwrap()
    }
}

/// The first event that is so; fails if the torrent fails or nothing comes.
pub(crate) async fn until(events: &mut TorrentEvents, is: impl Fn(&TorrentEvent) -> bool) -> TorrentEvent {
    let found = async {
        loop {
            let event = events.next().await.expect("the torrent still runs");
            if is(&event) {
                return event;
            }
            assert!(!matches!(event, TorrentEvent::Failed(_)), "{event:?}");
        }
    };
    patiently(found).await
}

/// Fails if it takes too long.
pub(crate) async fn patiently<T>(it: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, it).await.expect("in time")
}

/// Fails unless every task has ended. A runtime may count one for a moment after it was joined.
pub(crate) async fn no_task_is_left() {
    let gone = async {
        while tokio::runtime::Handle::current().metrics().num_alive_tasks() > 0 {
            tokio::task::yield_now().await;
        }
    };
    patiently(gone).await;
}
