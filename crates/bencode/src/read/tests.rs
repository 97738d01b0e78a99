//! What the reader promises: exact spans, reported faults, bounded work.

use crate::{Document, Error, ErrorKind, Limits, Value};
use bendy::encoding::{Encoder, SingleItemEncoder};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;

fn parse(bytes: &[u8]) -> Result<Document<'_>, Error> {
    Document::parse(bytes, Limits::MESSAGE)
}

fn kind(bytes: &[u8]) -> ErrorKind {
    parse(bytes).unwrap_err().kind
}

#[test]
fn values_are_read_with_their_exact_bytes() {
    let document = parse(b"d1:ali1e0:e3:fooi-42e1:zdee").unwrap();
    let root = document.root().as_dict().unwrap();
    assert_eq!(root.get("foo").unwrap().as_int(), Some(-42));
    assert_eq!(root.get("foo").unwrap().raw(), b"i-42e");
    assert_eq!(root.get("a").unwrap().raw(), b"li1e0:e");
    assert_eq!(root.get("a").unwrap().as_list().unwrap().iter().nth(1).unwrap().as_str(), Some(""));
    assert!(root.get("z").unwrap().as_dict().unwrap().is_empty());
    assert_eq!(root.get("z").unwrap().raw(), b"de");
    assert!(root.get("missing").is_none());
    assert_eq!(document.root().span(), 0..27);
    assert!(document.faults().is_empty());
}

#[test]
fn a_prefix_tells_where_it_ends() {
    let document = Document::parse_prefix(b"d8:msg_typei1ee\x00\x01raw", Limits::MESSAGE).unwrap();
    assert_eq!(document.end(), 15);
    assert_eq!(kind(b"i1e?"), ErrorKind::Trailing);
    assert_eq!(parse(b"i1e?").unwrap_err().offset, 3);
}

#[test]
fn what_a_strict_reader_refuses_is_reported() {
    assert_eq!(parse(b"d1:b0:1:a0:e").unwrap().faults().unsorted, Some(6));
    assert_eq!(parse(b"d1:a0:1:a1:xe").unwrap().faults().duplicate, Some(6));
    assert_eq!(parse(b"d1:a0:1:a1:xe").unwrap().root().as_dict().unwrap().get("a").unwrap().as_str(), Some(""));
    let apart = parse(b"d1:bde1:ale1:b0:e").unwrap();
    assert_eq!((apart.faults().unsorted, apart.faults().duplicate), (Some(6), Some(11)));
    for number in ["i03e", "i-0e", "i-01e", "02:ab"] {
        assert_eq!(parse(number.as_bytes()).unwrap().faults().non_canonical, Some(0), "{number}");
    }
    assert_eq!(parse(b"i-01e").unwrap().root().as_int(), Some(-1));
    assert!(parse(b"i0e").unwrap().faults().is_empty());
    assert!(parse(b"0:").unwrap().faults().is_empty());
}

#[test]
fn wrong_bytes_are_errors_with_their_offset() {
    for (bytes, kind, offset) in [
        (&b""[..], ErrorKind::Truncated, 0),
        (b"x", ErrorKind::Byte(b'x'), 0),
        (b"e", ErrorKind::Byte(b'e'), 0),
        (b"-1:a", ErrorKind::Byte(b'-'), 0),
        (b"i-e", ErrorKind::Number, 2),
        (b"ie", ErrorKind::Number, 1),
        (b"i1x", ErrorKind::Number, 2),
        (b"i--1e", ErrorKind::Number, 2),
        (b"di1e0:e", ErrorKind::Key, 1),
        (b"d1:ae", ErrorKind::NoValue, 4),
        (b"3-abc", ErrorKind::Length, 1),
        (b"99999999999999999999999999:a", ErrorKind::Length, 0),
        (b"5:abc", ErrorKind::Truncated, 5),
        (b"li1e", ErrorKind::Truncated, 4),
        (b"12", ErrorKind::Truncated, 2),
        (b"4294967296:", ErrorKind::Truncated, 11),
    ] {
        assert_eq!(parse(bytes).unwrap_err(), Error { kind, offset }, "{}", bytes.escape_ascii());
    }
}

#[test]
fn numbers_that_do_not_fit_are_no_numbers_but_are_kept() {
    let document = parse(b"i9223372036854775808e").unwrap();
    assert_eq!((document.root().as_int(), document.root().raw().len()), (None, 21));
    assert_eq!(parse(b"i-9223372036854775808e").unwrap().root().as_int(), Some(i64::MIN));
}

