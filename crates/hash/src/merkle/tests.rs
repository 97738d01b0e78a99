//! The trees against a tree built node by node, and proofs against every flipped bit.

use super::*;
use crate::{sha256_leaves, sha256_many};
use proptest::prelude::*;

/// All layers with all padding, the leaves first: the definition of BEP 52, spelt out.
fn full_tree(leaves: &[Hash]) -> Vec<Vec<Hash>> {
    let mut layer = leaves.to_vec();
    layer.resize(leaves.len().next_power_of_two(), [0; 32]);
    let mut layers = vec![layer];
    while layers[layers.len() - 1].len() > 1 {
        let above = layers[layers.len() - 1].chunks(2).map(|pair| sha256(&[pair[0], pair[1]].concat())).collect();
        layers.push(above);
    }
    layers
}

/// `count` hashes that all differ.
fn leaves(count: usize) -> Vec<Hash> {
    (0..count).map(|index| sha256(&index.to_be_bytes())).collect()
}

/// The length of a file with so many blocks, the last one short.
fn file_length(leaves: usize) -> u64 {
    leaves as u64 * BLOCK_LENGTH as u64 - 5
}

#[test]
fn counts_heights_and_layers_of_known_files() {
    let block = BLOCK_LENGTH as u64;
    for (length, count, expected) in [
        (0, 0, 0),
        (1, 1, 0),
        (block, 1, 0),
        (block + 1, 2, 1),
        (3 * block, 3, 2),
        (4 * block, 4, 2),
        (4 * block + 1, 5, 3),
        (u64::MAX, 1 << 50, 50),
    ] {
        assert_eq!((leaf_count(length), height(length)), (count, expected), "{length} bytes");
        assert_eq!(layer_length(length, expected), count.min(1));
    }
    assert_eq!([16 << 10, 32 << 10, 16 << 20].map(piece_layer), [Some(0), Some(1), Some(10)]);
    assert_eq!([0, 1, 16_000, 8 << 10, 48 << 10].map(piece_layer), [None; 5]);
    assert_eq!(pad_hash(0), [0; 32]);
    assert_eq!(pad_hash(1), sha256(&[0; 64]));
    assert_eq!(pad_hash(2), parent(&pad_hash(1), &pad_hash(1)));
    assert_eq!(uncle_count(2, 0), 0);
    assert_eq!(uncle_count(512, 8), 0);
    assert_eq!(uncle_count(512, 9), 1);
    assert_eq!(uncle_count(2, 5), 5);
}

#[test]
fn leaves_are_the_hashes_of_blocks_and_the_last_is_short() {
    for length in [0, 1, BLOCK_LENGTH, BLOCK_LENGTH + 1, 20 * BLOCK_LENGTH - 1] {
        let data: Vec<u8> = (0..length).map(|byte| (byte / 7) as u8).collect();
        let mut found = vec![[9; 32]];
        sha256_leaves(&data, &mut found);
        let expected: Vec<Hash> = std::iter::once([9; 32]).chain(data.chunks(BLOCK_LENGTH).map(sha256)).collect();
        assert_eq!(found, expected, "{length} bytes");
        let blocks: Vec<&[u8]> = data.chunks(BLOCK_LENGTH).collect();
        let mut many = vec![[0; 32]; blocks.len()];
        sha256_many(&blocks, &mut many);
        assert_eq!(many, expected[1..]);
    }
}

#[test]
fn every_layer_gives_the_root_and_a_wrong_count_gives_none() {
    for count in (1..70).chain([511, 512, 513]) {
        let (leaves, length) = (leaves(count), file_length(count));
        let full = full_tree(&leaves);
        let expected = full[full.len() - 1][0];
        assert_eq!(root(&leaves, count.next_power_of_two()), expected);
        for (layer, padded) in (0..).zip(&full) {
            let hashes = layer_from_leaves(&leaves, layer);
            assert_eq!(hashes.len() as u64, layer_length(length, layer), "{count} leaves, layer {layer}");
            assert_eq!(hashes, padded[..hashes.len()]);
            assert!(padded[hashes.len()..].iter().all(|&hash| hash == pad_hash(layer)));
            assert_eq!(root_of_layer(&hashes, layer, length), Some(expected), "{count} leaves, layer {layer}");
            let more = [&hashes[..], &[pad_hash(layer)]].concat();
            assert_eq!(root_of_layer(&more, layer, length), None);
            assert_eq!(root_of_layer(&hashes[1..], layer, length), None);
        }
        assert_eq!(root_of_layer(&[expected], full.len() as u8, length), None, "above the root");
    }
    assert_eq!(root_of_layer(&[], 0, 0), None);
}

#[test]
fn pieces_of_a_file_are_roots_over_their_own_leaves() {
    let leaves = leaves(21);
    // Pieces of 4 blocks: five whole ones, and one block in the sixth.
    let pieces: Vec<Hash> = leaves.chunks(4).map(|piece| root(piece, 4)).collect();
    assert_eq!(pieces, layer_from_leaves(&leaves, 2));
    assert_eq!(root_of_layer(&pieces, 2, file_length(21)), Some(root(&leaves, 32)));
}

