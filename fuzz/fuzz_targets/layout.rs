//! Where bytes are: any lengths are a layout that adds up or are refused, and a block from outside lies inside a piece.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shoal_layout::{BlockRef, FileIndex, Layout, PieceIndex};

fuzz_target!(|input: (u8, u32, Vec<u64>, [u32; 3])| {
    let (kind, piece_length, mut lengths, [piece, begin, length]) = input;
    // Mostly small, so that several files lie in a piece.
    lengths.iter_mut().for_each(|length| *length = if *length & 7 == 0 { *length } else { *length % 100_000 });
    let piece_length = u64::from(piece_length);
    let made = match kind % 3 {
        0 => Layout::contiguous(piece_length, &lengths),
        1 => Layout::aligned(piece_length, &lengths),
        _ => Layout::aligned_whole(piece_length, &lengths),
    };
    let Ok(layout) = made else { return };
    let payload: u64 = lengths.iter().sum();
    assert_eq!(layout.payload_length(), payload);
    assert!(layout.total_length() >= payload && layout.pieces() > 0);
    let block = layout.block(piece, begin, length);
    let fits = piece < layout.pieces()
        && length > 0
        && u64::from(begin) + u64::from(length) <= u64::from(layout.piece_size(PieceIndex(piece)));
    assert_eq!(block.is_some(), fits);
    let last = PieceIndex(layout.pieces() - 1);
    let whole = BlockRef { piece: last, begin: 0, length: layout.piece_size(last) };
    for block in [Some(whole), block].into_iter().flatten() {
        let mut at = layout.piece_start(block.piece) + u64::from(block.begin);
        let end = at + u64::from(block.length);
        for slice in layout.slices(block) {
            assert!(slice.length > 0);
            if let Some(file) = slice.file {
                assert_eq!(layout.file_span(file).start + slice.offset, at);
                assert!(slice.offset + slice.length <= layout.file_length(file));
            }
            at += slice.length;
        }
        assert_eq!(at, end);
    }
    let mut files = 0;
    for file in (0..layout.files()).map(FileIndex).take(200) {
        let pieces = layout.pieces_of(file);
        assert_eq!(pieces.is_empty(), layout.file_length(file) == 0);
        for piece in [pieces.start, pieces.end.saturating_sub(1)] {
            if pieces.contains(&piece) {
                assert!(layout.files_in(PieceIndex(piece)).any(|found| found == file));
                files += 1;
            }
        }
    }
    assert!(files > 0 || lengths.len() > 200);
    if layout.blocks_in(last) <= 4096 {
        let payload: u64 = layout.requests(last).map(|(_, block)| u64::from(block.length)).sum();
        assert!(payload >= u64::from(layout.payload_in(last)) && payload <= u64::from(whole.length));
    }
});
