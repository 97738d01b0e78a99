//! The contract between what decides and what touches the world.
//!
//! Everything in shoal that *decides* is a [`Machine`]: plain Rust, `&mut self`, without socket, file, thread, clock
//! or global randomness. Everything that *touches the world* is a driver: it feeds events, carries out effects, and
//! decides nothing. `shoal-session` drives the machines with tokio; `shoal-sim` drives the same machines in virtual
//! time. A bug is then a list of events, and a swarm of thousands runs in one test and replays from its seed.
//!
//! Invariant: the effects of a machine are a function of its configuration, its seed and its events with their times.

mod digest;
mod effects;
mod rng;
mod time;

pub use digest::Digest;
pub use effects::Effects;
pub use rng::Rng;
pub use time::Time;

/// The event by which a driver wakes a machine at its [`deadline`](Machine::deadline).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wake;

/// Something that decides: events in, effects out.
pub trait Machine {
    /// What happened, named in the past (`Written`).
    type Event: From<Wake>;
    /// What to do, named as an order (`Write`).
    type Effect;

    /// Feeds one event. `now` never decreases. Effects go to the driver's own reusable buffer, in order.
    ///
    /// A peer's fault becomes an effect, our own a panic.
    fn handle(&mut self, now: Time, event: Self::Event, out: &mut Effects<Self::Effect>);

    /// When to feed a [`Wake`] if nothing else happens first; `None` if never. Waking early or twice does no harm.
    fn deadline(&self) -> Option<Time>;
}
