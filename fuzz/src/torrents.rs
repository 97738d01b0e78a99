//! What holds of every torrent file that is read, and torrent files made of fuzzer's bytes.

use crate::plain::{self, Kind, Node};
use arbitrary::{Result, Unstructured};
use sha1::Digest as _;
use shoal_layout::{BlockRef, FileIndex, PieceIndex};
use shoal_metainfo::{Format, Info, Torrent};
use shoal_storage::path::{SafePath, safe_paths};
use std::collections::BTreeSet;

/// Reads bytes as a torrent file and asserts what must hold of it.
pub fn check(bytes: &[u8]) {
    let Ok(torrent) = Torrent::parse(bytes) else { return };
    let (outer, _) = plain::read(bytes, 200).expect("what was read is bencode");
    let info = outer.get(b"info").expect("what was read has an info dictionary");
    assert_eq!(torrent.info.bytes(), info.raw);
    let hashes = torrent.info.hashes();
    assert_eq!(hashes.v1.map(|hash| hash.0), is_v1(info).then(|| sha1::Sha1::digest(info.raw).into()));
    assert_eq!(hashes.v2.map(|hash| hash.0), is_v2(info).then(|| sha2::Sha256::digest(info.raw).into()));
    check_info(&torrent.info);
    check_paths(&torrent.info);
    for piece in (0..torrent.info.layout().pieces().min(64)).map(PieceIndex) {
        let known = torrent.info.piece_hashes(piece, &torrent.layers);
        let file = torrent.info.layout().files_in(piece).next();
        let lacks = file.is_some_and(|file| torrent.layers.missing(&torrent.info).any(|missing| missing == file));
        assert!(known.is_some() || lacks || torrent.info.format() == Format::V2 && file.is_none());
    }
    let written = torrent.to_bytes();
    let mut again = Torrent::parse(&written).expect("what was written is a torrent");
    again.warnings.clone_from(&torrent.warnings);
    assert_eq!(again, torrent);
    let link = torrent.magnet();
    assert_eq!(link.hashes, hashes);
}

fn is_v1(info: &Node<'_>) -> bool {
    info.get(b"pieces").is_some()
}

fn is_v2(info: &Node<'_>) -> bool {
    info.get(b"meta version").is_some_and(|version| version.kind == Kind::Int(b"2"))
}

/// What holds of every info dictionary: its layout adds up, and file numbers of links go there and back.
pub fn check_info(info: &Info) {
    let layout = info.layout();
    assert_eq!(layout.files() as usize, info.files().len());
    let sum: u64 = info.files().map(|file| file.length).sum();
    assert_eq!(sum, layout.payload_length());
    assert!(layout.pieces() > 0 && layout.pieces() <= shoal_layout::MAX_PIECES);
    let mut end = 0;
    for (index, file) in info.files().enumerate().take(1000) {
        let span = layout.file_span(FileIndex(index as u32));
        assert!(span.start >= end && span.end - span.start == file.length);
        assert!(info.format() == Format::V1 || file.length == 0 || span.start % u64::from(layout.piece_length()) == 0);
        end = span.end;
        assert_eq!(info.so_index(info.so_number(FileIndex(index as u32))), Some(FileIndex(index as u32)));
    }
    let last = layout.pieces() - 1;
    for piece in [0, last / 2, last].map(PieceIndex) {
        let whole = BlockRef { piece, begin: 0, length: layout.piece_size(piece) };
        let (mut length, mut payload) = (0, 0);
        for slice in layout.slices(whole) {
            assert!(slice.length > 0);
            length += slice.length;
            if let Some(file) = slice.file {
                assert!(slice.offset + slice.length <= layout.file_length(file));
                payload += slice.length;
            }
        }
        assert_eq!(length, u64::from(whole.length));
        assert_eq!(payload, u64::from(layout.payload_in(piece)));
        if layout.blocks_in(piece) <= 256 {
            for (number, block) in layout.requests(piece) {
                assert_eq!(block.begin, number * shoal_layout::BLOCK_LENGTH);
                assert!(block.length > 0 && block.end() <= whole.length);
            }
        }
    }
}

fn check_paths(info: &Info) {
    let root = (!info.is_single_file()).then(|| info.name());
    for portable in [false, true] {
        let files = || info.files().map(|file| file.path.components());
        let paths = safe_paths(root, files(), portable);
        assert_paths(&paths);
        assert_eq!(paths.len(), info.files().len());
        assert_eq!(safe_paths(root, files(), portable), paths);
    }
}

