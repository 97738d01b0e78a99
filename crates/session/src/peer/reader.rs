//! From a socket to events.
//!
//! Headers and small messages go through a small buffer; a granted payload goes straight into a block of the pool. While a
//! block is filled, one `readv` takes the rest of it and the next header behind it, so that a stream of blocks costs one
//! system call and some tens of copied bytes each. Payload without a grant is drained.
//!
//! All that one readable turn gave goes to the swarm's task in one batch, over a bounded channel: a swarm that is behind
//! stops its readers, and the peers behind them.
//!
//! Invariants: the buffer never grows beyond what the wire's limits allow a frame to be; a batch holds at most
//! [`BATCH_BYTES`] of payload and [`BATCH_EVENTS`] events.

use super::grants::Grants;
use super::stream::PeerStream;
use crate::pool::{Block, BlockPool};
use crate::torrent::FromPeer;
use shoal_layout::BlockRef;
use shoal_swarm::{Event, PeerKey};
use shoal_wire::{Decoded, Frame, Limits, RawBlock, WireError, decode};
use std::io::{self, IoSliceMut};
use tokio::sync::mpsc;

/// Bytes of the buffer at rest: any message of a fixed length and the usual extension handshake. Chosen.
const BUFFER_BYTES: usize = 4 * 1024;
/// Bytes read beyond the end of a block: the next header and the small messages that often stand before it. What is read
/// of the next payload is copied, so this is small.
const BEHIND_BLOCK_BYTES: usize = 128;
/// Payload bytes after which a batch is handed on. Chosen: 16 blocks share one hop to the swarm's task (0.3 us each way).
const BATCH_BYTES: usize = 256 * 1024;
/// Events after which a batch is handed on. Chosen.
const BATCH_EVENTS: usize = 256;

/// Why a reader ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadEnd {
    /// The other side closed, or we did.
    #[error("closed")]
    Closed,
    /// The socket failed.
    #[error("{0}")]
    Io(io::Error),
    /// What came is no message.
    #[error("{0}")]
    Wire(WireError),
}

/// One connection's reading half.
pub(crate) struct Reader {
    peer: PeerKey,
    grants: Grants,
    pool: BlockPool,
    limits: Limits,
    /// Bytes `start..end` are read and not yet looked at.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// How many bytes there must be before it is worth looking again.
    wanted: usize,
    payload: Payload,
}

/// What the next bytes belong to.
enum Payload {
    /// A frame's head.
    None,
    /// A granted block, filled so far.
    Block { block: BlockRef, bytes: Block, filled: usize },
    /// Bytes to throw away, and what is told when they are gone.
    Drain { left: usize, then: Event<Block> },
}

impl Reader {
    /// `leftover`: what was read behind the handshake.
    pub(crate) fn new(peer: PeerKey, grants: Grants, pool: BlockPool, limits: Limits, leftover: &[u8]) -> Reader {
        let mut buffer = vec![0; BUFFER_BYTES.max(leftover.len())];
        buffer[..leftover.len()].copy_from_slice(leftover);
        Reader { peer, grants, pool, limits, buffer, start: 0, end: leftover.len(), wanted: 1, payload: Payload::None }
    }

    /// Reads until the stream ends or nobody takes the batches any more.
    pub(crate) async fn run(&mut self, stream: &PeerStream, batches: &mpsc::Sender<FromPeer>) -> ReadEnd {
        let mut batch = Batch::default();
        let mut end = self.parse(&mut batch).err();
        loop {
            if end.is_none() && batch.is_empty() {
                if let Err(error) = stream.readable().await {
                    return ReadEnd::Io(error);
                }
                end = self.turn(stream, &mut batch).err();
            }
            // What came before the end counts.
            if !batch.is_empty() && batches.send(FromPeer::Events(self.peer, batch.take())).await.is_err() {
                return ReadEnd::Closed;
            }
            if let Some(end) = end {
                return end;
            }
        }
    }

    /// Reads until there is nothing more, or a batch is full.
    fn turn(&mut self, stream: &PeerStream, batch: &mut Batch) -> Result<(), ReadEnd> {
        while !batch.is_full() {
            match self.read_once(stream) {
                Ok(0) => return Err(ReadEnd::Closed),
                Ok(_) => self.parse(batch)?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(ReadEnd::Io(error)),
            }
        }
        Ok(())
    }

