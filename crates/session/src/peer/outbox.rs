//! What waits to be sent on one connection.
//!
//! The swarm's task puts in, without ever waiting; the connection's writer takes out. Messages are encoded as they are put
//! in, so that their order with uploads is the order of the swarm's effects.
//!
//! Bounds: uploads by the swarm's credit for each peer; messages by [`MAX_QUEUED_BYTES`], beyond which the peer is one that
//! asks and does not read, and its connection is closed.

use shoal_layout::BlockRef;
use shoal_wire::Message;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Encoded messages that may wait. Chosen: a bitfield of 2^21 pieces, metadata and hash answers fit many times.
const MAX_QUEUED_BYTES: usize = 4 << 20;
/// Uploads taken at once: 256 KiB with one system call for a socket that has room.
const UPLOADS_AT_ONCE: usize = 16;

/// One thing to send.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Item {
    /// Encoded messages.
    Messages(Vec<u8>),
    /// A block to read from disk.
    Upload(BlockRef),
}

impl Item {
    /// The block, if it is one.
    pub(crate) fn block(&self) -> Option<BlockRef> {
        match self {
            Item::Messages(_) => None,
            Item::Upload(block) => Some(*block),
        }
    }
}

#[derive(Debug, Default)]
struct Queue {
    items: VecDeque<Item>,
    message_bytes: usize,
    /// Nothing may be put in any more; what is there is still sent.
    finishing: bool,
    /// Nothing may be taken out any more.
    closed: bool,
}

/// The queue, shared by both sides.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outbox {
    queue: Arc<Mutex<Queue>>,
    /// Something was put in, or it is finishing or closed.
    changed: Arc<Notify>,
    /// It is finishing: the time to flush runs.
    finishing: Arc<Notify>,
}

impl Outbox {
    /// Queues a message. The writer is woken by [`Outbox::wake`].
    pub(crate) fn send(&self, message: &Message) {
        let mut queue = self.lock();
        if queue.finishing || queue.closed {
            return;
        }
        let queued = &mut *queue;
        if !matches!(queued.items.back(), Some(Item::Messages(_))) {
            queued.items.push_back(Item::Messages(Vec::new()));
        }
        let Some(Item::Messages(bytes)) = queued.items.back_mut() else { return };
        let before = bytes.len();
        shoal_wire::encode(message, bytes);
        queued.message_bytes += bytes.len() - before;
        if queued.message_bytes > MAX_QUEUED_BYTES {
            queued.closed = true;
            queued.items.clear();
        }
    }

    /// Queues an upload. The writer is woken by [`Outbox::wake`].
    pub(crate) fn upload(&self, block: BlockRef) {
        let mut queue = self.lock();
        if !queue.finishing && !queue.closed {
            queue.items.push_back(Item::Upload(block));
        }
    }

    /// Removes an upload that has not begun; says whether it was there.
    pub(crate) fn cancel(&self, block: BlockRef) -> bool {
        let mut queue = self.lock();
        let found = queue.items.iter().position(|item| *item == Item::Upload(block));
        found.and_then(|at| queue.items.remove(at)).is_some()
    }

    /// Lets the writer look: once after all that one turn put in.
    pub(crate) fn wake(&self) {
        self.changed.notify_one();
    }

    /// Lets the writer send what is there and then end, within a bounded time.
    pub(crate) fn finish(&self) {
        self.lock().finishing = true;
        self.changed.notify_one();
        self.finishing.notify_one();
    }

    /// Ends the writer at once.
    pub(crate) fn close(&self) {
        let mut queue = self.lock();
        queue.closed = true;
        queue.items.clear();
        drop(queue);
        self.changed.notify_one();
    }

    /// Waits until [`Outbox::finish`] was called. For one waiter.
    pub(crate) async fn finishing(&self) {
        self.finishing.notified().await;
    }

    /// Waits for something to send and takes it, at most [`UPLOADS_AT_ONCE`] uploads; `None` when it has ended.
    pub(crate) async fn take(&self) -> Option<Vec<Item>> {
        loop {
            {
                let mut queue = self.lock();
                if queue.closed {
                    return None;
                }
                if !queue.items.is_empty() {
                    return Some(queue.take());
                }
                if queue.finishing {
                    return None;
                }
            }
            self.changed.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn take(&mut self) -> Vec<Item> {
        let mut uploads = 0;
        let mut taken = Vec::new();
        while let Some(item) = self.items.pop_front() {
            match &item {
                Item::Messages(bytes) => self.message_bytes -= bytes.len(),
                Item::Upload(_) => uploads += 1,
            }
            taken.push(item);
            if uploads == UPLOADS_AT_ONCE {
                break;
            }
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shoal_layout::PieceIndex;

    fn block(begin: u32) -> BlockRef {
        BlockRef { piece: PieceIndex(0), begin, length: 1 }
    }

    #[tokio::test]
    async fn messages_and_uploads_leave_in_the_order_of_the_effects() {
        let outbox = Outbox::default();
        outbox.send(&Message::Unchoke);
        outbox.send(&Message::Have(1));
        outbox.upload(block(0));
        outbox.send(&Message::Choke);
        let items = outbox.take().await.unwrap();
        assert!(matches!(&items[0], Item::Messages(bytes) if bytes.len() == 5 + 9));
        assert_eq!(items[1], Item::Upload(block(0)));
        assert!(matches!(&items[2], Item::Messages(bytes) if bytes.len() == 5));
        assert_eq!(outbox.lock().message_bytes, 0);
    }

    #[tokio::test]
    async fn a_cancelled_upload_is_not_taken() {
        let outbox = Outbox::default();
        outbox.upload(block(0));
        outbox.upload(block(1));
        assert!(outbox.cancel(block(0)));
        assert!(!outbox.cancel(block(0)));
        assert_eq!(outbox.take().await, Some(vec![Item::Upload(block(1))]));
    }

    #[tokio::test]
    async fn what_was_there_before_the_finish_is_still_sent_and_nothing_after_it() {
        let outbox = Outbox::default();
        outbox.send(&Message::Choke);
        outbox.finish();
        outbox.send(&Message::Unchoke);
        assert_eq!(outbox.take().await.map(|items| items.len()), Some(1));
        assert_eq!(outbox.take().await, None);
    }

    #[tokio::test]
    async fn a_peer_that_asks_and_does_not_read_is_given_up() {
        let outbox = Outbox::default();
        for _ in 0..=MAX_QUEUED_BYTES / (256 << 10) {
            outbox.send(&Message::Bitfield(vec![0; 256 << 10]));
        }
        assert_eq!(outbox.take().await, None);
        assert!(outbox.lock().items.is_empty());
    }
}
