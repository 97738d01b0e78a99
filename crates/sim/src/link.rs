//! What bytes feel on their way: rates, latency, queues.
//!
//! A node has an access line with a rate each way; between two nodes lies a path with a latency and, where it is narrower
//! than both access lines, a rate and a queue of its own. Each of the three serialises one message after another. A TCP
//! connection is modelled by what a program sees of it: bytes arrive whole and in order, sending waits while the path's
//! queue is full, connections share a line message by message, and a connection may be lost. Loss bounds a connection's
//! rate and delays messages ([`crate::tcp`]), jitter delays them; windows and packets are not modelled.

use shoal_machine::Time;
use std::time::Duration;

/// A node's line to the network.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Access {
    /// Bytes per second that the node can send; `None` for no limit.
    pub up_bytes_per_s: Option<u64>,
    /// Bytes per second that the node can receive; `None` for no limit.
    pub down_bytes_per_s: Option<u64>,
    /// Time from the node to the middle of the network; a path's latency is both ends' together.
    pub latency: Duration,
}

impl Access {
    /// The same rate both ways.
    pub const fn symmetric(bytes_per_s: u64, latency: Duration) -> Access {
        Access { up_bytes_per_s: Some(bytes_per_s), down_bytes_per_s: Some(bytes_per_s), latency }
    }

    /// No limit but the latency.
    pub const fn unlimited(latency: Duration) -> Access {
        Access { up_bytes_per_s: None, down_bytes_per_s: None, latency }
    }
}

/// What lies between two nodes, beside their access lines. The same in both directions, each direction for itself.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Path {
    /// Added to both access lines' latency.
    pub extra_latency: Duration,
    /// Bytes per second; `None` where the access lines are the narrower ones.
    pub bytes_per_s: Option<u64>,
    /// Bytes that wait in the path before sending stops.
    pub queue_bytes: u64,
    /// Each message is late by up to this, evenly spread; those behind it wait.
    pub jitter: Duration,
    /// Chance that a packet is lost: TCP sends it again, which costs rate and time.
    pub loss: f64,
    /// Chance that a message's payload arrives corrupt, see [`Packet::corrupt`](crate::Packet::corrupt).
    pub corrupt: f64,
    /// Mean time until a connection is reset; `None` for never.
    pub mean_lifetime: Option<Duration>,
}

impl Path {
    /// A path that adds nothing to the access lines.
    pub const CLEAR: Path = Path {
        extra_latency: Duration::ZERO,
        bytes_per_s: None,
        queue_bytes: 256 * 1024,
        jitter: Duration::ZERO,
        loss: 0.0,
        corrupt: 0.0,
        mean_lifetime: None,
    };
}

impl Default for Path {
    fn default() -> Self {
        Path::CLEAR
    }
}

/// One thing that takes messages one after another at a rate. Exact: the fraction of a microsecond is carried over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Serializer {
    bytes_per_s: Option<u64>,
    free_at: Time,
    /// Millionths of a byte, times the rate, that the last message left over.
    carry: u64,
}

impl Serializer {
    pub(crate) fn new(bytes_per_s: Option<u64>) -> Serializer {
        assert!(bytes_per_s != Some(0), "a line that carries nothing is no line");
        Serializer { bytes_per_s, free_at: Time::ZERO, carry: 0 }
    }

    /// When it is free for a message that comes at `now`.
    pub(crate) fn free_at(&self, now: Time) -> Time {
        self.free_at.max(now)
    }

    /// How long so many bytes take.
    pub(crate) fn duration_of(&self, bytes: u64) -> Duration {
        match self.bytes_per_s {
            Some(rate) => Duration::from_micros(bytes.saturating_mul(1_000_000) / rate),
            None => Duration::ZERO,
        }
    }

    /// Takes a message that comes at `now`; says when its last byte is through.
    pub(crate) fn take(&mut self, now: Time, bytes: u64) -> Time {
        let Some(rate) = self.bytes_per_s else {
            self.free_at = self.free_at(now);
            return self.free_at;
        };
        if self.free_at < now {
            self.carry = 0;
        }
        let work = bytes * 1_000_000 + self.carry;
        self.carry = work % rate;
        self.free_at = self.free_at(now) + Duration::from_micros(work / rate);
        self.free_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_messages_add_up_to_the_rate() {
        let mut line = Serializer::new(Some(3_000_000));
        let last = (0..3_000_000).map(|_| line.take(Time::ZERO, 1)).last();
        assert_eq!(last, Some(Time::from_secs(1)));
    }

    #[test]
    fn a_line_that_rested_begins_anew() {
        let mut line = Serializer::new(Some(1_000_000));
        assert_eq!(line.take(Time::ZERO, 10), Time::from_micros(10));
        assert_eq!(line.take(Time::from_micros(5), 10), Time::from_micros(20));
        assert_eq!(line.take(Time::from_micros(100), 10), Time::from_micros(110));
        assert_eq!(Serializer::new(None).take(Time::from_secs(2), u64::MAX), Time::from_secs(2));
    }
}
