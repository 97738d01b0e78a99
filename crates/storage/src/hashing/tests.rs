//! What the lanes give against what the plain way gives, over layouts, holes and damage of any kind.

use super::lane::{Digest, Kinds, width};
use super::lanes::hash_pieces;
use super::*;
use crate::tests::{content, place};
use proptest::prelude::*;
use shoal_hash::merkle;
use shoal_layout::{BLOCK_LENGTH, Layout, PieceIndex};
use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::sync::atomic::AtomicU64;

/// A piece hashed the plain way.
fn plain(layout: &Layout, piece: PieceIndex, content: &[u8], kinds: Kinds) -> Digest {
    let start = layout.piece_start(piece) as usize;
    let whole = &content[start..start + layout.piece_size(piece) as usize];
    let leaves: Vec<[u8; 32]> =
        whole[..layout.payload_in(piece) as usize].chunks(BLOCK_LENGTH as usize).map(shoal_hash::sha256).collect();
    Digest {
        v1: kinds.v1.then(|| shoal_hash::sha1(whole)),
        v2: kinds.v2.then(|| merkle::root(&leaves, width(layout, piece))),
        collides: false,
    }
}

/// A piece length, files and which of their bytes are zeros that are not written: shares of their length.
type Case = (u64, Vec<(u64, Vec<(u8, u8)>)>);

fn cases() -> impl Strategy<Value = Case> {
    let length = prop_oneof![Just(0_u64), 1..300_u64, 10_000..400_000_u64, 1_000_000..3_000_000_u64];
    let hole = (any::<u8>(), any::<u8>());
    let files = prop::collection::vec((length, prop::collection::vec(hole, 0..4)), 1..9);
    (prop_oneof![(14_u32..23).prop_map(|log| 1 << log), 700_u64..300_000], files)
        .prop_filter("a torrent is not empty", |(_, files)| files.iter().any(|(length, _)| *length > 0))
}

/// The hashes of all pieces of what is on disk, and whether all bytes of files were told.
fn hash(storage: &Storage, pieces: &Bitfield, kinds: Kinds) -> (BTreeMap<PieceIndex, Option<Digest>>, u64) {
    let (found, told) = (Mutex::new(BTreeMap::new()), AtomicU64::new(0));
    let progress = |bytes| {
        told.fetch_add(bytes, Ordering::Relaxed);
    };
    let watch = Watch { cancel: &AtomicBool::new(false), progress: &progress, jobs: None, ended: &|_| {} };
    hash_pieces(storage, pieces, kinds, watch, &|piece, digest| {
        assert!(found.lock().unwrap().insert(piece, digest.ok()).is_none(), "{piece} twice");
        true
    })
    .unwrap();
    (found.into_inner().unwrap(), told.into_inner())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn lanes_give_what_the_plain_way_gives(
        (piece_length, files) in cases(),
        format in 0..3,
        looks_for_collisions: bool,
        wanted in prop::collection::vec(prop::bool::weighted(0.8), 64),
        missing in prop::option::weighted(0.3, any::<prop::sample::Index>()),
    ) {
        let kinds = Kinds { v1: format != 1, v2: format != 0, collisions: format != 1 && looks_for_collisions };
        // v2 pieces are powers of two, and begin where files do.
        let piece_length = if kinds.v2 { piece_length.next_power_of_two().max(1 << 14) } else { piece_length };
        let lengths: Vec<u64> = files.iter().map(|(length, _)| *length).collect();
        let layout = match kinds.v2 {
            true => Layout::aligned(piece_length, &lengths),
            false => Layout::contiguous(piece_length, &lengths),
        }
        .unwrap();
        let root = tempfile::tempdir().unwrap();
        let mut bytes = content(&layout);
        let where_to = place(root.path(), &layout);
        for (file, (length, holes)) in files.iter().enumerate() {
            let start = layout.file_span(FileIndex(file as u32)).start as usize;
            let own = &mut bytes[start..start + *length as usize];
            let at = |share: u8| (*length as usize * share as usize) / 255;
            let mut holes: Vec<_> = holes.iter().map(|&(a, b)| at(a.min(b))..at(a.max(b))).collect();
            holes.iter().for_each(|hole| own[hole.clone()].fill(0));
            holes.sort_by_key(|hole| hole.start);
            let path = where_to.path(FileIndex(file as u32));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            let on_disk = std::fs::File::create(&path).unwrap();
            on_disk.set_len(*length).unwrap();
            let mut written = 0;
            for hole in holes.into_iter().chain(std::iter::once(own.len()..own.len())) {
                if hole.start > written {
                    on_disk.write_all_at(&own[written..hole.start], written as u64).unwrap();
                }
                written = written.max(hole.end);
            }
        }
        let missing = missing.map(|index| FileIndex(index.index(files.len()) as u32));
        if let Some(file) = missing {
            std::fs::remove_file(where_to.path(file)).unwrap();
        }
        let mut pieces = Bitfield::new(layout.pieces());
        let chosen = |piece: &u32| wanted[*piece as usize % wanted.len()];
        (0..layout.pieces()).filter(chosen).for_each(|piece| {
            pieces.set(PieceIndex(piece));
        });
        let all = Selection::all(&layout);
        let storage =
            Storage::open(layout.clone(), where_to, all, Mode::ReadOnly, [7; 20], OpenFiles::new(2)).unwrap();
        let (found, told) = hash(&storage, &pieces, kinds);
        prop_assert_eq!(told, pieces.iter_set().map(|piece| u64::from(layout.payload_in(piece))).sum::<u64>());
        prop_assert_eq!(found.len() as u32, pieces.count());
        for (piece, digest) in found {
            let is_lost = missing.is_some_and(|lost| layout.files_in(piece).any(|file| file == lost));
            let expected = (!is_lost).then(|| plain(&layout, piece, &bytes, kinds));
            prop_assert_eq!(digest, expected, "{} of {}", piece, layout.pieces());
        }
    }
}
