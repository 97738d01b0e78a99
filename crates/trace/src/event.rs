//! How an event is written: a number for its kind, then its fields. The payload of a block is left out.
//!
//! The info dictionary and its piece layers are written as a torrent file, and read as one: by the parser that is made for
//! what strangers send.

use crate::field::{Field, put_run, take_run};
use crate::privacy::Hidden;
use shoal_layout::{BlockRef, Selection};
use shoal_metainfo::Torrent;
use shoal_pieces::Bitfield;
use shoal_swarm::{AnnounceReply, Event, FetchFailure, LeavesOutcome, SourceError, StoreOutcome};

/// Appends an event; `hidden` is what it must not tell.
pub(crate) fn put<P>(event: &Event<P>, hidden: &Hidden, out: &mut Vec<u8>) {
    match event {
        Event::Wake => out.push(0),
        Event::Found { source, addrs } => {
            out.push(1);
            source.put(out);
            addrs.put(out);
        }
        Event::DialFailed { addr, failure } => {
            out.push(2);
            addr.put(out);
            failure.put(out);
        }
        Event::Connected { peer, addr, direction, handshake } => {
            out.push(3);
            (*peer, *addr).put(out);
            (*direction, *handshake).put(out);
        }
        Event::Disconnected { peer } => {
            out.push(4);
            peer.put(out);
        }
        Event::Message { peer, message } => {
            out.push(5);
            peer.put(out);
            message.put(out);
        }
        Event::Block { peer, block, payload: _ } => {
            out.push(6);
            (*peer, *block).put(out);
        }
        Event::Unrequested { peer, block } => {
            out.push(7);
            (*peer, *block).put(out);
        }
        Event::Fetched { fetch, block, payload: _ } => {
            out.push(8);
            (*fetch, *block).put(out);
        }
        Event::FetchEnded { fetch, result } => {
            out.push(9);
            fetch.put(out);
            result.clone().map_err(|failure| FetchFailure { error: shown(&failure.error, hidden), ..failure }).put(out);
        }
        Event::Uploaded { peer, block } => {
            out.push(10);
            (*peer, *block).put(out);
        }
        Event::UploadFailed { peer, block, lost } => {
            out.push(11);
            (*peer, *block).put(out);
            lost.put(out);
        }
        Event::Stored { piece, outcome } => {
            out.push(12);
            piece.put(out);
            put_outcome(outcome, out);
        }
        Event::Lost(piece) => {
            out.push(13);
            piece.put(out);
        }
        Event::SyncFailing(failing) => {
            out.push(14);
            failing.put(out);
        }
        Event::Ready { info, layers, have, selection } => {
            out.push(15);
            put_run(&Torrent::new(info.clone(), layers.clone()).to_bytes(), out);
            put_run(&have.to_bytes(), out);
            put_flags(selection.files(), out);
        }
        Event::Select(selection) => {
            out.push(16);
            put_flags(selection.files(), out);
        }
        Event::Announced { tracker, result } => {
            out.push(17);
            tracker.put(out);
            // What a tracker wants back may name the user, and no decision looks at it, nor at a warning.
            let reply = |reply: &AnnounceReply| AnnounceReply { tracker_id: None, warning: None, ..reply.clone() };
            result.as_ref().map(reply).map_err(|error| shown(error, hidden)).put(out);
        }
        Event::Sought { via, result } => {
            out.push(18);
            via.put(out);
            result.put(out);
        }
        Event::Credit(credit) => {
            out.push(19);
            credit.put(out);
        }
        Event::UploadSlots(slots) => {
            out.push(20);
            slots.put(out);
        }
        Event::Stop => out.push(21),
        Event::LeavesRead { piece, outcome } => {
            out.push(22);
            piece.put(out);
            put_leaves(outcome, out);
        }
    }
}

