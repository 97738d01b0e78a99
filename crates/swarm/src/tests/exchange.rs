//! Claims about peers that are told to peers, about full swarms and about private ones.

use super::script::*;
use crate::*;
use shoal_metainfo::Info;
use shoal_pieces::Bitfield;
use shoal_wire::{Extended, ExtendedHandshake, Message, PexMessage, PexPeer};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

const PEX: u8 = 77;

fn speaks_pex() -> ExtendedHandshake {
    ExtendedHandshake { ut_pex: Some(PEX), ..ExtendedHandshake::default() }
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Takes the log, and of it what this peer was told of others.
fn told(script: &mut Script, peer: PeerKey) -> Vec<PexMessage> {
    let pex = |message| match message {
        Message::Extended { id, message: Extended::Pex(pex) } => {
            assert_eq!(id, PEX);
            Some(pex)
        }
        _ => None,
    };
    script.sent_to(peer).into_iter().filter_map(pex).collect()
}

fn name(script: &mut Script, peer: PeerKey, named: impl IntoIterator<Item = SocketAddr>) {
    let added = named.into_iter().map(|addr| PexPeer { addr, flags: 0 }).collect();
    let message = Extended::Pex(PexMessage { added, dropped: Vec::new() });
    script.say(peer, Message::Extended { id: 2, message });
}

fn dialed(script: &mut Script) -> Vec<SocketAddr> {
    let dial = |effect| if let Effect::Dial { addr } = effect { Some(addr) } else { None };
    script.effects().into_iter().filter_map(dial).collect()
}

/// What we offered this peer in our extension handshake. Takes the log.
fn offered(script: &mut Script, peer: PeerKey) -> ExtendedHandshake {
    let ours = |message| match message {
        Message::Extended { message: Extended::Handshake(handshake), .. } => Some(handshake),
        _ => None,
    };
    script.sent_to(peer).into_iter().find_map(ours).expect("an extension handshake")
}

/// A swarm that knows its metadata and has nothing.
fn started(info: Arc<Info>, change: impl FnOnce(&mut SwarmConfig)) -> Script {
    let mut script = Script::start(info.clone(), true, change);
    script.ready(Bitfield::new(info.layout().pieces()));
    script
}

#[test]
fn peers_hear_of_each_other_soon_then_of_changes_once_a_minute() {
    let mut script = started(info(4, 5), |_| {});
    let first = script.join_at("9.0.0.1:1500", Direction::Outgoing, speaks_pex());
    let port = ExtendedHandshake { port: Some(7_000), upload_only: true, ..ExtendedHandshake::default() };
    let second = script.join_at("9.0.0.2:50000", Direction::Incoming, port);
    let silent = script.join_at("9.0.0.3:50000", Direction::Incoming, ExtendedHandshake::default());
    script.pass(Duration::from_secs(4));
    let said = told(&mut script, first);
    // Who dialed us and did not say where it listens cannot be dialed: it is not named.
    assert_eq!(
        said,
        [PexMessage { added: vec![PexPeer { addr: addr("9.0.0.2:7000"), flags: 0x02 }], dropped: vec![] }]
    );
    script.feed(Event::Disconnected { peer: second }).feed(Event::Disconnected { peer: silent });
    let third = script.join_at("[2600::1]:9000", Direction::Outgoing, speaks_pex());
    script.pass(Duration::from_secs(50));
    assert_eq!(told(&mut script, first), [], "a minute has not passed");
    script.pass(Duration::from_secs(10));
    let added = vec![PexPeer { addr: addr("[2600::1]:9000"), flags: 0x10 }];
    assert_eq!(told(&mut script, first), [PexMessage { added, dropped: vec![addr("9.0.0.2:7000")] }]);
    script.pass(Duration::from_secs(110));
    assert_eq!(told(&mut script, first), [], "nothing changed");
    assert_eq!(told(&mut script, third), [], "the log was taken");
}

#[test]
fn long_lists_go_out_in_parts_of_fifty() {
    let mut script = started(info(4, 5), |config| config.max_peers = 200);
    let first = script.join_at("9.0.0.1:1500", Direction::Outgoing, speaks_pex());
    let others: Vec<PeerKey> = (0..120)
        .map(|n| script.join_at(&format!("9.1.{n}.1:1500"), Direction::Outgoing, ExtendedHandshake::default()))
        .collect();
    script.pass(Duration::from_secs(150));
    let parts: Vec<usize> = told(&mut script, first).iter().map(|said| said.added.len()).collect();
    script.say(first, Message::KeepAlive);
    assert_eq!(parts, [50, 50, 20]);
    for peer in others {
        script.feed(Event::Disconnected { peer });
    }
    script.pass(Duration::from_secs(170));
    let parts: Vec<usize> = told(&mut script, first).iter().map(|said| said.dropped.len()).collect();
    assert_eq!(parts, [50, 50, 20]);
}

#[test]
fn what_a_peer_names_is_dialed_within_bounds_and_a_flood_ends_the_connection() {
    let mut script = started(info(4, 5), |_| {});
    let peer = script.join_at("9.0.0.1:1500", Direction::Outgoing, speaks_pex());
    script.log.clear();
    // Two ports of one address, a privileged port and nobody's address are left out.
    let named = ["8.0.0.1:5000", "8.0.0.1:5001", "8.0.0.2:80", "0.0.0.0:5000", "239.1.1.1:5000", "8.0.0.3:5000"];
    name(&mut script, peer, named.map(addr));
    let mut found = dialed(&mut script);
    found.sort();
    assert_eq!(found, [addr("8.0.0.1:5000"), addr("8.0.0.3:5000")]);
    name(&mut script, peer, [addr("8.0.0.4:5000")]);
    assert_eq!(dialed(&mut script), [], "too soon after the last");
    for _ in 0..10 {
        name(&mut script, peer, [addr("8.0.0.5:5000")]);
    }
    let reason = Some(DisconnectReason::Protocol("floods peer exchange"));
    assert_eq!(disconnected(&script.effects(), peer), reason);
}

#[test]
fn more_than_fifty_of_a_message_are_not_taken() {
    let mut script = started(info(4, 5), |_| {});
    let peer = script.join_at("9.0.0.1:1500", Direction::Outgoing, speaks_pex());
    script.log.clear();
    name(&mut script, peer, (0..200).map(|n| addr(&format!("8.1.{n}.1:5000"))));
    let mut found = Vec::new();
    for second in 0..100 {
        let wave = dialed(&mut script);
        for &addr in &wave {
            script.feed(Event::DialFailed { addr, failure: DialFailure::Silent });
        }
        found.extend(wave);
        script.now = shoal_machine::Time::from_secs(second);
    }
    found.sort();
    found.dedup();
    assert_eq!(found.len(), 50);
}

#[test]
fn a_private_torrent_neither_offers_nor_sends_nor_hears_peer_exchange() {
    let mut script = started(private_info(4), |_| {});
    let first = script.join_at("9.0.0.1:1500", Direction::Outgoing, speaks_pex());
    assert_eq!(offered(&mut script, first).ut_pex, None);
    let second = script.join_at("9.0.0.2:1500", Direction::Outgoing, speaks_pex());
    script.pass(Duration::from_secs(200));
    assert_eq!(told(&mut script, first), []);
    name(&mut script, second, [addr("8.0.0.1:5000")]);
    for source in [Source::Dht, Source::Lan, Source::Pex] {
        script.feed(Event::Found { source, addrs: vec![addr("8.0.0.2:5000")] });
    }
    script.pass(Duration::from_secs(5));
    assert_eq!(dialed(&mut script), []);
    script.feed(Event::Found { source: Source::Tracker, addrs: vec![addr("8.0.0.3:5000")] });
    assert_eq!(dialed(&mut script), [addr("8.0.0.3:5000")]);
}

#[test]
fn once_the_metadata_says_private_whom_others_named_is_let_go() {
    let info = private_info(4);
    let mut script = Script::start(info.clone(), false, |_| {});
    script.feed(Event::Found { source: Source::Dht, addrs: vec![addr("9.0.0.1:1500"), addr("9.0.0.3:1500")] });
    script.feed(Event::Found { source: Source::Tracker, addrs: vec![addr("9.0.0.2:1500")] });
    let public = script.join_at("9.0.0.1:1500", Direction::Outgoing, speaks_pex());
    assert_eq!(offered(&mut script, public).ut_pex, Some(2), "nothing is known yet");
    let named = script.join_at("9.0.0.2:1500", Direction::Outgoing, speaks_pex());
    script.say_metadata_size(named);
    script.metadata(
        named,
        shoal_wire::MetadataMessage::Data {
            piece: 0,
            total_size: info.bytes().len() as u64,
            data: info.bytes().to_vec(),
        },
    );
    assert!(script.effects().iter().any(|effect| matches!(effect, Effect::Metadata { .. })));
    // The metadata is here and not yet read: nobody is told, nobody new is dialed.
    script.feed(Event::Found { source: Source::Dht, addrs: vec![addr("9.0.0.4:1500")] });
    assert!(!script.swarm.wants_dial(addr("9.0.0.3:1500")), "a dial that has not gone out does not go out");
    script.pass(Duration::from_secs(100));
    let effects = script.effects();
    let tells = |message: &Message| matches!(message, Message::Extended { message: Extended::Pex(_), .. });
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Dial { .. })), "{effects:?}");
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Send { message, .. } if tells(message))));
    script.ready(Bitfield::new(4));
    let effects = script.effects();
    assert_eq!(disconnected(&effects, public), Some(DisconnectReason::Private), "{effects:?}");
    assert_eq!(disconnected(&effects, named), None);
    script.feed(Event::Disconnected { peer: public });
    // A dial that was out already comes back.
    let late = script.join_at("9.0.0.3:1500", Direction::Outgoing, speaks_pex());
    assert_eq!(disconnected(&script.effects(), late), Some(DisconnectReason::Private));
    script.feed(Event::Disconnected { peer: late });
    script.pass(Duration::from_secs(700));
    assert!(dialed(&mut script).iter().all(|&tracked| tracked == addr("9.0.0.2:1500")));
}

