//! One connection: handshake, reader, writer.
//!
//! The torrent's task owns the connection's task; it in turn owns the writer's. Whichever half ends first ends the other
//! by closing the stream or the outbox, and the last thing that a connection says is that it is gone.

mod grants;
mod handshake;
mod outbox;
mod reader;
mod stream;
mod writer;

pub(crate) use grants::{GrantBook, Grants};
pub(crate) use handshake::{Opened, accept, open};
pub(crate) use outbox::Outbox;
pub(crate) use stream::PeerStream;

use crate::disk::UploadSource;
use crate::torrent::{FromPeer, ToTorrent};
use reader::Reader;
use shoal_swarm::{Direction, PeerKey};
use shoal_wire::{Handshake, Limits};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use writer::Writer;

/// What a connection needs of its torrent.
#[derive(Clone)]
pub(crate) struct Ports {
    /// Batches of events, bounded.
    pub(crate) batches: mpsc::Sender<FromPeer>,
    /// Reports, bounded by what was ordered.
    pub(crate) reports: mpsc::UnboundedSender<ToTorrent>,
    pub(crate) source: UploadSource,
}

/// What the torrent's task keeps of a connection.
pub(crate) struct Connection {
    pub(crate) addr: SocketAddr,
    pub(crate) direction: Direction,
    pub(crate) handshake: Handshake,
    pub(crate) outbox: Outbox,
    pub(crate) grants: GrantBook,
    /// For closing it from outside.
    pub(crate) stream: Arc<PeerStream>,
}

/// Runs an opened connection until it is closed by either side.
pub(crate) async fn run(peer: PeerKey, opened: Opened, direction: Direction, limits: Limits, ports: Ports) {
    let Opened { stream, addr, handshake, leftover } = opened;
    let stream = Arc::new(stream);
    let (outbox, grants) = (Outbox::default(), Grants::default());
    let connection = Connection {
        addr,
        direction,
        handshake,
        outbox: outbox.clone(),
        grants: GrantBook::new(grants.clone()),
        stream: stream.clone(),
    };
    if ports.batches.send(FromPeer::Connected(peer, Box::new(connection))).await.is_err() {
        return;
    }
    let pool = ports.source.pool.clone();
    let writer =
        Writer { peer, outbox: outbox.clone(), stream: stream.clone(), source: ports.source, reports: ports.reports };
    // In a set of its own, so that it ends even if this task is cut short.
    let mut halves = JoinSet::new();
    halves.spawn(writer.run());
    let end = Reader::new(peer, grants, pool, limits, &leftover).run(&stream, &ports.batches).await;
    tracing::debug!(%addr, %end, "connection closed");
    outbox.close();
    stream.close();
    // It may be lingering for this very end.
    halves.shutdown().await;
    // An error means that the torrent has ended.
    let _ = ports.batches.send(FromPeer::Gone(peer)).await;
}
