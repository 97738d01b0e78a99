//! What peers say, taken one message at a time.
//!
//! Every index and length is checked against the layout here before anything else sees it; a message that no honest peer
//! sends closes the connection with a named fault.

use super::transfer::slot;
use super::{Phase, Swarm};
use crate::event::{Direction, DisconnectReason, Effect, PeerKey};
use crate::metadata::{self, Fetched};
use crate::peer::PeerPieces;
use shoal_machine::Effects;
use shoal_pieces::Bitfield;
use shoal_wire::{Extended, ExtendedHandshake, Message, MetadataMessage};

/// Allowed-fast pieces kept of one peer. Chosen: BEP 6 speaks of ten.
const MAX_ALLOWED_FAST: usize = 64;

impl<P> Swarm<P> {
    pub(super) fn message(&mut self, key: PeerKey, message: Message, out: &mut Effects<Effect<P>>) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        peer.last_received = self.now;
        match message {
            Message::KeepAlive | Message::Unknown { .. } => {}
            Message::Suggest(index) => self.suggested(key, index),
            Message::Port(port) => self.dht_node(key, port, out),
            Message::Choke => self.choked_by(key, out),
            Message::Unchoke => {
                peer.peer_choking = false;
                self.touch(key);
            }
            Message::Interested => {
                peer.peer_interested = true;
                let first = peer.interested_since.is_none();
                peer.interested_since.get_or_insert(self.now);
                if first && peer.direction == Direction::Outgoing {
                    self.pace.useful();
                }
                self.demand_due = true;
                self.use_free_slots(out);
            }
            Message::NotInterested => {
                peer.peer_interested = false;
                self.use_free_slots(out);
            }
            Message::Have(piece) => self.have(key, piece, out),
            Message::Bitfield(bytes) => self.bitfield(key, Said::Bits(bytes), out),
            Message::HaveAll => self.bitfield(key, Said::All, out),
            Message::HaveNone => self.bitfield(key, Said::None, out),
            Message::Request(raw) => self.requested(key, raw, out),
            Message::Cancel(raw) => self.cancelled(key, raw, out),
            Message::Reject(raw) => self.rejected(key, raw, out),
            Message::AllowedFast(piece) => {
                if let Phase::Transfer(transfer) = &self.phase
                    && let Some(piece) = transfer.info.layout().piece(piece)
                    && peer.allowed_fast.len() < MAX_ALLOWED_FAST
                {
                    peer.allowed_fast.insert(piece);
                    self.touch(key);
                }
            }
            Message::HashRequest(range) => self.hash_requested(key, range, out),
            Message::Hashes(range, hashes) => self.hashes_came(key, range, hashes, out),
            Message::HashReject(range) => self.hashes_refused(key, range),
            Message::Extended { message, .. } => self.extended(key, message, out),
        }
    }

    fn have(&mut self, key: PeerKey, index: u32, out: &mut Effects<Effect<P>>) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let Phase::Transfer(transfer) = &mut self.phase else {
            if !peer.pieces.set_unchecked(index) {
                self.fault(key, "have of a piece that no torrent has", out);
            }
            return;
        };
        let Some(piece) = transfer.info.layout().piece(index) else {
            return self.fault(key, "have of a piece that does not exist", out);
        };
        let PeerPieces::Known(bits) = &mut peer.pieces else { return };
        if bits.set(piece) {
            transfer.picker.peer_has(piece);
            if transfer.picker.wants(piece) {
                peer.wanted_pieces += 1;
            }
            if let Some(super_seed) = &mut transfer.super_seed {
                super_seed.has(&mut peer.sight, piece, false);
                self.show(key, out);
            }
            self.advised_piece_came(key, piece, out);
            self.noticed_pieces(key, out);
        }
    }

    fn bitfield(&mut self, key: PeerKey, said: Said, out: &mut Effects<Effect<P>>) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        // aria2 tells of several new pieces at once by another of these, at any time: it adds to what was said.
        peer.bitfield_came = true;
        if !peer.fast() && !matches!(said, Said::Bits(_)) {
            return self.fault(key, "a fast extension's message without the extension", out);
        }
        let Phase::Transfer(transfer) = &mut self.phase else {
            match said {
                Said::All => peer.pieces = PeerPieces::Unchecked { all: true, bits: Vec::new() },
                Said::None => {}
                Said::Bits(bits) => peer.pieces.add_unchecked(bits),
            }
            return;
        };
        let pieces = transfer.info.layout().pieces();
        let mut bits = match said {
            Said::All => Bitfield::full(pieces),
            Said::None => return self.use_free_slots(out),
            Said::Bits(bytes) => match Bitfield::from_bytes(pieces, &bytes) {
                Ok(bits) => bits,
                Err(_) => return self.fault(key, "a bitfield that does not fit the torrent", out),
            },
        };
        if let PeerPieces::Known(before) = &peer.pieces {
            transfer.picker.peer_left(before);
            for piece in before.iter_set() {
                bits.set(piece);
            }
        }
        transfer.picker.peer_joined(&bits);
        if let Some(super_seed) = &mut transfer.super_seed {
            let before = if let PeerPieces::Known(before) = &peer.pieces { Some(before) } else { None };
            super_seed.bitfield(&mut peer.sight, before, &bits);
        }
        peer.wanted_pieces = transfer.picker.count_wanted(&bits);
        peer.pieces = PeerPieces::Known(bits);
        self.noticed_pieces(key, out);
        if self.is_super_seeding() {
            self.use_free_slots(out);
        }
    }

    /// After a peer said what it has.
    pub(super) fn noticed_pieces(&mut self, key: PeerKey, out: &mut Effects<Effect<P>>) {
        let Some(peer) = self.peers.get(&key) else { return };
        if peer.is_seed() {
            self.rivals_changed = true;
            if let Some(addr) = peer.listens_on() {
                self.addresses.is_seed(addr);
            }
            if self.is_complete() {
                return self.part(key, out);
            }
        }
        self.touch(key);
    }

    fn extended(&mut self, key: PeerKey, message: Extended, out: &mut Effects<Effect<P>>) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        if !peer.handshake.supports_extensions() {
            return self.fault(key, "an extension's message without the extension protocol", out);
        }
        match message {
            Extended::Handshake(handshake) => self.extended_handshake(key, handshake, out),
            Extended::Metadata(message) => self.metadata(key, message, out),
            Extended::DontHave(index) => self.dont_have(key, index, out),
            Extended::UploadOnly(yes) => {
                peer.upload_only = yes;
                if yes && self.is_complete() {
                    self.part(key, out);
                }
            }
            Extended::Pex(message) => self.pex(key, &message, out),
            Extended::Unknown { .. } => {}
        }
    }

    fn extended_handshake(&mut self, key: PeerKey, handshake: ExtendedHandshake, out: &mut Effects<Effect<P>>) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        peer.upload_only |= handshake.upload_only;
        let offer = handshake.ut_metadata.and(handshake.metadata_size);
        if let (Some(ours), true) = (handshake.your_ip, peer.extensions.is_none()) {
            self.seen_as.said(peer.addr.ip(), ours);
        }
        if handshake.ut_pex.is_some() && peer.pex.next.is_none() {
            peer.pex.next = Some(self.now + crate::pex::FIRST);
        }
        peer.extensions = Some(handshake);
        self.peer_changes += 1;
        let sender = peer.sender();
        if let Some(addr) = peer.listens_on() {
            self.addresses.connected(addr);
        }
        if self.is_banned(sender) {
            return self.close(key, DisconnectReason::Banned, out);
        }
        if let Phase::Metadata(fetch) = &mut self.phase
            && let Some(size) = offer
        {
            // A size that cannot be is no reason to lose a peer that may have pieces.
            let _absurd = !fetch.offered(self.now, key, size);
        }
        let upload_only = self.peers.get(&key).is_some_and(|peer| peer.upload_only);
        if upload_only && self.is_complete() {
            return self.part(key, out);
        }
        self.touch(key);
    }

    fn metadata(&mut self, key: PeerKey, message: MetadataMessage, out: &mut Effects<Effect<P>>) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        if let MetadataMessage::Request { piece } = message {
            let answer = match &self.phase {
                Phase::Transfer(transfer) => {
                    let info = transfer.info.bytes();
                    // Chosen: four copies a connection and some; what is more is not for downloading.
                    let parts = (info.len() as u64).div_ceil(16 * 1024);
                    peer.metadata_served += 1;
                    if peer.metadata_served > 4 * parts + 64 {
                        MetadataMessage::Reject { piece }
                    } else {
                        metadata::serve(info, piece)
                    }
                }
                _ => MetadataMessage::Reject { piece },
            };
            return self.send_metadata(key, answer, out);
        }
        let Phase::Metadata(fetch) = &mut self.phase else { return };
        if matches!(message, MetadataMessage::Data { .. }) {
            self.moved = Some(self.now);
        }
        match fetch.received(self.now, key, message) {
            Fetched::Nothing => {}
            Fetched::Wrong => self.ban_peer(key, DisconnectReason::Corrupt, out),
            Fetched::Whole(bytes) => {
                self.phase = Phase::Preparing;
                self.seek.prepare();
                out.push(Effect::Metadata { bytes });
            }
        }
    }

    /// Sends under the number that the peer gave metadata messages; not at all if it gave none.
    pub(super) fn send_metadata(&mut self, key: PeerKey, message: MetadataMessage, out: &mut Effects<Effect<P>>) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let Some(id) = peer.extensions.as_ref().and_then(|extensions| extensions.ut_metadata) else { return };
        peer.last_sent = self.now;
        let message = Message::Extended { id, message: Extended::Metadata(message) };
        out.push(Effect::Send { peer: key, message });
    }

    fn dont_have(&mut self, key: PeerKey, index: u32, out: &mut Effects<Effect<P>>) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let Phase::Transfer(transfer) = &mut self.phase else { return };
        let Some(piece) = transfer.info.layout().piece(index) else {
            return self.fault(key, "donthave of a piece that does not exist", out);
        };
        let PeerPieces::Known(bits) = &mut peer.pieces else { return };
        if bits.unset(piece) {
            transfer.picker.peer_lost(piece);
            if let Some(super_seed) = &mut transfer.super_seed {
                super_seed.has(&mut peer.sight, piece, true);
            }
            if transfer.picker.wants(piece) {
                peer.wanted_pieces = peer.wanted_pieces.saturating_sub(1);
            }
            // It will not send what it no longer has.
            let gone: Vec<_> = peer.requests.iter().filter(|a| a.block.piece == piece).map(|a| a.block).collect();
            for block in gone {
                self.give_up(key, block, out);
            }
            self.touch(key);
        }
    }

    /// Tells a peer whether we want something of it, when that changed.
    pub(super) fn update_interest(&mut self, key: PeerKey, out: &mut Effects<Effect<P>>) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let presumed = !peer.bitfield_came && peer.am_interested && self.now < peer.presumed_until;
        let interested = peer.wanted_pieces > 0 || presumed;
        if interested != peer.am_interested {
            peer.am_interested = interested;
            peer.last_sent = self.now;
            let message = if interested { Message::Interested } else { Message::NotInterested };
            out.push(Effect::Send { peer: key, message });
        }
    }

    /// Takes everything back that was asked of a peer and tells it nothing (it choked us, or cannot send it).
    pub(super) fn give_up(&mut self, key: PeerKey, block: shoal_layout::BlockRef, out: &mut Effects<Effect<P>>) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        if peer.take_request(block).is_none() {
            return;
        }
        if let Phase::Transfer(transfer) = &mut self.phase {
            transfer.picker.abandoned(block, slot(key));
        }
        self.credit.down = self.credit.down.saturating_add(super::requests::cost(block));
        out.push(Effect::Revoke { peer: key, block });
        self.touch_all = true;
    }

    /// Whether a piece may be asked for while choked.
    pub(super) fn fast_pieces(peer: &crate::peer::Peer, bits: &Bitfield) -> Bitfield {
        let mut allowed = Bitfield::new(bits.len());
        for &piece in &peer.allowed_fast {
            if bits.get(piece) {
                allowed.set(piece);
            }
        }
        allowed
    }
}

/// What a peer said at its start.
enum Said {
    Bits(Vec<u8>),
    All,
    None,
}

#[cfg(test)]
mod tests {
    use super::*;
    use shoal_layout::PieceIndex;

    #[test]
    fn unchecked_haves_are_bounded() {
        let mut pieces = PeerPieces::Unchecked { all: false, bits: Vec::new() };
        assert!(pieces.set_unchecked(7));
        assert_eq!(pieces.check(8).unwrap().count(), 1);
        assert!(!pieces.set_unchecked(u32::MAX));
        assert!(pieces.check(4).is_err(), "a bit beyond the torrent's end");
        assert!(pieces.check(8).unwrap().get(PieceIndex(7)));
    }
}
