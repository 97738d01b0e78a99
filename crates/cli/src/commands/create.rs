//! `shoal create`: a torrent file, and nothing is shared.

use super::edit::check_url;
use super::make::{Recipe, make};
use super::{Outcome, new_file};
use crate::args::CreateArgs;
use crate::exit::Exit;
use crate::interrupt::Interrupt;
use crate::report::{Event, Level};
use crate::run::Context;
use std::path::PathBuf;

/// What stands in `created by` of torrent files: outside the info dictionary, and without a date, so that two runs give
/// the same file.
const CREATED_BY: &str = concat!("shoal ", env!("CARGO_PKG_VERSION"));

/// Hashes and writes.
pub(super) async fn run(args: CreateArgs, context: &Context, interrupt: Interrupt) -> Outcome {
    let reporter = &context.reporter;
    args.tracker.iter().chain(&args.webseed).try_for_each(|url| check_url(url))?;
    if let Some(output) = &args.output {
        new_file::refuse_existing(output, args.overwrite)?;
    }
    let recipe = Recipe {
        paths: vec![args.path.clone()],
        name: None,
        format: args.format,
        piece_length: args.piece_length,
        private: args.private,
        source: args.source,
        attributes: args.attributes,
        jobs: args.jobs,
    };
    // Without --output the name is known only after the scan, but refusing before the work matters more than once.
    if args.output.is_none()
        && let Some(name) = args.path.canonicalize().ok().and_then(|path| path.file_name().map(|name| name.to_owned()))
    {
        new_file::refuse_existing(&torrent_name(&name), args.overwrite)?;
    }
    let made = make(recipe, reporter, 0, &interrupt).await?;
    let mut torrent = made.torrent;
    torrent.trackers = args.tracker.into_iter().map(|url| vec![url]).collect();
    torrent.web_seeds = args.webseed;
    torrent.comment = args.comment;
    torrent.created_by = Some(CREATED_BY.to_owned());
    let output = args.output.unwrap_or_else(|| torrent_name(torrent.info.name().as_ref()));
    new_file::write(&output, &torrent.to_parts(), args.overwrite)?;
    if args.private && torrent.trackers.is_empty() {
        reporter.say(
            Level::Normal,
            "note: a private torrent without a tracker is found by nobody; add one with shoal edit --tracker URL",
        );
    }
    reporter.event(0, &Event::Done { path: output });
    if args.link {
        reporter.event(0, &Event::Link { magnet: torrent.magnet().to_string() });
    }
    Ok(Exit::Done)
}

fn torrent_name(name: &std::ffi::OsStr) -> PathBuf {
    let mut file = name.to_owned();
    file.push(".torrent");
    PathBuf::from(file)
}
