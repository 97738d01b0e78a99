//! Links as they are found, and our own.

use super::*;
use proptest::prelude::*;

const V1: &str = "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd";
const V2: &str = "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd";

fn v1_and(rest: &str) -> Magnet {
    format!("magnet:?xt=urn:btih:{V1}{rest}").parse().unwrap()
}

fn error(text: &str) -> MagnetError {
    text.parse::<Magnet>().unwrap_err()
}

#[test]
fn hashes_are_read_in_every_form() {
    let v1 = InfoHashes::from_v1(InfoHashV1([0xcd; 20]));
    let both = InfoHashes { v1: v1.v1, v2: Some(InfoHashV2([0xcd; 32])) };
    for (text, hashes) in [
        (format!("magnet:?xt=urn:btih:{V1}"), v1),
        (format!("magnet:?xt=urn%3Abtih%3A{}%64", &V1[..39]), v1),
        (format!("magnet:?XT=urn:btih:{}", V1.to_uppercase()), v1),
        (format!("magnet:///?xt=urn:btih:{V1}"), v1),
        (format!("magnet:?\"foo=bar&=&empty&xt=urn:btih:{V1}"), v1),
        (format!("magnet:?xt=urn:ed2k:a0a9&amp;xt.1=urn:btih:{V1}"), v1),
        ("magnet:?xt=urn:btih:ZXG43TONZXG43TONZXG43TONZXG43TON".to_owned(), v1),
        ("magnet:?xt=urn:btih:zxg43tonzxg43tonzxg43tonzxg43ton".to_owned(), v1),
        (format!("magnet:?xt=urn:btmh:1220{V2}"), InfoHashes { v1: None, ..both }),
        (format!("magnet:?xt=urn:btmh:1220{V2}&xt=urn:btih:{V1}"), both),
    ] {
        assert_eq!(text.parse::<Magnet>().unwrap().hashes, hashes, "{text}");
    }
}

#[test]
fn wrong_hashes_are_errors_that_name_the_parameter() {
    let length = |length| MagnetError::Btih(HashTextError::Length(length));
    assert_eq!(error(V1), MagnetError::Scheme);
    assert_eq!(error("magnet:?dn=foo"), MagnetError::NoHash);
    assert_eq!(error("magnet:?xt=blah&dn=foo"), MagnetError::NoHash);
    assert_eq!(error("magnet:?xt=urn%%3A"), MagnetError::Escape);
    assert_eq!(error("magnet:?xt=urn:btih:abababab"), length(8));
    assert_eq!(error(&format!("magnet:?xt=urn:btih:{V1}\n")), length(41));
    assert!(matches!(error(&format!("magnet:?xt=urn:btih:{}", "z".repeat(40))), MagnetError::Btih(_)));
    assert!(matches!(error(&format!("magnet:?xt=urn:btih:{}", "1".repeat(32))), MagnetError::Btih(_)));
    assert_eq!(error(&format!("magnet:?xt=urn:btmh:1221{V2}")), MagnetError::Multihash);
    assert!(matches!(error(&format!("magnet:?xt=urn:btmh:1220{}", &V2[1..])), MagnetError::Btmh(_)));
    assert!(matches!(error(&format!("magnet:?xt=urn:btmh:1220{}", "z".repeat(64))), MagnetError::Btmh(_)));
    assert_eq!(error(&format!("magnet:?{}", "a".repeat(MAX_LINK_BYTES))), MagnetError::TooLong(MAX_LINK_BYTES + 8));
    assert!(error(&format!("magnet:?xt=urn:btih:{}", "z".repeat(40))).to_string().contains("xt=urn:btih:"));
}

#[test]
fn hints_are_read() {
    let magnet = v1_and(
        "&dn=Ubuntu+11.04+%28Final%29&tr.0=udp://1&tr.1=http://2&tr=http%3A%2F%2F2&ws=http://foo.example/bar\
         &x.pe=127.0.0.1:43&x.pe=[::1]:45&x.pe=box.local:7&so=0,2,4,6-8&so=1&xl=10826029",
    );
    assert_eq!(magnet.name.as_deref(), Some("Ubuntu 11.04 (Final)"));
    assert_eq!(magnet.trackers, ["udp://1", "http://2"]);
    assert_eq!(magnet.web_seeds, ["http://foo.example/bar"]);
    let peers = [("127.0.0.1", 43), ("::1", 45), ("box.local", 7)];
    assert_eq!(magnet.peers, peers.map(|(host, port)| (host.to_owned(), port)));
    assert_eq!(magnet.select, [0..=0, 2..=2, 4..=4, 6..=8, 1..=1]);
    assert_eq!(magnet.length, Some(10_826_029));
    assert!(magnet.warnings.is_empty());
}

