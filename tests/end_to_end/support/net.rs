//! A network of its own for each test: a namespace with nothing but loopback, which carries 10.77.0.0/24 beside 127.0.0.0/8
//! (some clients refuse peers in 127/8).
//!
//! The namespace belongs to a holder process. The test's thread enters it, so its sockets, its threads and the programs that it
//! starts are inside; no packet can leave, and no two tests can meet. The holder ends when its stdin closes, so nothing is left
//! behind even when the test is killed.

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};

/// A private network; it lasts as long as this value.
pub(crate) struct Net {
    holder: Option<Child>,
}

impl Net {
    /// Moves this thread into a new network, or says why that is not possible.
    pub(crate) fn private() -> Result<Net, String> {
        const SETUP: &str = "ip link set lo up && ip addr add 10.77.0.1/24 dev lo && ip -6 addr show dev lo >/dev/null && echo ready && exec cat";
        let mut holder = Command::new("unshare")
            .args(["-n", "sh", "-c", SETUP])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| format!("unshare does not start: {e}"))?;
        let mut ready = [0; 6];
        let stdout = holder.stdout.as_mut().expect("stdout is piped");
        let entered = stdout.read_exact(&mut ready).and_then(|()| {
            let namespace = File::open(format!("/proc/{}/ns/net", holder.id()))?;
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
            Ok(())
        });
        let net = Net { holder: Some(holder) };
        entered.map_err(|e| format!("a network namespace needs root, unshare and ip: {e}"))?;
        Ok(net)
    }

    /// A private network where that is possible, else the machine's loopback: for tests of shoal with itself.
    pub(crate) fn any() -> Net {
        Net::private().unwrap_or(Net { holder: None })
    }

    /// An address of this network for participant `n`.
    pub(crate) fn ip(&self, n: u8) -> IpAddr {
        match self.holder {
            Some(_) => IpAddr::V4(Ipv4Addr::new(10, 77, 0, n)),
            None => IpAddr::V4(Ipv4Addr::LOCALHOST),
        }
    }

    /// Another network, joined to this one by a cable: 10.99.0.1 and fd99::1 here, 10.99.0.2 and fd99::2 there. Neither
    /// leads anywhere else.
    pub(crate) fn neighbour(&self) -> Neighbour {
        let there = Command::new("unshare")
            .args(["-n", "sh", "-c", "echo ready && exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut neighbour = Neighbour { holder: there };
        neighbour.holder.stdout.as_mut().expect("stdout is piped").read_exact(&mut [0; 6]).unwrap();
        let pid = neighbour.holder.id();
        let end = |name: &str, n: u8| {
            format!(
                "ip link set lo up && ip addr add 10.99.0.{n}/24 dev {name} && ip addr add fd99::{n}/64 dev {name} nodad && ip link set {name} up"
            )
        };
        let join = format!(
            "ip link add here type veth peer name there netns {pid} && {} && nsenter --net=/proc/{pid}/ns/net sh -c '{}'",
            end("here", 1),
            end("there", 2)
        );
        assert!(Command::new("sh").args(["-c", &join]).status().unwrap().success(), "two networks are joined");
        neighbour
    }

    /// Makes participant `n`'s address one that programs find on the interface, and can send multicast from.
    pub(crate) fn assign(&self, n: u8) {
        let addr = format!("{}/32", self.ip(n));
        assert!(Command::new("ip").args(["addr", "add", &addr, "dev", "lo"]).status().unwrap().success(), "{addr}");
    }

    /// A port that is free now.
    pub(crate) fn port(&self) -> u16 {
        TcpListener::bind((self.ip(1), 0)).unwrap().local_addr().unwrap().port()
    }
}

/// A second network.
pub(crate) struct Neighbour {
    holder: Child,
}

impl Neighbour {
    /// The program and the first arguments that run another program there.
    pub(crate) fn enter(&self) -> (&'static str, String) {
        ("nsenter", format!("--net=/proc/{}/ns/net", self.holder.id()))
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        if let Some(mut holder) = self.holder.take() {
            let _ = holder.kill();
            let _ = holder.wait();
        }
    }
}
