//! Announces against a small server on loopback.

use super::*;
use crate::http::HttpConfig;
use crate::http::tests::servers::{ok, redirect, server};
use tokio::net::TcpListener;

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
    let error = trackers(false).announce(&request("udp://127.0.0.1:1/announce".to_owned()), &[[0; 20]], true).await;
    assert!(matches!(error, Err(TrackerError::Http(HttpError::Scheme { .. }))), "{error:?}");
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
