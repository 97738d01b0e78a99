//! The driver's buffer for effects.
//!
//! One buffer per driver, used again and again: a machine pushes, the driver drains, nothing is allocated in steady
//! state. A machine cannot read back what it pushed.

/// Effects in the order in which the machine gave them.
#[derive(Debug)]
pub struct Effects<E> {
    items: Vec<E>,
}

impl<E> Effects<E> {
    /// An empty buffer.
    pub const fn new() -> Self {
        Effects { items: Vec::new() }
    }

    /// Orders one effect, after those before it.
    pub fn push(&mut self, effect: E) {
        self.items.push(effect);
    }

    /// Whether nothing was ordered since the last drain.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// How many effects wait.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Takes all effects, in order; the buffer keeps its memory.
    pub fn drain(&mut self) -> impl Iterator<Item = E> + '_ {
        self.items.drain(..)
    }
}

impl<E> Default for Effects<E> {
    fn default() -> Self {
        Effects::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drains_in_order_and_keeps_its_memory() {
        let mut out = Effects::new();
        out.push(1);
        out.push(2);
        assert_eq!(out.drain().collect::<Vec<_>>(), [1, 2]);
        assert!(out.is_empty());
        assert!(out.items.capacity() >= 2);
    }
}
