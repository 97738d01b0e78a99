//! Peers that come, go, are dialed, and are shown the door.

use super::{MAX_DIALS, Phase, Swarm};
use crate::address::is_one_hosts;
use crate::blame::Sender;
use crate::event::{Direction, DisconnectReason, Effect, Notice, PeerKey};
use crate::peer::{MAX_QUEUED_UPLOADS, Peer};
use crate::priority::priority;
use crate::swarm::super_seed::{Shown, Sight};
use shoal_machine::{Effects, Time};
use shoal_wire::{Extended, ExtendedHandshake, Handshake, Message, extension_ids};
use std::cmp::Ordering;
use std::net::SocketAddr;
use std::time::Duration;

/// A keep-alive is sent after so long a silence of ours (BEP 3: two minutes is usual).
const KEEP_ALIVE: Duration = Duration::from_secs(100);
/// A peer that said nothing for so long is gone (BEP 3's two minutes, and a half more for a slow path).
const SILENCE: Duration = Duration::from_secs(180);
/// A new peer is presumed to have something for us for so long, unless it says what it has. Chosen: some round trips.
const PRESUMED: Duration = Duration::from_secs(3);
/// So long a new peer keeps its place whoever comes. Chosen: until an optimistic unchoke and its first blocks (BEP 3).
const GRACE: Duration = Duration::from_secs(60);
/// Distrusted ids and addresses kept, at most. Chosen.
const MAX_BANNED: usize = 4_096;
/// Ids of peers that left with everything, kept at most; more are not counted. Chosen: 80 KiB.
const MAX_LEFT_COMPLETE: usize = 4_096;
/// Bytes that nobody asked for, from one peer, beyond which it is one that floods. Chosen: what a slow cancel leaves
/// behind is at most a pipeline.
const MAX_UNREQUESTED_BYTES: u64 = 64 << 20;

/// Whether one who lied is at this address; where an address is one host's, whatever the port.
fn is_at(banned: &Sender, addr: SocketAddr) -> bool {
    banned.addr == addr || (banned.addr.ip() == addr.ip() && is_one_hosts(addr.ip()))
}

impl<P> Swarm<P> {
    pub(super) fn connected(
        &mut self,
        key: PeerKey,
        addr: SocketAddr,
        direction: Direction,
        handshake: Handshake,
        out: &mut Effects<Effect<P>>,
    ) {
        assert!(!self.peers.contains_key(&key), "{key:?} is in use");
        let slot = crate::swarm::transfer::slot(key);
        assert!(crate::web_seeds::seed_of(slot).is_none(), "the last numbers are web seeds'");
        let mut refusal = self.refusal(addr, direction, &handshake);
        if refusal == Some(DisconnectReason::Full)
            && let Some(worse) = self.worse_than(addr)
        {
            self.close(worse, DisconnectReason::Replaced, out);
            refusal = None;
        }
        let older = self.same_peer(&handshake);
        if direction == Direction::Outgoing {
            match refusal {
                Some(DisconnectReason::SelfConnection) => self.reach.is_ourselves(addr),
                _ => self.reach.reached(addr),
            }
            match refusal {
                Some(DisconnectReason::SelfConnection | DisconnectReason::Banned) => self.addresses.never(addr),
                Some(DisconnectReason::Duplicate) | None => self.addresses.connected(addr),
                Some(_) => self.addresses.disconnected(self.now, addr, false),
            }
        }
        if let Some(reason) = refusal {
            if let Some(older) = older.and_then(|older| self.peers.get_mut(&older))
                && direction == Direction::Outgoing
            {
                older.known_listener = Some(addr);
            }
            out.push(Effect::Disconnect { peer: key, reason });
            return;
        }
        let known_listener = older.and_then(|older| self.peers.get(&older)?.listens_on());
        if let Some(older) = older {
            self.close(older, DisconnectReason::Duplicate, out);
        }
        if let Some(addr) = known_listener {
            self.addresses.connected(addr);
        }
        let mut peer = Peer::new(key, self.now, addr, direction, handshake);
        peer.known_listener = known_listener;
        if self.peers.is_empty() {
            self.next_tick = self.now + super::TICK;
            self.next_choke = self.now + crate::choke::ROUND;
        }
        self.peers.insert(key, peer);
        self.rivals_changed = true;
        self.peer_changes += 1;
        self.greet(key, out);
        self.touch(key);
    }

