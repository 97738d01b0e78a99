//! Claims about the leaves of pieces (BEP 52): asked for when one is corrupt, and served.

use super::script::*;
use crate::*;
use shoal_hash::merkle::{self, Tree};
use shoal_layout::{BlockRef, FileIndex, PieceIndex, Selection};
use shoal_metainfo::{Info, PieceLayers};
use shoal_pieces::Bitfield;
use shoal_wire::{HashRange, Message};
use std::sync::Arc;
use std::time::Duration;

/// What a block is right with: its number in the torrent, from one.
fn right(block: BlockRef) -> Mark {
    block.piece.0 * 2 + block.begin / BLOCK + 1
}

/// A v2 torrent of one file of `pieces` pieces of two blocks, and its tree.
fn v2(pieces: u64) -> (Arc<Info>, Tree) {
    let length = pieces * PIECE - 5;
    let leaves = (0..pieces as u8 * 2).map(|number| [number + 1; 32]).collect();
    let tree = Tree::new(length, 0, leaves).unwrap();
    let mut bytes = format!("d9:file treed1:ad0:d6:lengthi{length}e11:pieces root32:").into_bytes();
    bytes.extend(tree.root());
    bytes.extend(format!("eee12:meta versioni2e4:name1:a12:piece lengthi{PIECE}ee").bytes());
    (Arc::new(Info::parse(&bytes).unwrap().0), tree)
}

/// A swarm of it that has these pieces.
fn script(pieces: u64, have: impl IntoIterator<Item = u32>) -> (Script, Tree) {
    let (info, tree) = v2(pieces);
    let mut script = Script::start(info.clone(), true, |_| {});
    let mut layers = PieceLayers::empty(&info);
    if pieces > 1 {
        layers.insert(&info, FileIndex(0), tree.layer(1).unwrap().to_vec()).unwrap();
    }
    let mut bits = Bitfield::new(info.layout().pieces());
    have.into_iter().for_each(|piece| {
        bits.set(PieceIndex(piece));
    });
    let selection = Selection::all(info.layout());
    script.feed(Event::Ready { info, layers, have: bits, selection });
    script.credit(Credit::UNLIMITED, Credit::UNLIMITED);
    (script, tree)
}

/// Two seeds of whom the second gives the second block of the only piece wrong.
fn in_doubt() -> (Script, Tree, PeerKey, PeerKey) {
    let (mut script, tree) = script(1, []);
    let honest = script.open_seed();
    let asked = script.asked_of(honest);
    script.block(honest, asked[0], 1);
    let liar = script.open_seed();
    script.say(honest, Message::Choke);
    for block in &asked[1..] {
        script.say(honest, Message::Reject(raw(block.piece.0, block.begin, block.length)));
    }
    script.pass(Duration::from_secs(2));
    assert_eq!(script.asked_of(liar), asked[1..]);
    script.block(liar, asked[1], 66);
    script.log.clear();
    script.corrupt(0, &[1, 66]);
    (script, tree, honest, liar)
}

/// Hash requests sent to a peer; takes the log.
fn requests(script: &mut Script, to: PeerKey) -> Vec<HashRange> {
    let ranges = script.sent_to(to).into_iter().filter_map(|message| match message {
        Message::HashRequest(range) => Some(range),
        _ => None,
    });
    ranges.collect()
}

fn answer(tree: &Tree, range: HashRange) -> Vec<[u8; 32]> {
    tree.proof(0, u64::from(range.index), range.length, range.proof_layers).unwrap()
}

