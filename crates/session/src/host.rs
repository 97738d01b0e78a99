//! The task that owns the process's `Host` machine.
use crate::session::Shared;
use crate::torrent::ToTorrent;
use shoal_machine::Rng;
use shoal_swarm::{Credit, Demand, Event};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use tokio::sync::mpsc;

/// A torrent's number within its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TorrentKey(pub(crate) u32);

/// What torrents and the session tell the host.
pub(crate) enum ToHost {
    /// A torrent's machine runs now.
    Added(TorrentKey, mpsc::UnboundedSender<ToTorrent>),
    /// It has ended.
    Removed(TorrentKey),
    /// What it would use.
    Demand(TorrentKey, Demand),
    /// It would dial.
    Dial(TorrentKey, SocketAddr),
    /// A dial that was allowed is over.
    DialEnded(TorrentKey),
    /// The user changed the limits.
    Limits { up: Option<u64>, down: Option<u64> },
    /// The session ends.
    Stop,
}

pub(crate) fn run(
    shared: &Shared,
    rng: Rng,
    mut told: mpsc::UnboundedReceiver<ToHost>,
) -> impl Future<Output = ()> + use<> {
    let _ = (&shared.config, rng);
    async move {
        let mut torrents = BTreeMap::new();
        while let Some(told) = told.recv().await {
            match told {
                ToHost::Added(key, inbox) => {
                    let credit = Credit { up: Credit::UNLIMITED, down: Credit::UNLIMITED };
                    let _ = inbox.send(ToTorrent::Event(Event::Credit(credit)));
                    let _ = inbox.send(ToTorrent::Event(Event::UploadSlots(8)));
                    torrents.insert(key, inbox);
                }
                ToHost::Removed(key) => drop(torrents.remove(&key)),
                ToHost::Dial(key, addr) => {
                    if let Some(inbox) = torrents.get(&key) {
                        let _ = inbox.send(ToTorrent::Dial(addr));
                    }
                }
                ToHost::Demand(..) | ToHost::DialEnded(_) | ToHost::Limits { .. } => {}
                ToHost::Stop => return,
            }
        }
    }
}
