//! What a node keeps for each of its links.
//!
//! A sorted list of names and a slab: to find one of a hundred links touches two or three lines of cache, and with ten thousand
//! nodes nearly every touch is a miss. Order is that of the names, so that whatever goes through all is the same on every run.

use crate::LinkId;
use std::cell::Cell;

/// A map from links to `T`.
#[derive(Debug)]
pub(crate) struct Links<T> {
    names: Vec<(LinkId, u32)>,
    slots: Vec<Option<T>>,
    free: Vec<u32>,
    /// Where the last one was found: what happens to a link asks for it several times.
    last: Cell<usize>,
}

impl<T> Links<T> {
    pub(crate) const fn new() -> Links<T> {
        Links { names: Vec::new(), slots: Vec::new(), free: Vec::new(), last: Cell::new(0) }
    }

    fn place(&self, link: LinkId) -> Result<usize, usize> {
        let last = self.last.get();
        if self.names.get(last).is_some_and(|(name, _)| *name == link) {
            return Ok(last);
        }
        self.names.binary_search_by_key(&link, |(name, _)| *name).inspect(|&place| self.last.set(place))
    }

    pub(crate) fn contains(&self, link: LinkId) -> bool {
        self.place(link).is_ok()
    }

    pub(crate) fn get(&self, link: LinkId) -> Option<&T> {
        let (_, slot) = self.names[self.place(link).ok()?];
        self.slots[slot as usize].as_ref()
    }

    pub(crate) fn get_mut(&mut self, link: LinkId) -> Option<&mut T> {
        let (_, slot) = self.names[self.place(link).ok()?];
        self.slots[slot as usize].as_mut()
    }

    /// Puts one in, in the place of what was there.
    pub(crate) fn insert(&mut self, link: LinkId, value: T) {
        match self.place(link) {
            Ok(place) => self.slots[self.names[place].1 as usize] = Some(value),
            Err(place) => {
                let slot = self.free.pop().unwrap_or_else(|| {
                    self.slots.push(None);
                    (self.slots.len() - 1) as u32
                });
                self.slots[slot as usize] = Some(value);
                self.names.insert(place, (link, slot));
            }
        }
    }

    pub(crate) fn remove(&mut self, link: LinkId) -> Option<T> {
        let (_, slot) = self.names.remove(self.place(link).ok()?);
        self.free.push(slot);
        self.slots[slot as usize].take()
    }

    pub(crate) fn clear(&mut self) {
        *self = Links::new();
    }

    /// All, in the order of their names.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (LinkId, &T)> {
        self.names.iter().filter_map(|&(link, slot)| Some((link, self.slots[slot as usize].as_ref()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NodeId;
    use shoal_machine::Rng;
    use std::collections::BTreeMap;

    #[test]
    fn it_is_a_map() {
        let mut rng = Rng::new(3);
        let (mut ours, mut model) = (Links::new(), BTreeMap::new());
        for value in 0..5_000 {
            let link = LinkId { dialer: NodeId(rng.below(5) as u32), number: rng.below(20) as u32 };
            match rng.below(3) {
                0 => assert_eq!(ours.remove(link), model.remove(&link)),
                1 => {
                    ours.insert(link, value);
                    model.insert(link, value);
                }
                _ => assert_eq!(ours.get(link), model.get(&link)),
            }
            assert_eq!(ours.contains(link), model.contains_key(&link));
            assert_eq!(ours.get_mut(link).copied(), model.get(&link).copied());
            assert!(ours.iter().eq(model.iter().map(|(&link, value)| (link, value))));
        }
        ours.clear();
        assert_eq!(ours.iter().count(), 0);
    }
}
