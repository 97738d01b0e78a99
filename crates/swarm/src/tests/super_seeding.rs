//! Claims about a sole source that shows each leech other pieces (BEP 16).

use super::script::*;
use crate::*;
use shoal_wire::{Extended, ExtendedHandshake, Message};
use std::time::Duration;

/// A source of so many pieces, with slots for all.
fn source(pieces: u64) -> Script {
    Script::with(pieces, 0..pieces as u32)
}

/// A leech that speaks all the extensions that matter here; with what it heard when it came.
fn leech(script: &mut Script, n: u8) -> (PeerKey, Vec<Message>) {
    let extensions =
        ExtendedHandshake { lt_donthave: Some(7), upload_only_id: Some(3), ..ExtendedHandshake::default() };
    let peer = script.join_at(&format!("10.0.1.{n}:6881"), Direction::Incoming, extensions);
    script.say(peer, Message::HaveNone).say(peer, Message::Interested);
    let heard = script.sent_to(peer);
    (peer, heard)
}

fn shown(heard: &[Message]) -> Vec<u32> {
    heard.iter().filter_map(|message| if let Message::Have(piece) = message { Some(*piece) } else { None }).collect()
}

/// Asks for these pieces and takes the blocks that are ordered; returns what it heard meanwhile.
fn fetch(script: &mut Script, peer: PeerKey, pieces: &[u32]) -> Vec<Message> {
    let mut heard = Vec::new();
    for &piece in pieces {
        let length = script.info.layout().piece_size(shoal_layout::PieceIndex(piece));
        script.say(peer, Message::Request(raw(piece, 0, BLOCK)));
        script.say(peer, Message::Request(raw(piece, BLOCK, length - BLOCK)));
        for effect in script.effects() {
            match effect {
                Effect::Upload { peer, block } => _ = script.feed(Event::Uploaded { peer, block }),
                Effect::Send { peer: to, message } if to == peer => heard.push(message),
                _ => {}
            }
        }
        script.say(peer, Message::Have(piece));
        heard.extend(script.sent_to(peer));
    }
    heard
}

#[test]
fn leeches_see_nothing_at_first_then_each_other_pieces_and_the_first_ones_first() {
    let mut script = source(20);
    let (a, heard) = leech(&mut script, 1);
    assert!(heard.contains(&Message::HaveNone), "{heard:?}");
    let first = shown(&heard);
    let (b, heard) = leech(&mut script, 2);
    let second = shown(&heard);
    assert_eq!((first.as_slice(), second.as_slice()), ([0].as_slice(), [1].as_slice()));
    let third = shown(&fetch(&mut script, a, &first));
    let fourth = shown(&fetch(&mut script, b, &second));
    let all: Vec<u32> = [first, second, third, fourth].concat();
    assert_eq!(all, (0..all.len() as u32).collect::<Vec<_>>(), "each piece once, in order");
    assert!(all.len() >= 4, "{all:?}");
}

#[test]
fn one_that_stays_alone_is_shown_all_and_who_comes_then_is_not() {
    let mut script = source(20);
    let (a, heard) = leech(&mut script, 1);
    let early = shown(&heard);
    script.pass(Duration::from_secs(4));
    let late = script.sent_to(a);
    assert_eq!(early.len() + shown(&late).len(), 20);
    assert!(late.contains(&Message::Extended { id: 3, message: Extended::UploadOnly(true) }), "{late:?}");
    let (_, heard) = leech(&mut script, 2);
    assert!(heard.contains(&Message::HaveNone), "{heard:?}");
    assert_eq!(shown(&heard).len(), 1);
}

#[test]
fn who_asks_for_nothing_of_what_it_is_shown_sees_all() {
    let mut script = source(20);
    let (picky, mut heard) = leech(&mut script, 1);
    let (other, _) = leech(&mut script, 2);
    for piece in 1..5 {
        script.pass(Duration::from_secs(2));
        heard.extend(script.sent_to(picky));
        fetch(&mut script, other, &[piece]);
    }
    heard.extend(script.sent_to(picky));
    let mut seen = shown(&heard);
    seen.sort_unstable();
    assert_eq!(seen, (0..20).collect::<Vec<_>>());
    assert!(script.swarm.is_super_seeding(), "the other one goes on as before");
}

