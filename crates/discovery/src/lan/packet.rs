//! The datagrams of local service discovery, bytes to values and back (BEP 14, "Protocol").
//!
//! They look like HTTP and are read leniently: names of headers in any case, unknown ones passed over, lines ended with or without a
//! carriage return. What names no port or no torrent is no announce.

/// Bytes of a datagram that is sent, at most (BEP 14: 1,400 "to avoid MTU/fragmentation problems").
pub(super) const MAX_SENT: usize = 1_400;
/// Bytes of a datagram that is read, at most. Chosen: what an Ethernet frame carries.
pub(super) const MAX_READ: usize = 1_500;
/// Torrents taken from one datagram, at most. Chosen: more do not fit into [`MAX_READ`].
const MAX_HASHES: usize = 32;
/// Bytes of a cookie that is read, at most. Chosen: others send 8 to 10.
const MAX_COOKIE: usize = 64;

const FIRST_LINE: &str = "BT-SEARCH * HTTP/1.1";

/// Who says what: "I listen on this port, and take part in these torrents".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LanAnnounce {
    /// The sender's TCP port; not 0.
    pub port: u16,
    /// The torrents' hashes (v2 ones cut to 20 bytes); at least one.
    pub hashes: Vec<[u8; 20]>,
    /// Whatever the sender recognizes itself by.
    pub cookie: Option<String>,
}

/// The announce in a datagram, if it is one.
pub fn parse(datagram: &[u8]) -> Option<LanAnnounce> {
    let text = std::str::from_utf8(datagram.get(..datagram.len().min(MAX_READ))?).ok()?;
    let mut lines = text.lines();
    if !lines.next()?.trim_end().eq_ignore_ascii_case(FIRST_LINE) {
        return None;
    }
    let (mut port, mut hashes, mut cookie) = (None, Vec::new(), None);
    for line in lines {
        let Some((name, value)) = line.split_once(':') else { continue };
        let (name, value) = (name.trim(), value.trim());
        if name.eq_ignore_ascii_case("port") {
            port = value.parse().ok().filter(|&port: &u16| port != 0);
        } else if name.eq_ignore_ascii_case("infohash") {
            hashes.extend(hash(value).filter(|hash| hashes.len() < MAX_HASHES && !hashes.contains(hash)));
        } else if name.eq_ignore_ascii_case("cookie") && value.len() <= MAX_COOKIE {
            cookie = Some(value.to_owned());
        }
    }
    Some(LanAnnounce { port: port?, hashes, cookie }).filter(|announce| !announce.hashes.is_empty())
}

fn hash(hex: &str) -> Option<[u8; 20]> {
    data_encoding::HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).ok()?.try_into().ok()
}

/// The datagrams, each of [`MAX_SENT`] bytes at most, that announce these torrents to the group called `host`. `cookie`: without
/// line ends, 64 bytes at most.
pub fn build(host: &str, port: u16, hashes: &[[u8; 20]], cookie: &str) -> Vec<Vec<u8>> {
    let head = format!("{FIRST_LINE}\r\nHost: {host}\r\nPort: {port}\r\n");
    let tail = format!("cookie: {cookie}\r\n\r\n\r\n");
    let line = |hash: &[u8; 20]| format!("Infohash: {}\r\n", data_encoding::HEXLOWER.encode(hash));
    let room = (MAX_SENT - head.len() - tail.len()) / line(&[0; 20]).len();
    let packet =
        |hashes: &[[u8; 20]]| [head.clone(), hashes.iter().map(line).collect(), tail.clone()].concat().into_bytes();
    hashes.chunks(room).map(packet).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    #[test]
    fn what_others_send_is_read() {
        // libtorrent's and Transmission's, and one in a hurry.
        let hash = "0123456789abcdef0123456789ABCDEF01234567";
        for text in [
            format!(
                "BT-SEARCH * HTTP/1.1\r\nHost: 239.192.152.143:6771\r\nPort: 6881\r\nInfohash: {hash}\r\ncookie: 1a2b\r\n\r\n\r\n"
            ),
            format!(
                "BT-SEARCH * HTTP/1.1\r\nHost: [ff15::efc0:988f]:6771\r\nPort: 6881\r\nInfohash: {hash}\r\n\r\n\r\n"
            ),
            format!("bt-search * http/1.1\nX-New: 1\nINFOHASH:{hash}\nPORT:6881"),
        ] {
            let announce = parse(text.as_bytes()).unwrap();
            assert_eq!((announce.port, announce.hashes.len()), (6881, 1), "{text}");
            assert_eq!(announce.hashes[0][..3], [0x01, 0x23, 0x45]);
        }
    }

    #[test]
    fn what_is_no_announce_is_passed_over() {
        let hash = "00".repeat(20);
        for text in [
            String::new(),
            "M-SEARCH * HTTP/1.1\r\n".to_owned(),
            format!("BT-SEARCH * HTTP/1.1\r\nInfohash: {hash}\r\n"),
            format!("BT-SEARCH * HTTP/1.1\r\nPort: 0\r\nInfohash: {hash}\r\n"),
            format!("BT-SEARCH * HTTP/1.1\r\nPort: 65536\r\nInfohash: {hash}\r\n"),
            "BT-SEARCH * HTTP/1.1\r\nPort: 1\r\nInfohash: 00\r\n".to_owned(),
            format!("BT-SEARCH * HTTP/1.1\r\nPort: 1\r\nInfohash: {}\r\n", "g0".repeat(20)),
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse(&[0xff; 3_000]), None);
    }

    proptest! {
        #[test]
        fn what_is_sent_is_read_back_and_fits(
            hashes in proptest::collection::btree_set(any::<[u8; 20]>(), 1..100),
            port in 1_u16..,
            cookie in "[0-9a-f]{1,16}",
        ) {
            let hashes: Vec<[u8; 20]> = hashes.into_iter().collect();
            let mut read = Vec::new();
            for datagram in build("[ff15::efc0:988f]:6771", port, &hashes, &cookie) {
                prop_assert!(datagram.len() <= MAX_SENT);
                let announce = parse(&datagram).expect("an announce");
                prop_assert_eq!((announce.port, announce.cookie.as_deref()), (port, Some(cookie.as_str())));
                read.extend(announce.hashes);
            }
            prop_assert_eq!(read, hashes);
        }

        #[test]
        fn any_bytes_are_read_within_bounds(bytes in vec(any::<u8>(), 0..2_000)) {
            if let Some(announce) = parse(&bytes) {
                prop_assert!((1..=MAX_HASHES).contains(&announce.hashes.len()));
            }
        }
    }
}
