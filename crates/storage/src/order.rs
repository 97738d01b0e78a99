//! In which order data and journal reach the disk, and what happens when it refuses to sync.
//!
//! The one decision that makes a power cut harmless, kept apart from all that carries it out: first the data is synced,
//! then its pieces are appended to the journal, then the journal is synced; batched, because a sync costs
//! milliseconds. A [`Machine`], so that the simulator can cut the power between any two steps.
//!
//! After a failed data sync the system may have dropped what it could not write, and says so once; a second sync may
//! succeed without a word. So every piece that was written until then is *written again* from what can still be read,
//! and only then synced: what cannot be read right any more was lost. A disk that goes on failing is tried at growing
//! intervals ([`RETRY_FIRST`] to [`RETRY_LAST`]); who feeds this machine should write nothing new meanwhile
//! ([`Order::in_trouble`]).
//!
//! Invariant: a piece is appended only after a data sync that began after its last writing, and succeeded.

use shoal_layout::PieceIndex;
use shoal_machine::{Effects, Machine, Time, Wake};
use std::time::Duration;

/// A batch is synced after this long (design.md, section 3).
pub const BATCH_AGE: Duration = Duration::from_secs(1);
/// A batch is synced when it has so many bytes (design.md, section 3).
pub const BATCH_BYTES: u64 = 16 * 1024 * 1024;
/// The first wait before data that could not be synced is written again; doubles up to the last. Chosen: as the swarm
/// waits for a disk that refuses to write; well below the 30 s of reliability.md F3.
pub const RETRY_FIRST: Duration = Duration::from_secs(1);
/// See [`RETRY_FIRST`].
pub const RETRY_LAST: Duration = Duration::from_secs(15);

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The deadline came.
    Wake,
    /// A verified piece was written to the files.
    Written {
        /// The piece.
        piece: PieceIndex,
        /// Bytes in it.
        bytes: u32,
    },
    /// Do not wait for the batch to fill, nor for a disk that refused: the user stops, or all is there.
    Flush,
    /// The answer to [`Effect::SyncData`].
    DataSynced,
    /// The answer to [`Effect::SyncData`] when the disk refused.
    DataFailed,
    /// The answer to [`Effect::Rewrite`].
    Rewritten {
        /// Those of the pieces that are not right on disk any more: they are forgotten here.
        gone: Vec<PieceIndex>,
        /// Whether the others were all written again; else the disk refused.
        all: bool,
    },
    /// The answer to [`Effect::Append`]: appended and synced.
    Journaled,
    /// The answer to [`Effect::Append`] when the disk refused.
    JournalFailed,
}

impl From<Wake> for Event {
    fn from(_: Wake) -> Event {
        Event::Wake
    }
}

/// What to do. At most one effect is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Sync the data of all pieces written so far.
    SyncData,
    /// Read these pieces, and write each that is still right once more.
    Rewrite(Vec<PieceIndex>),
    /// Append these pieces to the journal and sync it.
    Append(Vec<PieceIndex>),
}

#[derive(Debug)]
enum Step {
    Idle,
    SyncingData(Vec<PieceIndex>),
    Rewriting(Vec<PieceIndex>),
    Appending(Vec<PieceIndex>),
}

/// The order for one download.
#[derive(Debug)]
pub struct Order {
    waiting: Vec<PieceIndex>,
    waiting_bytes: u64,
    /// When the oldest piece that waits came, or when to try again.
    due: Option<Time>,
    /// Pieces that were written when a sync failed.
    doubtful: Vec<PieceIndex>,
    /// The wait after the last failed sync; `None` after a good one.
    trouble: Option<Duration>,
    /// Pieces whose data is synced, and that the journal refused.
    synced: Vec<PieceIndex>,
    step: Step,
}

impl Order {
    /// Nothing waits.
    pub fn new() -> Order {
        Order {
            waiting: Vec::new(),
            waiting_bytes: 0,
            due: None,
            doubtful: Vec::new(),
            trouble: None,
            synced: Vec::new(),
            step: Step::Idle,
        }
    }

    /// Whether the last data sync failed.
    pub fn in_trouble(&self) -> bool {
        self.trouble.is_some()
    }

    fn begin(&mut self, out: &mut Effects<Effect>) {
        let Step::Idle = self.step else { return };
        if !self.doubtful.is_empty() {
            self.due = None;
            let pieces = std::mem::take(&mut self.doubtful);
            out.push(Effect::Rewrite(pieces.clone()));
            self.step = Step::Rewriting(pieces);
        } else if !self.waiting.is_empty() {
            self.sync(Vec::new(), out);
        } else if !self.synced.is_empty() {
            self.due = None;
            self.append(Vec::new(), out);
        }
    }

