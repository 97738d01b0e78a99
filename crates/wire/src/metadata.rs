//! Metadata exchange: the info dictionary in parts of 16 KiB (BEP 9).
//!
//! A small dictionary, and for `data` the part's bytes right behind it, so that the dictionary's end has to be found.

use crate::MetadataMessage;
use bendy::encoding::{Encoder, Error};
use shoal_bencode::{Document, Limits};

/// Bytes in every part of the info dictionary but the last (BEP 9).
pub const METADATA_PART: usize = 16 * 1024;
/// Bytes of the dictionary before a part, at most. Known clients write under 60; chosen.
const MAX_DICTIONARY: usize = 1024;
/// Payload bytes, at most.
pub(crate) const MAX_PAYLOAD: usize = METADATA_PART + MAX_DICTIONARY;

/// Real ones have one level and seven tokens; chosen with room.
const READ: Limits = Limits { depth: 4, tokens: 100 };

/// `msg_type` (BEP 9).
const REQUEST: u32 = 0;
const DATA: u32 = 1;
const REJECT: u32 = 2;
/// A `msg_type` that BEP 9 does not know, to write [`MetadataMessage::Unknown`] with.
const UNKNOWN: u32 = 3;

/// The payload to send.
pub(crate) fn encode(message: &MetadataMessage) -> Vec<u8> {
    let (msg_type, piece, total_size, data): (u32, u32, Option<u64>, &[u8]) = match message {
        MetadataMessage::Request { piece } => (REQUEST, *piece, None, &[]),
        MetadataMessage::Data { piece, total_size, data } => (DATA, *piece, Some(*total_size), data),
        MetadataMessage::Reject { piece } => (REJECT, *piece, None, &[]),
        MetadataMessage::Unknown => (UNKNOWN, 0, None, &[]),
    };
    let mut payload = write(msg_type, piece, total_size).expect("keys are written in order, one level deep");
    payload.extend_from_slice(data);
    payload
}

fn write(msg_type: u32, piece: u32, total_size: Option<u64>) -> Result<Vec<u8>, Error> {
    let mut encoder = Encoder::new().with_max_depth(2);
    encoder.emit_dict(|mut dict| {
        dict.emit_pair(b"msg_type", msg_type)?;
        dict.emit_pair(b"piece", piece)?;
        match total_size {
            Some(total_size) => dict.emit_pair(b"total_size", total_size),
            None => Ok(()),
        }
    })?;
    encoder.get_output()
}

/// The message in a payload; `None` if it is malformed.
pub(crate) fn decode(payload: &[u8]) -> Option<MetadataMessage> {
    let document = Document::parse_prefix(payload, READ).ok()?;
    let dict = document.root().as_dict()?;
    let msg_type = dict.get(b"msg_type")?.as_int()?;
    let piece = || u32::try_from(dict.get(b"piece")?.as_int()?).ok();
    let msg_type = u32::try_from(msg_type).unwrap_or(UNKNOWN);
    Some(match msg_type {
        REQUEST => MetadataMessage::Request { piece: piece()? },
        REJECT => MetadataMessage::Reject { piece: piece()? },
        DATA => {
            let total_size = u64::try_from(dict.get(b"total_size")?.as_int()?).ok()?;
            let data = payload.get(document.end()..).filter(|data| data.len() <= METADATA_PART)?;
            MetadataMessage::Data { piece: piece()?, total_size, data: data.to_vec() }
        }
        _ => MetadataMessage::Unknown,
    })
}
