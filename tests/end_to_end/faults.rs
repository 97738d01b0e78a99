//! Disks that are full, fail, are slow or read-only, and files that change under a seed: reliability.md F3 to F8 and A12.
//! `docs/storage.md` has a row for each.
//!
//! Faults are injected from outside: a tmpfs with little room, `strace`, other users. What needs root or a tool that is not
//! there says so and passes, unless everything is required.

use crate::support::fixture::Fixture;
use crate::support::net::Net;
use crate::support::peer::{self, Wire};
use crate::support::process::{Process, Stream, processor_time};
use crate::support::shoal::{arg, create, event, seed, show, wait_for_pieces};
use crate::support::trace::{can_trace, child_of};
use crate::support::{skip, tree};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::fs::{FileExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Waits for a line on stderr; how long it took.
fn told(process: &Process, words: &[&str]) -> Duration {
    let start = Instant::now();
    process
        .wait_for(Stream::Err, &words.join(" and "), |line| words.iter().all(|word| line.contains(word)).then_some(()));
    start.elapsed()
}

/// Has a peer that does not know the fast extension ask for blocks, and gives the first that is sent.
fn first_block(addr: SocketAddr, hash: [u8; 20], wanted: &[(u32, u32, u32)]) -> (u32, u32, Vec<u8>) {
    // A peer of its own each time: the one before may not have been seen to leave.
    static PEERS: AtomicU32 = AtomicU32::new(0);
    let id = format!("-XX0000-faults{:06}", PEERS.fetch_add(1, Ordering::Relaxed));
    let mut wire = Wire::dial(addr, hash, id.as_bytes().try_into().unwrap()).unwrap();
    wire.send(peer::INTERESTED, &[]).unwrap();
    wire.wait_for(peer::UNCHOKE).unwrap();
    for &(piece, begin, length) in wanted {
        wire.send(peer::REQUEST, &peer::numbers(&[piece, begin, length])).unwrap();
    }
    let body = wire.wait_for(peer::PIECE).unwrap();
    let field = |at: usize| u32::from_be_bytes(body[at..at + 4].try_into().unwrap());
    (field(0), field(4), body[8..].to_vec())
}

fn wire_hash(home: &Path, torrent: &Path) -> [u8; 20] {
    let shown = show(home, arg(torrent));
    let hash = shown["info_hash_v1"].as_str().or_else(|| shown["info_hash_v2"].as_str());
    peer::hash(hash.expect("a hash"))
}

#[test]
fn a_disk_that_fills_up_is_told_and_goes_on_by_itself_when_there_is_room() {
    if !is_root() {
        return skip("a tmpfs needs root");
    }
    const LENGTH: usize = 24 << 20;
    let fixture = Fixture::new(LENGTH, "8M");
    // The state folder is on the full disk, too.
    let disk = fixture.at("leech home");
    fs::create_dir_all(&disk).unwrap();
    let output = disk.join("output");
    let words = fixture.words(&output, &[]).join("' '");
    let script = format!("mount -t tmpfs -o size=40m tmpfs '{}' && cd / && exec '{words}'", arg(&disk));
    let process = Process::start("unshare", &["-m", "sh", "-c", &script], &disk);
    wait_for_pieces(&process, 10);
    let inside = |words: &[&str]| {
        let id = process.id().to_string();
        let mut all = vec!["-t", &id, "-m"];
        all.extend(words);
        Command::new("nsenter").args(all).status().unwrap()
    };
    let ballast = disk.join("ballast");
    // It takes what is left, and fails then.
    inside(&["dd", "if=/dev/zero", &format!("of={}", arg(&ballast)), "bs=64k", "status=none"]);
    let after = told(&process, &["disk full", "output/file", "needs", "goes on by itself"]);
    assert!(after < Duration::from_secs(2), "told after {after:?}");
    let hash = wire_hash(&fixture.at("home"), &fixture.at("file.torrent"));
    let addr = event(&process, "listening", |e| e["addr"].as_str().unwrap().parse().unwrap());
    let source = fs::read(fixture.at("source/file")).unwrap();
    let have = event(&process, "piece", |e| e["index"].as_u64().unwrap()) as u32;
    let (piece, begin, bytes) = first_block(addr, hash, &[(have, 0, 16_384)]);
    let start = piece as usize * (256 << 10) + begin as usize;
    assert!(bytes == source[start..start + 16_384], "it seeds meanwhile");
    // Full for as long as its retries take to become rare.
    std::thread::sleep(Duration::from_secs(5));
    assert!(inside(&["rm", arg(&ballast)]).success());
    let room = Instant::now();
    told(&process, &["the disk works again"]);
    assert!(room.elapsed() < Duration::from_secs(30), "{:?}", room.elapsed());
    event(&process, "done", |_| ());
    process.wait().expect(0);
    // What was on its way when it became full is kept, and not fetched again.
    let thrown_away = fixture.relay.sent().saturating_sub((LENGTH + LENGTH / 200) as u64);
    assert!(thrown_away < 1 << 20, "{thrown_away} bytes thrown away");
}

#[test]
fn a_write_that_fails_is_told_tried_again_and_not_claimed_before() {
    if !can_trace() {
        return;
    }
    const PIECES: usize = 24;
    let length = PIECES << 18;
    let fixture = Fixture::new(length, "none");
    let output = fixture.at("output");
    let file = output.join("file");
    let log = fixture.at("writes.log");
    fs::create_dir_all(&output).unwrap();
    // Of each thread, for `strace` counts them apart.
    let inject = "inject=pwritev:error=EIO:when=2..3";
    let before = ["strace", "-f", "-P", arg(&file), "-o", arg(&log), "-e", "trace=pwritev", "-e", inject];
    let process = fixture.start(&before, &output, &[]);
    told(&process, &["output/file", "nput/output error", "goes on by itself"]);
    told(&process, &["the disk works again"]);
    let ended = process.wait().expect(0);
    fixture.assert_same(&output);
    let pieces: BTreeSet<&String> = ended.stdout.iter().filter(|line| line.contains("\"piece\"")).collect();
    assert_eq!(pieces.len(), PIECES, "each is told once, when it is written: {:?}", ended.stdout);
    let log = fs::read_to_string(log).unwrap();
    let failed = log.lines().filter(|line| line.contains("(INJECTED)")).count();
    assert!(failed > 0, "{log}");
    let fetched = fixture.relay.sent();
    assert!(fetched < (length + length / 20) as u64, "{fetched} of {length} bytes: nothing is fetched twice");
}

#[test]
fn what_could_not_be_synced_once_is_written_again_and_not_only_synced() {
    if !can_trace() {
        return;
    }
    let fixture = Fixture::new(6 << 20, "4M");
    let (output, log) = (fixture.at("output"), fixture.at("trace"));
    let file = output.join("file");
    fs::create_dir_all(&output).unwrap();
    let inject = "inject=fsync:error=EIO:when=1";
    let before = ["strace", "-f", "-P", arg(&file), "-o", arg(&log), "-e", "trace=pwritev,fsync", "-e", inject];
    let process = fixture.start(&before, &output, &[]);
    told(&process, &["cannot sync", "output/file", "goes on by itself"]);
    told(&process, &["the disk works again"]);
    process.wait().expect(0);
    fixture.assert_same(&output);
    let log = fs::read_to_string(log).unwrap();
    let mut failed = 0;
    let mut doubtful = false;
    for line in log.lines() {
        if line.contains("pwritev(") || line.contains("pwritev resumed") {
            doubtful = false;
        } else if line.contains("(INJECTED)") {
            failed += 1;
            doubtful = true;
        } else if line.contains("fsync") && line.trim_end().ends_with("= 0") {
            assert!(!doubtful, "synced again without being written again:\n{log}");
        }
    }
    assert!(failed > 0, "{log}");
    let length = 6 << 20;
    let fetched = fixture.relay.sent();
    assert!(fetched < length + length / 20, "{fetched} of {length} bytes: nothing is fetched twice");
}

#[test]
fn a_disk_that_never_syncs_pauses_the_download_and_claims_nothing() {
    if !can_trace() {
        return;
    }
    let fixture = Fixture::new(24 << 20, "4M");
    let output = fixture.at("output");
    let file = output.join("file");
    fs::create_dir_all(&output).unwrap();
    let before =
        ["strace", "-f", "-P", arg(&file), "-o", "/dev/null", "-e", "trace=fsync", "-e", "inject=fsync:error=EIO"];
    let process = fixture.start(&before, &output, &["--timeout", "9s"]);
    told(&process, &["cannot sync", "output/file"]);
    let ended = process.wait().expect(5);
    assert!(ended.stderr.iter().any(|line| line.contains("cannot sync")), "{:?}", ended.stderr);
    let lines = ended.stderr.iter().filter(|line| line.contains("goes on by itself")).count();
    assert_eq!(lines, 1, "said once: {:?}", ended.stderr);
    let fetched = fixture.relay.sent();
    assert!(fetched < 12 << 20, "{fetched} bytes in 9 s, paused after the first");
    fixture.start(&[], &output, &[]).wait().expect(0);
    fixture.assert_same(&output);
}

#[test]
fn a_slow_disk_throttles_its_peers_and_drops_none() {
    if !can_trace() {
        return;
    }
    const LENGTH: u64 = 96 << 20;
    let fixture = Fixture::new(LENGTH as usize, "none");
    let output = fixture.at("output");
    let file = output.join("file");
    fs::create_dir_all(&output).unwrap();
    let inject = "inject=pwritev:delay_enter=200000";
    let before = ["strace", "-f", "-P", arg(&file), "-o", "/dev/null", "-e", "trace=pwritev", "-e", inject];
    let process = fixture.start(&before, &output, &[]);
    wait_for_pieces(&process, 60);
    let shoal = child_of(process.id());
    let (written, fetched) = (fs::metadata(&file).map_or(0, |m| allocated(&m)), fixture.relay.sent());
    let held = fetched.saturating_sub(written);
    eprintln!("{} KiB were fetched and are not written, sockets counted", held >> 10);
    assert!(held < 64 << 20, "{held} bytes were fetched and are not written");
    let peak = peak_memory(shoal);
    assert!(peak < 128 << 20, "{peak} bytes of memory");
    process.wait().expect(0);
    fixture.assert_same(&output);
    assert_eq!(fixture.relay.connections(), 1, "the peer stays");
}

fn allocated(metadata: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::blocks(metadata) * 512
}

fn peak_memory(id: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn a_folder_that_may_not_be_written_is_told_costs_nothing_and_is_used_once_it_may() {
    if !is_root() {
        return skip("being another user needs root");
    }
    let fixture = Fixture::new(3 << 20, "none");
    let output = fixture.at("output");
    for folder in [fixture.folder.path().to_path_buf(), output.clone(), fixture.at("leech home")] {
        fs::create_dir_all(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    }
    chown(fixture.at("leech home"), Some(65_534), Some(65_534)).unwrap();
    let process = fixture.start(&["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"], &output, &[]);
    event(&process, "metadata", |_| ());
    let after = told(&process, &["output/file", "ermission denied", "goes on by itself"]);
    assert!(after < Duration::from_secs(2), "told after {after:?}");
    let before = processor_time(process.id());
    std::thread::sleep(Duration::from_secs(5));
    let used = processor_time(process.id()) - before;
    // A hundredth is the bar on an idle machine; the clock's grain and the tests beside it are as much again.
    assert!(used <= 0.15, "{used} s of 5 s");
    chown(&output, Some(65_534), Some(65_534)).unwrap();
    process.wait().expect(0);
    fixture.assert_same(&output);
}

fn nothing_wrong_is_served(format: &str) {
    let net = Net::any();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    const PIECE: usize = 64 << 10;
    let source = tree::file(&at("source"), "file", 12, 40 * PIECE);
    let right = fs::read(&source).unwrap();
    let torrent = create(&at("home"), &source, &at("file.torrent"), &["--format", format, "--piece-length", "64KiB"]);
    let seeder = seed(&net, 2, &at("seed home"), &torrent, &at("source"), &[]);
    told(&seeder.process, &["seeding"]);
    let hash = wire_hash(&at("home"), &torrent);
    // Asks for a block that may be wrong and then for one that is right: the first that comes must be the right one.
    let refused = |bad: u32, good: u32, what: &str| {
        let (piece, _, bytes) = first_block(seeder.addr, hash, &[(bad, 16_384, 16_384), (good, 0, 16_384)]);
        assert_eq!(piece, good, "{format}, {what}: a wrong block was sent");
        let start = good as usize * PIECE;
        assert!(bytes == right[start..start + 16_384], "{format}, {what}");
    };
    assert_eq!(first_block(seeder.addr, hash, &[(7, 0, 16_384)]).0, 7);
    let file = File::options().write(true).open(&source).unwrap();
    file.write_all_at(&[0; 20_000], (8 * PIECE + 5000) as u64).unwrap();
    refused(8, 7, "overwritten in place");
    told(&seeder.process, &["file", "changed", "not offered"]);
    refused(8, 9, "asked again");
    file.set_len((20 * PIECE) as u64).unwrap();
    refused(30, 7, "truncated");
    file.set_len((40 * PIECE) as u64).unwrap();
    refused(31, 7, "grown again with zeros");
    fs::remove_file(&source).unwrap();
    assert_eq!(first_block(seeder.addr, hash, &[(7, 0, 16_384)]).0, 7, "what is open is still right");
    fs::create_dir(&source).unwrap();
    assert_eq!(first_block(seeder.addr, hash, &[(7, 0, 16_384)]).0, 7);
    fs::remove_dir(&source).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &source, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    assert_eq!(first_block(seeder.addr, hash, &[(7, 0, 16_384)]).0, 7);
    seeder.process.interrupt().expect(0);
}

#[test]
fn a_v1_seed_whose_file_changes_serves_nothing_wrong() {
    nothing_wrong_is_served("v1");
}

#[test]
fn a_v2_seed_whose_file_changes_serves_nothing_wrong() {
    nothing_wrong_is_served("v2");
}

#[test]
fn a_file_replaced_under_a_seed_that_opens_it_anew_is_served_where_it_is_right() {
    let net = Net::any();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    const PIECE: usize = 64 << 10;
    let source = tree::file(&at("source"), "file", 13, 8 * PIECE);
    let torrent = create(&at("home"), &source, &at("file.torrent"), &["--format", "v1", "--piece-length", "64KiB"]);
    // The second start reads nothing, so nothing is open.
    for _ in 0..2 {
        let seeder = seed(&net, 2, &at("seed home"), &torrent, &at("source"), &[]);
        told(&seeder.process, &["seeding"]);
        seeder.process.interrupt().expect(0);
    }
    let seeder = seed(&net, 2, &at("seed home"), &torrent, &at("source"), &[]);
    told(&seeder.process, &["seeding"]);
    assert!(seeder.process.bytes_read() < 8 * PIECE as u64, "nothing is checked again");
    let mut other = fs::read(&source).unwrap();
    other[3 * PIECE + 17_000] ^= 1;
    fs::write(at("other"), &other).unwrap();
    fs::rename(at("other"), &source).unwrap();
    let hash = wire_hash(&at("home"), &torrent);
    let (piece, _, bytes) = first_block(seeder.addr, hash, &[(3, 16_384, 16_384), (4, 0, 16_384)]);
    assert_eq!(piece, 4);
    assert!(bytes == other[4 * PIECE..4 * PIECE + 16_384]);
    told(&seeder.process, &["changed", "not offered"]);
    seeder.process.interrupt().expect(0);
}
