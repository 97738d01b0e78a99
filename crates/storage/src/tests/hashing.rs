//! Creating and checking against each other and against hashes made the plain way.

use super::*;
use crate::hashing::{Held, Watch, check, create, judge, piece_matches};
use crate::source::scan;
use proptest::prelude::*;
use shoal_metainfo::create::{Options, Plan, build};
use shoal_metainfo::{Attributes, Format, Info, PieceHashes, PieceLayers};
use shoal_pieces::Bitfield;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const FORMATS: [Format; 3] = [Format::V1, Format::V2, Format::Hybrid];

struct Made {
    info: Info,
    layers: PieceLayers,
}

fn tree(lengths: &[usize]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join("t/d")).unwrap();
    for (number, &length) in lengths.iter().enumerate() {
        let folder = if number % 2 == 0 { "t" } else { "t/d" };
        let bytes: Vec<u8> = (0..length).map(|at| (at * 7 + number * 13 + at / 251) as u8).collect();
        std::fs::write(root.path().join(folder).join(format!("f{number:02}")), bytes).unwrap();
    }
    root
}

fn make(path: &Path, format: Format, piece_length: u64) -> Result<Made, StorageError> {
    let scan = scan(&[path.to_path_buf()], None).unwrap();
    let (name, total) = (scan.name().to_string(), scan.total_length());
    let (paths, source) = scan.split();
    let about = source.about().map(|(length, _)| (length, Attributes::default()));
    let plan = Plan::folder(format, name, paths, about, Some(piece_length)).unwrap();
    let (cancel, done) = (AtomicBool::new(false), AtomicU64::new(0));
    let progress = |bytes| {
        done.fetch_add(bytes, Ordering::Relaxed);
    };
    let made = create(
        source,
        &plan,
        &OpenFiles::new(8),
        Watch { cancel: &cancel, progress: &progress, jobs: None, ended: &|_| {} },
    )?;
    assert_eq!(done.into_inner(), total, "every byte is counted once");
    let (info, layers) = build(plan, made.v1, made.v2, &Options::default()).unwrap();
    Ok(Made { info, layers })
}

fn check_all(made: &Made, folder: &Path) -> Bitfield {
    let place = Place::found(&made.info, folder);
    let layout = made.info.layout().clone();
    let all = Selection::all(&layout);
    let storage = Storage::open(layout, place, all, Mode::ReadOnly, [0; 20], OpenFiles::new(8)).unwrap();
    let watch = Watch { cancel: &AtomicBool::new(false), progress: &|_| {}, jobs: None, ended: &|_| {} };
    check(&storage, &made.info, &made.layers, &Bitfield::full(storage.layout().pieces()), watch).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn what_was_created_checks_and_a_changed_byte_fails_its_piece(
        lengths in prop::collection::vec(prop_oneof![Just(0_usize), 1..100_usize, 10_000..200_000_usize], 1..8),
        log in 14_u32..18,
        at: prop::sample::Index,
    ) {
        prop_assume!(lengths.iter().any(|&length| length > 0));
        let root = tree(&lengths);
        for format in FORMATS {
            let made = make(&root.path().join("t"), format, 1 << log).unwrap();
            prop_assert!(check_all(&made, root.path()).is_full());
            // Any byte of any file.
            let at = at.index(lengths.iter().sum());
            let mut file = 0;
            let mut offset = at as u64;
            while offset >= made.info.layout().file_length(FileIndex(file)) {
                offset -= made.info.layout().file_length(FileIndex(file));
                file += 1;
            }
            let path = Place::found(&made.info, root.path()).path(FileIndex(file));
            let good = std::fs::read(&path).unwrap();
            let mut bad = good.clone();
            bad[offset as usize] ^= 1;
            std::fs::write(&path, &bad).unwrap();
            let wrong: Vec<PieceIndex> = check_all(&made, root.path()).iter_unset().collect();
            let piece = (made.info.layout().file_span(FileIndex(file)).start + offset) >> log;
            prop_assert_eq!(wrong, vec![PieceIndex(piece as u32)]);
            std::fs::write(&path, &good).unwrap();
        }
    }
}

