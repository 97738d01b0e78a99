//! Where each file of a torrent lies on this machine.
//!
//! Three ways to answer: a download puts files where their *safe* names say; a seed of what was downloaded or shared
//! elsewhere *finds* each file by its exact name or else by its safe one; a share reads files where the *scan* met
//! them, whatever they are called in the torrent. Everything below works on the answer alone.
//!
//! Symlinks: what is only read is the user's own, so links in it that stay inside the folder that was named are
//! resolved here, once, and so is the torrent's own file or folder wherever it leads, as it is in a share of it; opening
//! follows none, whatever changes later. Where a download writes, nothing is resolved.

use crate::FileStat;
use crate::path::{SafePath, safe_component, safe_paths};
use crate::source::Source;
use crate::sys;
use rustix::io::Errno;
use shoal_layout::FileIndex;
use shoal_metainfo::Info;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The places of a torrent's files: each below one of a few base folders. A clone is cheap: of a million files there is one
/// list.
#[derive(Debug, Clone, Default)]
pub struct Place {
    bases: Vec<PathBuf>,
    files: Arc<Vec<(u32, SafePath)>>,
    root: PathBuf,
    name: String,
}

impl Place {
    /// Below `output`, by names that are safe and distinct. `portable`: names that Windows takes too.
    pub fn safe(info: &Info, output: &Path, portable: bool) -> Place {
        let root = (!info.is_single_file()).then(|| info.name());
        let files = safe_paths(root, info.files().map(|file| file.path.components()), portable);
        Place::below(output, files)
    }

    /// Below `data`: the exact name of each file where there is such a file, else the safe one, else the portable one;
    /// through symlinks if they lead to a place below `data`, as a share follows them. For reading only. Cost: a few looks
    /// at each file.
    pub fn found(info: &Info, data: &Path) -> Place {
        let place = Place::safe(info, data, false);
        let Ok(folder) = sys::open_folder(data) else { return place };
        let root = (!info.is_single_file()).then(|| info.name());
        let is_there = |path: &SafePath| {
            sys::open_below(&folder, path, sys::Access::Read).is_ok() || resolved(data, &folder, path).is_some()
        };
        // Few torrents have names that are not portable, and a look at each file is what takes the time.
        let is_portable =
            |(_, path): &(u32, SafePath)| path.components().all(|name| safe_component(name, true) == name);
        let portable =
            if place.files.iter().all(is_portable) { Arc::default() } else { Place::safe(info, data, true).files };
        let mut paths = Arc::unwrap_or_clone(place.files);
        for (number, ((_, safe), file)) in paths.iter_mut().zip(info.files()).enumerate() {
            let exact = SafePath::exact(root.into_iter().chain(file.path.components()));
            if let Some(exact) = exact.filter(|exact| exact != safe && is_there(exact)) {
                *safe = exact;
            } else if let Some((_, portable)) = portable.get(number)
                && portable != safe
                && !is_there(safe)
                && is_there(portable)
            {
                *safe = portable.clone();
            }
        }
        // The root's name is that of the first file, so it is taken before links are resolved.
        let mut place = Place::below(data, paths.into_iter().map(|(_, path)| path).collect());
        for ((_, path), file) in Arc::make_mut(&mut place.files).iter_mut().zip(info.files()) {
            // A symlink of the torrent itself (BEP 47) has no bytes to read.
            if file.attributes.symlink.is_none()
                && let Some(real) = resolved(data, &folder, path)
            {
                *path = real;
            }
        }
        place.follow_root(data, info.is_single_file());
        place
    }

    /// Takes files from where the torrent's own file or folder really is, if that is a link which leads out of `data`.
    fn follow_root(&mut self, data: &Path, single: bool) {
        let is_link = self.root.symlink_metadata().is_ok_and(|root| root.is_symlink());
        let (true, Ok(real), Ok(data)) = (is_link, self.root.canonicalize(), data.canonicalize()) else { return };
        if real.starts_with(data) {
            return;
        }
        let (base, moved): (_, Option<Vec<SafePath>>) = if single {
            let name = real.file_name().and_then(|name| name.to_str());
            (real.parent(), name.and_then(|name| SafePath::exact([name])).map(|path| vec![path]))
        } else {
            let below = self.files.iter().map(|(_, path)| SafePath::exact(path.components().skip(1)));
            (Some(real.as_path()), below.collect())
        };
        if let (Some(base), Some(moved)) = (base, moved) {
            self.bases.push(base.to_path_buf());
            self.files = Arc::new(moved.into_iter().map(|path| (1, path)).collect());
        }
    }

    /// Where the scan met them, with what each was then. `order`: a torrent's order, as places in the scan's.
    pub(crate) fn scanned(source: Source, order: &[u32]) -> (Place, Vec<FileStat>) {
        let Source { name, root, bases, mut files, mut stats, .. } = source;
        // A scan walks in a torrent's order.
        if !order.is_sorted() {
            stats = order.iter().map(|&number| stats[number as usize]).collect();
            files = order.iter().map(|&number| files[number as usize].clone()).collect();
        }
        (Place { root, name, bases, files: files.into() }, stats)
    }

    pub(crate) fn below(folder: &Path, files: Vec<SafePath>) -> Place {
        // All files of a torrent begin with the same component: its name.
        let name = files.first().and_then(|file| file.components().next()).unwrap_or("_").to_string();
        let root = folder.join(&name);
        Place {
            bases: vec![folder.to_path_buf()],
            files: Arc::new(files.into_iter().map(|file| (0, file)).collect()),
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

/// Where a path leads that has a symlink in it, below the same folder. `None` if it has none, or leads elsewhere.
fn resolved(data: &Path, folder: &OwnedFd, path: &SafePath) -> Option<SafePath> {
    match sys::stat_below(folder, path) {
        Err(error) if sys::is(&error, Errno::LOOP) => {}
        _ => return None,
    }
    let real = path.below(data).canonicalize().ok()?;
    let below = real.strip_prefix(data.canonicalize().ok()?).ok()?;
    SafePath::exact(below.to_str()?.split('/'))
}
