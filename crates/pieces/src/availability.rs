//! How many peers have each piece, and the pieces that could be begun in the order of rarity.
//!
//! The order is one array, cut into bands of equal count; where each band starts is kept. A `have` moves a piece to the
//! edge of its band, the edge by one, and the piece to a random place of the next band: O(1), and within a band every
//! order stays equally likely, so that ties are broken at random. Peers that have everything are one number. A bitfield
//! costs as much as it has pieces, or lacks, whichever is less. (The bands are libtorrent's idea.)
//!
//! Invariants: a piece's count plus `seeds` is the number of peers that have it; `order` holds each listed piece once,
//! sorted by count; `starts[n]` is where the pieces with `n` and more begin, and reaches past the highest count.

use crate::Bitfield;
use shoal_layout::PieceIndex;
use shoal_machine::Rng;

/// `places` of a piece that is not listed.
const NOWHERE: u32 = u32::MAX;

/// Who has what, counted; and the listed pieces, rarest first. About 10 bytes a piece.
#[derive(Debug)]
pub struct Availability {
    /// Peers that have all pieces and are not in `counts`.
    seeds: u32,
    counts: Vec<u16>,
    places: Vec<u32>,
    order: Vec<u32>,
    starts: Vec<u32>,
    rng: Rng,
}

impl Availability {
    /// Nobody has anything, and nothing is listed.
    pub fn new(pieces: u32, rng: Rng) -> Availability {
        let pieces = pieces as usize;
        Availability {
            seeds: 0,
            counts: vec![0; pieces],
            places: vec![NOWHERE; pieces],
            order: Vec::new(),
            starts: vec![0, 0],
            rng,
        }
    }

    /// How many peers have this piece.
    pub fn of(&self, piece: PieceIndex) -> u32 {
        self.seeds + u32::from(self.counts[piece.as_usize()])
    }

    /// The listed pieces that somebody has, rarest first, ties in random order.
    pub fn rarest_first(&self) -> &[u32] {
        let start = if self.seeds == 0 { self.starts[1] } else { 0 };
        &self.order[start as usize..]
    }

    /// Lists a piece. Cost: one step a band. Panics if it is listed.
    pub fn list(&mut self, piece: PieceIndex) {
        assert_eq!(self.places[piece.as_usize()], NOWHERE, "{piece:?} is listed");
        let count = usize::from(self.counts[piece.as_usize()]);
        let mut hole = self.order.len();
        self.order.push(piece.0);
        // The new place at the very end wanders down: each band gives its first place for one behind its last.
        for band in (count + 1..self.starts.len()).rev() {
            let start = self.starts[band] as usize;
            if start < hole {
                self.put(self.order[start], hole);
            }
            hole = start;
            self.starts[band] += 1;
        }
        self.put(piece.0, hole);
        self.scatter(count, hole);
    }

    /// Takes a piece from the list; whether it was there. Cost: one step a band.
    pub fn unlist(&mut self, piece: PieceIndex) -> bool {
        let place = self.places[piece.as_usize()];
        if place == NOWHERE {
            return false;
        }
        let count = usize::from(self.counts[piece.as_usize()]);
        let mut hole = place as usize;
        for band in count..self.starts.len() {
            let last = self.end_of(band) - 1;
            if last > hole {
                self.put(self.order[last], hole);
            }
            hole = last;
            if let Some(next) = self.starts.get_mut(band + 1) {
                *next -= 1;
            }
        }
        self.order.pop();
        self.places[piece.as_usize()] = NOWHERE;
        true
    }

    /// A peer with these pieces came.
    pub fn add_peer(&mut self, bits: &Bitfield) {
        if bits.count() > bits.len() / 2 {
            self.seeds += 1;
            if !bits.is_full() {
                bits.iter_unset().for_each(|piece| self.lower(piece));
            }
        } else {
            bits.iter_set().for_each(|piece| self.raise(piece));
        }
    }

    /// A peer with these pieces went.
    pub fn remove_peer(&mut self, bits: &Bitfield) {
        if bits.count() > bits.len() / 2 {
            if !bits.is_full() {
                bits.iter_unset().for_each(|piece| self.raise(piece));
            }
            self.remove_seed();
        } else {
            bits.iter_set().for_each(|piece| self.lower(piece));
        }
    }

    /// One more peer has this piece.
    pub fn raise(&mut self, piece: PieceIndex) {
        let count = usize::from(self.counts[piece.as_usize()]);
        self.counts[piece.as_usize()] = self.counts[piece.as_usize()].checked_add(1).expect("fewer than 65,536 peers");
        while self.starts.len() < count + 3 {
            self.starts.push(self.order.len() as u32);
        }
        let place = self.places[piece.as_usize()];
        if place != NOWHERE {
            self.starts[count + 1] -= 1;
            let edge = self.starts[count + 1] as usize;
            self.swap(place as usize, edge);
            self.scatter(count + 1, edge);
        }
    }

    /// One peer fewer has this piece. Cost: as much as there are pieces the first time that a peer which had all lacks one.
    /// Panics if nobody has it.
    pub fn lower(&mut self, piece: PieceIndex) {
        if self.counts[piece.as_usize()] == 0 {
            self.split_seed();
        }
        let count = usize::from(self.counts[piece.as_usize()]);
        self.counts[piece.as_usize()] -= 1;
        let place = self.places[piece.as_usize()];
        if place != NOWHERE {
            let edge = self.starts[count] as usize;
            self.swap(place as usize, edge);
            self.starts[count] += 1;
            self.scatter(count - 1, edge);
        }
    }

