//! Merkle proofs of hash requests: the right one counts, and nothing else does, whatever is changed in it.
#![no_main]

use arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use shoal_hash::merkle::{self, Hash};

fn run(u: &mut Unstructured<'_>) -> Result<()> {
    let tree = shoal_fuzz::session::tree(u)?;
    let (root, length) = (tree.root(), tree.file_length());
    let layer = if u.ratio(1, 8)? { u.arbitrary()? } else { u.int_in_range(tree.base()..=tree.height())? };
    let small = |u: &mut Unstructured<'_>, most| if u.ratio(1, 8)? { u.arbitrary() } else { u.int_in_range(0..=most) };
    let count = 1_u32 << u.int_in_range(0..=7)?;
    let index = small(u, 64)? / count * count;
    let proof_layers = small(u, 8)?;
    let Some(hashes) = tree.proof(layer, u64::from(index), count, proof_layers) else { return Ok(()) };
    assert!(hashes.len() <= 512 + 64);
    assert_eq!(hashes.len() as u32, count + merkle::uncle_count(count, proof_layers));
    let (run, uncles) = hashes.split_at(count as usize);
    let whole = merkle::verify_range(&root, length, layer, u64::from(index), run, uncles);
    let reaches_root = u32::from(layer) + count.ilog2() + uncles.len() as u32 == u32::from(tree.height());
    assert_eq!(whole, reaches_root);
    // Forged: any bit, any place, any length, any other index or layer.
    let mut forged: Vec<Hash> = hashes.clone();
    let (mut at, mut forged_layer, mut cut) = (u64::from(index), layer, count as usize);
    match u.int_in_range(0..=4)? {
        0 => {
            let (place, byte) = (u.choose_index(forged.len())?, u.int_in_range(0..=31)?);
            forged[place][byte] ^= u.int_in_range(1..=255)?;
        }
        1 => at = u.arbitrary()?,
        2 => forged_layer = u.arbitrary()?,
        3 => {
            forged.truncate(u.choose_index(forged.len())?);
            cut = cut.min(forged.len());
        }
        _ => forged.push(u.arbitrary()?),
    }
    let same = forged == hashes && at == u64::from(index) && forged_layer == layer;
    let (run, uncles) = forged.split_at(cut);
    if merkle::verify_range(&root, length, forged_layer, at, run, uncles) && !same {
        // The hashes beyond the data are known to everybody, so a run may end before them, or hold them; and blocks that
        // are alike have proofs that are alike. What counts is that each hash is the tree's own.
        for (offset, hash) in run.iter().enumerate() {
            assert_eq!(tree.hash(forged_layer, at + offset as u64), Some(*hash));
        }
    }
    Ok(())
}

fuzz_target!(|bytes: &[u8]| {
    let _ended = run(&mut Unstructured::new(bytes));
});
