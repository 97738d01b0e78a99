//! The codec as a whole: round trips, any split of the input, any bytes at all.

use crate::*;
use proptest::collection::vec;
use proptest::prelude::*;
use std::net::{IpAddr, SocketAddr};

fn raw_block() -> impl Strategy<Value = RawBlock> {
    any::<[u32; 3]>().prop_map(|[piece, begin, length]| RawBlock { piece, begin, length })
}

fn hash_range() -> impl Strategy<Value = HashRange> {
    any::<([u8; 32], [u32; 4])>().prop_map(|(root, [base_layer, index, length, proof_layers])| HashRange {
        root,
        base_layer,
        index,
        length,
        proof_layers,
    })
}

fn ip() -> impl Strategy<Value = IpAddr> {
    any::<IpAddr>().prop_map(|ip| ip.to_canonical())
}

fn addr() -> impl Strategy<Value = SocketAddr> {
    (ip(), any::<u16>()).prop_map(SocketAddr::from)
}

fn extended_handshake() -> impl Strategy<Value = ExtendedHandshake> {
    let extension = || prop::option::of(1_u8..);
    let ids = (extension(), extension(), extension(), extension(), extension());
    let rest = (
        prop::option::of("\\PC{0,64}"),
        prop::option::of(1_u16..),
        prop::option::of(any::<u32>()),
        prop::option::of(0..=i64::MAX as u64),
        prop::option::of(ip()),
        any::<bool>(),
        any::<bool>(),
    );
    (ids, rest).prop_map(|((ut_metadata, ut_pex, lt_donthave, upload_only_id, ut_holepunch), rest)| {
        let (client, port, reqq, metadata_size, your_ip, upload_only, super_seeding) = rest;
        ExtendedHandshake {
            ut_metadata,
            ut_pex,
            lt_donthave,
            upload_only_id,
            ut_holepunch,
            client,
            port,
            reqq,
            metadata_size,
            your_ip,
            upload_only,
            super_seeding,
        }
    })
}

fn metadata() -> impl Strategy<Value = MetadataMessage> {
    prop_oneof![
        any::<u32>().prop_map(|piece| MetadataMessage::Request { piece }),
        any::<u32>().prop_map(|piece| MetadataMessage::Reject { piece }),
        (any::<u32>(), 0..=i64::MAX as u64, vec(any::<u8>(), 0..200))
            .prop_map(|(piece, total_size, data)| MetadataMessage::Data { piece, total_size, data }),
        Just(MetadataMessage::Unknown),
    ]
}

fn pex() -> impl Strategy<Value = PexMessage> {
    let added = vec((addr(), any::<u8>()).prop_map(|(addr, flags)| PexPeer { addr, flags }), 0..=MAX_PEX_PEERS);
    (added, vec(addr(), 0..=MAX_PEX_PEERS)).prop_map(|(mut added, mut dropped)| {
        // On the wire the families are apart.
        added.sort_by_key(|peer| peer.addr.is_ipv6());
        dropped.sort_by_key(SocketAddr::is_ipv6);
        PexMessage { added, dropped }
    })
}

fn extended() -> impl Strategy<Value = Message> {
    prop_oneof![
        extended_handshake().prop_map(|message| (extension_ids::HANDSHAKE, Extended::Handshake(message))),
        metadata().prop_map(|message| (extension_ids::UT_METADATA, Extended::Metadata(message))),
        pex().prop_map(|message| (extension_ids::UT_PEX, Extended::Pex(message))),
        any::<u32>().prop_map(|piece| (extension_ids::LT_DONTHAVE, Extended::DontHave(piece))),
        any::<bool>().prop_map(|only| (extension_ids::UPLOAD_ONLY, Extended::UploadOnly(only))),
        (5_u8.., 0_u32..300).prop_map(|(id, length)| (id, Extended::Unknown { length })),
    ]
    .prop_map(|(id, message)| Message::Extended { id, message })
}

fn message() -> impl Strategy<Value = Message> {
    let hashes = vec(any::<[u8; 32]>(), 0..8);
    prop_oneof![
        Just(Message::KeepAlive),
        Just(Message::Choke),
        Just(Message::Unchoke),
        Just(Message::Interested),
        Just(Message::NotInterested),
        any::<u32>().prop_map(Message::Have),
        vec(any::<u8>(), 0..100).prop_map(Message::Bitfield),
        raw_block().prop_map(Message::Request),
        raw_block().prop_map(Message::Cancel),
        any::<u16>().prop_map(Message::Port),
        any::<u32>().prop_map(Message::Suggest),
        Just(Message::HaveAll),
        Just(Message::HaveNone),
        raw_block().prop_map(Message::Reject),
        any::<u32>().prop_map(Message::AllowedFast),
        hash_range().prop_map(Message::HashRequest),
        (hash_range(), hashes).prop_map(|(range, hashes)| Message::Hashes(range, hashes)),
        hash_range().prop_map(Message::HashReject),
        (prop_oneof![10_u8..=12, 18_u8..=19, 24_u8..], 0_u32..300)
            .prop_map(|(id, length)| Message::Unknown { id, length }),
        extended(),
    ]
}

