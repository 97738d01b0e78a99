//! What a driver tells a swarm, and what a swarm orders.

mod announce;

pub use announce::{AnnounceEvent, AnnounceReply, AnnounceRequest};

use crate::failure::{DialFailure, SourceError};
use crate::seek::{Sought, Via};
use crate::web_seeds::WebSeedOutcome;
use shoal_layout::{BlockRef, FileIndex, PieceIndex, Selection};
use shoal_machine::Wake;
use shoal_metainfo::{Info, PieceHashes, PieceLayers};
use shoal_pieces::Bitfield;
use shoal_wire::{Handshake, Message, RawBlock};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// A connection's number: given by the driver, never used twice within a swarm.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PeerKey(pub u32);

/// A tracker's number within its swarm: its place in the flattened list of tiers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TrackerKey(pub u32);

/// A web seed's number within its swarm: its place in the configuration's list.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct WebSeedKey(pub u32);

/// A fetch's number: given by the swarm, never used twice within it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FetchKey(pub u32);

/// Who told us of an address. In the order of trust.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Source {
    /// The user typed it (`--peer`).
    User,
    /// The magnet link carried it (`x.pe`).
    Link,
    /// Found on the local network (BEP 14).
    Lan,
    /// A tracker.
    Tracker,
    /// The DHT.
    Dht,
    /// Another peer (BEP 11).
    Pex,
    /// It dialed us.
    Incoming,
}

impl Source {
    /// Whether a private torrent must not use it (BEP 27): everything but trackers and what the user or the link names.
    pub(crate) fn is_public(self) -> bool {
        matches!(self, Source::Lan | Source::Dht | Source::Pex)
    }
}

/// Who opened a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// The other side.
    Incoming,
    /// We.
    Outgoing,
}

/// What happened. `P` is the payload of a block, which the swarm can only keep, hand on or drop.
#[derive(Debug)]
pub enum Event<P> {
    /// The deadline came.
    Wake,
    /// A source gave addresses.
    Found {
        /// Which.
        source: Source,
        /// What it gave; at most a few thousand are kept.
        addrs: Vec<SocketAddr>,
    },
    /// A dial that we ordered failed before both handshakes were exchanged.
    DialFailed {
        /// Whom we dialed.
        addr: SocketAddr,
        /// How it failed.
        failure: DialFailure,
    },
    /// Both handshakes were exchanged and the info hash is ours.
    Connected {
        /// The connection's new number.
        peer: PeerKey,
        /// The other side's address as the socket has it.
        addr: SocketAddr,
        /// Who opened it.
        direction: Direction,
        /// What the other side sent.
        handshake: Handshake,
    },
    /// The connection is closed, by whomever. Comes once for each `Connected`, also after our own `Disconnect`.
    Disconnected {
        /// Which.
        peer: PeerKey,
    },
    /// A message arrived.
    Message {
        /// From whom.
        peer: PeerKey,
        /// The message.
        message: Message,
    },
    /// A block arrived that had a grant; the grant is used up.
    Block {
        /// From whom.
        peer: PeerKey,
        /// The granted run.
        block: BlockRef,
        /// Its bytes.
        payload: P,
    },
    /// A piece message arrived for which there was no grant; its payload was drained.
    Unrequested {
        /// From whom.
        peer: PeerKey,
        /// What it said it was.
        block: RawBlock,
    },
    /// A block of a fetch came whole.
    Fetched {
        /// Of which.
        fetch: FetchKey,
        /// The block.
        block: BlockRef,
        /// Its bytes.
        payload: P,
    },
    /// A fetch is over: all its blocks came, or why not. Comes once for each `Fetch` that is not cancelled.
    FetchEnded {
        /// Which.
        fetch: FetchKey,
        /// How.
        result: Result<(), FetchFailure>,
    },
    /// An ordered upload left (was written to the socket), or was revoked with its connection still open.
    Uploaded {
        /// To whom.
        peer: PeerKey,
        /// What.
        block: BlockRef,
    },
    /// An ordered upload could not be read from disk.
    UploadFailed {
        /// For whom.
        peer: PeerKey,
        /// What.
        block: BlockRef,
        /// Whether its file changed, so that the piece should be checked again, or merely a passing fault.
        lost: bool,
    },
    /// The answer to a `Store`.
    Stored {
        /// The piece.
        piece: PieceIndex,
        /// How it ended.
        outcome: StoreOutcome<P>,
    },
    /// The answer to a `ReadLeaves`.
    LeavesRead {
        /// The piece.
        piece: PieceIndex,
        /// What was read.
        outcome: LeavesOutcome,
    },
    /// A piece that was written is not right on the disk any more. It is fetched again.
    Lost(PieceIndex),
    /// What was written cannot be synced now, or can again: meanwhile no new piece is begun.
    SyncFailing(bool),
    /// The answer to `Effect::Metadata`, or the first event where the info dictionary was known from the start: files are
    /// open and checked, the transfer may begin.
    Ready {
        /// The info dictionary.
        info: Arc<Info>,
        /// Piece layers known from a torrent file; empty for a magnet link.
        layers: PieceLayers,
        /// What was found on disk, verified.
        have: Bitfield,
        /// Which files to fetch.
        selection: Selection,
    },
    /// The user chose other files.
    Select(Selection),
    /// An ordered announce was answered, or not.
    Announced {
        /// By which tracker.
        tracker: TrackerKey,
        /// What it said, or why it said nothing.
        result: Result<AnnounceReply, SourceError>,
    },
    /// An ordered `Seek` is over; the addresses came before, as `Found`.
    Sought {
        /// Which source.
        via: Via,
        /// How it ended, or why it could not be asked.
        result: Result<Sought, SourceError>,
    },
    /// The host lets this many more bytes through; adds up. `Credit::UNLIMITED` where there is no limit.
    Credit(Credit),
    /// The host gives this swarm so many upload slots, the optimistic one counted.
    UploadSlots(u32),
    /// Stop: announce `stopped`, ask for nothing, close all connections. Ends with `Notice::Stopped`.
    Stop,
}

