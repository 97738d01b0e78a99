//! What sybils beside a hash can do to lookups (reliability.md C3), measured on real sockets.
//!
//! 200 honest nodes, each at a public address of its own with an id that fits it (BEP 42); 400 sybils at four addresses, their
//! ids beside the hash, who name each other, take every announce and give nothing. One of three bootstrap nodes is a
//! sybil. A peer is announced, then looked up by 100 fresh nodes at addresses of their own. Once more on private
//! addresses, where any id fits. Needs a network where 44.0.0.0/8 and 10.0.0.0/8 are this machine; `tests/measure/dht_sybils`
//! makes one.

use mainline::{Dht as Node, Id};
use shoal_discovery::dht::{Dht, DhtConfig};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const HONEST: u32 = 200;
const SYBILS: u32 = 400;
const SYBIL_ADDRESSES: u32 = 4;
const LOOKUPS: u32 = 100;
const AT_A_TIME: u32 = 4;
/// The peer's port; sybils that lie name another.
const PORT: u16 = 4_321;

const HASH: [u8; 20] = *b"\x77shoal sybils target";

/// The first number of every address: 44, or what `SHOAL_SYBILS_NETWORK` says; in 10 and 127 ids are not bound to addresses.
fn network() -> u8 {
    std::env::var("SHOAL_SYBILS_NETWORK").ok().and_then(|text| text.parse().ok()).unwrap_or(44)
}

/// Different in every byte, as addresses of strangers are.
fn address(group: u8, n: u32) -> Ipv4Addr {
    let mixed = (n + 1).wrapping_mul(2_654_435_761) ^ (u32::from(group) << 20);
    Ipv4Addr::new(network(), group.wrapping_mul(37).wrapping_add((mixed >> 16) as u8), (mixed >> 8) as u8, n as u8)
}

/// A node that names sybils, and nothing else.
struct Sybil {
    socket: UdpSocket,
    id: [u8; 20],
}

/// Beside the hash: nearer than any honest one will be.
fn beside(n: u32) -> [u8; 20] {
    let mut id = HASH;
    id[16..].copy_from_slice(&n.to_be_bytes());
    id
}

fn after<'a>(packet: &'a [u8], key: &[u8], length: usize) -> Option<&'a [u8]> {
    let place = packet.windows(key.len()).position(|word| word == key)? + key.len();
    packet.get(place..place + length)
}

/// The answer to a question: our id, eight to twenty sybils, a token.
fn answer(packet: &[u8], id: &[u8; 20], others: &[(SocketAddrV4, [u8; 20])], turn: usize) -> Option<Vec<u8>> {
    let transaction = after(packet, b"1:t4:", 4)?;
    after(packet, b"1:y1:q", 0)?;
    let mut nodes = Vec::new();
    for (addr, other) in others.iter().cycle().skip(turn).take(20) {
        nodes.extend(other);
        nodes.extend(addr.ip().octets());
        nodes.extend(addr.port().to_be_bytes());
    }
    let mut out = b"d1:rd2:id20:".to_vec();
    out.extend(id);
    let asks = |name: &[u8]| after(packet, name, 0).is_some();
    if asks(b"9:find_node") || asks(b"9:get_peers") || asks(b"3:get1:t") {
        out.extend(format!("5:nodes{}:", nodes.len()).bytes());
        out.extend(&nodes);
        if !asks(b"9:find_node") {
            out.extend(b"5:token4:sybi");
        }
    }
    out.extend(b"e1:t4:");
    out.extend(transaction);
    out.extend(b"1:y1:re");
    Some(out)
}

