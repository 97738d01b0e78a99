//! Writing a trace while a machine runs.
//!
//! [`Recorder::handle`] feeds the machine in its driver's place and notes what went in and what came out. Bytes collect here
//! until the driver takes them to where files are written: in records of [`RECORD_BYTES`], or what there is once a
//! second, so that a process that is killed loses that much. An event is noted before the machine sees it: if the machine
//! panics, the trace ends with the event that did it.
//!
//! Cost of a block: some 20 bytes, no allocation, and a digest of three small effects.

use crate::effect;
use crate::event;
use crate::field::Field;
use crate::head::Head;
use crate::privacy::Hidden;
use crate::record::{self, MAGIC, MAX_RECORD, kind};
use shoal_machine::{Digest, Effects, Machine, Time};
use shoal_swarm::{Effect, Event, Swarm};
use std::hash::Hasher;
use std::time::Duration;

/// A record is complete with so much. Chosen: a few hundred blocks, and one write of a file.
const RECORD_BYTES: usize = 64 << 10;
/// Or after this long, which is as much as a kill loses. Chosen: as the resume journal.
const RECORD_SPAN: Duration = Duration::from_secs(1);
/// A trace's size unless it is said otherwise. Chosen: a block takes some 20 bytes, so it is enough for 200 GiB.
pub const DEFAULT_LIMIT: u64 = 256 << 20;
/// Kept of the limit for the last record. Chosen.
const RESERVE: u64 = 64;

/// Why a trace ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The torrent stopped.
    Stopped,
    /// It became as large as it may be.
    Full,
}

/// Writes one machine's trace.
#[derive(Debug)]
pub struct Recorder<P> {
    /// Bytes that the driver has not taken; the last record of them is open.
    bytes: Vec<u8>,
    /// Where the open record begins in them.
    open: Option<usize>,
    /// When the open record began.
    open_since: Time,
    taken: u64,
    limit: u64,
    last: Time,
    ended: bool,
    hidden: Hidden,
    digest: Digest,
    scratch: Vec<u8>,
    /// What the machine orders, before it is handed on.
    ordered: Effects<Effect<P>>,
}

impl<P> Recorder<P> {
    /// Begins a trace of at most `limit` bytes.
    pub fn new(mut head: Head, limit: u64) -> Recorder<P> {
        let hidden = Hidden::of(&mut head.config);
        let mut bytes = MAGIC.to_vec();
        let begin = record::open(kind::HEAD, &mut bytes);
        head.put(&mut bytes);
        record::close(begin, &mut bytes);
        Recorder {
            bytes,
            open: None,
            open_since: Time::ZERO,
            taken: 0,
            limit,
            last: Time::ZERO,
            ended: false,
            hidden,
            digest: Digest::new(),
            scratch: Vec::new(),
            ordered: Effects::new(),
        }
    }

    /// Feeds the machine, and notes the event and what it ordered.
    pub fn handle(&mut self, swarm: &mut Swarm<P>, now: Time, event: Event<P>, out: &mut Effects<Effect<P>>) {
        if self.ended {
            return swarm.handle(now, event, out);
        }
        self.note_event(now, &event);
        swarm.handle(now, event, &mut self.ordered);
        self.ordered.len().put(&mut self.bytes);
        for effect in self.ordered.drain() {
            self.bytes.push(effect::kind(&effect));
            effect::digest(&effect, &mut self.digest, &mut self.scratch);
            out.push(effect);
        }
        short(&self.digest).put(&mut self.bytes);
        self.bound(now);
    }

    fn note_event(&mut self, now: Time, event: &Event<P>) {
        if self.open.is_none() {
            self.open = Some(record::open(kind::EVENTS, &mut self.bytes));
            self.open_since = now;
        }
        now.as_micros().saturating_sub(self.last.as_micros()).put(&mut self.bytes);
        self.last = now;
        event::put(event, &self.hidden, &mut self.bytes);
    }

    /// Completes the record that is long or old enough, and the trace that may not become longer.
    fn bound(&mut self, now: Time) {
        let Some(begin) = self.open else { return };
        let length = self.bytes.len() - begin;
        if self.taken + self.bytes.len() as u64 + RESERVE > self.limit || length > MAX_RECORD {
            // What does not fit is left out whole.
            self.bytes.truncate(begin);
            self.open = None;
            self.end(End::Full);
        } else if length >= RECORD_BYTES || now.since(self.open_since) >= RECORD_SPAN {
            self.close();
        }
    }

    fn close(&mut self) {
        if let Some(begin) = self.open.take() {
            record::close(begin, &mut self.bytes);
        }
    }

    /// Writes why the trace ends; nothing is noted any more. Does nothing the second time.
    pub fn end(&mut self, why: End) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        self.close();
        let begin = record::open(kind::END, &mut self.bytes);
        self.bytes.push(match why {
            End::Stopped => 0,
            End::Full => 1,
        });
        record::close(begin, &mut self.bytes);
    }

    /// Completes what is there, as after a panic: without a word why it ends.
    pub fn flush(&mut self) {
        self.close();
    }

    /// Whether nothing is noted any more.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Whole records for the file, if there are any.
    pub fn take(&mut self) -> Option<Vec<u8>> {
        let whole = self.open.unwrap_or(self.bytes.len());
        if whole == 0 {
            return None;
        }
        let rest = self.bytes.split_off(whole);
        self.open = self.open.map(|_| 0);
        self.taken += whole as u64;
        Some(std::mem::replace(&mut self.bytes, rest))
    }
}

/// What is written of a digest after each event: enough to notice.
pub(crate) fn short(digest: &Digest) -> [u8; 4] {
    (digest.finish() as u32).to_le_bytes()
}
