//! The command line as types: every command, flag and word of help.
//!
//! Names are the product's contract with scripts and stand here once. Each flag's variable `SHOAL_<COMMAND>_<FLAG>` and its
//! key in the configuration file are derived from its name (`variables`, `config_file`), so no flag can be without them.
//! The first line of a doc comment is the short help (`-h`), the whole is the long one (`--help`). Help says what is true
//! of this version; a flag that is accepted ahead of its feature says so.

mod sim;

pub(crate) use sim::{Experiment, FaultsArgs, SimArgs, SwarmArgs};

use crate::select::Pick;
use crate::size::{Rate, parse_duration, parse_rate, parse_size};
use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use std::net::IpAddr;
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

/// How much to say.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Output")]
pub(crate) struct TalkArgs {
    /// Say nothing but errors on standard error
    #[arg(short, long, overrides_with = "verbose")]
    pub(crate) quiet: bool,
    /// Say more; -vv says much more
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Colours on standard error; NO_COLOR is respected
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: Color,
}

/// When to use colours.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// JSON events.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Output")]
pub(crate) struct JsonArgs {
    /// Print events as JSON on standard output, one object a line
    ///
    /// Each object has an `event`: listening {addr}, link {magnet}, metadata {info_hash_v1, info_hash_v2, name,
    /// total_length}, checking {done_bytes, total_bytes}, progress {done_bytes, total_bytes, download_rate, upload_rate,
    /// peers, pieces_done, pieces_total, reason, reason_code}, piece {index}, done {path}, error {code, message}; of `verify` also file
    /// {path, bad_pieces}. Rates are bytes per second. The first object carries `schema: 1`. Where several torrents run at
    /// once, objects also carry `target`, the torrent's place among the arguments, from 1.
    #[arg(long)]
    pub(crate) json: bool,
}

/// One JSON object.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Output")]
pub(crate) struct JsonObjectArgs {
    /// Print one JSON object on one line
    #[arg(long)]
    pub(crate) json: bool,
}

/// What the commands that talk to peers have in common.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Network")]
pub(crate) struct NetworkArgs {
    /// Listen on this port; 0 is any [default: 6881 or the next free one]
    #[arg(long, value_name = "PORT")]
    pub(crate) port: Option<u16>,
    /// Listen on, and dial from, this address only
    ///
    /// May be given twice, for IPv4 and IPv6. Without it: every address of this machine.
    #[arg(long, value_name = "ADDRESS", value_delimiter = ' ')]
    pub(crate) bind: Vec<IpAddr>,
    /// Upload at most this much per second, as in 500k or 2MiB
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    pub(crate) up: Option<Rate>,
    /// Do not use the DHT
    ///
    /// Without it the torrent is announced to, and looked up in, the public Mainline DHT, so that a link works without a
    /// tracker: whoever watches the DHT can see that this computer has it. Private torrents never are.
    #[arg(long)]
    pub(crate) no_dht: bool,
    /// Ask this DHT node first, instead of the well-known ones; may be given several times
    #[arg(long, value_name = "HOST:PORT", value_parser = parse_peer, value_delimiter = ' ')]
    pub(crate) dht_bootstrap: Vec<(String, u16)>,
    /// Do not look for peers on the local network, and do not be found there (BEP 14)
    #[arg(long)]
    pub(crate) no_lan: bool,
    /// Do not ask the router to let peers in
    ///
    /// Without it the router is asked by PCP, NAT-PMP and UPnP to forward the port for as long as this runs. It is never asked
    /// where --bind names loopback addresses only, or with --lan-only.
    #[arg(long)]
    pub(crate) no_port_mapping: bool,
    /// Accept trackers and peers on private addresses whoever named them
    ///
    /// Without it a torrent from elsewhere cannot make this computer talk to loopback and link-local addresses, or to
    /// trackers on private ones whose path does not begin with /announce. Addresses that you typed and those in a link are
    /// always accepted.
    #[arg(long)]
    pub(crate) allow_private_networks: bool,
    /// Stay on the local network
    ///
    /// Peers are found by local discovery, by links and by --peer only: no DHT, no trackers, no web seeds, no port mapping.
    /// Connections are made to, and taken from, private, link-local and loopback addresses only, and those that you typed.
    #[arg(long)]
    pub(crate) lan_only: bool,
}

