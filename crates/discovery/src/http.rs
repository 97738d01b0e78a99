//! Bounded HTTP and HTTPS requests, for trackers, web seeds and torrent files.
//!
//! A name is resolved here and each address is shown to the rule of [`crate::networks`] before it is connected to, so that no
//! answer of a name server and no redirect leads where the rule forbids (reliability.md D1, D2, D4). Every request resolves
//! and checks anew: an answer that changes is of no use. TLS certificates are always checked (D3).
//!
//! [`Http::get`] is a whole request with redirects and a bounded body; [`Http::open`] gives the checked connection alone, for
//! whoever asks one server for many ranges. Bounds: [`MAX_REDIRECTS`], `max_body_bytes`, 64 KiB of headers; time is a
//! request's [`Patience`].

mod authorities;
mod body;
mod connection;
mod error;
mod redirect;
#[cfg(test)]
pub(crate) mod tests;

pub use authorities::{Authorities, NoCertificates};
pub(crate) use connection::{Connection, Head};
pub use error::HttpError;
pub(crate) use redirect::redirect;

use crate::networks::{Asked, Named, Scope, scope, server_allowed};
use crate::resolve::{Lookup, System};
use body::{Body, Wrong};
use hyper::StatusCode;
use hyper::header::{ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, LOCATION};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;
use url::{Host, Url};

/// Redirects followed (reliability.md D4).
pub(crate) const MAX_REDIRECTS: usize = 5;
/// For each address of a name. Chosen: so that two dead addresses leave time for a third within a tracker's 30 s.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes that must come within a [`Patience::Pace`]. Chosen: 0.5 KiB/s over 30 s, a slow modem's tenth.
const PACE_BYTES: usize = 16 << 10;

/// What all requests of a process have in common.
#[derive(Debug, Clone, Default)]
pub struct HttpConfig {
    /// Addresses to connect from, one for each family; empty: the system chooses.
    pub bind: Vec<IpAddr>,
    /// Whose certificates are believed.
    pub authorities: Authorities,
    /// Accept servers on any network, whoever named them.
    pub allow_private_networks: bool,
}

/// Makes requests. Cheap to clone.
#[derive(Clone)]
pub struct Http {
    tls: Arc<ClientConfig>,
    names: Arc<dyn Lookup>,
    bind: Arc<[IpAddr]>,
    allow_private_networks: bool,
}

/// A byte stream, plain or in TLS.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// An open connection.
pub(crate) struct Opened {
    pub(crate) io: Box<dyn Io>,
    /// How near the other side is.
    pub(crate) from: Scope,
}

/// How long a request may take.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Patience {
    /// This long in all.
    Whole(Duration),
    /// This long for the first bytes of the body, and again for each [`PACE_BYTES`] more.
    Pace(Duration),
}

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Get {
    pub(crate) url: Url,
    pub(crate) asked: Asked,
    pub(crate) named: Named,
    /// Where the URL's host is, if that is known already; empty: it is resolved.
    pub(crate) at: Vec<SocketAddr>,
    /// Before and after unpacking.
    pub(crate) max_body_bytes: usize,
    pub(crate) patience: Patience,
    /// Whether a redirect from https to http ends it.
    pub(crate) stays_secure: bool,
}

/// An answer, whatever its status.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) content_type: Option<String>,
    pub(crate) body: Vec<u8>,
    /// Where it came from.
    pub(crate) from: Scope,
    host: String,
}

impl Answer {
    /// An error unless the status is one of success.
    pub(crate) fn success(self) -> Result<Answer, HttpError> {
        if self.status.is_success() {
            return Ok(self);
        }
        Err(HttpError::Status { host: self.host, status: self.status.as_u16() })
    }
}

impl Http {
    /// Ready to ask.
    pub fn new(config: &HttpConfig) -> Http {
        Http::with_names(config, Arc::new(System))
    }

    /// With names that are looked up elsewhere.
    pub(crate) fn with_names(config: &HttpConfig, names: Arc<dyn Lookup>) -> Http {
        Http {
            tls: config.authorities.client(),
            names,
            bind: config.bind.as_slice().into(),
            allow_private_networks: config.allow_private_networks,
        }
    }

    /// The addresses to ask from.
    pub(crate) fn bind(&self) -> &[IpAddr] {
        &self.bind
    }

