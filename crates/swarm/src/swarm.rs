//! One torrent's swarm: the machine that owns every decision about it.
//!
//! Each concern has a file of its own below `swarm/`; this one holds the state, takes events apart and runs what is due.
//! Invariants (checked by [`Swarm::check_invariants`] after every event in tests and in the simulator):
//! - a piece is announced, reported and served only after `Stored { Written }`: its hashes fit and its bytes are written;
//! - every block in `assembly` is marked received in the picker, and every granted block marked requested, once a peer;
//! - no effect names a peer that is not connected, and none but trackers' after `Stop`;
//! - queues are bounded: requests and uploads a peer (`peer.rs`), addresses (`address.rs`), bytes in assembly.

mod advice;
mod connections;
mod doubt;
mod exchange;
mod fetches;
mod hashes;
mod leaving;
mod messages;
mod progress;
mod requests;
mod situation;
mod storing;
pub(crate) mod super_seed;
mod transfer;
mod turnover;
mod turns;
mod uploads;

pub use progress::SwarmProgress;
pub use situation::Surroundings;

use crate::address::AddressBook;
use crate::announce::AnnounceSchedule;
use crate::blame::Sender;
use crate::choke::Choker;
use crate::config::SwarmConfig;
use crate::event::{Credit, Demand, Effect, Event, Notice, PeerKey, Source};
use crate::metadata::MetadataFetch;
use crate::pace::Pace;
use crate::peer::{Peer, PeerPieces};
use crate::peers::Peers;
use crate::rate::Rate;
use crate::reach::Reach;
use crate::seek::SeekSchedule;
use crate::seen::SeenAs;
use crate::slots::SlotSearch;
use crate::web_seeds::{WebSeed, WebSeeds};
use shoal_layout::PieceIndex;
use shoal_machine::{Effects, Machine, Rng, Time};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use transfer::Transfer;
use turns::UploadTurn;

/// Chosen: how often time-outs, idle peers and waiting dials are looked at while there are peers.
const TICK: Duration = Duration::from_secs(1);
/// Dials handed to the host at once, at most; it bounds those under way for the whole process. Chosen.
const MAX_DIALS: usize = 30;
/// Upload slots until the host says otherwise (BEP 3: four, one of them optimistic).
const FIRST_SLOTS: u32 = 4;

/// How far a swarm is.
#[derive(Debug)]
enum Phase<P> {
    /// The info dictionary is being fetched (BEP 9).
    Metadata(MetadataFetch),
    /// The driver opens and checks the files.
    Preparing,
    /// Pieces are fetched and served.
    Transfer(Box<Transfer<P>>),
}

/// One torrent's swarm. `P` is the payload of a block; see [`Event`].
#[derive(Debug)]
pub struct Swarm<P> {
    config: SwarmConfig,
    now: Time,
    phase: Phase<P>,
    peers: Peers,
    addresses: AddressBook,
    /// When we dial while we have everything.
    pace: Pace,
    /// How dials ended.
    reach: Reach,
    web_seeds: WebSeeds,
    /// Our own addresses as peers see them.
    seen_as: SeenAs,
    /// How often the list of those we are connected to changed, as others would be told of it.
    peer_changes: u64,
    schedule: AnnounceSchedule,
    seek: SeekSchedule,
    choker: Choker,
    credit: Credit,
    slots: u32,
    /// What the host was told last; `None` after it gave credit, which it does for what it was told.
    demand: Option<Demand>,
    /// Ids and addresses of those who lied.
    banned: BTreeSet<Sender>,
    /// Ids of those who had everything when they left; see `connections.rs`.
    left_complete: BTreeSet<[u8; 20]>,
    /// A tracker or a peer spoke of another who has everything.
    seeds_elsewhere: bool,
    download: Rate,
    upload: Rate,
    /// When something last moved; `None` before the first event.
    moved: Option<Time>,
    /// Payload that came and was thrown away: corrupt, twice, or never asked for.
    wasted: u64,
    /// Peers whose requests and uploads are to be looked at when the event is handled.
    touched: Vec<PeerKey>,
    /// All of them are.
    touch_all: bool,
    /// Web seeds may be asked for more.
    touch_fetches: bool,
    /// The leeches that we see changed: pieces are shared out anew.
    rivals_changed: bool,
    /// Somebody's upload may go out now.
    uploads_due: bool,
    /// The host is to be told anew what we would use.
    demand_due: bool,
    slot_search: SlotSearch,
    /// Who is choked once it has the piece that it is being sent, and since when (`swarm/leaving.rs`).
    leaving: BTreeMap<PeerKey, Time>,
    /// Whose turn it is to be sent blocks.
    upload_turn: Option<UploadTurn>,
    /// The clock of our line, in bytes: what each who waits all the time was given of it.
    line_clock: u64,
    next_tick: Time,
    next_choke: Time,
    /// When somebody lost his place last.
    turned_over: Time,
    stopping: bool,
    stopped: bool,
    rng: Rng,
}

