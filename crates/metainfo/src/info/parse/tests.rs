//! What is read of an info dictionary, what is forgiven, and what is refused.

use crate::{Attributes, Format, Info, InfoHashV1, InfoHashV2, MetainfoError, PieceLayers, Place, Warning};
use shoal_layout::{FileIndex, LayoutError, PieceIndex};

/// A string in bencode.
fn s(text: impl AsRef<[u8]>) -> Vec<u8> {
    let text = text.as_ref();
    [text.len().to_string().as_bytes(), b":", text].concat()
}

/// A dictionary of keys and encoded values, in the order given.
fn d(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = b"d".to_vec();
    for (key, value) in entries {
        bytes.extend(s(key));
        bytes.extend(value);
    }
    bytes.push(b'e');
    bytes
}

fn l(members: &[Vec<u8>]) -> Vec<u8> {
    [b"l", &members.concat()[..], b"e"].concat()
}

fn i(number: i64) -> Vec<u8> {
    format!("i{number}e").into_bytes()
}

fn path(text: &str) -> Vec<u8> {
    l(&text.split('/').map(s).collect::<Vec<_>>())
}

fn listed(name: &str, length: i64) -> Vec<u8> {
    d(&[("length", i(length)), ("path", path(name))])
}

fn padding(length: i64) -> Vec<u8> {
    d(&[("attr", s("p")), ("length", i(length)), ("path", path(".pad/0"))])
}

fn leaf(length: i64) -> Vec<u8> {
    let content = match length {
        0 => d(&[("length", i(0))]),
        _ => d(&[("length", i(length)), ("pieces root", s([7; 32]))]),
    };
    d(&[("", content)])
}