#[test]
fn in_a_full_swarm_a_better_match_takes_the_place_of_an_idle_one_and_a_worse_does_not() {
    let ours = addr("123.213.32.10:6881");
    let mut script = started(info(4, 5), |config| {
        config.max_peers = 3;
        config.listen_port = Some(6881);
    });
    let mut addrs: Vec<SocketAddr> = (1..=9).map(|n| addr(&format!("{n}0.{n}.0.1:7000"))).collect();
    addrs.sort_by_key(|&other| crate::priority::priority(ours, other));
    let sees_us = || ExtendedHandshake { your_ip: Some(ours.ip()), ..speaks_pex() };
    let join = |script: &mut Script, n: usize| {
        let peer = script.join_at(&addrs[n].to_string(), Direction::Incoming, sees_us());
        disconnected(&script.effects(), peer).map_or(Ok(peer), Err)
    };
    let peers: Vec<PeerKey> = [4, 5, 6].map(|n| join(&mut script, n).unwrap()).to_vec();
    assert_eq!(join(&mut script, 8), Err(DisconnectReason::Full), "the others have just come");
    script.pass(Duration::from_secs(61));
    assert_eq!(join(&mut script, 1), Err(DisconnectReason::Full), "it is no better match");
    let better = script.join_at(&addrs[8].to_string(), Direction::Incoming, sees_us());
    let effects = script.effects();
    assert_eq!(disconnected(&effects, better), None);
    assert_eq!(disconnected(&effects, peers[0]), Some(DisconnectReason::Replaced));
}
