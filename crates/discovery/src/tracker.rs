//! Asking trackers: HTTP and HTTPS (BEP 3, 7, 23), UDP (BEP 15, 41), and scraping both (BEP 48, 15).
//!
//! One announce is one request for each info hash: a hybrid torrent has two swarms as trackers see it, and is announced to
//! both. A tracker that has addresses of both families is asked over both, because it lists us by the address that it sees
//! (BEP 7). All answers are merged. When to announce, and to which tracker, is the swarm's decision; how many at a time the
//! host's.

mod both;
mod query;
pub(crate) mod reply;
pub(crate) mod scrape;
mod udp;

pub(crate) use udp::packet as udp_packet;

use crate::http::{Answer, Get, Http, HttpError, Patience};
use crate::networks::{Asked, Named, Scope, peer_allowed, scope};
use both::{asked_both, merge};
use query::{LEFT_UNKNOWN, query};
use shoal_swarm::{AnnounceEvent, AnnounceReply, AnnounceRequest};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::time::Duration;
use udp::{Announce, Body, Question, Udp};
use url::Url;

/// For one announce in all, redirects counted (reliability.md D2; libtorrent has the same).
const TIMEOUT: Duration = Duration::from_secs(30);
/// For `stopped`: the user waits for it (the product's "2 s at most").
const STOP_TIMEOUT: Duration = Duration::from_secs(2);
/// Before a datagram is sent again, doubled each time: 4 in [`TIMEOUT`]. Chosen: BEP 15's 15 s would leave room for 2, and
/// a lost datagram is not worth a quarter of a minute.
const UDP_WAIT: Duration = Duration::from_secs(3);
/// The same for `stopped`. Chosen: 2 in [`STOP_TIMEOUT`].
const UDP_STOP_WAIT: Duration = Duration::from_secs(1);
/// Bytes of an answer (reliability.md D2).
const MAX_BODY_BYTES: usize = 2 << 20;
/// Characters of a reason or a warning. Chosen.
const MAX_TEXT_CHARS: usize = 300;

/// Why a tracker gave nothing. Every message is one line; it may quote what the tracker sent, not escaped.
#[derive(Debug, thiserror::Error)]
pub enum TrackerError {
    /// The URL is none.
    #[error("not a usable tracker URL")]
    Url,
    /// The scheme is not one of trackers that are asked here.
    #[error("{scheme} trackers are not supported here, only http, https and udp")]
    Scheme {
        /// Which.
        scheme: String,
    },
    /// The request failed, or over UDP its way there.
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
    /// Its URL has no scrape form (BEP 48).
    #[error("this tracker does not tell how many peers it knows (its URL does not end in announce)")]
    NoScrape,
}

/// What a tracker knows of a torrent without our joining it (BEP 48).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scraped {
    /// Complete peers.
    pub seeds: Option<u32>,
    /// Incomplete peers.
    pub leeches: Option<u32>,
    /// How often `completed` was announced.
    pub completed: Option<u32>,
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
    /// Accept peers that trackers name on any network; the rule for the trackers themselves is the [`Http`]'s.
    pub allow_private_networks: bool,
}

/// Asks trackers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Trackers {
    config: TrackersConfig,
    http: Http,
    udp: Udp,
}

/// A tracker and where it is.
struct Found {
    /// Of a UDP tracker as if it were http, so that both are read by the same rules.
    url: Url,
    is_udp: bool,
    named: Named,
    /// Its addresses by family; one or two lists, none empty.
    families: Vec<Vec<SocketAddr>>,
}

