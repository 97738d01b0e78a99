//! Claims about peers that no tracker names: what is ordered, and what is told of our DHT node.

use super::script::*;
use crate::*;
use shoal_metainfo::Info;
use shoal_pieces::Bitfield;
use shoal_wire::{Handshake, Message};
use std::sync::Arc;
use std::time::Duration;

fn private_info() -> Arc<Info> {
    let mut bytes = format!("d6:lengthi{PIECE}e4:name1:a12:piece lengthi{PIECE}e6:pieces20:").into_bytes();
    bytes.extend([7; 20]);
    bytes.extend(b"7:privatei1ee");
    Arc::new(Info::parse(&bytes).unwrap().0)
}

fn start(info: Arc<Info>) -> Script {
    let mut script = Script::start(info, true, |config| {
        (config.dht, config.dht_port, config.lan) = (true, Some(7_000), true);
    });
    let pieces = script.info.layout().pieces();
    script.ready(Bitfield::new(pieces));
    script
}

fn orders(script: &mut Script) -> Vec<(Via, bool, bool)> {
    let effects = script.effects().into_iter();
    effects
        .filter_map(|effect| match effect {
            Effect::Seek { via, announce, hurry } => Some((via, announce, hurry)),
            _ => None,
        })
        .collect()
}

/// A peer whose handshake says that it runs a DHT node.
fn join_with_node(script: &mut Script) -> PeerKey {
    let peer = PeerKey(77);
    let handshake = Handshake::new(script.info.hashes().wire(), [b'n'; 20], false, true);
    let addr = Script::addr(77);
    script.feed(Event::Connected { peer, addr, direction: Direction::Incoming, handshake });
    peer
}

fn told_ports(script: &mut Script) -> Vec<u16> {
    let effects = script.effects().into_iter();
    effects
        .filter_map(|effect| match effect {
            Effect::Send { message: Message::Port(port), .. } => Some(port),
            _ => None,
        })
        .collect()
}

#[test]
fn one_who_lacks_something_looks_for_peers_in_a_hurry_and_dials_what_is_found() {
    let mut script = start(info(4, 0));
    assert_eq!(orders(&mut script), [(Via::Dht, true, true), (Via::Lan, true, true)]);
    let addr = "1.2.3.4:6881".parse().unwrap();
    script.feed(Event::Found { source: Source::Dht, addrs: vec![addr] });
    assert!(script.effects().iter().any(|effect| matches!(effect, Effect::Dial { addr: dialed } if *dialed == addr)));
    let sought = Sought { responders: 8, peers: 1, announced: 8, nodes: 100 };
    script.feed(Event::Sought { via: Via::Dht, result: Ok(sought) });
    let status = script.swarm.seeking().next().unwrap();
    assert_eq!((status.via, status.last, status.in_flight), (Via::Dht, Some(Ok(&sought)), false));
    script.pass(Duration::from_secs(100));
    assert_eq!(orders(&mut script), [(Via::Dht, true, true)], "for want of peers");
}

#[test]
fn one_who_has_everything_only_wants_to_be_found() {
    let info = info(4, 0);
    let mut script = Script::start(info, true, |config| config.dht = true);
    let mut have = Bitfield::new(4);
    for piece in 0..4 {
        have.set(shoal_layout::PieceIndex(piece));
    }
    script.ready(have);
    assert_eq!(orders(&mut script), [(Via::Dht, true, false)]);
}

#[test]
fn a_private_torrent_looks_nowhere_and_tells_nobody_of_our_node() {
    let mut script = start(private_info());
    let peer = join_with_node(&mut script);
    script.say(peer, Message::Port(9_000));
    script.pass(Duration::from_secs(10_000));
    let effects = script.effects();
    assert!(!effects.iter().any(|effect| matches!(
        effect,
        Effect::Seek { .. } | Effect::DhtNode { .. } | Effect::Send { message: Message::Port(_), .. }
    )));
}

#[test]
fn a_peer_with_a_node_hears_of_ours_and_is_believed_once() {
    let mut script = start(info(4, 0));
    let plain = script.join();
    assert!(told_ports(&mut script).is_empty(), "{plain:?} has no node");
    let peer = join_with_node(&mut script);
    assert_eq!(told_ports(&mut script), [7_000]);
    for port in [9_000, 9_001, 0] {
        script.say(peer, Message::Port(port));
    }
    let nodes: Vec<_> = script
        .effects()
        .into_iter()
        .filter_map(|effect| match effect {
            Effect::DhtNode { addr } => Some(addr),
            _ => None,
        })
        .collect();
    assert_eq!(nodes, [std::net::SocketAddr::new(Script::addr(77).ip(), 9_000)]);
}

#[test]
fn nothing_is_looked_for_after_a_stop() {
    let mut script = start(info(4, 0));
    script.effects();
    script.feed(Event::Stop);
    script.feed(Event::Sought { via: Via::Dht, result: Err(SourceError::new(SourceErrorKind::Silent, "cut short")) });
    script.pass(Duration::from_secs(10_000));
    assert!(orders(&mut script).is_empty());
}
