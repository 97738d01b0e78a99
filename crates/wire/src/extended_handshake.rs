//! The extension handshake: a dictionary of what the sender speaks (BEP 10), with what BEP 9 and 21 add to it.
//!
//! Read leniently: a value of the wrong type or range counts as absent, unknown keys are passed over. What is no
//! dictionary, or nests deeper than any handshake does, is refused.

use crate::ExtendedHandshake;
use shoal_bencode::{Dict, Document, Limits, Value};
use std::net::IpAddr;

/// Characters kept of a client's name. Chosen: a name, not a message.
const MAX_CLIENT_CHARS: usize = 64;
/// Room for a handshake of ours, so that it is not moved while it grows.
const USUAL_BYTES: usize = 256;
/// Real handshakes have two levels and under a hundred tokens; chosen with room for extensions to come.
const READ: Limits = Limits { depth: 8, tokens: 2_000 };

/// The payload to send: its keys in order, as bencode wants them. Written here and not by bendy, which took 7 % of all instructions
/// of a simulated swarm of 100; a test compares the two.
pub(crate) fn encode(handshake: &ExtendedHandshake) -> Vec<u8> {
    let mut out = Vec::with_capacity(USUAL_BYTES);
    out.extend_from_slice(b"d1:md");
    let ids: [(&str, Option<u8>); 5] = [
        ("lt_donthave", handshake.lt_donthave),
        ("upload_only", handshake.upload_only_id),
        ("ut_holepunch", handshake.ut_holepunch),
        ("ut_metadata", handshake.ut_metadata),
        ("ut_pex", handshake.ut_pex),
    ];
    for (name, id) in ids {
        put_number(&mut out, name, id.map(u64::from));
    }
    out.push(b'e');
    put_number(&mut out, "metadata_size", handshake.metadata_size);
    put_number(&mut out, "p", handshake.port.map(u64::from));
    put_number(&mut out, "reqq", handshake.reqq.map(u64::from));
    put_number(&mut out, "upload_only", handshake.upload_only.then_some(1));
    if let Some(client) = &handshake.client {
        put_string(&mut out, b"v");
        put_string(&mut out, client.as_bytes());
    }
    if let Some(ip) = handshake.your_ip {
        put_string(&mut out, b"yourip");
        match ip {
            IpAddr::V4(ip) => put_string(&mut out, &ip.octets()),
            IpAddr::V6(ip) => put_string(&mut out, &ip.octets()),
        }
    }
    out.push(b'e');
    out
}

fn put_number(out: &mut Vec<u8>, key: &str, number: Option<u64>) {
    if let Some(number) = number {
        put_string(out, key.as_bytes());
        out.push(b'i');
        put_digits(out, number);
        out.push(b'e');
    }
}

fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    put_digits(out, bytes.len() as u64);
    out.push(b':');
    out.extend_from_slice(bytes);
}

fn put_digits(out: &mut Vec<u8>, number: u64) {
    let first = out.len();
    let mut left = number;
    loop {
        out.push(b'0' + (left % 10) as u8);
        left /= 10;
        if left == 0 {
            break;
        }
    }
    out[first..].reverse();
}

/// The handshake in a payload; `None` if it is no dictionary.
pub(crate) fn decode(payload: &[u8]) -> Option<ExtendedHandshake> {
    let document = Document::parse_prefix(payload, READ).ok()?;
    let dict = document.root().as_dict()?;
    let [extensions, metadata_size, port, reqq, upload_only, client, your_ip] =
        firsts(dict, [b"m", b"metadata_size", b"p", b"reqq", b"upload_only", b"v", b"yourip"]);
    let names: [&[u8]; 5] = [b"ut_metadata", b"ut_pex", b"lt_donthave", b"upload_only", b"ut_holepunch"];
    let ids = extensions.and_then(|m| m.as_dict()).map_or([None; 5], |m| firsts(m, names));
    let [ut_metadata, ut_pex, lt_donthave, upload_only_id, ut_holepunch] =
        ids.map(|id| u8::try_from(id?.as_int()?).ok().filter(|&id| id != 0));
    let number = |value: Option<Value>| value?.as_int();
    Some(ExtendedHandshake {
        ut_metadata,
        ut_pex,
        lt_donthave,
        upload_only_id,
        ut_holepunch,
        client: client.and_then(|name| name.as_bytes()).map(|name| {
            // Four bytes a character at most, so that a long name is not looked through.
            let name = &name[..name.len().min(4 * MAX_CLIENT_CHARS)];
            String::from_utf8_lossy(name).chars().take(MAX_CLIENT_CHARS).collect()
        }),
        port: number(port).and_then(|port| u16::try_from(port).ok()).filter(|&port| port != 0),
        reqq: number(reqq).and_then(|reqq| u32::try_from(reqq).ok()),
        metadata_size: number(metadata_size).and_then(|size| u64::try_from(size).ok()),
        your_ip: your_ip.and_then(|ip| ip.as_bytes()).and_then(|ip| match ip.len() {
            4 => Some(IpAddr::from(<[u8; 4]>::try_from(ip).ok()?)),
            16 => Some(IpAddr::from(<[u8; 16]>::try_from(ip).ok()?).to_canonical()),
            _ => None,
        }),
        upload_only: number(upload_only).is_some_and(|only| only != 0),
    })
}

