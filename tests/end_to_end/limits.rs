//! What the system allows little of, and how a run ends: descriptors, signals, closed outputs, files and ports that another has
//! (reliability.md F13, F15, F16). `docs/storage.md` has a row for each.

use crate::support::fixture::Fixture;
use crate::support::net::Net;
use crate::support::process::{Process, processor_time};
use crate::support::shoal::{QUIET, SHOAL, arg, create, download, event, seed, wait_for_pieces};
use crate::support::tree;
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

#[test]
fn few_descriptors_are_enough_for_many_files_and_peers() {
    let net = Net::any();
    // In memory where that is possible: 5,000 files are 5,000 syncs.
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
    let at = |name: &str| folder.path().join(name);
    for number in 0..5000_usize {
        tree::file(
            &at(&format!("source/tree/{}", number % 50)),
            &format!("{number}"),
            number as u64,
            500 + number % 1000,
        );
    }
    let torrent = create(&at("home"), &at("source/tree"), &at("tree.torrent"), &["--format", "v1"]);
    let seeder = seed(&net, 2, &at("seed home"), &torrent, &at("source"), &[]);
    let (ip, peer) = (net.ip(3).to_string(), seeder.addr.to_string());
    let words = ["download", arg(&torrent), "--json", "--port", "0", "--bind", &ip, "--peer", &peer, "--down", "400k"];
    let script = format!(
        "ulimit -n 64; exec '{SHOAL}' {} --output '{}' {}",
        words.map(|word| format!("'{word}'")).join(" "),
        arg(&at("output")),
        QUIET.join(" ")
    );
    let process = Process::start("sh", &["-c", &script], &at("leech home"));
    let addr: SocketAddr = event(&process, "listening", |e| e["addr"].as_str().unwrap().parse().unwrap());
    wait_for_pieces(&process, 1);
    let crowd: Vec<TcpStream> =
        (0..200).filter_map(|_| TcpStream::connect_timeout(&addr, Duration::from_millis(200)).ok()).collect();
    assert!(crowd.len() >= 64, "{} connect", crowd.len());
    let before = processor_time(process.id());
    let ended = process.wait();
    drop(crowd);
    assert!(before < 20.0, "accepting does not spin");
    ended.expect(0);
    tree::assert_same(&at("source/tree"), &at("output/tree"));
}

#[test]
fn it_stops_within_five_seconds_and_saves_though_trackers_hang() {
    // Takes connections and never answers.
    let net = Net::any();
    let tracker = TcpListener::bind((net.ip(9), 0)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let url = format!("http://{}/announce", tracker.local_addr().unwrap());
    let source = tree::file(&at("source"), "file", 14, 6 << 20);
    let torrent = create(&at("home"), &source, &at("file.torrent"), &["--tracker", &url]);
    let seeder = seed(&net, 2, &at("seed home"), &torrent, &at("source"), &["--up", "2M"]);
    let peer = seeder.addr.to_string();
    let mut had = BTreeSet::new();
    for signal in [Signal::TERM, Signal::HUP] {
        let home = at("leech home");
        let more = ["--peer", peer.as_str()];
        let process = download(&net, 3, &home, arg(&torrent), &at("output"), &more);
        wait_for_pieces(&process, 8);
        process.signal(signal);
        let start = Instant::now();
        let ended = process.wait().expect(130);
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        for line in ended.stdout.iter().filter(|line| line.contains("\"piece\"")) {
            let piece: serde_json::Value = serde_json::from_str(line).unwrap();
            assert!(had.insert(piece["index"].as_u64().unwrap()), "{piece} was not saved");
        }
    }
    assert!(had.len() >= 16);
}

#[test]
fn closed_and_full_outputs_are_no_reason_to_lose_anything() {
    let fixture = Fixture::new(1 << 20, "none");
    let output = fixture.at("output");
    let quoted = fixture.words(&output, &[]).join("' '");
    let shell = |redirect: &str| {
        let script = format!("exec '{quoted}' {redirect}");
        Process::start("sh", &["-c", &script], &fixture.at("leech home")).wait()
    };
    let ended = shell(">/dev/full");
    assert!([0, 1].contains(&ended.code()), "{} {:?}", ended.code(), ended.stderr);
    shell("2>&-").expect(0);
    fixture.assert_same(&output);
    let script = format!("'{quoted}' | true");
    let ended = Process::start("sh", &["-c", &script], &fixture.at("leech home")).wait().expect(0);
    assert!(
        !ended.stderr.iter().any(|line| line.contains("roken pipe") || line.contains("panic")),
        "{:?}",
        ended.stderr
    );
    assert_eq!(fixture.seeder.process.interrupt().code(), 0);
}

#[test]
fn two_processes_never_write_the_same_file_for_two_torrents() {
    let fixture = Fixture::new(6 << 20, "1M");
    let output = fixture.at("output");
    let first = fixture.start(&[], &output, &[]);
    wait_for_pieces(&first, 1);
    // Another torrent of the same name.
    let other = tree::file(&fixture.at("other"), "file", 15, 300_000);
    let torrent = create(&fixture.at("home"), &other, &fixture.at("other.torrent"), &[]);
    let (home, ip) = (fixture.at("leech home"), fixture.net.ip(5).to_string());
    let mut args = vec!["download", arg(&torrent), "--output", arg(&output), "--port", "0", "--bind", &ip];
    args.extend(QUIET);
    args.push("--overwrite");
    let ended = Process::start(SHOAL, &args, &home).wait().expect(1);
    let line = ended.stderr.iter().find(|line| line.contains("another shoal downloads into")).expect("it says so");
    assert!(line.contains("output/file") && line.contains("--output"), "{line}");
    first.interrupt().expect(130);
    // Nobody has it any more.
    let first = fixture.start(&[], &output, &["--timeout", "1s"]);
    assert_eq!(first.wait().code(), 7);
}

#[test]
fn a_port_that_is_taken_is_an_exit_code_of_its_own() {
    let net = Net::any();
    let taken = TcpListener::bind((net.ip(2), 0)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let source = tree::file(folder.path(), "file", 16, 1000);
    let (ip, port) = (net.ip(2).to_string(), taken.local_addr().unwrap().port().to_string());
    let mut args = vec!["share", arg(&source), "--bind", &ip, "--port", &port];
    args.extend(QUIET);
    let ended = Process::start(SHOAL, &args, &folder.path().join("home")).wait().expect(4);
    assert!(ended.stderr.iter().any(|line| line.contains(&port)), "{:?}", ended.stderr);
}
