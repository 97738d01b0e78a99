//! Fetching from web seeds (BEP 19) over HTTP and HTTPS: carries out what the swarm orders.
//!
//! A fetch is a run of blocks, which is one range of one file, or several ranges where files end. Each range is one request,
//! on a connection that is kept for the next. What an answer means is decided by [`interpret`]; what a failure means for the
//! web seed, how long to wait and when to give up is the swarm's to decide. Redirects are followed, and where a file was
//! found at last is remembered; each hop's address is shown to the rule on networks, also where a connection is used again
//! (reliability.md D1, D3, D4). Nothing is spawned: a fetch that is dropped takes its connection with it.
//!
//! Bounds: [`MAX_IDLE`] connections are kept for [`IDLE_TIME`]; [`MAX_REDIRECTS`];
//! [`MAX_MOVED`]. Time is the swarm's, but for connecting.

mod answer;
mod location;
#[cfg(test)]
mod tests;

pub use answer::{Answer, AnswerHead, interpret};
pub use location::{FileRange, file_url, ranges};

use crate::http::{Connection, Head, Http, HttpError, MAX_REDIRECTS, redirect};
use crate::networks::{Asked, Named};
use hyper::body::Bytes;
use hyper::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, HeaderName, HeaderValue, LOCATION, RANGE,
    RETRY_AFTER,
};
use shoal_layout::{BlockRef, FileIndex};
use shoal_metainfo::Info;
use shoal_swarm::{FetchFailure, FetchFault, SourceError, SourceErrorKind};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use url::Url;

/// Connections kept for a web seed between fetches. Chosen: as many as the swarm has fetches of one.
const MAX_IDLE: usize = 4;
/// How long. Chosen: below what servers keep them for (nginx: 75 s; Apache: 5 s, which costs a new connection).
const IDLE_TIME: Duration = Duration::from_secs(30);
/// Files of a web seed of which is remembered where they were found. Chosen: 1,024 URLs are some 100 KiB.
const MAX_MOVED: usize = 1_024;

/// One web seed of one torrent.
pub struct WebSeed {
    http: Http,
    url: String,
    named: Named,
    info: Arc<Info>,
    idle: Mutex<Vec<(Instant, Link)>>,
    /// Where files were found that are not where BEP 19 says.
    moved: Mutex<BTreeMap<FileIndex, Place>>,
}

/// A URL, and who named it.
#[derive(Debug, Clone)]
struct Place {
    url: Url,
    named: Named,
}

/// An open connection to an origin, and who had named that when the rule on networks saw its address.
struct Link {
    origin: url::Origin,
    named: Named,
    connection: Connection,
}

/// A run on its way: its payload comes in order, gaps left out.
pub struct RunStream {
    seed: Arc<WebSeed>,
    ranges: VecDeque<FileRange>,
    body: Option<RunBody>,
}

/// An answer's body that is being read.
struct RunBody {
    link: Link,
    head: Head,
    /// Bytes of it that are of use and have not come yet.
    left: u64,
    ends: bool,
}

impl WebSeed {
    /// The web seed of a torrent at a URL that `named` named. Nothing is connected to yet.
    pub fn new(http: &Http, url: &str, named: Named, info: Arc<Info>) -> Arc<WebSeed> {
        Arc::new(WebSeed {
            http: http.clone(),
            url: url.to_owned(),
            named,
            info,
            idle: Mutex::new(Vec::new()),
            moved: Mutex::new(BTreeMap::new()),
        })
    }

    /// Begins to fetch blocks: see [`RunStream::next`].
    pub fn fetch(self: &Arc<Self>, blocks: &[BlockRef]) -> RunStream {
        RunStream { seed: self.clone(), ranges: ranges(self.info.layout(), blocks).into(), body: None }
    }

    /// Asks for a range, wherever the file is.
    async fn ask(&self, range: &FileRange) -> Result<RunBody, FetchFailure> {
        let remembered = locked(&self.moved).get(&range.file).cloned();
        let mut place = match remembered.clone() {
            Some(place) => place,
            None => self.original(range.file)?,
        };
        for hop in 0..=MAX_REDIRECTS {
            let asked = self.ask_at(&place, range).await;
            let (link, head) = asked.map_err(|error| {
                locked(&self.moved).remove(&range.file);
                failure(error, range)
            })?;
            let text = |name: HeaderName| head.headers.get(name).and_then(|value| value.to_str().ok());
            let answer = AnswerHead {
                status: head.status.as_u16(),
                content_range: text(CONTENT_RANGE),
                content_length: text(CONTENT_LENGTH),
                content_encoding: text(CONTENT_ENCODING),
                location: text(LOCATION),
                retry_after: text(RETRY_AFTER),
            };
            match interpret(&answer, range, self.info.layout().file_length(range.file)) {
                Answer::Body { length, ends } => {
                    if hop > 0 {
                        self.remember(range.file, place);
                    }
                    return Ok(RunBody { link, head, left: length, ends });
                }
                Answer::Redirect(location) => {
                    let url = redirect(&place.url, &location).map_err(|error| failure(error, range))?;
                    place = Place { url, named: Named::ByRedirect(link.connection.from) };
                }
                Answer::Failed(failure) => {
                    // What it was remembered for may be over: next time it is looked for where it should be.
                    let forgot = locked(&self.moved).remove(&range.file).is_some();
                    let fault = if forgot && remembered.is_some() { FetchFault::Passing } else { failure.fault };
                    return Err(FetchFailure { fault, ..failure });
                }
            }
        }
        Err(failure(HttpError::Redirects, range))
    }

