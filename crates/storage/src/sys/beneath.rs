//! Opening, creating and removing below a folder's handle, never through a symlink.
//!
//! Payload is opened by `openat2(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)`; where the kernel or a sandbox refuses that call,
//! component by component with `O_NOFOLLOW`, which is as strict (the folders above are held open by handle) and takes a call more
//! per folder. Invariant: nothing above the folder, and nothing behind a symlink, is ever opened.

use super::is;
use crate::FileStat;
use crate::path::SafePath;
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// Longer paths are walked (`PATH_MAX` is 4096 with its NUL).
const MAX_PATH_BYTES: usize = 4000;

/// Set once the kernel said that it has no `openat2`.
static NO_OPENAT2: AtomicBool = AtomicBool::new(false);

/// A folder as a starting point; symlinks in its path are the user's own and are followed.
pub(crate) fn open_folder(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// For reading.
    Read,
    /// For reading and writing; must exist.
    Write,
    /// For reading and writing, with its folders, created if it does not exist.
    Create,
}

impl Access {
    fn flags(self) -> OFlags {
        // NONBLOCK: opening a fifo that somebody put there must not wait for its other end.
        let common = OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        match self {
            Access::Read => common | OFlags::RDONLY,
            Access::Write => common | OFlags::RDWR,
            Access::Create => common | OFlags::RDWR | OFlags::CREATE,
        }
    }
}

/// What [`open_below`] opened.
pub(crate) struct Opened {
    pub(crate) file: File,
    /// Whether it was created by this call, or at least holds nothing yet.
    pub(crate) new: bool,
}

/// Opens a regular file below a folder, never through a symlink. `Errno::LOOP` names a symlink, `NODEV` what is no
/// regular file.
pub(crate) fn open_below(folder: &OwnedFd, path: &SafePath, access: Access) -> io::Result<Opened> {
    let file = match open_beneath(folder, path, access.flags()) {
        Err(error) if access == Access::Create && is(&error, Errno::NOENT) => {
            create_folders(folder, path)?;
            open_beneath(folder, path, access.flags())?
        }
        other => other?,
    };
    let file = File::from(file);
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(Errno::NODEV.into());
    }
    Ok(Opened { new: access == Access::Create && metadata.len() == 0, file })
}

/// Opens the folder at `path` below `folder`, never through a symlink.
pub(crate) fn open_folder_below(folder: &OwnedFd, path: &SafePath) -> io::Result<OwnedFd> {
    open_beneath(folder, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC)
}

/// Size, time and number of a regular file below a folder, and the bytes that it takes on the disk; `None` if there is
/// nothing. `Errno::LOOP` names a symlink, `NODEV` what is no regular file.
pub(crate) fn stat_below(folder: &OwnedFd, path: &SafePath) -> io::Result<Option<(FileStat, u64)>> {
    #[cfg(target_os = "linux")]
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    #[cfg(not(target_os = "linux"))]
    let flags = Access::Read.flags();
    let file = match open_beneath(folder, path, flags) {
        Ok(file) => File::from(file),
        Err(error) if is(&error, Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error),
    };
    let metadata = file.metadata()?;
    if metadata.file_type().is_symlink() {
        return Err(Errno::LOOP.into());
    }
    if !metadata.is_file() {
        return Err(Errno::NODEV.into());
    }
    Ok(Some((FileStat::of(&metadata), metadata.blocks().saturating_mul(512))))
}