/// Which torrent formats there are.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FormatArg {
    /// v1 and v2 in one: every client can join
    Hybrid,
    /// v2 only (BEP 52): SHA-256
    V2,
    /// v1 only (BEP 3): SHA-1
    V1,
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

/// Write a torrent file
///
/// The same names and bytes give the same info hash on every machine. The file's path is printed on standard output.
#[derive(Args, Debug, Clone)]
pub(crate) struct CreateArgs {
    /// File or folder
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) path: PathBuf,
    /// Torrent file to write [default: NAME.torrent in the current folder]
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) output: Option<PathBuf>,
    /// Replace the torrent file if it is there
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Torrent format
    #[arg(long, value_name = "FORMAT", default_value = "hybrid")]
    pub(crate) format: FormatArg,
    /// Bytes in a piece: a power of two from 16KiB to 512MiB [default: by size]
    ///
    /// Without it: the smallest power of two that gives at most 2000 pieces, up to 16MiB.
    #[arg(long, value_name = "SIZE", value_parser = parse_piece_length)]
    pub(crate) piece_length: Option<u64>,
    /// Only trackers may tell peers about it (BEP 27)
    #[arg(long)]
    pub(crate) private: bool,
    /// Where it comes from: goes into the info dictionary, and so into the hash
    #[arg(long)]
    pub(crate) source: Option<String>,
    /// A comment; does not change the hash
    #[arg(long)]
    pub(crate) comment: Option<String>,
    /// A web server that has the files too (BEP 19); may be given several times
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url, value_delimiter = ' ')]
    pub(crate) webseed: Vec<String>,
    /// Announce to this tracker; each further one is a fallback
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url, value_delimiter = ' ')]
    pub(crate) tracker: Vec<String>,
    /// Keep which files are executable (BEP 47)
    #[arg(long)]
    pub(crate) attributes: bool,
    /// Print the magnet link too
    #[arg(long)]
    pub(crate) link: bool,
    /// Threads that hash, up to 32 [default: one for each core]
    #[arg(long, value_name = "N")]
    pub(crate) jobs: Option<NonZero<usize>>,
    #[command(flatten)]
    pub(crate) json: JsonArgs,
    #[command(flatten)]
    pub(crate) talk: TalkArgs,
}

/// Show what a torrent file or link says
///
/// What is dangerous or has no meaning is refused with exit code 6. Torrent files of up to 64 MiB, 2,097,152 pieces and
/// 1,000,000 files are read.
#[derive(Args, Debug, Clone)]
pub(crate) struct ShowArgs {
    /// Torrent file, magnet link or info hash
    #[arg(value_name = "FILE|LINK|HASH", value_hint = ValueHint::FilePath)]
    pub(crate) target: String,
    /// Also ask its trackers how many peers they know (BEP 48)
    ///
    /// Nothing is joined or announced. The exit code is 4 if none of them answers.
    #[arg(long)]
    pub(crate) scrape: bool,
    /// With --scrape: ask trackers on private addresses too
    #[arg(long, requires = "scrape")]
    pub(crate) allow_private_networks: bool,
    #[command(flatten)]
    pub(crate) json: JsonObjectArgs,
    #[command(flatten)]
    pub(crate) talk: TalkArgs,
}

/// Print the magnet link of a torrent file
#[derive(Args, Debug, Clone)]
pub(crate) struct LinkArgs {
    /// Torrent file, magnet link or info hash
    #[arg(value_name = "FILE|LINK|HASH", value_hint = ValueHint::FilePath)]
    pub(crate) target: String,
    #[command(flatten)]
    pub(crate) json: JsonArgs,
    #[command(flatten)]
    pub(crate) talk: TalkArgs,
}

