//! Claims about fetching.

use super::script::*;
use crate::*;
use shoal_layout::PieceIndex;
use shoal_pieces::Bitfield;
use shoal_wire::{Extended, ExtendedHandshake, Message, MetadataMessage};
use std::collections::BTreeSet;
use std::time::Duration;

#[test]
fn nothing_is_asked_while_choked_and_each_request_follows_its_grant() {
    let mut script = Script::with(4, []);
    let peer = script.join();
    script.say(peer, Message::HaveAll);
    let sent = script.sent_to(peer);
    assert!(sent.contains(&Message::Interested) && !sent.iter().any(|m| matches!(m, Message::Request(_))), "{sent:?}");
    script.say(peer, Message::Unchoke);
    let effects = script.effects();
    let mut requests = 0;
    for (place, effect) in effects.iter().enumerate() {
        if let Effect::Send { message: Message::Request(asked), .. } = effect {
            let Effect::Grant { peer: granted, block } = &effects[place - 1] else {
                panic!("no grant before {asked:?}")
            };
            assert_eq!((*granted, raw(block.piece.0, block.begin, block.length)), (peer, *asked));
            requests += 1;
        }
    }
    assert!(requests >= 2);
}

#[test]
fn a_piece_is_announced_when_it_is_written_and_not_before() {
    let mut script = Script::with(4, []);
    let (seed, other) = (script.open_seed(), script.join());
    script.say(other, Message::HaveNone);
    script.log.clear();
    script.say(seed, Message::Have(0));
    script.pass(Duration::from_secs(1));
    let mut script = Script::with(4, []);
    let seed = script.open_seed();
    let other = script.join();
    let asked: Vec<_> = {
        script.say(other, Message::HaveNone);
        let effects = script.effects();
        effects
            .iter()
            .filter_map(
                |e| if let Effect::Grant { peer, block } = e { (*peer == seed).then_some(*block) } else { None },
            )
            .collect()
    };
    let piece = asked[0].piece;
    for &block in asked.iter().filter(|block| block.piece == piece) {
        script.block(seed, block, 1);
    }
    let effects = script.effects();
    assert!(!effects.iter().any(|e| matches!(e, Effect::Send { message: Message::Have(_), .. })));
    assert_eq!(stores(effects).len(), 1);
    script.written(piece.0, &[]);
    let effects = script.effects();
    assert!(effects.iter().any(
        |e| matches!(e, Effect::Send { peer, message: Message::Have(have) } if *peer == other && *have == piece.0)
    ));
    assert!(effects.iter().any(|e| matches!(e, Effect::Notice(Notice::Piece(p)) if *p == piece)));
    assert_eq!(script.swarm.progress().pieces_done, 1);
}

/// Lets `seed` send what it is asked until everything is stored; each piece is right.
fn finish(script: &mut Script, seed: PeerKey) {
    for _ in 0..1_000 {
        let effects = script.effects();
        let granted: Vec<_> = effects
            .iter()
            .filter_map(
                |e| if let Effect::Grant { peer, block } = e { (*peer == seed).then_some(*block) } else { None },
            )
            .collect();
        let stored = stores(effects);
        if granted.is_empty() && stored.is_empty() {
            return;
        }
        for (piece, blocks, _) in stored {
            let marks: Vec<_> = blocks.iter().map(|(_, mark)| *mark).collect();
            script.written(piece.0, &marks);
        }
        for block in granted {
            script.block(seed, block, 1);
        }
    }
    panic!("it does not end");
}