#[test]
fn pieces_larger_than_the_buffer_hash_alike() {
    let root = tree(&[9 << 20, 300_000, 17 << 20]);
    for format in FORMATS {
        let made = make(&root.path().join("t"), format, 8 << 20).unwrap();
        assert!(check_all(&made, root.path()).is_full(), "{format}");
    }
}

#[test]
fn v1_hashes_are_those_of_the_plain_bytes() {
    let root = tree(&[50_000, 70_000]);
    let made = make(&root.path().join("t"), Format::V1, 1 << 15).unwrap();
    let mut bytes = Vec::new();
    for file in 0..2 {
        bytes.extend(std::fs::read(Place::found(&made.info, root.path()).path(FileIndex(file))).unwrap());
    }
    for (piece, part) in bytes.chunks(1 << 15).enumerate() {
        let hashes = made.info.piece_hashes(PieceIndex(piece as u32), &made.layers).unwrap();
        assert_eq!(hashes.v1, Some(shoal_hash::sha1(part)));
    }
}

#[test]
fn zeros_in_a_hole_are_right_and_a_hole_for_data_is_wrong() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("t")).unwrap();
    let path = root.path().join("t/zeros");
    std::fs::write(&path, vec![0; 300_000]).unwrap();
    for format in FORMATS {
        let made = make(&root.path().join("t"), format, 1 << 15).unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::File::create(&path).unwrap().set_len(300_000).unwrap();
        assert!(check_all(&made, root.path()).is_full(), "{format}");
    }
    std::fs::write(&path, vec![1; 300_000]).unwrap();
    let made = make(&root.path().join("t"), Format::Hybrid, 1 << 15).unwrap();
    std::fs::remove_file(&path).unwrap();
    std::fs::File::create(&path).unwrap().set_len(300_000).unwrap();
    assert_eq!(check_all(&made, root.path()).count(), 0);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(check_all(&made, root.path()).count(), 0);
}

#[test]
fn a_file_that_changed_since_the_scan_is_named() {
    let root = tree(&[50_000, 60_000]);
    let scan = scan(&[root.path().join("t")], None).unwrap();
    let (paths, source) = scan.split();
    let about = source.about().map(|(length, _)| (length, Attributes::default()));
    let plan = Plan::folder(Format::V1, "t".into(), paths, about, Some(1 << 15)).unwrap();
    let watch = Watch { cancel: &AtomicBool::new(false), progress: &|_| {}, jobs: None, ended: &|_| {} };
    let hash = || create(source.clone(), &plan, &OpenFiles::new(8), watch);
    assert!(hash().is_ok());
    let path = root.path().join("t/f00");
    let good = std::fs::read(&path).unwrap();
    for changed in [&good[..40_000], &[good.as_slice(), b"more"].concat()] {
        std::fs::write(&path, changed).unwrap();
        assert!(matches!(hash(), Err(StorageError::Changed { path: named }) if named.ends_with("f00")));
    }
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(hash(), Err(StorageError::Missing { .. })));
}

#[test]
fn cancelling_ends_it() {
    let root = tree(&[500_000]);
    let made = make(&root.path().join("t"), Format::V1, 1 << 15).unwrap();
    let place = Place::found(&made.info, root.path());
    let layout = made.info.layout().clone();
    let all = Selection::all(&layout);
    let storage = Storage::open(layout, place, all, Mode::ReadOnly, [0; 20], OpenFiles::new(8)).unwrap();
    let watch = Watch { cancel: &AtomicBool::new(true), progress: &|_| {}, jobs: None, ended: &|_| {} };
    let result = check(&storage, &made.info, &made.layers, &Bitfield::full(storage.layout().pieces()), watch);
    assert!(matches!(result, Err(StorageError::Cancelled)));
}

