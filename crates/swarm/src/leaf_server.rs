//! Leaf hashes for others: requests below the piece layer (BEP 52, base layer 0).
//!
//! Nobody keeps leaves; they are read from the disk when somebody with a corrupt piece asks, a whole piece for one request.
//! So that a peer cannot make us read much for little, what is read is bounded for each peer and for all together in bytes and
//! time, one piece is read at a time, and what was read is kept for who asks next. Invariant: at most [`MAX_WAITING`] requests
//! wait, of one peer at most [`MAX_WAITING_OF_PEER`], each for the piece that is read or that will be.

use crate::event::PeerKey;
use crate::leaves::MAX_PIECE;
use shoal_layout::PieceIndex;
use shoal_machine::Time;
use shoal_wire::HashRange;
use std::collections::VecDeque;

/// Requests that wait. Chosen: a few peers beset by liars.
const MAX_WAITING: usize = 64;
/// Chosen: as many pieces as are in doubt at a time on a fast line.
const MAX_WAITING_OF_PEER: usize = 16;
/// What may be read for one peer at once: twice the longest piece that is read.
const PEER_BYTES: u64 = 2 * MAX_PIECE as u64;
/// And with time. Chosen: at 1 MiB/s a block is asked to be hashed for what its request costs, and no disk notices.
const PEER_BYTES_PER_S: u64 = 1 << 20;
/// What may be read for all peers at once, and with time. Chosen: less than a hundredth of a core, a tenth of a hard disk.
const ALL_BYTES: u64 = 4 * MAX_PIECE as u64;
const ALL_BYTES_PER_S: u64 = 8 << 20;

/// Bytes that may be read: so many, and more with time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowance {
    left: u64,
    most: u64,
    per_s: u64,
    at: Time,
}

impl Allowance {
    /// What one peer may have read.
    pub(crate) fn of_peer(now: Time) -> Allowance {
        Allowance { left: PEER_BYTES, most: PEER_BYTES, per_s: PEER_BYTES_PER_S, at: now }
    }

    /// How much is left.
    fn left(&mut self, now: Time) -> u64 {
        let more = now.since(self.at).as_millis() as u64 * self.per_s / 1_000;
        if more > 0 {
            (self.left, self.at) = (self.left.saturating_add(more).min(self.most), now);
        }
        self.left
    }
}

/// The requests that wait for the disk.
#[derive(Debug)]
pub(crate) struct LeafServer {
    waiting: VecDeque<(PeerKey, HashRange, PieceIndex)>,
    reading: Option<PieceIndex>,
    all: Allowance,
}

impl LeafServer {
    pub(crate) fn new(now: Time) -> LeafServer {
        let all = Allowance { left: ALL_BYTES, most: ALL_BYTES, per_s: ALL_BYTES_PER_S, at: now };
        LeafServer { waiting: VecDeque::new(), reading: None, all }
    }

    /// Lets a request wait for its piece, whose bytes count against what may be read. False if there is no room, or too much
    /// was read.
    pub(crate) fn queue(
        &mut self,
        now: Time,
        peer: PeerKey,
        peers: &mut Allowance,
        range: HashRange,
        (piece, bytes): (PieceIndex, u32),
    ) -> bool {
        let of_peer = self.waiting.iter().filter(|(waiting, ..)| *waiting == peer).count();
        if self.waiting.len() >= MAX_WAITING || of_peer >= MAX_WAITING_OF_PEER || bytes > MAX_PIECE {
            return false;
        }
        // Who asks for what is to be read anyway costs nothing.
        let cost = if self.waiting.iter().any(|(.., waiting)| *waiting == piece) { 0 } else { u64::from(bytes) };
        if peers.left(now) < cost || self.all.left(now) < cost {
            return false;
        }
        peers.left -= cost;
        self.all.left -= cost;
        self.waiting.push_back((peer, range, piece));
        true
    }

