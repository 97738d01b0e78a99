//! A peer exchange message names no more peers than are taken, and what was read is written and read back as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shoal_wire::{Decoded, Extended, Frame, Limits, MAX_PEX_PEERS, Message, PexMessage, decode, encode, extension_ids};

fn read(payload: &[u8]) -> Option<PexMessage> {
    let mut bytes = (payload.len() as u32 + 2).to_be_bytes().to_vec();
    bytes.extend([20, extension_ids::UT_PEX]);
    bytes.extend(payload);
    match decode(&bytes, &Limits::UNKNOWN).ok()? {
        Decoded::Frame { frame: Frame::Message(Message::Extended { message: Extended::Pex(pex), .. }), .. } => {
            Some(pex)
        }
        _ => None,
    }
}

fuzz_target!(|payload: &[u8]| {
    let Some(pex) = read(payload) else { return };
    assert!(pex.added.len() <= MAX_PEX_PEERS && pex.dropped.len() <= MAX_PEX_PEERS);
    // Six bytes name a peer at least: what is kept follows what came.
    assert!((pex.added.len() + pex.dropped.len()) * 6 <= payload.len());
    let mut bytes = Vec::new();
    encode(&Message::Extended { id: extension_ids::UT_PEX, message: Extended::Pex(pex.clone()) }, &mut bytes);
    assert_eq!(read(&bytes[6..]), Some(pex));
});
