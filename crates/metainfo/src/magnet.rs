//! Magnet links (BEP 9, "magnet URI format"; BEP 52 for `btmh`; BEP 53 for `so`).
//!
//! A link names a torrent and tells where to begin to look for it. What names the torrent is strict: a hash that is wrong
//! is an error. All else is a hint: what makes no sense is left out and told. Links come from web pages and chats, so parameter
//! names are read in any case and with a number behind (`tr.1`).
//!
//! Invariant: length and number of everything in a link that was read are bounded.

use crate::error::{Warning, Warnings};
use crate::hashes::{HashTextError, from_hex};
use crate::torrent::MAX_URLS;
use crate::{InfoHashV1, InfoHashV2, InfoHashes, urls};
use data_encoding::BASE32_NOPAD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use shoal_layout::MAX_FILES;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// Bytes in a link, at most. Chosen: far more than anyone pastes.
pub const MAX_LINK_BYTES: usize = 1 << 20;
/// How a multihash of SHA-256 begins: its code and its length (multiformats, used by BEP 52).
const SHA256_MULTIHASH: &str = "1220";
/// All but what RFC 3986, section 2.3, calls unreserved.
const ESCAPED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Addresses stay readable; libtorrent reads them only so.
const ESCAPED_IN_ADDRESSES: AsciiSet = ESCAPED.remove(b':').remove(b'[').remove(b']');

/// A magnet link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Magnet {
    /// `xt`: what it leads to.
    pub hashes: InfoHashes,
    /// `dn`: a name to show until the torrent's own is known.
    pub name: Option<String>,
    /// `tr`: tracker URLs.
    pub trackers: Vec<String>,
    /// `ws`: web seed URLs.
    pub web_seeds: Vec<String>,
    /// `x.pe`: peers, host (a name or an address, IPv6 without brackets) and port.
    pub peers: Vec<(String, u16)>,
    /// `so`: numbers of files to fetch; empty for all. [`Info::so_index`](crate::Info::so_index) resolves them.
    pub select: Vec<RangeInclusive<u32>>,
    /// `xl`: bytes, as the link claims.
    pub length: Option<u64>,
    /// What was forgiven when it was read.
    pub warnings: Vec<Warning>,
}

/// Why text is no magnet link.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MagnetError {
    /// It does not begin with `magnet:?`.
    #[error("a magnet link begins with `magnet:?`")]
    Scheme,
    /// Longer than [`MAX_LINK_BYTES`].
    #[error("{0} bytes are more than the {MAX_LINK_BYTES} of any magnet link")]
    TooLong(usize),
    /// No parameter names a torrent.
    #[error("the link has no `xt=urn:btih:` or `xt=urn:btmh:`")]
    NoHash,
    /// A `%` without two digits where the torrent is named.
    #[error("`xt` has a `%` that is no escape")]
    Escape,
    /// A wrong v1 hash.
    #[error("`xt=urn:btih:` is wrong: {0}")]
    Btih(HashTextError),
    /// A v2 hash that is no multihash of SHA-256.
    #[error("`xt=urn:btmh:` is no multihash of SHA-256 (1220 and 64 hexadecimal digits)")]
    Multihash,
    /// A wrong v2 hash.
    #[error("`xt=urn:btmh:` is wrong: {0}")]
    Btmh(HashTextError),
    /// Text that should be an info hash by itself.
    #[error("this is no info hash: {0}")]
    HashText(HashTextError),
}

impl Magnet {
    /// A link that tells the hashes only.
    pub fn new(hashes: InfoHashes) -> Magnet {
        Magnet {
            hashes,
            name: None,
            trackers: Vec::new(),
            web_seeds: Vec::new(),
            peers: Vec::new(),
            select: Vec::new(),
            length: None,
            warnings: Vec::new(),
        }
    }

    /// A link from a bare info hash: 40 or 64 hexadecimal digits, 32 letters of base32, or 68 digits of a multihash.
    pub fn from_hash_text(text: &str) -> Result<Magnet, MagnetError> {
        let hashes = match text.len() {
            64 => InfoHashes::from_v2(InfoHashV2(from_hex(text).map_err(MagnetError::HashText)?)),
            68 => InfoHashes::from_v2(btmh(text)?),
            _ => InfoHashes::from_v1(btih(text).map_err(MagnetError::HashText)?),
        };
        Ok(Magnet::new(hashes))
    }
}

