//! The bytes of a state file: a head that is replaced as a whole, and records that follow it.
//!
//! Head, integers little-endian: magic (8), length up to the checksum (4), what names the download (80), clean (1),
//! bitfield, then for the part file and for each file a byte of flags and, if there is one, size, time and number (8
//! each); SHA-256 of it all. A record: kind (4), number (4), three words (8 each), and the first 8 bytes of a SHA-256
//! chained over all before it. Any bytes are read without harm; invariant: what decodes was written so by us for this
//! download.

use crate::part::PART_FILE;
use crate::{FileStat, Identity};
use shoal_hash::sha256;
use shoal_layout::{Layout, PieceIndex};
use shoal_pieces::Bitfield;
use std::collections::BTreeMap;

const MAGIC: &[u8; 8] = b"SHOALRS1";
/// Bytes in a record.
pub(super) const RECORD_BYTES: usize = 40;
/// Bytes in the head's checksum, with which the chain of the records begins.
pub(super) const CHECKSUM_BYTES: usize = 32;

/// The state of a download as the file holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct State {
    pub(super) clean: bool,
    pub(super) have: Bitfield,
    pub(super) files: Vec<Option<FileStat>>,
    pub(super) part: Option<FileStat>,
    /// Which files were selected.
    pub(super) wanted: Vec<bool>,
}

/// What a state file says, with its records applied.
pub(super) struct Loaded {
    pub(super) state: State,
    /// Files that were written since the head; [`PART_FILE`] for the part file.
    pub(super) written: BTreeMap<u32, FileStat>,
}

impl State {
    pub(super) fn encode(&self, identity: &Identity, layout: &Layout) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend([0; 4]);
        out.extend(identity_bytes(identity, layout));
        out.push(u8::from(self.clean));
        out.extend(self.have.to_bytes());
        let files = self.files.iter().zip(self.wanted.iter().map(|&wanted| if wanted { WANTED } else { 0 }));
        for (stat, wanted) in std::iter::once((&self.part, 0)).chain(files) {
            match stat {
                None => out.push(wanted),
                Some(stat) => {
                    out.push(wanted | PRESENT);
                    out.extend(stat.size.to_le_bytes());
                    out.extend(stat.modified_ns.to_le_bytes());
                    out.extend(stat.inode.to_le_bytes());
                }
            }
        }
        let length = u32::try_from(out.len()).expect("a head of a million files has 26 MB");
        out[8..12].copy_from_slice(&length.to_le_bytes());
        let checksum = sha256(&out);
        out.extend(checksum);
        out
    }
}

/// What must be equal for a state file to be this download's.
fn identity_bytes(identity: &Identity, layout: &Layout) -> Vec<u8> {
    use std::os::unix::ffi::OsStrExt;
    let mut out = Vec::new();
    out.extend(identity.hashes.first().unwrap_or(&[0; 20]));
    out.extend(sha256(identity.output().as_os_str().as_bytes()));
    out.extend(layout.piece_length().to_le_bytes());
    out.extend(layout.total_length().to_le_bytes());
    out.extend(layout.files().to_le_bytes());
    out
}

/// Reads forward through bytes that may be anything.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn stat(&mut self) -> Option<FileStat> {
        Some(FileStat {
            size: u64::from_le_bytes(self.array()?),
            modified_ns: i64::from_le_bytes(self.array()?),
            inode: u64::from_le_bytes(self.array()?),
        })
    }
}

/// Why a state file is of no use.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    #[error("it is damaged")]
    Damaged,
    #[error("it belongs to another download")]
    Other,
}

pub(super) fn decode(bytes: &[u8], identity: &Identity, layout: &Layout) -> Result<Loaded, Unusable> {
    let mut head = Cursor(bytes);
    if head.take(8) != Some(MAGIC) {
        return Err(Unusable::Damaged);
    }
    let length = u32::from_le_bytes(head.array().ok_or(Unusable::Damaged)?) as usize;
    let (body, rest) = bytes.split_at_checked(length).ok_or(Unusable::Damaged)?;
    let (checksum, records) = rest.split_at_checked(CHECKSUM_BYTES).ok_or(Unusable::Damaged)?;
    if sha256(body) != *checksum || length < 12 {
        return Err(Unusable::Damaged);
    }
    let mut body = Cursor(&body[12..]);
    let ours = identity_bytes(identity, layout);
    if body.take(ours.len()) != Some(&ours) {
        return Err(Unusable::Other);
    }
    let mut loaded = decode_body(body, layout).ok_or(Unusable::Damaged)?;
    let mut chain: [u8; 32] = checksum.try_into().expect("32 bytes");
    for record in records.chunks_exact(RECORD_BYTES) {
        let (content, check) = record.split_at(RECORD_BYTES - 8);
        chain = link(&chain, content);
        if chain[..8] != *check || apply(&mut loaded, content, layout).is_none() {
            break;
        }
    }
    Ok(loaded)
}

fn decode_body(mut body: Cursor<'_>, layout: &Layout) -> Option<Loaded> {
    let clean = body.array::<1>()? == [1];
    let bits = body.take(layout.pieces().div_ceil(8) as usize)?;
    let have = Bitfield::from_bytes(layout.pieces(), bits).ok()?;
    let mut entry = || {
        let [flags] = body.array()?;
        let stat = if flags & PRESENT != 0 { Some(body.stat()?) } else { None };
        Some((stat, flags & WANTED != 0))
    };
    let (part, _) = entry()?;
    let (files, wanted) = (0..layout.files()).map(|_| entry()).collect::<Option<_>>()?;
    Some(Loaded { state: State { clean, have, files, part, wanted }, written: BTreeMap::new() })
}

/// Flags before a file's stat: there is one, and the file was selected.
const PRESENT: u8 = 1;
const WANTED: u8 = 2;

/// A record of pieces: the first's number, how many.
pub(super) const PIECES: u32 = 1;
/// A record of a file after a sync: its number and stat.
pub(super) const FILE: u32 = 2;

/// Each record's checksum depends on all before it.
pub(super) fn link(chain: &[u8; 32], content: &[u8]) -> [u8; 32] {
    let mut bytes = chain.to_vec();
    bytes.extend(content);
    sha256(&bytes)
}

fn apply(loaded: &mut Loaded, content: &[u8], layout: &Layout) -> Option<()> {
    let mut content = Cursor(content);
    let kind = u32::from_le_bytes(content.array()?);
    let number = u32::from_le_bytes(content.array()?);
    match kind {
        PIECES => {
            let count = u64::from_le_bytes(content.array()?);
            let end = u64::from(number).checked_add(count).filter(|&end| end <= u64::from(layout.pieces()))?;
            set_all(&mut loaded.state.have, number..end as u32);
        }
        FILE => {
            let stat = content.stat()?;
            if number != PART_FILE && number >= layout.files() {
                return None;
            }
            loaded.written.insert(number, stat);
        }
        _ => return None,
    }
    Some(())
}

/// Sets a range of bits.
pub(super) fn set_all(bits: &mut Bitfield, pieces: std::ops::Range<u32>) {
    for piece in pieces {
        bits.set(PieceIndex(piece));
    }
}
