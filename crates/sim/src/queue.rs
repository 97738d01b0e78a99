//! What is still to happen, in an order that nobody's thread count can change.
//!
//! Ordered by (time, destination, source, the source's own count): all four are facts of the simulated world and not of
//! the order in which the simulator came to know them. Whatever a node sends arrives later than it was sent, so nodes that
//! act at one instant cannot tell in which order they did.

use crate::NodeId;
use shoal_machine::Time;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Where a happening stands in the order of all.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Key {
    pub(crate) at: Time,
    pub(crate) to: NodeId,
    pub(crate) from: NodeId,
    pub(crate) sequence: u64,
}

/// A heap of happenings. What happens lies beside it: the heap moves its entries many times, and keys are small.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    heap: BinaryHeap<Reverse<(Key, Slot)>>,
    whats: Vec<Option<T>>,
    free: Vec<Slot>,
}

/// A place in `whats`.
type Slot = u32;

impl<T> Queue<T> {
    pub(crate) const fn new() -> Self {
        Queue { heap: BinaryHeap::new(), whats: Vec::new(), free: Vec::new() }
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
        self.heap.push(Reverse((key, slot)));
    }

    pub(crate) fn pop(&mut self) -> Option<(Key, T)> {
        let Reverse((key, slot)) = self.heap.pop()?;
        self.free.push(slot);
        self.whats[slot as usize].take().map(|what| (key, what))
    }

    /// When the next happening is.
    pub(crate) fn next_at(&self) -> Option<Time> {
        self.heap.peek().map(|Reverse((key, _))| key.at)
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
