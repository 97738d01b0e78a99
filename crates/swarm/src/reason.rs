//! Why nothing moves: one reason, chosen by a fixed rule from what is known.
//!
//! A [`Situation`] is the facts; [`Situation::reason`] chooses the one reason that helps most. The rule reads from the
//! nearest obstacle to the farthest: our own disk and limits; then the peers that are connected; then those that are
//! known and not reached; then the sources that should have named some. Of several failed sources, what the user can mend
//! here comes first (no route, DNS, the clock), then what a source said, then silence, then "nobody". `docs/doctor.md` has
//! the rule as a table, and each row is a test below.
//!
//! Invariant: the rule is asked only after nothing moved for [`QUIET`], so what is still under way then counts as silent.

mod text;

use crate::failure::{SourceError, SourceErrorKind};
use shoal_layout::PieceIndex;
use std::time::Duration;

/// Nothing moved for so long: then a reason is given.
pub const QUIET: Duration = Duration::from_secs(5);

/// What a source of peers is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum SourceKind {
    /// A tracker.
    Tracker,
    /// The DHT.
    Dht,
    /// The local network (BEP 14).
    Lan,
    /// A web server that has the files (BEP 19).
    WebSeed,
    /// A peer that was named by a host's name, which is looked up.
    Peer,
}

/// How a source fares.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SourceState {
    /// It was not asked yet.
    Waiting,
    /// It was asked, and has not answered since.
    Asking,
    /// It gave nothing.
    Failed(SourceError),
    /// It answered, and named so many peers.
    Answered(u32),
}

/// A source and how it fares.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourceStatus {
    /// What it is.
    pub kind: SourceKind,
    /// Its host, where there are several; not escaped. Never a whole URL: those hold pass keys.
    pub name: String,
    /// How it fares.
    pub state: SourceState,
}

/// How the known addresses fared; each is counted once.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Reached {
    /// Addresses known, our own and the banned ones left out.
    pub known: u32,
    /// Nothing listens there.
    pub refused: u32,
    /// No answer, dials under way counted.
    pub silent: u32,
    /// No route from here.
    pub no_route: u32,
    /// Connected, and closed before it said that it has this torrent.
    pub broke: u32,
    /// Peers that were banned.
    pub banned: u32,
    /// Addresses that sources named and that the rule on private networks forbids.
    pub forbidden: u32,
}

/// Which pieces nobody has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Missing {
    /// The first of them.
    pub first: PieceIndex,
    /// How many no connected peer has.
    pub nowhere: u32,
    /// How many we lack in all.
    pub lacking: u32,
}

/// How far a torrent is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Stage {
    /// The info dictionary is fetched from peers.
    #[default]
    Metadata,
    /// Files are opened and checked.
    Preparing,
    /// Pieces are fetched.
    Transfer,
    /// All that was chosen is here.
    Complete,
}

/// What is known of a torrent in which nothing moves.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Situation {
    /// How far it is.
    pub stage: Stage,
    /// Only its trackers may name peers (BEP 27).
    pub private: bool,
    /// The user keeps it on the local network (`--lan-only`).
    pub lan_only: bool,
    /// The download limit, bytes a second.
    pub down_limit: Option<u64>,
    /// What the disk said, if it refuses: one line, not escaped.
    pub disk: Option<String>,
    /// Trackers and all other sources that may be used.
    pub sources: Vec<SourceStatus>,
    /// Known addresses.
    pub reached: Reached,
    /// Connected peers.
    pub peers: u32,
    /// Of them, those that offer the info dictionary.
    pub offers: u32,
    /// Of them, those that have something that we lack.
    pub interesting: u32,
    /// Of those, the ones that do not choke us.
    pub unchoking: u32,
    /// Pieces that no connected peer has.
    pub missing: Option<Missing>,
}

/// Why nothing moves. `Display` gives one line for the user: what is wrong and what to do; not escaped.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reason {
    /// The disk is full; the line is the disk's.
    DiskFull(String),
    /// The disk refuses; the line is the disk's.
    Disk(String),
    /// The download limit lets nothing in.
    LimitZero,
    /// Peers are connected, and none has the metadata.
    NoMetadata {
        /// How many.
        peers: u32,
    },
    /// Peers offer the metadata, and none sends it.
    MetadataSilent {
        /// How many.
        offers: u32,
    },
    /// No connected peer has a missing piece.
    MissingPieces {
        /// Connected peers.
        peers: u32,
        /// Which pieces.
        missing: Missing,
    },
    /// No connected peer has anything that we lack, though together they had.
    NothingWanted {
        /// Connected peers.
        peers: u32,
    },
    /// All that have something choke us.
    Choked {
        /// How many.
        peers: u32,
    },
    /// Blocks were asked for, and none comes.
    NotSending {
        /// How many were asked.
        peers: u32,
    },
    /// All peers that were known are banned.
    AllBanned {
        /// How many.
        peers: u32,
    },
    /// This machine has no route to anybody.
    NoRoute,
    /// Peers are known, and none can be reached.
    Unreachable(Reached),
    /// A private torrent (BEP 27) without a tracker.
    PrivateNoTracker,
    /// No source may be asked.
    NoSource {
        /// `--lan-only` is why.
        lan_only: bool,
    },
    /// All peers that were named are on networks where the torrent may not lead us.
    PrivateNetworks {
        /// How many.
        peers: u32,
    },
    /// A source failed.
    Source {
        /// Which.
        kind: SourceKind,
        /// Its host.
        name: String,
        /// How.
        error: SourceError,
    },
    /// A source was asked and is silent.
    Silent {
        /// Which.
        kind: SourceKind,
        /// Its host.
        name: String,
    },
    /// The DHT answered and knows nobody.
    DhtNobody,
    /// Trackers answered and know nobody else.
    TrackerNobody {
        /// The first that answered.
        name: String,
    },
    /// Nobody on the local network answered yet.
    LanNobody {
        /// `--lan-only` is why nobody else is asked.
        lan_only: bool,
    },
    /// Sources are about to be asked.
    Waiting,
}