    /// Why this connection is not wanted, if it is not. Of two connections that were opened from both ends, the one that
    /// goes to the greater listening port is kept, and if they are equal the one opened by the greater id: so both
    /// ends close the same one, also where the other end is libtorrent, whose rule for unequal ports this is.
    fn refusal(&self, addr: SocketAddr, direction: Direction, handshake: &Handshake) -> Option<DisconnectReason> {
        if self.stopping {
            return Some(DisconnectReason::Stopping);
        }
        if handshake.peer_id == self.config.peer_id {
            return Some(DisconnectReason::SelfConnection);
        }
        let sender = Sender { addr, peer_id: handshake.peer_id };
        if self.is_banned(sender) {
            return Some(DisconnectReason::Banned);
        }
        if let Some(older) = self.same_peer(handshake) {
            let older = &self.peers[&older];
            let their_port = if direction == Direction::Outgoing { addr.port() } else { older.addr.port() };
            let ours_stays = match self.config.listen_port.unwrap_or(0).cmp(&their_port) {
                Ordering::Less => true,
                Ordering::Greater => false,
                Ordering::Equal => self.config.peer_id > handshake.peer_id,
            };
            let replaces = older.direction != direction && (direction == Direction::Outgoing) == ours_stays;
            return (!replaces).then_some(DisconnectReason::Duplicate);
        }
        if direction == Direction::Outgoing && self.is_private() && self.addresses.is_public(addr) {
            return Some(DisconnectReason::Private);
        }
        (self.peers.len() >= self.config.max_peers).then_some(DisconnectReason::Full)
    }

    /// Who makes room for a peer at `addr` in a full swarm: of those with whom nothing is exchanged the one that goes worst with
    /// us, if the new one goes better (BEP 40).
    fn worse_than(&self, addr: SocketAddr) -> Option<PeerKey> {
        let now = self.now;
        let idle = |peer: &&Peer| {
            let chosen = [Some(peer.addr), peer.listens_on()].into_iter().flatten();
            now.since(peer.since) >= GRACE
                && peer.download.over(now, 20) == 0
                && peer.upload.over(now, 20) == 0
                && peer.uploads.is_empty()
                && peer.requests.is_empty()
                && !chosen.into_iter().any(|addr| self.addresses.is_chosen(addr))
        };
        let rank = |addr: SocketAddr| priority(self.own_addr(addr.ip())?, addr);
        let ranked = self.peers.values().filter(idle).filter_map(|peer| Some((rank(peer.sender().addr)?, peer.key)));
        let (worst, key) = ranked.min()?;
        (rank(addr)? > worst).then_some(key)
    }

    /// Whether this one lied before: by its id, by where it listens, or, where an address is one peer's, by its address.
    pub(super) fn is_banned(&self, sender: Sender) -> bool {
        self.banned.iter().any(|banned| is_at(banned, sender.addr) || banned.peer_id == sender.peer_id)
    }

    fn is_banned_at(&self, addr: SocketAddr) -> bool {
        self.banned.iter().any(|banned| is_at(banned, addr))
    }

    fn same_peer(&self, handshake: &Handshake) -> Option<PeerKey> {
        self.peers.with_id(&handshake.peer_id).map(|peer| peer.key)
    }

