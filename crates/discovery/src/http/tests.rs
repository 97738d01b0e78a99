//! Requests against servers on loopback.

pub(crate) mod servers;
mod table;

use super::*;
use crate::{FetchError, fetch_torrent};
use flate2::Compression;
use flate2::write::GzEncoder;
use servers::{Authority, HERE, Own, Table, ok, self_signed, server, tls_server, with};
use std::io::Write;
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

fn http() -> Http {
    Http::new(&HttpConfig::default())
}

fn get(url: &str, named: Named) -> Get {
    Get {
        url: Url::parse(url).unwrap(),
        asked: Asked::Tracker,
        named,
        at: Vec::new(),
        max_body_bytes: 2 << 20,
        patience: Patience::Whole(Duration::from_secs(30)),
        stays_secure: false,
    }
}

/// A server that a certificate of `own`'s kind is for is `t.example`, at loopback; the authority of `trusted` is believed.
async fn asks_over_tls(trusted: &Authority, own: Own) -> Result<Answer, HttpError> {
    let (table, config) = secure(trusted);
    let addr = tls_server(own, vec![ok(b"hello")]).await;
    Http::with_names(&config, table).get(get(&format!("https://t.example:{}/", addr.port()), Named::ByUser)).await
}

fn secure(trusted: &Authority) -> (Arc<Table>, HttpConfig) {
    let table = Arc::new(Table::default());
    table.insert("t.example", &[&["127.0.0.1"]]);
    let authorities = Authorities::with_pem(trusted.pem()).unwrap();
    (table, HttpConfig { authorities, ..HttpConfig::default() })
}

#[tokio::test]
async fn a_good_certificate_is_believed_and_four_bad_ones_are_refused_with_their_reason() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    assert_eq!(asks_over_tls(&ours, ours.sign("t.example", false)).await.unwrap().body, b"hello");
    for (own, reason) in [
        (ours.sign("t.example", true), "has expired"),
        (ours.sign("other.example", false), "is for another name"),
        (self_signed("t.example"), "signed by itself or by an authority that is not known"),
        (theirs.sign("t.example", false), "signed by itself or by an authority that is not known"),
    ] {
        let error = asks_over_tls(&ours, own).await.unwrap_err();
        assert!(matches!(error, HttpError::Tls { .. }) && error.to_string().contains(reason), "{error}");
    }
}

#[tokio::test]
async fn the_same_four_are_refused_for_a_torrent_file() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let (table, config) = secure(&ours);
    let http = Http::with_names(&config, table);
    for (own, is_good) in [
        (ours.sign("t.example", false), true),
        (ours.sign("t.example", true), false),
        (ours.sign("other.example", false), false),
        (self_signed("t.example"), false),
        (theirs.sign("t.example", false), false),
    ] {
        let addr = tls_server(own, vec![ok(b"de")]).await;
        let url = Url::parse(&format!("https://t.example:{}/a.torrent", addr.port())).unwrap();
        match fetch_torrent(&http, url).await {
            Ok(bytes) => assert!(is_good && bytes == b"de"),
            Err(error) => assert!(!is_good && matches!(error, FetchError::Http(HttpError::Tls { .. })), "{error}"),
        }
    }
}

#[test]
fn a_file_without_certificates_is_refused() {
    for pem in ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        assert!(Authorities::with_pem(pem.as_bytes()).is_err(), "{pem}");
    }
}

#[tokio::test]
async fn packed_answers_are_unpacked_and_an_unknown_packing_is_named() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(b"hello").unwrap();
    let packed = with("200 OK", "Content-Encoding: gzip\r\n", &encoder.finish().unwrap());
    let (addr, mut questions) = server(vec![packed, with("200 OK", "Content-Encoding: br\r\n", b"x")]).await;
    let url = format!("http://{addr}/");
    assert_eq!(http().get(get(&url, Named::ByUser)).await.unwrap().body, b"hello");
    assert!(questions.recv().await.unwrap().contains("Accept-Encoding: gzip\r\n"));
    let error = http().get(get(&url, Named::ByUser)).await.unwrap_err();
    assert!(error.to_string().contains("packed as br"), "{error}");
}

#[tokio::test]
async fn a_gibibyte_in_a_mebibyte_is_given_up_at_the_bound() {
    // 1 GiB of zeros; the client unpacks 2 MiB of it.
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let zeros = vec![0; 1 << 20];
    (0..1024).for_each(|_| encoder.write_all(&zeros).unwrap());
    let bomb = with("200 OK", "Content-Encoding: gzip\r\n", &encoder.finish().unwrap());
    assert!(bomb.len() < 2 << 20, "the packed form alone would not be refused");
    let (addr, _questions) = server(vec![bomb]).await;
    let before = Instant::now();
    let error = http().get(get(&format!("http://{addr}/"), Named::ByUser)).await.unwrap_err();
    assert!(matches!(error, HttpError::TooLong { .. }), "{error}");
    assert!(before.elapsed() < Duration::from_secs(1), "{:?}", before.elapsed());
}

/// A server that sends a head and then a byte each second, for ever.
async fn trickle() -> String {
    let listener = TcpListener::bind((HERE, 0)).await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = tcp.read(&mut request).await;
            let _ = tcp.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
            while tcp.write_all(b"d").await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    });
    url
}

