//! The trace of one torrent's machine, where the user wants one (`download --trace`).
//!
//! All events pass here on their way to the machine: [`TorrentTask::feed`](super::TorrentTask::feed) is the one place that
//! feeds it. What is recorded goes to a thread of its own that writes it, through a bounded queue that nobody waits for: when
//! the file is as large as it may be, the disk refuses, or does not keep up, the trace ends there and the torrent goes on.
//!
//! Invariant: what was handed to the thread is written before the torrent's task ends.

use crate::add::TraceFile;
use crate::pool::Block;
use shoal_machine::{Effects, Machine, Time};
use shoal_swarm::{Effect, Event, Swarm};
use shoal_trace::{End, Head, Recorder};
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};

/// Records that wait for the disk. Chosen: 8 MiB, which is more than a second of the fastest download.
const QUEUE: usize = 128;

/// A trace that is being written.
pub(crate) struct Trace {
    recorder: Recorder<Block>,
    limit: u64,
    /// Records were left out: nothing is written after them.
    is_slow: bool,
    /// `None` once nothing is written any more.
    writer: Option<Writer>,
}

struct Writer {
    records: SyncSender<Vec<u8>>,
    thread: JoinHandle<io::Result<()>>,
}

impl Writer {
    /// Waits until all is written.
    fn end(self) -> io::Result<()> {
        drop(self.records);
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

fn write(mut file: std::fs::File, records: &Receiver<Vec<u8>>) -> io::Result<()> {
    records.iter().try_for_each(|record| file.write_all(&record))
}

impl Trace {
    /// Begins with the head.
    pub(super) fn begin(trace: TraceFile, head: Head) -> io::Result<Trace> {
        let TraceFile { file, limit } = trace;
        let (records, queue) = sync_channel(QUEUE);
        let thread = thread::Builder::new().name("shoal-trace".to_owned()).spawn(move || write(file, &queue))?;
        let recorder = Recorder::new(head, limit);
        Ok(Trace { recorder, limit, is_slow: false, writer: Some(Writer { records, thread }) })
    }

    /// Feeds the machine. Says so, once, if the trace ends here before its torrent does.
    pub(super) fn handle(
        &mut self,
        swarm: &mut Swarm<Block>,
        now: Time,
        event: Event<Block>,
        out: &mut Effects<Effect<Block>>,
    ) -> Option<String> {
        if self.writer.is_none() || self.is_slow || self.recorder.has_ended() {
            swarm.handle(now, event, out);
            return None;
        }
        self.recorder.handle(swarm, now, event, out);
        let failed = self.hand_on().err();
        failed
            .or_else(|| self.recorder.has_ended().then(|| format!("it has reached its limit of {} bytes", self.limit)))
    }

    /// Gives the thread what is complete.
    fn hand_on(&mut self) -> Result<(), String> {
        let Some(records) = self.recorder.take() else { return Ok(()) };
        let Some(writer) = &self.writer else { return Ok(()) };
        match writer.records.try_send(records) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_)) => {
                // What follows a gap is of no use. The thread is waited for at the end.
                self.is_slow = true;
                Err("the disk does not keep up with it".to_owned())
            }
            // It has ended with an error, so this waits for nothing.
            Err(TrySendError::Disconnected(_)) => match self.writer.take().map(Writer::end) {
                Some(Err(error)) => Err(error.to_string()),
                _ => Err("its writer ended".to_owned()),
            },
        }
    }

    /// Writes the rest and waits for it; for a thread that may block.
    pub(super) fn finish(mut self) -> Result<(), String> {
        self.recorder.end(End::Stopped);
        self.write_rest()
    }

    fn write_rest(&mut self) -> Result<(), String> {
        let Some(writer) = self.writer.take() else { return Ok(()) };
        if let Some(records) = self.recorder.take().filter(|_| !self.is_slow) {
            // An error is the thread's, and told by it.
            let _ = writer.records.send(records);
        }
        writer.end().map_err(|error| error.to_string())
    }
}

impl Drop for Trace {
    /// After a panic in the machine: with the event that it did not survive.
    fn drop(&mut self) {
        self.recorder.flush();
        let _ = self.write_rest();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shoal_machine::Rng;
    use shoal_metainfo::{InfoHashV1, InfoHashes};
    use shoal_swarm::{Source, SwarmConfig};
    use std::fs::{File, OpenOptions};
    use std::net::SocketAddr;
    use std::os::fd::OwnedFd;
    use std::time::{Duration, Instant};

    /// A machine, its trace, and what it hears again and again.
    struct Traced {
        swarm: Swarm<Block>,
        trace: Trace,
        out: Effects<Effect<Block>>,
    }

    impl Traced {
        fn into(file: File) -> Traced {
            let config = SwarmConfig::new(InfoHashes { v1: Some(InfoHashV1([7; 20])), v2: None }, [b'T'; 20]);
            let rng = Rng::new(1);
            let head = Head::new(&config, false, &rng);
            let trace = Trace::begin(TraceFile { file, limit: u64::MAX }, head).unwrap();
            Traced { swarm: Swarm::new(config, false, rng), trace, out: Effects::new() }
        }

        fn hears(&mut self) -> Option<String> {
            let addrs = (0..1_000).map(|n| SocketAddr::from(([9, 0, (n >> 8) as u8, n as u8], 6881))).collect();
            let event = Event::Found { source: Source::Tracker, addrs };
            self.trace.handle(&mut self.swarm, Time::ZERO, event, &mut self.out)
        }

        /// Hands the head to the thread and lets it fail, so that it is not its slowness that is told.
        fn fails(&mut self) {
            assert_eq!(self.hears(), None);
            let end = Instant::now() + Duration::from_secs(30);
            while self.trace.writer.as_ref().is_some_and(|writer| !writer.thread.is_finished()) {
                assert!(Instant::now() < end, "the head was handed on, and could not be written");
                thread::yield_now();
            }
        }

        /// Why the trace ended; the machine goes on.
        fn ends(&mut self) -> String {
            let told = (0..10_000).find_map(|_| self.hears()).expect("it ends");
            assert_eq!(self.hears(), None, "said once");
            assert!(self.swarm.progress().known_addresses > 0, "and the machine hears everything");
            told
        }
    }

    #[test]
    fn on_a_full_disk_the_trace_ends_and_the_torrent_goes_on() {
        let mut traced = Traced::into(OpenOptions::new().write(true).open("/dev/full").unwrap());
        traced.fails();
        assert!(traced.ends().contains("No space left"));
        assert_eq!(traced.trace.finish(), Ok(()), "it was told already");
    }

    #[test]
    fn a_disk_that_does_not_keep_up_is_not_waited_for_before_the_end() {
        // What nobody reads.
        let (disk, end) = io::pipe().unwrap();
        let mut traced = Traced::into(File::from(OwnedFd::from(end)));
        assert!(traced.ends().contains("does not keep up"));
        drop(disk);
        assert!(traced.trace.finish().is_err(), "what waited was not written");
    }
}
