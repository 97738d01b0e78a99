//! What a swarm holds once it knows the torrent's layout.

use super::advice::Advice;
use super::super_seed::SuperSeed;
use crate::blame::{Blame, Giver};
use crate::event::PeerKey;
use crate::layers::{LayerFetch, LayerTrees};
use crate::leaf_server::LeafServer;
use crate::leaves::{Doubts, KnownLeaves};
use crate::peers::Peers;
use shoal_layout::{BlockRef, Layout, PieceIndex, Selection};
use shoal_machine::{Rng, Time};
use shoal_metainfo::{Info, PieceLayers};
use shoal_pieces::{Bitfield, PeerSlot, PiecePicker};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Pieces of which few are open at once. Chosen: a second of download at 1 MB/s.
const LARGE_PIECE: u64 = 1 << 20;
/// Bytes of large pieces that may be open however slow the download is (reliability.md F1).
const FEW_OPEN_BYTES: u64 = 4 << 20;

/// The picker's name for a connection.
pub(super) fn slot(key: PeerKey) -> PeerSlot {
    PeerSlot(key.0)
}

/// A block that came, and who gave it.
#[derive(Debug)]
pub(super) struct Held<P> {
    pub(super) payload: P,
    pub(super) giver: Giver,
}

/// A piece that the disk refused.
#[derive(Debug)]
pub(super) struct Refused<P> {
    pub(super) piece: PieceIndex,
    pub(super) blocks: Vec<(BlockRef, P)>,
}

/// The transfer's state. A piece's blocks are in `assembly` while some are missing, then with the driver (`storing`), then,
/// if the disk refused them, in `refused`.
#[derive(Debug)]
pub(super) struct Transfer<P> {
    pub(super) info: Arc<Info>,
    pub(super) layers: PieceLayers,
    pub(super) selection: Selection,
    /// Whether nothing is wanted.
    serve_only: bool,
    pub(super) picker: PiecePicker,
    pub(super) assembly: BTreeMap<PieceIndex, BTreeMap<u32, Held<P>>>,
    pub(super) assembly_bytes: u64,
    /// Begins and senders of the blocks of pieces that the driver hashes and writes.
    pub(super) storing: BTreeMap<PieceIndex, Vec<(u32, Giver)>>,
    pub(super) storing_bytes: u64,
    pub(super) refused: VecDeque<Refused<P>>,
    /// When the disk is tried again, and the wait before the next time; `None` while it takes everything.
    pub(super) disk_trouble: Option<(Time, std::time::Duration)>,
    /// Whether what was written cannot be synced.
    pub(super) sync_failing: bool,
    pub(super) blame: Blame,
    /// Pieces that failed with several senders, and the one peer that is asked for each now: if it fails again its sender
    /// is the liar, and if it comes right the digests name who lied before.
    pub(super) exclusive: BTreeMap<PieceIndex, Option<PeerSlot>>,
    /// How far pieces have spread, while we are their only source (BEP 16).
    pub(super) super_seed: Option<SuperSeed>,
    /// The only peer, and since when it is that.
    pub(super) alone: Option<(PeerKey, Time)>,
    /// Which pieces leeches are advised to fetch, while we are their only source and show them all (BEP 6).
    pub(super) advice: Option<Advice>,
    pub(super) layer_fetch: LayerFetch,
    pub(super) layer_trees: LayerTrees,
    /// Corrupt pieces of which it is asked which blocks are wrong; they are `storing` meanwhile.
    pub(super) doubts: Doubts<P>,
    pub(super) known_leaves: KnownLeaves,
    pub(super) leaf_server: LeafServer,
    /// Whether everything chosen is there.
    pub(super) complete: bool,
    /// Bytes of chosen files that are there, and in all.
    pub(super) chosen_done: u64,
    pub(super) chosen_total: u64,
    /// Bytes of all files that are there.
    pub(super) payload_done: u64,
}

