//! Shoal with itself: a share fetched by its link, what survives an interruption, what is told to trackers and scripts.

use crate::support::net::Net;
use crate::support::process::{Process, Stream};
use crate::support::shoal::{self, QUIET, SHOAL, arg, create, download, event, listening, seed, show, wait_for_pieces};
use crate::support::tracker::Tracker;
use crate::support::tree;
use rustix::process::Signal;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Bytes per second that make the files of the tests below last for seconds rather than an instant.
const SLOW: [&str; 2] = ["--up", "400k"];

/// Shares a path as a user does and gives the link once it is printed.
fn share(net: &Net, home: &Path, path: &Path, more: &[&str]) -> (Process, String) {
    let ip = net.ip(2).to_string();
    let mut args = vec!["share", arg(path), "--port", "0", "--bind", &ip];
    args.extend(QUIET);
    args.extend(more);
    let process = Process::start(SHOAL, &args, home);
    let link = process.wait_for(Stream::Out, "the link", |line| Some(line.to_owned()));
    (process, link)
}

fn link_alone_is_enough(format: &str) {
    let net = Net::any();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let source = tree::awkward(&at("source"), "tree", 1);
    let (sharing, link) = share(&net, &at("home"), &source, &["--format", format]);
    assert!(link.starts_with("magnet:?"), "{link}");
    let ended = download(&net, 3, &at("other home"), &link, &at("output"), &[]).wait().expect(0);
    tree::assert_same(&source, &at("output/tree"));
    assert!(ended.stdout.last().unwrap().contains("\"done\""));
    let ended = sharing.interrupt().expect(0);
    assert_eq!(ended.stdout, [link], "stdout carries the link alone");
}

#[test]
fn a_v1_share_is_fetched_by_its_link() {
    link_alone_is_enough("v1");
}

#[test]
fn a_v2_share_is_fetched_by_its_link() {
    link_alone_is_enough("v2");
}

#[test]
fn a_hybrid_share_is_fetched_by_its_link() {
    link_alone_is_enough("hybrid");
}

#[test]
fn the_command_that_share_prints_for_the_other_computer_works_there() {
    // Without --bind and --port, as in README; only where no other program can have the port.
    let Ok(net) = Net::private() else { return };
    let folder = tempfile::tempdir().unwrap();
    let source = tree::file(&folder.path().join("source"), "one file.bin", 2, 300_000);
    let sharing = Process::start(SHOAL, &["share", arg(&source)], &folder.path().join("home"));
    let command = sharing.wait_for(Stream::Err, "the command", |line| {
        line.trim().strip_prefix("shoal download '").map(|rest| rest.trim_end_matches('\'').to_owned())
    });
    let home = folder.path().join("other home");
    let ended = Process::start(SHOAL, &["download", &command], &home).wait().expect(0);
    tree::assert_same(&source, &home.join("one file.bin"));
    assert_eq!(ended.stdout.len(), 1, "stdout carries the path alone: {:?}", ended.stdout);
    assert!(ended.stdout[0].ends_with("one file.bin"));
    drop((sharing.interrupt().expect(0), net));
}

/// A torrent of one file, its seeder, and a folder for everything.
struct Slow {
    net: Net,
    folder: tempfile::TempDir,
    torrent: String,
    seeder: shoal::Seed,
    peer: String,
}

fn slow_seed(length: usize, more: &[&str]) -> Slow {
    let net = Net::any();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let source = tree::file(&at("source"), "file", 3, length);
    let torrent = create(&at("home"), &source, &at("file.torrent"), more);
    let seeder = seed(&net, 2, &at("seed home"), &torrent, &at("source"), &SLOW);
    let peer = seeder.addr.to_string();
    let torrent = arg(&torrent).to_owned();
    Slow { net, folder, torrent, seeder, peer }
}

impl Slow {
    fn download(&self, more: &[&str]) -> Process {
        let mut args = vec!["--peer", self.peer.as_str()];
        args.extend(more);
        let at = |name: &str| self.folder.path().join(name);
        download(&self.net, 3, &at("leech home"), &self.torrent, &at("output"), &args)
    }

    fn assert_same(&self) {
        tree::assert_same(&self.folder.path().join("source/file"), &self.folder.path().join("output/file"));
    }
}

fn pieces(lines: &[String]) -> BTreeSet<u64> {
    let events = lines.iter().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    events.filter(|e| e["event"] == "piece").map(|e| e["index"].as_u64().unwrap()).collect()
}