    /// Gets a URL, following redirects.
    pub(crate) async fn get(&self, get: Get) -> Result<Answer, HttpError> {
        let (patience, paced) = match get.patience {
            Patience::Whole(patience) => (patience, false),
            Patience::Pace(patience) => (patience, true),
        };
        let (came, mut seen) = (AtomicUsize::new(0), 0);
        let mut work = pin!(self.follow(get, &came));
        loop {
            if let Ok(done) = tokio::time::timeout(patience, &mut work).await {
                return done;
            }
            let now = came.load(Ordering::Relaxed);
            if !paced || now < seen + PACE_BYTES {
                return Err(HttpError::Timeout { after: patience });
            }
            seen = now;
        }
    }

    async fn follow(&self, get: Get, came: &AtomicUsize) -> Result<Answer, HttpError> {
        let Get { mut url, asked, mut named, mut at, max_body_bytes, stays_secure, .. } = get;
        let headers =
            [(CONNECTION, HeaderValue::from_static("close")), (ACCEPT_ENCODING, HeaderValue::from_static("gzip"))];
        for _ in 0..=MAX_REDIRECTS {
            let opened = self.open(&url, asked, named, std::mem::take(&mut at)).await?;
            let mut connection = Connection::over(opened, &url).await?;
            let head = connection.send(&url, &headers).await?;
            let Some(location) = location(&head) else { return read(connection, head, max_body_bytes, came).await };
            let next = redirect(&url, &location)?;
            if stays_secure && url.scheme() == "https" && next.scheme() == "http" {
                return Err(HttpError::Downgrade { host: connection.host().to_owned() });
            }
            (url, named) = (next, Named::ByRedirect(connection.from));
        }
        Err(HttpError::Redirects)
    }

    /// The addresses of a URL's host that may be connected to, in the order to try them; at least one.
    pub(crate) async fn find(
        &self,
        url: &Url,
        asked: Asked,
        named: Named,
        at: Vec<SocketAddr>,
    ) -> Result<Vec<SocketAddr>, HttpError> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(HttpError::Scheme { scheme: url.scheme().to_owned() });
        }
        let addrs = if at.is_empty() { self.resolve(url).await? } else { at };
        self.allowed(url, asked, named, addrs)
    }

    /// Those of these addresses of a URL's host that the rule allows; at least one.
    pub(crate) fn allowed(
        &self,
        url: &Url,
        asked: Asked,
        named: Named,
        mut addrs: Vec<SocketAddr>,
    ) -> Result<Vec<SocketAddr>, HttpError> {
        let forbidden = addrs.first().map(SocketAddr::ip);
        let allow = self.allow_private_networks;
        addrs.retain(|addr| server_allowed(asked, named, addr.ip(), url.path(), allow));
        match forbidden {
            Some(ip) if addrs.is_empty() => {
                Err(HttpError::Forbidden { host: url.host_str().unwrap_or_default().to_owned(), ip })
            }
            _ => Ok(addrs),
        }
    }

    /// All addresses of a URL's host, those of a name in the order of the system; at least one.
    pub(crate) async fn resolve(&self, url: &Url) -> Result<Vec<SocketAddr>, HttpError> {
        let bad = || HttpError::Url { url: url.to_string() };
        let port = url.port_or_known_default().ok_or_else(bad)?;
        let name = match url.host().ok_or_else(bad)? {
            Host::Ipv4(ip) => return Ok(vec![SocketAddr::new(ip.into(), port)]),
            Host::Ipv6(ip) => return Ok(vec![SocketAddr::new(ip.into(), port)]),
            Host::Domain(name) => name,
        };
        let unknown = |reason: String| HttpError::Resolve { host: name.to_owned(), reason };
        let addrs = self.names.lookup(name, port).await.map_err(|error| unknown(error.to_string()))?;
        if addrs.is_empty() {
            return Err(unknown("no address".to_owned()));
        }
        Ok(addrs)
    }

    /// Opens a connection to a URL's host: resolved unless it is known to be `at` these addresses, allowed by the rule, and
    /// for https with its certificate checked.
    pub(crate) async fn open(
        &self,
        url: &Url,
        asked: Asked,
        named: Named,
        at: Vec<SocketAddr>,
    ) -> Result<Opened, HttpError> {
        let addrs = self.find(url, asked, named, at).await?;
        let host = url.host().ok_or_else(|| HttpError::Url { url: url.to_string() })?;
        let (tcp, addr) = self.connect_any(&host, &addrs).await?;
        // The rule has seen this address; it has a scope.
        let from = scope(addr.ip()).unwrap_or(Scope::Public);
        if url.scheme() != "https" {
            return Ok(Opened { io: Box::new(tcp), from });
        }
        let tls = TlsConnector::from(self.tls.clone()).connect(server_name(&host)?, tcp).await;
        let tls = tls.map_err(|source| HttpError::Tls { host: host.to_string(), source })?;
        Ok(Opened { io: Box::new(tls), from })
    }

    async fn connect_any(&self, host: &Host<&str>, addrs: &[SocketAddr]) -> Result<(TcpStream, SocketAddr), HttpError> {
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for &addr in addrs {
            match tokio::time::timeout(CONNECT_TIMEOUT, self.connect_to(addr)).await {
                Ok(Ok(tcp)) => return Ok((tcp, addr)),
                Ok(Err(error)) => last = error,
                Err(_) => last = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(HttpError::Connect { host: host.to_string(), source: last })
    }

    async fn connect_to(&self, addr: SocketAddr) -> io::Result<TcpStream> {
        let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if let Some(from) = bind_addr(&self.bind, addr)? {
            socket.bind(from)?;
        }
        socket.connect(addr).await
    }
}

impl std::fmt::Debug for Http {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http").field("bind", &self.bind).finish_non_exhaustive()
    }
}