#[test]
fn a_source_that_hides_what_it_has_says_so_and_is_a_full_copy_to_wait_for() {
    let mut script = source(20);
    let says = |heard: &[Message]| {
        heard.iter().any(
            |message| matches!(message, Message::Extended { message: Extended::Handshake(h), .. } if h.super_seeding),
        )
    };
    let (_, heard) = leech(&mut script, 1);
    assert!(says(&heard), "{heard:?}");

    let mut script = Script::with(20, 0..3);
    let extensions = ExtendedHandshake { super_seeding: true, ..ExtendedHandshake::default() };
    let peer = script.join_at("10.0.1.1:6881", Direction::Incoming, extensions);
    script.say(peer, Message::HaveNone);
    assert_eq!(script.swarm.progress().seeds, 1);
    let reason = script.swarm.situation(&Surroundings::default()).reason();
    assert!(matches!(reason, Some(Reason::Choked { peers: 1 })), "{reason:?}");
    script.join_at("10.0.1.2:6881", Direction::Incoming, ExtendedHandshake::default());
    script.feed(Event::Disconnected { peer }).pass(Duration::from_secs(4));
    assert_eq!(script.swarm.progress().seeds, 0);
    let reason = script.swarm.situation(&Surroundings::default()).reason();
    assert!(matches!(reason, Some(Reason::MissingPieces { .. })), "{reason:?}");
}

#[test]
fn who_gets_nothing_from_others_sees_all_and_who_trades_does_not() {
    for trades in [false, true] {
        let mut script = source(40);
        let (a, heard) = leech(&mut script, 1);
        let (b, _) = leech(&mut script, 2);
        let mut seen = shown(&heard);
        for second in 0..12 {
            fetch(&mut script, b, &[39 - second]);
            let next = seen[second as usize];
            seen.extend(shown(&fetch(&mut script, a, &[next])));
            if trades && second == 5 {
                script.say(a, Message::Have(39));
            }
            script.pass(Duration::from_secs(1));
            seen.extend(shown(&script.sent_to(a)));
        }
        // Not those that it has.
        assert_eq!(seen.len() >= 39, !trades, "trades: {trades}, sees {seen:?}");
    }
}

#[test]
fn of_a_private_torrent_nothing_is_hidden_and_leeches_are_advised() {
    let info = private_info(20);
    let mut script = Script::start(info, true, |_| {});
    script.ready(shoal_pieces::Bitfield::full(20)).credit(Credit::UNLIMITED, Credit::UNLIMITED);
    let (a, first) = leech(&mut script, 1);
    let (b, second) = leech(&mut script, 2);
    assert!(first.contains(&Message::HaveAll) && second.contains(&Message::HaveAll), "{first:?}, {second:?}");
    script.pass(Duration::from_secs(1));
    let effects = script.effects();
    let advised = |to: PeerKey| {
        effects.iter().find_map(|effect| match effect {
            Effect::Send { peer, message: Message::Suggest(piece) } if *peer == to => Some(*piece),
            _ => None,
        })
    };
    assert!(advised(a).is_some() && advised(b).is_some() && advised(a) != advised(b), "{effects:?}");
}

#[test]
fn another_seed_or_a_lost_piece_ends_it_at_once() {
    for seed_comes in [true, false] {
        let mut script = source(20);
        let (a, _) = leech(&mut script, 1);
        leech(&mut script, 2);
        assert!(script.swarm.is_super_seeding());
        if seed_comes {
            script.open_seed();
            script.pass(Duration::from_secs(1));
        } else {
            script.say(a, Message::Request(raw(0, 0, BLOCK)));
            let ordered = script.effects().into_iter().find_map(|effect| match effect {
                Effect::Upload { peer, block } => Some((peer, block)),
                _ => None,
            });
            let (peer, block) = ordered.expect("the block that was asked for");
            script.feed(Event::UploadFailed { peer, block, lost: true });
        }
        assert!(!script.swarm.is_super_seeding(), "a seed comes: {seed_comes}");
        assert!(shown(&script.sent_to(a)).len() >= 18, "a seed comes: {seed_comes}");
    }
}

#[test]
fn one_that_needs_nothing_is_told_that_we_need_nothing_either() {
    let mut script = source(20);
    let (a, _) = leech(&mut script, 1);
    leech(&mut script, 2);
    script
        .say(a, Message::Extended { id: shoal_wire::extension_ids::UPLOAD_ONLY, message: Extended::UploadOnly(true) });
    let effects = script.effects();
    let told = |effect: &&Effect<Mark>| matches!(effect, Effect::Send { peer, message: Message::Extended { message: Extended::UploadOnly(true), .. } } if *peer == a);
    assert!(effects.iter().any(|effect| told(&effect)), "it would come back: {effects:?}");
    assert_eq!(disconnected(&effects, a), Some(DisconnectReason::Uninteresting));
}
