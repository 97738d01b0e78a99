//! A referee beside the machine: sees every event and every effect in their order, and knows the rules by itself.
//!
//! It keeps what follows from the protocol (BEP 3, 6, 10, 27) and from the contract between swarm and driver
//! (`shoal_swarm::Event`, `Effect`), and nothing of the machine's own state: what the machine forgot, it remembers. A
//! rule that is broken is kept as a violation; `docs/faults.md` lists them beside the invariants of a swarm.
//!
//! Cost: a few steps in ordered maps an event; a step a peer for an event that changes what we have.

mod manners;

use manners::Manners;
use shoal_layout::{BlockRef, PieceIndex, Selection};
use shoal_machine::Time;
use shoal_metainfo::Info;
use shoal_pieces::Bitfield;
use shoal_swarm::{DisconnectReason, Effect, Event, FetchKey, LeavesOutcome, Notice, PeerKey, StoreOutcome, Via};
use shoal_wire::{Extended, Message, RawBlock};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::net::SocketAddr;
use std::sync::Arc;

/// What is known once the files are open.
#[derive(Debug)]
struct Torrent {
    info: Arc<Info>,
    selection: Selection,
    have: Bitfield,
}

impl Torrent {
    /// Whether every piece of the chosen files is there.
    fn has_all(&self) -> bool {
        let layout = self.info.layout();
        let mut pieces = (0..layout.pieces()).map(PieceIndex);
        pieces
            .all(|piece| self.have.get(piece) || !self.selection.piece(layout, piece) || layout.payload_in(piece) == 0)
    }
}

/// Watches one process's swarm.
#[derive(Debug, Default)]
pub(crate) struct Referee {
    torrent: Option<Torrent>,
    serve_only: bool,
    peers: BTreeMap<PeerKey, Manners>,
    fetches: BTreeMap<FetchKey, BTreeSet<BlockRef>>,
    /// Blocks that came as asked and are not with the driver.
    held: BTreeSet<BlockRef>,
    /// Blocks of pieces that were corrupt: kept if they are right, else asked for again.
    doubted: BTreeSet<BlockRef>,
    storing: BTreeSet<PieceIndex>,
    /// The piece that the driver reads for its leaves.
    reading: Option<PieceIndex>,
    banned: BTreeSet<SocketAddr>,
    stopping: bool,
    stopped: bool,
    now: Time,
    // Of the event that is being handled:
    came: Option<BlockRef>,
    have_changed: bool,
    touched: Option<PeerKey>,
    violation: Option<String>,
}

fn raw(block: BlockRef) -> RawBlock {
    RawBlock { piece: block.piece.0, begin: block.begin, length: block.length }
}

impl Referee {
    pub(crate) fn new(serve_only: bool) -> Referee {
        Referee { serve_only, ..Referee::default() }
    }

    /// The first rule that was broken.
    pub(crate) fn verdict(&self) -> Result<(), String> {
        self.violation.clone().map_or(Ok(()), Err)
    }

    fn whistle(&mut self, what: impl FnOnce() -> String) {
        self.violation.get_or_insert_with(what);
    }

    fn has(&self, piece: PieceIndex) -> bool {
        self.torrent.as_ref().is_some_and(|torrent| torrent.have.get(piece))
    }

    fn is_private(&self) -> bool {
        self.torrent.as_ref().is_some_and(|torrent| torrent.info.private())
    }

    // ---- events, before the machine sees them

