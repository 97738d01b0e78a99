//! The `mainline` crate as a node.
//!
//! What is known of it (8.0): it runs on a thread of its own that wakes every 50 ms; `build` waits for that thread, so it is called
//! off the runtime; it speaks IPv4 only; it asks and does not answer until it ran for 15 minutes at an address that others can
//! reach; as a server it takes no transaction ids but of 4 bytes, so libtorrent's nodes (2 bytes) cannot ask it, while it asks
//! them; it bounds no answers by itself, for which there is `filter.rs`; it sends to whatever address other nodes name,
//! private ones too. Its calls panic when its thread has ended; here that becomes [`DhtError::Ended`].

use super::filter::{Answers, Question};
use super::{DhtError, DhtNode, Later, NodeStatus};
use crate::networks::{Scope, peer_allowed};
use mainline::async_dht::AsyncDht;
use mainline::{Id, RequestFilter, RequestSpecific, ServerSettings};
use std::fmt::Write as _;
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::sync::mpsc;

/// Batches of peers that wait for whoever looks them up; the rest waits in the node.
const BATCHES: usize = 16;
/// What a node keeps for others (reliability.md C5: 32 MiB at most): 100,000 peers of about 120 bytes each, 1,000 values of
/// about 1,200.
const MAX_INFO_HASHES: usize = 1_000;
const MAX_PEERS: usize = 100;
const MAX_VALUES: usize = 500;
/// A value as bencoded (BEP 44).
const MAX_VALUE_BYTES: usize = 1_000 - 5;

/// A running node. Dropped, its thread ends within 50 ms, unless a lookup still runs.
pub(super) struct Mainline {
    dht: AsyncDht,
}

#[derive(Debug, Clone)]
struct Filter {
    answers: Arc<Mutex<Answers>>,
    allow_private_networks: bool,
}

impl RequestFilter for Filter {
    fn allow_request(&self, request: &RequestSpecific, from: SocketAddrV4) -> bool {
        // A sender on our own network is most likely forged.
        if !peer_allowed(Scope::Public, SocketAddr::V4(from), self.allow_private_networks) {
            return false;
        }
        let question = question(request);
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).allow(Instant::now(), *from.ip(), question)
    }
}

/// The crate does not export the type of requests, so they are told apart by the name that they print first; the rest is not
/// printed. What is unknown counts as the longest.
fn question(request: &RequestSpecific) -> Question {
    let mut name = FirstWord(String::new());
    // An error ends the printing.
    let _ = write!(name, "{:?}", request.request_type);
    match name.0.as_str() {
        "Ping" | "Put" => Question::Ping,
        "FindNode" => Question::Nodes,
        "GetPeers" => Question::Peers,
        _ => Question::Value,
    }
}

/// Takes the first thing that is written.
struct FirstWord(String);

impl std::fmt::Write for FirstWord {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        if !self.0.is_empty() {
            return Err(std::fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

impl Mainline {
    /// Builds one and waits for its thread: not to be called on the runtime. Port 0: any. `serves`: it
    /// answers others from the start, without having found out whether they can reach it.
    pub(super) fn build(
        ip: Ipv4Addr,
        port: u16,
        bootstrap: &[SocketAddr],
        allow_private_networks: bool,
        serves: bool,
    ) -> io::Result<Mainline> {
        let answers = Arc::new(Mutex::new(Answers::new(Instant::now())));
        let settings = ServerSettings {
            max_info_hashes: MAX_INFO_HASHES,
            max_peers_per_info_hash: MAX_PEERS,
            max_immutable_values: MAX_VALUES,
            max_mutable_values: MAX_VALUES,
            filter: Box::new(Filter { answers, allow_private_networks }),
        };
        let mut builder = mainline::Dht::builder();
        builder.bootstrap(bootstrap).bind_address(ip).port(port).server_settings(settings);
        if serves {
            builder.server_mode();
        }
        Ok(Mainline { dht: builder.build()?.as_async() })
    }

    /// Asks the node in a task of its own, since its calls panic when its thread has ended.
    fn ask<T, F, Fut>(&self, ask: F) -> Later<'_, Result<T, DhtError>>
    where
        T: Send + 'static,
        F: FnOnce(AsyncDht) -> Fut + Send + 'static,
        Fut: Future<Output = T> + Send + 'static,
    {
        let dht = self.dht.clone();
        Box::pin(async move { tokio::spawn(ask(dht)).await.map_err(|_| DhtError::Ended) })
    }
}

fn id(bytes: [u8; 20]) -> Id {
    Id::from(bytes)
}

impl DhtNode for Mainline {
    fn peers(&self, hash: [u8; 20]) -> Later<'_, mpsc::Receiver<Vec<SocketAddr>>> {
        let (batches, found) = mpsc::channel(BATCHES);
        let dht = self.dht.clone();
        Box::pin(async move {
            // Ends by itself: with the lookup, or when nobody takes what it finds.
            tokio::spawn(async move {
                let mut stream = dht.get_peers(id(hash));
                drop(dht);
                while let Some(peers) = next(&mut stream).await {
                    let peers = peers.into_iter().map(SocketAddr::V4).collect();
                    if batches.send(peers).await.is_err() {
                        break;
                    }
                }
            });
            found
        })
    }

    fn announce(&self, hash: [u8; 20], port: u16) -> Later<'_, Result<(), DhtError>> {
        let asked = self.ask(move |dht: AsyncDht| async move { dht.announce_peer(id(hash), Some(port)).await });
        Box::pin(async move { asked.await?.map(drop).map_err(|_| DhtError::Silent) })
    }

    fn put(&self, value: Vec<u8>) -> Later<'_, Result<[u8; 20], DhtError>> {
        if value.len() > MAX_VALUE_BYTES {
            return Box::pin(std::future::ready(Err(DhtError::TooLong)));
        }
        let asked = self.ask(move |dht: AsyncDht| async move { dht.put_immutable(&value).await });
        Box::pin(async move { asked.await?.map(|name| *name.as_bytes()).map_err(|_| DhtError::Silent) })
    }

    fn get(&self, name: [u8; 20]) -> Later<'_, Option<Vec<u8>>> {
        let asked = self.ask(move |dht: AsyncDht| async move { dht.get_immutable(id(name)).await });
        Box::pin(async move { asked.await.ok().flatten().map(<[u8]>::into_vec) })
    }

    fn status(&self) -> Later<'_, Result<NodeStatus, DhtError>> {
        let asked = self.ask(|dht: AsyncDht| async move { (dht.info().await, dht.to_bootstrap().await.len()) });
        Box::pin(async move {
            let (info, nodes) = asked.await?;
            Ok(NodeStatus {
                id: *info.id().as_bytes(),
                port: info.local_addr().port(),
                nodes,
                firewalled: info.firewalled(),
                serves: info.server_mode(),
                public_address: info.public_address().map(SocketAddr::V4),
                size_estimate: info.dht_size_estimate().0,
            })
        })
    }

    fn known(&self) -> Later<'_, Result<Vec<SocketAddr>, DhtError>> {
        let asked = self.ask(|dht: AsyncDht| async move { dht.to_bootstrap().await });
        Box::pin(async move { Ok(asked.await?.iter().filter_map(|text| text.parse().ok()).collect()) })
    }
}

/// The next item of a stream, without a crate for it.
async fn next<T>(stream: &mut mainline::async_dht::GetStream<T>) -> Option<T> {
    use futures_core::Stream;
    std::future::poll_fn(|context| std::pin::Pin::new(&mut *stream).poll_next(context)).await
}

#[cfg(test)]
mod tests;
