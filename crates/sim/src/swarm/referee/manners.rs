//! What was said on one connection, by both, as far as rules follow from it.

use shoal_layout::{BlockRef, PieceIndex};
use shoal_machine::Time;
use shoal_pieces::Bitfield;
use shoal_wire::{Extended, Message, RawBlock};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

/// Requests that a peer keeps if it does not say (as libtorrent assumes).
const DEFAULT_REQQ: u32 = 250;
/// Requests of a peer without the fast extension that are watched; such a one is not told which are dropped. Chosen.
const MAX_WATCHED: usize = 1_000;

/// How long one who sends nothing may keep a request: 60 s (BEP 3, anti-snubbing), looked at every second.
const MAX_WAIT: Duration = Duration::from_secs(62);

/// One connection.
#[derive(Debug)]
pub(super) struct Manners {
    pub(super) addr: SocketAddr,
    fast: bool,
    pub(super) am_choking: bool,
    am_interested: bool,
    peer_choking: bool,
    /// What it has, once the number of pieces is known.
    theirs: Option<Bitfield>,
    /// What it let us ask for while choked.
    allowed_fast: BTreeSet<u32>,
    pub(super) granted_fast: BTreeSet<u32>,
    /// Pieces of which it was told, once it was of any.
    told: Option<Bitfield>,
    pub(super) grants: BTreeSet<BlockRef>,
    /// Asked of it and not answered.
    pub(super) asked: BTreeMap<BlockRef, Time>,
    /// When it last sent a block that it was asked for.
    last_block: Time,
    /// Asked by it and not answered.
    pub(super) wants: BTreeSet<RawBlock>,
    pub(super) uploading: BTreeSet<BlockRef>,
    /// It asks for more than is remembered.
    pub(super) unwatched: bool,
    reqq: u32,
    greeted: bool,
    /// Pieces said before their number was known: what it has is not checked.
    said_early: bool,
}

impl Manners {
    pub(super) fn new(addr: SocketAddr, fast: bool) -> Manners {
        Manners {
            addr,
            fast,
            am_choking: true,
            am_interested: false,
            peer_choking: true,
            theirs: None,
            allowed_fast: BTreeSet::new(),
            granted_fast: BTreeSet::new(),
            told: None,
            grants: BTreeSet::new(),
            asked: BTreeMap::new(),
            last_block: Time::ZERO,
            wants: BTreeSet::new(),
            uploading: BTreeSet::new(),
            unwatched: false,
            reqq: DEFAULT_REQQ,
            greeted: false,
            said_early: false,
        }
    }

    /// It sent a block; whether it was asked for it.
    pub(super) fn gives(&mut self, now: Time, block: &BlockRef) -> bool {
        let asked = self.asked.remove(block).is_some();
        if asked {
            self.last_block = now;
        }
        asked
    }

    /// Whether it keeps a request for longer than is borne.
    pub(super) fn is_waited_for_too_long(&self, now: Time) -> bool {
        let oldest = self.asked.values().min();
        oldest.is_some_and(|&oldest| now.since(oldest.max(self.last_block)) > MAX_WAIT)
    }

    /// It says something. `pieces` are the torrent's, once known.
    pub(super) fn hears(&mut self, message: &Message, pieces: Option<u32>) {
        match message {
            Message::Choke => self.peer_choking = true,
            Message::Unchoke => self.peer_choking = false,
            Message::AllowedFast(piece) => {
                self.allowed_fast.insert(*piece);
            }
            Message::Request(asked) => {
                self.wants.insert(*asked);
            }
            Message::Cancel(asked) if !self.fast => {
                self.wants.remove(asked);
            }
            Message::Reject(asked) => {
                let before = self.asked.len();
                self.asked.retain(|block, _| super::raw(*block) != *asked);
                if self.asked.len() < before {
                    // An allowed piece that is refused is not allowed any more (BEP 6).
                    self.allowed_fast.remove(&asked.piece);
                }
            }
            Message::Extended { message: Extended::Handshake(handshake), .. } => {
                self.reqq = handshake.reqq.unwrap_or(DEFAULT_REQQ).max(1);
            }
            Message::Have(_) | Message::Bitfield(_) | Message::HaveAll | Message::HaveNone if pieces.is_none() => {
                self.said_early = true;
            }
            _ => {}
        }
        let Some(pieces) = pieces else { return };
        let theirs = self.theirs.get_or_insert_with(|| Bitfield::new(pieces));
        match message {
            Message::Have(piece) if *piece < pieces => {
                theirs.set(PieceIndex(*piece));
            }
            Message::HaveAll => *theirs = Bitfield::full(pieces),
            Message::Bitfield(bytes) => {
                if let Ok(bits) = Bitfield::from_bytes(pieces, bytes) {
                    bits.iter_set().for_each(|piece| {
                        theirs.set(piece);
                    });
                }
            }
            Message::Extended { message: Extended::DontHave(piece), .. } if *piece < pieces => {
                theirs.unset(PieceIndex(*piece));
            }
            _ => {}
        }
    }

