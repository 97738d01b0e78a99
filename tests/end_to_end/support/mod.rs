//! What the end-to-end tests stand on: a network of their own, processes that end with their test, other clients, trees of files.
//!
//! Nothing here knows how shoal works inside: it starts the binary and other people's programs and looks at what they print,
//! announce and write. Waiting is always for a condition with a deadline, never for a while.

pub(crate) mod clients;
pub(crate) mod fixture;
pub(crate) mod net;
pub(crate) mod nginx;
pub(crate) mod peer;
pub(crate) mod process;
pub(crate) mod real_tracker;
pub(crate) mod relay;
pub(crate) mod shoal;
pub(crate) mod trace;
pub(crate) mod tracker;
pub(crate) mod tree;
pub(crate) mod web;

use std::time::{Duration, Instant};

/// How long a step may take before its test fails. Chosen: the slowest step takes about a second on an idle machine; CI has two
/// cores, each with a test and several clients.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// How often a condition is looked at that nothing announces. Chosen: short beside any step, long beside a look.
const LOOK: Duration = Duration::from_millis(20);

/// Waits until `holds` does; panics with `what` when it does not within [`PATIENCE`].
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "waited in vain until {what}");
        std::thread::sleep(LOOK);
    }
}

/// Whether what a test needs must be there (CI) rather than may be (anyone's machine).
fn required() -> bool {
    std::env::var_os("SHOAL_TEST_REQUIRE_CLIENTS").is_some_and(|v| v == "1")
}

/// Says that a test cannot run here; fails it where everything is required.
pub(crate) fn skip(why: &str) {
    assert!(!required(), "SHOAL_TEST_REQUIRE_CLIENTS=1, but {why}");
    eprintln!("skipped: {why}");
}
