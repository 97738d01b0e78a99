//! `download --trace` and `sim replay`: what a user sends with a report of a bug, and what we make of it.

use crate::support::clients::{Client, needs};
use crate::support::net::Net;
use crate::support::process::Ended;
use crate::support::shoal::{arg, create, download, event, json, seed, shoal};
use crate::support::tracker::Tracker;
use crate::support::tree;
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// A folder, a network, and a torrent of one file that is seeded.
struct Shared {
    net: Net,
    folder: tempfile::TempDir,
    torrent: String,
    peer: String,
    _seed: crate::support::shoal::Seed,
}

impl Shared {
    fn new(length: usize, up: &str) -> Shared {
        let net = Net::any();
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let source = tree::file(&at("source"), "file", 5, length);
        let torrent = create(&at("home"), &source, &at("file.torrent"), &[]);
        let seed = seed(&net, 2, &at("seed home"), &torrent, &at("source"), &["--up", up]);
        let (torrent, peer) = (arg(&torrent).to_owned(), seed.addr.to_string());
        Shared { net, folder, torrent, peer, _seed: seed }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn download(&self, more: &[&str]) -> crate::support::process::Process {
        let args = [&["--peer", &self.peer], more].concat();
        download(&self.net, 3, &self.at("leech home"), &self.torrent, &self.at("out"), &args)
    }

    fn replay(&self, trace: &Path, more: &[&str]) -> Ended {
        shoal(&self.at("other home"), &[&["sim", "replay", arg(trace)], more].concat())
    }

    /// What `--json` says of a trace that is whole and agrees.
    fn agrees(&self, trace: &Path) -> Value {
        let report = json(&self.replay(trace, &["--json"]).expect(0));
        assert_eq!(report["agrees"], true);
        report
    }
}

#[test]
fn a_traced_download_does_the_same_again_and_tells_how_it_went() {
    let shared = Shared::new(3_000_000, "none");
    let trace = shared.at("a trace");
    let ended = shared.download(&["--trace", arg(&trace)]).wait().expect(0);
    let told = ended.stderr.iter().find(|line| line.contains("shoal sim replay")).expect("what to do with it");
    assert!(told.contains("'") && told.contains("a trace"), "the name is quoted for a shell: {told}");
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&trace).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600, "it says whom we were connected to");

    let report = shared.agrees(&trace);
    assert_eq!(report["ended"], "stopped");
    assert_eq!(report["name"], "file");
    assert_eq!(report["received_bytes"], 3_000_000);
    assert_eq!(report["peers"][0]["received_bytes"], 3_000_000);
    assert_eq!(report["peers"][0]["addr"], shared.peer);
    let firsts = &report["firsts"];
    assert!(firsts["block_s"].as_f64() <= firsts["piece_s"].as_f64(), "{firsts}");
    assert!(firsts["piece_s"].as_f64() <= firsts["complete_s"].as_f64(), "{firsts}");
    let text = shared.replay(&trace, &[]).expect(0).stdout;
    assert!(text.iter().any(|line| line.starts_with("Same again: ")), "{text:#?}");
    assert!(text.iter().all(|line| line.chars().count() <= 80), "{text:#?}");

    // A moment on the way, and what led to it.
    let early = shared.replay(&trace, &["--until", "0s", "--events", "3", "--json"]).expect(0);
    let early = json(&early);
    assert_eq!(early["ended"], "until");
    assert!(early["events"].as_u64() < report["events"].as_u64());
    assert!(!early["lines"].as_array().unwrap().is_empty());

    // It is never written over, and the second run says so before it does anything.
    let before = fs::read(&trace).unwrap();
    let ended = shared.download(&["--trace", arg(&trace)]).wait().expect(1);
    assert!(ended.stderr.iter().any(|line| line.contains("exists already")), "{:?}", ended.stderr);
    assert_eq!(fs::read(&trace).unwrap(), before);
}

#[test]
fn what_was_changed_or_cut_off_is_told() {
    let shared = Shared::new(1_000_000, "none");
    let trace = shared.at("trace");
    shared.download(&["--trace", arg(&trace)]).wait().expect(0);
    let whole = fs::read(&trace).unwrap();
    let changed = |bytes: &[u8]| {
        let path = shared.at("changed");
        fs::write(&path, bytes).unwrap();
        path
    };

    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    let ended = shared.replay(&changed(&flipped), &[]).expect(6);
    assert!(ended.stderr.iter().any(|line| line.contains("damaged: the record at byte")), "{:?}", ended.stderr);

    let torn = changed(&whole[..whole.len() - 20]);
    let ended = shared.replay(&torn, &[]).expect(0);
    assert!(ended.stdout.iter().any(|line| line.contains("cut off in the record at byte")), "{:#?}", ended.stdout);
    assert_eq!(shared.agrees(&torn)["ended"], "torn");

    for other in [&b""[..], b"d4:infoe", &whole[..20]] {
        let ended = shared.replay(&changed(other), &[]).expect(6);
        assert_eq!(ended.stderr.len(), 1, "one line: {:?}", ended.stderr);
    }
    shared.replay(&shared.at("nothing here"), &[]).expect(1);
}