    fn original(&self, file: FileIndex) -> Result<Place, FetchFailure> {
        let no_url = |text: &str| FetchFailure {
            fault: FetchFault::Missing(file),
            error: SourceError::new(SourceErrorKind::Unusable, text),
            retry_after: None,
        };
        let url = file_url(&self.url, &self.info, file).ok_or_else(|| no_url("a file's path fits into no URL"))?;
        let url = Url::parse(&url).map_err(|_| no_url("its URL is none"))?;
        Ok(Place { url, named: self.named })
    }

    fn remember(&self, file: FileIndex, place: Place) {
        let mut moved = locked(&self.moved);
        if moved.len() < MAX_MOVED {
            moved.insert(file, place);
        }
    }

    /// One request, on a kept connection if there is one that still works.
    async fn ask_at(&self, place: &Place, range: &FileRange) -> Result<(Link, Head), HttpError> {
        let last = range.first + range.length - 1;
        let bytes = HeaderValue::from_str(&format!("bytes={}-{last}", range.first));
        let bytes = bytes.expect("digits fit into a header");
        let headers = [(ACCEPT_ENCODING, HeaderValue::from_static("identity")), (RANGE, bytes)];
        while let Some(mut link) = self.take_idle(place) {
            // Whether the server closed it meanwhile shows only now.
            if let Ok(head) = link.connection.send(&place.url, &headers).await {
                return Ok((link, head));
            }
        }
        let opened = self.http.open(&place.url, Asked::File, place.named, Vec::new()).await?;
        let mut connection = Connection::over(opened, &place.url).await?;
        let head = connection.send(&place.url, &headers).await?;
        Ok((Link { origin: place.url.origin(), named: place.named, connection }, head))
    }

    fn take_idle(&self, place: &Place) -> Option<Link> {
        let origin = place.url.origin();
        let mut idle = locked(&self.idle);
        idle.retain(|(since, _)| since.elapsed() < IDLE_TIME);
        let found = idle.iter().rposition(|(_, link)| link.origin == origin && link.named == place.named)?;
        Some(idle.remove(found).1)
    }

    fn keep(&self, link: Link) {
        let mut idle = locked(&self.idle);
        if idle.len() < MAX_IDLE {
            idle.push((Instant::now(), link));
        }
    }
}

/// Nothing that holds these locks panics or waits.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl RunStream {
    /// The next bytes, as they come; `None` when all of them came.
    pub async fn next(&mut self) -> Result<Option<Bytes>, FetchFailure> {
        loop {
            let Some(range) = self.ranges.front_mut() else { return Ok(None) };
            let body = match &mut self.body {
                Some(body) => body,
                none => none.insert(self.seed.ask(range).await?),
            };
            let RunBody { link, head, left, ends } = body;
            let mut bytes = match link.connection.chunk(head).await {
                Ok(Some(bytes)) => bytes,
                Ok(None) => return Err(broken("it closed the connection", *left)),
                Err(error) => return Err(broken(&error.to_string(), *left)),
            };
            bytes.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            let length = bytes.len() as u64;
            *left -= length;
            range.first += length;
            range.length -= length;
            let answered = *left == 0;
            let again = *ends && link.connection.is_reusable(head);
            if range.length == 0 {
                self.ranges.pop_front();
            }
            if answered && let Some(body) = self.body.take().filter(|_| again) {
                self.seed.keep(body.link);
            }
            if !bytes.is_empty() {
                return Ok(Some(bytes));
            }
        }
    }
}

fn broken(what: &str, left: u64) -> FetchFailure {
    let error = SourceError::new(SourceErrorKind::Nonsense, format!("{what}, {left} bytes too early"));
    FetchFailure { fault: FetchFault::Passing, error, retry_after: None }
}

/// What an error means for the web seed.
fn failure(error: HttpError, range: &FileRange) -> FetchFailure {
    let fault = match &error {
        HttpError::Scheme { .. } | HttpError::Url { .. } | HttpError::Forbidden { .. } => FetchFault::Useless,
        // A wrong certificate does not become right by waiting; a broken connection may.
        HttpError::Tls { source, .. } if source.kind() == std::io::ErrorKind::InvalidData => FetchFault::Useless,
        HttpError::Redirects => FetchFault::Missing(range.file),
        _ => FetchFault::Passing,
    };
    FetchFailure { fault, error: SourceError::new(error.kind(), error.to_string()), retry_after: None }
}
