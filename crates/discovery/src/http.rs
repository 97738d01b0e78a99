//! One bounded HTTP request.
//!
//! A connection of its own for each: who asks a tracker asks again in half an hour. The name is resolved here and each
//! address is shown to a rule before it is connected to, so that no answer of a name server and no redirect leads where the
//! rule forbids (reliability.md D1, D2, D4). TLS certificates are always checked (D3).
//!
//! Bounds: [`MAX_REDIRECTS`], [`MAX_BODY_BYTES`], [`MAX_HEAD_BYTES`]; time is the caller's.

use crate::networks::{Named, Scope, scope};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::header::{ACCEPT, CONNECTION, HOST, LOCATION, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use url::{Host, Url};

/// Redirects followed (reliability.md D4).
const MAX_REDIRECTS: usize = 5;
/// Bytes of a body (reliability.md D2).
const MAX_BODY_BYTES: usize = 2 << 20;
/// Bytes of a status line with its headers. Chosen.
const MAX_HEAD_BYTES: usize = 64 << 10;
/// For each address of a name. Chosen: so that two dead addresses leave time for a third within a tracker's 30 s.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// What we call ourselves.
const AGENT: &str = concat!("shoal/", env!("CARGO_PKG_VERSION"));

/// Why there is no answer. Every message is one line; it may quote what the other side sent, not escaped.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The scheme is not one that is spoken here.
    #[error("{scheme} is not supported here, only http and https")]
    Scheme {
        /// Which.
        scheme: String,
    },
    /// It is no URL, or one without a host.
    #[error("not a usable URL: {url}")]
    Url {
        /// The text.
        url: String,
    },
    /// The name has no address.
    #[error("cannot resolve {host}: {reason}")]
    Resolve {
        /// The name.
        host: String,
        /// What the system said.
        reason: String,
    },
    /// The address is one that the rule forbids.
    #[error("{host} is at {ip}, on a local or private network; use --allow-private-networks if that is meant")]
    Forbidden {
        /// The name.
        host: String,
        /// An address that it has.
        ip: IpAddr,
    },
    /// No address could be connected to.
    #[error("cannot connect to {host}: {source}")]
    Connect {
        /// The name.
        host: String,
        /// What the system said of the last one.
        source: io::Error,
    },
    /// The certificate is wrong, or what it speaks is no TLS.
    #[error("no secure connection to {host}: {source}")]
    Tls {
        /// The name.
        host: String,
        /// What is wrong.
        source: io::Error,
    },
    /// What it speaks is no HTTP, or the connection broke.
    #[error("bad answer from {host}: {reason}")]
    Http {
        /// The name.
        host: String,
        /// What is wrong.
        reason: String,
    },
    /// The body is longer than the bound.
    #[error("the answer from {host} is too long")]
    TooLong {
        /// The name.
        host: String,
    },
    /// A status other than success.
    #[error("{host} answered {status}")]
    Status {
        /// The name.
        host: String,
        /// The status.
        status: u16,
    },
    /// More redirects than are followed.
    #[error("too many redirects")]
    Redirects,
    /// The time is up.
    #[error("no answer within {} s", .after.as_secs())]
    Timeout {
        /// The time that it had.
        after: Duration,
    },
}

/// An answer with a status of success.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) body: Bytes,
    /// Where it came from.
    pub(crate) from: Scope,
}

/// Which addresses may be connected to: who named the URL, the address, the URL's path.
pub(crate) type Rule<'a> = &'a (dyn Fn(Named, IpAddr, &str) -> bool + Send + Sync);

/// What all requests share. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Http {
    tls: Arc<ClientConfig>,
    /// Addresses to connect from, at most one is used for each family; empty: the system chooses.
    bind: Vec<IpAddr>,
}

impl Http {
    /// With the certificate authorities of Mozilla's list.
    pub(crate) fn new(bind: Vec<IpAddr>) -> Http {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has the default versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Http { tls: Arc::new(config), bind }
    }

    /// Gets a URL, following redirects.
    pub(crate) async fn get(&self, url: Url, named: Named, rule: Rule<'_>) -> Result<Answer, HttpError> {
        let (mut url, mut named) = (url, named);
        for _ in 0..=MAX_REDIRECTS {
            match self.get_once(&url, named, rule).await? {
                Step::Done(answer) => return Ok(answer),
                Step::Redirect { location, from } => {
                    url = url.join(&location).map_err(|_| HttpError::Url { url: location })?;
                    named = Named::ByRedirect(from);
                }
            }
        }
        Err(HttpError::Redirects)
    }

    async fn get_once(&self, url: &Url, named: Named, rule: Rule<'_>) -> Result<Step, HttpError> {
        let Opened { io, from } = self.open(url, named, rule).await?;
        exchange(io, url, from).await
    }

