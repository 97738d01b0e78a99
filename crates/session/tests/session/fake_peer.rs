//! A peer made of nothing but the wire's codec.

use crate::made::patiently;
use shoal_wire::{Decoded, Frame, Handshake, Limits, Message, RawBlock, decode, encode, encode_piece_header};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// One end of a connection.
pub(crate) struct FakePeer {
    tcp: TcpStream,
    unread: Vec<u8>,
    pub(crate) handshake: Handshake,
}

/// What a peer said.
#[derive(Debug)]
pub(crate) enum Said {
    Message(Message),
    Piece(RawBlock, Vec<u8>),
}

impl FakePeer {
    pub(crate) async fn dial(addr: SocketAddr, info_hash: [u8; 20]) -> FakePeer {
        FakePeer::greet(TcpStream::connect(addr).await.unwrap(), info_hash).await
    }

    /// Both handshakes, whoever dialed.
    pub(crate) async fn greet(mut tcp: TcpStream, info_hash: [u8; 20]) -> FakePeer {
        let mine = Handshake::new(info_hash, *b"-XX0000-aaaaaaaaaaaa", false, false);
        tcp.write_all(&mine.encode()).await.unwrap();
        let mut bytes = [0; Handshake::LENGTH];
        patiently(tcp.read_exact(&mut bytes)).await.unwrap();
        let handshake = Handshake::decode(&bytes).unwrap().unwrap();
        FakePeer { tcp, unread: Vec::new(), handshake }
    }

    pub(crate) async fn say(&mut self, message: &Message) {
        let mut bytes = Vec::new();
        encode(message, &mut bytes);
        self.write(&bytes).await;
    }

    pub(crate) async fn send_piece(&mut self, block: RawBlock, payload: &[u8]) {
        self.write(&[&encode_piece_header(block)[..], payload].concat()).await;
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        // The other side may have closed; the test sees that when it reads.
        let _ = self.tcp.write_all(bytes).await;
    }

    /// What it says next; `None` when it closed.
    pub(crate) async fn hear(&mut self) -> Option<Said> {
        loop {
            if let Some(said) = self.decode() {
                return Some(said);
            }
            let mut buffer = [0; 64 * 1024];
            match patiently(self.tcp.read(&mut buffer)).await {
                Ok(0) | Err(_) => return None,
                Ok(read) => self.unread.extend_from_slice(&buffer[..read]),
            }
        }
    }

    fn decode(&mut self) -> Option<Said> {
        let Decoded::Frame { consumed, frame } = decode(&self.unread, &Limits::UNKNOWN).unwrap() else { return None };
        let (said, used) = match frame {
            Frame::Message(message) => (Said::Message(message), consumed),
            Frame::Piece(block) => {
                let end = consumed + block.length as usize;
                (Said::Piece(block, self.unread.get(consumed..end)?.to_vec()), end)
            }
            Frame::Drain { message, length } => (Said::Message(message), consumed + length as usize),
        };
        if used > self.unread.len() {
            return None;
        }
        self.unread.drain(..used);
        Some(said)
    }

    /// The first message that is so; fails if it closes before.
    pub(crate) async fn hear_message(&mut self, is: impl Fn(&Message) -> bool) -> Message {
        loop {
            match self.hear().await.expect("the connection is open") {
                Said::Message(message) if is(&message) => return message,
                _ => {}
            }
        }
    }

    /// Serves whatever is asked for, until it closes; `change` may spoil what is sent.
    pub(crate) async fn seed(&mut self, data: &[u8], piece_length: usize, change: impl Fn(RawBlock, &mut Vec<u8>)) {
        self.say(&Message::HaveAll).await;
        self.say(&Message::Unchoke).await;
        while let Some(said) = self.hear().await {
            if let Said::Message(Message::Request(block)) = said {
                let start = block.piece as usize * piece_length + block.begin as usize;
                let mut payload = data[start..start + block.length as usize].to_vec();
                change(block, &mut payload);
                self.send_piece(block, &payload).await;
            }
        }
    }
}
