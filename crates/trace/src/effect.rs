//! What stands for an effect: its kind, and a number over all that it says.
//!
//! Effects are not stored: the machine gives them again. A digest shows that they are the same, and the kinds show a person
//! what was ordered where they are not. Left out of the number is what [`crate::privacy`] keeps out of events: URLs, what
//! trackers want back, and the text of errors.

use shoal_layout::BlockRef;
use shoal_machine::Digest;
use shoal_swarm::{DisconnectReason, Effect, Notice, PeerKey, Via};
use std::hash::{Hash, Hasher};

/// The names of the kinds; a kind is its place here.
pub(crate) const KINDS: [&str; 18] = [
    "Send",
    "Grant",
    "Revoke",
    "Fetch",
    "CancelFetch",
    "Upload",
    "CancelUpload",
    "Disconnect",
    "Dial",
    "Store",
    "Metadata",
    "Layers",
    "Announce",
    "Seek",
    "DhtNode",
    "Demand",
    "Notice",
    "ReadLeaves",
];

/// An effect's kind.
pub(crate) fn kind<P>(effect: &Effect<P>) -> u8 {
    match effect {
        Effect::Send { .. } => 0,
        Effect::Grant { .. } => 1,
        Effect::Revoke { .. } => 2,
        Effect::Fetch { .. } => 3,
        Effect::CancelFetch { .. } => 4,
        Effect::Upload { .. } => 5,
        Effect::CancelUpload { .. } => 6,
        Effect::Disconnect { .. } => 7,
        Effect::Dial { .. } => 8,
        Effect::Store { .. } => 9,
        Effect::Metadata { .. } => 10,
        Effect::Layers(_) => 11,
        Effect::Announce { .. } => 12,
        Effect::Seek { .. } => 13,
        Effect::DhtNode { .. } => 14,
        Effect::Demand(_) => 15,
        Effect::Notice(_) => 16,
        Effect::ReadLeaves { .. } => 17,
    }
}

/// Adds an effect to the digest of those before it. `scratch` is for messages and keeps its memory.
pub(crate) fn digest<P>(effect: &Effect<P>, digest: &mut Digest, scratch: &mut Vec<u8>) {
    digest.write_u8(kind(effect));
    match effect {
        Effect::Send { peer, message } => {
            digest.write_u32(peer.0);
            scratch.clear();
            shoal_wire::encode(message, scratch);
            digest.write(scratch);
        }
        Effect::Grant { peer, block }
        | Effect::Revoke { peer, block }
        | Effect::Upload { peer, block }
        | Effect::CancelUpload { peer, block } => of_block(*peer, *block, digest),
        Effect::Fetch { seed, fetch, blocks } => {
            digest.write_u32(seed.0);
            digest.write_u32(fetch.0);
            blocks.hash(digest);
        }
        Effect::ReadLeaves { piece } => digest.write_u32(piece.0),
        Effect::CancelFetch { fetch } => digest.write_u32(fetch.0),
        Effect::Disconnect { peer, reason } => {
            digest.write_u32(peer.0);
            of_reason(*reason, digest);
        }
        Effect::Dial { addr } | Effect::DhtNode { addr } => addr.hash(digest),
        Effect::Store { piece, expected, blocks, digests } => {
            digest.write_u32(piece.0);
            expected.v1.hash(digest);
            expected.v2.map(|root| root.root).hash(digest);
            blocks.iter().for_each(|(block, _)| block.hash(digest));
            digests.hash(digest);
        }
        Effect::Metadata { bytes } => digest.write(bytes),
        // Which they are was checked by their roots.
        Effect::Layers(_) => {}
        Effect::Announce { tracker, request } => {
            digest.write_u32(tracker.0);
            digest.write_u8(request.event as u8);
            (request.uploaded, request.downloaded, request.left, request.num_want).hash(digest);
        }
        Effect::Seek { via, announce, hurry } => (matches!(via, Via::Dht), announce, hurry).hash(digest),
        Effect::Demand(demand) => (demand.up, demand.down, demand.interested).hash(digest),
        Effect::Notice(notice) => of_notice(notice, digest),
    }
}

fn of_block(peer: PeerKey, block: BlockRef, digest: &mut Digest) {
    digest.write_u32(peer.0);
    block.hash(digest);
}

fn of_reason(reason: DisconnectReason, digest: &mut Digest) {
    digest.write(reason.describe().as_bytes());
}

fn of_notice(notice: &Notice, digest: &mut Digest) {
    match notice {
        Notice::Piece(piece) => (0_u8, piece.0).hash(digest),
        Notice::Complete => 1_u8.hash(digest),
        Notice::Banned { addr, reason } => {
            (2_u8, addr).hash(digest);
            of_reason(*reason, digest);
        }
        Notice::WebSeed { seed, outcome: _, error } => (3_u8, seed.0, error.kind).hash(digest),
        Notice::DiskTrouble { .. } => 4_u8.hash(digest),
        Notice::DiskRecovered => 5_u8.hash(digest),
        Notice::Stopped => 6_u8.hash(digest),
    }
}
