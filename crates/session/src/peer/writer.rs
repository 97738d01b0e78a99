//! From an outbox to a socket.
//!
//! Takes what waits, reads the blocks (from the page cache in place, else by a disk thread), and writes headers, messages
//! and payloads with one vectored call for as much as the socket has room for. What left is reported in batches.

use super::outbox::{Item, Outbox};
use super::stream::PeerStream;
use crate::disk::{ReadError, UploadSource};
use crate::pool::Block;
use crate::torrent::ToTorrent;
use shoal_layout::BlockRef;
use shoal_swarm::{Event, PeerKey};
use shoal_wire::{RawBlock, encode_piece_header};
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Time to send what was ordered before a disconnect. Chosen: a block at 8 KB/s.
const FLUSH: Duration = Duration::from_secs(2);
/// Time for the other side to close after we said that nothing follows, so that nothing under way to it is lost.
const LINGER: Duration = Duration::from_millis(500);

/// One connection's writing half.
pub(crate) struct Writer {
    pub(crate) peer: PeerKey,
    pub(crate) outbox: Outbox,
    pub(crate) stream: Arc<PeerStream>,
    pub(crate) source: UploadSource,
    /// Bounded by the uploads that the swarm ordered.
    pub(crate) reports: mpsc::UnboundedSender<ToTorrent>,
}

/// A part of what is written.
enum Part {
    Bytes(Vec<u8>),
    Payload(Block),
}

impl Writer {
    /// Writes until the outbox ends or the socket fails, then closes the stream, which ends the reader too.
    pub(crate) async fn run(self) {
        let late = async {
            self.outbox.finishing().await;
            tokio::time::sleep(FLUSH).await;
        };
        let flushed = tokio::select! {
            written = self.write_all() => written.is_ok(),
            () = late => false,
        };
        if flushed {
            self.stream.finish();
            // The reader ends when the other side closes, and takes this task with it.
            tokio::time::sleep(LINGER).await;
        }
        self.stream.close();
    }

    async fn write_all(&self) -> io::Result<()> {
        while let Some(items) = self.outbox.take().await {
            let mut parts = Vec::with_capacity(2 * items.len());
            let mut uploaded = Vec::new();
            let blocks: Vec<BlockRef> = items.iter().filter_map(Item::block).collect();
            let mut read = self.source.read(&blocks).await.into_iter();
            for item in items {
                match item {
                    Item::Messages(bytes) => append(&mut parts, &bytes),
                    Item::Upload(block) => match read.next().expect("each block has its answer") {
                        Ok(payload) => {
                            append(&mut parts, &encode_piece_header(raw(block)));
                            parts.push(Part::Payload(payload));
                            uploaded.push(Event::Uploaded { peer: self.peer, block });
                        }
                        Err(ReadError { lost, reason }) => {
                            tracing::debug!(piece = block.piece.0, reason, "a block could not be read");
                            uploaded.push(Event::UploadFailed { peer: self.peer, block, lost });
                        }
                    },
                }
            }
            self.write(&parts).await?;
            if !uploaded.is_empty() {
                // The torrent's task may have ended; then nobody counts.
                let _ = self.reports.send(ToTorrent::Events(self.peer, uploaded));
            }
        }
        Ok(())
    }

    async fn write(&self, parts: &[Part]) -> io::Result<()> {
        let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part.bytes())).collect();
        let mut rest = slices.as_mut_slice();
        // Empty slices at the front would look like a closed socket.
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            match self.stream.try_write_vectored(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => IoSlice::advance_slices(&mut rest, written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.stream.writable().await?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Part {
    fn bytes(&self) -> &[u8] {
        match self {
            Part::Bytes(bytes) => bytes,
            Part::Payload(block) => block,
        }
    }
}

fn append(parts: &mut Vec<Part>, bytes: &[u8]) {
    match parts.last_mut() {
        Some(Part::Bytes(last)) => last.extend_from_slice(bytes),
        _ => parts.push(Part::Bytes(bytes.to_vec())),
    }
}

fn raw(block: BlockRef) -> RawBlock {
    RawBlock { piece: block.piece.0, begin: block.begin, length: block.length }
}