    /// We say something.
    pub(super) fn says(&mut self, now: Time, message: &Message, have: Option<&Bitfield>) -> Result<(), &'static str> {
        match message {
            Message::Choke | Message::Unchoke => {
                let choke = *message == Message::Choke;
                if self.am_choking == choke {
                    return Err("a choke or unchoke that changes nothing");
                }
                self.am_choking = choke;
                if choke && !self.fast {
                    // Silently taken back (BEP 3).
                    self.wants.clear();
                }
            }
            Message::Interested | Message::NotInterested => {
                let interested = *message == Message::Interested;
                if self.am_interested == interested {
                    return Err("an interest that changes nothing");
                }
                self.am_interested = interested;
            }
            Message::Have(piece) => {
                if let Some(have) = have.filter(|have| *piece < have.len()) {
                    self.told_in(have.len()).set(PieceIndex(*piece));
                }
            }
            Message::Bitfield(_) | Message::HaveAll | Message::HaveNone => {
                if std::mem::replace(&mut self.greeted, true) {
                    return Err("a second bitfield (BEP 3)");
                }
                if !self.fast && !matches!(message, Message::Bitfield(_)) {
                    return Err("the fast extension's, to one without it");
                }
                if let (Message::Bitfield(bytes), Some(have)) = (message, have)
                    && let Ok(bits) = Bitfield::from_bytes(have.len(), bytes)
                {
                    bits.iter_set().for_each(|piece| {
                        self.told_in(have.len()).set(piece);
                    });
                }
                if let (Message::HaveAll, Some(have)) = (message, have) {
                    self.told = Some(Bitfield::full(have.len()));
                }
            }
            Message::AllowedFast(piece) => {
                self.granted_fast.insert(*piece);
            }
            Message::Request(asked) => return self.asks(now, *asked),
            Message::Reject(asked) => {
                if !self.fast {
                    return Err("the fast extension's, to one without it");
                }
                if !self.wants.remove(asked) && !self.unwatched {
                    return Err("a rejection of what it did not ask for");
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn told_in(&mut self, pieces: u32) -> &mut Bitfield {
        self.told.get_or_insert_with(|| Bitfield::new(pieces))
    }

    /// What it was told of a piece holds no more.
    pub(super) fn untell(&mut self, piece: PieceIndex) {
        if let Some(told) = &mut self.told {
            told.unset(piece);
        }
    }

    /// A piece of `have` that it was not told of.
    pub(super) fn untold_of(&self, have: &Bitfield) -> Option<PieceIndex> {
        match &self.told {
            Some(told) if have.is_subset(told) => None,
            Some(told) => have.iter_and_not(told).next(),
            None => have.iter_set().next(),
        }
    }

    fn asks(&mut self, now: Time, asked: RawBlock) -> Result<(), &'static str> {
        if self.peer_choking && !self.allowed_fast.contains(&asked.piece) {
            return Err("asks one who chokes us");
        }
        let piece = PieceIndex(asked.piece);
        if !self.said_early && !self.theirs.as_ref().is_some_and(|theirs| theirs.get(piece)) {
            return Err("asks one who has it not");
        }
        if self.asked.len() as u32 >= self.reqq {
            return Err("asks for more than it keeps (I5)");
        }
        let block = BlockRef { piece, begin: asked.begin, length: asked.length };
        if !self.grants.contains(&block) {
            return Err("asks without a grant");
        }
        if self.asked.insert(block, now).is_some() {
            return Err("asks twice");
        }
        Ok(())
    }

    /// After an event of this peer.
    pub(super) fn settle(&mut self) -> Result<(), &'static str> {
        // Asked again for what is being sent: nothing more comes of it.
        for block in &self.uploading {
            self.wants.remove(&super::raw(*block));
        }
        if !self.fast {
            self.unwatched |= self.wants.len() > MAX_WATCHED;
            if self.unwatched {
                self.wants.clear();
            }
        }
        Ok(())
    }

    /// What must hold at any time.
    pub(super) fn inspect(&self) -> Result<(), &'static str> {
        let served = |asked: &RawBlock| self.granted_fast.contains(&asked.piece);
        if self.fast && self.am_choking && !self.wants.iter().all(served) {
            return Err("a request of one who is choked is neither served nor rejected (BEP 6)");
        }
        if self.grants.len() != self.asked.len() && self.fast {
            // A rejected request's grant is revoked with it; what a choke took back, too.
            return Err("grants and requests differ");
        }
        Ok(())
    }
}
