//! Bytes to messages, a frame at a time.
//!
//! Without a buffer of its own: the driver shows what it has read so far and is told how much more there must be, or what
//! the first frame is and how many bytes it took. Two kinds are cut short so that their payload is never buffered here:
//! a piece message ends after its 13 bytes of header (the payload goes straight into the block that was granted), and a
//! message that nobody understands ends after its numbers (the driver drains the rest).
//!
//! Invariant: a length is checked against its kind's bound as soon as the kind is known, so `NeedMore` never asks for more
//! than [`Limits::max_frame_bytes`], and for no more than the numbers of a message whose length is absurd.

use crate::{Extended, HashRange, Message, RawBlock, WireError, extended, extension_ids};
use shoal_layout::MAX_PIECES;

/// Payload bytes of a piece message, at most. We ask for 16 KiB; chosen so that a peer that sends what was never asked
/// for is drained only within reason (reliability.md B1).
pub const MAX_PIECE_PAYLOAD: u32 = 1 << 20;
/// Bytes of a message that nobody understands, at most: the same reason.
pub const MAX_UNKNOWN_LENGTH: u32 = 1 << 20;
/// Hashes of the base layer in one message, at most (BEP 52: requests over 512 are to be refused).
pub const MAX_HASHES: u32 = 512;
/// Uncle hashes in one message, at most: 2^21 pieces of 2^29 bytes have 2^36 leaves of 2^14 bytes.
pub const MAX_PROOF_HASHES: u32 = 36;

/// Bytes of a piece message before its payload.
pub(crate) const PIECE_HEADER: usize = 13;
/// Bytes of a hash request: root and four numbers (BEP 52).
const HASH_RANGE: u32 = 48;

/// Message numbers (BEP 3, 5, 6, 10, 52).
pub(crate) mod id {
    pub(crate) const CHOKE: u8 = 0;
    pub(crate) const UNCHOKE: u8 = 1;
    pub(crate) const INTERESTED: u8 = 2;
    pub(crate) const NOT_INTERESTED: u8 = 3;
    pub(crate) const HAVE: u8 = 4;
    pub(crate) const BITFIELD: u8 = 5;
    pub(crate) const REQUEST: u8 = 6;
    pub(crate) const PIECE: u8 = 7;
    pub(crate) const CANCEL: u8 = 8;
    pub(crate) const PORT: u8 = 9;
    pub(crate) const SUGGEST: u8 = 13;
    pub(crate) const HAVE_ALL: u8 = 14;
    pub(crate) const HAVE_NONE: u8 = 15;
    pub(crate) const REJECT: u8 = 16;
    pub(crate) const ALLOWED_FAST: u8 = 17;
    pub(crate) const EXTENDED: u8 = 20;
    pub(crate) const HASH_REQUEST: u8 = 21;
    pub(crate) const HASHES: u8 = 22;
    pub(crate) const HASH_REJECT: u8 = 23;
}

/// What bounds a message beside its kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    bitfield_bytes: u32,
}

impl Limits {
    /// While the info dictionary is not known: any torrent that could be.
    pub const UNKNOWN: Limits = Limits { bitfield_bytes: MAX_PIECES.div_ceil(8) };

    /// Once it is known how many pieces there are.
    pub fn for_pieces(pieces: u32) -> Limits {
        Limits { bitfield_bytes: pieces.min(MAX_PIECES).div_ceil(8) }
    }

    /// The most bytes that [`Decoded::NeedMore`] ever asks for under these limits: a read buffer of this size is enough.
    pub fn max_frame_bytes(&self) -> usize {
        let hashes = 5 + HASH_RANGE as usize + 32 * (MAX_HASHES + MAX_PROOF_HASHES) as usize;
        (5 + self.bitfield_bytes as usize).max(hashes).max(6 + extended::MAX_PAYLOAD)
    }
}

/// What the bytes so far are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decoded {
    /// The beginning of a frame: call again when there are at least so many bytes, counted from the same place.
    NeedMore(usize),
    /// One whole frame.
    Frame {
        /// Bytes that it took; more may follow them.
        consumed: usize,
        /// What it says.
        frame: Frame,
    },
}

/// One frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Frame {
    /// A message with all its bytes.
    Message(Message),
    /// The header of a piece message; `length` bytes of payload follow, which the driver reads into a block or drains.
    Piece(RawBlock),
    /// A message that nobody here understands; `length` bytes follow, which the driver drains.
    Drain {
        /// What is to be reported once they are.
        message: Message,
        /// How many.
        length: u32,
    },
}

