//! Claims about the picker, most of them against a model that knows every block and counts everything anew.

use crate::*;
use proptest::prelude::*;
use shoal_layout::{BlockRef, Layout, PieceIndex};
use shoal_machine::Rng;
use std::collections::{BTreeMap, BTreeSet};

const PEERS: usize = 5;
const ALL: usize = 1 << 20;

/// Twelve pieces of four blocks; the second file leaves the end of piece 2 and all of pieces 3 and 4 empty.
fn layout() -> Layout {
    Layout::new(65_536, vec![(0, 100_000), (131_072, 20_000), (327_680, 450_000)], 12 * 65_536).unwrap()
}

fn bits(len: u32, pieces: impl IntoIterator<Item = u32>) -> Bitfield {
    let mut bits = Bitfield::new(len);
    pieces.into_iter().for_each(|piece| {
        bits.set(PieceIndex(piece));
    });
    bits
}

fn fresh(layout: &Layout, seed: u64) -> PiecePicker {
    let pieces = layout.pieces();
    PiecePicker::new(layout, Bitfield::new(pieces), &Bitfield::full(pieces), Rng::new(seed))
}

fn pick(picker: &mut PiecePicker, peer: u32, bits: &Bitfield, count: usize) -> Vec<BlockRef> {
    let mut out = Vec::new();
    picker.pick(PeerSlot(peer), bits, count, PickMode::RarestFirst, ALL, &mut out);
    picker.check_invariants();
    out
}

