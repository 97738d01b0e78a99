//! A download of one file through a relay that counts, behind whatever makes the system fail.

use super::net::Net;
use super::process::Process;
use super::relay::Relay;
use super::shoal::{QUIET, SHOAL, Seed, arg, create, seed};
use super::tree;
use std::path::{Path, PathBuf};

/// One file of small pieces, its seed behind a relay that counts, and a folder for everything.
pub(crate) struct Fixture {
    pub(crate) net: Net,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) relay: Relay,
    pub(crate) seeder: Seed,
}

impl Fixture {
    pub(crate) fn new(length: usize, up: &str) -> Fixture {
        let net = Net::any();
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let source = tree::file(&at("source"), "file", 11, length);
        let torrent = create(&at("home"), &source, &at("file.torrent"), &["--piece-length", "256KiB"]);
        let seeder = seed(&net, 2, &at("seed home"), &torrent, &at("source"), &["--up", up]);
        let relay = Relay::before(seeder.addr, net.ip(4));
        Fixture { net, folder, relay, seeder }
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The words of `shoal download` into a folder.
    pub(crate) fn words(&self, output: &Path, more: &[&str]) -> Vec<String> {
        let (ip, peer) = (self.net.ip(3).to_string(), self.relay.addr.to_string());
        let torrent = self.at("file.torrent");
        let mut words = vec![SHOAL, "download", arg(&torrent), "--output", arg(output), "--json", "--port", "0"];
        words.extend(["--bind", &ip, "--peer", &peer]);
        words.extend(QUIET);
        words.extend(more);
        words.into_iter().map(str::to_owned).collect()
    }

    /// Starts it behind other words (`strace ...`, `setpriv ...`).
    pub(crate) fn start(&self, before: &[&str], output: &Path, more: &[&str]) -> Process {
        let words = self.words(output, more);
        let mut all: Vec<&str> = before.to_vec();
        all.extend(words.iter().map(String::as_str));
        Process::start(all[0], &all[1..], &self.at("leech home"))
    }

    pub(crate) fn assert_same(&self, output: &Path) {
        tree::assert_same(&self.at("source/file"), &output.join("file"));
    }
}
