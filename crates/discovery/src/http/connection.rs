//! One connection to a server whose address the rule has seen, and requests on it.

use super::{HttpError, Opened};
use crate::networks::Scope;
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Bytes, Incoming};
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper::header::{ACCEPT, AUTHORIZATION, HOST, HeaderName, HeaderValue, USER_AGENT};
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use std::future::Future;
use std::pin::{Pin, pin};
use url::Url;

/// Bytes of a status line with its headers. Chosen.
const MAX_HEAD_BYTES: usize = 64 << 10;
/// What we call ourselves.
const AGENT: &str = concat!("shoal/", env!("CARGO_PKG_VERSION"));

/// An open connection. It can be asked again when a body was read to its end, unless the server closes.
pub(crate) struct Connection {
    sender: SendRequest<Empty<Bytes>>,
    /// Moves the bytes; `None` when the other side has closed.
    driver: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    host: String,
    /// Where the server is.
    pub(crate) from: Scope,
}

/// What comes before a body.
pub(crate) struct Head {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    body: Incoming,
}

impl Connection {
    /// HTTP on a connection that was opened for this URL's host.
    pub(crate) async fn over(opened: Opened, url: &Url) -> Result<Connection, HttpError> {
        let host = url.host_str().unwrap_or_default().to_owned();
        let Opened { io, from } = opened;
        let mut builder = Builder::new();
        // What servers in the wild send is not always what RFC 9112 says.
        builder
            .max_buf_size(MAX_HEAD_BYTES)
            .title_case_headers(true)
            .ignore_invalid_headers_in_responses(true)
            .allow_spaces_after_header_name_in_responses(true)
            .allow_obsolete_multiline_headers_in_responses(true);
        let (sender, connection) = builder.handshake(TokioIo::new(io)).await.map_err(|error| failed(&host, &error))?;
        let driver: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async move {
            // What went wrong, if anything, is the exchange's to say.
            let _ = connection.await;
        });
        Ok(Connection { sender, driver: Some(driver), host, from })
    }

    /// Sends a request for this URL, which is one of this server's, and waits for the head of the answer.
    pub(crate) async fn send(&mut self, url: &Url, more: &[(HeaderName, HeaderValue)]) -> Result<Head, HttpError> {
        let authority = match url.port() {
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.clone(),
        };
        let target = &url[url::Position::BeforePath..url::Position::AfterQuery];
        let mut request = Request::get(target).header(HOST, authority).header(USER_AGENT, AGENT).header(ACCEPT, "*/*");
        if let Some(credentials) = credentials(url) {
            request = request.header(AUTHORIZATION, credentials);
        }
        for (name, value) in more {
            request = request.header(name, value);
        }
        let request = request.body(Empty::new()).map_err(|_| HttpError::Url { url: url.to_string() })?;
        let Connection { sender, driver, host, .. } = self;
        let sent = async {
            sender.ready().await?;
            sender.send_request(request).await
        };
        let response = alongside(driver, sent).await.map_err(|error| failed(host, &error))?;
        let (head, body) = response.into_parts();
        Ok(Head { status: head.status, headers: head.headers, body })
    }

    /// The next bytes of the body; `None` at its end.
    pub(crate) async fn chunk(&mut self, head: &mut Head) -> Result<Option<Bytes>, HttpError> {
        loop {
            let Some(frame) = alongside(&mut self.driver, head.body.frame()).await else { return Ok(None) };
            let frame = frame.map_err(|error| failed(&self.host, &error))?;
            // Trailers are passed over.
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
    }

    /// Whether it can be asked again, the body of this answer having been read.
    pub(crate) fn is_reusable(&self, head: &Head) -> bool {
        self.driver.is_some() && !self.sender.is_closed() && head.body.is_end_stream()
    }

    /// The name that it was opened for.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }
}

/// Does something while the connection moves its bytes.
async fn alongside<T>(
    driver: &mut Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    work: impl Future<Output = T>,
) -> T {
    let mut work = pin!(work);
    if let Some(moving) = driver {
        tokio::select! {
            done = &mut work => return done,
            () = moving => *driver = None,
        }
    }
    work.await
}

/// `Basic` credentials of a URL that has a user (RFC 7617).
fn credentials(url: &Url) -> Option<HeaderValue> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let mut pair: Vec<u8> = percent_decode_str(url.username()).collect();
    pair.push(b':');
    pair.extend(percent_decode_str(url.password().unwrap_or_default()));
    let mut value = HeaderValue::from_str(&format!("Basic {}", data_encoding::BASE64.encode(&pair))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn failed(host: &str, error: &hyper::Error) -> HttpError {
    HttpError::Http { host: host.to_owned(), reason: chain(error) }
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
