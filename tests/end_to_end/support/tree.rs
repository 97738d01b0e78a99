//! Trees of files to share: the same seed gives the same tree, with what breaks programs in it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// SplitMix64 (Steele, Lea, Flood, 2014): enough to fill files.
struct Bytes(u64);

impl Bytes {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn take(&mut self, n: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(n + 8);
        while bytes.len() < n {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(n);
        bytes
    }
}

/// `n` bytes that no compression helps, the same for the same seed.
pub(crate) fn bytes(seed: u64, n: usize) -> Vec<u8> {
    Bytes(seed).take(n)
}

/// Files at the edges of blocks (16 KiB) and of the pieces of the tests (16 and 32 KiB), empty ones first and last, deep
/// folders, names in many scripts. About 1.6 MiB.
const FILES: [(&str, usize); 25] = [
    ("000 empty first", 0),
    ("a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/deep", 70_001),
    ("a/b/c/empty between", 0),
    ("block", 16_384),
    ("block and one", 16_385),
    ("block less one", 16_383),
    ("one byte", 1),
    ("piece", 32_768),
    ("two pieces less one", 65_535),
    ("large", 700_000),
    ("Ελληνικά/αρχείο", 40_000),
    ("Русский/файл.txt", 50_000),
    ("עברית", 3),
    ("العربية/ملف", 17_000),
    ("हिन्दी", 20_000),
    ("ไทย", 33_000),
    ("中文/文件.bin", 100_000),
    ("日本語/ファイル", 16_384),
    ("한국어", 9),
    ("café", 5_000),
    ("nai\u{308}ve", 6_000),
    ("🐟🐠/🦈", 123_456),
    ("spaces  and 'quotes' & $(signs) %41;x", 12_345),
    (".hidden/.file", 7),
    ("zzz empty last", 0),
];

/// Writes the tree of awkward files as `parent/name` and returns that path.
pub(crate) fn awkward(parent: &Path, name: &str, seed: u64) -> PathBuf {
    let root = parent.join(name);
    let mut bytes = Bytes(seed);
    for (path, length) in FILES {
        let file = root.join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, bytes.take(length)).unwrap();
    }
    root
}

/// Writes one file of `length` bytes as `parent/name` and returns its path.
pub(crate) fn file(parent: &Path, name: &str, seed: u64, length: usize) -> PathBuf {
    fs::create_dir_all(parent).unwrap();
    let path = parent.join(name);
    fs::write(&path, bytes(seed, length)).unwrap();
    path
}

/// Every file below `root` with its contents, by path relative to it; `root` itself if it is a file. Other clients' padding
/// files and control files are left out.
pub(crate) fn contents(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    fn walk(root: &Path, at: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
        if at.is_file() {
            found.insert(at.strip_prefix(root).unwrap().to_owned(), fs::read(at).unwrap());
            return;
        }
        for entry in fs::read_dir(at).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.file_name().is_some_and(|n| n != ".pad") {
                walk(root, &path, found);
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(root, root, &mut found);
    found
}

/// Removes every empty file below `root`.
pub(crate) fn remove_empty(root: &Path) {
    for (path, _) in contents(root).iter().filter(|(_, bytes)| bytes.is_empty()) {
        fs::remove_file(root.join(path)).unwrap();
    }
}

/// Whether two trees, or two files, hold the same paths and bytes.
pub(crate) fn same(a: &Path, b: &Path) -> bool {
    contents(a) == contents(b)
}

/// Panics with the first difference between two trees.
#[track_caller]
pub(crate) fn assert_same(a: &Path, b: &Path) {
    let (left, right) = (contents(a), contents(b));
    assert!(left.keys().eq(right.keys()), "different files: {:#?} and {:#?}", left.keys(), right.keys());
    for (path, bytes) in &left {
        assert!(right[path] == *bytes, "{} differs", path.display());
    }
}
