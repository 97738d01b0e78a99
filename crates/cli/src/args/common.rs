//! Flags that several commands have: how much is said, in which form, and the network.

use super::parse::parse_peer;
use crate::size::{Rate, parse_rate};
use clap::{Args, ValueEnum};
use std::net::IpAddr;

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
