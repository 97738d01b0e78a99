//! A bitfield of a peer: refused if it is too long, too short or has bits beyond the end; else written back as it came.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shoal_layout::PieceIndex;
use shoal_pieces::Bitfield;

fuzz_target!(|input: (u16, Vec<u16>, &[u8])| {
    let (pieces, changes, bytes) = input;
    let pieces = u32::from(pieces);
    let Ok(mut bits) = Bitfield::from_bytes(pieces, bytes) else {
        let spare = bytes.last().is_some_and(|last| pieces % 8 != 0 && last << (pieces % 8) != 0);
        assert!(bytes.len() != pieces.div_ceil(8) as usize || spare, "refused for nothing");
        return;
    };
    assert_eq!(bits.to_bytes(), bytes);
    assert_eq!(bits.count(), bytes.iter().map(|byte| byte.count_ones()).sum::<u32>());
    for change in changes {
        let piece = PieceIndex(u32::from(change >> 1));
        if piece.0 >= pieces {
            continue;
        }
        let (before, count) = (bits.get(piece), bits.count());
        let changed = if change & 1 == 1 { bits.set(piece) } else { bits.unset(piece) };
        assert_eq!(changed, before != (change & 1 == 1));
        assert_eq!(bits.count().abs_diff(count), u32::from(changed));
    }
    assert_eq!(bits.iter_set().count() as u32, bits.count());
    assert_eq!(bits.iter_unset().count() as u32, pieces - bits.count());
    assert!(bits.is_subset(&Bitfield::full(pieces)));
});
