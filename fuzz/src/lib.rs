//! What the fuzz targets share: a bound on memory, an independent reader of bencode, and values made of fuzzer's bytes.

pub mod plain;
pub mod session;
pub mod torrents;
pub mod traces;

use cap::Cap;
use std::alloc::System;

/// The bound of reliability.md Z2, exact: an allocation beyond it fails, which ends the run as a crash.
#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, 256 << 20);
