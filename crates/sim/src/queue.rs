//! What is still to happen, in an order that nobody's thread count can change.
//!
//! Ordered by (time, destination, source, the source's own count): all four are facts of the simulated world and not of
//! the order in which the simulator came to know them. Whatever a node sends arrives later than it was sent, so nodes that
//! act at one instant cannot tell in which order they did.

use crate::NodeId;
use shoal_machine::Time;
use std::cmp::Ordering;
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

/// All happenings that are to come. Those of the present span of time are a heap; those of each later span lie one behind the
/// other until their time comes, so that most are put away and taken up in one step, and in order of memory.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    span_us: u64,
    /// Ends before `horizon`.
    near: BinaryHeap<Entry<T>>,
    /// Number of the first span that is not in `near`.
    horizon: u64,
    far: BTreeMap<u64, Vec<Entry<T>>>,
    /// Empty: the room of spans that are over.
    spare: Vec<Vec<Entry<T>>>,
    /// Room for putting a span in order; empty between two.
    order: Vec<Place>,
    parts: Vec<Option<Entry<T>>>,
}

/// Where a happening stands in the order of its span, and where it lies.
#[derive(Debug)]
struct Place {
    to: NodeId,
    from: NodeId,
    at: Time,
    sequence: u64,
    place: u32,
}

/// Rooms that are kept. Chosen: what is sent arrives in the next span or in one soon after it.
const MAX_SPARE: usize = 4;

/// Something to happen; the greatest is what happens first.
#[derive(Debug)]
struct Entry<T> {
    key: Key,
    what: T,
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl<T> Eq for Entry<T> {}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        other.key.cmp(&self.key)
    }
}

impl<T> Queue<T> {
    pub(crate) const fn new() -> Self {
        Queue {
            span_us: SPAN_US,
            near: BinaryHeap::new(),
            horizon: 0,
            far: BTreeMap::new(),
            spare: Vec::new(),
            order: Vec::new(),
            parts: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, key: Key, what: T) {
        let entry = Entry { key, what };
        let span = key.at.as_micros() / self.span_us;
        if span < self.horizon {
            self.near.push(entry);
        } else if span < self.horizon + MAX_SPARE as u64 {
            // Most go here, and room for many costs time to get.
            self.far.entry(span).or_insert_with(|| self.spare.pop().unwrap_or_default()).push(entry);
        } else {
            self.far.entry(span).or_default().push(entry);
        }
    }

    pub(crate) fn pop(&mut self) -> Option<(Key, T)> {
        if self.near.is_empty() {
            let (span, entries) = self.far.pop_first()?;
            self.horizon = span + 1;
            self.near = entries.into();
        }
        self.pop_near()
    }

    /// Sets how long a span is, if it is not so. Cost where it changes: a step for each happening.
    pub(crate) fn set_span(&mut self, span_us: u64) {
        if self.span_us == span_us {
            return;
        }
        let far = std::mem::take(&mut self.far).into_values().flatten();
        let all: Vec<Entry<T>> = far.chain(self.near.drain()).collect();
        (self.span_us, self.horizon) = (span_us, 0);
        all.into_iter().for_each(|Entry { key, what }| self.push(key, what));
    }

    /// Moves what is left of the present span, or else all of the next one, to `out`: in the order of nodes, and for each node
    /// in that of time. What is pushed into this span from now on is [near](Queue::pop_near).
    pub(crate) fn take_span(&mut self, out: &mut Vec<(Key, T)>) {
        let mut entries: Vec<Entry<T>> = std::mem::take(&mut self.near).into_vec();
        if entries.is_empty()
            && let Some((span, next)) = self.far.pop_first()
        {
            self.horizon = span + 1;
            entries = next;
        }
        // What is sorted is small; what happens is moved once.
        self.order.clear();
        self.order.extend(entries.iter().zip(0_u32..).map(|(Entry { key, .. }, place)| Place {
            to: key.to,
            from: key.from,
            at: key.at,
            sequence: key.sequence,
            place,
        }));
        self.order.sort_unstable_by_key(|place| (place.to, place.at, place.from, place.sequence));
        self.parts.extend(entries.drain(..).map(Some));
        let parts = &mut self.parts;
        out.extend(
            self.order.iter().filter_map(|order| parts[order.place as usize].take()).map(|part| (part.key, part.what)),
        );
        self.parts.clear();
        if self.spare.len() < MAX_SPARE {
            self.spare.push(entries);
        }
    }

    /// The key of the next happening that is near.
    pub(crate) fn near_key(&self) -> Option<&Key> {
        self.near.peek().map(|entry| &entry.key)
    }

    /// Takes the next happening that is near.
    pub(crate) fn pop_near(&mut self) -> Option<(Key, T)> {
        self.near.pop().map(|Entry { key, what }| (key, what))
    }

    /// When the next happening is.
    pub(crate) fn next_at(&self) -> Option<Time> {
        match self.near.peek() {
            Some(entry) => Some(entry.key.at),
            None => self.far.first_key_value()?.1.iter().map(|entry| entry.key.at).min(),
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