    /// Opens a connection to a URL's host: resolved, allowed by the rule, and for `https` with its certificate checked.
    pub(crate) async fn open(&self, url: &Url, named: Named, rule: Rule<'_>) -> Result<Opened, HttpError> {
        let secure = match url.scheme() {
            "http" => false,
            "https" => true,
            other => return Err(HttpError::Scheme { scheme: other.to_owned() }),
        };
        let host = url.host().ok_or_else(|| HttpError::Url { url: url.to_string() })?;
        let port = url.port_or_known_default().ok_or_else(|| HttpError::Url { url: url.to_string() })?;
        let addrs = resolve(&host, port).await?;
        let forbidden = addrs.first().map(|addr| addr.ip());
        let allowed = addrs.into_iter().filter(|addr| rule(named, addr.ip(), url.path()));
        let allowed: Vec<SocketAddr> = allowed.collect();
        if let (true, Some(ip)) = (allowed.is_empty(), forbidden) {
            return Err(HttpError::Forbidden { host: host.to_string(), ip });
        }
        let tcp = self.connect(&host, &allowed).await?;
        let peer = tcp.peer_addr().map_err(|source| HttpError::Connect { host: host.to_string(), source })?;
        // The rule has seen this address; it has a scope.
        let from = scope(peer.ip()).unwrap_or(Scope::Public);
        if !secure {
            return Ok(Opened { io: Box::new(tcp), from });
        }
        let name = server_name(&host)?;
        let tls = TlsConnector::from(self.tls.clone()).connect(name, tcp).await;
        let tls = tls.map_err(|source| HttpError::Tls { host: host.to_string(), source })?;
        Ok(Opened { io: Box::new(tls), from })
    }

    async fn connect(&self, host: &Host<&str>, addrs: &[SocketAddr]) -> Result<TcpStream, HttpError> {
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for &addr in addrs {
            match tokio::time::timeout(CONNECT_TIMEOUT, self.connect_to(addr)).await {
                Ok(Ok(tcp)) => return Ok(tcp),
                Ok(Err(error)) => last = error,
                Err(_) => last = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(HttpError::Connect { host: host.to_string(), source: last })
    }

    async fn connect_to(&self, addr: SocketAddr) -> io::Result<TcpStream> {
        let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if !self.bind.is_empty() {
            let from = self.bind.iter().find(|ip| ip.is_ipv4() == addr.is_ipv4());
            let from = from.ok_or(io::ErrorKind::AddrNotAvailable)?;
            socket.bind(SocketAddr::new(*from, 0))?;
        }
        socket.connect(addr).await
    }
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

enum Step {
    Done(Answer),
    Redirect { location: String, from: Scope },
}

/// Addresses of a host, those of a name in the order of the system.
async fn resolve(host: &Host<&str>, port: u16) -> Result<Vec<SocketAddr>, HttpError> {
    match host {
        Host::Ipv4(ip) => Ok(vec![SocketAddr::new((*ip).into(), port)]),
        Host::Ipv6(ip) => Ok(vec![SocketAddr::new((*ip).into(), port)]),
        Host::Domain(name) => {
            let found = tokio::net::lookup_host((*name, port)).await;
            let found =
                found.map_err(|error| HttpError::Resolve { host: (*name).to_owned(), reason: error.to_string() })?;
            let addrs: Vec<SocketAddr> = found.collect();
            if addrs.is_empty() {
                return Err(HttpError::Resolve { host: (*name).to_owned(), reason: "no address".to_owned() });
            }
            Ok(addrs)
        }
    }
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

/// One request and its answer on an open connection.
async fn exchange(io: Box<dyn Io>, url: &Url, from: Scope) -> Result<Step, HttpError> {
    let host = url.host_str().unwrap_or_default();
    let failed = |error: hyper::Error| HttpError::Http { host: host.to_owned(), reason: chain(&error) };
    let authority = match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    let target = &url[url::Position::BeforePath..url::Position::AfterQuery];
    let request = Request::get(target)
        .header(HOST, authority)
        .header(USER_AGENT, AGENT)
        .header(ACCEPT, "*/*")
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|_| HttpError::Url { url: url.to_string() })?;
    let mut builder = hyper::client::conn::http1::Builder::new();
    builder.max_buf_size(MAX_HEAD_BYTES);
    let (mut sender, connection) = builder.handshake(TokioIo::new(io)).await.map_err(failed)?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(failed)?;
        let status = response.status();
        if status.is_redirection() && status != StatusCode::NOT_MODIFIED {
            let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            let location = location
                .ok_or_else(|| HttpError::Http { host: host.to_owned(), reason: "a redirect to nowhere".to_owned() })?;
            return Ok(Step::Redirect { location: location.to_owned(), from });
        }
        if !status.is_success() {
            return Err(HttpError::Status { host: host.to_owned(), status: status.as_u16() });
        }
        match Limited::new(response.into_body(), MAX_BODY_BYTES).collect().await {
            Ok(body) => Ok(Step::Done(Answer { body: body.to_bytes(), from })),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => {
                Err(HttpError::TooLong { host: host.to_owned() })
            }
            Err(error) => Err(HttpError::Http { host: host.to_owned(), reason: chain(error.as_ref()) }),
        }
    };
    let (mut exchange, mut connection) = (pin!(exchange), pin!(connection));
    let mut open = true;
    loop {
        tokio::select! {
            done = &mut exchange => return done,
            // What went wrong, if anything, is the exchange's to say.
            _ = &mut connection, if open => open = false,
        }
    }
}

/// An error with what lies under it, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(error) = below {
        text.push_str(": ");
        text.push_str(&error.to_string());
        below = error.source();
    }
    text.replace(['\n', '\r'], " ")
}
