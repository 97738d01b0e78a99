//! Twenty processes that know nothing of each other but a tracker, which shoal did not write.

use crate::support::net::Net;
use crate::support::process::Process;
use crate::support::real_tracker::RealTracker;
use crate::support::shoal::{QUIET, SHOAL, arg, create, event, shoal, show};
use crate::support::{tree, until};
use serde_json::Value;
use std::net::{IpAddr, Ipv6Addr};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Of them one has the data at the beginning, all at the end.
const PROCESSES: u8 = 20;

const HERE_V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// What the tracker knows of a torrent by `shoal show --scrape`.
fn scrape(home: &Path, torrent: &Path) -> Value {
    let ended = shoal(home, &["show", arg(torrent), "--scrape", "--allow-private-networks", "--json"]).expect(0);
    serde_json::from_str::<Value>(&ended.stdout[0]).unwrap()["scrape"][0].clone()
}

/// A folder with a file and its torrent files, and where everything is.
///
/// The torrent is private, so that nothing but the tracker can name peers (BEP 27).
struct Shared {
    folder: TempDir,
    file: PathBuf,
    torrent: PathBuf,
    /// The same torrent with the URL that is asked how many there are.
    counted: PathBuf,
}

impl Shared {
    fn new() -> Shared {
        let folder = tempfile::tempdir().unwrap();
        let file = tree::file(&folder.path().join("source"), "file", 3, 300_000);
        let (torrent, counted) = (folder.path().join("file.torrent"), folder.path().join("counted.torrent"));
        Shared { folder, file, torrent, counted }
            .named("http://nobody.invalid/announce", "http://nobody.invalid/announce")
    }

    /// With these trackers in its files; the info hashes stay the same.
    fn named(self, url: &str, counted: &str) -> Shared {
        for (torrent, url) in [(&self.torrent, url), (&self.counted, counted)] {
            create(self.folder.path(), &self.file, torrent, &["--private", "--overwrite", "--tracker", url]);
        }
        self
    }

    /// Its info hashes as trackers see them.
    fn hashes(&self) -> Vec<String> {
        let shown = show(self.folder.path(), arg(&self.torrent));
        ["info_hash_v1", "info_hash_v2"]
            .map(|key| shown[key].as_str().expect("a hybrid has both")[..40].to_owned())
            .to_vec()
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn start(&self, n: u8, ip: IpAddr, words: &[&str]) -> Process {
        let (home, ip) = (self.at(&format!("home {n}")), ip.to_string());
        let mut args = words.to_vec();
        args.extend(["--json", "--port", "0", "--bind", &ip]);
        args.extend(QUIET);
        Process::start(SHOAL, &args, &home)
    }

    fn seed(&self, n: u8, ip: IpAddr) -> Process {
        let source = self.at("source");
        self.start(n, ip, &["seed", arg(&self.torrent), "--data", arg(&source)])
    }

    /// Waits until the tracker knows so many seeds.
    fn until_seeds(&self, count: u8, said: impl Fn() -> String) {
        until("the tracker knows so many seeds", || {
            let scraped = scrape(self.folder.path(), &self.counted);
            assert!(scraped["error"].is_null(), "{scraped}\n{}", said());
            scraped["seeds"] == count
        });
    }
}

fn twenty_find_each_other(shared: &Shared, at: impl Fn(u8) -> IpAddr, said: impl Fn() -> String + Copy) {
    let seed = shared.seed(1, at(1));
    shared.until_seeds(1, said);
    let mut leeches = Vec::new();
    for n in 2..=PROCESSES {
        let output = shared.at(&format!("output {n}"));
        let words = ["download", arg(&shared.torrent), "--output", arg(&output), "--seed"];
        leeches.push((shared.start(n, at(n), &words), output));
    }
    for (process, output) in &leeches {
        event(process, "done", |_| ());
        tree::assert_same(&shared.file, &output.join("file"));
    }
    shared.until_seeds(PROCESSES, said);
    let (last, _) = leeches.pop().expect("there are nineteen");
    last.interrupt().expect(0);
    shared.until_seeds(PROCESSES - 1, said);
    seed.interrupt().expect(0);
}

fn by_opentracker(scheme: &str) {
    let net = Net::any();
    let home = tempfile::tempdir().unwrap();
    let shared = Shared::new();
    let Some(tracker) = RealTracker::opentracker(&net, home.path(), &shared.hashes()) else { return };
    let shared = shared.named(&tracker.url(scheme), &tracker.url(scheme));
    twenty_find_each_other(&shared, |n| net.ip(n), || tracker.said());
}

#[test]
fn twenty_find_each_other_by_opentracker_over_http() {
    by_opentracker("http");
}

#[test]
fn twenty_find_each_other_by_opentracker_over_udp() {
    by_opentracker("udp");
}

#[test]
fn twenty_find_each_other_by_npms_tracker_over_http_and_ipv6() {
    let net = Net::any();
    let home = tempfile::tempdir().unwrap();
    let Some(tracker) = RealTracker::npm(&net, home.path()) else { return };
    // Its HTTP scrape names hashes in a form of its own (11.2: as text, each byte above 127 becomes two).
    let shared = Shared::new().named(&tracker.url("http"), &tracker.url("udp"));
    twenty_find_each_other(&shared, |_| HERE_V6, || tracker.said());
}

/// Over UDP it names IPv4 peers only, whoever asks (11.2: `makeUdpPacket` leaves `peers6` out), so nobody can find anybody.
#[test]
fn npms_tracker_hears_of_twenty_over_udp_and_ipv6() {
    let net = Net::any();
    let home = tempfile::tempdir().unwrap();
    let Some(tracker) = RealTracker::npm(&net, home.path()) else { return };
    let shared = Shared::new().named(&tracker.url("udp"), &tracker.url("udp"));
    let mut seeds: Vec<Process> = (1..=PROCESSES).map(|n| shared.seed(n, HERE_V6)).collect();
    shared.until_seeds(PROCESSES, || tracker.said());
    seeds.pop().expect("there are twenty").interrupt().expect(0);
    shared.until_seeds(PROCESSES - 1, || tracker.said());
}
