//! Private torrents (BEP 27), proven by what is on the wire: a private torrent's peers speak to its tracker and to those whom it
//! named, whatever else would be possible (local discovery, a DHT node, one who says that he has it); and a public torrent in the same place does more, so the capture sees it.

use crate::interop::arrives;
use crate::support::clients::{Client, PYTHON, needs};
use crate::support::net::Net;
use crate::support::process::{Process, Stream};
use crate::support::shoal::{SHOAL, arg, create, listening, seed, show};
use crate::support::tracker::Tracker;
use crate::support::{tree, until};
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

const GROUP: &str = "239.192.152.143";
/// A DHT node that never answers.
const BOOTSTRAP: u8 = 8;
const BOOTSTRAP_PORT: u16 = 6_900;
/// Who says on the local network that he has the torrent, and was named by no tracker.
const DECOY: u8 = 9;
const SEED: u8 = 2;
const LEECH: u8 = 3;

fn watcher() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/end_to_end/support/watch.py").canonicalize().unwrap()
}

/// Starts shoal with every source of peers on.
fn start(net: &Net, n: u8, home: &Path, args: &[&str]) -> Process {
    let ip = net.ip(n).to_string();
    let variables: Vec<String> = ["SEED", "DOWNLOAD"]
        .iter()
        .flat_map(|command| ["LAN", "DHT"].map(|what| format!("SHOAL_{command}_NO_{what}")))
        .collect();
    let variables: Vec<(&str, &str)> = variables.iter().map(|name| (name.as_str(), "false")).collect();
    let bootstrap = format!("{}:{BOOTSTRAP_PORT}", net.ip(BOOTSTRAP));
    let all = ["--json", "--port", "0", "--bind", &ip, "--allow-private-networks", "--dht-bootstrap", &bootstrap];
    Process::start_with(SHOAL, &[args, &all].concat(), home, &variables)
}

/// Where packets from the seed's and the leech's addresses went.
fn sent_to(capture: Process) -> BTreeSet<(IpAddr, u16)> {
    let ours: Vec<String> = [SEED, LEECH].map(|n| format!("10.77.0.{n}")).to_vec();
    let ended = capture.interrupt();
    let packets = ended.stdout.iter().map(|line| serde_json::from_str::<Value>(line).unwrap());
    packets
        .filter(|packet| ours.iter().any(|ip| packet["from"] == ip.as_str()))
        .map(|packet| (packet["to"].as_str().unwrap().parse().unwrap(), packet["to_port"].as_u64().unwrap() as u16))
        .collect()
}

/// What one run showed.
struct Run {
    /// Where packets went.
    sent: BTreeSet<(IpAddr, u16)>,
    /// The tracker and the seed.
    allowed: [SocketAddr; 2],
}

/// Fetches a torrent with a tracker, by its file or by a link; `None` where there is no network to do so.
fn run(private: bool, link: bool) -> Option<Run> {
    let net = needs(&[])?;
    [SEED, LEECH, DECOY].iter().for_each(|&n| net.assign(n));
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let tracker = Tracker::start(net.ip(1));
    let source = tree::file(&at("source"), "file", 8, 600_000);
    let url = tracker.url();
    let mut args = vec!["--tracker", url.as_str(), "--format", "v1"];
    args.extend(private.then_some("--private"));
    let torrent = create(&at("home"), &source, &at("file.torrent"), &args);
    let hash = show(&at("home"), arg(&torrent))["info_hash_v1"].as_str().unwrap().to_owned();
    let watcher = watcher();
    let capture = Process::start(PYTHON, &[arg(&watcher), "capture"], &at("capture"));
    capture.wait_for(Stream::Out, "ready", |line| line.contains("ready").then_some(()));
    let decoy = net.ip(DECOY).to_string();
    let _decoy = Process::start(PYTHON, &[arg(&watcher), "lan", &decoy, "7777", &hash], &at("decoy"));
    let data = at("source");
    let seeding = start(&net, SEED, &at("seed home"), &["seed", arg(&torrent), "--data", arg(&data)]);
    let seed = listening(&seeding);
    tracker.register(seed);
    tracker.wait_for(seed.port(), |_| true, || seeding.said());
    let what = if link { format!("magnet:?xt=urn:btih:{hash}&tr={url}") } else { arg(&torrent).to_owned() };
    let output = at("output");
    let fetching = start(&net, LEECH, &at("leech home"), &["download", &what, "--seed", "--output", arg(&output)]);
    fetching.wait_for(Stream::Out, "done", |line| line.contains("\"done\"").then_some(()));
    tree::assert_same(&source, &output.join("file"));
    if !private {
        // What a public torrent sends takes no longer than the download.
        until("the decoy is dialed", || capture.said().contains("7777"));
    }
    fetching.interrupt().expect(0);
    seeding.interrupt().expect(0);
    Some(Run { sent: sent_to(capture), allowed: [tracker.address(), seed] })
}

