//! The query of an announce (BEP 3, 7, 23).
//!
//! Bytes that RFC 3986 does not call unreserved are percent-encoded, hashes and ids as raw bytes. What the tracker's URL already has,
//! such as a pass key, stays in front. `ip`, `ipv4` and `ipv6` are left out: the tracker sees where we are.

use super::TrackersConfig;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use shoal_swarm::{AnnounceEvent, AnnounceRequest};
use std::fmt::Write;
use url::Url;

/// All but RFC 3986's unreserved characters.
pub(super) const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What is said to be left while the size is not known: anything but 0, which would mean a seed. Chosen: one block.
pub(super) const LEFT_UNKNOWN: u64 = 16 * 1024;

/// Appends the query to a tracker's URL.
pub(super) fn query(url: &mut Url, request: &AnnounceRequest, hash: &[u8; 20], config: &TrackersConfig) {
    let mut query = match url.query() {
        Some(own) if !own.is_empty() => format!("{own}&"),
        _ => String::new(),
    };
    let stopped = request.event == AnnounceEvent::Stopped;
    let written = write!(
        query,
        "info_hash={}&peer_id={}&port={}&uploaded={}&downloaded={}&left={}&key={:08X}&compact=1&no_peer_id=1&numwant={}",
        percent_encode(hash, ENCODED),
        percent_encode(&config.peer_id, ENCODED),
        config.port,
        request.uploaded,
        request.downloaded,
        request.left.unwrap_or(LEFT_UNKNOWN),
        config.key,
        if stopped { 0 } else { request.num_want },
    );
    written.expect("a string takes all that is written to it");
    match request.event {
        AnnounceEvent::None => {}
        AnnounceEvent::Started => query.push_str("&event=started"),
        AnnounceEvent::Completed => query.push_str("&event=completed"),
        AnnounceEvent::Stopped => query.push_str("&event=stopped"),
    }
    if let Some(id) = &request.tracker_id {
        query.push_str("&trackerid=");
        query.extend(percent_encode(id, ENCODED));
    }
    url.set_query(Some(&query));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> TrackersConfig {
        TrackersConfig { peer_id: *b"-SH0100-abcdefghijk~", key: 0xbeef, port: 6881, allow_private_networks: false }
    }

    fn request(event: AnnounceEvent) -> AnnounceRequest {
        AnnounceRequest {
            url: String::new(),
            event,
            uploaded: 1,
            downloaded: 2,
            left: Some(3),
            num_want: 50,
            tracker_id: None,
        }
    }

    #[test]
    fn every_byte_of_a_hash_comes_through_and_a_pass_key_stays() {
        let mut url = Url::parse("http://t.example/announce?passkey=a%20b").unwrap();
        let mut hash = [0; 20];
        hash[..6].copy_from_slice(b"a~ &%\xff");
        query(&mut url, &request(AnnounceEvent::Started), &hash, &config());
        let zeros = "%00".repeat(14);
        assert_eq!(
            url.as_str(),
            format!(
                "http://t.example/announce?passkey=a%20b&info_hash=a~%20%26%25%FF{zeros}&peer_id=-SH0100-abcdefghijk~\
                 &port=6881&uploaded=1&downloaded=2&left=3&key=0000BEEF&compact=1&no_peer_id=1&numwant=50&event=started"
            )
        );
    }

    #[test]
    fn an_unknown_size_is_not_zero_and_the_last_announce_wants_nobody() {
        let mut url = Url::parse("http://t.example/a").unwrap();
        let stop = AnnounceRequest { left: None, tracker_id: Some(b"x y".to_vec()), ..request(AnnounceEvent::Stopped) };
        query(&mut url, &stop, &[0; 20], &config());
        let query = url.query().unwrap();
        for part in ["left=16384", "numwant=0", "event=stopped", "trackerid=x%20y"] {
            assert!(query.contains(part), "{query}");
        }
    }
}
