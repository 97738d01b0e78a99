//! Where each file of a torrent lies on this machine.
//!
//! Three ways to answer: a download puts files where their *safe* names say; a seed of what was downloaded or shared
//! elsewhere *finds* each file by its exact name or else by its safe one; a share reads files where the *scan* met
//! them, whatever they are called in the torrent. Everything below works on the answer alone.

use crate::path::{SafePath, safe_paths};
use crate::source::Scan;
use crate::sys;
use shoal_layout::FileIndex;
use shoal_metainfo::Info;
use std::path::{Path, PathBuf};

/// The places of a torrent's files: each below one of a few base folders.
#[derive(Debug, Clone)]
pub struct Place {
    bases: Vec<PathBuf>,
    files: Vec<(u32, SafePath)>,
    root: PathBuf,
    name: String,
}

impl Place {
    /// Below `output`, by names that are safe and distinct. `portable`: names that Windows takes too.
    pub fn safe(info: &Info, output: &Path, portable: bool) -> Place {
        let root = (!info.is_single_file()).then(|| info.name());
        let files = safe_paths(root, info.files().iter().map(|file| file.path.as_slice()), portable);
        Place::below(output, files)
    }

    /// Below `data`: the exact name of each file where there is such a file, else the safe one. For reading only.
    pub fn found(info: &Info, data: &Path) -> Place {
        let mut place = Place::safe(info, data, false);
        let Ok(folder) = sys::open_folder(data) else { return place };
        let root = (!info.is_single_file()).then(|| info.name());
        for ((_, safe), file) in place.files.iter_mut().zip(info.files()) {
            let exact = SafePath::exact(root.into_iter().chain(file.path.iter().map(String::as_str)));
            if let Some(exact) = exact.filter(|exact| exact != safe)
                && sys::open_below(&folder, &exact, sys::Access::Read).is_ok()
            {
                *safe = exact;
            }
        }
        Place::below(data, place.files.into_iter().map(|(_, path)| path).collect())
    }

    /// Where the scan met them, in the scan's order, which is that of canonical torrents.
    pub fn scanned(scan: &Scan) -> Place {
        Place::scanned_in(scan, 0..scan.files().len())
    }

    /// The same in another order.
    pub(crate) fn scanned_in(scan: &Scan, order: impl Iterator<Item = usize>) -> Place {
        let files = order.map(|number| &scan.files()[number]);
        let files = files.map(|file| (file.base, file.on_disk.clone())).collect();
        let bases = scan.bases().to_vec();
        Place { root: scan.root().to_path_buf(), name: scan.name().to_string(), bases, files }
    }

    pub(crate) fn below(folder: &Path, files: Vec<SafePath>) -> Place {
        // All files of a torrent begin with the same component: its name.
        let name = files.first().and_then(|file| file.components().next()).unwrap_or("_").to_string();
        let root = folder.join(&name);
        Place {
            bases: vec![folder.to_path_buf()],
            files: files.into_iter().map(|file| (0, file)).collect(),
            root,
            name,
        }
    }

    /// How many files.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether there are none; no torrent is so.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// The whole path of a file. Panics if it is not one of ours.
    pub fn path(&self, file: FileIndex) -> PathBuf {
        let (base, path) = &self.files[file.as_usize()];
        path.below(&self.bases[*base as usize])
    }

    /// What a user calls the result: the file of a torrent of one, the folder of one of many.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The torrent's name, made safe.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The folder that a file is opened below, and its path there.
    pub(crate) fn entry(&self, file: FileIndex) -> (&Path, &SafePath) {
        let (base, path) = &self.files[file.as_usize()];
        (&self.bases[*base as usize], path)
    }

    /// The first base: the output folder of a download.
    pub(crate) fn folder(&self) -> &Path {
        &self.bases[0]
    }
}
