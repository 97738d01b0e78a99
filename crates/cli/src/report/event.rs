//! The events of schema 1, exactly as scripts get them, and what only people see of them.
//!
//! The enum is the schema: its names and fields are the JSON's names and keys. What is left out of the JSON
//! (`#[serde(skip)]`) is for bars and lines.

use serde::{Serialize, Serializer};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The schema's number, carried by the first event.
pub(crate) const SCHEMA: u32 = 1;

/// Something that happened to a torrent.
#[derive(Serialize, Clone, Debug)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Event {
    /// Peers can connect to this address.
    Listening {
        /// Address and port.
        addr: String,
    },
    /// The link of a torrent that is shared or was created.
    Link {
        /// The magnet link.
        magnet: String,
    },
    /// The info dictionary is known.
    Metadata {
        /// Hex, or null.
        info_hash_v1: Option<String>,
        /// Hex, or null.
        info_hash_v2: Option<String>,
        /// The torrent's name, not escaped.
        name: String,
        /// Bytes in files.
        total_length: u64,
    },
    /// Bytes on disk are hashed.
    Checking {
        /// Bytes looked at.
        done_bytes: u64,
        /// Bytes to look at.
        total_bytes: u64,
        /// What for.
        #[serde(skip)]
        work: Work,
        /// Bytes per second.
        #[serde(skip)]
        rate: u64,
    },
    /// A snapshot of a transfer.
    Progress(Progress),
    /// A piece is verified and written.
    Piece {
        /// Its number.
        index: u32,
    },
    /// A file of the torrent is not right (`verify`).
    File {
        /// The path inside the torrent.
        path: Vec<String>,
        /// How many of its pieces are missing or wrong.
        bad_pieces: u32,
        /// The same path for people, as it is on disk.
        #[serde(skip)]
        place: PathBuf,
    },
    /// The torrent is whole (or the file is written).
    Done {
        /// Where it is.
        #[serde(serialize_with = "path_as_text")]
        path: PathBuf,
    },
    /// The command failed for this torrent.
    Error {
        /// The exit code that belongs to it.
        code: u8,
        /// One line.
        message: String,
    },
}

/// A snapshot of a transfer.
#[derive(Serialize, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Bytes of selected files, verified and written.
    pub(crate) done_bytes: u64,
    /// Bytes of selected files.
    pub(crate) total_bytes: u64,
    /// Bytes per second received.
    pub(crate) download_rate: u64,
    /// Bytes per second sent.
    pub(crate) upload_rate: u64,
    /// Open connections.
    pub(crate) peers: u32,
    /// Pieces verified and written.
    pub(crate) pieces_done: u32,
    /// Pieces of the torrent.
    pub(crate) pieces_total: u32,
    /// Why nothing moves, if nothing does.
    pub(crate) reason: Option<String>,
    /// The same as a stable word.
    pub(crate) reason_code: Option<&'static str>,
    /// The torrent's name, not escaped.
    #[serde(skip)]
    pub(crate) name: String,
    /// What it is at.
    #[serde(skip)]
    pub(crate) phase: Phase,
    /// Time left at the present rate.
    #[serde(skip)]
    pub(crate) left: Option<Duration>,
    /// Web seeds that are being fetched from.
    #[serde(skip)]
    pub(crate) web_seeds: u32,
    /// Connected peers that have everything.
    #[serde(skip)]
    pub(crate) full_copies: u32,
    /// Bytes sent by this run.
    #[serde(skip)]
    pub(crate) uploaded: u64,
}

/// The word for what a torrent is at.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Phase {
    /// Nobody is connected.
    #[default]
    FindingPeers,
    /// Peers are asked for the info dictionary.
    Metadata,
    /// Something is missing.
    Downloading,
    /// The disk refuses.
    Paused,
    /// Everything is here, and is given to others.
    Seeding,
    /// Everything is here, and the command ends.
    Done,
}

impl Phase {
    /// The word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Phase::FindingPeers => "finding peers",
            Phase::Metadata => "metadata",
            Phase::Downloading => "downloading",
            Phase::Paused => "paused",
            Phase::Seeding => "seeding",
            Phase::Done => "done",
        }
    }
}

/// What bytes are hashed for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Work {
    /// To make a torrent.
    Hashing,
    /// To see what is right.
    #[default]
    Checking,
}

impl Work {
    /// The word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Work::Hashing => "hashing",
            Work::Checking => "checking",
        }
    }
}

fn path_as_text<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

impl Progress {
    /// Seeds, and nobody takes anything.
    pub(super) fn is_idle_seed(&self) -> bool {
        self.phase == Phase::Seeding && self.peers == 0 && self.upload_rate == 0
    }