#[tokio::test(start_paused = true)]
async fn a_byte_a_second_is_given_up_within_thirty_seconds() {
    let url = trickle().await;
    for patience in [Patience::Whole(Duration::from_secs(30)), Patience::Pace(Duration::from_secs(30))] {
        let before = tokio::time::Instant::now();
        let error = http().get(Get { patience, ..get(&url, Named::ByUser) }).await.unwrap_err();
        assert!(matches!(error, HttpError::Timeout { .. }), "{error}");
        assert!(before.elapsed() <= Duration::from_secs(31), "{:?}", before.elapsed());
    }
}

#[tokio::test]
async fn an_answer_of_the_name_server_that_changes_is_of_no_use() {
    let (addr, mut questions) = server(vec![ok(b"secret")]).await;
    let table = Arc::new(Table::default());
    // First it is shown to whoever looks, then the real one. Both are checked, since each request resolves for itself.
    table.insert("rebind.example", &[&["93.184.216.34"], &["127.0.0.1"]]);
    let http = Http::with_names(&HttpConfig::default(), table);
    let url = Url::parse(&format!("http://rebind.example:{}/announce", addr.port())).unwrap();
    let first = http.find(&url, Asked::Tracker, Named::ByTorrent, Vec::new()).await.unwrap();
    assert_eq!(first[0].ip().to_string(), "93.184.216.34");
    let error = http.get(get(url.as_str(), Named::ByTorrent)).await.unwrap_err();
    assert!(matches!(error, HttpError::Forbidden { .. }), "{error}");
    assert!(questions.try_recv().is_err());
}

#[tokio::test]
async fn credentials_go_to_their_own_origin_only() {
    let (second, mut others) = server(vec![ok(b"")]).await;
    let first = vec![servers::redirect("/again"), servers::redirect(&format!("http://eve:pw@{second}/x"))];
    let (first, mut own) = server(first).await;
    http().get(get(&format!("http://me:s%20t@{first}/a"), Named::ByUser)).await.unwrap();
    for _ in 0..2 {
        let question = own.recv().await.unwrap();
        assert!(question.contains("Authorization: Basic bWU6cyB0\r\n"), "{question}");
    }
    let question = others.recv().await.unwrap();
    assert!(!question.to_lowercase().contains("authorization"), "{question}");
}

#[tokio::test]
async fn a_chain_of_five_redirects_is_followed_and_one_of_six_is_not() {
    for (hops, arrives) in [(5, true), (6, false)] {
        let mut answers = vec![servers::redirect("/next"); hops];
        answers.push(ok(b"there"));
        let (addr, _questions) = server(answers).await;
        let got = http().get(get(&format!("http://{addr}/"), Named::ByUser)).await;
        assert_eq!(got.is_ok(), arrives, "{hops}: {got:?}");
    }
}

#[tokio::test]
async fn a_connection_is_asked_again_and_ranges_are_the_callers() {
    use hyper::header::RANGE;
    let listener = TcpListener::bind((HERE, 0)).await.unwrap();
    let url = Url::parse(&format!("http://{}/f", listener.local_addr().unwrap())).unwrap();
    tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        for body in ["ab", "cd"] {
            let mut request = vec![0; 4096];
            let read = tcp.read(&mut request).await.unwrap();
            assert!(String::from_utf8_lossy(&request[..read]).contains("Range: bytes="));
            tcp.write_all(&with("206 Partial Content", "", body.as_bytes())).await.unwrap();
        }
    });
    let http = http();
    let opened = http.open(&url, Asked::File, Named::ByUser, Vec::new()).await.unwrap();
    let mut connection = Connection::over(opened, &url).await.unwrap();
    for expected in ["ab", "cd"] {
        let range = [(RANGE, HeaderValue::from_static("bytes=0-1"))];
        let mut head = connection.send(&url, &range).await.unwrap();
        assert_eq!(head.status, 206);
        let mut body = Vec::new();
        while let Some(chunk) = connection.chunk(&mut head).await.unwrap() {
            body.extend_from_slice(&chunk);
        }
        assert_eq!(body, expected.as_bytes());
    }
}

#[tokio::test]
async fn a_page_is_no_torrent_file_and_a_torrent_file_is_one_whatever_it_is_called() {
    let html = "Content-Type: text/html; charset=utf-8\r\n";
    let answers = vec![
        with("200 OK", html, b"<!doctype html>"),
        with("200 OK", "", b"\n<html>"),
        with("200 OK", html, b"d4:infodee"),
        with("404 Not Found", html, b"<html>"),
    ];
    let (addr, _questions) = server(answers).await;
    let url = Url::parse(&format!("http://{addr}/a.torrent")).unwrap();
    let http = http();
    assert!(matches!(fetch_torrent(&http, url.clone()).await, Err(FetchError::Page)));
    assert!(matches!(fetch_torrent(&http, url.clone()).await, Err(FetchError::Page)));
    assert_eq!(fetch_torrent(&http, url.clone()).await.unwrap(), b"d4:infodee");
    let error = fetch_torrent(&http, url).await.unwrap_err();
    assert!(matches!(error, FetchError::Http(HttpError::Status { status: 404, .. })), "{error}");
}
