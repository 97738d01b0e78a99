//! Bugs that the simulator's fault seeds found, each as a small test.

use super::script::*;
use crate::*;
use shoal_pieces::Bitfield;
use shoal_wire::{Extended, ExtendedHandshake, Message};
use std::time::Duration;

#[test]
fn one_that_keeps_fewer_requests_than_we_begin_with_is_asked_for_no_more() {
    for reqq in 0..6 {
        let mut script = Script::with(8, []);
        let peer = script.join();
        let handshake = ExtendedHandshake { reqq: Some(reqq), ..ExtendedHandshake::default() };
        script.say(peer, Message::Extended { id: 0, message: Extended::Handshake(handshake) });
        script.say(peer, Message::HaveAll).say(peer, Message::Unchoke);
        // A queue of nothing would mean that nothing can be asked: one is.
        assert_eq!(script.asked_of(peer).len() as u32, reqq.clamp(1, 6), "reqq {reqq}");
    }
}

#[test]
fn what_waits_of_a_piece_that_is_lost_is_rejected() {
    let mut script = Script::start(info(40, 5), true, |_| {});
    script.ready(Bitfield::full(40));
    let peer = script.join();
    script.say(peer, Message::HaveNone).say(peer, Message::Interested);
    // Without credit it waits.
    script.say(peer, Message::Request(raw(2, 0, BLOCK))).say(peer, Message::Request(raw(3, 0, BLOCK)));
    script.effects();
    script.feed(Event::Lost(shoal_layout::PieceIndex(2)));
    let rejected: Vec<_> =
        script.sent_to(peer).into_iter().filter(|message| matches!(message, Message::Reject(_))).collect();
    assert_eq!(rejected, [Message::Reject(raw(2, 0, BLOCK))]);
}

#[test]
fn one_that_was_banned_when_it_dialed_us_is_not_dialed_when_somebody_names_it() {
    let mut script = Script::with(4, []);
    let addr = "9.0.0.7:6881";
    let extensions = ExtendedHandshake { port: Some(6881), ..ExtendedHandshake::default() };
    let liar = script.join_at("9.0.0.7:50000", Direction::Incoming, extensions);
    script.say(liar, Message::Request(raw(0, u32::MAX, BLOCK)));
    assert!(disconnected(&script.effects(), liar).is_some());
    script.feed(Event::Disconnected { peer: liar });
    script.feed(Event::Found { source: Source::Tracker, addrs: vec![addr.parse().unwrap()] });
    script.pass(Duration::from_secs(600));
    assert!(!script.effects().iter().any(|effect| matches!(effect, Effect::Dial { .. })));
}

#[test]
fn places_that_are_taken_by_those_who_have_nothing_are_given_to_others() {
    let mut script = Script::start(info(4, 5), true, |config| config.max_peers = 2);
    script.ready(Bitfield::new(4));
    for _ in 0..2 {
        let peer = script.join();
        script.say(peer, Message::HaveNone);
    }
    script.pass(Duration::from_secs(90));
    let effects = script.effects();
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Disconnect { .. })), "there is nobody else");
    script.feed(Event::Found { source: Source::Tracker, addrs: vec!["9.0.0.7:6881".parse().unwrap()] });
    script.pass(Duration::from_secs(10));
    let effects = script.effects();
    let replaced =
        |effect: &Effect<Mark>| matches!(effect, Effect::Disconnect { reason: DisconnectReason::Replaced, .. });
    assert_eq!(effects.iter().filter(|effect| replaced(effect)).count(), 1, "{effects:?}");
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Dial { .. })), "{effects:?}");
}

#[test]
fn what_comes_from_one_who_was_let_go_counts_as_wasted() {
    let mut script = Script::with(4, []);
    let peer = script.open_seed();
    script.say(peer, Message::Have(77));
    assert!(disconnected(&script.effects(), peer).is_some());
    script.feed(Event::Unrequested { peer, block: raw(0, 0, BLOCK) });
    assert_eq!(script.swarm.progress().wasted, u64::from(BLOCK));
}

#[test]
fn one_that_unchokes_and_rejects_everything_is_let_go() {
    let mut script = Script::with(4, []);
    let peer = script.open_seed();
    for _ in 0..5 {
        let effects = script.effects();
        if let Some(reason) = disconnected(&effects, peer) {
            return assert_eq!(reason, DisconnectReason::Idle);
        }
        for effect in effects {
            if let Effect::Send { message: Message::Request(asked), .. } = effect {
                script.say(peer, Message::Reject(asked));
            }
        }
        script.pass(Duration::from_secs(1));
    }
    panic!("it is still asked");
}
