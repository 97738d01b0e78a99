//! The end of a torrent's task: nothing of it is left running, and what it wrote is recorded.

use super::{FromPeer, JOIN_TIMEOUT, Queues, ToTorrent, TorrentTask};
use crate::progress::TorrentEvent;
use shoal_swarm::HostEvent;
use std::sync::Arc;
use tokio::sync::oneshot;

impl TorrentTask {
    /// Closes everything and waits for it.
    pub(super) async fn end(mut self, mut queues: Queues) {
        self.tell_host(HostEvent::Left(self.key));
        self.withdraw_from_lan();
        self.requests.shutdown().await;
        for (peer, connection) in &self.connections {
            // Who was told to close still sends what was ordered before, such as the last pieces that we have.
            if !self.closing.contains(peer) {
                connection.outbox.close();
                connection.stream.close();
            }
        }
        self.connections.clear();
        while self.opening || self.storing > 0 || self.flushing || self.finishing {
            match queues.inbox.recv().await {
                Some(ToTorrent::Stored(_)) => self.storing -= 1,
                Some(ToTorrent::Opened(opened)) => {
                    self.opening = false;
                    self.files = self.files.or(opened.ok().map(|ready| Arc::new(ready.files)));
                }
                Some(ToTorrent::Flushed(_)) => self.flushing = false,
                Some(ToTorrent::Finished(flushed, Ok(()))) => self.finished(flushed, Ok(())),
                Some(ToTorrent::Finished(_, Err(_))) => self.finishing = false,
                Some(_) => {}
                // We hold a sender ourselves, so this does not come.
                None => break,
            }
        }
        let joined = async {
            loop {
                tokio::select! {
                    ended = self.tasks.join_next() => if ended.is_none() { break },
                    // Nobody waits in vain to hand on a batch.
                    batch = queues.batches.recv() => if let Some(FromPeer::Connected(_, connection)) = batch {
                        connection.outbox.close();
                        connection.stream.close();
                    },
                }
            }
        };
        // What is left sits in a handshake.
        let _ = tokio::time::timeout(JOIN_TIMEOUT, joined).await;
        self.tasks.shutdown().await;
        if let Some(trace) = self.trace.take() {
            let written = tokio::task::spawn_blocking(move || trace.finish()).await;
            // A panic there is ours and is not hidden.
            if let Err(reason) = written.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())) {
                self.report.event(TorrentEvent::TraceEnded { reason });
            }
        }
        if let Some(files) = self.files.take() {
            let (done, closed) = oneshot::channel();
            let now = self.shared.clock.now();
            self.shared.disk.run(move || {
                files.stop(now);
                let _ = done.send(());
            });
            // An error means that the disk threads have ended, which they do after us.
            let _ = closed.await;
        }
        // Another process, or torrent, may have it now.
        drop((self.lock.take(), self.claim.take()));
        self.report.stopped(self.swarm.progress());
    }
}