    pub(crate) fn event<P>(&mut self, now: Time, event: &Event<P>) {
        self.now = now;
        (self.came, self.have_changed, self.touched) = (None, false, None);
        match event {
            Event::Ready { info, have, selection, .. } => {
                let torrent = Torrent { info: Arc::clone(info), selection: selection.clone(), have: have.clone() };
                self.torrent = Some(torrent);
                self.have_changed = true;
            }
            Event::Connected { peer, addr, handshake, .. } => {
                self.peers.insert(*peer, Manners::new(*addr, handshake.supports_fast()));
            }
            Event::Disconnected { peer } => {
                self.peers.remove(peer);
            }
            Event::Message { peer, message } => {
                self.touched = Some(*peer);
                let pieces = self.torrent.as_ref().map(|torrent| torrent.info.layout().pieces());
                if let Some(manners) = self.peers.get_mut(peer) {
                    manners.hears(message, pieces);
                }
            }
            Event::Block { peer, block, .. } => {
                let Some(manners) = self.peers.get_mut(peer) else { return };
                manners.grants.remove(block);
                if manners.gives(now, block) {
                    self.block_came(*block);
                }
            }
            Event::Fetched { fetch, block, .. } => {
                let asked = self.fetches.get_mut(fetch).is_some_and(|blocks| blocks.remove(block));
                asked.then(|| self.block_came(*block));
            }
            Event::FetchEnded { fetch, .. } => {
                self.fetches.remove(fetch);
            }
            Event::Stored { piece, outcome } => {
                if !self.storing.remove(piece) {
                    self.whistle(|| format!("the driver stored {piece:?} and was not asked to"));
                }
                match outcome {
                    StoreOutcome::Written { .. } => {
                        if let Some(torrent) = &mut self.torrent {
                            torrent.have.set(*piece);
                        }
                        self.have_changed = true;
                    }
                    StoreOutcome::Corrupt { blocks, .. } => self.doubted.extend(blocks.iter().map(|(block, _)| *block)),
                    StoreOutcome::Failed { blocks, .. } => self.held.extend(blocks.iter().map(|(block, _)| *block)),
                }
            }
            Event::LeavesRead { piece, outcome } => {
                if self.reading.take() != Some(*piece) {
                    self.whistle(|| format!("the driver read the leaves of {piece:?} and was not asked to"));
                }
                if matches!(outcome, LeavesOutcome::Failed { lost: true }) {
                    self.lost(*piece);
                }
            }
            Event::Lost(piece) => self.lost(*piece),
            Event::Uploaded { peer, block } => {
                if let Some(manners) = self.peers.get_mut(peer) {
                    manners.uploading.remove(block);
                }
            }
            Event::UploadFailed { peer, block, lost } => {
                if let Some(manners) = self.peers.get_mut(peer) {
                    manners.uploading.remove(block);
                    // It is answered by a rejection.
                    manners.wants.insert(raw(*block));
                }
                if *lost {
                    self.lost(block.piece);
                }
            }
            Event::Select(selection) => {
                if let Some(torrent) = &mut self.torrent {
                    torrent.selection = selection.clone();
                }
            }
            Event::Stop => self.stopping = true,
            _ => {}
        }
    }

    fn block_came(&mut self, block: BlockRef) {
        if self.held.insert(block) {
            self.came = Some(block);
        }
        // What a web seed's run still brings of it is thrown away, whatever becomes of this copy.
        self.fetches.values_mut().for_each(|blocks| {
            blocks.remove(&block);
        });
    }

    fn lost(&mut self, piece: PieceIndex) {
        if let Some(torrent) = &mut self.torrent {
            torrent.have.unset(piece);
        }
        for manners in self.peers.values_mut() {
            manners.untell(piece);
        }
    }

    // ---- effects, before the driver carries them out

