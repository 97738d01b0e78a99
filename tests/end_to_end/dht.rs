//! A link with nothing but itself: the DHT as the only way to find anyone.
//!
//! The nodes are other people's: libtorrent's sessions, or `mainline`'s own test network; ours only ask. Links are bare hashes
//! without addresses, there is no tracker, and every network is a namespace with loopback only.

use crate::support::clients::{Client, PYTHON, driver, needs};
use crate::support::net::Net;
use crate::support::process::{Process, Stream};
use crate::support::shoal::{SHOAL, arg, create, event, shoal, show};
use crate::support::{tree, until};
use serde_json::{Value, json};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

/// Switches the DHT on again, which every other test has off.
const WITH_DHT: [(&str, &str); 3] =
    [("SHOAL_SHARE_NO_DHT", "false"), ("SHOAL_DOWNLOAD_NO_DHT", "false"), ("SHOAL_SEED_NO_DHT", "false")];
/// The product's promise is 5 s on an idle machine; tests share two cores with each other.
const FIRST_BYTE_WITHIN: Duration = Duration::from_secs(20);

/// A DHT that somebody else wrote.
struct Nodes {
    addrs: Vec<SocketAddr>,
    _libtorrent: Option<Process>,
    _mainline: Option<mainline::Testnet>,
}

impl Nodes {
    /// Eight libtorrent sessions, each at an address of its own.
    fn libtorrent(net: &Net, home: &Path) -> Nodes {
        let nodes: Vec<_> = (100..108).map(|n| json!([net.ip(n), net.port()])).collect();
        let process = Process::start(PYTHON, &[arg(&driver()), "dht", &json!({ "nodes": nodes }).to_string()], home);
        let addrs = event(&process, "ready", |e| {
            let nodes = e["nodes"].as_array().expect("a list");
            nodes.iter().map(|node| node.as_str().unwrap().parse().unwrap()).collect()
        });
        Nodes { addrs, _libtorrent: Some(process), _mainline: None }
    }

    fn mainline() -> Nodes {
        let net = mainline::Testnet::builder(10).build().unwrap();
        let addrs = net.bootstrap.iter().map(|text| text.parse().unwrap()).collect();
        Nodes { addrs, _libtorrent: None, _mainline: Some(net) }
    }

    /// The flags that make shoal use three of them.
    fn flags(&self, ip: IpAddr) -> Vec<String> {
        let mut flags: Vec<String> =
            ["--no-lan", "--no-port-mapping", "--allow-private-networks", "--port", "0", "--bind"]
                .map(str::to_owned)
                .into();
        flags.push(ip.to_string());
        for addr in self.addrs.iter().take(3) {
            flags.extend(["--dht-bootstrap".to_owned(), addr.to_string()]);
        }
        flags
    }
}

/// Starts shoal with the DHT as its only source.
fn start(words: &[&str], nodes: &Nodes, ip: IpAddr, home: &Path) -> Process {
    let flags = nodes.flags(ip);
    let mut args = words.to_vec();
    args.extend(flags.iter().map(String::as_str));
    Process::start_with(SHOAL, &args, home, &WITH_DHT)
}

/// What `shoal dht peers` finds.
fn peers(hash: &str, nodes: &Nodes, ip: IpAddr, home: &Path) -> Vec<String> {
    let ip = ip.to_string();
    let bootstrap = nodes.addrs[0].to_string();
    let args =
        ["dht", "peers", hash, "--allow-private-networks", "--bind", &ip, "--dht-bootstrap", &bootstrap, "--json"];
    let ended = shoal(home, &args).expect(0);
    let object: Value = serde_json::from_str(&ended.stdout[0]).unwrap();
    object["peers"].as_array().unwrap().iter().map(|peer| peer.as_str().unwrap().to_owned()).collect()
}

