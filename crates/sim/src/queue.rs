//! What is still to happen, in an order that nobody's thread count can change.
//!
//! Ordered by (time, destination, source, the source's own count): all four are facts of the simulated world and not of
//! the order in which the simulator came to know them. Whatever a node sends arrives later than it was sent, so nodes that
//! act at one instant cannot tell in which order they did.

use crate::NodeId;
use shoal_machine::Time;
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// Where a happening stands in the order of all.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Key {
    pub(crate) at: Time,
    pub(crate) to: NodeId,
    pub(crate) from: NodeId,
    pub(crate) sequence: u64,
}

#[derive(Debug)]
struct Entry<T> {
    key: Key,
    what: T,
}

/// A heap of happenings.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    heap: BinaryHeap<Reverse<Entry<T>>>,
}

impl<T> Queue<T> {
    pub(crate) const fn new() -> Self {
        Queue { heap: BinaryHeap::new() }
    }

    pub(crate) fn push(&mut self, key: Key, what: T) {
        self.heap.push(Reverse(Entry { key, what }));
    }

    pub(crate) fn pop(&mut self) -> Option<(Key, T)> {
        self.heap.pop().map(|Reverse(entry)| (entry.key, entry.what))
    }

    /// When the next happening is.
    pub(crate) fn next_at(&self) -> Option<Time> {
        self.heap.peek().map(|Reverse(entry)| entry.key.at)
    }
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
        self.key.cmp(&other.key)
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
                at: Time::from_micros(i / 20),
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