#[test]
#[expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "the claim is about time")]
fn ten_megabytes_of_nesting_are_refused_at_once_on_a_small_stack() {
    let open_lists = vec![b'l'; 10 << 20];
    let open_dicts = b"d1:a".repeat((10 << 20) / 4);
    let mut closed = vec![b'l'; 5 << 20];
    closed.resize(10 << 20, b'e');
    let work = move || {
        for bytes in [&open_lists, &open_dicts, &closed] {
            let start = std::time::Instant::now();
            let error = Document::parse(bytes, Limits::TORRENT).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Depth(Limits::TORRENT.depth));
            assert!(start.elapsed() < Duration::from_millis(200));
        }
    };
    std::thread::Builder::new().stack_size(512 << 10).spawn(work).unwrap().join().unwrap();
}

#[test]
fn tokens_are_bounded() {
    let mut bytes = b"l".to_vec();
    bytes.extend(b"0:".repeat(50));
    bytes.push(b'e');
    let limits = |tokens| Limits { depth: 1, tokens };
    assert!(Document::parse(&bytes, limits(53)).is_ok());
    assert_eq!(Document::parse(&bytes, limits(52)).unwrap_err().kind, ErrorKind::Tokens(52));
    assert_eq!(Document::parse(b"lle", limits(9)).unwrap_err().kind, ErrorKind::Depth(1));
}

/// A value to encode.
#[derive(Debug, Clone, PartialEq)]
enum Tree {
    Int(i64),
    Bytes(Vec<u8>),
    List(Vec<Tree>),
    Dict(BTreeMap<Vec<u8>, Tree>),
}

impl Tree {
    fn emit(&self, encoder: SingleItemEncoder<'_>) -> Result<(), bendy::encoding::Error> {
        match self {
            Tree::Int(value) => encoder.emit_int(*value),
            Tree::Bytes(bytes) => encoder.emit_bytes(bytes),
            Tree::List(members) => encoder.emit_list(|encoder| {
                members.iter().try_for_each(|member| encoder.emit_with(|encoder| member.emit(encoder)))
            }),
            Tree::Dict(entries) => encoder.emit_dict(|mut encoder| {
                entries.iter().try_for_each(|(key, value)| encoder.emit_pair_with(key, |encoder| value.emit(encoder)))
            }),
        }
    }

    fn from_value(value: Value<'_, '_>) -> Tree {
        if let Some(list) = value.as_list() {
            return Tree::List(list.iter().map(Tree::from_value).collect());
        }
        if let Some(dict) = value.as_dict() {
            return Tree::Dict(dict.iter().map(|(key, value)| (key.to_vec(), Tree::from_value(value))).collect());
        }
        match value.as_int() {
            Some(number) => Tree::Int(number),
            None => Tree::Bytes(value.as_bytes().unwrap().to_vec()),
        }
    }
}

fn encode(tree: &Tree) -> Vec<u8> {
    let mut encoder = Encoder::new().with_max_depth(40);
    encoder.emit_with(|encoder| tree.emit(encoder)).unwrap();
    encoder.get_output().unwrap()
}

fn trees() -> impl Strategy<Value = Tree> {
    let leaf =
        prop_oneof![any::<i64>().prop_map(Tree::Int), prop::collection::vec(any::<u8>(), 0..20).prop_map(Tree::Bytes)];
    leaf.prop_recursive(6, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Tree::List),
            prop::collection::btree_map(prop::collection::vec(any::<u8>(), 0..6), inner, 0..8).prop_map(Tree::Dict)
        ]
    })
}

/// Bytes that look like bencode more often than chance.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![4 => prop::sample::select(b"ldie:0123456789-".to_vec()), 1 => any::<u8>()];
    prop::collection::vec(byte, 0..200)
}

proptest! {
    #[test]
    fn what_bendy_writes_is_read_back(tree in trees()) {
        let bytes = encode(&tree);
        let document = parse(&bytes).unwrap();
        prop_assert_eq!(Tree::from_value(document.root()), tree);
        prop_assert_eq!(document.root().raw(), &bytes[..]);
        prop_assert!(document.faults().is_empty());
    }

    #[test]
    fn a_value_cut_short_is_truncated(tree in trees(), cut in any::<prop::sample::Index>()) {
        let bytes = encode(&tree);
        let cut = cut.index(bytes.len());
        prop_assert_eq!(kind(&bytes[..cut]), ErrorKind::Truncated);
    }

    #[test]
    fn any_bytes_are_read_or_refused_and_spans_stay_inside(bytes in noise()) {
        if let Ok(document) = Document::parse_prefix(&bytes, Limits::MESSAGE) {
            prop_assert!(document.end() <= bytes.len());
            let mut rest = vec![document.root()];
            while let Some(value) = rest.pop() {
                let again = Document::parse(value.raw(), Limits::MESSAGE).unwrap();
                prop_assert_eq!(again.root().raw(), value.raw());
                rest.extend(value.as_list().into_iter().flatten());
                rest.extend(value.as_dict().into_iter().flatten().map(|(_, value)| value));
            }
        }
    }
}
