//! Storage against a model of one run of bytes, and what it refuses.

use super::*;
use crate::{Finish, Resumed};
use proptest::prelude::*;
use shoal_pieces::Bitfield;
use std::os::unix::fs::symlink;

fn layouts() -> impl Strategy<Value = Layout> {
    let length = prop_oneof![Just(0), 1..50_u64, 1_000..40_000_u64, Just(BLOCK), Just(2 * BLOCK)];
    (prop::collection::vec(length, 1..8), prop::sample::select(vec![16_u64, 1000, BLOCK, 2 * BLOCK]), any::<bool>())
        .prop_filter_map("a torrent of at most 500 pieces", |(lengths, piece_length, aligned)| {
            let make = if aligned { Layout::aligned } else { Layout::contiguous };
            make(piece_length, &lengths).ok().filter(|layout| layout.pieces() <= 500)
        })
}

#[derive(Debug, Clone)]
enum Step {
    Write(prop::sample::Index),
    Select(u8),
    Reopen(u8),
    Sync,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => any::<prop::sample::Index>().prop_map(Step::Write),
        1 => any::<u8>().prop_map(Step::Select),
        1 => any::<u8>().prop_map(Step::Reopen),
        1 => Just(Step::Sync),
    ];
    prop::collection::vec(step, 1..25)
}

fn bits(layout: &Layout, pieces: &std::collections::BTreeSet<u32>) -> Bitfield {
    let mut bits = Bitfield::new(layout.pieces());
    for &piece in pieces {
        bits.set(PieceIndex(piece));
    }
    bits
}

fn chosen(layout: &Layout, mask: u8) -> Selection {
    Selection::by(layout, |file| mask >> (file.0 % 8) & 1 == 1)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn whatever_was_written_is_read_back_under_any_selection(layout in layouts(), mask: u8, steps in steps()) {
        let folder = tempfile::tempdir().unwrap();
        let content = content(&layout);
        let mut selection = chosen(&layout, mask);
        let mut ever: Vec<bool> = (0..layout.files()).map(|file| selection.file(FileIndex(file))).collect();
        let mut storage = open(folder.path(), &layout, selection.clone(), Mode::ReadWrite);
        let mut written = std::collections::BTreeSet::new();
        for step in steps {
            match step {
                Step::Write(index) => {
                    let piece = index.index(layout.pieces() as usize) as u32;
                    if selection.piece(&layout, PieceIndex(piece)) {
                        write(&storage, piece, &content).unwrap();
                        written.insert(piece);
                    }
                }
                Step::Select(mask) => {
                    selection = chosen(&layout, mask);
                    storage.select(selection.clone(), &bits(&layout, &written), true).unwrap();
                }
                Step::Reopen(mask) => {
                    let same = chosen(&layout, mask) == selection;
                    selection = chosen(&layout, mask);
                    drop(storage);
                    storage = open(folder.path(), &layout, selection.clone(), Mode::ReadWrite);
                    // The check that a new selection costs.
                    let right = |piece: &u32| read(&storage, *piece).is_ok_and(|found| found == piece_of(&layout, *piece, &content));
                    let before = written.len();
                    written.retain(right);
                    prop_assert!(!same || before == written.len());
                    storage.prepare(&bits(&layout, &written), &Resumed::nothing(&storage), true).unwrap();
                }
                Step::Sync => storage.sync().unwrap(),
            }
            for (file, ever) in ever.iter_mut().enumerate() {
                *ever |= selection.file(FileIndex(file as u32));
                prop_assert!(*ever || !storage.path(FileIndex(file as u32)).exists(), "file {} was never wanted", file);
            }
            for &piece in &written {
                prop_assert_eq!(read(&storage, piece).unwrap(), piece_of(&layout, piece, &content));
                let whole = BlockRef { piece: PieceIndex(piece), begin: 0, length: layout.piece_size(PieceIndex(piece)) };
                let mut buffer = vec![0xee; whole.length as usize];
                if storage.read_cached(whole, &mut buffer) {
                    prop_assert_eq!(&buffer[..], piece_of(&layout, piece, &content));
                }
            }
        }
        for piece in (0..layout.pieces()).filter(|&piece| selection.piece(&layout, PieceIndex(piece))) {
            write(&storage, piece, &content).unwrap();
        }
        for file in (0..layout.files()).filter(|&file| selection.file(FileIndex(file)) && layout.file_length(FileIndex(file)) > 0) {
            prop_assert_eq!(std::fs::read(storage.path(FileIndex(file))).unwrap(), file_of(&layout, file, &content));
        }
        prop_assert!(storage.part().is_empty() || storage.part().pieces().iter().all(|piece| piece.0 < layout.pieces()));
    }
}

