//! Looking at this computer: what a share or a download needs of it.
//!
//! Nothing is sent but a name look-up, one DHT `ping` to each well-known bootstrap node (not with `--no-dht`), and what port mapping
//! sends to the router (not with `--no-port-mapping`). Every look is bounded in time; those that wait run side by side.

use super::Finding;
use crate::args::DoctorArgs;
use crate::commands::network;
use crate::exit::Exit;
use crate::run::Context;
use crate::size;
use shoal_discovery::dht::WELL_KNOWN;
use shoal_discovery::lan::GROUP_V4;
use shoal_discovery::networks::{Scope, scope};
use shoal_session::{MappingStatus, Session, local_address_towards};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::UdpSocket;

/// Bootstrap nodes that are asked, at most. Chosen.
const MAX_BOOTSTRAP: usize = 16;
/// A KRPC `ping` (BEP 5) with an id that is nobody's.
const PING: &[u8] = b"d1:ad2:id20:shoal doctor looks..e1:q4:ping1:t2:sd1:y1:qe";
/// For names to resolve. Chosen: the resolver's own first time-out.
const DNS_WITHIN: Duration = Duration::from_secs(5);
/// For a bootstrap node to answer. Chosen: twice around the earth, and one repetition.
const PING_WITHIN: Duration = Duration::from_secs(3);
/// For the router: PCP and NAT-PMP take 3.5 s when nobody answers, UPnP's search 3 s.
const MAPPING_WITHIN: Duration = Duration::from_secs(8);
/// Descriptors that a share to a few hundred peers with its files needs. Chosen.
const FEW_DESCRIPTORS: u64 = 256;
/// Bytes below which a disk is nearly full. Chosen.
const LITTLE_SPACE: u64 = 64 << 20;
/// This version did not exist before 2026, in seconds since 1970; a clock before it is wrong, and so is one 30 years later.
const BUILT_AFTER_S: u64 = 1_767_225_600;
const THIRTY_YEARS_S: u64 = 30 * 365 * 24 * 3600;
/// Addresses that belong to nobody (RFC 5737, RFC 3849); asking for the route to them sends nothing.
const SOMEWHERE: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9),
    SocketAddr::new(IpAddr::V6(std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)), 9),
];

/// All looks in the order in which they are told; the session is `None` if it cannot listen.
pub(super) async fn look(args: &DoctorArgs, context: &Context) -> (Vec<Finding>, Option<Session>) {
    let mut findings = Vec::new();
    let session = match network::open_without_traces(&args.network, context).await {
        Ok(session) => {
            findings.push(Finding::ok("listening", network::listening(&session)));
            Some(session)
        }
        Err(failure) => {
            let advice = "choose another --port or --bind";
            findings.push(Finding::fail("listening", Exit::Network, failure.line(), advice));
            None
        }
    };
    let chosen = !args.network.bind.is_empty() || args.network.lan_only;
    findings.push(routes(chosen));
    let (names, mapping) = tokio::join!(names(args), mapping(session.as_ref()));
    findings.extend(names);
    findings.extend(mapping);
    findings.push(proxy(|name| std::env::var(name).ok()));
    findings.push(clock(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())));
    findings.push(descriptors(shoal_storage::descriptor_limit()));
    findings.push(space(&args.output));
    findings.push(match &context.config {
        Some(path) if path.exists() => Finding::ok("config_file", path.display().to_string()),
        Some(path) => Finding::ok("config_file", format!("none at {}", path.display())),
        None => Finding::ok("config_file", "none: no home folder is known"),
    });
    findings.push(state(context.state.as_deref()));
    if !args.network.no_lan {
        findings.push(lan().await);
    }
    (findings, session)
}

/// `chosen`: the user chose a network, which need not lead to the internet.
fn routes(chosen: bool) -> Finding {
    let route = |to| local_address_towards(to).ok().map(|from| from.ip());
    match SOMEWHERE.map(route) {
        [Some(v4), Some(v6)] => Finding::ok("route", format!("IPv4 from {v4}, IPv6 from {v6}")),
        [Some(v4), None] => Finding::ok("route", format!("IPv4 from {v4}; no IPv6")),
        [None, Some(v6)] => Finding::warn("route", format!("IPv6 from {v6}; no IPv4"), "peers with IPv4 only are lost"),
        [None, None] if chosen => {
            Finding::warn("route", "none to the internet, IPv4 or IPv6", "only peers on the chosen network are reached")
        }
        [None, None] => Finding::fail(
            "route",
            Exit::Network,
            "none to the internet, IPv4 or IPv6",
            "connect this computer to a network",
        ),
    }
}

