//! The bencode reader sees what a plain one sees, and says "canonical" of exactly what is written back the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shoal_bencode::{Document, Limits, Value};
use shoal_fuzz::plain::{self, Kind, Node};

/// As both readers see it.
fn same(ours: Value<'_, '_>, theirs: &Node<'_>) {
    assert_eq!(ours.raw(), theirs.raw);
    match &theirs.kind {
        Kind::Int(digits) => {
            let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<i64>().ok());
            assert_eq!(ours.as_int(), number);
            assert!(ours.as_bytes().is_none() && ours.as_list().is_none() && ours.as_dict().is_none());
        }
        Kind::Text(content) => {
            assert_eq!(ours.as_bytes(), Some(*content));
            assert!(ours.as_int().is_none());
        }
        Kind::List(members) => {
            let list = ours.as_list().expect("a list");
            assert_eq!(list.iter().count(), members.len());
            list.iter().zip(members).for_each(|(ours, theirs)| same(ours, theirs));
        }
        Kind::Dict(entries) => {
            let dict = ours.as_dict().expect("a dictionary");
            assert_eq!(dict.iter().count(), entries.len());
            for ((key, ours), (their_key, theirs)) in dict.iter().zip(entries) {
                assert_eq!(key, *their_key);
                same(ours, theirs);
                let first = theirs_first(entries, key);
                assert_eq!(dict.get(key).map(|value| value.raw()), Some(first));
            }
        }
    }
}

fn theirs_first<'a>(entries: &[(&'a [u8], Node<'a>)], key: &[u8]) -> &'a [u8] {
    entries.iter().find(|(found, _)| *found == key).map_or(&[], |(_, value)| value.raw)
}

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { depth: 40, tokens: 4_000 };
    let ours = Document::parse_prefix(bytes, limits);
    let plain = plain::read(bytes, limits.depth);
    let document = match (&ours, &plain) {
        (Ok(document), Some(_)) => document,
        (Err(error), Some(_)) => {
            assert!(matches!(error.kind, shoal_bencode::ErrorKind::Tokens(_)), "{error} where a plain reader reads");
            return;
        }
        (Ok(_), None) => panic!("read where a plain reader does not"),
        (Err(error), None) => {
            assert!(error.offset <= bytes.len());
            return;
        }
    };
    let (node, rest) = plain.as_ref().expect("matched above");
    assert_eq!(document.end(), bytes.len() - rest.len());
    same(document.root(), node);
    assert_eq!(Document::parse(bytes, limits).is_ok(), rest.is_empty());
    let mut written = Vec::new();
    plain::write(node, &mut written);
    assert_eq!(document.faults().is_empty(), written == node.raw, "{:?}", document.faults());
});
