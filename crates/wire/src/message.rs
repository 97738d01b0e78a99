//! The values that peers exchange.

use std::net::{IpAddr, SocketAddr};

/// A run of bytes as a peer names it: unchecked. See `shoal_layout::Layout::block`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RawBlock {
    /// The piece's number.
    pub piece: u32,
    /// First byte within the piece.
    pub begin: u32,
    /// Bytes.
    pub length: u32,
}

/// The first 68 bytes of a connection (BEP 3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Handshake {
    /// The eight reserved bytes: see the `supports_` methods.
    pub reserved: [u8; 8],
    /// SHA-1 of a v1 info dictionary, or the first 20 bytes of a v2 info hash (BEP 52).
    pub info_hash: [u8; 20],
    /// The sender's id.
    pub peer_id: [u8; 20],
}

/// What hashes a hash message is about (BEP 52, "peer messages").
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct HashRange {
    /// The file's Merkle root.
    pub root: [u8; 32],
    /// The lowest layer asked for; 0 is the leaves.
    pub base_layer: u32,
    /// First hash, counted in the base layer.
    pub index: u32,
    /// How many hashes of the base layer: a power of two, 2 to 512.
    pub length: u32,
    /// How many layers of uncle hashes follow, counted from the base layer.
    pub proof_layers: u32,
}

/// One message after the handshake. A piece message is not among them: its payload goes straight into a block, see
/// `Frame::Piece`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// Nothing, so that the connection stays open.
    KeepAlive,
    /// The sender answers no requests from now on.
    Choke,
    /// The sender answers requests from now on.
    Unchoke,
    /// The sender wants something.
    Interested,
    /// The sender wants nothing.
    NotInterested,
    /// The sender has this piece.
    Have(u32),
    /// All that the sender has, one bit a piece, highest bit first.
    Bitfield(Vec<u8>),
    /// Send this block.
    Request(RawBlock),
    /// Do not send this block after all.
    Cancel(RawBlock),
    /// The sender's DHT node listens on this UDP port (BEP 5).
    Port(u16),
    /// The sender proposes this piece (BEP 6).
    Suggest(u32),
    /// The sender has everything (BEP 6).
    HaveAll,
    /// The sender has nothing (BEP 6).
    HaveNone,
    /// This request will not be answered (BEP 6).
    Reject(RawBlock),
    /// This piece may be asked for while choked (BEP 6).
    AllowedFast(u32),
    /// Send these hashes (BEP 52).
    HashRequest(HashRange),
    /// The hashes of the base layer, then one uncle a proof layer (BEP 52).
    Hashes(HashRange, Vec<[u8; 32]>),
    /// These hashes will not be sent (BEP 52).
    HashReject(HashRange),
    /// An extension's message (BEP 10). `id` is the receiver's number for it: 0 for the handshake, else what the receiver's
    /// handshake said; for what we receive, one of our own numbers (`extension_ids`).
    Extended {
        /// The receiver's number for this extension.
        id: u8,
        /// The message.
        message: Extended,
    },
    /// A message of an unknown kind, drained.
    Unknown {
        /// Its number.
        id: u8,
        /// Its length, the number not counted.
        length: u32,
    },
}

/// What an extension says (BEP 10).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Extended {
    /// What the sender speaks.
    Handshake(ExtendedHandshake),
    /// A part of the info dictionary (BEP 9).
    Metadata(MetadataMessage),
    /// Other peers (BEP 11).
    Pex(PexMessage),
    /// The sender has this piece no more (BEP 54).
    DontHave(u32),
    /// Whether the sender wants nothing more (the message form of BEP 21, as libtorrent sends it).
    UploadOnly(bool),
    /// An extension that we did not announce, drained.
    Unknown {
        /// Payload bytes.
        length: u32,
    },
}

/// The extension handshake (BEP 10), and what other BEPs put into it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ExtendedHandshake {
    /// The sender's number for `ut_metadata`; `None` if it does not speak it (or said 0).
    pub ut_metadata: Option<u8>,
    /// The sender's number for `ut_pex`.
    pub ut_pex: Option<u8>,
    /// The sender's number for `lt_donthave`.
    pub lt_donthave: Option<u8>,
    /// The sender's number for `upload_only`.
    pub upload_only_id: Option<u8>,
    /// The sender's number for `ut_holepunch`.
    pub ut_holepunch: Option<u8>,
    /// Client name and version, cut to 64 characters; not escaped.
    pub client: Option<String>,
    /// The port on which the sender listens.
    pub port: Option<u16>,
    /// Requests that the sender keeps before it drops some.
    pub reqq: Option<u32>,
    /// Bytes in the info dictionary, as the sender says (BEP 9); unchecked.
    pub metadata_size: Option<u64>,
    /// The receiver's address as the sender sees it.
    pub your_ip: Option<IpAddr>,
    /// Whether the sender wants nothing more (BEP 21).
    pub upload_only: bool,
    /// Whether the sender has everything and shows it piece by piece (BEP 16). Ours alone: who does not know it takes the sender for
    /// one that has little.
    pub super_seeding: bool,
}

/// A part of the info dictionary asked for, sent or refused (BEP 9).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MetadataMessage {
    /// Send this part of 16 KiB.
    Request {
        /// The part's number.
        piece: u32,
    },
    /// Here it is.
    Data {
        /// The part's number.
        piece: u32,
        /// Bytes in the whole info dictionary, as the sender says.
        total_size: u64,
        /// 16 KiB, less for the last.
        data: Vec<u8>,
    },
    /// It will not be sent.
    Reject {
        /// The part's number.
        piece: u32,
    },
    /// A kind that BEP 9 does not know; to be ignored.
    Unknown,
}

/// Peers that came and went since the last such message (BEP 11).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PexMessage {
    /// Peers that the sender is connected to now.
    pub added: Vec<PexPeer>,
    /// Peers that it no longer is connected to.
    pub dropped: Vec<SocketAddr>,
}

/// One added peer and its flags (BEP 11: 1 encryption, 2 seed, 4 uTP, 8 holepunch, 16 outgoing).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PexPeer {
    /// Where it listens.
    pub addr: SocketAddr,
    /// The flags.
    pub flags: u8,
}
