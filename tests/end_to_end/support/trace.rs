//! Programs under `strace`: what they ask the system for, and faults that it is made to answer with.

use super::skip;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Whether `strace` is there and may trace.
pub(crate) fn can_trace() -> bool {
    let can = Command::new("strace").args(["-o", "/dev/null", "true"]).status().is_ok_and(|status| status.success());
    if !can {
        skip("strace cannot trace here");
    }
    can
}

/// The program that `strace` runs.
pub(crate) fn child_of(tracer: u32) -> u32 {
    let children = fs::read_to_string(format!("/proc/{tracer}/task/{tracer}/children")).unwrap();
    children.split_whitespace().next().expect("it has one").parse().unwrap()
}

/// A read that gave something.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Read {
    pub(crate) thread: u32,
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

/// The reads in what `strace -f -e trace=pread64` wrote.
pub(crate) fn reads(log: &Path) -> Vec<Read> {
    let log = fs::read_to_string(log).unwrap();
    let read = |line: &str| {
        // `7 pread64(9, "..."..., 1048576, 2097152) = 1048576`, or the end of such a line that was begun earlier.
        let (thread, call) = line.split_once(' ')?;
        let (arguments, result) = call.contains("pread64").then_some(call)?.rsplit_once(") = ")?;
        let length = result.split_whitespace().next()?.parse().ok()?;
        let offset = arguments.rsplit_once(", ")?.1.trim().parse().ok()?;
        Some(Read { thread: thread.parse().ok()?, offset, length })
    };
    log.lines().filter_map(read).filter(|read| read.length > 0).collect()
}