#[test]
fn a_known_file_has_the_root_and_the_piece_layer_that_libtorrent_gives_it() {
    // libtorrent 2.0.8, v2 torrent with pieces of 64 KiB; the second value is SHA-256 of the piece layer's six hashes.
    let data: Vec<u8> = (0..21 * BLOCK_LENGTH - 5).map(|byte| (byte / 7) as u8).collect();
    let mut leaves = Vec::new();
    sha256_leaves(&data, &mut leaves);
    let pieces = layer_from_leaves(&leaves, piece_layer(64 << 10).unwrap());
    let hex = |hash: Hash| hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let root = root_of_layer(&pieces, 2, data.len() as u64).unwrap();
    assert_eq!(hex(root), "562dca6f946326b9b8047f9a0d460785fdb5128a519a26855ab7e0fb1740201c");
    assert_eq!(hex(sha256(pieces.as_flattened())), "641ef0af6a9fc34ee7b94d04d1fbf9fc05f7effdf175b710ac8923daa8e93746");
}

#[test]
fn a_tree_refuses_layers_that_a_file_does_not_have() {
    let length = file_length(5);
    assert_eq!(Tree::new(0, 0, vec![]), Err(TreeError::Empty));
    assert_eq!(Tree::new(length, 4, leaves(1)), Err(TreeError::NoLayer { layer: 4, file_length: length }));
    for found in [0, 4, 6, 8] {
        let error = TreeError::Count { layer: 0, file_length: length, expected: 5, found: found as u64 };
        assert_eq!(Tree::new(length, 0, leaves(found)), Err(error));
    }
    assert_eq!(Tree::new(length, 3, leaves(1)).unwrap().root(), leaves(1)[0]);
}

#[test]
fn requests_that_no_peer_should_send_get_no_answer() {
    let tree = Tree::new(file_length(600), 0, leaves(600)).unwrap();
    assert!(tree.proof(0, 0, 512, 9).is_some());
    for (layer, index, length, proof_layers) in [
        (0, 0, 0, 0),            // nothing asked for
        (0, 0, 513, 9),          // too many
        (0, 1, 2, 9),            // not a multiple of the length
        (0, 1024, 2, 9),         // beyond the layer
        (0, u64::MAX - 1, 2, 9), // far beyond
        (0, 0, 2, 10),           // proof of the root itself
        (0, 0, 2, u32::MAX),     // and far beyond
        (10, 0, 2, 0),           // two roots
        (11, 0, 2, 0),           // above the root
        (255, 0, 2, 0),          // far above
    ] {
        assert_eq!(tree.proof(layer, index, length, proof_layers), None, "{layer} {index} {length} {proof_layers}");
    }
    let above = Tree::new(file_length(600), 3, layer_from_leaves(&leaves(600), 3)).unwrap();
    assert_eq!(above.proof(0, 0, 2, 9), None, "leaves that are not here");
    assert_eq!(above.proof_from_leaves(&leaves(7), 0, 2, 9), None, "too few leaves");
    let single = Tree::new(5, 0, leaves(1)).unwrap();
    assert_eq!(single.proof(0, 0, 1, 0), None, "a file of one block has no proofs");
}

/// A request that fits into a tree of so many leaves: layer, index, length, proof layers.
fn request(count: usize) -> impl Strategy<Value = (u8, u64, u32, u32)> {
    let height = height(file_length(count));
    (0..height).prop_flat_map(move |layer| {
        let above = height - layer;
        (1..=above.min(9), 0..u32::from(above)).prop_flat_map(move |(own, proof_layers)| {
            (0..1_u64 << (above - own)).prop_map(move |place| (layer, place << own, 1_u32 << own, proof_layers))
        })
    })
}

fn tree_and_request() -> impl Strategy<Value = (usize, (u8, u64, u32, u32))> {
    (2_usize..1500).prop_flat_map(|count| (Just(count), request(count)))
}

