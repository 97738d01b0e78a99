//! Reading an info dictionary.
//!
//! The v1 file list and the v2 file tree are read apart and then have to agree. What would let two programs see different
//! torrents under one info hash is refused: a repeated key, halves that differ, and in v2 everything that is not canonical
//! (BEP 52). v1 torrents with unsorted keys exist, so they are read.

mod list;
mod tree;

use super::{Files, Format, Info};
use crate::error::{MetainfoError, Place, Warning, Warnings};
use crate::{InfoHashV1, InfoHashV2, InfoHashes, MAX_EQUAL_PATHS, MAX_INFO_BYTES, names};
use list::Listed;
use shoal_bencode::{Dict, Document, Faults, Limits, Value};
use shoal_layout::{BLOCK_LENGTH, FileIndex, Layout};
use std::borrow::Cow;
use std::ops::Range;

/// A place that is an entry of `files` or of `file tree`.
type NumberedPlace = fn(usize) -> Place;

/// Refuses what is too long before it is copied or read.
pub(super) fn check_size(bytes: &[u8]) -> Result<(), MetainfoError> {
    if bytes.len() > MAX_INFO_BYTES {
        return Err(MetainfoError::TooLong { found: bytes.len(), limit: MAX_INFO_BYTES });
    }
    Ok(())
}

pub(super) fn parse(bytes: Vec<u8>) -> Result<(Info, Vec<Warning>), MetainfoError> {
    let document = Document::parse(&bytes, Limits::TORRENT)?;
    let dict = document.root().as_dict().ok_or(MetainfoError::NoDictionary(Place::Info))?;
    let mut warnings = Warnings::default();
    let has_tree = is_v2(dict)?;
    check_form(document.faults(), has_tree, &mut warnings)?;

    let name = names::text(dict, Place::Info, "name", "name.utf-8", &mut warnings)
        .ok_or(MetainfoError::Missing { place: Place::Info, key: "name" })?;
    let piece_length = piece_length(dict, has_tree)?;
    let treed = if has_tree { Some(tree::parse(dict, &name, &mut warnings)?) } else { None };
    let listed = list::parse(dict, &name, treed.as_ref(), &mut warnings)?;
    if name.is_empty() && listed.as_ref().is_some_and(|listed| listed.single_file) {
        return Err(MetainfoError::Missing { place: Place::Info, key: "name" });
    }
    if names::is_unsafe(&name) {
        warnings.push(Warning::UnsafeName(Place::Info));
    }

    let hashes_at = if listed.is_some() { v1_hashes(dict)? } else { 0..0 };
    let private = private(dict, &mut warnings);
    let source = dict
        .get("source")
        .is_some()
        .then(|| names::text(dict, Place::Info, "source", "source.utf-8", &mut warnings))
        .flatten();
    // All is read. Of a hundred thousand files what it was read by is 15 MB, and what follows takes its room.
    drop(document);
    let (format, layout, files, single_file, padding) = match (listed, treed) {
        (Some(mut listed), None) => {
            let layout = listed.layout(piece_length)?;
            (Format::V1, layout, listed.files, listed.single_file, listed.padding)
        }
        (None, Some(tree)) => {
            let layout = Layout::aligned_whole(piece_length, &tree.lengths)?;
            (Format::V2, layout, tree.files, tree.single_file, Vec::new())
        }
        (Some(mut listed), Some(tree)) => {
            let layout = agree(&mut listed, &tree.lengths, piece_length)?;
            (Format::Hybrid, layout, tree.files, listed.single_file, listed.padding)
        }
        (None, None) => return Err(MetainfoError::Missing { place: Place::Info, key: "files` or `length" }),
    };
    if format != Format::V2 && hashes_at.len() as u64 != u64::from(layout.pieces()) * 20 {
        return Err(MetainfoError::HashCount { pieces: layout.pieces(), found: hashes_at.len() });
    }
    let place: NumberedPlace = if format == Format::V2 { Place::TreeFile } else { Place::ListedFile };
    check_equal_paths(&files, place, &mut warnings)?;

    let hashes = InfoHashes {
        v1: (format != Format::V2).then(|| InfoHashV1(shoal_hash::sha1(&bytes))),
        v2: (format != Format::V1).then(|| InfoHashV2(shoal_hash::sha256(&bytes))),
    };
    let info =
        Info { hashes, format, name, single_file, files, layout, private, source, pieces: hashes_at, padding, bytes };
    Ok((info, warnings.finish()))
}