/// What a driver would report of the bytes, read in pieces that end at these places.
fn read(bytes: &[u8], mut ends: Vec<usize>) -> Result<Vec<Frame>, WireError> {
    ends.push(bytes.len());
    ends.sort_unstable();
    let (mut at, mut wanted, mut frames) = (0, 0, Vec::new());
    for end in ends {
        // A driver may come back early, as here, or only when there is as much as it was told.
        while at <= end {
            match decode(&bytes[at..end], &Limits::UNKNOWN)? {
                Decoded::NeedMore(least) => {
                    assert!(least > end - at, "asks for what it has");
                    assert!(least <= Limits::UNKNOWN.max_frame_bytes(), "asks for {least}");
                    wanted = at + least;
                    break;
                }
                Decoded::Frame { consumed, frame } => {
                    assert!(consumed > 0 && consumed <= end - at);
                    assert!(at + consumed >= wanted, "asked for more than the frame took");
                    at += consumed;
                    match frame {
                        Frame::Message(_) => {}
                        Frame::Piece(block) => at += block.length as usize,
                        Frame::Drain { length, .. } => at += length as usize,
                    }
                    frames.push(frame);
                }
            }
        }
    }
    Ok(frames)
}

fn report(frame: Frame) -> Message {
    match frame {
        Frame::Message(message) | Frame::Drain { message, .. } => message,
        Frame::Piece(block) => panic!("{block:?} was not sent"),
    }
}

proptest! {
    #[test]
    fn every_message_comes_back_from_its_bytes_however_they_are_split(
        messages in vec(message(), 1..5), ends in vec(0_usize..2000, 0..8)
    ) {
        let mut bytes = Vec::new();
        for message in &messages {
            encode(message, &mut bytes);
        }
        let ends = ends.into_iter().map(|end| end.min(bytes.len())).collect();
        let whole = read(&bytes, Vec::new()).unwrap();
        prop_assert_eq!(&read(&bytes, ends).unwrap(), &whole);
        prop_assert_eq!(whole.into_iter().map(report).collect::<Vec<_>>(), messages);
    }

    #[test]
    fn a_piece_is_cut_off_after_its_header(
        piece: u32, begin: u32, length in 0..=MAX_PIECE_PAYLOAD, cut in 0_usize..13, payload in vec(any::<u8>(), 0..9)
    ) {
        let block = RawBlock { piece, begin, length };
        let mut bytes = encode_piece_header(block).to_vec();
        let Ok(Decoded::NeedMore(least)) = decode(&bytes[..cut], &Limits::UNKNOWN) else { panic!() };
        prop_assert!(least > cut && least <= 13);
        bytes.extend(payload);
        let expected = Decoded::Frame { consumed: 13, frame: Frame::Piece(block) };
        prop_assert_eq!(decode(&bytes, &Limits::UNKNOWN), Ok(expected));
    }

    #[test]
    fn any_bytes_are_frames_or_an_error_and_ask_for_no_more_than_the_bound(
        bytes in vec(any::<u8>(), 0..400), length in 0_u32..200, id in 0_u8..25, ends in vec(0_usize..400, 0..4)
    ) {
        let ends: Vec<_> = ends.into_iter().map(|end| end.min(bytes.len())).collect();
        let _ = read(&bytes, ends.clone());
        // And with a head that is taken for a message.
        let mut headed = length.to_be_bytes().to_vec();
        headed.push(id);
        headed.extend(&bytes);
        prop_assert_eq!(read(&headed, Vec::new()), read(&headed, ends));
    }

    #[test]
    fn a_length_over_its_kinds_bound_is_refused_after_the_numbers(id: u8, extension: u8, length in 1_u32..) {
        let bytes = [&length.to_be_bytes()[..], &[id, extension]].concat();
        match decode(&bytes, &Limits::UNKNOWN) {
            Ok(Decoded::NeedMore(least)) => prop_assert!(least <= Limits::UNKNOWN.max_frame_bytes()),
            Ok(Decoded::Frame { frame: Frame::Drain { length, .. }, .. }) => {
                prop_assert!(length <= MAX_UNKNOWN_LENGTH);
            }
            Ok(Decoded::Frame { .. }) => prop_assert!(length <= 2),
            Err(_) => {}
        }
    }

    #[test]
    fn any_payload_of_an_extension_is_read_or_refused(id in 0_u8..6, payload in vec(any::<u8>(), 0..300)) {
        let mut bytes = (payload.len() as u32 + 2).to_be_bytes().to_vec();
        bytes.extend([20, id]);
        bytes.extend(payload);
        let _ = read(&bytes, Vec::new());
    }

    #[test]
    fn a_handshake_with_a_byte_changed_is_read_or_refused(
        handshake in extended_handshake(), at: prop::sample::Index, byte: u8
    ) {
        let mut bytes = Vec::new();
        let message = Extended::Handshake(handshake);
        encode(&Message::Extended { id: extension_ids::HANDSHAKE, message }, &mut bytes);
        let at = 6 + at.index(bytes.len() - 6);
        bytes[at] = byte;
        let _ = read(&bytes, Vec::new());
    }
}

