//! The machines' time: microseconds since the session's start.
//!
//! From tokio's clock, which never decreases and which tests may pause.

use shoal_machine::Time;
use std::time::Duration;
use tokio::time::Instant;

/// The session's clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    /// Starts now.
    pub(crate) fn start() -> Clock {
        Clock { start: Instant::now() }
    }

    /// What the machines are told.
    pub(crate) fn now(&self) -> Time {
        Time::from_micros(u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// When to wake a machine; far away if never.
    pub(crate) fn instant(&self, at: Option<Time>) -> Instant {
        // Chosen: an hour is far enough, and adding it never overflows.
        let far = Instant::now() + Duration::from_secs(3600);
        let Some(at) = at else { return far };
        self.start.checked_add(Duration::from_micros(at.as_micros())).map_or(far, |at| at.min(far))
    }
}
