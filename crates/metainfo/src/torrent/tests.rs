//! Whole files: what stands around the info dictionary, piece layers, and that nothing makes the reader fall.

use super::*;
use crate::create::{Options, Plan, build};
use crate::{Attributes, FilePaths, Format, LayerError};
use proptest::prelude::*;
use shoal_layout::FileIndex;

/// Two files of two pieces with the same content, one with other content, and a small one.
fn sample(format: Format) -> Torrent {
    let files = [("a", 30_000_u64), ("b", 30_000), ("c", 30_000), ("d", 3)];
    let mut paths = FilePaths::new();
    files.iter().for_each(|(name, _)| paths.push([name]).unwrap());
    let about = files.iter().map(|&(_, length)| (length, Attributes::default()));
    let plan = Plan::folder(format, "sample".to_owned(), paths, about, None).unwrap();
    let v1 = vec![[5; 20]; if format == Format::V2 { 0 } else { plan.layout().pieces() as usize }];
    let mut v2 = Vec::new();
    for ((_, length), content) in files.iter().zip([1_u8, 1, 2, 3]).filter(|_| format != Format::V1) {
        let pieces = length.div_ceil(16_384) as u8;
        v2.extend((0..pieces).map(|piece| [content * 16 + piece; 32]));
    }
    let (info, layers) = build(plan, v1, v2, &Options::default()).unwrap();
    Torrent::new(Arc::new(info), layers)
}

fn told(format: Format) -> Torrent {
    Torrent {
        trackers: vec![
            vec!["http://a.example/announce".to_owned(), "udp://b.example:80".to_owned()],
            vec!["https://c.example/announce?key=1".to_owned()],
        ],
        web_seeds: vec!["http://seed.example/files/".to_owned()],
        nodes: vec![("router.example".to_owned(), 6881), ("2001:db8::1".to_owned(), 1)],
        comment: Some("ein Kommentar: ü".to_owned()),
        created_by: Some("shoal".to_owned()),
        creation_date: Some(1_700_000_000),
        ..sample(format)
    }
}

/// The info dictionary of a small v1 torrent with other keys around it.
fn around(before: &str, after: &str) -> Torrent {
    let info = "4:infod6:lengthi3e4:name1:n12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaae";
    let bytes = format!("d{before}{info}{after}e");
    Torrent::parse(bytes.as_bytes()).unwrap_or_else(|error| panic!("{error}: {bytes}"))
}

fn ignored(key: &'static str) -> Warning {
    Warning::Ignored { place: Place::Torrent, key }
}

#[test]
fn what_was_written_is_read_back() {
    for format in [Format::V1, Format::V2, Format::Hybrid] {
        for torrent in [sample(format), told(format)] {
            let bytes = torrent.to_bytes();
            assert_eq!(Torrent::parse(&bytes).as_ref(), Ok(&torrent));
            let document = Document::parse(&bytes, Limits::TORRENT).unwrap();
            assert!(document.faults().is_empty());
            let info = document.root().as_dict().unwrap().get("info").unwrap();
            assert_eq!(info.raw(), torrent.info.bytes());
        }
    }
}

#[test]
fn a_magnet_link_tells_what_the_file_tells() {
    let magnet = told(Format::Hybrid).magnet();
    assert_eq!(magnet.hashes, sample(Format::Hybrid).info.hashes());
    assert_eq!((magnet.trackers.len(), magnet.web_seeds.len(), magnet.length), (3, 1, Some(90_003)));
    assert_eq!(magnet.to_string().parse(), Ok(magnet));
}

#[test]
fn trackers_are_read_in_tiers_or_alone() {
    let list = "13:announce-listll7:udp://a8:udp://b el7:udp://ae7:udp://cle3:foo4:bad!i3ee";
    let torrent = around(&format!("8:announce7:udp://z{list}"), "");
    assert_eq!(torrent.trackers, [vec!["udp://a", "udp://b"], vec!["udp://c"]]);
    assert_eq!(torrent.warnings, [Warning::Urls { key: "announce-list", count: 3 }]);
    assert_eq!(around("8:announce7:udp://z13:announce-listle", "").trackers, [["udp://z"]]);
    assert_eq!(around("8:announce3:bad", "").trackers, [[""; 0]; 0]);
    assert_eq!(around("13:announce-list3:bad", "").warnings, [ignored("announce-list")]);
}

