//! `shoal bench`: how fast this computer hashes and reads, and which of the two is the limit.
//!
//! Rates are of one core unless said, from the fastest of several short samples, taken of all kinds in turn: what else runs
//! on the machine slows single samples and not one kind. What limits is reckoned from them: a thread reads (a copy, or a
//! wait for the disk) and then hashes, on every core at once, and no faster than the disk gives.

mod kernels;
mod text;

use super::Outcome;
use crate::args::BenchArgs;
use crate::escape::escape_json;
use crate::exit::{Exit, Failure, OrExit};
use crate::report::Level;
use crate::run::Context;
use kernels::{Kernel, fastest};
use serde::Serialize;
use std::num::NonZero;
use std::path::{Path, PathBuf};

/// The object of `--json`: its keys are the contract.
#[derive(Serialize, Debug)]
struct Report {
    cores: usize,
    /// What `SHOAL_HASH_PATH` says.
    hash_path: &'static str,
    kernels: Vec<Kernel>,
    /// Copying memory, one core.
    copy_bytes_per_s: u64,
    read: Option<Read>,
    /// For each format: how fast it could be hashed with all cores, and what keeps it from more.
    limits: Vec<Limit>,
}

/// Reading what the user named.
#[derive(Serialize, Debug)]
struct Read {
    #[serde(serialize_with = "path_text")]
    path: PathBuf,
    bytes: u64,
    bytes_per_s: u64,
    /// Whether it came from the disk and not from memory.
    was_cold: bool,
}

/// What to expect of `create`, `share` and `verify`.
#[derive(Serialize, Debug, PartialEq, Eq)]
struct Limit {
    format: &'static str,
    bytes_per_s: u64,
    limit: &'static str,
}

/// Measures and prints.
pub(super) fn run(args: &BenchArgs, context: &Context) -> Outcome {
    let reporter = &context.reporter;
    reporter.say(Level::Normal, "measuring for about five seconds; other programs that run disturb it");
    let read = args.path.as_deref().map(|path| read(path, args.read)).transpose()?;
    let hash_path = shoal_hash::path();
    let kernels = kernels::measure(hash_path);
    let copy_bytes_per_s = kernels::copy_rate();
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let limits = limits(&kernels, copy_bytes_per_s, cores, read.as_ref());
    let hash_path = hash_path.map_or("auto", shoal_hash::Path::name);
    let report = Report { cores, hash_path, kernels, copy_bytes_per_s, read, limits };
    if args.json.json {
        let line = serde_json::to_string(&report).or_exit(Exit::Other, || "cannot write JSON".to_owned())?;
        reporter.print(&escape_json(&line));
    } else {
        reporter.print(text::render(&report).trim_end());
    }
    Ok(Exit::Done)
}

fn read(path: &Path, most: u64) -> Result<Read, Failure> {
    if !path.exists() {
        return Err(Failure::no_such_path(path));
    }
    let probe = shoal_storage::probe::read_rate(path, most).map_err(|(path, error)| Failure {
        exit: Exit::Disk,
        error: anyhow::Error::new(error).context(format!("cannot read {}", path.display())),
    })?;
    if probe.bytes == 0 {
        return Err(Failure::new(Exit::Usage, format!("{} holds no data to read", path.display())));
    }
    let bytes_per_s = kernels::rate(probe.bytes, probe.took);
    Ok(Read { path: path.to_path_buf(), bytes: probe.bytes, bytes_per_s, was_cold: probe.was_cold })
}

/// What each format could be hashed at.
fn limits(kernels: &[Kernel], copy: u64, cores: usize, read: Option<&Read>) -> Vec<Limit> {
    let best = |hash| fastest(kernels, hash) as f64;
    let (sha1, sha256) = (1.0 / best("sha1"), 1.0 / best("sha256"));
    // From memory, reading is work of the core that hashes: as measured, or else a copy.
    let warm = read.filter(|read| !read.was_cold).map_or(copy, |read| read.bytes_per_s) as f64;
    let disk = read.filter(|read| read.was_cold).map(|read| read.bytes_per_s);
    [("v1", sha1), ("v2", sha256), ("hybrid", sha1 + sha256)]
        .map(|(format, hashing)| {
            let processor = (cores as f64 / (hashing + 1.0 / warm)) as u64;
            match disk {
                Some(disk) if disk < processor => Limit { format, bytes_per_s: disk, limit: "disk" },
                _ => Limit { format, bytes_per_s: processor, limit: "processor" },
            }
        })
        .into()
}

fn path_text<S: serde::Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_disk_is_the_limit_and_a_fast_one_is_not() {
        let kernel = |hash, rate| Kernel {
            hash,
            path: "auto",
            messages: 16,
            message_bytes: 16_384,
            bytes_per_s: rate,
            times_plain: 1.0,
        };
        let kernels = [kernel("sha1", 6_000_000_000), kernel("sha1", 1_000_000_000), kernel("sha256", 3_000_000_000)];
        let read = |rate, was_cold| Read { path: PathBuf::from("x"), bytes: 1, bytes_per_s: rate, was_cold };
        let of = |read: Option<Read>| {
            limits(&kernels, 12_000_000_000, 2, read.as_ref())
                .into_iter()
                .map(|l| (l.bytes_per_s, l.limit))
                .collect::<Vec<_>>()
        };
        // A core takes 1/6 + 1/12 of a second for a gigabyte of v1.
        let memory = [(8_000_000_000, "processor"), (4_800_000_000, "processor"), (3_428_571_428, "processor")];
        assert_eq!(of(None), memory);
        assert_eq!(of(Some(read(500_000_000, true))), [(500_000_000, "disk"); 3]);
        let between = of(Some(read(4_000_000_000, true)));
        assert_eq!(between, [(4_000_000_000, "disk"), (4_000_000_000, "disk"), memory[2]]);
        // Slow reading from memory is the processor's own work.
        assert_eq!(of(Some(read(6_000_000_000, false)))[0], (6_000_000_000, "processor"));
    }
}
