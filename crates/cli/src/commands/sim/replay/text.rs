//! The report for people, for a terminal of 80 columns.

use super::{Ended, Replay};
use crate::escape::escape;
use crate::size;
use shoal_machine::Time;
use shoal_swarm::{Direction, Source};
use shoal_trace::{Account, End, PeerAccount, Sample, Tail};
use std::fmt::Write;
use std::time::Duration;

/// Rows of the table over time, at most. Chosen: a screen.
const MOST_ROWS: usize = 20;
/// Peers and times without movement that are shown, at most; the JSON has all.
const MOST_SHOWN: usize = 20;

/// All of it, without the last line end.
pub(super) fn render(replay: &Replay) -> String {
    let mut text = String::new();
    for line in &replay.lines {
        let _ = writeln!(text, "{line}");
    }
    if !replay.lines.is_empty() {
        text.push('\n');
    }
    let account = &replay.account;
    let name = account.name.as_deref().unwrap_or("a link whose metadata never came");
    let _ = writeln!(text, "Trace of {}, by shoal {}", escape(name), escape(&replay.head.version));
    let _ = writeln!(text, "{}", verdict(replay));
    text.push('\n');
    firsts(account, &mut text);
    totals(replay, &mut text);
    over_time(account, &mut text);
    stalls(account, &mut text);
    peers(account, &mut text);
    if matches!(replay.ended, Ended::Until) {
        let reason = replay.player.situation(account.disk.as_deref()).reason();
        let why = reason.map_or_else(|| "nothing is in its way".to_owned(), |reason| reason.to_string());
        let _ = writeln!(text, "\nAt this moment: {}", escape(&why));
    }
    text.truncate(text.trim_end().len());
    text
}

/// Whether it does the same again, and how it ended.
fn verdict(replay: &Replay) -> String {
    let player = &replay.player;
    let what = format!("{} events, {} effects", player.events(), player.all_effects());
    match &replay.ended {
        Ended::Trace(tail) => {
            let end = match tail {
                Tail::Ended(End::Stopped) => "the torrent was stopped".to_owned(),
                Tail::Ended(End::Full) => "the trace was as large as it may be; the download went on".to_owned(),
                Tail::Silent => "the program was ended by force, or could not write on".to_owned(),
                Tail::Torn(at) => {
                    format!("the file is cut off in the record at byte {at}; what came before it is used")
                }
            };
            format!("Same again: {what}, digest {:016x}\nEnd: {end}", player.digest())
        }
        Ended::Until => format!("Same until here: {what}, digest {:016x}", player.digest()),
        Ended::Interrupted => format!("Same until here, interrupted: {what}"),
        Ended::Differs(difference) => format!(
            "NOT the same: event {} at {} gives something else than it did: {difference}",
            difference.event,
            moment(difference.at, &replay.account)
        ),
        Ended::Panicked { said, both } => {
            let too = if *both { ", and ended the recorded one" } else { "" };
            format!("Event {} ends the machine{too}: {}", player.events(), escape(said))
        }
        Ended::Unreadable(error) => format!("Same until the trace cannot be read further: {what}; {error}"),
    }
}

fn moment(at: Time, account: &Account) -> String {
    format!("{:.3} s", at.since(account.began.unwrap_or(at)).as_secs_f64())
}

fn firsts(account: &Account, text: &mut String) {
    let firsts = &account.firsts;
    let source = firsts.address.map(|(_, source)| match source {
        Source::User => " (typed)",
        Source::Link => " (the link)",
        Source::Lan => " (the local network)",
        Source::Tracker => " (a tracker)",
        Source::Dht => " (the DHT)",
        Source::Pex => " (a peer)",
        Source::Incoming => " (it dialed)",
    });
    let had = account.had.map_or_else(String::new, |(had, all)| format!(", {had} of {all} pieces were there"));
    let mut rows = vec![
        (firsts.address.map(|(at, _)| at), format!("first address{}", source.unwrap_or_default())),
        (firsts.dial, "first dial".to_owned()),
        (firsts.peer, "first peer connected".to_owned()),
        (firsts.metadata, "metadata complete".to_owned()),
        (firsts.ready, format!("files open and checked{had}")),
        (firsts.unchoked, "first unchoked by a peer".to_owned()),
        (firsts.block, "first block".to_owned()),
        (firsts.piece, "first piece verified and written".to_owned()),
        (firsts.complete, "complete".to_owned()),
    ];
    rows.sort_by_key(|(at, _)| at.unwrap_or(Time::MAX));
    for (at, what) in rows {
        match at {
            Some(at) => _ = writeln!(text, "{:>12}  {what}", moment(at, account)),
            // Who had the torrent file never fetches it.
            None if what.starts_with("metadata") && account.had.is_some() => {}
            None => _ = writeln!(text, "{:>12}  {what}", "never"),
        }
    }
    let _ = writeln!(text, "{:>12}  end", moment(account.now, account));
}

