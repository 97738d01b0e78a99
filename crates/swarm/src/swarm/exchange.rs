//! Peers told to peers (BEP 11), and what becomes of public peers when the torrent is private (BEP 27).

use super::{Phase, Swarm};
use crate::address::is_one_hosts;
use crate::event::{Direction, DisconnectReason, Effect, PeerKey};
use crate::peer::Peer;
use crate::pex::{self, Verdict, flags};
use shoal_machine::Effects;
use shoal_wire::{Extended, MAX_PEX_PEERS, Message, PexMessage, PexPeer};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

impl<P> Swarm<P> {
    /// Whether peers may be found and named by other ways than trackers. Not while it is not known whether the torrent is
    /// private, but before anything of it is known: a bare link could else not begin.
    pub(super) fn may_exchange(&self) -> bool {
        match &self.phase {
            Phase::Metadata(_) => true,
            Phase::Preparing => false,
            Phase::Transfer(transfer) => !transfer.info.private(),
        }
    }

    /// Whether it is known that only trackers may be used (BEP 27).
    pub(super) fn is_private(&self) -> bool {
        matches!(&self.phase, Phase::Transfer(transfer) if transfer.info.private())
    }

    /// A peer names others.
    pub(super) fn pex(&mut self, key: PeerKey, message: &PexMessage, out: &mut Effects<Effect<P>>) {
        if !self.may_exchange() {
            return;
        }
        let Some(peer) = self.peers.get_mut(&key) else { return };
        match peer.pex.received(self.now) {
            Verdict::Take => {}
            Verdict::Leave => return,
            Verdict::Flood => return self.fault(key, "floods peer exchange", out),
        }
        let namer = peer.addr.ip();
        let seeding = self.is_complete();
        let mut hosts = BTreeSet::new();
        for added in message.added.iter().take(MAX_PEX_PEERS) {
            let ip = added.addr.ip();
            // BEP 11: several ports of one address are a sign of one who fishes.
            if is_one_hosts(ip) && !hosts.insert(ip) {
                continue;
            }
            let seed = added.flags & flags::SEED != 0;
            self.seeds_elsewhere |= seed;
            if seed && seeding {
                continue;
            }
            self.addresses.add_named(self.now, namer, added.addr);
            if seed {
                self.addresses.is_seed(added.addr);
            }
        }
    }

    /// Tells those for whom it is time who came and went. A link that names trackers may be of a private torrent: before its
    /// metadata is known nobody hears of whom they named.
    pub(super) fn exchange(&mut self, out: &mut Effects<Effect<P>>) {
        let may_be_private = matches!(self.phase, Phase::Metadata(_)) && !self.config.trackers.is_empty();
        if !self.may_exchange() || may_be_private {
            return;
        }
        let (now, changes) = (self.now, self.peer_changes);
        let due = |peer: &&Peer| peer.pex.seen_changes != changes && peer.pex.next.is_some_and(|next| next <= now);
        let due: Vec<PeerKey> = self.peers.values().filter(due).map(|peer| peer.key).collect();
        if due.is_empty() {
            return;
        }
        let listening: BTreeMap<SocketAddr, u8> =
            self.peers.values().filter_map(|peer| Some((peer.listens_on()?, about(peer)))).collect();
        for key in due {
            let Some(peer) = self.peers.get_mut(&key) else { continue };
            let Some(id) = peer.extensions.as_ref().and_then(|extensions| extensions.ut_pex) else { continue };
            let itself = peer.listens_on();
            let far = is_one_hosts(peer.addr.ip());
            // Addresses of our own network mean nothing elsewhere, and are nobody's business there.
            let tells = |addr: &SocketAddr| Some(*addr) != itself && (!far || is_one_hosts(addr.ip()));
            let connected: BTreeSet<SocketAddr> = listening.keys().copied().filter(tells).collect();
            let (added, dropped) = pex::changes(&peer.pex.told, &connected, MAX_PEX_PEERS);
            if added.len() < MAX_PEX_PEERS && dropped.len() < MAX_PEX_PEERS {
                peer.pex.seen_changes = changes;
            }
            if added.is_empty() && dropped.is_empty() {
                continue;
            }
            for addr in &dropped {
                peer.pex.told.remove(addr);
            }
            added.iter().for_each(|&addr| peer.pex.told.insert(addr));
            peer.pex.next = Some(now + pex::INTERVAL);
            peer.last_sent = now;
            let added = added.into_iter().map(|addr| PexPeer { addr, flags: listening[&addr] }).collect();
            let message = Extended::Pex(PexMessage { added, dropped });
            out.push(Effect::Send { peer: key, message: Message::Extended { id, message } });
        }
    }

    /// The torrent is private: whom other sources named is let go, and is never dialed again unless a tracker names him.
    pub(super) fn become_private(&mut self, out: &mut Effects<Effect<P>>) {
        self.addresses.forget_public(self.now);
        let public = |peer: &&Peer| {
            let addrs = [Some(peer.addr), peer.listens_on()];
            addrs.into_iter().flatten().any(|addr| self.addresses.is_public(addr))
        };
        let public: Vec<PeerKey> = self.peers.values().filter(public).map(|peer| peer.key).collect();
        for key in public {
            self.close(key, DisconnectReason::Private, out);
        }
    }

    /// Our own address as a host at `ip` sees it, as far as we know.
    pub(super) fn own_addr(&self, ip: IpAddr) -> Option<SocketAddr> {
        Some(SocketAddr::new(self.seen_as.from(ip)?, self.config.listen_port?))
    }
}

/// What is told of a peer besides its address.
fn about(peer: &Peer) -> u8 {
    let set = |holds: bool, flag: u8| if holds { flag } else { 0 };
    let holepunch = peer.extensions.as_ref().is_some_and(|extensions| extensions.ut_holepunch.is_some());
    set(peer.is_seed() || peer.upload_only, flags::SEED)
        | set(holepunch, flags::HOLEPUNCH)
        | set(peer.direction == Direction::Outgoing, flags::OUTGOING)
}
