//! Peers that find each other on the local network (BEP 14): two networks joined by a cable, no tracker, no DHT, no address
//! named.

use crate::support::clients::{Client, PYTHON, driver, needs};
use crate::support::net::{Neighbour, Net};
use crate::support::process::{Process, Stream};
use crate::support::shoal::{SHOAL, arg, create, event};
use crate::support::{tree, until};
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};

/// What the issue asks for; an announce leaves within a quarter of a second.
const SOON: Duration = Duration::from_secs(5);
/// Nothing but the local network; names of files are not looked for elsewhere.
const LAN_ONLY: [&str; 5] = ["--lan-only", "--no-dht", "--no-port-mapping", "--port", "0"];
const LAN: [(&str, &str); 3] =
    [("SHOAL_SHARE_NO_LAN", "false"), ("SHOAL_SEED_NO_LAN", "false"), ("SHOAL_DOWNLOAD_NO_LAN", "false")];

fn here(home: &Path, args: &[&str]) -> Process {
    Process::start_with(SHOAL, &[args, &LAN_ONLY].concat(), home, &LAN)
}

fn there(far: &Neighbour, home: &Path, args: &[&str]) -> Process {
    let (program, into) = far.enter();
    Process::start_with(program, &[&[into.as_str(), SHOAL], args, &LAN_ONLY].concat(), home, &LAN)
}

/// Waits for what shows that a peer was found, `since` then.
fn assert_soon(process: &Process, kind: &str, since: Instant) {
    event(process, kind, |_| ());
    let took = since.elapsed();
    assert!(took < SOON, "{kind} after {took:?}\n{}", process.said());
}

#[test]
fn a_download_finds_a_share_beyond_the_cable_within_five_seconds() {
    let Some(net) = needs(&[]) else { return };
    let far = net.neighbour();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let source = tree::file(&at("source"), "file", 3, 3_000_000);
    let sharing = here(&at("home"), &["share", arg(&source)]);
    let link = sharing.wait_for(Stream::Out, "the link", |line| Some(line.to_owned()));
    // Only the hash: `x.pe` would lead there too.
    let hash = link.split('&').next().unwrap();
    let since = Instant::now();
    let output = at("output");
    let fetching = there(&far, &at("far home"), &["download", hash, "--json", "--output", arg(&output)]);
    assert_soon(&fetching, "metadata", since);
    fetching.wait().expect(0);
    tree::assert_same(&source, &output.join("file"));
    drop((sharing.interrupt().expect(0), net));
}

#[test]
fn a_share_that_comes_later_is_found_within_five_seconds() {
    let Some(net) = needs(&[]) else { return };
    let far = net.neighbour();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let source = tree::file(&at("source"), "file", 4, 3_000_000);
    let torrent = create(&at("home"), &source, &at("file.torrent"), &[]);
    let output = at("output");
    let fetching = there(&far, &at("far home"), &["download", arg(&torrent), "--json", "--output", arg(&output)]);
    event(&fetching, "progress", |_| ());
    let since = Instant::now();
    let data = at("source");
    let seeding = here(&at("home"), &["seed", arg(&torrent), "--data", arg(&data)]);
    assert_soon(&fetching, "piece", since);
    fetching.wait().expect(0);
    tree::assert_same(&source, &output.join("file"));
    drop((seeding.interrupt().expect(0), net));
}

/// libtorrent with local discovery and nothing else, at 10.99.0.1.
fn libtorrent(net: &Net, torrent: &Path, save: &Path, home: &Path) -> Process {
    std::fs::create_dir_all(save).unwrap();
    let job = json!({"source": torrent, "save": save, "ip": "10.99.0.1", "port": net.port(),
        "settings": {"enable_lsd": true}});
    Process::start(PYTHON, &[arg(&driver()), "run", &job.to_string()], home)
}

#[test]
fn libtorrent_seeds_and_is_found() {
    let Some(net) = needs(&[Client::Libtorrent]) else { return };
    let far = net.neighbour();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let source = tree::file(&at("source"), "file", 5, 3_000_000);
    let torrent = create(&at("home"), &source, &at("file.torrent"), &[]);
    let seeding = libtorrent(&net, &torrent, &at("source"), &at("lt home"));
    seeding.wait_for(Stream::Out, "finished", |line| line.contains("finished").then_some(()));
    let since = Instant::now();
    let output = at("output");
    let fetching = there(&far, &at("far home"), &["download", arg(&torrent), "--json", "--output", arg(&output)]);
    assert_soon(&fetching, "piece", since);
    fetching.wait().expect(0);
    tree::assert_same(&source, &output.join("file"));
}

#[test]
fn libtorrent_finds_a_seed_of_ours() {
    let Some(net) = needs(&[Client::Libtorrent]) else { return };
    let far = net.neighbour();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let source = tree::file(&at("source"), "file", 6, 3_000_000);
    let torrent = create(&at("home"), &source, &at("file.torrent"), &[]);
    let data = at("source");
    let seeding = there(&far, &at("far home"), &["seed", arg(&torrent), "--data", arg(&data), "--json"]);
    event(&seeding, "listening", |_| ());
    let since = Instant::now();
    let fetching = libtorrent(&net, &torrent, &at("output"), &at("lt home"));
    fetching.wait_for(Stream::Out, "finished", |line| {
        (serde_json::from_str::<Value>(line).ok()?["event"] == "finished").then_some(())
    });
    assert!(since.elapsed() < SOON, "{:?}\n{}", since.elapsed(), fetching.said());
    // libtorrent says so a moment before it has written all.
    until("every byte is there", || tree::same(&source, &at("output/file")));
}

/// aria2 with local discovery and nothing else, at 10.99.0.1. It takes its time: minutes may pass between its announces.
fn aria2(net: &Net, torrent: &Path, save: &Path, home: &Path, more: &[&str]) -> Process {
    let port = format!("--listen-port={}", net.port());
    let args = [
        "--no-conf",
        "--enable-dht=false",
        "--bt-enable-lpd=true",
        "--bt-lpd-interface=10.99.0.1",
        &port,
        "-d",
        arg(save),
    ];
    Process::start("aria2c", &[&args[..], more, &[arg(torrent)]].concat(), home)
}

#[test]
fn aria2_finds_a_seed_of_ours_and_is_found() {
    let Some(net) = needs(&[Client::Aria2]) else { return };
    let far = net.neighbour();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let source = tree::file(&at("source"), "file", 7, 3_000_000);
    let torrent = create(&at("home"), &source, &at("file.torrent"), &["--format", "v1"]);
    let (data, output, saved) = (at("source"), at("output"), at("saved"));
    let seeding = there(&far, &at("far home"), &["seed", arg(&torrent), "--data", arg(&data), "--json"]);
    event(&seeding, "listening", |_| ());
    aria2(&net, &torrent, &saved, &at("aria2 home"), &["--seed-time=0"]).wait().expect(0);
    tree::assert_same(&source, &saved.join("file"));
    seeding.interrupt().expect(0);

    let _theirs = aria2(&net, &torrent, &saved, &at("aria2 home"), &["--check-integrity=true", "--seed-ratio=0"]);
    let fetching = there(&far, &at("far home"), &["download", arg(&torrent), "--output", arg(&output)]);
    fetching.wait().expect(0);
    tree::assert_same(&source, &output.join("file"));
}
