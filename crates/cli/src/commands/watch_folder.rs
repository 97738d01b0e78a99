//! A folder that is looked at again and again: what is new and at rest, what is gone, what has changed.
//!
//! By polling, since it works on every file system, network ones included. An entry is at rest when two looks in a row find
//! the same sizes and times in all of it; what is there at the first look is taken at once. Hidden entries are never taken:
//! programs write there what is not ready.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Between two looks. Chosen: soon enough for a person who waits.
const EVERY: Duration = Duration::from_secs(2);
/// A look may take a tenth of the time at most: large trees are looked at less often.
const SHARE: u32 = 10;
/// Folders within folders that a look goes down to: as deep as paths in torrents may be (`shoal_metainfo::MAX_PATH_DEPTH`).
const MAX_DEPTH: usize = shoal_metainfo::MAX_PATH_DEPTH;

/// How long to wait after a look that took so long.
pub(super) fn pause_after(took: Duration) -> Duration {
    EVERY.max(took.saturating_mul(SHARE))
}

/// What a look found.
#[derive(Debug)]
pub(super) enum Change {
    /// An entry is new, or has changed since it was ready, and is at rest.
    Ready(PathBuf),
    /// An entry that was ready is there no more.
    Gone(PathBuf),
    /// The folder cannot be read. Told once until it can.
    Unreadable(PathBuf, io::Error),
}

/// One folder.
pub(super) struct Watched {
    folder: PathBuf,
    /// Only files that end in `.torrent`, else every entry.
    torrents_only: bool,
    entries: BTreeMap<PathBuf, Entry>,
    is_readable: bool,
}

struct Entry {
    last: Sight,
    /// What it was when it was last told as ready.
    ready: Option<Sight>,
}

/// What tells one state of an entry from another.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Sight {
    files: u64,
    bytes: u64,
    /// Sum over files, so that also an older file that replaces a newer one is seen.
    times_ns: u128,
}

impl Watched {
    /// A folder, not looked at yet.
    pub(super) fn new(folder: &Path, torrents_only: bool) -> Watched {
        Watched { folder: folder.to_path_buf(), torrents_only, entries: BTreeMap::new(), is_readable: true }
    }

    /// Looks. `at_once`: what is there needs no second look.
    pub(super) fn look(&mut self, at_once: bool) -> Vec<Change> {
        let names = match fs::read_dir(&self.folder).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
            Ok(names) => names,
            Err(error) => {
                // What was ready stays: a network folder that is away for a minute comes back.
                let told = !std::mem::replace(&mut self.is_readable, false);
                return if told { Vec::new() } else { vec![Change::Unreadable(self.folder.clone(), error)] };
            }
        };
        self.is_readable = true;
        let mut found: Vec<PathBuf> =
            names.iter().map(fs::DirEntry::path).filter(|path| self.is_wanted(path)).collect();
        found.sort();
        let mut changes = Vec::new();
        let gone: Vec<PathBuf> =
            self.entries.keys().filter(|path| found.binary_search(path).is_err()).cloned().collect();
        for path in gone {
            if self.entries.remove(&path).is_some_and(|entry| entry.ready.is_some()) {
                changes.push(Change::Gone(path));
            }
        }
        for path in found {
            let sight = sight(&path);
            let entry = self.entries.get_mut(&path);
            let is_at_rest = at_once || entry.as_ref().is_some_and(|entry| entry.last == sight);
            let is_told = entry.as_ref().is_some_and(|entry| entry.ready == Some(sight));
            let ready = match entry {
                _ if is_at_rest => Some(sight),
                Some(entry) => entry.ready,
                None => None,
            };
            self.entries.insert(path.clone(), Entry { last: sight, ready });
            // An entry without a file is not worth an error every time: it may yet get one.
            if is_at_rest && !is_told && sight.files > 0 {
                changes.push(Change::Ready(path));
            }
        }
        changes
    }

    fn is_wanted(&self, path: &Path) -> bool {
        let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        !hidden && (!self.torrents_only || path.extension().is_some_and(|end| end == "torrent"))
    }
}

fn sight(path: &Path) -> Sight {
    let mut sight = Sight::default();
    add(path, 0, &mut sight);
    sight
}

/// Adds an entry and all below it; what cannot be read is not there.
fn add(path: &Path, depth: usize, sight: &mut Sight) {
    // Links at the top are followed as the scan follows them; below, they would lead out or in circles.
    let found = if depth == 0 { fs::metadata(path) } else { fs::symlink_metadata(path) };
    let Ok(found) = found else { return };
    if found.is_dir() {
        if depth < MAX_DEPTH {
            for entry in fs::read_dir(path).into_iter().flatten().flatten() {
                add(&entry.path(), depth + 1, sight);
            }
        }
        return;
    }
    let time = found.modified().ok().and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
    sight.files += 1;
    sight.bytes = sight.bytes.wrapping_add(found.len());
    sight.times_ns = sight.times_ns.wrapping_add(time.map_or(0, |time| time.as_nanos()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(changes: Vec<Change>) -> Vec<String> {
        let name = |path: PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
        changes
            .into_iter()
            .map(|change| match change {
                Change::Ready(path) => format!("+{}", name(path)),
                Change::Gone(path) => format!("-{}", name(path)),
                Change::Unreadable(path, _) => format!("!{}", name(path)),
            })
            .collect()
    }

    #[test]
    fn what_is_there_is_taken_at_once_and_what_comes_when_it_rests() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("a"), "1").unwrap();
        let mut watched = Watched::new(folder.path(), false);
        assert_eq!(words(watched.look(true)), ["+a"]);
        fs::create_dir(at("b")).unwrap();
        fs::write(at("b").join("x"), "1").unwrap();
        assert!(words(watched.look(false)).is_empty(), "seen once");
        fs::write(at("b").join("y"), "2").unwrap();
        assert!(words(watched.look(false)).is_empty(), "still growing");
        assert_eq!(words(watched.look(false)), ["+b"]);
        assert!(words(watched.look(false)).is_empty());
    }

    #[test]
    fn changes_and_ends_are_seen() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("a"), "1").unwrap();
        fs::write(at("b"), "1").unwrap();
        let mut watched = Watched::new(folder.path(), false);
        watched.look(true);
        fs::write(at("a"), "12").unwrap();
        fs::remove_file(at("b")).unwrap();
        assert_eq!(words(watched.look(false)), ["-b"]);
        assert_eq!(words(watched.look(false)), ["+a"], "ready anew");
    }

    #[test]
    fn hidden_empty_and_other_entries_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at(".hidden"), "1").unwrap();
        fs::create_dir(at("empty")).unwrap();
        assert!(words(Watched::new(folder.path(), false).look(true)).is_empty());
        fs::write(at("a.torrent"), "1").unwrap();
        fs::write(at("a.txt"), "1").unwrap();
        assert_eq!(words(Watched::new(folder.path(), true).look(true)), ["+a.torrent"]);
    }

    #[test]
    fn a_folder_that_cannot_be_read_is_told_once() {
        let mut watched = Watched::new(Path::new("/nonexistent/shares"), false);
        assert_eq!(words(watched.look(true)), ["!shares"]);
        assert!(words(watched.look(false)).is_empty());
    }

    #[test]
    fn a_slow_look_makes_longer_pauses() {
        assert_eq!(pause_after(Duration::from_millis(1)), Duration::from_secs(2));
        assert_eq!(pause_after(Duration::from_secs(1)), Duration::from_secs(10));
    }
}
