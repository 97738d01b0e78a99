//! What a swarm knows of one connection.
//!
//! Two-sided state says whose it is (BEP 3). Invariants: we ask only while `am_interested` and not choked (or the piece is
//! allowed fast, BEP 6); `requests` are exactly the grants that the driver holds for this connection; `uploads` never
//! exceeds [`MAX_QUEUED_UPLOADS`].

use crate::blame::Sender;
use crate::event::{Direction, PeerKey};
use crate::leaf_server::Allowance;
use crate::pex::PexState;
use crate::rate::Rate;
use crate::swarm::super_seed::Sight;
use shoal_layout::{BLOCK_LENGTH, BlockRef, Layout, MAX_PIECES, PieceIndex};
use shoal_machine::Time;
use shoal_pieces::{Bitfield, BitfieldError};
use shoal_wire::{ExtendedHandshake, Handshake, HashRange, RawBlock};
use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

/// Requests of a peer that are kept; told to it as `reqq` (BEP 10; reliability.md B2).
pub(crate) const MAX_QUEUED_UPLOADS: usize = 500;
/// What a peer keeps if it does not say (as libtorrent assumes).
const DEFAULT_REQQ: u32 = 250;
/// Requests to one peer, at most. Chosen: 2,000 blocks are 31 MiB, a second of 250 MB/s.
const MAX_PIPELINE: u32 = 2_000;
/// Requests to begin with, before anything is known of a peer. Chosen: fills 1 MB/s at 60 ms.
const FIRST_PIPELINE: u32 = 8;
/// Requests to a slow peer: one that it sends and one that follows. What else is asked of it is asked of nobody who could send
/// it sooner (150 leeches of 64 KiB/s, 60 pieces of 64 KiB: done in 1.45 times the bound with four, in 1.40 with two).
const LEAST_PIPELINE: u32 = 2;
/// How much longer than the shortest round trip seen a pipeline lasts. Chosen: the pipeline must not run dry between two
/// wake-ups of a slow reader on either side.
const PIPELINE_SLACK: Duration = Duration::from_millis(150);
/// What a pipeline that still grows may hold, beside two round trips. Chosen: a libtorrent seed with a rate limit answers
/// in bursts every half second, and what is queued there is not asked of anybody else.
const SLOW_START_SPAN: Duration = Duration::from_millis(600);

/// Pieces that a peer has.
#[derive(Debug)]
pub(crate) enum PeerPieces {
    /// The layout is not known yet: what it said, unchecked but for the bound on pieces.
    Unchecked { all: bool, bits: Vec<u8> },
    /// Checked against the layout.
    Known(Bitfield),
}

impl PeerPieces {
    /// Remembers an unchecked `have`. False if no torrent has such a piece.
    pub(crate) fn set_unchecked(&mut self, piece: u32) -> bool {
        let PeerPieces::Unchecked { bits, .. } = self else { return true };
        if piece >= MAX_PIECES {
            return false;
        }
        let byte = (piece / 8) as usize;
        if bits.len() <= byte {
            bits.resize(byte + 1, 0);
        }
        bits[byte] |= 0x80 >> (piece % 8);
        true
    }

    /// Adds an unchecked bitfield, whose length the codec bounds, to what was said.
    pub(crate) fn add_unchecked(&mut self, more: Vec<u8>) {
        let PeerPieces::Unchecked { bits, .. } = self else { return };
        let before = std::mem::replace(bits, more);
        bits.resize(bits.len().max(before.len()), 0);
        for (byte, old) in bits.iter_mut().zip(before) {
            *byte |= old;
        }
    }

    /// Checks what was said against the number of pieces.
    pub(crate) fn check(&self, pieces: u32) -> Result<Bitfield, BitfieldError> {
        match self {
            PeerPieces::Known(bits) => Ok(bits.clone()),
            PeerPieces::Unchecked { all: true, .. } => Ok(Bitfield::full(pieces)),
            PeerPieces::Unchecked { all: false, bits } => {
                let mut bits = bits.clone();
                let length = (pieces as usize).div_ceil(8);
                if bits.len() < length {
                    bits.resize(length, 0);
                }
                Bitfield::from_bytes(pieces, &bits)
            }
        }
    }
}

