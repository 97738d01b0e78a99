//! Payloads of the extension protocol (handshake, metadata, PEX and the rest): bounded, and what was read is written and
//! read back as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shoal_wire::{
    Decoded, Extended, Frame, Limits, MAX_PEX_PEERS, METADATA_PART, Message, MetadataMessage, decode, encode,
};

fn read(id: u8, payload: &[u8]) -> Option<Extended> {
    let mut bytes = (payload.len() as u32 + 2).to_be_bytes().to_vec();
    bytes.extend([20, id]);
    bytes.extend(payload);
    match decode(&bytes, &Limits::UNKNOWN).ok()? {
        Decoded::Frame { frame: Frame::Message(Message::Extended { message, .. }), .. } => Some(message),
        _ => None,
    }
}

fuzz_target!(|input: (u8, &[u8])| {
    let id = input.0 % 5;
    let Some(message) = read(id, input.1) else { return };
    match &message {
        Extended::Handshake(handshake) => {
            assert!(handshake.client.as_ref().is_none_or(|name| name.chars().count() <= 64));
            assert!(handshake.ut_metadata != Some(0) && handshake.port != Some(0));
        }
        Extended::Metadata(MetadataMessage::Data { data, .. }) => assert!(data.len() <= METADATA_PART),
        Extended::Pex(pex) => assert!(pex.added.len() <= MAX_PEX_PEERS && pex.dropped.len() <= MAX_PEX_PEERS),
        _ => {}
    }
    let mut bytes = Vec::new();
    encode(&Message::Extended { id, message: message.clone() }, &mut bytes);
    assert_eq!(read(id, &bytes[6..]), Some(message));
});
