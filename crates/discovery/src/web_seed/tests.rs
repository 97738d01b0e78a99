//! Fetches from servers on loopback.

use super::*;
use crate::Authorities;
use crate::HttpConfig;
use crate::http::tests::servers::{Authority, Table, self_signed, server, tls_server, with};
use shoal_layout::PieceIndex;

const DATA: &[u8] = b"0123456789abcdefghij";

/// A single file of 20 bytes in one piece.
fn info() -> Arc<Info> {
    let bytes = format!("d6:lengthi20e4:name1:a12:piece lengthi16384e6:pieces20:{}e", "x".repeat(20));
    Arc::new(Info::parse(bytes.as_bytes()).unwrap().0)
}

fn part(first: usize, last: usize) -> Vec<u8> {
    let range = format!("Content-Range: bytes {first}-{last}/20\r\n");
    with("206 Partial Content", &range, &DATA[first..=last])
}

async fn fetch(seed: &Arc<WebSeed>) -> Result<Vec<u8>, FetchFailure> {
    let mut stream = seed.fetch(&[BlockRef { piece: PieceIndex(0), begin: 0, length: 20 }]);
    let mut all = Vec::new();
    while let Some(bytes) = stream.next().await? {
        all.extend_from_slice(&bytes);
    }
    Ok(all)
}

#[tokio::test]
async fn a_good_certificate_is_believed_and_four_bad_ones_end_a_web_seed_s_use() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    for (own, reason) in [
        (ours.sign("t.example", false), None),
        (ours.sign("t.example", true), Some("has expired")),
        (ours.sign("other.example", false), Some("is for another name")),
        (self_signed("t.example"), Some("signed by itself")),
        (theirs.sign("t.example", false), Some("an authority that is not known")),
    ] {
        let table = Arc::new(Table::default());
        table.insert("t.example", &[&["127.0.0.1"]]);
        let authorities = Authorities::with_pem(ours.pem()).unwrap();
        let http = Http::with_names(&HttpConfig { authorities, ..HttpConfig::default() }, table);
        let addr = tls_server(own, vec![part(0, 19)]).await;
        let url = format!("https://t.example:{}/a", addr.port());
        match (fetch(&WebSeed::new(&http, &url, Named::ByUser, info())).await, reason) {
            (Ok(bytes), None) => assert_eq!(bytes, DATA),
            (Err(failure), Some(reason)) => {
                assert!(failure.error.text.contains(reason), "{failure:?}");
                assert_eq!((failure.fault, failure.error.kind), (FetchFault::Useless, SourceErrorKind::Tls));
            }
            (other, _) => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn what_a_short_answer_leaves_out_is_asked_for_again() {
    let (addr, mut asked) = server(vec![part(0, 7), part(8, 8), part(9, 19)]).await;
    let http = Http::new(&HttpConfig::default());
    let seed = WebSeed::new(&http, &format!("http://{addr}/a"), Named::ByUser, info());
    assert_eq!(fetch(&seed).await.unwrap(), DATA);
    for range in ["bytes=0-19", "bytes=8-19", "bytes=9-19"] {
        let request = asked.recv().await.unwrap().to_lowercase();
        assert!(request.contains(&format!("range: {range}\r\n")), "{request}");
        assert!(request.contains("accept-encoding: identity\r\n"), "{request}");
    }
}

#[tokio::test]
async fn a_redirect_from_a_public_name_to_this_machine_is_not_followed() {
    // The address of the first hop is public only by the rule's table; what the second hop is asked for must not arrive.
    let (private, mut asked) = server(vec![part(0, 19)]).await;
    let http = Http::new(&HttpConfig::default());
    let seed = WebSeed::new(&http, "http://a.example/", Named::ByTorrent, info());
    let hop = Place {
        url: Url::parse(&format!("http://{private}/a")).unwrap(),
        named: Named::ByRedirect(crate::networks::Scope::Public),
    };
    let range = FileRange { file: FileIndex(0), first: 0, length: 20 };
    let error = seed.ask_at(&hop, &range).await.err().unwrap();
    assert!(matches!(error, HttpError::Forbidden { .. }), "{error}");
    assert_eq!(failure(error, &range).fault, FetchFault::Useless);
    assert!(asked.try_recv().is_err());
}
