//! Claims that need several of the crate's parts at once: storage against a model, resume after stops and kills,
//! checking and creating.

mod hashing;
mod place;
mod resume;
mod storage;

use crate::path::SafePath;
use crate::{Mode, OpenFiles, Place, Storage, StorageError};
use shoal_layout::{BLOCK_LENGTH, BlockRef, FileIndex, Layout, PieceIndex, Selection};
use std::path::Path;

/// Bytes that differ everywhere, the gaps as zeros.
pub(crate) fn content(layout: &Layout) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes: Vec<u8> = (0..layout.total_length())
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8 | 1
        })
        .collect();
    let mut at = 0;
    for slice in layout.slices_of(0..layout.total_length()) {
        let end = at + slice.length as usize;
        if slice.file.is_none() {
            bytes[at..end].fill(0);
        }
        at = end;
    }
    bytes
}

pub(crate) fn place(folder: &Path, layout: &Layout) -> Place {
    let name = |file: u32| SafePath::exact(["t".to_string(), format!("d{}", file % 3), format!("f{file}")]).unwrap();
    Place::below(folder, (0..layout.files()).map(name).collect())
}

fn open(folder: &Path, layout: &Layout, selection: Selection, mode: Mode) -> Storage {
    Storage::open(layout.clone(), place(folder, layout), selection, mode, [7; 20], OpenFiles::new(2)).unwrap()
}

/// The blocks of a piece as a swarm would have fetched them.
fn blocks<'a>(layout: &Layout, piece: PieceIndex, content: &'a [u8]) -> Vec<(BlockRef, &'a [u8])> {
    let start = layout.piece_start(piece) as usize;
    layout
        .requests(piece)
        .map(|(_, block)| (block, &content[start + block.begin as usize..start + block.end() as usize]))
        .collect()
}

fn write(storage: &Storage, piece: u32, content: &[u8]) -> Result<(), StorageError> {
    let piece = PieceIndex(piece);
    storage.write_piece(piece, &blocks(storage.layout(), piece, content))
}

fn read(storage: &Storage, piece: u32) -> Result<Vec<u8>, StorageError> {
    let piece = PieceIndex(piece);
    let mut buffer = vec![0xee; storage.layout().piece_size(piece) as usize];
    storage.read(BlockRef { piece, begin: 0, length: buffer.len() as u32 }, &mut buffer)?;
    Ok(buffer)
}

fn piece_of<'a>(layout: &Layout, piece: u32, content: &'a [u8]) -> &'a [u8] {
    let start = layout.piece_start(PieceIndex(piece)) as usize;
    &content[start..start + layout.piece_size(PieceIndex(piece)) as usize]
}

fn file_of<'a>(layout: &Layout, file: u32, content: &'a [u8]) -> &'a [u8] {
    let span = layout.file_span(FileIndex(file));
    &content[span.start as usize..span.end as usize]
}

const BLOCK: u64 = BLOCK_LENGTH as u64;