/// Reads the first frame of `bytes`.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Decoded, WireError> {
    let Some(&prefix) = bytes.first_chunk::<4>() else { return Ok(Decoded::NeedMore(4)) };
    let length = u32::from_be_bytes(prefix);
    if length == 0 {
        return Ok(Decoded::Frame { consumed: 4, frame: Frame::Message(Message::KeepAlive) });
    }
    let Some(&id) = bytes.get(4) else { return Ok(Decoded::NeedMore(5)) };
    let payload_length = length - 1;
    let fits = match id {
        id::CHOKE | id::UNCHOKE | id::INTERESTED | id::NOT_INTERESTED | id::HAVE_ALL | id::HAVE_NONE => {
            payload_length == 0
        }
        id::HAVE | id::SUGGEST | id::ALLOWED_FAST => payload_length == 4,
        id::PORT => payload_length == 2,
        id::REQUEST | id::CANCEL | id::REJECT => payload_length == 12,
        id::BITFIELD => payload_length <= limits.bitfield_bytes,
        id::PIECE => (8..=8 + MAX_PIECE_PAYLOAD).contains(&payload_length),
        id::HASH_REQUEST | id::HASH_REJECT => payload_length == HASH_RANGE,
        id::HASHES => {
            (HASH_RANGE..=HASH_RANGE + 32 * (MAX_HASHES + MAX_PROOF_HASHES)).contains(&payload_length)
                && (payload_length - HASH_RANGE).is_multiple_of(32)
        }
        id::EXTENDED => (1..=MAX_UNKNOWN_LENGTH).contains(&payload_length),
        _ => payload_length <= MAX_UNKNOWN_LENGTH,
    };
    if !fits {
        return Err(WireError::Length { id, length });
    }
    match id {
        id::PIECE => Ok(piece_header(bytes, payload_length - 8)),
        id::EXTENDED => extended_frame(bytes, length),
        _ if is_known(id) => {
            let whole = 5 + payload_length as usize;
            let Some(payload) = bytes.get(5..whole) else { return Ok(Decoded::NeedMore(whole)) };
            let message = message(id, payload).ok_or(WireError::Length { id, length })?;
            Ok(Decoded::Frame { consumed: whole, frame: Frame::Message(message) })
        }
        _ => Ok(drain(5, Message::Unknown { id, length: payload_length }, payload_length)),
    }
}

fn is_known(id: u8) -> bool {
    matches!(id, id::CHOKE..=id::PORT | id::SUGGEST..=id::ALLOWED_FAST | id::EXTENDED..=id::HASH_REJECT)
}

fn drain(consumed: usize, message: Message, length: u32) -> Decoded {
    let frame = if length == 0 { Frame::Message(message) } else { Frame::Drain { message, length } };
    Decoded::Frame { consumed, frame }
}

fn piece_header(bytes: &[u8], length: u32) -> Decoded {
    match bytes.get(5..PIECE_HEADER).and_then(|mut numbers| Some((number(&mut numbers)?, number(&mut numbers)?))) {
        Some((piece, begin)) => {
            Decoded::Frame { consumed: PIECE_HEADER, frame: Frame::Piece(RawBlock { piece, begin, length }) }
        }
        None => Decoded::NeedMore(PIECE_HEADER),
    }
}

fn extended_frame(bytes: &[u8], length: u32) -> Result<Decoded, WireError> {
    let Some(&id) = bytes.get(5) else { return Ok(Decoded::NeedMore(6)) };
    let payload_length = length - 2;
    if !extension_ids::is_read(id) {
        let message = Message::Extended { id, message: Extended::Unknown { length: payload_length } };
        return Ok(drain(6, message, payload_length));
    }
    if !extended::length_fits(id, payload_length) {
        return Err(WireError::ExtendedLength { id, length });
    }
    let whole = 6 + payload_length as usize;
    let Some(payload) = bytes.get(6..whole) else { return Ok(Decoded::NeedMore(whole)) };
    let message = extended::decode(id, payload).ok_or(WireError::ExtendedPayload { id })?;
    Ok(Decoded::Frame { consumed: whole, frame: Frame::Message(Message::Extended { id, message }) })
}

/// The message of a known kind whose length fits; `None` if it does not after all.
fn message(id: u8, mut payload: &[u8]) -> Option<Message> {
    let rest = &mut payload;
    Some(match id {
        id::CHOKE => Message::Choke,
        id::UNCHOKE => Message::Unchoke,
        id::INTERESTED => Message::Interested,
        id::NOT_INTERESTED => Message::NotInterested,
        id::HAVE => Message::Have(number(rest)?),
        id::BITFIELD => Message::Bitfield(rest.to_vec()),
        id::REQUEST => Message::Request(block(rest)?),
        id::CANCEL => Message::Cancel(block(rest)?),
        id::PORT => Message::Port(u16::from_be_bytes(*rest.first_chunk()?)),
        id::SUGGEST => Message::Suggest(number(rest)?),
        id::HAVE_ALL => Message::HaveAll,
        id::HAVE_NONE => Message::HaveNone,
        id::REJECT => Message::Reject(block(rest)?),
        id::ALLOWED_FAST => Message::AllowedFast(number(rest)?),
        id::HASH_REQUEST => Message::HashRequest(hash_range(rest)?),
        id::HASHES => Message::Hashes(hash_range(rest)?, rest.as_chunks::<32>().0.to_vec()),
        id::HASH_REJECT => Message::HashReject(hash_range(rest)?),
        _ => return None,
    })
}

/// Takes four bytes off the front.
fn number(rest: &mut &[u8]) -> Option<u32> {
    let (&first, after) = rest.split_first_chunk::<4>()?;
    *rest = after;
    Some(u32::from_be_bytes(first))
}

fn block(rest: &mut &[u8]) -> Option<RawBlock> {
    Some(RawBlock { piece: number(rest)?, begin: number(rest)?, length: number(rest)? })
}

fn hash_range(rest: &mut &[u8]) -> Option<HashRange> {
    let (&root, after) = rest.split_first_chunk::<32>()?;
    *rest = after;
    let (base_layer, index, length, proof_layers) = (number(rest)?, number(rest)?, number(rest)?, number(rest)?);
    Some(HashRange { root, base_layer, index, length, proof_layers })
}
