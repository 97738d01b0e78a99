//! Whatever peers say, its trace says the same: a session's events come back from the file, and a fresh machine agrees to the last effect.
#![no_main]

use arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use shoal_trace::{Player, Reader, Tail};

fuzz_target!(|bytes: &[u8]| {
    let Ok(trace) = shoal_fuzz::session::traced(&mut Unstructured::new(bytes)) else { return };
    let (head, mut reader) = Reader::open(trace.as_slice()).expect("a trace");
    let mut player = Player::new(&head);
    while let Some(entry) = reader.next_entry().expect("readable") {
        player.play(entry).unwrap_or_else(|difference| panic!("{difference:?}"));
    }
    assert!(matches!(reader.tail(), Some(Tail::Ended(_))));
});
