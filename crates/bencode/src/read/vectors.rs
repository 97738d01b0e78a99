//! 70 inputs and what they are: read, read and reported as not canonical, or refused (reliability.md A2).

use super::{Document, ErrorKind, Limits};

const LIMITS: Limits = Limits { depth: 4, tokens: 20 };

fn read(bytes: &[u8]) -> Result<Document<'_>, ErrorKind> {
    Document::parse(bytes, LIMITS).map_err(|error| error.kind)
}

#[test]
fn what_is_canonical_is_read_without_a_fault() {
    let canonical: [&[u8]; 26] = [
        b"i0e",
        b"i1e",
        b"i-1e",
        b"i10e",
        b"i-10e",
        b"i9223372036854775807e",
        b"i-9223372036854775808e",
        // Kept as bytes, though they fit no number of ours.
        b"i9223372036854775808e",
        b"i340282366920938463463374607431768211456e",
        b"0:",
        b"1:a",
        b"3:i1e",
        b"10:0123456789",
        b"4:\0\xff\x80\n",
        b"1:e",
        b"le",
        b"li0ee",
        b"llleee",
        b"l0:0:e",
        b"lllleeee",
        b"de",
        b"d0:0:e",
        b"d1:ai1ee",
        b"d1:a0:2:aa0:1:b0:e",
        b"d1:Z0:1:a0:1:\xff0:e",
        b"d1:ad1:bd1:cleeee",
    ];
    for bytes in canonical {
        let document = read(bytes).unwrap_or_else(|kind| panic!("{bytes:?}: {kind}"));
        assert!(document.faults().is_empty() && document.root().raw() == bytes, "{bytes:?}");
    }
}

#[test]
fn what_is_not_canonical_is_read_and_reported() {
    let untidy: [&[u8]; 13] = [
        b"i-0e",
        b"i00e",
        b"i01e",
        b"i-01e",
        b"i0000000000000000000000000000000000e",
        b"00:",
        b"01:a",
        b"l00:e",
        b"d1:b0:1:a0:e",
        b"d2:aa0:1:a0:e",
        b"d1:a0:1:a0:e",
        b"d1:b0:1:a0:1:b0:e",
        b"d1:a0:1:Z0:e",
    ];
    for bytes in untidy {
        let document = read(bytes).unwrap_or_else(|kind| panic!("{bytes:?}: {kind}"));
        assert!(!document.faults().is_empty() && document.root().raw() == bytes, "{bytes:?}");
    }
}

#[test]
fn what_is_no_bencode_is_refused_by_its_kind() {
    use ErrorKind::*;
    let wrong: [(&[u8], ErrorKind); 31] = [
        (b"", Truncated),
        (b"i", Truncated),
        (b"i1", Truncated),
        (b"i-", Truncated),
        (b"l", Truncated),
        (b"d", Truncated),
        (b"li1e", Truncated),
        (b"d1:a", Truncated),
        (b"d1:a0:", Truncated),
        (b"1:", Truncated),
        (b"5:four", Truncated),
        (b"1", Truncated),
        (b"9223372036854775807:a", Truncated),
        (b"ie", Number),
        (b"i-e", Number),
        (b"i--1e", Number),
        (b"i+1e", Number),
        (b"i1.5e", Number),
        (b"i 1e", Number),
        (b"i0x1e", Number),
        (b"1a", Length),
        (b"1-:a", Length),
        (b"99999999999999999999999:a", Length),
        (b"18446744073709551616:a", Length),
        (b"e", Byte(b'e')),
        (b"x", Byte(b'x')),
        (b"-1:a", Byte(b'-')),
        (b" i1e", Byte(b' ')),
        (b"di1e0:e", Key),
        (b"dle0:e", Key),
        (b"d1:ae", NoValue),
    ];
    for (bytes, kind) in wrong {
        assert_eq!(read(bytes).map(|_| ()), Err(kind), "{:?}", String::from_utf8_lossy(bytes));
    }
    assert_eq!(read(b"i1ei2e").map(|_| ()), Err(Trailing));
    assert_eq!(read(b"0:\n").map(|_| ()), Err(Trailing));
    assert_eq!(read(b"llllleeeee").map(|_| ()), Err(Depth(4)));
    assert_eq!(read(&[&b"l"[..], &b"i1e".repeat(20), b"e"].concat()).map(|_| ()), Err(Tokens(20)));
}
