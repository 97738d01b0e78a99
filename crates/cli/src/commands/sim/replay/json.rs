//! The one object of `--json`: its keys are the contract (docs/trace.md). Times are seconds since the trace's first event.

use super::super::memory;
use super::{Ended, Replay};
use crate::report::SCHEMA;
use serde_json::{Value, json};
use shoal_machine::Time;
use shoal_swarm::Direction;
use shoal_trace::{Account, End, PeerAccount, Tail};
use std::time::Duration;

/// All of it, on one line.
pub(super) fn render(replay: &Replay) -> String {
    let (account, player) = (&replay.account, &replay.player);
    let progress = player.progress();
    let firsts = &account.firsts;
    let at = |time: Option<Time>| time.map(|time| since_begun(time, account));
    let object = json!({
        "schema": SCHEMA,
        "experiment": "replay",
        "params": { "version": replay.head.version, "limit_down": replay.head.down_limit },
        "seed": replay.head.seed,
        "agrees": !matches!(replay.ended, Ended::Differs(_) | Ended::Panicked { .. }),
        "ended": ended(&replay.ended),
        "difference": difference(replay),
        "name": account.name,
        "firsts": {
            "address_s": at(firsts.address.map(|(at, _)| at)),
            "dial_s": at(firsts.dial),
            "peer_s": at(firsts.peer),
            "metadata_s": at(firsts.metadata),
            "ready_s": at(firsts.ready),
            "unchoked_s": at(firsts.unchoked),
            "block_s": at(firsts.block),
            "piece_s": at(firsts.piece),
            "complete_s": at(firsts.complete),
        },
        "span_s": since_begun(account.now, account),
        "received_bytes": progress.downloaded,
        "sent_bytes": progress.uploaded,
        "wasted_bytes": progress.wasted,
        "done_bytes": progress.done_bytes,
        "total_bytes": progress.total_bytes,
        "corrupt_pieces": account.corrupt_pieces,
        "failed_dials": account.failed_dials,
        "banned": account.banned,
        "rows": account.samples.iter().map(|sample| json!({
            "at_s": since_begun(sample.at, account),
            "done_bytes": sample.done_bytes,
            "received_bytes": sample.downloaded,
            "sent_bytes": sample.uploaded,
            "peers": sample.peers,
            "unchoking": sample.unchoking,
        })).collect::<Vec<_>>(),
        "stalls": account.stalls.iter().map(|stall| json!({
            "from_s": since_begun(stall.from, account),
            "to_s": since_begun(stall.to, account),
            "reason": stall.reason.as_ref().map(ToString::to_string),
            "reason_code": stall.reason.as_ref().map(|reason| reason.code()),
        })).collect::<Vec<_>>(),
        "peers": account.peers.values().map(|it| peer(it, account)).collect::<Vec<_>>(),
        "lines": replay.lines,
        "digest": format!("{:016x}", player.digest()),
        "wall_s": rounded(replay.wall),
        "events": player.events(),
        "effects": player.all_effects(),
        "peak_rss": memory::peak_rss(),
    });
    crate::escape::escape_json(&object.to_string()).into_owned()
}

/// A word for how it ended.
fn ended(ended: &Ended) -> &'static str {
    match ended {
        Ended::Trace(Tail::Ended(End::Stopped)) => "stopped",
        Ended::Trace(Tail::Ended(End::Full)) => "limit",
        Ended::Trace(Tail::Silent) => "silent",
        Ended::Trace(Tail::Torn(_)) => "torn",
        Ended::Until => "until",
        Ended::Differs(_) => "differs",
        Ended::Panicked { .. } => "panicked",
        Ended::Unreadable(_) => "damaged",
        Ended::Interrupted => "interrupted",
    }
}

fn difference(replay: &Replay) -> Value {
    match &replay.ended {
        Ended::Differs(difference) => json!({
            "event": difference.event,
            "at_s": since_begun(difference.at, &replay.account),
            "recorded": difference.recorded,
            "replayed": difference.replayed,
        }),
        Ended::Panicked { said, .. } => json!({ "event": replay.player.events(), "panic": said }),
        _ => Value::Null,
    }
}

fn peer(peer: &PeerAccount, account: &Account) -> Value {
    json!({
        "addr": peer.addr,
        "dialed": peer.direction == Direction::Outgoing,
        "client": peer.client,
        "connected_s": since_begun(peer.connected, account),
        "gone_s": peer.gone.map(|at| since_begun(at, account)),
        "closed": peer.closed,
        "received_bytes": peer.received,
        "sent_bytes": peer.sent,
        "unrequested_bytes": peer.unrequested,
        "requests": peer.requests,
        "unchoked_us_s": rounded(peer.unchoked_us(account.now)),
        "unchoked_it_s": rounded(peer.unchoked_it(account.now)),
    })
}

fn since_begun(at: Time, account: &Account) -> f64 {
    rounded(at.since(account.began.unwrap_or(at)))
}

fn rounded(span: Duration) -> f64 {
    (span.as_secs_f64() * 1e6).round() / 1e6
}