    /// What is said right after the handshakes: the extension handshake (BEP 10), what we have (BEP 3, 6), and the
    /// pieces that a beginner may ask for while choked (BEP 6).
    fn greet(&mut self, key: PeerKey, out: &mut Effects<Effect<P>>) {
        let may_exchange = self.may_exchange();
        self.check_super_seeding(out);
        let masked = self.is_super_seeding();
        let elsewhere = !self.left_complete.is_empty() || self.peers.values().any(Peer::is_seed);
        let Some(peer) = self.peers.get_mut(&key) else { return };
        peer.last_sent = self.now;
        let fast = peer.fast();
        if peer.handshake.supports_extensions() {
            let metadata_size = match &self.phase {
                Phase::Transfer(transfer) => Some(transfer.info.bytes().len() as u64),
                _ => None,
            };
            // Not one who shows nothing: libtorrent leaves those who want nothing and have nothing for it.
            let upload_only = matches!(&self.phase, Phase::Transfer(transfer) if transfer.complete && !masked);
            let ours = ExtendedHandshake {
                ut_metadata: Some(extension_ids::UT_METADATA),
                ut_pex: may_exchange.then_some(extension_ids::UT_PEX),
                lt_donthave: Some(extension_ids::LT_DONTHAVE),
                upload_only_id: Some(extension_ids::UPLOAD_ONLY),
                client: Some(self.config.client.clone()),
                port: self.config.listen_port,
                reqq: Some(MAX_QUEUED_UPLOADS as u32),
                metadata_size,
                your_ip: Some(peer.addr.ip().to_canonical()),
                upload_only,
                super_seeding: masked,
                ..ExtendedHandshake::default()
            };
            let message = Message::Extended { id: 0, message: Extended::Handshake(ours) };
            out.push(Effect::Send { peer: key, message });
        }
        match &self.phase {
            Phase::Transfer(transfer) => {
                let have = transfer.picker.have();
                let lacks = !transfer.complete;
                let message = if masked {
                    peer.sight = Sight::Masked(Shown::default());
                    fast.then_some(Message::HaveNone)
                } else if fast && have.is_full() {
                    Some(Message::HaveAll)
                } else if fast && have.is_empty() {
                    Some(Message::HaveNone)
                } else {
                    (!have.is_empty()).then(|| Message::Bitfield(have.to_bytes()))
                };
                if let Some(message) = message {
                    out.push(Effect::Send { peer: key, message });
                }
                peer.pieces = crate::peer::PeerPieces::Known(shoal_pieces::Bitfield::new(have.len()));
                if lacks {
                    // Most peers have something for us. Saying so before hearing what saves a round trip to the unchoke.
                    peer.am_interested = true;
                    peer.presumed_until = self.now + PRESUMED;
                    out.push(Effect::Send { peer: key, message: Message::Interested });
                }
                // Where nobody else has everything our line is what the swarm waits for, and the same few pieces for all who
                // are choked would take most of it.
                if fast && !have.is_empty() && elsewhere {
                    let pieces = have.len();
                    for piece in crate::fast::allowed_fast(peer.addr, self.config.hashes.wire(), pieces) {
                        peer.granted_fast.insert(piece);
                        out.push(Effect::Send { peer: key, message: Message::AllowedFast(piece.0) });
                    }
                }
            }
            _ if fast => out.push(Effect::Send { peer: key, message: Message::HaveNone }),
            _ => {}
        }
        self.tell_dht_port(key, out);
    }

    /// Closes a connection: everything that it held is free for others at once.
    pub(super) fn close(&mut self, key: PeerKey, reason: DisconnectReason, out: &mut Effects<Effect<P>>) {
        if self.forget(key) {
            out.push(Effect::Disconnect { peer: key, reason });
        }
    }

    /// Closes the connection of one that needs nothing, as we do, and is not dialed while that is so. One who does not see that
    /// hears it, or it would come back at once.
    pub(super) fn part(&mut self, key: PeerKey, out: &mut Effects<Effect<P>>) {
        let Some(peer) = self.peers.get(&key) else { return };
        if let Some(addr) = peer.listens_on() {
            self.addresses.is_seed(addr);
        }
        if let Some(id) = peer.extensions.as_ref().and_then(|extensions| extensions.upload_only_id)
            && peer.sight.is_masked()
        {
            out.push(Effect::Send {
                peer: key,
                message: Message::Extended { id, message: Extended::UploadOnly(true) },
            });
        }
        self.close(key, DisconnectReason::Uninteresting, out);
    }

    pub(super) fn disconnected(&mut self, key: PeerKey) {
        self.forget(key);
    }