/// Check data on disk against a torrent file
///
/// Exit code 0: all of it is right. 6: something is missing or wrong; the bad files are printed on standard output.
#[derive(Args, Debug, Clone)]
pub(crate) struct VerifyArgs {
    /// Torrent file
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) target: String,
    /// Folder that holds the data: the one that a download was put into
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) folder: PathBuf,
    /// Also look for pieces that were made to collide in SHA-1
    ///
    /// Two different pieces of one SHA-1 can be made. Such a piece is right by its hash, and yet others may have got another
    /// one by the same torrent: it counts as bad, and is named as an attack. Takes several times as long. v2 torrents use
    /// SHA-256 alone and have nothing to look for; of hybrids both hashes are always checked.
    #[arg(long)]
    pub(crate) paranoid: bool,
    /// Threads that hash, up to 32 [default: one for each core]
    #[arg(long, value_name = "N")]
    pub(crate) jobs: Option<NonZero<usize>>,
    #[command(flatten)]
    pub(crate) json: JsonArgs,
    #[command(flatten)]
    pub(crate) talk: TalkArgs,
}

/// Change trackers, web seeds or the comment of a torrent file
///
/// The info hash stays as it is. Without -o the file itself is replaced, in one step. Removing comes before adding.
#[derive(Args, Debug, Clone)]
pub(crate) struct EditArgs {
    /// Torrent file
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) target: String,
    /// Add this tracker as a tier of its own, after the others; may be given several times
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url, value_delimiter = ' ')]
    pub(crate) tracker: Vec<String>,
    /// Remove this tracker; may be given several times
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url, value_delimiter = ' ')]
    pub(crate) remove_tracker: Vec<String>,
    /// Remove all trackers
    #[arg(long)]
    pub(crate) clear_trackers: bool,
    /// Add this web seed; may be given several times
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url, value_delimiter = ' ')]
    pub(crate) webseed: Vec<String>,
    /// Remove this web seed; may be given several times
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url, value_delimiter = ' ')]
    pub(crate) remove_webseed: Vec<String>,
    /// Set the comment; an empty one removes it
    #[arg(long)]
    pub(crate) comment: Option<String>,
    /// Write here instead of replacing the file
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) output: Option<PathBuf>,
    /// Replace the output file if it is there
    #[arg(long)]
    pub(crate) overwrite: bool,
    #[command(flatten)]
    pub(crate) json: JsonObjectArgs,
    #[command(flatten)]
    pub(crate) talk: TalkArgs,
}

/// What to do with the DHT.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum DhtAction {
    /// How our node fares: who answers, our address as others see it
    Status,
    /// Print the peers under an info hash, one a line
    Peers,
    /// Tell the DHT once that a peer listens here
    Announce,
}

/// Look at the DHT
///
/// Starts a node of its own for as long as it takes. Exit code 4: no node answers.
#[derive(Args, Debug, Clone)]
pub(crate) struct DhtArgs {
    /// What to do
    pub(crate) action: DhtAction,
    /// For `peers` and `announce`: info hash, magnet link or torrent file
    #[arg(value_name = "HASH|LINK|FILE", required_if_eq_any([("action", "peers"), ("action", "announce")]))]
    pub(crate) target: Option<String>,
    /// For `announce`: the TCP port on which the peer listens [default: 6881]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: Option<u16>,
    /// Ask this DHT node first, instead of the well-known ones; may be given several times
    #[arg(long, value_name = "HOST:PORT", value_parser = parse_peer, value_delimiter = ' ')]
    pub(crate) dht_bootstrap: Vec<(String, u16)>,
    /// Send from this IPv4 address only
    #[arg(long, value_name = "ADDRESS", value_delimiter = ' ')]
    pub(crate) bind: Vec<IpAddr>,
    /// Give up after this long, as in 30s
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "30s")]
    pub(crate) timeout: Duration,
    /// Use nodes and print peers on private addresses too
    #[arg(long)]
    pub(crate) allow_private_networks: bool,
    #[command(flatten)]
    pub(crate) json: JsonObjectArgs,
    #[command(flatten)]
    pub(crate) talk: TalkArgs,
}

/// Measure how fast this computer hashes and reads, and what limits it
///
/// Without PATH: SHA-1 and SHA-256 of 1 to 32 messages at once on one core, with each kind of instructions that it has and
/// with the plain one-at-a-time code, and copying memory. With PATH also how fast that is read from its disk, and so whether
/// disk or processor is the limit when it is shared or checked. Takes about five seconds, and the time for reading.
#[derive(Args, Debug, Clone)]
pub(crate) struct BenchArgs {
    /// File or folder to read
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) path: Option<PathBuf>,
    /// Read at most this much of it
    ///
    /// What the system has of it in memory is dropped first, where it can be, so that the disk is measured.
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = parse_size)]
    pub(crate) read: u64,
    #[command(flatten)]
    pub(crate) json: JsonObjectArgs,
    #[command(flatten)]
    pub(crate) talk: TalkArgs,
}

