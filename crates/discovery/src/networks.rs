//! Which addresses may be used, by who named them.
//!
//! A torrent or a peer from elsewhere must not make this machine talk to things inside its own network (reliability.md D1,
//! B6). The rule is the product's: what the user typed is always accepted; what others named is accepted on public
//! addresses; trackers are also accepted on private ones at a path that begins with `/announce`, and what a tracker itself
//! names may be as near as the tracker; `--allow-private-networks` accepts all of it. Pure functions with their tables; the caller
//! applies them to addresses, after names were resolved.

use percent_encoding::percent_decode_str;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// How near an address is. In the order of nearness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// The internet.
    Public,
    /// An organisation's or a home's network: RFC 1918, RFC 6598, unique local IPv6 addresses.
    Private,
    /// This machine or this link: loopback and link-local.
    Local,
}

/// How near an address is; `None` if no peer or tracker can have it (unspecified, multicast, broadcast, reserved).
pub fn scope(ip: IpAddr) -> Option<Scope> {
    match ip {
        IpAddr::V4(v4) => scope_v4(v4),
        IpAddr::V6(v6) => scope_v6(v6),
    }
}

fn scope_v4(ip: Ipv4Addr) -> Option<Scope> {
    let [a, b, ..] = ip.octets();
    match a {
        // "This network" (RFC 1122), multicast and reserved (RFC 1112).
        0 | 224.. => None,
        127 => Some(Scope::Local),
        169 if b == 254 => Some(Scope::Local),
        _ if ip.is_private() => Some(Scope::Private),
        // Shared by a provider's customers (RFC 6598).
        100 if b & 0xc0 == 64 => Some(Scope::Private),
        _ => Some(Scope::Public),
    }
}

fn scope_v6(ip: Ipv6Addr) -> Option<Scope> {
    if let Some(v4) = ip.to_ipv4_mapped().or_else(|| translated(ip)) {
        return scope_v4(v4);
    }
    let first = ip.segments()[0];
    if ip.is_unspecified() || ip.is_multicast() {
        None
    } else if ip.is_loopback() || first & 0xffc0 == 0xfe80 {
        Some(Scope::Local)
    } else if first & 0xfe00 == 0xfc00 || first & 0xffc0 == 0xfec0 {
        Some(Scope::Private)
    } else {
        Some(Scope::Public)
    }
}

/// The IPv4 address behind a translator's well-known prefix (RFC 6052) or a 6to4 router (RFC 3056).
fn translated(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let segments = ip.segments();
    let (high, low) = match segments {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => (high, low),
        [0x2002, high, low, ..] => (high, low),
        _ => return None,
    };
    let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
    Some(Ipv4Addr::new(a, b, c, d))
}

/// What a server is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Peers: a tracker. Organisations run their own, and torrents name it by a private address.
    Tracker,
    /// A file: a web seed, or a torrent file.
    File,
}

/// Who named a server's URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// The user typed it.
    ByUser,
    /// It came with a torrent or a link.
    ByTorrent,
    /// A server that lies in this scope sent us there.
    ByRedirect(Scope),
}

/// Whether a server at this address may be asked for this path (percent-encoded, as a URL has it).
pub fn server_allowed(asked: Asked, named: Named, ip: IpAddr, path: &str, allow_private_networks: bool) -> bool {
    let Some(scope) = scope(ip) else { return false };
    if allow_private_networks {
        return true;
    }
    match named {
        Named::ByUser => true,
        Named::ByTorrent => match scope {
            Scope::Public => true,
            Scope::Private => asked == Asked::Tracker && is_announce(path),
            Scope::Local => false,
        },
        Named::ByRedirect(from) => scope <= from,
    }
}

/// Whether a path is a tracker's by its look. Dots that a server might decode later lead elsewhere and are refused.
fn is_announce(path: &str) -> bool {
    let decoded = percent_decode_str(path).decode_utf8_lossy();
    path.starts_with("/announce") && !decoded.split(['/', '\\']).any(|part| part == "..")
}