/// What a disk needs of a torrent's paths: they stay below their folder, and no two are one.
pub fn assert_paths(paths: &[SafePath]) {
    let mut seen = BTreeSet::new();
    for path in paths {
        let mut components = 0;
        for name in path.as_str().split('/') {
            components += 1;
            assert!(!matches!(name, "" | "." | "..") && name.len() <= 255, "{path:?}");
            assert!(!name.chars().any(|c| c.is_control() || c == '\\'), "{path:?}");
        }
        assert!(components >= 1);
        assert!(seen.insert(path.as_str()), "{path:?} twice");
    }
    for path in paths {
        let mut folder = path.as_str();
        while let Some((above, _)) = folder.rsplit_once('/') {
            assert!(!seen.contains(above), "{above} is a file and a folder");
            folder = above;
        }
    }
}

/// Bytes that are mostly a torrent: right in most places, wrong in a few.
pub fn made(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let format = u.int_in_range(0..=2)?;
    let (v1, v2) = (format != 1, format != 0);
    let piece_length: u64 =
        *u.choose(&[16_384, 16_384, 32_768, 65_536, 1 << 20, 0, 1, 16_385, 8192, 1 << 29, 1 << 30])?;
    let mut files = Vec::new();
    for _ in 0..u.int_in_range(1..=5)? {
        let mut path = Vec::new();
        for _ in 0..u.int_in_range(1..=3)? {
            path.push(name(u)?);
        }
        let length: u64 =
            *u.choose(&[0, 1, 100, 16_384, 16_385, 40_000, 65_536, 200_000, 1 << 20, i64::MAX as u64, 1 << 63])?;
        files.push((path, length));
    }
    let single = u.ratio(1, 4)?;
    if single {
        files.truncate(1);
        files[0].0.truncate(1);
    }
    if v2 {
        files.sort();
        files.dedup_by(|a, b| a.0 == b.0);
    }
    let mut entries: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let mut pieces = 0_u64;
    if v1 {
        let mut list = b"l".to_vec();
        let total = files.len();
        for (index, (path, length)) in files.iter().enumerate() {
            let mut entry: Vec<(Vec<u8>, Vec<u8>)> =
                vec![(b"length".to_vec(), int(*length as i64)), (b"path".to_vec(), strings(path))];
            attributes(u, &mut entry)?;
            list.extend(dict(entry));
            pieces = pieces.saturating_add(*length);
            let rest = pieces.checked_next_multiple_of(piece_length.max(1)).map_or(0, |next| next - pieces);
            if v2 && index + 1 < total && rest > 0 && u.ratio(15, 16)? {
                let path = [b".pad".to_vec(), rest.to_string().into_bytes()];
                list.extend(dict(vec![
                    (b"attr".to_vec(), text(b"p")),
                    (b"length".to_vec(), int(rest as i64)),
                    (b"path".to_vec(), strings(&path)),
                ]));
                pieces = pieces.saturating_add(rest);
            }
        }
        list.push(b'e');
        let count =
            pieces.checked_div(piece_length).unwrap_or(0) + u64::from(!pieces.is_multiple_of(piece_length.max(1)));
        let off = if u.ratio(1, 16)? { u.int_in_range(0..=2)? } else { 1 };
        let count = (count.min(200) + off).saturating_sub(1) as usize;
        entries.push((b"pieces".to_vec(), text(&vec![b'h'; count * 20])));
        match single {
            true => entries.push((b"length".to_vec(), int(files[0].1 as i64))),
            false => entries.push((b"files".to_vec(), list)),
        }
    }
    let mut layers = Vec::new();
    if v2 {
        let mut sorted = files.clone();
        sorted.sort();
        let mut tree = b"d".to_vec();
        tree_of(u, &sorted, 0, piece_length, &mut tree, &mut layers)?;
        tree.push(b'e');
        entries.push((b"file tree".to_vec(), tree));
        entries.push((b"meta version".to_vec(), int(if u.ratio(1, 16)? { 3 } else { 2 })));
    }
    entries.push((b"name".to_vec(), text(if single { &files[0].0[0] } else { b"folder" })));
    entries.push((b"piece length".to_vec(), int(piece_length as i64)));
    if u.ratio(1, 8)? {
        entries.push((b"private".to_vec(), value(u, 2)?));
    }
    if u.ratio(1, 8)? {
        entries.push((name(u)?, value(u, 3)?));
    }
    let mut outer = vec![(b"info".to_vec(), dict(entries))];
    if v2 && u.ratio(7, 8)? {
        layers.sort();
        layers.dedup();
        outer.push((b"piece layers".to_vec(), dict(layers)));
    }
    for key in ["announce", "announce-list", "url-list", "nodes", "comment", "creation date"] {
        if u.ratio(1, 6)? {
            outer.push((key.as_bytes().to_vec(), value(u, 3)?));
        }
    }
    Ok(dict(outer))
}

