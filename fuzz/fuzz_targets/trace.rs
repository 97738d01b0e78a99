//! Any bytes are a trace or an error: read within its size, whole or as a record's content; a real one that is changed never reads further.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shoal_fuzz::traces;
use shoal_trace::Reader;

fuzz_target!(|input: (u8, Vec<(u16, u8)>, &[u8])| {
    let (kind, changes, bytes) = input;
    // As a file, as what a record holds, and as a file that was good.
    let (_, good) = traces::read(traces::whole());
    traces::read(bytes);
    traces::read(&traces::with_record(kind, bytes));
    let mut changed = traces::whole().to_vec();
    for (place, byte) in changes.into_iter().take(4) {
        let place = usize::from(place) % changed.len();
        changed[place] = byte;
    }
    let (ended, events) = traces::read(&changed);
    assert!(events <= good, "{events} events of {good}");
    assert!(changed == traces::whole() || ended.is_none(), "a change was not noticed");
    assert!(Reader::open(&bytes[..0]).is_err());
});
