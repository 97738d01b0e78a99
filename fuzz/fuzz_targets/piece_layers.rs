//! Piece layers of a torrent file and of peers: kept only if they have one hash a piece and lead to the file's root.
#![no_main]

use arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use shoal_fuzz::torrents::{dict, int, text};
use shoal_hash::merkle;
use shoal_layout::FileIndex;
use shoal_metainfo::{Info, PieceLayers, Torrent};

fn run(u: &mut Unstructured<'_>) -> Result<()> {
    let piece_length = 16_384_u64 << u.int_in_range(0..=3)?;
    let length = u.int_in_range(1..=40 * piece_length)?;
    let height = merkle::piece_layer(piece_length).expect("a power of two");
    let count = merkle::layer_length(length, height);
    let seed: u8 = u.arbitrary()?;
    let layer: Vec<[u8; 32]> = (0..count).map(|n| [n as u8 ^ seed; 32]).collect();
    let has_layer = length > piece_length;
    let root = if has_layer { merkle::root_of_layer(&layer, height, length).expect("counted") } else { [9; 32] };
    let key = |name: &str| name.as_bytes().to_vec();
    let file = dict(vec![(key("length"), int(length as i64)), (key("pieces root"), text(&root))]);
    let info = dict(vec![
        (key("file tree"), dict(vec![(key("a"), dict(vec![(Vec::new(), file)]))])),
        (key("meta version"), int(2)),
        (key("name"), text(b"a")),
        (key("piece length"), int(piece_length as i64)),
    ]);
    let mut changed = layer.clone();
    match u.int_in_range(0..=4)? {
        0 => {}
        1 => changed.truncate(u.choose_index(changed.len() + 1)?),
        2 => changed.extend(u.arbitrary::<[[u8; 32]; 2]>()?),
        3 => {
            let place = u.choose_index(changed.len())?;
            changed[place] = u.arbitrary()?;
        }
        _ => changed.reverse(),
    }
    let right = has_layer && changed == layer;
    let file_root = if u.ratio(1, 8)? { u.arbitrary()? } else { root };
    let torrent = dict(vec![
        (key("info"), info.clone()),
        (key("piece layers"), dict(vec![(file_root.to_vec(), text(changed.as_flattened()))])),
    ]);
    assert_eq!(Torrent::parse(&torrent).is_ok(), right && file_root == root);
    let info = Info::parse(&info).expect("well-formed").0;
    let mut layers = PieceLayers::empty(&info);
    assert_eq!(layers.is_complete(&info), !has_layer);
    assert_eq!(layers.insert(&info, FileIndex(0), changed.clone()).is_ok(), right);
    assert!(layers.insert(&info, FileIndex(u.int_in_range(1..=u32::MAX)?), layer).is_err());
    assert_eq!(layers.get(FileIndex(0)), right.then_some(&changed[..]));
    Ok(())
}

fuzz_target!(|bytes: &[u8]| {
    let _ended = run(&mut Unstructured::new(bytes));
});