/// Name look-ups, and whether the DHT's first nodes answer.
async fn names(args: &DoctorArgs) -> Vec<Finding> {
    if args.network.no_dht || args.network.lan_only {
        return Vec::new();
    }
    // What the user typed takes the place of the well-known ones.
    let typed = &args.network.dht_bootstrap;
    let known = WELL_KNOWN.map(|(host, port)| (host.to_owned(), port));
    let names: Vec<(String, u16)> = if typed.is_empty() { known.to_vec() } else { typed.clone() };
    let mut resolving = tokio::task::JoinSet::new();
    for (host, port) in names.iter().take(MAX_BOOTSTRAP).cloned() {
        resolving.spawn(async move {
            let found = tokio::time::timeout(DNS_WITHIN, tokio::net::lookup_host((host, port))).await;
            let found: Vec<SocketAddr> = found.ok().and_then(Result::ok).map(Iterator::collect).unwrap_or_default();
            found.into_iter().find(SocketAddr::is_ipv4)
        });
    }
    let addrs: Vec<SocketAddr> = resolving.join_all().await.into_iter().flatten().collect();
    if addrs.is_empty() {
        let text = format!(
            "no name resolves ({})",
            names.iter().map(|(host, _)| host.as_str()).collect::<Vec<_>>().join(", ")
        );
        return vec![Finding::fail("dns", Exit::Network, text, "check the network and its name server")];
    }
    let dns = Finding::ok("dns", format!("{} of {} names resolve", addrs.len(), names.len()));
    let answers = ping(&addrs).await;
    let asked = format!("{answers} of {} bootstrap nodes answer", addrs.len());
    let dht = match answers {
        0 => {
            Finding::fail("dht", Exit::Network, asked, "a firewall may block UDP; links then need a tracker or --peer")
        }
        _ => Finding::ok("dht", asked),
    };
    vec![dns, dht]
}

/// How many of these answer anything.
async fn ping(addrs: &[SocketAddr]) -> usize {
    let Ok(socket) = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await else { return 0 };
    let mut answered = std::collections::BTreeSet::new();
    let asking = async {
        for _ in 0..2 {
            for addr in addrs.iter().filter(|addr| !answered.contains(*addr)) {
                // Lost, or no route: it counts as silent.
                let _ = socket.send_to(PING, addr).await;
            }
            let mut buffer = [0; 512];
            let hearing = async {
                while answered.len() < addrs.len() {
                    if let Ok((_, from)) = socket.recv_from(&mut buffer).await
                        && addrs.contains(&from)
                    {
                        answered.insert(from);
                    }
                }
            };
            let _ = tokio::time::timeout(PING_WITHIN / 2, hearing).await;
        }
    };
    asking.await;
    answered.len()
}

/// Whether the router forwards the port, and what that means for who can reach us.
async fn mapping(session: Option<&Session>) -> Vec<Finding> {
    let Some(session) = session else { return Vec::new() };
    let mut status = session.port_mapping();
    let settled = status.wait_for(|status| *status != MappingStatus::Trying);
    let settled = tokio::time::timeout(MAPPING_WITHIN, settled).await.is_ok_and(|settled| settled.is_ok());
    let status = session.port_mapping().borrow().clone();
    let mapping = match &status {
        MappingStatus::Off => Finding::ok("port_mapping", "not asked for"),
        MappingStatus::Trying => Finding::warn("port_mapping", "the router has not answered yet", "ask again later"),
        MappingStatus::Failed(why) => {
            let advice = "forward the port by hand, or fetch from peers that can be reached";
            Finding::warn("port_mapping", why.clone(), advice)
        }
        MappingStatus::Mapped(mapped) => {
            Finding::ok("port_mapping", format!("mapped by {} in the router", mapped.method.name()))
        }
    };
    let public = session.reachable_at().into_iter().find(|addr| scope(addr.ip()) == Some(Scope::Public));
    let reachable = match (session.public_address(), public) {
        (Some(addr), _) => Finding::ok("reachable", format!("at {addr}, as the router says")),
        (None, Some(addr)) => Finding::ok("reachable", format!("at {addr}, unless a firewall forbids it")),
        (None, None) if matches!(status, MappingStatus::Mapped(_)) => {
            let advice = "the router is behind another one: peers on the internet cannot dial in";
            Finding::warn("reachable", "from the network of the router only", advice)
        }
        (None, None) if settled || status == MappingStatus::Off => {
            let advice = "others on the internet cannot dial in; two who both cannot never meet";
            Finding::warn("reachable", "from this network only, as far as can be told", advice)
        }
        (None, None) => Finding::warn("reachable", "unknown", "ask again later"),
    };
    vec![mapping, reachable]
}

