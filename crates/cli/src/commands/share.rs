//! `shoal share`: hash, seed, and print the link.
//!
//! The link carries the addresses that this process listens on (`x.pe`), so that it works at once on one machine and on
//! one network, with no tracker and no DHT.

use super::Outcome;
use super::edit::check_url;
use super::make::{Recipe, make};
use super::network;
use super::transfer::{Follow, Role, Step};
use crate::args::ShareArgs;
use crate::escape::shell_quote;
use crate::exit::Exit;
use crate::interrupt::Interrupt;
use crate::report::{Event, Level};
use crate::run::Context;
use shoal_metainfo::Magnet;
use shoal_session::{AddTorrent, Check, Files, MappingStatus, Session};
use std::net::SocketAddr;
use std::sync::Arc;

/// Addresses in a link, at most. Chosen: a machine with many interfaces must not make the link unusable.
const MAX_HINTS: usize = 8;

/// Shares until Ctrl-C.
pub(super) async fn run(args: ShareArgs, context: &Context, interrupt: Interrupt) -> Outcome {
    let reporter = &context.reporter;
    args.tracker.iter().chain(&args.webseed).try_for_each(|url| check_url(url))?;
    let recipe = Recipe {
        paths: args.paths.clone(),
        name: args.name.clone(),
        format: args.format,
        piece_length: None,
        private: args.private,
        source: None,
        attributes: false,
        jobs: args.jobs,
    };
    // Before the work of hashing: a port that is taken is better known now.
    let session = network::start(&args.network, None, context).await?;
    let made = match make(recipe, reporter, 0, &interrupt).await {
        Ok(made) => made,
        // Nothing was shared yet: for `share`, Ctrl-C is an end like another.
        Err(failure) if failure.exit == Exit::Interrupted => return Ok(Exit::Done),
        Err(failure) => return Err(failure),
    };
    let mut torrent = made.torrent;
    torrent.trackers = args.tracker.iter().map(|url| vec![url.clone()]).collect();
    torrent.web_seeds = args.webseed.clone();
    network::mapping_settled(&session).await;
    let magnet = link(torrent.magnet(), &session);
    let name = torrent.info.name().to_owned();
    let add = AddTorrent {
        typed_trackers: args.tracker.clone(),
        ..AddTorrent::seed(Arc::new(torrent), Files::Scanned(made.place), Check::JustHashed)
    };
    let handle = session.add(add).await.map_err(network::failure)?;
    let follow = Follow::new(handle, Some(&name), Role::Seed, reporter, 0);

    // Events of the torrent come from here on; the link first.
    reporter.event(0, &Event::Link { magnet: magnet.clone() });
    reporter.say(Level::Normal, "On the other computer:");
    reporter.say(Level::Normal, &format!("  shoal download {}", shell_quote(&magnet)));
    reporter.say(Level::Normal, &reachable(&session));
    reporter.say(Level::Normal, &audience(&args));
    let exit = serve(follow, &session, &interrupt, context).await;
    network::stop(&session).await;
    exit
}

/// Follows the torrent until Ctrl-C.
async fn serve(mut follow: Follow, session: &Session, interrupt: &Interrupt, context: &Context) -> Outcome {
    let mut mapping = session.port_mapping();
    mapping.mark_unchanged();
    loop {
        tokio::select! {
            () = interrupt.raised() => break,
            Ok(()) = mapping.changed() => {
                if *mapping.borrow_and_update() != MappingStatus::Trying {
                    context.reporter.say(Level::Normal, &network::mapping_line(session));
                }
            }
            step = follow.step() => match step {
                Step::Failed(error) => return Err(network::failure(error)),
                Step::Ended => break,
                Step::Metadata(_) | Step::Checked(_) | Step::Complete => {}
            },
        }
    }
    context.reporter.say(Level::Normal, "stopping");
    follow.stop().await;
    let (copies, sent) = (copies(follow.last().full_copies_seen), crate::size::bytes(follow.last().uploaded));
    context.reporter.say(Level::Normal, &format!("stopped: {copies}; {sent} sent"));
    Ok(Exit::Done)
}

/// How many others were seen with everything.
pub(super) fn copies(seen: u32) -> String {
    match seen {
        0 => "no full copy was seen elsewhere".to_owned(),
        1 => "1 peer has all of it".to_owned(),
        many => format!("{many} peers have all of it"),
    }
}

/// The link with our own addresses in it.
pub(super) fn link(mut magnet: Magnet, session: &Session) -> String {
    // The router's own address first: the one that is good from anywhere.
    let hints = session.public_address().into_iter().chain(session.reachable_at());
    magnet.peers = hints.take(MAX_HINTS).map(|addr| (addr.ip().to_string(), addr.port())).collect();
    magnet.to_string()
}

/// Where this computer can be reached, as far as it can know.
fn reachable(session: &Session) -> String {
    let addrs = session.reachable_at();
    let list = addrs.iter().take(MAX_HINTS).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if addrs.iter().all(|addr: &SocketAddr| addr.ip().is_loopback()) {
        return format!("Reachable at {list}: from this computer only.");
    }
    format!("Reachable at {list}; {}.", network::mapping_line(session))
}

/// Who can see the share.
fn audience(args: &ShareArgs) -> String {
    let dht = network::uses_dht(&args.network) && !args.private;
    let who = match (dht, args.tracker.len()) {
        (true, 0) => {
            "Anyone who has this link, and whoever watches the public DHT, can fetch it (--lan-only keeps it here)."
        }
        (true, _) => "Anyone who has this link can fetch it, and so can whoever watches the public DHT or a tracker.",
        (false, 0) => "Anyone who has this link and can reach this computer can fetch it.",
        (false, 1) => "Anyone who has this link can fetch it, and the tracker sees it.",
        (false, _) => "Anyone who has this link can fetch it, and the trackers see it.",
    };
    format!("{who} Ctrl-C stops.")
}
