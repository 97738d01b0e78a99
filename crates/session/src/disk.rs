//! Threads that hash, read and write.
//!
//! A few plain threads before one queue: a `spawn_blocking` round trip costs 22 us, a job here about 5. The queue itself has
//! no bound and needs none: stores are bounded by the swarms' bytes in assembly, reads by the upload credit of each peer, syncs
//! by one for each torrent. So nobody ever waits to put a job in, and no task and thread can wait for each other.

use crate::pool::{Block, BlockPool};
use crate::progress::TorrentEvent;
use crate::torrent::{Events, TorrentFiles};
use shoal_layout::BlockRef;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    closed: bool,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

/// Where jobs are put in.
#[derive(Clone, Default)]
pub(crate) struct Disk {
    shared: Arc<Shared>,
}

/// The threads; joined by [`DiskThreads::join`].
#[derive(Debug)]
pub(crate) struct DiskThreads {
    disk: Disk,
    threads: Vec<JoinHandle<()>>,
}

impl Disk {
    /// Runs this on a disk thread, after the jobs before it have begun.
    pub(crate) fn run(&self, job: impl FnOnce() + Send + 'static) {
        self.lock().jobs.push_back(Box::new(job));
        self.shared.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next job; `None` when there are none and none will come.
    fn next(&self) -> Option<Job> {
        let mut queue = self.lock();
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                return Some(job);
            }
            if queue.closed {
                return None;
            }
            queue = self.shared.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Disk")
    }
}

impl DiskThreads {
    /// Starts so many threads.
    pub(crate) fn start(count: usize) -> io::Result<DiskThreads> {
        let disk = Disk::default();
        let mut started = DiskThreads { disk: disk.clone(), threads: Vec::new() };
        for number in 0..count.max(1) {
            let disk = disk.clone();
            let thread = std::thread::Builder::new().name(format!("shoal-disk-{number}")).spawn(move || {
                while let Some(job) = disk.next() {
                    job();
                }
            });
            match thread {
                Ok(thread) => started.threads.push(thread),
                Err(error) => {
                    started.join();
                    return Err(error);
                }
            }
        }
        Ok(started)
    }

    /// Where jobs are put in.
    pub(crate) fn disk(&self) -> &Disk {
        &self.disk
    }

    /// Does the jobs that are there, then ends the threads. Blocks.
    pub(crate) fn join(mut self) {
        self.close();
        for thread in self.threads.drain(..) {
            // A panic in a job has been reported by its thread already.
            let _ = thread.join();
        }
    }
}

impl DiskThreads {
    fn close(&self) {
        self.disk.lock().closed = true;
        self.disk.shared.changed.notify_all();
    }
}

impl Drop for DiskThreads {
    /// Who cannot wait still lets them end.
    fn drop(&mut self) {
        self.close();
    }
}

/// Why a block could not be read.
#[derive(Debug)]
pub(crate) struct ReadError {
    /// Whether it is not there any more, or merely not to be had now.
    pub(crate) lost: bool,
    /// One line for the user.
    pub(crate) reason: String,
}

impl ReadError {
    /// Not to be had now, and no fault of the files.
    fn passing(reason: &str) -> ReadError {
        ReadError { lost: false, reason: reason.to_owned() }
    }
}

/// Where the blocks of one torrent are read for uploads.
#[derive(Clone)]
pub(crate) struct UploadSource {
    /// Set when the files are open; nothing is uploaded before.
    pub(crate) files: Arc<OnceLock<Arc<TorrentFiles>>>,
    disk: Disk,
    pub(crate) pool: BlockPool,
    events: Events,
    /// What was said last of files that changed: each is said once.
    said: Arc<Mutex<String>>,
}

impl UploadSource {
    /// Of files that are not open yet.
    pub(crate) fn new(disk: Disk, pool: BlockPool, events: Events) -> UploadSource {
        UploadSource { files: Arc::default(), disk, pool, events, said: Arc::default() }
    }

    /// Reads blocks, in their order: in place those that need no disk, the others by one job of a disk thread. One job and not
    /// one a block: where the file system cannot say what is cached (tmpfs), each round trip would cost more than the read.
    pub(crate) async fn read(&self, blocks: &[BlockRef]) -> Vec<Result<Block, ReadError>> {
        let Some(files) = self.files.get().cloned() else {
            return blocks.iter().map(|_| Err(ReadError::passing("the files are not open yet"))).collect();
        };
        let mut results = Vec::with_capacity(blocks.len());
        let mut cold = Vec::new();
        for (place, &block) in blocks.iter().enumerate() {
            let mut bytes = self.pool.take(block.length);
            if files.storage.read_cached(block, &mut bytes) {
                results.push(Ok(bytes));
            } else {
                results.push(Err(ReadError::passing("the disk threads have ended")));
                cold.push((place, block, bytes));
            }
        }
        if cold.is_empty() {
            return results;
        }
        let (done, answer) = oneshot::channel();
        self.disk.run(move || {
            let read = cold.into_iter().map(|(place, block, mut bytes)| {
                let read = files.read(block, &mut bytes).map(|()| bytes);
                (place, read.map_err(|error| ReadError { lost: error.is_lost(), reason: error.to_string() }))
            });
            // The connection may have closed meanwhile.
            let _ = done.send(read.collect::<Vec<_>>());
        });
        for (place, read) in answer.await.unwrap_or_default() {
            if let Err(ReadError { lost: true, reason }) = &read {
                self.say(reason);
            }
            results[place] = read;
        }
        results
    }

    fn say(&self, reason: &str) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if *said != reason {
            reason.clone_into(&mut said);
            self.events.send(TorrentEvent::DataChanged { reason: reason.to_owned() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn every_job_put_in_before_the_end_is_done() {
        let threads = DiskThreads::start(3).unwrap();
        let done = Arc::new(AtomicUsize::new(0));
        for _ in 0..100 {
            let done = done.clone();
            threads.disk().run(move || {
                done.fetch_add(1, Ordering::Relaxed);
            });
        }
        threads.join();
        assert_eq!(done.load(Ordering::Relaxed), 100);
    }
}
