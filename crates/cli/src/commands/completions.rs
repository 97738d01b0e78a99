//! `shoal completions`: a completion script on standard output.

use super::Outcome;
use crate::args::{Cli, CompletionsArgs};
use crate::exit::Exit;
use crate::run::Context;
use clap::CommandFactory;

/// Prints the script.
pub(super) fn run(args: &CompletionsArgs, context: &Context) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "shoal", &mut script);
    context.reporter.print(String::from_utf8_lossy(&script).trim_end());
    Ok(Exit::Done)
}
