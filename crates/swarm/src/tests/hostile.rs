//! Claims about peers that mean no good.

use super::script::*;
use crate::*;
use proptest::prelude::*;
use shoal_wire::{Extended, ExtendedHandshake, HashRange, Message, MetadataMessage, PexMessage};
use std::time::Duration;

#[test]
fn asking_for_bytes_that_do_not_exist_ends_it() {
    for (piece, begin, length) in [(4, 0, BLOCK), (0, 0, 0), (0, u32::MAX, BLOCK), (3, BLOCK, BLOCK), (u32::MAX, 0, 1)]
    {
        let mut script = Script::with(4, 0..4);
        let peer = script.join();
        script.say(peer, Message::Request(raw(piece, begin, length)));
        let reason = disconnected(&script.effects(), peer);
        assert!(matches!(reason, Some(DisconnectReason::Protocol(_))), "{piece} {begin} {length}: {reason:?}");
    }
}

#[test]
fn a_flood_of_requests_is_bounded_and_ends_in_a_ban() {
    let mut script = Script::start(info(2_000, 5), true, |_| {});
    script.ready(shoal_pieces::Bitfield::full(2_000));
    let peer = script.join();
    script.say(peer, Message::HaveNone).say(peer, Message::Interested);
    for n in 0..20_000_u32 {
        script.say(peer, Message::Request(raw(n / 32 % 2_000, n % 32 * 1_000, 1_000)));
        if disconnected(&script.log, peer).is_some() {
            break;
        }
    }
    assert!(matches!(disconnected(&script.effects(), peer), Some(DisconnectReason::Protocol(_))));
}

#[test]
fn pieces_that_do_not_exist_end_it() {
    for message in [Message::Have(4), Message::Bitfield(vec![0xff]), Message::Bitfield(vec![0xf0, 0])] {
        let mut script = Script::with(4, []);
        let peer = script.join();
        script.say(peer, message.clone());
        assert!(disconnected(&script.effects(), peer).is_some(), "{message:?}");
    }
}

#[test]
fn forged_hashes_that_nobody_asked_for_end_it() {
    let mut script = Script::with(4, []);
    let peer = script.join();
    let range = HashRange { root: [0; 32], base_layer: 0, index: 0, length: 2, proof_layers: 0 };
    script.say(peer, Message::Hashes(range, vec![[0; 32]; 2]));
    assert!(disconnected(&script.effects(), peer).is_some());
}

#[test]
fn a_silent_peer_is_not_kept_for_ever() {
    let mut script = Script::with(4, 0..4);
    let peer = script.join();
    script.pass(Duration::from_secs(200));
    assert_eq!(disconnected(&script.effects(), peer), Some(DisconnectReason::Idle));
}

fn message() -> impl Strategy<Value = Message> {
    let number = || prop_oneof![0_u32..12, any::<u32>()];
    let block = || {
        (
            number(),
            prop_oneof![Just(0), Just(BLOCK), any::<u32>()],
            prop_oneof![Just(BLOCK), Just(BLOCK - 5), any::<u32>()],
        )
            .prop_map(|(piece, begin, length)| raw(piece, begin, length))
    };
    let extended = prop_oneof![
        (any::<Option<u8>>(), any::<Option<u64>>(), any::<Option<u32>>(), any::<bool>(), any::<Option<u16>>())
            .prop_map(|(ut_metadata, metadata_size, reqq, upload_only, port)| Extended::Handshake(ExtendedHandshake {
                ut_metadata,
                metadata_size,
                reqq,
                upload_only,
                port,
                lt_donthave: ut_metadata,
                upload_only_id: ut_metadata,
                ..ExtendedHandshake::default()
            })),
        number().prop_map(|piece| Extended::Metadata(MetadataMessage::Request { piece })),
        (number(), any::<u64>(), 0_usize..40_000).prop_map(|(piece, total_size, length)| Extended::Metadata(
            MetadataMessage::Data { piece, total_size, data: vec![0; length] }
        )),
        number().prop_map(|piece| Extended::Metadata(MetadataMessage::Reject { piece })),
        number().prop_map(Extended::DontHave),
        any::<bool>().prop_map(Extended::UploadOnly),
        Just(Extended::Pex(PexMessage::default())),
    ];
    prop_oneof![
        Just(Message::KeepAlive),
        Just(Message::Choke),
        Just(Message::Unchoke),
        Just(Message::Unchoke),
        Just(Message::Interested),
        Just(Message::NotInterested),
        Just(Message::HaveAll),
        Just(Message::HaveNone),
        number().prop_map(Message::Have),
        prop::collection::vec(any::<u8>(), 0..4).prop_map(Message::Bitfield),
        block().prop_map(Message::Request),
        block().prop_map(Message::Cancel),
        block().prop_map(Message::Reject),
        number().prop_map(Message::AllowedFast),
        number().prop_map(Message::Suggest),
        (number(), number()).prop_map(|(index, length)| Message::HashRequest(HashRange {
            root: [1; 32],
            base_layer: index,
            index,
            length,
            proof_layers: length
        })),
        extended.prop_map(|message| Message::Extended { id: 1, message }),
    ]
}

