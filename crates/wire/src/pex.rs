//! Peer exchange: compact lists of peers that came and went (BEP 11).
//!
//! Addresses are 4 or 16 bytes and a port. At most [`MAX_PEX_PEERS`] of each list are kept, IPv4 before IPv6; trailing
//! bytes that make no whole address are passed over, missing flags are none.

use crate::{PexMessage, PexPeer};
use bendy::encoding::{AsString, Encoder, Error};
use shoal_bencode::{Document, Limits};
use std::net::{IpAddr, SocketAddr};

/// Peers taken from each list of a message, at most (BEP 11: 50; reliability.md B6).
pub const MAX_PEX_PEERS: usize = 50;
/// Real messages have one level and under twenty tokens; chosen with room.
const READ: Limits = Limits { depth: 4, tokens: 200 };

/// The payload to send.
pub(crate) fn encode(message: &PexMessage) -> Vec<u8> {
    write(message).expect("keys are written in order, one level deep")
}

fn write(message: &PexMessage) -> Result<Vec<u8>, Error> {
    let (mut added, mut flags, mut dropped) = <([Vec<u8>; 2], [Vec<u8>; 2], [Vec<u8>; 2])>::default();
    for peer in &message.added {
        let family = push(&mut added, peer.addr);
        flags[family].push(peer.flags);
    }
    for &addr in &message.dropped {
        push(&mut dropped, addr);
    }
    let mut encoder = Encoder::new().with_max_depth(2);
    encoder.emit_dict(|mut dict| {
        dict.emit_pair(b"added", AsString(&added[0]))?;
        dict.emit_pair(b"added.f", AsString(&flags[0]))?;
        if !added[1].is_empty() {
            dict.emit_pair(b"added6", AsString(&added[1]))?;
            dict.emit_pair(b"added6.f", AsString(&flags[1]))?;
        }
        dict.emit_pair(b"dropped", AsString(&dropped[0]))?;
        if !dropped[1].is_empty() {
            dict.emit_pair(b"dropped6", AsString(&dropped[1]))?;
        }
        Ok(())
    })?;
    encoder.get_output()
}

/// Appends a compact address to the list of its family, and says which that is: 0 for IPv4, 1 for IPv6.
fn push(lists: &mut [Vec<u8>; 2], addr: SocketAddr) -> usize {
    let family = match addr.ip().to_canonical() {
        IpAddr::V4(ip) => {
            lists[0].extend(ip.octets());
            0
        }
        IpAddr::V6(ip) => {
            lists[1].extend(ip.octets());
            1
        }
    };
    lists[family].extend(addr.port().to_be_bytes());
    family
}

/// The message in a payload; `None` if it is no dictionary.
pub(crate) fn decode(payload: &[u8]) -> Option<PexMessage> {
    let document = Document::parse_prefix(payload, READ).ok()?;
    let dict = document.root().as_dict()?;
    let text = |key: &[u8]| dict.get(key).and_then(|value| value.as_bytes()).unwrap_or_default();
    let flagged = |addrs: &[SocketAddr], flags: &[u8]| -> Vec<PexPeer> {
        let flag = |i: usize| flags.get(i).copied().unwrap_or_default();
        addrs.iter().enumerate().map(|(i, &addr)| PexPeer { addr, flags: flag(i) }).collect()
    };
    let mut added = flagged(&compact::<4>(text(b"added")), text(b"added.f"));
    added.extend(flagged(&compact::<16>(text(b"added6")), text(b"added6.f")));
    let mut dropped = compact::<4>(text(b"dropped"));
    dropped.extend(compact::<16>(text(b"dropped6")));
    // An IPv4 address may come among IPv6 ones (`::ffff:1.2.3.4`): it goes where it would be written.
    added.sort_by_key(|peer| peer.addr.is_ipv6());
    dropped.sort_by_key(SocketAddr::is_ipv6);
    added.truncate(MAX_PEX_PEERS);
    dropped.truncate(MAX_PEX_PEERS);
    Some(PexMessage { added, dropped })
}

/// Addresses of `N` bytes and a port of two.
fn compact<const N: usize>(bytes: &[u8]) -> Vec<SocketAddr>
where
    IpAddr: From<[u8; N]>,
{
    let addr = |part: &[u8]| {
        let (ip, port) = part.split_first_chunk::<N>()?;
        Some(SocketAddr::new(IpAddr::from(*ip).to_canonical(), u16::from_be_bytes(*port.first_chunk()?)))
    };
    bytes.chunks_exact(N + 2).take(MAX_PEX_PEERS).filter_map(addr).collect()
}