#[test]
fn a_whole_torrent_comes_from_one_seed_and_the_seed_is_left() {
    let mut script = Script::with(30, [3, 4]);
    let seed = script.join();
    script.say(seed, Message::HaveAll);
    script.log.retain(|e| !matches!(e, Effect::Disconnect { .. }));
    script.say(seed, Message::Unchoke);
    let mut closed = None;
    for _ in 0..200 {
        let effects = script.effects();
        closed = closed.or(disconnected(&effects, seed));
        let granted: Vec<_> = effects
            .iter()
            .filter_map(|e| if let Effect::Grant { block, .. } = e { Some(*block) } else { None })
            .collect();
        for (piece, _, _) in stores(effects) {
            script.written(piece.0, &[]);
        }
        granted.into_iter().for_each(|block| {
            script.block(seed, block, 1);
        });
    }
    let progress = script.swarm.progress();
    assert!(progress.complete && progress.done_bytes == 30 * PIECE - 5, "{progress:?}");
    assert_eq!(progress.downloaded, 28 * PIECE - 5);
    assert_eq!(closed, Some(DisconnectReason::Uninteresting));
}

#[test]
fn a_choke_without_the_fast_extension_takes_all_requests_back() {
    let mut script = Script::with(4, []);
    let peer = script.join_as([7; 20], false);
    script.say(peer, Message::Bitfield(vec![0xf0])).say(peer, Message::Unchoke);
    let asked = script.asked_of(peer);
    assert!(!asked.is_empty());
    script.say(peer, Message::Choke);
    let revoked = script.effects().iter().filter(|e| matches!(e, Effect::Revoke { .. })).count();
    assert_eq!(revoked, asked.len());
    let other = script.open_seed();
    assert_eq!(script.asked_of(other).into_iter().collect::<BTreeSet<_>>(), asked.into_iter().collect());
}

#[test]
fn a_later_bitfield_adds_to_what_a_peer_has() {
    let mut script = Script::with(4, []);
    let peer = script.join_as([7; 20], false);
    script
        .say(peer, Message::Bitfield(vec![0x80]))
        .say(peer, Message::Unchoke)
        .say(peer, Message::Bitfield(vec![0x30]));
    let effects = script.effects();
    assert_eq!(disconnected(&effects, peer), None);
    let asked =
        effects.iter().filter_map(|e| if let Effect::Grant { block, .. } = e { Some(block.piece.0) } else { None });
    assert_eq!(asked.collect::<BTreeSet<_>>(), BTreeSet::from([0, 2, 3]));
}

#[test]
fn a_peer_may_say_late_that_it_has_all() {
    let mut script = Script::with(4, [0, 1]);
    let peer = script.join();
    script.say(peer, Message::HaveNone).say(peer, Message::Unchoke).say(peer, Message::HaveAll);
    assert!(script.asked_of(peer).iter().any(|block| block.piece.0 >= 2));
}

#[test]
fn what_a_mute_peer_keeps_goes_to_others_and_it_is_let_go() {
    let mut script = Script::with(4, []);
    let mute = script.open_seed();
    let asked = script.asked_of(mute);
    script.pass(Duration::from_secs(30));
    let honest = script.open_seed();
    let again = script.asked_of(honest);
    assert!(asked.iter().filter(|block| again.contains(block)).count() + 1 >= asked.len(), "{asked:?} {again:?}");
    script.pass(Duration::from_secs(170));
    assert_eq!(disconnected(&script.effects(), mute), Some(DisconnectReason::Idle));
}

#[test]
fn in_the_endgame_a_block_that_came_is_cancelled_elsewhere() {
    let mut script = Script::with(1, []);
    let slow = script.open_seed();
    let asked = script.asked_of(slow);
    let fast = script.open_seed();
    script.pass(Duration::from_secs(2));
    assert_eq!(script.asked_of(fast).len(), asked.len());
    script.block(fast, asked[0], 1);
    let effects = script.effects();
    assert!(effects.iter().any(|e| matches!(e, Effect::Revoke { peer, block } if *peer == slow && *block == asked[0])));
    assert!(effects.iter().any(|e| matches!(e, Effect::Send { peer, message: Message::Cancel(_) } if *peer == slow)));
    // The cancelled block comes all the same: it is waste, not progress.
    script.feed(Event::Unrequested { peer: slow, block: raw(0, asked[0].begin, asked[0].length) });
    assert_eq!(script.swarm.progress().wasted, u64::from(asked[0].length));
}