fn totals(replay: &Replay, text: &mut String) {
    let (progress, account) = (replay.player.progress(), &replay.account);
    let share =
        |part: u64| if progress.downloaded == 0 { 0.0 } else { part as f64 / progress.downloaded as f64 * 100.0 };
    let span = account.now.since(account.began.unwrap_or(account.now)).as_secs_f64().max(1e-3);
    let _ = writeln!(
        text,
        "\nReceived {} ({}), sent {} ({})",
        size::bytes(progress.downloaded),
        size::rate((progress.downloaded as f64 / span) as u64),
        size::bytes(progress.uploaded),
        size::rate((progress.uploaded as f64 / span) as u64),
    );
    let unrequested: u64 = account.peers.values().map(|peer| peer.unrequested).sum();
    let _ = writeln!(
        text,
        "Wasted {} ({:.1} %); {} not asked for (any more); {} came corrupt",
        size::bytes(progress.wasted),
        share(progress.wasted),
        size::bytes(unrequested),
        size::count(account.corrupt_pieces, "piece"),
    );
    let _ = writeln!(
        text,
        "{}; {} known; {} failed; {} banned",
        size::count(account.peers.len() as u64, "connection"),
        size::count(u64::from(progress.known_addresses), "address").replace("addresss", "addresses"),
        size::count(account.failed_dials, "dial"),
        account.banned.len(),
    );
    if account.from_web_seeds > 0 {
        let _ = writeln!(text, "From web seeds: {}", size::bytes(account.from_web_seeds));
    }
}

/// How it went, in rows of equal spans.
fn over_time(account: &Account, text: &mut String) {
    let (Some(first), Some(last)) = (account.samples.first(), account.samples.last()) else { return };
    let span = last.at.since(first.at);
    if span < Duration::from_secs(2) {
        return;
    }
    let _ = writeln!(
        text,
        "\n{:>10} {:>6} {:>12} {:>12} {:>6} {:>11}",
        "time", "done", "down", "up", "peers", "unchoke us"
    );
    let rows = MOST_ROWS.min(span.as_secs() as usize);
    let mut before = first;
    for row in 1..=rows {
        let until = first.at + span * row as u32 / rows as u32;
        let Some(now) = account.samples.iter().rev().find(|sample| sample.at <= until) else { continue };
        if now.at > before.at {
            let _ = writeln!(text, "{}", row_text(before, now, account));
            before = now;
        }
    }
}

fn row_text(before: &Sample, now: &Sample, account: &Account) -> String {
    let seconds = now.at.since(before.at).as_secs_f64();
    let rate = |from: u64, to: u64| size::rate((to.saturating_sub(from) as f64 / seconds) as u64);
    let done = if now.total_bytes == 0 { 0.0 } else { now.done_bytes as f64 / now.total_bytes as f64 * 100.0 };
    format!(
        "{:>10} {:>4.0} % {:>12} {:>12} {:>6} {:>11}",
        moment(now.at, account),
        done,
        rate(before.downloaded, now.downloaded),
        rate(before.uploaded, now.uploaded),
        now.peers,
        now.unchoking
    )
}

fn stalls(account: &Account, text: &mut String) {
    if account.stalls.is_empty() {
        return;
    }
    let _ = writeln!(text, "\nNothing moved:");
    for stall in account.stalls.iter().take(MOST_SHOWN) {
        let why = stall.reason.as_ref().map_or_else(|| "nothing was in its way".to_owned(), ToString::to_string);
        let (from, to) = (moment(stall.from, account), moment(stall.to, account));
        let _ = writeln!(text, "{from:>12} to {to}: {}", escape(&why));
    }
    if account.stalls.len() > MOST_SHOWN {
        let _ = writeln!(text, "     ... and {} more", account.stalls.len() - MOST_SHOWN);
    }
}

fn peers(account: &Account, text: &mut String) {
    let mut peers: Vec<&PeerAccount> = account.peers.values().collect();
    if peers.is_empty() {
        return;
    }
    peers.sort_by_key(|peer| std::cmp::Reverse((peer.received, peer.sent, peer.stayed(account.now))));
    let _ = writeln!(
        text,
        "\n{:<22} {:<10} {:>8} {:>9} {:>9} {:>7} {:>8}",
        "peer (> we dialed)", "client", "stayed", "received", "sent", "let us", "let it"
    );
    for peer in peers.iter().take(MOST_SHOWN) {
        let stayed = peer.stayed(account.now);
        let share = |part: Duration| format!("{:.0} %", part.as_secs_f64() / stayed.as_secs_f64().max(1e-6) * 100.0);
        let arrow = if peer.direction == Direction::Outgoing { '>' } else { '<' };
        let client = escape(peer.client.as_deref().unwrap_or("-")).into_owned();
        let closed = peer.closed.map_or_else(String::new, |why| format!("\n    we closed it: {}", escape(why)));
        let _ = writeln!(
            text,
            "{:<22} {:<10} {:>8} {:>9} {:>9} {:>7} {:>8}{closed}",
            format!("{arrow} {}", peer.addr),
            client.chars().take(10).collect::<String>(),
            format!("{:.1} s", stayed.as_secs_f64()),
            size::bytes(peer.received),
            size::bytes(peer.sent),
            share(peer.unchoked_us(account.now)),
            share(peer.unchoked_it(account.now)),
        );
    }
    if peers.len() > MOST_SHOWN {
        let _ = writeln!(text, "     ... and {} more", peers.len() - MOST_SHOWN);
    }
}