/// Runs the sybils on a thread of each address until `stop`; counts the questions that they got.
fn run_sybils(stop: &Arc<AtomicBool>, asked: &Arc<AtomicU32>) -> Vec<SocketAddrV4> {
    let sybils: Vec<Sybil> = (0..SYBILS)
        .map(|n| {
            let socket = UdpSocket::bind((address(9, n % SYBIL_ADDRESSES), 0)).expect("an address of this machine");
            socket.set_nonblocking(true).expect("a socket can be made so");
            Sybil { socket, id: beside(n) }
        })
        .collect();
    let known: Vec<(SocketAddrV4, [u8; 20])> = sybils
        .iter()
        .map(|sybil| match sybil.socket.local_addr().expect("it is bound") {
            SocketAddr::V4(addr) => (addr, sybil.id),
            SocketAddr::V6(_) => unreachable!("bound to IPv4"),
        })
        .collect();
    let addrs = known.iter().map(|(addr, _)| *addr).collect();
    let (stop, asked) = (Arc::clone(stop), Arc::clone(asked));
    std::thread::spawn(move || {
        let (mut buffer, mut turn) = ([0; 2_048], 0);
        while !stop.load(Ordering::Relaxed) {
            let mut idle = true;
            for sybil in &sybils {
                while let Ok((length, from)) = sybil.socket.recv_from(&mut buffer) {
                    idle = false;
                    turn += 7;
                    asked.fetch_add(1, Ordering::Relaxed);
                    if let Some(answer) = answer(&buffer[..length], &sybil.id, &known, turn % known.len()) {
                        let _ = sybil.socket.send_to(&answer, from);
                    }
                }
            }
            if idle {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    });
    addrs
}

fn honest(bootstrap: &[SocketAddrV4], n: u32) -> Node {
    let ip = address(1, n);
    let mut builder = Node::builder();
    builder.server_mode().bind_address(ip).public_ip(ip).port(6_881);
    if bootstrap.is_empty() {
        builder.no_bootstrap();
    } else {
        builder.bootstrap(bootstrap);
    }
    builder.build().expect("an address of this machine")
}

fn config(ip: Ipv4Addr, bootstrap: &[SocketAddrV4]) -> DhtConfig {
    DhtConfig {
        bootstrap: bootstrap.iter().map(|addr| (addr.ip().to_string(), addr.port())).collect(),
        well_known: Vec::new(),
        bind: vec![IpAddr::V4(ip)],
        allow_private_networks: network() != 44,
        ..DhtConfig::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes and a network of its own: tests/measure/dht_sybils"]
async fn right_peers_come_in_95_of_100_lookups_beside_400_sybils() {
    assert_eq!(Id::from(HASH).as_bytes(), &HASH);
    let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let sybils = run_sybils(&stop, &asked);
    let first = SocketAddrV4::new(address(1, 0), 6_881);
    let mut nodes = vec![honest(&[], 0)];
    // Every tenth begins with a sybil too, so that some know them from the start.
    for n in 1..HONEST {
        let bootstrap = if n % 10 == 0 { vec![first, sybils[n as usize]] } else { vec![first] };
        nodes.push(honest(&bootstrap, n));
    }
    let begun = Instant::now();
    // Each looks for itself once more when the others are there.
    for (n, node) in nodes.iter().enumerate() {
        let node = node.clone().as_async();
        let id = *node.info().await.id();
        node.find_node(id).await;
        if n % 50 == 49 {
            eprintln!("{} honest nodes settled after {:?}", n + 1, begun.elapsed());
        }
    }
    let bootstrap = |n: u32| [SocketAddrV4::new(address(1, n % HONEST), 6_881), first, sybils[(n % SYBILS) as usize]];
    let seed = Dht::start(config(address(5, 0), &bootstrap(77))).unwrap();
    let announced = seed.seek(&[HASH], Some(PORT), true, &|_| ()).await;
    eprintln!("announced: {announced:?}");
    let right = SocketAddr::from((address(5, 0), PORT));

    let (mut good, mut times) = (0, Vec::new());
    for batch in 0..LOOKUPS / AT_A_TIME {
        let mut running = tokio::task::JoinSet::new();
        for place in 0..AT_A_TIME {
            let n = batch * AT_A_TIME + place;
            let config = config(address(7, n), &bootstrap(n));
            running.spawn(async move {
                let dht = Dht::start(config).unwrap();
                let (found, begun) = (Mutex::new(None), Instant::now());
                let take = |addrs: Vec<SocketAddr>| {
                    if addrs.contains(&right) {
                        found.lock().unwrap().get_or_insert(begun.elapsed());
                    }
                };
                let _ = dht.seek(&[HASH], None, true, &take).await;
                dht.stop().await;
                found.into_inner().unwrap()
            });
        }
        for found in running.join_all().await {
            good += u32::from(found.is_some());
            times.extend(found);
        }
    }
    stop.store(true, Ordering::Relaxed);
    times.sort();
    let median = times.get(times.len() / 2);
    eprintln!(
        "right peer in {good} of {LOOKUPS} lookups, after {median:?} (median), {:?} at most; sybils were asked {} times",
        times.last(),
        asked.load(Ordering::Relaxed)
    );
    assert!(good >= 95, "{good} of {LOOKUPS}");
}
