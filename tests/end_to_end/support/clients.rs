//! Other people's clients, each behind the same few verbs: is it here, seed, fetch, make a torrent file, read one.
//!
//! All of them find each other by a tracker only; DHT, LAN discovery, PEX, uTP, encryption and port mapping are off.

use super::net::Net;
use super::process::{Process, Stream};
use super::shoal::{QUIET, SHOAL, arg, create as shoal_create, show as shoal_show};
use super::tracker::Tracker;
use super::{skip, until};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The interpreter that owns Debian's python3-libtorrent.
pub(crate) const PYTHON: &str = "/usr/bin/python3";

/// A BitTorrent client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Client {
    Shoal,
    Transmission,
    Aria2,
    Libtorrent,
}

/// A client that takes part in a torrent.
pub(crate) struct Participant {
    pub(crate) client: Client,
    pub(crate) process: Process,
    pub(crate) addr: SocketAddr,
}

/// The hashes of a torrent as one client sees them, in hex.
#[derive(PartialEq, Eq, Debug, Default)]
pub(crate) struct Hashes {
    pub(crate) v1: Option<String>,
    pub(crate) v2: Option<String>,
}

impl Hashes {
    fn of(object: &Value) -> Hashes {
        let hash = |key: &str| object[key].as_str().map(str::to_owned);
        Hashes { v1: hash("info_hash_v1"), v2: hash("info_hash_v2") }
    }
}

pub(crate) fn driver() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/end_to_end/support/libtorrent_driver.py")
        .canonicalize()
        .unwrap()
}

fn succeeds(program: &str, args: &[&str]) -> bool {
    let run =
        Command::new(program).args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    run.is_ok_and(|status| status.success())
}

/// A private network if it and all of `clients` are here; else says what is missing.
pub(crate) fn needs(clients: &[Client]) -> Option<Net> {
    if let Some(missing) = clients.iter().find(|c| !c.is_here()) {
        skip(&format!("{missing:?} is not installed"));
        return None;
    }
    Net::private().map_err(|why| skip(&why)).ok()
}

impl Client {
    fn is_here(self) -> bool {
        match self {
            Client::Shoal => true,
            Client::Transmission => {
                succeeds("transmission-daemon", &["--version"]) && succeeds("transmission-create", &["--version"])
            }
            Client::Aria2 => succeeds("aria2c", &["--version"]),
            Client::Libtorrent => succeeds(PYTHON, &["-c", "import libtorrent"]),
        }
    }

    /// Starts it on `source` (a torrent file or a magnet link) with `data` as the folder that holds, or will hold, the
    /// content. It checks what is there, fetches what is missing and goes on seeding. `home` is its own scratch folder.
    pub(crate) fn start(
        self,
        net: &Net,
        n: u8,
        tracker: &Tracker,
        source: &str,
        data: &Path,
        home: &Path,
    ) -> Participant {
        std::fs::create_dir_all(home).unwrap();
        std::fs::create_dir_all(data).unwrap();
        let addr = SocketAddr::new(net.ip(n), net.port());
        tracker.register(addr);
        let process = match self {
            Client::Shoal => start_shoal(source, data, addr, home),
            Client::Transmission => start_transmission(source, data, addr, home),
            Client::Aria2 => start_aria2(source, data, addr, home),
            Client::Libtorrent => {
                let job = json!({"source": source, "save": data, "ip": addr.ip(), "port": addr.port()});
                Process::start(PYTHON, &[arg(&driver()), "run", &job.to_string()], home)
            }
        };
        Participant { client: self, process, addr }
    }

    /// Writes a torrent file of `path`.
    pub(crate) fn create(self, path: &Path, output: &Path, format: &str, tracker: &str, home: &Path) {
        match self {
            Client::Shoal => {
                shoal_create(
                    home,
                    path,
                    output,
                    &["--format", format, "--tracker", tracker, "--piece-length", "32KiB"],
                );
            }
            Client::Transmission => {
                assert_eq!(format, "v1", "transmission 3 writes v1 only");
                let args = ["-o", arg(output), "-s", "32", "-t", tracker, arg(path)];
                Process::start("transmission-create", &args, home).wait().expect(0);
            }
            Client::Aria2 => unreachable!("aria2 does not write torrent files"),
            Client::Libtorrent => {
                let parent = path.parent().unwrap();
                let job = json!({"path": path, "parent": parent, "output": output, "format": format,
                    "piece_length": 32768, "trackers": [tracker]});
                Process::start(PYTHON, &[arg(&driver()), "create", &job.to_string()], home).wait().expect(0);
            }
        }
    }

