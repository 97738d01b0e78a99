//! A torrent file from the web, by a URL that the user typed: on any network, but no redirect leads from the internet into a
//! private one, nor from https to http.

use crate::http::{Get, Http, HttpError, Patience};
use crate::networks::{Asked, Named};
use shoal_metainfo::MAX_TORRENT_BYTES;
use std::time::Duration;
use url::Url;

/// For the first bytes, and for each 16 KiB more (reliability.md D2: a byte a second is given up within 30 s).
const PATIENCE: Duration = Duration::from_secs(30);

/// Why there is no torrent file. Every message is one line; it may quote what the server sent, not escaped.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The request failed.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// It is a page for people.
    #[error(
        "that is a web page, not a torrent file; open it in a browser, and name the torrent's own URL, file or magnet link"
    )]
    Page,
}

/// Gets a torrent file's bytes, 64 MiB at most, not parsed.
pub async fn fetch_torrent(http: &Http, url: Url) -> Result<Vec<u8>, FetchError> {
    let get = Get {
        url,
        asked: Asked::File,
        named: Named::ByUser,
        at: Vec::new(),
        max_body_bytes: MAX_TORRENT_BYTES,
        patience: Patience::Pace(PATIENCE),
        stays_secure: true,
    };
    let answer = http.get(get).await?.success()?;
    let is_dictionary = answer.body.first() == Some(&b'd');
    let says_page = answer.content_type.as_deref().is_some_and(|kind| kind.trim_start().starts_with("text/html"));
    let begins_as_page = answer.body.trim_ascii_start().starts_with(b"<");
    // Some servers call everything a page.
    if !is_dictionary && (says_page || begins_as_page) { Err(FetchError::Page) } else { Ok(answer.body) }
}
