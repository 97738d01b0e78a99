//! PCP's MAP (RFC 6887), bytes to values and back.
//!
//! A request is a header of 24 bytes (section 7.1) and 36 of MAP (11.1); an answer has the same lengths. The nonce ties an
//! answer to its request, so that nobody beside the path can forge one. Options are neither sent nor read.

use super::nat_pmp::Transport;
use std::net::{IpAddr, Ipv6Addr};

/// The version in each packet.
pub(super) const VERSION: u8 = 2;
/// The operation that maps a port, and the one that only says when the gateway lost its table.
const MAP: u8 = 1;
const ANNOUNCE: u8 = 0;
/// The bit that makes an answer of an operation.
const ANSWER: u8 = 0x80;
/// Bytes of a header, and of MAP.
const HEADER: usize = 24;

/// Chosen by us at random, for each port (11.2).
pub type Nonce = [u8; 12];

/// What a gateway is asked: a port, removed by a lifetime of 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Request {
    /// From where we ask; the gateway compares it with the packet's source.
    pub(super) client: IpAddr,
    pub(super) nonce: Nonce,
    pub(super) transport: Transport,
    pub(super) internal_port: u16,
    pub(super) suggested_port: u16,
    pub(super) lifetime_s: u32,
}

impl Request {
    pub(super) fn encode(self) -> Vec<u8> {
        let mut bytes = header(MAP, self.lifetime_s, self.client);
        bytes.extend(self.nonce);
        bytes.extend([protocol(self.transport), 0, 0, 0]);
        bytes.extend(self.internal_port.to_be_bytes());
        bytes.extend(self.suggested_port.to_be_bytes());
        // Any public address, of the client's family (11.1).
        bytes.extend(mapped(if self.client.is_ipv4() { IpAddr::from([0; 4]) } else { IpAddr::from([0_u16; 8]) }));
        bytes
    }
}

/// Asks only for the epoch (14.1.1).
pub(super) fn announce(client: IpAddr) -> Vec<u8> {
    header(ANNOUNCE, 0, client)
}

fn header(operation: u8, lifetime_s: u32, client: IpAddr) -> Vec<u8> {
    let mut bytes = vec![VERSION, operation, 0, 0];
    bytes.extend(lifetime_s.to_be_bytes());
    bytes.extend(mapped(client));
    bytes
}

/// The protocol's number at IANA.
fn protocol(transport: Transport) -> u8 {
    match transport {
        Transport::Tcp => 6,
        Transport::Udp => 17,
    }
}

/// IPv4 in the clothes of IPv6 (section 5).
fn mapped(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// What a gateway answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// A port is mapped, or removed if `lifetime_s` is 0; or refused, by a result that is not 0 (then `lifetime_s` says for
    /// how long).
    Map {
        /// 0 is success; others in section 7.4.
        result: u8,
        /// How long, in seconds.
        lifetime_s: u32,
        /// Seconds since it last lost its table.
        epoch_s: u32,
        /// The request's.
        nonce: Nonce,
        /// For which transport.
        transport: Transport,
        /// Ours.
        internal_port: u16,
        /// Its own.
        external_port: u16,
        /// Its public address.
        external_ip: IpAddr,
    },
    /// The epoch alone.
    Epoch {
        /// Seconds since it last lost its table.
        epoch_s: u32,
    },
    /// It refuses, and does not say which request.
    Refused {
        /// Section 7.4.
        result: u8,
    },
}

/// Reads an answer; `None` if it is none. What follows the fields (options) is passed over.
pub fn decode(bytes: &[u8]) -> Option<Answer> {
    let (header, body) = bytes.split_first_chunk::<HEADER>()?;
    let [version, operation, _, result, ..] = *header;
    if version != VERSION || operation & ANSWER == 0 {
        return None;
    }
    let number = |at: usize| Some(u32::from_be_bytes(*header.get(at..)?.first_chunk()?));
    let (lifetime_s, epoch_s) = (number(4)?, number(8)?);
    match (operation & !ANSWER, result) {
        (ANNOUNCE, 0) => Some(Answer::Epoch { epoch_s }),
        (MAP, _) => {
            let (nonce, rest) = body.split_first_chunk::<12>()?;
            let (&[protocol, _, _, _, a, b, c, d], rest) = rest.split_first_chunk()?;
            let (ip, _) = rest.split_first_chunk::<16>()?;
            let transport = match protocol {
                6 => Transport::Tcp,
                17 => Transport::Udp,
                _ => return None,
            };
            Some(Answer::Map {
                result,
                lifetime_s,
                epoch_s,
                nonce: *nonce,
                transport,
                internal_port: u16::from_be_bytes([a, b]),
                external_port: u16::from_be_bytes([c, d]),
                external_ip: Ipv6Addr::from(*ip).to_canonical(),
            })
        }
        (_, 0) => None,
        (_, result) => Some(Answer::Refused { result }),
    }
}

