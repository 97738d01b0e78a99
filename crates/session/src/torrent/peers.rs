//! What connections bring to a torrent, and new connections.

use super::{FromPeer, TorrentTask};
use crate::peer::{self, Opened};
use crate::pool::Block;
use shoal_discovery::networks::{Scope, peer_allowed};
use shoal_swarm::{Direction, Event, HostEvent, PeerKey};
use shoal_wire::{Extended, Limits, Message};

impl TorrentTask {
    pub(super) fn receive_batch(&mut self, batch: FromPeer) {
        match batch {
            FromPeer::Connected(peer, connection) => {
                let (addr, direction, handshake) = (connection.addr, connection.direction, connection.handshake);
                self.connections.insert(peer, *connection);
                self.tell_host(HostEvent::Opened(self.key));
                self.feed(Event::Connected { peer, addr, direction, handshake });
            }
            FromPeer::Events(peer, events) => self.receive_events(peer, events),
            FromPeer::Fetched(events) => self.fetched(events),
            FromPeer::Gone(peer) => {
                self.closing.remove(&peer);
                if self.connections.remove(&peer).is_some() {
                    self.tell_host(HostEvent::Closed(self.key));
                    self.feed(Event::Disconnected { peer });
                }
            }
        }
        // A batch may ask for much: its answers should not wait for the next.
        self.carry_out();
    }

    pub(super) fn receive_events(&mut self, peer: PeerKey, events: Vec<Event<Block>>) {
        for event in events {
            if self.closing.contains(&peer) {
                return;
            }
            let Some(connection) = self.connections.get_mut(&peer) else { return };
            let event = match event {
                Event::Block { block, .. } if !connection.grants.arrived(block) => {
                    let raw = shoal_wire::RawBlock { piece: block.piece.0, begin: block.begin, length: block.length };
                    Event::Unrequested { peer, block: raw }
                }
                Event::Message { peer, mut message } => {
                    self.leave_out_forbidden(&mut message);
                    Event::Message { peer, message }
                }
                Event::UploadFailed { block, lost: true, .. } => {
                    // Its journal's lock may be held by a sync, so not on this thread.
                    if let Some(files) = self.files.clone() {
                        self.shared.disk.run(move || files.lost(block.piece));
                    }
                    event
                }
                other => other,
            };
            self.feed(event);
        }
    }

    /// Peers that other peers name are bound by the rule on private networks.
    fn leave_out_forbidden(&self, message: &mut Message) {
        if let Message::Extended { message: Extended::Pex(pex), .. } = message {
            let config = &self.shared.config;
            let by = if config.lan_only { Scope::Private } else { Scope::Public };
            pex.added.retain(|peer| peer_allowed(by, peer.addr, config.allow_private_networks));
        }
    }

    pub(super) fn connect(&mut self, opened: Opened, direction: Direction) {
        let peer = PeerKey(self.next_peer);
        // 2^32 connections of one torrent take years; the machine must never see a number twice.
        let Some(next) = self.next_peer.checked_add(1) else { return };
        self.next_peer = next;
        let limits = match &self.files {
            Some(files) => Limits::for_pieces(files.storage.layout().pieces()),
            None => Limits::UNKNOWN,
        };
        let ports = self.ports.clone();
        let mine = self.handshake(opened.handshake.info_hash);
        let timeout = self.shared.config.handshake_timeout;
        self.tasks.spawn(async move {
            if direction == Direction::Incoming {
                let sent = tokio::time::timeout(timeout, opened.stream.write_all(&mine.encode())).await;
                if !matches!(sent, Ok(Ok(()))) {
                    return;
                }
            }
            peer::run(peer, opened, direction, limits, ports).await;
        });
    }
}