    /// One system call.
    fn read_once(&mut self, stream: &PeerStream) -> io::Result<usize> {
        self.make_room();
        match &mut self.payload {
            Payload::Block { bytes, filled, .. } => {
                let rest = &mut bytes[*filled..];
                let room = rest.len();
                let behind = self.end + BEHIND_BLOCK_BYTES.min(self.buffer.len() - self.end);
                let mut parts = [IoSliceMut::new(rest), IoSliceMut::new(&mut self.buffer[self.end..behind])];
                let read = stream.try_read_vectored(&mut parts)?;
                *filled += read.min(room);
                self.end += read.saturating_sub(room);
                Ok(read)
            }
            Payload::None | Payload::Drain { .. } => {
                let read = stream.try_read_vectored(&mut [IoSliceMut::new(&mut self.buffer[self.end..])])?;
                self.end += read;
                Ok(read)
            }
        }
    }

    /// Moves what is unread to the front, and makes the buffer as long as the frame that is being read.
    fn make_room(&mut self) {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.wanted > self.buffer.len() {
            self.buffer.resize(self.wanted, 0);
        } else if self.end == 0 && self.buffer.len() > BUFFER_BYTES {
            self.buffer.truncate(BUFFER_BYTES);
            self.buffer.shrink_to_fit();
        }
    }

    /// Turns what is read into events, as far as it goes.
    fn parse(&mut self, batch: &mut Batch) -> Result<(), ReadEnd> {
        loop {
            let unread = &self.buffer[self.start..self.end];
            match std::mem::replace(&mut self.payload, Payload::None) {
                Payload::Block { block, mut bytes, mut filled } => {
                    let copied = unread.len().min(bytes.len() - filled);
                    bytes[filled..filled + copied].copy_from_slice(&unread[..copied]);
                    filled += copied;
                    self.start += copied;
                    if filled < bytes.len() {
                        self.payload = Payload::Block { block, bytes, filled };
                        return Ok(());
                    }
                    batch.bytes += bytes.len();
                    batch.events.push(Event::Block { peer: self.peer, block, payload: bytes });
                }
                Payload::Drain { left, then } => {
                    let drained = unread.len().min(left);
                    self.start += drained;
                    if drained < left {
                        self.payload = Payload::Drain { left: left - drained, then };
                        return Ok(());
                    }
                    batch.events.push(then);
                }
                Payload::None => {
                    if unread.len() < self.wanted {
                        return Ok(());
                    }
                    match decode(unread, &self.limits).map_err(ReadEnd::Wire)? {
                        Decoded::NeedMore(wanted) => {
                            self.wanted = wanted;
                            return Ok(());
                        }
                        Decoded::Frame { consumed, frame } => {
                            self.start += consumed;
                            self.wanted = 1;
                            self.payload = self.begin(frame, batch);
                        }
                    }
                }
            }
        }
    }

    fn begin(&mut self, frame: Frame, batch: &mut Batch) -> Payload {
        let peer = self.peer;
        match frame {
            Frame::Message(message) => {
                batch.events.push(Event::Message { peer, message });
                Payload::None
            }
            Frame::Piece(raw) => match self.grants.claim(raw) {
                Some(block) => Payload::Block { block, bytes: self.pool.take(raw.length), filled: 0 },
                None => unrequested(peer, raw),
            },
            Frame::Drain { message, length } => {
                Payload::Drain { left: length as usize, then: Event::Message { peer, message } }
            }
        }
    }
}

/// Payload without a grant: the wire's bound on a piece message bounds what is drained.
fn unrequested(peer: PeerKey, block: RawBlock) -> Payload {
    Payload::Drain { left: block.length as usize, then: Event::Unrequested { peer, block } }
}

/// Events that wait to be handed on together.
#[derive(Default)]
struct Batch {
    events: Vec<Event<Block>>,
    /// Payload in them.
    bytes: usize,
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    fn is_full(&self) -> bool {
        self.bytes >= BATCH_BYTES || self.events.len() >= BATCH_EVENTS
    }