/// The address to ask `addr` from; `None`: any. An error where the user's addresses are all of the other family.
pub(crate) fn bind_addr(bind: &[IpAddr], addr: SocketAddr) -> io::Result<Option<SocketAddr>> {
    if bind.is_empty() {
        return Ok(None);
    }
    let from = bind.iter().find(|ip| ip.is_ipv4() == addr.is_ipv4());
    from.map(|&ip| Some(SocketAddr::new(ip, 0))).ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

/// Where an answer that is a redirect leads.
fn location(head: &Head) -> Option<String> {
    let followed = [
        StatusCode::MOVED_PERMANENTLY,
        StatusCode::FOUND,
        StatusCode::SEE_OTHER,
        StatusCode::TEMPORARY_REDIRECT,
        StatusCode::PERMANENT_REDIRECT,
    ];
    let location = head.headers.get(LOCATION).filter(|_| followed.contains(&head.status))?;
    Some(String::from_utf8_lossy(location.as_bytes()).into_owned())
}

/// The whole body, unpacked.
async fn read(
    mut connection: Connection,
    mut head: Head,
    max_body_bytes: usize,
    came: &AtomicUsize,
) -> Result<Answer, HttpError> {
    let host = connection.host().to_owned();
    let text = |name| head.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).to_lowercase());
    let content_type = text(CONTENT_TYPE);
    let gzip = match text(CONTENT_ENCODING).as_deref().map(str::trim) {
        None | Some("" | "identity") => false,
        Some("gzip" | "x-gzip") => true,
        Some(other) => {
            return Err(HttpError::Http { host, reason: format!("packed as {other}, which nobody asked for") });
        }
    };
    let mut body = Body::new(max_body_bytes, gzip);
    let wrong = |wrong| match wrong {
        Wrong::TooLong => HttpError::TooLong { host: host.clone() },
        Wrong::Packing => {
            HttpError::Http { host: host.clone(), reason: "it is not the gzip that it claims".to_owned() }
        }
    };
    while let Some(chunk) = connection.chunk(&mut head).await? {
        came.fetch_add(chunk.len(), Ordering::Relaxed);
        body.take(&chunk).map_err(wrong)?;
    }
    let body = body.finish().map_err(wrong)?;
    Ok(Answer { status: head.status, content_type, body, from: connection.from, host })
}

fn server_name(host: &Host<&str>) -> Result<ServerName<'static>, HttpError> {
    match host {
        Host::Ipv4(ip) => Ok(ServerName::IpAddress(IpAddr::V4(*ip).into())),
        Host::Ipv6(ip) => Ok(ServerName::IpAddress(IpAddr::V6(*ip).into())),
        Host::Domain(name) => {
            ServerName::try_from((*name).to_owned()).map_err(|_| HttpError::Url { url: (*name).to_owned() })
        }
    }
}
