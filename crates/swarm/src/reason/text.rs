//! Reasons as codes for scripts and as lines for people.
//!
//! A code is stable and one word; a line says what is wrong and what to do, fits 80 columns where the words of others let
//! it, and may change.

use super::{Missing, Reached, Reason, SourceKind};
use crate::failure::SourceErrorKind;
use std::fmt;

impl Reason {
    /// A stable word for scripts (`reason_code` of the progress event).
    pub fn code(&self) -> &'static str {
        match self {
            Reason::DiskFull(_) => "disk_full",
            Reason::Disk(_) => "disk_error",
            Reason::LimitZero => "limit_zero",
            Reason::NoMetadata { .. } => "no_metadata",
            Reason::MetadataSilent { .. } => "metadata_silent",
            Reason::MissingPieces { .. } => "missing_pieces",
            Reason::NothingWanted { .. } => "nothing_wanted",
            Reason::Choked { .. } => "choked",
            Reason::NotSending { .. } => "not_sending",
            Reason::AllBanned { .. } => "all_banned",
            Reason::NoRoute => "no_route",
            Reason::Unreachable(_) => "peers_unreachable",
            Reason::PrivateNoTracker => "private_without_tracker",
            Reason::NoSource { .. } => "no_source",
            Reason::PrivateNetworks { .. } => "private_networks",
            Reason::Source { kind, error, .. } => source_code(*kind, error.kind),
            Reason::Silent { kind, .. } => source_code(*kind, SourceErrorKind::Silent),
            Reason::DhtNobody => "dht_nobody",
            Reason::TrackerNobody { .. } => "tracker_nobody",
            Reason::LanNobody { .. } => "lan_nobody",
            Reason::Waiting => "waiting",
        }
    }
}

fn source_code(source: SourceKind, kind: SourceErrorKind) -> &'static str {
    match (kind, source) {
        (SourceErrorKind::NoRoute, _) => "no_route",
        (SourceErrorKind::Dns, _) => "dns",
        (SourceErrorKind::Clock, _) => "clock",
        (SourceErrorKind::Tls, _) => "tls",
        (SourceErrorKind::Forbidden, _) => "private_networks",
        (SourceErrorKind::Silent, SourceKind::Tracker) => "tracker_silent",
        (SourceErrorKind::Silent, SourceKind::Dht) => "dht_silent",
        (_, SourceKind::Tracker) => "tracker_error",
        (_, SourceKind::Dht) => "dht_error",
        (_, SourceKind::Lan) => "lan_error",
        (_, SourceKind::WebSeed) => "web_seed_error",
        (_, SourceKind::Peer) => "peer_error",
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::DiskFull(text) | Reason::Disk(text) => f.write_str(text),
            Reason::LimitZero => f.write_str("the download limit is 0: nothing may come in; raise --down"),
            Reason::NoMetadata { peers } => {
                write!(f, "{}, and none has the metadata yet; wait for a full copy", Count(*peers, "peer"))
            }
            Reason::MetadataSilent { offers } => {
                write!(f, "asked {} for the metadata; none sends it", Count(*offers, "peer"))
            }
            Reason::MissingPieces { peers, missing: Missing { first, nowhere, lacking } } => write!(
                f,
                "none of {} has piece {}{}, of {} missing; wait for a full copy",
                Count(*peers, "peer"),
                first.0,
                match nowhere {
                    1 => String::new(),
                    more => format!(" and {} more", more - 1),
                },
                lacking,
            ),
            Reason::NothingWanted { peers } => {
                write!(f, "{}, and none has a piece that is missing here", Count(*peers, "peer"))
            }
            Reason::Choked { peers } => {
                let (have, let_us) = if *peers == 1 { ("has", "lets") } else { ("have", "let") };
                write!(f, "{} {have} pieces and {let_us} us wait (choked); it goes on by itself", Count(*peers, "peer"))
            }
            Reason::NotSending { peers } => write!(f, "asked {} for pieces; none sends", Count(*peers, "peer")),
            Reason::AllBanned { peers } => {
                write!(f, "all known peers sent bad data and are banned ({peers}); wait for others")
            }
            Reason::NoRoute => f.write_str("no network route from here: is this computer online?"),
            Reason::Unreachable(reached) => unreachable(f, reached),
            Reason::PrivateNoTracker => {
                f.write_str("private torrent, and it has no tracker: name a peer with --peer HOST:PORT")
            }
            Reason::NoSource { lan_only: true } => {
                f.write_str("--lan-only and --no-lan leave nobody to ask: name a --peer HOST:PORT")
            }
            Reason::NoSource { lan_only: false } => {
                f.write_str("nobody to ask: no tracker, DHT and LAN are off; name a --peer HOST:PORT")
            }
            Reason::PrivateNetworks { peers } => {
                write!(f, "{} named, all on private networks; --allow-private-networks if meant", Count(*peers, "peer"))
            }
            Reason::Source { kind, name, error } => source(f, *kind, name, error.kind, &error.text),
            Reason::Silent { kind, name } => source(f, *kind, name, SourceErrorKind::Silent, ""),
            Reason::DhtNobody => f.write_str("the DHT knows nobody who has it; does anyone share it now?"),
            Reason::TrackerNobody { name } => {
                write!(f, "tracker {name} knows nobody else; does anyone share it now?")
            }
            Reason::LanNobody { lan_only: true } => {
                f.write_str("nobody on this network has it yet, and --lan-only asks nobody else")
            }
            Reason::LanNobody { lan_only: false } => {
                f.write_str("nobody on this network has it yet; no tracker, DHT is off")
            }
            Reason::Waiting => f.write_str("about to ask for peers"),
        }
    }
}

