//! Datagrams of UDP trackers, bytes to values and back (BEP 15, with the options of BEP 41). Pure functions.
//!
//! Everything is big-endian. A datagram that is too short for what it says it is, or that says nothing known, is no packet; peers are
//! of the family of the socket, 6 or 18 bytes each, and a torn last one is passed over.

use super::super::{Scraped, one_line};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// What a request to connect begins with (BEP 15).
const PROTOCOL: u64 = 0x0417_2710_1980;
const CONNECT: u32 = 0;
const ANNOUNCE: u32 = 1;
const SCRAPE: u32 = 2;
const ERROR: u32 = 3;
/// The option that ends the options, and the one that carries a part of the URL (BEP 41).
const END_OF_OPTIONS: u8 = 0;
const URL_DATA: u8 = 2;
/// Bytes of a URL that are sent. Chosen: a pass key has 32; a datagram that is fragmented is often lost.
const MAX_URL_BYTES: usize = 1020;
/// Hashes in one scrape (BEP 15: "up to about 74").
pub(in super::super) const MAX_SCRAPED: usize = 74;

/// Which addresses peers have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Six bytes each.
    V4,
    /// Eighteen.
    V6,
}

impl Family {
    /// Of an address.
    pub fn of(addr: SocketAddr) -> Family {
        if addr.is_ipv4() { Family::V4 } else { Family::V6 }
    }
}

/// What an announce says (BEP 15).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Announce {
    pub(in super::super) info_hash: [u8; 20],
    pub(in super::super) peer_id: [u8; 20],
    pub(in super::super) downloaded: u64,
    pub(in super::super) left: u64,
    pub(in super::super) uploaded: u64,
    /// 0 none, 1 completed, 2 started, 3 stopped.
    pub(in super::super) event: u32,
    pub(in super::super) key: u32,
    pub(in super::super) num_want: u32,
    pub(in super::super) port: u16,
    /// Path and query of the tracker's URL; empty if there is nothing to say.
    pub(in super::super) url_data: Vec<u8>,
}

/// A tracker's packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// The number that we gave the request.
    pub transaction: u32,
    /// What it says.
    pub body: Body,
}

/// What a tracker's packet says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// The connection id to ask with.
    Connected(u64),
    /// The answer to an announce.
    Announced {
        /// Until the next one; what is negative counts as nothing.
        interval: Duration,
        /// Incomplete peers.
        leeches: u32,
        /// Complete peers.
        seeds: u32,
        /// Others.
        peers: Vec<SocketAddr>,
    },
    /// The answer to a scrape, in the order of its hashes.
    Scraped(Vec<Scraped>),
    /// It refuses; cut to a line.
    Failed(String),
}

/// A request for a connection id.
pub(super) fn connect(transaction: u32) -> Vec<u8> {
    [&PROTOCOL.to_be_bytes()[..], &CONNECT.to_be_bytes(), &transaction.to_be_bytes()].concat()
}

/// An announce.
pub(super) fn announce(connection: u64, transaction: u32, announce: &Announce) -> Vec<u8> {
    let mut out = head(connection, ANNOUNCE, transaction);
    out.extend(announce.info_hash);
    out.extend(announce.peer_id);
    for number in [announce.downloaded, announce.left, announce.uploaded] {
        out.extend(number.to_be_bytes());
    }
    // The address: zero, where the datagram comes from.
    for number in [announce.event, 0, announce.key, announce.num_want] {
        out.extend(number.to_be_bytes());
    }
    out.extend(announce.port.to_be_bytes());
    let url = &announce.url_data[..announce.url_data.len().min(MAX_URL_BYTES)];
    for part in url.chunks(usize::from(u8::MAX)) {
        out.extend([URL_DATA, part.len() as u8]);
        out.extend(part);
    }
    if !url.is_empty() {
        out.push(END_OF_OPTIONS);
    }
    out
}

