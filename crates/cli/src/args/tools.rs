//! The words of the commands that look at this computer and its network, and of those that packagers use.

use super::parse::parse_peer;
use super::{JsonObjectArgs, NetworkArgs, TalkArgs};
use crate::size::{parse_duration, parse_size};
use clap::{Args, ValueEnum, ValueHint};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

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
