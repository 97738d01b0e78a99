//! The extension handshake: a dictionary of what the sender speaks (BEP 10), with what BEP 9 and 21 add to it.
//!
//! Read leniently: a value of the wrong type or range counts as absent, unknown keys are passed over. What is no
//! dictionary, or nests deeper than any handshake does, is refused.

use crate::ExtendedHandshake;
use bendy::encoding::{AsString, Encoder, Error};
use shoal_bencode::{Document, Limits};
use std::net::IpAddr;

/// Characters kept of a client's name. Chosen: a name, not a message.
const MAX_CLIENT_CHARS: usize = 64;
/// The dictionary and `m` within it, plus one level that bendy counts for a string.
const WRITE_DEPTH: usize = 3;
/// Real handshakes have two levels and under a hundred tokens; chosen with room for extensions to come.
const READ: Limits = Limits { depth: 8, tokens: 2_000 };

/// The payload to send.
pub(crate) fn encode(handshake: &ExtendedHandshake) -> Vec<u8> {
    write(handshake).expect("keys are written in order, two levels deep")
}

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
        if handshake.super_seeding {
            dict.emit_pair(b"super_seeding", 1)?;
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

/// The handshake in a payload; `None` if it is no dictionary.
pub(crate) fn decode(payload: &[u8]) -> Option<ExtendedHandshake> {
    let document = Document::parse_prefix(payload, READ).ok()?;
    let dict = document.root().as_dict()?;
    let extensions = dict.get(b"m").and_then(|m| m.as_dict());
    let id = |name: &[u8]| {
        let id = extensions?.get(name)?.as_int()?;
        u8::try_from(id).ok().filter(|&id| id != 0)
    };
    let number = |key: &[u8]| dict.get(key)?.as_int();
    let text = |key: &[u8]| dict.get(key)?.as_bytes();
    Some(ExtendedHandshake {
        ut_metadata: id(b"ut_metadata"),
        ut_pex: id(b"ut_pex"),
        lt_donthave: id(b"lt_donthave"),
        upload_only_id: id(b"upload_only"),
        ut_holepunch: id(b"ut_holepunch"),
        client: text(b"v").map(|name| {
            // Four bytes a character at most, so that a long name is not looked through.
            let name = &name[..name.len().min(4 * MAX_CLIENT_CHARS)];
            String::from_utf8_lossy(name).chars().take(MAX_CLIENT_CHARS).collect()
        }),
        port: number(b"p").and_then(|port| u16::try_from(port).ok()).filter(|&port| port != 0),
        reqq: number(b"reqq").and_then(|reqq| u32::try_from(reqq).ok()),
        metadata_size: number(b"metadata_size").and_then(|size| u64::try_from(size).ok()),
        your_ip: text(b"yourip").and_then(|ip| match ip.len() {
            4 => Some(IpAddr::from(<[u8; 4]>::try_from(ip).ok()?)),
            16 => Some(IpAddr::from(<[u8; 16]>::try_from(ip).ok()?).to_canonical()),
            _ => None,
        }),
        upload_only: number(b"upload_only").is_some_and(|only| only != 0),
        super_seeding: number(b"super_seeding").is_some_and(|super_seeding| super_seeding != 0),
    })
}
