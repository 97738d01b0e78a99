//! Claims about serving.

use super::script::*;
use crate::*;
use shoal_wire::{Extended, Message, MetadataMessage};
use std::collections::BTreeSet;
use std::time::Duration;

fn uploads(effects: &[Effect<Mark>], to: PeerKey) -> usize {
    effects.iter().filter(|e| matches!(e, Effect::Upload { peer, .. } if *peer == to)).count()
}

/// The driver has sent what was ordered.
fn report_sent(script: &mut Script, effects: Vec<Effect<Mark>>) {
    for effect in effects {
        if let Effect::Upload { peer, block } = effect {
            script.feed(Event::Uploaded { peer, block });
        }
    }
}

/// A leech that we unchoked.
fn open_leech(script: &mut Script) -> PeerKey {
    let peer = script.join();
    script.say(peer, Message::HaveNone).say(peer, Message::Interested);
    let sent = script.sent_to(peer);
    assert!(sent.contains(&Message::Unchoke), "a free slot is given at once: {sent:?}");
    peer
}

#[test]
fn a_choked_peer_is_sent_no_blocks_but_a_reject() {
    let mut script = Script::with(40, 0..40);
    // As the only source we grant nothing.
    let first = script.join();
    script.say(first, Message::HaveAll);
    assert!(!script.sent_to(first).iter().any(|m| matches!(m, Message::AllowedFast(_))));
    let peer = script.join();
    script.say(peer, Message::HaveNone);
    let granted: Vec<u32> = script
        .sent_to(peer)
        .into_iter()
        .filter_map(|m| if let Message::AllowedFast(p) = m { Some(p) } else { None })
        .collect();
    let other = (0..40).find(|piece| !granted.contains(piece)).unwrap();
    script.say(peer, Message::Request(raw(other, 0, BLOCK)));
    let effects = script.effects();
    assert_eq!(uploads(&effects, peer), 0);
    assert!(effects.iter().any(|e| matches!(e, Effect::Send { message: Message::Reject(_), .. })));
    // But for the pieces that it was allowed (BEP 6).
    script.say(peer, Message::Request(raw(granted[0], 0, BLOCK)));
    assert_eq!(uploads(&script.effects(), peer), 1);
}

#[test]
fn an_unchoked_peer_is_served_within_a_window_and_within_credit() {
    let mut script = Script::with(100, 0..100);
    let peer = open_leech(&mut script);
    for piece in 0..100 {
        script.say(peer, Message::Request(raw(piece, 0, BLOCK)));
    }
    let ordered = uploads(&script.effects(), peer);
    assert!((4..=32).contains(&ordered), "{ordered}");
    script.feed(Event::Uploaded { peer, block: script.info.layout().block(0, 0, BLOCK).unwrap() });
    assert_eq!(uploads(&script.effects(), peer), 1);
    assert_eq!(script.swarm.progress().uploaded, u64::from(BLOCK));

    let mut script = Script::start(info(10, 5), true, |_| {});
    script.ready(shoal_pieces::Bitfield::full(10));
    let peer = open_leech(&mut script);
    for piece in 0..9 {
        script.say(peer, Message::Request(raw(piece, 0, BLOCK)));
    }
    assert_eq!(uploads(&script.effects(), peer), 0);
    script.credit(2 * (u64::from(BLOCK) + 13), 0);
    assert_eq!(uploads(&script.effects(), peer), 2);
}

#[test]
fn short_credit_is_shared_among_those_who_wait() {
    let mut script = Script::start(info(20, 5), true, |_| {});
    script.ready(shoal_pieces::Bitfield::full(20));
    let peers = [open_leech(&mut script), open_leech(&mut script)];
    for piece in 0..10 {
        for peer in peers {
            script.say(peer, Message::Request(raw(piece, 0, BLOCK)));
        }
    }
    script.credit(16 * (u64::from(BLOCK) + 13), 0);
    let mut served = [0, 0];
    loop {
        let effects = script.effects();
        let ordered = peers.map(|peer| uploads(&effects, peer));
        if ordered == [0, 0] {
            break;
        }
        served = [served[0] + ordered[0], served[1] + ordered[1]];
        report_sent(&mut script, effects);
    }
    // A turn is as long as a piece, of two blocks: nobody is further ahead than that.
    assert!(served[0] + served[1] == 16 && served[0].abs_diff(served[1]) <= 2, "{served:?}");
}

