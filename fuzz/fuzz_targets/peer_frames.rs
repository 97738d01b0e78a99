//! Bytes of a connection: frames or an error, never more asked for than the bound, the same however they are split, and
//! what was read is written and read back as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shoal_wire::{Decoded, Frame, Handshake, Limits, Message, decode, encode};

fuzz_target!(|input: (u16, &[u8])| {
    let (pieces, bytes) = input;
    let limits = if pieces == 0 { Limits::UNKNOWN } else { Limits::for_pieces(u32::from(pieces)) };
    if let Ok(Some(handshake)) = Handshake::decode(bytes) {
        assert_eq!(handshake.encode()[..], bytes[..Handshake::LENGTH]);
    }
    let mut rest = bytes;
    while let Ok(Decoded::Frame { consumed, frame }) = decode(rest, &limits) {
        assert!(consumed > 0 && consumed <= rest.len());
        for cut in [consumed - 1, consumed / 2] {
            match decode(&rest[..cut], &limits) {
                Ok(Decoded::NeedMore(needed)) => assert!(needed > cut && needed <= consumed),
                other => panic!("{other:?} of the first {cut} bytes of {frame:?}"),
            }
        }
        let skip = match frame {
            Frame::Message(message) => {
                check(&message, &limits);
                0
            }
            Frame::Piece(block) => {
                assert!(block.length <= shoal_wire::MAX_PIECE_PAYLOAD);
                block.length as usize
            }
            Frame::Drain { length, .. } => {
                assert!(length <= shoal_wire::MAX_UNKNOWN_LENGTH);
                length as usize
            }
        };
        rest = rest.get(consumed + skip..).unwrap_or_default();
    }
    if let Ok(Decoded::NeedMore(needed)) = decode(rest, &limits) {
        assert!(needed > rest.len() && needed <= limits.max_frame_bytes());
    }
});

fn check(message: &Message, limits: &Limits) {
    let mut bytes = Vec::new();
    encode(message, &mut bytes);
    match decode(&bytes, limits) {
        Ok(Decoded::Frame { consumed, frame: Frame::Message(again) }) => {
            assert_eq!((consumed, &again), (bytes.len(), message));
        }
        other => panic!("{message:?} is read back as {other:?}"),
    }
}
