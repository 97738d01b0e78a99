//! What there is to share below a path, in canonical order.
//!
//! A torrent of the same names and bytes has the same info hash on every machine (product.md, "Canonical torrents"):
//! files in byte order of their UTF-8 path components, names as they are on disk, empty files kept, empty folders left
//! out and reported. What cannot be shared faithfully is an error with a name, never left out in silence: names that
//! are not UTF-8, sockets and devices, links that lead out of the source, in circles or nowhere.
//!
//! Links to files and folders inside the source are followed: their targets' bytes are shared under the links' names.
//! Links out of it are refused, because a shared folder should not give away what lies elsewhere.

use crate::FileStat;
use crate::path::SafePath;
use shoal_metainfo::{FilePaths, PathsTooLong};
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Folders in folders, at most. Chosen: as libtorrent's limit on path depth (reliability.md, A3).
const MAX_DEPTH: usize = 100;

/// Why a source cannot be shared.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// There is no file in it, or no byte.
    #[error("{} holds no data to share", .path.display())]
    Empty {
        /// The source.
        path: PathBuf,
    },
    /// No path was given.
    #[error("nothing to share was named")]
    Nothing,
    /// A name that is not UTF-8 cannot stand in a torrent.
    #[error("the name {path:?} is not UTF-8; rename it")]
    NotUtf8 {
        /// The file or folder.
        path: PathBuf,
    },
    /// A symlink leads out of the source.
    #[error("{} is a symlink to {}, outside of what is shared; replace it by what it leads to", .path.display(), .target.display())]
    LinkLeadsOut {
        /// The link.
        path: PathBuf,
        /// Where it leads.
        target: PathBuf,
    },
    /// A symlink leads to a folder that it lies in, or to itself.
    #[error("{} is a symlink that leads back to itself; remove it", .path.display())]
    LinkLoop {
        /// The link.
        path: PathBuf,
    },
    /// A symlink leads nowhere.
    #[error("{} is a symlink to something that does not exist; remove it", .path.display())]
    LinkDangles {
        /// The link.
        path: PathBuf,
    },
    /// A socket, a fifo or a device.
    #[error("{} is no file but a {kind}; move it away", .path.display())]
    Special {
        /// What it is.
        kind: &'static str,
        /// Where.
        path: PathBuf,
    },
    /// It was there a moment ago.
    #[error("{} vanished while it was looked at", .path.display())]
    Vanished {
        /// The file or folder.
        path: PathBuf,
    },
    /// It may not be read.
    #[error("{} cannot be read: no permission", .path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
    },
    /// More folders in folders than a torrent may have.
    #[error("{} lies more than {MAX_DEPTH} folders deep", .path.display())]
    TooDeep {
        /// The folder.
        path: PathBuf,
    },
    /// More files or folders than a torrent may have files.
    #[error("more than {} files or folders", shoal_layout::MAX_FILES)]
    TooMany,
    /// Two of the named paths have the same last component.
    #[error("two of the paths are called {name}; give them different names")]
    SameName {
        /// The name.
        name: String,
    },
    /// The names take more memory than is given to them.
    #[error(transparent)]
    Names(#[from] PathsTooLong),
    /// The name cannot be a torrent's.
    #[error("{name:?} cannot be a torrent's name")]
    BadName {
        /// The name.
        name: String,
    },
    /// Anything else that the system said.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What was found to share. What is kept of a file counts: there may be a million.
#[derive(Debug, Clone)]
pub struct Scan {
    single: bool,
    paths: FilePaths,
    source: Source,
    empty_folders: Vec<PathBuf>,
}

/// Where scanned files lie and what each was when it was met, without what they are called in the torrent.
#[derive(Debug, Clone)]
pub struct Source {
    pub(crate) name: String,
    pub(crate) root: PathBuf,
    pub(crate) bases: Vec<PathBuf>,
    /// Of each file which of the bases it lies below, and where there, links resolved: as a [`Place`](crate::Place) has them.
    pub(crate) files: Vec<(u32, SafePath)>,
    pub(crate) stats: Vec<FileStat>,
    executable: Vec<bool>,
}

/// Finds all files below `paths`. One path gives a torrent of its own name; several give a folder, called `name` or
/// else by the first one's name, that has an entry for each. `name` replaces the torrent's name in either case.
/// Nothing is read but folders. Cost: a stat per file.
pub fn scan(paths: &[PathBuf], name: Option<&str>) -> Result<Scan, ScanError> {
    let first = paths.first().ok_or(ScanError::Nothing)?;
    if let Some(name) = name
        && SafePath::exact([name]).is_none()
    {
        return Err(ScanError::BadName { name: name.to_string() });
    }
    let mut sources = Vec::new();
    for path in paths {
        let real = path.canonicalize().map_err(|source| named(path, source))?;
        let own_name = match path.file_name().or_else(|| real.file_name()) {
            Some(own) => own.to_str().ok_or_else(|| ScanError::NotUtf8 { path: path.clone() })?.to_string(),
            None => name.unwrap_or("root").to_string(),
        };
        let metadata = real.metadata().map_err(|source| named(path, source))?;
        sources.push((real, own_name, metadata));
    }
    let single = paths.len() == 1 && sources[0].2.is_file();
    let torrent_name = name.map_or_else(|| sources[0].1.clone(), ToString::to_string);
    let mut found = Found::default();
    let mut bases = Vec::new();
    // Each source, and each folder below, is walked in the order of names: so files come in canonical order.
    sources.sort_unstable_by(|one, other| one.1.cmp(&other.1));
    if let Some(pair) = sources.windows(2).find(|pair| pair[0].1 == pair[1].1) {
        return Err(ScanError::SameName { name: pair[0].1.clone() });
    }
    for (number, (real, own_name, metadata)) in sources.iter().enumerate() {
        // A file's base is the folder it lies in; a folder is its own base.
        let base = if metadata.is_dir() { real.as_path() } else { real.parent().unwrap_or(real) };
        bases.push(base.to_path_buf());
        let path = match (paths.len() == 1, single) {
            (true, true) => vec![torrent_name.clone()],
            (true, false) => Vec::new(),
            (false, _) => vec![own_name.clone()],
        };
        let mut within = Walk { base, number: number as u32, found: &mut found, open: Vec::new(), path };
        if metadata.is_dir() {
            within.folder(real, real)?;
        } else {
            within.file(real, real, metadata)?;
        }
    }
    if found.stats.iter().all(|stat| stat.size == 0) {
        return Err(ScanError::Empty { path: first.clone() });
    }
    let root = if paths.len() == 1 { first.clone() } else { first.parent().unwrap_or(Path::new("")).to_path_buf() };
    let Found { paths, executable, mut files, mut stats, mut empty_folders, .. } = found;
    empty_folders.sort_unstable();
    files.shrink_to_fit();
    stats.shrink_to_fit();
    let source = Source { name: torrent_name, root, bases, files, stats, executable };
    Ok(Scan { single, paths, source, empty_folders })
}

#[derive(Default)]
struct Found {
    paths: FilePaths,
    executable: Vec<bool>,
    files: Vec<(u32, SafePath)>,
    stats: Vec<FileStat>,
    empty_folders: Vec<PathBuf>,
    folders: usize,
}

/// A walk below one source.
struct Walk<'a> {
    base: &'a Path,
    number: u32,
    found: &'a mut Found,
    /// Device and number of the folders above the one that is being read, against links in circles.
    open: Vec<(u64, u64)>,
    /// What is being looked at, as the torrent calls it.
    path: Vec<String>,
}

