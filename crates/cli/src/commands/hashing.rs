//! Blocking work on many bytes, with a bar beside it and Ctrl-C heard.

use crate::interrupt::Interrupt;
use crate::meter::Meter;
use crate::report::{Event, Level, Reporter, Target, Work};
use crate::size;
use shoal_storage::hashing::{Ended, Watch};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Between two looks at the count. Chosen: a bar that moves smoothly.
const TICK: Duration = Duration::from_millis(100);

/// Work that took this long ends with a line on what it was waiting for. Chosen: who waited so long may want it faster.
const WORTH_A_LINE: Duration = Duration::from_secs(2);

/// Says how fast it was, and whether the disk or the processor was the limit.
fn say_limit(reporter: &Reporter, work: Work, bytes: u64, ended: Ended) {
    let level = if ended.took < WORTH_A_LINE { Level::Verbose } else { Level::Normal };
    let rate = u128::from(bytes) * 1000 / ended.took.as_millis().max(1);
    let limit = if ended.was_reading_the_limit() { "reading the disk" } else { "the processor" };
    let (bytes, rate) = (size::bytes(bytes), size::rate(u64::try_from(rate).unwrap_or(u64::MAX)));
    reporter.say(
        level,
        &format!("{}: {bytes} in {:.1} s, {rate}; {limit} was the limit", work.word(), ended.took.as_secs_f64()),
    );
}

/// How many bytes there are: told by the job once it knows, and nothing is shown before.
#[derive(Clone, Debug, Default)]
pub(super) struct Total(Arc<AtomicU64>);

impl Total {
    /// Tells it.
    pub(super) fn set(&self, bytes: u64) {
        self.0.store(bytes, Ordering::Relaxed);
    }
}

/// Runs `job` on a thread of its own and shows how far it is.
pub(super) async fn watched<T: Send + 'static>(
    reporter: &Reporter,
    target: Target,
    work: Work,
    interrupt: &Interrupt,
    job: impl FnOnce(Watch<'_>, &Total) -> T + Send + 'static,
) -> T {
    let done = Arc::new(AtomicU64::new(0));
    let total = Total::default();
    let sayer = reporter.clone();
    let (count, cancel, told) = (Arc::clone(&done), interrupt.flag(), total.clone());
    let mut task = tokio::task::spawn_blocking(move || {
        let progress = |bytes: u64| {
            count.fetch_add(bytes, Ordering::Relaxed);
        };
        let ended = |ended: Ended| say_limit(&sayer, work, told.0.load(Ordering::Relaxed), ended);
        job(Watch { cancel: &cancel, progress: &progress, jobs: None, ended: &ended }, &told)
    });
    let mut meter = Meter::default();
    let mut tick = tokio::time::interval(TICK);
    let show = |is_done: bool, meter: &mut Meter| {
        let total_bytes = total.0.load(Ordering::Relaxed);
        if total_bytes == 0 {
            return;
        }
        let done_bytes = if is_done { total_bytes } else { done.load(Ordering::Relaxed).min(total_bytes) };
        let rate = meter.read(Instant::now(), done_bytes);
        reporter.event(target, &Event::Checking { done_bytes, total_bytes, work, rate });
    };
    loop {
        tokio::select! {
            result = &mut task => {
                match result {
                    Ok(value) => {
                        show(!interrupt.is_raised(), &mut meter);
                        return value;
                    }
                    // Our own bug goes on as what it is.
                    Err(error) => std::panic::resume_unwind(error.into_panic()),
                }
            }
            _ = tick.tick() => show(false, &mut meter),
        }
    }
}