    pub(crate) fn effect<P: Debug>(&mut self, effect: &Effect<P>) {
        let refusal = matches!(effect, Effect::Disconnect { reason: DisconnectReason::Stopping, .. });
        let report = matches!(effect, Effect::Notice(_));
        if self.stopped && !refusal && !report {
            self.whistle(|| format!("{effect:?} after the end"));
        }
        if let Some(peer) = effect.peer()
            && !self.peers.contains_key(&peer)
        {
            return self.whistle(|| format!("an effect for {peer:?}, who is gone (I9)"));
        }
        match effect {
            Effect::Send { peer, message } => self.says(*peer, message),
            Effect::Grant { peer, block } => {
                let new = self.manners(*peer).grants.insert(*block);
                if !new {
                    self.whistle(|| format!("{block:?} is granted twice to {peer:?}"));
                }
            }
            Effect::Revoke { peer, block } => {
                let manners = self.manners(*peer);
                manners.asked.remove(block);
                if !manners.grants.remove(block) {
                    self.whistle(|| format!("{block:?} is revoked and was not granted to {peer:?}"));
                }
            }
            Effect::Fetch { fetch, blocks, .. } => {
                for block in blocks {
                    self.check_wanted(*block);
                }
                self.fetches.insert(*fetch, blocks.iter().copied().collect());
            }
            Effect::CancelFetch { fetch } => {
                self.fetches.remove(fetch);
            }
            Effect::Upload { peer, block } => self.uploads(*peer, *block),
            Effect::Disconnect { peer, .. } => {
                self.peers.remove(peer);
            }
            Effect::Dial { addr } if self.banned.contains(addr) => {
                self.whistle(|| format!("dials {addr}, who is banned (I9)"));
            }
            Effect::Store { piece, blocks, .. } => self.stores(*piece, blocks.iter().map(|(block, _)| *block)),
            Effect::ReadLeaves { piece } => {
                let busy = self.reading.replace(*piece).is_some();
                if busy || !self.has(*piece) {
                    self.whistle(|| format!("{piece:?} is read for its leaves beside another, or is not there (I3)"));
                }
            }
            Effect::Seek { via, .. } if self.is_private() && matches!(via, Via::Dht | Via::Lan) => {
                self.whistle(|| format!("a private torrent is sought by {via:?} (I8)"));
            }
            Effect::Notice(notice) => self.notice(notice),
            _ => {}
        }
    }

    fn manners(&mut self, peer: PeerKey) -> &mut Manners {
        self.peers.get_mut(&peer).expect("looked up before")
    }

    fn check_wanted(&mut self, block: BlockRef) {
        if self.has(block.piece) {
            self.whistle(|| format!("{block:?} is asked for and there"));
        } else if self.storing.contains(&block.piece) || self.held.contains(&block) {
            self.whistle(|| format!("{block:?} is asked for and came"));
        } else if self.serve_only {
            self.whistle(|| format!("{block:?} is asked for by one that only serves"));
        } else if let Some(torrent) = &self.torrent
            && !torrent.selection.piece(torrent.info.layout(), block.piece)
        {
            self.whistle(|| format!("{block:?} is asked for and of no chosen file"));
        }
    }

    fn says(&mut self, peer: PeerKey, message: &Message) {
        let told = match message {
            Message::Have(piece) => self.has(PieceIndex(*piece)),
            Message::HaveAll => self.torrent.as_ref().is_some_and(|torrent| torrent.have.is_full()),
            Message::Bitfield(bytes) => self.torrent.as_ref().is_some_and(|torrent| {
                Bitfield::from_bytes(torrent.have.len(), bytes).is_ok_and(|bits| bits.is_subset(&torrent.have))
            }),
            _ => true,
        };
        if !told {
            self.whistle(|| format!("says {message:?} and has it not (I1)"));
        }
        if let Message::Request(asked) = message {
            let block = self
                .torrent
                .as_ref()
                .and_then(|torrent| torrent.info.layout().block(asked.piece, asked.begin, asked.length));
            match block {
                Some(block) => self.check_wanted(block),
                None => self.whistle(|| format!("asks for {asked:?}, which does not exist")),
            }
        }
        if self.is_private()
            && matches!(message, Message::Extended { message: Extended::Pex(_), .. } | Message::Port(_))
        {
            self.whistle(|| format!("a private torrent's peer is sent {message:?} (I8)"));
        }
        let have = self.torrent.as_ref().map(|torrent| &torrent.have);
        let manners = self.peers.get_mut(&peer).expect("looked up before");
        if let Err(what) = manners.says(self.now, message, have) {
            self.whistle(|| format!("{what}: {message:?} to {peer:?}"));
        }
    }