#[test]
fn short_credit_gives_one_peer_a_whole_piece_before_the_next() {
    let mut script = Script::start(info(20, 5), true, |_| {});
    script.ready(shoal_pieces::Bitfield::full(20));
    let peers = [open_leech(&mut script), open_leech(&mut script)];
    for (number, &peer) in (0..).zip(&peers) {
        for begin in [0, BLOCK] {
            script.say(peer, Message::Request(raw(number, begin, BLOCK)));
        }
    }
    let cost = u64::from(BLOCK) + 13;
    let mut order = Vec::new();
    for _ in 0..4 {
        script.credit(cost, 0);
        let effects = script.effects();
        order.extend(peers.iter().position(|&peer| uploads(&effects, peer) == 1));
        report_sent(&mut script, effects);
    }
    assert!(order == [0, 0, 1, 1] || order == [1, 1, 0, 0], "{order:?}");
}

#[test]
fn turns_go_round_when_credit_comes_block_by_block() {
    let mut script = Script::start(info(20, 5), true, |_| {});
    script.ready(shoal_pieces::Bitfield::full(20));
    let peers = [open_leech(&mut script), open_leech(&mut script), open_leech(&mut script)];
    for piece in 0..9 {
        for begin in [0, BLOCK] {
            script.say(peers[piece as usize % 3], Message::Request(raw(piece, begin, BLOCK)));
        }
    }
    let mut order = Vec::new();
    for _ in 0..18 {
        script.credit(u64::from(BLOCK) + 13, 0);
        let effects = script.effects();
        order.extend(peers.iter().position(|&peer| uploads(&effects, peer) == 1));
        report_sent(&mut script, effects);
    }
    assert_eq!(order, [0, 0, 1, 1, 2, 2, 0, 0, 1, 1, 2, 2, 0, 0, 1, 1, 2, 2]);
}

#[test]
fn the_turns_next_request_finds_its_place_free() {
    let mut script = Script::start(info(20, 5), true, |_| {});
    script.ready(shoal_pieces::Bitfield::full(20));
    let peers = [open_leech(&mut script), open_leech(&mut script)];
    for (number, &peer) in (0..).zip(&peers) {
        script.say(peer, Message::Request(raw(number, 0, BLOCK)));
    }
    // Each asks for the next block when one came, as one with a short pipeline does.
    script.credit(Credit::UNLIMITED, 0);
    let mut order = Vec::new();
    for _ in 0..4 {
        for effect in script.effects() {
            let Effect::Upload { peer, block } = effect else { continue };
            order.push(block.piece.0);
            if block.begin == 0 {
                script.say(peer, Message::Request(raw(block.piece.0, BLOCK, BLOCK)));
            }
            script.feed(Event::Uploaded { peer, block });
        }
    }
    assert!(order == [0, 0, 1, 1] || order == [1, 1, 0, 0], "{order:?}");
}

#[test]
fn who_loses_its_slot_amid_a_piece_has_the_rest_of_it_first() {
    let mut script = Script::start(info(20, 5), true, |_| {});
    script.ready(shoal_pieces::Bitfield::full(20));
    script.feed(Event::UploadSlots(1));
    let first = open_leech(&mut script);
    let second = script.join();
    script.say(second, Message::HaveNone).say(second, Message::Interested);
    for piece in [3, 4] {
        for begin in [0, BLOCK] {
            script.say(first, Message::Request(raw(piece, begin, BLOCK)));
        }
    }
    let cost = u64::from(BLOCK) + 13;
    script.credit(cost, 0);
    let mut choked_at = None;
    for second_passed in 0..60 {
        script.pass(Duration::from_secs(1));
        if script.sent_to(second).contains(&Message::Unchoke) {
            choked_at = Some(second_passed);
            break;
        }
    }
    assert!(choked_at.is_some_and(|at| at >= 29), "{choked_at:?}");
    script.say(second, Message::Request(raw(9, 0, BLOCK)));
    script.log.clear();
    script.credit(cost, 0);
    let effects = script.effects();
    assert_eq!((uploads(&effects, first), uploads(&effects, second)), (1, 0));
    report_sent(&mut script, effects);
    script.credit(cost, 0);
    let effects = script.effects();
    assert!(
        effects.iter().any(|e| matches!(e, Effect::Send { peer, message: Message::Choke } if *peer == first)),
        "{effects:?}"
    );
    assert_eq!((uploads(&effects, first), uploads(&effects, second)), (0, 1), "and nothing of another piece");
}

