//! Messages to bytes.
//!
//! Appends to the driver's buffer; a fixed-length message allocates nothing. What a message says is the swarm's business
//! and is written as it is.

use crate::decode::{PIECE_HEADER, id};
use crate::{HashRange, Message, RawBlock, extended};

/// Appends a message with its length prefix.
///
/// A message that was drained ([`Message::Unknown`]) has lost its bytes: zeros stand for them.
pub fn encode(message: &Message, out: &mut Vec<u8>) {
    match message {
        Message::KeepAlive => out.extend([0; 4]),
        Message::Choke => head(out, id::CHOKE, 0),
        Message::Unchoke => head(out, id::UNCHOKE, 0),
        Message::Interested => head(out, id::INTERESTED, 0),
        Message::NotInterested => head(out, id::NOT_INTERESTED, 0),
        Message::Have(piece) => number(out, id::HAVE, *piece),
        Message::Bitfield(bits) => {
            head(out, id::BITFIELD, bits.len());
            out.extend_from_slice(bits);
        }
        Message::Request(block) => run(out, id::REQUEST, *block),
        Message::Cancel(block) => run(out, id::CANCEL, *block),
        Message::Port(port) => {
            head(out, id::PORT, 2);
            out.extend(port.to_be_bytes());
        }
        Message::Suggest(piece) => number(out, id::SUGGEST, *piece),
        Message::HaveAll => head(out, id::HAVE_ALL, 0),
        Message::HaveNone => head(out, id::HAVE_NONE, 0),
        Message::Reject(block) => run(out, id::REJECT, *block),
        Message::AllowedFast(piece) => number(out, id::ALLOWED_FAST, *piece),
        Message::HashRequest(range) => hash_range(out, id::HASH_REQUEST, range, &[]),
        Message::Hashes(range, hashes) => hash_range(out, id::HASHES, range, hashes),
        Message::HashReject(range) => hash_range(out, id::HASH_REJECT, range, &[]),
        Message::Extended { id, message } => {
            let payload = extended::encode(message);
            head(out, id::EXTENDED, 1 + payload.len());
            out.push(*id);
            out.extend_from_slice(&payload);
        }
        Message::Unknown { id, length } => {
            head(out, *id, *length as usize);
            out.resize(out.len() + *length as usize, 0);
        }
    }
}

/// The header of a piece message; its payload, `block.length` bytes, follows on the wire.
pub fn encode_piece_header(block: RawBlock) -> [u8; PIECE_HEADER] {
    let length = block.length.checked_add(9).expect("no piece is as long as 4 GiB");
    let mut bytes = [0; PIECE_HEADER];
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    bytes[4] = id::PIECE;
    bytes[5..9].copy_from_slice(&block.piece.to_be_bytes());
    bytes[9..].copy_from_slice(&block.begin.to_be_bytes());
    bytes
}

/// The length prefix and the kind's number.
fn head(out: &mut Vec<u8>, id: u8, payload_length: usize) {
    let length = u32::try_from(payload_length + 1).expect("no message of ours is as long as 4 GiB");
    out.extend(length.to_be_bytes());
    out.push(id);
}

fn number(out: &mut Vec<u8>, id: u8, number: u32) {
    head(out, id, 4);
    out.extend(number.to_be_bytes());
}

fn run(out: &mut Vec<u8>, id: u8, block: RawBlock) {
    head(out, id, 12);
    for number in [block.piece, block.begin, block.length] {
        out.extend(number.to_be_bytes());
    }
}

fn hash_range(out: &mut Vec<u8>, id: u8, range: &HashRange, hashes: &[[u8; 32]]) {
    head(out, id, 48 + 32 * hashes.len());
    out.extend(range.root);
    for number in [range.base_layer, range.index, range.length, range.proof_layers] {
        out.extend(number.to_be_bytes());
    }
    out.extend_from_slice(hashes.as_flattened());
}
