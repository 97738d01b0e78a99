//! Writing the info dictionary of a plan.
//!
//! What comes out is what reading its bytes would give (tests), and is not read: that would have everything that is told of
//! a million files in memory three times.

use super::{CreateError, Options, Plan};
use crate::torrent::dictionary;
use crate::{Attributes, Format, Info, InfoHashV1, InfoHashV2, InfoHashes, MAX_INFO_BYTES, MetainfoError, PieceLayers};
use bendy::encoding::{Error as EncodeError, SingleItemEncoder, SortedDictEncoder};
use shoal_hash::merkle;
use shoal_layout::{FileIndex, Layout};
use std::ops::Range;

/// Makes the info dictionary. `v1`: SHA-1 of each piece of the layout, gaps as zeros (none for v2). `v2`: of each piece the
/// root over its 16 KiB blocks (none for v1), in a tree as wide as a full piece; for a file of at most one piece, as wide as
/// its blocks rounded up to a power of two ([`PieceRoot::leaves`](crate::PieceRoot::leaves)).
pub fn build(
    plan: Plan,
    v1: Vec<[u8; 20]>,
    v2: Vec<merkle::Hash>,
    options: &Options,
) -> Result<(Info, PieceLayers), CreateError> {
    let Plan { format, name, mut single_file, mut files, layout, given } = plan;
    drop(given);
    if format == Format::V2 {
        // A file tree does not tell a folder of one file that is called as the folder from that file alone.
        single_file = files.is_only(&name);
    }
    let pieces = layout.pieces() as usize;
    for (is_needed, found) in [(format != Format::V2, v1.len()), (format != Format::V1, v2.len())] {
        let expected = if is_needed { pieces } else { 0 };
        if expected != found {
            return Err(CreateError::Hashes { expected, found });
        }
    }
    let layers = long_files(&layout, &v2);
    files.finish(file_roots(&layout, v2));
    let mut info = Info {
        bytes: Vec::new(),
        // What the dictionary hashes to is known when it is written.
        hashes: InfoHashes { v1: None, v2: None },
        format,
        name,
        single_file,
        files,
        layout,
        private: options.private,
        source: options.source.clone(),
        pieces: 0..0,
        padding: Vec::new(),
    };
    let mut bytes = dictionary(|dict| emit_before_pieces(&info, dict));
    let after = dictionary(|dict| emit_after_pieces(&info, dict));
    // bendy writes no foreign bytes, so the keys before and after `pieces` are two dictionaries that are joined around it.
    bytes.pop();
    if format != Format::V2 {
        let hashes = v1.as_flattened();
        bytes.extend_from_slice(format!("6:pieces{}:", hashes.len()).as_bytes());
        info.pieces = bytes.len()..bytes.len() + hashes.len();
        bytes.extend_from_slice(hashes);
    }
    drop(v1);
    bytes.extend_from_slice(&after[1..]);
    if bytes.len() > MAX_INFO_BYTES {
        return Err(MetainfoError::TooLong { found: bytes.len(), limit: MAX_INFO_BYTES }.into());
    }
    info.hashes = InfoHashes {
        v1: (format != Format::V2).then(|| InfoHashV1(shoal_hash::sha1(&bytes))),
        v2: (format != Format::V1).then(|| InfoHashV2(shoal_hash::sha256(&bytes))),
    };
    bytes.shrink_to_fit();
    info.bytes = bytes;
    if format == Format::Hybrid && !single_file {
        info.padding = padding(&info.layout);
    }
    let mut known = PieceLayers::empty(&info);
    for (file, layer) in layers {
        known.insert(&info, file, layer).expect("the file's root was made of these");
    }
    Ok((info, known))
}

/// The pieces of a file, as places in lists of hashes.
fn span(layout: &Layout, file: FileIndex) -> Range<usize> {
    let pieces = layout.pieces_of(file);
    pieces.start as usize..pieces.end as usize
}

/// The root of each file's tree from the roots of its pieces; zeros for an empty file. None for v1.
fn file_roots(layout: &Layout, pieces: Vec<merkle::Hash>) -> Vec<merkle::Hash> {
    // For v1, or if each file is one piece: of a million small files the list is not made twice.
    if pieces.is_empty() || (0..layout.files()).all(|file| layout.pieces_of(FileIndex(file)).len() == 1) {
        return pieces;
    }
    let root = |file: FileIndex| match &pieces[span(layout, file)] {
        [] => [0; 32],
        [only] => *only,
        layer => {
            let height = merkle::piece_layer(u64::from(layout.piece_length())).expect("the plan's is a power of two");
            merkle::root_of_layer(layer, height, layout.file_length(file)).expect("a hash for each piece of the file")
        }
    };
    (0..layout.files()).map(FileIndex).map(root).collect()
}

/// The files of more than one piece with their pieces' roots. Few, where there are many files: the roots of all pieces are not
/// in memory while the dictionary is written.
fn long_files(layout: &Layout, pieces: &[merkle::Hash]) -> Vec<(FileIndex, Vec<merkle::Hash>)> {
    if pieces.is_empty() {
        return Vec::new();
    }
    let layers = (0..layout.files()).map(FileIndex).map(|file| (file, &pieces[span(layout, file)]));
    layers.filter(|(_, layer)| layer.len() > 1).map(|(file, layer)| (file, layer.to_vec())).collect()
}

