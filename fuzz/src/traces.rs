//! A trace that is whole, records made as the format says them, and a reader that takes what it gets.

use arbitrary::Unstructured;
use sha2::{Digest, Sha256};
use shoal_trace::{Reader, Tail};
use std::sync::LazyLock;

/// Of a session in which a few things happened.
static WHOLE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let bytes: Vec<u8> = (0..4_000_u32).map(|n| (n * n / 7) as u8).collect();
    crate::session::traced(&mut Unstructured::new(&bytes)).expect("enough bytes")
});

/// A real trace.
pub fn whole() -> &'static [u8] {
    &WHOLE
}

/// The head of a real one, and a record with this content; written here as docs/trace.md has it.
pub fn with_record(kind: u8, content: &[u8]) -> Vec<u8> {
    let head = 12 + 12 + u32::from_le_bytes(*whole()[12..].first_chunk().expect("a length")) as usize;
    let mut trace = whole()[..head].to_vec();
    let content = [&[kind], content].concat();
    let length = (content.len() as u32).to_le_bytes();
    trace.extend(length);
    trace.extend(&Sha256::digest(length)[..4]);
    trace.extend(&Sha256::digest(&content)[..4]);
    trace.extend(content);
    trace
}

/// How it ended, if it could be read, and how many events it had.
pub fn read(bytes: &[u8]) -> (Option<Tail>, u64) {
    let Ok((_, mut reader)) = Reader::open(bytes) else { return (None, 0) };
    let mut events = 0;
    loop {
        match reader.next_entry() {
            Ok(Some(_)) => events += 1,
            Ok(None) => return (reader.tail(), events),
            Err(_) => return (None, events),
        }
    }
}
