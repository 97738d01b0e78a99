//! What a rogue answers, and how wrong that is.

use super::{Misbehaviour, Rogue};
use crate::swarm::SwarmLocal;
use crate::swarm::content::Tag;
use crate::swarm::packet::SwarmPacket;
use crate::{LinkId, Port};
use shoal_layout::BLOCK_LENGTH;
use shoal_wire::{
    Decoded, Extended, Frame, Handshake, Limits, METADATA_PART, Message, MetadataMessage, RawBlock, decode, encode,
    encode_piece_header,
};

/// Blocks that one who stalls gives before. Chosen: enough to be trusted with a pipeline.
const BEFORE_STALLING: u32 = 20;

impl Rogue {
    /// Takes what arrived apart, and answers.
    pub(super) fn hear(&mut self, link: LinkId, bytes: &[u8], port: &mut Port<'_, SwarmPacket, SwarmLocal>) {
        let Some(talk) = self.links.get_mut(&link) else { return };
        talk.unread.extend_from_slice(bytes);
        if !talk.handshaken {
            if talk.unread.len() < Handshake::LENGTH {
                return;
            }
            talk.unread.drain(..Handshake::LENGTH);
            talk.handshaken = true;
        }
        let limits = Limits::for_pieces(self.content.pieces());
        loop {
            let Some(talk) = self.links.get_mut(&link) else { return };
            match decode(&talk.unread, &limits) {
                Ok(Decoded::Frame { consumed, frame }) => {
                    talk.unread.drain(..consumed);
                    if let Frame::Message(message) = frame {
                        self.answer(link, message, port);
                    }
                }
                Ok(Decoded::NeedMore(_)) => return,
                Err(_) => return talk.unread.clear(),
            }
        }
    }

    fn answer(&mut self, link: LinkId, message: Message, port: &mut Port<'_, SwarmPacket, SwarmLocal>) {
        let Some(talk) = self.links.get_mut(&link) else { return };
        match message {
            Message::Request(asked) => self.serve(link, asked, port),
            Message::HashRequest(range) if self.misbehaviour == Misbehaviour::ForgeHashes => {
                let mut bytes = Vec::new();
                let hashes = vec![[0x5a; 32]; (range.length.min(512) + range.proof_layers.min(20)) as usize];
                encode(&Message::Hashes(range, hashes), &mut bytes);
                port.send(link, SwarmPacket::Bytes(bytes.into()), None);
            }
            Message::Extended { message: Extended::Handshake(handshake), .. } => {
                talk.metadata_id = handshake.ut_metadata;
            }
            Message::Extended { message: Extended::Metadata(MetadataMessage::Request { piece }), .. }
                if self.misbehaviour == Misbehaviour::ForgeMetadata =>
            {
                let Some(id) = talk.metadata_id else { return };
                let mut info = self.content.info().bytes().to_vec();
                info[0] ^= 1;
                let begin = (piece as usize).saturating_mul(METADATA_PART).min(info.len());
                let end = (begin + METADATA_PART).min(info.len());
                let (total_size, data) = (info.len() as u64, info[begin..end].to_vec());
                let message = Extended::Metadata(MetadataMessage::Data { piece, total_size, data });
                let mut bytes = Vec::new();
                encode(&Message::Extended { id, message }, &mut bytes);
                port.send(link, SwarmPacket::Bytes(bytes.into()), None);
            }
            _ => {}
        }
    }

    fn serve(&mut self, link: LinkId, asked: RawBlock, port: &mut Port<'_, SwarmPacket, SwarmLocal>) {
        let layout = self.content.info().layout();
        let Some(block) = layout.block(asked.piece, asked.begin, asked.length) else { return };
        let Some(talk) = self.links.get_mut(&link) else { return };
        let (mut header, mut tag, mut times) = (encode_piece_header(asked), Tag { block, corrupt: false }, 1);
        match self.misbehaviour {
            Misbehaviour::Poison => tag.corrupt = true,
            Misbehaviour::Duplicate => times = 3,
            Misbehaviour::Misplace => {
                let other = RawBlock { begin: asked.begin ^ BLOCK_LENGTH, ..asked };
                let Some(block) = layout.block(other.piece, other.begin, other.length) else { return };
                (header, tag.block) = (encode_piece_header(other), block);
            }
            Misbehaviour::Stall if talk.served < BEFORE_STALLING => {}
            Misbehaviour::Flap if !talk.choking => {}
            Misbehaviour::Forget | Misbehaviour::Stingy | Misbehaviour::LiePex | Misbehaviour::FloodHaves => {}
            Misbehaviour::Reject | Misbehaviour::Flap => {
                let mut bytes = Vec::new();
                encode(&Message::Reject(asked), &mut bytes);
                return port.send(link, SwarmPacket::Bytes(bytes.into()), None);
            }
            _ => return,
        }
        talk.served += 1;
        for _ in 0..times {
            port.send(link, SwarmPacket::Piece { header, tag }, None);
        }
    }
}
