//! Blocking work on many bytes, with a bar beside it and Ctrl-C heard.

use crate::interrupt::Interrupt;
use crate::meter::Meter;
use crate::report::{Event, Reporter, Target, Work};
use shoal_storage::hashing::Watch;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Between two looks at the count. Chosen: a bar that moves smoothly.
const TICK: Duration = Duration::from_millis(100);

/// Runs `job` on a thread of its own and shows how far it is.
pub(super) async fn watched<T: Send + 'static>(
    reporter: &Reporter,
    target: Target,
    work: Work,
    total_bytes: u64,
    interrupt: &Interrupt,
    job: impl FnOnce(Watch<'_>) -> T + Send + 'static,
) -> T {
    let done = Arc::new(AtomicU64::new(0));
    let (count, cancel) = (Arc::clone(&done), interrupt.flag());
    let mut task = tokio::task::spawn_blocking(move || {
        let progress = |bytes: u64| {
            count.fetch_add(bytes, Ordering::Relaxed);
        };
        job(Watch { cancel: &cancel, progress: &progress, jobs: None })
    });
    let mut meter = Meter::default();
    let mut tick = tokio::time::interval(TICK);
    let show = |done_bytes: u64, meter: &mut Meter| {
        let rate = meter.read(Instant::now(), done_bytes);
        reporter.event(target, &Event::Checking { done_bytes: done_bytes.min(total_bytes), total_bytes, work, rate });
    };
    loop {
        tokio::select! {
            result = &mut task => {
                match result {
                    Ok(value) => {
                        show(if interrupt.is_raised() { done.load(Ordering::Relaxed) } else { total_bytes }, &mut meter);
                        return value;
                    }
                    // Our own bug goes on as what it is.
                    Err(error) => std::panic::resume_unwind(error.into_panic()),
                }
            }
            _ = tick.tick() => show(done.load(Ordering::Relaxed), &mut meter),
        }
    }
}
