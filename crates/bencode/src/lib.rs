//! A lenient, bounded, zero-copy reader of bencode.