/// A scrape of [`MAX_SCRAPED`] hashes at most.
pub(super) fn scrape(connection: u64, transaction: u32, hashes: &[[u8; 20]]) -> Vec<u8> {
    let mut out = head(connection, SCRAPE, transaction);
    out.extend(hashes.iter().take(MAX_SCRAPED).flatten());
    out
}

fn head(connection: u64, action: u32, transaction: u32) -> Vec<u8> {
    [&connection.to_be_bytes()[..], &action.to_be_bytes(), &transaction.to_be_bytes()].concat()
}

/// Reads a tracker's packet; `None` if it is none.
pub fn parse(datagram: &[u8], family: Family) -> Option<Packet> {
    let (action, rest) = number(datagram)?;
    let (transaction, rest) = number(rest)?;
    let body = match action {
        CONNECT => Body::Connected(u64::from_be_bytes(*rest.first_chunk()?)),
        ANNOUNCE => {
            let (interval, rest) = number(rest)?;
            let (leeches, rest) = number(rest)?;
            let (seeds, rest) = number(rest)?;
            let interval = u64::try_from(interval.cast_signed()).unwrap_or(0);
            Body::Announced { interval: Duration::from_secs(interval), leeches, seeds, peers: peers(rest, family) }
        }
        SCRAPE => Body::Scraped(rest.chunks_exact(12).take(MAX_SCRAPED).filter_map(scraped).collect()),
        ERROR => Body::Failed(one_line(rest)),
        _ => return None,
    };
    Some(Packet { transaction, body })
}

/// Compact peers; a torn last one is passed over.
pub(in super::super) fn peers(bytes: &[u8], family: Family) -> Vec<SocketAddr> {
    fn each<const N: usize>(entry: &[u8]) -> Option<([u8; N], u16)> {
        let (ip, port) = entry.split_first_chunk::<N>()?;
        Some((*ip, u16::from_be_bytes(*port.first_chunk()?)))
    }
    // An IPv4 address in the clothes of IPv6 is the IPv4 address.
    let addr = |ip: IpAddr, port| SocketAddr::new(ip.to_canonical(), port);
    match family {
        Family::V4 => bytes.chunks_exact(6).filter_map(each::<4>).map(|(ip, port)| addr(ip.into(), port)).collect(),
        Family::V6 => bytes.chunks_exact(18).filter_map(each::<16>).map(|(ip, port)| addr(ip.into(), port)).collect(),
    }
}

fn scraped(entry: &[u8]) -> Option<Scraped> {
    let (seeds, rest) = number(entry)?;
    let (completed, rest) = number(rest)?;
    let (leeches, _) = number(rest)?;
    Some(Scraped { seeds: Some(seeds), completed: Some(completed), leeches: Some(leeches) })
}