fn tree_of(
    u: &mut Unstructured<'_>,
    files: &[(Vec<Vec<u8>>, u64)],
    depth: usize,
    piece_length: u64,
    out: &mut Vec<u8>,
    layers: &mut Vec<(Vec<u8>, Vec<u8>)>,
) -> Result<()> {
    let mut rest = files;
    while let Some((path, length)) = rest.first() {
        let same = rest.iter().take_while(|(other, _)| other.get(depth) == path.get(depth)).count();
        let (here, after) = rest.split_at(same);
        rest = after;
        let Some(name) = path.get(depth) else { continue };
        out.extend(text(name));
        if path.len() > depth + 1 {
            out.push(b'd');
            tree_of(u, here, depth + 1, piece_length, out, layers)?;
            out.push(b'e');
            continue;
        }
        let mut entry = vec![(b"length".to_vec(), int(*length as i64))];
        if *length > 0 {
            let (root, layer) = root_and_layer(*length, piece_length);
            if let Some(layer) = layer {
                layers.push((root.to_vec(), text(&layer)));
            }
            entry.push((b"pieces root".to_vec(), text(&root)));
        }
        attributes(u, &mut entry)?;
        out.extend(dict(vec![(Vec::new(), dict(entry))]));
    }
    Ok(())
}

/// A root, and the piece layer that leads to it if the file has one and it is short enough to make here.
fn root_and_layer(length: u64, piece_length: u64) -> ([u8; 32], Option<Vec<u8>>) {
    use shoal_hash::merkle;
    let none = ([length as u8; 32], None);
    let Some(height) = merkle::piece_layer(piece_length).filter(|_| length > piece_length) else { return none };
    let count = merkle::layer_length(length, height);
    if count > 64 {
        return none;
    }
    let hashes: Vec<[u8; 32]> = (0..count).map(|n| [n as u8; 32]).collect();
    let root = merkle::root_of_layer(&hashes, height, length).expect("as many as the layer has");
    (root, Some(hashes.as_flattened().to_vec()))
}

fn attributes(u: &mut Unstructured<'_>, entry: &mut Vec<(Vec<u8>, Vec<u8>)>) -> Result<()> {
    if u.ratio(1, 10)? {
        entry.push((b"attr".to_vec(), text(u.choose(&[&b"x"[..], b"p", b"l", b"h", b"xh", b""])?)));
    }
    if u.ratio(1, 16)? {
        entry.push((b"symlink path".to_vec(), strings(&[name(u)?, name(u)?])));
    }
    Ok(())
}

fn name(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    const NAMES: [&[u8]; 16] = [
        b"a",
        b"b",
        b"A",
        b"c.txt",
        b"..",
        b".",
        b"",
        b"a/b",
        b"a\\b",
        b"/etc",
        b"con",
        b"e\xcc\x81",
        b"\xc3\xa9",
        b"\xff\xfe",
        b"\xe2\x80\xae",
        b"a.",
    ];
    if u.ratio(1, 8)? {
        let length = u.int_in_range(0..=20)?;
        return Ok(u.bytes(length.min(u.len()))?.to_vec());
    }
    // Mostly plain ones, so that most torrents are read.
    let most = if u.ratio(1, 4)? { NAMES.len() - 1 } else { 3 };
    Ok(NAMES[u.int_in_range(0..=most)?].to_vec())
}

/// Any value.
fn value(u: &mut Unstructured<'_>, depth: usize) -> Result<Vec<u8>> {
    Ok(match u.int_in_range(0..=if depth == 0 { 1 } else { 3 })? {
        0 => int(u.arbitrary()?),
        1 if u.ratio(1, 2)? => {
            text(u.choose(&[&b"http://t.example/announce"[..], b"udp://t.example:80", b"t.example"])?)
        }
        1 => text(&name(u)?),
        2 => {
            let mut list = b"l".to_vec();
            for _ in 0..u.int_in_range(0..=3)? {
                list.extend(value(u, depth - 1)?);
            }
            list.push(b'e');
            list
        }
        _ => {
            let (key, value) = (name(u)?, value(u, depth - 1)?);
            dict(vec![(key, value)])
        }
    })
}

/// A number as bencode.
pub fn int(number: i64) -> Vec<u8> {
    format!("i{number}e").into_bytes()
}

/// A string as bencode.
pub fn text(content: &[u8]) -> Vec<u8> {
    let mut out = format!("{}:", content.len()).into_bytes();
    out.extend(content);
    out
}

fn strings(list: &[Vec<u8>]) -> Vec<u8> {
    let mut out = b"l".to_vec();
    list.iter().for_each(|name| out.extend(text(name)));
    out.push(b'e');
    out
}

/// A dictionary as bencode, its keys sorted; values are bencode already.
pub fn dict(mut entries: Vec<(Vec<u8>, Vec<u8>)>) -> Vec<u8> {
    entries.sort();
    let mut out = b"d".to_vec();
    for (key, value) in entries {
        out.extend(text(&key));
        out.extend(value);
    }
    out.push(b'e');
    out
}