/// Whether there is a v2 half: `meta version` 2.
fn is_v2(dict: Dict<'_, '_>) -> Result<bool, MetainfoError> {
    let version = match dict.get("meta version") {
        Some(value) => value.as_int().ok_or(MetainfoError::Wrong {
            place: Place::Info,
            key: "meta version",
            expected: "a number",
        })?,
        None => 1,
    };
    let has_tree = dict.get("file tree").is_some();
    match version {
        2 if has_tree => Ok(true),
        2 => Err(MetainfoError::Missing { place: Place::Info, key: "file tree" }),
        ..=1 if has_tree => {
            Err(MetainfoError::Wrong { place: Place::Info, key: "meta version", expected: "2, as `file tree` needs" })
        }
        ..=1 => Ok(false),
        _ => Err(MetainfoError::Version(version)),
    }
}

fn check_form(faults: Faults, is_v2: bool, warnings: &mut Warnings) -> Result<(), MetainfoError> {
    if let Some(offset) = faults.duplicate {
        return Err(MetainfoError::RepeatedKey { offset });
    }
    let first = faults.unsorted.into_iter().chain(faults.non_canonical).min();
    if let (true, Some(offset)) = (is_v2, first) {
        return Err(MetainfoError::NotCanonical { offset });
    }
    if let Some(offset) = faults.unsorted {
        warnings.push(Warning::UnsortedKeys { place: Place::Info, offset });
    }
    if let Some(offset) = faults.non_canonical {
        warnings.push(Warning::NotCanonical { place: Place::Info, offset });
    }
    Ok(())
}

fn piece_length(dict: Dict<'_, '_>, is_v2: bool) -> Result<u64, MetainfoError> {
    let found = dict
        .get("piece length")
        .ok_or(MetainfoError::Missing { place: Place::Info, key: "piece length" })?
        .as_int()
        .ok_or(MetainfoError::Wrong { place: Place::Info, key: "piece length", expected: "a number" })?;
    match u64::try_from(found) {
        Ok(length) if !is_v2 && length > 0 => Ok(length),
        Ok(length) if is_v2 && length.is_power_of_two() && length >= u64::from(BLOCK_LENGTH) => Ok(length),
        Ok(_) if is_v2 => Err(MetainfoError::PieceLength(found)),
        _ => Err(MetainfoError::Wrong { place: Place::Info, key: "piece length", expected: "above 0" }),
    }
}

/// Whether both halves tell of the same files at the same places (BEP 52, "upgrade path"), and where those are. The v1
/// half may end in padding. Names and lengths were compared file by file ([`list::parse`]).
fn agree(listed: &mut Listed, tree: &[u64], piece_length: u64) -> Result<Layout, MetainfoError> {
    let layout = listed.layout(piece_length)?;
    if layout.files() as usize != tree.len() {
        return Err(MetainfoError::HalvesDiffer { file: layout.files() as usize, what: "number of files" });
    }
    let aligned = Layout::aligned(piece_length, tree)?;
    for (index, file) in (0..layout.files()).map(FileIndex).enumerate() {
        if layout.file_length(file) > 0 && layout.file_span(file) != aligned.file_span(file) {
            return Err(MetainfoError::HalvesDiffer { file: index, what: "alignment" });
        }
    }
    if layout.pieces() != aligned.pieces() {
        return Err(MetainfoError::HalvesDiffer { file: tree.len(), what: "number of pieces" });
    }
    Ok(layout)
}

/// Where the SHA-1 hashes are.
fn v1_hashes(dict: Dict<'_, '_>) -> Result<Range<usize>, MetainfoError> {
    let value = dict.get("pieces").ok_or(MetainfoError::Missing { place: Place::Info, key: "pieces" })?;
    let hashes =
        value.as_bytes().ok_or(MetainfoError::Wrong { place: Place::Info, key: "pieces", expected: "a string" })?;
    let end = value.span().end;
    Ok(end - hashes.len()..end)
}

