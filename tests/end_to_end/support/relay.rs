//! A relay before a peer that counts what the peer sends: what a download fetched, whatever became of it.

use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Listens for as long as the process lives; each of its threads ends with its connection.
pub(crate) struct Relay {
    pub(crate) addr: SocketAddr,
    sent: Arc<AtomicU64>,
    connections: Arc<AtomicU64>,
}

impl Relay {
    /// Passes connections to `ip` on to `peer`.
    pub(crate) fn before(peer: SocketAddr, ip: IpAddr) -> Relay {
        let listener = TcpListener::bind((ip, 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        let sent = Arc::new(AtomicU64::new(0));
        let connections = Arc::new(AtomicU64::new(0));
        let (counter, count) = (sent.clone(), connections.clone());
        std::thread::spawn(move || {
            for here in listener.incoming() {
                let (Ok(here), Ok(there)) = (here, TcpStream::connect(peer)) else { continue };
                let (Ok(here_too), Ok(there_too)) = (here.try_clone(), there.try_clone()) else { continue };
                count.fetch_add(1, Ordering::Relaxed);
                let counter = counter.clone();
                std::thread::spawn(move || pass(here_too, there_too, &AtomicU64::new(0)));
                std::thread::spawn(move || pass(there, here, &counter));
            }
        });
        Relay { addr, sent, connections }
    }

    /// Connections so far.
    pub(crate) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Bytes that the peer has sent so far, over all connections.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, counter: &AtomicU64) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
        counter.fetch_add(count as u64, Ordering::Relaxed);
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
