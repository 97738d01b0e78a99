//! Port mapping against a real router: `miniupnpd` in a namespace of its own, which speaks PCP, NAT-PMP and UPnP IGD, with
//! its firewall rules in that namespace's nftables. The far side has an address that looks public and leads nowhere.

use crate::support::net::Net;
use crate::support::process::{Process, Stream};
use crate::support::shoal::SHOAL;
use crate::support::{skip, tree, until};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The router's far address: any public one, since the namespace leads nowhere (miniupnpd refuses those kept for documentation).
const FAR: &str = "45.45.45.77";

/// What makes a router of a namespace: addresses, then the chains that miniupnpd fills.
const SETUP: &str = r#"
ip link set lo up
ip addr add 192.168.77.1/24 dev lan0 && ip link set lan0 up
ip link add ext0 type veth peer name ext1 && ip addr add 45.45.45.77/24 dev ext0
ip link set ext0 up && ip link set ext1 up && ip route add default via 45.45.45.1
nft -f - <<RULES
table inet filter {
  chain miniupnpd { }
  chain prerouting_miniupnpd { }
  chain postrouting_miniupnpd { }
  chain forward { type filter hook forward priority 0; jump miniupnpd; }
  chain prerouting { type nat hook prerouting priority -100; jump prerouting_miniupnpd; }
  chain postrouting { type nat hook postrouting priority 100; jump postrouting_miniupnpd; }
}
RULES
"#;

/// A router beside this thread's network. Its namespace ends with its holder.
struct Router {
    holder: Child,
    daemon: Process,
}

fn run(program: &str, args: &[&str]) -> Result<String, String> {
    let done = Command::new(program).args(args).output().map_err(|error| format!("{program}: {error}"))?;
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    if done.status.success() { Ok(said) } else { Err(String::from_utf8_lossy(&done.stderr).into_owned()) }
}