/// What [`put`] wrote; `None` if it is none.
pub(crate) fn take(rest: &mut &[u8]) -> Option<Event<()>> {
    let payload = ();
    Some(match u8::take(rest)? {
        0 => Event::Wake,
        1 => Event::Found { source: Field::take(rest)?, addrs: Field::take(rest)? },
        2 => Event::DialFailed { addr: Field::take(rest)?, failure: Field::take(rest)? },
        3 => Event::Connected {
            peer: Field::take(rest)?,
            addr: Field::take(rest)?,
            direction: Field::take(rest)?,
            handshake: Field::take(rest)?,
        },
        4 => Event::Disconnected { peer: Field::take(rest)? },
        5 => Event::Message { peer: Field::take(rest)?, message: Field::take(rest)? },
        6 => Event::Block { peer: Field::take(rest)?, block: Field::take(rest)?, payload },
        7 => Event::Unrequested { peer: Field::take(rest)?, block: Field::take(rest)? },
        8 => Event::Fetched { fetch: Field::take(rest)?, block: Field::take(rest)?, payload },
        9 => Event::FetchEnded { fetch: Field::take(rest)?, result: Field::take(rest)? },
        10 => Event::Uploaded { peer: Field::take(rest)?, block: Field::take(rest)? },
        11 => Event::UploadFailed { peer: Field::take(rest)?, block: Field::take(rest)?, lost: Field::take(rest)? },
        12 => Event::Stored { piece: Field::take(rest)?, outcome: take_outcome(rest)? },
        13 => Event::Lost(Field::take(rest)?),
        14 => Event::SyncFailing(Field::take(rest)?),
        15 => {
            let torrent = Torrent::parse(take_run(rest)?).ok()?;
            let layout = torrent.info.layout();
            let have = Bitfield::from_bytes(layout.pieces(), take_run(rest)?).ok()?;
            let wanted = take_flags(rest)?;
            if wanted.len() != layout.files() as usize {
                return None;
            }
            let selection = Selection::of(wanted);
            Event::Ready { layers: torrent.layers, have, selection, info: torrent.info }
        }
        16 => Event::Select(Selection::of(take_flags(rest)?)),
        17 => Event::Announced { tracker: Field::take(rest)?, result: Field::take(rest)? },
        18 => Event::Sought { via: Field::take(rest)?, result: Field::take(rest)? },
        19 => Event::Credit(Field::take(rest)?),
        20 => Event::UploadSlots(Field::take(rest)?),
        21 => Event::Stop,
        22 => Event::LeavesRead { piece: Field::take(rest)?, outcome: take_leaves(rest)? },
        _ => return None,
    })
}

fn shown(error: &SourceError, hidden: &Hidden) -> SourceError {
    SourceError::new(error.kind, hidden.cleaned(&error.text))
}

fn put_outcome<P>(outcome: &StoreOutcome<P>, out: &mut Vec<u8>) {
    match outcome {
        StoreOutcome::Written { digests } => {
            out.push(0);
            digests.put(out);
        }
        StoreOutcome::Corrupt { blocks, digests } => {
            out.push(1);
            put_blocks(blocks, out);
            digests.put(out);
        }
        StoreOutcome::Failed { blocks, reason } => {
            out.push(2);
            put_blocks(blocks, out);
            reason.put(out);
        }
    }
}

/// Blocks that come back, without their payload.
fn put_blocks<P>(blocks: &[(BlockRef, P)], out: &mut Vec<u8>) {
    blocks.len().put(out);
    blocks.iter().for_each(|(block, _)| block.put(out));
}

fn put_leaves(outcome: &LeavesOutcome, out: &mut Vec<u8>) {
    match outcome {
        LeavesOutcome::Read(leaves) => {
            out.push(0);
            leaves.put(out);
        }
        LeavesOutcome::Failed { lost } => {
            out.push(1);
            lost.put(out);
        }
    }
}

fn take_leaves(rest: &mut &[u8]) -> Option<LeavesOutcome> {
    Some(match u8::take(rest)? {
        0 => LeavesOutcome::Read(Field::take(rest)?),
        1 => LeavesOutcome::Failed { lost: Field::take(rest)? },
        _ => return None,
    })
}

fn take_outcome(rest: &mut &[u8]) -> Option<StoreOutcome<()>> {
    Some(match u8::take(rest)? {
        0 => StoreOutcome::Written { digests: Field::take(rest)? },
        1 => StoreOutcome::Corrupt { blocks: Field::take(rest)?, digests: Field::take(rest)? },
        2 => StoreOutcome::Failed { blocks: Field::take(rest)?, reason: Field::take(rest)? },
        _ => return None,
    })
}

/// Flags, eight a byte, with their count before them.
fn put_flags(flags: impl ExactSizeIterator<Item = bool>, out: &mut Vec<u8>) {
    flags.len().put(out);
    let mut flags = flags.peekable();
    while flags.peek().is_some() {
        out.push((0..8).fold(0, |byte, place| byte | u8::from(flags.next().unwrap_or(false)) << place));
    }
}

fn take_flags(rest: &mut &[u8]) -> Option<Vec<bool>> {
    let count = usize::take(rest)?;
    let bytes = crate::field::take_bytes(rest, count.div_ceil(8))?;
    Some((0..count).map(|place| bytes[place / 8] >> (place % 8) & 1 == 1).collect())
}