    fn take(&mut self) -> Vec<Event<Block>> {
        self.bytes = 0;
        std::mem::take(&mut self.events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shoal_layout::PieceIndex;
    use shoal_machine::Rng;
    use shoal_wire::{Message, encode, encode_piece_header};
    use std::time::Duration;
    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};

    const PEER: PeerKey = PeerKey(1);

    async fn pair() -> (TcpStream, PeerStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (theirs, _) = listener.accept().await.unwrap();
        theirs.set_nodelay(true).unwrap();
        (theirs, PeerStream::Tcp(ours))
    }

    /// What a peer sends, and what events must come of it, as text.
    struct Script {
        bytes: Vec<u8>,
        expected: Vec<String>,
        grants: Grants,
    }

    fn script(rng: &mut Rng) -> Script {
        let grants = Grants::default();
        let book = super::super::GrantBook::new(grants.clone());
        let (mut bytes, mut expected) = (Vec::new(), Vec::new());
        for number in 0..40 {
            let length = [1, 13, 100, 16_383, 16_384][rng.index(5)];
            let raw = RawBlock { piece: number, begin: 0, length };
            let payload: Vec<u8> = (0..length).map(|_| rng.next_u64().to_be_bytes()[0]).collect();
            match rng.below(4) {
                0 => {
                    let message = Message::Have(number);
                    encode(&message, &mut bytes);
                    expected.push(format!("{message:?}"));
                }
                1 => {
                    encode(&Message::Unknown { id: 99, length }, &mut bytes);
                    expected.push(format!("{:?}", Message::Unknown { id: 99, length }));
                }
                granted => {
                    if granted == 2 {
                        let block = BlockRef { piece: PieceIndex(number), begin: 0, length };
                        book.grant(block);
                        expected.push(format!("{block:?} {:?}", shoal_hash::sha1(&payload)));
                    } else {
                        expected.push(format!("{raw:?}"));
                    }
                    bytes.extend(encode_piece_header(raw));
                    bytes.extend(&payload);
                }
            }
        }
        Script { bytes, expected, grants }
    }

    fn text(event: Event<Block>) -> String {
        match event {
            Event::Message { message, .. } => format!("{message:?}"),
            Event::Block { block, payload, .. } => format!("{block:?} {:?}", shoal_hash::sha1(&payload)),
            Event::Unrequested { block, .. } => format!("{block:?}"),
            other => format!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn any_split_of_the_stream_gives_the_same_events() {
        for seed in 0..20 {
            let mut rng = Rng::new(seed);
            let Script { bytes, expected, grants } = script(&mut rng);
            let (mut theirs, ours) = pair().await;
            let (batches, mut taken) = mpsc::channel(1);
            // What came with the handshake is cut off anywhere, too.
            let (first, rest) = bytes.split_at(rng.index(2000.min(bytes.len())));
            let mut reader = Reader::new(PEER, grants, BlockPool::default(), Limits::UNKNOWN, first);
            let send = async {
                let mut rest = rest;
                while !rest.is_empty() {
                    let most = [3, 50, 5_000, 40_000][rng.index(4)];
                    let (now, later) = rest.split_at(rest.len().min(1 + rng.index(most)));
                    theirs.write_all(now).await.unwrap();
                    tokio::task::yield_now().await;
                    rest = later;
                }
                drop(theirs);
            };
            let collect = async {
                let mut events = Vec::new();
                while let Some(FromPeer::Events(PEER, batch)) = taken.recv().await {
                    events.extend(batch.into_iter().map(text));
                }
                events
            };
            let read = async {
                let end = reader.run(&ours, &batches).await;
                drop(batches);
                end
            };
            let all = async { tokio::join!(send, collect, read) };
            let ((), events, end) = tokio::time::timeout(Duration::from_secs(30), all).await.unwrap();
            assert!(matches!(end, ReadEnd::Closed), "{end}");
            assert_eq!(events, expected, "seed {seed}");
        }
    }

    #[tokio::test]
    async fn what_came_before_nonsense_still_counts() {
        let (mut theirs, ours) = pair().await;
        let (batches, mut taken) = mpsc::channel(4);
        theirs.write_all(&[0, 0, 0, 1, 1, 0xff, 0xff, 0xff, 0xff, 7]).await.unwrap();
        let mut reader = Reader::new(PEER, Grants::default(), BlockPool::default(), Limits::UNKNOWN, &[]);
        let end = reader.run(&ours, &batches).await;
        assert!(matches!(end, ReadEnd::Wire(_)), "{end}");
        let Some(FromPeer::Events(_, batch)) = taken.recv().await else { panic!("one batch") };
        assert_eq!(batch.into_iter().map(text).collect::<Vec<_>>(), ["Unchoke"]);
    }
}
