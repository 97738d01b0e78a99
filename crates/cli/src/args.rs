//! The command line as types: every command, flag and word of help.
//!
//! Names are the product's contract with scripts and stand here once. Each flag's variable `SHOAL_<COMMAND>_<FLAG>` and its
//! key in the configuration file are derived from its name (`variables`, `config_file`), so no flag can be without them.
//! The first line of a doc comment is the short help (`-h`), the whole is the long one (`--help`). Help says what is true
//! of this version; a flag that is accepted ahead of its feature says so.

mod common;
mod parse;
mod sim;
mod tools;
mod torrent;

pub(crate) use common::{Color, FormatArg, JsonArgs, JsonObjectArgs, NetworkArgs, TalkArgs};
pub(crate) use sim::{Experiment, FaultsArgs, ReplayArgs, SimArgs, SwarmArgs};
pub(crate) use tools::{BenchArgs, CompletionsArgs, DhtAction, DhtArgs, DoctorArgs, ManArgs};
pub(crate) use torrent::{CreateArgs, EditArgs, LinkArgs, ShowArgs, VerifyArgs};

use crate::select::Pick;
use crate::size::{Rate, parse_duration, parse_rate, parse_size};
use clap::{Args, Parser, Subcommand, ValueHint};
use parse::parse_peer;
use std::num::NonZero;
use std::path::PathBuf;
use std::time::Duration;

/// Share files from the terminal over BitTorrent
///
/// `shoal share photos/` prints a link; `shoal download LINK` on another computer fetches it. Results go to standard
/// output, progress and talk to standard error.
#[derive(Parser, Debug)]
#[command(name = "shoal", version, subcommand_required = true, arg_required_else_help = true)]
#[command(after_long_help = AFTER_HELP)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER_HELP: &str = "\
Configuration: $XDG_CONFIG_HOME/shoal/config.toml (or ~/.config/shoal/config.toml), one table per command, keys as the \
flags without dashes; never written by shoal. A flag goes before its variable SHOAL_<COMMAND>_<FLAG> (as in \
SHOAL_DOWNLOAD_OUTPUT; lists are separated by blanks, switches are true or false), which goes before the file.
State: $XDG_STATE_HOME/shoal (or ~/.local/state/shoal).

Sizes take k M G (powers of 1000) and Ki Mi Gi (of 1024), with or without B; durations are like 30s, 5m, 2h; rates are \
bytes per second.

Exit codes: 0 done, 1 other, 2 wrong arguments, 3 no peers or metadata in time, 4 tracker or network, 5 disk, 6 bad torrent \
or data, 7 unfinished and resumable, 8 running already, 130 interrupted.";

/// The commands.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    Share(ShareArgs),
    Download(DownloadArgs),
    Seed(SeedArgs),
    Create(CreateArgs),
    Show(ShowArgs),
    Link(LinkArgs),
    Verify(VerifyArgs),
    Edit(EditArgs),
    Dht(DhtArgs),
    Bench(BenchArgs),
    Doctor(DoctorArgs),
    Sim(SimArgs),
    Completions(CompletionsArgs),
    Man(ManArgs),
}

impl Command {
    /// How much it says, and in which colours.
    pub(crate) fn talk(&self) -> &TalkArgs {
        match self {
            Command::Share(a) => &a.talk,
            Command::Download(a) => &a.talk,
            Command::Seed(a) => &a.talk,
            Command::Create(a) => &a.talk,
            Command::Show(a) => &a.talk,
            Command::Link(a) => &a.talk,
            Command::Verify(a) => &a.talk,
            Command::Edit(a) => &a.talk,
            Command::Dht(a) => &a.talk,
            Command::Bench(a) => &a.talk,
            Command::Doctor(a) => &a.talk,
            Command::Sim(a) => a.talk(),
            Command::Completions(a) => &a.talk,
            Command::Man(a) => &a.talk,
        }
    }

    /// Whether results are JSON events, errors included.
    pub(crate) fn json_events(&self) -> bool {
        match self {
            Command::Share(a) => a.json.json,
            Command::Download(a) => a.json.json,
            Command::Seed(a) => a.json.json,
            Command::Create(a) => a.json.json,
            Command::Verify(a) => a.json.json,
            Command::Link(a) => a.json.json,
            // These print one object without an envelope.
            Command::Show(_)
            | Command::Edit(_)
            | Command::Dht(_)
            | Command::Bench(_)
            | Command::Doctor(_)
            | Command::Sim(_)
            | Command::Completions(_)
            | Command::Man(_) => false,
        }
    }
}

/// Hash files, seed them, and print the link
///
/// The link alone is printed on standard output; the exact command for the other computer, and then one live line, on
/// standard error. Ctrl-C stops; a second one leaves at once.
#[derive(Args, Debug, Clone)]
pub(crate) struct ShareArgs {
    /// Files and folders; several make one share, a folder with an entry for each
    #[arg(required = true, value_hint = ValueHint::AnyPath)]
    pub(crate) paths: Vec<PathBuf>,
    /// Name of the share, instead of the file's or folder's own
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Only trackers may tell peers about it (BEP 27); needs --tracker
    #[arg(long, requires = "tracker")]
    pub(crate) private: bool,
    /// Announce to this tracker; each further one is a fallback
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url, value_delimiter = ' ')]
    pub(crate) tracker: Vec<String>,
    /// A web server that has the files too (BEP 19); carried in the link
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url, value_delimiter = ' ')]
    pub(crate) webseed: Vec<String>,
    /// Torrent format
    #[arg(long, value_name = "FORMAT", default_value = "hybrid")]
    pub(crate) format: FormatArg,
    /// Threads that hash, up to 32 [default: one for each core]
    #[arg(long, value_name = "N")]
    pub(crate) jobs: Option<NonZero<usize>>,
    #[command(flatten)]
    pub(crate) network: NetworkArgs,
    #[command(flatten)]
    pub(crate) json: JsonArgs,
    #[command(flatten)]
    pub(crate) talk: TalkArgs,
}