    /// The piece to read now, if none is being read.
    pub(crate) fn next(&mut self) -> Option<PieceIndex> {
        if self.reading.is_some() {
            return None;
        }
        self.reading = self.waiting.front().map(|(.., piece)| *piece);
        self.reading
    }

    /// A piece was read, or not: who waited for it.
    pub(crate) fn read(&mut self, piece: PieceIndex) -> Vec<(PeerKey, HashRange)> {
        self.reading.take_if(|reading| *reading == piece);
        let (here, rest) = std::mem::take(&mut self.waiting).into_iter().partition(|(.., waiting)| *waiting == piece);
        self.waiting = rest;
        let here: VecDeque<_> = here;
        here.into_iter().map(|(peer, range, _)| (peer, range)).collect()
    }

    pub(crate) fn peer_left(&mut self, peer: PeerKey) {
        self.waiting.retain(|(waiting, ..)| *waiting != peer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const PIECE: u32 = 4 << 20;

    fn range(index: u32) -> HashRange {
        HashRange { root: [1; 32], base_layer: 0, index, length: 256, proof_layers: 0 }
    }

    /// How many different pieces are read for one peer that asks for 1,000, and how many bytes.
    fn read_for(server: &mut LeafServer, now: Time, peer: PeerKey, allowance: &mut Allowance) -> u64 {
        let mut bytes = 0;
        for piece in (0..1_000).map(PieceIndex) {
            server.queue(now, peer, allowance, range(piece.0), (piece, PIECE));
            if let Some(piece) = server.next() {
                bytes += u64::from(PIECE);
                assert_eq!(server.next(), None, "one piece at a time");
                assert!(!server.read(piece).is_empty());
            }
        }
        bytes
    }

    #[test]
    fn nobody_makes_us_read_more_than_is_allowed() {
        let (mut server, mut now) = (LeafServer::new(Time::ZERO), Time::ZERO);
        let mut first = Allowance::of_peer(now);
        assert_eq!(read_for(&mut server, now, PeerKey(0), &mut first), PEER_BYTES);
        now = now + Duration::from_secs(8);
        assert_eq!(read_for(&mut server, now, PeerKey(0), &mut first), 8 * PEER_BYTES_PER_S);
        let mut more = 0;
        for peer in 1..50 {
            more += read_for(&mut server, now, PeerKey(peer), &mut Allowance::of_peer(now));
        }
        assert!(more <= ALL_BYTES, "{more}");
    }

    #[test]
    fn who_asks_for_what_is_being_read_waits_for_it() {
        let mut server = LeafServer::new(Time::ZERO);
        let mut allowance = Allowance::of_peer(Time::ZERO);
        let piece = (PieceIndex(7), PIECE);
        assert!(server.queue(Time::ZERO, PeerKey(1), &mut allowance, range(1), piece));
        assert_eq!(server.next(), Some(PieceIndex(7)));
        assert!(server.queue(Time::ZERO, PeerKey(2), &mut allowance, range(2), piece));
        assert!(server.queue(Time::ZERO, PeerKey(3), &mut allowance, range(3), piece));
        server.peer_left(PeerKey(2));
        assert_eq!(server.read(PieceIndex(7)), [(PeerKey(1), range(1)), (PeerKey(3), range(3))]);
        assert_eq!((server.next(), allowance.left), (None, PEER_BYTES - u64::from(PIECE)));
    }

    #[test]
    fn requests_that_wait_are_bounded() {
        let mut server = LeafServer::new(Time::ZERO);
        let mut taken = 0;
        for peer in (0..20).map(PeerKey) {
            let mut allowance = Allowance::of_peer(Time::ZERO);
            let ask = |n| server.queue(Time::ZERO, peer, &mut allowance, range(n), (PieceIndex(0), PIECE));
            let of_peer = (0..100).map(ask).filter(|taken| *taken).count();
            assert!(of_peer <= MAX_WAITING_OF_PEER);
            taken += of_peer;
        }
        assert_eq!(taken, MAX_WAITING);
    }
}