/// Whether a peer that others named may be dialed: `by` is the scope of the tracker that named it, or [`Scope::Public`] for
/// peers from the DHT and from other peers. What the user typed, the link's `x.pe` and LAN discovery are not asked about.
pub fn peer_allowed(by: Scope, peer: SocketAddr, allow_private_networks: bool) -> bool {
    // Port 0 cannot be dialed.
    peer.port() != 0 && scope(peer.ip()).is_some_and(|scope| allow_private_networks || scope <= by)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_have_the_scope_that_their_rfc_says() {
        for (text, expected) in [
            ("1.2.3.4", Some(Scope::Public)),
            ("10.0.0.1", Some(Scope::Private)),
            ("172.15.0.1", Some(Scope::Public)),
            ("172.16.0.1", Some(Scope::Private)),
            ("172.31.255.255", Some(Scope::Private)),
            ("172.32.0.1", Some(Scope::Public)),
            ("192.168.1.1", Some(Scope::Private)),
            ("100.63.0.1", Some(Scope::Public)),
            ("100.64.0.1", Some(Scope::Private)),
            ("100.127.0.1", Some(Scope::Private)),
            ("100.128.0.1", Some(Scope::Public)),
            ("127.0.0.1", Some(Scope::Local)),
            ("127.9.9.9", Some(Scope::Local)),
            ("169.254.169.254", Some(Scope::Local)),
            ("0.0.0.0", None),
            ("0.1.2.3", None),
            ("224.0.0.1", None),
            ("255.255.255.255", None),
            ("2600::1", Some(Scope::Public)),
            ("::1", Some(Scope::Local)),
            ("fe80::1", Some(Scope::Local)),
            ("fd00::1", Some(Scope::Private)),
            ("fec0::1", Some(Scope::Private)),
            ("::", None),
            ("ff02::1", None),
            ("::ffff:127.0.0.1", Some(Scope::Local)),
            ("::ffff:10.0.0.1", Some(Scope::Private)),
            ("64:ff9b::7f00:1", Some(Scope::Local)),
            ("2002:a00:1::", Some(Scope::Private)),
        ] {
            assert_eq!(scope(ip(text)), expected, "{text}");
        }
    }

    #[test]
    fn trackers_are_accepted_as_the_product_says() {
        use Named::{ByRedirect, ByTorrent, ByUser};
        use Scope::{Local, Private, Public};
        for (named, at, path, expected) in [
            (ByUser, "127.0.0.1", "/x", true),
            (ByUser, "169.254.169.254", "/", true),
            (ByUser, "0.0.0.0", "/announce", false),
            (ByTorrent, "1.2.3.4", "/x", true),
            (ByTorrent, "10.0.0.1", "/announce", true),
            (ByTorrent, "10.0.0.1", "/announce.php", true),
            (ByTorrent, "10.0.0.1", "/admin", false),
            (ByTorrent, "10.0.0.1", "/announce/..%2fadmin", false),
            (ByTorrent, "10.0.0.1", "/announce/%2e.%5cadmin", false),
            (ByTorrent, "fd00::1", "/announce/key", true),
            (ByTorrent, "127.0.0.1", "/announce", false),
            (ByTorrent, "::1", "/announce", false),
            (ByTorrent, "::ffff:127.0.0.1", "/announce", false),
            (ByTorrent, "169.254.169.254", "/announce", false),
            (ByRedirect(Public), "1.2.3.4", "/x", true),
            (ByRedirect(Public), "10.0.0.1", "/announce", false),
            (ByRedirect(Private), "10.0.0.1", "/announce", true),
            (ByRedirect(Private), "127.0.0.1", "/announce", false),
            (ByRedirect(Local), "127.0.0.1", "/announce", true),
        ] {
            let allowed = |asked, anyone| server_allowed(asked, named, ip(at), path, anyone);
            assert_eq!(allowed(Asked::Tracker, false), expected, "{named:?} {at} {path}");
            assert_eq!(allowed(Asked::Tracker, true), scope(ip(at)).is_some(), "{named:?} {at} {path}");
            // Files on private networks are the user's own business only.
            let near = named == ByTorrent && scope(ip(at)) != Some(Public);
            assert_eq!(allowed(Asked::File, false), expected && !near, "{named:?} {at} {path}");
        }
    }

    #[test]
    fn peers_that_others_named_are_no_nearer_than_who_named_them() {
        for (by, peer, expected) in [
            (Scope::Public, "1.2.3.4:6881", true),
            (Scope::Public, "1.2.3.4:0", false),
            (Scope::Public, "10.0.0.1:6881", false),
            (Scope::Public, "127.0.0.1:6881", false),
            (Scope::Private, "10.0.0.1:6881", true),
            (Scope::Private, "[fe80::1]:6881", false),
            (Scope::Local, "127.0.0.1:6881", true),
            (Scope::Local, "0.0.0.0:6881", false),
        ] {
            let peer: SocketAddr = peer.parse().unwrap();
            assert_eq!(peer_allowed(by, peer, false), expected, "{by:?} {peer}");
            assert_eq!(peer_allowed(by, peer, true), peer.port() != 0 && scope(peer.ip()).is_some(), "{by:?} {peer}");
        }
    }
}
