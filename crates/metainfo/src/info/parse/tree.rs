//! The v2 half: the file tree (BEP 52, "file tree").
//!
//! A dictionary with the empty key is a file, any other a folder. Walked with a stack of its own, since a torrent chooses
//! how deep it is.

use super::{attributes, flags, length};
use crate::error::{MetainfoError, Place, Warning, Warnings};
use crate::info::Files;
use crate::{Attributes, MAX_PATH_DEPTH, names};
use shoal_bencode::{Dict, DictIter};
use shoal_hash::merkle;
use shoal_layout::{LayoutError, MAX_FILES};

/// The files of a v2 half, in order.
pub(super) struct Tree {
    pub(super) files: Files,
    pub(super) lengths: Vec<u64>,
    /// One file in the root, called as the torrent.
    pub(super) single_file: bool,
}

pub(super) fn parse(dict: Dict<'_, '_>, name: &str, warnings: &mut Warnings) -> Result<Tree, MetainfoError> {
    let wrong = MetainfoError::Wrong { place: Place::Info, key: "file tree", expected: "a dictionary" };
    let root = dict.get("file tree").and_then(|value| value.as_dict()).ok_or(wrong)?;
    // Counted first, since growing by doubling would take three times the room for a moment.
    let count = leaves(root);
    let mut files = Files::with_capacity(count);
    let (mut lengths, mut roots) = (Vec::with_capacity(count), Vec::with_capacity(count));
    let mut path = Vec::new();
    let mut folders: Vec<DictIter<'_, '_>> = vec![root.iter()];
    while let Some(folder) = folders.last_mut() {
        let Some((key, value)) = folder.next() else {
            folders.pop();
            path.pop();
            continue;
        };
        let place = Place::TreeFile(files.len());
        let entry = value.as_dict().ok_or(MetainfoError::NoDictionary(place))?;
        if key.is_empty() {
            return Err(MetainfoError::EmptyName(place));
        }
        if path.len() == MAX_PATH_DEPTH {
            return Err(MetainfoError::Depth(place));
        }
        path.push(names::decode(key, place, "file tree", warnings));
        // Keys are sorted, so the empty one comes first.
        let mut entries = entry.iter();
        match entries.next() {
            Some((b"", leaf)) => {
                if entries.next().is_some() {
                    return Err(MetainfoError::FileAndFolder(place));
                }
                if files.len() == MAX_FILES {
                    return Err(LayoutError::TooManyFiles(files.len() + 1).into());
                }
                let leaf = leaf.as_dict().ok_or(MetainfoError::NoDictionary(place))?;
                if path.iter().any(|name| names::is_unsafe(name)) {
                    warnings.push(Warning::UnsafeName(place));
                }
                let (length, file_root, attributes) = parse_leaf(leaf, place, warnings)?;
                files.push(&path, attributes)?;
                lengths.push(length);
                roots.push(file_root);
                path.pop();
            }
            _ => folders.push(entry.iter()),
        }
    }
    if files.len() == 0 {
        return Err(MetainfoError::NoFiles("file tree"));
    }
    files.finish(roots);
    let single_file = files.is_only(name);
    Ok(Tree { files, lengths, single_file })
}

/// How many files there are at most.
fn leaves(root: Dict<'_, '_>) -> usize {
    let (mut count, mut folders) = (0, vec![root.iter()]);
    while let Some(folder) = folders.last_mut() {
        match folder.next().map(|(_, entry)| entry.as_dict().map(|entry| entry.iter())) {
            Some(Some(entry)) if entry.clone().next().is_some_and(|(key, _)| key.is_empty()) => count += 1,
            Some(Some(entry)) if folders.len() <= MAX_PATH_DEPTH => folders.push(entry),
            Some(_) => {}
            None => drop(folders.pop()),
        }
    }
    count.min(MAX_FILES)
}

/// Length, root (zeros: none) and attributes of a file.
fn parse_leaf(
    leaf: Dict<'_, '_>,
    place: Place,
    warnings: &mut Warnings,
) -> Result<(u64, merkle::Hash, Attributes), MetainfoError> {
    let flags = flags(leaf, place, warnings);
    if flags.padding {
        return Err(MetainfoError::Padding(place));
    }
    let length = length(leaf, flags.link, place, warnings)?;
    let attributes = attributes(leaf, flags, place, warnings)?;
    let root = match leaf.get("pieces root") {
        _ if length == 0 => [0; 32],
        None => return Err(MetainfoError::Missing { place, key: "pieces root" }),
        Some(value) => {
            // No data hashes to zeros; some programs write them for a hash that they do not know.
            let root =
                value.as_bytes().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok()).filter(|root| *root != [0; 32]);
            let expected = "a SHA-256 hash";
            root.ok_or(MetainfoError::Wrong { place, key: "pieces root", expected })?
        }
    };
    Ok((length, root, attributes))
}
