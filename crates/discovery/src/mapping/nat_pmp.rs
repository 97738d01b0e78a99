//! NAT-PMP (RFC 6886), bytes to values and back.
//!
//! A request is 2 or 12 bytes, an answer 8, 12 or 16, always from port 5351 of the gateway. Everything here is pure; whether an
//! answer fits a request is for the machine to say.

use std::net::Ipv4Addr;

/// The version in each packet.
pub(super) const VERSION: u8 = 0;
/// Added to the request's operation in its answer (RFC 6886, 3.2).
const ANSWER: u8 = 128;

/// TCP or UDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Transport {
    fn operation(self) -> u8 {
        match self {
            Transport::Udp => 1,
            Transport::Tcp => 2,
        }
    }
}

/// What a gateway is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Request {
    /// Its public address (3.2).
    Address,
    /// A port (3.3); removed (3.4) by a lifetime of 0 with a suggested port of 0.
    Map { transport: Transport, internal_port: u16, suggested_port: u16, lifetime_s: u32 },
}

impl Request {
    pub(super) fn encode(self) -> Vec<u8> {
        match self {
            Request::Address => vec![VERSION, 0],
            Request::Map { transport, internal_port, suggested_port, lifetime_s } => {
                let mut bytes = vec![VERSION, transport.operation(), 0, 0];
                bytes.extend(internal_port.to_be_bytes());
                bytes.extend(suggested_port.to_be_bytes());
                bytes.extend(lifetime_s.to_be_bytes());
                bytes
            }
        }
    }
}

/// What a gateway answers. `epoch_s`: seconds since it last lost its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Its public address.
    Address {
        /// Seconds since it last lost its table.
        epoch_s: u32,
        /// The address.
        address: Ipv4Addr,
    },
    /// A port is mapped, or removed if `lifetime_s` is 0.
    Map {
        /// For which transport.
        transport: Transport,
        /// Seconds since it last lost its table.
        epoch_s: u32,
        /// Ours.
        internal_port: u16,
        /// Its own.
        external_port: u16,
        /// How long.
        lifetime_s: u32,
    },
    /// It refuses: the result code of RFC 6886, 3.5. `None`: to the question for its address.
    Refused {
        /// Which request.
        transport: Option<Transport>,
        /// Why.
        result: u16,
    },
}

/// Reads an answer; `None` if it is none. What follows the fields is passed over.
pub fn decode(bytes: &[u8]) -> Option<Answer> {
    let (&[version, operation, high, low], rest) = bytes.split_first_chunk()?;
    if version != VERSION {
        return None;
    }
    let transport = match operation.checked_sub(ANSWER)? {
        0 => None,
        1 => Some(Transport::Udp),
        2 => Some(Transport::Tcp),
        _ => return None,
    };
    let result = u16::from_be_bytes([high, low]);
    if result != 0 {
        return Some(Answer::Refused { transport, result });
    }
    let (epoch, rest) = rest.split_first_chunk::<4>()?;
    let epoch_s = u32::from_be_bytes(*epoch);
    let Some(transport) = transport else {
        let (address, _) = rest.split_first_chunk::<4>()?;
        return Some(Answer::Address { epoch_s, address: Ipv4Addr::from(*address) });
    };
    let (&[a, b, c, d], rest) = rest.split_first_chunk()?;
    let (lifetime, _) = rest.split_first_chunk::<4>()?;
    Some(Answer::Map {
        transport,
        epoch_s,
        internal_port: u16::from_be_bytes([a, b]),
        external_port: u16::from_be_bytes([c, d]),
        lifetime_s: u32::from_be_bytes(*lifetime),
    })
}

/// What a result code means (RFC 6886, 3.5).
pub(super) fn describe(result: u16) -> String {
    match result {
        1 => "it does not speak this version".to_owned(),
        2 => "port mapping is switched off in the router".to_owned(),
        3 => "the router itself has no network".to_owned(),
        4 => "the router has no room for it".to_owned(),
        5 => "it does not know the operation".to_owned(),
        other => format!("code {other}"),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The gateway's side.
    pub(in crate::mapping) fn encode(answer: Answer) -> Vec<u8> {
        match answer {
            Answer::Address { epoch_s, address } => {
                [&[0, 128, 0, 0][..], &epoch_s.to_be_bytes(), &address.octets()].concat()
            }
            Answer::Map { transport, epoch_s, internal_port, external_port, lifetime_s } => [
                &[0, 128 + transport.operation(), 0, 0][..],
                &epoch_s.to_be_bytes(),
                &internal_port.to_be_bytes(),
                &external_port.to_be_bytes(),
                &lifetime_s.to_be_bytes(),
            ]
            .concat(),
            Answer::Refused { transport, result } => {
                let operation = 128 + transport.map_or(0, Transport::operation);
                [&[0, operation][..], &result.to_be_bytes(), &[0; 4]].concat()
            }
        }
    }

    fn answers() -> impl Strategy<Value = Answer> {
        let transport = prop_oneof![Just(Transport::Tcp), Just(Transport::Udp)];
        let map = (transport.clone(), any::<u32>(), any::<u16>(), any::<u16>(), any::<u32>());
        prop_oneof![
            (any::<u32>(), any::<u32>())
                .prop_map(|(epoch_s, ip)| Answer::Address { epoch_s, address: Ipv4Addr::from(ip) }),
            map.prop_map(|(transport, epoch_s, internal_port, external_port, lifetime_s)| Answer::Map {
                transport,
                epoch_s,
                internal_port,
                external_port,
                lifetime_s
            }),
            (proptest::option::of(transport), 1..=u16::MAX)
                .prop_map(|(transport, result)| Answer::Refused { transport, result }),
        ]
    }

    proptest! {
        #[test]
        fn what_a_gateway_says_is_read_as_it_is_said(answer in answers(), more in any::<Vec<u8>>()) {
            let bytes = encode(answer);
            prop_assert_eq!(decode(&bytes), Some(answer));
            prop_assert_eq!(decode(&[bytes.clone(), more].concat()), Some(answer));
            if !matches!(answer, Answer::Refused { .. }) {
                for end in 0..bytes.len() {
                    prop_assert_eq!(decode(&bytes[..end]), None);
                }
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in any::<Vec<u8>>()) {
            let _ = decode(&bytes);
        }
    }

    #[test]
    fn requests_are_as_the_rfc_draws_them() {
        assert_eq!(Request::Address.encode(), [0, 0]);
        let map =
            Request::Map { transport: Transport::Tcp, internal_port: 6881, suggested_port: 6882, lifetime_s: 7200 };
        assert_eq!(map.encode(), [0, 2, 0, 0, 0x1a, 0xe1, 0x1a, 0xe2, 0, 0, 0x1c, 0x20]);
    }
}
