//! A tracker in thirty lines: it remembers who announced and names them all, itself checking nothing.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

pub(crate) struct FakeTracker {
    pub(crate) addr: SocketAddr,
    /// Each request's target, as it came.
    pub(crate) asked: mpsc::UnboundedReceiver<String>,
}

impl FakeTracker {
    pub(crate) async fn start() -> FakeTracker {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (tell, asked) = mpsc::unbounded_channel();
        let ports = Arc::new(Mutex::new(Vec::<u16>::new()));
        tokio::spawn(async move {
            while let Ok((mut tcp, _)) = listener.accept().await {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    match tcp.read_u8().await {
                        Ok(byte) => request.push(byte),
                        Err(_) => break,
                    }
                }
                let target = String::from_utf8_lossy(&request).split(' ').nth(1).unwrap_or_default().to_owned();
                let port = target.split("&port=").nth(1).and_then(|rest| rest.split('&').next()?.parse().ok());
                let mut known = ports.lock().unwrap().clone();
                if let Some(port) = port
                    && !known.contains(&port)
                {
                    known.push(port);
                    *ports.lock().unwrap() = known.clone();
                }
                let peers: Vec<u8> =
                    known.iter().flat_map(|port| [&[127, 0, 0, 1], &port.to_be_bytes()[..]].concat()).collect();
                let mut body = format!("d8:intervali1800e5:peers{}:", peers.len()).into_bytes();
                body.extend(peers);
                body.push(b'e');
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                let _ = tell.send(target);
                let _ = tcp.write_all(&[head.as_bytes(), &body].concat()).await;
            }
        });
        FakeTracker { addr, asked }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/announce", self.addr)
    }
}
