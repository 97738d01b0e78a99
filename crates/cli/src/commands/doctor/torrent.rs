//! Looking at one torrent: joined as a leech for a few seconds, everyone asked, no block fetched and no file written.
//!
//! The session runs without a state folder, opens the torrent for reading in a folder that is not there, and lets no byte of
//! payload in; so peers see a leech that is interested, and tell whether they would send.

use super::{Finding, network};
use crate::args::DoctorArgs;
use crate::exit::{Exit, Failure};
use crate::target::Target;
use serde::Serialize;
use shoal_session::{
    AddTorrent, Diagnosis, Files, Mode, Reached, Reason, Session, Situation, SourceErrorKind, SourceKind, SourceState,
    SourceStatus, Stage, TorrentEvent, TorrentSource,
};
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::Instant;

/// The name of the finding.
pub(super) const CHECK: &str = "torrent";
/// Between looks.
const EVERY: Duration = Duration::from_millis(250);

/// What was seen of a torrent.
#[derive(Serialize, Debug)]
pub(super) struct Seen {
    info_hash_v1: Option<String>,
    info_hash_v2: Option<String>,
    name: Option<String>,
    has_metadata: bool,
    private: bool,
    pub(super) sources: Vec<Source>,
    peers: Peers,
    /// Why nothing would move; null if something would.
    reason: Option<String>,
    reason_code: Option<&'static str>,
}

/// A source, and what it said.
#[derive(Serialize, Debug)]
pub(super) struct Source {
    /// `tracker`, `dht`, `lan`, `web_seed`, `peer`.
    pub(super) kind: &'static str,
    /// Its host, where there are several.
    name: String,
    /// `waiting`, `asking`, `answered`, `failed`.
    state: &'static str,
    /// Addresses that it named.
    peers: Option<u32>,
    /// The kind of its failure.
    error: Option<&'static str>,
    /// What it said, or what failed; not escaped.
    text: Option<String>,
}

/// Addresses and connections.
#[derive(Serialize, Debug)]
struct Peers {
    known: u32,
    refused: u32,
    silent: u32,
    broke: u32,
    no_route: u32,
    banned: u32,
    forbidden: u32,
    connected: u32,
    with_metadata: u32,
    with_pieces: u32,
    full_copies: u32,
    unchoking: u32,
}

/// Joins, waits until somebody would send or the time is up, and tells.
pub(super) async fn look(args: &DoctorArgs, target: Target, session: &Session) -> Result<(Finding, Seen), Failure> {
    // Nobody lets a block in: `doctor` starts its session so.
    let hashes = target.hashes();
    let name = target.name().map(str::to_owned);
    let source = match target {
        Target::Torrent(torrent) => TorrentSource::Torrent(torrent),
        Target::Magnet(magnet) => TorrentSource::Magnet(*magnet),
    };
    let add = AddTorrent {
        source,
        files: Files::Folder(nowhere()),
        mode: Mode::Look,
        peers: args.peer.clone(),
        typed_trackers: Vec::new(),
        trace: None,
    };
    let mut handle = session.add(add).await.map_err(network::failure)?;
    let mut events = handle.events().expect("a handle that was just made has its events");
    let deadline = Instant::now() + args.wait;
    let mut last: Option<Diagnosis> = None;
    let mut failed = None;
    while Instant::now() < deadline {
        let next = tokio::time::timeout_at(deadline.min(Instant::now() + EVERY), events.next()).await;
        match next {
            Ok(Some(TorrentEvent::Failed(error))) => failed = Some(network::failure(error)),
            Ok(None) => break,
            Ok(Some(_)) => continue,
            Err(_) => {}
        }
        if let Some(diagnosis) = handle.diagnose().await {
            let would_send = would_send(&diagnosis.situation);
            last = Some(diagnosis);
            if would_send {
                break;
            }
        }
    }
    let name = handle.info().map(|info| info.name().to_owned()).or(name);
    let has_metadata = handle.info().is_some();
    handle.stop().await;
    if let Some(failure) = failed {
        return Err(failure);
    }
    let Diagnosis { situation, full_copies } =
        last.ok_or_else(|| Failure::new(Exit::Other, "the torrent ended before it could be looked at"))?;
    let reason = situation.reason().filter(|_| !would_send(&situation));
    let (info_hash_v1, info_hash_v2) = super::super::show::hash_words(&hashes);
    let seen = Seen {
        info_hash_v1,
        info_hash_v2,
        name,
        has_metadata,
        private: situation.private,
        sources: situation.sources.iter().map(told).collect(),
        peers: peers(&situation, full_copies),
        reason: reason.as_ref().map(ToString::to_string),
        reason_code: reason.as_ref().map(Reason::code),
    };
    Ok((finding(&situation, reason, full_copies), seen))
}

/// A place where no file of the torrent is, and none is made.
fn nowhere() -> PathBuf {
    PathBuf::from("/proc/self/shoal-doctor")
}

fn would_send(situation: &Situation) -> bool {
    situation.stage == Stage::Transfer && situation.unchoking > 0
}