fn unreachable(f: &mut fmt::Formatter<'_>, reached: &Reached) -> fmt::Result {
    let Reached { known, refused, silent, no_route, broke, .. } = *reached;
    match known {
        1 => f.write_str("the only known peer cannot be reached")?,
        many => write!(f, "none of {many} known peers can be reached")?,
    }
    let parts = [(refused, "refused"), (silent, "silent"), (broke, "broke off"), (no_route, "without a route")];
    let mut parts = parts.into_iter().filter(|(count, _)| *count > 0).peekable();
    if parts.peek().is_some() {
        f.write_str(":")?;
    }
    while let Some((count, what)) = parts.next() {
        write!(f, " {count} {what}{}", if parts.peek().is_some() { "," } else { "" })?;
    }
    Ok(())
}

fn source(f: &mut fmt::Formatter<'_>, kind: SourceKind, name: &str, error: SourceErrorKind, text: &str) -> fmt::Result {
    let who = match kind {
        SourceKind::Tracker => format!("tracker {name}"),
        SourceKind::WebSeed => format!("web seed {name}"),
        SourceKind::Dht => "the DHT".to_owned(),
        SourceKind::Lan => "LAN discovery".to_owned(),
        SourceKind::Peer => format!("peer {name}"),
    };
    match (error, kind) {
        (SourceErrorKind::NoRoute, _) => write!(f, "no network route to {who}: is this computer online?"),
        (SourceErrorKind::Dns, SourceKind::Dht) => {
            f.write_str("DNS fails: no bootstrap name of the DHT has an address; check the network")
        }
        (SourceErrorKind::Dns, _) => write!(f, "DNS fails: {name} has no address; check the network or the name"),
        (SourceErrorKind::Clock, _) => {
            write!(f, "{who}: certificate not valid yet; check this computer's clock")
        }
        (SourceErrorKind::Tls, _) => write!(f, "{who}: TLS refused: {text}"),
        (SourceErrorKind::Forbidden, _) => {
            write!(f, "{who} is on a private network; --allow-private-networks if meant")
        }
        (SourceErrorKind::Silent, SourceKind::Dht) => {
            f.write_str("the DHT does not answer; does a firewall block UDP? try --dht-bootstrap")
        }
        (SourceErrorKind::Silent, _) => write!(f, "{who} does not answer; it is asked again by itself"),
        (SourceErrorKind::Refused, _) => write!(f, "{who} cannot be reached: connection refused"),
        _ => write!(f, "{who}: {text}"),
    }
}

/// `1 peer`, `2 peers`.
struct Count(u32, &'static str);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}{}", self.0, self.1, if self.0 == 1 { "" } else { "s" })
    }
}
