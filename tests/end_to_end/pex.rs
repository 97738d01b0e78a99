//! Peer exchange (BEP 11): who knows one peer finds the others, also where the tracker is gone.

use crate::support::clients::{Client, PYTHON, driver, needs};
use crate::support::net::Net;
use crate::support::process::{Process, Stream};
use crate::support::shoal::{arg, create, download, seed, wait_for_pieces};
use crate::support::tracker::Tracker;
use crate::support::tree;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Slow enough that a download lasts until it has heard of the others.
const SLOW: [&str; 2] = ["--up", "150k"];
/// 10 s at that rate.
const LENGTH: usize = 1_500_000;

struct Torrent {
    net: Net,
    folder: tempfile::TempDir,
    source: PathBuf,
    file: PathBuf,
}

impl Torrent {
    fn new(net: Net, more: &[&str]) -> Torrent {
        let folder = tempfile::tempdir().unwrap();
        let source = tree::file(&folder.path().join("source"), "file", 7, LENGTH);
        let args = [&["--piece-length", "32KiB"], more].concat();
        let file = create(&folder.path().join("home"), &source, &folder.path().join("file.torrent"), &args);
        Torrent { net, folder, source, file }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn download(&self, n: u8, peer: Option<SocketAddr>) -> Process {
        let peer = peer.map(|peer| peer.to_string());
        let mut args = vec!["--seed"];
        args.extend(peer.iter().flat_map(|peer| ["--peer", peer.as_str()]));
        args.extend(SLOW);
        download(&self.net, n, &self.at(&format!("home {n}")), arg(&self.file), &self.at(&format!("out {n}")), &args)
    }

    fn libtorrent(&self, n: u8, peers: &[SocketAddr], save: &Path) -> (Process, SocketAddr) {
        std::fs::create_dir_all(save).unwrap();
        let addr = SocketAddr::new(self.net.ip(n), self.net.port());
        let peers: Vec<_> = peers.iter().map(|peer| json!([peer.ip(), peer.port()])).collect();
        let job = json!({"source": self.file, "save": save, "ip": addr.ip(), "port": addr.port(), "peers": peers,
            "up_limit": 150_000});
        (Process::start(PYTHON, &[arg(&driver()), "run", &job.to_string()], &self.at(&format!("home {n}"))), addr)
    }
}

/// Waits until a shoal says that it has this many peers.
fn wait_for_peers(process: &Process, count: u64) {
    process.wait_for(Stream::Out, "enough peers", |line| {
        let event: Value = serde_json::from_str(line).ok()?;
        (event["event"] == "progress" && event["peers"].as_u64()? >= count).then_some(())
    });
}

fn addr_of(process: &Process) -> SocketAddr {
    crate::support::shoal::listening(process)
}

#[test]
fn the_tracker_dies_in_mid_download_and_who_comes_later_finds_all_through_one() {
    let net = Net::any();
    let tracker = Tracker::start(net.ip(1));
    let torrent = Torrent::new(net, &["--tracker", &tracker.url()]);
    let data = torrent.at("source");
    let seeding = seed(&torrent.net, 2, &torrent.at("seed home"), &torrent.file, &data, &SLOW);
    tracker.register(seeding.addr);
    tracker.wait_for(seeding.addr.port(), |_| true, || seeding.process.said());
    let first = torrent.download(3, None);
    tracker.register(addr_of(&first));
    wait_for_pieces(&first, 3);
    tracker.kill();
    let second = torrent.download(4, Some(addr_of(&first)));
    let third = torrent.download(5, Some(addr_of(&second)));
    // Each was told of one peer, and the tracker tells nobody any more.
    wait_for_peers(&second, 3);
    wait_for_peers(&third, 2);
    for (n, process) in [(3, first), (4, second), (5, third)] {
        process.wait_for(Stream::Out, "done", |line| line.contains("\"done\"").then_some(()));
        tree::assert_same(&torrent.source, &torrent.at(&format!("out {n}/file")));
        process.interrupt().expect(0);
    }
}

#[test]
fn libtorrent_tells_us_of_others() {
    let Some(net) = needs(&[Client::Libtorrent]) else { return };
    let torrent = Torrent::new(net, &[]);
    let data = torrent.at("source");
    let seeding = seed(&torrent.net, 2, &torrent.at("seed home"), &torrent.file, &data, &SLOW);
    let (_middle, middle) = torrent.libtorrent(3, &[seeding.addr], &torrent.at("out 3"));
    wait_for_peers(&seeding.process, 1);
    let last = torrent.download(4, Some(middle));
    wait_for_peers(&last, 2);
}

#[test]
fn libtorrent_hears_of_others_from_us() {
    let Some(net) = needs(&[Client::Libtorrent]) else { return };
    let torrent = Torrent::new(net, &[]);
    let data = torrent.at("source");
    let seeding = seed(&torrent.net, 2, &torrent.at("seed home"), &torrent.file, &data, &SLOW);
    let middle = torrent.download(3, Some(seeding.addr));
    wait_for_pieces(&middle, 1);
    let (_last, _) = torrent.libtorrent(4, &[addr_of(&middle)], &torrent.at("out 4"));
    // The seed was named to nobody but by peer exchange.
    wait_for_peers(&seeding.process, 2);
}