#[test]
fn an_interrupted_download_says_how_to_go_on_and_fetches_no_piece_twice() {
    let slow = slow_seed(1_500_000, &[]);
    let first = slow.download(&[]);
    wait_for_pieces(&first, 20);
    let first = first.interrupt().expect(130);
    assert!(first.stderr.iter().any(|line| line.contains("shoal download")), "{:?}", first.stderr);
    let second = slow.download(&[]).wait().expect(0);
    slow.assert_same();
    let (before, after) = (pieces(&first.stdout), pieces(&second.stdout));
    assert!(before.len() >= 20 && before.is_disjoint(&after), "{before:?} {after:?}");
    assert!(slow.seeder.process.interrupt().code() == 0);
}

#[test]
fn a_killed_download_keeps_what_it_had_said_a_while_before() {
    let slow = slow_seed(2_500_000, &[]);
    let first = slow.download(&[]);
    // 2.4 s of 6: what the journal's second or so has not seen yet is a part of it.
    wait_for_pieces(&first, 60);
    first.signal(Signal::KILL);
    let first = first.wait().expect(137);
    let second = slow.download(&[]).wait().expect(0);
    slow.assert_same();
    let (before, after) = (pieces(&first.stdout), pieces(&second.stdout));
    let twice = before.intersection(&after).count();
    assert!(twice * 2 < before.len(), "{twice} of {} pieces came again", before.len());
}

#[test]
fn a_second_signal_ends_it_at_once_and_nothing_is_lost() {
    let slow = slow_seed(1_500_000, &[]);
    let first = slow.download(&[]);
    wait_for_pieces(&first, 10);
    first.signal(Signal::INT);
    first.signal(Signal::INT);
    first.wait().expect(130);
    slow.download(&[]).wait().expect(0);
    slow.assert_same();
}

#[test]
fn the_same_download_twice_is_refused_while_it_runs() {
    let slow = slow_seed(1_500_000, &[]);
    let first = slow.download(&[]);
    wait_for_pieces(&first, 1);
    let second = slow.download(&[]).wait().expect(8);
    assert!(!second.stderr.is_empty());
    first.interrupt().expect(130);
}

#[test]
fn a_timeout_leaves_a_download_that_can_be_resumed() {
    let slow = slow_seed(1_500_000, &[]);
    slow.download(&["--timeout", "1s"]).wait().expect(7);
    slow.download(&[]).wait().expect(0);
    slow.assert_same();
}

#[test]
fn nobody_there_within_the_timeout_is_an_exit_code_of_its_own() {
    let net = Net::any();
    let folder = tempfile::tempdir().unwrap();
    let link = format!("magnet:?xt=urn:btih:{}", "ab".repeat(20));
    let ended =
        download(&net, 3, &folder.path().join("home"), &link, &folder.path().join("output"), &["--timeout", "1s"])
            .wait()
            .expect(3);
    let last: Value = serde_json::from_str(ended.stdout.last().unwrap()).unwrap();
    assert_eq!((&last["event"], &last["code"]), (&Value::from("error"), &Value::from(3)));
    assert!(!folder.path().join("output").exists(), "nothing was written");
}

#[test]
fn a_disk_without_room_is_told_before_the_first_byte() {
    let Ok(net) = Net::private() else { return };
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let source = tree::file(&at("source"), "file", 3, 1_000_000);
    let torrent = create(&at("home"), &source, &at("file.torrent"), &[]);
    let seeder = seed(&net, 2, &at("seed home"), &torrent, &at("source"), &[]);
    fs::create_dir(at("small")).unwrap();
    let command = format!(
        "mount -t tmpfs -o size=256k tmpfs '{small}' && '{SHOAL}' download '{torrent}' -o '{small}' --peer {peer} {quiet}; \
         code=$?; ls '{small}'; exit $code",
        small = at("small").display(),
        torrent = torrent.display(),
        peer = seeder.addr,
        quiet = QUIET.join(" "),
    );
    let ended = Process::start("unshare", &["-m", "sh", "-c", &command], &at("leech home")).wait().expect(5);
    assert_eq!(ended.stdout, [""; 0], "no file was made");
}

#[test]
fn events_follow_the_documented_schema() {
    let slow = slow_seed(600_000, &[]);
    let ended = slow.download(&[]).wait().expect(0);
    let events: Vec<Value> = ended.stdout.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(events[0]["schema"], 1);
    assert!(events[1..].iter().all(|e| e.get("schema").is_none()));
    for e in &events {
        let keys: &[&str] = match e["event"].as_str().expect("each has a kind") {
            "listening" => &["addr"],
            "link" => &["magnet"],
            "metadata" => &["info_hash_v1", "info_hash_v2", "name", "total_length"],
            "checking" => &["done_bytes", "total_bytes"],
            "progress" => &[
                "done_bytes",
                "total_bytes",
                "download_rate",
                "upload_rate",
                "peers",
                "pieces_done",
                "pieces_total",
                "reason",
                "reason_code",
            ],
            "piece" => &["index"],
            "done" => &["path"],
            "error" => &["code", "message"],
            other => panic!("unknown event {other}"),
        };
        for key in keys {
            assert!(e.get(key).is_some(), "{e} lacks {key}");
        }
    }
    let torrent = show(slow.folder.path(), &slow.torrent);
    assert_eq!(pieces(&ended.stdout).len() as u64, torrent["piece_count"].as_u64().unwrap());
    let metadata = events.iter().find(|e| e["event"] == "metadata").expect("it is told");
    assert_eq!(metadata["info_hash_v2"], torrent["info_hash_v2"]);
    let last = events.last().unwrap();
    assert_eq!(last["event"], "done");
    assert_eq!(Path::new(last["path"].as_str().unwrap()), slow.folder.path().join("output/file"));
    let progress = events.iter().rfind(|e| e["event"] == "progress").expect("there is some");
    assert_eq!(progress["done_bytes"], progress["total_bytes"]);
    assert_eq!(progress["total_bytes"], 600_000);
}