#[test]
fn an_interrupted_download_has_its_trace_until_there() {
    let shared = Shared::new(4_000_000, "400k");
    let trace = shared.at("trace");
    let process = shared.download(&["--trace", arg(&trace)]);
    event(&process, "piece", |_| ());
    let ended = process.interrupt().expect(130);
    let hint = ended.stderr.iter().find(|line| line.contains("resume with")).expect("how to go on");
    assert!(!hint.contains("--trace"), "the trace is there already: {hint}");
    let report = shared.agrees(&trace);
    assert_eq!(report["ended"], "stopped");
    assert!(report["firsts"]["piece_s"].is_f64() && report["firsts"]["complete_s"].is_null());

    // The resumed one begins with what is there.
    let second = shared.at("second");
    shared.download(&["--trace", arg(&second)]).wait().expect(0);
    let again = shared.agrees(&second);
    assert!(again["received_bytes"].as_u64() < Some(4_000_000), "{}", again["received_bytes"]);
    assert_eq!(again["done_bytes"], 4_000_000);
}

#[test]
fn of_a_killed_download_what_was_written_can_be_used() {
    let shared = Shared::new(6_000_000, "800k");
    let trace = shared.at("trace");
    let process = shared.download(&["--trace", arg(&trace)]);
    crate::support::until("a second of it is written", || fs::metadata(&trace).is_ok_and(|found| found.len() > 3_000));
    process.signal(Signal::KILL);
    drop(process.wait());
    let report = shared.agrees(&trace);
    assert!(["silent", "torn"].contains(&report["ended"].as_str().unwrap()), "{}", report["ended"]);
    assert!(report["received_bytes"].as_u64() > Some(0));
}

#[test]
fn a_trace_that_is_full_or_cannot_be_written_ends_and_the_download_does_not() {
    let shared = Shared::new(3_000_000, "none");
    let trace = shared.at("short");
    let ended = shared.download(&["--trace", arg(&trace), "--trace-limit", "4k"]).wait().expect(0);
    assert!(ended.stderr.iter().any(|line| line.contains("the trace ends here")), "{:?}", ended.stderr);
    assert!(fs::metadata(&trace).unwrap().len() <= 4_000);
    assert_eq!(shared.agrees(&trace)["ended"], "limit");

    let ended = shared.download(&["--trace", arg(&shared.at("no folder/trace"))]).wait().expect(5);
    assert!(ended.stderr.iter().any(|line| line.contains("cannot write the trace")), "{:?}", ended.stderr);
    let two = ["download", &shared.torrent, &shared.torrent, "--trace", "x"];
    shoal(&shared.at("home"), &two).expect(2);
}

#[test]
fn a_trace_says_why_nothing_moved() {
    let shared = Shared::new(100_000, "0");
    let trace = shared.at("trace");
    shared.download(&["--trace", arg(&trace), "--timeout", "8s"]).wait().expect(7);
    let report = shared.agrees(&trace);
    let stall = &report["stalls"][0];
    assert!(stall["to_s"].as_f64().unwrap() - stall["from_s"].as_f64().unwrap() >= 5.0, "{stall}");
    assert!(stall["reason"].is_string(), "{stall}");
    assert_eq!(report["received_bytes"], 0);
}

#[test]
fn a_link_fetched_from_libtorrent_does_the_same_again() {
    let Some(net) = needs(&[Client::Libtorrent]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let tracker = Tracker::start(net.ip(2));
    let source = tree::awkward(&at("source"), "tree", 4);
    let torrent = create(&at("home"), &source, &at("t.torrent"), &["--format", "v1", "--tracker", &tracker.url()]);
    let mut seed = Client::Libtorrent.start(&net, 4, &tracker, arg(&torrent), &at("source"), &at("libtorrent home"));
    seed.wait_listening();
    let link = shoal(&at("home"), &["link", arg(&torrent)]).expect(0).stdout.remove(0);
    let trace = at("trace");
    download(&net, 5, &at("leech home"), &link, &at("out"), &["--trace", arg(&trace)]).wait().expect(0);
    tree::assert_same(&source, &at("out/tree"));
    let report = json(&shoal(&at("home"), &["sim", "replay", arg(&trace), "--json"]).expect(0));
    assert_eq!(report["agrees"], true);
    assert!(report["firsts"]["metadata_s"].is_f64(), "{}", report["firsts"]);
    let client = report["peers"].as_array().unwrap().iter().find_map(|peer| peer["client"].as_str()).unwrap();
    assert!(client.contains("libtorrent"), "{client}");
    // The tracker's path is no one's business.
    let bytes = fs::read(&trace).unwrap();
    assert!(!bytes.windows(9).any(|part| part == b"/announce"), "the URL of the tracker");
}
