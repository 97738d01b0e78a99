//! The bytes of a state file: a head that is replaced as a whole, and records that follow it.
//!
//! Head, integers little-endian: magic with the version (8), length up to the checksum (4), what names the download (80),
//! clean (1), the time (8), bitfield, then for the part file and for each file a byte of flags and, if there is one,
//! size, time and number (8 each); SHA-256 of it all. A record: kind (4), number (4), three words (8 each), and the first
//! 8 bytes of a SHA-256 chained over all before it. Times are nanoseconds since 1970. Any bytes are read without harm;
//! invariant: what decodes was written so by us for this download.

use crate::part::PART_FILE;
use crate::{FileStat, FileStats, Identity};
use shoal_hash::sha256;
use shoal_layout::{Layout, PieceIndex};
use shoal_pieces::Bitfield;
use std::collections::{BTreeMap, BTreeSet};

/// The last byte is the version.
const MAGIC: &[u8; 8] = b"SHOALRS2";
/// Bytes in a record.
pub(super) const RECORD_BYTES: usize = 40;
/// Bytes in the head's checksum, with which the chain of the records begins.
pub(super) const CHECKSUM_BYTES: usize = 32;

/// The state of a download as the file holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct State {
    pub(super) clean: bool,
    /// When the head was written.
    pub(super) time_ns: i64,
    pub(super) have: Bitfield,
    pub(super) files: FileStats,
    pub(super) part: Option<FileStat>,
    /// Which files were selected.
    pub(super) wanted: Vec<bool>,
}

/// What a state file says, with its records applied.
pub(super) struct Loaded {
    pub(super) state: State,
    /// Files that were written since the head; [`PART_FILE`] for the part file.
    pub(super) written: BTreeMap<u32, FileStat>,
    /// Pieces that were about to be written, and of which nothing more is known.
    pub(super) writing: BTreeSet<u32>,
    /// The time of the newest record, or of the head.
    pub(super) newest_ns: i64,
}

impl State {
    pub(super) fn encode(&self, identity: &Identity, layout: &Layout) -> Vec<u8> {
        let (ours, have) = (identity_bytes(identity, layout), self.have.to_bytes());
        // For a million files 26 MB: not twice that, nor what it outgrew beside it.
        let fixed = MAGIC.len() + 4 + ours.len() + 1 + 8 + have.len() + CHECKSUM_BYTES;
        let mut out = Vec::with_capacity(fixed + (1 + self.files.len()) * (1 + 3 * 8));
        out.extend(MAGIC);
        out.extend([0; 4]);
        out.extend(ours);
        out.push(u8::from(self.clean));
        out.extend(self.time_ns.to_le_bytes());
        out.extend(have);
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
    #[error("another version of shoal wrote it")]
    Version,
    #[error("it belongs to another download")]
    Other,
}

pub(super) fn decode(bytes: &[u8], identity: &Identity, layout: &Layout) -> Result<Loaded, Unusable> {
    let mut head = Cursor(bytes);
    match head.take(8) {
        Some(magic) if magic == MAGIC => {}
        Some(magic) if magic[..7] == MAGIC[..7] && magic[7].is_ascii_digit() => return Err(Unusable::Version),
        _ => return Err(Unusable::Damaged),
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
    let time_ns = i64::from_le_bytes(body.array()?);
    let bits = body.take(layout.pieces().div_ceil(8) as usize)?;
    let have = Bitfield::from_bytes(layout.pieces(), bits).ok()?;
    let mut entry = || {
        let [flags] = body.array()?;
        let stat = if flags & PRESENT != 0 { Some(body.stat()?) } else { None };
        Some((stat, flags & WANTED != 0))
    };
    let (part, _) = entry()?;
    let (files, wanted): (Vec<_>, _) = (0..layout.files()).map(|_| entry()).collect::<Option<_>>()?;
    let files = files.into();
    let state = State { clean, time_ns, have, files, part, wanted };
    Some(Loaded { state, written: BTreeMap::new(), writing: BTreeSet::new(), newest_ns: time_ns })
}

/// Flags before a file's stat: there is one, and the file was selected.
const PRESENT: u8 = 1;
const WANTED: u8 = 2;

/// What a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Record {
    /// These pieces are on disk and synced.
    Pieces { first: u32, count: u32, time_ns: i64 },
    /// What a file (or [`PART_FILE`]) was before the sync of the pieces that follow.
    File { file: u32, stat: FileStat },
    /// These pieces are about to be written, whatever was said of them before.
    Writing { first: u32, count: u32, time_ns: i64 },
}

impl Record {
    fn words(self) -> (u32, u32, [u64; 3]) {
        match self {
            Record::Pieces { first, count, time_ns } => (1, first, [u64::from(count), time_ns.cast_unsigned(), 0]),
            Record::File { file, stat } => (2, file, [stat.size, stat.modified_ns.cast_unsigned(), stat.inode]),
            Record::Writing { first, count, time_ns } => (3, first, [u64::from(count), time_ns.cast_unsigned(), 0]),
        }
    }

    /// Appends its bytes, chained to what was before.
    pub(super) fn encode(self, chain: &mut [u8; 32], out: &mut Vec<u8>) {
        let (kind, number, words) = self.words();
        let start = out.len();
        out.extend(kind.to_le_bytes());
        out.extend(number.to_le_bytes());
        out.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        *chain = link(chain, &out[start..]);
        out.extend(&chain[..8]);
    }

    fn decode(content: &[u8]) -> Option<Record> {
        let mut content = Cursor(content);
        let kind = u32::from_le_bytes(content.array()?);
        let number = u32::from_le_bytes(content.array()?);
        let mut run = || {
            let count = u32::try_from(u64::from_le_bytes(content.array()?)).ok()?;
            Some((count, i64::from_le_bytes(content.array()?)))
        };
        Some(match kind {
            1 => run().map(|(count, time_ns)| Record::Pieces { first: number, count, time_ns })?,
            2 => Record::File { file: number, stat: content.stat()? },
            3 => run().map(|(count, time_ns)| Record::Writing { first: number, count, time_ns })?,
            _ => return None,
        })
    }
}

/// Each record's checksum depends on all before it.
fn link(chain: &[u8; 32], content: &[u8]) -> [u8; 32] {
    let mut bytes = chain.to_vec();
    bytes.extend(content);
    sha256(&bytes)
}

fn apply(loaded: &mut Loaded, content: &[u8], layout: &Layout) -> Option<()> {
    let run =
        |first: u32, count: u32| first.checked_add(count).filter(|&end| end <= layout.pieces()).map(|end| first..end);
    match Record::decode(content)? {
        Record::Pieces { first, count, time_ns } => {
            for piece in run(first, count)? {
                loaded.state.have.set(PieceIndex(piece));
                loaded.writing.remove(&piece);
            }
            loaded.newest_ns = loaded.newest_ns.max(time_ns);
        }
        Record::Writing { first, count, time_ns } => {
            for piece in run(first, count)? {
                loaded.state.have.unset(PieceIndex(piece));
                loaded.writing.insert(piece);
            }
            loaded.newest_ns = loaded.newest_ns.max(time_ns);
        }
        Record::File { file, stat } => {
            if file != PART_FILE && file >= layout.files() {
                return None;
            }
            loaded.written.insert(file, stat);
        }
    }
    Some(())
}

/// Sets a range of bits.
pub(super) fn set_all(bits: &mut Bitfield, pieces: std::ops::Range<u32>) {
    for piece in pieces {
        bits.set(PieceIndex(piece));
    }
}