fn bare_links(hashes: &Value) -> Vec<String> {
    let link = |key: &str, topic: &str| hashes[key].as_str().map(|hash| format!("magnet:?xt=urn:{topic}{hash}"));
    [link("info_hash_v1", "btih:"), link("info_hash_v2", "btmh:1220")].into_iter().flatten().collect()
}

/// Waits until all of it is there; says how long the first piece took.
fn fetched(process: &Process, since: Instant) -> Duration {
    let first = process.wait_for(Stream::Out, "a piece", |line| {
        let event: Value = serde_json::from_str(line).ok()?;
        (event["event"] == "piece").then(|| since.elapsed())
    });
    event(process, "done", |_| ());
    eprintln!("first piece after {first:?}");
    assert!(first < FIRST_BYTE_WITHIN, "{first:?}");
    first
}

/// One shoal shares a hybrid, others fetch it from its v1 and its v2 hash alone.
fn share_and_download(net: &Net, nodes: &Nodes, folder: &Path, ip: impl Fn(u8) -> IpAddr) {
    let at = |name: &str| folder.join(name);
    let source = tree::awkward(&at("source"), "tree", 7);
    let sharing = start(&["share", arg(&source), "--json"], nodes, ip(2), &at("sharing"));
    let magnet = event(&sharing, "link", |e| e["magnet"].as_str().unwrap().to_owned());
    let links = bare_links(&show(&at("show"), &magnet));
    assert_eq!(links.len(), 2);
    for (number, link) in links.iter().enumerate() {
        let hash = link.rsplit_once(':').unwrap().1.trim_start_matches("1220");
        until("it is announced", || !peers(hash, nodes, ip(9), &at("look")).is_empty());
        let output = at(&format!("output {number}"));
        let since = Instant::now();
        let words = ["download", link, "--output", arg(&output), "--json"];
        let fetching = start(&words, nodes, ip(3 + number as u8), &at(&format!("fetching {number}")));
        fetched(&fetching, since);
        fetching.wait().expect(0);
        tree::assert_same(&source, &output.join("tree"));
    }
    let _ = net;
    sharing.interrupt().expect(0);
}

