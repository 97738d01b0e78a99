//! Claims about whom a swarm dials, and how eagerly.

use super::script::*;
use crate::*;
use shoal_wire::{ExtendedHandshake, Message};
use std::net::SocketAddr;
use std::time::Duration;

/// A tracker names so many that may be dialed.
fn named(script: &mut Script, count: u8) {
    let addrs = (1..=count).map(|n| SocketAddr::from(([9, 0, n, 1], 6881))).collect();
    script.feed(Event::Found { source: Source::Tracker, addrs });
}

fn dialed(script: &mut Script) -> Vec<SocketAddr> {
    let dial = |effect| if let Effect::Dial { addr } = effect { Some(addr) } else { None };
    script.effects().into_iter().filter_map(dial).collect()
}

/// Whoever is at this address answers our dial and says what it has; its connection ends if it has everything, as we do.
fn answers(script: &mut Script, addr: SocketAddr, has_all: bool) {
    let peer = script.join_at(&addr.to_string(), Direction::Outgoing, ExtendedHandshake::default());
    if has_all {
        script.say(peer, Message::HaveAll).feed(Event::Disconnected { peer });
    } else {
        script.say(peer, Message::HaveNone).say(peer, Message::Interested);
    }
}

#[test]
fn one_who_has_everything_dials_ever_more_rarely_where_all_have_everything() {
    let mut script = Script::with(4, 0..4);
    named(&mut script, 120);
    let mut first = dialed(&mut script);
    assert_eq!(first.len(), 30, "one who begins with everything is in a hurry too");
    let mut dials = 0;
    while let Some(addr) = first.pop() {
        dials += 1;
        answers(&mut script, addr, true);
        first.extend(dialed(&mut script));
    }
    assert!((30..35).contains(&dials), "{dials} dials at once, all of them in vain");
    dials = 0;
    for _ in 0..60 {
        script.pass(Duration::from_secs(1));
        let dialed = dialed(&mut script);
        assert!(dialed.len() <= 1, "one at once");
        for addr in dialed {
            answers(&mut script, addr, true);
            dials += 1;
        }
    }
    assert!((6..=8).contains(&dials), "{dials} dials within a minute");
    // Somebody lacks something: there may be more of them.
    script.pass(Duration::from_secs(10));
    let next = dialed(&mut script);
    answers(&mut script, next[0], false);
    assert!(!dialed(&mut script).is_empty(), "the next goes out at once");
}

#[test]
fn one_that_lacks_something_dials_on_whoever_it_finds() {
    let mut script = Script::with(4, [0]);
    named(&mut script, 120);
    let mut all = 0;
    for _ in 0..4 {
        let dialed = dialed(&mut script);
        all += dialed.len();
        for addr in dialed {
            let peer = script.join_at(&addr.to_string(), Direction::Outgoing, ExtendedHandshake::default());
            script.feed(Event::Disconnected { peer });
        }
    }
    assert_eq!(all, 120);
}

#[test]
fn half_of_the_free_places_are_for_those_who_dial_us() {
    let mut script = Script::start(info(4, 5), true, |config| config.max_peers = 10);
    script.ready(shoal_pieces::Bitfield::new(4));
    named(&mut script, 40);
    let first = dialed(&mut script);
    assert_eq!(first.len(), 5);
    // Five come by themselves; those who were dialed find room all the same.
    for n in 0..5 {
        script.join_at(&format!("9.1.{n}.1:7000"), Direction::Incoming, ExtendedHandshake::default());
    }
    assert_eq!(dialed(&mut script), []);
    for addr in first {
        let peer = script.join_at(&addr.to_string(), Direction::Outgoing, ExtendedHandshake::default());
        assert_eq!(disconnected(&script.effects(), peer), None);
    }
    // The last free place is dialed for.
    assert_eq!(script.swarm.progress().peers, 10);
    script.feed(Event::Disconnected { peer: PeerKey(0) });
    assert_eq!(dialed(&mut script).len(), 1);
}
