//! What arrives on a link: handshake, frames, blocks against grants.

use super::{Drained, PeerSite};
use crate::swarm::SwarmLocal;
use crate::swarm::content::{Payload, Tag};
use crate::swarm::packet::SwarmPacket;
use crate::swarm::process::{ProcessEvent, SWARM};
use crate::{LinkId, Port};
use shoal_swarm::{Direction, Event, HostEvent, PeerKey};
use shoal_wire::{Decoded, Frame, Handshake, Limits, RawBlock, decode};
use std::collections::VecDeque;

impl PeerSite {
    /// Takes what arrived on a link apart. A peer's fault closes the link.
    pub(super) fn arrived(
        &mut self,
        link: LinkId,
        packet: SwarmPacket,
        port: &mut Port<'_, SwarmPacket, SwarmLocal>,
        events: &mut VecDeque<ProcessEvent>,
    ) {
        let (bytes, tag) = match &packet {
            SwarmPacket::Bytes(bytes) => (&bytes[..], None),
            SwarmPacket::Piece { header, tag } => (&header[..], Some(*tag)),
            SwarmPacket::Announce(_) | SwarmPacket::Answer(_) => return,
        };
        let Some(connection) = self.connections.get_mut(link) else { return };
        let mut joined = std::mem::take(&mut connection.unread);
        // Most messages come whole, and are read where they lie.
        let mut left = if joined.is_empty() {
            bytes
        } else {
            joined.extend_from_slice(bytes);
            &joined
        };
        if self.read(link, &mut left, tag, port, events).is_none() {
            port.reset(link);
            self.closed(link, events);
        } else if !left.is_empty()
            && let Some(connection) = self.connections.get_mut(link)
        {
            connection.unread = left.to_vec();
        }
    }

    /// Reads frames while there are any; `None` if the peer broke the protocol.
    fn read(
        &mut self,
        link: LinkId,
        unread: &mut &[u8],
        mut tag: Option<Tag>,
        port: &mut Port<'_, SwarmPacket, SwarmLocal>,
        events: &mut VecDeque<ProcessEvent>,
    ) -> Option<()> {
        loop {
            let Some(connection) = self.connections.get_mut(link) else { return Some(()) };
            if let Some(draining) = &mut connection.draining {
                let left = &mut draining.0;
                let now = (*left).min(unread.len() as u64);
                *unread = &unread[now as usize..];
                *left -= now;
                if *left > 0 {
                    return Some(());
                }
                let peer = connection.key?;
                match connection.draining.take().map(|drained| drained.1) {
                    Some(Drained::Message(message)) => events.push_back(Event::Message { peer, message }.into()),
                    Some(Drained::Block(block)) => self.unrequested(peer, block, events),
                    None => {}
                }
                continue;
            }
            let Some(peer) = connection.key else {
                match Handshake::decode(unread).ok()? {
                    None => return Some(()),
                    Some(handshake) => {
                        *unread = &unread[Handshake::LENGTH..];
                        self.shake_hands(link, handshake, port, events)?;
                        continue;
                    }
                }
            };
            if unread.is_empty() {
                return Some(());
            }
            let limits = if self.knows_info { Limits::for_pieces(self.content.pieces()) } else { Limits::UNKNOWN };
            let (consumed, frame) = match decode(unread, &limits).ok()? {
                Decoded::Frame { consumed, frame } => (consumed, frame),
                Decoded::NeedMore(least) => {
                    if least > limits.max_frame_bytes() {
                        self.violated(|| format!("the decoder asks for {least} bytes (I5)"));
                    }
                    return Some(());
                }
            };
            *unread = &unread[consumed..];
            match frame {
                Frame::Message(message) => events.push_back(Event::Message { peer, message }.into()),
                Frame::Drain { message, length } => {
                    connection.draining = Some(Box::new((u64::from(length), Drained::Message(message))));
                }
                Frame::Piece(raw) => match tag.take_if(|_| unread.is_empty()) {
                    Some(tag) => self.block(link, peer, raw, tag, events),
                    None => connection.draining = Some(Box::new((u64::from(raw.length), Drained::Block(raw)))),
                },
            }
        }
    }

    pub(super) fn shake_hands(
        &mut self,
        link: LinkId,
        mut handshake: Handshake,
        port: &mut Port<'_, SwarmPacket, SwarmLocal>,
        events: &mut VecDeque<ProcessEvent>,
    ) -> Option<()> {
        self.content.info().hashes().all_wire().find(|&hash| hash == handshake.info_hash)?;
        self.forget_extensions(&mut handshake);
        let ours = self.our_handshake();
        let connection = self.connections.get_mut(link)?;
        if connection.direction == Direction::Incoming {
            port.send(link, ours, None);
        }
        let peer = PeerKey(self.next_key);
        self.next_key += 1;
        connection.key = Some(peer);
        self.links.insert(peer, link);
        self.record.connections += 1;
        let (addr, direction) = (connection.addr, connection.direction);
        if direction == Direction::Outgoing {
            events.push_back(HostEvent::DialEnded(SWARM).into());
        }
        events.push_back(HostEvent::Opened(SWARM).into());
        events.push_back(Event::Connected { peer, addr, direction, handshake }.into());
        Some(())
    }

    pub(super) fn block(
        &mut self,
        link: LinkId,
        peer: PeerKey,
        raw: RawBlock,
        tag: Tag,
        events: &mut VecDeque<ProcessEvent>,
    ) {
        let Some(connection) = self.connections.get_mut(link) else { return };
        let block = self.content.info().layout().block(raw.piece, raw.begin, raw.length);
        match block.filter(|block| connection.grants.remove(block)) {
            Some(block) => {
                let bytes = u64::from(block.length);
                self.received_bytes += bytes;
                self.record.downloaded_bytes += bytes;
                let payload = Payload::new(tag, &self.held_bytes);
                events.push_back(Event::Block { peer, block, payload }.into());
            }
            None => self.unrequested(peer, raw, events),
        }
    }

    fn unrequested(&mut self, peer: PeerKey, block: RawBlock, events: &mut VecDeque<ProcessEvent>) {
        self.unrequested_bytes += u64::from(block.length);
        events.push_back(Event::Unrequested { peer, block }.into());
    }
}