proptest! {
    #[test]
    fn proofs_have_the_hashes_that_bep_52_names((count, (layer, index, length, proof_layers)) in tree_and_request()) {
        let full = full_tree(&leaves(count));
        let tree = Tree::new(file_length(count), 0, leaves(count)).unwrap();
        let found = tree.proof(layer, index, length, proof_layers).unwrap();
        // The request's hashes, and then walk up from the first: a sibling for each proof layer that they do not imply.
        let mut expected = full[usize::from(layer)][index as usize..][..length as usize].to_vec();
        let mut place = index;
        for proof_layer in 1..=proof_layers {
            place /= 2;
            if length >> proof_layer == 0 || length >> proof_layer == 1 {
                expected.push(full[usize::from(layer) + proof_layer as usize][(place ^ 1) as usize]);
            }
        }
        prop_assert_eq!(found.len() as u32, length + uncle_count(length, proof_layers));
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn whole_proofs_verify_and_every_flipped_bit_fails(
        (count, (layer, index, length, _)) in tree_and_request(),
        flips in prop::collection::vec(any::<prop::sample::Index>(), 30),
    ) {
        let file_length = file_length(count);
        let tree = Tree::new(file_length, 0, leaves(count)).unwrap();
        let root = tree.root();
        let proof = tree.proof(layer, index, length, u32::from(tree.height() - layer) - 1).unwrap();
        let length = length as usize;
        let verifies = |proof: &[Hash]| verify_range(&root, file_length, layer, index, &proof[..length], &proof[length..]);
        prop_assert!(verifies(&proof));
        for flip in flips {
            let bit = flip.index(proof.len() * 256);
            let mut wrong = proof.clone();
            wrong[bit / 256][bit % 256 / 8] ^= 1 << (bit % 8);
            prop_assert!(!verifies(&wrong), "bit {} of {} hashes", bit, proof.len());
        }
        let (hashes, uncles) = proof.split_at(length);
        // The right hashes for another place, layer, file or root prove nothing.
        for place in [index + length as u64, index ^ length as u64] {
            // (In the padding, places are alike.)
            let alike = tree.hash(layer, place) == Some(hashes[0]);
            prop_assert!(alike || !verify_range(&root, file_length, layer, place, hashes, uncles));
        }
        let beyond = index + (1 << (tree.height() - layer));
        prop_assert!(!verify_range(&root, file_length, layer, beyond, hashes, uncles));
        prop_assert!(!verify_range(&root, file_length, layer + 1, index, hashes, uncles));
        prop_assert!(!verify_range(&root, 4 * file_length, layer, index, hashes, uncles));
        prop_assert!(!verify_range(&pad_hash(3), file_length, layer, index, hashes, uncles));
        prop_assert!(!verify_range(&root, file_length, layer, index, hashes, &[uncles, &[root]].concat()));
        // Parents in place of hashes are one layer short.
        let parents: Vec<Hash> = hashes.chunks(2).map(|pair| parent(&pair[0], &pair[1])).collect();
        prop_assert!(!verify_range(&root, file_length, layer, index / 2, &parents, uncles));
        // Hashes may stop where the data does, as long as that leaves the range its width.
        let data = layer_length(file_length, layer).saturating_sub(index);
        if data > length as u64 / 2 && data < length as u64 {
            prop_assert!(verify_range(&root, file_length, layer, index, &hashes[..data as usize], uncles));
        }
    }

    #[test]
    fn partial_proofs_lead_to_the_ancestor_where_they_end((count, (layer, index, length, proof_layers)) in tree_and_request()) {
        let tree = Tree::new(file_length(count), 0, leaves(count)).unwrap();
        let proof = tree.proof(layer, index, length, proof_layers).unwrap();
        let (hashes, uncles) = proof.split_at(length as usize);
        let up = length.ilog2() as u8 + uncles.len() as u8;
        prop_assert_eq!(range_root(layer, index, hashes, uncles), tree.hash(layer + up, index >> up));
    }

    #[test]
    fn leaves_below_a_stored_layer_are_proved_with_the_leaves_of_their_piece(
        (count, (_, index, length, proof_layers)) in tree_and_request(),
        base in 0_u8..11,
    ) {
        let (file_length, leaves) = (file_length(count), leaves(count));
        let base = base.min(height(file_length));
        let whole = Tree::new(file_length, 0, leaves.clone()).unwrap();
        let tree = Tree::new(file_length, base, layer_from_leaves(&leaves, base)).unwrap();
        prop_assert_eq!(tree.root(), whole.root());
        let expected = whole.proof(0, index, length, proof_layers);
        let needed = tree.leaves_needed(index, length, proof_layers);
        prop_assert_eq!(needed.is_some(), expected.is_some());
        if let Some(needed) = needed {
            let own = &leaves[needed.start as usize..needed.end as usize];
            prop_assert_eq!(tree.proof_from_leaves(own, index, length, proof_layers), expected);
        }
    }

    #[test]
    fn hostile_ranges_never_panic(
        layer: u8,
        index: u64,
        length: u32,
        proof_layers: u32,
        file_length: u64,
        hashes in prop::collection::vec(any::<Hash>(), 0..9),
        uncles in prop::collection::vec(any::<Hash>(), 0..70),
    ) {
        prop_assert!(!verify_range(&[1; 32], file_length, layer, index, &hashes, &uncles));
        let _ = range_root(layer, index, &hashes, &uncles);
        let _ = root_of_layer(&hashes, layer, file_length);
        let _ = uncle_count(length, proof_layers);
        let tree = Tree::new(super::tests::file_length(37), 2, leaves(10)).unwrap();
        let _ = tree.proof(layer, index, length, proof_layers);
        let _ = tree.leaves_needed(index, length, proof_layers);
        let _ = tree.proof_from_leaves(&hashes, index, length, proof_layers);
        let _ = tree.hash(layer, index);
        let _ = Tree::new(file_length, layer, hashes);
    }
}