/// Of each gap between two files its number in the v1 list, where files and gaps are counted.
fn padding(layout: &Layout) -> Vec<u32> {
    let mut numbers = Vec::new();
    gaps(layout).filter(|&(_, gap)| gap > 0).for_each(|(file, _)| numbers.push(file.0 + numbers.len() as u32));
    numbers
}

/// Each file with the bytes between the one before it and itself.
fn gaps(layout: &Layout) -> impl Iterator<Item = (FileIndex, u64)> + '_ {
    let mut end = 0;
    (0..layout.files()).map(FileIndex).map(move |file| {
        let span = layout.file_span(file);
        (file, span.start - std::mem::replace(&mut end, span.end))
    })
}

/// The keys in their order.
fn emit_before_pieces(info: &Info, dict: &mut SortedDictEncoder<'_>) -> Result<(), EncodeError> {
    let has_v1 = info.format != Format::V2;
    let has_v2 = info.format != Format::V1;
    let only = (info.single_file && has_v1).then_some(FileIndex(0));
    if let Some(only) = only {
        // Without v2 the file's attributes stand beside its length (BEP 47).
        emit_attr(info.files.attributes(only), dict)?;
    }
    if has_v2 {
        dict.emit_pair_with(b"file tree", |tree| emit_tree(info, 0..info.layout.files(), 0, tree))?;
    }
    match only {
        Some(only) => dict.emit_pair(b"length", info.layout.file_length(only))?,
        None if has_v1 => dict.emit_pair_with(b"files", |files| emit_list(info, files))?,
        None => {}
    }
    if has_v2 {
        dict.emit_pair(b"meta version", 2)?;
    }
    dict.emit_pair(b"name", info.name.as_str())?;
    dict.emit_pair(b"piece length", info.layout.piece_length())
}

fn emit_after_pieces(info: &Info, dict: &mut SortedDictEncoder<'_>) -> Result<(), EncodeError> {
    if info.private {
        dict.emit_pair(b"private", 1)?;
    }
    match &info.source {
        Some(source) => dict.emit_pair(b"source", source),
        None => Ok(()),
    }
}

/// A folder of the v2 file tree: the files below it, whose paths agree in the first `depth` components. As deep as
/// paths may be, which is bounded.
fn emit_tree(info: &Info, files: Range<u32>, depth: usize, encoder: SingleItemEncoder<'_>) -> Result<(), EncodeError> {
    let path = |file: u32| info.files.path(FileIndex(file)).expect("the layout's files have paths");
    encoder.emit_dict(|mut dict| {
        let mut first = files.start;
        while first < files.end {
            let name = path(first).component(depth);
            let entry =
                first..(first + 1..files.end).find(|&file| path(file).component(depth) != name).unwrap_or(files.end);
            first = entry.end;
            if path(entry.start).len() > depth + 1 {
                dict.emit_pair_with(name.as_bytes(), |folder| emit_tree(info, entry, depth + 1, folder))?;
            } else {
                dict.emit_pair_with(name.as_bytes(), |leaf| {
                    leaf.emit_dict(|mut leaf| {
                        leaf.emit_pair_with(b"", |content| {
                            content.emit_dict(|mut dict| emit_leaf(info, FileIndex(entry.start), &mut dict))
                        })
                    })
                })?;
            }
        }
        Ok(())
    })
}

fn emit_leaf(info: &Info, file: FileIndex, dict: &mut SortedDictEncoder<'_>) -> Result<(), EncodeError> {
    let attributes = info.files.attributes(file);
    emit_attr(attributes, dict)?;
    dict.emit_pair(b"length", info.layout.file_length(file))?;
    if let Some(root) = info.files.root(file) {
        dict.emit_pair_with(b"pieces root", |encoder| encoder.emit_bytes(&root))?;
    }
    emit_symlink(attributes, dict)
}

/// The v1 list, with a padding file in each gap. Nothing follows the last file.
fn emit_list(info: &Info, encoder: SingleItemEncoder<'_>) -> Result<(), EncodeError> {
    encoder.emit_list(|list| {
        for (file, gap) in gaps(&info.layout) {
            if gap > 0 {
                let name = gap.to_string();
                list.emit_dict(|mut dict| {
                    dict.emit_pair(b"attr", "p")?;
                    dict.emit_pair(b"length", gap)?;
                    dict.emit_pair(b"path", &[".pad", &name][..])
                })?;
            }
            let attributes = info.files.attributes(file);
            list.emit_dict(|mut dict| {
                emit_attr(attributes, &mut dict)?;
                dict.emit_pair(b"length", info.layout.file_length(file))?;
                dict.emit_pair_with(b"path", |path| {
                    path.emit_list(|list| {
                        let path = info.files.path(file).expect("the layout's files have paths");
                        path.components().try_for_each(|name| list.emit_str(name))
                    })
                })?;
                emit_symlink(attributes, &mut dict)
            })?;
        }
        Ok(())
    })
}

fn emit_attr(attributes: &Attributes, dict: &mut SortedDictEncoder<'_>) -> Result<(), EncodeError> {
    let letters: String = [(attributes.hidden, 'h'), (attributes.symlink.is_some(), 'l'), (attributes.executable, 'x')]
        .into_iter()
        .filter_map(|(is_set, letter)| is_set.then_some(letter))
        .collect();
    if letters.is_empty() { Ok(()) } else { dict.emit_pair(b"attr", letters) }
}

fn emit_symlink(attributes: &Attributes, dict: &mut SortedDictEncoder<'_>) -> Result<(), EncodeError> {
    match &attributes.symlink {
        Some(target) => dict.emit_pair(b"symlink path", target),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