    /// The hashes that it sees in a torrent file; of a hybrid, v1 clients see one.
    pub(crate) fn hashes(self, torrent: &Path, home: &Path) -> Hashes {
        let after = |lines: &[String], word: &str| {
            lines.iter().find_map(|l| l.trim().strip_prefix(word).map(|h| h.trim().to_lowercase()))
        };
        match self {
            Client::Shoal => Hashes::of(&shoal_show(home, arg(torrent))),
            Client::Transmission => {
                let out = Process::start("transmission-show", &[arg(torrent)], home).wait().expect(0).stdout;
                Hashes { v1: after(&out, "Hash:"), v2: None }
            }
            Client::Aria2 => {
                let out = Process::start("aria2c", &["--no-conf", "-S", arg(torrent)], home).wait().expect(0).stdout;
                Hashes { v1: after(&out, "Info Hash:"), v2: None }
            }
            Client::Libtorrent => Hashes::of(&self.shown(torrent, home)),
        }
    }

    /// Everything that libtorrent says of a torrent file.
    pub(crate) fn shown(self, torrent: &Path, home: &Path) -> Value {
        assert_eq!(self, Client::Libtorrent, "the only one that prints JSON");
        let ended = Process::start(PYTHON, &[arg(&driver()), "show", arg(torrent)], home).wait().expect(0);
        serde_json::from_str(&ended.stdout[0]).unwrap()
    }
}

impl Participant {
    /// Waits until it says that it has everything, from the start or by fetching it.
    #[track_caller]
    pub(crate) fn wait_complete(&self, tracker: &Tracker) {
        match self.client {
            Client::Libtorrent => self.process.wait_for(Stream::Out, "finished", |line| {
                (serde_json::from_str::<Value>(line).ok()?["event"] == "finished").then_some(())
            }),
            // Without metadata aria2 says `left=0`.
            Client::Aria2 => {
                tracker.wait_for(self.addr.port(), |a| a.left == 0 && a.downloaded > 0, || self.said());
            }
            _ => {
                tracker.wait_for(self.addr.port(), |a| a.left == 0, || self.said());
            }
        }
    }

    /// What it printed so far, for a failure's message.
    pub(crate) fn said(&self) -> String {
        format!("{:?}: {}", self.client, self.process.said())
    }

    /// Whether it makes files that are empty; Transmission 3 does not.
    pub(crate) fn makes_empty_files(&self) -> bool {
        self.client != Client::Transmission
    }

    /// Waits until it accepts connections.
    pub(crate) fn wait_listening(&mut self) {
        until("it listens", || {
            assert!(self.process.is_running(), "{:?} ended", self.client);
            std::net::TcpStream::connect(self.addr).is_ok()
        });
    }
}

fn start_shoal(source: &str, data: &Path, addr: SocketAddr, home: &Path) -> Process {
    let (ip, port) = (addr.ip().to_string(), addr.port().to_string());
    let mut args = vec!["download", source, "--output", arg(data), "--seed", "--port", &port, "--bind", &ip];
    args.extend(QUIET);
    Process::start(SHOAL, &args, home)
}

fn start_aria2(source: &str, data: &Path, addr: SocketAddr, home: &Path) -> Process {
    let options = [
        format!("--dir={}", data.display()),
        format!("--interface={}", addr.ip()),
        format!("--listen-port={}", addr.port()),
    ];
    let mut args: Vec<&str> = options.iter().map(String::as_str).collect();
    args.extend([
        "--no-conf",
        "--enable-dht=false",
        "--enable-dht6=false",
        "--bt-enable-lpd=false",
        "--enable-peer-exchange=false",
        "--disable-ipv6=true",
        "--file-allocation=none",
        "--follow-torrent=mem",
        "--check-integrity=true",
        "--allow-overwrite=true",
        "--seed-ratio=0.0",
        "--seed-time=600",
        // As often as it can: the test's tracker allows it.
        "--bt-tracker-interval=2",
        source,
    ]);
    Process::start("aria2c", &args, home)
}

fn start_transmission(source: &str, data: &Path, addr: SocketAddr, home: &Path) -> Process {
    let rpc = std::net::TcpListener::bind((addr.ip(), 0)).unwrap().local_addr().unwrap();
    let settings = json!({
        "bind-address-ipv4": addr.ip(), "bind-address-ipv6": "::1", "peer-port": addr.port(),
        "dht-enabled": false, "lpd-enabled": false, "pex-enabled": false, "utp-enabled": false,
        "port-forwarding-enabled": false, "encryption": 0, "message-level": 2,
        "download-dir": data, "incomplete-dir-enabled": false, "rename-partial-files": false,
        "ratio-limit-enabled": false, "start-added-torrents": true,
        "rpc-enabled": true, "rpc-bind-address": rpc.ip(), "rpc-port": rpc.port(),
        "rpc-whitelist-enabled": false, "rpc-host-whitelist-enabled": false,
    });
    std::fs::write(home.join("settings.json"), settings.to_string()).unwrap();
    let mut process = Process::start("transmission-daemon", &["-f", "-g", arg(home)], home);
    until("transmission answers", || {
        assert!(process.is_running(), "transmission ended");
        std::net::TcpStream::connect(rpc).is_ok()
    });
    let remote = home.join("remote");
    Process::start("transmission-remote", &[&rpc.to_string(), "--add", source], &remote).wait().expect(0);
    process
}
