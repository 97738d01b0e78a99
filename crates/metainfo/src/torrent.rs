//! A torrent file: an info dictionary and what is told around it.
//!
//! Around the info dictionary nothing is worth refusing a torrent for: what makes no sense there is left out and told. Only
//! piece layers are strict, since they decide which bytes are right. Writing keeps the info dictionary byte for byte, and
//! keys that are not known here are not kept.

use crate::error::{MetainfoError, Place, Warning, Warnings};
use crate::{Info, InfoHashV1, InfoHashes, MAX_TORRENT_BYTES, Magnet, PieceLayers, names, urls};
use bendy::encoding::{Encoder, Error as EncodeError, SortedDictEncoder};
use shoal_bencode::{Dict, Document, Limits, Value};
use shoal_hash::merkle;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

/// Trackers, web seeds and nodes that are kept of each, at most. Chosen: far more than anyone announces to.
pub(crate) const MAX_URLS: usize = 1000;

/// A torrent file's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Torrent {
    /// What the torrent is.
    pub info: Arc<Info>,
    /// The v2 piece layers that the file brought; those of other files come from peers.
    pub layers: PieceLayers,
    /// Tracker URLs in tiers (BEP 12). No tier is empty, no URL comes twice.
    pub trackers: Vec<Vec<String>>,
    /// Web seed URLs (BEP 19).
    pub web_seeds: Vec<String>,
    /// DHT nodes, host and port (BEP 5).
    pub nodes: Vec<(String, u16)>,
    /// What its maker says about it.
    pub comment: Option<String>,
    /// The program that made it.
    pub created_by: Option<String>,
    /// When it was made, in seconds since 1970 (UTC).
    pub creation_date: Option<i64>,
    /// What was forgiven when it was read.
    pub warnings: Vec<Warning>,
}

impl Torrent {
    /// Around an info dictionary, with nothing told yet.
    pub fn new(info: Arc<Info>, layers: PieceLayers) -> Torrent {
        Torrent {
            info,
            layers,
            trackers: Vec::new(),
            web_seeds: Vec::new(),
            nodes: Vec::new(),
            comment: None,
            created_by: None,
            creation_date: None,
            warnings: Vec::new(),
        }
    }

    /// Reads a torrent file and says what it forgave.
    pub fn parse(bytes: &[u8]) -> Result<Torrent, MetainfoError> {
        check_size(bytes)?;
        Torrent::parse_owned(bytes.to_vec())
    }

    /// The same of bytes that nobody needs afterwards. The info dictionary stays where it is, so that a torrent of many
    /// files is in memory once.
    pub fn parse_owned(mut bytes: Vec<u8>) -> Result<Torrent, MetainfoError> {
        check_size(&bytes)?;
        let mut warnings = Warnings::default();
        let outer = Outer::parse(&bytes, &mut warnings)?;
        let layers: Vec<(merkle::Hash, Vec<merkle::Hash>, usize)> = outer
            .layers
            .iter()
            .map(|LayerSpans { root, hashes }| {
                let root = bytes[root.clone()].try_into().expect("as long as a hash");
                (root, bytes[hashes.clone()].as_chunks().0.to_vec(), hashes.start)
            })
            .collect();
        bytes.truncate(outer.info.end);
        bytes.drain(..outer.info.start);
        let (info, forgiven) = Info::parse_owned(bytes)?;
        forgiven.into_iter().for_each(|warning| warnings.push(warning));
        let layers = match info.hashes().v2 {
            Some(_) => PieceLayers::from_torrent(&info, layers)?,
            // Nothing to check them by, and nobody to need them.
            None => PieceLayers::empty(&info),
        };
        let missing = layers.missing(&info).count();
        if missing > 0 {
            warnings.push(Warning::MissingLayers { files: missing });
        }
        Ok(Torrent {
            info: Arc::new(info),
            layers,
            trackers: outer.trackers,
            web_seeds: outer.web_seeds,
            nodes: outer.nodes,
            comment: outer.comment,
            created_by: outer.created_by,
            creation_date: outer.creation_date,
            warnings: warnings.finish(),
        })
    }