/// A block that was asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) block: BlockRef,
    pub(crate) at: Time,
}

/// One connection. In order of use: with thousands of swarms every line of a processor's cache that an event touches costs, and
/// what is looked at of all peers lies in the first ones.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Peer {
    pub(crate) key: PeerKey,
    /// How many pieces it has that we want and lack.
    pub(crate) wanted_pieces: u32,
    pub(crate) am_choking: bool,
    pub(crate) am_interested: bool,
    pub(crate) peer_choking: bool,
    pub(crate) peer_interested: bool,
    /// Whether a bitfield, have-all or have-none came (BEP 3: at most once).
    pub(crate) bitfield_came: bool,
    /// Whether it wants nothing more (BEP 21).
    pub(crate) upload_only: bool,
    /// It kept blocks from us for so long that others are asked for them.
    pub(crate) snubbing: bool,
    /// Verified payload that came from it.
    pub(crate) gave_good: bool,
    /// It refused hashes since the last tick.
    pub(crate) refused_hashes: bool,
    /// Whether it said where its DHT node is.
    pub(crate) dht_port_came: bool,
    pub(crate) direction: Direction,
    pub(crate) last_received: Time,
    pub(crate) last_sent: Time,
    /// Until when it is presumed to have something for us, having said nothing yet.
    pub(crate) presumed_until: Time,
    /// When `am_choking` changed last, if it ever did.
    pub(crate) choke_changed: Option<Time>,
    pub(crate) pieces: PeerPieces,

    /// What it sees of what we have (BEP 16).
    pub(crate) sight: Sight,
    /// Blocks asked for, oldest first.
    pub(crate) requests: VecDeque<Asked>,
    /// Blocks that it asked for and that wait for credit or a slot in the window.
    pub(crate) uploads: VecDeque<BlockRef>,
    /// Blocks ordered from the driver and not reported yet.
    pub(crate) uploading: VecDeque<BlockRef>,
    /// When it first was, if it ever was.
    pub(crate) interested_since: Option<Time>,
    /// Its slot is one that fills a gap; what `choke_changed` was before.
    pub(crate) extra_slot: Option<Option<Time>>,
    pub(crate) last_block: Time,
    /// When a block was ordered for it last, or it asked for one after a pause.
    pub(crate) uploaded_at: Time,
    /// The piece of which it was sent a block last, and how many in a row.
    pub(crate) sending: Option<(PieceIndex, u32)>,
    /// What it was given of our line, on the line's clock (`swarm/turns.rs`).
    pub(crate) line_share: u64,
    /// What a byte of it costs.
    pub(crate) line_price: u64,
    /// Pieces that we may ask for while choked (BEP 6).
    pub(crate) allowed_fast: BTreeSet<PieceIndex>,
    /// Pieces that it may ask for while choked (BEP 6).
    pub(crate) granted_fast: BTreeSet<PieceIndex>,
    /// Hash requests sent and not answered.
    pub(crate) hash_requests: Vec<(HashRange, Time)>,
    /// The shortest time from request to block, of this and the last window.
    round_trip: [Option<Duration>; 2],
    round_trip_since: Time,
    /// How deep the pipeline is allowed to be while it still grows (slow start), or `None` once it follows the rate.
    slow_start: Option<SlowStart>,
    /// How often that was, since its last block.
    pub(crate) snubs: u32,

    pub(crate) addr: SocketAddr,
    pub(crate) handshake: Handshake,
    pub(crate) extensions: Option<ExtendedHandshake>,
    /// Where it listens, where that is known from another connection to it.
    pub(crate) known_listener: Option<SocketAddr>,
    /// Until when it is not asked for hashes, having kept silent.
    pub(crate) hashes_rest_until: Time,
    pub(crate) download: Rate,
    pub(crate) upload: Rate,
    /// Requests refused because the queue was full.
    pub(crate) overflow: u32,
    /// Parts of metadata served.
    pub(crate) metadata_served: u64,
    /// Hash requests served.
    pub(crate) hashes_served: u64,
    /// What may be read from the disk for its hash requests.
    pub(crate) leaves_allowed: Allowance,
    /// Bytes of blocks that came without having been asked for.
    pub(crate) unrequested: u64,
    /// What it was told of other peers, and told us.
    pub(crate) pex: PexState,
    /// When it connected.
    pub(crate) since: Time,
}

