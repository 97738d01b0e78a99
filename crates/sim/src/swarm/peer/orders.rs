//! What the swarm orders, carried out.

use super::{PeerSite, TRACKER_TIMEOUT, Upload};
use crate::Port;
use crate::swarm::SwarmLocal;
use crate::swarm::content::{Payload, Tag};
use crate::swarm::disk::Read;
use crate::swarm::packet::{Announce, LinkBytes, SwarmPacket};
use crate::swarm::process::{ProcessEvent, SWARM};
use shoal_layout::{BlockRef, FileIndex};
use shoal_machine::Time;
use shoal_swarm::{Effect, Event, HostEvent, Notice, PeerKey, TrackerKey};
use shoal_wire::{RawBlock, encode, encode_piece_header};
use std::collections::VecDeque;

impl PeerSite {
    /// Carries out what the swarm orders.
    pub(super) fn carry_out_swarm(
        &mut self,
        now: Time,
        effect: Effect<Payload>,
        port: &mut Port<'_, SwarmPacket, SwarmLocal>,
        events: &mut VecDeque<ProcessEvent>,
    ) {
        let named = effect.peer();
        let link = named.and_then(|peer| self.links.get(peer));
        // A link may have ended within this very happening; the machine cannot know before it is told.
        let told_soon = |events: &VecDeque<ProcessEvent>, gone: PeerKey| {
            let mut events = events.iter();
            events.any(|event| matches!(event, ProcessEvent::Swarm(Event::Disconnected { peer }) if *peer == gone))
        };
        if let (Some(peer), None) = (named, link) {
            if !told_soon(events, peer) {
                self.violated(|| format!("an effect for {peer:?}, who is gone (I9)"));
            }
            return;
        }
        match (effect, link) {
            (Effect::Send { message, .. }, Some(link)) => {
                self.check_message(&message);
                self.encoded.clear();
                encode(&message, &mut self.encoded);
                port.send(link, SwarmPacket::Bytes(LinkBytes::from_slice(&self.encoded)), None);
            }
            (Effect::Grant { block, .. }, Some(link)) => {
                let new = self.connections.get_mut(link).is_some_and(|connection| connection.grants.insert(block));
                if !new {
                    self.violated(|| format!("{block:?} is granted twice"));
                }
            }
            (Effect::Revoke { block, .. }, Some(link)) => {
                if let Some(connection) = self.connections.get_mut(link) {
                    connection.grants.remove(&block);
                }
            }
            (Effect::Upload { peer, block }, Some(link)) => {
                if !self.disk.has(block.piece) {
                    self.violated(|| format!("{block:?} is served and not on the disk (I3)"));
                }
                let token = self.next_token;
                self.next_token += 1;
                self.uploads.insert(token, Upload { peer, link, block, reading: true });
                port.later(self.disk.setup.read, SwarmLocal::Read { token });
            }
            (Effect::CancelUpload { peer, block }, Some(_)) => self.cancel_upload(peer, block, port, events),
            (Effect::Disconnect { peer, .. }, Some(link)) => {
                // From here on the machine is not to name it; `Disconnected` comes when the link is closed.
                self.links.remove(peer);
                self.uploads.retain(|_, upload| upload.peer != peer);
                port.close(link);
            }
            (Effect::Dial { addr }, _) => events.push_back(HostEvent::DialWanted(SWARM, addr).into()),
            (Effect::Fetch { seed, fetch, blocks }, _) => self.begin_fetch(seed, fetch, blocks, port),
            (Effect::CancelFetch { fetch }, _) => self.cancel_fetch(fetch),
            (Effect::Store { piece, expected, blocks, digests }, _) => {
                let right = self.content.info().piece_hashes(piece, self.content.layers());
                // A hybrid's pieces may be checked by v1 alone while the piece layer has not come: v1 peers have none.
                let fits = right.is_some_and(|right| {
                    expected.v1 == right.v1
                        && (expected.v2 == right.v2 || (right.v1.is_some() && expected.v2.is_none()))
                });
                if !fits {
                    self.violated(|| format!("{piece:?} is to be compared with hashes that are not its own"));
                }
                if self.disk.has(piece) {
                    self.violated(|| format!("{piece:?} is stored again"));
                }
                port.later(self.disk.setup.write, SwarmLocal::Store { piece, blocks, digests });
            }
            (Effect::ReadLeaves { piece }, _) => port.later(self.disk.setup.read, SwarmLocal::Leaves { piece }),
            (Effect::Metadata { bytes }, _) => {
                if bytes != self.content.info().bytes() {
                    self.violated(|| "metadata that is not this torrent's".to_owned());
                }
                self.knows_info = true;
                port.later(self.disk.setup.write, SwarmLocal::Prepared);
            }
            (Effect::Layers(layers), _) => {
                let info = self.content.info();
                let mut files = (0..info.layout().files()).map(FileIndex);
                if files
                    .any(|file| layers.get(file).is_some_and(|layer| self.content.layers().get(file) != Some(layer)))
                {
                    self.violated(|| "piece layers that are not this torrent's".to_owned());
                }
            }
            (Effect::Announce { tracker: TrackerKey(tracker), request }, _) => {
                let announce = self.next_token;
                self.next_token += 1;
                self.announces.insert(tracker, announce);
                port.later(TRACKER_TIMEOUT, SwarmLocal::TrackerTimeout { tracker, announce });
                if let Some(&node) = self.trackers.get(tracker as usize) {
                    port.datagram(node, SwarmPacket::Announce(Announce::new(tracker, &request)));
                }
            }
            (Effect::Notice(notice), _) => {
                if let (Notice::Complete, Some(after)) = (&notice, self.setup.leaves_after) {
                    port.later(after, SwarmLocal::Leave);
                }
                self.notice(now, notice);
            }
            // No scenario has a model of these sources, so none is switched on.
            (Effect::Seek { .. } | Effect::DhtNode { .. }, _) => {}
            (Effect::Demand(demand), _) => events.push_back(HostEvent::Demand(SWARM, demand).into()),
            (_, None) => {}
        }
    }

    pub(super) fn upload_read(
        &mut self,
        token: u64,
        port: &mut Port<'_, SwarmPacket, SwarmLocal>,
        events: &mut VecDeque<ProcessEvent>,
    ) {
        let Some(upload) = self.uploads.get_mut(&token) else { return };
        upload.reading = false;
        let Upload { link, block, peer, .. } = *upload;
        let read = self.disk.read(block.piece);
        if read != Read::Right {
            self.uploads.remove(&token);
            events.push_back(Event::UploadFailed { peer, block, lost: read == Read::Lost }.into());
            return;
        }
        let raw = RawBlock { piece: block.piece.0, begin: block.begin, length: block.length };
        let corrupt = self.setup.lies > 0.0 && self.rng.chance(self.setup.lies);
        let packet = SwarmPacket::Piece { header: encode_piece_header(raw), tag: Tag { block, corrupt } };
        port.send(link, packet, Some(token));
    }

    pub(super) fn cancel_upload(
        &mut self,
        peer: PeerKey,
        block: BlockRef,
        port: &mut Port<'_, SwarmPacket, SwarmLocal>,
        events: &mut VecDeque<ProcessEvent>,
    ) {
        let found = self.uploads.iter().find(|(_, upload)| upload.peer == peer && upload.block == block);
        let Some((&token, &upload)) = found else { return };
        if upload.reading || port.unsend(upload.link, token).is_some() {
            self.uploads.remove(&token);
            events.push_back(Event::Uploaded { peer, block }.into());
        }
    }
}
