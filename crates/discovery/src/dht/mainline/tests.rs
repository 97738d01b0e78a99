//! Claims about the node on loopback: two of them find, store and announce; a flood gets few answers.

use super::*;
use std::net::UdpSocket;
use std::time::Duration;

const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;
const HASH: [u8; 20] = [7; 20];

/// Eight nodes that know each other.
fn testnet() -> (mainline::Testnet, Vec<SocketAddr>) {
    let net = mainline::Testnet::builder(8).build().unwrap();
    let bootstrap = net.bootstrap.iter().map(|text| text.parse().unwrap()).collect();
    (net, bootstrap)
}

async fn client(bootstrap: Vec<SocketAddr>) -> Mainline {
    tokio::task::spawn_blocking(move || Mainline::build(HERE, 0, &bootstrap, true, false).unwrap()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_announced_peer_is_found_with_its_own_port_and_a_value_by_its_name() {
    let (_net, bootstrap) = testnet();
    let (seed, leech) = (client(bootstrap.clone()).await, client(bootstrap).await);
    while seed.peers(HASH).await.recv().await.is_some() {}
    seed.announce(HASH, 4_321).await.unwrap();
    let found = leech.peers(HASH).await.recv().await.unwrap();
    assert_eq!(found, ["127.0.0.1:4321".parse().unwrap()]);

    let name = seed.put(b"immutable".to_vec()).await.unwrap();
    assert_eq!(leech.get(name).await.as_deref(), Some(&b"immutable"[..]));
    assert_eq!(seed.put(vec![0; 2_000]).await, Err(DhtError::TooLong));
    assert!(leech.status().await.unwrap().nodes > 0 && !leech.known().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn alone_it_says_that_nobody_answers() {
    let silent = UdpSocket::bind((HERE, 0)).unwrap();
    let node = client(vec![silent.local_addr().unwrap()]).await;
    assert_eq!(node.peers(HASH).await.recv().await, None);
    assert_eq!(node.announce(HASH, 1).await, Err(DhtError::Silent));
}

/// Answers to `questions` packets, and their bytes.
fn flood(node: SocketAddr, packet: &[u8], questions: usize) -> (usize, usize) {
    let socket = UdpSocket::bind((HERE, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let (mut answers, mut bytes, mut buffer) = (0, 0, [0; 2_048]);
    for _ in 0..questions {
        socket.send_to(packet, node).unwrap();
    }
    while let Ok((length, _)) = socket.recv_from(&mut buffer) {
        answers += 1;
        bytes += length;
    }
    (answers, bytes)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_serving_node_answers_a_flood_fifty_times_and_knows_questions_apart() {
    let node = tokio::task::spawn_blocking(|| Mainline::build(HERE, 0, &[], true, true).unwrap()).await.unwrap();
    let addr = SocketAddr::from((HERE, node.status().await.unwrap().port));
    let id = "i".repeat(20);
    let ping = format!("d1:ad2:id20:{id}e1:q4:ping1:t4:abcd1:y1:qe");
    let (answers, bytes) = tokio::task::spawn_blocking(move || flood(addr, ping.as_bytes(), 10_000)).await.unwrap();
    assert!((1..=50).contains(&answers), "{answers}");
    assert!(bytes / answers <= Question::Ping.answer_bytes() as usize, "{bytes} bytes in {answers} answers");
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_packets_leave_the_node_alive() {
    let node = tokio::task::spawn_blocking(|| Mainline::build(HERE, 0, &[], true, true).unwrap()).await.unwrap();
    let addr = SocketAddr::from((HERE, node.status().await.unwrap().port));
    let mut packets: Vec<Vec<u8>> = vec![
        vec![b'l'; 2_000],
        vec![b'd'; 2_000],
        b"d1:a".repeat(500),
        b"d1:ad2:id20:".to_vec(),
        b"d1:t9999999999999999999:".to_vec(),
        b"d1:ti99999999999999999999999999999e1:y1:qe".to_vec(),
        b"d1:t4:abcd1:y1:r1:rd2:id20:aaaaaaaaaaaaaaaaaaaa5:nodes1:xee".to_vec(),
        b"d1:ad2:id1:x6:target1:xe1:q9:find_node1:t4:abcd1:y1:qe".to_vec(),
    ];
    packets.push([b"d1:ad2:id20:".to_vec(), vec![b'l'; 1_900]].concat());
    let socket = UdpSocket::bind((HERE, 0)).unwrap();
    for packet in &packets {
        socket.send_to(packet, addr).unwrap();
    }
    let ping = format!("d1:ad2:id20:{}e1:q4:ping1:t4:abcd1:y1:qe", "i".repeat(20));
    let (answers, _) = tokio::task::spawn_blocking(move || flood(addr, ping.as_bytes(), 3)).await.unwrap();
    assert_eq!(answers, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_from_somewhere_else_are_not_believed() {
    let silent = UdpSocket::bind((HERE, 0)).unwrap();
    let node = client(vec![silent.local_addr().unwrap()]).await;
    let addr = SocketAddr::from((HERE, node.status().await.unwrap().port));
    let mut found = node.peers(HASH).await;
    let forger = tokio::task::spawn_blocking(move || {
        let socket = UdpSocket::bind((HERE, 0)).unwrap();
        // Every number that it may have used, many times over, from an address that was not asked.
        for n in 0_u32..1_000_000 {
            let mut packet = b"d1:rd2:id20:aaaaaaaaaaaaaaaaaaaa5:token1:t6:valuesl6:abcdefee1:t4:".to_vec();
            packet.extend((n % 64).to_be_bytes());
            packet.extend(b"1:y1:re");
            let _ = socket.send_to(&packet, addr);
        }
    });
    assert_eq!(found.recv().await, None);
    forger.await.unwrap();
    assert_eq!(node.status().await.unwrap().nodes, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_of_ipv6_do_it_no_harm() {
    let bootstrap: Vec<SocketAddr> =
        (1..=1_000_u16).map(|n| SocketAddr::from(([0xfd00, 0, 0, 0, 0, 0, 0, n], n))).collect();
    let node = client(bootstrap).await;
    assert_eq!(node.peers(HASH).await.recv().await, None);
    assert_eq!(node.status().await.unwrap().nodes, 0);
}

/// Processor time of this process's threads but the calling one, in seconds.
#[cfg(target_os = "linux")]
fn cpu_of_others() -> f64 {
    let own = std::fs::read_link("/proc/thread-self").unwrap();
    let own = own.file_name().unwrap().to_owned();
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap());
    let nanoseconds = tasks.filter(|task| task.file_name() != own).filter_map(|task| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    nanoseconds.sum::<u64>() as f64 / 1e9
}

#[cfg(target_os = "linux")]
fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4_096
}

/// reliability.md C2 and C5. `cargo test --release -p shoal-discovery --lib -- --ignored --nocapture floods_cost`
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement of a minute"]
async fn floods_cost_little_time_and_memory() {
    let node = tokio::task::spawn_blocking(|| Mainline::build(HERE, 0, &[], true, true).unwrap()).await.unwrap();
    let addr = SocketAddr::from((HERE, node.status().await.unwrap().port));
    tokio::task::spawn_blocking(move || {
        let socket = UdpSocket::bind((HERE, 0)).unwrap();
        let ask = format!("d1:ad2:id20:{0}9:info_hash20:{0}e1:q9:get_peers1:t4:abcd1:y1:qe", "i".repeat(20));
        let (start, before) = (Instant::now(), cpu_of_others());
        for n in 0..100_000_u32 {
            let _ = socket.send_to(ask.as_bytes(), addr);
            if n % 100 == 99 {
                std::thread::sleep((start + Duration::from_millis(10) * (n / 100 + 1)).saturating_duration_since(Instant::now()));
            }
        }
        let share = (cpu_of_others() - before) / start.elapsed().as_secs_f64();
        println!("10,000 questions a second from one address: {:.1} % of a core", share * 100.0);

        let memory = resident_bytes();
        let start = Instant::now();
        // From a hundred addresses, each with hashes of its own.
        for source in 0..100_u32 {
            let socket = UdpSocket::bind((Ipv4Addr::from(0x7f00_0002 + source), 0)).unwrap();
            for n in 0..100_000_u32 {
                let hash = format!("{source:010}{n:010}");
                let port = n % 60_000 + 1_024;
                let announce = format!(
                    "d1:ad2:id20:{hash}9:info_hash20:{hash}4:porti{port}e5:token4:abcde1:q13:announce_peer1:t4:abcd1:y1:qe"
                );
                let _ = socket.send_to(announce.as_bytes(), addr);
            }
        }
        let grown = resident_bytes().saturating_sub(memory);
        println!("10,000,000 announces in {:.0} s: {:.1} MiB more", start.elapsed().as_secs_f64(), grown as f64 / 1_048_576.0);
        assert!(grown <= 32 << 20, "{grown}");
    })
    .await
    .unwrap();
}