fn prepare(storage: &Storage, overwrite: bool) -> Result<(), StorageError> {
    let have = Bitfield::new(storage.layout().pieces());
    storage.prepare(&have, &Resumed::nothing(storage), overwrite)
}

#[test]
fn nothing_is_created_before_the_first_write() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("deep/output");
    let layout = Layout::contiguous(BLOCK, &[100, 0, 40_000]).unwrap();
    let storage = open(&output, &layout, Selection::all(&layout), Mode::ReadWrite);
    prepare(&storage, false).unwrap();
    assert!(!folder.path().join("deep").exists());
    assert!(matches!(read(&storage, 0), Err(StorageError::Missing { .. })));
    write(&storage, 1, &content(&layout)).unwrap();
    assert!(!storage.path(FileIndex(0)).exists(), "piece 1 has no byte of it");
    storage.sync().unwrap();
    assert!(matches!(read(&storage, 2), Err(StorageError::Short { .. })));
}

#[test]
fn a_file_that_is_not_ours_is_refused_until_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::contiguous(BLOCK, &[100, 40_000]).unwrap();
    let content = content(&layout);
    let storage = open(folder.path(), &layout, Selection::all(&layout), Mode::ReadWrite);
    std::fs::create_dir_all(storage.path(FileIndex(1)).parent().unwrap()).unwrap();
    std::fs::write(storage.path(FileIndex(1)), "my notes").unwrap();
    let refused = prepare(&storage, false).unwrap_err();
    assert!(matches!(&refused, StorageError::Foreign { path } if path.ends_with("t/d1/f1")), "{refused}");
    prepare(&storage, true).unwrap();
    // One valid piece makes it ours.
    let mut have = Bitfield::new(layout.pieces());
    have.set(PieceIndex(2));
    storage.prepare(&have, &Resumed::nothing(&storage), false).unwrap();
    // Longer is refused, and cut when overwritten.
    let mut long = file_of(&layout, 1, &content).to_vec();
    long.push(1);
    std::fs::write(storage.path(FileIndex(1)), long).unwrap();
    assert!(matches!(prepare(&storage, false), Err(StorageError::Long { length: 40_001, expected: 40_000, .. })));
    prepare(&storage, true).unwrap();
    assert_eq!(std::fs::read(storage.path(FileIndex(1))).unwrap(), file_of(&layout, 1, &content));
}

#[test]
fn planted_links_are_refused_and_their_targets_untouched() {
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().join("precious");
    std::fs::write(&target, "precious").unwrap();
    let layout = Layout::contiguous(BLOCK, &[40_000]).unwrap();
    let content = content(&layout);
    // The link stands for the file, for the folder, for the torrent's folder, and for the part file.
    for planted in ["t/d0/f0", "t/d0", "t"] {
        let folder = tempfile::tempdir().unwrap();
        let storage = open(folder.path(), &layout, Selection::all(&layout), Mode::ReadWrite);
        let link = folder.path().join(planted);
        std::fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(if planted.ends_with("f0") { &target } else { outside.path() }, &link).unwrap();
        assert!(matches!(prepare(&storage, true), Err(StorageError::Link { .. })), "{planted}");
        assert!(matches!(write(&storage, 0, &content), Err(StorageError::Link { .. })), "{planted}");
        assert!(matches!(read(&storage, 0), Err(StorageError::Link { .. })), "{planted}");
    }
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::contiguous(BLOCK, &[100, 100]).unwrap();
    let storage = open(folder.path(), &layout, chosen(&layout, 1), Mode::ReadWrite);
    symlink(&target, storage.part().full_path()).unwrap();
    assert!(matches!(write(&storage, 0, &content), Err(StorageError::Link { .. })));
    let place = place(folder.path(), &layout);
    let again = Storage::open(layout.clone(), place, chosen(&layout, 1), Mode::ReadWrite, [7; 20], OpenFiles::new(2));
    assert!(matches!(again, Err(StorageError::Link { .. })));
    assert_eq!(std::fs::read(&target).unwrap(), b"precious");
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
}