#[test]
fn web_seeds_are_a_list_or_a_string() {
    assert_eq!(around("", "8:url-list10:http://a/x").web_seeds, ["http://a/x"]);
    let torrent = around("", "8:url-listl10:http://a/x10:http://a/x10:http://b/y1:?e");
    assert_eq!(torrent.web_seeds, ["http://a/x", "http://b/y"]);
    assert_eq!(torrent.warnings, [Warning::Urls { key: "url-list", count: 1 }]);
    let torrent = around("", "8:url-list0:");
    assert_eq!((torrent.web_seeds.len(), torrent.warnings.len()), (0, 0));
}

#[test]
fn nodes_dates_and_texts_that_make_no_sense_are_left_out() {
    let torrent = around("", "5:nodesll9:127.0.0.1i6881eel1:ai0eel1:ai70000ee3:fooe");
    assert_eq!(torrent.nodes, [("127.0.0.1".to_owned(), 6881)]);
    assert_eq!(torrent.warnings, [ignored("nodes")]);
    assert_eq!(around("13:creation datei-1e", "").warnings, [ignored("creation date")]);
    assert_eq!(around("13:creation date1:x", "").creation_date, None);
    assert_eq!(around("7:commenti1e", "").warnings, [ignored("comment")]);
    assert_eq!(around("7:comment1:a13:comment.utf-81:b", "").comment.as_deref(), Some("b"));
}

#[test]
fn untidy_files_are_forgiven_and_told() {
    let torrent = around("1:z0:1:z0:", "");
    assert_eq!(
        torrent.warnings,
        [Warning::UnsortedKeys { place: Place::Torrent, offset: 11 }, Warning::RepeatedKey { offset: 6 }]
    );
    let mut bytes = sample(Format::V1).to_bytes();
    bytes.extend(b"\r\n");
    assert_eq!(Torrent::parse(&bytes).unwrap().warnings, [Warning::TrailingData { bytes: 2 }]);
}

#[test]
fn files_without_an_info_dictionary_are_refused() {
    let error = |bytes: &[u8]| Torrent::parse(bytes).unwrap_err();
    assert!(matches!(error(b""), MetainfoError::Bencode(_)));
    assert_eq!(error(b"4:spam"), MetainfoError::NoDictionary(Place::Torrent));
    assert_eq!(error(b"de"), MetainfoError::Missing { place: Place::Torrent, key: "info" });
    assert_eq!(error(b"d4:infolee"), MetainfoError::NoDictionary(Place::Info));
    assert!(matches!(error(b"d4:infode4:infodee"), MetainfoError::RepeatedKey { .. }));
    let size = MAX_TORRENT_BYTES + 1;
    assert_eq!(error(&vec![b'l'; size]), MetainfoError::TooLong { found: size, limit: MAX_TORRENT_BYTES });
}

#[test]
fn a_saved_link_is_handed_on() {
    let saved = b"d11:magnet-infod12:display-name1:n9:info_hash20:aaaaaaaaaaaaaaaaaaaae8:url-listl10:http://a/xee";
    let Err(MetainfoError::OnlyLink(magnet)) = Torrent::parse(saved) else { panic!("it holds a link") };
    assert_eq!((magnet.hashes.wire(), magnet.name.as_deref()), ([b'a'; 20], Some("n")));
    assert_eq!(magnet.web_seeds, ["http://a/x"]);
    let uri = format!("d10:magnet-uri60:magnet:?xt=urn:btih:{}e", "cd".repeat(20));
    assert!(matches!(Torrent::parse(uri.as_bytes()), Err(MetainfoError::OnlyLink(_))));
}

/// A torrent with its piece layers changed.
fn with_layers(change: impl FnOnce(&mut Vec<(Vec<u8>, Vec<u8>)>)) -> Result<Torrent, MetainfoError> {
    let torrent = sample(Format::V2);
    let mut layers: Vec<_> = torrent
        .layers
        .by_root(&torrent.info)
        .into_iter()
        .map(|(root, layer)| (root.to_vec(), layer.as_flattened().to_vec()))
        .collect();
    change(&mut layers);
    let mut bytes = [b"d4:info", torrent.info.bytes(), b"12:piece layersd"].concat();
    for (root, layer) in layers {
        bytes.extend(
            [format!("{}:", root.len()).as_bytes(), &root, format!("{}:", layer.len()).as_bytes(), &layer].concat(),
        );
    }
    Torrent::parse(&[&bytes[..], b"ee"].concat())
}