    fn forget(&mut self, key: PeerKey) -> bool {
        let Some(peer) = self.peers.remove(&key) else { return false };
        self.touched.retain(|&touched| touched != key);
        self.choker.left(key);
        self.leaving.remove(&key);
        self.rivals_changed = true;
        self.peer_changes += 1;
        if peer.is_seed() && self.left_complete.len() < MAX_LEFT_COMPLETE {
            self.left_complete.insert(peer.handshake.peer_id);
        }
        match &mut self.phase {
            Phase::Metadata(fetch) => fetch.peer_left(key),
            Phase::Preparing => {}
            Phase::Transfer(transfer) => {
                for asked in &peer.requests {
                    transfer.picker.abandoned(asked.block, crate::swarm::transfer::slot(key));
                    self.credit.down = self.credit.down.saturating_add(super::requests::cost(asked.block));
                }
                if let crate::peer::PeerPieces::Known(bits) = &peer.pieces {
                    transfer.picker.peer_left(bits);
                }
                if let Some(super_seed) = &mut transfer.super_seed {
                    super_seed.left(&peer);
                }
                if let Some(advice) = &mut transfer.advice {
                    advice.left(key);
                }
                transfer.picker.peer_slow(crate::swarm::transfer::slot(key), false);
                transfer.picker.forget_suggestions(crate::swarm::transfer::slot(key));
                transfer.release_exclusive(crate::swarm::transfer::slot(key));
                transfer.layer_fetch.peer_left(key);
                transfer.doubts.peer_left(key);
                transfer.leaf_server.peer_left(key);
                self.touch_all = true;
            }
        }
        if self.is_complete() && peer.direction == Direction::Outgoing && peer.interested_since.is_none() {
            self.pace.in_vain(self.now);
        }
        if let Some(addr) = peer.listens_on() {
            self.addresses.disconnected(self.now, addr, peer.gave_good);
        }
        true
    }

    /// Closes the connection of one that broke the protocol.
    pub(super) fn fault(&mut self, key: PeerKey, what: &'static str, out: &mut Effects<Effect<P>>) {
        self.close(key, DisconnectReason::Protocol(what), out);
    }

    /// Never again: for one that lied about data or floods.
    pub(super) fn ban(&mut self, sender: Sender, reason: DisconnectReason, out: &mut Effects<Effect<P>>) {
        if self.banned.len() >= MAX_BANNED {
            self.banned.pop_first();
        }
        // Its other blocks may turn out bad after it is gone: told once.
        if self.banned.insert(sender) {
            self.addresses.never(sender.addr);
            out.push(Effect::Notice(Notice::Banned { addr: sender.addr, reason }));
        }
        let its: Vec<PeerKey> = self
            .peers
            .values()
            .filter(|peer| peer.sender() == sender || peer.handshake.peer_id == sender.peer_id)
            .map(|peer| peer.key)
            .collect();
        for key in its {
            self.close(key, reason, out);
        }
    }

    pub(super) fn ban_peer(&mut self, key: PeerKey, reason: DisconnectReason, out: &mut Effects<Effect<P>>) {
        if let Some(peer) = self.peers.get(&key) {
            let sender = peer.sender();
            self.ban(sender, reason, out);
        }
    }

    /// A block came for which there was no grant: late after a cancel, or never asked for.
    pub(super) fn unrequested(&mut self, key: PeerKey, block: shoal_wire::RawBlock, out: &mut Effects<Effect<P>>) {
        // Of one who was let go it counts too (the simulator's I7: what came is verified, held or wasted).
        self.wasted = self.wasted.saturating_add(u64::from(block.length));
        let Some(peer) = self.peers.get_mut(&key) else { return };
        peer.last_received = self.now;
        peer.unrequested = peer.unrequested.saturating_add(u64::from(block.length));
        if peer.unrequested > MAX_UNREQUESTED_BYTES && peer.unrequested > peer.download.total() {
            self.ban_peer(key, DisconnectReason::Protocol("floods blocks that nobody asked for"), out);
        }
    }