impl<P> From<Wake> for Event<P> {
    fn from(_: Wake) -> Self {
        Event::Wake
    }
}

/// Why a fetch from a web seed failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FetchFailure {
    /// What it means for the web seed.
    pub fault: FetchFault,
    /// What went wrong.
    pub error: SourceError,
    /// How long the server asked us to wait (RFC 9110, `Retry-After`).
    pub retry_after: Option<Duration>,
}

/// What a failed fetch means for its web seed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FetchFault {
    /// It may pass: asked again after a while.
    Passing,
    /// The server does not have this file, or another one under its name.
    Missing(FileIndex),
    /// It will not pass: the server ignores ranges, its address is forbidden.
    Useless,
    /// This process has no connection to spare.
    Busy,
}

/// How storing a piece ended.
#[derive(Debug)]
pub enum StoreOutcome<P> {
    /// The hashes matched and every byte is written (not necessarily synced).
    Written {
        /// SHA-256 of each block in the order given, if `Store` asked for digests; else empty.
        digests: Vec<[u8; 32]>,
    },
    /// The hashes did not match; nothing was written. The payload comes back: some of it may be right.
    Corrupt {
        /// The blocks as they were given.
        blocks: Vec<(BlockRef, P)>,
        /// SHA-256 of each block in the order given.
        digests: Vec<[u8; 32]>,
    },
    /// The hashes matched, and the disk refused. The payload comes back, so that it need not be fetched again.
    Failed {
        /// The blocks as they were given.
        blocks: Vec<(BlockRef, P)>,
        /// One line for the user: path, what is missing, what to do.
        reason: String,
    },
}

/// How reading a piece for its leaves ended.
#[derive(Debug)]
pub enum LeavesOutcome {
    /// SHA-256 of each block of the piece in order, gaps left out. They lead to the piece's root.
    Read(Vec<[u8; 32]>),
    /// It could not be read.
    Failed {
        /// Whether the piece is not right any more, or it is a passing fault.
        lost: bool,
    },
}

