//! `shoal man`: a man page per command, written into a folder.

use super::Outcome;
use crate::args::{Cli, ManArgs};
use crate::exit::{Exit, OrExit};
use crate::report::{Event, Level};
use crate::run::Context;
use clap::CommandFactory;

/// Writes `shoal.1` and `shoal-COMMAND.1`.
pub(super) fn run(args: &ManArgs, context: &Context) -> Outcome {
    let what = || format!("cannot write man pages into {}", args.dir.display());
    std::fs::create_dir_all(&args.dir).or_exit(Exit::Disk, what)?;
    clap_mangen::generate_to(Cli::command(), &args.dir).or_exit(Exit::Disk, what)?;
    context.reporter.event(0, &Event::Done { path: args.dir.clone() });
    context.reporter.say(Level::Normal, &format!("read one with: man {}/shoal.1", args.dir.display()));
    Ok(Exit::Done)
}