    /// Counts one of `seeds` piece by piece from now on.
    fn split_seed(&mut self) {
        self.seeds = self.seeds.checked_sub(1).expect("only what a peer had is taken away");
        for count in &mut self.counts {
            *count = count.checked_add(1).expect("fewer than 65,536 peers");
        }
        self.starts.insert(0, 0);
    }

    fn remove_seed(&mut self) {
        if let Some(fewer) = self.seeds.checked_sub(1) {
            self.seeds = fewer;
            return;
        }
        // A peer that came to have all of them one by one.
        for count in &mut self.counts {
            *count = count.checked_sub(1).expect("a peer that had all was counted for each");
        }
        self.starts.remove(0);
        if self.starts.len() < 2 {
            self.starts.push(self.order.len() as u32);
        }
    }

    /// One past the last place of a band.
    fn end_of(&self, band: usize) -> usize {
        self.starts.get(band + 1).map_or(self.order.len(), |&start| start as usize)
    }

    /// Gives the piece at `place`, an edge of this band, a random place within it.
    fn scatter(&mut self, band: usize, place: usize) {
        let start = self.starts[band] as usize;
        let other = start + self.rng.index(self.end_of(band) - start);
        self.swap(place, other);
    }

    fn swap(&mut self, a: usize, b: usize) {
        let (first, second) = (self.order[a], self.order[b]);
        self.put(first, b);
        self.put(second, a);
    }

    fn put(&mut self, piece: u32, place: usize) {
        self.order[place] = piece;
        self.places[piece as usize] = place as u32;
    }

    /// Panics if what the module's head states does not hold. Cost: a step a piece.
    pub fn check_invariants(&self) {
        assert_eq!(self.starts[0], 0);
        assert!(self.starts.is_sorted() && self.starts[self.starts.len() - 1] as usize <= self.order.len());
        assert!(self.counts.iter().all(|&count| self.starts.len() >= usize::from(count) + 2));
        for band in 0..self.starts.len() {
            for place in self.starts[band] as usize..self.end_of(band) {
                let piece = self.order[place] as usize;
                assert_eq!(usize::from(self.counts[piece]), band, "count of a piece of the band");
                assert_eq!(self.places[piece] as usize, place, "place of a piece");
            }
        }
        assert_eq!(self.places.iter().filter(|&&place| place != NOWHERE).count(), self.order.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use shoal_machine::Rng;

    /// Pieces of the model; few, so that bands meet.
    const PIECES: u32 = 20;

    proptest! {
        #[test]
        fn counts_and_order_are_those_of_the_peers(steps in prop::collection::vec((0_u8..7, any::<u64>()), 0..200)) {
            let mut availability = Availability::new(PIECES, Rng::new(1));
            let mut peers: Vec<Bitfield> = Vec::new();
            let mut listed = Bitfield::new(PIECES);
            for (step, number) in steps {
                let piece = PieceIndex((number % u64::from(PIECES)) as u32);
                let chosen = number as usize / 64 % peers.len().max(1);
                match step {
                    0 => {
                        let mut bits = Bitfield::new(PIECES);
                        (0..PIECES).filter(|place| number >> place & 1 == 1).for_each(|place| {
                            bits.set(PieceIndex(place));
                        });
                        availability.add_peer(&bits);
                        peers.push(bits);
                    }
                    1 => {
                        availability.add_peer(&Bitfield::full(PIECES));
                        peers.push(Bitfield::full(PIECES));
                    }
                    2 if !peers.is_empty() => availability.remove_peer(&peers.swap_remove(chosen)),
                    3 if !peers.is_empty() && peers[chosen].set(piece) => availability.raise(piece),
                    4 if !peers.is_empty() && peers[chosen].unset(piece) => availability.lower(piece),
                    5 if listed.set(piece) => availability.list(piece),
                    6 => prop_assert_eq!(availability.unlist(piece), listed.unset(piece)),
                    _ => {}
                }
                availability.check_invariants();
                let of = |piece: PieceIndex| peers.iter().filter(|bits| bits.get(piece)).count() as u32;
                for piece in (0..PIECES).map(PieceIndex) {
                    prop_assert_eq!(availability.of(piece), of(piece));
                }
                let order: Vec<u32> = availability.rarest_first().iter().map(|&piece| of(PieceIndex(piece))).collect();
                prop_assert!(order.is_sorted(), "{:?}", order);
                prop_assert_eq!(order.len(), listed.iter_set().filter(|&piece| of(piece) > 0).count());
            }
        }
    }

    #[test]
    fn ties_fall_every_way_equally_often() {
        let mut first = [0_u32; 4];
        for seed in 0..4_000 {
            let mut availability = Availability::new(8, Rng::new(seed));
            (0..8).map(PieceIndex).for_each(|piece| availability.list(piece));
            // Pieces 0 to 3 one by one, the others twice.
            for piece in [0, 4, 5, 1, 6, 6, 2, 7, 3, 5, 4, 7].map(PieceIndex) {
                availability.raise(piece);
            }
            first[availability.rarest_first()[0] as usize] += 1;
        }
        assert!(first.iter().all(|&times| (880..1_120).contains(&times)), "{first:?}");
    }
}