/// What a result code means (section 7.4).
pub(super) fn describe(result: u8) -> String {
    match result {
        1 => "it does not speak this version".to_owned(),
        2 => "port mapping is switched off in the router".to_owned(),
        4 | 5 => "it does not know the operation".to_owned(),
        7 => "the router itself has no network".to_owned(),
        8 | 10 => "the router has no room for it".to_owned(),
        12 => "another NAT stands between this computer and the router".to_owned(),
        other => format!("code {other}"),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The gateway's side.
    pub(in crate::mapping) fn encode(answer: Answer) -> Vec<u8> {
        let head = |operation: u8, result: u8, lifetime_s: u32, epoch_s: u32| {
            let mut bytes = vec![VERSION, operation | ANSWER, 0, result];
            bytes.extend(lifetime_s.to_be_bytes());
            bytes.extend(epoch_s.to_be_bytes());
            bytes.extend([0; 12]);
            bytes
        };
        match answer {
            Answer::Epoch { epoch_s } => head(ANNOUNCE, 0, 0, epoch_s),
            Answer::Refused { result } => head(ANNOUNCE, result, 0, 0),
            Answer::Map {
                result,
                lifetime_s,
                epoch_s,
                nonce,
                transport,
                internal_port,
                external_port,
                external_ip,
            } => {
                let mut bytes = head(MAP, result, lifetime_s, epoch_s);
                bytes.extend(nonce);
                bytes.extend([protocol(transport), 0, 0, 0]);
                bytes.extend(internal_port.to_be_bytes());
                bytes.extend(external_port.to_be_bytes());
                bytes.extend(mapped(external_ip));
                bytes
            }
        }
    }

    fn maps() -> impl Strategy<Value = Answer> {
        let transport = prop_oneof![Just(Transport::Tcp), Just(Transport::Udp)];
        let numbers = (any::<u8>(), any::<u32>(), any::<u32>(), any::<u16>(), any::<u16>());
        (numbers, any::<Nonce>(), transport, any::<[u8; 4]>()).prop_map(|(numbers, nonce, transport, ip)| {
            let (result, lifetime_s, epoch_s, internal_port, external_port) = numbers;
            let external_ip = IpAddr::from(ip);
            Answer::Map { result, lifetime_s, epoch_s, nonce, transport, internal_port, external_port, external_ip }
        })
    }

    proptest! {
        #[test]
        fn what_a_gateway_says_is_read_as_it_is_said(answer in maps(), more in any::<Vec<u8>>()) {
            let bytes = encode(answer);
            prop_assert_eq!(decode(&bytes), Some(answer));
            prop_assert_eq!(decode(&[bytes.clone(), more].concat()), Some(answer));
            for end in 0..bytes.len() {
                prop_assert_eq!(decode(&bytes[..end]), None);
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in any::<Vec<u8>>()) {
            let _ = decode(&bytes);
        }
    }

    #[test]
    fn a_request_is_as_the_rfc_draws_it() {
        let request = Request {
            client: "192.168.1.7".parse().unwrap(),
            nonce: [9; 12],
            transport: Transport::Udp,
            internal_port: 6881,
            suggested_port: 0,
            lifetime_s: 7200,
        };
        let bytes = request.encode();
        assert_eq!(bytes.len(), 60);
        assert_eq!(bytes[..8], [2, 1, 0, 0, 0, 0, 0x1c, 0x20]);
        assert_eq!(bytes[8..24], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 168, 1, 7]);
        assert_eq!(bytes[24..44], [9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 17, 0, 0, 0, 0x1a, 0xe1, 0, 0]);
        assert_eq!(announce("192.168.1.7".parse().unwrap()).len(), 24);
    }
}