impl Walk<'_> {
    /// Everything in a folder, by name. `shown`: its path as the user sees it; `real`: with links resolved.
    fn folder(&mut self, shown: &Path, real: &Path) -> Result<(), ScanError> {
        if self.open.len() >= MAX_DEPTH {
            return Err(ScanError::TooDeep { path: shown.to_path_buf() });
        }
        let metadata = real.metadata().map_err(|source| named(shown, source))?;
        let id = (metadata.dev(), metadata.ino());
        if self.open.contains(&id) {
            return Err(ScanError::LinkLoop { path: shown.to_path_buf() });
        }
        self.open.push(id);
        // Links to folders can multiply what is walked; so folders are counted like files.
        self.found.folders += 1;
        if self.found.folders > shoal_layout::MAX_FILES {
            return Err(ScanError::TooMany);
        }
        let mut names = Vec::new();
        for entry in std::fs::read_dir(real).map_err(|source| named(shown, source))? {
            let name = entry.map_err(|source| named(shown, source))?.file_name();
            let name = name.into_string().map_err(|name| ScanError::NotUtf8 { path: shown.join(name) })?;
            names.push(name.into_boxed_str());
            if names.len() > shoal_layout::MAX_FILES {
                return Err(ScanError::TooMany);
            }
        }
        if names.is_empty() {
            self.found.empty_folders.push(shown.to_path_buf());
        }
        names.sort_unstable();
        for name in names {
            let (shown, at) = (shown.join(&*name), real.join(&*name));
            self.path.push(name.into());
            self.entry(&shown, &at)?;
            self.path.pop();
        }
        self.open.pop();
        Ok(())
    }

    fn entry(&mut self, shown: &Path, at: &Path) -> Result<(), ScanError> {
        let own = at.symlink_metadata().map_err(|source| named(shown, source))?;
        if !own.is_symlink() {
            return if own.is_dir() { self.folder(shown, at) } else { self.file(shown, at, &own) };
        }
        let target = at.canonicalize().map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => ScanError::LinkDangles { path: shown.to_path_buf() },
            _ if crate::sys::is(&source, rustix::io::Errno::LOOP) => ScanError::LinkLoop { path: shown.to_path_buf() },
            _ => named(shown, source),
        })?;
        if !target.starts_with(self.base) {
            return Err(ScanError::LinkLeadsOut { path: shown.to_path_buf(), target });
        }
        let metadata = target.metadata().map_err(|source| named(shown, source))?;
        if metadata.is_dir() { self.folder(shown, &target) } else { self.file(shown, &target, &metadata) }
    }

    fn file(&mut self, shown: &Path, real: &Path, metadata: &Metadata) -> Result<(), ScanError> {
        let kind = metadata.file_type();
        if !kind.is_file() {
            let kind = match () {
                () if kind.is_socket() => "socket",
                () if kind.is_fifo() => "fifo",
                () => "device",
            };
            return Err(ScanError::Special { kind, path: shown.to_path_buf() });
        }
        // Asked now, and not found out after hours of hashing.
        rustix::fs::access(real, rustix::fs::Access::READ_OK).map_err(|error| named(shown, error.into()))?;
        if self.found.files.len() >= shoal_layout::MAX_FILES {
            return Err(ScanError::TooMany);
        }
        let below = real.strip_prefix(self.base).ok().and_then(Path::to_str);
        let on_disk = below.and_then(|below| SafePath::exact(below.split('/')));
        let on_disk = on_disk.ok_or_else(|| ScanError::NotUtf8 { path: real.to_path_buf() })?;
        self.found.files.push((self.number, on_disk));
        self.found.stats.push(FileStat::of(metadata));
        self.found.executable.push(metadata.permissions().mode() & 0o100 != 0);
        self.found.paths.push(&self.path)?;
        Ok(())
    }
}