impl FromStr for Magnet {
    type Err = MagnetError;

    fn from_str(text: &str) -> Result<Magnet, MagnetError> {
        if text.len() > MAX_LINK_BYTES {
            return Err(MagnetError::TooLong(text.len()));
        }
        let query = query(text).ok_or(MagnetError::Scheme)?;
        let mut reader = Reader::default();
        for parameter in query.split('&') {
            // Links copied out of the source of a web page.
            let parameter = parameter.strip_prefix("amp;").unwrap_or(parameter);
            let Some((name, value)) = parameter.split_once('=') else { continue };
            reader.take(&without_number(name).to_ascii_lowercase(), value)?;
        }
        reader.finish()
    }
}

/// What follows `magnet:?`. Libraries that want an authority in every URI write `magnet:///?`.
fn query(text: &str) -> Option<&str> {
    let (scheme, rest) = text.split_at_checked("magnet:".len())?;
    if !scheme.eq_ignore_ascii_case("magnet:") {
        return None;
    }
    rest.strip_prefix("///").or_else(|| rest.strip_prefix("//")).unwrap_or(rest).strip_prefix('?')
}

/// A parameter's name without the number that makes it distinct (`tr.1`).
fn without_number(name: &str) -> &str {
    match name.rsplit_once('.') {
        Some((bare, number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => bare,
        _ => name,
    }
}

/// Undoes percent-encoding; `None` if a `%` is no escape or what comes out is not UTF-8.
fn unescape(value: &str) -> Option<String> {
    let mut after = value.split('%');
    after.next();
    let whole = after.all(|rest| rest.len() >= 2 && rest.bytes().take(2).all(|digit| digit.is_ascii_hexdigit()));
    if !whole {
        return None;
    }
    percent_decode_str(value).decode_utf8().ok().map(|text| text.into_owned())
}

/// 40 hexadecimal digits or 32 letters of base32, in either case.
fn btih(text: &str) -> Result<InfoHashV1, HashTextError> {
    if text.len() != 32 {
        return from_hex(text).map(InfoHashV1);
    }
    let mut hash = [0; 20];
    match BASE32_NOPAD.decode_mut(text.to_ascii_uppercase().as_bytes(), &mut hash) {
        Ok(_) => Ok(InfoHashV1(hash)),
        Err(partial) => Err(HashTextError::Digit { position: partial.error.position + 1, base: "base32" }),
    }
}

fn btmh(text: &str) -> Result<InfoHashV2, MagnetError> {
    let digits = text.strip_prefix(SHA256_MULTIHASH).ok_or(MagnetError::Multihash)?;
    from_hex(digits).map(InfoHashV2).map_err(MagnetError::Btmh)
}

/// Numbers and ranges with commas between. What is no range is left out; `false` if something was.
fn select(value: &str, out: &mut Vec<RangeInclusive<u32>>) -> bool {
    let mut clean = true;
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // A list of files with padding between them has at most this many entries.
        text.parse::<u32>().ok().filter(|&number| digits && (number as usize) < 2 * MAX_FILES)
    };
    for part in value.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last && out.len() < MAX_URLS => out.push(first..=last),
            _ => clean = false,
        }
    }
    clean
}

/// `host:port`, an IPv6 address in brackets.
fn peer(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse::<u16>().ok().filter(|&port| port > 0)?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    // Without brackets, where the address ends and the port begins would be a guess.
    let host = bare.or_else(|| (!host.contains(':')).then_some(host))?;
    (urls::is_host(host) && bare.is_some() == host.contains(':')).then(|| (host.to_owned(), port))
}

/// What was read so far.
#[derive(Default)]
struct Reader {
    v1: Option<InfoHashV1>,
    v2: Option<InfoHashV2>,
    name: Option<String>,
    trackers: Vec<String>,
    web_seeds: Vec<String>,
    peers: Vec<(String, u16)>,
    select: Vec<RangeInclusive<u32>>,
    length: Option<u64>,
    warnings: Warnings,
}

