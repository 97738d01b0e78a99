//! What is known of a swarm in which nothing moves; the rule that chooses a reason from it is [`Situation::reason`].

use super::{Phase, Swarm};
use crate::announce::TrackerStatus;
use crate::failure::{SourceError, SourceErrorKind};
use crate::reason::{Missing, Situation, SourceKind, SourceState, SourceStatus, Stage};
use crate::seek::{SeekStatus, Via};
use crate::web_seeds::WebSeedStatus;
use shoal_layout::PieceIndex;
use shoal_machine::Time;

/// What only the driver knows.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Surroundings {
    /// The user keeps it on the local network (`--lan-only`).
    pub lan_only: bool,
    /// The download limit, bytes a second.
    pub down_limit: Option<u64>,
    /// What the disk said, if it refuses: one line, not escaped.
    pub disk: Option<String>,
    /// Sources that the machine does not ask itself: names of peers that have no address.
    pub sources: Vec<SourceStatus>,
    /// Addresses that such sources named and that the rule on private networks forbids.
    pub forbidden: u32,
}

impl<P> Swarm<P> {
    /// When something last moved: a block or a part of the metadata came, a piece was written, or it began.
    pub fn moved(&self) -> Time {
        self.moved.unwrap_or(self.now)
    }

    /// What is known. Cost: a step a peer and a tracker; a step a piece where peers are connected and none has anything.
    pub fn situation(&self, surroundings: &Surroundings) -> Situation {
        let progress = self.progress();
        // Of one who shows its pieces one by one there is something to wait for.
        let interesting = self.peers.values().filter(|peer| peer.am_interested || peer.hides()).count() as u32;
        let private = self.is_private();
        let stage = match &self.phase {
            Phase::Metadata(_) => Stage::Metadata,
            Phase::Preparing => Stage::Preparing,
            Phase::Transfer(transfer) if transfer.complete => Stage::Complete,
            Phase::Transfer(_) => Stage::Transfer,
        };
        let mut forbidden = surroundings.forbidden;
        let mut sources = Vec::new();
        for tracker in self.schedule.trackers() {
            forbidden = forbidden.saturating_add(tracker.forbidden);
            sources.push(status(&tracker));
        }
        sources.extend(self.seek.status().filter(|seek| seek.enabled).map(|seek| sought(&seek)));
        if stage == Stage::Transfer {
            // Before the metadata is known they are of no use.
            sources.extend(self.web_seeds().map(|seed| served(&seed)));
        }
        let others = surroundings.sources.iter();
        sources.extend(
            others.filter(|source| !private || matches!(source.kind, SourceKind::WebSeed | SourceKind::Peer)).cloned(),
        );
        let mut reached = self.reach.counts(progress.known_addresses, progress.dialing, progress.banned);
        reached.forbidden = forbidden;
        Situation {
            stage,
            private,
            lan_only: surroundings.lan_only,
            down_limit: surroundings.down_limit,
            disk: surroundings.disk.clone(),
            sources,
            reached,
            peers: progress.peers,
            offers: progress.metadata_offers,
            interesting,
            unchoking: self.peers.values().filter(|peer| peer.am_interested && !peer.peer_choking).count() as u32,
            missing: if progress.peers > 0 && interesting == 0 { self.missing() } else { None },
        }
    }

    fn missing(&self) -> Option<Missing> {
        let Phase::Transfer(transfer) = &self.phase else { return None };
        let picker = &transfer.picker;
        let (mut first, mut nowhere, mut lacking) = (None, 0, 0);
        for piece in (0..picker.have().len()).map(PieceIndex).filter(|piece| picker.wants(*piece)) {
            lacking += 1;
            if picker.availability(piece) == 0 {
                first = first.or(Some(piece));
                nowhere += 1;
            }
        }
        Some(Missing { first: first?, nowhere, lacking })
    }
}

fn status(tracker: &TrackerStatus<'_>) -> SourceStatus {
    let state = match (tracker.last_error, tracker.last_error_kind) {
        (Some(text), Some(kind)) => SourceState::Failed(SourceError::new(kind, text)),
        _ if tracker.working => SourceState::Answered(tracker.peers),
        _ if tracker.in_flight => SourceState::Asking,
        _ => SourceState::Waiting,
    };
    SourceStatus { kind: SourceKind::Tracker, name: host(tracker.url).to_owned(), state }
}

/// A web seed names no peers: it gives, or it is why nothing moves.
fn served(seed: &WebSeedStatus) -> SourceStatus {
    let state = match &seed.trouble {
        Some(error) => SourceState::Failed(error.clone()),
        None if seed.fetching => SourceState::Asking,
        None => SourceState::Waiting,
    };
    SourceStatus { kind: SourceKind::WebSeed, name: host(&seed.url).to_owned(), state }
}

/// What is asked without a tracker. A DHT of which no node answers is a silent one.
fn sought(seek: &SeekStatus<'_>) -> SourceStatus {
    let kind = match seek.via {
        Via::Dht => SourceKind::Dht,
        Via::Lan => SourceKind::Lan,
    };
    let state = match seek.last {
        Some(Err(error)) => SourceState::Failed(error.clone()),
        Some(Ok(sought)) if seek.via == Via::Dht && sought.responders == 0 && sought.peers == 0 => {
            SourceState::Failed(SourceError::new(SourceErrorKind::Silent, "no node of the DHT answers"))
        }
        Some(Ok(sought)) => SourceState::Answered(sought.peers),
        None if seek.in_flight => SourceState::Asking,
        None => SourceState::Waiting,
    };
    SourceStatus { kind, name: String::new(), state }
}

/// Host and port of a URL: what may be shown of it, since paths and queries hold pass keys.
fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}

#[cfg(test)]
mod tests {
    use super::host;

    #[test]
    fn only_the_host_of_a_tracker_is_shown() {
        assert_eq!(host("http://user:pw@t.example:80/abc/announce?passkey=1"), "t.example:80");
        assert_eq!(host("udp://[::1]:6969"), "[::1]:6969");
        assert_eq!(host("t.example?x"), "t.example");
    }
}
