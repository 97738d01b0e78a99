//! What is done when the last piece is written: everything that is not a byte of a piece.
//!
//! Kept apart from [`Storage`]'s reads and writes, which know no names and attributes. Order: files and folders, modes,
//! links, then the part file goes, then all is synced. May be repeated; an interrupted one is completed by the next.

use crate::path::SafePath;
use crate::storage::Folders;
use crate::sys::{self, Access};
use crate::{Storage, StorageError};
use rustix::io::Errno;
use shoal_layout::FileIndex;
use shoal_metainfo::Info;
use std::collections::{BTreeSet, HashMap};
use std::os::unix::fs::PermissionsExt;

/// What to do beside the data when a download is complete.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Finish {
    /// Create the symlinks that the torrent has (BEP 47), if they lead to a file or folder of it. Off unless the user
    /// asks: a link is a way out of the folder.
    pub symlinks: bool,
}

impl Storage {
    /// When all selected pieces are written: creates empty files, sets the executable bit, creates symlinks if asked,
    /// removes a part file that nobody needs any more, and syncs all.
    pub fn finish(&self, info: &Info, options: Finish) -> Result<(), StorageError> {
        let mut links = Vec::new();
        for (number, file) in info.files().enumerate().take(self.layout().files() as usize) {
            let index = FileIndex(number as u32);
            if !self.wants(index) {
                continue;
            }
            if let Some(target) = &file.attributes.symlink {
                links.push((index, target));
                continue;
            }
            if file.length == 0 {
                self.file(index, Access::Create)?;
            }
            if file.attributes.executable {
                let handle = self.file(index, Access::Read)?;
                make_executable(&handle).map_err(|error| StorageError::at(&self.path(index), error))?;
            }
        }
        if options.symlinks && !links.is_empty() {
            self.create_links(info, &links)?;
        }
        if self.wants_all() {
            self.part().remove(self.open_files())?;
        }
        self.sync()?;
        self.settle_served();
        Ok(())
    }

    fn create_links(&self, info: &Info, links: &[(FileIndex, &Vec<String>)]) -> Result<(), StorageError> {
        let is_link: BTreeSet<FileIndex> = links.iter().map(|&(index, _)| index).collect();
        // Where each file and folder that the torrent names went; links do not lead to links.
        let depth = usize::from(!info.is_single_file());
        let mut places: HashMap<Vec<&str>, SafePath> = HashMap::new();
        for (number, file) in info.files().enumerate() {
            let index = FileIndex(number as u32);
            if is_link.contains(&index) {
                continue;
            }
            let mut safe = Some(self.place().entry(index).1.clone());
            for count in (1..=file.path.len()).rev() {
                if let Some(path) = safe.filter(|path| path.components().count() > depth) {
                    safe = path.parent();
                    places.insert(file.path.components().take(count).collect(), path);
                } else {
                    break;
                }
            }
        }
        let mut folders = Folders::new(self);
        for &(index, target) in links {
            let target: Vec<&str> = target.iter().map(String::as_str).collect();
            let Some(target) = places.get(&target) else { continue };
            let fail = |error| StorageError::at(&self.path(index), error);
            let Some((folder, path)) = folders.entry(index).map_err(fail)? else { continue };
            sys::create_folders(folder, path).map_err(fail)?;
            match sys::symlink_below(folder, path, &relative(path, target)) {
                Err(error) if sys::is(&error, Errno::EXIST) => {}
                other => other.map_err(fail)?,
            }
        }
        Ok(())
    }
}

/// How to reach `target` from the folder in which `link` lies; both are below the same folder.
fn relative(link: &SafePath, target: &SafePath) -> String {
    let up = link.components().count() - 1;
    let shared = link.components().take(up).zip(target.components()).take_while(|(a, b)| a == b).count();
    let mut parts = vec![".."; up - shared];
    parts.extend(target.components().skip(shared));
    if parts.is_empty() { ".".into() } else { parts.join("/") }
}

/// Who may read may execute: the umask decided on reading already.
fn make_executable(file: &std::fs::File) -> std::io::Result<()> {
    let mode = file.metadata()?.permissions().mode();
    let wanted = mode | ((mode & 0o444) >> 2);
    if wanted != mode {
        file.set_permissions(std::fs::Permissions::from_mode(wanted))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_relative_and_stay_inside() {
        let path = |text: &str| SafePath::exact(text.split('/')).unwrap();
        assert_eq!(relative(&path("t/a/link"), &path("t/b/file")), "../b/file");
        assert_eq!(relative(&path("t/link"), &path("t/file")), "file");
        assert_eq!(relative(&path("t/a/b/link"), &path("t/a")), "..");
        assert_eq!(relative(&path("t/a/link"), &path("t/a")), ".");
    }
}