    /// Writes it, the info dictionary byte for byte as it is.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.to_parts().concat()
    }

    /// What [`to_bytes`](Self::to_bytes) joins: the keys before the info dictionary, that dictionary, which is not copied,
    /// and the keys after it.
    pub fn to_parts(&self) -> [Cow<'_, [u8]>; 3] {
        // bendy writes no foreign bytes, so the keys before and after `info` are two dictionaries that are joined around it.
        let mut before = dictionary(|dict| self.emit_before_info(dict));
        before.pop();
        before.extend_from_slice(b"4:info");
        let mut after = dictionary(|dict| self.emit_after_info(dict));
        after.remove(0);
        [before.into(), self.info.bytes().into(), after.into()]
    }

    /// A link to it: its hashes, name, trackers, web seeds and length.
    pub fn magnet(&self) -> Magnet {
        Magnet {
            name: Some(self.info.name().to_owned()),
            trackers: self.trackers.concat(),
            web_seeds: self.web_seeds.clone(),
            length: Some(self.info.layout().payload_length()),
            ..Magnet::new(self.info.hashes())
        }
    }

    fn emit_before_info(&self, dict: &mut SortedDictEncoder<'_>) -> Result<(), EncodeError> {
        if let Some(first) = self.trackers.first().and_then(|tier| tier.first()) {
            dict.emit_pair(b"announce", first)?;
            if self.trackers.iter().map(Vec::len).sum::<usize>() > 1 {
                dict.emit_pair(b"announce-list", &self.trackers)?;
            }
        }
        if let Some(comment) = &self.comment {
            dict.emit_pair(b"comment", comment)?;
        }
        if let Some(created_by) = &self.created_by {
            dict.emit_pair(b"created by", created_by)?;
        }
        if let Some(date) = self.creation_date {
            dict.emit_pair(b"creation date", date)?;
        }
        Ok(())
    }

    fn emit_after_info(&self, dict: &mut SortedDictEncoder<'_>) -> Result<(), EncodeError> {
        if !self.nodes.is_empty() {
            dict.emit_pair_with(b"nodes", |nodes| {
                nodes.emit_list(|nodes| {
                    self.nodes.iter().try_for_each(|(host, port)| {
                        nodes.emit_list(|node| {
                            node.emit_str(host)?;
                            node.emit_int(*port)
                        })
                    })
                })
            })?;
        }
        if self.info.hashes().v2.is_some() {
            let layers = self.layers.by_root(&self.info);
            // BEP 52 asks for the key even if no file needs a layer.
            dict.emit_pair_with(b"piece layers", |encoder| {
                encoder.emit_dict(|mut dict| {
                    layers.iter().try_for_each(|(root, layer)| {
                        dict.emit_pair_with(root, |encoder| encoder.emit_bytes(layer.as_flattened()))
                    })
                })
            })?;
        }
        if !self.web_seeds.is_empty() {
            dict.emit_pair(b"url-list", &self.web_seeds)?;
        }
        Ok(())
    }
}

/// Refuses what is too long before it is copied or read.
fn check_size(bytes: &[u8]) -> Result<(), MetainfoError> {
    if bytes.len() > MAX_TORRENT_BYTES {
        return Err(MetainfoError::TooLong { found: bytes.len(), limit: MAX_TORRENT_BYTES });
    }
    Ok(())
}