#[test]
fn no_more_is_asked_than_credit_allows() {
    let mut script = Script::start(info(100, 5), true, |_| {});
    script.ready(Bitfield::new(100));
    let peer = script.open_seed();
    assert!(script.asked_of(peer).is_empty());
    script.credit(0, 3 * (u64::from(BLOCK) + 13) + 100);
    assert_eq!(script.asked_of(peer).len(), 3);
}

#[test]
fn a_refusing_disk_loses_nothing_and_stops_the_asking() {
    let mut script = Script::with(10, []);
    let seed = script.open_seed();
    let asked = script.asked_of(seed);
    let first = asked[0].piece;
    for &block in asked.iter().filter(|block| block.piece == first) {
        script.block(seed, block, 1);
    }
    let (piece, blocks, _) = stores(script.effects()).remove(0);
    let outcome = StoreOutcome::Failed { blocks, reason: "disk full".to_owned() };
    script.feed(Event::Stored { piece, outcome });
    let effects = script.effects();
    assert!(effects.iter().any(|e| matches!(e, Effect::Notice(Notice::DiskTrouble { .. }))));
    assert!(script.swarm.progress().disk_trouble);
    script.pass(Duration::from_secs(2));
    let effects = script.effects();
    let opened: BTreeSet<_> = effects
        .iter()
        .filter_map(|e| if let Effect::Grant { block, .. } = e { Some(block.piece) } else { None })
        .collect();
    let before: BTreeSet<_> = asked.iter().map(|block| block.piece).collect();
    assert!(opened.is_subset(&before), "no piece is begun: {opened:?}");
    let retried = stores(effects);
    assert_eq!(retried.len(), 1);
    assert_eq!(retried[0].1.len(), 2, "the payload is the one that came");
    script.written(piece.0, &[]);
    assert!(script.effects().iter().any(|e| matches!(e, Effect::Notice(Notice::DiskRecovered))));
    finish(&mut script, seed);
}

#[test]
fn who_only_serves_asks_for_nothing_also_when_a_piece_is_lost() {
    let mut script = Script::start(info(10, 5), true, |config| config.serve_only = true);
    let mut have = Bitfield::full(10);
    have.unset(PieceIndex(4));
    script.ready(have);
    script.credit(Credit::UNLIMITED, Credit::UNLIMITED);
    let seed = script.open_seed();
    script.feed(Event::Lost(PieceIndex(2)));
    script.pass(Duration::from_secs(30));
    assert!(script.asked_of(seed).is_empty());
    assert_eq!(script.swarm.progress().pieces_done, 8);
}

#[test]
fn a_disk_that_cannot_sync_stops_the_asking_until_it_can() {
    let mut script = Script::with(10, []);
    let seed = script.open_seed();
    let asked = script.asked_of(seed);
    let before: BTreeSet<_> = asked.iter().map(|block| block.piece).collect();
    script.feed(Event::SyncFailing(true));
    assert!(script.swarm.progress().disk_trouble);
    for &block in &asked {
        script.block(seed, block, 1);
    }
    for (piece, ..) in stores(script.effects()) {
        script.written(piece.0, &[]);
    }
    script.pass(Duration::from_secs(2));
    let begun: BTreeSet<_> = script.asked_of(seed).iter().map(|block| block.piece).collect();
    assert!(begun.is_subset(&before), "no piece is begun: {begun:?}");
    script.feed(Event::SyncFailing(false));
    finish(&mut script, seed);
}

#[test]
fn metadata_comes_from_a_peer_and_the_same_peer_gives_the_pieces() {
    let mut script = Script::start(info(4, 5), false, |_| {});
    script.credit(Credit::UNLIMITED, Credit::UNLIMITED);
    let peer = script.join();
    script.say(peer, Message::HaveAll).say(peer, Message::Unchoke).say_metadata_size(peer);
    let asked = script.sent_to(peer);
    assert!(asked.iter().any(|m| matches!(m, Message::Extended { id: 9, .. })), "{asked:?}");
    let data = script.info.bytes().to_vec();
    script.metadata(peer, MetadataMessage::Data { piece: 0, total_size: data.len() as u64, data });
    assert!(script.effects().iter().any(|e| matches!(e, Effect::Metadata { .. })));
    script.ready(Bitfield::new(4));
    assert!(!script.asked_of(peer).is_empty());
}