    /// Once a second: time-outs and keep-alives.
    pub(super) fn tick(&mut self, out: &mut Effects<Effect<P>>) {
        let now = self.now;
        for key in self.peers.keys().copied().collect::<Vec<_>>() {
            let Some(peer) = self.peers.get_mut(&key) else { continue };
            if now.since(peer.last_received) >= SILENCE {
                self.close(key, DisconnectReason::Idle, out);
                continue;
            }
            if now.since(peer.last_sent) >= KEEP_ALIVE {
                peer.last_sent = now;
                out.push(Effect::Send { peer: key, message: Message::KeepAlive });
            }
            self.check_snubbing(key, out);
            self.check_hash_requests(key, out);
        }
        self.turn_over(out);
        self.exchange(out);
        self.check_super_seeding(out);
        self.check_advice(out);
        self.check_slots(out);
        self.let_go(out);
        self.touch_all = true;
        self.uploads_due = true;
        self.demand_due = true;
    }

    /// Whether another dial may be ordered. Half of the free places are for those who dial us meanwhile. While files are
    /// prepared none is: what was fetched may say that the torrent is private.
    pub(super) fn has_room_to_dial(&self) -> bool {
        let most = if self.is_complete() { self.pace.at_once(MAX_DIALS) } else { MAX_DIALS };
        let free = self.config.max_peers.saturating_sub(self.peers.len());
        self.addresses.dialing() < most.min(free.div_ceil(2)) && !matches!(self.phase, Phase::Preparing)
    }

    /// When the next dial may be ordered, where there is room and somebody to dial.
    pub(super) fn next_dial(&self) -> Option<Time> {
        let complete = self.is_complete();
        let due = self.addresses.next_time(!complete)?;
        Some(if complete { due.max(self.pace.not_before()) } else { due })
    }

    /// Whether a dial that was ordered should still go out.
    pub fn wants_dial(&self, addr: SocketAddr) -> bool {
        !self.stopping && !matches!(self.phase, Phase::Preparing) && self.addresses.wants_dial(addr)
    }

    /// Dials while there is room for more peers.
    pub(super) fn dial(&mut self, out: &mut Effects<Effect<P>>) {
        let seeds_too = !self.is_complete();
        while self.has_room_to_dial() && (seeds_too || self.pace.not_before() <= self.now) {
            let (seen_as, port) = (&self.seen_as, self.config.listen_port);
            let ours = |ip| Some(SocketAddr::new(seen_as.from(ip)?, port?));
            let Some(addr) = self.addresses.next(self.now, seeds_too, ours) else { break };
            if self.is_banned_at(addr) {
                // Named again, or for the first time: it had dialed us when it lied.
                self.addresses.never(addr);
                continue;
            }
            self.pace.dialed(self.now);
            out.push(Effect::Dial { addr });
        }
    }

    /// Tells whoever asks for peers whether more are needed.
    pub(super) fn tell_wants(&mut self) {
        // Places that are taken by those who have nothing for us are as good as free: see `turnover.rs`.
        let wants = (self.peers.len() < self.config.max_peers / 2 || self.is_stranded()) && !self.is_complete();
        self.schedule.want_peers(self.now, wants);
        self.seek.want_peers(wants);
    }

    /// Tells a peer where our DHT node is, if it has one too; never where the torrent is or may be private (BEP 27).
    pub(super) fn tell_dht_port(&mut self, key: PeerKey, out: &mut Effects<Effect<P>>) {
        let public = matches!(&self.phase, Phase::Transfer(transfer) if !transfer.info.private());
        let Some(port) = self.config.dht_port.filter(|_| public) else { return };
        if self.peers.get(&key).is_some_and(|peer| peer.handshake.supports_dht()) {
            out.push(Effect::Send { peer: key, message: Message::Port(port) });
        }
    }

    /// A peer says where its DHT node is.
    pub(super) fn dht_node(&mut self, key: PeerKey, port: u16, out: &mut Effects<Effect<P>>) {
        let usable = self.config.dht && !self.is_private();
        let Some(peer) = self.peers.get_mut(&key).filter(|peer| usable && !peer.dht_port_came) else { return };
        peer.dht_port_came = true;
        if port != 0 {
            out.push(Effect::DhtNode { addr: SocketAddr::new(peer.addr.ip(), port) });
        }
    }
}