fn named(path: &Path, source: io::Error) -> ScanError {
    let path = path.to_path_buf();
    match source.kind() {
        io::ErrorKind::NotFound => ScanError::Vanished { path },
        io::ErrorKind::PermissionDenied => ScanError::Unreadable { path },
        _ => ScanError::Io { path, source },
    }
}

impl Source {
    /// Of each file its bytes, and whether its owner may execute it.
    pub fn about(&self) -> impl ExactSizeIterator<Item = (u64, bool)> {
        self.stats.iter().zip(&self.executable).map(|(stat, &executable)| (stat.size, executable))
    }
}

impl Scan {
    /// The torrent's name.
    pub fn name(&self) -> &str {
        &self.source.name
    }

    /// The source as it was named; the folder of the first of several.
    pub fn root(&self) -> &Path {
        &self.source.root
    }

    /// Whether it is one file and not a folder.
    pub fn is_single_file(&self) -> bool {
        self.single
    }

    /// The files' paths in the torrent below the torrent's name; the name itself for a single file. In canonical order: by
    /// the bytes of their UTF-8 components.
    pub fn paths(&self) -> &FilePaths {
        &self.paths
    }

    /// Folders that hold nothing and are left out.
    pub fn empty_folders(&self) -> &[PathBuf] {
        &self.empty_folders
    }

    /// Bytes in all files.
    pub fn total_length(&self) -> u64 {
        self.source.about().map(|(length, _)| length).sum()
    }

