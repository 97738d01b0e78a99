//! Hashing and copying on one core.

use serde::Serialize;
use shoal_hash::Path;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// A sample runs at least so long. Chosen: long beside the clock's resolution, short beside a scheduler's turn.
const SAMPLE: Duration = Duration::from_millis(3);
/// Samples of each kind. Chosen: one of so many is undisturbed on a machine that also does other things.
const SAMPLES: usize = 7;
/// How many messages at once, and of what length: each number that has a kernel of its own or falls between two.
const BATCHES: [(usize, usize); 12] = [
    (1, 16 << 10),
    (2, 16 << 10),
    (3, 16 << 10),
    (4, 16 << 10),
    (6, 16 << 10),
    (8, 16 << 10),
    (12, 16 << 10),
    (16, 16 << 10),
    (32, 16 << 10),
    (1, 1 << 20),
    (8, 1 << 20),
    (16, 1 << 20),
];
/// Where the processor reads fastest from.
const ALIGNMENT: usize = 64;
/// Copied at once: more than any cache holds.
const COPY_BYTES: usize = 64 << 20;

/// One figure.
#[derive(Serialize, Debug, Clone, PartialEq)]
pub(super) struct Kernel {
    /// `sha1` or `sha256`.
    pub(super) hash: &'static str,
    /// The kind of instructions; `auto`: the best of them for this number of messages; `portable`: plain code, one message
    /// at a time, with the processor's SHA instructions if it has them.
    pub(super) path: &'static str,
    pub(super) messages: usize,
    pub(super) message_bytes: usize,
    pub(super) bytes_per_s: u64,
    /// Beside `portable` on the same messages.
    pub(super) times_plain: f64,
}

/// Bytes a second.
pub(super) fn rate(bytes: u64, took: Duration) -> u64 {
    u64::try_from(u128::from(bytes) * 1_000_000_000 / took.as_nanos().max(1)).unwrap_or(u64::MAX)
}

/// The best rate of a hash.
pub(super) fn fastest(kernels: &[Kernel], hash: &str) -> u64 {
    kernels
        .iter()
        .filter(|kernel| kernel.hash == hash && kernel.path != "portable")
        .map(|k| k.bytes_per_s)
        .max()
        .unwrap_or(1)
}

/// All figures. `chosen`: what the user narrowed hashing to; it is so again afterwards.
pub(super) fn measure(chosen: Option<Path>) -> Vec<Kernel> {
    let most = BATCHES.iter().map(|(messages, bytes)| messages * bytes).max().unwrap_or(0);
    let memory: Vec<u8> = (0..most + ALIGNMENT).map(|at| (at * 31 + at / 251) as u8).collect();
    let data = &memory[memory.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT)..];
    // What users get comes first, and what it is compared with last.
    let mut paths = vec![("auto", None)];
    match chosen {
        Some(path) => paths = vec![(path.name(), Some(path))],
        None => {
            paths.extend(Path::ALL.into_iter().filter(|path| path.is_available()).map(|path| (path.name(), Some(path))))
        }
    }
    paths.retain(|(_, path)| *path != Some(Path::Portable));
    paths.push(("portable", Some(Path::Portable)));
    let mut kernels = Vec::new();
    for hash in ["sha1", "sha256"] {
        for (messages, message_bytes) in BATCHES {
            let batch: Vec<&[u8]> = data.chunks(message_bytes).take(messages).collect();
            let times = times(hash, &batch, &paths);
            let plain = times.last().copied().unwrap_or(SAMPLE);
            kernels.extend(paths.iter().zip(&times).map(|(&(path, _), &time)| Kernel {
                hash,
                path,
                messages,
                message_bytes,
                bytes_per_s: rate((messages * message_bytes) as u64, time),
                times_plain: plain.as_secs_f64() / time.as_secs_f64(),
            }));
        }
    }
    // It was available when it was chosen.
    let _ = shoal_hash::set_path(chosen);
    kernels
}

/// The least time that each path took for a batch.
fn times(hash: &str, batch: &[&[u8]], paths: &[(&str, Option<Path>)]) -> Vec<Duration> {
    let (mut sha1s, mut sha256s) = (vec![[0; 20]; batch.len()], vec![[0; 32]; batch.len()]);
    let mut run = || match hash {
        "sha1" => shoal_hash::sha1_many(black_box(batch), black_box(&mut sha1s)),
        _ => shoal_hash::sha256_many(black_box(batch), black_box(&mut sha256s)),
    };
    let mut best = vec![Duration::MAX; paths.len()];
    for _ in 0..SAMPLES {
        for ((_, path), best) in paths.iter().zip(&mut best) {
            if shoal_hash::set_path(*path).is_ok() {
                *best = (*best).min(sample(&mut run));
            }
        }
    }
    best
}

/// Copying memory, both ends counted once.
pub(super) fn copy_rate() -> u64 {
    let from = vec![1_u8; COPY_BYTES];
    let mut to = vec![0_u8; COPY_BYTES];
    let best = (0..SAMPLES).map(|_| sample(&mut || black_box(&mut to).copy_from_slice(black_box(&from)))).min();
    rate(COPY_BYTES as u64, best.unwrap_or(SAMPLE))
}

/// How long one run takes, from as many as fill a sample.
fn sample(run: &mut impl FnMut()) -> Duration {
    let (began, mut runs) = (Instant::now(), 0);
    loop {
        run();
        runs += 1;
        let took = began.elapsed();
        if took >= SAMPLE {
            return (took / runs).max(Duration::from_nanos(1));
        }
    }
}
