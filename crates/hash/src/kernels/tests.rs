//! Every kernel that this machine can run, at every width, against the crates.
//!
//! A table that holds one kernel only makes it run batches that the measured tables would give to another.

use super::*;
use crate::state::Hasher;
use proptest::prelude::*;
use sha1::Digest as _;

/// An algorithm and the crate that says what is right.
trait Oracle: Kernels + crate::Algorithm {
    fn expected(message: &[u8]) -> Self::Digest;
}

impl Oracle for Sha1Algorithm {
    fn expected(message: &[u8]) -> [u8; 20] {
        sha1::Sha1::digest(message).into()
    }
}

impl Oracle for Sha256Algorithm {
    fn expected(message: &[u8]) -> [u8; 32] {
        sha2::Sha256::digest(message).into()
    }
}

/// Calls `check` with a table for each kernel, and with the tables that users get.
fn each_table<A: Kernels>(check: impl Fn(&Table<A>, &str)) {
    for kernel in A::kernels().iter().filter(|kernel| (kernel.is_available)()) {
        check(&Table { best: [kernel; MAX_LANES] }, &format!("only {} of {} lanes", kernel.path, kernel.lanes));
    }
    for path in Path::ALL.into_iter().filter(|path| path.is_available()) {
        check(Table::of(Some(path)), &format!("path {path}"));
    }
    check(Table::of(None), "all paths");
}

/// Bytes that look random and differ between messages.
fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    })
    .take(length)
    .collect()
}

fn check_digests<A: Oracle>(messages: &[Vec<u8>])
where
    A::Digest: PartialEq + std::fmt::Debug,
{
    let expected: Vec<_> = messages.iter().map(|message| A::expected(message)).collect();
    each_table::<A>(|table, name| {
        let mut found = vec![A::NO_DIGEST; messages.len()];
        Hasher::<A>::digest_each_by(table, messages.iter().map(Vec::as_slice), &mut found);
        for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
            assert_eq!(
                found,
                expected,
                "{name}: message {index} of {}, {} bytes",
                messages.len(),
                messages[index].len()
            );
        }
    });
}

/// Feeds each message in the parts that `cuts` say, all hashers side by side, and checks a clone on the way.
fn check_parts<A: Oracle>(messages: &[(Vec<u8>, Vec<usize>)])
where
    A::Digest: PartialEq + std::fmt::Debug,
{
    let steps = messages.iter().map(|(_, cuts)| cuts.len()).max().unwrap_or(0) + 1;
    each_table::<A>(|table, name| {
        let mut hashers = vec![Hasher::<A>::new(); messages.len()];
        let mut fed = vec![0; messages.len()];
        for step in 0..steps {
            let mut updates = Vec::new();
            for ((hasher, fed), (message, cuts)) in hashers.iter_mut().zip(&mut fed).zip(messages) {
                let end = cuts.get(step).map_or(message.len(), |&cut| (*fed + cut).min(message.len()));
                updates.push((hasher, &message[*fed..end]));
                *fed = end;
            }
            Hasher::update_many_by(table, &mut updates);
            for ((hasher, &fed), (message, _)) in hashers.iter().zip(&fed).zip(messages) {
                assert_eq!(
                    hasher.clone().finish(),
                    A::expected(&message[..fed]),
                    "{name}: {fed} of {} bytes",
                    message.len()
                );
            }
        }
    });
}

fn every_length_and_width<A: Oracle>()
where
    A::Digest: PartialEq + std::fmt::Debug,
{
    let all: Vec<Vec<u8>> = (0..=1100).map(|length| bytes(length as u64, length)).collect();
    check_digests::<A>(&all);
    let mut longest_first = all.clone();
    longest_first.reverse();
    check_digests::<A>(&longest_first);
    for length in 0..=1100 {
        // So many of a kind: all lanes in step.
        check_digests::<A>(
            &(0..MAX_LANES).map(|lane| bytes((lane * 2000 + length) as u64, length)).collect::<Vec<_>>(),
        );
    }
    for width in 0..=70 {
        check_digests::<A>(&(0..width).map(|lane| bytes(lane as u64, 700)).collect::<Vec<_>>());
        check_digests::<A>(&(0..width).map(|lane| bytes(lane as u64, 3000 + lane * 37)).collect::<Vec<_>>());
        check_digests::<A>(&(0..width).map(|lane| bytes(lane as u64, lane % 3 * 63)).collect::<Vec<_>>());
    }
}

#[test]
fn sha1_of_every_length_and_width_is_that_of_the_crate() {
    every_length_and_width::<Sha1Algorithm>();
}

