//! Announces against a small server on loopback.

use super::*;
use crate::http::HttpConfig;
use crate::http::tests::servers::{ok, redirect, server};
use std::net::SocketAddr;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

fn trackers(allow_private_networks: bool) -> Trackers {
    let config = TrackersConfig { peer_id: *b"-SH0100-abcdefghijkl", key: 7, port: 6881, allow_private_networks };
    Trackers::new(config, Http::new(&HttpConfig { allow_private_networks, ..HttpConfig::default() }))
}

fn request(url: String) -> AnnounceRequest {
    AnnounceRequest {
        url,
        event: AnnounceEvent::Started,
        uploaded: 0,
        downloaded: 0,
        left: Some(5),
        num_want: 50,
        tracker_id: None,
    }
}

#[tokio::test]
async fn a_tracker_is_asked_and_names_peers_as_near_as_itself() {
    let body = b"d8:intervali900e5:peers12:\x7f\0\0\x01\x1a\xe1\x01\x02\x03\x04\x1a\xe1e";
    let (addr, mut questions) = server(vec![ok(body)]).await;
    let reply = trackers(false).announce(&request(format!("http://{addr}/announce?k=v")), &[[b'h'; 20]], true).await;
    let reply = reply.unwrap();
    assert_eq!(reply.interval, Some(Duration::from_secs(900)));
    assert_eq!(reply.peers, ["127.0.0.1:6881".parse().unwrap(), "1.2.3.4:6881".parse().unwrap()]);
    let question = questions.recv().await.unwrap();
    assert!(question.starts_with("GET /announce?k=v&info_hash=hhhhhhhhhhhhhhhhhhhh&peer_id=-SH0100-"), "{question}");
    assert!(question.to_lowercase().contains(&format!("host: {addr}\r\n")), "{question}");
    assert!(question.contains("shoal/"), "{question}");
}

#[tokio::test]
async fn a_hybrid_is_announced_by_both_hashes_and_the_answers_are_merged() {
    let first = ok(b"d8:completei1e8:intervali900e5:peers6:\x01\x02\x03\x04\0\x01e");
    let second = ok(b"d8:completei2e8:intervali60e5:peers12:\x01\x02\x03\x04\0\x01\x01\x02\x03\x05\0\x01e");
    let (addr, mut questions) = server(vec![first, second]).await;
    let asked = request(format!("http://{addr}/announce"));
    let reply = trackers(true).announce(&asked, &[[b'a'; 20], [b'b'; 20]], false).await.unwrap();
    assert_eq!(reply.peers.len(), 2);
    assert_eq!((reply.seeds, reply.interval), (Some(2), Some(Duration::from_secs(900))));
    let mut both = [questions.recv().await.unwrap(), questions.recv().await.unwrap()];
    both.sort();
    assert!(both[0].contains("info_hash=aaaa") && both[1].contains("info_hash=bbbb"));
}

#[tokio::test]
async fn one_hash_that_the_tracker_refuses_does_not_hide_the_other() {
    let (addr, _questions) = server(vec![ok(b"d14:failure reason7:unknowne"), ok(b"d8:completei1ee")]).await;
    let asked = request(format!("http://{addr}/announce"));
    let reply = trackers(true).announce(&asked, &[[b'a'; 20], [b'b'; 20]], false).await.unwrap();
    assert_eq!(reply.seeds, Some(1));
}

#[tokio::test]
async fn a_tracker_on_loopback_from_elsewhere_is_never_connected_to() {
    let (addr, mut questions) = server(vec![ok(b"de")]).await;
    for url in [
        format!("http://{addr}/announce"),
        format!("http://localhost:{}/announce", addr.port()),
        format!("http://0x7f.1:{}/announce", addr.port()),
        format!("http://[::ffff:127.0.0.1]:{}/announce", addr.port()),
    ] {
        let error = trackers(false).announce(&request(url.clone()), &[[0; 20]], false).await.unwrap_err();
        assert!(matches!(error, TrackerError::Http(HttpError::Forbidden { .. })), "{url}: {error}");
    }
    assert!(questions.try_recv().is_err());
    assert!(trackers(true).announce(&request(format!("http://{addr}/announce")), &[[0; 20]], false).await.is_ok());
}

