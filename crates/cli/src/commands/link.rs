//! `shoal link`: the magnet link of a torrent file; of a link or a hash, the same in its usual form.

use super::Outcome;
use crate::args::LinkArgs;
use crate::exit::Exit;
use crate::report::Event;
use crate::run::Context;
use crate::target::Target;

/// Prints the link.
pub(super) fn run(args: &LinkArgs, context: &Context) -> Outcome {
    let magnet = match Target::read(&args.target)? {
        Target::Torrent(torrent) => torrent.magnet(),
        Target::Magnet(magnet) => *magnet,
    };
    context.reporter.event(0, &Event::Link { magnet: magnet.to_string() });
    Ok(Exit::Done)
}
