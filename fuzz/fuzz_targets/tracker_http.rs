//! What an HTTP tracker answers never panics, and what is read of it is within bounds: peers, intervals, lines of text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shoal_discovery::TrackerError;
use shoal_discovery::parsers::announce_reply;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn is_line(text: &str) -> bool {
    text.chars().count() <= 300 && !text.contains(['\n', '\r'])
}

fuzz_target!(|body: &[u8]| {
    match announce_reply(body) {
        Ok(reply) => {
            assert!(reply.peers.len() <= 2000 && reply.peers.len() <= body.len() / 6);
            assert!(reply.interval.is_none_or(|interval| interval <= DAY));
            assert!(reply.min_interval.is_none_or(|interval| interval <= DAY));
            assert!(reply.tracker_id.is_none_or(|id| id.len() <= 256));
            assert!(reply.warning.is_none_or(|warning| is_line(&warning)));
        }
        Err(TrackerError::Failure { reason }) => assert!(is_line(&reason)),
        Err(TrackerError::Malformed) => {}
        Err(error) => panic!("a body alone is no reason for this: {error}"),
    }
});