#[test]
fn a_piece_in_memory_is_judged_by_every_hash_that_is_known() {
    let root = tree(&[100_000, 20_000]);
    for format in FORMATS {
        let made = make(&root.path().join("t"), format, 1 << 16).unwrap();
        let layout = made.info.layout();
        let content = bytes_of(&made, root.path());
        for piece in (0..layout.pieces()).map(PieceIndex) {
            let expected = made.info.piece_hashes(piece, &made.layers).unwrap();
            let held = blocks(layout, piece, &content);
            let verdicts = judge(layout, &[Held { piece, expected: &expected, blocks: &held, digests: true }]);
            assert!(verdicts[0].right, "{format} {piece}");
            assert_eq!(verdicts[0].digests.len(), held.len());
            assert_eq!(verdicts[0].digests[0], shoal_hash::sha256(held[0].1));
            assert!(!piece_matches(layout, piece, &expected, &held[1..]), "a block is missing");
            let mut bad = held.clone();
            let changed: Vec<u8> = bad[0].1.iter().map(|byte| byte ^ 1).collect();
            bad[0].1 = &changed;
            assert!(!piece_matches(layout, piece, &expected, &bad));
            for forged in [
                PieceHashes { v1: expected.v1.map(|_| [0; 20]), ..expected },
                PieceHashes {
                    v2: expected.v2.map(|root| shoal_metainfo::PieceRoot { root: [0; 32], ..root }),
                    ..expected
                },
            ] {
                assert_eq!(piece_matches(layout, piece, &forged, &held), forged == expected);
            }
            assert!(!piece_matches(layout, piece, &PieceHashes { v1: None, v2: None }, &held));
        }
    }
}

/// All bytes of a torrent's address space.
fn bytes_of(made: &Made, folder: &Path) -> Vec<u8> {
    let layout = made.info.layout();
    let mut content = vec![0; layout.total_length() as usize];
    for file in (0..layout.files()).map(FileIndex) {
        let span = layout.file_span(file);
        let bytes = std::fs::read(Place::found(&made.info, folder).path(file)).unwrap();
        content[span.start as usize..span.end as usize].copy_from_slice(&bytes);
    }
    content
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn pieces_judged_together_get_the_verdicts_that_each_gets_alone(
        lengths in prop::collection::vec(1..150_000_usize, 1..6),
        log in 14_u32..18,
        format in 0..3_usize,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..4),
        asked in any::<u32>(),
    ) {
        let root = tree(&lengths);
        let made = make(&root.path().join("t"), FORMATS[format], 1 << log).unwrap();
        let layout = made.info.layout();
        let content = bytes_of(&made, root.path());
        let mut damaged = content.clone();
        for (at, _) in &damage {
            *at.get_mut(&mut damaged) ^= 1;
        }
        let expected: Vec<PieceHashes> =
            (0..layout.pieces()).map(|n| made.info.piece_hashes(PieceIndex(n), &made.layers).unwrap()).collect();
        let mut held: Vec<_> = (0..layout.pieces()).map(|n| blocks(layout, PieceIndex(n), &damaged)).collect();
        // A block may be missing too.
        for (_, at) in damage.iter().take(1) {
            let piece = at.get_mut(&mut held);
            let gone = at.index(piece.len());
            piece.remove(gone);
        }
        let pieces: Vec<_> = (0..).zip(&held).zip(&expected).map(|((n, blocks), expected)| Held {
            piece: PieceIndex(n), expected, blocks, digests: asked >> (n % 32) & 1 == 1,
        }).collect();
        let together = judge(layout, &pieces);
        for (piece, verdict) in pieces.iter().zip(&together) {
            prop_assert_eq!(&judge(layout, std::slice::from_ref(piece))[0], verdict);
            let whole = blocks(layout, piece.piece, &content);
            prop_assert_eq!(verdict.right, piece.blocks == whole);
            let digests: Vec<_> = piece.blocks.iter().map(|(_, bytes)| shoal_hash::sha256(bytes)).collect();
            prop_assert_eq!(&verdict.digests, &if piece.digests { digests } else { Vec::new() });
        }
    }
}
