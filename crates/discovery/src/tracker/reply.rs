//! A tracker's answer (BEP 3, 7, 23).
//!
//! Peers come as 6 or 18 bytes each (`peers`, `peers6`), or as a list of dictionaries with an address as text. Lenient: what is
//! missing or of the wrong type counts as not said; only an answer that is no dictionary is refused. Names of hosts in
//! the long form are passed over: resolving what a stranger names is not worth it.
//!
//! Bounds: [`MAX_PEERS`], [`MAX_TRACKER_ID_BYTES`], and those of a line; intervals are cut to a day.

use super::udp::packet::{Family, peers as compact};
use super::{TrackerError, one_line};
use shoal_bencode::{Dict, Document, Limits, Value};
use shoal_swarm::AnnounceReply;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Peers taken from one answer. Chosen: trackers give 50 to 200; the swarm keeps about 2,000 in all.
const MAX_PEERS: usize = 2000;
/// Bytes of a tracker id; a longer one is not sent back. Chosen: it goes into a URL.
const MAX_TRACKER_ID_BYTES: usize = 256;
/// The longest interval that is believed, in seconds. Chosen.
const MAX_INTERVAL_S: i64 = 24 * 3600;

/// Reads the body of an answer.
pub fn parse(body: &[u8]) -> Result<AnnounceReply, TrackerError> {
    // Some servers end the body with a line break.
    let document = Document::parse_prefix(body, Limits::MESSAGE).map_err(|_| TrackerError::Malformed)?;
    let dict = document.root().as_dict().ok_or(TrackerError::Malformed)?;
    if let Some(reason) = failure(&dict) {
        return Err(TrackerError::Failure { reason });
    }
    let mut peers = Vec::new();
    for key in ["peers", "peers6"] {
        if let Some(value) = dict.get(key) {
            read_peers(value, key == "peers6", &mut peers);
        }
    }
    peers.truncate(MAX_PEERS);
    Ok(AnnounceReply {
        interval: seconds(&dict, "interval"),
        min_interval: seconds(&dict, "min interval"),
        tracker_id: dict
            .get("tracker id")
            .and_then(|id| id.as_bytes())
            .filter(|id| id.len() <= MAX_TRACKER_ID_BYTES)
            .map(<[u8]>::to_vec),
        seeds: count(&dict, "complete"),
        leeches: count(&dict, "incomplete"),
        peers,
        forbidden: 0,
        warning: dict.get("warning message").and_then(text),
        external_ip: dict.get("external ip").and_then(|ip| external(ip.as_bytes()?)),
    })
}

/// Why the tracker refuses, if it does.
pub(super) fn failure(dict: &Dict<'_, '_>) -> Option<String> {
    dict.get("failure reason").map(|reason| text(reason).unwrap_or_default())
}

/// Four or sixteen bytes (BEP 24); some write it out.
fn external(bytes: &[u8]) -> Option<IpAddr> {
    let ip = if let Ok(ip) = <[u8; 4]>::try_from(bytes) {
        IpAddr::from(ip)
    } else if let Ok(ip) = <[u8; 16]>::try_from(bytes) {
        IpAddr::from(ip)
    } else {
        std::str::from_utf8(bytes).ok()?.parse().ok()?
    };
    Some(ip.to_canonical())
}

fn read_peers(value: Value<'_, '_>, v6: bool, peers: &mut Vec<SocketAddr>) {
    if let Some(bytes) = value.as_bytes() {
        let (family, entry) = if v6 { (Family::V6, 18) } else { (Family::V4, 6) };
        peers.extend(compact(&bytes[..bytes.len().min(MAX_PEERS * entry)], family));
    } else if let Some(list) = value.as_list() {
        peers.extend(list.iter().take(MAX_PEERS).filter_map(|entry| {
            let entry = entry.as_dict()?;
            let ip: IpAddr = entry.get("ip")?.as_str()?.parse().ok()?;
            let port = u16::try_from(number(entry.get("port")?)?).ok()?;
            Some(SocketAddr::new(ip.to_canonical(), port))
        }));
    }
}

/// Some write numbers as text.
fn number(value: Value<'_, '_>) -> Option<i64> {
    value.as_int().or_else(|| value.as_str()?.trim().parse().ok())
}

fn seconds(dict: &Dict<'_, '_>, key: &str) -> Option<Duration> {
    let seconds = number(dict.get(key)?)?.clamp(0, MAX_INTERVAL_S);
    Some(Duration::from_secs(seconds.unsigned_abs()))
}