impl<P> Swarm<P> {
    /// A swarm that knows no peer and no metadata yet. Feed [`Event::Ready`] first where the info dictionary is known.
    pub fn new(config: SwarmConfig, has_info: bool, rng: Rng) -> Swarm<P> {
        let names_trackers = !config.trackers.is_empty();
        let phase = if has_info { Phase::Preparing } else { Phase::Metadata(MetadataFetch::new(config.hashes)) };
        Swarm {
            now: Time::ZERO,
            phase,
            peers: Peers::default(),
            reach: Reach::default(),
            web_seeds: WebSeeds::new(&config.web_seeds, rng.fork("web seeds")),
            addresses: AddressBook::new(config.own_addresses.clone(), config.near_only, rng.fork("addresses"))
                .for_connections(config.max_peers),
            pace: Pace::new(),
            seen_as: SeenAs::default(),
            peer_changes: 0,
            schedule: AnnounceSchedule::new(config.trackers.clone(), rng.fork("announce")),
            seek: SeekSchedule::new(config.dht, config.lan, has_info, names_trackers, rng.fork("seek")),
            choker: Choker::new(rng.fork("choker")),
            credit: Credit::default(),
            slots: FIRST_SLOTS,
            demand: None,
            banned: BTreeSet::new(),
            left_complete: BTreeSet::new(),
            seeds_elsewhere: false,
            download: Rate::new(Time::ZERO),
            upload: Rate::new(Time::ZERO),
            moved: None,
            wasted: 0,
            touched: Vec::new(),
            touch_all: false,
            touch_fetches: false,
            rivals_changed: false,
            uploads_due: false,
            demand_due: true,
            slot_search: SlotSearch::new(),
            leaving: BTreeMap::new(),
            upload_turn: None,
            line_clock: 0,
            next_tick: Time::ZERO,
            next_choke: Time::ZERO,
            turned_over: Time::ZERO,
            stopping: false,
            stopped: false,
            rng: rng.fork("swarm"),
            config,
        }
    }

    /// Whether everything that was chosen is there.
    fn is_complete(&self) -> bool {
        matches!(&self.phase, Phase::Transfer(transfer) if transfer.complete)
    }

    fn found(&mut self, source: Source, addrs: &[std::net::SocketAddr]) {
        self.addresses.add(self.now, source, addrs);
    }

    fn stop(&mut self, out: &mut Effects<Effect<P>>) {
        if self.stopping {
            return;
        }
        self.stopping = true;
        for key in self.peers.keys().copied().collect::<Vec<_>>() {
            self.close(key, crate::event::DisconnectReason::Stopping, out);
        }
        self.cancel_fetches(out);
        self.schedule.stop(self.now);
        self.seek.stop();
    }