/// Has a peer deliver what it is asked for until pieces are stored, so that random first is over.
fn past_random_first(picker: &mut PiecePicker, all: &Bitfield) {
    while picker.have().count() < 4 {
        for block in pick(picker, 999, all, 1) {
            if picker.received(block, PeerSlot(999)).piece_complete {
                picker.piece_stored(block.piece);
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Join { peer: usize, pieces: u32 },
    Leave { peer: usize },
    Has { peer: usize, piece: u32 },
    Lost { peer: usize, piece: u32 },
    Pick { peer: usize, count: usize, mode: PickMode, max_open: usize },
    Receive { which: usize },
    Abandon { which: usize },
    Finish { which: usize, good: bool },
    FailSome { which: usize, wrong: u8 },
    Fail { piece: u32 },
    Lose { piece: u32 },
    Want { pieces: u32 },
    Slow { peer: usize, slow: bool },
}

fn step() -> impl Strategy<Value = Step> {
    let peer = 0..PEERS;
    let piece = 0..12_u32;
    let mode = prop::sample::select(vec![
        PickMode::RarestFirst,
        PickMode::RarestFirst,
        PickMode::Random,
        PickMode::InOrder,
        PickMode::Sequential,
    ]);
    prop_oneof![
        2 => (peer.clone(), prop_oneof![Just(u32::MAX), any::<u32>()]).prop_map(|(peer, pieces)| Step::Join { peer, pieces }),
        1 => peer.clone().prop_map(|peer| Step::Leave { peer }),
        2 => (peer.clone(), piece.clone()).prop_map(|(peer, piece)| Step::Has { peer, piece }),
        1 => (peer.clone(), piece.clone()).prop_map(|(peer, piece)| Step::Lost { peer, piece }),
        8 => (peer.clone(), 0..8_usize, mode, 0..6_usize)
            .prop_map(|(peer, count, mode, max_open)| Step::Pick { peer, count, mode, max_open }),
        8 => any::<usize>().prop_map(|which| Step::Receive { which }),
        2 => any::<usize>().prop_map(|which| Step::Abandon { which }),
        3 => (any::<usize>(), any::<bool>()).prop_map(|(which, good)| Step::Finish { which, good }),
        1 => (any::<usize>(), 0..16_u8).prop_map(|(which, wrong)| Step::FailSome { which, wrong }),
        1 => piece.clone().prop_map(|piece| Step::Fail { piece }),
        1 => piece.prop_map(|piece| Step::Lose { piece }),
        1 => any::<u32>().prop_map(|pieces| Step::Want { pieces }),
        1 => (peer, any::<bool>()).prop_map(|(peer, slow)| Step::Slow { peer, slow }),
    ]
}

/// The brute-force picture: who was asked for each missing block, and which are here.
struct Model {
    layout: Layout,
    peers: Vec<Option<Bitfield>>,
    slow: BTreeSet<usize>,
    wanted: Bitfield,
    have: Bitfield,
    storing: BTreeSet<PieceIndex>,
    here: BTreeSet<BlockRef>,
    asked: BTreeMap<BlockRef, BTreeSet<usize>>,
}

impl Model {
    fn blocks(&self, piece: PieceIndex) -> Vec<BlockRef> {
        self.layout.requests(piece).map(|(_, block)| block).collect()
    }

    /// Blocks of wanted pieces that are not here.
    fn missing(&self) -> Vec<BlockRef> {
        let lacking = self.wanted.iter_and_not(&self.have).filter(|piece| !self.storing.contains(piece));
        lacking.flat_map(|piece| self.blocks(piece)).filter(|block| !self.here.contains(block)).collect()
    }

    fn is_open(&self, piece: PieceIndex) -> bool {
        self.blocks(piece).iter().any(|block| self.here.contains(block) || self.asked.contains_key(block))
    }

    fn open(&self) -> usize {
        let open = self.wanted.iter_and_not(&self.have).filter(|piece| !self.storing.contains(piece));
        open.filter(|&piece| self.is_open(piece)).count()
    }

    /// Wanted pieces that nothing is here of or asked for and that the peer has.
    fn closed_for(&self, bits: &Bitfield) -> Vec<PieceIndex> {
        let closed = self.wanted.iter_and_not(&self.have).filter(|piece| !self.storing.contains(piece));
        closed.filter(|&piece| bits.get(piece) && !self.is_open(piece)).collect()
    }

    fn availability(&self, piece: PieceIndex) -> usize {
        self.peers.iter().flatten().filter(|bits| bits.get(piece)).count()
    }

    fn outstanding(&self) -> Vec<(BlockRef, usize)> {
        self.asked.iter().flat_map(|(&block, peers)| peers.iter().map(move |&peer| (block, peer))).collect()
    }

    fn forget(&mut self, block: BlockRef, peer: usize) {
        if let Some(peers) = self.asked.get_mut(&block) {
            peers.remove(&peer);
            if peers.is_empty() {
                self.asked.remove(&block);
            }
        }
    }

    /// Checks what was picked, block by block, and marks it.
    fn picked(&mut self, peer: usize, count: usize, mode: PickMode, max_open: usize, blocks: &[BlockRef]) {
        let bits = self.peers[peer].clone().unwrap();
        let endgame = self.missing().iter().all(|block| self.asked.contains_key(block));
        let held_up = self.open() >= max_open && !self.slow.is_empty();
        let mut again = 0;
        for &block in blocks {
            let piece = block.piece;
            assert!(bits.get(piece) && self.missing().contains(&block), "{block:?} is not to be asked of {peer}");
            let others = self.asked.get(&block).cloned().unwrap_or_default();
            assert!(!others.contains(&peer), "{block:?} is asked twice of {peer}");
            if !others.is_empty() {
                again += 1;
                assert!(endgame || held_up, "{block:?} is asked again outside the endgame");
                assert!(endgame || others.iter().all(|other| self.slow.contains(other)));
                assert!(others.len() < 4);
            } else if !self.is_open(piece) {
                assert!(self.open() < max_open, "too many pieces are open");
                let closed = self.closed_for(&bits);
                let rarity = self.availability(piece);
                match mode {
                    PickMode::Sequential => assert_eq!(closed.first(), Some(&piece), "the lowest comes first"),
                    PickMode::InOrder => {
                        let next = closed[0];
                        assert!(piece == next || rarity < self.availability(next), "in order, or rarer");
                    }
                    PickMode::RarestFirst if self.have.count() >= 4 => {
                        let rarest = closed.iter().map(|&piece| self.availability(piece)).min();
                        assert_eq!(rarest, Some(rarity), "the rarest comes first");
                    }
                    PickMode::RarestFirst | PickMode::Random => {}
                }
            }
            self.asked.entry(block).or_default().insert(peer);
        }
        assert!(again == 0 || again == blocks.len());
        if blocks.len() < count && again == 0 {
            let free = |block: &BlockRef| bits.get(block.piece) && !self.asked.contains_key(block);
            let left: Vec<_> = self.missing().into_iter().filter(free).collect();
            assert!(left.iter().all(|block| !self.is_open(block.piece)), "an open piece is always continued");
            assert!(left.is_empty() || self.open() >= max_open, "{left:?} could be asked for");
        }
    }
}

fn run(steps: Vec<Step>, seed: u64) {
    let layout = layout();
    let pieces = layout.pieces();
    let gaps = bits(pieces, [3, 4]);
    let mut picker = fresh(&layout, seed);
    let mut model = Model {
        layout,
        peers: vec![None; PEERS],
        slow: BTreeSet::new(),
        wanted: Bitfield::full(pieces),
        have: gaps.clone(),
        storing: BTreeSet::new(),
        here: BTreeSet::new(),
        asked: BTreeMap::new(),
    };
    for step in steps {
        match step {
            Step::Join { peer, pieces: mask } if model.peers[peer].is_none() => {
                let bits = bits(pieces, (0..pieces).filter(|piece| mask >> piece & 1 == 1));
                picker.peer_joined(&bits);
                model.peers[peer] = Some(bits);
            }
            Step::Leave { peer } => {
                for (block, _) in model.outstanding().into_iter().filter(|&(_, other)| other == peer) {
                    picker.abandoned(block, PeerSlot(peer as u32));
                    model.forget(block, peer);
                }
                if let Some(bits) = model.peers[peer].take() {
                    picker.peer_left(&bits);
                }
            }
            Step::Has { peer, piece } => {
                if model.peers[peer].as_mut().is_some_and(|bits| bits.set(PieceIndex(piece))) {
                    picker.peer_has(PieceIndex(piece));
                }
            }
            Step::Lost { peer, piece } => {
                if model.peers[peer].as_mut().is_some_and(|bits| bits.unset(PieceIndex(piece))) {
                    picker.peer_lost(PieceIndex(piece));
                }
            }
            Step::Pick { peer, count, mode, max_open } => {
                let Some(bits) = &model.peers[peer] else { continue };
                let mut out = Vec::new();
                picker.pick(PeerSlot(peer as u32), bits, count, mode, max_open, &mut out);
                assert!(out.len() <= count);
                model.picked(peer, count, mode, max_open, &out);
            }
            Step::Receive { which } => {
                let outstanding = model.outstanding();
                let Some(&(block, peer)) = outstanding.get(which % outstanding.len().max(1)) else { continue };
                let received = picker.received(block, PeerSlot(peer as u32));
                let mut others = model.asked.remove(&block).unwrap();
                others.remove(&peer);
                model.here.insert(block);
                let piece_complete = model.blocks(block.piece).iter().all(|block| model.here.contains(block));
                if piece_complete {
                    model.storing.insert(block.piece);
                    model.here.retain(|here| here.piece != block.piece);
                }
                assert!(received.fresh);
                assert_eq!(received.piece_complete, piece_complete);
                assert_eq!(received.others.iter().map(|peer| peer.0 as usize).collect::<BTreeSet<_>>(), others);
                assert_eq!(
                    picker.received(block, PeerSlot(peer as u32)),
                    Received::default(),
                    "twice is once too often"
                );
            }
            Step::Abandon { which } => {
                let outstanding = model.outstanding();
                let Some(&(block, peer)) = outstanding.get(which % outstanding.len().max(1)) else { continue };
                picker.abandoned(block, PeerSlot(peer as u32));
                picker.abandoned(block, PeerSlot(77));
                model.forget(block, peer);
            }
            Step::Finish { which, good } => {
                let storing: Vec<_> = model.storing.iter().copied().collect();
                let Some(&piece) = storing.get(which % storing.len().max(1)) else { continue };
                model.storing.remove(&piece);
                if good {
                    picker.piece_stored(piece);
                    model.have.set(piece);
                } else {
                    picker.piece_failed(piece);
                }
            }
            Step::FailSome { which, wrong } => {
                let storing: Vec<_> = model.storing.iter().copied().collect();
                let Some(&piece) = storing.get(which % storing.len().max(1)) else { continue };
                let is_wrong = |block: &BlockRef| wrong >> (block.begin / 16_384) & 1 == 1;
                let (wrong, right): (Vec<_>, Vec<_>) = model.blocks(piece).into_iter().partition(is_wrong);
                if wrong.is_empty() {
                    continue;
                }
                picker.blocks_failed(piece, &wrong);
                model.storing.remove(&piece);
                model.here.extend(right);
            }
            Step::Fail { piece } => {
                picker.piece_failed(PieceIndex(piece));
                model.storing.remove(&PieceIndex(piece));
                model.here.retain(|block| block.piece != PieceIndex(piece));
            }
            Step::Lose { piece } => {
                if !gaps.get(PieceIndex(piece)) {
                    model.have.unset(PieceIndex(piece));
                }
                picker.piece_lost(PieceIndex(piece));
            }
            Step::Want { pieces: mask } => {
                model.wanted = bits(pieces, (0..pieces).filter(|piece| mask >> piece & 1 == 1));
                picker.set_wanted(&model.wanted);
            }
            Step::Slow { peer, slow } => {
                picker.peer_slow(PeerSlot(peer as u32), slow);
                if slow {
                    model.slow.insert(peer);
                } else {
                    model.slow.remove(&peer);
                }
            }
            Step::Join { .. } => {}
        }
        picker.check_invariants();
        let missing = model.missing();
        let asked = missing.iter().filter(|block| model.asked.contains_key(block)).count();
        assert_eq!(picker.have(), &model.have);
        assert_eq!(picker.blocks_missing(), missing.len() as u64);
        assert_eq!(picker.blocks_requested(), asked as u64);
        assert_eq!(picker.open_pieces(), model.open());
        assert_eq!(picker.is_endgame(), !missing.is_empty() && missing.len() == asked);
        for bits in model.peers.iter().flatten() {
            let counted = bits.iter_set().filter(|&piece| picker.wants(piece)).count();
            assert_eq!(picker.count_wanted(bits) as usize, counted);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn agrees_with_a_model_that_counts_everything(steps in prop::collection::vec(step(), 0..250), seed: u64) {
        run(steps, seed);
    }
}

#[test]
fn a_piece_in_a_gap_counts_as_had_and_a_block_in_a_gap_is_never_asked_for() {
    let layout = layout();
    let mut picker = fresh(&layout, 1);
    assert!(picker.have().get(PieceIndex(3)) && picker.have().get(PieceIndex(4)));
    picker.peer_joined(&Bitfield::full(12));
    let blocks = pick(&mut picker, 1, &Bitfield::full(12), 100);
    assert_eq!(blocks.iter().map(|block| u64::from(block.length)).sum::<u64>(), layout.payload_length());
    assert_eq!(blocks.iter().filter(|block| block.piece == PieceIndex(2)).count(), 2);
}

#[test]
fn the_first_piece_is_random_and_later_ones_are_the_rarest() {
    let layout = Layout::contiguous(16_384, &[16_384 * 10]).unwrap();
    let all = Bitfield::full(10);
    let mut firsts = [0_u32; 10];
    for seed in 0..2_000 {
        let mut picker = fresh(&layout, seed);
        picker.peer_joined(&all);
        picker.peer_joined(&bits(10, 0..9));
        let first = pick(&mut picker, 1, &all, 1)[0];
        firsts[first.piece.0 as usize] += 1;
        picker.abandoned(first, PeerSlot(1));
        past_random_first(&mut picker, &bits(10, 0..9));
        assert_eq!(pick(&mut picker, 2, &all, 1)[0].piece, PieceIndex(9));
    }
    assert!(firsts.iter().all(|&times| (140..260).contains(&times)), "{firsts:?}");
}

#[test]
fn an_open_piece_is_finished_first_even_at_the_bound_and_by_another_peer() {
    let layout = Layout::contiguous(65_536, &[65_536 * 10]).unwrap();
    let mut picker = fresh(&layout, 3);
    let all = Bitfield::full(10);
    picker.peer_joined(&all);
    let first = pick(&mut picker, 1, &all, 1)[0];
    let mut out = Vec::new();
    picker.pick(PeerSlot(2), &all, 10, PickMode::RarestFirst, 1, &mut out);
    assert_eq!(out.len(), 3);
    assert!(out.iter().all(|block| block.piece == first.piece && *block != first));
}

#[test]
fn what_is_here_of_a_piece_survives_its_senders_and_its_unchoosing() {
    let layout = Layout::contiguous(65_536, &[65_536 * 2]).unwrap();
    let mut picker = fresh(&layout, 3);
    let all = Bitfield::full(2);
    picker.peer_joined(&all);
    let blocks = pick(&mut picker, 1, &all, 2);
    assert!(picker.received(blocks[0], PeerSlot(1)).fresh);
    picker.abandoned(blocks[1], PeerSlot(1));
    picker.peer_left(&all);
    picker.set_wanted(&Bitfield::new(2));
    assert_eq!((picker.blocks_missing(), picker.open_pieces()), (0, 0));
    assert!(pick(&mut picker, 2, &all, 9).is_empty());
    picker.set_wanted(&all);
    assert_eq!(picker.blocks_missing(), 7);
    picker.peer_joined(&all);
    let again = pick(&mut picker, 2, &all, 3);
    assert!(!again.contains(&blocks[0]) && again.iter().all(|block| block.piece == blocks[0].piece));
}

#[test]
fn the_endgame_is_bounded_spares_the_busy_and_prefers_what_slow_peers_hold() {
    let layout = Layout::contiguous(16_384, &[16_384 * 64]).unwrap();
    let all = Bitfield::full(64);
    let mut picker = fresh(&layout, 3);
    for _ in 0..4 {
        picker.peer_joined(&all);
    }
    assert_eq!(pick(&mut picker, 1, &all, 60).len(), 60);
    let slow = pick(&mut picker, 2, &all, 100);
    assert_eq!(slow.len(), 4);
    assert!(picker.is_endgame());
    picker.peer_slow(PeerSlot(2), true);
    assert!(pick(&mut picker, 1, &all, 100).is_empty(), "a peer with enough to do helps nobody");
    let helped = pick(&mut picker, 3, &all, 100);
    assert_eq!(helped.len(), 8);
    assert!(slow.iter().all(|block| helped.contains(block)));
    assert!(pick(&mut picker, 3, &all, 100).is_empty());
    let received = picker.received(slow[0], PeerSlot(3));
    assert_eq!(received, Received { fresh: true, others: vec![PeerSlot(2)], piece_complete: true });
    assert!(!picker.received(slow[0], PeerSlot(2)).fresh);
}

#[test]
fn a_slow_peer_does_not_hold_up_the_others_where_few_pieces_may_be_open() {
    let layout = Layout::contiguous(65_536, &[65_536 * 10]).unwrap();
    let all = Bitfield::full(10);
    let mut picker = fresh(&layout, 3);
    picker.peer_joined(&all);
    let held = pick(&mut picker, 1, &all, 4);
    let mut out = Vec::new();
    picker.pick(PeerSlot(2), &all, 9, PickMode::RarestFirst, 1, &mut out);
    assert!(out.is_empty());
    picker.peer_slow(PeerSlot(1), true);
    picker.pick(PeerSlot(2), &all, 9, PickMode::RarestFirst, 1, &mut out);
    assert_eq!(out.iter().collect::<BTreeSet<_>>(), held.iter().collect::<BTreeSet<_>>());
}

#[test]
fn sequential_mode_goes_from_the_lowest_up() {
    let layout = Layout::contiguous(32_768, &[32_768 * 200]).unwrap();
    let mut picker = fresh(&layout, 3);
    let have = bits(200, 64..200);
    picker.peer_joined(&have);
    let mut out = Vec::new();
    picker.pick(PeerSlot(1), &have, 5, PickMode::Sequential, ALL, &mut out);
    assert_eq!(out.iter().map(|block| block.piece.0).collect::<Vec<_>>(), [64, 64, 65, 65, 66]);
    out.clear();
    picker.pick(PeerSlot(2), &Bitfield::full(200), 2, PickMode::Sequential, ALL, &mut out);
    assert_eq!(out.iter().map(|block| block.piece.0).collect::<Vec<_>>(), [0, 0]);
}

#[test]
fn in_order_two_of_three_pieces_are_rare_ones_where_there_are_such() {
    let layout = Layout::contiguous(16_384, &[16_384 * 40]).unwrap();
    let all = Bitfield::full(40);
    let begun = |others: Bitfield, suggested: &[u32]| {
        // Those that come first of all are random ones.
        let mut picker = PiecePicker::new(&layout, bits(40, 36..40), &all, Rng::new(3));
        picker.peer_joined(&all);
        picker.peer_joined(&others);
        suggested.iter().for_each(|&piece| picker.peer_suggests(PeerSlot(1), PieceIndex(piece)));
        let mut out = Vec::new();
        picker.pick(PeerSlot(1), &all, 12, PickMode::InOrder, ALL, &mut out);
        out.iter().map(|block| block.piece.0).collect::<Vec<_>>()
    };
    assert_eq!(begun(all.clone(), &[]), Vec::from_iter(0..12), "nothing is rarer than the next");
    // Others are where we are: what they have not reached yet is rarer.
    let suggested = begun(bits(40, 0..20), &[5, 33, 21]);
    assert_eq!(suggested[..4], [33, 21, 0, suggested[3]], "of the rare ones those that it suggests: {suggested:?}");
    let begun = begun(bits(40, 0..20), &[]);
    let next: Vec<u32> = begun.iter().copied().filter(|&piece| piece < 20).collect();
    assert_eq!(next, [0, 1, 2, 3], "{begun:?}");
    assert!(begun.chunks(3).all(|three| three[0] >= 20 && three[1] >= 20), "{begun:?}");
}

#[test]
fn a_peer_with_one_piece_of_two_million_is_still_asked_for_it() {
    let layout = Layout::contiguous(16_384, &[16_384 << 21]).unwrap();
    let mut picker = fresh(&layout, 3);
    let one = bits(1 << 21, [1_234_567]);
    for _ in 0..3 {
        picker.peer_joined(&one);
    }
    picker.peer_joined(&Bitfield::full(1 << 21));
    let mut out = Vec::new();
    picker.pick(PeerSlot(1), &one, 10, PickMode::RarestFirst, ALL, &mut out);
    assert_eq!(out.iter().map(|block| block.piece.0).collect::<Vec<_>>(), [1_234_567]);
}

/// Prints what the head comments claim; run by hand: `cargo test --release -p shoal-pieces -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement, not a claim"]
#[expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "a measurement needs the real clock")]
fn costs_for_two_million_pieces() {
    const PIECES: u32 = 1 << 21;
    let took = |what: &str, times: u32, run: &mut dyn FnMut()| {
        let start = std::time::Instant::now();
        run();
        println!("{what}: {:.2} us each of {times}", start.elapsed().as_secs_f64() * 1e6 / f64::from(times));
    };
    let layout = Layout::contiguous(65_536, &[65_536 << 21]).unwrap();
    let mut picker = None;
    took("new", 1, &mut || picker = Some(fresh(&layout, 1)));
    let mut picker = picker.unwrap();
    let (all, half) = (Bitfield::full(PIECES), bits(PIECES, (0..PIECES).step_by(2)));
    took("have-all", 50, &mut || (0..50).for_each(|_| picker.peer_joined(&all)));
    took("half a bitfield", 2, &mut || (0..2).for_each(|_| picker.peer_joined(&half)));
    let mut rng = Rng::new(2);
    took("have", 1 << 20, &mut || {
        (0..1 << 20).for_each(|_| picker.peer_has(PieceIndex(rng.below(u64::from(PIECES)) as u32)));
    });
    let mut out = Vec::new();
    took("pick 8 of all, per block", 1 << 15, &mut || {
        (0..1 << 12).for_each(|_| picker.pick(PeerSlot(1), &all, 8, PickMode::RarestFirst, ALL, &mut out));
    });
    took("receive", 1 << 15, &mut || {
        for block in out.drain(..) {
            if picker.received(block, PeerSlot(1)).piece_complete {
                picker.piece_stored(block.piece);
            }
        }
    });
    let one = bits(PIECES, [7]);
    took("pick of a peer that has one piece", 100, &mut || {
        for _ in 0..100 {
            picker.pick(PeerSlot(2), &one, 1, PickMode::RarestFirst, ALL, &mut out);
            out.drain(..).for_each(|block| picker.abandoned(block, PeerSlot(2)));
        }
    });
    took("a peer of all that loses a piece", 1, &mut || picker.peer_lost(PieceIndex(3)));
}

#[test]
fn of_equally_rare_pieces_the_one_that_the_peer_suggests_is_begun_first() {
    let layout = Layout::new(65_536, vec![(0, 40 * 65_536)], 40 * 65_536).unwrap();
    let mut picker = fresh(&layout, 1);
    let all = Bitfield::full(40);
    picker.peer_joined(&all);
    past_random_first(&mut picker, &all);
    let missing: Vec<PieceIndex> = (0..40).map(PieceIndex).filter(|&piece| !picker.have().get(piece)).collect();
    let [plentiful, first, second] = [missing[0], missing[20], missing[9]];
    // Another peer has one of those that are suggested, and a third suggests something else.
    picker.peer_joined(&bits(40, [plentiful.0]));
    for piece in [plentiful, first, second] {
        picker.peer_suggests(PeerSlot(7), piece);
    }
    picker.peer_suggests(PeerSlot(8), missing[30]);
    let begun: Vec<PieceIndex> = pick(&mut picker, 7, &all, 8).iter().step_by(4).map(|block| block.piece).collect();
    assert_eq!(begun, [first, second]);
    picker.forget_suggestions(PeerSlot(8));
    let others = pick(&mut picker, 8, &all, 4 * 37);
    assert!(others.len() > 100 && others.last().unwrap().piece == plentiful, "{others:?}");
}