impl Trackers {
    /// Ready to ask.
    pub fn new(config: TrackersConfig, http: Http) -> Trackers {
        Trackers { config, http, udp: Udp::default() }
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
            let found = self.find(&request.url, typed).await?;
            match &found.families[..] {
                [one] => self.announce_at(&found, one, request, hashes).await,
                [first, second, ..] => {
                    let first = self.announce_at(&found, first, request, hashes);
                    let second = self.announce_at(&found, second, request, hashes);
                    asked_both(first, second).await
                }
                [] => Err(TrackerError::Url),
            }
        };
        tokio::time::timeout(after, asked).await.unwrap_or(Err(HttpError::Timeout { after }.into()))
    }

    /// Asks one tracker how many peers of these info hashes it knows, 74 at most. Takes 30 s at most.
    pub async fn scrape(
        &self,
        url: &str,
        hashes: &[[u8; 20]],
        typed: bool,
    ) -> Result<Vec<Option<Scraped>>, TrackerError> {
        let hashes = &hashes[..hashes.len().min(udp::packet::MAX_SCRAPED)];
        let asked = async {
            let found = self.find(url, typed).await?;
            let mut last = TrackerError::Url;
            for addrs in &found.families {
                match self.scrape_at(&found, addrs, hashes).await {
                    Ok(scraped) => return Ok(scraped),
                    Err(error) => last = error,
                }
            }
            Err(last)
        };
        let silent = HttpError::Timeout { after: TIMEOUT };
        tokio::time::timeout(TIMEOUT, asked).await.unwrap_or(Err(silent.into()))
    }

    async fn find(&self, url: &str, typed: bool) -> Result<Found, TrackerError> {
        let mut parsed = Url::parse(url).map_err(|_| TrackerError::Url)?;
        let is_udp = parsed.scheme() == "udp";
        if !is_udp && !matches!(parsed.scheme(), "http" | "https") {
            return Err(TrackerError::Scheme { scheme: parsed.scheme().to_owned() });
        }
        if is_udp {
            // Else `udp://0x7f.1` would be a name, and not the address that it is.
            let rest = url.split_once(':').map_or("", |(_, rest)| rest);
            parsed = Url::parse(&format!("http:{rest}")).map_err(|_| TrackerError::Url)?;
        }
        let named = if typed { Named::ByUser } else { Named::ByTorrent };
        let addrs = self.http.find(&parsed, Asked::Tracker, named, Vec::new()).await?;
        let (v4, v6): (Vec<_>, Vec<_>) = addrs.into_iter().partition(SocketAddr::is_ipv4);
        let families = [v4, v6].into_iter().filter(|addrs| !addrs.is_empty()).collect();
        Ok(Found { url: parsed, is_udp, named, families })
    }

    /// The addresses at which a tracker would be asked.
    #[cfg(test)]
    pub(crate) async fn addrs(&self, url: &str, typed: bool) -> Result<Vec<SocketAddr>, TrackerError> {
        Ok(self.find(url, typed).await?.families.concat())
    }

    /// Announces all hashes to a tracker over one family.
    async fn announce_at(
        &self,
        found: &Found,
        addrs: &[SocketAddr],
        request: &AnnounceRequest,
        hashes: &[[u8; 20]],
    ) -> Result<AnnounceReply, TrackerError> {
        match hashes {
            [one] => self.announce_one(found, addrs, request, one).await,
            [first, second, ..] if found.is_udp => {
                // One after the other, so that the second needs no connection id of its own.
                let first = self.announce_one(found, addrs, request, first).await;
                if first.as_ref().is_err_and(|error| !matches!(error, TrackerError::Failure { .. })) {
                    return first;
                }
                merge(first, self.announce_one(found, addrs, request, second).await)
            }
            [first, second, ..] => {
                let both = tokio::join!(
                    self.announce_one(found, addrs, request, first),
                    self.announce_one(found, addrs, request, second)
                );
                merge(both.0, both.1)
            }
            [] => Err(TrackerError::Url),
        }
    }

    async fn announce_one(
        &self,
        found: &Found,
        addrs: &[SocketAddr],
        request: &AnnounceRequest,
        hash: &[u8; 20],
    ) -> Result<AnnounceReply, TrackerError> {
        let (mut reply, from) = if found.is_udp {
            self.announce_udp(found, addrs, request, hash).await?
        } else {
            let mut url = found.url.clone();
            query(&mut url, request, hash, &self.config);
            let answer = self.get(url, found.named, addrs).await?;
            (reply::parse(&answer.body)?, answer.from)
        };
        let allow = self.config.allow_private_networks;
        let named = reply.peers.len();
        reply.peers.retain(|&peer| peer_allowed(from, peer, allow));
        reply.forbidden = (named - reply.peers.len()) as u32;
        Ok(reply)
    }

    async fn announce_udp(
        &self,
        found: &Found,
        addrs: &[SocketAddr],
        request: &AnnounceRequest,
        hash: &[u8; 20],
    ) -> Result<(AnnounceReply, Scope), TrackerError> {
        let target = &found.url[url::Position::BeforePath..url::Position::AfterQuery];
        let (event, wait) = match request.event {
            AnnounceEvent::None => (0, UDP_WAIT),
            AnnounceEvent::Completed => (1, UDP_WAIT),
            AnnounceEvent::Started => (2, UDP_WAIT),
            AnnounceEvent::Stopped => (3, UDP_STOP_WAIT),
        };
        let announce = Announce {
            info_hash: *hash,
            peer_id: self.config.peer_id,
            downloaded: request.downloaded,
            left: request.left.unwrap_or(LEFT_UNKNOWN),
            uploaded: request.uploaded,
            event,
            key: self.config.key,
            num_want: if request.event == AnnounceEvent::Stopped { 0 } else { request.num_want },
            port: self.config.port,
            url_data: if target == "/" { Vec::new() } else { target.as_bytes().to_vec() },
        };
        let (body, from) = self.ask_udp(addrs, &Question::Announce(Box::new(announce)), wait).await?;
        let Body::Announced { interval, leeches, seeds, peers } = body else { return Err(TrackerError::Malformed) };
        let reply = AnnounceReply {
            interval: Some(interval),
            seeds: Some(seeds),
            leeches: Some(leeches),
            peers,
            ..AnnounceReply::default()
        };
        Ok((reply, from))
    }

    async fn scrape_at(
        &self,
        found: &Found,
        addrs: &[SocketAddr],
        hashes: &[[u8; 20]],
    ) -> Result<Vec<Option<Scraped>>, TrackerError> {
        if !found.is_udp {
            let url = scrape::scrape_url(&found.url, hashes).ok_or(TrackerError::NoScrape)?;
            let answer = self.get(url, found.named, addrs).await?;
            return scrape::parse(&answer.body, hashes);
        }
        let (body, _) = self.ask_udp(addrs, &Question::Scrape(hashes.to_vec()), UDP_WAIT).await?;
        let Body::Scraped(scraped) = body else { return Err(TrackerError::Malformed) };
        let mut scraped: Vec<Option<Scraped>> = scraped.into_iter().map(Some).collect();
        scraped.resize(hashes.len(), None);
        Ok(scraped)
    }

    /// Asks over HTTP at these addresses. An answer that is no success is one if it gives a reason, as some trackers do.
    async fn get(&self, url: Url, named: Named, addrs: &[SocketAddr]) -> Result<Answer, TrackerError> {
        let get = Get {
            url,
            asked: Asked::Tracker,
            named,
            at: addrs.to_vec(),
            max_body_bytes: MAX_BODY_BYTES,
            patience: Patience::Whole(TIMEOUT),
            stays_secure: false,
        };
        let answer = self.http.get(get).await?;
        if !answer.status.is_success()
            && let Err(refused @ TrackerError::Failure { .. }) = reply::parse(&answer.body)
        {
            return Err(refused);
        }
        Ok(answer.success()?)
    }

    /// Asks over UDP at the first address that has a route and an open port.
    async fn ask_udp(
        &self,
        addrs: &[SocketAddr],
        question: &Question,
        wait: Duration,
    ) -> Result<(Body, Scope), TrackerError> {
        let mut last = TrackerError::Url;
        for &addr in addrs {
            match self.udp.ask(addr, self.http.bind(), question.clone(), wait).await {
                // The rule has seen this address; it has a scope.
                Ok(body) => return Ok((body, scope(addr.ip()).unwrap_or(Scope::Public))),
                Err(error @ TrackerError::Http(_)) => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }
}

/// A number for a tracker's host and port, the same for all URLs of one server. No two servers share one but by chance, and
/// then they only share their pace.
pub fn server_number(url: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    match Url::parse(url) {
        Ok(url) => (url.scheme() == "udp", url.host_str(), url.port_or_known_default()).hash(&mut hasher),
        Err(_) => url.hash(&mut hasher),
    }
    hasher.finish()
}

/// What a tracker wrote as one line of a bounded length, not escaped.
fn one_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars().map(|c| if c == '\n' || c == '\r' { ' ' } else { c }).take(MAX_TEXT_CHARS).collect()
}

#[cfg(test)]
mod tests;
