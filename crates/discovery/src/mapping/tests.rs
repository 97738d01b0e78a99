//! The driver against a router on loopback.

use super::*;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

/// Answers NAT-PMP: refuses PCP's version, grants what is asked; tells of each lifetime granted.
async fn router() -> (SocketAddr, mpsc::UnboundedReceiver<(u8, u32)>, JoinSet<()>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let addr = socket.local_addr().unwrap();
    let (told, granted) = mpsc::unbounded_channel();
    let mut task = JoinSet::new();
    task.spawn(async move {
        let mut buffer = [0; 1100];
        loop {
            let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
            let bytes = &buffer[..length];
            // Garbage first: it is passed over.
            socket.send_to(&[0, 129], from).await.unwrap();
            let answer = match bytes {
                [2, ..] => vec![0, 128, 0, 1, 0, 0, 0, 1],
                [0, 0] => vec![0, 128, 0, 0, 0, 0, 0, 1, 198, 51, 100, 7],
                [0, operation, _, _, rest @ ..] => {
                    let lifetime = u32::from_be_bytes(rest[4..8].try_into().unwrap());
                    let _ = told.send((*operation, lifetime));
                    let external = if lifetime == 0 { [0, 0] } else { [0x30, 0x39] };
                    [&[0, 128 + operation, 0, 0, 0, 0, 0, 1][..], &rest[..2], &external, &rest[4..8]].concat()
                }
                _ => continue,
            };
            socket.send_to(&answer, from).await.unwrap();
        }
    });
    (addr, granted, task)
}

fn config(gateway: SocketAddr) -> MappingConfig {
    MappingConfig { tcp: 6881, udp: Some(6882), local: None, gateway: Some(gateway), upnp: false, seed: 1 }
}

#[tokio::test]
async fn a_port_is_mapped_told_and_given_back() {
    let (addr, mut granted, _router) = router().await;
    let mapping = PortMapping::start(config(addr));
    let mut status = mapping.status();
    let settled = status.wait_for(|status| *status != MappingStatus::Trying);
    let mapped = tokio::time::timeout(PATIENCE, settled).await.unwrap().unwrap().clone();
    let expected =
        Mapped { method: Method::NatPmp, address: Some("198.51.100.7".parse().unwrap()), tcp: 12345, udp: Some(12345) };
    assert_eq!(mapped, MappingStatus::Mapped(expected));
    mapping.stop().await;
    let mut seen = Vec::new();
    while let Ok(one) = granted.try_recv() {
        seen.push(one);
    }
    seen.sort_unstable();
    assert_eq!(seen, [(1, 0), (1, 3600), (2, 0), (2, 3600)], "both given, both given back");
}

#[tokio::test]
async fn a_router_without_the_service_is_told_as_a_failure_and_ends_at_once() {
    // Bound and dropped: nothing listens there.
    let addr = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mapping = PortMapping::start(config(addr));
    let mut status = mapping.status();
    let settled = status.wait_for(|status| matches!(status, MappingStatus::Failed(_)));
    tokio::time::timeout(PATIENCE, settled).await.unwrap().unwrap();
    tokio::time::timeout(PATIENCE, mapping.stop()).await.unwrap();
}
