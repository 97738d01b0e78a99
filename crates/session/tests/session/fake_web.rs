//! A web server on loopback that serves one file, well or badly.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// How it serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Manner {
    Honest,
    /// The right answers with wrong bytes.
    Lies,
    /// All of the file, whatever part is asked for.
    IgnoresRanges,
    /// A head and then nothing.
    Stalls,
    /// A byte a second.
    Trickles,
    /// Half of what the head says, then it closes.
    Breaks,
    /// The right head and then bytes without an end.
    Endless,
    /// A redirect to this URL.
    Redirects(String),
    /// A redirect to itself.
    Loops,
    /// This status line, with these headers.
    Fails(&'static str),
    /// 503 and `Retry-After: 1` at first, then honest.
    BusyOnce,
    /// Honest, but closes after each answer.
    Closes,
}

pub(crate) struct FakeWeb {
    pub(crate) addr: SocketAddr,
    pub(crate) requests: Arc<AtomicUsize>,
    pub(crate) connections: Arc<AtomicUsize>,
}

impl FakeWeb {
    pub(crate) async fn start(manner: Manner, data: &[u8]) -> FakeWeb {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (requests, connections) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let data: Arc<[u8]> = data.into();
        let (asked, opened) = (requests.clone(), connections.clone());
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                opened.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(serve(tcp, manner.clone(), data.clone(), asked.clone()));
            }
        });
        FakeWeb { addr, requests, connections }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/some/file.bin", self.addr)
    }
}

async fn serve(mut tcp: TcpStream, manner: Manner, data: Arc<[u8]>, requests: Arc<AtomicUsize>) {
    loop {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            match tcp.read_u8().await {
                Ok(byte) => request.push(byte),
                Err(_) => return,
            }
        }
        let number = requests.fetch_add(1, Ordering::Relaxed);
        let request = String::from_utf8(request).unwrap().to_lowercase();
        let range = request.split("range: bytes=").nth(1).and_then(|rest| rest.lines().next()).expect("a range");
        let (first, last) = range.split_once('-').unwrap();
        let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
        // The client may hang up at any time.
        if answer(&mut tcp, &manner, &data, first, last, number).await.is_none() {
            return;
        }
    }
}

/// `None` when it is done with the connection.
async fn answer(
    tcp: &mut TcpStream,
    manner: &Manner,
    data: &[u8],
    first: usize,
    last: usize,
    number: usize,
) -> Option<()> {
    let total = data.len();
    let mut body = data[first..=last].to_vec();
    let mut head = format!(
        "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {first}-{last}/{total}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let empty = |head: String| (format!("{head}\r\nContent-Length: 0\r\n\r\n"), Vec::new());
    match manner {
        Manner::Honest | Manner::Stalls | Manner::Trickles | Manner::Breaks => {}
        Manner::Lies => body.fill(7),
        Manner::Endless => {
            head = format!("HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {first}-{last}/{total}\r\n\r\n");
        }
        Manner::IgnoresRanges => {
            body = data.to_vec();
            head = format!("HTTP/1.1 200 OK\r\nContent-Length: {total}\r\n\r\n");
        }
        Manner::Redirects(url) => (head, body) = empty(format!("HTTP/1.1 302 Found\r\nLocation: {url}")),
        Manner::Loops => (head, body) = empty("HTTP/1.1 302 Found\r\nLocation: /again".to_owned()),
        Manner::Fails(status) => (head, body) = empty(format!("HTTP/1.1 {status}")),
        Manner::BusyOnce if number == 0 => {
            (head, body) = empty("HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1".to_owned());
        }
        Manner::BusyOnce => {}
        Manner::Closes => head = head.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"),
    }
    tcp.write_all(head.as_bytes()).await.ok()?;
    match manner {
        Manner::Stalls => {
            // Until the client has enough of it.
            let _ = tcp.read_u8().await;
            None
        }
        Manner::Trickles => {
            for byte in body {
                tcp.write_all(&[byte]).await.ok()?;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            Some(())
        }
        Manner::Breaks => {
            tcp.write_all(&body[..body.len() / 2]).await.ok()?;
            None
        }
        Manner::Endless => loop {
            tcp.write_all(&body).await.ok()?;
        },
        Manner::Closes => {
            tcp.write_all(&body).await.ok()?;
            None
        }
        _ => tcp.write_all(&body).await.ok(),
    }
}
