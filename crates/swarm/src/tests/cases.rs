//! What a peer may say wrongly, case by case and as bytes: what closes the connection, and what is let pass.
//!
//! The cases are those that libtorrent has tests for (messages, fast extension, v2 talk), and some that it has not
//! (reliability.md B1). Whatever is let pass must leave the connection able to be served.

use super::script::*;
use crate::*;
use shoal_wire::{Decoded, Frame, Limits, Message, decode};

const PIECES: u32 = 4;

fn message(id: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = (body.len() as u32 + 1).to_be_bytes().to_vec();
    bytes.push(id);
    bytes.extend(body);
    bytes
}

fn words(id: u8, words: &[u32]) -> Vec<u8> {
    message(id, &words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<_>>())
}

fn extended(id: u8, payload: &[u8]) -> Vec<u8> {
    message(20, &[&[id], payload].concat())
}

fn hash_message(id: u8, numbers: [u32; 4], hashes: usize) -> Vec<u8> {
    let mut body = vec![7; 32];
    body.extend(numbers.iter().flat_map(|number| number.to_be_bytes()));
    body.resize(body.len() + 32 * hashes, 9);
    message(id, &body)
}

/// Whether the connection is closed by what the bytes say: by the reader, or by the swarm.
fn closes(script: &mut Script, peer: PeerKey, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        let Ok(Decoded::Frame { consumed, frame }) = decode(bytes, &Limits::for_pieces(PIECES)) else { return true };
        bytes = &bytes[consumed..];
        let event = match frame {
            Frame::Message(message) => Event::Message { peer, message },
            Frame::Piece(block) => {
                bytes = &bytes[block.length as usize..];
                Event::Unrequested { peer, block }
            }
            Frame::Drain { message, length } => {
                bytes = &bytes[length as usize..];
                Event::Message { peer, message }
            }
        };
        script.feed(event);
        if disconnected(&script.log, peer).is_some() {
            return true;
        }
    }
    false
}

#[test]
fn what_breaks_the_protocol_closes_the_connection() {
    let max = u32::MAX;
    let cases: [(&str, Vec<u8>); 25] = [
        ("a length of 4 GiB", vec![0xff, 0xff, 0xff, 0xff, 7]),
        ("a length over a MiB", [&(1_u32 << 21).to_be_bytes()[..], &[99]].concat()),
        ("a choke with a body", message(0, &[1])),
        ("an interested with a body", message(2, &[1])),
        ("a have that is too short", message(4, &[0, 0])),
        ("a have past the end", words(4, &[PIECES])),
        ("a have of the last number", words(4, &[max])),
        ("a bitfield that is too short", message(5, &[])),
        ("a bitfield that is too long", message(5, &[0xf0, 0])),
        ("a bitfield with bits past the end", message(5, &[0xff])),
        ("a request that is too short", words(6, &[0, 0])),
        ("a request past the end", words(6, &[PIECES, 0, BLOCK])),
        ("a request past a piece's end", words(6, &[0, BLOCK, 2 * BLOCK])),
        ("a request whose end overflows", words(6, &[0, max, max])),
        ("a request of nothing", words(6, &[0, 0, 0])),
        ("a piece without a block's place", message(7, &[0; 4])),
        ("a block of over a MiB", [&(10 + (1_u32 << 20)).to_be_bytes()[..], &[7], &[0; 8]].concat()),
        ("a have all with a body", message(14, &[1])),
        ("a have none with a body", message(15, &[1])),
        ("a suggestion that is too long", words(13, &[0, 0])),
        ("a port that is too long", message(9, &[0, 0, 0])),
        ("an extension handshake that is no dictionary", extended(0, b"le")),
        ("a metadata message that is no dictionary", extended(1, b"i0e")),
        ("hashes that nobody asked for", hash_message(22, [0, 0, 2, 0], 2)),
        ("hashes of a broken length", message(22, &[0; 60])),
    ];
    for (what, bytes) in cases {
        let mut script = Script::with(u64::from(PIECES), 0..PIECES);
        let peer = script.join();
        assert!(closes(&mut script, peer, &bytes), "{what}");
    }
}

#[test]
fn what_is_merely_odd_is_let_pass_and_the_peer_is_served() {
    let max = u32::MAX;
    let cases: [(&str, Vec<u8>); 26] = [
        ("a keep-alive", vec![0, 0, 0, 0]),
        ("have none after a bitfield", [message(5, &[0x80]), message(15, &[])].concat()),
        ("have none again and again", message(15, &[]).repeat(50)),
        ("a bitfield again and again", message(5, &[0x80]).repeat(50)),
        ("a have of what is known", words(4, &[1]).repeat(50)),
        ("choke twice", message(0, &[]).repeat(2)),
        ("unchoke twice", message(1, &[]).repeat(2)),
        ("interested twice", message(2, &[]).repeat(2)),
        ("a suggestion", words(13, &[1])),
        ("a suggestion past the end", words(13, &[max])),
        ("suggestions without end", words(13, &[2]).repeat(10_000)),
        ("an allowed fast past the end", words(17, &[max])),
        ("allowed fast without end", (0..10_000).flat_map(|n| words(17, &[n])).collect()),
        ("a reject of what was never asked", words(16, &[0, 0, BLOCK])),
        ("a reject of what does not exist", words(16, &[max, max, max])),
        ("a cancel of what was never asked", words(8, &[0, 0, BLOCK])),
        ("a cancel of what does not exist", words(8, &[max, max, max])),
        ("a port without a DHT", message(9, &[0x1a, 0xe1])),
        ("a message of an unknown kind", message(99, &[7; 1000])),
        ("an extension that we did not name", extended(200, &[7; 1000])),
        ("an extension handshake of lies", extended(0, b"d1:md11:ut_metadatai999ee13:metadata_sizei-5e4:reqqi-1ee")),
        ("a request for metadata past the end", extended(1, b"d8:msg_typei0e5:piecei4294967295ee")),
        ("metadata that nobody asked for", extended(1, b"d8:msg_typei1e5:piecei0e10:total_sizei5eexxxxx")),
        ("a hash request in a v1 torrent", hash_message(21, [0, 0, 2, 0], 0)),
        ("a hash reject that answers nothing", hash_message(23, [0, 0, 2, 0], 0)),
        ("a block that nobody asked for", message(7, &[0; 8 + 1000])),
    ];
    for (what, bytes) in cases {
        let mut script = Script::with(u64::from(PIECES), 0..PIECES);
        let peer = script.join();
        assert!(!closes(&mut script, peer, &bytes), "{what}: {:?}", disconnected(&script.log, peer));
        script.effects();
        script.say(peer, Message::Interested);
        script.pass(std::time::Duration::from_secs(11));
        script.say(peer, Message::Request(raw(0, 0, BLOCK)));
        let served = script.effects().iter().any(|effect| matches!(effect, Effect::Upload { .. }));
        assert!(served, "not served after {what}");
    }
}

#[test]
fn an_extension_that_was_not_agreed_on_closes_the_connection() {
    let mut script = Script::with(u64::from(PIECES), [0]);
    let plain = script.join_as([9; 20], false);
    assert!(closes(&mut script, plain, &message(14, &[])), "have all without the fast extension");
    let handshake = shoal_wire::Handshake {
        reserved: [0; 8],
        ..shoal_wire::Handshake::new(script.info.hashes().wire(), [8; 20], false, false)
    };
    let (peer, addr) = (PeerKey(90), Script::addr(90));
    script.feed(Event::Connected { peer, addr, direction: Direction::Incoming, handshake });
    assert!(closes(&mut script, peer, &extended(0, b"de")), "an extension without the extension protocol");
}
