//! A download of 64 pieces whose disk is cut off at every step, under every pattern of loss: nothing wrong is claimed
//! (I1), what was journaled is not lost (I2), nothing else is hashed than what was being written, and it goes on to the end.

use shoal_layout::{Layout, PieceIndex};
use shoal_machine::{Rng, Time};
use shoal_metainfo::{InfoHashV1, InfoHashes, PieceHashes};
use shoal_pieces::Bitfield;
use shoal_sim::{Loss, SECTOR_BYTES, Sectors};
use shoal_storage::{Identity, Keeper};
use std::collections::BTreeSet;
use std::path::Path;

const PIECES: u32 = 64;
const PIECE_BYTES: u64 = 8 * SECTOR_BYTES as u64;
/// Pieces written between two syncs.
const BATCH: u32 = 3;
/// 2026, in nanoseconds.
const START_NS: i64 = 1_790_000_000_000_000_000;
const HOUR_NS: i64 = 3_600_000_000_000;

struct World {
    layout: Layout,
    content: Vec<u8>,
    identity: Identity,
}

impl World {
    /// Three files that share pieces, one ends inside a sector.
    fn new() -> World {
        let lengths = [20 * PIECE_BYTES + 5000, 30 * PIECE_BYTES + 1, 14 * PIECE_BYTES - 5001];
        let layout = Layout::contiguous(PIECE_BYTES, &lengths).expect("lengths that fit");
        assert_eq!(layout.pieces(), PIECES);
        let mut rng = Rng::new(1);
        let content = (0..layout.total_length()).map(|_| rng.index(255) as u8 + 1).collect();
        let hashes = InfoHashes { v1: Some(InfoHashV1([3; 20])), v2: None };
        World { layout, content, identity: Identity::new(&hashes, Path::new("/nowhere")) }
    }

    fn piece(&self, piece: PieceIndex) -> &[u8] {
        let start = self.layout.piece_start(piece) as usize;
        &self.content[start..start + self.layout.piece_size(piece) as usize]
    }

    /// The order in which pieces come: rarest first looks like chance.
    fn order(&self, rng: &mut Rng) -> Vec<PieceIndex> {
        let mut order: Vec<PieceIndex> = (0..PIECES).map(PieceIndex).collect();
        rng.shuffle(&mut order);
        order
    }

    /// Downloads what is missing until the end or the cut. The pieces that a finished flush journaled.
    fn download(&self, disk: &Sectors, have: &Bitfield, rng: &mut Rng) -> Result<BTreeSet<u32>, BTreeSet<u32>> {
        let mut journaled: BTreeSet<u32> = have.iter_set().map(|piece| piece.0).collect();
        let Ok(keeper) = Keeper::begin(disk, &self.identity, &self.layout, have, &disk.found()) else {
            return Err(journaled);
        };
        let mut now = Time::ZERO;
        let mut batch = Vec::new();
        for piece in self.order(rng).into_iter().filter(|&piece| !have.get(piece)) {
            if keeper.writing(disk, piece).is_err() || disk.write_piece(piece, &self.content).is_err() {
                return Err(journaled);
            }
            let v1 = Some(shoal_hash::sha1(self.piece(piece)));
            keeper.written(now, piece, PIECE_BYTES as u32, PieceHashes { v1, v2: None });
            batch.push(piece.0);
            if batch.len() as u32 == BATCH {
                now = keeper.deadline().expect("pieces wait");
                // A disk that refuses is tried again at the keeper's own pace.
                loop {
                    let flush = keeper.flush(disk, now, false);
                    assert!(flush.gone.is_empty(), "what can be read is not gone");
                    if flush.journal.is_some() {
                        return Err(journaled);
                    }
                    match keeper.deadline() {
                        Some(due) if flush.data.is_some() && !disk.is_cut() => now = due,
                        Some(_) => return Err(journaled),
                        None => break,
                    }
                }
                journaled.extend(batch.drain(..));
                // Nobody sends anything for a while.
                if piece.0 % 7 == 0 {
                    disk.pass(HOUR_NS);
                }
            }
        }
        let flush = keeper.stop(disk, now);
        if flush.data.is_some() || flush.journal.is_some() {
            return Err(journaled);
        }
        journaled.extend(batch);
        Ok(journaled)
    }

