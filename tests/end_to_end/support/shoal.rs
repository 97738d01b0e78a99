//! The binary under test.

use super::net::Net;
use super::process::{Ended, Process, Stream};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The binary that cargo built for these tests.
pub(crate) const SHOAL: &str = env!("CARGO_BIN_EXE_shoal");

/// Keeps every test to the peers and trackers that it names.
pub(crate) const QUIET: [&str; 4] = ["--no-dht", "--no-lan", "--no-port-mapping", "--allow-private-networks"];

/// Runs shoal to its end.
#[track_caller]
pub(crate) fn shoal(home: &Path, args: &[&str]) -> Ended {
    Process::start(SHOAL, args, home).wait()
}

/// A path as an argument.
pub(crate) fn arg(path: &Path) -> &str {
    path.to_str().expect("test paths are UTF-8")
}

/// The one line on stdout as JSON.
#[track_caller]
pub(crate) fn json(ended: &Ended) -> Value {
    assert_eq!(ended.stdout.len(), 1, "one line: {:?}", ended.stdout);
    serde_json::from_str(&ended.stdout[0]).expect("stdout is JSON")
}

/// What `shoal show X --json` says of a torrent file or a magnet link.
#[track_caller]
pub(crate) fn show(home: &Path, what: &str) -> Value {
    json(&shoal(home, &["show", what, "--json"]).expect(0))
}

/// Writes `output` with `shoal create`.
#[track_caller]
pub(crate) fn create(home: &Path, path: &Path, output: &Path, more: &[&str]) -> PathBuf {
    let mut args = vec!["create", arg(path), "--output", arg(output)];
    args.extend(more);
    let ended = shoal(home, &args).expect(0);
    assert_eq!(ended.stdout.first().map(String::as_str), Some(arg(output)), "create prints the path");
    output.to_owned()
}

/// A `shoal seed` that runs.
pub(crate) struct Seed {
    pub(crate) process: Process,
    pub(crate) addr: SocketAddr,
}

/// Starts `shoal seed TORRENT --data DATA` with events and waits until it listens.
#[track_caller]
pub(crate) fn seed(net: &Net, n: u8, home: &Path, torrent: &Path, data: &Path, more: &[&str]) -> Seed {
    let ip = net.ip(n).to_string();
    let mut args = vec!["seed", arg(torrent), "--data", arg(data), "--json", "--port", "0", "--bind", &ip];
    args.extend(QUIET);
    args.extend(more);
    let process = Process::start(SHOAL, &args, home);
    let addr = listening(&process);
    Seed { process, addr }
}

/// The address of the `listening` event.
#[track_caller]
pub(crate) fn listening(process: &Process) -> SocketAddr {
    event(process, "listening", |e| e["addr"].as_str().expect("an address").parse().expect("an address"))
}

/// The first event of a kind.
#[track_caller]
pub(crate) fn event<T>(process: &Process, kind: &str, pick: impl Fn(&Value) -> T) -> T {
    process.wait_for(Stream::Out, kind, |line| {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("not JSON: {line}: {e}"));
        (event["event"] == kind).then(|| pick(&event))
    })
}

/// Starts `shoal download` with events.
#[track_caller]
pub(crate) fn download(net: &Net, n: u8, home: &Path, source: &str, output: &Path, more: &[&str]) -> Process {
    let ip = net.ip(n).to_string();
    let mut args = vec!["download", source, "--output", arg(output), "--json", "--port", "0", "--bind", &ip];
    args.extend(QUIET);
    args.extend(more);
    Process::start(SHOAL, &args, home)
}

/// Waits until so many pieces were told, with `--json`.
pub(crate) fn wait_for_pieces(process: &Process, count: usize) {
    let mut seen = 0;
    process.wait_for(Stream::Out, "enough pieces", |line| {
        seen += usize::from(line.contains("\"piece\""));
        (seen >= count).then_some(())
    });
}
