//! What is still to happen, in an order that nobody's thread count can change.
//!
//! Ordered by (time, destination, source, the source's own count): all four are facts of the simulated world and not of
//! the order in which the simulator came to know them. Whatever a node sends arrives later than it was sent, so nodes that
//! act at one instant cannot tell in which order they did.

use crate::NodeId;
use shoal_machine::Time;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// Where a happening stands in the order of all.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Key {
    pub(crate) at: Time,
    pub(crate) to: NodeId,
    pub(crate) from: NodeId,
    pub(crate) sequence: u64,
}

/// Microseconds of a span until somebody sets another. Chosen: with ten thousand peers a millisecond holds some thousand
/// happenings, which fit into a core's own cache.
const SPAN_US: u64 = 1 << 10;

/// All happenings that are to come. Those of the present span of time are a heap; those of each later span lie unordered until
/// their time comes, so that most are put away and taken up in one step. What happens lies beside its key: keys are small and
/// move often.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    span_us: u64,
    /// Ends before `horizon`.
    near: BinaryHeap<Reverse<Entry>>,
    /// Number of the first span that is not in `near`.
    horizon: u64,
    far: BTreeMap<u64, Vec<Entry>>,
    whats: Vec<Option<T>>,
    free: Vec<Slot>,
}

/// A key and a place in `whats`.
pub(crate) type Entry = (Key, Slot);
type Slot = u32;

impl<T> Queue<T> {
    pub(crate) const fn new() -> Self {
        Queue {
            span_us: SPAN_US,
            near: BinaryHeap::new(),
            horizon: 0,
            far: BTreeMap::new(),
            whats: Vec::new(),
            free: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, key: Key, what: T) {
        let slot = match self.free.pop() {
            Some(slot) => {
                self.whats[slot as usize] = Some(what);
                slot
            }
            None => {
                self.whats.push(Some(what));
                Slot::try_from(self.whats.len() - 1).expect("memory ends before four billion happenings")
            }
        };
        self.place((key, slot));
    }

    fn place(&mut self, entry: Entry) {
        let span = entry.0.at.as_micros() / self.span_us;
        if span < self.horizon {
            self.near.push(Reverse(entry));
        } else {
            self.far.entry(span).or_default().push(entry);
        }
    }

    pub(crate) fn pop(&mut self) -> Option<(Key, T)> {
        if self.near.is_empty() {
            let (span, entries) = self.far.pop_first()?;
            self.horizon = span + 1;
            self.near = entries.into_iter().map(Reverse).collect();
        }
        self.pop_near(Time::MAX)
    }

    /// Sets how long a span is, if it is not so. Cost where it changes: a step for each happening.
    pub(crate) fn set_span(&mut self, span_us: u64) {
        if self.span_us == span_us {
            return;
        }
        let far = std::mem::take(&mut self.far).into_values().flatten();
        let all: Vec<Entry> = far.chain(self.near.drain().map(|Reverse(entry)| entry)).collect();
        (self.span_us, self.horizon) = (span_us, 0);
        all.into_iter().for_each(|entry| self.place(entry));
    }

    /// Takes what is left of the present span, or else all of the next one, in the order of nodes and for each node in that of
    /// time. Nothing is near any more; [`Queue::put_near`] what is to happen, one node's at a time.
    pub(crate) fn take_span(&mut self) -> Vec<Entry> {
        let mut entries: Vec<Entry> = self.near.drain().map(|Reverse(entry)| entry).collect();
        if entries.is_empty()
            && let Some((span, next)) = self.far.pop_first()
        {
            self.horizon = span + 1;
            entries = next;
        }
        entries.sort_unstable_by_key(|(key, _)| (key.to, key.at, key.from, key.sequence));
        entries
    }

    /// Puts back what [`Queue::take_span`] gave.
    pub(crate) fn put_near(&mut self, entries: &[Entry]) {
        self.near.extend(entries.iter().copied().map(Reverse));
    }

    /// The next happening of the present span, if it is not later than `end`.
    pub(crate) fn pop_near(&mut self, end: Time) -> Option<(Key, T)> {
        let Reverse((key, slot)) = self.near.peek().copied().filter(|Reverse((key, _))| key.at <= end)?;
        self.near.pop();
        self.free.push(slot);
        self.whats[slot as usize].take().map(|what| (key, what))
    }

    /// Takes out whatever is left of the present span, in no order.
    pub(crate) fn take_near(&mut self, left: &mut Vec<Entry>) {
        left.extend(self.near.drain().map(|Reverse(entry)| entry));
    }

    /// When the next happening is.
    pub(crate) fn next_at(&self) -> Option<Time> {
        match self.near.peek() {
            Some(Reverse((key, _))) => Some(key.at),
            None => self.far.first_key_value()?.1.iter().map(|(key, _)| key.at).min(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shoal_machine::Rng;

    #[test]
    fn the_order_of_pushing_does_not_matter() {
        let mut keys: Vec<Key> = (0..200_u64)
            .map(|i| Key {
                at: Time::from_micros(i / 20 * 300),
                to: NodeId((i / 5 % 4) as u32),
                from: NodeId((i % 5) as u32),
                sequence: i,
            })
            .collect();
        let sorted = keys.clone();
        for seed in 0..5 {
            Rng::new(seed).shuffle(&mut keys);
            let mut queue = Queue::new();
            for &key in &keys {
                queue.push(key, ());
            }
            let popped: Vec<Key> = std::iter::from_fn(|| queue.pop()).map(|(key, ())| key).collect();
            assert_eq!(popped, sorted);
        }
    }
}
