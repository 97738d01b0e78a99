//! Trackers that other people wrote, on this thread's network: Debian's `opentracker` (IPv4) and npm's `bittorrent-tracker`
//! (here for IPv6), each over HTTP and UDP on one port.

use super::net::Net;
use super::process::{Process, Stream};
use super::shoal::arg;
use super::{skip, until};
use std::fs::Permissions;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// The folder that `npm install --prefix` put bittorrent-tracker into. It is not required where this is not set: not every
/// machine has npm.
const NPM_FOLDER: &str = "SHOAL_TEST_NPM";

/// A running tracker; dropped, it is killed.
pub(crate) struct RealTracker {
    process: Process,
    addr: SocketAddr,
}

impl RealTracker {
    /// Starts opentracker for these info hashes (hex, 20 bytes each), if it is installed: Debian's serves what is listed.
    pub(crate) fn opentracker(net: &Net, home: &Path, hashes: &[String]) -> Option<RealTracker> {
        let asked = Command::new("opentracker").arg("-h").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if asked.is_err() {
            skip("opentracker is not installed");
            return None;
        }
        // Started by root it goes to this folder and becomes `nobody`, who must be able to read there.
        std::fs::create_dir_all(home).unwrap();
        std::fs::set_permissions(home, Permissions::from_mode(0o755)).unwrap();
        std::fs::write(home.join("whitelist"), hashes.join("\n") + "\n").unwrap();
        let addr = SocketAddr::new(net.ip(1), net.port());
        let (ip, port) = (addr.ip().to_string(), addr.port().to_string());
        let args = ["-i", &ip, "-p", &port, "-P", &port, "-d", arg(home), "-w", "whitelist"];
        let mut process = Process::start("opentracker", &args, home);
        until("opentracker answers", || {
            assert!(process.is_running(), "opentracker ended\n{}", process.said());
            TcpStream::connect(addr).is_ok()
        });
        Some(RealTracker { process, addr })
    }

    /// Starts bittorrent-tracker on ::1, if its folder is named.
    pub(crate) fn npm(net: &Net, home: &Path) -> Option<RealTracker> {
        let Some(folder) = std::env::var_os(NPM_FOLDER) else {
            eprintln!("skipped: {NPM_FOLDER} does not name a folder with npm's bittorrent-tracker");
            return None;
        };
        let driver = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/end_to_end/support/tracker_driver.mjs");
        let port = net.port();
        let process = Process::start("node", &[driver, arg(Path::new(&folder)), &port.to_string()], home);
        process.wait_for(Stream::Out, "that it listens", |line| line.starts_with("listening").then_some(()));
        Some(RealTracker { process, addr: SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), port) })
    }

    /// Its announce URL: `scheme` is `http` or `udp`.
    pub(crate) fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}/announce", self.addr)
    }

    /// What it printed so far.
    pub(crate) fn said(&self) -> String {
        self.process.said()
    }
}
