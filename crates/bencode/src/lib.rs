//! A lenient, bounded, zero-copy reader of bencode (BEP 3, "bencoding").
//!
//! Info hashes are those of the bytes as they came, and the wild holds dictionaries with unsorted keys, repeated keys and
//! numbers with leading zeros, so this reader keeps the exact span of every value and reports such faults
//! ([`Document::faults`]) instead of losing them. Writing is `bendy`'s work.
//!
//! It reads in one pass without recursion: values become a flat run of 4-byte tokens that say where each begins and, of a
//! list or dictionary, which token follows it on its level. Invariant: all that a [`Value`] gives lies inside the bytes that were read; depth and number of
//! tokens stay within [`Limits`], and memory grows with tokens met, never with a length that the input declares.

mod read;
mod value;

pub use read::{Document, Error, ErrorKind, Faults, Limits};
pub use value::{Dict, DictIter, List, ListIter, Value};
