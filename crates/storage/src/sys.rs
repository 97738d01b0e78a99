//! What the system does for us: opening below a folder handle, positioned vectors, syncing, locks, room.
//!
//! The one place for calls that only Linux has, each with a portable path beside it. Payload is opened by
//! `openat2(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)`; where the kernel or a sandbox refuses that call, component by
//! component with `O_NOFOLLOW`, which is as strict (the folders above are held open by handle) and takes a call more
//! per folder.

use crate::FileStat;
use crate::path::SafePath;
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, ResolveFlags};
use rustix::io::{Errno, ReadWriteFlags};
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// Vectors in one call, at most (`IOV_MAX` on Linux and the BSDs).
pub(crate) const MAX_VECTORS: usize = 1024;
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

/// Whether an error is this one.
pub(crate) fn is(error: &io::Error, errno: Errno) -> bool {
    Errno::from_io_error(error) == Some(errno)
}

/// Writes all vectors at `offset`, in as few calls as the system takes. Short writes go on where they ended.
pub(crate) fn write_all_vectored_at(file: &File, vectors: &[IoSlice<'_>], mut offset: u64) -> io::Result<()> {
    for batch in vectors.chunks(MAX_VECTORS) {
        let mut owned: Vec<IoSlice<'_>>;
        let mut left: u64 = batch.iter().map(|vector| vector.len() as u64).sum();
        let mut rest: &mut [IoSlice<'_>] = {
            owned = batch.to_vec();
            &mut owned
        };
        while left > 0 {
            match rustix::io::pwritev(file, rest, offset) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    left -= written as u64;
                    offset += written as u64;
                    IoSlice::advance_slices(&mut rest, written);
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

/// Reads until the buffer is full or the file ends; how much it was.
pub(crate) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match rustix::io::pread(file, &mut buffer[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(done)
}

/// Reads what is in memory already; whether that filled the buffer. Never waits for the disk.
#[cfg(target_os = "linux")]
pub(crate) fn read_cached_at(file: &File, buffer: &mut [u8], offset: u64) -> bool {
    let length = buffer.len();
    let vectors = &mut [IoSliceMut::new(buffer)];
    rustix::io::preadv2(file, vectors, offset, ReadWriteFlags::NOWAIT).is_ok_and(|count| count == length)
}

/// Other systems cannot say; the caller asks a disk thread.
#[cfg(not(target_os = "linux"))]
pub(crate) fn read_cached_at(_: &File, _: &mut [u8], _: u64) -> bool {
    false
}

/// The first byte at or after `offset` that is no hole; `None` if only a hole follows. Without support all is data.
pub(crate) fn next_data(file: &File, offset: u64) -> io::Result<Option<u64>> {
    #[cfg(target_os = "linux")]
    match rustix::fs::seek(file, rustix::fs::SeekFrom::Data(offset)) {
        Ok(data) => return Ok(Some(data)),
        Err(Errno::NXIO) => return Ok(None),
        Err(Errno::INVAL | Errno::OPNOTSUPP) => {}
        Err(error) => return Err(error.into()),
    }
    Ok((offset < file.metadata()?.len()).then_some(offset))
}

/// Whether a byte is in memory already; `None` if the file system cannot say. Never waits for the disk.
pub(crate) fn is_cached_at(file: &File, offset: u64) -> Option<bool> {
    #[cfg(target_os = "linux")]
    {
        let mut byte = [0];
        match rustix::io::preadv2(file, &mut [IoSliceMut::new(&mut byte)], offset, ReadWriteFlags::NOWAIT) {
            Ok(count) => Some(count == 1),
            Err(Errno::AGAIN) => Some(false),
            Err(_) => None,
        }
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (file, offset);
        None
    }
}

/// Has the system forget what it keeps of a file in memory. Advice only.
pub(crate) fn drop_cached(file: &File) {
    #[cfg(target_os = "linux")]
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed);
    #[cfg(not(target_os = "linux"))]
    let _ = file;
}

/// Asks the disk for a run that will be read. Advice only.
pub(crate) fn read_ahead(file: &File, offset: u64, length: u64) {
    #[cfg(target_os = "linux")]
    let _ = rustix::fs::fadvise(file, offset, std::num::NonZero::new(length), rustix::fs::Advice::WillNeed);
    #[cfg(not(target_os = "linux"))]
    let _ = (file, offset, length);
}

/// Puts a file's bytes on the disk.
pub(crate) fn sync_data(file: &File) -> io::Result<()> {
    file.sync_data()
}

/// Puts a file's bytes, its size and its times on the disk.
pub(crate) fn sync_file(file: &File) -> io::Result<()> {
    file.sync_all()
}

/// Puts a folder's names on the disk.
pub(crate) fn sync_folder(folder: &OwnedFd) -> io::Result<()> {
    Ok(rustix::fs::fsync(folder)?)
}

/// Bytes that an ordinary user can still write in this folder's file system.
pub fn free_bytes(folder: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(folder)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Takes the lock on a file without waiting; whether it is ours now.
pub(crate) fn try_lock(file: &File) -> io::Result<bool> {
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether an open file still has a name in some folder.
pub(crate) fn has_name(file: &File) -> io::Result<bool> {
    Ok(file.metadata()?.nlink() > 0)
}

/// Creates a folder and those above it, readable by its owner alone.
pub(crate) fn create_private_folder(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Replaces a file's content so that after a power cut either the old or the new is there: write, sync, rename, sync
/// the folder.
pub fn replace_file(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut fresh = path.as_os_str().to_os_string();
    fresh.push(".new");
    let fresh = Path::new(&fresh);
    let result = (|| {
        let mut file = File::create(fresh)?;
        io::Write::write_all(&mut file, content)?;
        file.sync_all()?;
        std::fs::rename(fresh, path)?;
        match path.parent() {
            Some(folder) if folder != Path::new("") => sync_folder(&open_folder(folder)?),
            _ => Ok(()),
        }
    })();
    if result.is_err() {
        let _ = std::fs::remove_file(fresh);
    }
    result
}

/// How many descriptors this process may have open.
pub fn descriptor_limit() -> u64 {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX)
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

    #[test]
    fn folders_are_created_on_the_way_and_deep_paths_work() {
        let root = tempfile::tempdir().unwrap();
        let folder = open_folder(root.path()).unwrap();
        let deep = SafePath::exact((0..60).map(|_| "x".repeat(100))).unwrap();
        assert!(deep.as_str().len() > 4096);
        let opened = open_below(&folder, &deep, Access::Create).unwrap();
        assert!(opened.new);
        write_all_vectored_at(&opened.file, &[IoSlice::new(b"ab"), IoSlice::new(b""), IoSlice::new(b"c")], 2).unwrap();
        let mut buffer = [9; 8];
        let again = open_below(&folder, &deep, Access::Read).unwrap();
        assert_eq!(read_at(&again.file, &mut buffer, 0).unwrap(), 5);
        assert_eq!(&buffer[..5], b"\0\0abc");
    }

    #[test]
    fn more_vectors_than_one_call_takes_are_all_written() {
        let file = tempfile::tempfile().unwrap();
        let bytes: Vec<u8> = (0..3 * MAX_VECTORS).map(|n| n as u8).collect();
        let vectors: Vec<IoSlice<'_>> = bytes.chunks(1).map(IoSlice::new).collect();
        write_all_vectored_at(&file, &vectors, 7).unwrap();
        let mut back = vec![0; bytes.len()];
        assert_eq!(read_at(&file, &mut back, 7).unwrap(), bytes.len());
        assert_eq!(back, bytes);
    }

    #[test]
    fn a_replaced_file_leaves_nothing_beside_it() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("state");
        replace_file(&path, b"one").unwrap();
        replace_file(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 1);
    }
}
