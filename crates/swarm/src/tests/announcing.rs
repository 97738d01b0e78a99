//! Claims about what trackers are told.

use super::script::*;
use crate::*;
use shoal_layout::{FileIndex, PieceIndex, Selection};
use shoal_metainfo::{Info, PieceLayers};
use shoal_pieces::Bitfield;
use shoal_wire::Message;
use std::sync::Arc;

/// Two files of two pieces each.
fn two_files() -> Arc<Info> {
    let file = |name: &str| format!("d6:lengthi{}e4:pathl1:{name}ee", 2 * PIECE);
    let head = format!("d5:filesl{}{}e4:name1:t12:piece lengthi{PIECE}e6:pieces80:", file("a"), file("b"));
    let mut bytes = head.into_bytes();
    bytes.extend([7; 80]);
    bytes.push(b'e');
    Arc::new(Info::parse(&bytes).unwrap().0)
}

/// The last request to the tracker; takes the log.
fn announced(script: &mut Script) -> (TrackerKey, AnnounceRequest) {
    let mut asked = script.effects().into_iter().filter_map(|effect| match effect {
        Effect::Announce { tracker, request } => Some((tracker, request)),
        _ => None,
    });
    asked.next_back().expect("the tracker is asked")
}

#[test]
fn a_tracker_hears_what_was_sent_what_came_and_what_is_missing_of_all_files() {
    let info = two_files();
    let url = "http://tracker.example/announce".to_owned();
    let mut script = Script::start(info.clone(), true, |config| config.trackers = vec![vec![url]]);
    let mut have = Bitfield::new(4);
    have.set(PieceIndex(0));
    let selection = Selection::by(info.layout(), |file| file == FileIndex(0));
    let layers = PieceLayers::empty(&info);
    script.feed(Event::Ready { info, layers, have, selection });
    let (tracker, started) = announced(&mut script);
    assert_eq!((started.uploaded, started.downloaded, started.left), (0, 0, Some(3 * PIECE)));
    script.feed(Event::Announced { tracker, result: Ok(AnnounceReply::default()) });
    script.credit(Credit::UNLIMITED, Credit::UNLIMITED);

    let leech = script.join();
    script.say(leech, Message::HaveNone).say(leech, Message::Interested);
    script.say(leech, Message::Request(raw(0, 0, BLOCK))).say(leech, Message::Request(raw(0, BLOCK, BLOCK)));
    // Ordered twice, sent once.
    script.feed(Event::Uploaded { peer: leech, block: script.info.layout().block(0, 0, BLOCK).unwrap() });
    let seed = script.open_seed();
    for block in script.asked_of(seed) {
        assert_eq!(block.piece, PieceIndex(1), "the only piece of the chosen file that is missing");
        script.block(seed, block, 1);
    }
    script.written(1, &[]);
    script.feed(Event::Stop);
    let (_, stopped) = announced(&mut script);
    assert_eq!(stopped.event, AnnounceEvent::Stopped);
    assert_eq!((stopped.uploaded, stopped.downloaded), (u64::from(BLOCK), PIECE));
    assert_eq!(stopped.left, Some(2 * PIECE), "the chosen file is whole, the torrent is not");
}
