//! The v1 half: `length`, or the list `files` (BEP 3), with padding and attributes (BEP 47).
//!
//! In a hybrid it tells once more what the file tree told, so each file is compared with the tree's as it is read, and not
//! kept beside it.

use super::tree::Tree;
use super::{attributes, flags, length, path};
use crate::error::{MetainfoError, Place, Warning, Warnings};
use crate::info::Files;
use crate::{Attributes, names};
use shoal_bencode::{Dict, Value};
use shoal_layout::{FileIndex, Layout, LayoutError, MAX_FILES};

/// How BitComet names padding files, which it makes without `attr` (observed in its torrents; libtorrent knows it too).
const BITCOMET_PADDING: &str = "_____padding_file_";

/// The files of a v1 half.
#[derive(Default)]
pub(super) struct Listed {
    /// None in a hybrid: the tree has them.
    pub(super) files: Files,
    /// First byte and length of each file.
    spans: Vec<(u64, u64)>,
    total_length: u64,
    /// Numbers of the entries that are padding.
    pub(super) padding: Vec<u32>,
    pub(super) single_file: bool,
}

impl Listed {
    /// Where the files are. Gives the spans up: a million need not be in memory twice.
    pub(super) fn layout(&mut self, piece_length: u64) -> Result<Layout, LayoutError> {
        Layout::new(piece_length, std::mem::take(&mut self.spans), self.total_length)
    }

    /// Takes a file, or compares it with the tree's.
    fn push(
        &mut self,
        path: &[impl AsRef<str>],
        (start, length): (u64, u64),
        attributes: Attributes,
        tree: Option<&Tree>,
    ) -> Result<(), MetainfoError> {
        let index = self.spans.len();
        self.spans.push((start, length));
        let Some(tree) = tree else { return Ok(self.files.push(path, attributes)?) };
        let file = FileIndex(index as u32);
        let what = match tree.files.path(file) {
            None => "number of files",
            Some(theirs) if !theirs.components().eq(path.iter().map(AsRef::as_ref)) => "path",
            Some(_) if tree.lengths[index] != length => "length",
            Some(_) if tree.files.attributes(file).symlink != attributes.symlink => "symbolic link",
            Some(_) => return Ok(()),
        };
        Err(MetainfoError::HalvesDiffer { file: index, what })
    }

    /// Takes the next `length` bytes of the address space.
    fn advance(&mut self, index: usize, length: u64) -> Result<u64, LayoutError> {
        let start = self.total_length;
        self.total_length = start
            .checked_add(length)
            .filter(|&end| i64::try_from(end).is_ok())
            .ok_or(LayoutError::Overflow { file: index })?;
        Ok(start)
    }
}

/// `None` if there is no v1 half, which only a torrent with a v2 half may lack. `tree`: the files of that.
pub(super) fn parse(
    dict: Dict<'_, '_>,
    name: &str,
    tree: Option<&Tree>,
    warnings: &mut Warnings,
) -> Result<Option<Listed>, MetainfoError> {
    let is_v2 = tree.is_some();
    let mut listed = Listed::default();
    if let Some(files) = dict.get("files") {
        let files =
            files.as_list().ok_or(MetainfoError::Wrong { place: Place::Info, key: "files", expected: "a list" })?;
        // Counted first, since growing by doubling would take three times the room for a moment.
        let count = files.iter().take(MAX_FILES).count();
        listed.spans.reserve_exact(count);
        listed.files = Files::with_capacity(if is_v2 { 0 } else { count });
        for (index, entry) in files.iter().enumerate() {
            if index > MAX_FILES * 2 {
                return Err(LayoutError::TooManyFiles(index).into());
            }
            parse_entry(&mut listed, index, entry, tree, warnings)?;
        }
        if listed.spans.is_empty() {
            return Err(MetainfoError::NoFiles("files"));
        }
    } else if dict.get("length").is_some() || !is_v2 {
        let length = length(dict, false, Place::Info, warnings)?;
        let start = listed.advance(0, length)?;
        let flags = flags(dict, Place::Info, warnings);
        let attributes = Attributes { executable: flags.executable, hidden: flags.hidden, symlink: None };
        listed.push(&[name], (start, length), attributes, tree)?;
        listed.single_file = true;
    } else if dict.get("pieces").is_some() {
        return Err(MetainfoError::HalfV1);
    } else {
        return Ok(None);
    }
    if is_v2 && dict.get("pieces").is_none() {
        return Err(MetainfoError::HalfV1);
    }
    listed.files.finish(Vec::new());
    Ok(Some(listed))
}

fn parse_entry(
    listed: &mut Listed,
    index: usize,
    entry: Value<'_, '_>,
    tree: Option<&Tree>,
    warnings: &mut Warnings,
) -> Result<(), MetainfoError> {
    let place = Place::ListedFile(index);
    let dict = entry.as_dict().ok_or(MetainfoError::NoDictionary(place))?;
    let flags = flags(dict, place, warnings);
    let length = length(dict, flags.link, place, warnings)?;
    let path = match dict.get("path.utf-8").filter(|value| is_utf8_path(*value)).or_else(|| dict.get("path")) {
        Some(value) => path(value, place, "path", warnings)?,
        None => Vec::new(),
    };
    let start = listed.advance(index, length)?;
    if flags.padding || path.last().is_some_and(|name| name.starts_with(BITCOMET_PADDING)) {
        listed.padding.push(index as u32);
        return Ok(());
    }
    if path.is_empty() {
        return Err(MetainfoError::Missing { place, key: "path" });
    }
    if path.iter().any(|name| names::is_unsafe(name)) {
        warnings.push(Warning::UnsafeName(place));
    }
    let attributes = attributes(dict, flags, place, warnings)?;
    listed.push(&path, (start, length), attributes, tree)
}

/// Whether a `path.utf-8` is what it says.
fn is_utf8_path(value: Value<'_, '_>) -> bool {
    value.as_list().is_some_and(|path| !path.is_empty() && path.iter().all(|name| name.as_str().is_some()))
}