    /// Syncs these pieces, just written again, with all that wait.
    fn sync(&mut self, mut pieces: Vec<PieceIndex>, out: &mut Effects<Effect>) {
        self.due = None;
        self.waiting_bytes = 0;
        pieces.append(&mut self.waiting);
        self.step = Step::SyncingData(pieces);
        out.push(Effect::SyncData);
    }

    /// These pieces, and all that were written meanwhile, may have been dropped by the system.
    fn doubt(&mut self, now: Time, pieces: Vec<PieceIndex>) {
        self.doubtful.extend(pieces);
        self.doubtful.append(&mut self.waiting);
        self.waiting_bytes = 0;
        let wait = self.trouble.map_or(RETRY_FIRST, |wait| (wait * 2).min(RETRY_LAST));
        self.trouble = Some(wait);
        self.due = Some(now + wait);
    }

    fn append(&mut self, pieces: Vec<PieceIndex>, out: &mut Effects<Effect>) {
        let mut all = std::mem::take(&mut self.synced);
        all.extend(pieces);
        all.sort_unstable();
        out.push(Effect::Append(all.clone()));
        self.step = Step::Appending(all);
    }
}

impl Default for Order {
    fn default() -> Order {
        Order::new()
    }
}

impl Machine for Order {
    type Event = Event;
    type Effect = Effect;

    fn handle(&mut self, now: Time, event: Event, out: &mut Effects<Effect>) {
        match event {
            Event::Written { piece, bytes } => {
                self.waiting.push(piece);
                self.waiting_bytes += u64::from(bytes);
                let due = *self.due.get_or_insert(now + BATCH_AGE);
                // Not before its time on a disk that refuses.
                if self.waiting_bytes >= BATCH_BYTES && self.trouble.is_none() {
                    self.due = Some(due.min(now));
                }
            }
            Event::Wake => {
                if self.due.is_some_and(|due| due <= now) {
                    self.begin(out);
                }
            }
            Event::Flush => self.begin(out),
            Event::DataSynced => match std::mem::replace(&mut self.step, Step::Idle) {
                Step::SyncingData(pieces) => {
                    self.trouble = None;
                    self.append(pieces, out);
                }
                step => self.step = step,
            },
            Event::DataFailed => match std::mem::replace(&mut self.step, Step::Idle) {
                Step::SyncingData(pieces) => self.doubt(now, pieces),
                step => self.step = step,
            },
            Event::Rewritten { gone, all } => match std::mem::replace(&mut self.step, Step::Idle) {
                Step::Rewriting(mut pieces) => {
                    pieces.retain(|piece| !gone.contains(piece));
                    if all {
                        self.sync(pieces, out);
                    } else {
                        self.doubt(now, pieces);
                    }
                }
                step => self.step = step,
            },
            Event::Journaled => {
                if let Step::Appending(_) = self.step {
                    self.step = Step::Idle;
                }
            }
            Event::JournalFailed => match std::mem::replace(&mut self.step, Step::Idle) {
                Step::Appending(pieces) => {
                    self.synced = pieces;
                    self.due.get_or_insert(now + BATCH_AGE);
                }
                step => self.step = step,
            },
        }
    }