#[test]
fn only_selected_files_are_made_and_the_rest_can_follow() {
    let net = Net::any();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let source = tree::awkward(&at("source"), "tree", 4);
    let torrent = create(&at("home"), &source, &at("tree.torrent"), &["--format", "v1", "--piece-length", "64KiB"]);
    let seeder = seed(&net, 2, &at("seed home"), &torrent, &at("source"), &[]);
    let peer = seeder.addr.to_string();
    let fetch = |more: &[&str]| {
        let mut args = vec!["--peer", peer.as_str()];
        args.extend(more);
        download(&net, 3, &at("leech home"), arg(&torrent), &at("output"), &args).wait().expect(0)
    };
    fetch(&["--select", "large", "--select", "ไทย"]);
    let made = tree::contents(&at("output/tree"));
    let names: Vec<_> = made.keys().filter_map(|path| path.to_str()).collect();
    assert_eq!(names, ["large", "ไทย"]);
    let all = tree::contents(&source);
    assert!(made.iter().all(|(path, bytes)| all[path] == *bytes));
    fetch(&[]);
    tree::assert_same(&source, &at("output/tree"));
}

#[test]
fn trackers_are_told_the_truth() {
    let net = Net::any();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let source = tree::file(&at("source"), "file", 5, 500_000);
    let tracker = Tracker::start(net.ip(1));
    let torrent = create(&at("home"), &source, &at("file.torrent"), &["--format", "v1", "--tracker", &tracker.url()]);
    let seeder = seed(&net, 2, &at("seed home"), &torrent, &at("source"), &[]);
    tracker.register(seeder.addr);
    tracker.wait_for(seeder.addr.port(), |a| a.event == "started" && a.left == 0, String::new);
    let leecher = download(&net, 3, &at("leech home"), arg(&torrent), &at("output"), &[]);
    let port = listening(&leecher).port();
    leecher.wait().expect(0);
    tree::assert_same(&source, &at("output/file"));
    tracker.wait_for(port, |a| a.event == "stopped", String::new);
    let log = tracker.log(port);
    let events: Vec<_> = log.iter().map(|a| a.event.as_str()).filter(|event| !event.is_empty()).collect();
    assert_eq!(events, ["started", "completed", "stopped"]);
    let (first, last) = (&log[0], log.last().unwrap());
    assert_eq!((first.left, first.downloaded), (500_000, 0));
    assert_eq!((last.left, last.downloaded, last.uploaded), (0, 500_000, 0));
    let port = seeder.addr.port();
    seeder.process.interrupt().expect(0);
    let stopped = tracker.wait_for(port, |a| a.event == "stopped", String::new);
    assert_eq!((stopped.uploaded, stopped.downloaded, stopped.left), (500_000, 0, 0));
    assert!(tracker.log(port).iter().all(|a| a.event != "completed"), "a seed completes nothing");
}

#[test]
fn a_folder_of_torrents_is_seeded_and_new_ones_are_picked_up() {
    let net = Net::any();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let first = tree::file(&at("shared"), "first", 6, 100_000);
    let second = tree::file(&at("shared"), "second", 7, 100_000);
    let one = create(&at("home"), &first, &at("shared/first.torrent"), &[]);
    let seeder = seed(&net, 2, &at("seed home"), &at("shared"), &at("shared"), &[]);
    let peer = seeder.addr.to_string();
    let fetch = |torrent: &Path, home: &str| {
        download(&net, 3, &at(home), arg(torrent), &at("output"), &["--peer", &peer, "--timeout", "60s"])
            .wait()
            .expect(0);
    };
    fetch(&one, "leech 1");
    let two = create(&at("home"), &second, &at("second.torrent"), &[]);
    fs::copy(&two, at("shared/second.torrent")).unwrap();
    fetch(&two, "leech 2");
    tree::assert_same(&first, &at("output/first"));
    tree::assert_same(&second, &at("output/second"));
}