impl Router {
    /// `natpmp`: whether it speaks PCP and NAT-PMP beside UPnP.
    fn start(home: &Path, natpmp: bool) -> Result<Router, String> {
        let holder = Command::new("unshare")
            .args(["-n", "cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| error.to_string())?;
        let pid = holder.id().to_string();
        let own = std::fs::read_link("/proc/thread-self/ns/net").unwrap();
        until("the router has its namespace", || {
            std::fs::read_link(format!("/proc/{pid}/ns/net")).is_ok_and(|other| other != own)
        });
        run("ip", &["link", "add", "c0", "type", "veth", "peer", "name", "lan0"])?;
        run("ip", &["link", "set", "lan0", "netns", &pid])?;
        run("ip", &["addr", "add", "192.168.77.2/24", "dev", "c0"])?;
        run("ip", &["link", "set", "c0", "up"])?;
        run("ip", &["route", "add", "default", "via", "192.168.77.1"])?;
        run("nsenter", &["-t", &pid, "-n", "sh", "-e", "-c", SETUP])?;
        let config = home.join("miniupnpd.conf");
        let switch = if natpmp { "yes" } else { "no" };
        let text = format!(
            "ext_ifname=ext0\nlistening_ip=lan0\nport=0\nenable_natpmp={switch}\nenable_upnp=yes\nsecure_mode=yes\n\
             uuid=00000000-0000-0000-0000-000000000001\nallow 1024-65535 0.0.0.0/0 1024-65535\n"
        );
        std::fs::write(&config, text).unwrap();
        let (config, pid_file) = (config.to_str().unwrap(), home.join("pid"));
        let args = ["-t", &pid, "-n", "miniupnpd", "-d", "-P", pid_file.to_str().unwrap(), "-f", config];
        let daemon = Process::start("nsenter", &args, home);
        daemon.wait_for(Stream::Err, "that it listens", |line| line.contains("HTTP listening on port").then_some(()));
        Ok(Router { holder, daemon })
    }

    /// Where the router sends what comes to its far side.
    fn rules(&self) -> String {
        let pid = self.holder.id().to_string();
        let chain = ["list", "chain", "inet", "filter", "prerouting_miniupnpd"];
        run("nsenter", &[&["-t", &pid, "-n", "nft"], &chain[..]].concat()).unwrap()
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// A share maps its port by `method`, says so, and gives it back at its end.
fn maps(method: &str, natpmp: bool) {
    if Command::new("miniupnpd").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
        return skip("miniupnpd is not installed");
    }
    let folder = tempfile::tempdir().unwrap();
    let _net = match Net::private() {
        Ok(net) => net,
        Err(why) => return skip(&why),
    };
    let router = match Router::start(folder.path(), natpmp) {
        Ok(router) => router,
        Err(why) => return skip(&format!("no router can be made here: {why}")),
    };
    let file = tree::file(&folder.path().join("source"), "file", 3, 50_000);
    let args = ["share", file.to_str().unwrap(), "--port", "6999", "--no-lan"];
    // This namespace leads nowhere, so the node may be there: no test's packet reaches the public DHT.
    let with_dht = [("SHOAL_SHARE_NO_DHT", "false")];
    let share = Process::start_with(SHOAL, &args, &folder.path().join("home"), &with_dht);
    let line = share.wait_for(Stream::Err, "that the port is mapped", |line| {
        line.contains("is reachable").then(|| line.to_owned())
    });
    let expected = format!("port 6999 is reachable: mapped by {method}, public address {FAR}:6999");
    assert!(line.contains(&expected), "{line}\n{}", router.daemon.said());
    let link = share.wait_for(Stream::Out, "the link", |line| Some(line.to_owned()));
    assert!(link.contains(&format!("x.pe={FAR}:6999")), "{link}");
    let rules = router.rules();
    assert!(rules.contains("dport 6999 dnat ip to 192.168.77.2:6999"), "{rules}");
    assert!(rules.contains("dport 7000 dnat ip to 192.168.77.2:7000"), "the DHT's node: {rules}");
    eprintln!("{line}\n{rules}");
    share.interrupt().expect(0);
    let rules = router.rules();
    assert!(!rules.contains("6999") && !rules.contains("7000"), "given back: {rules}");
}

#[test]
fn a_share_is_mapped_by_pcp_and_unmapped_at_its_end() {
    maps("PCP", true);
}

#[test]
fn a_share_is_mapped_by_upnp_where_the_router_speaks_nothing_else() {
    maps("UPnP", false);
}

#[test]
fn no_port_mapping_sends_the_router_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let _net = match Net::private() {
        Ok(net) => net,
        Err(why) => return skip(&why),
    };
    // Every packet to the router's ports or to UPnP's group is counted on its way out.
    let rules =
        "table inet watch { chain out { type filter hook output priority 0; udp dport { 5351, 1900 } counter; }; }";
    let setup = format!(
        "ip link add c0 type veth peer name c1 && ip addr add 192.168.77.2/24 dev c0 && ip link set c0 up && \
         ip link set c1 up && ip route add default via 192.168.77.1 && nft '{rules}'"
    );
    if let Err(why) = run("sh", &["-c", &setup]) {
        return skip(&format!("no network can be made here: {why}"));
    }
    let packets = || {
        let listed = run("nft", &["list", "table", "inet", "watch"]).unwrap();
        let after = listed.split("packets ").nth(1).unwrap_or_else(|| panic!("no counter: {listed}")).to_owned();
        after.split(' ').next().unwrap().parse::<u64>().unwrap()
    };
    let file = tree::file(&folder.path().join("source"), "file", 3, 50_000);
    let share = |flag: &[&str]| {
        let args = [&["share", file.to_str().unwrap(), "--port", "0", "--no-dht", "--no-lan"], flag].concat();
        let share = Process::start(SHOAL, &args, &folder.path().join("home"));
        share.wait_for(Stream::Err, "where it is reachable", |line| line.contains("Reachable at").then_some(()));
        share
    };
    for quiet in ["--no-port-mapping", "--lan-only"] {
        share(&[quiet]).interrupt().expect(0);
        assert_eq!(packets(), 0, "{quiet}");
    }
    // And the counter counts.
    let loud = share(&[]);
    until("the router is asked", || packets() > 0);
    loud.interrupt().expect(0);
}
