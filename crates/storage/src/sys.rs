//! What the system does for us: opening below a folder handle ([`beneath`]), positioned vectors, syncing, locks, room.
//!
//! The one place for calls that only Linux has, each with a portable path beside it.

mod beneath;

pub(crate) use beneath::*;

use rustix::fs::FlockOperation;
use rustix::io::{Errno, ReadWriteFlags};
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

/// Vectors in one call, at most (`IOV_MAX` on Linux and the BSDs).
pub(crate) const MAX_VECTORS: usize = 1024;
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
    use crate::path::SafePath;

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
