//! The kernels against the `sha1` and `sha2` crates, on each path and for several batch widths.
//!
//! `cargo bench -p shoal-hash --bench kernels`. Criterion reports each; the table at the end gives, for each, gigabytes per
//! second and the ratio to the crates' speed on the same messages in the same run (both from the fastest sample).

#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "a benchmark looks at the clock")]

use criterion::{BenchmarkId, Criterion, Throughput};
use sha1::Digest as _;
use shoal_hash::{Hasher, Path, Sha1Algorithm, Sha256Algorithm, set_path};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// A way to hash a batch.
type Batch<'a> = &'a mut dyn FnMut(&[&[u8]]);

/// Runs `batch` under criterion, and gives its best time for the batch.
fn measure(c: &mut Criterion, group: &str, id: BenchmarkId, messages: &[&[u8]], batch: Batch<'_>) -> Duration {
    let mut best = Duration::MAX;
    let mut group = c.benchmark_group(group);
    group.throughput(Throughput::Bytes(messages.iter().map(|message| message.len() as u64).sum()));
    group.bench_function(id, |bencher| {
        bencher.iter_custom(|iterations| {
            let start = Instant::now();
            for _ in 0..iterations {
                batch(black_box(messages));
            }
            let elapsed = start.elapsed();
            best = best.min(elapsed / u32::try_from(iterations).unwrap_or(u32::MAX));
            elapsed
        });
    });
    group.finish();
    best
}

fn compare<A: shoal_hash::Algorithm>(c: &mut Criterion, hash: &str, crates: fn(&[u8]), table: &mut Vec<String>)
where
    A::Digest: Default,
{
    let data: Vec<u8> = (0..40_u64 << 20).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect();
    for (size, name) in [(64, "64 B"), (16 << 10, "16 KiB"), (1 << 20, "1 MiB")] {
        for width in [1, 2, 3, 4, 5, 6, 8, 12, 16, 32] {
            if size < 1 << 10 && width < 16 {
                continue;
            }
            let messages: Vec<&[u8]> = data.chunks(size).take(width).collect();
            let bytes = (size * width) as f64;
            let group = format!("{hash} of {width} x {name}");
            let base = measure(c, &group, BenchmarkId::from_parameter("crate"), &messages, &mut |messages| {
                messages.iter().for_each(|message| crates(message));
            });
            let rate = |time: Duration| bytes / time.as_nanos() as f64;
            let mut line = format!("{hash:7} {name:>6} x {width:<2}  crate {:5.2}", rate(base));
            for path in [None, Some(Path::Avx512), Some(Path::Avx2), Some(Path::ShaNi), Some(Path::Neon)] {
                if set_path(path).is_err() {
                    continue;
                }
                let path = path.map_or("auto", Path::name);
                let mut out = vec![A::Digest::default(); width];
                let time = measure(c, &group, BenchmarkId::from_parameter(path), &messages, &mut |messages| {
                    Hasher::<A>::digest_many(messages, &mut out);
                    black_box(&mut out);
                });
                line += &format!("  {path} {:5.2} ({:4.2}x)", rate(time), base.as_secs_f64() / time.as_secs_f64());
            }
            table.push(line);
        }
    }
}

fn main() {
    let mut c = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(400))
        .configure_from_args();
    let mut table = Vec::new();
    let sha1_crate = |message: &[u8]| {
        black_box(sha1::Sha1::digest(message));
    };
    let sha256_crate = |message: &[u8]| {
        black_box(sha2::Sha256::digest(message));
    };
    compare::<Sha1Algorithm>(&mut c, "SHA-1", sha1_crate, &mut table);
    compare::<Sha256Algorithm>(&mut c, "SHA-256", sha256_crate, &mut table);
    println!("\nGB/s on one core (ratio to the crate)");
    table.iter().for_each(|line| println!("{line}"));
}
