//! In which order data and journal reach the disk.
//!
//! The one decision that makes a power cut harmless, kept apart from all that carries it out: first the data is synced,
//! then its pieces are appended to the journal, then the journal is synced; batched, because a sync costs
//! milliseconds. A [`Machine`], so that the simulator can cut the power between any two steps.
//!
//! Invariant: a piece is appended only after a data sync that began after the piece was written, and succeeded. After
//! a failed data sync its pieces are lost: the system may have dropped their bytes and will not say so twice.

use shoal_layout::PieceIndex;
use shoal_machine::{Effects, Machine, Time, Wake};
use std::time::Duration;

/// A batch is synced after this long (design.md, section 3).
pub const BATCH_AGE: Duration = Duration::from_secs(1);
/// A batch is synced when it has so many bytes (design.md, section 3).
pub const BATCH_BYTES: u64 = 16 * 1024 * 1024;

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
    /// Do not wait for the batch to fill: the user stops.
    Flush,
    /// The answer to [`Effect::SyncData`].
    DataSynced,
    /// The answer to [`Effect::SyncData`] when the disk refused.
    DataFailed,
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

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Sync the data of all pieces written so far.
    SyncData,
    /// Append these pieces to the journal and sync it.
    Append(Vec<PieceIndex>),
    /// Count these pieces as not written.
    Lost(Vec<PieceIndex>),
}

#[derive(Debug)]
enum Step {
    Idle,
    SyncingData(Vec<PieceIndex>),
    Appending(Vec<PieceIndex>),
}

/// The order for one download.
#[derive(Debug)]
pub struct Order {
    waiting: Vec<PieceIndex>,
    waiting_bytes: u64,
    /// When the oldest piece that waits came, or when to try again.
    due: Option<Time>,
    /// Pieces whose data is synced, and that the journal refused.
    synced: Vec<PieceIndex>,
    step: Step,
}

impl Order {
    /// Nothing waits.
    pub fn new() -> Order {
        Order { waiting: Vec::new(), waiting_bytes: 0, due: None, synced: Vec::new(), step: Step::Idle }
    }

    fn begin(&mut self, out: &mut Effects<Effect>) {
        let Step::Idle = self.step else { return };
        if !self.waiting.is_empty() {
            self.due = None;
            self.waiting_bytes = 0;
            self.step = Step::SyncingData(std::mem::take(&mut self.waiting));
            out.push(Effect::SyncData);
        } else if !self.synced.is_empty() {
            self.due = None;
            self.append(Vec::new(), out);
        }
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
                self.due.get_or_insert(now + BATCH_AGE);
                if self.waiting_bytes >= BATCH_BYTES {
                    self.due = Some(now);
                }
            }
            Event::Wake => {
                if self.due.is_some_and(|due| due <= now) {
                    self.begin(out);
                }
            }
            Event::Flush => self.begin(out),
            Event::DataSynced => match std::mem::replace(&mut self.step, Step::Idle) {
                Step::SyncingData(pieces) => self.append(pieces, out),
                step => self.step = step,
            },
            Event::DataFailed => match std::mem::replace(&mut self.step, Step::Idle) {
                Step::SyncingData(pieces) => out.push(Effect::Lost(pieces)),
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
    fn a_failed_sync_loses_its_pieces_and_no_others() {
        let mut order = Order::new();
        feed(&mut order, Time::ZERO, written(1, 1));
        feed(&mut order, Time::ZERO, Event::Flush);
        feed(&mut order, Time::ZERO, written(2, 1));
        assert_eq!(feed(&mut order, Time::ZERO, Event::DataFailed), [Effect::Lost(vec![PieceIndex(1)])]);
        assert_eq!(feed(&mut order, Time::ZERO, Event::Flush), [Effect::SyncData]);
        assert_eq!(feed(&mut order, Time::ZERO, Event::DataSynced), [Effect::Append(vec![PieceIndex(2)])]);
    }

    proptest! {
        /// A brute-force disk: what is dirty becomes durable when a sync that began later succeeds.
        #[test]
        fn nothing_is_appended_before_its_data_is_synced(steps in prop::collection::vec(0_u8..6, 1..200)) {
            let mut order = Order::new();
            let (mut next, mut dirty, mut syncing, mut durable) = (0, BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
            let (mut journal, mut lost) = (BTreeSet::new(), BTreeSet::new());
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
                    (4, Some(Effect::SyncData)) => { durable.append(&mut syncing); Event::DataSynced }
                    (_, Some(Effect::SyncData)) => { syncing.clear(); Event::DataFailed }
                    (4, Some(Effect::Append(pieces))) => { journal.extend(pieces); Event::Journaled }
                    (_, Some(Effect::Append(_))) => Event::JournalFailed,
                    (_, _) => Event::Flush,
                };
                for effect in feed(&mut order, now, event) {
                    match effect {
                        Effect::Lost(pieces) => lost.extend(pieces),
                        effect => {
                            prop_assert!(pending.is_none(), "one step at a time");
                            if effect == Effect::SyncData {
                                syncing.append(&mut dirty);
                            }
                            if let Effect::Append(pieces) = &effect {
                                prop_assert!(pieces.iter().all(|piece| durable.contains(piece)));
                            }
                            pending = Some(effect);
                        }
                    }
                }
                prop_assert!(journal.is_disjoint(&lost));
            }
        }
    }
}
