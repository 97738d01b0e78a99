//! The report for people: tables that fit a terminal of 80 columns.

use super::kernels::Kernel;
use super::{Limit, Read, Report};
use crate::escape::escape;
use crate::size;
use std::fmt::Write;

/// All of it.
pub(super) fn render(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    for (hash, name) in [("sha1", "SHA-1"), ("sha256", "SHA-256")] {
        let _ = writeln!(text, "{name}, one core, GB/s (times one message after the other):");
        table(&mut text, report.kernels.iter().filter(|kernel| kernel.hash == hash));
        text.push('\n');
    }
    let _ = writeln!(text, "Copying memory, one core: {} GB/s", gigabytes(report.copy_bytes_per_s));
    if let Some(read) = &report.read {
        let _ = writeln!(text, "{}", read_line(read));
    }
    let cores = size::count(report.cores as u64, "core");
    let _ = writeln!(text, "\nSharing and checking with {cores} can reach:");
    for Limit { format, bytes_per_s, limit } in &report.limits {
        let _ = writeln!(text, "  {format:7} {:>6} GB/s; the {limit} is the limit", gigabytes(*bytes_per_s));
    }
    text
}

fn read_line(Read { path, bytes, bytes_per_s, was_cold }: &Read) -> String {
    let from = if *was_cold { "from its disk" } else { "from memory, where it stays: this says nothing of a disk" };
    let path = path.to_string_lossy();
    format!("Reading {} of {}: {} GB/s, {from}", size::bytes(*bytes), escape(&path), gigabytes(*bytes_per_s))
}

/// A row for each batch, a column for each path.
fn table<'a>(text: &mut String, kernels: impl Iterator<Item = &'a Kernel>) {
    let mut rows: Vec<Vec<&Kernel>> = Vec::new();
    for kernel in kernels {
        let batch = (kernel.messages, kernel.message_bytes);
        match rows.last_mut() {
            Some(row) if row.last().is_some_and(|last| (last.messages, last.message_bytes) == batch) => {
                row.push(kernel)
            }
            _ => rows.push(vec![kernel]),
        }
    }
    let _ = write!(text, "  {:11}", "");
    for kernel in rows.first().into_iter().flatten() {
        let _ = write!(text, "{:>13}", kernel.path);
    }
    text.push('\n');
    for row in &rows {
        let Some(first) = row.first() else { continue };
        let _ = write!(text, "  {:>2} x {:>6}", first.messages, short_size(first.message_bytes));
        for kernel in row {
            let times = if kernel.path == "portable" { String::new() } else { format!(" ({:.2})", kernel.times_plain) };
            let _ = write!(text, "{:>13}", format!("{}{times}", gigabytes(kernel.bytes_per_s)));
        }
        text.push('\n');
    }
}

fn short_size(bytes: usize) -> String {
    if bytes < 1 << 20 { format!("{} KiB", bytes >> 10) } else { format!("{} MiB", bytes >> 20) }
}

/// In GB (10^9 bytes), as the field gives such rates.
fn gigabytes(bytes_per_s: u64) -> String {
    format!("{:.2}", bytes_per_s as f64 / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_batches_columns_are_paths_and_all_fit_a_terminal() {
        let mut kernels = Vec::new();
        for hash in ["sha1", "sha256"] {
            for messages in [1, 16] {
                for path in ["auto", "avx512", "avx2", "shani", "portable"] {
                    let bytes_per_s = 12_345_000_000;
                    kernels.push(Kernel {
                        hash,
                        path,
                        messages,
                        message_bytes: 16_384,
                        bytes_per_s,
                        times_plain: 3.456,
                    });
                }
            }
        }
        let read = Some(Read { path: "a\u{1b}b".into(), bytes: 1 << 30, bytes_per_s: 500_000_000, was_cold: true });
        let limits = vec![Limit { format: "hybrid", bytes_per_s: 500_000_000, limit: "disk" }];
        let report = Report { cores: 2, hash_path: "auto", kernels, copy_bytes_per_s: 9_990_000_000, read, limits };
        let text = render(&report);
        assert!(text.lines().all(|line| line.len() <= 80), "{text}");
        assert!(text.contains("  16 x 16 KiB 12.35 (3.46) 12.35 (3.46)"), "{text}");
        assert_eq!(text.matches("1 x 16 KiB").count(), 2);
        assert!(text.contains("Reading 1.0 GiB of a\\u{1b}b: 0.50 GB/s, from its disk"), "{text}");
        assert!(text.contains("hybrid    0.50 GB/s; the disk is the limit"), "{text}");
    }
}
