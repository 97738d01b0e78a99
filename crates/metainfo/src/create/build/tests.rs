//! Canonical dictionaries: their exact bytes, and that we and libtorrent read in them what was meant.

use super::*;
use crate::create::{piece_length_for, piece_length_of};
use crate::{FilePath, FilePaths, Torrent};
use proptest::prelude::*;
use shoal_layout::{BLOCK_LENGTH, BlockRef, PieceIndex};
use std::process::Command;
use std::sync::Arc;

/// Bytes of a file, some of its own.
fn content(seed: u32, length: u64) -> Vec<u8> {
    (0..length).map(|at| (at / 7 + u64::from(seed) * 31) as u8).collect()
}

/// Makes a torrent of these files as the commands do.
fn make(plan: &Plan, options: &Options) -> Torrent {
    let layout = plan.layout();
    let lengths = (0..layout.files()).map(|file| layout.file_length(FileIndex(file)));
    let contents: Vec<_> = plan.given().iter().zip(lengths).map(|(&seed, length)| content(seed, length)).collect();
    let mut v1 = Vec::new();
    for piece in (0..layout.pieces()).map(PieceIndex).filter(|_| plan.format() != Format::V2) {
        let mut bytes = Vec::new();
        for slice in layout.slices(BlockRef { piece, begin: 0, length: layout.piece_size(piece) }) {
            let zeros = vec![0; slice.length as usize];
            let start = slice.offset as usize;
            bytes.extend(
                slice.file.map_or(&zeros[..], |file| &contents[file.as_usize()][start..start + slice.length as usize]),
            );
        }
        v1.push(shoal_hash::sha1(&bytes));
    }
    let piece_length = layout.piece_length() as usize;
    let mut v2 = Vec::new();
    for bytes in contents.iter().filter(|_| plan.format() != Format::V1) {
        v2.extend(bytes.chunks(piece_length).map(|piece| {
            let mut leaves = Vec::new();
            shoal_hash::sha256_leaves(piece, &mut leaves);
            let width = if bytes.len() <= piece_length { leaves.len() } else { piece_length / BLOCK_LENGTH as usize };
            shoal_hash::merkle::root(&leaves, width.next_power_of_two())
        }));
    }
    let (info, layers) = build(plan.clone(), v1, v2, options).unwrap();
    Torrent::new(Arc::new(info), layers)
}

fn path(text: &str) -> Vec<String> {
    text.split('/').map(str::to_owned).collect()
}

fn folder(format: Format, files: &[(&str, u64)], piece_length: Option<u64>) -> Result<Plan, CreateError> {
    let about = files.iter().map(|&(_, length)| (length, Attributes::default()));
    Plan::folder(format, "root".to_owned(), paths(files.iter().map(|(name, _)| *name)), about, piece_length)
}

fn paths<'a>(names: impl IntoIterator<Item = &'a str>) -> FilePaths {
    let mut paths = FilePaths::new();
    names.into_iter().for_each(|name| paths.push(path(name)).unwrap());
    paths
}

/// Files that meet every rule: deep folders, empty files at both ends, one longer than a piece, scripts, an order by
/// components that is not that of joined paths (`a.b` comes after `a/b`).
const TREE: [(&str, u64); 8] = [
    ("zz/last empty", 0),
    ("a.b", 3),
    ("a/b/c", 40_000),
    ("a/b/b", 16_384),
    ("a/0 empty", 0),
    ("ελληνικά/日本語", 70_001),
    ("ß", 1),
    ("a-", 100),
];

#[test]
fn piece_lengths_follow_the_rule() {
    const KIB: u64 = 1024;
    for (total, length) in [
        (0, 16 * KIB),
        (2000 * 16 * KIB, 16 * KIB),
        (2000 * 16 * KIB + 1, 32 * KIB),
        (2000 * 8192 * KIB + 1, 16_384 * KIB),
        (u64::MAX, 16_384 * KIB),
    ] {
        assert_eq!(piece_length_for(total), length, "{total}");
    }
}

/// The piece length that is chosen for files of these lengths.
fn chosen(format: Format, lengths: &[u64]) -> u64 {
    let names: Vec<String> = (0..lengths.len()).map(|number| format!("{number:07}")).collect();
    let files: Vec<(&str, u64)> = names.iter().map(String::as_str).zip(lengths.iter().copied()).collect();
    u64::from(folder(format, &files, None).unwrap().layout().piece_length())
}

