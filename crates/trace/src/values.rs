//! How the values of events are written.
//!
//! Structs name all their fields, so that one that is added does not compile until it is written too.

use crate::field::{Field, fields, keys, words};
use shoal_layout::{BlockRef, FileIndex, PieceIndex};
use shoal_metainfo::{InfoHashV1, InfoHashV2, InfoHashes};
use shoal_pieces::PickMode;
use shoal_swarm::{
    AnnounceReply, Credit, DialFailure, Direction, FetchFailure, FetchFault, FetchKey, PeerKey, Sought, Source,
    SourceError, SourceErrorKind, SwarmConfig, TrackerKey, Via, WebSeedKey,
};
use shoal_wire::{Decoded, Extended, Frame, Handshake, Limits, Message, RawBlock, decode, encode};

keys!(PieceIndex, FileIndex, PeerKey, TrackerKey, WebSeedKey, FetchKey, InfoHashV1, InfoHashV2);

fields! {
    BlockRef { piece, begin, length }
    RawBlock { piece, begin, length }
    Handshake { reserved, info_hash, peer_id }
    InfoHashes { v1, v2 }
    Sought { responders, peers, announced, nodes }
    SourceError { kind, text }
    FetchFailure { fault, error, retry_after }
    Credit { up, down }
    AnnounceReply {
        interval, min_interval, tracker_id, seeds, leeches, peers, forbidden, warning, external_ip,
    }
    SwarmConfig {
        hashes, peer_id, listen_port, own_addresses, near_only, trackers, dht, dht_port, lan, web_seeds, client, order,
        super_seed, serve_only, max_peers, max_assembly_bytes,
    }
}

words! {
    Via { 0 Dht, 1 Lan }
    Source { 0 User, 1 Link, 2 Lan, 3 Tracker, 4 Dht, 5 Pex, 6 Incoming }
    Direction { 0 Incoming, 1 Outgoing }
    DialFailure { 0 Refused, 1 Silent, 2 NoRoute, 3 Broke }
    PickMode { 0 RarestFirst, 1 Random, 2 Sequential, 3 InOrder }
    SourceErrorKind {
        0 NoRoute, 1 Dns, 2 Clock, 3 Tls, 4 Forbidden, 5 Refusal, 6 Nonsense, 7 Refused, 8 Silent, 9 Unusable,
    }
}

impl Field for FetchFault {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            FetchFault::Passing => out.push(0),
            FetchFault::Missing(file) => {
                out.push(1);
                file.put(out);
            }
            FetchFault::Useless => out.push(2),
            FetchFault::Busy => out.push(3),
        }
    }

    fn take(rest: &mut &[u8]) -> Option<FetchFault> {
        Some(match u8::take(rest)? {
            0 => FetchFault::Passing,
            1 => FetchFault::Missing(FileIndex::take(rest)?),
            2 => FetchFault::Useless,
            3 => FetchFault::Busy,
            _ => return None,
        })
    }
}

/// As they are on the wire, but for those that were drained: of these only the length is known.
impl Field for Message {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Message::Unknown { id, length } => {
                out.push(1);
                (*id, *length).put(out);
            }
            Message::Extended { id, message: Extended::Unknown { length } } => {
                out.push(2);
                (*id, *length).put(out);
            }
            message => {
                out.push(0);
                encode(message, out);
            }
        }
    }

    fn take(rest: &mut &[u8]) -> Option<Message> {
        match u8::take(rest)? {
            0 => {
                let Ok(Decoded::Frame { consumed, frame: Frame::Message(message) }) = decode(rest, &Limits::UNKNOWN)
                else {
                    return None;
                };
                *rest = rest.get(consumed..)?;
                Some(message)
            }
            1 => {
                let (id, length) = Field::take(rest)?;
                Some(Message::Unknown { id, length })
            }
            2 => {
                let (id, length) = Field::take(rest)?;
                Some(Message::Extended { id, message: Extended::Unknown { length } })
            }
            _ => None,
        }
    }
}
