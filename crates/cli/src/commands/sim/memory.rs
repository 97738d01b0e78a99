//! How much memory there is, and how much was used.

/// Bytes that this process has had in memory at most; `None` where the system does not say.
pub(super) fn peak_rss() -> Option<u64> {
    kilobytes("/proc/self/status", "VmHWM:")
}

/// Bytes that could be used now without swapping; `None` where the system does not say.
pub(super) fn available() -> Option<u64> {
    kilobytes("/proc/meminfo", "MemAvailable:")
}

/// A figure out of one of the kernel's lists (proc(5)).
fn kilobytes(file: &str, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells() {
        assert!(peak_rss().is_some_and(|bytes| bytes > 1 << 20));
        assert!(available().is_some_and(|bytes| bytes > 1 << 20));
        assert_eq!(kilobytes("/proc/self/status", "NoSuchLine:"), None);
    }
}