impl<P> Transfer<P> {
    pub(super) fn new(
        info: Arc<Info>,
        layers: PieceLayers,
        have: Bitfield,
        selection: Selection,
        serve_only: bool,
        rng: &Rng,
    ) -> Self {
        let layout = info.layout();
        let wanted = if serve_only { Bitfield::new(layout.pieces()) } else { wanted(&info, &layers, &selection) };
        let picker = PiecePicker::new(&Arc::new(layout.clone()), have, &wanted, rng.fork("picker"));
        let mut transfer = Transfer {
            layer_fetch: LayerFetch::new(&info, &layers, &selection),
            layer_trees: LayerTrees::default(),
            doubts: Doubts::default(),
            known_leaves: KnownLeaves::default(),
            leaf_server: LeafServer::new(Time::ZERO),
            super_seed: None,
            alone: None,
            advice: None,
            picker,
            assembly: BTreeMap::new(),
            assembly_bytes: 0,
            storing: BTreeMap::new(),
            storing_bytes: 0,
            refused: VecDeque::new(),
            disk_trouble: None,
            sync_failing: false,
            blame: Blame::default(),
            exclusive: BTreeMap::new(),
            complete: false,
            chosen_done: 0,
            chosen_total: selection.payload_length(layout),
            payload_done: 0,
            selection,
            serve_only,
            layers,
            info,
        };
        transfer.count();
        transfer
    }

    /// Counts anew what is there; for a start and for another selection.
    pub(super) fn count(&mut self) {
        let layout = self.info.layout();
        self.chosen_total = self.selection.payload_length(layout);
        (self.chosen_done, self.payload_done) = (0, 0);
        for piece in self.picker.have().iter_set() {
            self.chosen_done += chosen_in(layout, &self.selection, piece);
            self.payload_done += u64::from(layout.payload_in(piece));
        }
        self.complete = self.chosen_done == self.chosen_total;
    }

    /// Adds (or with `lost` takes away) one piece from the counts.
    pub(super) fn count_piece(&mut self, piece: PieceIndex, lost: bool) {
        let layout = self.info.layout();
        let chosen = chosen_in(layout, &self.selection, piece);
        let payload = u64::from(layout.payload_in(piece));
        if lost {
            self.chosen_done -= chosen;
            self.payload_done -= payload;
        } else {
            self.chosen_done += chosen;
            self.payload_done += payload;
        }
        self.complete = self.chosen_done == self.chosen_total;
    }

    /// What may be asked of a peer that has `bits`: all of it but pieces that another one is asked for alone. `None` if that
    /// is no restriction.
    pub(super) fn without_others_exclusive(&self, bits: &Bitfield, source: PeerSlot) -> Option<Bitfield> {
        let mut others =
            self.exclusive.iter().filter(|(_, owner)| owner.is_some_and(|owner| owner != source)).peekable();
        others.peek()?;
        let mut allowed = bits.clone();
        for (&piece, _) in others {
            allowed.unset(piece);
        }
        Some(allowed)
    }

    /// Another peer may be asked for the pieces that this one was asked for alone.
    pub(super) fn release_exclusive(&mut self, source: PeerSlot) {
        for owner in self.exclusive.values_mut().filter(|owner| **owner == Some(source)) {
            *owner = None;
        }
    }

    /// A piece is not with the driver any more: who sent its blocks.
    pub(super) fn stored_away(&mut self, piece: PieceIndex) -> Vec<(u32, Giver)> {
        let senders = self.storing.remove(&piece).expect("the driver answers each order once");
        let bytes: u64 = self.info.layout().requests(piece).map(|(_, block)| u64::from(block.length)).sum();
        self.storing_bytes -= bytes;
        senders
    }