    /// `45 %  12.3 MiB/s  12s left  3 peers  120.0 of 256.0 MiB`, or why nothing moves; what has nothing to say is left out.
    /// For a line that begins with name and phase; in order of weight, since the end of a line is cut.
    pub(crate) fn line(&self) -> String {
        use crate::size::{bytes, count, part_of, rate, time};
        let peers = || match (self.peers, self.web_seeds) {
            (peers, 0) => count(u64::from(peers), "peer"),
            (0, seeds) => count(u64::from(seeds), "web seed"),
            (peers, seeds) => format!("{}, {}", count(u64::from(peers), "peer"), count(u64::from(seeds), "web seed")),
        };
        match self.phase {
            Phase::Done => return bytes(self.total_bytes),
            Phase::Seeding => {
                let copies = format!("{} elsewhere", full_copies(self.full_copies));
                let sent = format!("{} up, {} sent", rate(self.upload_rate), bytes(self.uploaded));
                return [peers(), copies, sent].join("  ");
            }
            _ => {}
        }
        let has_total = self.total_bytes > 0;
        let mut parts = Vec::new();
        if has_total {
            parts.push(format!("{} %", percent(self.done_bytes, self.total_bytes)));
        }
        match &self.reason {
            Some(reason) => parts.push(reason.clone()),
            None => {
                if self.phase == Phase::Downloading {
                    parts.push(rate(self.download_rate));
                    parts.extend(self.left.map(|left| format!("{} left", time(left))));
                }
                if self.phase != Phase::FindingPeers {
                    parts.push(peers());
                }
            }
        }
        if has_total {
            parts.push(part_of(self.done_bytes, self.total_bytes));
        }
        if self.upload_rate > 0 {
            parts.push(format!("{} up", rate(self.upload_rate)));
        }
        parts.join("  ")
    }
}

/// `hashing 45 %  1.0 of 2.0 GiB  800.0 MiB/s  2s left`.
pub(super) fn checking_line(work: Work, done_bytes: u64, total_bytes: u64, rate: u64) -> String {
    use crate::size;
    let mut line = format!("{} {} %", work.word(), percent(done_bytes, total_bytes));
    line.push_str(&format!("  {}", size::part_of(done_bytes, total_bytes)));
    if rate > 0 {
        line.push_str(&format!("  {}", size::rate(rate)));
    }
    if let Some(left) = size::time_left(total_bytes.saturating_sub(done_bytes), rate) {
        line.push_str(&format!("  {} left", size::time(left)));
    }
    line
}

fn full_copies(number: u32) -> String {
    if number == 1 { "1 full copy".to_owned() } else { format!("{number} full copies") }
}

/// Whole percents, 100 only when all is there.
pub(crate) fn percent(done: u64, total: u64) -> u64 {
    if done >= total {
        return 100;
    }
    (u128::from(done) * 100 / u128::from(total)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(event: &Event) -> Vec<String> {
        let value = serde_json::to_value(event).unwrap();
        value.as_object().unwrap().keys().cloned().collect()
    }

    #[test]
    fn keys_are_those_of_schema_1() {
        let progress = Event::Progress(Progress::default());
        let mut expected = vec![
            "event",
            "done_bytes",
            "total_bytes",
            "download_rate",
            "upload_rate",
            "peers",
            "pieces_done",
            "pieces_total",
            "reason",
            "reason_code",
        ];
        let mut found = keys(&progress);
        expected.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, expected);
        let checking = Event::Checking { done_bytes: 1, total_bytes: 2, work: Work::Checking, rate: 3 };
        assert_eq!(serde_json::to_string(&checking).unwrap(), r#"{"event":"checking","done_bytes":1,"total_bytes":2}"#);
        let done = Event::Done { path: "a".into() };
        assert_eq!(serde_json::to_string(&done).unwrap(), r#"{"event":"done","path":"a"}"#);
    }

    #[test]
    fn percents_round_down_and_100_means_all() {
        assert_eq!(percent(0, 0), 100);
        assert_eq!(percent(999, 1000), 99);
        assert_eq!(percent(u64::MAX - 1, u64::MAX), 99);
        assert_eq!(percent(5, 5), 100);
    }

    #[test]
    fn a_line_says_why_nothing_moves_instead_of_a_rate() {
        let mut progress =
            Progress { done_bytes: 50, total_bytes: 100, phase: Phase::Downloading, peers: 2, ..Progress::default() };
        progress.reason = Some("all peers choke us".to_owned());
        assert_eq!(progress.line(), "50 %  all peers choke us  50 of 100 B");
        progress.reason = None;
        progress.download_rate = 10;
        progress.left = Some(Duration::from_secs(5));
        assert_eq!(progress.line(), "50 %  10 B/s  5s left  2 peers  50 of 100 B");
        progress.web_seeds = 1;
        assert_eq!(progress.line(), "50 %  10 B/s  5s left  2 peers, 1 web seed  50 of 100 B");
        progress.peers = 0;
        assert_eq!(progress.line(), "50 %  10 B/s  5s left  1 web seed  50 of 100 B");
    }
}
