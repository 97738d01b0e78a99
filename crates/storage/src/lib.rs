//! Files on disk: safe paths, part files, locks, resume state, and reading for creation and checking.
//!
//! All calls block: they are made from disk threads, never from a task. Shape: [`path`] makes names safe, [`Place`]
//! says where each file of a torrent lies, [`Storage`] reads and writes runs of a torrent's address space there,
//! [`Lock`] keeps a second process away, [`Resume`] remembers what is right on disk, [`hashing`] reads everything once
//! to check or to create, [`source`] finds what there is to create from. Whatever is special to Linux stands in `sys`.
//!
//! Invariants: payload is only opened below a folder handle and never through a symlink; nothing is written outside the
//! output folder and the state folder; nothing unverified is written (the caller hashes first); a piece stands in the
//! journal only after its bytes were synced.

mod error;
mod finish;
pub mod hashing;
mod identity;
mod lock;
mod open_files;
pub mod order;
mod part;
pub mod path;
mod place;
pub mod probe;
mod resume;
pub mod source;
mod storage;
mod sys;
#[cfg(test)]
mod tests;

pub use error::StorageError;
pub use finish::Finish;
pub use identity::{Identity, default_state_dir, forget, load_torrent, save_torrent};
pub use lock::{Lock, LockError};
pub use open_files::OpenFiles;
pub use part::part_name;
pub use place::Place;
pub use resume::{
    CRASH_WINDOW_NS, Disk, FileStat, FileStats, Flush, Found, Keeper, Resume, ResumeError, Resumed, Verdict,
};
pub use storage::{Mode, Space, Storage};
pub use sys::{descriptor_limit, free_bytes, replace_file};
