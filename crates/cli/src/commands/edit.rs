//! `shoal edit`: trackers, web seeds and comment of a torrent file. The info dictionary is never touched, so neither is
//! the hash.

use super::{Outcome, new_file, show};
use crate::args::EditArgs;
use crate::exit::{Exit, Failure};
use crate::report::{Event, Level};
use crate::run::Context;
use crate::target::Target;
use shoal_metainfo::Torrent;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Edits and writes.
pub(super) fn run(args: &EditArgs, context: &Context) -> Outcome {
    let torrent = show::need_torrent(Target::read(&args.target)?, "an edit")?;
    let edited = edit(Torrent::clone(&torrent), args)?;
    let (path, overwrite) = match &args.output {
        Some(path) => (path.clone(), args.overwrite || same_file(path, Path::new(&args.target))),
        None => (PathBuf::from(&args.target), true),
    };
    new_file::write(&path, &edited.to_parts(), overwrite)?;
    if args.json.json {
        return show::print(&Target::Torrent(Arc::new(edited)), true, context);
    }
    let trackers = edited.trackers.iter().map(Vec::len).sum::<usize>() as u64;
    context.reporter.say(
        Level::Normal,
        &format!("{}: same info hash, {}", path.display(), crate::size::count(trackers, "tracker")),
    );
    context.reporter.event(0, &Event::Done { path });
    Ok(Exit::Done)
}

fn same_file(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// Removing first, then adding; what is there already is not added twice, what is not there cannot be removed.
fn edit(mut torrent: Torrent, args: &EditArgs) -> Result<Torrent, Failure> {
    if args.clear_trackers {
        torrent.trackers.clear();
    }
    for url in &args.remove_tracker {
        let before = torrent.trackers.iter().map(Vec::len).sum::<usize>();
        torrent.trackers.iter_mut().for_each(|tier| tier.retain(|known| known != url));
        if !args.clear_trackers && before == torrent.trackers.iter().map(Vec::len).sum::<usize>() {
            return Err(absent("tracker", url, &args.target));
        }
    }
    torrent.trackers.retain(|tier| !tier.is_empty());
    for url in &args.tracker {
        check_url(url)?;
        if !torrent.trackers.iter().flatten().any(|known| known == url) {
            torrent.trackers.push(vec![url.clone()]);
        }
    }
    for url in &args.remove_webseed {
        let before = torrent.web_seeds.len();
        torrent.web_seeds.retain(|known| known != url);
        if before == torrent.web_seeds.len() {
            return Err(absent("web seed", url, &args.target));
        }
    }
    for url in &args.webseed {
        check_url(url)?;
        if !torrent.web_seeds.contains(url) {
            torrent.web_seeds.push(url.clone());
        }
    }
    if let Some(comment) = &args.comment {
        torrent.comment = Some(comment.clone()).filter(|text| !text.is_empty());
    }
    Ok(torrent)
}

fn absent(kind: &str, url: &str, file: &str) -> Failure {
    Failure::new(
        Exit::Usage,
        format!("{file} has no {kind} {url}; see what it has with: shoal show {}", crate::escape::shell_quote(file)),
    )
}

/// A URL that a person typed into a torrent: of a scheme that trackers or web seeds have.
pub(super) fn check_url(url: &str) -> Result<(), Failure> {
    let scheme = url.split_once("://").map(|(scheme, rest)| (scheme.to_ascii_lowercase(), rest));
    match scheme {
        Some((scheme, rest))
            if matches!(scheme.as_str(), "http" | "https" | "udp" | "ws" | "wss") && !rest.is_empty() =>
        {
            Ok(())
        }
        _ => {
            Err(Failure::new(Exit::Usage, format!("'{url}' is not a URL like http://host/announce or udp://host:port")))
        }
    }
}