    /// How many pieces may be open: as many as fit beside what is being written, and one at least.
    pub(super) fn max_open_pieces(&self, max_bytes: u64) -> usize {
        let room = max_bytes.saturating_sub(self.storing_bytes);
        let fit = room / u64::from(self.info.layout().piece_length());
        // While a lot is on its way to the disk nothing new is begun; else one piece at least, however long.
        let least = u64::from(self.storing_bytes < max_bytes / 2);
        if self.disk_refuses() { 0 } else { fit.max(least) as usize }
    }

    /// How many pieces are opened while the open ones are enough for whom we ask: blocks of unfinished pieces are in memory only,
    /// and a kill loses them (reliability.md F1: two pieces, or 4 MiB, or a second of download). Small pieces are finished
    /// soon enough.
    pub(super) fn few_open_pieces(&self, max_open: usize, download_rate: u64) -> usize {
        let piece_length = u64::from(self.info.layout().piece_length());
        if piece_length < LARGE_PIECE {
            return max_open;
        }
        max_open.min((FEW_OPEN_BYTES.max(download_rate) / piece_length).max(2) as usize)
    }

    /// Whether the disk does not take what it is given, or does not keep it.
    pub(super) fn disk_refuses(&self) -> bool {
        self.disk_trouble.is_some() || self.sync_failing
    }

    /// When refused pieces are to be tried again.
    pub(super) fn retry_at(&self) -> Option<Time> {
        self.disk_trouble.map(|(at, _)| at)
    }

    /// Wants the pieces of the chosen files whose hashes are known.
    pub(super) fn set_wanted(&mut self) {
        if self.serve_only {
            return;
        }
        let wanted = wanted(&self.info, &self.layers, &self.selection);
        self.picker.set_wanted(&wanted);
    }

    pub(super) fn check_invariants(&self, peers: &Peers) {
        let layout = self.info.layout();
        self.picker.check_invariants();
        let held: u64 = self.assembly.values().flat_map(BTreeMap::keys).count() as u64;
        assert!(held * 16_384 >= self.assembly_bytes, "bytes in assembly");
        for (piece, blocks) in &self.assembly {
            assert!(!self.picker.have().get(*piece), "{piece:?} is assembled and there");
            assert!(blocks.len() <= layout.blocks_in(*piece) as usize);
        }
        for piece in self.storing.keys() {
            assert!(!self.picker.have().get(*piece), "{piece:?} is stored twice");
            assert!(!self.assembly.contains_key(piece), "{piece:?} is assembled and being stored");
        }
        for piece in self.doubts.pieces.keys() {
            assert!(self.storing.contains_key(piece), "{piece:?} is in doubt and not counted");
        }
        for (asked, count) in self.picker.outstanding().filter(|(asked, _)| crate::web_seeds::seed_of(*asked).is_none())
        {
            let ours = peers.get(&PeerKey(asked.0)).map_or(0, |peer| peer.requests.len());
            assert_eq!(ours, count as usize, "blocks that {asked:?} was asked for, here and by the picker");
        }
        for peer in peers.values() {
            for asked in &peer.requests {
                assert!(!self.picker.have().get(asked.block.piece), "{:?} is asked for and there", asked.block);
            }
        }
    }
}

/// The pieces of chosen files whose hash is known.
fn wanted(info: &Info, layers: &PieceLayers, selection: &Selection) -> Bitfield {
    let layout: &Layout = info.layout();
    let mut wanted = Bitfield::new(layout.pieces());
    for piece in (0..layout.pieces()).map(PieceIndex) {
        if selection.piece(layout, piece) && info.piece_hashes(piece, layers).is_some() {
            wanted.set(piece);
        }
    }
    wanted
}

fn chosen_in(layout: &Layout, selection: &Selection, piece: PieceIndex) -> u64 {
    let whole = BlockRef { piece, begin: 0, length: layout.piece_size(piece) };
    let chosen = layout.slices(whole).filter(|slice| slice.file.is_some_and(|file| selection.file(file)));
    chosen.map(|slice| slice.length).sum()
}
