//! Writing the info dictionary of a plan.

use super::{CreateError, FileHashes, Options, Plan, PlannedFile};
use crate::torrent::dictionary;
use crate::{Attributes, Format, Info, PieceLayers};
use bendy::encoding::{Error as EncodeError, SingleItemEncoder, SortedDictEncoder};
use shoal_hash::merkle;
use shoal_layout::FileIndex;

/// Makes the info dictionary. `v1`: SHA-1 of each piece of the layout, gaps as zeros (none for v2). `v2`: each file's hashes,
/// in the plan's order (none for v1). What comes out was read back as any torrent is; what it was made of is given up before,
/// since a million names need not be in memory twice.
pub fn build(
    plan: Plan,
    v1: Vec<[u8; 20]>,
    v2: Vec<FileHashes>,
    options: &Options,
) -> Result<(Info, PieceLayers), CreateError> {
    let (pieces, files) = match plan.format {
        Format::V1 => (plan.layout.pieces() as usize, 0),
        Format::V2 => (0, plan.files.len()),
        Format::Hybrid => (plan.layout.pieces() as usize, plan.files.len()),
    };
    for (expected, found) in [(pieces, v1.len()), (files, v2.len())] {
        if expected != found {
            return Err(CreateError::Hashes { expected, found });
        }
    }
    let bytes = dictionary(|dict| emit(&plan, &v1, &v2, options, dict));
    let Plan { layout, files, .. } = plan;
    drop((files, v1));
    let made: Vec<(FileIndex, Vec<merkle::Hash>)> = (0..)
        .map(FileIndex)
        .zip(v2)
        .filter(|(_, hashes)| !hashes.layer.is_empty())
        .map(|(index, hashes)| (index, hashes.layer))
        .collect();
    let (info, _) = Info::parse_owned(bytes)?;
    let mut layers = PieceLayers::empty(&info);
    for (index, layer) in made {
        let found = layer.len();
        let expected = layout.pieces_of(index).len();
        layers.insert(&info, index, layer).map_err(|_| CreateError::Hashes { expected, found })?;
    }
    let lacking = layers.missing(&info).next();
    match lacking {
        Some(file) => Err(CreateError::Hashes { expected: layout.pieces_of(file).len(), found: 0 }),
        None => Ok((info, layers)),
    }
}

/// The keys in their order.
fn emit(
    plan: &Plan,
    v1: &[[u8; 20]],
    v2: &[FileHashes],
    options: &Options,
    dict: &mut SortedDictEncoder<'_>,
) -> Result<(), EncodeError> {
    let has_v1 = plan.format != Format::V2;
    let has_v2 = plan.format != Format::V1;
    let only = plan.files.first().filter(|_| plan.single_file && has_v1);
    if let Some(only) = only {
        // Without v2 the file's attributes stand beside its length (BEP 47).
        emit_attr(&only.attributes, dict)?;
    }
    if has_v2 {
        let files: Vec<_> = plan.files.iter().zip(v2).collect();
        dict.emit_pair_with(b"file tree", |tree| emit_tree(&files, 0, tree))?;
    }
    match only {
        Some(only) => dict.emit_pair(b"length", only.length)?,
        None if has_v1 => dict.emit_pair_with(b"files", |files| emit_list(plan, files))?,
        None => {}
    }
    if has_v2 {
        dict.emit_pair(b"meta version", 2)?;
    }
    dict.emit_pair(b"name", plan.name.as_str())?;
    dict.emit_pair(b"piece length", plan.layout.piece_length())?;
    if has_v1 {
        dict.emit_pair_with(b"pieces", |pieces| pieces.emit_bytes(v1.as_flattened()))?;
    }
    if options.private {
        dict.emit_pair(b"private", 1)?;
    }
    if let Some(source) = &options.source {
        dict.emit_pair(b"source", source)?;
    }
    Ok(())
}

/// A folder of the v2 file tree: the files below it, whose paths agree in the first `depth` components. As deep as
/// paths may be, which is bounded.
fn emit_tree(
    files: &[(&PlannedFile, &FileHashes)],
    depth: usize,
    encoder: SingleItemEncoder<'_>,
) -> Result<(), EncodeError> {
    encoder.emit_dict(|mut dict| {
        for entry in files.chunk_by(|(one, _), (other, _)| one.path[depth] == other.path[depth]) {
            let (file, hashes) = entry[0];
            let name = file.path[depth].as_bytes();
            if file.path.len() > depth + 1 {
                dict.emit_pair_with(name, |folder| emit_tree(entry, depth + 1, folder))?;
            } else {
                dict.emit_pair_with(name, |leaf| {
                    leaf.emit_dict(|mut leaf| {
                        leaf.emit_pair_with(b"", |content| {
                            content.emit_dict(|mut dict| emit_leaf(file, hashes, &mut dict))
                        })
                    })
                })?;
            }
        }
        Ok(())
    })
}

fn emit_leaf(file: &PlannedFile, hashes: &FileHashes, dict: &mut SortedDictEncoder<'_>) -> Result<(), EncodeError> {
    emit_attr(&file.attributes, dict)?;
    dict.emit_pair(b"length", file.length)?;
    if let Some(root) = &hashes.root {
        dict.emit_pair_with(b"pieces root", |encoder| encoder.emit_bytes(root))?;
    }
    emit_symlink(&file.attributes, dict)
}

/// The v1 list, with a padding file in each gap. Nothing follows the last file.
fn emit_list(plan: &Plan, encoder: SingleItemEncoder<'_>) -> Result<(), EncodeError> {
    encoder.emit_list(|list| {
        let mut end = 0;
        for (index, file) in (0..).map(FileIndex).zip(&plan.files) {
            let span = plan.layout.file_span(index);
            let gap = span.start - end;
            if gap > 0 {
                let name = gap.to_string();
                list.emit_dict(|mut dict| {
                    dict.emit_pair(b"attr", "p")?;
                    dict.emit_pair(b"length", gap)?;
                    dict.emit_pair(b"path", &[".pad", &name][..])
                })?;
            }
            list.emit_dict(|mut dict| {
                emit_attr(&file.attributes, &mut dict)?;
                dict.emit_pair(b"length", file.length)?;
                dict.emit_pair(b"path", &file.path)?;
                emit_symlink(&file.attributes, &mut dict)
            })?;
            end = span.end;
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
