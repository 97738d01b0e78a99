//! A set of pieces, as a bitfield message has it (BEP 3): the high bit of the first byte is piece 0.
//!
//! Kept as 64-bit words in the same order, so that pieces can be searched and compared 64 at a time; the number of set bits
//! is kept, so that "has it all" costs nothing. Invariant: bits past the length are 0.

use shoal_layout::PieceIndex;
use std::fmt;

/// A set of pieces of a torrent with a fixed number of pieces.
#[derive(Clone, PartialEq, Eq)]
pub struct Bitfield {
    words: Vec<u64>,
    len: u32,
    count: u32,
}

/// Why bytes are no bitfield of this torrent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BitfieldError {
    /// Too many or too few bytes for the number of pieces.
    #[error("a bitfield of {got} bytes where {expected} are right")]
    Length {
        /// How many bytes the torrent's pieces take.
        expected: usize,
        /// How many came.
        got: usize,
    },
    /// A bit past the last piece is set (BEP 3: they are zero).
    #[error("a bitfield with a bit set past its last piece")]
    SpareBits,
}

impl Bitfield {
    /// No piece of `len`.
    pub fn new(len: u32) -> Bitfield {
        Bitfield { words: vec![0; (len as usize).div_ceil(64)], len, count: 0 }
    }

    /// Every piece of `len`.
    pub fn full(len: u32) -> Bitfield {
        let mut words = vec![u64::MAX; (len as usize).div_ceil(64)];
        if let Some(last) = words.last_mut() {
            *last &= last_word_mask(len);
        }
        Bitfield { words, len, count: len }
    }

    /// Reads a bitfield message's payload. Allocates only if the length is right.
    pub fn from_bytes(len: u32, bytes: &[u8]) -> Result<Bitfield, BitfieldError> {
        let expected = (len as usize).div_ceil(8);
        if bytes.len() != expected {
            return Err(BitfieldError::Length { expected, got: bytes.len() });
        }
        let words: Vec<u64> = bytes
            .chunks(8)
            .map(|bytes| {
                let mut word = [0; 8];
                word[..bytes.len()].copy_from_slice(bytes);
                u64::from_be_bytes(word)
            })
            .collect();
        if words.last().is_some_and(|last| last & !last_word_mask(len) != 0) {
            return Err(BitfieldError::SpareBits);
        }
        let count = words.iter().map(|word| word.count_ones()).sum();
        Ok(Bitfield { words, len, count })
    }

    /// The payload of a bitfield message.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> = self.words.iter().flat_map(|word| word.to_be_bytes()).collect();
        bytes.truncate((self.len as usize).div_ceil(8));
        bytes
    }

    /// How many pieces the torrent has.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// How many pieces are in the set.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Whether no piece is in the set.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether every piece is in the set.
    pub fn is_full(&self) -> bool {
        self.count == self.len
    }

    /// Whether this piece is in the set. One that the torrent does not have is not.
    pub fn get(&self, piece: PieceIndex) -> bool {
        self.words.get(piece.as_usize() / 64).is_some_and(|word| word & bit(piece) != 0)
    }

    /// Adds a piece; whether it was new. Panics if the torrent does not have it.
    pub fn set(&mut self, piece: PieceIndex) -> bool {
        assert!(piece.0 < self.len, "{piece:?} of {}", self.len);
        let word = &mut self.words[piece.as_usize() / 64];
        let new = *word & bit(piece) == 0;
        *word |= bit(piece);
        self.count += u32::from(new);
        new
    }

    /// Takes a piece out; whether it was there. Panics if the torrent does not have it.
    pub fn unset(&mut self, piece: PieceIndex) -> bool {
        assert!(piece.0 < self.len, "{piece:?} of {}", self.len);
        let word = &mut self.words[piece.as_usize() / 64];
        let there = *word & bit(piece) != 0;
        *word &= !bit(piece);
        self.count -= u32::from(there);
        there
    }

    /// The pieces in the set, from the lowest.
    pub fn iter_set(&self) -> impl Iterator<Item = PieceIndex> + '_ {
        pieces(self.words.iter().copied())
    }

    /// The pieces not in the set, from the lowest.
    pub fn iter_unset(&self) -> impl Iterator<Item = PieceIndex> + '_ {
        let len = self.len;
        pieces(self.words.iter().map(|word| !word)).take_while(move |piece| piece.0 < len)
    }

    /// The pieces in this set and not in the other, from the lowest. Panics if the lengths differ, as all below.
    pub fn iter_and_not<'a>(&'a self, other: &'a Bitfield) -> impl Iterator<Item = PieceIndex> + 'a {
        pieces(self.pairs(other).map(|(ours, theirs)| ours & !theirs))
    }

    /// Whether a piece of this set is not in the other.
    pub fn has_any_not_in(&self, other: &Bitfield) -> bool {
        self.pairs(other).any(|(ours, theirs)| ours & !theirs != 0)
    }

    /// Whether every piece of this set is in the other.
    pub fn is_subset(&self, other: &Bitfield) -> bool {
        !self.has_any_not_in(other)
    }

    /// How many pieces both sets have.
    pub fn count_and(&self, other: &Bitfield) -> u32 {
        self.pairs(other).map(|(ours, theirs)| (ours & theirs).count_ones()).sum()
    }

    /// The pieces of the set as words of 64: the high bit of word 0 is piece 0.
    pub(crate) fn words(&self) -> &[u64] {
        &self.words
    }

    fn pairs<'a>(&'a self, other: &'a Bitfield) -> impl Iterator<Item = (u64, u64)> + 'a {
        assert_eq!(self.len, other.len, "bitfields of one torrent");
        self.words.iter().copied().zip(other.words.iter().copied())
    }
}

