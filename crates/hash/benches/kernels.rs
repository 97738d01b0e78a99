//! The kernels and trees against the `sha1` and `sha2` crates, on each path and for several batch widths.
//!
//! `cargo bench -p shoal-hash --bench kernels`. Criterion reports each; the table at the end gives, for each, gigabytes per
//! second and the ratio to the crates' speed on the same messages in the same run (both from the fastest sample).

#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "a benchmark looks at the clock")]

use criterion::{BenchmarkId, Criterion, Throughput};
use sha1::Digest as _;
use shoal_hash::merkle::Tree;
use shoal_hash::{Algorithm, BLOCK_LENGTH, Hasher, Path, Sha1Algorithm, Sha256Algorithm, set_path};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Runs `batch` under criterion, and gives its best time.
fn measure(c: &mut Criterion, group: &str, id: &str, bytes: usize, mut batch: impl FnMut()) -> Duration {
    let mut best = Duration::MAX;
    let mut group = c.benchmark_group(group);
    group.throughput(Throughput::Bytes(bytes as u64));
    group.bench_function(BenchmarkId::from_parameter(id), |bencher| {
        bencher.iter_custom(|iterations| {
            let start = Instant::now();
            for _ in 0..iterations {
                batch();
            }
            let elapsed = start.elapsed();
            best = best.min(elapsed / u32::try_from(iterations).unwrap_or(u32::MAX));
            elapsed
        });
    });
    group.finish();
    best
}

/// Measures the crates and then each path of this machine, and gives a line of the table.
fn compare(c: &mut Criterion, what: &str, bytes: usize, mut crates: impl FnMut(), mut lanes: impl FnMut()) -> String {
    let base = measure(c, what, "crates", bytes, &mut crates);
    let rate = |time: Duration| bytes as f64 / time.as_nanos() as f64;
    let mut line = format!("{what:28} crates {:5.2}", rate(base));
    for path in [None, Some(Path::Avx512), Some(Path::Avx2), Some(Path::ShaNi), Some(Path::Neon)] {
        if set_path(path).is_ok() {
            let name = path.map_or("auto", Path::name);
            let time = measure(c, what, name, bytes, &mut lanes);
            line += &format!("  {name} {:5.2} ({:4.2}x)", rate(time), base.as_secs_f64() / time.as_secs_f64());
        }
    }
    line
}

/// Whole messages.
fn digests<A: Algorithm>(c: &mut Criterion, hash: &str, data: &[u8], crates: fn(&[u8]), table: &mut Vec<String>)
where
    A::Digest: Default,
{
    for (size, name) in [(64, "64 B"), (BLOCK_LENGTH, "16 KiB"), (1 << 20, "1 MiB")] {
        for width in [1, 2, 3, 4, 6, 8, 12, 16, 32] {
            // One byte aside, messages are not aligned; that matters where they are a power of two apart.
            for (shift, aside) in [(0, ""), (1, " aside")] {
                if (size == 64 || shift == 1) && width != 16 {
                    continue;
                }
                let messages: Vec<&[u8]> = data[shift..].chunks(size).take(width).collect();
                let mut out = vec![A::Digest::default(); width];
                table.push(compare(
                    c,
                    &format!("{hash} {width} x {name}{aside}"),
                    size * width,
                    || black_box(&messages).iter().for_each(|message| crates(message)),
                    || Hasher::<A>::digest_many(black_box(&messages), black_box(&mut out)),
                ));
            }
        }
    }
}

/// Eight messages that arrive 16 KiB at a time, as v1 pieces do from a fast peer.
fn updates(c: &mut Criterion, data: &[u8], table: &mut Vec<String>) {
    let mut crates = vec![sha1::Sha1::new(); 8];
    let mut hashers = vec![Hasher::<Sha1Algorithm>::new(); 8];
    table.push(compare(
        c,
        "SHA-1 8 updates of 16 KiB",
        8 * BLOCK_LENGTH,
        || crates.iter_mut().zip(data.chunks(BLOCK_LENGTH)).for_each(|(hasher, block)| hasher.update(block)),
        || {
            let mut updates: Vec<_> = hashers.iter_mut().zip(data.chunks(BLOCK_LENGTH)).collect();
            Hasher::update_many(&mut updates);
        },
    ));
}

/// The tree over the leaves of a file of 1 GiB.
fn tree(c: &mut Criterion, table: &mut Vec<String>) {
    let length = 1 << 30;
    let leaves = vec![[7; 32]; length / BLOCK_LENGTH];
    table.push(compare(
        c,
        "tree over 65,536 leaves",
        leaves.as_flattened().len(),
        || {
            let mut layer = leaves.clone();
            while layer.len() > 1 {
                layer = layer.as_flattened().chunks(64).map(|pair| sha2::Sha256::digest(pair).into()).collect();
            }
            black_box(layer);
        },
        || drop(black_box(Tree::new(length as u64, 0, leaves.clone()))),
    ));
}

fn main() {
    let mut c = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(50))
        .measurement_time(Duration::from_millis(200))
        .configure_from_args();
    let buffer: Vec<u8> = (0..40_u64 << 20).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect();
    // From a multiple of 64 bytes on, like the blocks of a pool.
    let data = &buffer[buffer.as_ptr().align_offset(64)..];
    let mut table = Vec::new();
    let sha1_crate = |message: &[u8]| {
        black_box(sha1::Sha1::digest(message));
    };
    let sha256_crate = |message: &[u8]| {
        black_box(sha2::Sha256::digest(message));
    };
    digests::<Sha1Algorithm>(&mut c, "SHA-1", data, sha1_crate, &mut table);
    digests::<Sha256Algorithm>(&mut c, "SHA-256", data, sha256_crate, &mut table);
    updates(&mut c, data, &mut table);
    tree(&mut c, &mut table);
    println!("\nGB/s on one core (ratio to the crates)");
    table.iter().for_each(|line| println!("{line}"));
}