/// Pieces that are suggested to each peer, in the order in which that is said.
fn suggestions(script: &mut Script) -> Vec<(PeerKey, u32)> {
    let suggestion = |effect| match effect {
        Effect::Send { peer, message: Message::Suggest(piece) } => Some((peer, piece)),
        _ => None,
    };
    script.effects().into_iter().filter_map(suggestion).collect()
}

#[test]
fn the_only_source_advises_each_leech_of_other_pieces() {
    let mut script = Script::start(info(20, 5), true, |config| config.super_seed = false);
    script.ready(shoal_pieces::Bitfield::full(20));
    let peers = [open_leech(&mut script), open_leech(&mut script)];
    script.say(peers[0], Message::Have(3)).pass(Duration::from_secs(1));
    let mut told = BTreeSet::from([3]);
    loop {
        let advice = suggestions(&mut script);
        if advice.is_empty() {
            break;
        }
        for (peer, piece) in advice {
            assert!(told.insert(piece), "{piece} is suggested twice, or somebody has it");
            script.say(peer, Message::Request(raw(piece, 0, BLOCK)));
        }
    }
    assert_eq!(told.len(), 20);
    // What a peer takes with it others are advised of.
    script.feed(Event::Disconnected { peer: peers[0] });
    script.say(peers[1], Message::Request(raw(3, 0, BLOCK)));
    assert!(!suggestions(&mut script).is_empty());
    // Nobody is of anything, once somebody else has everything.
    let [third, fourth] = [open_leech(&mut script), open_leech(&mut script)];
    let seed = script.join();
    script.say(seed, Message::HaveAll).pass(Duration::from_secs(2));
    suggestions(&mut script);
    script.say(third, Message::Request(raw(5, 0, BLOCK))).say(fourth, Message::Request(raw(6, 0, BLOCK)));
    script.pass(Duration::from_secs(2));
    assert_eq!(suggestions(&mut script), []);
}

#[test]
fn one_leech_alone_is_advised_of_nothing() {
    let mut script = Script::with(20, 0..20);
    let peer = open_leech(&mut script);
    script.pass(Duration::from_secs(2)).say(peer, Message::Request(raw(5, 0, BLOCK))).pass(Duration::from_secs(2));
    assert_eq!(suggestions(&mut script), []);
}

#[test]
fn a_cancelled_request_is_not_served() {
    let mut script = Script::start(info(10, 5), true, |_| {});
    script.ready(shoal_pieces::Bitfield::full(10));
    let peer = open_leech(&mut script);
    script.say(peer, Message::Request(raw(1, 0, BLOCK)));
    script.say(peer, Message::Cancel(raw(1, 0, BLOCK)));
    script.credit(Credit::UNLIMITED, 0);
    assert_eq!(uploads(&script.effects(), peer), 0);
}

fn interested_leeches(script: &mut Script, count: usize) -> Vec<PeerKey> {
    let mut join = || {
        let peer = script.join();
        script.say(peer, Message::HaveNone).say(peer, Message::Interested);
        peer
    };
    (0..count).map(|_| join()).collect()
}

/// Keeps track of who is unchoked by what we said.
fn follow_chokes(script: &mut Script, unchoked: &mut BTreeSet<PeerKey>) {
    for effect in script.effects() {
        match effect {
            Effect::Send { peer, message: Message::Unchoke } => unchoked.insert(peer),
            Effect::Send { peer, message: Message::Choke } => unchoked.remove(&peer),
            _ => continue,
        };
    }
}

#[test]
fn no_more_peers_are_unchoked_than_there_are_slots_and_all_get_their_turn() {
    let mut script = Script::with(4, 0..4);
    script.feed(Event::UploadSlots(4));
    let peers = interested_leeches(&mut script, 12);
    let mut unchoked = BTreeSet::new();
    let mut served = BTreeSet::<PeerKey>::new();
    for _ in 0..60 {
        follow_chokes(&mut script, &mut unchoked);
        served.extend(&unchoked);
        assert!(unchoked.len() <= 4, "{unchoked:?}");
        script.pass(Duration::from_secs(10));
        for &peer in &peers {
            script.say(peer, Message::KeepAlive);
        }
    }
    assert_eq!(served.len(), 12);
}

