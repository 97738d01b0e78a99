//! From whole pieces to the disk: what is verified, who lied, and what happens when the disk refuses.
//!
//! Invariant: `picker.have` gains a piece only here, on `Stored { Written }` or `Ready`; nothing announces it earlier.

use super::transfer::{Refused, Transfer};
use super::{Phase, Swarm};
use crate::blame::Giver;
use crate::event::{Effect, Notice, PeerKey, StoreOutcome};
use crate::peer::PeerPieces;
use shoal_layout::{BlockRef, PieceIndex, Selection};
use shoal_machine::Effects;
use shoal_metainfo::{Info, PieceLayers};
use shoal_pieces::Bitfield;
use shoal_wire::{Extended, Message};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Chosen: the first wait before a refusing disk is tried again; doubles up to the last (reliability.md F3: goes on within
/// 30 s after room appears).
const DISK_RETRY_FIRST: Duration = Duration::from_secs(1);
const DISK_RETRY_LAST: Duration = Duration::from_secs(15);

impl<P> Swarm<P> {
    /// All blocks of a piece are here: the driver hashes and writes it.
    pub(super) fn store(&mut self, piece: PieceIndex, out: &mut Effects<Effect<P>>) {
        let Phase::Transfer(transfer) = &mut self.phase else { return };
        let held = transfer.assembly.remove(&piece).unwrap_or_default();
        let layout = transfer.info.layout();
        let mut givers = Vec::with_capacity(held.len());
        let mut blocks = Vec::with_capacity(held.len());
        for (begin, held) in held {
            let number = begin / shoal_layout::BLOCK_LENGTH;
            let block = layout.request(piece, number).expect("only blocks of the layout are granted");
            transfer.assembly_bytes -= u64::from(block.length);
            transfer.storing_bytes += u64::from(block.length);
            givers.push((begin, held.giver));
            blocks.push((block, held.payload));
        }
        transfer.storing.insert(piece, givers);
        self.order_store(piece, blocks, out);
    }

    fn order_store(&mut self, piece: PieceIndex, blocks: Vec<(BlockRef, P)>, out: &mut Effects<Effect<P>>) {
        let Phase::Transfer(transfer) = &mut self.phase else { return };
        let expected = transfer.info.piece_hashes(piece, &transfer.layers).expect("only pieces with a hash are wanted");
        let digests = transfer.blame.is_suspect(piece);
        out.push(Effect::Store { piece, expected, blocks, digests });
    }

    pub(super) fn stored(&mut self, piece: PieceIndex, outcome: StoreOutcome<P>, out: &mut Effects<Effect<P>>) {
        let Phase::Transfer(transfer) = &mut self.phase else { return };
        match outcome {
            StoreOutcome::Failed { blocks, reason } => {
                let first = transfer.disk_trouble.is_none();
                let wait = transfer.disk_trouble.map_or(DISK_RETRY_FIRST, |(_, wait)| (wait * 2).min(DISK_RETRY_LAST));
                transfer.refused.push_back(Refused { piece, blocks });
                transfer.disk_trouble = Some((self.now + wait, wait));
                if first {
                    out.push(Effect::Notice(Notice::DiskTrouble { reason }));
                }
            }
            StoreOutcome::Written { digests } => {
                self.moved = Some(self.now);
                let senders = transfer.stored_away(piece);
                transfer.exclusive.remove(&piece);
                if transfer.disk_trouble.take().is_some() {
                    out.push(Effect::Notice(Notice::DiskRecovered));
                }
                let begins = senders.iter().map(|&(begin, _)| begin);
                let liars =
                    if digests.is_empty() { Vec::new() } else { transfer.blame.right(piece, begins.zip(digests)) };
                let gave: std::collections::BTreeSet<_> = senders.into_iter().map(|(_, sender)| sender).collect();
                for peer in self.peers.values_mut().filter(|peer| !peer.gave_good) {
                    peer.gave_good = gave.contains(&Giver::Peer(peer.sender()));
                }
                for giver in &gave {
                    if let Giver::WebSeed(seed) = *giver {
                        self.web_seed_gave(seed, true, out);
                    }
                }
                for liar in liars {
                    self.lied(liar, out);
                }
                self.piece_is_here(piece, out);
            }
            StoreOutcome::Corrupt { blocks, digests } => self.corrupt(piece, blocks, digests, out),
        }
        self.touch_all = true;
    }

    /// A piece is verified and written: now it counts, and the others hear of it.
    fn piece_is_here(&mut self, piece: PieceIndex, out: &mut Effects<Effect<P>>) {
        let Phase::Transfer(transfer) = &mut self.phase else { return };
        transfer.picker.piece_stored(piece);
        transfer.count_piece(piece, false);
        out.push(Effect::Notice(Notice::Piece(piece)));
        for peer in self.peers.values_mut() {
            let PeerPieces::Known(bits) = &peer.pieces else { continue };
            if bits.get(piece) {
                peer.wanted_pieces = peer.wanted_pieces.saturating_sub(1);
            }
            // Also to those who have it (as libtorrent): so a seed sees how far we are, and that we became complete.
            peer.last_sent = self.now;
            out.push(Effect::Send { peer: peer.key, message: Message::Have(piece.0) });
        }
        if transfer.complete {
            self.completed(out);
        }
    }

    fn completed(&mut self, out: &mut Effects<Effect<P>>) {
        out.push(Effect::Notice(Notice::Complete));
        self.pace.completed();
        let Phase::Transfer(transfer) = &self.phase else { return };
        if transfer.payload_done == transfer.info.layout().payload_length() {
            self.schedule.completed(self.now);
        }
        self.cancel_where(|_| true, out);
        for key in self.peers.keys().copied().collect::<Vec<_>>() {
            let Some(peer) = self.peers.get_mut(&key) else { continue };
            if peer.is_seed() || peer.upload_only {
                self.part(key, out);
            } else if let Some(id) = peer.extensions.as_ref().and_then(|extensions| extensions.upload_only_id) {
                let message = Message::Extended { id, message: Extended::UploadOnly(true) };
                out.push(Effect::Send { peer: key, message });
            }
        }
    }

    /// A piece that we had is not on disk any more.
    pub(super) fn lose_piece(&mut self, piece: PieceIndex, out: &mut Effects<Effect<P>>) {
        let Phase::Transfer(transfer) = &mut self.phase else { return };
        if !transfer.picker.have().get(piece) {
            return;
        }
        let was_complete = transfer.complete;
        transfer.picker.piece_lost(piece);
        transfer.count_piece(piece, true);
        let lacks_again = was_complete && !transfer.complete;
        let mut dropped = Vec::new();
        for peer in self.peers.values_mut() {
            let key = peer.key;
            dropped.extend(peer.uploads.iter().filter(|block| block.piece == piece).map(|&block| (key, block)));
            peer.uploads.retain(|block| block.piece != piece);
            if let Some(id) = peer.extensions.as_ref().and_then(|extensions| extensions.lt_donthave) {
                out.push(Effect::Send {
                    peer: key,
                    message: Message::Extended { id, message: Extended::DontHave(piece.0) },
                });
            }
            if let Some(id) = peer.extensions.as_ref().and_then(|extensions| extensions.upload_only_id)
                && lacks_again
            {
                let message = Message::Extended { id, message: Extended::UploadOnly(false) };
                out.push(Effect::Send { peer: key, message });
            }
        }
        // Else they would wait for it until they call it snubbing (BEP 6).
        for (key, block) in dropped {
            self.refuse(key, super::requests::raw(block), out);
        }
        self.recount_wanted();
        self.check_super_seeding(out);
    }

    /// Counts anew how many wanted pieces each peer has; after anything that changes what we want.
    pub(super) fn recount_wanted(&mut self) {
        let Phase::Transfer(transfer) = &mut self.phase else { return };
        for peer in self.peers.values_mut() {
            if let PeerPieces::Known(bits) = &peer.pieces {
                peer.wanted_pieces = transfer.picker.count_wanted(bits);
            }
        }
        self.touch_all = true;
    }

    /// Tries one refused piece again when its time has come; the others follow when it went well.
    pub(super) fn retry_storing(&mut self, out: &mut Effects<Effect<P>>) {
        let Phase::Transfer(transfer) = &mut self.phase else { return };
        let due: VecDeque<Refused<P>> = match &mut transfer.disk_trouble {
            Some((at, wait)) if *at <= self.now => {
                *at = self.now + *wait;
                transfer.refused.pop_front().into_iter().collect()
            }
            Some(_) => return,
            None => std::mem::take(&mut transfer.refused),
        };
        for Refused { piece, blocks } in due {
            self.order_store(piece, blocks, out);
        }
    }

    /// Files are open and checked: the transfer begins.
    pub(super) fn ready(
        &mut self,
        info: Arc<Info>,
        layers: PieceLayers,
        have: Bitfield,
        selection: Selection,
        out: &mut Effects<Effect<P>>,
    ) {
        assert_eq!(have.len(), info.layout().pieces(), "the bitfield is this torrent's");
        let mut transfer = Transfer::new(info, layers, have, selection, self.config.serve_only, &self.rng);
        let pieces = transfer.info.layout().pieces();
        let private = transfer.info.private();
        let mut misfits = Vec::new();
        for peer in self.peers.values_mut() {
            match peer.pieces.check(pieces) {
                Ok(bits) => {
                    transfer.picker.peer_joined(&bits);
                    peer.wanted_pieces = transfer.picker.count_wanted(&bits);
                    peer.pieces = PeerPieces::Known(bits);
                }
                Err(_) => misfits.push(peer.key),
            }
            // Connected before the metadata was known: it was told nothing, or that we have nothing.
            for piece in transfer.picker.have().iter_set() {
                out.push(Effect::Send { peer: peer.key, message: Message::Have(piece.0) });
            }
        }
        let complete = transfer.complete;
        let seed = transfer.payload_done == transfer.info.layout().payload_length();
        self.phase = Phase::Transfer(Box::new(transfer));
        self.moved = Some(self.now);
        self.schedule.begins(seed);
        self.seek.ready(private);
        self.web_seeds_ready();
        if private {
            self.become_private(out);
        }
        for key in misfits {
            self.fault(key, "pieces that the torrent does not have", out);
        }
        if complete {
            out.push(Effect::Notice(Notice::Complete));
        }
        for key in self.peers.keys().copied().collect::<Vec<PeerKey>>() {
            self.noticed_pieces(key, out);
            self.tell_dht_port(key, out);
        }
        self.use_free_slots(out);
        self.touch_all = true;
    }

    pub(super) fn select(&mut self, selection: Selection, out: &mut Effects<Effect<P>>) {
        let Phase::Transfer(transfer) = &mut self.phase else { return };
        transfer.layer_fetch = crate::layers::LayerFetch::new(&transfer.info, &transfer.layers, &selection);
        transfer.selection = selection;
        transfer.set_wanted();
        let was_complete = transfer.complete;
        transfer.count();
        let complete = transfer.complete;
        self.recount_wanted();
        if complete && !was_complete {
            self.completed(out);
        }
    }
}