impl Situation {
    /// The reason that helps most; `None` if there is nothing to wait for. To be asked after [`QUIET`].
    pub fn reason(&self) -> Option<Reason> {
        if let Some(text) = &self.disk {
            let full = text.contains("disk full");
            return Some(if full { Reason::DiskFull(text.clone()) } else { Reason::Disk(text.clone()) });
        }
        match self.stage {
            Stage::Preparing | Stage::Complete => return None,
            Stage::Metadata | Stage::Transfer => {}
        }
        if self.down_limit == Some(0) {
            return Some(Reason::LimitZero);
        }
        Some(if self.peers > 0 { self.of_connected() } else { self.without_peers() })
    }

    fn of_connected(&self) -> Reason {
        let peers = self.peers;
        match (self.stage, self.missing) {
            (Stage::Metadata, _) if self.offers == 0 => Reason::NoMetadata { peers },
            (Stage::Metadata, _) => Reason::MetadataSilent { offers: self.offers },
            (_, Some(missing)) if self.interesting == 0 => Reason::MissingPieces { peers, missing },
            _ if self.interesting == 0 => Reason::NothingWanted { peers },
            _ if self.unchoking == 0 => Reason::Choked { peers: self.interesting },
            _ => Reason::NotSending { peers: self.unchoking },
        }
    }

    fn without_peers(&self) -> Reason {
        let Reached { known, no_route, banned, forbidden, .. } = self.reached;
        if known > 0 && no_route == known {
            return Reason::NoRoute;
        }
        if known > 0 {
            return Reason::Unreachable(self.reached);
        }
        if banned > 0 {
            return Reason::AllBanned { peers: banned };
        }
        if self.sources.is_empty() {
            return if self.private && !self.lan_only {
                Reason::PrivateNoTracker
            } else {
                Reason::NoSource { lan_only: self.lan_only }
            };
        }
        if forbidden > 0 {
            return Reason::PrivateNetworks { peers: forbidden };
        }
        self.of_sources()
    }

    /// What is wrong with the sources, which named nobody.
    fn of_sources(&self) -> Reason {
        // Where anybody outside was heard there is a network: a source without a route is then one without IPv6.
        let heard = self.sources.iter().any(|source| match &source.state {
            SourceState::Answered(_) => source.kind != SourceKind::Lan,
            SourceState::Failed(error) => {
                !matches!(error.kind, SourceErrorKind::NoRoute | SourceErrorKind::Dns | SourceErrorKind::Silent)
            }
            SourceState::Waiting | SourceState::Asking => false,
        });
        let failed = self.sources.iter().filter_map(|source| match &source.state {
            SourceState::Failed(error) if heard && error.kind == SourceErrorKind::NoRoute => None,
            SourceState::Failed(error) if error.kind == SourceErrorKind::Silent => None,
            SourceState::Failed(error) => Some((source, error)),
            _ => None,
        });
        // The order of the kinds is the order of weight; of equals the first in the order of sources.
        match failed.min_by_key(|(source, error)| (error.kind, source.kind)) {
            Some((_, error)) if error.kind == SourceErrorKind::NoRoute => return Reason::NoRoute,
            Some((source, error)) => {
                return Reason::Source { kind: source.kind, name: source.name.clone(), error: error.clone() };
            }
            None => {}
        }
        let first = |kind, is: &dyn Fn(&SourceState) -> bool| {
            self.sources.iter().find(|source| source.kind == kind && is(&source.state))
        };
        let is_silent = |state: &SourceState| match state {
            SourceState::Asking => true,
            SourceState::Failed(error) => error.kind == SourceErrorKind::Silent,
            SourceState::Waiting | SourceState::Answered(_) => false,
        };
        let answered = |state: &SourceState| matches!(state, SourceState::Answered(_));
        // A tracker that is silent matters more than another that knows nobody; one that works more than a silent DHT.
        for kind in [SourceKind::Tracker, SourceKind::WebSeed, SourceKind::Dht, SourceKind::Lan] {
            if let Some(source) = first(kind, &is_silent) {
                return Reason::Silent { kind, name: source.name.clone() };
            }
            match (kind, first(kind, &answered)) {
                (SourceKind::Tracker, Some(tracker)) => return Reason::TrackerNobody { name: tracker.name.clone() },
                (SourceKind::Dht, Some(_)) => return Reason::DhtNobody,
                (SourceKind::Lan, Some(_)) => return Reason::LanNobody { lan_only: self.lan_only },
                _ => {}
            }
        }
        Reason::Waiting
    }
}

#[cfg(test)]
mod tests;