/// One dictionary, written by `bendy`.
pub(crate) fn dictionary(content: impl FnOnce(&mut SortedDictEncoder<'_>) -> Result<(), EncodeError>) -> Vec<u8> {
    let mut encoder = Encoder::new();
    encoder
        .emit_dict(|mut dict| content(&mut dict))
        .and_then(|()| encoder.get_output())
        .expect("keys are written in their order, and not deeper than bendy allows")
}

/// Where in the file a piece layer is.
struct LayerSpans {
    root: Range<usize>,
    hashes: Range<usize>,
}

/// What stands around the info dictionary, and where that is.
struct Outer {
    info: Range<usize>,
    layers: Vec<LayerSpans>,
    trackers: Vec<Vec<String>>,
    web_seeds: Vec<String>,
    nodes: Vec<(String, u16)>,
    comment: Option<String>,
    created_by: Option<String>,
    creation_date: Option<i64>,
}

impl Outer {
    fn parse(bytes: &[u8], warnings: &mut Warnings) -> Result<Outer, MetainfoError> {
        let place = Place::Torrent;
        let document = Document::parse_prefix(bytes, Limits::TORRENT)?;
        let dict = document.root().as_dict().ok_or(MetainfoError::NoDictionary(place))?;
        let Some(info) = dict.get("info") else {
            return Err(match link(dict) {
                Some(magnet) => MetainfoError::OnlyLink(Box::new(magnet)),
                None => MetainfoError::Missing { place, key: "info" },
            });
        };
        if info.as_dict().is_none() {
            return Err(MetainfoError::NoDictionary(Place::Info));
        }
        if dict.iter().filter(|(key, _)| *key == b"info").count() > 1 {
            return Err(MetainfoError::RepeatedKey { offset: info.offset() });
        }
        if document.end() < bytes.len() {
            warnings.push(Warning::TrailingData { bytes: bytes.len() - document.end() });
        }
        // Faults inside `info` are told, or refused, when it is read.
        let outside = |offset: &usize| !info.span().contains(offset);
        let faults = document.faults();
        if let Some(offset) = faults.unsorted.filter(outside) {
            warnings.push(Warning::UnsortedKeys { place, offset });
        }
        if let Some(offset) = faults.duplicate.filter(outside) {
            warnings.push(Warning::RepeatedKey { offset });
        }
        if let Some(offset) = faults.non_canonical.filter(outside) {
            warnings.push(Warning::NotCanonical { place, offset });
        }
        let mut text = |key, twin| names::text(dict, place, key, twin, warnings);
        let (comment, created_by) = (text("comment", "comment.utf-8"), text("created by", "created by.utf-8"));
        let creation_date = dict.get("creation date").and_then(|value| {
            let date = value.as_int().filter(|&date| date >= 0);
            if date.is_none() {
                warnings.push(Warning::Ignored { place, key: "creation date" });
            }
            date
        });
        Ok(Outer {
            info: info.span(),
            layers: layers(dict)?,
            trackers: trackers(dict, warnings),
            web_seeds: web_seeds(dict, warnings),
            nodes: nodes(dict, warnings),
            comment,
            created_by,
            creation_date,
        })
    }
}

/// Where the piece layers are; which of them belong to a file is known with the info dictionary.
fn layers(dict: Dict<'_, '_>) -> Result<Vec<LayerSpans>, MetainfoError> {
    let key = "piece layers";
    let place = Place::Torrent;
    let Some(value) = dict.get(key) else { return Ok(Vec::new()) };
    let entries = value.as_dict().ok_or(MetainfoError::Wrong { place, key, expected: "a dictionary" })?;
    let mut layers = Vec::new();
    for (root, hashes) in entries {
        let end = hashes.span().end;
        let length = hashes.as_bytes().map(<[u8]>::len).filter(|length| length % 32 == 0);
        let (Some(length), 32) = (length, root.len()) else {
            return Err(MetainfoError::Wrong { place, key, expected: "lists of SHA-256 hashes by SHA-256 hash" });
        };
        layers.push(LayerSpans { root: hashes.offset() - root.len()..hashes.offset(), hashes: end - length..end });
    }
    Ok(layers)
}

/// `announce-list`, or else `announce` (BEP 12).
fn trackers(dict: Dict<'_, '_>, warnings: &mut Warnings) -> Vec<Vec<String>> {
    let mut urls = Urls::new("announce-list", urls::tracker);
    let mut tiers = Vec::new();
    let list = dict.get("announce-list");
    for tier in list.and_then(|value| value.as_list()).into_iter().flatten() {
        let tier: Vec<String> = match tier.as_list() {
            Some(tier) => tier.iter().filter_map(|value| urls.take(value)).collect(),
            // A flat list: each is a tier of its own.
            None => urls.take(tier).into_iter().collect(),
        };
        if !tier.is_empty() {
            tiers.push(tier);
        }
    }
    if list.is_some_and(|value| value.as_list().is_none()) {
        warnings.push(Warning::Ignored { place: Place::Torrent, key: "announce-list" });
    }
    urls.finish(warnings);
    if tiers.is_empty() {
        let mut urls = Urls::new("announce", urls::tracker);
        tiers.extend(dict.get("announce").and_then(|value| urls.take(value)).map(|url| vec![url]));
        urls.finish(warnings);
    }
    tiers
}

/// `url-list`: a list, or one string (BEP 19).
fn web_seeds(dict: Dict<'_, '_>, warnings: &mut Warnings) -> Vec<String> {
    let Some(value) = dict.get("url-list") else { return Vec::new() };
    let mut urls = Urls::new("url-list", urls::web_seed);
    let found = match value.as_list() {
        Some(list) => list.iter().filter_map(|value| urls.take(value)).collect(),
        // Several programs write an empty string for no web seed.
        None if value.as_bytes().is_some_and(<[u8]>::is_empty) => Vec::new(),
        None => urls.take(value).into_iter().collect(),
    };
    urls.finish(warnings);
    found
}

/// Takes URLs one by one: each once, only such as are of use, at most [`MAX_URLS`].
struct Urls {
    key: &'static str,
    clean: fn(&str) -> Option<String>,
    seen: BTreeSet<String>,
    left_out: usize,
}

impl Urls {
    fn new(key: &'static str, clean: fn(&str) -> Option<String>) -> Urls {
        Urls { key, clean, seen: BTreeSet::new(), left_out: 0 }
    }

    fn take(&mut self, value: Value<'_, '_>) -> Option<String> {
        let url = value.as_str().and_then(self.clean).filter(|_| self.seen.len() < MAX_URLS);
        let Some(url) = url else {
            self.left_out += 1;
            return None;
        };
        self.seen.insert(url.clone()).then_some(url)
    }

    fn finish(self, warnings: &mut Warnings) {
        if self.left_out > 0 {
            warnings.push(Warning::Urls { key: self.key, count: self.left_out });
        }
    }
}

/// `nodes`: lists of host and port (BEP 5).
fn nodes(dict: Dict<'_, '_>, warnings: &mut Warnings) -> Vec<(String, u16)> {
    let Some(value) = dict.get("nodes") else { return Vec::new() };
    let mut left_out = value.as_list().is_none();
    let mut nodes = Vec::new();
    for node in value.as_list().into_iter().flatten() {
        let mut parts = node.as_list().into_iter().flatten();
        let host = parts.next().and_then(|host| host.as_str()).filter(|host| urls::is_host(host));
        let port = parts.next().and_then(|port| port.as_int()).and_then(|port| u16::try_from(port).ok());
        match (host, port.filter(|&port| port > 0)) {
            (Some(host), Some(port)) if nodes.len() < MAX_URLS => nodes.push((host.to_owned(), port)),
            _ => left_out = true,
        }
    }
    if left_out {
        warnings.push(Warning::Ignored { place: Place::Torrent, key: "nodes" });
    }
    nodes
}

/// The link that stands in place of an info dictionary: Transmission until 3.00 wrote `magnet-info`, libtorrent writes
/// `magnet-uri`.
fn link(dict: Dict<'_, '_>) -> Option<Magnet> {
    if let Some(uri) = dict.get("magnet-uri").and_then(|value| value.as_str()) {
        return uri.parse().ok();
    }
    let saved = dict.get("magnet-info")?.as_dict()?;
    let hash = <[u8; 20]>::try_from(saved.get("info_hash")?.as_bytes()?).ok()?;
    let mut ignored = Warnings::default();
    Some(Magnet {
        name: saved.get("display-name").and_then(|name| name.as_str()).map(str::to_owned),
        trackers: trackers(dict, &mut ignored).concat(),
        web_seeds: web_seeds(dict, &mut ignored),
        ..Magnet::new(InfoHashes::from_v1(InfoHashV1(hash)))
    })
}

#[cfg(test)]
mod tests;