impl Reader {
    fn take(&mut self, name: &str, value: &str) -> Result<(), MagnetError> {
        match name {
            "xt" => self.topic(&unescape(value).ok_or(MagnetError::Escape)?)?,
            "dn" => {
                // Forms write a space as `+`.
                let name = unescape(&value.replace('+', " "));
                self.hint("dn", name.is_some());
                self.name = self.name.take().or(name.filter(|name| !name.is_empty()));
            }
            "tr" => {
                let url = unescape(value).and_then(|url| urls::tracker(&url));
                self.hint("tr", url.is_some());
                push_new(&mut self.trackers, url);
            }
            "ws" => {
                let url = unescape(value).and_then(|url| urls::web_seed(&url));
                self.hint("ws", url.is_some());
                push_new(&mut self.web_seeds, url);
            }
            "x.pe" => {
                let peer = unescape(value).and_then(|text| peer(&text));
                self.hint("x.pe", peer.is_some());
                push_new(&mut self.peers, peer);
            }
            "so" => {
                let clean = unescape(value).is_some_and(|value| select(&value, &mut self.select));
                self.hint("so", clean);
            }
            "xl" => {
                let length = unescape(value).and_then(|text| text.parse().ok());
                self.hint("xl", length.is_some());
                self.length = self.length.or(length);
            }
            _ => {}
        }
        Ok(())
    }

    fn topic(&mut self, topic: &str) -> Result<(), MagnetError> {
        let Some((kind, hash)) = topic.split_at_checked("urn:btih:".len()) else { return Ok(()) };
        // A link to two torrents leads to the first.
        if kind.eq_ignore_ascii_case("urn:btih:") {
            let hash = btih(hash).map_err(MagnetError::Btih)?;
            let agrees = *self.v1.get_or_insert(hash) == hash;
            self.hint("xt", agrees);
        } else if kind.eq_ignore_ascii_case("urn:btmh:") {
            let hash = btmh(hash)?;
            let agrees = *self.v2.get_or_insert(hash) == hash;
            self.hint("xt", agrees);
        }
        Ok(())
    }

    fn hint(&mut self, name: &'static str, is_clean: bool) {
        if !is_clean {
            self.warnings.push(Warning::Parameter(name));
        }
    }

    fn finish(self) -> Result<Magnet, MagnetError> {
        if self.v1.is_none() && self.v2.is_none() {
            return Err(MagnetError::NoHash);
        }
        Ok(Magnet {
            hashes: InfoHashes { v1: self.v1, v2: self.v2 },
            name: self.name,
            trackers: self.trackers,
            web_seeds: self.web_seeds,
            peers: self.peers,
            select: self.select,
            length: self.length,
            warnings: self.warnings.finish(),
        })
    }
}

/// Adds what is not there yet, while there is room.
fn push_new<T: PartialEq>(list: &mut Vec<T>, item: Option<T>) {
    if let Some(item) = item.filter(|item| list.len() < MAX_URLS && !list.contains(item)) {
        list.push(item);
    }
}

/// The link as text, which reads back as the same.
impl fmt::Display for Magnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("magnet:?xt=urn:")?;
        match (self.hashes.v1, self.hashes.v2) {
            (Some(v1), Some(v2)) => write!(f, "btih:{v1}&xt=urn:btmh:{SHA256_MULTIHASH}{v2}")?,
            (Some(v1), None) => write!(f, "btih:{v1}")?,
            (None, Some(v2)) => write!(f, "btmh:{SHA256_MULTIHASH}{v2}")?,
            (None, None) => {}
        }
        let escaped = |text| utf8_percent_encode(text, &ESCAPED);
        if let Some(name) = &self.name {
            write!(f, "&dn={}", escaped(name))?;
        }
        if let Some(length) = self.length {
            write!(f, "&xl={length}")?;
        }
        for url in &self.trackers {
            write!(f, "&tr={}", escaped(url))?;
        }
        for url in &self.web_seeds {
            write!(f, "&ws={}", escaped(url))?;
        }
        for (host, port) in &self.peers {
            let (open, close) = if host.contains(':') { ("[", "]") } else { ("", "") };
            write!(f, "&x.pe={open}{}{close}:{port}", utf8_percent_encode(host, &ESCAPED_IN_ADDRESSES))?;
        }
        for (index, range) in self.select.iter().enumerate() {
            f.write_str(if index == 0 { "&so=" } else { "," })?;
            match range.start() == range.end() {
                true => write!(f, "{}", range.start())?,
                false => write!(f, "{}-{}", range.start(), range.end())?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