/// Creates the folders that `path`'s last component lies in, below `folder`.
pub(crate) fn create_folders(folder: &OwnedFd, path: &SafePath) -> io::Result<()> {
    let mut at = rustix::io::dup(folder)?;
    let count = path.components().count();
    for component in path.components().take(count - 1) {
        match rustix::fs::mkdirat(&at, component, Mode::from_raw_mode(0o777)) {
            Ok(()) => {}
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        at = step(&at, component)?;
    }
    Ok(())
}

fn open_beneath(folder: &OwnedFd, path: &SafePath, flags: OFlags) -> io::Result<OwnedFd> {
    if path.as_str().len() > MAX_PATH_BYTES || NO_OPENAT2.load(Ordering::Relaxed) {
        return walk(folder, path, flags);
    }
    match openat2(folder, path.as_str(), flags) {
        Err(Errno::NOSYS | Errno::PERM | Errno::OPNOTSUPP) => {
            // PERM is what some sandboxes answer to calls that they do not know; a real one comes again from the walk.
            let opened = walk(folder, path, flags)?;
            NO_OPENAT2.store(true, Ordering::Relaxed);
            Ok(opened)
        }
        other => Ok(other?),
    }
}

#[cfg(target_os = "linux")]
fn openat2(folder: &OwnedFd, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let mode = if flags.contains(OFlags::CREATE) { Mode::from_raw_mode(0o666) } else { Mode::empty() };
    // AGAIN: a rename raced with the look-up; the kernel asks to try again. Chosen: more than this is no race.
    for _ in 0..16 {
        match rustix::fs::openat2(folder, path, flags, mode, resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return other,
        }
    }
    Err(Errno::AGAIN)
}

#[cfg(not(target_os = "linux"))]
fn openat2(_: &OwnedFd, _: &str, _: OFlags) -> Result<OwnedFd, Errno> {
    Err(Errno::NOSYS)
}

/// The portable path: a handle per folder, none of them a symlink.
fn walk(folder: &OwnedFd, path: &SafePath, flags: OFlags) -> io::Result<OwnedFd> {
    let mut at = rustix::io::dup(folder)?;
    let mut components = path.components().peekable();
    while let Some(component) = components.next() {
        if components.peek().is_some() {
            at = step(&at, component)?;
        } else {
            let mode = if flags.contains(OFlags::CREATE) { Mode::from_raw_mode(0o666) } else { Mode::empty() };
            return match rustix::fs::openat(&at, component, flags | OFlags::NOFOLLOW, mode) {
                Ok(opened) => Ok(opened),
                Err(error) => Err(name_link(&at, component, error)),
            };
        }
    }
    Err(Errno::INVAL.into())
}

fn step(at: &OwnedFd, component: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, component, flags, Mode::empty()).map_err(|error| name_link(at, component, error))
}

/// `O_DIRECTORY | O_NOFOLLOW` on a symlink says `NOTDIR`; we say `LOOP` for every symlink, as `openat2` does.
fn name_link(at: &OwnedFd, component: &str, error: Errno) -> io::Error {
    let is_link = rustix::fs::statat(at, component, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Symlink);
    if is_link { Errno::LOOP.into() } else { error.into() }
}

/// Creates a symlink below a folder; its folders must exist.
pub(crate) fn symlink_below(folder: &OwnedFd, path: &SafePath, target: &str) -> io::Result<()> {
    let parent = match path.parent() {
        Some(parent) => open_folder_below(folder, &parent)?,
        None => rustix::io::dup(folder)?,
    };
    Ok(rustix::fs::symlinkat(target, &parent, path.name())?)
}

/// Removes a file below a folder.
pub(crate) fn remove_below(folder: &OwnedFd, path: &SafePath) -> io::Result<()> {
    let parent = match path.parent() {
        Some(parent) => open_folder_below(folder, &parent)?,
        None => rustix::io::dup(folder)?,
    };
    Ok(rustix::fs::unlinkat(&parent, path.name(), AtFlags::empty())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn safe(path: &str) -> SafePath {
        SafePath::exact(path.split('/')).unwrap()
    }

    /// Both ways to open must behave alike.
    fn both_ways(folder: &OwnedFd, path: &SafePath) -> [io::Result<OwnedFd>; 2] {
        let flags = Access::Read.flags();
        [Ok(()).and_then(|()| Ok(openat2(folder, path.as_str(), flags)?)), walk(folder, path, flags)]
    }

    #[test]
    fn a_planted_symlink_is_refused_and_named_both_ways() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("target"), "precious").unwrap();
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("d")).unwrap();
        symlink(outside.path().join("target"), root.path().join("file")).unwrap();
        symlink(outside.path(), root.path().join("folder")).unwrap();
        symlink("target", root.path().join("d/dangling")).unwrap();
        let folder = open_folder(root.path()).unwrap();
        for path in ["file", "folder/target", "d/dangling"] {
            for result in both_ways(&folder, &safe(path)) {
                assert!(is(&result.unwrap_err(), Errno::LOOP), "{path}");
            }
            for access in [Access::Write, Access::Create] {
                assert!(is(&open_below(&folder, &safe(path), access).err().unwrap(), Errno::LOOP), "{path}");
            }
        }
        assert_eq!(std::fs::read(outside.path().join("target")).unwrap(), b"precious");
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_no_regular_file_is_refused_without_waiting() {
        let root = tempfile::tempdir().unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, root.path().join("fifo"), Mode::from_raw_mode(0o600)).unwrap();
        std::fs::create_dir(root.path().join("dir")).unwrap();
        let folder = open_folder(root.path()).unwrap();
        assert!(open_below(&folder, &safe("fifo"), Access::Read).is_err());
        assert!(open_below(&folder, &safe("dir"), Access::Read).is_err());
        assert!(open_below(&folder, &safe("dir"), Access::Create).is_err());
    }
}