/// Fetch what links and torrent files name; ends when done
///
/// Resumes by itself what was begun. Never overwrites a file that holds nothing of the torrent, unless told to. Each finished
/// path is printed on standard output. Ctrl-C saves and stops; a second one leaves at once.
#[derive(Args, Debug, Clone)]
pub(crate) struct DownloadArgs {
    /// Magnet links, torrent files, their URLs, or info hashes
    ///
    /// A torrent file at an http or https URL is fetched first, 64 MiB at most; the exit code is 4 if that fails.
    #[arg(required = true, value_name = "LINK|FILE|URL|HASH", value_hint = ValueHint::AnyPath)]
    pub(crate) targets: Vec<String>,
    /// Folder to put it into
    #[arg(short, long, value_name = "DIR", default_value = ".", value_hint = ValueHint::DirPath)]
    pub(crate) output: PathBuf,
    /// Only these files: a pattern, or numbers of --list, as in '*.iso' or 1,3-5
    ///
    /// May be given several times. A pattern without a slash is matched with the names of files and folders, one with a
    /// slash with the path inside the torrent; a folder takes all below it.
    #[arg(long, value_name = "GLOB|1,3-5", value_parser = Pick::parse)]
    pub(crate) select: Vec<Pick>,
    /// Print the numbered files and end
    #[arg(long)]
    pub(crate) list: bool,
    /// Fetch pieces in order
    ///
    /// So that what is there can be used from its beginning. Rare pieces come between, as long as others lack what lies ahead: who
    /// only takes what all have by then is of use to nobody.
    #[arg(long)]
    pub(crate) sequential: bool,
    /// Go on seeding when done, until Ctrl-C
    #[arg(long)]
    pub(crate) seed: bool,
    /// Also connect to this peer; may be given several times
    #[arg(long, value_name = "HOST:PORT", value_parser = parse_peer, value_delimiter = ' ')]
    pub(crate) peer: Vec<(String, u16)>,
    /// Give up after this long, as in 30s, 5m or 2h
    ///
    /// The exit code is then 3 if no peer or no metadata was found, 5 if the disk refused, else 7; what is there is kept.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) timeout: Option<Duration>,
    /// Download at most this much per second, as in 500k or 2MiB
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    pub(crate) down: Option<Rate>,
    /// Write over files that are there and hold nothing of the torrent
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Name files so that Windows can have them, too
    ///
    /// Names are always made safe: nothing is written outside the folder. With this also `COM1`, `a.`, `a?b` and the like
    /// are changed, for folders that Windows reads. `seed` and `verify` find files under either name.
    #[arg(long)]
    pub(crate) portable: bool,
    /// Run this program when a download is done, without a shell
    ///
    /// It gets no arguments, and SHOAL_INFO_HASH, SHOAL_NAME and SHOAL_PATH in its environment. Its output goes to
    /// standard error.
    #[arg(long, value_name = "PROGRAM", value_hint = ValueHint::CommandName)]
    pub(crate) on_complete: Option<PathBuf>,
    /// Record all that the transfer is told and does in this new file, for a report of a bug
    ///
    /// `shoal sim replay FILE` runs it again. It holds addresses of peers, names and hashes of the torrent, and what trackers,
    /// servers and the disk said; no payload, and of trackers' and web seeds' URLs the host only. Of one target only.
    /// docs/trace.md has more.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "list")]
    pub(crate) trace: Option<PathBuf>,
    /// End the trace when it has become so large; the download goes on
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = parse_size)]
    pub(crate) trace_limit: u64,
    #[command(flatten)]
    pub(crate) network: NetworkArgs,
    #[command(flatten)]
    pub(crate) json: JsonArgs,
    #[command(flatten)]
    pub(crate) talk: TalkArgs,
}

/// Seed what is on disk
///
/// TORRENT: a torrent file, its data beside it or in --data DIR. DIR: every torrent file in the folder, new ones too while
/// it runs. DIR with --each: every entry of the folder as a share of its own, new ones too once they have stopped
/// changing; a link per entry is printed on standard output.
#[derive(Args, Debug, Clone)]
pub(crate) struct SeedArgs {
    /// Torrent files or folders
    #[arg(required = true, value_name = "TORRENT|DIR", value_hint = ValueHint::AnyPath)]
    pub(crate) sources: Vec<PathBuf>,
    /// Folder that holds the data [default: beside the torrent file]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) data: Option<PathBuf>,
    /// Share every entry of the folder by itself
    #[arg(long, conflicts_with = "data")]
    pub(crate) each: bool,
    #[command(flatten)]
    pub(crate) network: NetworkArgs,
    #[command(flatten)]
    pub(crate) json: JsonArgs,
    #[command(flatten)]
    pub(crate) talk: TalkArgs,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_trace_is_bounded_as_its_help_says() {
        let cli = Cli::try_parse_from(["shoal", "download", "x"]).unwrap();
        assert!(matches!(cli.command, Command::Download(args) if args.trace_limit == shoal_trace::DEFAULT_LIMIT));
    }
}
