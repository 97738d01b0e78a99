//! Claims about the process's DHT, on loopback.

use super::*;
use std::sync::Mutex as StdMutex;

const HASHES: [[u8; 20]; 2] = [[7; 20], [9; 20]];

fn here(bootstrap: Vec<SocketAddr>, state_dir: Option<PathBuf>) -> Dht {
    let bootstrap = bootstrap.into_iter().map(|addr| (addr.ip().to_string(), addr.port())).collect();
    let bind = vec![IpAddr::V4(Ipv4Addr::LOCALHOST)];
    let config = DhtConfig { bootstrap, bind, allow_private_networks: true, state_dir, ..offline() };
    Dht::start(config).unwrap()
}

/// Nobody outside is asked.
fn offline() -> DhtConfig {
    DhtConfig { well_known: Vec::new(), ..DhtConfig::default() }
}

fn testnet() -> (::mainline::Testnet, Vec<SocketAddr>) {
    let net = ::mainline::Testnet::builder(10).build().unwrap();
    let bootstrap = net.bootstrap.iter().map(|text| text.parse().unwrap()).collect();
    (net, bootstrap)
}

async fn seek(
    dht: &Dht,
    announce: Option<u16>,
) -> (Result<shoal_swarm::Sought, shoal_swarm::SourceError>, Vec<SocketAddr>) {
    let found = StdMutex::new(Vec::new());
    let sought = dht.seek(&HASHES, announce, true, &|addrs| found.lock().unwrap().extend(addrs)).await;
    (sought, found.into_inner().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn both_hashes_are_announced_and_each_peer_is_told_once() {
    let (_net, bootstrap) = testnet();
    let (seed, leech) = (here(bootstrap.clone(), None), here(bootstrap, None));
    let (announced, _) = seek(&seed, Some(4_321)).await;
    assert_eq!(announced.unwrap().announced, 2);
    let (sought, found) = seek(&leech, None).await;
    assert_eq!(found, ["127.0.0.1:4321".parse().unwrap()]);
    let sought = sought.unwrap();
    assert!(sought.peers == 1 && sought.nodes > 0 && sought.responders > 0 && sought.announced == 0, "{sought:?}");
    seed.stop().await;
    leech.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_on_private_networks_are_left_out_unless_allowed() {
    let (_net, bootstrap) = testnet();
    let seed = here(bootstrap.clone(), None);
    seek(&seed, Some(4_321)).await.0.unwrap();
    let typed = bootstrap.iter().map(|addr| (addr.ip().to_string(), addr.port())).collect();
    let bind = vec![IpAddr::V4(Ipv4Addr::LOCALHOST)];
    let strict = Dht::start(DhtConfig { bootstrap: typed, bind, ..offline() }).unwrap();
    let (sought, found) = seek(&strict, None).await;
    assert!(found.is_empty() && sought.unwrap().peers == 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_told_and_one_that_a_peer_names_ends_it() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let dht = here(vec![silent.local_addr().unwrap()], None);
    let (sought, _) = seek(&dht, Some(1)).await;
    let error = sought.unwrap_err();
    assert_eq!(error.kind, shoal_swarm::SourceErrorKind::Silent);
    assert!(error.text.contains("no DHT node answers"), "{error}");
    let (_net, bootstrap) = testnet();
    dht.add_node(bootstrap[0].ip().to_string(), bootstrap[0].port());
    let found = async { while seek(&dht, Some(1)).await.0.is_err() {} };
    tokio::time::timeout(Duration::from_secs(20), found).await.expect("it is built anew");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_without_an_address_is_told_as_such() {
    let bootstrap = vec![("no-such-name.invalid".to_owned(), 6881)];
    let bind = vec![IpAddr::V4(Ipv4Addr::LOCALHOST)];
    let dht = Dht::start(DhtConfig { bootstrap, bind, ..offline() }).unwrap();
    let error = seek(&dht, Some(1)).await.0.unwrap_err();
    assert_eq!(error.kind, shoal_swarm::SourceErrorKind::Dns);
    assert!(error.text.contains("no-such-name.invalid"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_run_knew_bootstraps_the_next_when_every_bootstrap_host_is_dead() {
    let (_net, bootstrap) = testnet();
    let folder = tempfile::tempdir().unwrap();
    let first = here(bootstrap, Some(folder.path().to_owned()));
    seek(&first, Some(4_321)).await.0.unwrap();
    first.stop().await;
    assert!(!cache::load(&cache::path(folder.path())).is_empty());
    let second = here(Vec::new(), Some(folder.path().to_owned()));
    assert_eq!(seek(&second, None).await.1, ["127.0.0.1:4321".parse().unwrap()]);
    second.stop().await;
}

#[test]
fn a_taken_port_is_left_for_the_next() {
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let free = free_port(Ipv4Addr::LOCALHOST, port).unwrap();
    assert!(free != 0 && free != port);
}