/// A v1 info dictionary with one change: a key's value, or the key taken away.
fn v1(changes: &[(&'static str, Option<Vec<u8>>)]) -> Vec<u8> {
    let files = l(&[listed("a/b", 20_000), listed("c", 5)]);
    change(&[("files", files), ("name", s("n")), ("piece length", i(16_384)), ("pieces", s([1; 40]))], changes)
}

fn v2(changes: &[(&'static str, Option<Vec<u8>>)]) -> Vec<u8> {
    let tree = d(&[("a", d(&[("b", leaf(20_000))])), ("c", leaf(5))]);
    change(&[("file tree", tree), ("meta version", i(2)), ("name", s("n")), ("piece length", i(16_384))], changes)
}

fn hybrid(changes: &[(&'static str, Option<Vec<u8>>)]) -> Vec<u8> {
    let files = l(&[listed("a/b", 20_000), padding(12_768), listed("c", 5)]);
    let mut all = vec![("files", Some(files)), ("pieces", Some(s([1; 60])))];
    all.extend(changes.iter().cloned());
    v2(&all)
}

fn change(entries: &[(&'static str, Vec<u8>)], changes: &[(&'static str, Option<Vec<u8>>)]) -> Vec<u8> {
    let mut map: std::collections::BTreeMap<_, _> = entries.iter().cloned().collect();
    for (key, value) in changes {
        match value {
            Some(value) => map.insert(key, value.clone()),
            None => map.remove(key),
        };
    }
    d(&map.into_iter().collect::<Vec<_>>())
}

fn read(bytes: &[u8]) -> (Info, Vec<Warning>) {
    Info::parse(bytes).unwrap_or_else(|error| panic!("{error}: {}", bytes.escape_ascii()))
}

fn error(bytes: &[u8]) -> MetainfoError {
    Info::parse(bytes).expect_err("it has to be refused")
}

fn paths(info: &Info) -> Vec<String> {
    info.files().map(|file| file.path.joined()).collect()
}

#[test]
fn all_three_formats_are_read() {
    for (bytes, format) in [(v1(&[]), Format::V1), (v2(&[]), Format::V2), (hybrid(&[]), Format::Hybrid)] {
        let (info, warnings) = read(&bytes);
        assert_eq!((info.format(), info.bytes(), info.name()), (format, &bytes[..], "n"));
        assert_eq!(paths(&info), ["a/b", "c"]);
        assert_eq!((info.layout().payload_length(), info.is_single_file(), info.private()), (20_005, false, false));
        assert_eq!(info.layout().file_span(FileIndex(1)).start, if format == Format::V1 { 20_000 } else { 32_768 });
        assert_eq!(warnings, []);
        let hashes = info.hashes();
        assert_eq!(hashes.v1, (format != Format::V2).then(|| InfoHashV1(shoal_hash::sha1(&bytes))));
        assert_eq!(hashes.v2, (format != Format::V1).then(|| InfoHashV2(shoal_hash::sha256(&bytes))));
        assert!(hashes.verify(&bytes));
    }
}

#[test]
fn a_piece_has_the_hashes_that_its_format_gives_it() {
    let hashes = |bytes: &[u8], piece| {
        let (info, _) = read(bytes);
        info.piece_hashes(PieceIndex(piece), &PieceLayers::empty(&info))
    };
    assert_eq!(hashes(&v1(&[]), 1).map(|hashes| (hashes.v1, hashes.v2)), Some((Some([1; 20]), None)));
    assert_eq!(hashes(&v1(&[]), 2), None);
    // The layer of the first file is not known; the second file is shorter than a piece.
    assert_eq!(hashes(&v2(&[]), 0), None);
    let root = hashes(&v2(&[]), 2).unwrap().v2.unwrap();
    assert_eq!((root.root, root.leaves, root.length), ([7; 32], 1, 5));
    let both = hashes(&hybrid(&[]), 2).unwrap();
    assert_eq!((both.v1, both.v2), (Some([1; 20]), Some(root)));
    assert_eq!(hashes(&hybrid(&[]), 0).map(|hashes| hashes.v2), Some(None));
}

#[test]
fn numbers_of_so_count_padding_files() {
    let (info, _) = read(&hybrid(&[]));
    assert_eq!([0, 1, 2, 3].map(|number| info.so_index(number)), [Some(FileIndex(0)), None, Some(FileIndex(1)), None]);
    assert_eq!([0, 1].map(|file| info.so_number(FileIndex(file))), [0, 2]);
    let (info, _) = read(&v2(&[]));
    assert_eq!(info.so_index(1), Some(FileIndex(1)));
    assert_eq!((info.so_index(2), info.so_index(u32::MAX)), (None, None));
}

#[test]
fn single_files_are_called_as_the_torrent() {
    let length = ("length", Some(i(20_005)));
    let (info, _) = read(&v1(&[("files", None), length.clone()]));
    assert!(info.is_single_file());
    assert_eq!(paths(&info), ["n"]);
    let tree = ("file tree", Some(d(&[("n", leaf(20_005))])));
    let (info, _) = read(&v2(std::slice::from_ref(&tree)));
    assert!(info.is_single_file());
    let (info, _) = read(&hybrid(&[tree.clone(), ("files", None), length.clone(), ("pieces", Some(s([1; 40])))]));
    assert!(info.is_single_file());
    // A folder with one file in it.
    let (info, _) = read(&v2(&[("file tree", Some(d(&[("m", leaf(20_005))])))]));
    assert!(!info.is_single_file());
    assert_eq!(error(&hybrid(&[("files", None), length])), MetainfoError::HalvesDiffer { file: 0, what: "path" });
}

#[test]
fn utf8_twins_win_and_bytes_that_are_no_utf8_are_replaced() {
    let twin = d(&[("length", i(20_005)), ("path", l(&[s(b"\xff")])), ("path.utf-8", path("ü"))]);
    let (info, warnings) = read(&v1(&[("name.utf-8", Some(s("日本"))), ("files", Some(l(&[twin])))]));
    assert_eq!((info.name(), paths(&info)), ("日本", vec!["ü".to_owned()]));
    assert_eq!(warnings, []);
    let wild = d(&[("length", i(20_005)), ("path", l(&[s(b"file\xff.foo")])), ("path.utf-8", l(&[s(b"\xff")]))]);
    let (info, warnings) = read(&v1(&[("files", Some(l(&[wild])))]));
    assert_eq!(paths(&info), ["file\u{fffd}.foo"]);
    assert_eq!(warnings, [Warning::NotUtf8 { place: Place::ListedFile(0), key: "path" }]);
}

#[test]
fn padding_is_a_gap_and_no_file() {
    let bitcomet = listed("_____padding_file_0_if you see this file", 100);
    let nameless = d(&[("attr", s("p")), ("length", i(50))]);
    let (info, _) = read(&v1(&[("files", Some(l(&[listed("a", 19_855), bitcomet, nameless, listed("c", 5)])))]));
    assert_eq!(paths(&info), ["a", "c"]);
    assert_eq!(info.layout().file_span(FileIndex(1)), 20_005..20_010);
    assert_eq!(info.so_index(3), Some(FileIndex(1)));
    let tail = l(&[listed("a/b", 20_000), padding(12_768), listed("c", 5), padding(16_379)]);
    let (info, _) = read(&hybrid(&[("files", Some(tail))]));
    assert_eq!((info.layout().total_length(), info.layout().payload_length()), (49_152, 20_005));
}

#[test]
fn attributes_and_links_are_read() {
    let link = d(&[("attr", s("lxh")), ("length", i(9)), ("path", path("l")), ("symlink path", path("../x"))]);
    let (info, warnings) = read(&v1(&[("files", Some(l(&[listed("a", 20_005), link])))]));
    let symlink = Some(vec!["..".to_owned(), "x".to_owned()]);
    let second = info.file(FileIndex(1)).unwrap();
    assert_eq!((second.length, second.attributes), (0, &Attributes { executable: true, hidden: true, symlink }));
    assert_eq!(warnings, [Warning::LinkLength(Place::ListedFile(1))]);
    let wrong = d(&[("attr", s("l")), ("path", path("l")), ("symlink path", l(&[i(4)]))]);
    assert!(matches!(
        error(&v1(&[("files", Some(l(&[listed("a", 20_005), wrong])))])),
        MetainfoError::Wrong { place: Place::ListedFile(1), key: "symlink path", .. }
    ));
    let aimless = d(&[("attr", s("l")), ("path", path("l"))]);
    let (info, warnings) = read(&v1(&[("files", Some(l(&[listed("a", 20_005), aimless])))]));
    assert_eq!(info.file(FileIndex(1)).unwrap().attributes.symlink, None);
    assert_eq!(warnings, [Warning::Ignored { place: Place::ListedFile(1), key: "attr" }]);
}

#[test]
fn private_is_1_and_nothing_else() {
    assert!(read(&v1(&[("private", Some(i(1)))])).0.private());
    assert_eq!(read(&v1(&[("private", Some(i(0)))])).1, []);
    for value in [i(2), s("1"), l(&[])] {
        let (info, warnings) = read(&v1(&[("private", Some(value))]));
        assert!(!info.private());
        assert_eq!(warnings, [Warning::Ignored { place: Place::Info, key: "private" }]);
    }
    assert_eq!(read(&v1(&[("source", Some(s("tracker")))])).0.source(), Some("tracker"));
}

#[test]
fn untidy_v1_is_forgiven_and_told() {
    let unsorted = d(&[
        ("piece length", b"i016384e".to_vec()),
        ("name", s("..")),
        ("pieces", s([1; 20])),
        ("files", l(&[listed("../x", 1), listed("../x", 2), listed("", 3)])),
        ("unknown", i(0)),
    ]);
    let (info, warnings) = read(&unsorted);
    assert_eq!((info.name(), paths(&info)), ("..", vec!["../x".to_owned(), "../x".to_owned(), String::new()]));
    assert_eq!(
        warnings,
        [
            Warning::UnsortedKeys { place: Place::Info, offset: 24 },
            Warning::NotCanonical { place: Place::Info, offset: 16 },
            Warning::UnsafeName(Place::ListedFile(0)),
            Warning::UnsafeName(Place::ListedFile(1)),
            Warning::UnsafeName(Place::ListedFile(2)),
            Warning::UnsafeName(Place::Info),
            Warning::SamePath { place: Place::ListedFile(1) },
        ]
    );
}

#[test]
fn what_has_no_meaning_is_refused_and_said() {
    let missing = |key| MetainfoError::Missing { place: Place::Info, key };
    assert_eq!(error(b"le"), MetainfoError::NoDictionary(Place::Info));
    assert!(matches!(error(b"d4:name"), MetainfoError::Bencode(_)));
    assert!(matches!(error(&[&v1(&[])[..], b"x"].concat()), MetainfoError::Bencode(_)));
    for key in ["name", "piece length", "pieces"] {
        assert_eq!(error(&v1(&[(key, None)])), missing(key));
    }
    assert_eq!(error(&v1(&[("files", None)])), missing("length"));
    assert_eq!(error(&v1(&[("name", Some(i(1)))])), missing("name"));
    for value in [i(0), i(-1), s("16384"), b"i99999999999999999999e".to_vec()] {
        let error = error(&v1(&[("piece length", Some(value))]));
        assert!(matches!(error, MetainfoError::Wrong { key: "piece length", .. }), "{error}");
    }
    let layout = |bytes: &[u8]| match error(bytes) {
        MetainfoError::Layout(error) => error,
        other => panic!("{other}"),
    };
    assert!(matches!(layout(&v1(&[("piece length", Some(i(1 << 30)))])), LayoutError::PieceLength(_)));
    assert!(matches!(layout(&v1(&[("files", Some(l(&[listed("a", 0)])))])), LayoutError::Empty));
    assert!(matches!(layout(&v1(&[("files", Some(l(&[padding(9), listed("a", 0)])))])), LayoutError::Empty));
    assert!(matches!(layout(&v1(&[("files", Some(l(&[listed("a", 1 << 50)])))])), LayoutError::TooManyPieces(_)));
    let twice = l(&[listed("a", i64::MAX), listed("b", 1)]);
    assert!(matches!(layout(&v1(&[("files", Some(twice))])), LayoutError::Overflow { file: 1 }));
    for (hashes, found) in [(0, 0), (39, 39), (60, 60)] {
        let error = error(&v1(&[("pieces", Some(s(vec![1; hashes])))]));
        assert_eq!(error, MetainfoError::HashCount { pieces: 2, found });
    }
    assert!(matches!(error(&v1(&[("pieces", Some(i(1)))])), MetainfoError::Wrong { key: "pieces", .. }));
    assert_eq!(error(&v1(&[("files", Some(l(&[])))])), MetainfoError::NoFiles("files"));
    assert_eq!(error(&v1(&[("files", Some(l(&[padding(9)])))])), MetainfoError::NoFiles("files"));
    assert_eq!(error(&v1(&[("name", Some(s(""))), ("files", None), ("length", Some(i(20_005)))])), missing("name"));
    assert_eq!(error(b"d4:name1:a4:name1:be"), MetainfoError::RepeatedKey { offset: 10 });
}

#[test]
fn wrong_entries_of_the_list_are_refused() {
    let entry = |entry: Vec<u8>| error(&v1(&[("files", Some(l(&[listed("a", 20_000), entry])))]));
    let place = Place::ListedFile(1);
    assert_eq!(entry(i(1)), MetainfoError::NoDictionary(place));
    assert_eq!(entry(d(&[("length", i(5))])), MetainfoError::Missing { place, key: "path" });
    assert_eq!(entry(d(&[("length", i(5)), ("path", l(&[]))])), MetainfoError::Missing { place, key: "path" });
    assert_eq!(entry(d(&[("path", path("a"))])), MetainfoError::Missing { place, key: "length" });
    assert!(matches!(entry(listed("a", -5)), MetainfoError::Wrong { key: "length", .. }));
    assert!(matches!(entry(d(&[("length", i(5)), ("path", s("a"))])), MetainfoError::Wrong { key: "path", .. }));
    assert!(matches!(entry(d(&[("length", i(5)), ("path", l(&[i(1)]))])), MetainfoError::Wrong { key: "path", .. }));
    assert_eq!(entry(listed(&vec!["a"; 101].join("/"), 5)), MetainfoError::Depth(place));
    assert!(Info::parse(&v1(&[("files", Some(l(&[listed(&vec!["a"; 100].join("/"), 20_000)])))])).is_ok());
    let same = l(&vec![listed("a", 200); 101]);
    assert_eq!(error(&v1(&[("files", Some(same))])), MetainfoError::EqualPaths(Place::ListedFile(0)));
}

#[test]
fn wrong_trees_are_refused() {
    let tree = |tree: Vec<u8>| error(&v2(&[("file tree", Some(tree))]));
    let place = Place::TreeFile(0);
    assert_eq!(tree(d(&[])), MetainfoError::NoFiles("file tree"));
    assert_eq!(tree(d(&[("a", d(&[]))])), MetainfoError::NoFiles("file tree"));
    assert!(matches!(tree(l(&[])), MetainfoError::Wrong { key: "file tree", .. }));
    assert_eq!(tree(leaf(5)), MetainfoError::EmptyName(place));
    assert_eq!(tree(d(&[("a", i(1))])), MetainfoError::NoDictionary(place));
    assert_eq!(tree(d(&[("a", d(&[("length", i(5))]))])), MetainfoError::NoDictionary(place));
    assert_eq!(tree(d(&[("a", d(&[("", i(5))]))])), MetainfoError::NoDictionary(place));
    let both = d(&[("", d(&[("length", i(0))])), ("b", leaf(5))]);
    assert_eq!(tree(d(&[("a", both)])), MetainfoError::FileAndFolder(place));
    let content = |content: &[(&str, Vec<u8>)]| tree(d(&[("a", d(&[("", d(content))]))]));
    assert_eq!(content(&[("length", i(5))]), MetainfoError::Missing { place, key: "pieces root" });
    for root in [s([0; 32]), s([1; 31]), i(1)] {
        let error = content(&[("length", i(5)), ("pieces root", root)]);
        assert!(matches!(error, MetainfoError::Wrong { key: "pieces root", .. }));
    }
    assert_eq!(content(&[("pieces root", s([1; 32]))]), MetainfoError::Missing { place, key: "length" });
    assert_eq!(content(&[("attr", s("p")), ("length", i(5))]), MetainfoError::Padding(place));
    let deep = |depth| (0..depth).fold(leaf(5), |inner, _| d(&[("a", inner)]));
    assert!(Info::parse(&v2(&[("file tree", Some(deep(100)))])).is_ok());
    assert_eq!(tree(deep(101)), MetainfoError::Depth(place));
    assert!(matches!(tree(deep(5000)), MetainfoError::Bencode(_)));
}

#[test]
fn versions_and_forms_that_v2_does_not_have_are_refused() {
    assert_eq!(error(&v2(&[("meta version", Some(i(3)))])), MetainfoError::Version(3));
    assert_eq!(error(&v2(&[("file tree", None)])), MetainfoError::Missing { place: Place::Info, key: "file tree" });
    for version in [None, Some(i(1)), Some(s("2"))] {
        let error = error(&v2(&[("meta version", version)]));
        assert!(matches!(error, MetainfoError::Wrong { key: "meta version", .. }), "{error}");
    }
    for length in [8192, 32_767, 49_152] {
        assert_eq!(error(&v2(&[("piece length", Some(i(length)))])), MetainfoError::PieceLength(length));
    }
    let unsorted = d(&[("b", leaf(5)), ("a", leaf(5))]);
    assert!(matches!(error(&v2(&[("file tree", Some(unsorted))])), MetainfoError::NotCanonical { .. }));
    let zeros = v2(&[("piece length", Some(b"i016384e".to_vec()))]);
    assert!(matches!(error(&zeros), MetainfoError::NotCanonical { .. }));
}

#[test]
fn halves_that_differ_are_refused() {
    let differ = |files: &[Vec<u8>]| match error(&hybrid(&[("files", Some(l(files)))])) {
        MetainfoError::HalvesDiffer { file, what } => (file, what),
        other => panic!("{other}"),
    };
    let (a, c) = (listed("a/b", 20_000), listed("c", 5));
    assert_eq!(differ(&[a.clone(), padding(12_768), listed("d", 5)]), (1, "path"));
    assert_eq!(differ(&[listed("a/b", 20_001), padding(12_767), c.clone()]), (0, "length"));
    assert_eq!(differ(&[c.clone(), padding(16_379), a.clone()]), (0, "path"));
    assert_eq!(differ(std::slice::from_ref(&a)), (1, "number of files"));
    assert_eq!(differ(&[a.clone(), padding(12_768), c.clone(), listed("d", 0)]), (2, "number of files"));
    assert_eq!(differ(&[a.clone(), c.clone()]), (1, "alignment"));
    assert_eq!(differ(&[a.clone(), padding(12_768 + 16_384), c.clone()]), (1, "alignment"));
    assert_eq!(differ(&[a.clone(), padding(12_768), c.clone(), padding(20_000)]), (2, "number of pieces"));
    let link = d(&[("attr", s("l")), ("path", path("c")), ("symlink path", path("a"))]);
    let tree = d(&[("a", d(&[("b", leaf(20_000))])), ("c", leaf(0))]);
    let error_of = error(&hybrid(&[("files", Some(l(&[a, link]))), ("file tree", Some(tree))]));
    assert_eq!(error_of, MetainfoError::HalvesDiffer { file: 1, what: "symbolic link" });
    assert_eq!(error(&hybrid(&[("files", None)])), MetainfoError::HalfV1);
    assert_eq!(error(&hybrid(&[("pieces", None)])), MetainfoError::HalfV1);
}

#[test]
fn long_folder_names_cannot_be_multiplied_into_memory() {
    // One name of 64 KiB above 10,000 files would take 640 MiB once it stands in every path.
    let files: Vec<_> = (10_000..20_000).map(|name: u32| (name.to_string(), leaf(5))).collect();
    let files: Vec<_> = files.iter().map(|(name, leaf)| (name.as_str(), leaf.clone())).collect();
    let tree = d(&[("x".repeat(1 << 16).as_str(), d(&files))]);
    assert!(matches!(error(&v2(&[("file tree", Some(tree))])), MetainfoError::Paths(_)));
}

#[test]
fn warnings_are_bounded() {
    let files: Vec<_> = (0..1000).map(|_| listed("..", 20)).collect();
    let unsafe_ones: Vec<_> = files.into_iter().take(90).collect();
    let (_, warnings) = read(&v1(&[("files", Some(l(&unsafe_ones))), ("pieces", Some(s([1; 20])))]));
    assert_eq!(warnings.len(), 51);
    assert_eq!(warnings.last(), Some(&Warning::More(90 + 89 - 50)));
}
