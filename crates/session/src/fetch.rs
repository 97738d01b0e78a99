//! A fetch from a web seed: bytes of files, as they come, into blocks of the pool.
//!
//! Blocks are filled in the order in which they were ordered and handed to the torrent's task by the batch, over the same
//! bounded channel as peers' batches: a swarm that is behind stops reading, and so the server. At most one block a fetch is
//! half full. Gaps are zeros, which no server is asked for.

use crate::pool::{Block, BlockPool};
use crate::torrent::FromPeer;
use shoal_discovery::web_seed::WebSeed;
use shoal_layout::{BlockRef, Layout};
use shoal_metainfo::Info;
use shoal_swarm::{Event, FetchFailure, FetchKey};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::mpsc;

/// What a fetch is.
pub(crate) struct Fetch {
    pub(crate) key: FetchKey,
    pub(crate) seed: Arc<WebSeed>,
    pub(crate) info: Arc<Info>,
    pub(crate) blocks: Vec<BlockRef>,
}

impl Fetch {
    /// Runs it to its end, which it reports. Whoever drops this cancels it.
    pub(crate) async fn run(self, pool: BlockPool, batches: mpsc::Sender<FromPeer>) {
        let key = self.key;
        let result = self.blocks(pool, &batches).await;
        // An error means that the torrent has ended.
        let _ = batches.send(FromPeer::Fetched(vec![Event::FetchEnded { fetch: key, result }])).await;
    }

    async fn blocks(self, pool: BlockPool, batches: &mpsc::Sender<FromPeer>) -> Result<(), FetchFailure> {
        let mut stream = self.seed.fetch(&self.blocks);
        let mut filler = Filler::new(self.info.layout(), self.blocks.into(), pool);
        while let Some(bytes) = stream.next().await? {
            let whole = filler.fill(&bytes);
            if whole.is_empty() {
                continue;
            }
            let event = |(block, payload)| Event::Fetched { fetch: self.key, block, payload };
            let events = whole.into_iter().map(event).collect();
            if batches.send(FromPeer::Fetched(events)).await.is_err() {
                break;
            }
        }
        Ok(())
    }
}

/// Cuts a stream of payload into blocks.
struct Filler<'a> {
    layout: &'a Layout,
    blocks: VecDeque<BlockRef>,
    pool: BlockPool,
    /// The first of `blocks` as far as it came, and the runs of its bytes that have not come: where in it, how long.
    current: Option<(Block, VecDeque<(usize, usize)>)>,
}

impl<'a> Filler<'a> {
    fn new(layout: &'a Layout, blocks: VecDeque<BlockRef>, pool: BlockPool) -> Filler<'a> {
        Filler { layout, blocks, pool, current: None }
    }

    /// Takes the next bytes, and gives the blocks that they complete. Bytes past the last block are left out.
    fn fill(&mut self, mut bytes: &[u8]) -> Vec<(BlockRef, Block)> {
        let mut whole = Vec::new();
        while let Some(&block) = self.blocks.front().filter(|_| !bytes.is_empty()) {
            let (payload, missing) = match &mut self.current {
                Some(current) => current,
                none => none.insert(begin(self.layout, block, &self.pool)),
            };
            if let Some((at, length)) = missing.front_mut() {
                let (now, later) = bytes.split_at(bytes.len().min(*length));
                payload[*at..*at + now.len()].copy_from_slice(now);
                bytes = later;
                *at += now.len();
                *length -= now.len();
                if *length == 0 {
                    missing.pop_front();
                }
            }
            if missing.is_empty()
                && let Some((payload, _)) = self.current.take()
            {
                self.blocks.pop_front();
                whole.push((block, payload));
            }
        }
        whole
    }
}

/// An empty block with its gaps as zeros, and the runs of it that are in files.
fn begin(layout: &Layout, block: BlockRef, pool: &BlockPool) -> (Block, VecDeque<(usize, usize)>) {
    let mut payload = pool.take(block.length);
    let (mut at, mut missing) = (0, VecDeque::new());
    for slice in layout.slices(block) {
        // A slice of a block is at most a block.
        let length = slice.length as usize;
        match slice.file {
            Some(_) => missing.push_back((at, length)),
            None => payload[at..at + length].fill(0),
        }
        at += length;
    }
    (payload, missing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use shoal_discovery::web_seed::ranges;
    use shoal_layout::PieceIndex;

    #[test]
    fn any_split_of_the_payload_gives_the_same_blocks() {
        let files = vec![(0, 20_000), (20_000, 100), (32_768, 40_000), (72_768, 0), (72_800, 9_000)];
        let layout = Layout::new(32_768, files, 98_304).unwrap();
        let blocks: Vec<BlockRef> =
            (0..3).flat_map(|piece| layout.requests(PieceIndex(piece))).map(|(_, block)| block).collect();
        // Each byte of payload is told by its place.
        let byte = |at: u64| (at % 251) as u8 + 1;
        let payload: Vec<u8> = ranges(&layout, &blocks)
            .iter()
            .flat_map(|range| {
                let start = layout.file_span(range.file).start + range.first;
                start..start + range.length
            })
            .map(byte)
            .collect();
        for step in [1, 7, 4_000, 16_384, 16_385, 100_000] {
            let pool = BlockPool::default();
            // What is in a used block must not show in a gap.
            drop(
                (0..10)
                    .map(|_| {
                        let mut used = pool.take(16_384);
                        used.fill(0xff);
                        used
                    })
                    .collect::<Vec<_>>(),
            );
            let mut filler = Filler::new(&layout, blocks.clone().into(), pool);
            let whole: Vec<_> = payload.chunks(step).flat_map(|bytes| filler.fill(bytes)).collect();
            assert_eq!(whole.iter().map(|(block, _)| *block).collect::<Vec<_>>(), blocks, "step {step}");
            for (block, bytes) in &whole {
                let mut at = layout.piece_start(block.piece) + u64::from(block.begin);
                for slice in layout.slices(*block) {
                    for _ in 0..slice.length {
                        let place = (at - layout.piece_start(block.piece) - u64::from(block.begin)) as usize;
                        assert_eq!(bytes[place], if slice.file.is_some() { byte(at) } else { 0 }, "{block:?} {place}");
                        at += 1;
                    }
                }
            }
            assert!(filler.fill(b"more").is_empty());
        }
    }
}