#[test]
fn a_bare_v1_or_v2_hash_is_enough_among_libtorrents_nodes() {
    let Some(net) = needs(&[Client::Libtorrent]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let nodes = Nodes::libtorrent(&net, &folder.path().join("nodes"));
    share_and_download(&net, &nodes, folder.path(), |n| net.ip(n));
}

#[test]
fn a_bare_v1_or_v2_hash_is_enough_among_mainlines_nodes() {
    let net = Net::any();
    let folder = tempfile::tempdir().unwrap();
    // Its test network is on 127.0.0.1, and so are we.
    let nodes = Nodes::mainline();
    share_and_download(&net, &nodes, folder.path(), |_| IpAddr::from([127, 0, 0, 1]));
}

/// libtorrent on a torrent file or link, with the DHT as its only source.
fn libtorrent(net: &Net, n: u8, nodes: &Nodes, source: &str, data: &Path, home: &Path) -> Process {
    std::fs::create_dir_all(data).unwrap();
    let nodes: Vec<_> = nodes.addrs.iter().map(|addr| json!([addr.ip(), addr.port()])).collect();
    let job = json!({"source": source, "save": data, "ip": net.ip(n), "port": net.port(), "dht": nodes});
    Process::start(PYTHON, &[arg(&driver()), "run", &job.to_string()], home)
}

#[test]
fn libtorrent_is_found_as_a_seeder_and_finds_shoal_as_a_leecher() {
    let Some(net) = needs(&[Client::Libtorrent]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let nodes = Nodes::libtorrent(&net, &at("nodes"));
    let source = tree::awkward(&at("source"), "tree", 7);
    let torrent = create(&at("create"), &source, &at("tree.torrent"), &["--format", "v1"]);
    let link = bare_links(&show(&at("show"), arg(&torrent))).remove(0);
    let hash = link.rsplit_once(':').unwrap().1;

    let seeder = libtorrent(&net, 2, &nodes, arg(&torrent), &at("source"), &at("seeder"));
    until("libtorrent is announced", || !peers(hash, &nodes, net.ip(9), &at("look")).is_empty());
    let output = at("output");
    let since = Instant::now();
    let middle =
        start(&["download", &link, "--output", arg(&output), "--seed", "--json"], &nodes, net.ip(3), &at("middle"));
    fetched(&middle, since);
    tree::assert_same(&source, &output.join("tree"));
    drop(seeder);

    let last = libtorrent(&net, 4, &nodes, &link, &at("last"), &at("leecher"));
    last.wait_for(Stream::Out, "finished", |line| line.contains("\"finished\"").then_some(()));
    until("every byte is there", || tree::same(&source, &at("last").join("tree")));
    middle.interrupt().expect(0);
}

#[test]
fn a_private_torrent_never_reaches_the_dht() {
    let net = Net::any();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let source = tree::awkward(&at("source"), "tree", 7);
    // Whatever its node sends goes here, and nothing may be a question about the torrent.
    let silent = std::net::UdpSocket::bind((net.ip(5), 0)).unwrap();
    silent.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let nodes = Nodes { addrs: vec![silent.local_addr().unwrap()], _libtorrent: None, _mainline: None };
    let asks = |words: &[&str], home: &str| {
        let sharing = start(words, &nodes, net.ip(2), &at(home));
        event(&sharing, "link", |_| ());
        let (mut packets, mut buffer, end) = (Vec::new(), [0; 2_048], Instant::now() + Duration::from_secs(8));
        while Instant::now() < end {
            packets.extend(silent.recv(&mut buffer).ok().map(|length| buffer[..length].to_vec()));
        }
        sharing.interrupt().expect(0);
        // What it sent at last is not the next one's.
        while silent.recv(&mut buffer).is_ok() {}
        let asks = |packet: &Vec<u8>| packet.windows(9).any(|word| word == b"get_peers" || word == b"announce_");
        (packets.len(), packets.iter().filter(|packet| asks(packet)).count())
    };
    let (_, asked) = asks(&["share", arg(&source), "--json"], "public");
    assert!(asked > 0, "a public one is asked for");
    let words = ["share", arg(&source), "--json", "--private", "--tracker", "http://127.0.0.1:1/announce"];
    let (packets, _) = asks(&words, "private");
    assert_eq!(packets, 0, "not even our node's own start");
    let (packets, _) = asks(&["share", arg(&source), "--json", "--no-dht"], "off");
    assert_eq!(packets, 0);
    let (packets, _) = asks(&["share", arg(&source), "--json", "--lan-only"], "lan");
    assert_eq!(packets, 0);
}

#[test]
fn the_dht_is_shown_as_it_is() {
    let net = Net::any();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let nodes = Nodes::mainline();
    let _ = net;
    let bootstrap = nodes.addrs[0].to_string();
    let here = ["--allow-private-networks", "--bind", "127.0.0.1", "--dht-bootstrap", &bootstrap];
    let run = |words: &[&str]| shoal(&at("home"), &[words, &here].concat());
    let status: Value = serde_json::from_str(&run(&["dht", "status", "--json"]).expect(0).stdout[0]).unwrap();
    assert!(status["nodes"].as_u64().unwrap() > 0 && status["schema"] == 1, "{status}");
    let hash = "ab".repeat(20);
    let ended = run(&["dht", "announce", &hash, "--port", "4321"]).expect(0);
    assert_eq!(ended.stdout, [format!("announced {hash} with TCP port 4321")]);
    assert_eq!(run(&["dht", "peers", &hash]).expect(0).stdout, ["127.0.0.1:4321"]);
    // Nobody answers there: one line that says so.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let args = ["dht", "status", "--bind", "127.0.0.1", "--dht-bootstrap", &silent, "--timeout", "3s"];
    let ended = shoal(&at("other"), &args).expect(4);
    assert!(ended.stderr.iter().any(|line| line.contains("answers")), "{:?}", ended.stderr);
}