/// The pieces whose bits are set, where the words begin with piece 0.
pub(crate) fn pieces(words: impl Iterator<Item = u64>) -> impl Iterator<Item = PieceIndex> {
    words.enumerate().flat_map(|(number, word)| pieces_of_word(number, word))
}

/// The pieces whose bits are set in the word of this number.
pub(crate) fn pieces_of_word(number: usize, word: u64) -> impl Iterator<Item = PieceIndex> {
    let mut rest = word;
    std::iter::from_fn(move || {
        (rest != 0).then(|| {
            let place = rest.leading_zeros();
            rest &= !(1 << 63 >> place);
            PieceIndex(number as u32 * 64 + place)
        })
    })
}

fn bit(piece: PieceIndex) -> u64 {
    1 << 63 >> (piece.0 % 64)
}

/// The bits of the last word that belong to pieces.
fn last_word_mask(len: u32) -> u64 {
    match len % 64 {
        0 => u64::MAX,
        used => !(u64::MAX >> used),
    }
}

impl fmt::Debug for Bitfield {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} pieces", self.count, self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_high_bit_of_the_first_byte_is_piece_0() {
        let field = Bitfield::from_bytes(10, &[0b1000_0001, 0b0100_0000]).unwrap();
        assert_eq!(field.iter_set().map(|piece| piece.0).collect::<Vec<_>>(), [0, 7, 9]);
        assert_eq!(field.count(), 3);
        assert!(!field.get(PieceIndex(10)) && !field.get(PieceIndex(u32::MAX)));
    }

    #[test]
    fn a_wrong_length_and_spare_bits_are_told_apart() {
        assert_eq!(Bitfield::from_bytes(9, &[0]), Err(BitfieldError::Length { expected: 2, got: 1 }));
        assert_eq!(Bitfield::from_bytes(8, &[0, 0]), Err(BitfieldError::Length { expected: 1, got: 2 }));
        assert_eq!(Bitfield::from_bytes(9, &[0, 0b0100_0000]), Err(BitfieldError::SpareBits));
        assert_eq!(Bitfield::from_bytes(9, &[0xff, 0x80]), Ok(Bitfield::full(9)));
        assert_eq!(Bitfield::from_bytes(0, &[]), Ok(Bitfield::new(0)));
    }

    proptest! {
        #[test]
        fn behaves_as_a_set_of_numbers(len in 1_u32..300, steps in prop::collection::vec((any::<u32>(), any::<bool>()), 0..200),
                                       others in prop::collection::vec(any::<u32>(), 0..100)) {
            let mut field = Bitfield::new(len);
            let mut model = std::collections::BTreeSet::new();
            for (piece, add) in steps {
                let piece = PieceIndex(piece % len);
                if add {
                    prop_assert_eq!(field.set(piece), model.insert(piece));
                } else {
                    prop_assert_eq!(field.unset(piece), model.remove(&piece));
                }
            }
            prop_assert_eq!(field.count() as usize, model.len());
            prop_assert_eq!(field.iter_set().collect::<Vec<_>>(), model.iter().copied().collect::<Vec<_>>());
            let unset: Vec<_> = (0..len).map(PieceIndex).filter(|piece| !model.contains(piece)).collect();
            prop_assert_eq!(field.iter_unset().collect::<Vec<_>>(), unset);
            prop_assert_eq!(Bitfield::from_bytes(len, &field.to_bytes()), Ok(field.clone()));

            let mut other = Bitfield::new(len);
            for piece in others {
                other.set(PieceIndex(piece % len));
            }
            let rest: Vec<_> = model.iter().copied().filter(|&piece| !other.get(piece)).collect();
            prop_assert_eq!(field.is_subset(&other), rest.is_empty());
            prop_assert_eq!(field.count_and(&other) as usize, model.len() - rest.len());
            prop_assert_eq!(field.iter_and_not(&other).collect::<Vec<_>>(), rest);
            prop_assert!(field.is_subset(&Bitfield::full(len)));
        }
    }
}
