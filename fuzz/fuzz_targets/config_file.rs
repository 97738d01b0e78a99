//! A configuration file: refused with one line that names the file, or values that its flags take.
#![no_main]

#[path = "../../crates/cli/src/config_file.rs"]
#[allow(dead_code, reason = "tests use the rest")]
mod config_file;

use clap::{Arg, ArgAction, Command, value_parser};
use libfuzzer_sys::fuzz_target;
use std::path::PathBuf;
use std::sync::LazyLock;

static PATH: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = if PathBuf::from("/dev/shm").is_dir() { "/dev/shm".into() } else { std::env::temp_dir() };
    folder.join(format!("shoal-fuzz-config-{}.toml", std::process::id()))
});

/// Flags of each kind that the command line has.
fn command() -> Command {
    let download = Command::new("download")
        .arg(Arg::new("output").long("output").value_parser(value_parser!(PathBuf)))
        .arg(Arg::new("port").long("port").value_parser(value_parser!(u16)))
        .arg(Arg::new("peer").long("peer").action(ArgAction::Append))
        .arg(Arg::new("no_dht").long("no-dht").action(ArgAction::SetTrue));
    Command::new("shoal").subcommand(download).subcommand(Command::new("share").arg(Arg::new("up").long("up")))
}

fuzz_target!(|text: &[u8]| {
    std::fs::write(&*PATH, text).expect("a file in memory");
    match config_file::ConfigFile::load(&PATH, &command()) {
        Ok(file) => {
            let ready = file.apply(command());
            // What was checked is taken as the defaults of its flags.
            assert!(ready.try_get_matches_from(["shoal", "download"]).is_ok());
        }
        Err(error) => assert!(error.to_string().contains("shoal-fuzz-config")),
    }
});