fn finding(situation: &Situation, reason: Option<Reason>, full_copies: u32) -> Finding {
    let Some(reason) = reason else {
        let copies = if full_copies > 0 { ", full copies among them" } else { "" };
        let text = format!("{} would send now{copies}: it can be downloaded", people(situation.unchoking));
        return Finding::ok(CHECK, text);
    };
    let text = reason.to_string();
    match reason {
        // It goes on by itself, or has only begun.
        Reason::Choked { .. } | Reason::Waiting => Finding::warn(CHECK, text, "wait; it goes on by itself"),
        Reason::MissingPieces { .. } | Reason::NothingWanted { .. } => {
            Finding::warn(CHECK, text, "ask who shared it to come back")
        }
        Reason::DiskFull(_) | Reason::Disk(_) => Finding::fail(CHECK, Exit::Disk, text, "see the disk above"),
        Reason::NoRoute | Reason::Silent { .. } | Reason::Source { .. } | Reason::PrivateNetworks { .. } => {
            Finding::fail(CHECK, Exit::Network, text, advice(&reason))
        }
        _ => Finding::fail(CHECK, Exit::NoPeers, text, advice(&reason)),
    }
}

/// What to do next, in a few words.
fn advice(reason: &Reason) -> &'static str {
    match reason {
        Reason::NoRoute => "see the route above",
        Reason::PrivateNetworks { .. } => "--allow-private-networks, if those addresses are meant",
        Reason::Source { error, .. } => match error.kind {
            SourceErrorKind::Dns => "see dns above; is the name right?",
            SourceErrorKind::Clock => "see the clock above",
            SourceErrorKind::Tls => "only its operator can mend a certificate; use another source",
            SourceErrorKind::Forbidden => "--allow-private-networks, if that address is meant",
            _ => "its operator knows more; other sources go on",
        },
        Reason::Silent { .. } => "wait, or name a peer with --peer HOST:PORT",
        Reason::Unreachable(_) => "ask the one who shares whether the port is open there",
        Reason::NoMetadata { .. } | Reason::MetadataSilent { .. } => "wait for a peer that has the whole",
        Reason::NoSource { .. } | Reason::PrivateNoTracker => "name a peer with --peer HOST:PORT",
        _ => "ask the one who shares whether it still runs",
    }
}

fn told(source: &SourceStatus) -> Source {
    let kind = match source.kind {
        SourceKind::Tracker => "tracker",
        SourceKind::Dht => "dht",
        SourceKind::Lan => "lan",
        SourceKind::WebSeed => "web_seed",
        SourceKind::Peer => "peer",
    };
    let (state, peers, error, text) = match &source.state {
        SourceState::Waiting => ("waiting", None, None, None),
        SourceState::Asking => ("asking", None, None, None),
        SourceState::Answered(peers) => ("answered", Some(*peers), None, None),
        SourceState::Failed(error) => ("failed", None, Some(kind_word(error.kind)), Some(error.text.clone())),
    };
    Source { kind, name: source.name.clone(), state, peers, error, text }
}

fn kind_word(kind: SourceErrorKind) -> &'static str {
    match kind {
        SourceErrorKind::NoRoute => "no_route",
        SourceErrorKind::Dns => "dns",
        SourceErrorKind::Clock => "clock",
        SourceErrorKind::Tls => "tls",
        SourceErrorKind::Forbidden => "private_networks",
        SourceErrorKind::Refusal => "refusal",
        SourceErrorKind::Nonsense => "nonsense",
        SourceErrorKind::Refused => "refused",
        SourceErrorKind::Silent => "silent",
        SourceErrorKind::Unusable => "unusable",
    }
}

fn peers(situation: &Situation, full_copies: u32) -> Peers {
    let Reached { known, refused, silent, no_route, broke, banned, forbidden } = situation.reached;
    Peers {
        known,
        refused,
        silent,
        broke,
        no_route,
        banned,
        forbidden,
        connected: situation.peers,
        with_metadata: if situation.stage == Stage::Metadata { situation.offers } else { situation.peers },
        with_pieces: situation.interesting,
        full_copies,
        unchoking: situation.unchoking,
    }
}

fn people(count: u32) -> String {
    crate::size::count(u64::from(count), "peer")
}

impl Source {
    /// `t.example: 3 peers`.
    pub(super) fn line(&self) -> String {
        let said = match (&self.text, self.peers) {
            (Some(text), _) => text.clone(),
            (None, Some(peers)) => people(peers),
            (None, None) if self.state == "asking" => "asked, no answer yet".to_owned(),
            (None, None) => "not asked yet".to_owned(),
        };
        if self.name.is_empty() { said } else { format!("{}: {said}", self.name) }
    }
}

impl Seen {
    /// `3 known, 1 connected, 2 refused; 1 with metadata, 1 with pieces, 1 sends`.
    pub(super) fn peers_line(&self) -> String {
        let peers = &self.peers;
        let parts = [
            (peers.known, "known"),
            (peers.connected, "connected"),
            (peers.refused, "refused"),
            (peers.silent, "silent"),
            (peers.broke, "broke off"),
            (peers.no_route, "without a route"),
            (peers.banned, "banned"),
            (peers.forbidden, "on forbidden networks"),
            (peers.with_metadata, "with metadata"),
            (peers.with_pieces, "with pieces"),
            (peers.full_copies, "with everything"),
            (peers.unchoking, "would send"),
        ];
        let shown = parts.iter().filter(|(count, what)| *count > 0 || *what == "known");
        shown.map(|(count, what)| format!("{count} {what}")).collect::<Vec<_>>().join(", ")
    }
}