    /// Runs what the event and the time made due.
    fn advance(&mut self, out: &mut Effects<Effect<P>>) {
        self.tell_wants();
        let totals = self.totals();
        self.schedule.poll(self.now, &totals, &mut |tracker, request| out.push(Effect::Announce { tracker, request }));
        if self.stopping {
            if !self.stopped && self.peers.is_empty() && self.schedule.is_done() {
                self.stopped = true;
                out.push(Effect::Notice(Notice::Stopped));
            }
            return;
        }
        self.seek.poll(self.now, &mut |via, announce, hurry| out.push(Effect::Seek { via, announce, hurry }));
        if let Phase::Metadata(fetch) = &mut self.phase {
            let mut asks = Vec::new();
            fetch.poll(self.now, |peer, message| asks.push((peer, message)));
            for (peer, message) in asks {
                self.send_metadata(peer, message, out);
            }
        }
        if self.next_tick <= self.now {
            self.next_tick = self.now + TICK;
            self.tick(out);
        }
        if self.next_choke <= self.now {
            self.next_choke = self.now + crate::choke::ROUND;
            self.choke_round(out);
        }
        self.check_fetches(out);
        self.retry_storing(out);
        self.settle_doubts(out);
        self.work(out);
        self.dial(out);
        if std::mem::take(&mut self.demand_due) {
            self.tell_demand(out);
        }
    }

    /// Fills the pipelines and serves the queues of those peers that something happened to.
    fn work(&mut self, out: &mut Effects<Effect<P>>) {
        let fetches = std::mem::take(&mut self.touch_fetches) | self.touch_all;
        if std::mem::take(&mut self.touch_all) {
            self.touched.clear();
            self.touched.extend(self.peers.keys());
        }
        if std::mem::take(&mut self.rivals_changed)
            && let Phase::Transfer(transfer) = &mut self.phase
        {
            let leeches = self.peers.values().filter(|peer| !peer.is_seed() && !peer.upload_only);
            transfer.picker.share_out(&self.config.peer_id, leeches.map(|peer| &peer.handshake.peer_id));
        }
        while let Some(&first) = self.touched.first() {
            if self.touched.len() == 1 {
                // As after most events.
                self.touched.clear();
                self.ask(first, out);
                continue;
            }
            // Those that keep us waiting choose last: what was taken back from one would else be asked of it again,
            // and again, while others have it (the simulator's storm 312: the last piece, for ten minutes).
            let is_late = |key: &PeerKey| self.peers.get(key).is_some_and(|peer| peer.snubbing);
            let mut touched = std::mem::take(&mut self.touched);
            touched.sort_unstable();
            touched.dedup();
            let late: Vec<PeerKey> = touched.extract_if(.., |key| is_late(key)).collect();
            for key in touched.drain(..).chain(late) {
                self.ask(key, out);
            }
            if self.touched.is_empty() {
                // Its room is used again.
                self.touched = touched;
            }
        }
        if fetches {
            self.fill_fetches(out);
        }
        if std::mem::take(&mut self.uploads_due) {
            self.pump_uploads(out);
        }
    }

    /// Asks one peer for what it has and we lack.
    fn ask(&mut self, key: PeerKey, out: &mut Effects<Effect<P>>) {
        self.update_interest(key, out);
        self.fill_pipeline(key, out);
        self.ask_hashes(key, out);
    }

    fn touch(&mut self, key: PeerKey) {
        // Most events touch one peer, some of them several times.
        if self.touched.last() != Some(&key) {
            self.touched.push(key);
        }
    }

    /// Panics if what the module's head states does not hold.
    pub fn check_invariants(&self) {
        self.addresses.check_invariants();
        assert!(self.peers.len() <= self.config.max_peers);
        let layout = match &self.phase {
            Phase::Transfer(transfer) => Some(transfer.info.layout()),
            _ => None,
        };
        for peer in self.peers.values() {
            peer.check_invariants(layout);
        }
        self.web_seeds.check_invariants();
        if let Phase::Transfer(transfer) = &self.phase {
            transfer.check_invariants(&self.peers);
            for piece in (0..transfer.info.layout().pieces()).map(PieceIndex) {
                let has = |peer: &&Peer| matches!(&peer.pieces, PeerPieces::Known(bits) if bits.get(piece));
                let gives = |seed: &&WebSeed| !seed.is_gone() && piece.0 < seed.bits.len() && seed.bits.get(piece);
                let sources = self.peers.values().filter(has).count() + self.web_seeds.seeds().filter(gives).count();
                assert_eq!(transfer.picker.availability(piece), sources as u32, "sources of {piece:?}");
            }
            for (seed, block) in self.web_seeds.asked() {
                assert!(!transfer.picker.have().get(block.piece), "{block:?} is fetched from {seed:?} and there");
            }
        }
    }
}