#[test]
fn many_small_files_get_pieces_of_their_size_in_a_hybrid() {
    const KIB: u64 = 1024;
    let small = vec![40 * KIB; 20_000];
    assert_eq!(chosen(Format::V1, &small), 512 * KIB);
    assert_eq!(chosen(Format::V2, &small), 512 * KIB);
    assert_eq!(chosen(Format::Hybrid, &small), 64 * KIB);
    // One large file beside them does not bring the padding back.
    let mixed = [small, vec![4000 * 1024 * KIB]].concat();
    assert_eq!(chosen(Format::V1, &mixed), 4096 * KIB);
    assert_eq!(chosen(Format::Hybrid, &mixed), 512 * KIB);
    // Few files, and those of some size, have the rule that all have.
    for lengths in [vec![40_000 * KIB], vec![700 * KIB; 900], vec![5000 * KIB; 2500]] {
        assert_eq!(chosen(Format::Hybrid, &lengths), chosen(Format::V1, &lengths));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn the_padding_of_a_hybrid_is_less_than_four_times_its_data(
        few in prop::collection::vec(0_u64..1 << 34, 0..4), size in 0_u64..1 << 17, count in 1_usize..5000,
    ) {
        let lengths: Vec<u64> = few.into_iter().chain((0..count).map(|n| (n as u64 * 7919) % (size + 1) + 1)).collect();
        let total: u64 = lengths.iter().sum();
        let length = piece_length_of(Format::Hybrid, &lengths, total);
        let padding: u64 = lengths.iter().map(|file| file.next_multiple_of(length) - file).sum();
        prop_assert!(length == 16_384 || padding < 4 * total, "{padding} of padding, {total} bytes in pieces of {length}");
        prop_assert!(length <= piece_length_for(total));
    }
}

#[test]
fn a_dictionary_is_exactly_this() {
    let plan = Plan::file(Format::Hybrid, "f".to_owned(), 3, Attributes::default(), None).unwrap();
    let torrent = make(&plan, &Options { private: true, source: Some("s".to_owned()) });
    let data = content(0, 3);
    let mut expected = b"d9:file treed1:fd0:d6:lengthi3e11:pieces root32:".to_vec();
    expected.extend(shoal_hash::sha256(&data));
    expected.extend(b"eee6:lengthi3e12:meta versioni2e4:name1:f12:piece lengthi16384e6:pieces20:");
    expected.extend(shoal_hash::sha1(&data));
    expected.extend(b"7:privatei1e6:source1:se");
    assert_eq!(torrent.info.bytes(), expected);
}

#[test]
fn the_order_in_which_files_are_given_does_not_matter() {
    for format in [Format::V1, Format::V2, Format::Hybrid] {
        let sizes = |tree: &[(&str, u64)]| -> Vec<(Vec<String>, u64)> {
            let plan = folder(format, tree, None).unwrap();
            let lengths = (0..).map(|file| plan.layout().file_length(FileIndex(file)));
            plan.paths().iter().map(FilePath::to_vec).zip(lengths).collect()
        };
        let mut reversed = TREE;
        reversed.reverse();
        assert_eq!(sizes(&TREE), sizes(&reversed));
        let order: Vec<_> = sizes(&TREE).into_iter().map(|(path, _)| path.join("/")).collect();
        assert_eq!(order, ["a/0 empty", "a/b/b", "a/b/c", "a-", "a.b", "zz/last empty", "ß", "ελληνικά/日本語"]);
    }
}

#[test]
fn what_was_made_is_read_as_it_was_meant() {
    for format in [Format::V1, Format::V2, Format::Hybrid] {
        let plan = folder(format, &TREE, Some(32_768)).unwrap();
        let torrent = make(&plan, &Options::default());
        assert_eq!(torrent.info.format(), format);
        assert_eq!(torrent.info.layout(), plan.layout());
        assert!(torrent.layers.is_complete(&torrent.info));
        let read = Torrent::parse(&torrent.to_bytes()).unwrap();
        assert_eq!(read, torrent);
        assert!(read.info.files().map(|file| file.path).eq(plan.paths().iter()));
        for piece in (0..plan.layout().pieces()).map(PieceIndex) {
            let hashes = read.info.piece_hashes(piece, &read.layers).unwrap();
            assert_eq!((hashes.v1.is_some(), hashes.v2.is_some()), (format != Format::V2, format != Format::V1));
        }
    }
}

#[test]
fn attributes_are_kept() {
    let link = Attributes { symlink: Some(path("a/b")), ..Attributes::default() };
    let run = Attributes { executable: true, hidden: true, symlink: None };
    for format in [Format::V1, Format::V2, Format::Hybrid] {
        let about = vec![(5, run.clone()), (9, link.clone())];
        let plan = Plan::folder(format, "root".to_owned(), paths(["a/b", "l"]), about, None).unwrap();
        let torrent = make(&plan, &Options::default());
        let [first, second] = [0, 1].map(|file| torrent.info.file(FileIndex(file)).unwrap());
        assert_eq!(first.attributes, &run);
        assert_eq!((second.length, second.attributes), (0, &link));
        assert_eq!(Torrent::parse(&torrent.to_bytes()).unwrap(), torrent);
        let plan = Plan::file(format, "f".to_owned(), 5, run.clone(), None).unwrap();
        let torrent = make(&plan, &Options::default());
        assert_eq!(torrent.info.files().next().unwrap().attributes, &run);
        assert_eq!(Torrent::parse(&torrent.to_bytes()).unwrap(), torrent);
    }
}

#[test]
fn a_folder_of_one_file_called_as_the_folder_is_what_a_reader_takes_it_for() {
    for (format, single) in [(Format::V1, false), (Format::V2, true), (Format::Hybrid, false)] {
        let torrent = make(&folder(format, &[("root", 5)], None).unwrap(), &Options::default());
        assert_eq!(torrent.info.is_single_file(), single);
        assert_eq!(Torrent::parse(&torrent.to_bytes()).unwrap(), torrent);
    }
}

#[test]
fn what_makes_no_torrent_is_an_error() {
    let plan = |files: &[(&str, u64)]| folder(Format::Hybrid, files, None).unwrap_err();
    assert_eq!(plan(&[("a", 1), ("b", 2), ("a/c", 1)]), CreateError::Clash { first: 0, second: 2 });
    assert_eq!(plan(&[("a", 1), ("a", 1)]), CreateError::Clash { first: 0, second: 1 });
    for name in ["a//b", "..", "a/./b", "a\0"] {
        assert!(matches!(plan(&[(name, 1)]), CreateError::Name { .. }), "{name}");
    }
    assert!(matches!(plan(&[("a", 0)]), CreateError::Layout(_)));
    assert!(matches!(plan(&[]), CreateError::Layout(_)));
    assert!(matches!(plan(&[("a", u64::MAX), ("b", 2)]), CreateError::Layout(_)));
    let deep = vec!["d"; 101].join("/");
    assert_eq!(plan(&[(&deep, 1)]), CreateError::Depth { given: 0, depth: 101 });
    for length in [0, 8192, 20_000, 1 << 30] {
        let error = folder(Format::V1, &TREE, Some(length)).unwrap_err();
        assert_eq!(error, CreateError::PieceLength(length));
    }
    let whole = folder(Format::V1, &TREE, None).unwrap();
    let error = build(whole, vec![], vec![], &Options::default()).unwrap_err();
    assert_eq!(error, CreateError::Hashes { expected: 8, found: 0 });
}

#[test]
#[expect(clippy::disallowed_methods, reason = "another program reads what is written here")]
fn libtorrent_reads_the_same_torrent() {
    let script = "
import sys
try:
    import libtorrent as lt
except ImportError:
    print('missing'); sys.exit()
for name in sys.argv[1:]:
    ti = lt.torrent_info(name)
    ih, fs = ti.info_hashes(), ti.files()
    files = [i for i in range(fs.num_files()) if not fs.file_flags(i) & lt.file_storage.flag_pad_file]
    print(ih.v1 if ih.has_v1() else '-', ih.v2 if ih.has_v2() else '-', ti.num_pieces(),
          ','.join('%d' % fs.file_size(i) for i in files), '|'.join(fs.file_path(i) for i in files))
";
    let dir = tempfile::tempdir().unwrap();
    let mut expected = Vec::new();
    let mut names = Vec::new();
    for format in [Format::V1, Format::V2, Format::Hybrid] {
        let single = Plan::file(format, "one".to_owned(), 50_000, Attributes::default(), None).unwrap();
        for plan in [folder(format, &TREE, Some(32_768)).unwrap(), folder(format, &TREE, None).unwrap(), single] {
            let torrent = make(&plan, &Options { private: true, source: Some("x".to_owned()) });
            let name = dir.path().join(names.len().to_string());
            std::fs::write(&name, torrent.to_bytes()).unwrap();
            names.push(name);
            let hashes = torrent.info.hashes();
            let root = if plan.is_single_file() { "" } else { "root/" };
            expected.push(format!(
                "{} {} {} {} {}",
                hashes.v1.map_or("-".to_owned(), |hash| hash.to_string()),
                hashes.v2.map_or("-".to_owned(), |hash| hash.to_string()),
                plan.layout().pieces(),
                torrent.info.files().map(|file| file.length.to_string()).collect::<Vec<_>>().join(","),
                plan.paths().iter().map(|path| root.to_owned() + &path.joined()).collect::<Vec<_>>().join("|"),
            ));
        }
    }
    let output = Command::new("/usr/bin/python3").arg("-c").arg(script).args(&names).output();
    let output = output.map(|output| String::from_utf8(output.stdout).unwrap()).unwrap_or("missing".to_owned());
    if output.trim() == "missing" {
        eprintln!("skipped: /usr/bin/python3 has no module libtorrent");
        return;
    }
    assert_eq!(output.lines().collect::<Vec<_>>(), expected);
}

proptest! {
    #[test]
    fn any_files_make_a_torrent_that_reads_back(
        tree in prop::collection::btree_map("[a-c]{1,2}(/[a-c.]{3}){0,3}", 0..100_000_u64, 1..8),
        kind in 0..3_usize,
        piece_length in prop::sample::select(vec![16_384_u64, 65_536]),
    ) {
        let format = [Format::V1, Format::V2, Format::Hybrid][kind];
        let files: Vec<(&str, u64)> = tree.iter().map(|(path, length)| (path.as_str(), *length)).collect();
        if let Ok(plan) = folder(format, &files, Some(piece_length)) {
            let torrent = make(&plan, &Options::default());
            prop_assert_eq!(Torrent::parse(&torrent.to_bytes()).unwrap(), torrent);
        }
    }
}