/// The first value of each of these keys, in one pass.
fn firsts<'d, 'a, const N: usize>(dict: Dict<'d, 'a>, keys: [&[u8]; N]) -> [Option<Value<'d, 'a>>; N] {
    let mut found = [None; N];
    for (key, value) in dict.iter() {
        if let Some(place) = keys.iter().position(|name| *name == key) {
            found[place].get_or_insert(value);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use bendy::encoding::{AsString, Encoder, Error};
    use proptest::prelude::*;

    /// The dictionary and `m` within it, plus one level that bendy counts for a string.
    const WRITE_DEPTH: usize = 3;

    fn write(handshake: &ExtendedHandshake) -> Result<Vec<u8>, Error> {
        let mut encoder = Encoder::new().with_max_depth(WRITE_DEPTH);
        encoder.emit_dict(|mut dict| {
            dict.emit_pair_with(b"m", |item| {
                item.emit_dict(|mut m| {
                    let ids: [(&[u8], Option<u8>); 5] = [
                        (b"lt_donthave", handshake.lt_donthave),
                        (b"upload_only", handshake.upload_only_id),
                        (b"ut_holepunch", handshake.ut_holepunch),
                        (b"ut_metadata", handshake.ut_metadata),
                        (b"ut_pex", handshake.ut_pex),
                    ];
                    for (name, id) in ids {
                        if let Some(id) = id {
                            m.emit_pair(name, id)?;
                        }
                    }
                    Ok(())
                })
            })?;
            if let Some(size) = handshake.metadata_size {
                dict.emit_pair(b"metadata_size", size)?;
            }
            if let Some(port) = handshake.port {
                dict.emit_pair(b"p", port)?;
            }
            if let Some(reqq) = handshake.reqq {
                dict.emit_pair(b"reqq", reqq)?;
            }
            if handshake.upload_only {
                dict.emit_pair(b"upload_only", 1)?;
            }
            if let Some(client) = &handshake.client {
                dict.emit_pair(b"v", client.as_str())?;
            }
            match handshake.your_ip {
                Some(IpAddr::V4(ip)) => dict.emit_pair(b"yourip", AsString(ip.octets())),
                Some(IpAddr::V6(ip)) => dict.emit_pair(b"yourip", AsString(ip.octets())),
                None => Ok(()),
            }
        })?;
        encoder.get_output()
    }

    proptest! {
        #[test]
        fn it_is_what_a_checking_writer_writes(
            ids in any::<[Option<u8>; 5]>(),
            client in any::<Option<String>>(),
            (port, reqq, metadata_size) in any::<(Option<u16>, Option<u32>, Option<u64>)>(),
            your_ip in any::<Option<IpAddr>>(),
            upload_only in any::<bool>(),
        ) {
            let [ut_metadata, ut_pex, lt_donthave, upload_only_id, ut_holepunch] = ids;
            let handshake = ExtendedHandshake {
                ut_metadata,
                ut_pex,
                lt_donthave,
                upload_only_id,
                ut_holepunch,
                client,
                port,
                reqq,
                metadata_size,
                your_ip,
                upload_only,
            };
            prop_assert_eq!(encode(&handshake), write(&handshake).unwrap());
        }
    }
}