#[test]
fn sha256_of_every_length_and_width_is_that_of_the_crate() {
    every_length_and_width::<Sha256Algorithm>();
}

#[test]
fn pairs_of_hashes_hash_as_by_the_crate_on_every_path() {
    for count in (0..70).chain([1001]) {
        let hashes: Vec<[u8; 32]> = (0..count).map(|index| sha2::Sha256::digest([index as u8; 9]).into()).collect();
        let pairs = hashes.as_flattened().chunks_exact(64);
        let expected: Vec<[u8; 32]> = pairs.map(|pair| sha2::Sha256::digest(pair).into()).collect();
        each_table(|table, name| {
            assert_eq!(crate::pairs::digest_pairs(table, &hashes), expected, "{name}: {count} hashes")
        });
    }
}

#[test]
fn every_split_in_two_gives_the_same_hash() {
    for width in [1, 2, 3, 7, 8, 9, 16, 17, 32, 33] {
        for cut in (0..200).chain([255, 256, 257, 1023]) {
            let messages: Vec<_> =
                (0..width).map(|lane| (bytes(lane as u64, 1100 - lane * 5), vec![(cut + lane * 11) % 1100])).collect();
            check_parts::<Sha1Algorithm>(&messages);
            check_parts::<Sha256Algorithm>(&messages);
        }
    }
}

proptest! {
    #[test]
    fn random_messages_hash_as_by_the_crates(lengths in prop::collection::vec(0_usize..40_000, 0..70), seed: u64) {
        let messages: Vec<_> =
            lengths.iter().enumerate().map(|(lane, &length)| bytes(seed ^ lane as u64, length)).collect();
        check_digests::<Sha1Algorithm>(&messages);
        check_digests::<Sha256Algorithm>(&messages);
    }

    #[test]
    fn messages_fed_in_random_parts_hash_as_by_the_crates(
        messages in prop::collection::vec((0_usize..5_000, prop::collection::vec(0_usize..700, 0..8)), 0..70),
        seed: u64,
    ) {
        let messages: Vec<_> = messages
            .into_iter()
            .enumerate()
            .map(|(lane, (length, cuts))| (bytes(seed ^ lane as u64, length), cuts))
            .collect();
        check_parts::<Sha1Algorithm>(&messages);
        check_parts::<Sha256Algorithm>(&messages);
    }
}

#[test]
fn kernels_refuse_runs_that_they_cannot_feed() {
    for kernel in
        Sha1Algorithm::kernels().iter().filter(|kernel| kernel.path != Path::Portable && (kernel.is_available)())
    {
        let blocks = [[0; BLOCK]; 2];
        let compress = kernel.compress;
        let mut rows = Sha1Algorithm::NO_ROWS;
        let mut runs = vec![&blocks[..]; kernel.lanes];
        runs[1] = &blocks[..1];
        assert!(std::panic::catch_unwind(move || compress(&mut rows, &runs)).is_err(), "runs of two lengths");
        let runs = vec![&blocks[..]; kernel.lanes - 1];
        assert!(std::panic::catch_unwind(move || compress(&mut rows, &runs)).is_err(), "too few runs");
    }
}

#[test]
fn one_message_alone_never_takes_lanes() {
    for path in Path::ALL.into_iter().map(Some).chain([None]) {
        assert_eq!(Table::<Sha1Algorithm>::of(path).kernel(1).lanes, 1);
        assert_eq!(Table::<Sha256Algorithm>::of(path).kernel(1).lanes, 1);
    }
}

/// Kernels that hash nothing, for looking at the table alone.
fn kernel(path: Path, lanes: usize, speed: f32) -> &'static Kernel<Sha1Algorithm> {
    Box::leak(Box::new(Kernel { path, is_available: || true, lanes, speed, compress: portable::<Sha1Algorithm> }))
}

#[test]
fn the_table_takes_the_cheapest_sequence_of_kernels() {
    let kernels = [
        kernel(Path::Avx512, 16, 4.0),
        kernel(Path::Avx2, 8, 3.0),
        kernel(Path::ShaNi, 2, 1.6),
        kernel(Path::Portable, 1, 1.0),
    ];
    let table = Table::new(kernels.into_iter());
    let lanes: Vec<usize> = (1..=16).map(|messages| table.kernel(messages).lanes).collect();
    // Costs: 4 for 16 lanes, 2.67 for 8, 1.25 for a pair, 1 for one. So 4 are two pairs, 10 are 8 and a pair (3.92), and
    // 11 run in 16 lanes, because 8, 2 and 1 cost 4.92.
    assert_eq!(lanes, [1, 2, 2, 2, 8, 8, 8, 8, 8, 8, 16, 16, 16, 16, 16, 16]);
}