pub(super) fn count(dict: &Dict<'_, '_>, key: &str) -> Option<u32> {
    u32::try_from(number(dict.get(key)?)?).ok()
}

fn text(value: Value<'_, '_>) -> Option<String> {
    value.as_bytes().map(one_line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn compact_peers_of_both_families_are_read() {
        let mut body = b"d8:completei3e10:incompletei4e8:intervali1800e12:min intervali60e5:peers7:".to_vec();
        body.extend([1, 2, 3, 4, 0x1a, 0xe1, 0xff]);
        body.extend(b"6:peers618:");
        body.extend([0x26, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0x1a, 0xe1]);
        body.extend(b"10:tracker id3:abc15:warning message5:a\nb c");
        body.extend(b"e\n");
        let reply = parse(&body).unwrap();
        assert_eq!(reply.peers, ["1.2.3.4:6881".parse().unwrap(), "[2600::1]:6881".parse().unwrap()]);
        assert_eq!((reply.seeds, reply.leeches), (Some(3), Some(4)));
        assert_eq!(reply.interval, Some(Duration::from_secs(1800)));
        assert_eq!(reply.min_interval, Some(Duration::from_secs(60)));
        assert_eq!(reply.tracker_id.as_deref(), Some(&b"abc"[..]));
        assert_eq!(reply.warning.as_deref(), Some("a b c"));
    }

    #[test]
    fn peers_as_dictionaries_are_read_and_wrong_ones_passed_over() {
        let body = b"d5:peersld2:ip7:1.2.3.47:peer id20:xxxxxxxxxxxxxxxxxxxx4:porti6881eed2:ip9:localhost4:porti1eed2:ip7:1.2.3.44:porti65536eei7eee";
        assert_eq!(parse(body).unwrap().peers, ["1.2.3.4:6881".parse().unwrap()]);
    }

    #[test]
    fn numbers_may_be_text_and_an_external_address_comes_in_three_forms() {
        let reply =
            parse(b"d11:external ip4:\x01\x02\x03\x048:interval4:18005:peersld2:ip7:1.2.3.44:port4:6881eee").unwrap();
        assert_eq!(reply.interval, Some(Duration::from_secs(1800)));
        assert_eq!(reply.peers, ["1.2.3.4:6881".parse().unwrap()]);
        assert_eq!(reply.external_ip, Some("1.2.3.4".parse().unwrap()));
        let written = parse(b"d11:external ip7:1.2.3.4e").unwrap();
        assert_eq!(written.external_ip, reply.external_ip);
        assert_eq!(parse(b"d11:external ip3:\x01\x02\x03e").unwrap().external_ip, None);
    }

    proptest! {
        #[test]
        fn no_answer_is_a_panic(body in proptest::collection::vec(any::<u8>(), 0..500)) {
            let _ = parse(&body);
            let _ = parse(&[b"d5:peers", &body[..], b"e"].concat());
        }
    }

    #[test]
    fn what_is_missing_or_strange_counts_as_not_said() {
        let reply = parse(b"d8:completei-1e8:interval2:ab5:peersi7ee").unwrap();
        assert_eq!(reply, AnnounceReply::default());
        assert_eq!(parse(b"d8:intervali-5ee").unwrap().interval, Some(Duration::ZERO));
        assert_eq!(parse(b"d8:intervali99999999999ee").unwrap().interval, Some(Duration::from_secs(86_400)));
    }

    #[test]
    fn a_failure_is_an_error_with_its_reason_and_garbage_is_one_without() {
        assert!(matches!(parse(b"d14:failure reason3:no!e"), Err(TrackerError::Failure { reason }) if reason == "no!"));
        for garbage in [&b""[..], b"<html>", b"le", b"d5:peers", b"3:abc"] {
            assert!(matches!(parse(garbage), Err(TrackerError::Malformed)), "{garbage:?}");
        }
    }

    #[test]
    fn the_number_of_peers_is_bounded() {
        let count = MAX_PEERS + 5;
        let mut body = format!("d5:peers{}:", count * 6).into_bytes();
        body.extend([1, 2, 3, 4, 5, 6].repeat(count));
        body.push(b'e');
        assert_eq!(parse(&body).unwrap().peers.len(), MAX_PEERS);
    }
}
