//! Where a torrent's bytes are on a web seed: which URL, which ranges (BEP 19).
//!
//! A single file is at the URL itself, or below it under the torrent's name if the URL ends in a slash; the files of a
//! folder are below it under the torrent's name and their path. Padding is no file and is never asked for.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use shoal_layout::{BlockRef, FileIndex, Layout};
use shoal_metainfo::Info;

/// What is escaped in a path's component: all but RFC 3986's unreserved characters, which every server decodes alike.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A run of bytes of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileRange {
    /// The file.
    pub file: FileIndex,
    /// First byte in it.
    pub first: u64,
    /// Bytes, never 0.
    pub length: u64,
}

/// The URL of a file on the web seed at `base`. `None` if its path has a component that no URL can hold: empty, `.` or
/// `..`, which a server or a proxy would resolve to another file.
pub fn file_url(base: &str, info: &Info, file: FileIndex) -> Option<String> {
    // A fragment is not sent (RFC 9110, section 4.1).
    let base = base.split('#').next().unwrap_or_default();
    let below = base.ends_with('/');
    if info.is_single_file() {
        return if below { append(base.to_owned(), &[info.name()]) } else { Some(base.to_owned()) };
    }
    let file = info.file(file)?;
    let slash = if below { "" } else { "/" };
    let path: Vec<&str> = std::iter::once(info.name()).chain(file.path.components()).collect();
    append(format!("{base}{slash}"), &path)
}

fn append(mut url: String, path: &[&str]) -> Option<String> {
    for (place, component) in path.iter().enumerate() {
        if matches!(*component, "" | "." | "..") {
            return None;
        }
        if place > 0 {
            url.push('/');
        }
        url.extend(utf8_percent_encode(component, ESCAPED));
    }
    Some(url)
}

/// The ranges whose bytes, one after another, are those of the blocks without their gaps. Neighbours in one file are
/// one range.
pub fn ranges(layout: &Layout, blocks: &[BlockRef]) -> Vec<FileRange> {
    let mut ranges: Vec<FileRange> = Vec::new();
    for slice in blocks.iter().flat_map(|&block| layout.slices(block)) {
        let Some(file) = slice.file else { continue };
        match ranges.last_mut() {
            Some(last) if last.file == file && last.first + last.length == slice.offset => last.length += slice.length,
            _ => ranges.push(FileRange { file, first: slice.offset, length: slice.length }),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use shoal_layout::PieceIndex;

    fn text(text: &str) -> String {
        format!("{}:{text}", text.len())
    }

    /// A v1 torrent of one piece: a single file without paths, else a folder.
    fn info(name: &str, paths: &[&[&str]]) -> Info {
        let files = if paths.is_empty() {
            "6:lengthi9e".to_owned()
        } else {
            let file = |path: &&[&str]| {
                let path: String = path.iter().map(|component| text(component)).collect();
                format!("d6:lengthi9e4:pathl{path}ee")
            };
            format!("5:filesl{}e", paths.iter().map(file).collect::<String>())
        };
        let hash = "x".repeat(20);
        let bytes = format!("d{files}4:name{}12:piece lengthi16384e6:pieces20:{hash}e", text(name));
        Info::parse(bytes.as_bytes()).unwrap().0
    }

    #[test]
    fn a_single_file_is_at_the_url_or_below_it() {
        for (base, name, expected) in [
            ("http://a.example/x.iso", "y.iso", "http://a.example/x.iso"),
            ("http://a.example/d/", "y.iso", "http://a.example/d/y.iso"),
            ("http://a.example/d/", "a b%20ü#?&+.iso", "http://a.example/d/a%20b%2520%C3%BC%23%3F%26%2B.iso"),
            ("http://a.example/get?f=x.iso", "y", "http://a.example/get?f=x.iso"),
            ("http://a.example/x.iso#part", "y", "http://a.example/x.iso"),
            ("http://a.example", "y", "http://a.example"),
        ] {
            assert_eq!(file_url(base, &info(name, &[]), FileIndex(0)).as_deref(), Some(expected), "{base} {name}");
        }
    }

    #[test]
    fn files_of_a_folder_are_below_its_name() {
        let info =
            info("the dir", &[&["a.txt"], &["sub", "[1] ö.txt"], &["x/y", "z"], &["..", "passwd"], &["...", "~"]]);
        for (base, file, expected) in [
            ("http://a.example/d/", 0, Some("http://a.example/d/the%20dir/a.txt")),
            ("http://a.example/d", 0, Some("http://a.example/d/the%20dir/a.txt")),
            ("http://a.example/d", 1, Some("http://a.example/d/the%20dir/sub/%5B1%5D%20%C3%B6.txt")),
            ("http://a.example/d", 2, Some("http://a.example/d/the%20dir/x%2Fy/z")),
            ("http://a.example/d", 3, None),
            ("http://a.example/d", 4, Some("http://a.example/d/the%20dir/.../~")),
            ("http://a.example/get?f=", 0, Some("http://a.example/get?f=/the%20dir/a.txt")),
        ] {
            assert_eq!(file_url(base, &info, FileIndex(file)).as_deref(), expected, "{base} {file}");
        }
    }

    #[test]
    fn a_run_is_split_at_files_and_leaves_out_padding_and_empty_files() {
        let files = vec![(0, 100), (100, 0), (100, 50), (16_384, 20_000)];
        let layout = Layout::new(16_384, files, 36_384).unwrap();
        let blocks: Vec<BlockRef> =
            (0..3).flat_map(|piece| layout.requests(PieceIndex(piece))).map(|(_, block)| block).collect();
        let range = |file, first, length| FileRange { file: FileIndex(file), first, length };
        assert_eq!(ranges(&layout, &blocks), [range(0, 0, 100), range(2, 0, 50), range(3, 0, 20_000)]);
    }

    proptest! {
        #[test]
        fn ranges_are_the_payload_of_their_blocks(
            lengths in prop::collection::vec((0_u64..60_000, 0_u64..20_000), 1..8),
            from in 0_usize..10,
            skip in 1_usize..4,
        ) {
            let mut files = Vec::new();
            let mut end = 0;
            for (length, gap) in lengths {
                files.push((end, length));
                end += length + gap;
            }
            let Ok(layout) = Layout::new(32_768, files, end) else { return Ok(()) };
            let all: Vec<BlockRef> =
                (0..layout.pieces()).flat_map(|piece| layout.requests(PieceIndex(piece))).map(|(_, block)| block).collect();
            let blocks: Vec<BlockRef> = all.into_iter().skip(from).step_by(skip).collect();
            let bytes = |ranges: &[FileRange]| -> Vec<(u32, u64)> {
                let each = |range: &FileRange| (range.first..range.first + range.length).collect::<Vec<_>>();
                ranges.iter().flat_map(|range| each(range).into_iter().map(|at| (range.file.0, at))).collect()
            };
            let expected: Vec<FileRange> = blocks
                .iter()
                .flat_map(|&block| layout.slices(block))
                .filter_map(|slice| Some(FileRange { file: slice.file?, first: slice.offset, length: slice.length }))
                .collect();
            let merged = ranges(&layout, &blocks);
            prop_assert_eq!(bytes(&merged), bytes(&expected));
            for pair in merged.windows(2) {
                prop_assert!(pair[0].file != pair[1].file || pair[0].first + pair[0].length != pair[1].first);
            }
            for range in merged {
                prop_assert!(range.length > 0 && range.first + range.length <= layout.file_length(range.file));
            }
        }
    }
}