/// Say why nothing moves: look at this computer, and with X at a torrent
///
/// With a torrent file, link or info hash it joins as a downloader for a few seconds, asks every source, and writes nothing.
/// Exit code 0: healthy. Else that of the first failure: 3 no peers, 4 network, 5 disk.
#[derive(Args, Debug, Clone)]
pub(crate) struct DoctorArgs {
    /// Torrent file, magnet link or info hash
    #[arg(value_name = "X", value_hint = ValueHint::AnyPath)]
    pub(crate) target: Option<String>,
    /// Look at the torrent for this long, at most
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "10s")]
    pub(crate) wait: Duration,
    /// Also connect to this peer; may be given several times
    #[arg(long, value_name = "HOST:PORT", value_parser = parse_peer, value_delimiter = ' ')]
    pub(crate) peer: Vec<(String, u16)>,
    /// Folder whose free space is told
    #[arg(short, long, value_name = "DIR", default_value = ".", value_hint = ValueHint::DirPath)]
    pub(crate) output: PathBuf,
    #[command(flatten)]
    pub(crate) network: NetworkArgs,
    #[command(flatten)]
    pub(crate) json: JsonObjectArgs,
    #[command(flatten)]
    pub(crate) talk: TalkArgs,
}

/// Print a completion script for a shell
#[derive(Args, Debug, Clone)]
pub(crate) struct CompletionsArgs {
    /// The shell
    pub(crate) shell: clap_complete::Shell,
    #[command(flatten)]
    pub(crate) talk: TalkArgs,
}

/// Write the man pages into a folder
#[derive(Args, Debug, Clone)]
pub(crate) struct ManArgs {
    /// The folder; made if it is not there
    #[arg(value_hint = ValueHint::DirPath)]
    pub(crate) dir: PathBuf,
    #[command(flatten)]
    pub(crate) talk: TalkArgs,
}

/// A power of two from 16 KiB to 64 MiB: BEP 52's least, and the most that this program's own downloads are tested with.
fn parse_piece_length(text: &str) -> Result<u64, String> {
    let length = parse_size(text)?;
    if length.is_power_of_two() && (16 << 10..=64 << 20).contains(&length) {
        return Ok(length);
    }
    Err(format!("'{text}' is not a power of two from 16KiB to 64MiB"))
}

/// `HOST:PORT`; an IPv6 address stands in brackets.
fn parse_peer(text: &str) -> Result<(String, u16), String> {
    let bad = || format!("'{text}' is not HOST:PORT, as in example.org:6881, 10.0.0.7:6881 or [2001:db8::7]:6881");
    if let Ok(addr) = text.parse::<std::net::SocketAddr>() {
        return if addr.port() == 0 { Err(bad()) } else { Ok((addr.ip().to_string(), addr.port())) };
    }
    let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
    let port: u16 = port.parse().map_err(|_| bad())?;
    let named = !host.is_empty() && host.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '.' | '_'));
    if named && port != 0 { Ok((host.to_owned(), port)) } else { Err(bad()) }
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
    fn peers_are_host_and_port() {
        assert_eq!(parse_peer("10.0.0.7:6881"), Ok(("10.0.0.7".to_owned(), 6881)));
        assert_eq!(parse_peer("[::1]:1"), Ok(("::1".to_owned(), 1)));
        assert_eq!(parse_peer("example.org:6881"), Ok(("example.org".to_owned(), 6881)));
        for text in ["", "host", "host:", ":1", "host:0", "1.2.3.4:0", "host:70000", "::1:6881", "a b:1", "http://x:1"]
        {
            assert!(parse_peer(text).is_err(), "{text}");
        }
    }

    #[test]
    fn piece_lengths_are_powers_of_two_within_bounds() {
        assert_eq!(parse_piece_length("16KiB"), Ok(16384));
        assert_eq!(parse_piece_length("4Mi"), Ok(4 << 20));
        for text in ["8KiB", "16k", "100KiB", "128MiB", "0"] {
            assert!(parse_piece_length(text).is_err(), "{text}");
        }
    }
}