#[test]
fn hints_that_make_no_sense_are_left_out_and_told() {
    for (parameter, name) in [
        ("&tr=", "tr"),
        ("&tr=%f7", "tr"),
        ("&tr=magnet:?xt=urn:btih:abc123", "tr"),
        ("&ws=nowhere", "ws"),
        ("&x.pe=<invalid>:100", "x.pe"),
        ("&x.pe=10.0.0.1", "x.pe"),
        ("&x.pe=::1:80", "x.pe"),
        ("&x.pe=[10.0.0.1]:80", "x.pe"),
        ("&x.pe=10.0.0.1:0", "x.pe"),
        ("&xl=-1", "xl"),
        ("&dn=%zz", "dn"),
        ("&so=\"1,2\"", "so"),
        ("&so=7-4", "so"),
        ("&so=-4", "so"),
        ("&so=3-", "so"),
        ("&so=100000000", "so"),
        ("&xt=urn:btih:0000000000000000000000000000000000000000", "xt"),
    ] {
        let magnet = v1_and(parameter);
        assert_eq!(magnet.warnings, [Warning::Parameter(name)], "{parameter}");
        let clean = v1_and("");
        assert_eq!(Magnet { warnings: Vec::new(), select: Vec::new(), ..magnet }, clean, "{parameter}");
    }
    assert_eq!(v1_and("&so=7-4,,5").select, [5..=5]);
    assert_eq!(v1_and("&tr.a=udp://1").trackers, [""; 0]);
}

#[test]
fn numbers_of_hints_are_bounded() {
    let many: String = (0..2 * MAX_URLS).map(|number| format!("&x.pe=10.0.0.1:{}", number + 1)).collect();
    assert_eq!(v1_and(&many).peers.len(), MAX_URLS);
    let many = "0,".repeat(2 * MAX_URLS);
    assert_eq!(v1_and(&format!("&so={many}")).select.len(), MAX_URLS);
    let many = "&tr=".repeat(2 * MAX_URLS);
    assert!(v1_and(&many).warnings.len() < 100);
}

#[test]
fn a_bare_hash_is_a_link() {
    let v1 = Magnet::new(InfoHashes::from_v1(InfoHashV1([0xcd; 20])));
    let v2 = Magnet::new(InfoHashes::from_v2(InfoHashV2([0xcd; 32])));
    assert_eq!(Magnet::from_hash_text(V1).as_ref(), Ok(&v1));
    assert_eq!(Magnet::from_hash_text("ZXG43TONZXG43TONZXG43TONZXG43TON").as_ref(), Ok(&v1));
    assert_eq!(Magnet::from_hash_text(V2).as_ref(), Ok(&v2));
    assert_eq!(Magnet::from_hash_text(&format!("1220{V2}")).as_ref(), Ok(&v2));
    assert!(matches!(Magnet::from_hash_text("cafe"), Err(MagnetError::HashText(_))));
    assert!(Magnet::from_hash_text("é".repeat(34).as_str()).is_err());
}

#[test]
fn a_link_is_written_as_other_programs_read_it() {
    let magnet = Magnet {
        name: Some("a b&c".to_owned()),
        trackers: vec!["http://a.example/announce?x=1".to_owned()],
        peers: vec![("::1".to_owned(), 6881)],
        select: vec![0..=0, 2..=4],
        ..v1_and("")
    };
    assert_eq!(
        magnet.to_string(),
        format!(
            "magnet:?xt=urn:btih:{V1}&dn=a%20b%26c&tr=http%3A%2F%2Fa.example%2Fannounce%3Fx%3D1\
             &x.pe=[::1]:6881&so=0,2-4"
        )
    );
}

fn magnets() -> impl Strategy<Value = Magnet> {
    let hashes = (any::<[u8; 20]>(), any::<[u8; 32]>(), 0..3).prop_map(|(v1, v2, kind)| InfoHashes {
        v1: (kind != 1).then_some(InfoHashV1(v1)),
        v2: (kind != 0).then_some(InfoHashV2(v2)),
    });
    let host = prop_oneof![
        any::<std::net::Ipv4Addr>().prop_map(|addr| addr.to_string()),
        any::<std::net::Ipv6Addr>().prop_map(|addr| addr.to_string()),
        "[a-z][a-z0-9.-]{0,20}"
    ];
    let urls = |scheme: &'static str| {
        prop::collection::btree_set("[a-z]{1,8}/[ -~]{0,12}", 0..4).prop_map(move |paths| {
            let urls = paths.into_iter().map(|path| format!("{scheme}://{path}"));
            urls.filter_map(|url| urls::tracker(&url)).collect::<std::collections::BTreeSet<_>>().into_iter().collect()
        })
    };
    let ranges = prop::collection::vec((0..1000_u32, 0..1000_u32).prop_map(|(start, more)| start..=start + more), 0..5);
    let peers = prop::collection::btree_set((host, 1..=u16::MAX), 0..4).prop_map(|peers| peers.into_iter().collect());
    (hashes, prop::option::of("\\PC{1,30}"), urls("udp"), urls("https"), peers, ranges, any::<Option<u64>>()).prop_map(
        |(hashes, name, trackers, web_seeds, peers, select, length)| Magnet {
            hashes,
            name,
            trackers,
            web_seeds,
            peers,
            select,
            length,
            warnings: Vec::new(),
        },
    )
}

proptest! {
    #[test]
    fn a_link_reads_back_as_it_was_written(magnet in magnets()) {
        prop_assert_eq!(magnet.to_string().parse::<Magnet>(), Ok(magnet));
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,200}", tail in "[a-z0-9%=&.:\\[\\],-]{0,100}") {
        let _ = text.parse::<Magnet>();
        let _ = Magnet::from_hash_text(&text);
        let _ = format!("magnet:?{text}").parse::<Magnet>();
        let _ = format!("magnet:?xt=urn:btih:{V1}&{tail}").parse::<Magnet>();
    }
}