fn number(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u32::from_be_bytes(*number), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn some_announce(url_data: Vec<u8>) -> Announce {
        Announce {
            info_hash: [1; 20],
            peer_id: [2; 20],
            downloaded: 3,
            left: 4,
            uploaded: 5,
            event: 2,
            key: 6,
            num_want: 50,
            port: 6881,
            url_data,
        }
    }

    #[test]
    fn requests_are_laid_out_as_bep_15_says() {
        assert_eq!(connect(7), [0, 0, 4, 23, 39, 16, 25, 128, 0, 0, 0, 0, 0, 0, 0, 7]);
        let bytes = announce(8, 9, &some_announce(Vec::new()));
        assert_eq!(bytes.len(), 98);
        assert_eq!(bytes[..16], [0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 9]);
        assert_eq!((&bytes[16..36], &bytes[36..56]), (&[1; 20][..], &[2; 20][..]));
        assert_eq!((bytes[63], bytes[71], bytes[79], bytes[83]), (3, 4, 5, 2));
        assert_eq!((&bytes[84..88], bytes[91], bytes[95], &bytes[96..]), (&[0; 4][..], 6, 50, &[0x1a, 0xe1][..]));
        assert_eq!(scrape(8, 9, &[[3; 20]; 200]).len(), 16 + 74 * 20);
    }

    #[test]
    fn a_path_is_carried_in_options_of_at_most_255_bytes() {
        let bytes = announce(8, 9, &some_announce(b"/announce?k=v".to_vec()));
        assert_eq!(bytes[98..], *b"\x02\x0d/announce?k=v\0");
        let bytes = announce(8, 9, &some_announce(vec![b'x'; 300]));
        assert_eq!((bytes[98..100].to_vec(), bytes[355..357].to_vec()), (vec![2, 255], vec![2, 45]));
        assert_eq!(bytes.len(), 98 + 2 + 255 + 2 + 45 + 1);
    }

    #[test]
    fn answers_are_read() {
        let packet = |body| Some(Packet { transaction: 9, body });
        let connected = [&[0, 0, 0, 0, 0, 0, 0, 9][..], &[1; 8]].concat();
        assert_eq!(parse(&connected, Family::V4), packet(Body::Connected(0x0101_0101_0101_0101)));
        assert_eq!(parse(&connected[..15], Family::V4), None);
        let mut announced = vec![0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 7, 8, 0, 0, 0, 2, 0, 0, 0, 3];
        announced.extend([1, 2, 3, 4, 0x1a, 0xe1, 9, 9]);
        let peers = vec!["1.2.3.4:6881".parse().unwrap()];
        let body = Body::Announced { interval: Duration::from_secs(1800), leeches: 2, seeds: 3, peers };
        assert_eq!(parse(&announced, Family::V4), packet(body));
        let scraped = [0, 0, 0, 2, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 9];
        let one = Scraped { seeds: Some(1), completed: Some(2), leeches: Some(3) };
        assert_eq!(parse(&scraped, Family::V4), packet(Body::Scraped(vec![one])));
        let failed = b"\0\0\0\x03\0\0\0\x09go\naway";
        assert_eq!(parse(failed, Family::V4), packet(Body::Failed("go away".to_owned())));
        assert_eq!(parse(&[0, 0, 0, 4, 0, 0, 0, 9, 1], Family::V4), None);
        let negative = [0, 0, 0, 1, 0, 0, 0, 9, 0xff, 0, 7, 8, 0, 0, 0, 2, 0, 0, 0, 3];
        let Some(Packet { body: Body::Announced { interval, .. }, .. }) = parse(&negative, Family::V6) else {
            panic!()
        };
        assert_eq!(interval, Duration::ZERO);
    }

    proptest! {
        #[test]
        fn no_datagram_is_a_panic_and_peers_are_no_more_than_its_bytes(
            bytes in proptest::collection::vec(any::<u8>(), 0..2000),
            action in 0_u8..5,
        ) {
            let mut datagram = vec![0, 0, 0, action];
            datagram.extend(&bytes);
            for family in [Family::V4, Family::V6] {
                if let Some(Packet { body: Body::Announced { peers, .. }, .. }) = parse(&datagram, family) {
                    prop_assert!(peers.len() <= bytes.len() / 6);
                }
            }
        }

        #[test]
        fn peers_come_out_as_they_went_in(
            four in proptest::collection::vec(any::<([u8; 4], u16)>(), 0..100),
            six in proptest::collection::vec(any::<([u8; 16], u16)>(), 0..100),
        ) {
            let bytes: Vec<u8> = four.iter().flat_map(|(ip, port)| [&ip[..], &port.to_be_bytes()].concat()).collect();
            let expected: Vec<SocketAddr> = four.iter().map(|&(ip, port)| (ip, port).into()).collect();
            prop_assert_eq!(peers(&bytes, Family::V4), expected);
            let bytes: Vec<u8> = six.iter().flat_map(|(ip, port)| [&ip[..], &port.to_be_bytes()].concat()).collect();
            let expected: Vec<SocketAddr> =
                six.iter().map(|&(ip, port)| SocketAddr::new(IpAddr::from(ip).to_canonical(), port)).collect();
            prop_assert_eq!(peers(&bytes, Family::V6), expected);
        }
    }
}
