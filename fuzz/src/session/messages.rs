//! What a peer says, of fuzzer's bytes, and what of it comes through the wire.

use super::{BLOCK, PIECES};
use arbitrary::{Result, Unstructured};
use shoal_metainfo::Info;
use shoal_wire::*;
use std::net::SocketAddr;

/// As the other side would read it; `None` if it would close the connection instead, or see a block.
pub(super) fn through_the_wire(message: Message, ready: bool) -> Option<Message> {
    let limits = if ready { Limits::for_pieces(PIECES) } else { Limits::UNKNOWN };
    let mut bytes = Vec::new();
    encode(&message, &mut bytes);
    match decode(&bytes, &limits) {
        Ok(Decoded::Frame { frame: Frame::Message(message) | Frame::Drain { message, .. }, .. }) => Some(message),
        _ => None,
    }
}

/// Anything that a peer can say, mostly with numbers that exist.
pub(super) fn message(u: &mut Unstructured<'_>, info: &Info) -> Result<Message> {
    let number = |u: &mut Unstructured<'_>| -> Result<u32> {
        if u.ratio(1, 16)? { u.arbitrary() } else { u.int_in_range(0..=PIECES) }
    };
    let block = |u: &mut Unstructured<'_>| -> Result<RawBlock> {
        let begin = *u.choose(&[0, 0, BLOCK, BLOCK, 1, u32::MAX])?;
        let length = *u.choose(&[BLOCK, BLOCK, BLOCK, BLOCK - 5, 1, 0, 1 << 17, u32::MAX])?;
        Ok(RawBlock { piece: number(u)?, begin, length })
    };
    let range = |u: &mut Unstructured<'_>| -> Result<HashRange> {
        let root = match info.files().next().and_then(|file| file.root) {
            Some(root) if u.ratio(7, 8)? => root,
            _ => u.arbitrary()?,
        };
        let small = |u: &mut Unstructured<'_>| -> Result<u32> {
            if u.ratio(1, 8)? { u.arbitrary() } else { u.int_in_range(0..=16) }
        };
        Ok(HashRange { root, base_layer: small(u)?, index: small(u)?, length: small(u)?, proof_layers: small(u)? })
    };
    Ok(match u.int_in_range(0..=23)? {
        0 => Message::KeepAlive,
        1 => Message::Choke,
        2 => Message::Unchoke,
        3 => Message::Interested,
        4 => Message::NotInterested,
        5 | 6 => Message::Have(number(u)?),
        7 => Message::Bitfield(u.arbitrary::<[u8; 3]>()?[..u.int_in_range(0..=3)?].to_vec()),
        8..=10 => Message::Request(block(u)?),
        11 => Message::Cancel(block(u)?),
        12 => Message::Port(u.arbitrary()?),
        13 => Message::Suggest(number(u)?),
        14 => Message::HaveAll,
        15 => Message::HaveNone,
        16 => Message::Reject(block(u)?),
        17 => Message::AllowedFast(number(u)?),
        18 => Message::HashRequest(range(u)?),
        19 => Message::Hashes(range(u)?, vec![[1; 32]; u.int_in_range(0..=6)?]),
        20 => Message::HashReject(range(u)?),
        21 => Message::Unknown { id: 99, length: u.int_in_range(0..=40)? },
        _ => extended(u, info)?,
    })
}

fn extended(u: &mut Unstructured<'_>, info: &Info) -> Result<Message> {
    let size = info.bytes().len() as u64;
    let (id, message) = match u.int_in_range(0..=6)? {
        0 | 1 => {
            let handshake = ExtendedHandshake {
                ut_metadata: u.arbitrary()?,
                ut_pex: u.arbitrary()?,
                lt_donthave: u.arbitrary()?,
                upload_only_id: u.arbitrary()?,
                port: u.arbitrary()?,
                reqq: u.arbitrary()?,
                metadata_size: if u.ratio(3, 4)? { Some(size) } else { u.arbitrary::<Option<u32>>()?.map(u64::from) },
                upload_only: u.arbitrary()?,
                ..ExtendedHandshake::default()
            };
            (extension_ids::HANDSHAKE, Extended::Handshake(handshake))
        }
        2 | 3 => {
            let piece = u.int_in_range(0..=2)?;
            let message = match u.int_in_range(0..=3)? {
                0 => MetadataMessage::Request { piece },
                1 => MetadataMessage::Reject { piece },
                2 => MetadataMessage::Data { piece, total_size: size, data: info.bytes().to_vec() },
                _ => MetadataMessage::Data { piece, total_size: size, data: vec![0; u.int_in_range(0..=400)?] },
            };
            (extension_ids::UT_METADATA, Extended::Metadata(message))
        }
        4 => {
            let peer =
                PexPeer { addr: SocketAddr::from((u.arbitrary::<[u8; 4]>()?, u.arbitrary()?)), flags: u.arbitrary()? };
            let message = PexMessage { added: vec![peer; u.int_in_range(0..=3)?], dropped: Vec::new() };
            (extension_ids::UT_PEX, Extended::Pex(message))
        }
        5 => (extension_ids::LT_DONTHAVE, Extended::DontHave(u.int_in_range(0..=PIECES)?)),
        _ => (extension_ids::UPLOAD_ONLY, Extended::UploadOnly(u.arbitrary()?)),
    };
    Ok(Message::Extended { id, message })
}