#[test]
fn piece_layers_have_to_lead_to_their_roots() {
    let torrent = with_layers(|layers| assert_eq!(layers.len(), 2)).unwrap();
    assert!(torrent.layers.is_complete(&torrent.info));
    assert_eq!(torrent.layers.get(FileIndex(0)), torrent.layers.get(FileIndex(1)));
    assert_eq!(torrent.layers.get(FileIndex(3)), None);
    let layer = |error| Err(MetainfoError::Layer { place: Place::TreeFile(0), error });
    let of_first = |change: fn(&mut Vec<u8>)| {
        with_layers(|layers| {
            let root = sample(Format::V2).info.file(FileIndex(0)).unwrap().root.unwrap();
            change(&mut layers.iter_mut().find(|(found, _)| *found == root).unwrap().1);
        })
    };
    assert_eq!(of_first(|hashes| hashes[0] ^= 1), layer(LayerError::Root));
    assert_eq!(of_first(|hashes| hashes.truncate(32)), layer(LayerError::Count { expected: 2, found: 1 }));
    assert_eq!(of_first(|hashes| hashes.extend([0; 32])), layer(LayerError::Count { expected: 2, found: 3 }));
    assert!(matches!(of_first(|hashes| hashes.truncate(33)), Err(MetainfoError::Wrong { key: "piece layers", .. })));
    let stray = with_layers(|layers| layers.push((vec![0xff; 32], vec![0; 64])));
    assert!(matches!(stray, Err(MetainfoError::StrayLayer { .. })));
    let short = with_layers(|layers| layers[0].0.truncate(31));
    assert!(matches!(short, Err(MetainfoError::Wrong { key: "piece layers", .. })));
    let twice = with_layers(|layers| layers.push(layers[0].clone()));
    assert!(matches!(twice, Err(MetainfoError::StrayLayer { .. })));
    let unneeded = with_layers(|layers| {
        let root = sample(Format::V2).info.file(FileIndex(3)).unwrap().root.unwrap();
        layers.push((root.to_vec(), root.to_vec()));
    });
    assert!(matches!(unneeded, Err(MetainfoError::StrayLayer { .. })));
}

#[test]
fn missing_piece_layers_are_told_and_can_come_later() {
    let mut torrent = with_layers(Vec::clear).unwrap();
    assert_eq!(torrent.warnings, [Warning::MissingLayers { files: 3 }]);
    assert!(!torrent.layers.is_complete(&torrent.info));
    let whole = sample(Format::V2).layers;
    for file in [0, 1, 2].map(FileIndex) {
        let layer = whole.get(file).unwrap().to_vec();
        let wrong = torrent.layers.insert(&torrent.info, FileIndex((file.0 + 2) % 4), layer.clone());
        assert!(wrong.is_err());
        torrent.layers.insert(&torrent.info, file, layer).unwrap();
    }
    assert_eq!(torrent.layers, whole);
    assert_eq!(torrent.layers.insert(&torrent.info, FileIndex(9), Vec::new()), Err(LayerError::NotNeeded));
}

proptest! {
    #[test]
    fn a_mutated_torrent_is_read_or_refused(
        kind in 0..3_usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 1..6),
    ) {
        let mut bytes = told([Format::V1, Format::V2, Format::Hybrid][kind]).to_bytes();
        for (at, byte, change) in changes {
            let at = at.index(bytes.len());
            match change {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, b"0123456789:ldie"[usize::from(byte) % 15]),
                _ => drop(bytes.remove(at)),
            }
        }
        if let Ok(torrent) = Torrent::parse(&bytes) {
            let again = Torrent::parse(&torrent.to_bytes()).unwrap();
            prop_assert_eq!(again.info, torrent.info);
            prop_assert_eq!(again.layers, torrent.layers);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Torrent::parse(&bytes);
        let _ = Torrent::parse(&[b"d4:info".as_slice(), &bytes].concat());
    }
}
