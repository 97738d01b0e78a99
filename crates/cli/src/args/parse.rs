//! Values that are no plain numbers, from the words that users write.

use crate::size::parse_size;

/// A power of two from 16 KiB to 64 MiB: BEP 52's least, and the most that this program's own downloads are tested with.
pub(super) fn parse_piece_length(text: &str) -> Result<u64, String> {
    let length = parse_size(text)?;
    if length.is_power_of_two() && (16 << 10..=64 << 20).contains(&length) {
        return Ok(length);
    }
    Err(format!("'{text}' is not a power of two from 16KiB to 64MiB"))
}

/// `HOST:PORT`; an IPv6 address stands in brackets.
pub(super) fn parse_peer(text: &str) -> Result<(String, u16), String> {
    let bad = || format!("'{text}' is not HOST:PORT, as in example.org:6881, 10.0.0.7:6881 or [2001:db8::7]:6881");
    if let Ok(addr) = text.parse::<std::net::SocketAddr>() {
        return if addr.port() == 0 { Err(bad()) } else { Ok((addr.ip().to_string(), addr.port())) };
    }
    let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
    let port: u16 = port.parse().map_err(|_| bad())?;
    let named = !host.is_empty() && host.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '.' | '_'));
    if named && port != 0 { Ok((host.to_owned(), port)) } else { Err(bad()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_host_and_port() {
        assert_eq!(parse_peer("10.0.0.7:6881"), Ok(("10.0.0.7".to_owned(), 6881)));
        assert_eq!(parse_peer("[::1]:1"), Ok(("::1".to_owned(), 1)));
        assert_eq!(parse_peer("example.org:6881"), Ok(("example.org".to_owned(), 6881)));
        for text in ["", "host", "host:", ":1", "host:0", "1.2.3.4:0", "host:70000", "::1:6881", "a b:1", "http://x:1"]
        {
            assert!(parse_peer(text).is_err(), "{text}");
        }
    }

    #[test]
    fn piece_lengths_are_powers_of_two_within_bounds() {
        assert_eq!(parse_piece_length("16KiB"), Ok(16384));
        assert_eq!(parse_piece_length("4Mi"), Ok(4 << 20));
        for text in ["8KiB", "16k", "100KiB", "128MiB", "0"] {
            assert!(parse_piece_length(text).is_err(), "{text}");
        }
    }
}
