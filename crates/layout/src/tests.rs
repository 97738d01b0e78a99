//! Properties of the arithmetic: every byte of the address space lies in exactly one place.

use crate::*;
use proptest::prelude::*;

fn lengths() -> impl Strategy<Value = Vec<u64>> {
    prop::collection::vec(prop_oneof![Just(0_u64), 1..100_u64, 1_000..200_000_u64], 1..12)
        .prop_filter("some data", |lengths| lengths.iter().any(|&length| length > 0))
}

proptest! {
    #[test]
    fn slices_of_all_pieces_cover_every_file_once(lengths in lengths(), log in 4_u32..18, aligned: bool) {
        let make = if aligned { Layout::aligned } else { Layout::contiguous };
        let layout = make(1 << log, &lengths).unwrap();
        let mut seen = vec![0_u64; lengths.len()];
        let mut total = 0;
        for piece in (0..layout.pieces()).map(PieceIndex) {
            let whole = BlockRef { piece, begin: 0, length: layout.piece_size(piece) };
            for slice in layout.slices(whole) {
                prop_assert!(slice.length > 0);
                total += slice.length;
                if let Some(file) = slice.file {
                    prop_assert_eq!(slice.offset, seen[file.as_usize()]);
                    seen[file.as_usize()] += slice.length;
                    prop_assert!(layout.pieces_of(file).contains(&piece.0));
                }
            }
            let asked: u32 = layout.requests(piece).map(|(_, block)| block.length).sum();
            prop_assert!(asked >= layout.payload_in(piece));
            for (number, block) in layout.requests(piece) {
                prop_assert_eq!(block.begin, number * BLOCK_LENGTH);
                prop_assert_eq!(layout.block(piece.0, block.begin, block.length), Some(block));
                let last = layout.slices(block).last().unwrap();
                prop_assert!(last.file.is_some(), "a request never ends in a gap");
            }
        }
        prop_assert_eq!(seen, lengths);
        prop_assert_eq!(total, layout.total_length());
    }

    #[test]
    fn a_block_is_given_only_inside_its_piece(piece: u32, begin: u32, length: u32) {
        let layout = Layout::contiguous(1 << 15, &[100_000]).unwrap();
        if let Some(block) = layout.block(piece, begin, length) {
            prop_assert!(block.length > 0 && block.end() <= layout.piece_size(block.piece));
        }
    }

    #[test]
    fn a_block_may_reach_the_end_of_its_piece_and_no_further(piece in 0_u32..4, begin in 0_u32..40_000) {
        let layout = Layout::contiguous(1 << 15, &[100_000]).unwrap();
        let size = [1 << 15, 1 << 15, 1 << 15, 100_000 - 3 * (1 << 15)][piece as usize];
        let rest = size - begin.min(size);
        prop_assert_eq!(layout.block(piece, begin, rest).is_some(), rest > 0);
        prop_assert_eq!(layout.block(piece, begin, rest + 1), None);
    }
}

#[test]
fn v2_files_begin_at_pieces_and_the_last_piece_is_short() {
    let layout = Layout::aligned(32_768, &[1, 0, 40_000]).unwrap();
    assert_eq!(layout.pieces(), 3);
    assert_eq!(layout.file_span(FileIndex(2)), 32_768..72_768);
    assert_eq!(layout.piece_size(PieceIndex(0)), 32_768);
    assert_eq!(layout.requests(PieceIndex(0)).map(|(_, b)| b.length).collect::<Vec<_>>(), [1]);
    assert_eq!(layout.piece_size(PieceIndex(2)), 40_000 - 32_768);
    assert_eq!(layout.payload_length(), 40_001);
    assert_eq!(layout.total_length(), 72_768);
}

#[test]
fn a_whole_last_piece_may_be_asked_for_and_its_tail_is_a_gap() {
    let layout = Layout::aligned_whole(32_768, &[1, 0, 40_000]).unwrap();
    assert_eq!((layout.total_length(), layout.payload_length()), (3 * 32_768, 40_001));
    assert!(layout.block(2, 16_384, 16_384).is_some());
    assert_eq!(layout.block(2, 16_384, 16_385), None);
    assert_eq!(layout.requests(PieceIndex(2)).map(|(_, b)| b.length).collect::<Vec<_>>(), [40_000 - 32_768]);
    assert_eq!(layout.slices_of(65_536..98_304).last().map(|slice| slice.file), Some(None));
}

#[test]
fn numbers_that_make_no_torrent_are_named() {
    assert_eq!(Layout::contiguous(0, &[1]), Err(LayoutError::PieceLength(0)));
    assert_eq!(Layout::contiguous(16384, &[0, 0]), Err(LayoutError::Empty));
    assert_eq!(Layout::contiguous(16384, &[u64::MAX, 1]), Err(LayoutError::Overflow { file: 1 }));
    assert_eq!(Layout::contiguous(1, &[1 << 40]), Err(LayoutError::TooManyPieces(1 << 40)));
    assert_eq!(Layout::new(16384, vec![(0, 5), (4, 5)], 9), Err(LayoutError::Overlap { file: 1 }));
}

#[test]
fn a_selection_wants_the_pieces_of_its_files() {
    let layout = Layout::contiguous(10, &[5, 10, 5]).unwrap();
    let selection = Selection::by(&layout, |file| file.0 == 0);
    assert!(selection.piece(&layout, PieceIndex(0)));
    assert!(!selection.piece(&layout, PieceIndex(1)));
    assert_eq!(selection.payload_length(&layout), 5);
    assert!(Selection::all(&layout).is_all());
}

#[test]
fn a_million_empty_files_at_one_place_cost_nothing_a_block() {
    let mut lengths = vec![1];
    lengths.resize(MAX_FILES - 1, 0);
    lengths.push(1);
    // 32 Ki blocks in the first piece, nearly all in the gap after the first file: a walk for each would be 3e10 steps.
    let layout = Layout::aligned(u64::from(MAX_PIECE_LENGTH), &lengths).unwrap();
    assert_eq!(layout.requests(PieceIndex(0)).map(|(_, block)| block.length).collect::<Vec<_>>(), [1]);
    let gaps = (1..layout.blocks_in(PieceIndex(0))).map(|number| BlockRef {
        piece: PieceIndex(0),
        begin: number * BLOCK_LENGTH,
        length: BLOCK_LENGTH,
    });
    for block in gaps {
        assert!(layout.slices(block).all(|slice| slice.file.is_none()));
    }
}