#[tokio::test]
async fn redirects_are_followed_as_far_as_the_bound() {
    let (addr, _questions) = server(vec![redirect("/elsewhere?x=1"), ok(b"d8:completei9ee")]).await;
    let reply = trackers(false).announce(&request(format!("http://{addr}/announce")), &[[0; 20]], true).await.unwrap();
    assert_eq!(reply.seeds, Some(9));
    let (addr, _questions) = server(vec![redirect("/again"); 10]).await;
    let error = trackers(false).announce(&request(format!("http://{addr}/announce")), &[[0; 20]], true).await;
    assert!(matches!(error, Err(TrackerError::Http(HttpError::Redirects))));
    let (addr, _questions) = server(vec![redirect("file:///etc/passwd")]).await;
    let error = trackers(false).announce(&request(format!("http://{addr}/announce")), &[[0; 20]], true).await;
    assert!(matches!(error, Err(TrackerError::Http(HttpError::Scheme { scheme })) if scheme == "file"));
}

#[tokio::test]
async fn an_answer_that_is_too_long_is_given_up() {
    let (addr, _questions) = server(vec![ok(&vec![b'x'; 3 << 20])]).await;
    let error = trackers(false).announce(&request(format!("http://{addr}/announce")), &[[0; 20]], true).await;
    assert!(matches!(error, Err(TrackerError::Http(HttpError::TooLong { .. }))), "{error:?}");
}

#[tokio::test]
async fn what_is_no_success_or_no_http_is_named() {
    let (addr, _questions) = server(vec![b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n".to_vec()]).await;
    let error = trackers(false).announce(&request(format!("http://{addr}/announce")), &[[0; 20]], true).await;
    assert!(matches!(error, Err(TrackerError::Http(HttpError::Status { status: 503, .. }))), "{error:?}");
    let (addr, _questions) = server(vec![b"SSH-2.0-x\r\n".to_vec()]).await;
    let error = trackers(false).announce(&request(format!("http://{addr}/announce")), &[[0; 20]], true).await;
    assert!(matches!(error, Err(TrackerError::Http(HttpError::Http { .. }))), "{error:?}");
    let error = trackers(false).announce(&request("wss://127.0.0.1:1/announce".to_owned()), &[[0; 20]], true).await;
    assert!(matches!(&error, Err(TrackerError::Scheme { scheme }) if scheme == "wss"), "{error:?}");
    let error = trackers(false).announce(&request("nonsense".to_owned()), &[[0; 20]], true).await;
    assert!(matches!(error, Err(TrackerError::Url)), "{error:?}");
}

#[tokio::test]
async fn a_server_without_a_trusted_certificate_is_refused() {
    // Plain HTTP where TLS is expected: no handshake comes about.
    let (addr, _questions) = server(vec![ok(b"de")]).await;
    let url = format!("https://{addr}/announce");
    let stop = AnnounceRequest { event: AnnounceEvent::Stopped, ..request(url) };
    let error = trackers(false).announce(&stop, &[[0; 20]], true).await.unwrap_err();
    assert!(matches!(error, TrackerError::Http(HttpError::Tls { .. } | HttpError::Timeout { .. })), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_tracker_is_given_up_in_time_and_sooner_when_we_stop() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/announce", listener.local_addr().unwrap());
    for (event, expected) in [(AnnounceEvent::None, TIMEOUT), (AnnounceEvent::Stopped, STOP_TIMEOUT)] {
        let before = tokio::time::Instant::now();
        let asked = AnnounceRequest { event, ..request(url.clone()) };
        let error = trackers(false).announce(&asked, &[[0; 20]], true).await.unwrap_err();
        assert!(matches!(error, TrackerError::Http(HttpError::Timeout { after }) if after == expected), "{error}");
        assert!(before.elapsed() >= expected);
    }
}

/// A UDP tracker that loses the first datagram, refuses ids that it did not give to this port, and names one peer.
async fn udp_tracker(addr: &str) -> (SocketAddr, mpsc::UnboundedReceiver<Vec<u8>>) {
    let socket = tokio::net::UdpSocket::bind(addr).await.unwrap();
    let addr = socket.local_addr().unwrap();
    let (asked, questions) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut datagram = [0; 2048];
        let mut lost = false;
        while let Ok((length, from)) = socket.recv_from(&mut datagram).await {
            let question = &datagram[..length];
            if !std::mem::replace(&mut lost, true) {
                continue;
            }
            let _ = asked.send(question.to_vec());
            let (action, transaction) = (question[11], &question[12..16]);
            let id = u64::from(from.port()).to_be_bytes();
            let answer = match action {
                0 => [&[0; 4], transaction, &id].concat(),
                _ if question[..8] != id => [&[0, 0, 0, 3], transaction, b"not your id"].concat(),
                1 if addr.is_ipv4() => {
                    [&[0, 0, 0, 1], transaction, &[0, 0, 3, 132, 0, 0, 0, 1, 0, 0, 0, 2, 127, 0, 0, 1, 0, 9]].concat()
                }
                1 => {
                    let peer = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 9];
                    [&[0, 0, 0, 1], transaction, &[0, 0, 3, 132, 0, 0, 0, 1, 0, 0, 0, 2], &peer].concat()
                }
                _ => [&[0, 0, 0, 2], transaction, &[0, 0, 0, 5, 0, 0, 0, 6, 0, 0, 0, 7]].concat(),
            };
            // First something that nobody asked for.
            let _ = socket.send_to(b"\0\0\0\x01\0\0\0\0forged", from).await;
            let _ = socket.send_to(&answer, from).await;
        }
    });
    (addr, questions)
}