impl<P> Machine for Swarm<P> {
    type Event = Event<P>;
    type Effect = Effect<P>;

    fn handle(&mut self, now: Time, event: Event<P>, out: &mut Effects<Effect<P>>) {
        assert!(now >= self.now, "time went back from {:?} to {now:?}", self.now);
        self.now = now;
        self.moved.get_or_insert(now);
        match event {
            Event::Wake => {}
            Event::Found { source, addrs } => self.found(source, &addrs),
            Event::DialFailed { addr, failure } => {
                self.addresses.failed(now, addr);
                self.reach.failed(addr, failure);
            }
            Event::Connected { peer, addr, direction, handshake } => {
                self.connected(peer, addr, direction, handshake, out);
            }
            Event::Disconnected { peer } => self.disconnected(peer),
            Event::Message { peer, message } => self.message(peer, message, out),
            Event::Block { peer, block, payload } => self.block(peer, block, payload, out),
            Event::Fetched { fetch, block, payload } => self.fetched(fetch, block, payload, out),
            Event::FetchEnded { fetch, result } => self.fetch_ended(fetch, result, out),
            Event::Unrequested { peer, block } => self.unrequested(peer, block, out),
            Event::Uploaded { peer, block } => self.uploaded(peer, block),
            Event::UploadFailed { peer, block, lost } => self.upload_failed(peer, block, lost, out),
            Event::Stored { piece, outcome } => self.stored(piece, outcome, out),
            Event::LeavesRead { piece, outcome } => self.leaves_read(piece, outcome, out),
            Event::Lost(piece) => self.lose_piece(piece, out),
            Event::SyncFailing(failing) => {
                if let Phase::Transfer(transfer) = &mut self.phase {
                    transfer.sync_failing = failing;
                    self.touch_all = true;
                }
            }
            Event::Ready { info, layers, have, selection } => self.ready(info, layers, have, selection, out),
            Event::Select(selection) => self.select(selection, out),
            Event::Announced { tracker, result } => {
                self.schedule.answered(now, tracker, &result);
                if let Ok(reply) = &result {
                    // It may count us.
                    self.seeds_elsewhere |= reply.seeds.is_some_and(|seeds| seeds > u32::from(self.is_complete()));
                    self.found(Source::Tracker, &reply.peers);
                }
            }
            Event::Sought { via, result } => self.seek.answered(now, via, result),
            Event::Credit(credit) => {
                self.credit.up = self.credit.up.saturating_add(credit.up);
                self.credit.down = self.credit.down.saturating_add(credit.down);
                self.touch_all |= credit.down > 0;
                self.uploads_due |= credit.up > 0;
                self.demand_due = true;
                self.demand = None;
            }
            Event::UploadSlots(slots) => {
                self.slots = slots;
                self.use_free_slots(out);
            }
            Event::Stop => self.stop(out),
        }
        self.advance(out);
    }

    fn deadline(&self) -> Option<Time> {
        let mut next = self.schedule.deadline();
        let mut consider = |time: Option<Time>| {
            if let Some(time) = time {
                next = Some(next.map_or(time, |next| next.min(time)));
            }
        };
        if self.stopped {
            return None;
        }
        if !self.stopping {
            consider(self.seek.deadline());
            if !self.peers.is_empty() {
                consider(Some(self.next_tick.min(self.next_choke)));
            }
            if self.has_room_to_dial() {
                consider(self.next_dial());
            }
            match &self.phase {
                Phase::Metadata(fetch) => consider(fetch.deadline()),
                Phase::Transfer(transfer) => {
                    consider(transfer.retry_at());
                    if !transfer.complete {
                        consider(self.web_seeds.deadline());
                    }
                }
                Phase::Preparing => {}
            }
        }
        next
    }
}
