//! Records: the frames of a trace's file.
//!
//! A file is [`MAGIC`], then records: length of the content (4 bytes, little-endian), a check of that length (4), a check of
//! the content (4), the content. A check is the beginning of a SHA-256. The first record is the head; then come records of
//! many events each; the last says why it is the last. So whatever is cut off or changed is noticed, what came before it can
//! be used, and a cut can be told from a change.

use crate::TraceError;
use shoal_hash::sha256;
use std::io::Read;

/// What a trace begins with; the last number is the format's version.
pub(crate) const MAGIC: [u8; 12] = *b"shoal trace\x01";
/// Bytes before a record's content.
const HEADER: usize = 12;
/// Bytes in a record, at most: one that holds the largest torrent file, with a bit a piece and a file.
pub(crate) const MAX_RECORD: usize = shoal_metainfo::MAX_TORRENT_BYTES + (1 << 20);

/// What a record holds; its first byte.
pub(crate) mod kind {
    pub(crate) const HEAD: u8 = 0;
    pub(crate) const EVENTS: u8 = 1;
    pub(crate) const END: u8 = 2;
}

fn check(bytes: &[u8]) -> [u8; 4] {
    *sha256(bytes).first_chunk().expect("4 of 32 bytes")
}

/// Appends an empty record; its content is then appended, and [`close`] completes it. Returns where it begins.
pub(crate) fn open(kind: u8, out: &mut Vec<u8>) -> usize {
    let begin = out.len();
    out.extend([0; HEADER]);
    out.push(kind);
    begin
}

/// Writes the header of the record that began at `begin` and ends here.
pub(crate) fn close(begin: usize, out: &mut [u8]) {
    let content = begin + HEADER;
    // More than 4 GiB are never put together: see the limits of `recorder`.
    let length = u32::try_from(out.len() - content).unwrap_or(u32::MAX).to_le_bytes();
    let checks = [length, check(&length), check(&out[content..])];
    out[begin..content].copy_from_slice(checks.as_flattened());
}

/// What reading a record gave.
#[derive(Debug)]
pub(crate) enum Found {
    /// Its content.
    Record(Vec<u8>),
    /// The file ends here, after a whole record.
    End,
    /// The file ends within a record.
    Torn,
}

/// Reads one record. `offset` is where it begins and is moved past it.
pub(crate) fn read(input: &mut impl Read, offset: &mut u64) -> Result<Found, TraceError> {
    let mut header = Vec::with_capacity(HEADER);
    input.take(HEADER as u64).read_to_end(&mut header)?;
    if header.is_empty() {
        return Ok(Found::End);
    }
    let damaged = || TraceError::Damaged { offset: *offset };
    let &[length, length_check, content_check] = header.as_chunks::<4>().0 else { return Ok(Found::Torn) };
    let bytes = u32::from_le_bytes(length) as usize;
    if check(&length) != length_check || bytes > MAX_RECORD {
        return Err(damaged());
    }
    // Grows with what is there, not with what the header says.
    let mut content = Vec::new();
    input.take(bytes as u64).read_to_end(&mut content)?;
    if content.len() < bytes {
        return Ok(Found::Torn);
    }
    if check(&content) != content_check {
        return Err(damaged());
    }
    *offset += (HEADER + bytes) as u64;
    Ok(Found::Record(content))
}
