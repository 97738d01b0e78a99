//! Each kind of "stuck", provoked: `download` says which within 10 seconds. `docs/doctor.md` shows the lines that these tests
//! print.

use crate::support::net::Net;
use crate::support::peer::{BITFIELD, INTERESTED, UNCHOKE, Wire, hash};
use crate::support::process::{Process, Stream};
use crate::support::shoal::{QUIET, SHOAL, arg, create, json, seed, shoal, show};
use crate::support::tracker::Tracker;
use crate::support::tree;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Within which a reason must come (5 s of which nothing must move).
const WITHIN: Duration = Duration::from_secs(10);
/// Bytes in the file: 8 pieces of 16 KiB.
const LENGTH: usize = 131_072;
/// Nobody's.
const HASH: &str = "0123456789012345678901234567890123456789";

struct Scene {
    net: Net,
    folder: tempfile::TempDir,
    torrent: PathBuf,
    info_hash: [u8; 20],
}

impl Scene {
    /// A torrent that names these trackers and web seeds.
    fn new(flags: &[&str]) -> Scene {
        let net = Net::any();
        let folder = tempfile::tempdir().unwrap();
        let source = tree::file(&folder.path().join("source"), "file", 11, LENGTH);
        let more = [&["--format", "v1", "--piece-length", "16KiB"], flags].concat();
        let torrent = create(folder.path(), &source, &folder.path().join("file.torrent"), &more);
        let info_hash = hash(show(folder.path(), arg(&torrent))["info_hash_v1"].as_str().unwrap());
        Scene { net, folder, torrent, info_hash }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Downloads the torrent and gives the line that belongs to `code`.
    #[track_caller]
    fn says(&self, code: &str, more: &[&str]) -> String {
        self.says_of(arg(&self.torrent), code, &[&QUIET[..], more].concat())
    }

    #[track_caller]
    fn says_of(&self, what: &str, code: &str, more: &[&str]) -> String {
        self.says_at(self.net.ip(3), what, code, more)
    }

    #[track_caller]
    fn says_at(&self, ip: IpAddr, what: &str, code: &str, more: &[&str]) -> String {
        let (ip, output) = (ip.to_string(), self.at("output"));
        let mut args = vec!["download", what, "-o", arg(&output), "--json", "--port", "0", "--bind", &ip];
        args.extend(more);
        // The flags say whether the DHT is used, not the tests' environment.
        let variables = [("SHOAL_DOWNLOAD_NO_DHT", "false")];
        reason(Process::start_with(SHOAL, &args, &self.at("home"), &variables), code)
    }

    /// A peer that greets and then plays `part`.
    fn peer(&self, part: impl Fn(&mut Wire) -> std::io::Result<()> + Send + 'static) -> String {
        let listener = TcpListener::bind((self.net.ip(9), 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        let info_hash = self.info_hash;
        std::thread::spawn(move || {
            while let Ok(mut wire) = Wire::accept(&listener, info_hash, b"-XX0001-unhelpful...") {
                // It ends when the other side leaves.
                let _ = part(&mut wire).and_then(|()| wire.wait_closed());
            }
        });
        addr.to_string()
    }

    /// A server that answers every request with these bytes, or with none and keeps the connection.
    fn server(&self, answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind((self.net.ip(8), 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let mut open = Vec::new();
            for mut stream in listener.incoming().flatten() {
                if answer.is_empty() {
                    open.push(stream);
                    continue;
                }
                let _ = stream.read(&mut [0; 4096]);
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", answer.len());
                let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(answer.as_bytes()));
            }
        });
        addr
    }
}

/// Waits for a reason of this code, and shows its line.
#[track_caller]
fn reason(process: Process, code: &str) -> String {
    let start = Instant::now();
    let line = process.wait_for(Stream::Out, code, |line| {
        let event: Value = serde_json::from_str(line).unwrap();
        (event["reason_code"] == code).then(|| event["reason"].as_str().unwrap().to_owned())
    });
    let took = start.elapsed();
    eprintln!("{code} after {:.1} s: {line}", took.as_secs_f64());
    assert!(took < WITHIN, "{code} only after {took:?}");
    process.interrupt();
    line
}

#[test]
fn no_source_is_enabled() {
    let scene = Scene::new(&[]);
    let line = scene.says_of(HASH, "no_source", &QUIET);
    assert_eq!(line, "nobody to ask: no tracker, DHT and LAN are off; name a --peer HOST:PORT");
}

#[test]
fn a_private_torrent_has_no_tracker() {
    let scene = Scene::new(&["--private"]);
    let allowed = scene.net.ip(3).is_loopback();
    // Not even with the DHT and LAN discovery switched on, in a network where nothing can be harmed.
    let flags: &[&str] = if allowed { &QUIET } else { &["--no-port-mapping"] };
    let line = scene.says_of(arg(&scene.torrent), "private_without_tracker", flags);
    assert_eq!(line, "private torrent, and it has no tracker: name a peer with --peer HOST:PORT");
}

#[test]
fn there_is_no_route() {
    let scene = Scene::new(&[]);
    if scene.net.ip(3).is_loopback() {
        return crate::support::skip("a network without a route needs a namespace");
    }
    let line = scene.says("no_route", &["--peer", "203.0.113.9:6881"]);
    assert_eq!(line, "no network route from here: is this computer online?");
}

#[test]
fn a_trackers_name_has_no_address() {
    let scene = Scene::new(&["--tracker", "http://tracker.invalid:80/announce"]);
    let line = scene.says("dns", &[]);
    assert_eq!(line, "DNS fails: tracker.invalid:80 has no address; check the network or the name");
}

#[test]
fn a_tracker_refuses_and_its_words_are_escaped_for_eyes_only() {
    let scene = Scene::new(&[]);
    let tracker = scene.server("d14:failure reason9:no \x1b[31m!e");
    let torrent = create(
        scene.folder.path(),
        &scene.at("source/file"),
        &scene.at("with.torrent"),
        &["--tracker", &format!("http://{tracker}/announce")],
    );
    let line = scene.says_of(arg(&torrent), "tracker_error", &QUIET);
    assert_eq!(line, format!("tracker {tracker}: the tracker refused: no \x1b[31m!"));
    let ip = scene.net.ip(3).to_string();
    let mut args = vec!["download", arg(&torrent), "-o", "/nowhere", "--timeout", "2s", "--port", "0", "--bind", &ip];
    args.extend(QUIET);
    let ended = shoal(&scene.at("plain"), &args);
    assert!(ended.stderr.iter().all(|line| !line.contains('\x1b')), "{:?}", ended.stderr);
}

#[test]
fn a_tracker_is_silent() {
    let scene = Scene::new(&[]);
    let tracker = scene.server("");
    let flags = ["--tracker", &format!("http://{tracker}/announce")];
    let torrent = create(scene.folder.path(), &scene.at("source/file"), &scene.at("with.torrent"), &flags);
    let line = scene.says_of(arg(&torrent), "tracker_silent", &QUIET);
    assert_eq!(line, format!("tracker {tracker} does not answer; it is asked again by itself"));
}

#[test]
fn a_tracker_cannot_be_reached() {
    let scene = Scene::new(&[]);
    let free = SocketAddr::new(scene.net.ip(8), scene.net.port());
    let flags = ["--tracker", &format!("http://{free}/announce")];
    let torrent = create(scene.folder.path(), &scene.at("source/file"), &scene.at("with.torrent"), &flags);
    let line = scene.says_of(arg(&torrent), "tracker_error", &QUIET);
    assert_eq!(line, format!("tracker {free} cannot be reached: connection refused"));
}

#[test]
fn a_trackers_tls_is_refused() {
    let scene = Scene::new(&[]);
    let tracker = scene.server("this is no TLS");
    let flags = ["--tracker", &format!("https://{tracker}/announce")];
    let torrent = create(scene.folder.path(), &scene.at("source/file"), &scene.at("with.torrent"), &flags);
    let line = scene.says_of(arg(&torrent), "tls", &QUIET);
    assert!(line.starts_with(&format!("tracker {tracker}: TLS refused: ")), "{line}");
}

#[test]
fn a_tracker_knows_nobody_else() {
    let scene = Scene::new(&[]);
    let tracker = Tracker::start(scene.net.ip(1));
    let torrent = create(
        scene.folder.path(),
        &scene.at("source/file"),
        &scene.at("with.torrent"),
        &["--tracker", &tracker.url()],
    );
    let line = scene.says_of(arg(&torrent), "tracker_nobody", &QUIET);
    assert!(line.ends_with("knows nobody else; does anyone share it now?"), "{line}");
}

#[test]
fn all_that_a_tracker_names_is_on_forbidden_networks() {
    let scene = Scene::new(&[]);
    if scene.net.ip(3).is_loopback() {
        return crate::support::skip("a tracker on a private address needs a namespace");
    }
    // 127.0.0.9:6881, from a tracker that is farther away than that.
    let tracker = scene.server("d8:intervali900e5:peers6:\x7f\0\0\x09\x1a\x69e");
    let flags = ["--tracker", &format!("http://{tracker}/announce")];
    let torrent = create(scene.folder.path(), &scene.at("source/file"), &scene.at("with.torrent"), &flags);
    let flags = ["--no-dht", "--no-lan", "--no-port-mapping"];
    let line = scene.says_of(arg(&torrent), "private_networks", &flags);
    assert_eq!(line, "1 peer named, all on private networks; --allow-private-networks if meant");
}

#[test]
fn no_peer_can_be_reached() {
    let scene = Scene::new(&[]);
    let free = SocketAddr::new(scene.net.ip(9), scene.net.port());
    let line = scene.says("peers_unreachable", &["--peer", &free.to_string()]);
    assert_eq!(line, "the only known peer cannot be reached: 1 refused");
    let silent = TcpListener::bind((scene.net.ip(9), 0)).unwrap();
    let line = scene.says("peers_unreachable", &["--peer", &silent.local_addr().unwrap().to_string()]);
    assert!(line.starts_with("the only known peer cannot be reached: 1 "), "{line}");
}

#[test]
fn no_connected_peer_has_the_metadata() {
    let scene = Scene::new(&[]);
    let peer = scene.peer(|_| Ok(()));
    let link = shoal(scene.folder.path(), &["link", arg(&scene.torrent)]).expect(0).stdout.remove(0);
    let flags = [&QUIET[..], &["--peer", &peer]].concat();
    let line = scene.says_of(&link, "no_metadata", &flags);
    assert_eq!(line, "1 peer, and none has the metadata yet; wait for a full copy");
}

#[test]
fn no_connected_peer_has_a_missing_piece() {
    let scene = Scene::new(&[]);
    let peer = scene.peer(|wire| wire.send(BITFIELD, &[0]));
    let line = scene.says("missing_pieces", &["--peer", &peer]);
    assert_eq!(line, "none of 1 peer has piece 0 and 7 more, of 8 missing; wait for a full copy");
}

#[test]
fn all_choke_us() {
    let scene = Scene::new(&[]);
    let peer = scene.peer(|wire| wire.send(BITFIELD, &[0xff]));
    let line = scene.says("choked", &["--peer", &peer]);
    assert_eq!(line, "1 peer has pieces and lets us wait (choked); it goes on by itself");
}

#[test]
fn all_that_let_us_ask_send_nothing() {
    let scene = Scene::new(&[]);
    let peer = scene.peer(|wire| {
        wire.send(BITFIELD, &[0xff])?;
        wire.wait_for(INTERESTED)?;
        wire.send(UNCHOKE, &[])
    });
    let line = scene.says("not_sending", &["--peer", &peer]);
    assert_eq!(line, "asked 1 peer for pieces; none sends");
}

#[test]
fn the_dht_is_silent() {
    let scene = Scene::new(&[]);
    let silent = std::net::UdpSocket::bind((scene.net.ip(8), 0)).unwrap();
    let node = silent.local_addr().unwrap().to_string();
    let flags = ["--dht-bootstrap", &node, "--no-lan", "--no-port-mapping", "--allow-private-networks"];
    let line = scene.says_of(HASH, "dht_silent", &flags);
    assert_eq!(line, "the DHT does not answer; does a firewall block UDP? try --dht-bootstrap");
}

#[test]
fn the_dht_knows_nobody() {
    let scene = Scene::new(&[]);
    // Its nodes are on 127.0.0.1, and so are we.
    let nodes = mainline::Testnet::builder(5).build().unwrap();
    let flags = ["--dht-bootstrap", &nodes.bootstrap[0], "--no-lan", "--no-port-mapping", "--allow-private-networks"];
    let line = scene.says_at(Ipv4Addr::LOCALHOST.into(), HASH, "dht_nobody", &flags);
    assert_eq!(line, "the DHT knows nobody who has it; does anyone share it now?");
}

#[test]
fn the_limit_lets_nothing_in() {
    let scene = Scene::new(&[]);
    let honest = seed(&scene.net, 2, &scene.at("seed"), &scene.torrent, &scene.at("source"), &[]);
    let line = scene.says("limit_zero", &["--down", "0", "--peer", &honest.addr.to_string()]);
    assert_eq!(line, "the download limit is 0: nothing may come in; raise --down");
}

#[test]
fn a_web_seed_fails() {
    let scene = Scene::new(&[]);
    let free = SocketAddr::new(scene.net.ip(8), scene.net.port());
    let flags = ["--webseed", &format!("http://{free}/file")];
    let torrent = create(scene.folder.path(), &scene.at("source/file"), &scene.at("with.torrent"), &flags);
    let line = scene.says_of(arg(&torrent), "web_seed_error", &QUIET);
    assert_eq!(line, format!("web seed {free} cannot be reached: connection refused"));
}

#[test]
fn the_disk_is_full() {
    let scene = Scene::new(&[]);
    // 16 MiB at 2 MiB a second, and a file system that something else fills meanwhile.
    let source = tree::file(&scene.at("large"), "large", 12, 16 << 20);
    let torrent = create(scene.folder.path(), &source, &scene.at("large.torrent"), &["--format", "v1"]);
    let honest = seed(&scene.net, 2, &scene.at("seed"), &torrent, &scene.at("large"), &["--up", "2MiB"]);
    let (output, peer, ip) = (scene.at("small"), honest.addr.to_string(), scene.net.ip(3).to_string());
    std::fs::create_dir_all(&output).unwrap();
    // The filler waits until shoal has looked at the space.
    let script = format!(
        "mount -t tmpfs -o size=24m tmpfs '{small}' || exit 99
        {{ while ! ls -A '{small}' | grep -q .; do sleep 0.1; done; cat /dev/zero > '{small}/filler'; }} 2>/dev/null &
        exec '{SHOAL}' download '{torrent}' -o '{small}' --peer {peer} --json --port 0 --bind {ip} {quiet}",
        small = arg(&output),
        torrent = arg(&torrent),
        quiet = QUIET.join(" "),
    );
    let process = Process::start("unshare", &["-m", "sh", "-c", &script], &scene.at("home"));
    let line = reason(process, "disk_full");
    assert!(line.contains("disk full") && line.contains("free space or choose --output"), "{line}");
}

#[test]
fn the_doctor_tells_of_a_torrent_what_each_source_and_peer_did_and_leaves_no_file() {
    let scene = Scene::new(&[]);
    let honest = seed(&scene.net, 2, &scene.at("seed"), &scene.torrent, &scene.at("source"), &[]);
    let free = SocketAddr::new(scene.net.ip(9), scene.net.port()).to_string();
    let (peer, ip) = (honest.addr.to_string(), scene.net.ip(3).to_string());
    let home = scene.at("doctor");
    let link = shoal(scene.folder.path(), &["link", arg(&scene.torrent)]).expect(0).stdout.remove(0);
    for what in [arg(&scene.torrent), &link] {
        let mut args = vec!["doctor", what, "--json", "--port", "0", "--bind", &ip, "--peer", &peer, "--peer", &free];
        args.extend(QUIET);
        let told = json(&shoal(&home, &args).expect(0));
        assert_eq!((&told["schema"], &told["healthy"]), (&1.into(), &true.into()));
        let torrent = &told["torrent"];
        assert_eq!((&torrent["reason_code"], &torrent["has_metadata"]), (&Value::Null, &true.into()), "{torrent}");
        let peers = &torrent["peers"];
        let count = |name: &str| peers[name].as_u64().unwrap();
        assert_eq!((count("known"), count("connected"), count("full_copies")), (2, 1, 1), "{peers}");
        assert_eq!((count("refused"), count("unchoking")), (1, 1), "{peers}");
    }
    let mut args = vec!["doctor", HASH, "--port", "0", "--bind", &ip, "--peer", &free, "--wait", "2s"];
    args.extend(QUIET);
    let ended = shoal(&home, &args).expect(3);
    assert!(ended.stdout.iter().all(|line| line.chars().count() <= 80), "{:#?}", ended.stdout);
    assert!(ended.stdout.iter().any(|line| line.starts_with("fail  torrent") && line.contains("refused")));
    let left = tree::contents(&home);
    assert!(left.is_empty(), "it wrote {:?}", left.keys());
}