#[test]
fn of_a_corrupt_piece_only_the_wrong_block_is_fetched_again_and_only_its_sender_banned() {
    let (mut script, tree, honest, liar) = in_doubt();
    let sent = |script: &Script, to| {
        script
            .log
            .iter()
            .any(|effect| matches!(effect, Effect::Send { peer, message: Message::HashRequest(_) } if *peer == to))
    };
    let asked = if sent(&script, honest) { honest } else { liar };
    let range = requests(&mut script, asked)[0];
    assert_eq!(range, HashRange { root: tree.root(), base_layer: 0, index: 0, length: 2, proof_layers: 0 });
    script.say(asked, Message::Hashes(range, answer(&tree, range)));
    let effects = script.effects();
    assert_eq!(disconnected(&effects, liar), Some(DisconnectReason::Corrupt));
    assert_eq!(disconnected(&effects, honest), None);
    assert_eq!(script.swarm.progress().wasted, u64::from(BLOCK) - 5);
    script.say(honest, Message::Unchoke);
    let again = script.asked_of(honest);
    assert_eq!(again.iter().map(|block| block.begin).collect::<Vec<_>>(), [BLOCK]);
    script.block(honest, again[0], 2);
    let (_, blocks, _) = stores(script.effects()).remove(0);
    assert_eq!(blocks.iter().map(|(_, mark)| *mark).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn who_forges_leaves_is_banned_and_the_next_one_is_asked() {
    let (mut script, tree, honest, liar) = in_doubt();
    let forger = script.open_seed();
    let mut others = vec![honest, liar, forger];
    for forged in [[[9; 32], [2; 32]], [[1; 32], [66; 32]]] {
        let log = script.effects();
        let found = log.iter().find_map(|effect| match effect {
            Effect::Send { peer, message: Message::HashRequest(range) } => Some((*peer, *range)),
            _ => None,
        });
        let (asked, range) = found.expect("somebody is asked");
        others.retain(|peer| *peer != asked);
        script.say(asked, Message::Hashes(range, forged.to_vec()));
        assert_eq!(disconnected(&script.log, asked), Some(DisconnectReason::Corrupt));
    }
    let range = requests(&mut script, others[0])[0];
    script.say(others[0], Message::Hashes(range, answer(&tree, range)));
    assert_eq!(script.swarm.progress().wasted, u64::from(BLOCK) - 5);
}

#[test]
fn without_an_answer_the_piece_is_thrown_away_whole_and_nobody_is_blamed_on_suspicion() {
    let refuse = |script: &mut Script, peers: [PeerKey; 2]| {
        for peer in peers.into_iter().chain(peers) {
            let requests: Vec<HashRange> = script
                .log
                .iter()
                .filter_map(|effect| match effect {
                    Effect::Send { peer: to, message: Message::HashRequest(range) } if *to == peer => Some(*range),
                    _ => None,
                })
                .collect();
            for range in requests {
                script.say(peer, Message::HashReject(range));
            }
        }
    };
    let wait = |script: &mut Script, _: [PeerKey; 2]| {
        script.pass(Duration::from_secs(16));
    };
    let go = |script: &mut Script, peers: [PeerKey; 2]| {
        for peer in peers {
            script.feed(Event::Disconnected { peer });
        }
    };
    type Silence<'a> = &'a dyn Fn(&mut Script, [PeerKey; 2]);
    for silence in [&refuse as Silence<'_>, &wait, &go] {
        let (mut script, _, honest, liar) = in_doubt();
        silence(&mut script, [honest, liar]);
        assert_eq!(script.swarm.progress().wasted, PIECE - 5);
        let effects = script.effects();
        assert!(!effects.iter().any(|effect| matches!(effect, Effect::Notice(Notice::Banned { .. }))));
    }
}

#[test]
fn a_sole_sender_is_banned_before_anybody_is_asked_and_its_right_blocks_stay() {
    let (mut script, tree) = script(2, []);
    let liar = script.open_seed();
    let mut asked = script.asked_of(liar);
    let piece = asked[0].piece.0;
    asked.retain(|block| block.piece.0 == piece);
    let honest = script.open_seed();
    let marks = [right(asked[0]), 66];
    for (block, mark) in asked.iter().zip(marks) {
        script.block(liar, *block, mark);
    }
    script.log.clear();
    script.corrupt(piece, &marks);
    assert_eq!(disconnected(&script.log, liar), Some(DisconnectReason::Corrupt));
    let range = requests(&mut script, honest)[0];
    script.say(honest, Message::Hashes(range, answer(&tree, range)));
    let again: Vec<_> = script.asked_of(honest).into_iter().filter(|block| block.piece.0 == piece).collect();
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].begin, BLOCK);
}