#[derive(Debug, Clone)]
enum Step {
    Join(bool),
    Leave(u32),
    Say(u32, Message),
    /// Answers the n-th outstanding grant.
    Give(usize),
    /// Answers the n-th outstanding store: right, corrupt, failed.
    Store(usize, u8),
    Credit(u16, u16),
    Pass(u32),
    LosePiece(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        any::<bool>().prop_map(Step::Join),
        (0_u32..6).prop_map(Step::Leave),
        (0_u32..6, message()).prop_map(|(peer, message)| Step::Say(peer, message)),
        (0_u32..6, message()).prop_map(|(peer, message)| Step::Say(peer, message)),
        (0_u32..6, message()).prop_map(|(peer, message)| Step::Say(peer, message)),
        (0_usize..20).prop_map(Step::Give),
        (0_usize..20).prop_map(Step::Give),
        (0_usize..4, 0_u8..3).prop_map(|(n, outcome)| Step::Store(n, outcome)),
        (any::<u16>(), any::<u16>()).prop_map(|(up, down)| Step::Credit(up, down)),
        (0_u32..40_000).prop_map(Step::Pass),
        (0_u32..10).prop_map(Step::LosePiece),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn no_order_of_messages_panics_or_breaks_an_invariant(steps in prop::collection::vec(step(), 1..150), magnet: bool) {
        let mut script = Script::start(info(10, 5), !magnet, |_| {});
        if !magnet {
            script.ready(shoal_pieces::Bitfield::new(10));
        }
        let mut here: Vec<PeerKey> = Vec::new();
        let mut grants = Vec::new();
        let mut stored = Vec::new();
        for step in steps {
            match step {
                Step::Join(fast) => {
                    let id = [(here.len() as u8).wrapping_add(script.now.as_micros() as u8); 20];
                    here.push(script.join_as(id, fast));
                }
                Step::Leave(n) => if let Some(peer) = here.get(n as usize).copied() {
                    here.remove(n as usize);
                    script.feed(Event::Disconnected { peer });
                },
                Step::Say(n, message) => if let Some(peer) = here.get(n as usize).copied() {
                    script.say(peer, message);
                },
                Step::Give(n) => if n < grants.len() {
                    let (peer, block) = grants.remove(n);
                    if here.contains(&peer) {
                        script.block(peer, block, 1);
                    }
                },
                Step::Store(n, outcome) => if n < stored.len() {
                    let (piece, blocks, digests): (_, Vec<_>, bool) = stored.remove(n);
                    let marks = digests_of(&blocks);
                    let outcome = match outcome {
                        0 => StoreOutcome::Written { digests: if digests { marks } else { Vec::new() } },
                        1 => StoreOutcome::Corrupt { blocks, digests: marks },
                        _ => StoreOutcome::Failed { blocks, reason: "no".to_owned() },
                    };
                    script.feed(Event::Stored { piece, outcome });
                },
                Step::Credit(up, down) => { script.credit(u64::from(up) * 10, u64::from(down) * 10); }
                Step::Pass(millis) => { script.pass(Duration::from_millis(u64::from(millis))); }
                Step::LosePiece(piece) => if let Some(peer) = here.first().copied() {
                    let block = script.info.layout().block(piece, 0, BLOCK).unwrap();
                    script.feed(Event::UploadFailed { peer, block, lost: true });
                },
            }
            for effect in script.effects() {
                match effect {
                    Effect::Grant { peer, block } => {
                        prop_assert!(here.contains(&peer));
                        grants.push((peer, block));
                    }
                    Effect::Revoke { peer, block } => grants.retain(|grant| *grant != (peer, block)),
                    Effect::Disconnect { peer, .. } => here.retain(|there| *there != peer),
                    Effect::Store { piece, blocks, digests, .. } => stored.push((piece, blocks, digests)),
                    Effect::Send { peer, .. } | Effect::Upload { peer, .. } => prop_assert!(here.contains(&peer)),
                    _ => {}
                }
            }
        }
    }
}

fn digests_of(blocks: &[(shoal_layout::BlockRef, Mark)]) -> Vec<[u8; 32]> {
    blocks.iter().map(|(_, mark)| [*mark as u8; 32]).collect()
}

#[test]
fn a_banned_peer_under_another_id_and_port_is_known_by_where_it_listens() {
    let mut script = Script::with(1, []);
    let liar = script.open_seed();
    for block in script.asked_of(liar) {
        script.block(liar, block, 1);
    }
    script.corrupt(0, &[1, 1]);
    let back = PeerKey(77);
    let handshake = shoal_wire::Handshake::new(script.info.hashes().wire(), [99; 20], false, false);
    let addr = std::net::SocketAddr::new(Script::addr(0).ip(), 40_000);
    script.feed(Event::Connected { peer: back, addr, direction: Direction::Incoming, handshake });
    assert_eq!(disconnected(&script.effects(), back), None, "another peer may have the same private address");
    let handshake = ExtendedHandshake { port: Some(Script::addr(0).port()), ..ExtendedHandshake::default() };
    script.say(back, Message::Extended { id: 0, message: Extended::Handshake(handshake) });
    assert_eq!(disconnected(&script.effects(), back), Some(DisconnectReason::Banned));
}

#[test]
fn one_that_asks_for_more_than_it_was_told_but_takes_what_it_asks_for_is_served() {
    let mut script = Script::with(2_000, 0..2_000);
    let peer = script.join();
    script.say(peer, Message::HaveNone).say(peer, Message::Interested);
    let layout = script.info.layout().clone();
    for round in 0..40_000_u32 {
        // Always over the bound, and each upload is taken at once.
        script.say(peer, Message::Request(raw(round % 1_900, 0, BLOCK)));
        script.say(peer, Message::Request(raw((round + 1) % 1_900, 0, BLOCK)));
        let effects = script.effects();
        assert_eq!(disconnected(&effects, peer), None, "in round {round}");
        for effect in effects {
            if let Effect::Upload { block, .. } = effect {
                assert!(layout.block(block.piece.0, block.begin, block.length).is_some());
                script.feed(Event::Uploaded { peer, block });
            }
        }
    }
}

#[test]
fn who_asks_for_a_piece_that_is_not_here_is_refused_and_not_promised_it() {
    let mut script = Script::with(40, 1..40);
    let peer = script.join();
    script.say(peer, Message::HaveNone).say(peer, Message::Interested);
    assert!(script.sent_to(peer).contains(&Message::Unchoke));
    let asked = raw(0, 0, BLOCK);
    script.say(peer, Message::Request(asked));
    let effects = script.effects();
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Upload { .. })));
    assert!(effects.iter().any(|e| matches!(e, Effect::Send { message: Message::Reject(raw), .. } if *raw == asked)));
}

#[test]
fn a_mute_peer_is_let_off_all_that_it_was_asked_for_and_another_is_asked() {
    // Long enough to be far from the endgame, where others would be asked anyway.
    let mut script = Script::with(200, []);
    let mute = script.open_seed();
    let asked = script.asked_of(mute);
    assert!(!asked.is_empty());
    script.pass(Duration::from_secs(62));
    let effects = script.effects();
    for &block in &asked {
        assert!(effects.iter().any(|e| matches!(e, Effect::Revoke { peer, block: b } if *peer == mute && *b == block)));
    }
    let other = script.join();
    script.say(other, Message::HaveNone);
    for block in asked.iter().filter(|block| block.begin == 0) {
        script.say(other, Message::Have(block.piece.0));
    }
    script.say(other, Message::Unchoke);
    let again = script.asked_of(other);
    // But for the one request by which the mute peer may prove that it is none.
    let missed = asked.iter().filter(|block| !again.contains(block)).count();
    assert!(missed <= 1, "{asked:?} {again:?}");
}
