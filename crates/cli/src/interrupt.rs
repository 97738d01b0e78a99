//! Ctrl-C and its kin: the first asks the command to save and stop, the second leaves at once.
//!
//! SIGTERM and SIGHUP count like Ctrl-C: a service manager and a closed terminal get the same clean end. Commands wait on
//! [`Interrupt::raised`]; blocking work polls [`Interrupt::flag`].

use crate::exit::Exit;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// Signals within this time are one wish: `timeout` signals the process and then its whole group, a closing terminal hangs
/// up after an interrupt. No finger is so quick.
const ONE_PRESS: Duration = Duration::from_millis(100);

/// Whether the user wants an end. All clones are one.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt {
    flag: Arc<AtomicBool>,
    raised: watch::Receiver<bool>,
}

impl Interrupt {
    /// Listens from now on. Must be called within a runtime.
    pub(crate) fn listen() -> std::io::Result<Interrupt> {
        let (raise, raised) = watch::channel(false);
        let flag = Arc::new(AtomicBool::new(false));
        let interrupt = signal(SignalKind::interrupt())?;
        let terminate = signal(SignalKind::terminate())?;
        let hangup = signal(SignalKind::hangup())?;
        tokio::spawn(wait([interrupt, terminate, hangup], Arc::clone(&flag), raise));
        Ok(Interrupt { flag, raised })
    }

    /// Returns when the first signal came.
    pub(crate) async fn raised(&self) {
        let mut raised = self.raised.clone();
        // An error means that the listening task is gone with its runtime: nothing can be raised any more.
        if raised.wait_for(|raised| *raised).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Whether a signal came.
    pub(crate) fn is_raised(&self) -> bool {
        self.flag.load(Ordering::Relaxed)
    }

    /// For work that blocks: true after the first signal.
    pub(crate) fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.flag)
    }
}

async fn wait(signals: [Signal; 3], flag: Arc<AtomicBool>, raise: watch::Sender<bool>) {
    let [mut interrupt, mut terminate, mut hangup] = signals;
    let mut first: Option<Instant> = None;
    loop {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
        match first {
            Some(at) if at.elapsed() < ONE_PRESS => continue,
            // State on disk is valid at every moment, so this loses nothing but what was not saved yet.
            Some(_) => std::process::exit(i32::from(Exit::Interrupted.code())),
            None => first = Some(Instant::now()),
        }
        flag.store(true, Ordering::Relaxed);
        let _ = raise.send(true);
    }
}