    /// What a start finds right, hashing what it must; panics if anything wrong is claimed. Also how many were hashed.
    fn recover(&self, disk: &Sectors, what: &str) -> (Bitfield, usize) {
        let verdict = match disk.state() {
            Some(bytes) => Keeper::recover(&bytes, &self.identity, &self.layout, &disk.found())
                .unwrap_or_else(|why| panic!("{what}: {why}")),
            None => return (Bitfield::new(PIECES), 0),
        };
        for piece in verdict.have.iter_set() {
            let right = disk.read_piece(piece).is_some_and(|bytes| bytes == self.piece(piece));
            assert!(right, "{what}: {piece:?} is claimed and wrong (I1)");
        }
        let mut have = verdict.have.clone();
        for piece in verdict.check.iter_set() {
            if disk.read_piece(piece).is_some_and(|bytes| bytes == self.piece(piece)) {
                have.set(piece);
            }
        }
        (have, verdict.check.iter_set().count())
    }
}

#[test]
fn a_cut_at_every_step_claims_nothing_wrong_and_loses_nothing_journaled() {
    let world = World::new();
    let whole = Sectors::new(world.layout.clone(), START_NS, None);
    world.download(&whole, &Bitfield::new(PIECES), &mut Rng::new(2)).expect("nobody cuts it");
    let points = whole.steps();
    assert!(points >= 500, "{points} points");
    let mut hashed_most = 0;
    for cut_at in 1..=points {
        let cut = Sectors::new(world.layout.clone(), START_NS, Some(cut_at));
        let journaled = world.download(&cut, &Bitfield::new(PIECES), &mut Rng::new(2)).expect_err("it is cut");
        for (number, loss) in [Loss::None, Loss::All, Loss::Random, Loss::Torn].into_iter().enumerate() {
            let what = format!("cut at {cut_at}, {loss:?}");
            let mut rng = Rng::new(cut_at * 4 + number as u64);
            let disk = cut.after(loss, &mut rng);
            let (have, hashed) = world.recover(&disk, &what);
            let lost: Vec<u32> = journaled.iter().copied().filter(|&piece| !have.get(PieceIndex(piece))).collect();
            assert!(lost.is_empty(), "{what}: {lost:?} were journaled and are lost (I2)");
            assert!(hashed <= 2 * BATCH as usize, "{what}: {hashed} pieces are hashed");
            hashed_most = hashed_most.max(hashed);
            if loss == Loss::None {
                let missing = cut_pieces(&world, &cut).filter(|&piece| !have.get(piece)).count();
                assert!(missing <= 1, "{what}: a kill loses {missing} pieces that were written");
            }
            // Each fourth goes on to its end, which needs no look at all.
            if cut_at % 4 == number as u64 {
                let done = world.download(&disk, &have, &mut rng).expect("nobody cuts it again");
                assert_eq!(done.len() as u32, PIECES, "{what}");
                let (have, hashed) = world.recover(&disk, &what);
                assert_eq!((have.count(), hashed), (PIECES, 0), "{what}: after a clean end");
            }
        }
    }
    println!("{points} points x 4 patterns of loss; at most {hashed_most} of {PIECES} pieces were hashed at a start");
}

/// Pieces that were wholly written when the disk was cut off.
fn cut_pieces<'a>(world: &'a World, disk: &'a Sectors) -> impl Iterator<Item = PieceIndex> + 'a {
    (0..PIECES).map(PieceIndex).filter(|&piece| disk.read_piece(piece).is_some_and(|bytes| bytes == world.piece(piece)))
}

#[test]
fn a_sync_that_fails_once_or_many_times_leaves_no_wrong_claim() {
    let world = World::new();
    for first in 0..22 {
        for count in [1, 5] {
            let mut disk = Sectors::new(world.layout.clone(), START_NS, None);
            disk.fail_syncs(first..first + count);
            let what = format!("{count} syncs fail from {first}");
            let mut rng = Rng::new(first);
            let outcome = world.download(&disk, &Bitfield::new(PIECES), &mut rng);
            for loss in [Loss::None, Loss::All, Loss::Random, Loss::Torn] {
                let (have, _) = world.recover(&disk.after(loss, &mut rng), &what);
                if let Ok(journaled) = &outcome {
                    assert_eq!((have.count(), journaled.len() as u32), (PIECES, PIECES), "{what}, {loss:?}");
                }
            }
        }
    }
}