#[test]
fn a_wrong_info_dictionary_is_blamed_on_its_sender() {
    let mut script = Script::start(info(4, 5), false, |_| {});
    let peer = script.join();
    script.say_metadata_size(peer);
    let mut data = script.info.bytes().to_vec();
    data[20] ^= 1;
    script.metadata(peer, MetadataMessage::Data { piece: 0, total_size: data.len() as u64, data });
    assert_eq!(disconnected(&script.effects(), peer), Some(DisconnectReason::Corrupt));
}

#[test]
fn a_sole_sender_of_a_corrupt_piece_is_banned_and_the_piece_is_fetched_again() {
    let mut script = Script::with(1, []);
    let liar = script.open_seed();
    for block in script.asked_of(liar) {
        script.block(liar, block, 1);
    }
    script.log.clear();
    script.corrupt(0, &[1, 1]);
    let effects = script.effects();
    assert_eq!(disconnected(&effects, liar), Some(DisconnectReason::Corrupt));
    assert_eq!(script.swarm.progress().pieces_done, 0);
    let honest = script.open_seed();
    assert_eq!(script.asked_of(honest).len(), 2);
    // The liar does not come back, neither by its address nor by its id.
    let back = script.join_as([1; 20], true);
    assert_eq!(disconnected(&script.effects(), back), Some(DisconnectReason::Banned));
}

#[test]
fn of_two_senders_only_the_liar_is_banned_once_the_piece_is_right() {
    let mut script = Script::with(1, []);
    let first = script.open_seed();
    let asked = script.asked_of(first);
    script.block(first, asked[0], 10);
    let second = script.open_seed();
    script.pass(Duration::from_secs(2));
    script.block(second, asked[1], 66);
    script.log.clear();
    script.corrupt(0, &[10, 66]);
    let effects = script.effects();
    assert!(disconnected(&effects, first).is_none() && disconnected(&effects, second).is_none());
    for &block in &asked {
        script.block(first, block, 10);
    }
    let (_, _, digests) = stores(script.effects()).remove(0);
    assert!(digests, "the digests of the right piece are asked for");
    script.written(0, &[10, 10]);
    let effects = script.effects();
    assert_eq!(disconnected(&effects, second), Some(DisconnectReason::Corrupt));
    assert!(
        !effects.iter().any(|e| matches!(e, Effect::Notice(Notice::Banned { addr, .. }) if *addr == Script::addr(0)))
    );
}

#[test]
fn a_seed_hears_of_the_last_piece_before_it_is_left() {
    let mut script = Script::with(2, [0]);
    let seed = script.open_seed();
    for block in script.asked_of(seed) {
        script.block(seed, block, 1);
    }
    script.effects();
    script.written(1, &[]);
    let effects = script.effects();
    let told = effects.iter().position(|e| matches!(e, Effect::Send { message: Message::Have(1), .. }));
    let left = effects.iter().position(|e| matches!(e, Effect::Disconnect { .. }));
    assert!(told.is_some() && told < left, "{effects:?}");
}

#[test]
fn a_piece_that_could_not_be_synced_is_fetched_again() {
    let mut script = Script::with(2, [0, 1]);
    let leech = script.join();
    let handshake = ExtendedHandshake { upload_only_id: Some(3), ..ExtendedHandshake::default() };
    script.say(leech, Message::Extended { id: 0, message: Extended::Handshake(handshake) });
    script.effects();
    script.feed(Event::Lost(PieceIndex(1))).feed(Event::Lost(PieceIndex(1)));
    let said = Message::Extended { id: 3, message: Extended::UploadOnly(false) };
    assert_eq!(script.sent_to(leech).iter().filter(|message| **message == said).count(), 1);
    let progress = script.swarm.progress();
    assert!(!progress.complete && progress.pieces_done == 1);
    let seed = script.open_seed();
    assert_eq!(script.asked_of(seed).len(), 2);
}