/// BEP 27: 1 is private. Anything else is not, but other programs may think so: it is told.
fn private(dict: Dict<'_, '_>, warnings: &mut Warnings) -> bool {
    match dict.get("private").map(|value| value.as_int()) {
        Some(Some(1)) => true,
        None | Some(Some(0)) => false,
        Some(_) => {
            warnings.push(Warning::Ignored { place: Place::Info, key: "private" });
            false
        }
    }
}

/// Tells of files with the same path, and refuses a torrent of hardly anything else.
fn check_equal_paths(files: &Files, place: NumberedPlace, warnings: &mut Warnings) -> Result<(), MetainfoError> {
    let mut order: Vec<u32> = (0..files.len() as u32).collect();
    let path = |index: u32| files.path(FileIndex(index));
    order.sort_unstable_by(|&one, &other| path(one).cmp(&path(other)).then(one.cmp(&other)));
    for equal in order.chunk_by(|&one, &other| path(one) == path(other)) {
        if equal.len() > MAX_EQUAL_PATHS {
            return Err(MetainfoError::EqualPaths(place(equal[0] as usize)));
        }
        for &index in &equal[1..] {
            warnings.push(Warning::SamePath { place: place(index as usize) });
        }
    }
    Ok(())
}

/// The length of a file: links have none, whatever they say (BEP 47).
fn length(dict: Dict<'_, '_>, is_link: bool, place: Place, warnings: &mut Warnings) -> Result<u64, MetainfoError> {
    let found = dict.get("length").map(|value| value.as_int());
    if is_link {
        if !matches!(found, None | Some(Some(0))) {
            warnings.push(Warning::LinkLength(place));
        }
        return Ok(0);
    }
    let found = found.ok_or(MetainfoError::Missing { place, key: "length" })?;
    found.and_then(|found| u64::try_from(found).ok()).ok_or(MetainfoError::Wrong {
        place,
        key: "length",
        expected: "a number of bytes",
    })
}

/// A list of names, as `path` and `symlink path` are.
fn path<'a>(
    value: Value<'_, 'a>,
    place: Place,
    key: &'static str,
    warnings: &mut Warnings,
) -> Result<Vec<Cow<'a, str>>, MetainfoError> {
    let wrong = MetainfoError::Wrong { place, key, expected: "a list of names" };
    let list = value.as_list().ok_or(wrong.clone())?;
    let mut path = Vec::new();
    for component in list {
        if path.len() == crate::MAX_PATH_DEPTH {
            return Err(MetainfoError::Depth(place));
        }
        let bytes = component.as_bytes().ok_or(wrong.clone())?;
        path.push(names::decode(bytes, place, key, warnings));
    }
    Ok(path)
}

/// What `attr` tells (BEP 47).
#[derive(Debug, Clone, Copy, Default)]
struct Flags {
    executable: bool,
    hidden: bool,
    link: bool,
    padding: bool,
}

fn flags(dict: Dict<'_, '_>, place: Place, warnings: &mut Warnings) -> Flags {
    let Some(value) = dict.get("attr") else { return Flags::default() };
    let Some(letters) = value.as_bytes() else {
        warnings.push(Warning::Ignored { place, key: "attr" });
        return Flags::default();
    };
    Flags {
        executable: letters.contains(&b'x'),
        hidden: letters.contains(&b'h'),
        link: letters.contains(&b'l'),
        padding: letters.contains(&b'p'),
    }
}

/// The attributes of a file that is no padding.
fn attributes(
    dict: Dict<'_, '_>,
    flags: Flags,
    place: Place,
    warnings: &mut Warnings,
) -> Result<super::Attributes, MetainfoError> {
    let mut symlink = None;
    if flags.link {
        symlink = match dict.get("symlink path") {
            Some(value) => {
                let target = path(value, place, "symlink path", warnings)?;
                (!target.is_empty()).then(|| target.into_iter().map(Cow::into_owned).collect())
            }
            None => None,
        };
        if symlink.is_none() {
            warnings.push(Warning::Ignored { place, key: "attr" });
        }
    }
    Ok(super::Attributes { executable: flags.executable, hidden: flags.hidden, symlink })
}

#[cfg(test)]
mod tests;
