//! Known nodes, kept between runs, so that a start does not hang on a handful of well-known hosts (reliability.md C3).
//!
//! A small text file: a head, an address a line, and an end that says how many. Written whole and synced before it takes the old
//! one's place. A file that is torn or not ours is left out and told: it costs nothing but a slower start.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

const HEAD: &str = "shoal dht nodes 1";
/// Nodes kept. Chosen: enough that some are there after days (half of all nodes leave within hours), 4 KiB.
const MAX_NODES: usize = 200;
/// Bytes read of the file. Chosen: room for what is written, twice.
const MAX_BYTES: u64 = 16 << 10;

/// Where they are kept.
pub(super) fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("dht-nodes")
}

/// The nodes of the last run; none if there are none.
pub(super) fn load(path: &Path) -> Vec<SocketAddr> {
    match read(path) {
        Ok(nodes) => nodes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "remembered DHT nodes are not used");
            Vec::new()
        }
    }
}

fn read(path: &Path) -> io::Result<Vec<SocketAddr>> {
    use std::io::Read;
    let mut text = String::new();
    std::fs::File::open(path)?.take(MAX_BYTES).read_to_string(&mut text)?;
    parse(&text).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not a whole list of nodes"))
}

fn parse(text: &str) -> Option<Vec<SocketAddr>> {
    let mut lines = text.lines();
    (lines.next()? == HEAD).then_some(())?;
    let mut nodes = Vec::new();
    loop {
        let line = lines.next()?;
        if let Some(count) = line.strip_prefix("end ") {
            let whole = count.parse() == Ok(nodes.len()) && lines.next().is_none() && text.ends_with('\n');
            return whole.then_some(nodes);
        }
        (nodes.len() < MAX_NODES).then_some(())?;
        nodes.push(line.parse().ok()?);
    }
}

fn write(nodes: &[SocketAddr]) -> String {
    let lines: String = nodes.iter().map(|node| format!("{node}\n")).collect();
    format!("{HEAD}\n{lines}end {}\n", nodes.len())
}

/// Keeps these, or some of them if they are many.
pub(super) fn save(path: &Path, nodes: &[SocketAddr]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    shoal_storage::replace_file(path, write(&some_of(nodes, MAX_NODES)).as_bytes())
}

/// At most `count`, at random, so that not the same few are asked by everyone at every start.
pub(super) fn some_of(nodes: &[SocketAddr], count: usize) -> Vec<SocketAddr> {
    let mut nodes = nodes.to_vec();
    let mut rng = shoal_machine::Rng::new(getrandom::u64().unwrap_or_default());
    rng.shuffle(&mut nodes);
    nodes.truncate(count);
    nodes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(count: u16) -> Vec<SocketAddr> {
        (1..=count).map(|n| SocketAddr::from(([1, 2, (n >> 8) as u8, n as u8], n))).collect()
    }

    #[test]
    fn what_was_saved_is_loaded_and_no_more_than_a_few_hundred() {
        let folder = tempfile::tempdir().unwrap();
        let path = path(&folder.path().join("state"));
        assert!(load(&path).is_empty());
        for (count, kept) in [(0, 0), (3, 3), (1_000, MAX_NODES)] {
            save(&path, &nodes(count)).unwrap();
            let loaded = load(&path);
            assert_eq!(loaded.len(), kept);
            assert!(loaded.iter().all(|node| nodes(count).contains(node)));
        }
    }

    #[test]
    fn a_torn_file_is_not_used() {
        let whole = write(&nodes(20));
        assert_eq!(parse(&whole), Some(nodes(20)));
        for length in 0..whole.len() {
            assert_eq!(parse(&whole[..length]), None, "{length}");
        }
        for (place, _) in whole.char_indices() {
            let mut bytes = whole.clone().into_bytes();
            bytes[place] ^= 0x80;
            // No UTF-8, or no address.
            assert!(String::from_utf8(bytes).is_err_and(|_| true) || place > 0);
        }
        assert_eq!(parse(&format!("{whole}x")), None);
    }
}
