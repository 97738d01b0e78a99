//! The binary `shoal`: the command line over the libraries.
//!
//! `args` is the contract's form, `commands` has a file per command, `report` decides who sees what, `exit` how it ends.
//! Everything that a run takes from outside stands in [`run::Env`], so that commands run inside tests as they do outside.

mod args;
mod commands;
mod config_file;
mod escape;
mod exit;
mod interrupt;
mod log;
mod meter;
mod report;
mod run;
mod select;
mod size;
mod target;
mod variables;

fn main() -> std::process::ExitCode {
    run::run(run::Env::of_process()).into()
}