#[tokio::test]
async fn a_udp_tracker_is_asked_again_when_a_datagram_is_lost_and_its_id_serves_a_hybrids_hashes_and_a_scrape() {
    for at in ["127.0.0.1:0", "[::1]:0"] {
        let (addr, mut questions) = udp_tracker(at).await;
        let trackers = trackers(false);
        let asked = request(format!("udp://{addr}/announce?k=v"));
        let reply = trackers.announce(&asked, &[[b'a'; 20], [b'b'; 20]], true).await.unwrap();
        assert_eq!(reply.interval, Some(Duration::from_secs(900)));
        assert_eq!((reply.leeches, reply.seeds), (Some(1), Some(2)));
        assert_eq!(reply.peers, [SocketAddr::new(addr.ip(), 9)]);
        let scraped = trackers.scrape(&asked.url, &[[b'a'; 20]], true).await.unwrap();
        let expected = Scraped { seeds: Some(5), completed: Some(6), leeches: Some(7) };
        assert_eq!(scraped, [Some(expected)]);
        let actions: Vec<u8> = std::iter::from_fn(|| questions.try_recv().ok()).map(|question| question[11]).collect();
        assert_eq!(actions, [0, 1, 1, 2], "one id for all three");
    }
}

#[tokio::test]
async fn udp_trackers_obey_the_same_rule_of_networks() {
    let (addr, mut questions) = udp_tracker("127.0.0.1:0").await;
    for host in ["127.0.0.1", "127.1", "0x7f.1", "2130706433", "[::ffff:127.0.0.1]", "localhost"] {
        let asked = request(format!("udp://{host}:{}/announce", addr.port()));
        let error = trackers(false).announce(&asked, &[[0; 20]], false).await.unwrap_err();
        assert!(matches!(error, TrackerError::Http(HttpError::Forbidden { .. })), "{host}: {error}");
    }
    assert!(questions.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_silent_udp_tracker_is_given_up_in_time_and_a_closed_port_at_once() {
    let silent = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let asked = request(format!("udp://{}", silent.local_addr().unwrap()));
    for (event, expected) in [(AnnounceEvent::None, TIMEOUT), (AnnounceEvent::Stopped, STOP_TIMEOUT)] {
        let before = tokio::time::Instant::now();
        let asked = AnnounceRequest { event, ..asked.clone() };
        let error = trackers(false).announce(&asked, &[[0; 20]], true).await.unwrap_err();
        assert!(matches!(error, TrackerError::Http(HttpError::Timeout { after }) if after == expected), "{error}");
        assert!(before.elapsed() < expected + Duration::from_secs(1));
    }
    drop(silent);
    let error = trackers(false).announce(&asked, &[[0; 20]], true).await.unwrap_err();
    assert!(matches!(error, TrackerError::Http(HttpError::Connect { .. })), "{error}");
}

#[tokio::test]
async fn a_name_of_both_families_is_announced_to_over_both() {
    use crate::http::tests::servers::Table;
    let four = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = four.local_addr().unwrap().port();
    let six = tokio::net::TcpListener::bind(("::1", port)).await.unwrap();
    for (listener, peer) in [(four, &b"d5:peers6:\x7f\0\0\x01\0\x04e"[..]), (six, b"d5:peers6:\x7f\0\0\x01\0\x06e")] {
        tokio::spawn(async move {
            while let Ok((mut tcp, _)) = listener.accept().await {
                let mut request = [0; 4096];
                let _ = tokio::io::AsyncReadExt::read(&mut tcp, &mut request).await;
                let _ = tokio::io::AsyncWriteExt::write_all(&mut tcp, &ok(peer)).await;
            }
        });
    }
    let table = Table::default();
    table.insert("both.example", &[&["::1", "127.0.0.1"]]);
    let http = Http::with_names(&HttpConfig::default(), std::sync::Arc::new(table));
    let trackers = Trackers { http, ..trackers(false) };
    let url = format!("http://both.example:{port}/announce");
    let mut ports: Vec<u16> =
        trackers.announce(&request(url), &[[0; 20]], true).await.unwrap().peers.iter().map(SocketAddr::port).collect();
    ports.sort_unstable();
    assert_eq!(ports, [4, 6]);
}

#[tokio::test]
async fn a_reason_that_comes_with_a_status_of_failure_is_told() {
    use crate::http::tests::servers::with;
    let (addr, _questions) = server(vec![with("403 Forbidden", "", b"d14:failure reason6:bannede")]).await;
    let error = trackers(false).announce(&request(format!("http://{addr}/announce")), &[[0; 20]], true).await;
    assert!(matches!(error, Err(TrackerError::Failure { reason }) if reason == "banned"));
}

#[tokio::test]
async fn an_http_tracker_is_scraped_at_its_other_url() {
    let body = [b"d5:filesd20:", &[b'h'; 20][..], b"d8:completei3eeee"].concat();
    let (addr, mut questions) = server(vec![ok(&body)]).await;
    let url = format!("http://{addr}/announce?k=v");
    let scraped = trackers(false).scrape(&url, &[[b'h'; 20]], true).await.unwrap();
    assert_eq!(scraped, [Some(Scraped { seeds: Some(3), ..Scraped::default() })]);
    assert!(questions.recv().await.unwrap().starts_with("GET /scrape?k=v&info_hash=hhhh"));
    let error = trackers(false).scrape(&format!("http://{addr}/x"), &[[b'h'; 20]], true).await;
    assert!(matches!(error, Err(TrackerError::NoScrape)));
}

#[test]
fn all_urls_of_one_server_have_one_number() {
    let one = server_number("http://t.example/announce?k=1");
    assert_eq!(one, server_number("http://T.example:80/other"));
    for other in ["http://t.example:81/announce", "udp://t.example:80/announce", "https://t.example/announce", "x"] {
        assert_ne!(one, server_number(other), "{other}");
    }
}