    /// Parts the names in the torrent, which go into its plan, from the places on disk, which hashing needs. Both are in the
    /// scan's order.
    pub fn split(self) -> (FilePaths, Source) {
        (self.paths, self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shoal_metainfo::FilePath;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        root
    }

    fn paths(scan: &Scan) -> Vec<String> {
        scan.paths().iter().map(FilePath::joined).collect()
    }

    fn scan_one(path: &Path) -> Result<Scan, ScanError> {
        scan(&[path.to_path_buf()], None)
    }

    #[test]
    fn files_come_in_byte_order_of_their_components() {
        let root = tree(&[("t/b", "1"), ("t/a/z", "2"), ("t/a.txt", "3"), ("t/a/Z", ""), ("t/é", "4")]);
        std::fs::create_dir_all(root.path().join("t/empty/inside")).unwrap();
        let scan = scan_one(&root.path().join("t")).unwrap();
        assert_eq!(paths(&scan), ["a/Z", "a/z", "a.txt", "b", "é"]);
        assert_eq!((scan.name(), scan.is_single_file(), scan.total_length()), ("t", false, 4));
        assert_eq!(scan.empty_folders(), [root.path().join("t/empty/inside")]);
    }

    #[test]
    fn one_file_is_called_by_its_name_or_the_one_given() {
        let root = tree(&[("a.txt", "1")]);
        let one = scan_one(&root.path().join("a.txt")).unwrap();
        assert_eq!((one.name(), one.is_single_file(), paths(&one)), ("a.txt", true, vec!["a.txt".to_string()]));
        let renamed = scan(&[root.path().join("a.txt")], Some("b.txt")).unwrap();
        assert_eq!((renamed.name(), paths(&renamed)), ("b.txt", vec!["b.txt".to_string()]));
        assert!(matches!(scan(&[root.path().join("a.txt")], Some("../b")), Err(ScanError::BadName { .. })));
    }

    #[test]
    fn several_sources_become_entries_of_one_folder() {
        let root = tree(&[("x/d/1", "1"), ("y/f", "2"), ("z/f", "3")]);
        let all = scan(&[root.path().join("y/f"), root.path().join("x/d")], Some("all")).unwrap();
        assert_eq!((all.name(), paths(&all)), ("all", vec!["d/1".to_string(), "f".to_string()]));
        let clash = scan(&[root.path().join("y/f"), root.path().join("z/f")], Some("all"));
        assert!(matches!(clash, Err(ScanError::SameName { .. })));
    }

    #[test]
    fn links_inside_are_followed_and_all_others_named() {
        let root = tree(&[("t/d/file", "data"), ("secret", "no")]);
        let t = root.path().join("t");
        symlink("d/file", t.join("link")).unwrap();
        symlink("d", t.join("folder")).unwrap();
        let scanned = scan_one(&t).unwrap();
        assert_eq!(paths(&scanned), ["d/file", "folder/file", "link"]);
        assert_eq!(scanned.source.files[2].1.as_str(), "d/file");
        let with = |target: &str| {
            symlink(target, t.join("bad")).unwrap();
            let result = scan_one(&t);
            std::fs::remove_file(t.join("bad")).unwrap();
            result.unwrap_err()
        };
        assert!(matches!(with("../secret"), ScanError::LinkLeadsOut { .. }));
        assert!(matches!(with("nowhere"), ScanError::LinkDangles { .. }));
        assert!(matches!(with("bad"), ScanError::LinkLoop { .. }));
        assert!(matches!(with("."), ScanError::LinkLoop { .. }));
    }

    #[test]
    fn what_cannot_be_shared_is_named() {
        let root = tree(&[("t/file", "data")]);
        let t = root.path().join("t");
        let bad = t.join(OsStr::from_bytes(b"\xff"));
        std::fs::write(&bad, "x").unwrap();
        assert!(matches!(scan_one(&t), Err(ScanError::NotUtf8 { .. })));
        std::fs::remove_file(&bad).unwrap();
        let socket = std::os::unix::net::UnixListener::bind(t.join("socket")).unwrap();
        assert!(matches!(scan_one(&t), Err(ScanError::Special { kind: "socket", .. })));
        drop(socket);
        std::fs::remove_file(t.join("socket")).unwrap();
        assert!(matches!(scan_one(&root.path().join("gone")), Err(ScanError::Vanished { .. })));
        assert!(matches!(scan(&[], None), Err(ScanError::Nothing)));
        std::fs::write(t.join("file"), "").unwrap();
        assert!(matches!(scan_one(&t), Err(ScanError::Empty { .. })));
    }
}