fn speaks_to_tracker_and_peer_only(link: bool) {
    let Some(Run { sent, allowed }) = run(true, link) else { return };
    let strangers: Vec<_> = sent
        .iter()
        .filter(|(ip, port)| {
            let allowed = allowed.contains(&SocketAddr::new(*ip, *port));
            // Answers go to ports that systems chose, at the tracker's, the seed's and the leech's own addresses.
            let answer = *port >= 32_768 && [1, SEED, LEECH].iter().any(|n| *ip == IpAddr::from([10, 77, 0, *n]));
            // Before its metadata is known a link is looked up, and not announced.
            let look_up = link && (*ip, *port) == (IpAddr::from([10, 77, 0, BOOTSTRAP]), BOOTSTRAP_PORT);
            !allowed && !answer && !look_up
        })
        .collect();
    assert!(strangers.is_empty(), "{strangers:?}");
    assert!(allowed.iter().all(|addr| sent.contains(&(addr.ip(), addr.port()))), "the capture sees: {sent:?}");
}

#[test]
fn a_private_torrent_file_leads_to_its_tracker_and_its_peers_only() {
    speaks_to_tracker_and_peer_only(false);
}

#[test]
fn a_link_to_a_private_torrent_leads_to_its_tracker_and_its_peers_only_but_for_the_first_look_up() {
    speaks_to_tracker_and_peer_only(true);
}

#[test]
fn a_public_torrent_in_the_same_place_is_announced_and_dials_who_announces() {
    let Some(Run { sent, .. }) = run(false, false) else { return };
    assert!(sent.contains(&(GROUP.parse().unwrap(), 6771)), "{sent:?}");
    assert!(sent.contains(&(IpAddr::from([10, 77, 0, DECOY]), 7777)), "{sent:?}");
}

#[test]
fn a_sole_source_that_advises_serves_libtorrent_and_transmission_together() {
    // Of a private torrent nothing is hidden: leeches are told what nobody has yet (BEP 6).
    let leeches = [Client::Libtorrent, Client::Transmission, Client::Libtorrent];
    let Some(net) = needs(&leeches) else { return };
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let tracker = Tracker::start(net.ip(1));
    let source = tree::file(&at("source"), "file", 9, 8_000_000);
    let args = ["--tracker", &tracker.url(), "--format", "v1", "--private", "--piece-length", "64KiB"];
    let torrent = create(&at("home"), &source, &at("file.torrent"), &args);
    let source = seed(&net, SEED, &at("seed home"), &torrent, &at("source"), &["--up", "2M"]);
    tracker.register(source.addr);
    tracker.wait_for(source.addr.port(), |_| true, || source.process.said());
    let started: Vec<_> = leeches
        .iter()
        .zip(LEECH..)
        .map(|(client, n)| {
            let home = at(&format!("home {n}"));
            (n, client.start(&net, n, &tracker, arg(&torrent), &at(&format!("data {n}")), &home))
        })
        .collect();
    for (n, leech) in &started {
        leech.wait_complete(&tracker);
        arrives(&at("source/file"), &at(&format!("data {n}/file")));
    }
    source.process.interrupt().expect(0);
}