#[derive(Debug, Clone, Copy)]
struct SlowStart {
    depth: u32,
    checked: Time,
    rate: u64,
}

impl Peer {
    pub(crate) fn new(key: PeerKey, now: Time, addr: SocketAddr, direction: Direction, handshake: Handshake) -> Peer {
        Peer {
            key,
            addr,
            direction,
            handshake,
            extensions: None,
            known_listener: None,
            am_choking: true,
            am_interested: false,
            presumed_until: now,
            peer_choking: true,
            peer_interested: false,
            interested_since: None,
            choke_changed: None,
            extra_slot: None,
            pieces: PeerPieces::Unchecked { all: false, bits: Vec::new() },
            bitfield_came: false,
            dht_port_came: false,
            wanted_pieces: 0,
            upload_only: false,
            allowed_fast: BTreeSet::new(),
            granted_fast: BTreeSet::new(),
            sight: Sight::All,
            requests: VecDeque::new(),
            uploads: VecDeque::new(),
            uploading: VecDeque::new(),
            uploaded_at: now,
            sending: None,
            line_share: 0,
            line_price: 1,
            hash_requests: Vec::new(),
            refused_hashes: false,
            hashes_rest_until: Time::ZERO,
            download: Rate::new(now),
            upload: Rate::new(now),
            slow_start: Some(SlowStart { depth: FIRST_PIPELINE, checked: now, rate: 0 }),
            round_trip: [None; 2],
            round_trip_since: now,
            last_block: now,
            last_received: now,
            last_sent: now,
            snubbing: false,
            snubs: 0,
            overflow: 0,
            metadata_served: 0,
            hashes_served: 0,
            leaves_allowed: Allowance::of_peer(now),
            unrequested: 0,
            pex: PexState::default(),
            since: now,
            gave_good: false,
        }
    }

    pub(crate) fn fast(&self) -> bool {
        self.handshake.supports_fast()
    }

    /// The address that others can dial, as far as we know it.
    pub(crate) fn listens_on(&self) -> Option<SocketAddr> {
        match self.direction {
            Direction::Outgoing => Some(self.addr),
            Direction::Incoming if self.known_listener.is_some() => self.known_listener,
            Direction::Incoming => {
                let port = self.extensions.as_ref()?.port?;
                (port != 0).then(|| SocketAddr::new(self.addr.ip(), port))
            }
        }
    }

    pub(crate) fn sender(&self) -> Sender {
        Sender { addr: self.listens_on().unwrap_or(self.addr), peer_id: self.handshake.peer_id }
    }

    /// Whether it has everything, as far as it said.
    pub(crate) fn is_seed(&self) -> bool {
        match &self.pieces {
            PeerPieces::Unchecked { all, .. } => *all,
            PeerPieces::Known(bits) => bits.is_full(),
        }
    }

    /// Whether it says that it has everything and shows a part (BEP 16).
    pub(crate) fn hides(&self) -> bool {
        let says_so = self.extensions.as_ref().is_some_and(|extensions| extensions.super_seeding);
        says_so && !self.upload_only && !self.is_seed()
    }

    /// Whether it would take blocks of us: it says so, or is not shown what it could say so for.
    pub(crate) fn wants_us(&self) -> bool {
        self.peer_interested || self.sight.is_masked() && (self.bitfield_came || !self.fast()) && !self.is_seed()
    }

    /// Takes a request out of the pipeline. Cost: one step for a peer that answers in order.
    pub(crate) fn take_request(&mut self, block: BlockRef) -> Option<Asked> {
        let place = self.requests.iter().position(|asked| asked.block == block)?;
        self.requests.remove(place)
    }

