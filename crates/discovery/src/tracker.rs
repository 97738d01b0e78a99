//! Asking HTTP trackers (BEP 3, 7, 23).
//!
//! One announce is one request for each info hash: a hybrid torrent has two swarms as trackers see it, and is announced to
//! both; the answers are merged. When to announce, and to which tracker, is the swarm's decision.

mod query;
mod reply;

use crate::http::{Get, Http, HttpError, Patience};
use crate::networks::{Asked, Named, peer_allowed};
use query::query;
use shoal_swarm::{AnnounceEvent, AnnounceReply, AnnounceRequest};
use std::collections::BTreeSet;
use std::time::Duration;
use url::Url;

/// For one announce in all, redirects counted (reliability.md D2; libtorrent has the same).
const TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of an answer (reliability.md D2).
const MAX_BODY_BYTES: usize = 2 << 20;
/// For `stopped`: the user waits for it (the product's "2 s at most").
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a tracker gave nothing. Every message is one line; it may quote what the tracker sent, not escaped.
#[derive(Debug, thiserror::Error)]
pub enum TrackerError {
    /// The URL is none.
    #[error("not a usable tracker URL")]
    Url,
    /// The request failed.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The tracker refused, with its reason (BEP 3, "failure reason").
    #[error("the tracker refused: {reason}")]
    Failure {
        /// What it said, cut to a line.
        reason: String,
    },
    /// The answer is not what BEP 3 says.
    #[error("the tracker's answer makes no sense")]
    Malformed,
}

/// What all announces of a process share.
#[derive(Debug, Clone)]
pub struct TrackersConfig {
    /// Our id (BEP 20).
    pub peer_id: [u8; 20],
    /// The same for as long as the process runs, so that a tracker knows us when our address changes (BEP 7, "key").
    pub key: u32,
    /// The port on which we listen.
    pub port: u16,
    /// Accept trackers, and peers that they name, on any network.
    pub allow_private_networks: bool,
}

/// Asks trackers. Cheap to clone.
#[derive(Clone)]
pub struct Trackers {
    config: TrackersConfig,
    http: Http,
}

impl Trackers {
    /// Ready to ask.
    pub fn new(config: TrackersConfig, http: Http) -> Trackers {
        Trackers { config, http }
    }

    /// Asks one tracker about a torrent's info hashes: v1, and the first 20 bytes of v2. `typed`: the user typed this URL.
    /// Takes 30 s at most, 2 s for `stopped`.
    pub async fn announce(
        &self,
        request: &AnnounceRequest,
        hashes: &[[u8; 20]],
        typed: bool,
    ) -> Result<AnnounceReply, TrackerError> {
        let after = if request.event == AnnounceEvent::Stopped { STOP_TIMEOUT } else { TIMEOUT };
        let asked = async {
            match hashes {
                [one] => self.announce_one(request, one, typed).await,
                [first, second, ..] => {
                    let both = tokio::join!(
                        self.announce_one(request, first, typed),
                        self.announce_one(request, second, typed)
                    );
                    merge(both.0, both.1)
                }
                [] => Err(TrackerError::Url),
            }
        };
        tokio::time::timeout(after, asked).await.unwrap_or(Err(HttpError::Timeout { after }.into()))
    }

    async fn announce_one(
        &self,
        request: &AnnounceRequest,
        hash: &[u8; 20],
        typed: bool,
    ) -> Result<AnnounceReply, TrackerError> {
        let mut url = Url::parse(&request.url).map_err(|_| TrackerError::Url)?;
        query(&mut url, request, hash, &self.config);
        let named = if typed { Named::ByUser } else { Named::ByTorrent };
        let allow = self.config.allow_private_networks;
        let get = Get {
            url,
            asked: Asked::Tracker,
            named,
            at: Vec::new(),
            max_body_bytes: MAX_BODY_BYTES,
            patience: Patience::Whole(TIMEOUT),
            stays_secure: false,
        };
        let answer = self.http.get(get).await?.success()?;
        let mut reply = reply::parse(&answer.body)?;
        reply.peers.retain(|&peer| peer_allowed(answer.from, peer, allow));
        Ok(reply)
    }
}

impl std::fmt::Debug for Trackers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trackers").field("config", &self.config).finish_non_exhaustive()
    }
}

/// A tracker that knows one of a hybrid's hashes is asked again as it says for that one.
fn merge(
    first: Result<AnnounceReply, TrackerError>,
    second: Result<AnnounceReply, TrackerError>,
) -> Result<AnnounceReply, TrackerError> {
    let (mut merged, other) = match (first, second) {
        (Ok(first), Ok(second)) => (first, second),
        (Ok(only), Err(_)) | (Err(_), Ok(only)) => return Ok(only),
        (Err(error), Err(_)) => return Err(error),
    };
    merged.interval = merged.interval.max(other.interval);
    merged.min_interval = merged.min_interval.max(other.min_interval);
    merged.tracker_id = merged.tracker_id.or(other.tracker_id);
    // Most peers are in both swarms, so the counts are not added.
    merged.seeds = merged.seeds.max(other.seeds);
    merged.leeches = merged.leeches.max(other.leeches);
    merged.warning = merged.warning.or(other.warning);
    let known: BTreeSet<_> = merged.peers.iter().copied().collect();
    merged.peers.extend(other.peers.into_iter().filter(|peer| !known.contains(peer)));
    Ok(merged)
}

#[cfg(test)]
mod tests;