#[test]
fn each_entry_of_a_folder_is_a_share_of_its_own() {
    let net = Net::any();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let ip = net.ip(2).to_string();
    tree::file(&at("shared"), "first", 6, 100_000);
    let mut args = vec!["seed", "--each", "shared", "--port", "0", "--bind", &ip];
    args.extend(QUIET);
    let seeder = Process::start(SHOAL, &args, folder.path());
    let mut links = Vec::new();
    let mut link = |name: &str| {
        let found = seeder
            .wait_for(Stream::Out, "a new link", |line| (!links.contains(&line.to_owned())).then(|| line.to_owned()));
        links.push(found.clone());
        assert!(found.contains(&format!("dn={name}")), "{found}");
        found
    };
    let first = link("first");
    download(&net, 3, &at("leech 1"), &first, &at("output"), &[]).wait().expect(0);
    tree::file(&at("shared"), "second", 7, 100_000);
    let second = link("second");
    download(&net, 3, &at("leech 2"), &second, &at("output"), &[]).wait().expect(0);
    tree::assert_same(&at("shared/second"), &at("output/second"));
}

#[test]
fn a_program_runs_on_completion_and_learns_what_came() {
    use std::os::unix::fs::PermissionsExt;
    let slow = slow_seed(200_000, &[]);
    let hook = slow.folder.path().join("hook");
    fs::write(
        &hook,
        "#!/bin/sh\nprintf '%s\\n' \"$SHOAL_INFO_HASH\" \"$SHOAL_NAME\" \"$SHOAL_PATH\" > \"$HOME/told\"\n",
    )
    .unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    slow.download(&["--on-complete", arg(&hook)]).wait().expect(0);
    let told = fs::read_to_string(slow.folder.path().join("leech home/told")).unwrap();
    let torrent = show(slow.folder.path(), &slow.torrent);
    let path = slow.folder.path().join("output/file");
    assert_eq!(told.lines().collect::<Vec<_>>(), [torrent["info_hash_v1"].as_str().unwrap(), "file", arg(&path)]);
}

#[test]
fn what_was_downloaded_is_seeded_on_demand() {
    let slow = slow_seed(200_000, &[]);
    let leecher = slow.download(&["--seed"]);
    let addr = listening(&leecher).to_string();
    event(&leecher, "done", |_| ());
    slow.assert_same();
    let Slow { net, folder, torrent, seeder, .. } = slow;
    seeder.process.interrupt().expect(0);
    let output = folder.path().join("second output");
    download(&net, 4, &folder.path().join("third home"), &torrent, &output, &["--peer", &addr]).wait().expect(0);
    tree::assert_same(&folder.path().join("source/file"), &output.join("file"));
    leecher.interrupt();
}

#[test]
fn a_file_that_is_something_else_is_not_written_over() {
    let slow = slow_seed(100_000, &[]);
    let target = tree::file(&slow.folder.path().join("output"), "file", 99, 100_000);
    let before = fs::read(&target).unwrap();
    let ended = slow.download(&[]).wait();
    assert!(ended.code() != 0 && ended.stderr.iter().any(|line| line.contains("--overwrite")), "{:?}", ended.stderr);
    assert_eq!(fs::read(&target).unwrap(), before);
    slow.download(&["--overwrite"]).wait().expect(0);
    slow.assert_same();
}

#[test]
fn many_leechers_finish_from_each_other() {
    let net = Net::any();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let source = tree::file(&at("source"), "file", 8, 2_000_000);
    let tracker = Tracker::start(net.ip(1));
    let torrent = create(&at("home"), &source, &at("file.torrent"), &["--tracker", &tracker.url()]);
    let seeder = seed(&net, 2, &at("seed home"), &torrent, &at("source"), &["--up", "1M"]);
    tracker.register(seeder.addr);
    tracker.wait_for(seeder.addr.port(), |a| a.event == "started", String::new);
    let peer = seeder.addr.to_string();
    let leechers: Vec<_> = (0..4)
        .map(|n| {
            let home = at(&format!("home {n}"));
            let more = ["--peer", peer.as_str(), "--seed"];
            let leecher = download(&net, 10 + n, &home, arg(&torrent), &at(&format!("output {n}")), &more);
            tracker.register(listening(&leecher));
            leecher
        })
        .collect();
    for (n, leecher) in leechers.iter().enumerate() {
        event(leecher, "done", |_| ());
        tree::assert_same(&source, &at(&format!("output {n}/file")));
    }
    let port = seeder.addr.port();
    seeder.process.interrupt().expect(0);
    let sent = tracker.wait_for(port, |a| a.event == "stopped", String::new).uploaded;
    assert!(sent < 2 * 2_000_000, "four copies took {sent} bytes of the seed: the leechers did not help each other");
}