/// What to do.
#[derive(Debug)]
pub enum Effect<P> {
    /// Send a message.
    Send {
        /// To whom.
        peer: PeerKey,
        /// What.
        message: Message,
    },
    /// Let the reader of this connection put this block, when it comes, into a block of its own. Comes right before the
    /// `Send` of its request. At most one grant a block and connection at a time.
    Grant {
        /// Which connection.
        peer: PeerKey,
        /// What is expected.
        block: BlockRef,
    },
    /// Take a grant back. If the block comes all the same it is drained and reported as `Unrequested`.
    Revoke {
        /// Which connection.
        peer: PeerKey,
        /// Which block.
        block: BlockRef,
    },
    /// Get these blocks from a web seed, in this order: they follow each other but for padding and what is here already.
    /// Bytes in gaps are zeros, and not asked for. Answered by `Fetched` for each, and by `FetchEnded`.
    Fetch {
        /// From which.
        seed: WebSeedKey,
        /// The fetch's number.
        fetch: FetchKey,
        /// What.
        blocks: Vec<BlockRef>,
    },
    /// End a fetch; it needs no answer, and what still comes of it is thrown away.
    CancelFetch {
        /// Which.
        fetch: FetchKey,
    },
    /// Read this block from disk and send it; answered by `Uploaded` or `UploadFailed` unless the connection closes.
    /// Bytes in gaps are zeros.
    Upload {
        /// To whom.
        peer: PeerKey,
        /// What.
        block: BlockRef,
    },
    /// Forget an upload that has not begun; `Uploaded` is still reported.
    CancelUpload {
        /// To whom.
        peer: PeerKey,
        /// What.
        block: BlockRef,
    },
    /// Close the connection once what was ordered before is sent.
    Disconnect {
        /// Which.
        peer: PeerKey,
        /// Why.
        reason: DisconnectReason,
    },
    /// Dial, as soon as the host allows it. Ends in `Connected` or `DialFailed`.
    Dial {
        /// Whom.
        addr: SocketAddr,
    },
    /// Hash the piece (its gaps are zeros), compare, and if it is right write it. Answered by `Stored`.
    Store {
        /// The piece.
        piece: PieceIndex,
        /// What it must hash to; a hybrid's piece must fit both.
        expected: PieceHashes,
        /// Its blocks in order; together with gaps they are the whole piece.
        blocks: Vec<(BlockRef, P)>,
        /// Whether `Written` shall carry digests too (the piece was corrupt before, and the liar is not known yet).
        digests: bool,
    },
    /// Read this piece, of a v2 or hybrid torrent, and hash its blocks: a peer wants to know which of its own are wrong (BEP 52).
    /// Answered by `LeavesRead`. One at a time.
    ReadLeaves {
        /// The piece, which we have.
        piece: PieceIndex,
    },
    /// The info dictionary was fetched and its hash is right. Answered by `Ready`, or by dropping the swarm.
    Metadata {
        /// The bencoded dictionary.
        bytes: Vec<u8>,
    },
    /// All piece layers of chosen files are known now, and lead to their roots: worth keeping for the next run.
    Layers(PieceLayers),
    /// Ask a tracker. Answered by `Announced`.
    Announce {
        /// Which.
        tracker: TrackerKey,
        /// What to tell it.
        request: AnnounceRequest,
    },
    /// Look for peers under all of the torrent's hashes. Any number of `Found`, then one `Sought`.
    Seek {
        /// Where.
        via: Via,
        /// Whether to announce us too, with the port on which we listen. If not, ask or listen only.
        announce: bool,
        /// Whether peers are wanted: such an order goes before those of torrents that only want to be found.
        hurry: bool,
    },
    /// A peer says that it runs a DHT node there (BEP 5, `PORT`): worth knowing while few are. Once a connection at most.
    DhtNode {
        /// Its address, with the node's port; bound by the rule on private networks.
        addr: SocketAddr,
    },
    /// Tell the host what this swarm would use. Sent when it changes by much, not for every block.
    Demand(Demand),
    /// Tell the user.
    Notice(Notice),
}

/// Why we close a connection. The variants that name a fault are the peer's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DisconnectReason {
    /// It is ourselves.
    SelfConnection,
    /// There is a connection to this peer already.
    Duplicate,
    /// This peer was banned.
    Banned,
    /// It broke the protocol: a message out of order, out of bounds or never asked for.
    Protocol(&'static str),
    /// It sent a corrupt block.
    Corrupt,
    /// Neither side wants anything from the other.
    Uninteresting,
    /// It said nothing for too long.
    Idle,
    /// A better peer takes its place.
    Replaced,
    /// The torrent is private, and no tracker named it (BEP 27).
    Private,
    /// There is no room for it.
    Full,
    /// The swarm stops.
    Stopping,
}

/// Bytes that the host lets through, message headers counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Credit {
    /// For blocks sent.
    pub up: u64,
    /// For blocks asked for.
    pub down: u64,
}

impl<P> Effect<P> {
    /// The connected peer that it is about, if it is about one.
    pub fn peer(&self) -> Option<PeerKey> {
        match self {
            Effect::Send { peer, .. }
            | Effect::Grant { peer, .. }
            | Effect::Revoke { peer, .. }
            | Effect::Upload { peer, .. }
            | Effect::CancelUpload { peer, .. }
            | Effect::Disconnect { peer, .. } => Some(*peer),
            _ => None,
        }
    }
}

impl Credit {
    /// So much that it never runs out: there is no limit.
    pub const UNLIMITED: u64 = u64::MAX / 2;
}

/// What a swarm would use, for the host to share out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Demand {
    /// Bytes that peers wait for and that credit holds back.
    pub up: u64,
    /// Bytes that could be asked for at once and that credit holds back.
    pub down: u64,
    /// Peers that want something of us.
    pub interested: u32,
}

/// What a user or a script wants to know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Notice {
    /// A piece is verified and written.
    Piece(PieceIndex),
    /// All that was selected is verified and written.
    Complete,
    /// A peer was banned.
    Banned {
        /// Where it was.
        addr: SocketAddr,
        /// Why.
        reason: DisconnectReason,
    },
    /// Something is wrong with a web seed.
    WebSeed {
        /// Which.
        seed: WebSeedKey,
        /// What becomes of it.
        outcome: WebSeedOutcome,
        /// Why.
        error: SourceError,
    },
    /// The disk refused; the swarm waits and tries again by itself.
    DiskTrouble {
        /// One line for the user.
        reason: String,
    },
    /// The disk took a piece again.
    DiskRecovered,
    /// Everything is closed; no effect follows, but the refusal of who still connects and the report of what was still being
    /// written.
    Stopped,
}
