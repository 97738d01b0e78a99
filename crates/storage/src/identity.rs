//! Which download a state file belongs to, and where state files lie.
//!
//! Named by info hash and output folder, so that the same torrent may be downloaded to two folders and no process
//! writes to the files of another. The folder's name stands hashed in the file's name: paths are longer than names may
//! be. A hybrid has two names; what must be found by a magnet link, which may carry either, is kept under both.

use crate::sys;
use shoal_hash::sha256;
use shoal_metainfo::InfoHashes;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Bytes of a state file that are read, at most: the head of [`shoal_layout::MAX_FILES`] files has 26 MB.
const MAX_STATE_BYTES: u64 = 64 << 20;

/// Which download: its hashes and its output folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub(crate) hashes: Vec<[u8; 20]>,
    output: PathBuf,
}

impl Identity {
    /// Of a torrent and a folder, which need not exist yet.
    pub fn new(hashes: &InfoHashes, output: &Path) -> Identity {
        Identity::of_hashes(hashes.all_wire().collect(), output)
    }

    /// From the 20-byte hashes, the one used first on the wire in front.
    pub(crate) fn of_hashes(hashes: Vec<[u8; 20]>, output: &Path) -> Identity {
        Identity { hashes, output: canonical(output) }
    }

    /// The folder in canonical form.
    pub fn output(&self) -> &Path {
        &self.output
    }

    /// A file name for each hash: the hash, and a hash of the folder.
    pub(crate) fn keys(&self) -> Vec<String> {
        use std::os::unix::ffi::OsStrExt;
        let folder = sha256(self.output.as_os_str().as_bytes());
        self.hashes.iter().map(|hash| format!("{}-{}", hex(hash), hex(&folder[..8]))).collect()
    }

    /// The file of one kind under the first hash.
    pub(crate) fn path(&self, state_dir: &Path, kind: &str) -> PathBuf {
        state_dir.join(format!("{}.{kind}", self.keys().first().map_or("none", String::as_str)))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The canonical form of a path whose last components may not exist yet.
fn canonical(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    for there in absolute.ancestors() {
        if let (Ok(real), Ok(rest)) = (there.canonicalize(), absolute.strip_prefix(there)) {
            return if rest == Path::new("") { real } else { real.join(rest) };
        }
    }
    absolute
}

/// The state folder where nothing else is configured: `$XDG_STATE_HOME/shoal`, `~/.local/state/shoal`.
pub fn default_state_dir() -> Option<PathBuf> {
    let from = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    from("XDG_STATE_HOME").or_else(|| Some(from("HOME")?.join(".local/state"))).map(|state| state.join("shoal"))
}

/// Forgets a download: the next run checks everything. Nothing to forget is no error.
pub fn forget(state_dir: &Path, identity: &Identity) -> io::Result<()> {
    for kind in ["resume", "torrent"] {
        match std::fs::remove_file(identity.path(state_dir, kind)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// A whole file, if it is not absurdly long.
pub(crate) fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut file = File::open(path)?.take(MAX_STATE_BYTES + 1);
    file.read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_STATE_BYTES {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}

/// Keeps a torrent, so that a magnet link resumes without peers; found under each of its hashes.
pub fn save_torrent(state_dir: &Path, identity: &Identity, torrent: &[u8]) -> io::Result<()> {
    sys::create_private_folder(state_dir)?;
    for key in identity.keys() {
        sys::replace_file(&state_dir.join(format!("{key}.torrent")), torrent)?;
    }
    Ok(())
}

/// The torrent that was kept, unchecked: the caller parses it and compares its hashes with those asked for.
pub fn load_torrent(state_dir: &Path, identity: &Identity) -> Option<Vec<u8>> {
    identity.keys().iter().find_map(|key| read_bounded(&state_dir.join(format!("{key}.torrent"))).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_folder_has_one_identity_however_it_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let plain = Identity::of_hashes(vec![[1; 20]], &folder.path().join("new/deep"));
        std::os::unix::fs::symlink(folder.path(), folder.path().join("link")).unwrap();
        let through = Identity::of_hashes(vec![[1; 20]], &folder.path().join("link/new/deep"));
        assert_eq!(plain.keys(), through.keys());
        assert_ne!(plain.keys(), Identity::of_hashes(vec![[1; 20]], folder.path()).keys());
    }
}