fn extended_payload(id: u8, payload: &[u8]) -> Result<Extended, WireError> {
    let mut bytes = (payload.len() as u32 + 2).to_be_bytes().to_vec();
    bytes.extend([20, id]);
    bytes.extend(payload);
    match decode(&bytes, &Limits::UNKNOWN)? {
        Decoded::Frame { frame: Frame::Message(Message::Extended { id: read, message }), consumed } => {
            assert_eq!((read, consumed), (id, bytes.len()));
            Ok(message)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn absurd_lengths_are_refused_after_five_bytes() {
    for id in (0..=255_u8).filter(|&id| id != 20) {
        let bytes = [0xff, 0xff, 0xff, 0xff, id];
        assert_eq!(decode(&bytes, &Limits::UNKNOWN), Err(WireError::Length { id, length: u32::MAX }));
    }
    let whole = 6 + extended::MAX_PAYLOAD as u32;
    let bytes = [&(whole - 3).to_be_bytes()[..], &[20, extension_ids::HANDSHAKE]].concat();
    assert_eq!(decode(&bytes, &Limits::UNKNOWN), Err(WireError::ExtendedLength { id: 0, length: whole - 3 }));
    let bytes = [0x00, 0x00, 0x50, 0x00, 20, extension_ids::UT_METADATA];
    assert_eq!(decode(&bytes, &Limits::UNKNOWN), Err(WireError::ExtendedLength { id: 1, length: 0x5000 }));
}

#[test]
fn a_bitfield_is_bounded_by_the_pieces_that_are_known() {
    let mut bytes = Vec::new();
    encode(&Message::Bitfield(vec![0xff; 3]), &mut bytes);
    for (pieces, fits) in [(24, true), (17, true), (16, false), (0, false), (u32::MAX, true)] {
        assert_eq!(decode(&bytes, &Limits::for_pieces(pieces)).is_ok(), fits, "{pieces}");
    }
    assert!(Limits::UNKNOWN.max_frame_bytes() <= (1 << 18) + 5);
    assert!(Limits::for_pieces(1).max_frame_bytes() <= (1 << 16) + 6);
}

#[test]
fn a_known_message_as_another_client_writes_it() {
    let request = b"\x00\x00\x00\x0d\x06\x00\x00\x00\x01\x00\x00\x40\x00\x00\x00\x40\x00";
    let expected = Message::Request(RawBlock { piece: 1, begin: 16384, length: 16384 });
    let frame = Decoded::Frame { consumed: 17, frame: Frame::Message(expected) };
    assert_eq!(decode(request, &Limits::UNKNOWN), Ok(frame));
}

#[test]
fn nesting_bombs_are_refused_by_every_extension() {
    let lists = vec![b'l'; 60_000];
    let mut closed = lists[..30_000].to_vec();
    closed.extend(vec![b'e'; 30_000]);
    let within = [&b"d1:x"[..], &closed, b"e"].concat();
    for bomb in [lists, closed, within, b"d1:a".repeat(15_000)] {
        for id in [extension_ids::HANDSHAKE, extension_ids::UT_PEX] {
            assert_eq!(extended_payload(id, &bomb), Err(WireError::ExtendedPayload { id }));
        }
        let id = extension_ids::UT_METADATA;
        assert_eq!(extended_payload(id, &bomb[..17_000]), Err(WireError::ExtendedPayload { id }));
    }
}

#[test]
fn an_extension_handshake_is_read_leniently() {
    let payload = b"d1:md6:ut_pexi2e11:ut_metadatai0e11:lt_donthavei300e11:upload_only1:xe1:pi0e1:q3:abc4:reqqi-5e1:vi7e6:yourip3:abc13:metadata_sizei-1e11:upload_onlyi1ee";
    let expected = ExtendedHandshake { ut_pex: Some(2), upload_only: true, ..ExtendedHandshake::default() };
    assert_eq!(extended_payload(0, payload), Ok(Extended::Handshake(expected)));
    assert_eq!(extended_payload(0, b"de"), Ok(Extended::Handshake(ExtendedHandshake::default())));
    for payload in [&b""[..], b"le", b"i1e", b"d1:m", b"d1:md"] {
        assert_eq!(extended_payload(0, payload), Err(WireError::ExtendedPayload { id: 0 }), "{payload:?}");
    }
}

#[test]
fn a_clients_name_is_cut_and_need_not_be_utf8() {
    let mut payload = b"d1:v300:".to_vec();
    payload.extend([0xff; 300]);
    payload.push(b'e');
    let Ok(Extended::Handshake(handshake)) = extended_payload(0, &payload) else { panic!() };
    assert_eq!(handshake.client, Some("\u{fffd}".repeat(64)));
}

#[test]
fn pex_keeps_fifty_and_passes_over_what_makes_no_address() {
    let mut payload = b"d5:added607:".to_vec();
    payload.extend((0..606).map(|i| i as u8));
    payload.extend(b"x7:added.f1:\x12e");
    let Ok(Extended::Pex(pex)) = extended_payload(extension_ids::UT_PEX, &payload) else { panic!() };
    assert_eq!(pex.added.len(), MAX_PEX_PEERS);
    assert_eq!(pex.added[0], PexPeer { addr: "0.1.2.3:1029".parse().unwrap(), flags: 0x12 });
    assert_eq!(pex.added[1].flags, 0);
    assert_eq!(extended_payload(extension_ids::UT_PEX, b"d5:addedi1ee"), Ok(Extended::Pex(PexMessage::default())));
}

#[test]
fn an_ipv4_peer_named_among_ipv6_ones_goes_to_its_own() {
    let mapped = [&[0; 10][..], &[0xff, 0xff, 1, 2, 3, 4, 0x1a, 0xe1]].concat();
    let plain = [&[0x20; 16][..], &[0x1a, 0xe1]].concat();
    let payload = [&b"d6:added636:"[..], &plain, &mapped, b"e"].concat();
    let Ok(Extended::Pex(pex)) = extended_payload(extension_ids::UT_PEX, &payload) else { panic!() };
    let named: Vec<String> = pex.added.iter().map(|peer| peer.addr.to_string()).collect();
    assert_eq!(named, ["1.2.3.4:6881", "[2020:2020:2020:2020:2020:2020:2020:2020]:6881"]);
}

#[test]
fn metadata_data_is_what_follows_its_dictionary() {
    let payload = b"d8:msg_typei1e5:piecei2e10:total_sizei34256eexyz";
    let expected = MetadataMessage::Data { piece: 2, total_size: 34256, data: b"xyz".to_vec() };
    assert_eq!(extended_payload(extension_ids::UT_METADATA, payload), Ok(Extended::Metadata(expected)));
    let id = extension_ids::UT_METADATA;
    let mut long = b"d8:msg_typei1e5:piecei0e10:total_sizei34256ee".to_vec();
    long.extend([0; METADATA_PART + 1]);
    for payload in [&b"d8:msg_typei1e5:piecei2ee"[..], b"d5:piecei2ee", b"d8:msg_typei0e5:piecei-1ee", &long] {
        assert_eq!(extended_payload(id, payload), Err(WireError::ExtendedPayload { id }));
    }
}

#[test]
fn upload_only_is_read_leniently_and_donthave_is_not() {
    for (payload, only) in [(&b"\x01"[..], true), (b"\x00", false), (b"", false), (b"\x01\x00", true)] {
        assert_eq!(extended_payload(extension_ids::UPLOAD_ONLY, payload), Ok(Extended::UploadOnly(only)));
    }
    let id = extension_ids::LT_DONTHAVE;
    assert_eq!(extended_payload(id, b"\x00\x00\x00"), Err(WireError::ExtendedLength { id, length: 5 }));
    assert_eq!(extended_payload(id, b"\x00\x00\x00\x07"), Ok(Extended::DontHave(7)));
}
