//! What a session is told about a torrent.

use shoal_layout::Selection;
use shoal_metainfo::{Info, InfoHashes, Magnet, Torrent};
use shoal_storage::Place;
use std::fmt;
use std::fs::File;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;

/// Where the torrent is known from.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "there is one for each torrent, and it is moved a few times")]
pub enum TorrentSource {
    /// A torrent file, or one just made.
    Torrent(Arc<Torrent>),
    /// A link; peers give the info dictionary. The session dials its `x.pe`; its `so` is for [`Mode::Download`]'s `select`.
    Magnet(Magnet),
}

impl TorrentSource {
    /// The info hashes.
    pub fn hashes(&self) -> InfoHashes {
        match self {
            TorrentSource::Torrent(torrent) => torrent.info.hashes(),
            TorrentSource::Magnet(magnet) => magnet.hashes,
        }
    }
}

/// Chooses files once the info dictionary is known. An error is one line for the user; it ends the torrent with
/// [`SessionError::Selection`](crate::SessionError::Selection).
pub type SelectFiles = Box<dyn FnOnce(&Info) -> Result<Selection, String> + Send>;

/// What to do with a torrent.
pub enum Mode {
    /// Fetch what is missing, and upload meanwhile and afterwards until stopped.
    Download {
        /// Write over files that are there and hold nothing of this torrent.
        overwrite: bool,
        /// Name files so that Windows takes them, too.
        portable: bool,
        /// Fetch pieces in order, with rare ones between ([`PickMode::InOrder`](shoal_pieces::PickMode::InOrder)).
        sequential: bool,
        /// Which files.
        select: SelectFiles,
    },
    /// Upload what is on disk; write nothing.
    Seed {
        /// How to find out what is there.
        check: Check,
    },
    /// Join as one who would fetch it, and write nothing (`shoal doctor`): for a session that lets nothing in.
    Look,
}

/// How to find out which pieces are on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// Believe the resume state where files have not changed since; hash the rest.
    Resume,
    /// Hash everything.
    Full,
    /// Every byte was hashed just now by this process (`share`): believe that all is there, if lengths fit.
    JustHashed,
}

impl fmt::Debug for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mode::Download { overwrite, portable, sequential, .. } => f
                .debug_struct("Download")
                .field("overwrite", overwrite)
                .field("portable", portable)
                .field("sequential", sequential)
                .finish_non_exhaustive(),
            Mode::Look => f.write_str("Look"),
            Mode::Seed { check } => f.debug_struct("Seed").field("check", check).finish(),
        }
    }
}

/// Where a torrent's files are, or will be.
#[derive(Debug, Clone)]
pub enum Files {
    /// Below this folder: there the torrent's root name is, or is created.
    Folder(PathBuf),
    /// Where a scan met them (`share`). For [`Mode::Seed`] of a [`TorrentSource::Torrent`] with as many files.
    Scanned(Place),
}

/// Where the run of a torrent's machine is recorded (crate `shoal_trace`).
#[derive(Debug)]
pub struct TraceFile {
    /// An empty file, open for writing.
    pub file: File,
    /// Bytes that it may become long.
    pub limit: u64,
}

/// A torrent to add.
#[derive(Debug)]
pub struct AddTorrent {
    /// Where it is known from.
    pub source: TorrentSource,
    /// Where its files are, or will be.
    pub files: Files,
    /// What to do.
    pub mode: Mode,
    /// Peers that the user typed (`--peer`), names not resolved yet.
    pub peers: Vec<(String, u16)>,
    /// Tracker URLs that the user typed. Those that the torrent does not carry are added as a last tier; all of them may be
    /// on any network.
    pub typed_trackers: Vec<String>,
    /// Record what the machine is told and does.
    pub trace: Option<TraceFile>,
}

impl AddTorrent {
    /// Fetches everything into `folder`, or what a link's `so` chooses (BEP 53).
    pub fn download(source: TorrentSource, folder: impl Into<PathBuf>) -> AddTorrent {
        let chosen = match &source {
            TorrentSource::Magnet(magnet) => magnet.select.clone(),
            TorrentSource::Torrent(_) => Vec::new(),
        };
        let select: SelectFiles = Box::new(move |info| Ok(selected(info, &chosen)));
        AddTorrent {
            source,
            files: Files::Folder(folder.into()),
            mode: Mode::Download { overwrite: false, portable: false, sequential: false, select },
            peers: Vec::new(),
            typed_trackers: Vec::new(),
            trace: None,
        }
    }

    /// Uploads what is there.
    pub fn seed(torrent: Arc<Torrent>, files: Files, check: Check) -> AddTorrent {
        AddTorrent {
            source: TorrentSource::Torrent(torrent),
            files,
            mode: Mode::Seed { check },
            peers: Vec::new(),
            typed_trackers: Vec::new(),
            trace: None,
        }
    }

    /// Also dials this address, which the user typed.
    pub fn with_peer(mut self, addr: SocketAddr) -> AddTorrent {
        self.peers.push((addr.ip().to_string(), addr.port()));
        self
    }
}

/// The files that BEP 53 numbers name; none named means all.
fn selected(info: &Info, chosen: &[RangeInclusive<u32>]) -> Selection {
    if chosen.is_empty() {
        return Selection::all(info.layout());
    }
    Selection::by(info.layout(), |file| {
        let number = info.so_number(file);
        chosen.iter().any(|range| range.contains(&number))
    })
}