    /// Also while a batch is under way, when the next is due already: the driver comes back after its work.
    fn deadline(&self) -> Option<Time> {
        self.due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn feed(order: &mut Order, now: Time, event: Event) -> Vec<Effect> {
        let mut out = Effects::new();
        order.handle(now, event, &mut out);
        out.drain().collect()
    }

    fn written(piece: u32, bytes: u32) -> Event {
        Event::Written { piece: PieceIndex(piece), bytes }
    }

    #[test]
    fn a_batch_waits_a_second_or_for_sixteen_mebibytes() {
        let mut order = Order::new();
        let start = Time::from_secs(5);
        assert!(feed(&mut order, start, written(1, 100)).is_empty());
        assert_eq!(order.deadline(), Some(start + BATCH_AGE));
        assert!(feed(&mut order, start, Event::Wake).is_empty());
        feed(&mut order, start, written(0, BATCH_BYTES as u32));
        assert_eq!(order.deadline(), Some(start));
        assert_eq!(feed(&mut order, start, Event::Wake), [Effect::SyncData]);
        assert_eq!(order.deadline(), None);
        let append = vec![PieceIndex(0), PieceIndex(1)];
        assert_eq!(feed(&mut order, start, Event::DataSynced), [Effect::Append(append)]);
    }

    #[test]
    fn after_a_failed_sync_all_that_was_written_is_written_again() {
        let mut order = Order::new();
        feed(&mut order, Time::ZERO, written(1, 1));
        feed(&mut order, Time::ZERO, Event::Flush);
        feed(&mut order, Time::ZERO, written(2, 1));
        assert!(feed(&mut order, Time::ZERO, Event::DataFailed).is_empty());
        assert!(order.in_trouble());
        assert_eq!(order.deadline(), Some(Time::ZERO + RETRY_FIRST));
        let again = Effect::Rewrite(vec![PieceIndex(1), PieceIndex(2)]);
        assert_eq!(feed(&mut order, Time::ZERO + RETRY_FIRST, Event::Wake), [again]);
        let gone = vec![PieceIndex(1)];
        let synced = feed(&mut order, Time::ZERO + RETRY_FIRST, Event::Rewritten { gone, all: true });
        assert_eq!(synced, [Effect::SyncData]);
        assert_eq!(feed(&mut order, Time::from_secs(1), Event::DataSynced), [Effect::Append(vec![PieceIndex(2)])]);
        assert!(!order.in_trouble());
    }

    #[test]
    fn a_disk_that_fails_for_ever_is_tried_at_growing_intervals() {
        let mut order = Order::new();
        let mut now = Time::ZERO;
        feed(&mut order, now, written(1, BATCH_BYTES as u32));
        feed(&mut order, now, Event::Wake);
        feed(&mut order, now, Event::DataFailed);
        let mut waits = Vec::new();
        for _ in 0..6 {
            feed(&mut order, now, written(2, BATCH_BYTES as u32));
            let due = order.deadline().unwrap();
            waits.push((due - now).as_secs());
            now = due;
            assert!(matches!(feed(&mut order, now, Event::Wake)[..], [Effect::Rewrite(_)]));
            feed(&mut order, now, Event::Rewritten { gone: vec![], all: true });
            feed(&mut order, now, Event::DataFailed);
        }
        assert_eq!(waits, [1, 2, 4, 8, 15, 15]);
    }

    proptest! {
        /// A brute-force disk: what is dirty becomes durable when a sync that began later succeeds; one that fails drops
        /// all that is dirty, and says so once.
        #[test]
        fn nothing_is_appended_before_its_data_is_synced(steps in prop::collection::vec(0_u8..8, 1..200)) {
            let mut order = Order::new();
            let (mut next, mut dirty, mut syncing, mut durable) = (0, BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
            let (mut journal, mut gone_ever) = (BTreeSet::new(), BTreeSet::new());
            let mut pending: Option<Effect> = None;
            for (at, step) in steps.into_iter().enumerate() {
                let now = Time::from_millis(at as u64 * 300);
                let event = match (step, pending.take()) {
                    (0 | 1, kept) => {
                        pending = kept;
                        next += 1;
                        dirty.insert(PieceIndex(next));
                        written(next, 9_000_000)
                    }
                    (2, kept) => { pending = kept; Event::Wake }
                    (3, kept) => { pending = kept; Event::Flush }
                    (4 | 5, Some(Effect::SyncData)) => { durable.append(&mut syncing); Event::DataSynced }
                    (_, Some(Effect::SyncData)) => {
                        syncing.clear();
                        dirty.clear();
                        Event::DataFailed
                    }
                    (kind, Some(Effect::Rewrite(pieces))) => {
                        let (gone, again) = pieces.split_at(if kind == 6 { pieces.len().min(1) } else { 0 });
                        let all = kind != 7;
                        if all {
                            dirty.extend(again.iter().copied());
                        }
                        gone_ever.extend(gone.iter().copied());
                        Event::Rewritten { gone: gone.to_vec(), all }
                    }
                    (4 | 5, Some(Effect::Append(pieces))) => { journal.extend(pieces); Event::Journaled }
                    (_, Some(Effect::Append(_))) => Event::JournalFailed,
                    (_, None) => Event::Flush,
                };
                for effect in feed(&mut order, now, event) {
                    prop_assert!(pending.is_none(), "one step at a time");
                    if effect == Effect::SyncData {
                        syncing.append(&mut dirty);
                    }
                    if let Effect::Append(pieces) = &effect {
                        prop_assert!(pieces.iter().all(|piece| durable.contains(piece)));
                    }
                    pending = Some(effect);
                }
                prop_assert!(journal.is_disjoint(&gone_ever));
            }
        }
    }
}
