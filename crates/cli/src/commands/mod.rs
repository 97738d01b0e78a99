//! One file per command; what several of them share stands beside them.

mod bench;
mod completions;
mod create;
mod dht;
mod doctor;
mod download;
mod edit;
mod fetch;
mod hashing;
mod link;
mod make;
mod man;
mod network;
mod new_file;
mod on_complete;
mod scrape;
mod seed;
mod share;
mod show;
mod sim;
mod trace;
mod transfer;
mod verify;
mod watch_folder;

use crate::args::Command;
use crate::exit::{Exit, Failure, OrExit};
use crate::interrupt::Interrupt;
use crate::run::Context;
use std::future::Future;

/// What a command ends with.
pub(crate) type Outcome = Result<Exit, Failure>;

/// Runs a command to its end.
pub(crate) fn dispatch(command: Command, context: &Context) -> Outcome {
    match command {
        Command::Share(args) => with_runtime(|interrupt| share::run(args, context, interrupt)),
        Command::Download(args) => with_runtime(|interrupt| download::run(args, context, interrupt)),
        Command::Seed(args) => with_runtime(|interrupt| seed::run(args, context, interrupt)),
        Command::Create(args) => with_runtime(|interrupt| create::run(args, context, interrupt)),
        Command::Verify(args) => with_runtime(|interrupt| verify::run(args, context, interrupt)),
        Command::Show(args) if args.scrape => with_runtime(|interrupt| scrape::run(args, context, interrupt)),
        Command::Dht(args) => with_runtime(|interrupt| dht::run(args, context, interrupt)),
        Command::Doctor(args) => with_runtime(|interrupt| doctor::run(args, context, interrupt)),
        Command::Sim(args) => with_runtime(|interrupt| sim::run(args, context, interrupt)),
        Command::Show(args) => show::run(&args, context),
        Command::Link(args) => link::run(&args, context),
        Command::Edit(args) => edit::run(&args, context),
        Command::Bench(args) => bench::run(&args, context),
        Command::Completions(args) => completions::run(&args, context),
        Command::Man(args) => man::run(&args, context),
    }
}

/// Whether a command may have several torrents at once, so that events must say which.
pub(crate) fn is_many(command: &Command) -> bool {
    match command {
        Command::Download(args) => args.targets.len() > 1,
        Command::Seed(args) => args.each || args.sources.len() > 1 || args.sources.iter().any(|source| source.is_dir()),
        _ => false,
    }
}

/// Runs a command that waits: on peers, on disks, on Ctrl-C.
fn with_runtime<F: Future<Output = Outcome>>(work: impl FnOnce(Interrupt) -> F) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .or_exit(Exit::Other, || "cannot start".to_owned())?;
    let outcome = runtime.block_on(async {
        let interrupt = Interrupt::listen().or_exit(Exit::Other, || "cannot listen for Ctrl-C".to_owned())?;
        work(interrupt).await
    });
    // Blocking work that was cancelled ends by its own flag; nobody waits for a disk that hangs.
    runtime.shutdown_background();
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_up_that_hangs_does_not_delay_the_end() {
        // Dropped after the runtime: whoever waited for the blocking call would wait forever.
        let (_held, hangs) = std::sync::mpsc::channel::<()>();
        let outcome = with_runtime(|_| async {
            let (begun, begins) = tokio::sync::oneshot::channel();
            tokio::task::spawn_blocking(move || {
                let _ = begun.send(());
                let _ = hangs.recv();
            });
            let _ = begins.await;
            Ok(Exit::Done)
        });
        assert!(matches!(outcome, Ok(Exit::Done)));
    }
}