    /// The outstanding request that a peer's message names, if there is one.
    pub(crate) fn asked_for(&self, raw: RawBlock) -> Option<BlockRef> {
        let found = self.requests.iter().find(|asked| {
            let block = asked.block;
            block.piece.0 == raw.piece && block.begin == raw.begin && block.length == raw.length
        });
        found.map(|asked| asked.block)
    }

    /// How many requests should be outstanding: rate times round trip, with slack; while the rate still grows with the
    /// depth, one more for each block that came.
    pub(crate) fn pipeline(&self, now: Time) -> u32 {
        if self.snubbing {
            return 1;
        }
        let reqq = self.extensions.as_ref().and_then(|ext| ext.reqq).unwrap_or(DEFAULT_REQQ);
        let most = reqq.clamp(1, MAX_PIPELINE);
        let depth = match self.slow_start {
            Some(start) => {
                // A burst after a pause is no reason to queue more than it takes to find out how fast the peer is.
                let span = SLOW_START_SPAN + self.shortest_round_trip().unwrap_or_default() * 2;
                let bytes = u128::from(self.download.over(now, 1)) * span.as_micros() / 1_000_000;
                let bound = (bytes / u128::from(BLOCK_LENGTH)).min(u128::from(most)) as u32;
                start.depth.min(bound.max(FIRST_PIPELINE))
            }
            None => {
                let span = self.shortest_round_trip().unwrap_or(PIPELINE_SLACK) * 2 + PIPELINE_SLACK;
                let bytes = u128::from(self.download.over(now, 2)) * span.as_micros() / 1_000_000;
                (bytes / u128::from(BLOCK_LENGTH)).min(u128::from(most)) as u32 + 2
            }
        };
        // One that keeps fewer is asked for fewer, however few.
        depth.clamp(LEAST_PIPELINE.min(most), most)
    }

    fn shortest_round_trip(&self) -> Option<Duration> {
        self.round_trip.iter().flatten().min().copied()
    }

    /// A block that was asked for at `asked` has come.
    pub(crate) fn block_came(&mut self, now: Time, asked: Asked) {
        self.download.add(now, u64::from(asked.block.length));
        self.last_block = now;
        self.snubbing = false;
        self.snubs = 0;
        // The shortest of two windows of ten seconds, so that a path that became longer is noticed.
        if now.since(self.round_trip_since) > Duration::from_secs(10) {
            self.round_trip = [None, self.round_trip[0]];
            self.round_trip_since = now;
        }
        let took = now.since(asked.at);
        self.round_trip[0] = Some(self.round_trip[0].map_or(took, |shortest| shortest.min(took)));
        if let Some(start) = &mut self.slow_start {
            start.depth = start.depth.saturating_add(1).min(MAX_PIPELINE);
            // Once a second: did the deeper pipeline help? (10 %: as libtorrent's slow start.)
            if now.since(start.checked) >= Duration::from_secs(1) {
                let rate = self.download.over(now, 1);
                if rate < start.rate + start.rate / 10 {
                    self.slow_start = None;
                } else {
                    (start.rate, start.checked) = (rate, now);
                }
            }
        }
    }

    /// How long a request may stay unanswered: several times what it should take, between bounds.
    pub(crate) fn patience(&self, now: Time) -> Duration {
        let rate = self.download.over(now, 10).max(1);
        let queued = self.requests.len() as u64 * u64::from(BLOCK_LENGTH);
        // Chosen: 10 s at least (a busy disk), 60 s at most (BEP 3's anti-snubbing).
        Duration::from_secs((4 * queued / rate).clamp(10, 60))
    }

    pub(crate) fn check_invariants(&self, layout: Option<&Layout>) {
        assert!(self.uploads.len() <= MAX_QUEUED_UPLOADS, "uploads of {:?}", self.key);
        assert!(self.requests.len() as u32 <= MAX_PIPELINE, "requests to {:?}", self.key);
        let mut seen = BTreeSet::new();
        for asked in &self.requests {
            assert!(seen.insert(asked.block), "{:?} asked twice of {:?}", asked.block, self.key);
            let block = asked.block;
            let checked = layout.and_then(|layout| layout.block(block.piece.0, block.begin, block.length));
            assert_eq!(checked, Some(block), "asked of {:?}", self.key);
        }
    }
}