#[test]
fn leaves_are_read_once_and_served_with_their_proof() {
    let (mut script, tree) = script(4, [1]);
    let (first, second) = (script.join(), script.join());
    script.log.clear();
    let range = |index, proof_layers| HashRange { root: tree.root(), base_layer: 0, index, length: 2, proof_layers };
    script.say(first, Message::HashRequest(range(2, 2))).say(second, Message::HashRequest(range(2, 0)));
    let read = |effect: &Effect<Mark>| matches!(effect, Effect::ReadLeaves { piece: PieceIndex(1) });
    assert_eq!(script.log.iter().filter(|effect| read(effect)).count(), 1);
    let outcome = LeavesOutcome::Read(vec![[3; 32], [4; 32]]);
    script.feed(Event::LeavesRead { piece: PieceIndex(1), outcome });
    let sent = |script: &Script, to| -> Vec<Message> {
        let sent = script.log.iter().filter_map(|effect| match effect {
            Effect::Send { peer, message } if *peer == to => Some(message.clone()),
            _ => None,
        });
        sent.collect()
    };
    let hashes = answer(&tree, range(2, 2));
    assert_eq!(hashes.len(), 4);
    assert!(merkle::verify_range(&tree.root(), tree.file_length(), 0, 2, &hashes[..2], &hashes[2..]));
    assert_eq!(sent(&script, first), [Message::Hashes(range(2, 2), hashes)]);
    assert_eq!(sent(&script, second), [Message::Hashes(range(2, 0), vec![[3; 32], [4; 32]])]);
    script.log.clear();
    script.say(second, Message::HashRequest(range(2, 1)));
    assert_eq!(sent(&script, second), [Message::Hashes(range(2, 1), answer(&tree, range(2, 1)))]);
    assert!(!script.log.iter().any(read));
}

#[test]
fn leaves_of_what_is_not_there_and_runs_over_a_piece_are_refused_unread() {
    let (mut script, tree) = script(4, [0, 1]);
    let peer = script.join();
    script.log.clear();
    let range = |index, length| HashRange { root: tree.root(), base_layer: 0, index, length, proof_layers: 0 };
    let other = HashRange { root: [9; 32], ..range(0, 2) };
    for refused in [range(4, 2), range(0, 4), range(1, 2), range(8, 2), range(0, 0), range(0, u32::MAX), other] {
        assert_eq!(script.say(peer, Message::HashRequest(refused)).sent_to(peer), [Message::HashReject(refused)]);
    }
}

#[test]
fn a_piece_that_cannot_be_read_is_refused_and_a_lost_one_fetched_again() {
    for lost in [false, true] {
        let (mut script, tree) = script(4, [0, 1, 2, 3]);
        let peer = script.join();
        let range = HashRange { root: tree.root(), base_layer: 0, index: 0, length: 2, proof_layers: 0 };
        script.say(peer, Message::HashRequest(range));
        script.log.clear();
        script.feed(Event::LeavesRead { piece: PieceIndex(0), outcome: LeavesOutcome::Failed { lost } });
        assert!(script.sent_to(peer).contains(&Message::HashReject(range)));
        assert_eq!(script.swarm.progress().complete, !lost);
    }
}

#[test]
fn hashes_that_come_after_their_request_lapsed_are_late_and_not_wrong() {
    let (info, tree) = v2(4);
    let mut script = Script::start(info.clone(), true, |_| {});
    let selection = Selection::all(info.layout());
    let (layers, have) = (PieceLayers::empty(&info), Bitfield::new(4));
    script.feed(Event::Ready { info, layers, have, selection });
    script.credit(Credit::UNLIMITED, Credit::UNLIMITED);
    let slow = script.open_seed();
    let asked = requests(&mut script, slow);
    assert_eq!(asked.len(), 1, "the piece layer is asked for");
    // Longer than a request is waited for; it is heard of all the same.
    for _ in 0..4 {
        script.say(slow, Message::KeepAlive).pass(Duration::from_secs(4));
    }
    let late = tree.proof(asked[0].base_layer as u8, 0, asked[0].length, asked[0].proof_layers).unwrap();
    script.say(slow, Message::Hashes(asked[0], late));
    assert_eq!(disconnected(&script.effects(), slow), None);
}
