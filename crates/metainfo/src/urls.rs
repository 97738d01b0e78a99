//! Which URLs and hosts of a torrent or a link are of use.
//!
//! They are kept as they were written, but for white space around them and bytes that no URL may hold: trackers compare
//! URLs as text. Whether an address is allowed is for those who connect to decide.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use url::Url;

/// Bytes in a URL, at most. Chosen: what web servers commonly take for a request line.
const MAX_URL_BYTES: usize = 8192;

/// What stands unescaped in some torrents and no request line may hold.
const NOT_IN_URLS: AsciiSet = CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'`');

/// A tracker's URL (BEP 3, 15; WebTorrent's are kept for the programs that use them).
pub(crate) fn tracker(text: &str) -> Option<String> {
    clean(text, &["http", "https", "udp", "ws", "wss"])
}

/// A web seed's URL (BEP 19).
pub(crate) fn web_seed(text: &str) -> Option<String> {
    clean(text, &["http", "https", "ftp"])
}

/// Whether this can be a host: a name or an address, IPv6 without brackets. Nothing is looked up.
pub(crate) fn is_host(text: &str) -> bool {
    if text.contains(':') {
        return text.parse::<std::net::Ipv6Addr>().is_ok();
    }
    // A host name has at most 253 characters (RFC 1035, section 2.3.4).
    (1..=253).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
}

fn clean(text: &str, schemes: &[&str]) -> Option<String> {
    let text = text.trim_matches(|c: char| c.is_whitespace() || c.is_control());
    if text.len() > MAX_URL_BYTES {
        return None;
    }
    // What will be used is what is looked at: the parser leaves out control characters that escaping keeps.
    let escaped = utf8_percent_encode(text, &NOT_IN_URLS).to_string();
    let url = Url::parse(&escaped).ok()?;
    let fits = schemes.contains(&url.scheme()) && url.host_str().is_some_and(|host| !host.is_empty());
    fits.then_some(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_kept_as_written() {
        for url in ["http://a.example/announce?key=%41", "udp://a.example:80", "https://[2001:db8::1]:8/x"] {
            assert_eq!(tracker(url).as_deref(), Some(url));
        }
        assert_eq!(tracker(" udp://a.example/announce \n").as_deref(), Some("udp://a.example/announce"));
        assert_eq!(web_seed("http://a.example/a b/ü").as_deref(), Some("http://a.example/a%20b/%C3%BC"));
    }

    #[test]
    fn urls_of_no_use_are_left_out() {
        for url in ["", "invalid url", "ftp://a.example", "httpfoo://a.example", "magnet:?xt=urn:btih:abc", "http://"] {
            assert_eq!(tracker(url), None, "{url}");
        }
        assert_eq!(tracker(&format!("http://a.example/{}", "a".repeat(MAX_URL_BYTES))), None);
    }

    #[test]
    fn a_url_that_is_kept_is_kept_when_it_is_read_again() {
        assert_eq!(tracker("http://a.example:80\u{7}\0\0").as_deref(), Some("http://a.example:80"));
        for url in ["http://a.example:8\t0/", "http://a\n.example/", "ht\ttp://a.example/", "http://a.example/\0x"] {
            if let Some(kept) = tracker(url) {
                assert_eq!(tracker(&kept).as_deref(), Some(&*kept), "{url:?}");
            }
        }
    }

    #[test]
    fn hosts_are_names_and_addresses() {
        for host in ["localhost", "a.example", "10.0.0.1", "::1", "2001:db8::1"] {
            assert!(is_host(host), "{host}");
        }
        for host in ["", "a b", "a:b", "[::1]", "a/b", "é"] {
            assert!(!is_host(host), "{host}");
        }
    }
}