/// Other programs obey these; shoal does not, and says so rather than leak what the user thinks is hidden.
fn proxy(variable: impl Fn(&str) -> Option<String>) -> Finding {
    const NAMES: [&str; 6] = ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"];
    match NAMES.iter().find(|name| variable(name).is_some_and(|value| !value.is_empty())) {
        // Not the value: it may hold a password.
        Some(name) => Finding::warn("proxy", format!("{name} is set, and not used"), "shoal connects directly"),
        None => Finding::ok("proxy", "none is set, none is used"),
    }
}

fn clock(now_s: u64) -> Finding {
    if (BUILT_AFTER_S..BUILT_AFTER_S + THIRTY_YEARS_S).contains(&now_s) {
        return Finding::ok("clock", "plausible");
    }
    let text = "the date cannot be right: certificates of HTTPS trackers will be refused";
    Finding::fail("clock", Exit::Other, text, "set the date")
}

fn descriptors(limit: u64) -> Finding {
    let text = format!("{limit} files and connections at once");
    if limit < FEW_DESCRIPTORS {
        return Finding::warn("descriptors", text, "raise it: ulimit -n 1024");
    }
    Finding::ok("descriptors", text)
}

fn space(folder: &Path) -> Finding {
    let shown = folder.display();
    match shoal_storage::free_bytes(folder) {
        Ok(free) if free < LITTLE_SPACE => {
            let text = format!("{} free in {shown}", size::bytes(free));
            Finding::fail("disk", Exit::Disk, text, "free space or choose --output")
        }
        Ok(free) => Finding::ok("disk", format!("{} free in {shown}", size::bytes(free))),
        Err(error) => Finding::fail("disk", Exit::Disk, format!("{shown}: {error}"), "choose another --output"),
    }
}

/// Tries to write where resume state is kept.
fn state(folder: Option<&Path>) -> Finding {
    let Some(folder) = folder else {
        return Finding::warn("state_folder", "no home folder is known", "set XDG_STATE_HOME, or nothing is resumed");
    };
    let shown = folder.display();
    let probe = folder.join(format!(".doctor-{}", std::process::id()));
    let tried = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&probe, b""));
    // If it cannot be removed, writing is no better.
    match tried.and_then(|()| std::fs::remove_file(&probe)) {
        Ok(()) => Finding::ok("state_folder", shown.to_string()),
        Err(error) => Finding::fail(
            "state_folder",
            Exit::Disk,
            format!("cannot write in {shown}: {error}"),
            "make it writable or set XDG_STATE_HOME; without it nothing is resumed",
        ),
    }
}

async fn lan() -> Finding {
    let joined = async {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
        socket.join_multicast_v4(GROUP_V4, Ipv4Addr::UNSPECIFIED)
    };
    match joined.await {
        Ok(()) => Finding::ok("lan", "multicast works"),
        Err(error) => {
            Finding::warn("lan", format!("no multicast: {error}"), "peers on this network must be named with --peer")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn a_clock_before_this_program_is_wrong() {
        assert_eq!(clock(0).verdict, Verdict::Fail);
        assert_eq!(clock(1_800_000_000).verdict, Verdict::Ok);
        assert_eq!(clock(4_000_000_000).verdict, Verdict::Fail);
    }

    #[test]
    fn a_proxy_that_is_set_is_told_by_its_name_alone() {
        let finding = proxy(|name| (name == "https_proxy").then(|| "http://user:secret@p".to_owned()));
        assert_eq!((finding.verdict, finding.text.as_str()), (Verdict::Warn, "https_proxy is set, and not used"));
        assert_eq!(proxy(|_| Some(String::new())).verdict, Verdict::Ok);
    }

    #[test]
    fn state_that_cannot_be_written_is_a_failure_of_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(state(Some(&folder.path().join("a/b"))).verdict, Verdict::Ok);
        std::fs::write(folder.path().join("file"), "").unwrap();
        let finding = state(Some(&folder.path().join("file")));
        assert_eq!((finding.verdict, finding.exit), (Verdict::Fail, Exit::Disk));
        assert_eq!(space(&folder.path().join("none")).exit, Exit::Disk);
    }

    #[test]
    fn few_descriptors_are_told() {
        assert_eq!((descriptors(64).verdict, descriptors(1024).verdict), (Verdict::Warn, Verdict::Ok));
    }
}