/// How unequal the times are for which 20 equal peers are unchoked in ten hours: standard deviation over mean.
fn spread_of_unchoked_time(have: std::ops::Range<u32>) -> f64 {
    let mut script = Script::with(40, have);
    script.feed(Event::UploadSlots(4));
    let peers = interested_leeches(&mut script, 20);
    let mut unchoked = BTreeSet::new();
    let mut times = std::collections::BTreeMap::new();
    for _ in 0..3_600 {
        follow_chokes(&mut script, &mut unchoked);
        unchoked.iter().for_each(|&peer| *times.entry(peer).or_insert(0.0) += 1.0);
        script.log.clear();
        for &peer in &peers {
            script.say(peer, Message::KeepAlive);
        }
        script.pass(Duration::from_secs(10));
    }
    let mean = times.values().sum::<f64>() / 20.0;
    let variance = peers.iter().map(|peer| (times.get(peer).unwrap_or(&0.0) - mean).powi(2)).sum::<f64>() / 20.0;
    variance.sqrt() / mean
}

#[test]
fn equal_peers_are_unchoked_for_equal_times_by_a_seed_and_by_a_leech() {
    for have in [0..40, 0..20] {
        let spread = spread_of_unchoked_time(have.clone());
        println!("{have:?}: {spread:.4}");
        assert!(spread <= 0.05, "{have:?}: {spread}");
    }
}

#[test]
fn metadata_is_served_under_the_peers_number() {
    let mut script = Script::with(4, 0..4);
    let peer = script.join();
    script.say_metadata_size(peer);
    script.log.clear();
    script.metadata(peer, MetadataMessage::Request { piece: 0 });
    let sent = script.sent_to(peer);
    let [Message::Extended { id: 9, message: Extended::Metadata(MetadataMessage::Data { data, .. }) }] = &sent[..]
    else {
        panic!("{sent:?}");
    };
    assert_eq!(data, script.info.bytes());
}

#[test]
fn a_piece_that_vanished_is_not_served_and_is_fetched_again() {
    let mut script = Script::with(4, 0..4);
    let leech = open_leech(&mut script);
    script.say(leech, Message::Request(raw(2, 0, BLOCK)));
    let block = script.info.layout().block(2, 0, BLOCK).unwrap();
    script.feed(Event::UploadFailed { peer: leech, block, lost: true });
    let effects = script.effects();
    assert!(effects.iter().any(|e| matches!(e, Effect::Send { message: Message::Reject(_), .. })));
    assert_eq!(script.swarm.progress().pieces_done, 3);
    let seed = script.open_seed();
    assert_eq!(script.asked_of(seed).len(), 2);
}

#[test]
fn stopping_closes_everybody_and_tells_when_it_is_done() {
    let mut script = Script::with(4, 0..4);
    let peer = open_leech(&mut script);
    script.feed(Event::Stop);
    let effects = script.effects();
    assert_eq!(disconnected(&effects, peer), Some(DisconnectReason::Stopping));
    assert!(effects.iter().any(|e| matches!(e, Effect::Notice(Notice::Stopped))));
    assert_eq!(shoal_machine::Machine::deadline(&script.swarm), None);
}

#[test]
fn two_connections_to_one_peer_become_one_and_our_own_none() {
    let mut script = Script::with(4, []);
    let first = script.join_as([9; 20], true);
    let second = script.join_as([9; 20], true);
    let effects = script.effects();
    assert_eq!(disconnected(&effects, second), Some(DisconnectReason::Duplicate));
    assert_eq!(disconnected(&effects, first), None);
    let own = script.join_as([b'S'; 20], true);
    assert_eq!(disconnected(&script.effects(), own), Some(DisconnectReason::SelfConnection));
}

#[test]
fn a_leech_that_becomes_complete_and_leaves_was_seen_once() {
    let mut script = Script::with(4, 0..4);
    for _ in 0..2 {
        let leech = script.join_as([7; 20], true);
        script.say(leech, Message::HaveNone);
        for piece in 0..3 {
            script.say(leech, Message::Have(piece));
        }
        script.feed(Event::Disconnected { peer: leech });
    }
    assert_eq!(script.swarm.progress().seeds_seen, 0);
    let leech = script.join_as([7; 20], true);
    script.say(leech, Message::Bitfield(vec![0b1110_0000])).say(leech, Message::Have(3));
    script.feed(Event::Disconnected { peer: leech });
    let again = script.join_as([7; 20], true);
    script.say(again, Message::HaveAll);
    let progress = script.swarm.progress();
    assert_eq!((progress.seeds_seen, progress.peers), (1, 0), "a seed is no use to a seed");
}
