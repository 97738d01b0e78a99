//! Which machine instructions hash, chosen once for the process.
//!
//! By default every path that this machine has takes part, and each batch takes the one that measured fastest at its width
//! (`kernels`). [`set_path`] narrows that to one path and the crates, so that a user can rule out a path and a benchmark can
//! compare them. This crate reads no environment: `SHOAL_HASH_PATH` is the driver's to read and to [`parse`](Path::parse).

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU8, Ordering};

/// A family of instructions that hashes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Path {
    /// 16 messages at once in AVX-512 lanes.
    Avx512 = 1,
    /// 8 messages at once in AVX2 lanes.
    Avx2 = 2,
    /// Two messages in turn through x86's SHA instructions.
    ShaNi = 3,
    /// 4 messages at once in NEON lanes.
    Neon = 4,
    /// The `sha1` and `sha2` crates, one message at a time.
    Portable = 5,
}

/// No path has this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no such hash path; there are auto, avx512, avx2, shani, neon and portable")]
pub struct UnknownPath;

/// This machine cannot run the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this machine has no {0}")]
pub struct PathUnavailable(
    /// The path.
    pub Path,
);

impl Path {
    /// All paths, of this machine or not.
    pub const ALL: [Path; 5] = [Path::Avx512, Path::Avx2, Path::ShaNi, Path::Neon, Path::Portable];

    /// Reads what `SHOAL_HASH_PATH` may say: a path's name, or `auto` (or nothing) for `None`.
    pub fn parse(name: &str) -> Result<Option<Path>, UnknownPath> {
        match name {
            "" | "auto" => Ok(None),
            name => name.parse().map(Some),
        }
    }

    /// Its name, as [`parse`](Self::parse) reads it.
    pub fn name(self) -> &'static str {
        match self {
            Path::Avx512 => "avx512",
            Path::Avx2 => "avx2",
            Path::ShaNi => "shani",
            Path::Neon => "neon",
            Path::Portable => "portable",
        }
    }

    /// Whether this machine has it.
    pub fn is_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Path::Avx512 => crate::kernels::avx512::is_available(),
            #[cfg(target_arch = "x86_64")]
            Path::Avx2 => crate::kernels::avx2::is_available(),
            #[cfg(target_arch = "x86_64")]
            Path::ShaNi => crate::kernels::shani::is_available(),
            #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
            Path::Neon => crate::kernels::neon::is_available(),
            Path::Portable => true,
            _ => false,
        }
    }
}

impl FromStr for Path {
    type Err = UnknownPath;
    fn from_str(name: &str) -> Result<Path, UnknownPath> {
        Path::ALL.into_iter().find(|path| path.name() == name).ok_or(UnknownPath)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// 0 for all paths, else a [`Path`]'s number.
static PATH: AtomicU8 = AtomicU8::new(0);

/// Lets all hashing from now on use this path and the crates only; `None` (the default) lets each batch take the best.
pub fn set_path(path: Option<Path>) -> Result<(), PathUnavailable> {
    if let Some(path) = path.filter(|path| !path.is_available()) {
        return Err(PathUnavailable(path));
    }
    PATH.store(path.map_or(0, |path| path as u8), Ordering::Relaxed);
    Ok(())
}

/// What [`set_path`] was told last.
pub fn path() -> Option<Path> {
    let number = PATH.load(Ordering::Relaxed);
    Path::ALL.into_iter().find(|&path| path as u8 == number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_parses_by_its_name_and_others_do_not() {
        for path in Path::ALL {
            assert_eq!(Path::parse(path.name()), Ok(Some(path)));
        }
        assert_eq!([Path::parse(""), Path::parse("auto")], [Ok(None), Ok(None)]);
        for name in ["AVX2", "sse2", "avx2 ", "avx512,avx2"] {
            assert_eq!(Path::parse(name), Err(UnknownPath), "{name}");
        }
    }

    // Other tests may run meanwhile: all paths give the same hashes.
    #[test]
    fn a_path_is_taken_if_the_machine_has_it_and_refused_if_not() {
        for path in Path::ALL {
            if path.is_available() {
                assert_eq!(set_path(Some(path)), Ok(()));
                assert_eq!(super::path(), Some(path));
                assert_eq!(crate::sha1(b"abc"), crate::Sha1::digest(b"abc"));
            } else {
                let before = super::path();
                assert_eq!(set_path(Some(path)), Err(PathUnavailable(path)));
                assert_eq!(super::path(), before);
            }
        }
        assert_eq!(set_path(None), Ok(()));
        assert_eq!(super::path(), None);
    }
}
