//! Writing a file that is whole or not there: beside it first, then in its place by one step.

use crate::exit::{Exit, Failure, OrExit};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Writes `parts`, one after the other, to `path`; over a file that is there only if `overwrite`.
pub(super) fn write(path: &Path, parts: &[impl AsRef<[u8]>], overwrite: bool) -> Result<(), Failure> {
    refuse_existing(path, overwrite)?;
    // A link keeps pointing where it points.
    let place =
        if overwrite { fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf()) } else { path.to_path_buf() };
    let beside = beside(&place);
    let written = write_synced(&beside, parts, &place).and_then(|()| put_in_place(&beside, &place, overwrite));
    if written.is_err() {
        // What is left of a failed try is of no use; if even this fails, the first error says more.
        let _ = fs::remove_file(&beside);
    }
    written.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => exists(path),
        _ => Failure {
            exit: Exit::Disk,
            error: anyhow::Error::new(error).context(format!("cannot write {}", path.display())),
        },
    })
}

/// The same refusal before any work is done.
pub(super) fn refuse_existing(path: &Path, overwrite: bool) -> Result<(), Failure> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => {
            Err(Failure::new(Exit::Usage, format!("{} is a folder; name a file with --output", path.display())))
        }
        Ok(_) if !overwrite => Err(exists(path)),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            match folder {
                Some(folder) if !folder.is_dir() => Err(Failure::new(
                    Exit::Disk,
                    format!("cannot write {}: there is no folder {}", path.display(), folder.display()),
                )),
                _ => Ok(()),
            }
        }
        Err(error) => Err(error).or_exit(Exit::Disk, || format!("cannot write {}", path.display())),
    }
}

fn exists(path: &Path) -> Failure {
    Failure::new(
        Exit::Other,
        format!("{} exists already; replace it with --overwrite or name another file with --output", path.display()),
    )
}

fn beside(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.part", std::process::id()));
    path.with_file_name(name)
}

fn write_synced(path: &Path, parts: &[impl AsRef<[u8]>], like: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
    parts.iter().try_for_each(|part| file.write_all(part.as_ref()))?;
    if let Ok(found) = fs::metadata(like) {
        file.set_permissions(found.permissions())?;
    }
    file.sync_all()
}

fn put_in_place(from: &Path, to: &Path, overwrite: bool) -> io::Result<()> {
    if !overwrite {
        // A hard link, unlike a rename, never replaces; where there are none, the check at the start has to do.
        match fs::hard_link(from, to) {
            Ok(()) => return fs::remove_file(from),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(error),
            Err(_) => {}
        }
    }
    fs::rename(from, to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_there_is_kept_unless_told_otherwise() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.torrent");
        write(&path, &[b"one"], false).unwrap();
        let failure = write(&path, &[b"two"], false).unwrap_err();
        assert!(failure.line().contains("--overwrite"), "{}", failure.line());
        assert_eq!(fs::read(&path).unwrap(), b"one");
        write(&path, &[b"two"], true).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing stays behind");
    }

    #[test]
    fn folders_in_the_way_and_folders_that_are_missing_are_named() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(write(folder.path(), &[b"x"], true).unwrap_err().exit, Exit::Usage);
        let missing = folder.path().join("no").join("a");
        assert!(write(&missing, &[b"x"], false).unwrap_err().line().contains("there is no folder"));
    }

    #[test]
    fn a_link_is_written_through() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        fs::write(&real, "old").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        write(&link, &[b"new"], true).unwrap();
        assert_eq!(fs::read(&real).unwrap(), b"new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }
}