#[test]
fn the_part_file_goes_when_nothing_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::contiguous(BLOCK, &[100, 40_000]).unwrap();
    let content = content(&layout);
    let storage = open(folder.path(), &layout, chosen(&layout, 1), Mode::ReadWrite);
    write(&storage, 0, &content).unwrap();
    let part = storage.part().full_path();
    assert!(part.exists() && !storage.path(FileIndex(1)).exists());
    storage.select(Selection::all(&layout), &Bitfield::new(layout.pieces()), false).unwrap();
    let exported = std::fs::read(storage.path(FileIndex(1))).unwrap();
    assert_eq!(exported, &file_of(&layout, 1, &content)[..BLOCK as usize - 100]);
    for piece in 1..layout.pieces() {
        write(&storage, piece, &content).unwrap();
    }
    let info = info_of(&layout);
    storage.finish(&info, Finish::default()).unwrap();
    assert!(!part.exists());
    assert_eq!(std::fs::read(storage.path(FileIndex(1))).unwrap(), file_of(&layout, 1, &content));
}

#[test]
fn a_full_disk_is_told_before_it_is_full() {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::contiguous(512 << 20, &[1 << 50]).unwrap();
    let storage = open(folder.path(), &layout, Selection::all(&layout), Mode::ReadWrite);
    let Err(StorageError::NoSpace { missing_bytes, .. }) = prepare(&storage, false) else { panic!("a pebibyte fits?") };
    let space = storage.space().unwrap();
    assert!(missing_bytes > 0 && space.needed == 1 << 50);
}

#[test]
fn what_is_on_disk_already_needs_no_room() {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::contiguous(BLOCK, &[8 * BLOCK]).unwrap();
    let storage = open(folder.path(), &layout, Selection::all(&layout), Mode::ReadWrite);
    assert_eq!(storage.space().unwrap().needed, 8 * BLOCK);
    write(&storage, 7, &content(&layout)).unwrap();
    storage.sync().unwrap();
    assert_eq!(storage.space().unwrap().needed, 7 * BLOCK, "the rest of the file is a hole");
}

#[test]
fn reading_only_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::contiguous(BLOCK, &[100]).unwrap();
    let storage = open(folder.path(), &layout, Selection::all(&layout), Mode::ReadOnly);
    assert!(matches!(write(&storage, 0, &content(&layout)), Err(StorageError::ReadOnly { .. })));
    assert!(storage.problems().iter().all(|(_, error)| matches!(error, StorageError::Missing { .. })));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn thousands_of_files_need_few_descriptors() {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::contiguous(BLOCK, &[100; 2000]).unwrap();
    let content = content(&layout);
    let files = OpenFiles::new(4);
    let all = Selection::all(&layout);
    let place = place(folder.path(), &layout);
    let storage = Storage::open(layout.clone(), place, all, Mode::ReadWrite, [1; 20], files).unwrap();
    let open_now = || {
        std::fs::read_dir("/proc/self/fd")
            .unwrap()
            .filter(|entry| {
                let target = entry.as_ref().unwrap().path().read_link();
                target.is_ok_and(|target| target.starts_with(folder.path()))
            })
            .count()
    };
    for piece in 0..layout.pieces() {
        write(&storage, piece, &content).unwrap();
        assert!(open_now() <= 5);
    }
    storage.sync().unwrap();
    assert_eq!(read(&storage, 3).unwrap(), piece_of(&layout, 3, &content));
    drop(storage);
    assert_eq!(open_now(), 0);
}

#[test]
fn empty_files_and_modes_come_at_the_end() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::contiguous(BLOCK, &[100, 0]).unwrap();
    let storage = open(folder.path(), &layout, Selection::all(&layout), Mode::ReadWrite);
    write(&storage, 0, &content(&layout)).unwrap();
    let info = info_of(&layout);
    storage.finish(&info, Finish::default()).unwrap();
    assert_eq!(std::fs::metadata(storage.path(FileIndex(1))).unwrap().len(), 0);
    let mode = std::fs::metadata(storage.path(FileIndex(0))).unwrap().permissions().mode();
    assert_eq!(mode & 0o111, (mode & 0o444) >> 2, "the test torrent's files are executable");
    assert!(storage.problems().is_empty());
}

/// A v1 torrent of executable files with this layout; its hashes are of nothing.
fn info_of(layout: &Layout) -> shoal_metainfo::Info {
    let mut files = String::new();
    for file in 0..layout.files() {
        let length = layout.file_length(FileIndex(file));
        let name = format!("f{file}");
        files += &format!("d4:attr1:x6:lengthi{length}e4:pathl{}:{name}ee", name.len());
    }
    let pieces = layout.pieces() as usize * 20;
    let hashes = "x".repeat(pieces);
    let text =
        format!("d5:filesl{files}e4:name1:t12:piece lengthi{}e6:pieces{pieces}:{hashes}e", layout.piece_length());
    shoal_metainfo::Info::parse(text.as_bytes()).unwrap().0
}