    fn uploads(&mut self, peer: PeerKey, block: BlockRef) {
        let has = self.has(block.piece);
        let manners = self.manners(peer);
        let asked = manners.wants.remove(&raw(block)) || manners.unwatched;
        let served = !manners.am_choking || manners.granted_fast.contains(&block.piece.0);
        let new = manners.uploading.insert(block);
        if !has {
            self.whistle(|| format!("{block:?} is served and not there (I3)"));
        }
        if !asked || !new {
            self.whistle(|| format!("{block:?} is served to {peer:?}, who did not ask for it"));
        }
        if !served {
            self.whistle(|| format!("{block:?} is served to {peer:?}, who is choked"));
        }
    }

    fn stores(&mut self, piece: PieceIndex, blocks: impl Iterator<Item = BlockRef>) {
        let blocks: Vec<BlockRef> = blocks.collect();
        let whole = self.torrent.as_ref().is_some_and(|torrent| {
            torrent.info.layout().requests(piece).map(|(_, block)| block).eq(blocks.iter().copied())
        });
        let held = blocks.iter().filter(|&block| self.held.remove(block) | self.doubted.remove(block)).count();
        if !whole || held != blocks.len() {
            self.whistle(|| format!("{piece:?} is stored of {held} of {} blocks", blocks.len()));
        }
        if self.has(piece) || !self.storing.insert(piece) {
            self.whistle(|| format!("{piece:?} is stored again"));
        }
    }

    fn notice(&mut self, notice: &Notice) {
        match notice {
            Notice::Piece(piece) if !self.has(*piece) => {
                self.whistle(|| format!("{piece:?} is reported and not there (I1)"));
            }
            Notice::Complete if !self.torrent.as_ref().is_some_and(Torrent::has_all) => {
                self.whistle(|| "reports that it is complete and is not (I1)".to_owned());
            }
            Notice::Banned { addr, .. } => {
                self.banned.insert(*addr);
            }
            Notice::Stopped => {
                if !self.peers.is_empty() {
                    self.whistle(|| "reports that it stopped with peers connected".to_owned());
                }
                self.stopped = true;
            }
            _ => {}
        }
    }

    // ---- when the event is handled

    /// What must hold once all effects of an event are there.
    pub(crate) fn settle(&mut self) {
        if let Some(block) = self.came.take() {
            // A web seed's run goes on over what came meanwhile: it is one request (BEP 19).
            if self.peers.values().any(|manners| manners.asked.contains_key(&block)) {
                self.whistle(|| format!("{block:?} came and is still asked of somebody else"));
            }
        }
        if self.stopping && !self.peers.is_empty() {
            self.whistle(|| "stops and keeps connections".to_owned());
        }
        if std::mem::take(&mut self.have_changed)
            && let Some(torrent) = &self.torrent
        {
            let lacks = !torrent.has_all() && !self.serve_only;
            // A source of everything may hide some (BEP 16); one who trades does not.
            let found = self
                .peers
                .iter()
                .filter(|_| lacks)
                .find_map(|(peer, manners)| Some((*peer, manners.untold_of(&torrent.have)?)));
            if let Some((peer, piece)) = found {
                self.whistle(|| format!("{peer:?} was not told of {piece:?}"));
            }
        }
        if let Some(peer) = self.touched.take()
            && let Some(manners) = self.peers.get_mut(&peer)
            && let Err(what) = manners.settle()
        {
            self.whistle(|| format!("{what}, {peer:?}"));
        }
    }

    /// What must hold at any time, and is looked at now and then. Cost: a step a block that is asked for.
    pub(crate) fn inspect(&self) -> Result<(), String> {
        self.verdict()?;
        for (peer, manners) in &self.peers {
            if self.banned.contains(&manners.addr) {
                return Err(format!("{peer:?} is banned and connected (I9)"));
            }
            let found = manners.asked.keys().find(|block| self.has(block.piece));
            if let Some(block) = found {
                return Err(format!("{block:?} is asked of {peer:?} and there"));
            }
            if manners.is_waited_for_too_long(self.now) {
                return Err(format!("{peer:?} sends nothing and keeps its requests (BEP 3)"));
            }
            manners.inspect().map_err(|what| format!("{what}, {peer:?}"))?;
        }
        Ok(())
    }
}
